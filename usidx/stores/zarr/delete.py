"""Take a result group out of a Zarr store, in one step."""

from __future__ import annotations

import os

from usidx.errors import MainNotFoundError
from usidx.stores import disk
from usidx.stores.lock import held, store_lock
from usidx.stores.zarr.nodes import consolidate, folder_of, read_node, unconsolidate
from usidx.stores.zarr.staging import aside, writing

_TIMEOUT = 30.0


def remove_group(root: str, group: str) -> None:
    """Remove the group at path `group`: it is moved out of the store first, whole.

    Raises
    ------
    MainNotFoundError : where there is no such group
    StoreLockedError, ReadOnlyStoreError, NoSpaceError : where the store cannot be changed
    """
    root = os.path.realpath(root)
    folder = folder_of(root, group)
    with held(store_lock(root, f"deleting {group!r}"), _TIMEOUT):
        if folder == root or read_node(folder) is None:
            raise MainNotFoundError(f"there is no group {group!r} in {root!r} to delete")
        with aside(root) as place, writing(root):
            unconsolidate(root)  # plain xarray must not look for what is gone
            disk.replace(folder, os.path.join(place, "deleted"))
            disk.sync_folder(os.path.dirname(folder))
            consolidate(root)
