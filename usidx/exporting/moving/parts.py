"""The Mains in an xarray object, as they are to be written to a file."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import xarray as xr

from usidx.arrays.extras import TOLD, has_mains, without_extras
from usidx.arrays.fields import compound_spec
from usidx.arrays.further import further_coordinates
from usidx.arrays.labels import Origin, arrange, as_main, origin_of
from usidx.arrays.reshape import to_nd
from usidx.errors import LayoutError, OptionError, PlanError, UsidError
from usidx.exporting.moving.others import Other, others_of, without_failures
from usidx.exporting.moving.placing import Places
from usidx.model.described import described
from usidx.model.dimension import Array
from usidx.model.main import MainSpec
from usidx.model.provenance import SOURCE_LABELS, dump_parameters
from usidx.readers import store_behind
from usidx.stores.base import ResultRecord
from usidx.stores.failures import FailedAt, failed_at

Labelled = xr.DataArray | xr.Dataset
Exportable = Labelled | xr.DataTree | Sequence[Labelled] | Mapping[str, Labelled]
"""A Main; a Dataset whose variables are the fields of one; a DataTree, list or dict of those."""

# Coordinates that are no part of the model are held in memory while they are written.
_LARGEST_EXTRA = 256 * 2**20


@dataclass(frozen=True)
class Extra:
    """A coordinate that is no part of the layout, such as a mask or what `isel` left over."""

    name: str
    dims: tuple[str, ...]
    values: Array
    attrs: Mapping[str, Any]


@dataclass(frozen=True)
class Part:
    """One Main to be written: its spec, and the values of each of its fields.

    Parameters
    ----------
    spec : of the Main
    arrays : one for each field of a compound Main (else one), with the dimensions of the spec
    extras : coordinates that are no part of the layout
    completed : position-shaped array of bool, for the Main of a partial result
    failures : where the step failed, for the Main of a result that says so
    origin : (store, path) of the Main that it is, untouched; None for any other
    origins : of each of `arrays`, where it is untouched
    """

    spec: MainSpec
    arrays: tuple[xr.DataArray, ...]
    extras: tuple[Extra, ...] = ()
    completed: Array | None = None
    failures: FailedAt | None = None
    origin: tuple[str, str] | None = None
    origins: tuple[Origin | None, ...] = ()


@dataclass(frozen=True)
class Parts:
    """Everything that is to be written.

    Parameters
    ----------
    mains : the Mains
    groups : attributes of groups by their paths; of the result groups that Mains come from, too
    others : datasets of a tree that are no Mains
    """

    mains: tuple[Part, ...]
    groups: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    others: tuple[Other, ...] = ()

    def moved(self, places: Places, store: str) -> Parts:
        """The same, to be added to the file `store`.

        Groups that stay behind, such as the root of a tree, have no attributes there.
        """
        mains = tuple(
            replace(each, spec=replace(each.spec, path=places.of(each.spec.path) or each.spec.path))
            for each in self.mains
        )
        groups = {}
        for path, attrs in self.groups.items():
            place = places.of(path)
            if place is not None:
                groups[place] = _moved_sources(attrs, places, store)
        others = [(places.of(each.path), each) for each in self.others]
        came_along = tuple(replace(each, path=path) for path, each in others if path)
        return Parts(mains, groups, came_along)


def _moved_sources(attrs: Mapping[str, Any], places: Places, store: str) -> dict[str, Any]:
    """Attributes of a group, with its sources where they are in the file `store`."""
    found = dict(attrs)
    sources = []
    for number, (elsewhere, path) in enumerate(attrs.get("usid_sources", ())):
        came_along = "" if elsewhere else places.of(path)
        is_there = bool(elsewhere) and os.path.realpath(elsewhere) == os.path.realpath(store)
        if came_along or is_there:
            found[f"source_{number:03d}"] = came_along or path
            if number == 0:
                found.pop("source_file_path", None)
                found.pop("source_dataset_path", None)
            sources.append(["", came_along or path])
        else:
            sources.append([elsewhere, path])
    if sources:
        found["usid_sources"] = sources
    return found


def parts_of(obj: Exportable, group: str | None = None) -> Parts:
    """The Mains in an xarray object, and the attributes of its groups.

    A Main goes to the path it was opened from, or to one by its name. The Mains of a list become
    the channels of one Measurement; so do those of a dict whose keys are names, while keys that are
    paths say where.

    Parameters
    ----------
    obj : DataArray, Dataset, DataTree, or a list or dict of the first two
    group : path for the one Main

    Raises
    ------
    LayoutError : where a dimension has no role, or there is no Main
    OptionError : for anything else
    """
    path = None if group is None else "/" + group.strip("/")
    if isinstance(obj, (xr.DataArray, xr.Dataset)):
        found = [_part(obj, path)]
    elif isinstance(obj, xr.DataTree):
        found = [each for node in obj.subtree for each in _node_parts(node, _place(node, obj))]
    else:
        found = [_part(each, where) for each, where in _several(obj)]
    if not found:
        raise LayoutError(f"the {type(obj).__name__} is empty, so there is no Main to write")
    groups: dict[str, Mapping[str, Any]] = {}
    others: list[Other] = []
    if isinstance(obj, xr.DataTree):
        for node in obj.subtree:
            others += others_of(node, _place(node, obj))
            if node.attrs and not has_mains(node.to_dataset()):
                groups[_place(node, obj)] = {
                    str(key): value for key, value in node.attrs.items() if key not in TOLD
                }
    groups.update(_result_groups(found))
    mains = tuple(_with_origin(part, origin) for part, origin in found)
    told = {part.spec.parent for part, origin in found if origin is not None and origin.result}
    return Parts(mains, groups, tuple(without_failures(others, told)))


def _several(obj: Any) -> Iterator[tuple[Labelled, str]]:
    """(Main, path) of each one in a list or dict."""
    if isinstance(obj, Mapping):
        pairs = [(str(name), each) for name, each in obj.items()]
    elif isinstance(obj, Sequence) and not isinstance(obj, (str, bytes)):
        pairs = [("", each) for each in obj]
    else:
        pairs = [("", obj)]
    for number, (name, each) in enumerate(pairs):
        if not isinstance(each, (xr.DataArray, xr.Dataset)):
            raise OptionError(
                f"a Main to be written is a DataArray or a Dataset of its fields, got a "
                f"{type(each).__name__}; usidx.from_array makes one of a plain array"
            )
        if "/" in name.strip("/"):
            yield each, "/" + name.strip("/")
        else:
            name = name.strip("/") or _name_of(each)
            yield each, f"/Measurement_000/Channel_{number:03d}/{name}"


def _name_of(obj: Labelled) -> str:
    name = obj.name if isinstance(obj, xr.DataArray) else obj.attrs.get("usid_main")
    return str(name or "Raw_Data")


def _place(node: xr.DataTree, root: xr.DataTree) -> str:
    below = node.relative_to(root)
    return "/" if below == "." else f"/{below}"


def _node_parts(node: xr.DataTree, where: str) -> Iterator[tuple[Part, Origin | None]]:
    """The Mains of one node: one that has its name, one of fields, or one for each variable."""
    dataset = without_extras(node.to_dataset())
    names = [str(name) for name in dataset.data_vars]
    own = where.rsplit("/", 1)[-1]
    if "usid_main" in dataset.attrs:
        yield _part(dataset, _whole_path(dataset, where))
    elif len(names) == 1 and names[0] in (own, f"{own}_values"):
        # a variable cannot share its name with a coordinate, a Main can
        array = dataset[names[0]]
        path = _whole_path(array, where)
        yield _plain_part(array.rename(own), path), origin_of(array)
    else:
        for name, array in dataset.data_vars.items():
            yield _part(array, _whole_path(array, f"{where.rstrip('/')}/{name}"))


def _whole_path(obj: Labelled, where: str) -> str:
    """Where a leaf goes: the tree of a result has leaves by their paths within its group."""
    origin = origin_of(obj)
    return where if origin is None or not origin.main.endswith(where) else origin.main


def _part(obj: Labelled, path: str | None) -> tuple[Part, Origin | None]:
    if isinstance(obj, xr.Dataset):
        return _dataset_part(obj, path)
    return _plain_part(obj, path), origin_of(obj)


def _dataset_part(dataset: xr.Dataset, path: str | None) -> tuple[Part, Origin | None]:
    variables = list(dataset.data_vars.values())
    origin = origin_of(dataset) or _common_origin(variables)
    if len(variables) == 1 and "usid_main" not in dataset.attrs:
        return _plain_part(variables[0], path), origin_of(variables[0])
    folded = _folded(dataset)
    if path is None and origin is not None:
        path = origin.main
    spec = compound_spec(folded, path=path)
    arrays = tuple(arrange(each, spec) for each in folded.data_vars.values())
    origins = tuple(map(origin_of, variables))
    return Part(spec, arrays, _extras(folded, spec), origins=origins), origin


def _common_origin(variables: list[xr.DataArray]) -> Origin | None:
    """The compound Main that all the variables are the fields of."""
    origins = {origin_of(each) for each in variables}
    if len(origins) != len(variables) or None in origins:
        return None
    mains = {(each.store, each.main, each.identity) for each in origins if each is not None}
    return next(iter(origins)) if len(mains) == 1 else None


def _plain_part(array: xr.DataArray, path: str | None) -> Part:
    origin = origin_of(array)
    if path is None and origin is not None and origin.field is None:
        path = origin.main
    folded = _folded(array)
    spec, arranged = as_main(folded, path=path)
    extras = _extras(folded, spec)
    if spec.dtype.names is None:
        return Part(spec, (arranged,), extras, origins=(origin,))
    fields = tuple(arranged.copy(data=arranged.data[name]) for name in spec.dtype.names)
    return Part(spec, fields, extras, origins=(None,) * len(fields))


def _folded(obj: Any) -> Any:
    """N-D from the 2-D form, where its rows are a grid's; a list of points stays one."""
    if set(obj.dims) != {"position", "spectroscopic"}:
        return obj
    try:
        return to_nd(obj)
    except LayoutError:
        return obj


