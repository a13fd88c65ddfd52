"""A labelled Main from a plain array and its dimensions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from usidx.arrays.columns import single_cell
from usidx.arrays.folding import take, unfold
from usidx.arrays.labels import to_dataarray
from usidx.errors import LayoutError, OptionError
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
    """A labelled DataArray of `array`, which stays as it is: NumPy, or dask and lazy.

    Parameters
    ----------
    array : N-D with the axes of `position` then `spectroscopic`; or with one axis for a side (or
        each) that is folded, as in a 2-D array (positions, spectroscopic values). The rows of such
        an axis are in the order of acquisition, where a Grid has one. A side of one cell needs no
        axis
    quantity, units : of the values, "Current" and "nA"
    position, spectroscopic : the dimensions of each side, slowest first; or a Grid, or Points. No
        dimension stands for a side of one cell: one value at each position, a single spectrum
    name : of the Main
    attrs : any other attributes

    Raises
    ------
    LayoutError : where the dimensions do not have the sizes of the array
    OptionError : for values that are no numbers, nor records of numbers

    Examples
    --------
    >>> y, x = Dimension("Y", "um", [0.0, 0.1]), Dimension("X", "um", [0.0, 0.1, 0.2])
    >>> image = from_array(np.zeros((2, 3)), "Height", "nm", position=[y, x])
    >>> image.dims
    ('Y', 'X', 'arb')
    """
    values = array if hasattr(array, "shape") and hasattr(array, "dtype") else np.asarray(array)
    _check_numbers(np.dtype(values.dtype), name)
    sides = _layout("position", position), _layout("spectroscopic", spectroscopic)
    _check_distinct(*sides)
    values = _unfolded(values, sides)
    path = f"/Measurement_000/Channel_000/{name}"
    spec = MainSpec(path, quantity, units, np.dtype(values.dtype), *sides, dict(attrs or {}))
    return to_dataarray(spec, values)


# Whether a side has an axis for each dimension, one for all of them, or, of one cell, none.
_WAYS = (
    ("axes", "axes"),
    ("rows", "rows"),
    ("axes", "rows"),
    ("rows", "axes"),
    ("axes", "none"),
    ("none", "axes"),
    ("rows", "none"),
    ("none", "rows"),
    ("none", "none"),
)


def _unfolded(values: Any, sides: tuple[Layout, Layout]) -> Any:
    """The array with one axis for each dimension of both sides.

    Raises
    ------
    LayoutError : where its shape is none that the sides have
    """
    shape = tuple(values.shape)
    for ways in _WAYS:
        own = [_own_shape(side, way) for side, way in zip(sides, ways)]
        if None in own or shape != (own[0] or ()) + (own[1] or ()):
            continue
        values = values[None] if ways[0] == "none" else values
        values = values[..., None] if ways[1] == "none" else values
        splits: list[tuple[int, ...] | None] = []
        for side, way in zip(sides, ways):
            # Rows are as the file has them, in the order of acquisition.
            if way == "rows" and side.order is not None:
                values = take(values, np.asarray(side.order), len(splits))
            splits += [None] * len(side.shape) if way == "axes" else [side.shape]
        return values if not any(splits) else unfold(values, tuple(splits))
    raise LayoutError(_misfit(shape, *sides))


def _own_shape(side: Layout, way: str) -> tuple[int, ...] | None:
    """Sizes of the axes that an array has for a side; None where that way is not open to it."""
    if way == "axes":
        return side.shape
    if way == "rows":
        return (side.size,)
    return () if side.size == 1 else None


def _check_numbers(dtype: np.dtype[Any], name: str) -> None:
    fields = [dtype] if dtype.fields is None else [each[0] for each in dtype.fields.values()]
    if not all(each.kind in "biufc" for each in fields):
        raise OptionError(
            f"{name!r} would have values of {dtype}; a Main has numbers, or records of numbers, "
            "and rows of the same length"
        )


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
    dims = [*position.dims, *spectroscopic.dims]
    needed = position.shape + spectroscopic.shape
    sizes = ", ".join(f"{name}: {size}" for name, size in zip(dims, needed))
    flat = (position.size, spectroscopic.size)
    said = (
        f"the array has shape {shape} but the dimensions ({sizes}) need {needed}, or {flat} for a "
        "2-D array"
    )
    if sorted(shape) == sorted(needed) or sorted(shape) == sorted(flat):
        return (
            f"{said}. The sizes are the same in another order: give the dimensions slowest first, "
            "positions before spectroscopic ones, or transpose the array"
        )
    if len(shape) == len(needed):
        wrong = [
            f"{name} has {size} values for an axis of {there}"
            for name, size, there in zip(dims, needed, shape)
            if size != there
        ]
        return f"{said}: {', '.join(wrong)}"
    return (
        f"{said}; give every axis a Dimension, slowest first, positions before spectroscopic ones"
    )
