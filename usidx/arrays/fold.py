"""How a list of points folds into a grid, by the counters that its columns have."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from usidx.arrays.cells import as_key, product
from usidx.arrays.columns import (
    AXIS,
    INDEX_OF,
    LABEL,
    ORDER,
    OVER,
    columns_along,
    coordinates_of,
    indices_of,
    rank,
)
from usidx.arrays.folding import filled_dtype
from usidx.arrays.roles import role_of
from usidx.errors import LayoutError
from usidx.model.dimension import Array, Dimension, Role, same_values
from usidx.model.layout import Coordinate, Grid

MEASURED = "measured"
# A grid with more empty cells than this for each point is no sensible way to look at them.
SPARSEST = 1000


@dataclass(frozen=True)
class Fold:
    """A list of points as a grid.

    Parameters
    ----------
    layout : the grid
    rows : int64, the row that each cell holds in row-major order, -1 where it holds none; None
        where the rows are the cells in that order
    handled : names of the coordinates that `layout` stands for
    """

    layout: Grid
    rows: Array | None
    handled: frozenset[str]

    @property
    def complete(self) -> bool:
        """Whether every cell was measured."""
        return self.rows is None or bool((self.rows >= 0).all())

    def coordinates(self) -> dict[str, xr.Variable]:
        """The coordinates of the grid, and where cells are empty which are not."""
        found = coordinates_of(self.layout)
        if self.rows is not None and not self.complete:
            mask = (self.rows >= 0).reshape(self.layout.shape)
            attrs = {"long_name": f"measured, {self.layout.role}", "units": ""}
            name = MEASURED if self.layout.role == "position" else f"{MEASURED}_spectroscopic"
            found[name] = xr.Variable(self.layout.dims, mask, attrs)
        return found

    def place(self, variable: xr.Variable, over: tuple[str, ...], fill: Any = np.nan) -> Array:
        """One value for each row as an array over the dimensions `over`, `fill` where none is."""
        if self.rows is None:
            return self._picked(variable, over)
        shape = tuple(self.layout.shape[self.layout.dims.index(dim)] for dim in over)
        values = np.asarray(variable.values)
        cells = np.flatnonzero(self.rows >= 0)
        where = np.unravel_index(cells, self.layout.shape)
        axes = [self.layout.dims.index(dim) for dim in over]
        flat = np.ravel_multi_index(tuple(where[axis] for axis in axes), shape)
        seen = np.zeros(math.prod(shape), bool)
        seen[flat] = True
        if seen.all():
            placed = np.empty(seen.size, values.dtype)
        else:
            dtype = filled_dtype(values.dtype, fill)
            placed = np.full(seen.size, np.asarray(fill, dtype=dtype), dtype)
        placed[flat] = values[self.rows[cells]]
        return placed.reshape(shape)

    def _picked(self, variable: xr.Variable, over: tuple[str, ...]) -> Array:
        """As `place` where the rows are the cells: one row is looked at for each place."""
        dims, grid = self.layout.dims, self.layout.shape
        ends = [size if dim in over else 1 for dim, size in zip(dims, grid)]
        cells = product([range(end) for end in ends], grid)
        within = tuple(dim for dim in dims if dim in over)
        values = np.asarray(variable[as_key(cells)].values)
        placed = values.reshape([end for dim, end in zip(dims, ends) if dim in over])
        return placed.transpose([within.index(dim) for dim in over])


def fold_points(
    obj: xr.DataArray | xr.Dataset,
    role: Role,
    *,
    dims: Sequence[str] | None = None,
    may_be_empty: bool = False,
) -> Fold | None:
    """How the side `role` folds, None where it is no list of points.

    Parameters
    ----------
    obj : has a dimension named as its role
    role : of the side
    dims : the columns that become dimensions, slowest first; all when None
    may_be_empty : whether cells may stay without a value

    Raises
    ------
    LayoutError : where rows share a cell, cells are empty that may not be, or the counters are
        those of a list and not of a grid
    """
    columns = columns_along(obj, role) if role in obj.dims else []
    if dims is not None:
        by_name = {str(each.name): each for each in columns}
        columns = [by_name[name] for name in dims if name in by_name]
    if not columns:
        return None
    counters = [_counters(obj, each) for each in columns]
    found = [np.unique(each, return_inverse=True, return_index=True) for each in counters]
    shape = tuple(each[0].size for each in found)
    ranks = tuple(each[2].reshape(-1) for each in found)
    names = [str(each.name) for each in columns]
    _check_counters(role, names, shape, ranks)
    check_span(role, names, shape, ranks[0].size)
    cells = np.ravel_multi_index(ranks, shape)
    _check_shared(role, names, columns, cells)
    rows = np.full(math.prod(shape), -1, np.int64)
    rows[cells] = np.arange(cells.size)
    if not may_be_empty:
        check_empty(role, names, shape, rows)
    dimensions, uneven = [], []
    for each, kept, (values, first, inverse) in zip(columns, counters, found):
        dimension, even = _dimension(obj, each, values, first, inverse.reshape(-1))
        dimensions.append(dimension)
        if not even:
            uneven.append((each, kept))
    grid = Fold(Grid(role, tuple(dimensions)), rows, frozenset())
    dependent = [*_uneven(grid, uneven), *loose_coordinates(obj, grid, names)]
    layout = Grid(role, tuple(dimensions), tuple(dependent), order_of(rows))
    return Fold(layout, rows, frozenset(handled(obj, role)))


def _counters(obj: xr.DataArray | xr.Dataset, column: xr.DataArray) -> Array:
    kept = indices_of(obj, column)
    return rank(column.values) if kept is None else kept


def _check_counters(
    role: Role, names: Sequence[str], shape: tuple[int, ...], ranks: tuple[Array, ...]
) -> None:
    size = ranks[0].size
    counting = [name for name, count in zip(names, shape) if count == size > 1]
    if len(counting) > 1:
        raise LayoutError(
            f"every {role} has an index of its own in {' and '.join(counting)}: the indices count "
            f"the {size} points and place none of them in a grid; work on the list, or say which "
            "columns are a grid with to_nd(fill_value, dims=[...])"
        )


def check_span(role: Role, names: Sequence[str], shape: tuple[int, ...], size: int) -> None:
    """Nothing, where `size` rows fill a fair part of a grid of `shape`.

    Raises
    ------
    LayoutError : where they do not
    """
    if math.prod(shape) > SPARSEST * size:
        raise LayoutError(
            f"the indices of {', '.join(names)} span {_times(shape)} cells, far more than the "
            f"{size} points; work on the list, or name fewer dimensions with dims=[...]"
        )


def _check_shared(
    role: Role, names: Sequence[str], columns: Sequence[xr.DataArray], cells: Array
) -> None:
    order = np.argsort(cells, kind="stable")
    same = np.flatnonzero(np.diff(cells[order]) == 0)
    if not same.size:
        return
    first, second = int(order[same[0]]), int(order[same[0] + 1])
    at = ", ".join(f"{name}={each.values[first]:g}" for name, each in zip(names, columns))
    raise LayoutError(
        f"rows {first} and {second} of the {role} side are both at {at} ({same.size} such rows in "
        f"all), and a cell holds one; take one of them with .isel({role}=...), or average with "
        f".groupby({', '.join(map(repr, names))})"
    )


def check_empty(role: Role, names: Sequence[str], shape: tuple[int, ...], rows: Array) -> None:
    """Nothing, where each cell of a grid of `shape` has a row.

    Raises
    ------
    LayoutError : where some have none
    """
    missing = int((rows < 0).sum())
    if missing:
        raise LayoutError(
            f"there are {rows.size - missing} {role} rows but a {_times(shape)} grid of "
            f"({', '.join(names)}) needs {rows.size}; give to_nd a fill_value for the {missing} "
            "cells that were not measured, or work on the list"
        )


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in shape)


def _dimension(
    obj: xr.DataArray | xr.Dataset,
    column: xr.DataArray,
    counters: Array,
    first: Array,
    ranks: Array,
) -> tuple[Dimension, bool]:
    """(the dimension of a column, whether its values depend on nothing else)."""
    values, name, label = column.values, str(column.name), column.attrs.get(LABEL)
    kept = indices_of(obj, column) is not None
    usual = not kept or np.array_equal(counters, np.arange(counters.size))
    indices = None if usual else counters
    along = values[first]
    if same_values(along[ranks], values):
        units, quantity = str(column.attrs.get("units", "")), str(column.attrs.get("long_name", ""))
        return Dimension(name, units, along, indices, label, quantity), True
    return Dimension(f"{name}_index", "", counters, indices, label or name), False


def _uneven(grid: Fold, columns: Sequence[tuple[xr.DataArray, Array]]) -> Iterator[Coordinate]:
    for column, _ in columns:
        values = grid.place(column.variable, grid.layout.dims)
        yield _coordinate(column, grid.layout.dims, values, None)


def loose_coordinates(
    obj: xr.DataArray | xr.Dataset, grid: Fold, chosen: Collection[str]
) -> Iterator[Coordinate]:
    """Coordinates of the rows that are none of the `chosen` ones, as coordinates of the grid."""
    dims = grid.layout.dims
    for name in handled(obj, grid.layout.role):
        each = obj.coords[name]
        if name in chosen or INDEX_OF in each.attrs:
            continue
        over = tuple(each.attrs.get(OVER, dims))
        over = tuple(dim for dim in dims if dim in over) if set(over) <= set(dims) else dims
        indices = indices_of(obj, each)
        if indices is None and AXIS in each.attrs:
            indices = rank(each.values)
        placed = None
        if indices is not None:
            placed = grid.place(xr.Variable(each.dims, indices), over)
        yield _coordinate(each, over, grid.place(each.variable, over), placed)


def _coordinate(
    each: xr.DataArray, dims: tuple[str, ...], values: Array, indices: Array | None
) -> Coordinate:
    units, label = str(each.attrs.get("units", "")), each.attrs.get(LABEL)
    return Coordinate(str(each.name), units, dims, values, indices, label)


def handled(obj: xr.DataArray | xr.Dataset, role: Role) -> Iterator[str]:
    """Names of the coordinates that belong to a list of points."""
    for name, each in obj.coords.items():
        if each.dims == (role,) and role_of(each) == role and ORDER not in each.attrs:
            yield str(name)


def order_of(rows: Array) -> Array | None:
    """Order of acquisition of the cells; empty ones come after all that were measured."""
    measured = rows[rows >= 0]
    if bool((np.diff(measured) > 0).all()):
        return None
    order = rows.copy()
    order[rows < 0] = measured.size + np.arange(rows.size - measured.size)
    return order
