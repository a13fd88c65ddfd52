"""An HDF5 file, opened for as short as possible, with errors that people understand."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import NamedTuple

import h5py

from usidx.errors import (
    DamagedStoreError,
    NotUsidError,
    StoreAccessError,
    StoreLockedError,
    StoreNotFoundError,
    UsidError,
)
from usidx.stores import disk
from usidx.stores.hdf5.objects.filters import lacks_plugin, missing_plugin
from usidx.stores.hdf5.transactions.log import log_path
from usidx.stores.hdf5.transactions.transaction import recover
from usidx.stores.keeping import kept
from usidx.stores.remote.url import Url

SIGNATURE = b"\x89HDF\r\n\x1a\n"
# A writer of ours holds the file for milliseconds; another program may hold it for hours.
LOCK_TIMEOUT = 5.0


class FileIdentity(NamedTuple):
    """What tells whether a file is still the same and untouched."""

    device: int
    inode: int
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, file: int | str | h5py.File) -> FileIdentity:
        """That of a path, an open descriptor or an open HDF5 file."""
        if isinstance(file, h5py.File):
            file = int(file.id.get_vfd_handle())
        now = os.stat(file)
        return cls(now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns)

    def same_file(self, other: FileIdentity) -> bool:
        """Whether both are of one file on disk, changed or not."""
        return (self.device, self.inode) == (other.device, other.inode)


def size_of(file: h5py.File) -> int:
    """Size of an open HDF5 file in bytes."""
    if file.driver == "fileobj":  # within a transaction, or behind a URL
        return int(file.id.get_filesize())
    return os.fstat(int(file.id.get_vfd_handle())).st_size


def is_hdf5(path: str) -> bool:
    """Whether the file has the HDF5 signature where HDF5 looks for it: at 0, 512, 1024, ..."""
    with open(path, "rb", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        place = 0
        while place + len(SIGNATURE) <= size:
            file.seek(place)
            if file.read(len(SIGNATURE)) == SIGNATURE:
                return True
            place = 512 if place == 0 else 2 * place
    return False


@contextmanager
def open_file(path: str, *, timeout: float = LOCK_TIMEOUT) -> Iterator[h5py.File]:
    """The HDF5 file at `path`, open for reading inside the `with` block.

    A write that was interrupted is mended first. What HDF5 cannot make sense of inside the block is
    raised as a DamagedStoreError.

    Raises
    ------
    StoreNotFoundError, StoreAccessError, NotUsidError, DamagedStoreError : as they say
    StoreLockedError : where another program keeps the file open for writing longer than `timeout` s
    """
    if isinstance(path, Url):
        from usidx.stores.hdf5.values.afar import open_afar

        with open_afar(path) as file:
            yield file
        return
    file = kept(("file", path), lambda stack: _opened_whole(path, timeout, stack))
    if file is not None:
        with understandable(path):
            yield file
        return
    with ExitStack() as stack:
        file = _opened_whole(path, timeout, stack)
        with understandable(path):
            yield file


def _opened_whole(path: str, timeout: float, stack: ExitStack) -> h5py.File:
    """The open file, which nobody changes until `stack` is closed, with no write left half done."""
    deadline = time.monotonic() + timeout
    while True:
        recover(path)
        with ExitStack() as opening:
            opening.enter_context(_unchanged(path, timeout))
            with understandable(path):
                file = _open_unlocked(path, timeout)
            opening.callback(file.close)
            # a writer may have come, and died, in the moment before
            if not os.path.exists(log_path(path)) or time.monotonic() > deadline:
                stack.push(opening.pop_all())
                return file


@contextmanager
def _unchanged(path: str, timeout: float) -> Iterator[None]:
    """No writer of ours changes the file inside the `with` block.

    HDF5 sees to it, unless it was told to take no locks.

    Raises
    ------
    StoreLockedError : where a writer does not let go of it in time
    """
    if os.environ.get("HDF5_USE_FILE_LOCKING", "").upper() not in ("FALSE", "0"):
        yield
        return
    with understandable(path):
        descriptor = disk.open_file(path, os.O_RDONLY)
    try:
        deadline = time.monotonic() + timeout
        with suppress(disk.NoKernelLocksError):
            while not disk.lock(descriptor, exclusive=False):
                if time.monotonic() > deadline:
                    raise StoreLockedError(
                        f"{path!r} is being written (waited {timeout:g} s); try again when that "
                        "is done"
                    )
                time.sleep(0.002)
        yield
    finally:
        os.close(descriptor)


def _open_unlocked(path: str, timeout: float) -> h5py.File:
    """The open file, waiting while a writer has it locked."""
    deadline = time.monotonic() + timeout
    pause = 0.001
    while True:
        try:
            return h5py.File(path, "r")
        except BlockingIOError as error:
            if time.monotonic() + pause > deadline:
                raise StoreLockedError(
                    f"{path!r} is open for writing in another program (waited {timeout:g} s); "
                    "close it there, or try again when it is done"
                ) from error
        time.sleep(pause)
        pause = min(2 * pause, 0.1)


@contextmanager
def understandable(path: str) -> Iterator[None]:
    """Raise what h5py raises in the `with` block as the UsidError that it means for `path`."""
    if isinstance(path, Url):
        yield  # `open_afar` does so
        return
    try:
        yield
    except UsidError:
        raise
    except Exception as error:
        translated = _translated(path, error)
        if translated is None:
            raise
        raise translated from error


def _translated(path: str, error: Exception) -> UsidError | None:
    """The error in our words; None where it is not one of HDF5 or of the file system."""
    if isinstance(error, FileNotFoundError):
        return StoreNotFoundError(f"there is no file {path!r}")
    if isinstance(error, IsADirectoryError):
        return NotUsidError(f"{path!r} is a folder; an h5USID file is expected")
    if isinstance(error, PermissionError):
        return StoreAccessError(
            f"{path!r} may not be read by this user; ask its owner for permission to read it"
        )
    if not raised_by_h5py(error):
        return None
    if isinstance(error, BlockingIOError):
        return StoreLockedError(f"{path!r} is locked by another program: {error}")
    if not is_hdf5(path):
        empty = os.path.getsize(path) == 0
        what = "is empty" if empty else "is not an HDF5 file: its signature is missing"
        return NotUsidError(f"{path!r} {what}")
    said = " ".join(str(error).split()) or type(error).__name__
    if lacks_plugin(said):
        return missing_plugin(path)
    truncated = " It was cut short, by a full disk or a broken copy;" if "truncated" in said else ""
    return DamagedStoreError(
        f"{path!r} cannot be read: HDF5 says {said!r}.{truncated} Get the original again, or see "
        "what h5clear and h5dump make of it"
    )


def raised_by_h5py(error: Exception) -> bool:
    """Whether the innermost place in the traceback is code of h5py, and not a mistake of ours."""
    trace = error.__traceback__
    innermost = ""
    while trace is not None:
        innermost = trace.tb_frame.f_code.co_filename
        trace = trace.tb_next
    return "h5py" in innermost.replace("\\", "/").split("/")
