"""Nodes of a Zarr hierarchy on disk: the `zarr.json` files, read and written whole."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from usidx.errors import DamagedStoreError, MainNotFoundError, UnsafeStoreError
from usidx.model.names import natural_key
from usidx.stores import disk
from usidx.stores.remote import objects
from usidx.stores.remote.url import Url

Node = dict[str, Any]
FILE = "zarr.json"
Stamp = tuple[int, int, int]


def folder_of(root: str, path: str) -> str:
    """The folder of the node at `path` of the store `root`.

    Raises
    ------
    MainNotFoundError : for a path that no node can have
    """
    parts = [part for part in path.split("/") if part]
    if any(part in (".", "..") or "\0" in part or os.sep in part for part in parts):
        raise MainNotFoundError(f"{path!r} is no path within the store {root!r}")
    return os.path.join(root, *parts)


def read_node(folder: str) -> Node | None:
    """What the `zarr.json` in `folder` says, None where there is none.

    Raises
    ------
    DamagedStoreError : for one that is no Zarr v3 metadata
    """
    file = os.path.join(folder, FILE)
    try:
        if isinstance(file, Url):
            text = objects.read(file)
            if text is None:
                return None
            node = json.loads(text)
        else:
            with open(file, "rb") as stream:
                node = json.load(stream)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, RecursionError) as error:
        raise DamagedStoreError(
            f"{file!r} is no JSON ({error}); restore the store from a copy"
        ) from error
    if not isinstance(node, dict) or node.get("node_type") not in ("group", "array"):
        raise DamagedStoreError(f"{file!r} describes no Zarr v3 group or array")
    if not isinstance(node.setdefault("attributes", {}), dict):
        raise DamagedStoreError(f"the attributes in {file!r} are no JSON object")
    return node


def write_node(folder: str, node: Node, *, wait: bool = True) -> None:
    """Put `node` into `folder` in one step: readers see the old `zarr.json` or the new one.

    It is on disk when this returns, for a store without its metadata is lost; but for `wait=False`,
    in a folder that is made aside.
    """
    text = json.dumps(node, allow_nan=False, ensure_ascii=False, indent=1)
    disk.put(os.path.join(folder, FILE), text.encode(), wait=wait)


def group_node(attributes: Mapping[str, Any] | None = None) -> Node:
    """A new group."""
    return {"attributes": dict(attributes or {}), "zarr_format": 3, "node_type": "group"}


def entry_of(node: Node) -> Mapping[str, Any]:
    """The "usid" entry of a group's attributes, empty where it has none."""
    entry = node["attributes"].get("usid")
    return entry if isinstance(entry, dict) else {}


def stamp_of(folder: str) -> Stamp:
    """(inode, time of change in ns, size) of a node's metadata: other ones once it is replaced."""
    file = os.path.join(folder, FILE)
    if isinstance(file, Url):
        version = objects.version_of(file)
        return version.tag, 0, version.size
    status = os.stat(file)
    return status.st_ino, status.st_mtime_ns, status.st_size


def children(folder: str) -> list[str]:
    """Names of the nodes right below a group, in no order."""
    if isinstance(folder, Url):
        return objects.names_in(folder) if objects.lists(folder) else _told_children(folder)
    with os.scandir(folder) as entries:
        return [
            each.name
            for each in entries
            if each.is_dir() and os.path.exists(os.path.join(each.path, FILE))
        ]


def _told_children(folder: Url) -> list[str]:
    """The same where nothing can be listed, from the copies that `consolidate` made."""
    place, below = folder, ""
    node = read_node(place)
    while node is not None:
        copies = node.get("consolidated_metadata")
        if isinstance(copies, dict):
            names = [name.removeprefix(below) for name in copies.get("metadata", {})
                     if name.startswith(below)]  # fmt: skip
            return list(dict.fromkeys(name.split("/")[0] for name in names))
        below = f"{place.name}/{below}"
        place = place.parent
        node = read_node(place)
    raise DamagedStoreError(
        f"what is in {str(folder)!r} cannot be listed, and no consolidated metadata tell it; "
        "download the store and open the copy"
    )


def walk(root: str, allow: Sequence[str] = (), path: str = "/") -> Iterator[tuple[str, Node]]:
    """(path, node) of every group, from `path` down, parents first; Mains are not looked into.

    Raises
    ------
    UnsafeStoreError : where a folder, or the metadata in it, is a link out of the store
    """
    folder = folder_of(root, path)
    check_inside(root, os.path.join(folder, FILE), allow)
    node = read_node(folder)
    if node is None or node["node_type"] != "group":
        return
    yield path, node
    if entry_of(node).get("kind") == "main":
        return
    for name in sorted(children(folder), key=natural_key):
        inner = os.path.join(folder, name)
        if os.path.islink(inner) and is_inside(root, inner):
            continue  # another name of a node that is met under its own
        yield from walk(root, allow, path.rstrip("/") + "/" + name)


def check_inside(root: str, place: str, allow: Sequence[str] = ()) -> None:
    """Refuse a folder or file that is not within the store once links are followed.

    Raises
    ------
    UnsafeStoreError : where it is outside, and in none of the folders `allow`
    """
    if isinstance(place, Url) or any(is_inside(home, place) for home in (root, *allow)):
        return
    real = os.path.realpath(place)
    raise UnsafeStoreError(
        f"{place!r} is a link to {real!r}, outside the store {root!r}; if you trust it, open the "
        f"store with allow_external=[{os.path.dirname(real)!r}]"
    )


def is_inside(home: str, place: str) -> bool:
    """Whether `place` is in the folder `home` once links are followed."""
    real_home = os.path.realpath(home)
    return os.path.commonpath([os.path.realpath(place), real_home]) == real_home


def consolidate(root: str, coming: Mapping[str, Node] | None = None) -> None:
    """Write the metadata of every node into that of the root, where plain xarray looks first.

    Only our own writers call this, at the end of each change; usidx itself never reads the copy.

    Parameters
    ----------
    root : the store
    coming : groups as they will be in a moment, by their paths
    """
    top = read_node(root)
    if top is None or top["node_type"] != "group":
        return
    copies: dict[str, Node] = {}
    for path, found in walk(root):
        name = path.strip("/")
        node = (coming or {}).get(path, found)
        if name:
            copies[name] = {
                key: value for key, value in node.items() if key != "consolidated_metadata"
            }
        folder = folder_of(root, path)
        # a Main has its fields in order there
        first = list(node.get("consolidated_metadata", {}).get("metadata", {}))
        for child in dict.fromkeys([*first, *sorted(children(folder))]):
            inner = read_node(os.path.join(folder, child))
            if inner is not None and inner["node_type"] == "array":
                copies[f"{name}/{child}".lstrip("/")] = inner
    top["consolidated_metadata"] = {"kind": "inline", "must_understand": False, "metadata": copies}
    write_node(root, top)


def unconsolidate(root: str) -> None:
    """Take the copies away that `consolidate` made, before what they are of is replaced.

    Plain xarray then looks at the nodes themselves; it must not read new values by old metadata.
    """
    top = read_node(root)
    if top is not None and top.pop("consolidated_metadata", None) is not None:
        write_node(root, top)
