"""Files mapped into memory for reading, kept for the next read.

A map out of a large Main touches every page of it: to make the pages known to the process takes far
longer than to copy the values, so that a mapping which was used is kept for a little while. It is
found by the file that it is of, not by its name, and whoever reads looks at the size of that file
beforehand: a place behind the end of a file that was cut short must not be touched.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from usidx.model.dimension import Array
from usidx.stores.hdf5.objects.place import Place

# Mappings keep their file open, so these are few, of values that take a while to map.
_MOST = 4
_WORTH_BYTES = 2**26
# Pages of the system that were touched count as memory of the process, though they can be taken
# back at any time: no more than this share of what there is.
_SHARE = 1 / 8
_IDLE_SECONDS = 20.0

_Name = tuple[int, int, int, int]


@dataclass
class _Kept:
    """A mapping, the path of its file, and when it was used last."""

    values: Array
    path: str
    used: float


_kept: OrderedDict[_Name, _Kept] = OrderedDict()
_lock = threading.Lock()
_timer: threading.Timer | None = None


def mapped(raw: BinaryIO, place: Place) -> Array:
    """The values of a dataset in the open file `raw`, in its shape, read where they are touched.

    The file must be as large as `place` says, now.
    """
    assert place.offset is not None
    nbytes = place.stop - place.offset
    now = os.fstat(raw.fileno())
    name = (now.st_dev, now.st_ino, place.offset, nbytes)
    with _lock:
        found = _kept.get(name)
        if found is not None:
            found.used = time.monotonic()
            _kept.move_to_end(name)
    if found is None:
        values = np.memmap(raw, np.uint8, "r", place.offset, (nbytes,))
        found = _Kept(values, os.path.abspath(raw.name), time.monotonic())
        _keep(name, found)
    return np.asarray(found.values).view(place.dtype).reshape(place.shape)


def _keep(name: _Name, made: _Kept) -> None:
    """Hold a mapping, and let go of those that were not used for longest."""
    global _timer
    if not _WORTH_BYTES <= made.values.nbytes <= _room() or not _may_keep():
        return
    with _lock:
        _kept[name] = made
        while len(_kept) > _MOST or sum(each.values.nbytes for each in _kept.values()) > _room():
            _kept.popitem(last=False)
        if _timer is None:
            _timer = _started()


def _room() -> float:
    try:
        return _SHARE * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 0.0


def _may_keep() -> bool:
    """Not on Windows, where nobody could replace the file, and not in a worker of dask's.

    A worker is ended for the memory that it takes, mapped pages among it.
    """
    if sys.platform == "win32":
        return False
    worker = sys.modules.get("distributed.worker")
    if worker is None:
        return True
    try:
        worker.get_worker()
    except ValueError:
        return True
    return False


def _started() -> threading.Timer:
    timer = threading.Timer(_IDLE_SECONDS / 4, _tidy)
    timer.daemon = True
    timer.name = "usidx-mapped"
    timer.start()
    return timer


def _tidy() -> None:
    """Let go of mappings that were not used for a while, or whose file is not there any more."""
    global _timer
    with _lock:
        now = time.monotonic()
        for name, each in list(_kept.items()):
            if now - each.used > _IDLE_SECONDS or not _is_there(name, each.path):
                del _kept[name]
        _timer = _started() if _kept else None


def _is_there(name: _Name, path: str) -> bool:
    try:
        now = os.stat(path)
    except OSError:
        return False
    return (now.st_dev, now.st_ino) == name[:2]


def forget() -> None:
    """Let go of all mappings."""
    with _lock:
        _kept.clear()


def _after_fork() -> None:
    # the thread that tidies up is the parent's
    global _lock, _timer
    _lock, _timer = threading.Lock(), None
    _kept.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
