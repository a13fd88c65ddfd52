"""Refuse HDF5 files that reach outside themselves, without following them.

HDF5 can keep the values of a dataset in any other file, and follows links into any other file;
there is no switch to forbid it. A file from somebody else could so show the content of a private
file as measured data. Nothing is read here but the structure: links are looked at, not followed.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py

from usidx.errors import UnsafeStoreError

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


def check(file: h5py.File, allow_external: Sequence[str] = ()) -> None:
    """Refuse an open HDF5 file if it reaches outside itself.

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
    path = os.path.abspath(file.filename)
    state = _state(file, path)
    with _clean_lock:
        if state in _clean:
            _clean.move_to_end(state)
            return
    found = tuple(reaches(file))
    refused = [each for each in found if not _allowed(each, path, allow_external)]
    if refused:
        raise UnsafeStoreError(_refusal(path, refused, allow_external))
    if not found:
        with _clean_lock:
            _clean[state] = None
            while len(_clean) > _MOST_REMEMBERED:
                _clean.popitem(last=False)
    seen.add(os.path.realpath(path))
    for target in {target for each in found for target in _hdf5_targets(each, path)} - seen:
        if h5py.is_hdf5(target):
            with h5py.File(target, "r") as other:
                _check(other, allow_external, seen)


def _state(file: h5py.File, path: str) -> tuple[object, ...]:
    now = os.fstat(int(file.id.get_vfd_handle()))
    return (path, now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns)


def _refusal(path: str, refused: Sequence[Reach], allow_external: tuple[str, ...]) -> str:
    shown = "; ".join(map(str, refused[:5]))
    more = f"; and {len(refused) - 5} more" if len(refused) > 5 else ""
    known = any(each.target is not None for each in refused)
    advice = (
        "Whoever made it decides which of your files it shows as data. If you trust it, name the "
        "folders that hold those files: allow_external=['/folder']"
        + (f" (now {list(allow_external)})" if allow_external else "")
        if known
        else "What such links lead to cannot be known; copy the data into a file of its own"
    )
    return f"{path!r} reaches outside itself: {shown}{more}. {advice}"


def reaches(file: h5py.File) -> Iterator[Reach]:
    """Every place where an open HDF5 file reaches outside itself; nothing is followed."""
    pending: list[tuple[h5py.h5g.GroupID, str]] = [(file.id, "")]
    visited: set[tuple[int, int]] = set()
    while pending:
        group, place = pending.pop()
        info = h5py.h5o.get_info(group)
        if (info.fileno, info.addr) in visited:
            continue
        visited.add((info.fileno, info.addr))
        for index in range(group.get_num_objs()):
            name = group.get_objname_by_idx(index)
            here = f"{place}/{name.decode('utf-8', 'replace')}"
            kind = group.links.get_info(name).type
            if kind == h5py.h5l.TYPE_SOFT:
                continue
            if kind != h5py.h5l.TYPE_HARD:
                yield _link_reach(group, name, here, kind)
                continue
            obj = h5py.h5o.open(group, name)
            if isinstance(obj, h5py.h5g.GroupID):
                pending.append((obj, here))
            elif isinstance(obj, h5py.h5d.DatasetID):
                yield from _dataset_reaches(obj, here)


def _link_reach(group: h5py.h5g.GroupID, name: bytes, place: str, kind: int) -> Reach:
    if kind != h5py.h5l.TYPE_EXTERNAL:
        return Reach("user-defined link", place, None, False)
    target = group.links.get_val(name)[0]
    return Reach("external link", place, os.fsdecode(target), True)


def _dataset_reaches(dataset: h5py.h5d.DatasetID, place: str) -> Iterator[Reach]:
    creation = dataset.get_create_plist()
    for index in range(creation.get_external_count()):
        target = os.fsdecode(creation.get_external(index)[0])
        yield Reach("external raw storage", place, target, False)
    if creation.get_layout() == h5py.h5d.VIRTUAL:
        names = {
            creation.get_virtual_filename(index) for index in range(creation.get_virtual_count())
        }
        for target in sorted(names - {"."}):  # "." is the file itself
            yield Reach("virtual dataset", place, target, True)


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
