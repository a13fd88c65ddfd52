"""Make a result group in an HDF5 file that is open in a transaction."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from usidx.errors import InvalidMainError, MainNotFoundError, PlanError
from usidx.model.names import clean_tool, next_index, result_name
from usidx.model.provenance import book_keeping, canonical, dump_parameters
from usidx.stores.base import OutputRequest, ResultRequest
from usidx.stores.compression import IN_HDF5, codec_of
from usidx.stores.hdf5.objects import attributes
from usidx.stores.hdf5.objects.place import REFERENCES
from usidx.stores.hdf5.writing.describe import (
    NewAncillaries,
    Side,
    create_dataset,
    describe_main,
    write_attribute,
    write_attributes,
)
from usidx.stores.hdf5.writing.encoding import Encoding, chunk_shape, encoding_of
from usidx.stores.hdf5.writing.failures import REASONS, create_failures, failures_name

STATUS = "usid_status"
_ZEROS_AT_ONCE = 2**22
_LARGEST_PARAMETER = 60_000


@dataclass(frozen=True)
class Span:
    """Bytes of a file that hold the values of one contiguous dataset.

    Parameters
    ----------
    name : path of the dataset
    header : where its object header is
    offset, nbytes : the bytes
    base : of the addresses in the file, counted from its beginning
    """

    name: str
    header: int
    offset: int
    nbytes: int
    base: int


@dataclass(frozen=True)
class Created:
    """A new result group: its path, and (values, marks) of each output by name.

    Values that are compressed have no place before they are there, but an Encoding.
    """

    group: str
    outputs: Mapping[str, tuple[Span | Encoding, Span]]


def create_group(file: h5py.File, request: ResultRequest) -> Created:
    """The next result group of `request`, whole but for its values.

    Raises
    ------
    MainNotFoundError : where the parent is no group, or there is no Main to share ancillaries with
    PlanError : for outputs that cannot be kept
    """
    _check_outputs(request.outputs)
    parent = _parent(file, request.parent)
    tool = clean_tool(request.tool)
    index = next_index(parent.keys(), request.main, tool)
    group = parent.create_group(result_name(request.main, tool, index))
    _describe_group(group, request, tool)
    ancillaries = NewAncillaries(group)
    alone = len(request.outputs) == 1
    codec = codec_of(request.compression, IN_HDF5, None, "an HDF5 file")
    outputs = {
        each.spec.name: _create_output(
            group, each, ancillaries, marks_name(each.spec.name, alone), codec
        )
        for each in request.outputs
    }
    if request.failures:
        create_failures(
            group, {each.spec.name: each.spec.position.size for each in request.outputs}
        )
    return Created(str(group.name), outputs)


def marks_name(main: str, alone: bool) -> str:
    """Name of the dataset that says which positions are complete; pyUSID knows the lone one."""
    return "completed_positions" if alone else f"completed_{main}_positions"


def span_of(dataset: h5py.Dataset) -> Span | None:
    """Where the values of a dataset lie in one piece; None where they do not."""
    offset = dataset.id.get_offset() if dataset.chunks is None else None
    nbytes = dataset.size * dataset.dtype.itemsize
    if offset is None or dataset.id.get_storage_size() != nbytes:
        return None
    base = dataset.file.userblock_size
    header = h5py.h5o.get_info(dataset.id).addr + base
    return Span(str(dataset.name), header, offset, nbytes, base)


def write_sources(group: h5py.Group, sources: tuple[tuple[str, str], ...]) -> None:
    """Write where a result comes from, as pyUSID does for one source, and `usid_sources` for all.

    Parameters
    ----------
    group : the result group
    sources : (store, path) of each; store is "" for the same file
    """
    write_attribute(group, "num_source_dsets", len(sources))
    for number, (store, path) in enumerate(sources):
        target = None if store else find(group.file, path)
        if isinstance(target, h5py.Dataset):
            group.attrs[f"source_{number:03d}"] = target.ref
        elif number == 0:
            write_attributes(group, {"source_file_path": store, "source_dataset_path": path})
    write_attribute(group, "usid_sources", [list(each) for each in sources])


def find(group: h5py.Group, path: str) -> Any:
    """The object at `path` in `group`, or None; not over links, which may lead to another file."""
    found: Any = group
    for part in [each for each in path.split("/") if each]:
        inside = isinstance(found, h5py.Group) and part in found
        if not inside or not isinstance(found.get(part, getlink=True), h5py.HardLink):
            return None
        found = found[part]
    return found


def _parent(file: h5py.File, path: str) -> h5py.Group:
    """The group at `path`; made where there is none, as results of a Main in another store need."""
    group: h5py.Group = file
    for part in [each for each in path.split("/") if each]:
        if part not in group and group.get(part, getlink=True) is None:
            write_attributes(group.create_group(part), book_keeping())
        found = find(group, part)
        if not isinstance(found, h5py.Group):
            raise MainNotFoundError(f"{path!r} leads to no group to put a result into")
        group = found
    return group


def _check_outputs(outputs: tuple[OutputRequest, ...]) -> None:
    names = [each.spec.name for each in outputs]
    if not names:
        raise PlanError("a result needs at least one output")
    alone = len(names) == 1
    taken = {*REFERENCES, REASONS, *(marks_name(name, alone) for name in names)}
    taken |= {failures_name(name, alone) for name in names}
    for name in names:
        if names.count(name) > 1 or name in taken or not name:
            raise PlanError(f"a result cannot have the outputs {names}: {name!r} is taken")
    for each in outputs:
        if each.spec.dtype.hasobject or each.spec.dtype.itemsize == 0:
            raise PlanError(
                f"output {each.spec.name!r} has values of {each.spec.dtype}; only numbers and "
                "records of numbers can be kept"
            )


def _describe_group(group: h5py.Group, request: ResultRequest, tool: str) -> None:
    own = {
        "tool": tool,
        "usid_version": request.version,
        "usid_fingerprint": request.fingerprint,
        "usid_parameters": dump_parameters(request.parameters),
        STATUS: "partial",
    }
    taken = {*book_keeping(), *own, "num_source_dsets", "usid_sources", "last_pixel"}
    plain = {
        name: value
        for name, value in _plain(canonical(request.parameters))
        if name not in taken and not name.startswith("source_")
    }
    write_attributes(group, {**request.attrs, **plain, **book_keeping(), **own})
    write_sources(group, request.sources)


def _plain(parameters: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The parameters for pyUSID's eyes; `usid_parameters` has all of them, exactly."""
    for name, value in parameters.items():
        if name and getattr(value, "nbytes", 0) <= _LARGEST_PARAMETER:
            yield name, value


