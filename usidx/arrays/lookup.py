"""Rows by their labels: what `sel` means on the rows of a grid.

Each label is looked up among the values along its axis, by xarray's own index of them, so that
exact labels, `method`, `tolerance` and slices mean what they mean on the N-D array. Of the places
that are found, arithmetic makes rows; 1e8 rows are never gone through for a label on one axis.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from xarray.indexes import PandasIndex

from usidx.arrays.cells import (
    Cells,
    Column,
    Places,
    all_rows_of,
    along,
    as_array,
    as_cells,
    as_key,
    common,
    even_product,
    parts_of,
    present,
    product,
    rows_of,
    run_of,
)
from usidx.errors import LayoutError
from usidx.model.dimension import Array

Labels = Mapping[Hashable, Any]
Indexer = int | slice | Array | xr.Variable | xr.DataArray
Pointwise = (xr.Variable, xr.DataArray)


@dataclass
class _Chosen:
    """What labels select.

    Parameters
    ----------
    places : by the axis of the grid; labels for single points give Variables or DataArrays
    masks : (axes, bool table over them), for columns that change with several axes and where an
        axis has a second label
    scalars : names of the columns that got one label
    listed : whether the rows come in the order of the labels, as for lists and reversing slices
    may_be_empty : whether a slice was among the labels
    """

    places: dict[int, Any] = field(default_factory=dict)
    masks: list[tuple[tuple[int, ...], Array]] = field(default_factory=list)
    scalars: set[Hashable] = field(default_factory=set)
    listed: bool = False
    may_be_empty: bool = False


def rows_with(
    labels: Labels,
    columns: Mapping[Hashable, Column],
    grid: Sequence[int],
    cells: Cells,
    method: str | None = None,
    tolerance: Any = None,
) -> Indexer:
    """The rows that have the labels: an int, a slice where they are evenly spaced, else an array.

    Rows keep their order, unless a list of labels gives another. One label for each axis gives one
    row; Variables and DataArrays with a label for each axis give one row for each of their points.

    Parameters
    ----------
    labels : by the name of the column
    columns, grid : what the rows are labelled with
    cells : the cell that each row holds
    method, tolerance : as in `DataArray.sel`

    Raises
    ------
    KeyError : where a label is not there, or no row has all of them
    LayoutError : for labels of points that leave an axis open
    """
    chosen = _Chosen()
    for name, label in labels.items():
        _choose(chosen, name, label, columns[name], grid, cells, method, tolerance)
    if any(isinstance(each, Pointwise) for each in chosen.places.values()):
        return _points(chosen, columns, grid, cells)
    rows = _rows(chosen, grid, cells)
    count = len(range(*rows.indices(len(cells)))) if isinstance(rows, slice) else rows.size
    if not count and not chosen.may_be_empty:
        raise KeyError(f"no row has {_told(labels)} all at once")
    if count == 1 and _names_a_row(chosen, columns, len(grid)):
        return range(len(cells))[rows][0] if isinstance(rows, slice) else int(rows[0])
    return rows


def _told(labels: Labels) -> str:
    return ", ".join(f"{name}={label!r}" for name, label in labels.items())


def _choose(
    chosen: _Chosen,
    name: Hashable,
    label: Any,
    column: Column,
    grid: Sequence[int],
    cells: Cells,
    method: str | None,
    tolerance: Any,
) -> None:
    """Add what one label selects."""
    axis = column.axes[0] if len(column.axes) == 1 else None
    if axis is None:
        places: Places = range(column.values.size)
        values = column.values.reshape(-1)
    else:
        # only among what is left, so that the nearest is one that is there
        places = present(cells, grid, axis)
        values = column.values[as_key(places)]
    found = find(name, values, label, method, tolerance)
    if isinstance(label, slice):
        chosen.may_be_empty = True
        chosen.listed |= label.step is not None and label.step < 0
    elif not isinstance(found, Pointwise):
        several = np.ndim(label) > 0
        chosen.listed |= several
        chosen.scalars |= set() if several else {name}
    if isinstance(found, Pointwise):
        found = found.copy(data=as_array(places)[np.asarray(found)])
    else:
        found = as_cells(as_array(places)[found]) if not isinstance(found, slice) else places[found]
    if axis is not None and axis not in chosen.places:
        chosen.places[axis] = found
        return
    if isinstance(found, Pointwise):
        raise LayoutError(
            f"a label for single points was given for {name!r}, which is no axis of its own; give "
            "one label for each axis"
        )
    mask = np.zeros(column.values.size, bool)
    mask[as_array(found)] = True
    chosen.masks.append((column.axes, mask.reshape(column.values.shape)))


def find(
    name: Hashable, values: Array, label: Any, method: str | None = None, tolerance: Any = None
) -> Any:
    """The places among `values` that have `label`, as xarray would index with them.

    Parameters
    ----------
    name : of the coordinate, for errors
    values : array, shape (n,), in any order; they may repeat
    label : a value, a list of them, a slice, or a Variable or DataArray

    Returns
    -------
    places : a slice, an array (of one place for a single label), or what `label` was

    Raises
    ------
    KeyError : where a label is not there
    """
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    if method == "nearest" and not isinstance(label, slice):
        # whatever the order of the values: first the value that is nearest, then where it is
        known = np.unique(values[values == values])
        at = _index(known).sel({name: label}, method, tolerance).dim_indexers[_PLACE]
        label = at.copy(data=known[np.asarray(at)]) if isinstance(at, Pointwise) else known[at]
        method = tolerance = None
    index = _index(values)
    if np.ndim(label) == 1 and not isinstance(label, (slice, *Pointwise)):
        if not index.index.is_unique:
            return _repeated(name, index, label, values.dtype)
    found = index.sel({name: label}, method, tolerance).dim_indexers[_PLACE]
    if isinstance(found, (slice, *Pointwise)):
        return found
    array = np.atleast_1d(np.asarray(found))
    return np.flatnonzero(array) if array.dtype.kind == "b" else array


_PLACE = "place"


def _index(values: Array) -> PandasIndex:
    wide = values.astype(np.float64) if values.dtype == np.float16 else values
    return PandasIndex(wide, _PLACE, coord_dtype=values.dtype)


def _repeated(name: Hashable, index: PandasIndex, labels: Any, dtype: np.dtype[Any]) -> Array:
    """Every place of each of `labels`, in their order."""
    labels = np.asarray(labels, dtype if dtype.kind == "f" else None)
    found: Array = index.index.get_indexer_for(labels)
    if (found < 0).any():
        raise KeyError(f"not all values found in index {name!r}")
    return found


def _names_a_row(chosen: _Chosen, columns: Mapping[Hashable, Column], n_axes: int) -> bool:
    """Whether there is one label for each axis; of a list of rows, one for each column."""
    if not any(column.is_axis for column in columns.values()):
        return chosen.scalars == set(columns)
    singles = {columns[name].axes for name in chosen.scalars}
    return all((axis,) in singles for axis in range(n_axes))


def _points(
    chosen: _Chosen, columns: Mapping[Hashable, Column], grid: Sequence[int], cells: Cells
) -> Indexer:
    """One row for each point of the labels."""
    left = [axis for axis in range(len(grid)) if axis not in chosen.places]
    if left or chosen.masks:
        names = [str(name) for name, each in columns.items() if each.axes in {(a,) for a in left}]
        raise LayoutError(
            "labels for single points need one for each axis of the grid and nothing else; "
            f"{', '.join(names) or 'one'} is missing or given twice. Select on one axis with "
            "labels that are no Variable or DataArray"
        )
    wanted: Any = 0
    for axis, size in enumerate(grid):
        place = chosen.places[axis]
        if not isinstance(place, Pointwise):
            if len(place) != 1:
                raise LayoutError(
                    "labels for single points and lists of labels cannot be mixed; make all of "
                    "them DataArrays along the same dimension"
                )
            place = int(place[0])
        wanted = wanted * size + place
    flat = np.asarray(wanted.data)
    rows = rows_of(cells, flat.reshape(-1)).reshape(flat.shape)
    if (rows < 0).any():
        raise KeyError(f"{int((rows < 0).sum())} of {rows.size} points have no row")
    found: xr.Variable | xr.DataArray = wanted.copy(data=rows)
    return found


def _rows(chosen: _Chosen, grid: Sequence[int], cells: Cells) -> slice | Array:
    places = [
        chosen.places[axis] if axis in chosen.places else present(cells, grid, axis)
        for axis in range(len(grid))
    ]
    if not chosen.masks and isinstance(cells, range):
        even = even_product(places, grid)
        if even is not None:
            return run_of(cells, common(even, cells) if chosen.listed else common(cells, even))
    if chosen.listed and not chosen.masks:
        return as_key(as_cells(all_rows_of(cells, product(places, grid))))
    fewer = math.prod(len(each) for each in places) <= len(cells)
    if fewer and not chosen.masks and isinstance(cells, range):
        return as_key(as_cells(np.sort(all_rows_of(cells, product(places, grid)))))
    return as_key(as_cells(_scanned(chosen, grid, cells)))


def _scanned(chosen: _Chosen, grid: Sequence[int], cells: Cells) -> Array:
    """The rows, found by going through all of them."""
    tests = list(chosen.masks)
    for axis, places in chosen.places.items():
        mask = np.zeros(grid[axis], bool)
        mask[as_array(places)] = True
        tests.append(((axis,), mask))
    found = [np.zeros(0, np.int64)]
    for part in parts_of(len(cells)):
        fits = np.ones(part.stop - part.start, bool)
        for axes, mask in tests:
            fits &= mask[tuple(along(cells[part], grid, axis) for axis in axes)]
        found.append(part.start + np.flatnonzero(fits))
    return np.concatenate(found)