def _extras(obj: xr.DataArray | xr.Dataset, spec: MainSpec) -> tuple[Extra, ...]:
    """The coordinates of `obj` that its spec says nothing of."""
    extras = []
    for name, each in further_coordinates(obj, (spec.position, spec.spectroscopic)).items():
        if each.nbytes > _LARGEST_EXTRA:
            raise OptionError(
                f"coordinate {name!r} of {spec.path!r} has {each.nbytes} bytes and is no part of "
                f"its layout; drop it with drop_vars({name!r}) or export it as a Main of its own"
            )
        dims = tuple(str(dim) for dim in each.dims)
        extras.append(Extra(name, dims, each.values, {**each.attrs}))
    return tuple(extras)


def _result_groups(found: list[tuple[Part, Origin | None]]) -> dict[str, dict[str, Any]]:
    """Attributes of each result group that Mains come from, by the path it will have."""
    groups: dict[str, dict[str, Any]] = {}
    for part, origin in found:
        group = part.spec.parent
        if origin is None or origin.result is None or group in groups:
            continue
        if group.rsplit("/", 1)[-1] != origin.result.rsplit("/", 1)[-1]:
            continue
        # The store may be gone, or the group: then the values are all there is.
        with contextlib.suppress(UsidError):
            record = store_behind(origin).result(origin.result)
            groups[group] = _result_attrs(record, _sources(record, found))
            labels = [described(spec) for spec in _specs_along(record, found)]
            if len(labels) == 1 == len(record.sources):
                groups[group][SOURCE_LABELS] = labels[0]
    return groups


