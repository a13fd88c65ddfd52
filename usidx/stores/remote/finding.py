"""Which store is behind a URL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from usidx.errors import NotUsidError, StoreNotFoundError
from usidx.stores.remote.objects import read, version_of
from usidx.stores.remote.url import Url, located

if TYPE_CHECKING:
    from usidx.stores.base import Store

_ZARR = ".zarr"


def store_afar(path: object, reader: str | None = None) -> Store:
    """The store at a URL, by what is there.

    Parameters
    ----------
    path : the URL
    reader : "h5usid" or "zarr", to insist on one of them

    Raises
    ------
    StoreNotFoundError, StoreAccessError : where nothing is there, or cannot be read
    NotUsidError : where it is neither an HDF5 file nor a Zarr group
    MissingDependencyError : where the library for such URLs is not installed
    """
    url = located(str(path)) if not isinstance(path, Url) else located(path)
    assert isinstance(url, Url)
    kinds = (_zarr_at, _hdf5_at) if url.endswith(_ZARR) else (_hdf5_at, _zarr_at)
    there = False
    for look in kinds:
        found = look(url)
        if found is None:
            continue
        there = True
        if found == "other":
            continue
        if reader not in (None, found):
            raise NotUsidError(f"{str(url)!r} is for the reader {found!r}, not for {reader!r}")
        return _store(url, found)
    if not there:
        raise StoreNotFoundError(
            f"there is nothing at {str(url)!r}: neither a file, nor a Zarr v3 group; check the "
            "name, that of the bucket or host, too"
        )
    raise NotUsidError(
        f"{str(url)!r} is neither an HDF5 file nor a Zarr v3 group; files of other systems are "
        "read where they lie: download it and open the copy"
    )


def _store(url: Url, kind: str) -> Store:
    if kind == "zarr":
        from usidx.stores.zarr import ZarrStore

        return ZarrStore(url)
    from usidx.stores.hdf5 import HDF5Store

    return HDF5Store(url)


def _hdf5_at(url: Url) -> str | None:
    from usidx.stores.hdf5.values.afar import is_hdf5_afar

    try:
        version = version_of(url)
    except StoreNotFoundError:
        return None
    return "h5usid" if is_hdf5_afar(url, version) else "other"


def _zarr_at(url: Url) -> str | None:
    found = any(read(url.joined(name)) is not None for name in ("zarr.json", ".zgroup"))
    return "zarr" if found else None
