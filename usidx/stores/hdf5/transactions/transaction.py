"""Change the metadata of an HDF5 file all at once or not at all, whatever happens meanwhile.

Within a transaction HDF5 works on an `Overlay`: no byte of the file changes. At the end the changes
go into a log beside the file, then into the file, then the log is removed. A process that dies
leaves the file as it was, or a log with which the next one that opens the file completes it.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import time
from collections.abc import Iterator
from typing import Literal

import h5py

from usidx.errors import (
    DamagedStoreError,
    NoSpaceError,
    NotUsidError,
    ReadOnlyStoreError,
    SourceChangedError,
    StoreNotFoundError,
)
from usidx.stores import disk
from usidx.stores.hdf5.transactions import log as logs
from usidx.stores.hdf5.transactions.log import log_path
from usidx.stores.hdf5.transactions.opened import is_untouched, let_read, wait_for_others, wait_long
from usidx.stores.hdf5.transactions.overlay import Overlay
from usidx.stores.hdf5.transactions.superblock import Superblock, read_superblock
from usidx.stores.lock import StoreLock, held, store_lock

__all__ = [
    "LIBVER",
    "PART_SUFFIX",
    "Recovery",
    "log_path",
    "overlaid",
    "recover",
    "transaction",
    "written_by_others",
]

_logger = logging.getLogger(__name__)

# New objects in the oldest format that can hold them: HDF5 1.8 reads it.
LIBVER = ("earliest", "v110")
# Values begin at whole pages, as memory maps and disks like it.
_ALIGNED_FROM, _ALIGNMENT = 2**16, 4096
_CACHE_BYTES = 16 * 2**20
_FOREIGN = ".of-another-file"
# A new file that is being made, until it takes the name of the file.
PART_SUFFIX = ".usidx-part"

Recovery = Literal["nothing", "dropped", "completed", "set aside"]


@contextlib.contextmanager
def transaction(path: str, *, timeout: float = 30.0, what: str = "") -> Iterator[h5py.File]:
    """An h5py file, open for changes that all happen when the body ends, or not at all.

    Parameters
    ----------
    path : of an HDF5 file that is there
    timeout : seconds to wait for others that write it, or have it open in HDF5
    what : what is being done, for those who wait

    An exception in the body leaves the file as it was, to the byte. Do not write values of datasets
    that were there before: only metadata and new datasets can be changed safely beside processes
    that are writing values.

    Raises
    ------
    StoreNotFoundError : where there is no file
    ReadOnlyStoreError : where the file or its folder cannot be written
    StoreLockedError : where others did not let go of it in time
    NoSpaceError : where the disk has no room for the changes; nothing is changed
    NotUsidError, DamagedStoreError : where the file is no HDF5 file, or a broken one
    SourceChangedError : where the file was replaced or changed by another program meanwhile;
        nothing is changed
    """
    with overlaid(path, timeout=timeout, what=what) as (file, _):
        yield file


@contextlib.contextmanager
def overlaid(
    path: str, *, timeout: float = 30.0, what: str = "", shared: float | None = None
) -> Iterator[tuple[h5py.File, Overlay]]:
    """A transaction with the Overlay it works on.

    With `shared` others, this process too, can open the file for reading until the body ends: for
    one that takes long. HDF5 elsewhere cannot write it, nor can other transactions. In the end
    readers have `shared` seconds to close it. Such a body writes no values of datasets that were
    there before.
    """
    real = os.path.realpath(path)
    _check_writable(path, real)
    deadline = time.monotonic() + timeout
    with held(store_lock(path, what), timeout) as lock:
        # until the file has been cut back it has to be known how far
        lock.keeps = lock.left is not None and bool(lock.left.facts)
        _settle_log(path, real, deadline)
        logs.remove_unfinished(real)
        with contextlib.suppress(FileNotFoundError):
            disk.remove(real + PART_SUFFIX)
        with disk.opened(real, os.O_RDWR) as descriptor:
            wait_for_others(path, descriptor, deadline)
            beginning = _check_format(path, descriptor)
            _cut_leftover(lock, descriptor)
            lock.keeps = False
            overlay = Overlay(descriptor, fills_gaps=shared is not None)
            lock.note(inode=os.fstat(descriptor).st_ino, size=overlay.end)
            try:
                if shared is not None:
                    let_read(descriptor)
                with _through(path, overlay) as file:
                    yield file, overlay
                if shared is not None:
                    wait_long(path, descriptor, shared)
                log = _prepare(path, real, overlay, descriptor, beginning, what)
            except BaseException:
                if is_untouched(descriptor, beginning):
                    overlay.withdraw()
                raise
            finally:
                overlay.detach()
            if log is not None:
                _carry_out(path, real, log, descriptor)


def recover(path: str, *, timeout: float = 5.0) -> Recovery:
    """Complete or drop what a process that died left half done in the file at `path`.

    It costs one look for a log where there is none. A file that cannot be written is left alone if
    it is whole as it is.

    Parameters
    ----------
    path : of an HDF5 file
    timeout : seconds to wait for a process that is at work on it

    Raises
    ------
    StoreLockedError : where another process has not finished in time
    ReadOnlyStoreError : where the file is half changed and cannot be written
    """
    real = os.path.realpath(path)
    if not (os.path.exists(log_path(real)) and os.path.exists(real)):
        return "nothing"
    deadline = time.monotonic() + timeout
    if not _is_writable(real):
        return _look_at(path, real, deadline)
    with held(store_lock(path, "completing an interrupted write"), timeout):
        return _settle_log(path, real, deadline)


def _check_writable(path: str, real: str) -> None:
    if not os.path.exists(real):
        raise StoreNotFoundError(f"there is no file {path!r}")
    if os.path.isdir(real):
        raise NotUsidError(f"{path!r} is a folder, expected an HDF5 file")
    if not _is_writable(real):
        what = "its folder" if os.access(real, os.W_OK) else "the file"
        raise ReadOnlyStoreError(
            f"{path!r} cannot be changed: {what} is read-only; write to a copy, or put results "
            "elsewhere with into="
        )


def _is_writable(real: str) -> bool:
    if not os.access(os.path.dirname(real), os.W_OK | os.X_OK):
        return False
    try:
        # os.access says yes to root even where a file is immutable
        with disk.opened(real, os.O_RDWR):
            return True
    except OSError as error:
        if error.errno in disk.READ_ONLY:
            return False
        raise


@contextlib.contextmanager
def _through(path: str, overlay: Overlay) -> Iterator[h5py.File]:
    """The file as h5py shows it on the overlay; closed in the end, with all that was opened."""
    try:
        file = h5py.File(
            overlay,
            "r+",
            libver=LIBVER,
            rdcc_nbytes=_CACHE_BYTES,
            alignment_threshold=_ALIGNED_FROM,
            alignment_interval=_ALIGNMENT,
        )
    except OSError as error:
        raise DamagedStoreError(f"{path!r} cannot be opened by HDF5: {error}") from error
    try:
        try:
            yield file
        finally:
            file.close()
    except Exception as error:
        if overlay.failure is not None:
            raise overlay.failure from error
        if overlay.error is not None:
            # whatever HDF5 has said follows from it
            raise _no_room(path, overlay, overlay.error) from error
        raise


def _check_format(path: str, descriptor: int) -> Superblock:
    """The superblock; refused is what h5py opens through a file-like object but should not."""
    superblock = read_superblock(descriptor)
    if superblock is None:
        raise NotUsidError(f"{path!r} is not an HDF5 file: its signature is missing")
    if superblock.is_open:
        raise DamagedStoreError(
            f"{path!r} is open for writing in another program, or that ended without closing it; "
            f"if no program has it open any more, run: h5clear -s {path}"
        )
    return superblock


def _cut_leftover(lock: StoreLock, descriptor: int) -> None:
    """Cut off what a transaction that died before its commit had put behind the file's end."""
    left = lock.left.facts if lock.left is not None else {}
    there = os.fstat(descriptor)
    size = left.get("size")
    if left.get("inode") != there.st_ino or not isinstance(size, int) or size >= there.st_size:
        return
    superblock = read_superblock(descriptor)
    if superblock is not None and superblock.end is not None and superblock.end <= size:
        disk.truncate(descriptor, size)


