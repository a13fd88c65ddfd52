"""USID on disk: h5USID files and USID-Zarr stores."""

from __future__ import annotations

import os
from collections.abc import Iterable

from usidx.errors import NotUsidError, StoreNotFoundError
from usidx.stores.base import Store

_ZARR_FILES = ("zarr.json", ".zgroup")


def store_at(
    path: str | os.PathLike[str], allow_external: Iterable[str | os.PathLike[str]] = ()
) -> Store:
    """The store at `path`, recognised by its content, whatever its name is.

    Parameters
    ----------
    path : of a file or folder
    allow_external : folders with other files that the store may reach by links or external storage

    Raises
    ------
    StoreNotFoundError : where there is nothing at `path`
    NotUsidError : where it is neither an HDF5 file nor a Zarr group
    StoreAccessError : where it may not be read
    """
    where = os.path.abspath(os.path.expanduser(os.fspath(path)))
    folders = tuple(os.path.abspath(os.path.expanduser(os.fspath(each))) for each in allow_external)
    if os.path.isdir(where):
        if any(os.path.isfile(os.path.join(where, name)) for name in _ZARR_FILES):
            from usidx.stores.zarr import ZarrStore

            return ZarrStore(where, folders)
        raise NotUsidError(
            f"{where!r} is a folder that is no Zarr group: it has no {' and no '.join(_ZARR_FILES)}"
        )
    if not os.path.exists(where):
        raise StoreNotFoundError(f"there is no file or folder {where!r}{_near(where)}")
    from usidx.stores.hdf5 import HDF5Store
    from usidx.stores.hdf5.file import is_hdf5, understandable

    with understandable(where):
        if is_hdf5(where):
            return HDF5Store(where, folders)
    what = "is empty" if os.path.getsize(where) == 0 else "is neither an HDF5 file nor a Zarr group"
    raise NotUsidError(f"{where!r} {what}; an h5USID file or a USID-Zarr store is expected")


def _near(path: str) -> str:
    from usidx.errors import did_you_mean

    folder, name = os.path.split(path)
    try:
        return did_you_mean(name, os.listdir(folder))
    except OSError:
        return f"; the folder {folder!r} does not exist either" if folder else ""
