"""The kernel's lock of an HDF5 file, which is the one that HDF5 takes: who has the file open."""

from __future__ import annotations

import contextlib
import logging
import os
import time

from usidx.errors import StoreLockedError
from usidx.stores import disk
from usidx.stores.hdf5.transactions.superblock import Superblock, read_superblock

_logger = logging.getLogger(__name__)
_SILENT = 5.0


def wait_for_others(path: str, descriptor: int, deadline: float) -> None:
    """Take the lock that HDF5 takes, so that no program has the file open while it changes."""
    pause = 0.001  # readers of ours come and go quickly, but there may be many of them
    while True:
        try:
            if disk.lock(descriptor):
                return
        except disk.NoKernelLocksError:
            return  # then HDF5 has none either
        if time.monotonic() >= deadline:
            raise StoreLockedError(
                f"{path!r} is open in HDF5{_openers(descriptor)}, so its metadata cannot be "
                "changed; close it there (also a forgotten h5py.File in this session)"
            )
        time.sleep(pause)
        pause = min(1.1 * pause, 0.02)


def wait_long(path: str, descriptor: int, patience: float) -> None:
    """`wait_for_others` for `patience` seconds, saying so where that takes a while."""
    deadline = time.monotonic() + patience
    try:
        wait_for_others(path, descriptor, min(deadline, time.monotonic() + _SILENT))
    except StoreLockedError as error:
        if patience > _SILENT:
            _logger.warning("%s. Waiting for up to %d s", error, patience)
        wait_for_others(path, descriptor, deadline)


def let_read(descriptor: int) -> None:
    """Let others open the file for reading, and nobody for writing."""
    with contextlib.suppress(disk.NoKernelLocksError):
        disk.lock(descriptor, exclusive=False)


def is_untouched(descriptor: int, beginning: Superblock) -> bool:
    """Whether no other program has written the file since `beginning`, or is about to.

    The system cannot exchange a lock for readers and one for a writer without a gap.
    """
    with contextlib.suppress(disk.NoKernelLocksError):
        if not disk.lock(descriptor, exclusive=False):
            return False
    return read_superblock(descriptor) == beginning


def _openers(descriptor: int) -> str:
    """Which processes hold the kernel's lock of a file, where the system tells."""
    inode = str(os.fstat(descriptor).st_ino)
    found = set()
    with contextlib.suppress(OSError), open("/proc/locks", encoding="ascii") as lines:
        for line in lines:
            words = line.split()  # 1: FLOCK ADVISORY WRITE 4711 fe:00:1234 0 EOF
            if words[1] == "FLOCK" and words[5].rsplit(":", 1)[-1] == inode:
                found.add(int(words[4]))
    others = [str(each) for each in sorted(found - {os.getpid()})]
    if others:
        return f" by process {', '.join(others)}"
    return " by this process" if found else ""
