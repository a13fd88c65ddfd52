"""What lies along the dimensions of a variable that xarray opens."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from usidx.model.dimension import Array, Dimension
from usidx.model.layout import Coordinate


def coordinates_of(array: xr.DataArray) -> tuple[Coordinate, ...]:
    """What lies along the dimensions of a variable besides their own values.

    Texts stay texts; times become numbers, since USID has no others.
    """
    found = []
    for key, each in array.coords.items():
        values, units = each.values, str(each.attrs.get("units", ""))
        if not each.ndim or key in array.dims:
            continue
        if values.dtype.kind == "M":
            values, units = _counted(values)
        elif values.dtype.kind in "OT" and all(isinstance(one, str) for one in values.flat):
            values = values.astype(str)
        if values.dtype.kind in "biufU":
            found.append(Coordinate(str(key), units, tuple(map(str, each.dims)), values))
    return tuple(found)


def _counted(times: Array) -> tuple[Array, str]:
    """(times as whole numbers from the first one, their units such as "seconds since ...")."""
    known = times[~np.isnat(times)].astype("M8[ns]")
    first = known.min() if known.size else np.datetime64(0, "ns")
    steps = (known - first).astype(np.int64)
    size, name = next(
        (size, name)
        for size, name in ((10**9, "seconds"), (10**3, "microseconds"), (1, "nanoseconds"))
        if not np.any(steps % size)
    )
    values = np.full(times.shape, np.nan)
    values[~np.isnat(times)] = steps // size
    return values, f"{name} since {np.datetime_as_string(first, timezone='naive')}"


def single_value(coordinate: xr.DataArray) -> Any:
    """What a coordinate of no extent says; of a time its text."""
    value = coordinate.values[()]
    return str(value) if coordinate.dtype.kind == "M" else value


def dimension_of(array: xr.DataArray, dim: str) -> Dimension:
    """A dimension of a variable, which counts from 0 where it has no values."""
    if dim not in array.coords:
        return Dimension(dim, "", np.arange(array.sizes[dim]))
    coordinate = array.coords[dim]
    units = str(coordinate.attrs.get("units", ""))
    return Dimension(
        dim, units, coordinate.values, quantity=str(coordinate.attrs.get("long_name", ""))
    )
