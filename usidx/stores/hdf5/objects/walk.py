"""What lies in an HDF5 file, each object once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any, Literal, NamedTuple

import h5py

from usidx.stores.hdf5.objects.place import REFERENCES

Address = tuple[int, int]
_KINDS: dict[int, Literal["group", "dataset", "datatype"]] = {
    h5py.h5o.TYPE_GROUP: "group",
    h5py.h5o.TYPE_DATASET: "dataset",
    h5py.h5o.TYPE_NAMED_DATATYPE: "datatype",
}
# Objects of a small file.
_FEW = 64
_ENCODED = tuple(name.encode() for name in REFERENCES)


class Item(NamedTuple):
    """An object of a file: the first path that leads to it, and where it is."""

    path: str
    kind: Literal["group", "dataset", "datatype"]
    address: Address
    n_attributes: int


class Catalog:
    """What lies in an open file, looked up once, when it is first asked for.

    Parameters
    ----------
    file : open for reading
    follow_external : whether to look behind external links, too
    """

    def __init__(self, file: h5py.File, follow_external: bool = False) -> None:
        self.file = file
        self._follow_external = follow_external
        # HDF5 gives a file a new number each time it is opened, so others are kept open
        self._others: list[h5py.HLObject] = []

    @cached_property
    def items(self) -> tuple[Item, ...]:
        """Every object but the root, in the order of the file."""
        if self._follow_external:
            return tuple(_walk_beyond(self.file, None, self._others))
        return tuple(walk(self.file))

    def close(self) -> None:
        """Close the other files that links led to."""
        for each in self._others:
            if each:  # else it was in a file that is closed by now
                each.file.close()
        self._others.clear()

    @cached_property
    def candidates(self) -> tuple[str, ...]:
        """Paths of all that may be a Main: 2-D, with one of the four references."""
        return tuple(each.path for each in self.items if _may_be_main(self.file, each, each.path))

    @cached_property
    def holds_main(self) -> bool:
        """Whether there is a candidate; in large files the first one ends the search."""
        if len(self.items) <= _FEW:  # where the others are wanted next
            return bool(self.candidates)
        return any(_may_be_main(self.file, each, each.path) for each in self.items)

    def candidates_called(self, ending: str) -> tuple[str, ...]:
        """Those of the candidates whose path is `ending`, or ends with it after a "/"."""
        wanted = "/" + ending.strip("/")
        if wanted == "/":
            return self.candidates
        found = (each for each in self.items if each.path.endswith(wanted))
        return tuple(each.path for each in found if _may_be_main(self.file, each, each.path))

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """Paths of all groups, the root first."""
        return ("/", *(each.path for each in self.items if each.kind == "group"))

    @cached_property
    def _paths(self) -> dict[Address, str]:
        return {address_of(self.file): "/"} | {each.address: each.path for each in self.items}

    def path_of(self, obj: h5py.HLObject) -> str | None:
        """The first path of an object that a reference led to; None where no link leads to it.

        HDF5 itself would search the file for each object.
        """
        return self._paths.get(address_of(obj))

    def near(self, obj: h5py.HLObject, path: str, name: str) -> str | None:
        """`path_of(obj)` without a search, if it is called `name` beside `path` or one above it."""
        address, parent = address_of(obj), path.rpartition("/")[0]
        for folder in dict.fromkeys([parent, parent.rpartition("/")[0]]):
            likely = f"{folder}/{name}"
            if address_at(self.file, likely) == address:
                return likely
        return self.path_of(obj)


def address_at(file: h5py.File, path: str) -> Address | None:
    """The address of the object at `path`; None where there is none."""
    try:
        info = h5py.h5o.get_info(file.id, encoded(path))
    except (KeyError, RuntimeError, ValueError):
        return None
    return int(info.fileno), int(info.addr)


def find(group: h5py.Group, path: str) -> Any:
    """The object at `path`, whatever links lead there; None where there is none."""
    found = group.get(encoded(path))
    if found is None and not path.isascii():
        # HDF5 takes any bytes for a name, and old programs have written Latin-1. h5py cannot read
        # what HDF5 says of a missing one, as that has its name in it.
        with suppress(UnicodeError):
            found = group.get(path.encode("latin-1"))
    return found


def address_of(obj: h5py.HLObject) -> Address:
    """What tells an object from any other that is open."""
    info = h5py.h5o.get_info(obj.id)
    return int(info.fileno), int(info.addr)


def walk(
    group: h5py.Group, follow_external: bool = False, path: str | None = None
) -> Iterator[Item]:
    """Every object below `group`, in the order of the file.

    An object with several hard links comes once, under the first. Soft links lead to nothing that
    has no hard link too; external ones are followed where that is allowed.

    Parameters
    ----------
    path : of the group, where that is not its name
    """
    if follow_external:
        yield from _walk_beyond(group, path, [])
        return
    found: list[Item] = []
    top = str(group.name if path is None else path).rstrip("/")

    def note(name: bytes, info: Any) -> None:
        kind = _KINDS.get(info.type)
        if kind is not None:
            address = int(info.fileno), int(info.addr)
            found.append(Item(f"{top}/{_decoded(name)}", kind, address, int(info.num_attrs)))

    # HDF5 falls back to the order of names in groups that have no other. Only names and addresses
    # are looked at, which is some thirty times faster than opening each object.
    h5py.h5o.visit(group.id, note, info=True, idx_type=h5py.h5.INDEX_CRT_ORDER)
    yield from found


def _decoded(name: bytes) -> str:
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        return name.decode("latin-1")  # `find` knows of it


def _walk_beyond(
    group: h5py.Group, path: str | None, others: list[h5py.HLObject]
) -> Iterator[Item]:
    """The same, with what lies behind external links, to which `others` come to lead."""
    visited: set[Address] = set()
    pending: list[tuple[str, h5py.HLObject]] = [(str(group.name if path is None else path), group)]
    while pending:
        where, obj = pending.pop()
        info = h5py.h5o.get_info(obj.id)
        address = int(info.fileno), int(info.addr)
        if address in visited:
            continue
        visited.add(address)
        if obj is not group:
            yield Item(where, _KINDS[info.type], address, int(info.num_attrs))
        if not isinstance(obj, h5py.Group):
            continue
        inside = []
        for name in obj:
            link = obj.get(name, getlink=True)
            child = None if isinstance(link, h5py.SoftLink) else obj.get(name)
            if child is None:
                continue
            if isinstance(link, h5py.ExternalLink):
                others.append(child)
            inside.append((f"{where.rstrip('/')}/{name}", child))
        pending += reversed(inside)


def candidates(
    group: h5py.Group, follow_external: bool = False, path: str | None = None
) -> Iterator[tuple[str, h5py.Dataset]]:
    """(path, dataset) of all below `group` that may be a Main; parameters as for `walk`."""
    above = len(str(group.name if path is None else path).rstrip("/")) + 1
    for each in walk(group, follow_external, path):
        # seen from the group, which may lie in another file than its path
        if _may_be_main(group, each, each.path[above:]):
            yield each.path, find(group, each.path[above:])


def _may_be_main(group: h5py.Group, item: Item, path: str) -> bool:
    if item.kind != "dataset" or not item.n_attributes:
        return False
    dataset = find(group, path)
    return isinstance(dataset, h5py.Dataset) and is_candidate(dataset)


def encoded(path: str) -> bytes:
    """A path as HDF5 has it."""
    return path.encode("utf-8", "surrogateescape")


def is_candidate(dataset: h5py.Dataset) -> bool:
    """Whether a dataset is 2-D and has an attribute that a Main has for its ancillaries."""
    if dataset.id.rank != 2:
        return False
    return any(h5py.h5a.exists(dataset.id, name) for name in _ENCODED)


def has_attribute(file: h5py.File, path: str, names: Sequence[bytes]) -> bool:
    """Whether the object at `path` has one of the attributes; False where there is no object."""
    if path.isascii():
        where = encoded(path)
        # without opening it, which takes ten times as long
        return any(h5py.h5a.exists(file.id, name, obj_name=where) for name in names)
    found = find(file, path)
    return found is not None and any(h5py.h5a.exists(found.id, name) for name in names)