def _prepare(
    path: str, real: str, overlay: Overlay, descriptor: int, beginning: Superblock, what: str
) -> logs.Log | None:
    """The log of what the overlay holds, on disk; None where nothing was changed."""
    if overlay.failure is not None:
        raise overlay.failure
    changes = tuple(overlay.changes())
    if not changes:
        if overlay.error is not None:
            raise _no_room(path, overlay, overlay.error)
        overlay.withdraw()
        return None
    there = os.fstat(descriptor)
    if not _is_same(real, there):
        raise SourceChangedError(
            f"{path!r} was replaced by another file while it was being changed; nothing was changed"
        )
    if read_superblock(descriptor) != beginning or not _fit(changes, descriptor):
        raise written_by_others(path)
    try:
        size = overlay.settle()
        disk.sync(descriptor)
        log = logs.Log(changes, overlay.end, size, there.st_dev, there.st_ino, what)
        logs.save(log, real)
    except OSError as error:
        # a log that did get its name must not outlive a file that is cut back
        with contextlib.suppress(FileNotFoundError):
            disk.remove(log_path(real))
        if error.errno in disk.NO_ROOM:
            raise _no_room(path, overlay, error) from error
        raise
    return log


def _fit(changes: tuple[logs.Change, ...], descriptor: int) -> bool:
    """Whether the file still has the bytes that are to be changed."""
    return all(
        disk.read_at(descriptor, len(each.before), each.offset) == each.before for each in changes
    )