def _create_output(
    group: h5py.Group,
    request: OutputRequest,
    ancillaries: NewAncillaries,
    marks: str,
    codec: str | None,
) -> tuple[Span | Encoding, Span]:
    spec = request.spec
    main = _create_main(group, request, codec)
    completed = create_dataset(group, marks, (spec.position.size,), np.dtype(np.uint8))
    for layout, shared in (
        (spec.position, request.share_position),
        (spec.spectroscopic, request.share_spectroscopic),
    ):
        if shared is None:
            side = ancillaries.side(layout, spec.name)
        else:
            side = _shared_side(group.file, shared, layout.role, layout.size)
        side.refer(main, layout.role)
    describe_main(main, spec)
    # room that HDF5 uses again has other bytes in it, and a mark must never be there by chance
    for start in range(0, completed.size, _ZEROS_AT_ONCE):
        count = min(_ZEROS_AT_ONCE, completed.size - start)
        completed[start : start + count] = np.zeros(count, np.uint8)
    places = encoding_of(main) if codec else span_of(main), span_of(completed)
    if main.dtype.itemsize != spec.dtype.itemsize or places[0] is None or places[1] is None:
        raise PlanError(
            f"output {spec.name!r} of {spec.dtype} gets no room of its own in an HDF5 file; "
            "convert it to plain numbers"
        )
    return places[0], places[1]


def _create_main(group: h5py.Group, request: OutputRequest, codec: str | None) -> h5py.Dataset:
    spec = request.spec
    if codec is None:
        return create_dataset(group, spec.name, spec.shape_2d, spec.dtype)
    rows, columns = chunk_shape(spec, request.block)
    # no more than a block has: else blocks that have a part of a chunk would wait for one another
    run = math.prod(request.block[: len(spec.position.shape)])
    encoding = Encoding(codec, spec.dtype.names is None, (min(rows, run), columns), spec.dtype)
    return group.create_dataset(spec.name, spec.shape_2d, spec.dtype, **encoding.options())


def _shared_side(file: h5py.File, path: str, role: str, size: int) -> Side:
    """The ancillaries of one side of the Main at `path`, which must have `size` rows."""
    main = find(file, path)
    if not isinstance(main, h5py.Dataset):
        raise MainNotFoundError(f"there is no Main {path!r} to share {role} ancillaries with")
    found = []
    for name in (f"{role.capitalize()}_Indices", f"{role.capitalize()}_Values"):
        referred = attributes.read_reference(main, name)
        if referred.found != "dataset":
            raise InvalidMainError(f"{path!r} has no {name}: found {referred}")
        axis = 0 if role == "position" else 1
        if referred.target.ndim != 2 or referred.target.shape[axis] != size:
            raise PlanError(
                f"{name} of {path!r} have the shape {referred.target.shape}, but the new Main has "
                f"{size} {role} rows; do not share them"
            )
        found.append(referred.target)
    return Side(*found)
