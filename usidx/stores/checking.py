"""Everything in a store that is not as USID asks, whatever kind of store it is."""

from __future__ import annotations

from collections.abc import Sequence

from usidx.model.rules import Findings
from usidx.stores import store_at


def check_store(path: str, allow_external: Sequence[str] = (), *, values: bool = False) -> Findings:
    """What is in the store at `path`, and what is wrong with that.

    Parameters
    ----------
    allow_external : folders that the store may reach into
    values : whether to read every value, too

    Raises
    ------
    UsidError : where it cannot be opened, or may not be
    """
    store = store_at(path, allow_external)
    from usidx.stores.hdf5 import HDF5Store

    if isinstance(store, HDF5Store):
        from usidx.stores.hdf5.checking import check

        return check(store.path, store.allow_external, values=values)
    from usidx.stores.netcdf import NetcdfStore

    if isinstance(store, NetcdfStore):
        from usidx.stores.netcdf.checking import check as check_netcdf

        return check_netcdf(store.path, store.allow_external, values=values)
    from usidx.stores.zarr.checking import check as check_zarr

    return check_zarr(store.path, tuple(allow_external), values=values)
