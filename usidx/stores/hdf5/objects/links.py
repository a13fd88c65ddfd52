"""How the objects of an open HDF5 file are linked, found without following what leads elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import h5py

from usidx.errors import DamagedStoreError

# As many soft links in a row as HDF5 itself follows.
_MOST_HOPS = 16
# Programs that measure nest groups some five levels deep.
MOST_LEVELS = 128

Address = int


@dataclass(frozen=True)
class Link:
    """One link of a group.

    Parameters
    ----------
    kind : "hard", "soft", "external" or "user-defined"
    address : of the object that a hard link leads to
    target : path that a soft link leads to, or the name of the file of an external one
    """

    kind: str
    address: Address | None = None
    target: bytes = b""


@dataclass
class Links:
    """Every group of an open file with its links, by the addresses of the groups.

    Parameters
    ----------
    root : address of the root group
    groups : links of each group, by their names
    places : path of each object by which it was met first
    too_deep : path of a group that was not looked into, as it lies in too many others
    """

    root: Address = 0
    groups: dict[Address, dict[bytes, Link]] = field(default_factory=dict)
    places: dict[Address, str] = field(default_factory=dict)
    too_deep: str = ""

    def path(self, address: Address, name: bytes) -> str:
        """Path of the link `name` in the group at `address`."""
        return f"{self.places[address].rstrip('/')}/{name.decode('utf-8', 'replace')}"

    def resolve(self, start: Address, path: bytes) -> Address | None:
        """Address of the object at `path`, seen from a group.

        None where it leads to nothing, or through an external link.

        Raises
        ------
        RecursionError : where soft links lead round and round
        """
        return self._resolve(start, path, [_MOST_HOPS])

    def find(self, path: bytes) -> Address | None:
        """Address of the object at `path` from the root; None where there is none in this file."""
        try:
            return self.resolve(self.root, path)
        except RecursionError:
            return None

    def _resolve(self, start: Address, path: bytes, hops: list[int]) -> Address | None:
        here: Address | None = self.root if path.startswith(b"/") else start
        for part in path.split(b"/"):
            if part in (b"", b"."):
                continue
            if here is None:
                return None
            link = self.groups.get(here, {}).get(part)
            if link is None or link.kind not in ("hard", "soft"):
                return None
            if link.kind == "hard":
                here = link.address
                continue
            hops[0] -= 1
            if hops[0] < 0:
                raise RecursionError(path)
            here = self._resolve(here, link.target, hops)
        return here


def walk(
    file: h5py.File, links: Links
) -> Iterator[tuple[Address, h5py.h5g.GroupID | h5py.h5d.DatasetID]]:
    """(address, object) of each group and dataset that hard links lead to, once; fills `links`."""
    links.root = int(h5py.h5o.get_info(file.id).addr)
    links.places[links.root] = "/"
    pending: list[tuple[Address, int, h5py.h5g.GroupID]] = [(links.root, 0, file.id)]
    while pending:
        address, level, group = pending.pop()
        if level > MOST_LEVELS:
            links.too_deep = links.places[address]
            return
        yield address, group
        inside = links.groups[address] = {}
        for index in range(group.get_num_objs()):
            name = group.get_objname_by_idx(index)
            link = inside[name] = _link(group, name)
            inner = link.address
            if inner is None or inner in links.places:
                continue
            links.places[inner] = links.path(address, name)
            obj = _open(file, group, name, links.places[inner])
            if isinstance(obj, h5py.h5g.GroupID):
                pending.append((inner, level + 1, obj))
            elif isinstance(obj, h5py.h5d.DatasetID):
                yield inner, obj


def _open(
    file: h5py.File, group: h5py.h5g.GroupID, name: bytes, place: str
) -> h5py.h5g.GroupID | h5py.h5d.DatasetID:
    try:
        return h5py.h5o.open(group, name)
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        said = " ".join(str(error).split())
        raise DamagedStoreError(
            f"{file.filename!r} is damaged: {place!r} cannot be opened, HDF5 says {said!r}. Get "
            "the original again, or see what h5dump makes of it"
        ) from error


def _link(group: h5py.h5g.GroupID, name: bytes) -> Link:
    """The link, looked at and not followed."""
    info = group.links.get_info(name)
    kind = info.type
    if kind == h5py.h5l.TYPE_HARD:
        return Link("hard", int(info.u))
    if kind == h5py.h5l.TYPE_SOFT:
        return Link("soft", target=group.links.get_val(name))
    if kind == h5py.h5l.TYPE_EXTERNAL:
        return Link("external", target=group.links.get_val(name)[0])
    return Link("user-defined")


def cycles(links: Links) -> Iterator[tuple[str, str]]:
    """(path of a link, what it leads to) of every link that closes a circle.

    A hard or soft link to a group that it lies in does, and soft links that lead to each other.
    """
    inner = {address: list(_inner(links, address)) for address in links.groups}
    for address, leading in inner.items():
        for name, target in leading:
            if target is None:
                yield links.path(address, name), "itself"
    open_groups: set[Address] = set()
    finished: set[Address] = set()
    for start in links.groups:
        if start in finished:
            continue
        path = [(start, iter(inner[start]))]
        open_groups.add(start)
        while path:
            address, remaining = path[-1]
            for name, target in remaining:
                if target in open_groups:
                    yield links.path(address, name), repr(links.places[target])
                elif target is not None and target not in finished:
                    open_groups.add(target)
                    path.append((target, iter(inner[target])))
                    break
            else:
                path.pop()
                open_groups.discard(address)
                finished.add(address)


def _inner(links: Links, address: Address) -> Iterator[tuple[bytes, Address | None]]:
    """(name, group) of each link to a group; None for soft links that lead round and round."""
    for name, link in links.groups[address].items():
        target = link.address
        if link.kind == "soft":
            try:
                target = links.resolve(address, link.target)
            except RecursionError:
                yield name, None
                continue
        if link.kind in ("hard", "soft") and target in links.groups:
            yield name, target
