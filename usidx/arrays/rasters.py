"""Grids as lazy indexes of the rows they have in 2-D, and back, without a look at the values."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import xarray as xr

from usidx.arrays.cells import (
    Cells,
    Column,
    Places,
    along,
    as_array,
    present,
    product,
    same_cells,
)
from usidx.arrays.columns import (
    AXIS,
    INDEX_OF,
    LABEL,
    OVER,
    free_name,
    index_attrs,
    label_attrs,
    layout_from,
    rank,
)
from usidx.arrays.fold import (
    Fold,
    check_empty,
    check_span,
    handled,
    loose_coordinates,
    order_of,
)
from usidx.arrays.positions import RowMajorIndex, RowMajorTransform, index_along
from usidx.model.dimension import Array, Dimension, Role
from usidx.model.layout import Coordinate, Grid, Layout

Attrs = Mapping[Hashable, Mapping[Hashable, object]]


def index_of(layout: Grid, known: Attrs | None = None) -> RowMajorIndex:
    """The index of the rows of a grid, with every coordinate they have in the 2-D form.

    Every dimension gives a column with `usid_axis`, every dependent coordinate one with
    `usid_over`, the names of the dimensions it runs along. The counters go along where they could
    not be told from the values.

    Parameters
    ----------
    layout : the grid
    known : further attributes of the coordinates, by name
    """
    columns: dict[Hashable, Column] = {}
    for axis, each in enumerate(layout.dimensions):
        attrs = {**label_attrs(each, layout.role), AXIS: axis}
        columns[each.name] = Column(each.values, (axis,), attrs, is_axis=True, key=each.name)
    for one in layout.dependent:
        attrs = {**label_attrs(one, layout.role), OVER: list(one.dims)}
        columns[one.name] = _column(layout, one.dims, one.values, attrs, one.name)
    for counted, dims, counters in _counters(layout):
        attrs = {**index_attrs(counted, layout.role), OVER: list(dims)}
        free = free_name(f"{counted}_index", map(str, columns))
        columns[free] = _column(layout, dims, counters, attrs, free)
    if known is not None:
        for name, column in columns.items():
            kept = {
                key: value
                for key, value in known.get(name, {}).items()
                if not str(key).startswith("usid_")
            }
            columns[name] = replace(column, attrs={**kept, **column.attrs})
    return RowMajorIndex(RowMajorTransform(layout.shape, columns, cells_of(layout), layout.role))


def _column(
    layout: Grid, dims: Sequence[str], values: Array, attrs: Mapping[str, object], key: str
) -> Column:
    return Column(values, tuple(layout.dims.index(dim) for dim in dims), dict(attrs), key=key)


def cells_of(layout: Layout) -> Array | None:
    """The row-major cell of each row of the file, int64; None where that is the row itself."""
    if layout.order is None:
        return None
    cells = np.empty(layout.size, np.int64)
    cells[layout.order] = np.arange(layout.size)
    return cells


def _counters(layout: Grid) -> Iterator[tuple[str, tuple[str, ...], Array]]:
    """(name, dims, counters) of the coordinates whose values do not tell the counters."""
    for each in layout.dimensions:
        if not np.array_equal(rank(each.values), each.counters):
            yield each.name, (each.name,), each.counters
    for coordinate in layout.dependent:
        if coordinate.indices is not None:
            yield coordinate.name, coordinate.dims, coordinate.indices


def layout_of(obj: xr.DataArray | xr.Dataset, role: Role, dims: tuple[str, ...]) -> Layout:
    """The layout of the side `role`, whose dimensions in `obj` are `dims`, slowest first.

    Of the 2-D form it is the grid that its rows fold into, where that is known without looking at
    values.
    """
    fold = fold_index(obj, role) if dims == (role,) else None
    return layout_from(obj, role, dims) if fold is None else fold.layout


def fold_index(
    obj: xr.DataArray | xr.Dataset, role: Role, *, may_be_empty: bool | None = None
) -> Fold | None:
    """How the rows of the side `role` fold by their index; None where no index tells.

    Parameters
    ----------
    obj : has a dimension named as its role
    role : of the side
    may_be_empty : whether cells may stay without a value; None gives None where some would

    Raises
    ------
    LayoutError : where cells are empty that may not be
    """
    index = index_along(obj, role) if role in obj.dims else None
    if index is None or len(index.axes()) < len(index.transform.grid) or not index.transform.size:
        return None
    held = index.transform
    whole = _places(held)
    if whole is not None:
        return _fold(obj, role, index, whole, None)
    places = [present(held.cells, held.grid, axis) for axis in range(len(held.grid))]
    shape = tuple(len(each) for each in places)
    complete = math.prod(shape) == held.size
    if may_be_empty is None and not complete:
        return None
    names = [str(name) for name in index.axes()]
    check_span(role, names, shape, held.size)
    rows = _rows(held.cells, held.grid, places, shape)
    if int((rows >= 0).sum()) < held.size:
        return None  # rows share a cell
    if not may_be_empty:
        check_empty(role, names, shape, rows)
    return _fold(obj, role, index, places, rows)


def _places(held: RowMajorTransform) -> list[Places] | None:
    """The places along each axis where the rows are all their combinations in row-major order."""
    places = [present(held.cells, held.grid, axis) for axis in range(len(held.grid))]
    if not held.size or math.prod(len(each) for each in places) != held.size:
        return None
    return places if same_cells(product(places, held.grid), held.cells) else None


def _rows(
    cells: Cells, grid: Sequence[int], places: Sequence[Places], shape: tuple[int, ...]
) -> Array:
    """The row of each cell of the part of the grid at `places`, -1 where there is none."""
    ranks = []
    for axis, each in enumerate(places):
        number = np.zeros(grid[axis], np.int64)
        number[as_array(each)] = np.arange(len(each))
        ranks.append(number[along(cells, grid, axis)])
    rows = np.full(math.prod(shape), -1, np.int64)
    rows[np.ravel_multi_index(tuple(ranks), shape)] = np.arange(len(cells))
    return rows


def _fold(
    obj: xr.DataArray | xr.Dataset,
    role: Role,
    index: RowMajorIndex,
    places: Sequence[Places],
    rows: Array | None,
) -> Fold:
    held = index.transform
    counters = {
        each.attrs[INDEX_OF]: each.values[_at(each, places)]
        for each in held.columns.values()
        if INDEX_OF in each.attrs
    }
    dimensions: dict[str, Dimension] = {}
    dependent: list[Coordinate] = []
    names = [str(name) for name in index.axes()]
    for name, column in held.columns.items():
        attrs = obj.coords[name].attrs
        units, label = str(attrs.get("units", "")), attrs.get(LABEL)
        values, indices = column.values[_at(column, places)], counters.get(column.key)
        if column.is_axis:
            counted = indices is not None and np.array_equal(indices, np.arange(values.size))
            quantity = str(attrs.get("long_name", ""))
            dimensions[str(name)] = Dimension(
                str(name), units, values, None if counted else indices, label, quantity
            )
        elif INDEX_OF not in column.attrs:
            over = tuple(names[axis] for axis in column.axes)
            dependent.append(Coordinate(str(name), units, over, values, indices, label))
    ordered = tuple(dimensions[name] for name in names)
    own = {str(name) for name in held.columns}
    bare = Fold(Grid(role, ordered), rows, frozenset())
    loose = loose_coordinates(obj, bare, own)
    order = None if rows is None else order_of(rows)
    layout = Grid(role, ordered, (*dependent, *loose), order)
    return Fold(layout, rows, frozenset({*own, *handled(obj, role)}))


def _at(column: Column, places: Sequence[Places]) -> tuple[Array, ...]:
    return np.ix_(*(as_array(places[axis]) for axis in column.axes))
