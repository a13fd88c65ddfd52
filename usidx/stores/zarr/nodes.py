"""Nodes of a Zarr hierarchy on disk: the files that describe them, read and written whole."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal

from usidx.errors import (
    DamagedStoreError,
    MainNotFoundError,
    StoreNotFoundError,
    UnsafeStoreError,
)
from usidx.model.names import natural_key
from usidx.stores import disk
from usidx.stores.remote import objects
from usidx.stores.remote.url import Url
from usidx.stores.zarr import version2

Node = dict[str, Any]
ZarrFormat = Literal[2, 3]
FILE = "zarr.json"
METADATA = (FILE, *version2.FILES, version2.COPIES)
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

    A node of Zarr v2 is shown in the same words; its "zarr_format" is 2.

    Raises
    ------
    DamagedStoreError : for what are no Zarr metadata
    """
    node = _content(folder, FILE)
    if node is None:
        node = version2.node_from(partial(_content, folder))
        if node is None:
            return None
    if not isinstance(node, dict) or node.get("node_type") not in ("group", "array"):
        raise DamagedStoreError(f"the metadata in {folder!r} describe no Zarr group or array")
    if not isinstance(node.setdefault("attributes", {}), dict):
        raise DamagedStoreError(f"the attributes in {folder!r} are no JSON object")
    return node


def _content(folder: str, name: str) -> Any:
    """What a JSON file says, None where there is none."""
    file = os.path.join(folder, name)
    try:
        if isinstance(file, Url):
            text = objects.read(file)
            return None if text is None else json.loads(text)
        with open(file, "rb") as stream:
            return json.load(stream)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, RecursionError) as error:
        raise DamagedStoreError(
            f"{file!r} is no JSON ({error}); restore the store from a copy"
        ) from error


def metadata_file(folder: str) -> str:
    """The file that tells one state of a node from another: the attributes of a group are in it."""
    for name in (FILE, version2.ARRAY, version2.ATTRS, version2.GROUP):
        file = os.path.join(folder, name)
        if os.path.exists(file):
            return file
    return os.path.join(folder, FILE)


def format_of(root: str) -> ZarrFormat:
    """The format of the store at `root`; 3 where there is none yet."""
    node = read_node(root)
    return 2 if node is not None and node.get("zarr_format") == 2 else 3


def write_node(folder: str, node: Node, *, wait: bool = True) -> None:
    """Put `node` into `folder` in one step: readers see the old attributes or the new ones.

    It is on disk when this returns, for a store without its metadata is lost; but for `wait=False`,
    in a folder that is made aside.
    """
    files = version2.files_of(node) if node["zarr_format"] == 2 else {FILE: node}
    for name, content in files.items():
        file = os.path.join(folder, name)
        if name != version2.GROUP or not os.path.exists(file):
            _put(file, content, wait=wait)


def _put(file: str, content: Any, *, wait: bool) -> None:
    text = json.dumps(content, allow_nan=False, ensure_ascii=False, indent=1)
    disk.put(file, text.encode(), wait=wait)


def group_node(attributes: Mapping[str, Any] | None = None, zarr_format: ZarrFormat = 3) -> Node:
    """A new group."""
    return {
        "attributes": dict(attributes or {}),
        "zarr_format": zarr_format,
        "node_type": "group",
    }


def entry_of(node: Node) -> Mapping[str, Any]:
    """The "usid" entry of a group's attributes, empty where it has none."""
    entry = node["attributes"].get("usid")
    return entry if isinstance(entry, dict) else {}


def stamp_of(folder: str) -> Stamp:
    """(inode, time of change in ns, size) of a node's metadata: other ones once it is replaced."""
    if isinstance(folder, Url):
        return _stamp_afar(folder)
    status = os.stat(metadata_file(folder))
    return status.st_ino, status.st_mtime_ns, status.st_size


def _stamp_afar(folder: Url) -> Stamp:
    for name in (FILE, version2.ARRAY, version2.ATTRS):
        try:
            version = objects.version_of(folder.joined(name))
        except (FileNotFoundError, StoreNotFoundError):
            continue
        return version.tag, 0, version.size
    version = objects.version_of(folder.joined(version2.GROUP))
    return version.tag, 0, version.size


def children(folder: str) -> list[str]:
    """Names of the nodes right below a group, in no order."""
    if isinstance(folder, Url):
        return objects.names_in(folder) if objects.lists(folder) else _told_children(folder)
    with os.scandir(folder) as entries:
        return [
            each.name
            for each in entries
            if each.is_dir() and os.path.exists(metadata_file(each.path))
        ]


def _told_children(folder: Url) -> list[str]:
    """The same where nothing can be listed, from the copies that `consolidate` made."""
    place, below = folder, ""
    node = read_node(place)
    while node is not None:
        copies = node.get("consolidated_metadata")
        paths = list(copies.get("metadata", {})) if isinstance(copies, dict) else None
        if node.get("zarr_format") == 2 and (copies := _content(place, version2.COPIES)):
            paths = version2.names_in(copies)
        if paths is not None:
            names = [path.removeprefix(below) for path in paths if path.startswith(below)]
            return list(dict.fromkeys(name.split("/")[0] for name in names if name))
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
    check_node(root, folder, allow)
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


def check_node(root: str, folder: str, allow: Sequence[str] = ()) -> None:
    """Refuse a node whose metadata are not within the store once links are followed.

    Raises
    ------
    UnsafeStoreError : where they are outside, and in none of the folders `allow`
    """
    known = metadata_file(folder) if not isinstance(folder, Url) else folder
    check_inside(root, known, allow)
    if isinstance(folder, Url) or known.endswith(FILE):
        return
    for name in version2.FILES:
        if os.path.islink(os.path.join(folder, name)):
            check_inside(root, os.path.join(folder, name), allow)


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
    if top["zarr_format"] == 2:
        known = version2.consolidated([("", top), *copies.items()])
        _put(os.path.join(root, version2.COPIES), known, wait=True)
        return
    top["consolidated_metadata"] = {"kind": "inline", "must_understand": False, "metadata": copies}
    write_node(root, top)


def unconsolidate(root: str) -> None:
    """Take the copies away that `consolidate` made, before what they are of is replaced.

    Plain xarray then looks at the nodes themselves; it must not read new values by old metadata.
    """
    if os.path.exists(copies := os.path.join(root, version2.COPIES)):
        disk.remove(copies)
        disk.sync_folder(root)
    top = read_node(root)
    if top is not None and top.pop("consolidated_metadata", None) is not None:
        write_node(root, top)


def size_of_metadata(root: str) -> int:
    """Bytes of the copies that `consolidate` made, and of what lies beside them."""
    files = (os.path.join(root, name) for name in METADATA)
    return sum(os.path.getsize(file) for file in files if os.path.exists(file))
