"""What usidx asks of the operating system, so that bytes get to disk, in order, where they belong.

Linux has a call for everything here. Where one is missing (Windows, in part macOS) a slower way
keeps the same promise. Which way is taken is decided by the five constants below, and only here.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Result = TypeVar("Result")

try:
    import fcntl
except ImportError:  # Windows
    KERNEL_LOCKS = False
else:
    KERNEL_LOCKS = hasattr(fcntl, "flock")

POSITIONED_IO = hasattr(os, "pread") and hasattr(os, "pwrite")
ALLOCATION = hasattr(os, "posix_fallocate")
FOLDER_SYNC = hasattr(os, "O_DIRECTORY")
EXCHANGE = sys.platform.startswith("linux")

# The name of a file that is being written, before it takes the name that it is for.
PARTIAL_SUFFIX = ".partial"

# What the system says where there is no room: the disk, the quota or the largest size is full.
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# What it says where something cannot be written, whatever is tried.
READ_ONLY = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
# Of more files than these one wait for the whole disk is quicker than one for each.
_MOST_WAITS = 256
# What it says of a file that another program holds, and for how long it is asked again: 2.6 s.
_HELD = frozenset({errno.EACCES, errno.EPERM, errno.EBUSY, errno.ETXTBSY})
_PAUSES = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28)
_NO_LOCKS = frozenset({errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL})
_ZEROS = bytes(2**20)


class NoKernelLocksError(OSError):
    """The file system keeps no locks."""


@contextmanager
def opened(path: str, flags: int, mode: int = 0o666) -> Iterator[int]:
    """The descriptor of a file, closed in the end."""
    descriptor = open_file(path, flags, mode)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def open_file(path: str, flags: int, mode: int = 0o666) -> int:
    """The descriptor of a file whose bytes are taken as they are, on Windows too."""
    return os.open(path, flags | getattr(os, "O_BINARY", 0), mode)


def read_at(descriptor: int, size: int, offset: int) -> bytes:
    """`size` bytes from `offset` on; fewer where the file ends."""
    parts: list[bytes] = []
    while size > 0:
        if POSITIONED_IO:
            part = os.pread(descriptor, size, offset)
        else:
            os.lseek(descriptor, offset, os.SEEK_SET)
            part = os.read(descriptor, size)
        if not part:
            break
        parts.append(part)
        size -= len(part)
        offset += len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def read_into(descriptor: int, view: memoryview, offset: int) -> int:
    """Fill `view`, bytes that can be written, from `offset` on; how many of them the file had."""
    done = 0
    while done < len(view):
        if POSITIONED_IO and hasattr(os, "preadv"):
            count = os.preadv(descriptor, [view[done:] if done else view], offset + done)
        else:
            part = read_at(descriptor, len(view) - done, offset + done)
            count = len(part)
            view[done : done + count] = part
        if not count:
            break
        done += count
    return done


def write_at(descriptor: int, data: bytes | bytearray | memoryview, offset: int) -> None:
    """Write all of `data` from `offset` on, however many calls it takes.

    Where there are no positioned writes the place of the descriptor moves: no two threads may
    share it.
    """
    left = memoryview(data).cast("B")
    while left.nbytes:
        if POSITIONED_IO:
            count = os.pwrite(descriptor, left, offset)
        else:
            os.lseek(descriptor, offset, os.SEEK_SET)
            count = os.write(descriptor, left)
        left = left[count:]
        offset += count


def reserve(descriptor: int, start: int, stop: int) -> None:
    """Make a file that ends at `start` reach to `stop`, with room on disk for every byte.

    The new bytes read as zeros.

    Raises
    ------
    OSError : where there is no room; the file may have grown by then
    """
    if stop <= start:
        return
    # asked for too much, the system fills the disk for a while before it says no
    free = _free(descriptor)
    if free is not None and stop - start > free:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if ALLOCATION:
        os.posix_fallocate(descriptor, start, stop - start)
        return
    for place in range(start, stop, len(_ZEROS)):
        write_at(descriptor, _ZEROS[: stop - place], place)


def _free(descriptor: int) -> int | None:
    """How many bytes this user may still add to the disk of a file; None where nobody knows."""
    if not hasattr(os, "fstatvfs"):
        return None
    disk = os.fstatvfs(descriptor)
    if not disk.f_blocks:  # some network file systems do not count
        return None
    return (disk.f_bfree if os.geteuid() == 0 else disk.f_bavail) * disk.f_frsize


def truncate(descriptor: int, size: int) -> None:
    """Cut a file to `size`."""
    os.ftruncate(descriptor, size)


def sync(descriptor: int) -> None:
    """Wait until everything written to the file is on disk."""
    full = getattr(fcntl, "F_FULLFSYNC", None) if KERNEL_LOCKS else None
    if full is not None:  # macOS: fsync stops at the drive's own memory
        try:
            fcntl.fcntl(descriptor, full)
        except OSError:
            os.fsync(descriptor)
        return
    os.fsync(descriptor)


def sync_data(descriptor: int) -> None:
    """Wait until the bytes of the file are on disk; its times may follow later."""
    if hasattr(os, "fdatasync"):
        os.fdatasync(descriptor)
    else:
        sync(descriptor)


def sync_folder(folder: str) -> None:
    """Wait until the names in a folder are on disk."""
    if not FOLDER_SYNC:
        return
    with opened(folder or ".", os.O_RDONLY | os.O_DIRECTORY) as descriptor:
        try:
            os.fsync(descriptor)
        except OSError as error:
            # some network file systems have nothing to wait for and say so
            if error.errno not in {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS}:
                raise


def replace(source: str, target: str) -> None:
    """Give `source` the name `target`, in place of what had it; see `patiently`."""
    patiently(lambda: os.replace(source, target))


def patiently(action: Callable[[], Result]) -> Result:
    """What `action` returns, which is tried again while another program holds a file of it.

    Virus scanners, indexers and programs that keep folders in step with a server open what is new
    for a moment. Meanwhile Windows, and network drives, refuse to rename or remove it.

    Raises
    ------
    OSError : the last one, after some seconds; at once where waiting does not help
    """
    for pause in _PAUSES:
        try:
            return action()
        except OSError as error:
            if error.errno not in _HELD:
                raise
        time.sleep(pause)
    return action()


def exchange(left: str, right: str) -> bool:
    """Whether the system could exchange the two names in one step."""
    if not EXCHANGE:
        return False
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    names = os.fsencode(left), os.fsencode(right)
    if rename(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
        return True
    problem = ctypes.get_errno()
    if problem in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False  # a file system that has no such call
    raise OSError(problem, os.strerror(problem), right)


def put(path: str, *pieces: bytes | bytearray | memoryview, wait: bool) -> None:
    """Give the file at `path` this content in one step: it has the old one, or the new one.

    Parameters
    ----------
    path : in a folder that is there
    pieces : all of the content, one after the other
    wait : whether it is on disk, under its name, when this returns
    """
    partial = f"{path}.{uuid.uuid4().hex}{PARTIAL_SUFFIX}"
    try:
        with opened(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as descriptor:
            place = 0
            for piece in pieces:
                write_at(descriptor, piece, place)
                place += memoryview(piece).nbytes
            if wait:
                sync_data(descriptor)
        replace(partial, path)
    except BaseException:
        if os.path.exists(partial):
            os.unlink(partial)
        raise
    if wait:
        sync_folder(os.path.dirname(path))


def sync_tree(folder: str) -> None:
    """Wait until everything in a folder and below is on disk, its names too."""
    found = list(os.walk(folder))
    if sum(len(files) for _, _, files in found) > _MOST_WAITS and _sync_disk(folder):
        return
    for parent, _, files in reversed(found):
        for name in files:
            # a system that has no fsync of what is open for reading wants it open for writing
            with opened(os.path.join(parent, name), os.O_RDWR) as descriptor:
                sync(descriptor)
        sync_folder(parent)


def _sync_disk(folder: str) -> bool:
    """Whether the system could wait for all that is not on the disk yet that holds `folder`."""
    if not (FOLDER_SYNC and hasattr(os, "O_DIRECTORY")):
        return False
    try:
        syncfs = ctypes.CDLL(None, use_errno=True).syncfs
    except (OSError, AttributeError):
        return False
    with opened(folder, os.O_RDONLY | os.O_DIRECTORY) as descriptor:
        return bool(syncfs(descriptor) == 0)


def remove(path: str) -> None:
    """Take the name of a file away."""
    os.unlink(path)


def remove_tree(folder: str) -> None:
    """Remove a folder with everything in it, as far as that goes."""
    shutil.rmtree(folder, ignore_errors=True)


def lock(descriptor: int, *, exclusive: bool = True) -> bool:
    """Whether the kernel's lock of an open file was got, without waiting for it.

    It is the lock that HDF5 takes, too. It is gone with the descriptor, and so with its process.

    Raises
    ------
    NoKernelLocksError : where the system or the file system has none
    """
    if not KERNEL_LOCKS:
        raise NoKernelLocksError(errno.ENOSYS, "no kernel locks")
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in {errno.EWOULDBLOCK, errno.EACCES}:
            return False
        if error.errno in _NO_LOCKS:
            raise NoKernelLocksError(error.errno, error.strerror) from error
        raise
    return True


def room(path: str) -> str:
    """How much is free where `path` lies, for messages."""
    try:
        return sized(shutil.disk_usage(os.path.dirname(path) or ".").free)
    except OSError:
        return "an unknown amount"


def sized(count: int) -> str:
    """A number of bytes as people say it.

    Examples
    --------
    >>> sized(1536), sized(3 * 2**30)
    ('1.5 KiB', '3.0 GiB')
    """
    number = float(count)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if abs(number) < 1024:
            return f"{count} bytes" if unit == "bytes" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TiB"
