"""Take a result group out of an HDF5 file, all of it or nothing."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

import h5py

from usidx.errors import MainNotFoundError, PlanError, StoreLockedError
from usidx.stores import disk
from usidx.stores.hdf5.objects import attributes
from usidx.stores.hdf5.objects.place import REFERENCES
from usidx.stores.hdf5.transactions.log import log_path
from usidx.stores.hdf5.transactions.opened import wait_for_others
from usidx.stores.hdf5.transactions.superblock import read_superblock
from usidx.stores.hdf5.transactions.transaction import transaction
from usidx.stores.hdf5.writing.new_result import find
from usidx.stores.lock import held, store_lock

_TIMEOUT = 30.0


def remove_group(path: str, group: str) -> None:
    """Unlink the group at path `group`; its room is given back where it is at the end of the file.

    Elsewhere the room stays in the file, as HDF5 has it, until somebody copies it (h5repack).

    Raises
    ------
    MainNotFoundError : where there is no such group
    PlanError : where a Main elsewhere has its ancillaries in it
    StoreLockedError, ReadOnlyStoreError, NoSpaceError, ... : as for `transaction`
    """
    with transaction(path, timeout=_TIMEOUT, what=f"deleting {group!r}") as file:
        if not isinstance(find(file, group), h5py.Group):
            raise MainNotFoundError(f"there is no group {group!r} in {path!r} to delete")
        for main in _served_from(file, group):
            raise PlanError(
                f"{group!r} in {path!r} holds ancillaries of {main!r}, which could not be read "
                f"without them; delete that first, or keep {group!r}"
            )
        del file[group]
    with contextlib.suppress(StoreLockedError):  # others read it: what is behind its end is no harm
        _cut_end(path)


def _served_from(file: h5py.File, group: str) -> Iterator[str]:
    """Paths of Mains outside of a group that refer to ancillaries within."""
    found: list[str] = []
    within = group.rstrip("/") + "/"

    def look(name: str, obj: h5py.HLObject) -> None:
        if not isinstance(obj, h5py.Dataset) or f"/{name}".startswith(within):
            return
        for reference in REFERENCES:
            referred = attributes.read_reference(obj, reference)
            if referred.found == "dataset" and str(referred.target.name).startswith(within):
                found.append(f"/{name}")
                return

    file.visititems(look)
    yield from found


def _cut_end(path: str) -> None:
    """Cut off what lies behind the end of the file as HDF5 has it."""
    real = os.path.realpath(path)
    with held(store_lock(path, "cutting off what was deleted"), _TIMEOUT):
        if os.path.exists(log_path(real)):
            return
        with disk.opened(real, os.O_RDWR) as descriptor:
            wait_for_others(path, descriptor, time.monotonic() + 1.0)
            superblock = read_superblock(descriptor)
            end = superblock.end if superblock is not None else None
            if end is not None and end < os.fstat(descriptor).st_size:
                disk.truncate(descriptor, end)
