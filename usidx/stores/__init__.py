"""USID on disk: h5USID files, USID-Zarr stores, and netCDF files of Mains."""

from __future__ import annotations

import os
from collections.abc import Iterable

from usidx.errors import NotUsidError, OptionError, StoreNotFoundError, did_you_mean
from usidx.stores.base import Store
from usidx.stores.leftovers import clear_leftovers
from usidx.stores.remote.url import is_url

_ZARR_FILES = ("zarr.json", ".zgroup")


READERS = ("h5usid", "zarr", "netcdf")


def store_at(
    path: str | os.PathLike[str],
    allow_external: Iterable[str | os.PathLike[str]] = (),
    reader: str | None = None,
) -> Store:
    """The store at `path`, recognised by its content, whatever its name is.

    Parameters
    ----------
    path : of a file or folder
    allow_external : folders with other files that the store may reach by links or external storage
    reader : "h5usid", "zarr" or "netcdf", to insist on one of them; by the content alone when None

    Raises
    ------
    OptionError : for a reader that does not exist
    StoreNotFoundError : where there is nothing at `path`
    NotUsidError : where it is neither an HDF5 file nor a Zarr group, or not what `reader` reads
    StoreAccessError : where it may not be read
    """
    if reader is not None and reader not in READERS:
        raise OptionError(
            f"reader={reader!r} does not exist{did_you_mean(str(reader), READERS)}; there are "
            f"{', '.join(READERS)}"
        )
    if is_url(path):
        from usidx.stores.remote.finding import store_afar

        return store_afar(path, reader)
    where = os.path.abspath(os.path.expanduser(os.fspath(path)))
    folders = tuple(os.path.abspath(os.path.expanduser(os.fspath(each))) for each in allow_external)
    clear_leftovers(where)
    if os.path.isdir(where):
        if any(os.path.isfile(os.path.join(where, name)) for name in _ZARR_FILES):
            from usidx.stores.zarr import ZarrStore

            _insist(where, "zarr", reader)
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
            from usidx.stores.netcdf import NetcdfStore
            from usidx.stores.netcdf.read import is_netcdf

            if reader != "h5usid" and is_netcdf(where):
                return NetcdfStore(where, folders)
            _insist(where, "h5usid", reader)
            return HDF5Store(where, folders)
    what = "is empty" if os.path.getsize(where) == 0 else "is neither an HDF5 file nor a Zarr group"
    raise NotUsidError(f"{where!r} {what}; an h5USID file or a USID-Zarr store is expected")


def _insist(path: str, found: str, reader: str | None) -> None:
    if reader not in (None, found):
        raise NotUsidError(f"{path!r} is for the reader {found!r}, not for {reader!r}")


def _near(path: str) -> str:
    folder, name = os.path.split(path)
    try:
        return did_you_mean(name, os.listdir(folder))
    except OSError:
        return f"; the folder {folder!r} does not exist either" if folder else ""
