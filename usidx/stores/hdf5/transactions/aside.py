"""A new file that is made aside, and takes its name when it is whole and on disk."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator

from usidx.errors import NoSpaceError, ReadOnlyStoreError, StoreExistsError, StoreNotFoundError
from usidx.stores import disk
from usidx.stores.hdf5.file import is_hdf5
from usidx.stores.hdf5.transactions.overlay import Overlay
from usidx.stores.hdf5.transactions.transaction import PART_SUFFIX, recover, written_by_others
from usidx.stores.lock import held, refuse_runs, store_lock

_LOCK_TIMEOUT = 30.0


@contextlib.contextmanager
def aside(path: str, *, overwrite: bool) -> Iterator[Overlay]:
    """What HDF5 writes a new file through; the file is put at `path` when the `with` block ends.

    Until then, and for good where the block fails, what is at `path` stays as it is. The lock of
    the store is held meanwhile.

    Raises
    ------
    StoreExistsError : where there is a file and `overwrite` is False, or it is no HDF5 file
    StoreNotFoundError, ReadOnlyStoreError, NoSpaceError : where nothing can be written
    StoreLockedError : while another process writes what is there
    """
    real = os.path.realpath(path)
    part = real + PART_SUFFIX
    folder = os.path.dirname(real)
    if not os.path.isdir(folder):
        raise StoreNotFoundError(f"there is no folder {folder!r} to write {path!r} into; make it")
    if overwrite:
        recover(path)  # a log that is left belongs to the file that is about to go
    with held(store_lock(path, "writing a new file"), _LOCK_TIMEOUT):
        _check_target(path, real, overwrite)
        try:
            descriptor = disk.open_file(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        except OSError as error:
            raise unwritable(path, error) from error
        overlay = Overlay(descriptor)
        try:
            try:
                yield overlay
                _settle(path, overlay)
                _keep_mode(real, descriptor)
                disk.sync(descriptor)
            finally:
                overlay.detach()
                os.close(descriptor)
            _check_target(path, real, overwrite)
            disk.replace(part, real)
        except BaseException:
            with contextlib.suppress(OSError):
                disk.remove(part)
            raise
        disk.sync_folder(folder)


def unwritable(path: str, error: OSError, needed: int = 0) -> Exception:
    """What the system says of writing a file at `path`, in our words; `needed` bytes it takes."""
    if error.errno == errno.ESTALE:
        return written_by_others(path)
    if error.errno in disk.NO_ROOM:
        more = f": {disk.sized(needed)} are needed" if needed else ""
        return NoSpaceError(
            f"there is no room to write {path!r}{more} ({error.strerror}; {disk.room(path)} free); "
            "make room or write to another disk"
        )
    if error.errno in disk.READ_ONLY:
        return ReadOnlyStoreError(
            f"{path!r} cannot be written ({error.strerror}); write to a folder of your own"
        )
    return error


def _check_target(path: str, real: str, overwrite: bool) -> None:
    if not os.path.lexists(real):
        return
    if not overwrite:
        raise StoreExistsError(f"{path!r} is there already; pass overwrite=True to replace it")
    if not os.path.isfile(real) or (os.path.getsize(real) and not is_hdf5(real)):
        raise StoreExistsError(
            f"{path!r} is no HDF5 file and is not replaced, not even with overwrite=True; choose "
            "another name or remove it yourself"
        )
    refuse_runs(path)


def _settle(path: str, overlay: Overlay) -> None:
    try:
        overlay.settle()
    except OSError as error:
        raise unwritable(path, error, overlay.wanted) from error


def _keep_mode(real: str, descriptor: int) -> None:
    """Let the new file be read and written by whom the old one could."""
    if os.path.exists(real) and hasattr(os, "fchmod"):
        with contextlib.suppress(OSError):
            os.fchmod(descriptor, os.stat(real).st_mode & 0o7777)