def _is_same(real: str, there: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(real), there)
    except FileNotFoundError:
        return False


def written_by_others(path: str) -> SourceChangedError:
    """The error for a file that another program has written beside us."""
    return SourceChangedError(
        f"{path!r} was written by another program while it was being changed; nothing was changed "
        "by usidx. Close the file there, see what it holds, and try again"
    )


def _no_room(path: str, overlay: Overlay, error: OSError) -> Exception:
    if error.errno == errno.ESTALE:
        return written_by_others(path)
    if error.errno not in disk.NO_ROOM:
        return DamagedStoreError(f"{path!r} could not be written: {error.strerror or error}")
    needed = disk.sized(max(overlay.wanted, overlay.size - overlay.end))
    overlay.withdraw()  # what it took is free again
    return NoSpaceError(
        f"there is no room to extend {path!r}: {needed} are needed and {disk.room(path)} are free "
        f"({error.strerror}); nothing was changed. Make room, or put results elsewhere with into="
    )


def _carry_out(path: str, real: str, log: logs.Log, descriptor: int) -> None:
    try:
        logs.apply(log, descriptor)
        logs.remove(real)
    except OSError as error:
        raise DamagedStoreError(
            f"the change of {path!r} is recorded in {log_path(real)!r} but could not be completed "
            f"({error.strerror or error}); leave both where they are: whoever opens the file next "
            "completes it"
        ) from error


def _settle_log(path: str, real: str, deadline: float) -> Recovery:
    """Bring a log that lies beside the file to its end; the store's lock is held."""
    try:
        log = logs.load(real)
    except logs.BrokenLogError as error:
        return _set_aside(path, real, str(error))
    if log is None:
        if os.path.exists(log_path(real)):  # an empty one: its removal was interrupted
            logs.remove(real)
        return "nothing"
    with disk.opened(real, os.O_RDWR) as descriptor:
        state = logs.state(log, descriptor)
        if state == "foreign":
            return _set_aside(path, real, "the file is not as it was before that write, nor after")
        if state == "begun":
            wait_for_others(path, descriptor, deadline)
            logs.apply(log, descriptor)
        elif state == "finished":
            disk.sync(descriptor)
        else:
            _cut_untouched(log, descriptor)
    logs.remove(real)
    if state == "untouched":
        return "dropped"
    _logger.info("completed an interrupted write in %r (%s)", path, log.what)
    return "completed"


def _cut_untouched(log: logs.Log, descriptor: int) -> None:
    """Cut off the room that was reserved for a change that was not begun."""
    there = os.fstat(descriptor)
    if (there.st_ino, there.st_size) != (log.inode, log.new_size):
        return
    with contextlib.suppress(disk.NoKernelLocksError):
        if not disk.lock(descriptor):
            return  # open in HDF5: what lies behind its end does no harm
    disk.truncate(descriptor, log.old_size)


def _set_aside(path: str, real: str, reason: str) -> Recovery:
    aside = log_path(real) + _FOREIGN
    number = 1
    while os.path.exists(aside):
        number += 1
        aside = f"{log_path(real)}{_FOREIGN}-{number}"
    disk.replace(log_path(real), aside)
    disk.sync_folder(os.path.dirname(real))
    _logger.warning(
        "the log of an interrupted write beside %r does not belong to it (%s); it was not used, "
        "and is kept as %r. Was the file replaced or changed by another program since? If the file "
        "is as it should be, delete the log",
        path,
        reason,
        aside,
    )
    return "set aside"


def _look_at(path: str, real: str, deadline: float) -> Recovery:
    """What there is to recover in a file that cannot be written."""
    while True:
        try:
            log = logs.load(real)
        except (logs.BrokenLogError, PermissionError):
            return "nothing"
        if log is None:
            return "nothing"
        with disk.opened(real, os.O_RDONLY) as descriptor:
            if logs.state(log, descriptor) != "begun":
                return "nothing"
        if time.monotonic() >= deadline:
            break
        time.sleep(0.02)  # another account may be at work on it
    raise ReadOnlyStoreError(
        f"a write into {path!r} was interrupted ({log.what or 'nothing more is known'}), and it "
        "cannot be completed because the file or its folder is read-only; open it once from an "
        "account that may write there"
    )