def _result_attrs(record: ResultRecord, sources: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    """Attributes by which another store knows the result group again."""
    attrs = {name: value for name, value in record.attrs.items() if not name.startswith("source_")}
    attrs["tool"] = record.tool
    attrs["num_source_dsets"] = len(sources)
    attrs["usid_sources"] = [list(each) for each in sources]
    for number, (store, path) in enumerate(sources):
        if not store:
            attrs[f"source_{number:03d}"] = path
        elif number == 0:
            attrs["source_file_path"], attrs["source_dataset_path"] = store, path
    with contextlib.suppress(PlanError):
        attrs["usid_parameters"] = dump_parameters(record.parameters)
    if record.status != "unknown":
        attrs["usid_status"] = record.status
    return attrs


def _with_origin(part: Part, origin: Origin | None) -> Part:
    """`part` with where it comes from, what is computed of it, and where its step failed."""
    if origin is not None:
        part = replace(part, origin=(str(origin.store), origin.main))
    if origin is None or origin.result is None or origin.form != "nd":
        return part
    stored = store_behind(origin).open_main(origin.main)
    done = None
    if stored.completed is not None and stored.result and stored.result.status == "partial":
        done = stored.completed[(slice(None),) * stored.completed.ndim]
        if done.shape != part.spec.position.shape:
            return part
    failures = None if stored.failures is None else failed_at(stored.failures, done)
    if failures is not None and failures.numbers.shape != part.spec.position.shape:
        failures = None
    return replace(part, completed=done, failures=failures)


def _specs_along(record: ResultRecord, found: list[tuple[Part, Origin | None]]) -> list[MainSpec]:
    """What those sources of a result are that come along."""
    wanted = {(os.path.realpath(store or record.store), path) for store, path in record.sources}
    return [
        part.spec
        for part, origin in found
        if origin is not None and (os.path.realpath(origin.store), origin.main) in wanted
    ]


def _sources(
    record: ResultRecord, found: list[tuple[Part, Origin | None]]
) -> tuple[tuple[str, str], ...]:
    """The sources as the new store has them: those that come along are in it, others are not."""
    along = {
        (os.path.realpath(origin.store), origin.main): part.spec.path
        for part, origin in found
        if origin is not None
    }
    sources = []
    for store, path in record.sources:
        full = str(store or record.store)
        here = along.get((os.path.realpath(full), path))
        sources.append((full, path) if here is None else ("", here))
    return tuple(sources)
