"""Everything in a Zarr store: its groups, and what they hold besides Mains."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from usidx.errors import MainNotFoundError, UnsafeStoreError, UsidError
from usidx.model.names import natural_key
from usidx.stores.base import Candidate, Contents, ResultRecord, StoredDataset, StoredGroup
from usidx.stores.leaves.attributes import unpack
from usidx.stores.zarr import read
from usidx.stores.zarr.array import open_array
from usidx.stores.zarr.nodes import Node, children, entry_of, folder_of, read_node, walk
from usidx.stores.zarr.plain_dataset import DATASET, RECORDS


def candidates(root: str, allow: tuple[str, ...] = (), ending: str = "") -> tuple[Candidate, ...]:
    """Every Main whose path is `ending` or ends with it, without its metadata."""
    groups: dict[str, Node] = {}
    found = []
    wanted = "/" + ending.strip("/")
    for path, node in walk(root, allow):
        groups[path] = node
        parent = path.rpartition("/")[0]
        fits = wanted == "/" or path.endswith(wanted)
        if fits and entry_of(node).get("kind") == "main":
            result = parent in groups and read.is_result(parent, groups[parent])
            found.append(Candidate(path, "result" if result else "raw"))
    return tuple(found)


def contents(root: str, allow: tuple[str, ...] = ()) -> Contents:
    """Every group and Main of the store."""
    groups, mains, refused = [], [], {}
    for path, node in walk(root, allow):
        if entry_of(node).get("kind") == RECORDS:
            continue  # a dataset of the group above
        if entry_of(node).get("kind") != "main":
            arrays = tuple(_arrays(root, path, allow))
            groups.append(StoredGroup(path, _attrs(node), arrays))
            continue
        try:
            mains.append(read.open_main(root, path, allow))
        except UnsafeStoreError:
            raise  # such a store is refused as a whole
        except UsidError as error:
            refused[path] = error
    return Contents(tuple(groups), tuple(mains), refused)


def dataset(root: str, path: str, allow: tuple[str, ...] = ()) -> StoredDataset:
    """The array at `path`, or the values of the Main there.

    Raises
    ------
    MainNotFoundError : where there is none
    """
    path = "/" + path.strip("/")
    node = read_node(folder_of(root, path))
    if node is not None and _is_dataset(node):
        return _dataset(root, path, node, allow)
    if node is None or entry_of(node).get("kind") != "main":
        raise MainNotFoundError(f"{root!r} has no array {path!r}")
    main = read.open_main(root, path, allow)
    return StoredDataset(path, main.array, main.spec.attrs, main.spec.dims, chunks=main.chunks)


def attrs(root: str, path: str) -> Mapping[str, Any]:
    """Attributes of the group or array at `path`; of a Main, those of its values.

    Raises
    ------
    MainNotFoundError : where there is none
    """
    folder = folder_of(root, path)
    node = read_node(folder)
    if node is None:
        raise MainNotFoundError(f"{root!r} has no {path!r}")
    entry = entry_of(node)
    if entry.get("kind") != "main":
        return _attrs(node)
    keys = [str(each["key"]) for each in entry.get("fields", [])]
    values = read_node(os.path.join(folder, keys[0])) if keys else None
    return unpack({} if values is None else values["attributes"], entry.get("attrs", {}))


def result_of(root: str, main: str) -> ResultRecord | None:
    """The result group that the Main at `main` lies in; None for raw data.

    Raises
    ------
    MainNotFoundError : where there is no such Main
    """
    main = "/" + main.strip("/")
    node = read_node(folder_of(root, main))
    if node is None or entry_of(node).get("kind") != "main":
        raise MainNotFoundError(f"{root!r} has no Main {main!r}")
    parent = main.rpartition("/")[0]
    group = read_node(folder_of(root, parent)) if parent else None
    if group is None or not read.is_result(parent, group):
        return None
    return read.result(root, parent)


def _attrs(node: Node) -> Mapping[str, Any]:
    return unpack(node["attributes"], entry_of(node).get("attrs", {}))


def _arrays(root: str, path: str, allow: tuple[str, ...]) -> Iterator[StoredDataset]:
    """The arrays right in a group, and those of records, which are groups of one for each field."""
    folder = folder_of(root, path)
    for name in sorted(children(folder), key=natural_key):
        node = read_node(os.path.join(folder, name))
        if node is not None and _is_dataset(node):
            yield _dataset(root, f"{path.rstrip('/')}/{name}", node, allow)


def _is_dataset(node: Node) -> bool:
    return bool(node["node_type"] == "array" or entry_of(node).get("kind") == RECORDS)


def _dataset(root: str, path: str, node: Node, allow: tuple[str, ...]) -> StoredDataset:
    parent, _, name = path.rpartition("/")
    folder = folder_of(root, parent)
    entry, said = entry_of(node), _attrs(node)
    keys: tuple[str, ...] = (name,)
    dtype: np.dtype[Any] | None = None
    # what was written whole by usidx has every chunk
    absent = "error" if entry.get("kind") in (DATASET, RECORDS) else "fill"
    if node["node_type"] == "group":
        folder = os.path.join(folder, name)
        fields = [(str(each["name"]), str(each["key"]), each["dtype"]) for each in entry["fields"]]
        keys = tuple(key for _, key, _ in fields)
        dtype = np.dtype([(field, str(kind)) for field, _, kind in fields])
        node = read_node(os.path.join(folder, keys[0])) or node
    elif "dtype" in entry:
        dtype = np.dtype(object if entry["dtype"] == "text" else str(entry["dtype"]))
    array = open_array(root, folder, keys, dtype, absent=absent, allow=allow)
    labels = node.get("dimension_names") or ()
    return StoredDataset(
        path=path,
        array=array,
        attrs=said,
        labels=tuple(
            _label(str(label or ""), name, axis) if absent == "error" else str(label or "")
            for axis, label in enumerate(labels)
        ),
        chunks=array.chunks,
    )


def _label(dimension: str, name: str, axis: int) -> str:
    """What an axis is called, from the name of a dimension that was made of it."""
    label = dimension.removeprefix(f"{name}_")
    return "" if label == str(axis) else label
