"""A labelled Main from a plain array and its dimensions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from usidx.arrays.columns import single_cell
from usidx.arrays.labels import to_dataarray
from usidx.errors import LayoutError
from usidx.model.dimension import Dimension, Role
from usidx.model.layout import Grid, Layout, Points
from usidx.model.main import MainSpec

Side = Sequence[Dimension] | Dimension | Grid | Points


def from_array(
    array: Any,
    quantity: str,
    units: str,
    *,
    position: Side,
    spectroscopic: Side = (),
    name: str = "Raw_Data",
    attrs: Mapping[str, Any] | None = None,
) -> xr.DataArray:
    """A labelled DataArray of `array`, which stays as it is: NumPy or dask.

    Parameters
    ----------
    array : N-D with the axes of `position` then `spectroscopic`, or 2-D (positions, spectroscopic
        values) which is folded
    quantity, units : of the values, "Current" and "nA"
    position, spectroscopic : the dimensions of each side, slowest first; no spectroscopic
        dimension stands for one value at each position
    name : of the Main
    attrs : any other attributes

    Raises
    ------
    LayoutError : where the dimensions do not have the sizes of the array

    Examples
    --------
    >>> y, x = Dimension("Y", "um", [0.0, 0.1]), Dimension("X", "um", [0.0, 0.1, 0.2])
    >>> image = from_array(np.zeros((2, 3)), "Height", "nm", position=[y, x])
    >>> image.dims
    ('Y', 'X', 'arb')
    """
    values = array if hasattr(array, "shape") and hasattr(array, "dtype") else np.asarray(array)
    first, second = _layout("position", position), _layout("spectroscopic", spectroscopic)
    _check_distinct(first, second)
    shape = first.shape + second.shape
    if tuple(values.shape) == first.shape and second.size == 1:
        values = values.reshape(shape)
    elif tuple(values.shape) == (first.size, second.size) != shape:
        # A 2-D array has its rows as the file has them, in the order of acquisition.
        for axis, side in enumerate((first, second)):
            if side.order is not None:
                values = np.take(values, side.order, axis=axis)
        values = values.reshape(shape)
    elif tuple(values.shape) != shape:
        raise LayoutError(_misfit(tuple(values.shape), first, second))
    path = f"/Measurement_000/Channel_000/{name}"
    spec = MainSpec(path, quantity, units, np.dtype(values.dtype), first, second, dict(attrs or {}))
    return to_dataarray(spec, values)


def _layout(role: Role, side: Side) -> Layout:
    if isinstance(side, (Grid, Points)):
        if side.role != role:
            raise LayoutError(f"a {side.role} layout was given for the {role} side")
        return side
    dimensions = (side,) if isinstance(side, Dimension) else tuple(side)
    for each in dimensions:
        if not isinstance(each, Dimension):
            raise LayoutError(
                f"the {role} side takes Dimensions, got {each!r}; "
                "write usidx.Dimension(name, units, values)"
            )
    return Grid(role, dimensions or (single_cell(role),))


def _check_distinct(position: Layout, spectroscopic: Layout) -> None:
    both = sorted(set(position.names) & set(spectroscopic.names))
    if both:
        raise LayoutError(
            f"{both[0]!r} names a position and a spectroscopic dimension; names must differ, "
            f"call the second one Dimension('{both[0]}_spectroscopic', ..., label={both[0]!r})"
        )


def _misfit(shape: tuple[int, ...], position: Layout, spectroscopic: Layout) -> str:
    sizes = [
        f"{name}: {size}"
        for side in (position, spectroscopic)
        for name, size in zip(side.dims, side.shape)
    ]
    flat = (position.size, spectroscopic.size)
    return (
        f"the array has shape {shape} but the dimensions ({', '.join(sizes)}) need "
        f"{position.shape + spectroscopic.shape}, or {flat} for a 2-D array; give the dimensions "
        "slowest first, positions before spectroscopic ones"
    )
