"""Mains of the same grid, put together value by value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import xarray as xr

from usidx.arrays.apply import floating
from usidx.errors import OptionError, PlanError, did_you_mean
from usidx.step import register, step

# What is made of two arrays, and of their units.
_WAYS: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
    "contrast": lambda a, b: (a - b) / (a + b),
}
# Coordinates that went through a file in 32 bits are still the same.
_NEAR = 1e-6


@register
@step("Combine", version="2")
def combine(
    data: xr.DataArray,
    *,
    other: xr.DataArray,
    how: Literal["add", "subtract", "multiply", "divide", "contrast"],
) -> xr.DataArray:
    r"""Two Mains of the same grid, value by value.

    :math:`a + b`, :math:`a - b`, :math:`a b`, :math:`a / b` or :math:`(a - b) / (a + b)`.

    Plain arithmetic of xarray does the same, but goes on with those coordinates that both have in
    common, where they are not equal to the last digit; this refuses grids that differ.

    Parameters
    ----------
    data : a, values of any numeric dtype, lazily
    other : b, of the same dimensions, sizes and coordinates, or without some of the dimensions
    how : "add", "subtract", "multiply", "divide" or "contrast", in the order of the formulas

    Returns
    -------
    DataArray : with the labels of `data`, in the units that follow; in floating point, where no
        difference of counts and no product goes round at the end of their range

    Raises
    ------
    PlanError : naming all dimensions that differ, or units that cannot be added
    OptionError : for another way

    Examples
    --------
    >>> up = xr.DataArray([3.0, 5.0], dims="X", coords={"X": [0.0, 0.1]})
    >>> combine(up, other=up / 3, how="contrast").values
    array([0.5, 0.5])
    """
    if how not in _WAYS:
        raise OptionError(f"how={how!r} is none of {', '.join(_WAYS)}{did_you_mean(how, [*_WAYS])}")
    unit, its = (str(each.attrs.get("units", "")) for each in (data, other))
    wrong = _differences(data, other)
    if how not in ("multiply", "divide") and unit != its:
        wrong.append(f"units {unit!r} and {its!r}")
    if wrong:
        raise PlanError(
            f"these Mains are not of the same grid and cannot be combined by {how!r}: "
            f"{'; '.join(wrong)}. Crop or interpolate one of them to the grid of the other first"
        )
    dtype = floating(np.result_type(data.dtype, other.dtype))
    plain = other.drop_vars(list(other.coords)).astype(dtype, copy=False)
    found = _WAYS[how](data.astype(dtype, copy=False), plain)
    units = {
        "multiply": "·".join(filter(None, [unit, its])),
        "divide": "" if unit == its else f"{unit or '1'}/({its})".removesuffix("/()"),
        "contrast": "",
    }
    made: xr.DataArray = found.transpose(*data.dims).assign_coords(data.coords).rename(data.name)
    return made.assign_attrs(data.attrs, units=units.get(how, unit))


def _differences(data: xr.DataArray, other: xr.DataArray) -> list[str]:
    """In words, where the grid of another array is not that of the first."""
    wrong = [f"{dim!r} is in one only" for dim in other.dims if dim not in data.dims]
    for dim in data.dims:
        if dim not in other.dims:
            continue
        if other.sizes[dim] != data.sizes[dim]:
            wrong.append(f"{dim!r} has {data.sizes[dim]} and {other.sizes[dim]} values")
            continue
        for name, values in data.coords.items():
            if values.dims == (dim,) and name in other.coords and other.coords[name].dims == (dim,):
                wrong += _apart(str(name), values, other.coords[name])
    return wrong


def _apart(name: str, values: xr.DataArray, others: xr.DataArray) -> list[str]:
    one, two = values.values, others.values
    if one.dtype.kind not in "fiu" or two.dtype.kind not in "fiu":
        return [] if np.array_equal(one, two) else [f"{name!r} has other values"]
    size = float(np.nanmax(np.abs(one), initial=0))
    away = float(np.nanmax(np.abs(one.astype(float) - two), initial=0))
    if away <= _NEAR * size and np.array_equal(np.isnan(one), np.isnan(two)):
        return []
    return [f"{name!r} differs by up to {away:.6g}"]
