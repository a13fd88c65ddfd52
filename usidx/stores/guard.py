"""Refuse HDF5 files that reach outside themselves or lead nowhere, without following them.

HDF5 can keep the values of a dataset in any other file, and follows links into any other file;
there is no switch to forbid it. A file from somebody else could so show the content of a private
file as measured data. Others claim values without end. Nothing is read here but the structure:
links are looked at, not followed.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import h5py

from usidx.errors import DamagedStoreError, UnsafeStoreError
from usidx.stores.hdf5.file import size_of
from usidx.stores.hdf5.objects.addresses import out_of_bounds
from usidx.stores.hdf5.objects.extents import absurdity
from usidx.stores.hdf5.objects.heaps import endless_heap
from usidx.stores.hdf5.objects.links import MOST_LEVELS, Links, cycles, walk
from usidx.stores.remote.url import absolute

# Files that were found clean, so that listing and opening look at a file once.
_MOST_REMEMBERED = 256
_clean: OrderedDict[tuple[object, ...], None] = OrderedDict()
_clean_lock = threading.Lock()


@dataclass(frozen=True)
class Reach:
    """One place where a file reaches outside itself.

    Parameters
    ----------
    what : "external raw storage", "virtual dataset", "external link" or "user-defined link"
    place : path of the dataset or link within the file
    target : name of the other file as it is written; None where it cannot be known
    is_hdf5 : whether the other file would be opened as HDF5, and so may reach further
    """

    what: str
    place: str
    target: str | None
    is_hdf5: bool

    def __str__(self) -> str:
        to = "" if self.target is None else f" to {self.target!r}"
        return f"{self.what} {self.place!r}{to}"


@dataclass(frozen=True)
class Danger:
    """One place of a file where reading it would not end, or would fill all memory.

    Parameters
    ----------
    what : "link cycle", "deep nesting", "absurd shape", "reference out of bounds" or "virtual
        dataset of a virtual dataset"
    place : path of the dataset or link within the file
    detail : what was found
    """

    what: str
    place: str
    detail: str

    def __str__(self) -> str:
        return f"{self.what} {self.place!r}: {self.detail}"


def check(file: h5py.File, allow_external: Sequence[str] = ()) -> None:
    """Refuse an open HDF5 file if it reaches outside itself, or leads nowhere.

    Parameters
    ----------
    file : open for reading
    allow_external : folders in which the files that it reaches may lie, with all below them

    Raises
    ------
    UnsafeStoreError : naming what was found
    """
    _check(file, tuple(allow_external), seen=set())


def _check(file: h5py.File, allow_external: tuple[str, ...], seen: set[str]) -> None:
    path = absolute(file.filename)
    state = _state(file, path)
    with _clean_lock:
        if state is not None and state in _clean:
            _clean.move_to_end(state)
            return
    look = _Look.at(file)
    found = tuple(look.reaches)
    refused = [each for each in found if not _allowed(each, path, allow_external)]
    if refused:
        raise UnsafeStoreError(_refusal(path, refused, allow_external))
    # of a file behind a URL each heap is looked at when HDF5 asks for it
    heap = None if state is None else endless_heap(int(file.id.get_vfd_handle()), look.size)
    if heap is not None:
        raise DamagedStoreError(
            f"{path!r} is damaged: HDF5 would read the heap of texts at byte {heap} forever. Get "
            "the original again; if it was not damaged, h5repack makes a copy that can be read"
        )
    if look.dangers:
        raise UnsafeStoreError(
            f"{path!r} is made such that reading it may never end: {_listed(look.dangers)}. No "
            "program that measures writes such a file; get the original again"
        )
    if not found and state is not None:
        with _clean_lock:
            _clean[state] = None
            while len(_clean) > _MOST_REMEMBERED:
                _clean.popitem(last=False)
    seen.add(os.path.realpath(path))
    for target in {target for each in found for target in _hdf5_targets(each, path)} - seen:
        if h5py.is_hdf5(target):
            with h5py.File(target, "r") as other:
                _check(other, allow_external, seen)


def _state(file: h5py.File, path: str) -> tuple[object, ...] | None:
    if file.driver == "fileobj":
        return None
    now = os.fstat(int(file.id.get_vfd_handle()))
    return (path, now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns)


def _refusal(path: str, refused: Sequence[Reach], allow_external: tuple[str, ...]) -> str:
    known = any(each.target is not None for each in refused)
    advice = (
        "Whoever made it decides which of your files it shows as data. If you trust it, name the "
        "folders that hold those files: allow_external=['/folder']"
        + (f" (now {list(allow_external)})" if allow_external else "")
        if known
        else "What such links lead to cannot be known; copy the data into a file of its own"
    )
    return f"{path!r} reaches outside itself: {_listed(refused)}. {advice}"


def _listed(found: Sequence[Reach | Danger]) -> str:
    shown = "; ".join(map(str, found[:5]))
    return f"{shown}; and {len(found) - 5} more" if len(found) > 5 else shown


def reaches(file: h5py.File) -> tuple[Reach, ...]:
    """Every place where an open HDF5 file reaches outside itself; nothing is followed."""
    return tuple(_Look.at(file).reaches)


def dangers(file: h5py.File) -> tuple[Danger, ...]:
    """Every place of an open HDF5 file where reading it would not end, or would fill all memory."""
    return tuple(_Look.at(file).dangers)


@dataclass
class _Look:
    """What was found in a file; `size` is that of the file in bytes."""

    size: int
    links: Links = field(default_factory=Links)
    reaches: list[Reach] = field(default_factory=list)
    dangers: list[Danger] = field(default_factory=list)
    # for each virtual dataset, the datasets of the same file that it shows
    virtual: dict[int, set[str]] = field(default_factory=dict)

    @classmethod
    def at(cls, file: h5py.File) -> _Look:
        """Everything that there is to find in an open file."""
        look = cls(size_of(file))
        for address, obj in walk(file, look.links):
            if isinstance(obj, h5py.h5d.DatasetID):
                look._at_dataset(address, obj)
            look._at_references(address, obj)
        look._at_links()
        look._at_virtual()
        return look

    def _at_dataset(self, address: int, dataset: h5py.h5d.DatasetID) -> None:
        place = self.links.places[address]
        creation = dataset.get_create_plist()
        for index in range(creation.get_external_count()):
            target = os.fsdecode(creation.get_external(index)[0])
            self.reaches.append(Reach("external raw storage", place, target, False))
        if creation.get_layout() == h5py.h5d.VIRTUAL:
            parts = range(creation.get_virtual_count())
            sources = {
                (creation.get_virtual_filename(part), creation.get_virtual_dsetname(part))
                for part in parts
            }
            for target in sorted({name for name, _ in sources} - {"."}):  # "." is the file itself
                self.reaches.append(Reach("virtual dataset", place, target, True))
            self.virtual[address] = {source for _, source in sources}
        absurd = absurdity(dataset, self.size)
        if absurd is not None:
            self.dangers.append(Danger("absurd shape", place, absurd))

    def _at_references(self, address: int, obj: h5py.h5g.GroupID | h5py.h5d.DatasetID) -> None:
        place = self.links.places[address]
        if isinstance(obj, h5py.h5g.GroupID) and "-" not in place:
            return  # only results refer to anything
        for name, detail in out_of_bounds(obj, self.size):
            self.dangers.append(Danger("reference out of bounds", f"{place}@{name}", detail))

    def _at_links(self) -> None:
        for address, inside in self.links.groups.items():
            for name, link in inside.items():
                if link.kind in ("external", "user-defined"):
                    external = link.kind == "external"
                    target = os.fsdecode(link.target) if external else None
                    place = self.links.path(address, name)
                    self.reaches.append(Reach(f"{link.kind} link", place, target, external))
        for place, leads_to in cycles(self.links):
            self.dangers.append(Danger("link cycle", place, f"it leads back to {leads_to}"))
        if self.links.too_deep:
            detail = f"it lies in more than {MOST_LEVELS} groups, one in the other"
            self.dangers.append(Danger("deep nesting", f"{self.links.too_deep[:40]}...", detail))

    def _at_virtual(self) -> None:
        """Virtual datasets of virtual ones can multiply without end, or show themselves."""
        for address, sources in self.virtual.items():
            shown = {self.links.find(os.fsencode(name)) for name in sources}
            nested = [
                place
                for each, place in self.links.places.items()
                if each in shown and each in self.virtual
            ]
            # a name with a number to be filled in may be that of any other one
            nested += sorted(name for name in sources if "%b" in name)
            if nested:
                place = self.links.places[address]
                self.dangers.append(
                    Danger("virtual dataset of a virtual dataset", place, f"it shows {nested[0]!r}")
                )


def _candidates(target: str, path: str) -> tuple[str, ...]:
    """Where HDF5 may look for `target`: its rules differ by feature, version and environment."""
    folder = os.path.dirname(path)
    prefixes = [
        os.environ.get(name, "").replace("${ORIGIN}", folder)
        for name in ("HDF5_EXT_PREFIX", "HDF5_EXTFILE_PREFIX", "HDF5_VDS_PREFIX")
    ]
    roots = [folder, os.getcwd(), *(prefix for prefix in prefixes if prefix)]
    places = [os.path.join(root, target) for root in roots]
    places += [os.path.join(root, os.path.basename(target)) for root in roots]
    return tuple(dict.fromkeys(os.path.realpath(place) for place in places))


def _existing(target: str, path: str) -> tuple[str, ...]:
    """The files that `target` may mean; where there is none, the first place that is looked at."""
    candidates = _candidates(target, path)
    return tuple(each for each in candidates if os.path.exists(each)) or candidates[:1]


def _allowed(reach: Reach, path: str, allow_external: tuple[str, ...]) -> bool:
    if reach.target is None or not allow_external:
        return False
    if "%" in reach.target and reach.what == "virtual dataset":
        return False  # a pattern for names: it has no end of targets to look at
    folders = [os.path.realpath(folder) for folder in allow_external]
    return all(
        any(Path(target).is_relative_to(folder) for folder in folders)
        for target in _existing(reach.target, path)
    )


def _hdf5_targets(reach: Reach, path: str) -> tuple[str, ...]:
    if reach.target is None or not reach.is_hdf5:
        return ()
    return tuple(each for each in _existing(reach.target, path) if os.path.isfile(each))
