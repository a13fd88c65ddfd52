"""From what is known of each frame to a grid: axes, which frame is where, and which are missing."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from usidx.errors import LayoutError, OptionError
from usidx.model.dimension import Array
from usidx.model.names import natural_key
from usidx.stacking.naming import Named

Sizes = Mapping[str, Any]
# Whole numbers with many more gaps than values are no counters: times, say, or serial numbers.
_MOST_GAPS = 10
# A grid with many more cells than frames is none, and its table would fill the memory.
_MOST_EMPTY = 64
_MOST_NAMED = 5
# How far from an even spacing a measured position may be, in parts of the spacing.
_OFF = 0.3


@dataclass(frozen=True, eq=False)
class Axis:
    """A dimension of the scan: its name, and the values along it as they were found."""

    name: str
    values: Array

    @property
    def size(self) -> int:
        return int(self.values.size)


@dataclass(frozen=True, eq=False)
class Placed:
    """Where the frames belong.

    Parameters
    ----------
    axes : slowest first
    places : array of int64, shape (frames, axes): the place of each frame along each axis
    frames : array of int64, shape (frames,): its number, counted over all files; -1 where there is
        no file
    order : array of int64, one for each cell in row-major order: when it was measured; None for
        row by row
    """

    axes: tuple[Axis, ...]
    places: Array
    frames: Array
    order: Array | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(axis.size for axis in self.axes)

    def table(self) -> Array:
        """The frame of each cell, the shape of the grid; -1 where there is none.

        Raises
        ------
        LayoutError : where so many cells are empty that this is no grid
        """
        cells = math.prod(self.shape)
        if cells > _MOST_EMPTY * self.frames.size + 1000:
            raise LayoutError(
                f"the positions are no grid: {_sizes(self)} would have {cells} cells for "
                f"{self.frames.size} frames; say how far apart they are with spacing=..., or "
                "take them as a list of points with missing='drop'"
            )
        table: Array = np.full(self.shape, -1, np.int64)
        table[tuple(self.places.T)] = self.frames
        return table

    def there(self) -> Array:
        """Which of the frames there are, by the order of their cells."""
        keep = np.flatnonzero(self.frames >= 0)
        return np.asarray(keep[np.lexsort(self.places[keep].T[::-1])])


def place_named(
    named: Named,
    dims: Sequence[str] | None,
    sizes: Sizes,
    spacing: Mapping[str, Any],
    *,
    snake: bool = False,
) -> Placed:
    """Frames at the values that are known of them.

    Parameters
    ----------
    named : the values
    dims : names of the dimensions, slowest first; in the order of `named` when None
    sizes : how many values, or which, each dimension is to have; those that are not in it have
        what is found, and whole numbers what is left out between them
    spacing : distances; measured positions are taken to the next multiple
    snake : whether the numbers along the fastest dimension count back in every other row

    Raises
    ------
    OptionError : for dimensions that nothing is known of
    LayoutError : where two frames are at one place, or one is not among `sizes`
    """
    names = list(named.columns)
    order = names if dims is None else list(dims)
    if sorted(order) != sorted(names):
        raise OptionError(f"dims={tuple(order)} must name {', '.join(names)}, each once")
    axes, places = [], []
    for name in order:
        axis, where = _axis(name, named.columns[name], sizes.get(name), spacing.get(name))
        axes.append(axis)
        places.append(where)
    table = np.stack(places, axis=1).astype(np.int64)
    placed = Placed(tuple(axes), table, np.asarray(named.files, np.int64))
    if snake:
        placed = _walked(placed)
    _check_twice(placed, named)
    return placed


def _walked(placed: Placed) -> Placed:
    """The grid that a snake walked: where numbers along the last axis count along the path."""
    if len(placed.axes) < 2:
        raise OptionError("order='snake' needs two dimensions at least; give sizes or a pattern")
    shape = placed.shape
    places = placed.places.copy()
    rows = np.ravel_multi_index(tuple(places[:, :-1].T), shape[:-1])
    back = rows % 2 == 1
    places[back, -1] = shape[-1] - 1 - places[back, -1]
    return Placed(placed.axes, places, placed.frames, snake_order(shape))


def snake_order(shape: tuple[int, ...]) -> Array:
    """When a snake comes by each cell, in row-major order, shape (cells,).

    Examples
    --------
    >>> snake_order((2, 3))
    array([0, 1, 2, 5, 4, 3])
    """
    order = np.arange(math.prod(shape), dtype=np.int64).reshape(-1, shape[-1])
    order[1::2] = order[1::2, ::-1]
    return order.reshape(-1)


def place_counted(
    numbers: Array, per_file: int, dims: Sequence[str], shape: tuple[int, ...], *, snake: bool
) -> Placed:
    """Frames that were counted as the scan went along.

    Parameters
    ----------
    numbers : array of int64, shape (files,), from 0 on: which file it is
    per_file : frames of each file
    dims, shape : of the scan, slowest first
    snake : whether every other row was scanned backwards

    Raises
    ------
    LayoutError : where a number is beyond the grid
    """
    counters = (numbers[:, None] * per_file + np.arange(per_file)).reshape(-1)
    cells = math.prod(shape)
    if counters.max() >= cells:
        raise LayoutError(
            f"the frames are counted to {int(counters.max()) + 1} (there are {counters.size}), but "
            f"{' x '.join(f'{d}: {n}' for d, n in zip(dims, shape))} has {cells} positions; "
            "give other sizes, or the paths as a list in the order in which they count"
        )
    frames = np.arange(counters.size)
    places = np.stack(np.unravel_index(counters, shape), axis=1)
    placed = Placed(tuple(Axis(d, np.arange(n)) for d, n in zip(dims, shape)), places, frames)
    return _walked(placed) if snake else placed


def _axis(name: str, found: Sequence[Any], wanted: Any, spacing: Any) -> tuple[Axis, Array]:
    """(the axis, the place of each frame along it)."""
    values = _parsed(found)
    if wanted is not None and not isinstance(wanted, (int, np.integer)):
        return _among(name, values, np.asarray(wanted))
    if values.dtype.kind == "U":
        known = sorted(set(values.tolist()), key=natural_key)
        axis, where = _among(name, values, np.array(known))
    elif values.dtype.kind == "f" and np.ndim(spacing) == 0 and spacing is not None:
        axis, where = _snapped(name, values, float(spacing))
    elif values.dtype.kind == "f":
        distinct, where = np.unique(values, return_inverse=True)
        axis = Axis(name, distinct)
    else:
        axis, where = _whole(name, values)
    if wanted is not None and axis.size != int(wanted):
        axis = _stretched(axis, int(wanted))
    return axis, where


def _parsed(found: Sequence[Any]) -> Array:
    """Values as whole numbers where they are, else numbers, else texts."""
    texts: Array = np.array([str(each).strip() for each in found])
    for kind in (np.int64, np.float64):
        try:
            values: Array = texts.astype(kind)
        except (ValueError, OverflowError):
            continue
        if np.isfinite(values).all():
            return values
    return texts


def _among(name: str, values: Array, wanted: Array) -> tuple[Axis, Array]:
    order = np.argsort(wanted, kind="stable")
    at = np.searchsorted(wanted, values, sorter=order).clip(max=wanted.size - 1)
    where = order[at]
    strange = np.flatnonzero(wanted[where] != values)
    if strange.size:
        raise LayoutError(
            f"{strange.size} frames have a {name} that is not among the {wanted.size} values of "
            f"sizes[{name!r}], such as {values[strange[0]]}"
        )
    return Axis(name, wanted), where


def _whole(name: str, values: Array) -> tuple[Axis, Array]:
    """Whole numbers count, so that what is left out between them is missing."""
    distinct, where = np.unique(values, return_inverse=True)
    if distinct.size < 2:
        return Axis(name, distinct), where
    step = int(np.gcd.reduce(np.diff(distinct)))
    count = (int(distinct[-1]) - int(distinct[0])) // step + 1
    if count > _MOST_GAPS * distinct.size:
        return Axis(name, distinct), where
    return Axis(name, distinct[0] + step * np.arange(count)), (values - distinct[0]) // step


def _snapped(name: str, values: Array, spacing: float) -> tuple[Axis, Array]:
    """Measured positions at the next multiple of their spacing, from the lowest on."""
    if not spacing:
        raise OptionError(f"spacing[{name!r}] is 0")
    # The lowest may be off to one side itself: the origin is where all fit best.
    rough = np.rint((values - values.min()) / abs(spacing))
    origin = float(np.median(values - rough * abs(spacing)))
    where = np.rint((values - origin) / abs(spacing))
    off = np.abs(values - origin - where * abs(spacing)) / abs(spacing)
    if off.max() > _OFF:
        worst = int(off.argmax())
        raise LayoutError(
            f"{name} = {values[worst]:.6g} is {off[worst]:.2g} of the spacing {spacing:g} away "
            "from the next position; give another spacing, or none and missing='drop'"
        )
    where = (where - where.min()).astype(np.int64)
    return Axis(name, origin + abs(spacing) * np.arange(int(where.max()) + 1)), where


def _stretched(axis: Axis, wanted: int) -> Axis:
    """An axis with as many values as it is to have, where it is clear which ones are left out."""
    values = axis.values
    counts = values.dtype.kind == "i" and axis.size < wanted
    step = int(values[1] - values[0]) if counts and axis.size > 1 else 1
    if counts and int(values[0]) == 0 and step == 1 and (np.diff(values) == 1).all():
        return Axis(axis.name, np.arange(wanted))
    shown = f"{values[0]} to {values[-1]}"
    raise LayoutError(
        f"{axis.name} has {axis.size} values ({shown}), not the {wanted} of "
        f"sizes[{axis.name!r}]; say which values there should be, as in "
        f"sizes={{{axis.name!r}: range(1, {wanted + 1})}}"
    )


def _check_twice(placed: Placed, named: Named) -> None:
    _, first, counts = np.unique(placed.places, axis=0, return_index=True, return_counts=True)
    twice = np.flatnonzero(counts > 1)
    if not twice.size:
        return
    row = placed.places[first[twice[0]]]
    those = np.flatnonzero((placed.places == row).all(axis=1))[:2]
    shown = [
        repr(named.listing.names[int(placed.frames[each])]) if placed.frames[each] >= 0 else "?"
        for each in those
    ]
    more = f", and there are {twice.size - 1} more such places" if twice.size > 1 else ""
    raise LayoutError(
        f"{' and '.join(shown)} are both at {_at(placed.axes, row)}{more}; leave one out, or name "
        "the dimension in which they differ"
    )


def check_whole(placed: Placed, table: Array) -> None:
    """Nothing, where every cell has a frame.

    Raises
    ------
    LayoutError : naming the first that are missing, and how many
    """
    missing = np.argwhere(table < 0)
    if not len(missing):
        return
    first = "; ".join(_at(placed.axes, row) for row in missing[:_MOST_NAMED])
    more = f"; and {len(missing) - _MOST_NAMED} more" if len(missing) > _MOST_NAMED else ""
    raise LayoutError(
        f"{len(missing)} of {table.size} frames are missing ({_sizes(placed)}): {first}{more}. "
        "Pass missing='nan' to have NaN there, or missing='drop' for a list of the positions that "
        "there are"
    )


def cut_short(placed: Placed, table: Array) -> tuple[Placed, Array]:
    """The part of a scan before the first entry of its slowest dimension that is not whole.

    Raises
    ------
    LayoutError : where the first entry is not whole
    """
    there = (table >= 0).reshape(table.shape[0], -1)
    whole = there.all(axis=1)
    if whole.all():
        return placed, table
    count = int(whole.argmin())
    if not count:
        raise LayoutError(
            f"the first entry along {placed.axes[0].name} has {int(there[0].sum())} of "
            f"{there.shape[1]} frames, so nothing is whole yet ({_sizes(placed)})"
        )
    beyond = int(there[count + 1 :].sum())
    if beyond:
        warnings.warn(
            f"frames are missing at {_at(placed.axes[:1], np.array([count]))}, where the scan is "
            f"cut: {beyond} frames that follow it are left out",
            stacklevel=5,
        )
    axis = Axis(placed.axes[0].name, placed.axes[0].values[:count])
    keep = placed.places[:, 0] < count
    order = placed.order
    if order is not None:
        order = order[: count * there.shape[1]]
    cut = Placed((axis, *placed.axes[1:]), placed.places[keep], placed.frames[keep], order)
    return cut, table[:count]


def _at(axes: Sequence[Axis], row: Array) -> str:
    return ", ".join(f"{axis.name}={axis.values[int(n)]}" for axis, n in zip(axes, row))


def _sizes(placed: Placed) -> str:
    return " x ".join(f"{axis.name}: {axis.size}" for axis in placed.axes)
