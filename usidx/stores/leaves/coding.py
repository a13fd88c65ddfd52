"""Values of coordinates as Zarr v3 and xarray both read them."""

from __future__ import annotations

from typing import Any

import numpy as np

from usidx.errors import InvalidMainError
from usidx.model.dimension import Array

_TIME_UNITS = {
    "ns": "nanoseconds", "us": "microseconds", "ms": "milliseconds", "s": "seconds",
    "m": "minutes", "h": "hours", "D": "days",
}  # fmt: skip


def encode(values: Array, place: str) -> tuple[Array, dict[str, Any]]:
    """(stored, attributes): a coordinate as Zarr v3 and xarray can both read it.

    Raises
    ------
    InvalidMainError : for a dtype that neither can hold
    """
    kind = values.dtype.kind
    if values.dtype == np.float16:
        return values.astype(np.float32), {}  # pandas has no index of float16
    if kind in "biufc" and values.dtype.char not in "gG":
        own = np.dtype(values.dtype.newbyteorder("=").str)
        return values.astype(own, copy=False).view(own), {}
    if kind in "UT" or (kind == "O" and all(isinstance(each, str) for each in values.flat)):
        return values.astype(np.dtypes.StringDType()), {}
    if kind in "mM":
        unit, count = np.datetime_data(values.dtype)
        if unit not in _TIME_UNITS or count != 1:
            unit = "ns"
        stored = values.astype(f"{kind}8[{unit}]").astype(np.int64)
        if kind == "M":
            units = f"{_TIME_UNITS[unit]} since 1970-01-01"
            return stored, {"units": units, "calendar": "proleptic_gregorian"}
        return stored, {"units": _TIME_UNITS[unit], "dtype": f"timedelta64[{unit}]"}
    raise InvalidMainError(
        f"coordinate {place!r} has values of {values.dtype}, which Zarr v3 cannot hold; "
        "convert them to numbers, text or datetime64"
    )


def decode(stored: Array, dtype: np.dtype[Any]) -> Array:
    """The coordinate that `encode` was given, in its own dtype."""
    if dtype.kind in "mM":
        unit, count = np.datetime_data(dtype)
        if unit not in _TIME_UNITS or count != 1:
            unit = "ns"
        return stored.astype(f"{dtype.kind}8[{unit}]").astype(dtype)
    return stored.astype(dtype, copy=False)
