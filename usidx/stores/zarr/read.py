"""What is in a Zarr store: its Mains and its result groups."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from usidx.errors import DamagedStoreError, MainNotFoundError, did_you_mean
from usidx.model.blocks import whole_chunks
from usidx.model.dimension import Array, Dimension
from usidx.model.layout import Coordinate, Grid
from usidx.model.main import MainSpec
from usidx.model.names import natural_key, parse_result
from usidx.stores.base import MainEntry, ResultRecord, StoredMain
from usidx.stores.leaves.attributes import unpack
from usidx.stores.leaves.further import further_from
from usidx.stores.leaves.leaf import check_version, dims_and_shape, dtype_from, spec_from
from usidx.stores.leaves.records import (
    is_result_name,
    record_from,
    shown_status,
    sources_from,
    status_from,
)
from usidx.stores.zarr.array import ZarrArray, open_array, read_whole
from usidx.stores.zarr.failures import count_failed, failures_of, numbers_of
from usidx.stores.zarr.nodes import (
    Node,
    check_node,
    children,
    entry_of,
    folder_of,
    read_node,
    walk,
)


def mains(root: str, allow: tuple[str, ...] = ()) -> tuple[MainEntry, ...]:
    """Every Main of the store, in natural order of the paths."""
    return tuple(
        _main_entry(root, path, node, parent) for path, node, parent in _leaves(root, allow)
    )


def open_main(root: str, path: str, allow: tuple[str, ...] = ()) -> StoredMain:
    """The Main at `path`: its metadata and coordinates are read, none of its values.

    Raises
    ------
    MainNotFoundError : where there is none at that path
    NotUsidError : where it is written in a later version of the format
    DamagedStoreError : where its metadata, coordinates or arrays are missing or cannot be read
    """
    folder = folder_of(root, path)
    check_node(root, folder, allow)
    node = read_node(folder)
    if node is None or entry_of(node).get("kind") != "main":
        known = [each for each, *_ in _leaves(root, allow)]
        raise MainNotFoundError(
            f"{root!r} has no Main {path!r}{did_you_mean(path, known)}; it has "
            f"{', '.join(known) or 'none'}"
        )
    path = "/" + path.strip("/")
    entry = entry_of(node)
    check_version(entry, path)
    keys = _field_keys(entry, path)
    check_node(root, os.path.join(folder, keys[0]), allow)
    first = read_node(os.path.join(folder, keys[0]))
    plain = {} if first is None else first["attributes"]
    spec = spec_from(path, entry, plain, lambda key: read_whole(root, folder, key, allow))
    result = _result_of(root, path)
    partial = result is not None and result.status != "complete" and entry.get("marks")
    array = open_array(
        root,
        folder,
        keys,
        spec.dtype,
        absent="unmarked" if partial else "error",
        marks=str(entry["marks"]) if partial else "",
        allow=allow,
        # what is read of a partial result differs from one time to the next
        token=uuid.uuid4().hex if partial else "",
    )
    if array.shape != spec.shape:
        raise DamagedStoreError(
            f"{path!r} in {root!r} has values of shape {array.shape}, its coordinates need "
            f"{spec.shape} ({', '.join(spec.dims)}); restore the store from a copy"
        )
    completed = _marks_array(root, folder, entry, allow) if partial else None
    done = read_marks(root, path, node) if partial and numbers_of(node) else None
    failed = 0 if result is None else count_failed(root, folder, node, done)
    return StoredMain(
        store=root,
        spec=spec,
        array=array,
        chunks=whole_chunks(array.shape, array.chunks, array.dtype.itemsize),
        identity=_identity(spec, array),
        completed=completed,
        result=result,
        allow_external=allow,
        failures=failures_of(root, folder, node, failed, allow),
        further=further_from(
            entry, path, lambda key: open_array(root, folder, (key,), None, allow=allow)
        ),
    )


def results(root: str, main: str, allow: tuple[str, ...] = ()) -> tuple[ResultRecord, ...]:
    """Result groups of the Main at path `main`, oldest first.

    Those that refer to it, wherever they are, and those beside it that are named after it and
    refer to no other Main of the store.
    """
    main = "/" + main.strip("/")
    parent, _, name = main.rpartition("/")
    found = []
    for path, node in walk(root, allow):
        if not is_result(path, node):
            continue
        here = [each for store, each in sources_from(node["attributes"]) if not store]
        group, _, called = path.rpartition("/")
        beside = group == parent and parse_result(called, name) is not None
        if main in here or (beside and not here):
            found.append(path)
    records = [result(root, each) for each in sorted(found, key=natural_key)]
    return tuple(sorted(records, key=lambda record: str(record.attrs.get("timestamp", ""))))


def result(root: str, group: str) -> ResultRecord:
    """The result group at path `group`.

    Raises
    ------
    MainNotFoundError : where there is no group of that name
    """
    node = read_node(folder_of(root, group))
    group = "/" + group.strip("/")
    if node is None or not is_result(group, node):
        raise MainNotFoundError(f"{root!r} has no result group {group!r}")
    return _record(root, group, node)


def is_result(path: str, node: Node) -> bool:
    """Whether a group is one of results, by its exact name; a Main may be called like one."""
    if node["node_type"] != "group" or entry_of(node).get("kind") == "main":
        return False
    return is_result_name(path)


def leaves_of(root: str, group: str) -> list[tuple[str, Node]]:
    """(path, node) of each Main right in a group."""
    folder = folder_of(root, group)
    nodes = [(name, read_node(os.path.join(folder, name))) for name in children(folder)]
    return [
        (f"{group.rstrip('/')}/{name}", node)
        for name, node in sorted(nodes, key=lambda each: natural_key(each[0]))
        if node is not None and entry_of(node).get("kind") == "main"
    ]


def read_marks(root: str, path: str, node: Node) -> Array:
    """Which positions of a Main are marked complete, position-shaped; all, where nothing is marked.

    Raises
    ------
    DamagedStoreError : where the marks cannot be read
    """
    entry = entry_of(node)
    folder = folder_of(root, path)
    if not entry.get("marks"):
        n_position = _n_position(entry)
        return np.ones(dims_and_shape(entry)[1][:n_position], dtype=bool)
    array = _marks_array(root, folder, entry, ())
    return array[(slice(None),) * array.ndim]


def _leaves(root: str, allow: tuple[str, ...]) -> Iterator[tuple[str, Node, Node | None]]:
    """(path, node, node of the group it is in) of every Main."""
    groups: dict[str, Node] = {}
    for path, node in walk(root, allow):
        groups[path] = node
        if entry_of(node).get("kind") == "main":
            yield path, node, groups.get(path.rpartition("/")[0] or "/")


def _main_entry(root: str, path: str, node: Node, parent: Node | None) -> MainEntry:
    entry = entry_of(node)
    check_version(entry, path)
    try:
        dims, shape = dims_and_shape(entry)
        dtype = dtype_from(entry)
        quantity, units = str(entry["quantity"]), str(entry["units"])
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedStoreError(
            f"the 'usid' attribute of {path!r} in {root!r} does not describe a Main ({error!r})"
        ) from error
    of_result = parent is not None and is_result(path.rpartition("/")[0], parent)
    return MainEntry(
        path=path,
        dims=dims,
        shape=shape,
        quantity=quantity,
        units=units,
        dtype=dtype,
        kind="result" if of_result else "raw",
        status=_shown_status(root, path, node, parent) if of_result and parent else "complete",
    )


def _shown_status(root: str, path: str, node: Node, parent: Node) -> str:
    status = status_from(parent["attributes"])
    if status != "partial" and not numbers_of(node):
        return status
    marks = read_marks(root, path, node)
    failed = count_failed(root, folder_of(root, path), node, marks)
    return shown_status(status, int(marks.sum()), marks.size, failed)


def _result_of(root: str, path: str) -> ResultRecord | None:
    """The record of the group that the Main at `path` is in, where that is a result group."""
    group = path.rpartition("/")[0]
    node = read_node(folder_of(root, group)) if group else None
    return _record(root, group, node) if node is not None and is_result(group, node) else None


def _record(root: str, group: str, node: Node) -> ResultRecord:
    attributes, entry = node["attributes"], entry_of(node)
    attrs = unpack(attributes, entry.get("attrs", {}))
    inside = leaves_of(root, group)
    sizes = [_positions(leaf) for _, leaf in inside]
    done, failed = sum(sizes), 0
    partial = status_from(attrs) == "partial"
    if partial:
        done = sum(int(read_marks(root, path, leaf).sum()) for path, leaf in inside)
    for path, leaf in inside:
        marks = read_marks(root, path, leaf) if partial and numbers_of(leaf) else None
        failed += count_failed(root, folder_of(root, path), leaf, marks)
    mains = tuple(path for path, _ in inside)
    return record_from(root, group, attrs, mains=mains, done=done, total=sum(sizes), failed=failed)


def _n_position(entry: Mapping[str, Any]) -> int:
    side = entry["position"]
    return 1 if side["kind"] == "points" else len(side["dimensions"])


def _positions(node: Node) -> int:
    entry = entry_of(node)
    return int(np.prod(dims_and_shape(entry)[1][: _n_position(entry)], dtype=np.int64))


def _field_keys(entry: Mapping[str, Any], path: str) -> tuple[str, ...]:
    try:
        return tuple(str(each["key"]) for each in entry["fields"])
    except (KeyError, TypeError) as error:
        raise DamagedStoreError(
            f"the 'usid' attribute of {path!r} names no array of values; restore the store"
        ) from error


def _marks_array(
    root: str, folder: str, entry: Mapping[str, Any], allow: tuple[str, ...]
) -> ZarrArray:
    return open_array(
        root,
        folder,
        (str(entry["marks"]),),
        np.dtype(bool),
        absent="marks",
        allow=allow,
        token=uuid.uuid4().hex,
    )


def _identity(spec: MainSpec, array: ZarrArray) -> str:
    """Digest of what the Main is: metadata, coordinates and a sample of its stored bytes."""
    digest = hashlib.sha256()
    facts = [spec.path, spec.quantity, spec.units, spec.dims, spec.shape, str(spec.dtype)]
    digest.update(json.dumps(facts).encode())
    for side in (spec.position, spec.spectroscopic):
        grid = isinstance(side, Grid)
        parts: tuple[Dimension | Coordinate, ...] = (
            (*side.dimensions, *side.dependent) if isinstance(side, Grid) else side.columns
        )
        for part in parts:
            digest.update(json.dumps([grid, part.name, part.file_label, part.units]).encode())
            for values in (part.values, part.indices):
                digest.update(b"none" if values is None else _bytes(values))
        digest.update(b"raster" if side.order is None else _bytes(side.order))
    for piece in array.sample():
        digest.update(piece)
    return digest.hexdigest()


def _bytes(values: Array) -> bytes:
    if values.dtype.kind in "OT":
        return json.dumps(values.tolist()).encode()
    return np.ascontiguousarray(values).tobytes()
