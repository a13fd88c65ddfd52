"""Where results go, and what is there already."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from typing import Any

from usidx.errors import OptionError, PlanError, ReadOnlyStoreError
from usidx.process.planning.code import code_digest
from usidx.process.planning.identity import Source
from usidx.process.planning.plan import Output, Plan
from usidx.process.results.adopt import foreign_twins, is_foreign
from usidx.process.results.content import of_the_same_values
from usidx.process.results.moved import came_along
from usidx.process.results.sources import source_attrs, sources_of
from usidx.stores.base import Claim, OutputRequest, ResultRecord, ResultRequest, Store
from usidx.stores.remote.url import is_there, is_url, path_on_disk

Path = str | os.PathLike[str]
_HDF5_ENDINGS = (".h5", ".hdf5", ".hf5")


@dataclass(frozen=True)
class Target:
    """Where results go.

    Parameters
    ----------
    store : that holds them
    is_home : whether it is the store of the source
    """

    store: Store
    is_home: bool


def target_of(into: Path | None, source: Source) -> Target:
    """The Target that people mean by `into`: the store of the source when None.

    Raises
    ------
    PlanError : for None, where the source is not the whole of a stored Main
    OptionError : for a path that says nothing about the kind of store to make
    ReadOnlyStoreError : for a URL
    StoreNotFoundError, NotUsidError, ... : as opening the store
    """
    from usidx.readers import store_behind
    from usidx.stores import store_at

    home = source.origin.store if source.origin is not None else None
    if into is None:
        if home is None:
            raise PlanError(
                f"{source.name!r} is not a whole, untouched Main of a store, so there is no place "
                "beside its source for a result; say where it goes with run(into='results.zarr'), "
                "or store the array first (usid.to_zarr, usid.to_h5usid) and open that"
            )
        assert source.origin is not None
        return Target(store_behind(source.origin), True)
    place = path_on_disk(into, "a result (into=...)")
    path = os.path.abspath(os.path.expanduser(place))
    if os.path.exists(path):
        is_home = home is not None and not is_url(home) and os.path.samefile(path, home)
        return Target(store_at(path), is_home)
    return Target(_new_store(path), False)


def _new_store(path: str) -> Store:
    if path.endswith(".zarr"):
        from usidx.stores.zarr import ZarrStore

        return ZarrStore(path)
    if path.endswith(_HDF5_ENDINGS):
        from usidx.stores.hdf5 import HDF5Store

        return HDF5Store(path)
    raise OptionError(
        f"into={path!r} does not exist, and its name does not say what to make: end it with "
        f".zarr or {_HDF5_ENDINGS[0]}"
    )


def claim_in(target: Target, request: ResultRequest, *, durable: bool = False) -> Claim:
    """The claim of a new result group; a store that is not there yet is made for it.

    Raises
    ------
    ReadOnlyStoreError : where no file can be made
    StoreLockedError, NoSpaceError, ... : as `Store.claim`
    """
    path = target.store.path
    if is_there(path) or path.endswith(".zarr"):  # which makes itself
        return target.store.claim(request, durable=durable)
    import h5py

    try:
        h5py.File(path, "x").close()
    except OSError as error:
        raise ReadOnlyStoreError(
            f"{path!r} cannot be made ({error}); name a file in a folder that is there and yours"
        ) from error
    try:
        return target.store.claim(request, durable=durable)
    except BaseException:
        os.unlink(path)
        raise


def twins_of(plan: Plan, store: Store) -> tuple[ResultRecord, ...]:
    """Result groups that are what a plan makes: complete ones first, of those the newest.

    They have its fingerprint, or were converted together with the source, and were made of the
    values that its sources have now; or are those of other programs that `adopt` recognises, which
    come after.
    """
    if not is_there(store.path):
        return ()
    known = store.results(plan.source.path)
    found = [
        each for each in known if each.fingerprint == plan.fingerprint or came_along(plan, each)
    ]
    newest = reversed([*foreign_twins(plan, store, known), *of_the_same_values(plan, found)])
    return tuple(
        sorted(newest, key=lambda each: (each.status != "complete", is_foreign(each), -each.done))
    )


def warn_of_changed_code(plan: Plan, twin: ResultRecord) -> None:
    """Warn where the step was edited since the twin was made, under the same version."""
    then = twin.attrs.get("usid_step_code")
    now = code_digest(plan.step.function) if plan.step is not None else ""
    if not isinstance(then, str) or not then or not now or then == now:
        return
    if then.split(":")[0] != now.split(":")[0]:  # another Python compiles the same otherwise
        return
    warnings.warn(
        f"the code of step {plan.tool!r} is not what it was when {twin.name!r} was made, though "
        f"its version is {plan.version!r} still; where it computes something else now, give it "
        "another version, or run(fresh=True)",
        stacklevel=5,
    )


def warn_of_failures(twin: ResultRecord) -> None:
    """Warn where the step failed at positions of a result that is taken as it is."""
    if twin.failed:
        warnings.warn(
            f"{twin.name!r} is complete, but the step failed at {twin.failed} of its {twin.total} "
            "positions; .failed of the result says where and why, and run(retry_failed=True) "
            "computes those again",
            stacklevel=4,
        )


def request_of(plan: Plan, target: Target) -> ResultRequest:
    """The result group that a plan needs."""
    origin = plan.source.origin
    attrs: dict[str, Any] = source_attrs(plan, target.store.path)
    tool = plan.tool
    if plan.step is not None:
        if plan.step.group:
            tool, attrs["usid_step_name"] = plan.step.group, plan.tool
        attrs["usid_step"] = plan.step.place
        attrs["usid_step_code"] = code_digest(plan.step.function)
    if origin is not None and origin.field is not None:
        attrs["usid_field"] = origin.field
    if origin is not None and origin.form != "nd":
        attrs["usid_form"] = origin.form
    if origin is None:
        attrs["usid_derived"] = (
            f"the source {plan.source.name!r} was a lazy array that no store holds, known by its "
            f"graph: {plan.source.identity}"
        )
    return ResultRequest(
        parent=plan.source.parent,
        main=plan.source.name,
        tool=tool,
        version=plan.version,
        parameters=plan.parameters,
        fingerprint=plan.fingerprint,
        sources=sources_of(plan, target.store.path),
        outputs=tuple(_output_request(each, plan, target) for each in plan.outputs),
        attrs=attrs,
    )


def _output_request(output: Output, plan: Plan, target: Target) -> OutputRequest:
    stored = plan.stored_spec if target.is_home else None
    if stored is None:
        return OutputRequest(output.spec, output.block)
    # A side that is stored in another order than raster cannot serve results, which are in raster.
    position = stored.position.order is None and stored.position == output.spec.position
    spectra = (
        stored.spectroscopic.order is None and stored.spectroscopic == output.spec.spectroscopic
    )
    return OutputRequest(
        output.spec,
        output.block,
        share_position=stored.path if position else None,
        share_spectroscopic=stored.path if spectra else None,
    )
