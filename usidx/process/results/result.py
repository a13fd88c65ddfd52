"""A result group, as people hold it."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import xarray as xr

from usidx.errors import PlanError
from usidx.model.inputs import in_words, load_inputs
from usidx.process.results.adopt import is_foreign
from usidx.process.results.sources import SourceMain, arguments_of, is_derived, sources_in
from usidx.step import Step, registered
from usidx.stores.base import ResultRecord, Status
from usidx.stores.progress import progress_of

if TYPE_CHECKING:
    from usidx.process.process import Process
    from usidx.process.results.failed import FailedPositions


@dataclass(frozen=True)
class ResultGroup:
    """A result group in a store; what it says of itself is read anew each time it is asked.

    Parameters
    ----------
    store : path of the store
    path : of the group, such as "/Measurement_000/Channel_000/Raw_Data-SHO_Fit_000"
    allow_external : folders that the store may reach into
    """

    store: str
    path: str
    allow_external: tuple[str, ...] = ()

    @property
    def record(self) -> ResultRecord:
        """Everything the group says of itself, now."""
        from usidx.stores import store_at

        return store_at(self.store, self.allow_external).result(self.path)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rsplit("/", 1)[-1]

    @property
    def tool(self) -> str:
        """Name of the step."""
        return self.record.step

    @property
    def version(self) -> str | None:
        """Of the step; None in groups of other programs."""
        return self.record.version

    @property
    def status(self) -> Status:
        """ "complete", "partial", or "unknown" where the group says nothing about it."""
        return self.record.status

    @property
    def done(self) -> int:
        """Positions marked complete, summed over the Mains."""
        return self.record.done

    @property
    def total(self) -> int:
        """All positions, summed over the Mains."""
        return self.record.total

    @property
    def failed(self) -> FailedPositions:
        """The positions at which the step failed, and why; run(on_error="mark") goes on there."""
        from usidx.process.results.failed import FailedPositions
        from usidx.stores import store_at

        store, record = store_at(self.store, self.allow_external), self.record
        mains = [store.open_main(path) for path in record.mains] if record.failed else []
        return FailedPositions(self.name, mains, record.total)

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Of the step."""
        return self.record.parameters

    @property
    def mains(self) -> tuple[str, ...]:
        """Paths of the Mains in the group."""
        return self.record.mains

    @property
    def source(self) -> SourceMain | None:
        """The Main it was made of; None where that was an array that no store holds."""
        record = self.record
        return None if is_derived(record) else next(iter(self._sources(record)), None)

    @property
    def sources(self) -> tuple[SourceMain, ...]:
        """Every Main it was made of; of each parameter that was one, `.parameters` has the name."""
        return self._sources(self.record)

    def _sources(self, record: ResultRecord) -> tuple[SourceMain, ...]:
        return sources_in(record, self.allow_external)

    def open(self, **options: Any) -> xr.DataArray | xr.Dataset | xr.DataTree:
        """The Main of the group, or a DataTree where there are several, lazily.

        Positions that are not computed yet are NaN.
        """
        from usidx.opening import open_result
        from usidx.stores import store_at

        opened: xr.DataArray | xr.Dataset | xr.DataTree = open_result(
            store_at(self.store, self.allow_external), self.path, **options
        )
        return opened

    def resume(self, step: Step[..., Any] | None = None, **options: Any) -> ResultGroup:
        """The group, after the positions that are missing were computed.

        Parameters
        ----------
        step : the step that makes it; may be left out for registered ones
        options : of `Process.run`: client, memory, workers, progress, on_block, durable, processes,
            on_error and retry_failed, which computes positions again that are marked as failed

        Raises
        ------
        PlanError : where the step is not known or another one, or the source has changed
        """
        record = self.record
        again = bool(options.get("retry_failed")) and record.failed > 0
        if record.status == "complete" and not again:
            return self
        return self._process(record, step).resume(self, **options)

    def delete(self, *, force: bool = False) -> None:
        """Take the group out of its store: all of it or nothing, also in a crash.

        The room that it took in an HDF5 file is given back where it was at the end of the file.

        Parameters
        ----------
        force : although other results of the store were made from it. Those within the group go
            with it; the others stay, and can no longer be resumed

        Raises
        ------
        StoreLockedError : while it is being written, naming who does
        PlanError : where other results were made from it, unless forced, or have their ancillaries
            in it
        """
        from usidx.stores import store_at
        from usidx.stores.deleting import delete_group

        delete_group(store_at(self.store, self.allow_external), self.path, force=force)

    def _process(self, record: ResultRecord, step: Step[..., Any] | None) -> Process:
        from usidx.process.process import Process

        step = step_of(record, step)
        source = self.source
        if source is None:
            raise PlanError(
                f"{self.name!r} was made of an array that no store holds; make that array again "
                f"and call .usid.process({step.name!r} step, ...).run(into={self.store!r}), which "
                "goes on with this group"
            )
        opened = source.open(form=record.attrs.get("usid_form", "nd"))
        field = record.attrs.get("usid_field")
        if field is not None:
            opened = opened[str(field)]
        arguments = arguments_of(record, self._sources(record))
        return Process(step, opened, {**record.parameters, **arguments})

    def __repr__(self) -> str:
        record = self.record
        parameters = ", ".join(
            f"{name}={in_words(value)}" for name, value in record.parameters.items()
        )
        lines = [
            f"<usidx result {self.name!r}: {progress_of(record)}>",
            f"  step     {record.step}({parameters})"
            + (f", version {record.version}" if record.version else ""),
            *(f"  source   {text}" for text in self._told_sources(record)),
            f"  in       {self.store} {self.path}",
        ]
        return "\n".join(lines)

    def _told_sources(self, record: ResultRecord) -> list[str]:
        told = ["an array that no store holds"] if is_derived(record) else []
        for each in self._sources(record):
            named = f"{', '.join(each.parameters)}: " if each.parameters else ""
            told.append(named + each.main + ("" if each.store == self.store else f"  {each.store}"))
        derived = [name for name, each in load_inputs(record.attrs).items() if each.source is None]
        told += [f"{name}: an array that no store holds" for name in derived]
        return told or ["an array that no store holds"]

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(repr(self))}</pre>"


def step_of(record: ResultRecord, step: Step[..., Any] | None) -> Step[..., Any]:
    """The step that makes a result group: the one given, else the registered one.

    Where the step is defined is only compared, and said to people. What a file names is never
    imported.

    Raises
    ------
    PlanError : where it is another step, or none is known
    """
    if is_foreign(record) and step is not None and step.name == record.step:
        return step
    place = record.attrs.get("usid_step")
    wanted = f"{record.step!r}, version {record.version!r}"
    if record.version is None or (place is None and step is None):
        raise PlanError(
            f"{record.name!r} does not say which step made it; resume(step=...) takes one that is "
            f"named {record.step!r}. A lazy result that was saved is made again and saved, which "
            "goes on with this group"
        )
    if step is not None:
        if (step.name, step.version) != (record.step, record.version):
            raise PlanError(
                f"{record.name!r} was begun by step {wanted}; {step.name!r}, version "
                f"{step.version!r}, is another one, of which a run makes a group of its own"
            )
        return step
    known = registered().get(record.step)
    if known is not None and (known.version, known.place) == (record.version, place):
        return known
    raise PlanError(
        f"{record.name!r} was begun by step {wanted}, defined in {place}, which is not registered "
        "here; import it and call resume(step=...), or usidx.steps.register(...) it"
    )
