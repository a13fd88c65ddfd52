"""What a writer that died left beside a store, put right by the next one that opens it."""

from __future__ import annotations

import contextlib
import os

from usidx.stores import disk
from usidx.stores.lock import STORE_SUFFIX, held, store_lock, sweep_runs


def clear_leftovers(path: str) -> None:
    """Bring the store at `path` to rest, if its lock file is there and nobody holds it.

    Who changes a store holds its lock, so a file that is left tells of a process that died. It
    costs one look where there is none. What cannot be repaired now (others read the file, or it is
    on a disk that is read-only) is left for later.
    """
    real = os.path.realpath(path)
    if not os.path.exists(real + STORE_SUFFIX):
        return
    with contextlib.suppress(OSError):  # StoreLockedError and ReadOnlyStoreError are such
        if os.path.isfile(real):
            _clear_file(real)
        else:
            _clear_folder(real)
        sweep_runs(real)


def _clear_file(real: str) -> None:
    from usidx.stores.hdf5.transactions.transaction import transaction

    with transaction(real, timeout=0.0, what="tidying up"):
        pass  # it completes or drops what was begun, before it begins


def _clear_folder(real: str) -> None:
    from usidx.stores.hdf5.transactions.transaction import PART_SUFFIX
    from usidx.stores.zarr.staging import tidy, tidy_inside

    with held(store_lock(real, "tidying up"), 0.0):
        tidy(real)
        tidy_inside(real)
        if not os.path.exists(real):  # a new file that was not finished
            with contextlib.suppress(FileNotFoundError):
                disk.remove(real + PART_SUFFIX)
