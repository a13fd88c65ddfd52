"""From the matrices of a side to its layout: what varies with what, by the numbers alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from usidx.errors import LayoutError
from usidx.model.dimension import Array, Dimension, Role
from usidx.model.layout import Coordinate, Grid, Layout, Points
from usidx.model.raster import Axis, Learned, Rows, find_axes, read_raster
from usidx.model.scatter import find_cells, is_whole, rank, slow_to_fast, why_not


def infer_layout(
    role: Role, labels: Sequence[str], units: Sequence[str], indices: Rows, values: Rows
) -> Layout:
    """How one side of a Main folds, found from its matrices alone.

    A `Grid` where the rows visit each cell once, in whatever order, else `Points` with the reason.
    Columns may be listed in any order. What changes with other dimensions than its own becomes a
    dependent coordinate. No value is invented and none is dropped.

    Parameters
    ----------
    role : of the side
    labels, units : of the columns
    indices, values : arrays (or anything with shape, dtype and slices of rows), shape
        (rows, columns); a raster is read once, block by block, everything else as a whole

    Raises
    ------
    LayoutError : where the shapes and the labels do not fit together
    """
    _check_shapes(role, labels, units, indices, values)
    columns = _Columns(role, tuple(labels), tuple(units), _names(role, labels))
    layout = _infer(columns, indices, values)
    return _infer(columns, values, indices) if _looks_exchanged(layout) else layout


@dataclass(frozen=True)
class _Columns:
    """What is written about the columns of a side, and a unique name for each."""

    role: Role
    labels: tuple[str, ...]
    units: tuple[str, ...]
    names: tuple[str, ...]

    def label(self, column: int) -> str | None:
        """The label, where the name is another."""
        return None if self.names[column] == self.labels[column] else self.labels[column]


def _check_shapes(
    role: Role, labels: Sequence[str], units: Sequence[str], indices: Rows, values: Rows
) -> None:
    if len(indices.shape) != 2 or indices.shape != values.shape or 0 in indices.shape:
        raise LayoutError(
            f"{role} indices and values must both have the shape (rows, dimensions) and not be "
            f"empty, found {indices.shape} and {values.shape}"
        )
    if not len(labels) == len(units) == indices.shape[1]:
        raise LayoutError(
            f"the {role} side has {indices.shape[1]} dimensions, but {len(labels)} labels "
            f"{list(labels)} and {len(units)} units {list(units)}"
        )


def _names(role: Role, labels: Sequence[str]) -> tuple[str, ...]:
    names: list[str] = []
    for number, label in enumerate(labels):
        # xarray keeps '/' for the paths of a DataTree
        name = label.strip().replace("/", "_") or f"{role}_{number}"
        names.append(unused(name, names))
    return tuple(names)


def unused(name: str, taken: Sequence[str]) -> str:
    """`name`, or `name_1`, `name_2`, ... where that is taken.

    Examples
    --------
    >>> unused("X", ["X", "Y"])
    'X_1'
    """
    candidates = [name, *(f"{name}_{number}" for number in range(1, len(taken) + 1))]
    return next(each for each in candidates if each not in taken)


def _infer(columns: _Columns, indices: Rows, values: Rows) -> Layout:
    axes = find_axes(indices)
    tables = None if axes is None else read_raster(indices, values, axes)
    if axes is not None and tables is not None:
        grid = _Fold(columns, axes, *tables).grid(order=None)
        if grid is not None:
            return grid
    rows = indices.shape[0]
    return _infer_unordered(columns, np.asarray(indices[0:rows]), np.asarray(values[0:rows]))


def _infer_unordered(columns: _Columns, indices: Array, values: Array) -> Layout:
    """The layout of matrices that are no raster."""
    if not np.isfinite(indices).all():
        in_file_order = range(indices.shape[1])
        return _points(columns, in_file_order, indices, values, "some indices are not finite")
    ranked = [rank(column) for column in indices.T]
    found = find_cells(ranked)
    if found is not None:
        axes, order = found
        tables = read_raster(indices[order], values[order], axes)
        grid = None if tables is None else _Fold(columns, axes, *tables).grid(order)
        if grid is not None:
            return grid
    listed = _slowest_first(slow_to_fast(ranked), (n for n, c in enumerate(ranked) if c.size == 1))
    return _points(columns, listed, indices, values, why_not(ranked, columns.names))


@dataclass(frozen=True)
class _Fold:
    """The columns of a side as functions of the axes of a grid.

    Parameters
    ----------
    columns : what is written about them
    axes : slowest first, each longer than 1
    indices, values : one table for each column
    """

    columns: _Columns
    axes: tuple[Axis, ...]
    indices: list[Learned]
    values: list[Learned]

    def grid(self, order: Array | None) -> Grid | None:
        """The Grid, or None where the indices count points rather than cells."""
        own = [axis.column for axis in self.axes]
        constant = [column for column, each in enumerate(self.indices) if not each.axes]
        tied = [c for c in range(len(self.indices)) if c not in own and c not in constant]
        if tied and len(own) == 1:
            return None  # each row has an index of its own in several columns
        if any(np.unique(self.indices[c].table).size < self.indices[c].table.size for c in tied):
            return None  # such as FORC cycles, over which a voltage counts on without a reset
        names = self._dimension_names(_slowest_first(own, constant))
        dependent = [c for c in (*names, *tied) if self._across(c, names) != [c]]
        if order is not None and bool((order[1:] > order[:-1]).all()):
            order = None
        return Grid(
            self.columns.role,
            tuple(self._dimension(column, names) for column in names),
            tuple(self._coordinate(column, names) for column in dependent),
            order,
        )

    def _across(self, column: int, dimensions: Iterable[int]) -> list[int]:
        """Columns of the dimensions that a column varies with; a dimension's own is among them."""
        axes = {*self.indices[column].axes, *self.values[column].axes}
        varying = {self.axes[axis].column for axis in axes}
        return [each for each in dimensions if each == column or each in varying]

    def _dimension_names(self, dimensions: Sequence[int]) -> dict[int, str]:
        """Name of each dimension by its column, slowest first.

        Where the values of a column change with other dimensions too, the column's name is that
        of the coordinate, and the dimension is an index.
        """
        names: dict[int, str] = {}
        taken = list(self.columns.names)
        for column in dimensions:
            names[column] = self.columns.names[column]
            if self._across(column, dimensions) != [column]:
                names[column] = unused(f"{names[column]}_index", taken)
                taken.append(names[column])
        return names

    def _dimension(self, column: int, names: dict[int, str]) -> Dimension:
        texts = self.columns
        indices = _counters(self.indices[column].table.reshape(-1))
        given = None if _counts_rows(indices) else indices
        if names[column] != texts.names[column]:
            return Dimension(names[column], "", indices, given, texts.labels[column])
        values = self.values[column].table.reshape(-1)
        return Dimension(names[column], texts.units[column], values, given, texts.label(column))

    def _coordinate(self, column: int, names: dict[int, str]) -> Coordinate:
        texts = self.columns
        across = self._across(column, names)
        indices = None
        if column not in names:
            indices = _counters(self._spread(self.indices[column], across))
            indices = None if _counts_rows(indices) else indices
        return Coordinate(
            texts.names[column],
            texts.units[column],
            tuple(names[each] for each in across),
            self._spread(self.values[column], across),
            indices,
            texts.label(column),
        )

    def _spread(self, known: Learned, across: Sequence[int]) -> Array:
        """A table with one axis for each of the dimensions `across`."""
        mine = [self.axes[axis].column for axis in known.axes]
        size = {axis.column: axis.size for axis in self.axes}
        table = known.table.reshape([size[each] if each in mine else 1 for each in across])
        return np.broadcast_to(table, [size.get(each, 1) for each in across]).copy()


def _slowest_first(varying: Sequence[int], constant: Iterable[int]) -> list[int]:
    """All columns, slowest first: those of one value keep their place in the file's order.

    The file's order is slowest to fastest in files of today, fastest to slowest in old ones. Where
    it is neither, columns of one value come first.
    """
    ascending = sorted(varying)
    if list(varying) == ascending:
        return sorted((*varying, *constant))
    if list(varying) == ascending[::-1]:
        return sorted((*varying, *constant), reverse=True)
    return [*constant, *varying]


def _points(
    columns: _Columns, listed: Iterable[int], indices: Array, values: Array, reason: str
) -> Points:
    def coordinate(column: int) -> Coordinate:
        counters = _counters(indices[:, column])
        return Coordinate(
            columns.names[column],
            columns.units[column],
            (columns.role,),
            _native(values[:, column]),
            None if _counts_rows(counters) else counters,
            columns.label(column),
        )

    return Points(columns.role, tuple(coordinate(column) for column in listed), reason)


def _native(column: Array) -> Array:
    """A copy in the byte order of this machine, contiguous."""
    return np.array(column, column.dtype.newbyteorder("="), order="C")


def _counters(indices: Array) -> Array:
    """Indices as whole numbers where they are such, whatever they were stored as."""
    # NaN and infinity are below nothing; beyond 2**53 floats no longer count
    if indices.dtype.kind == "f" and (np.abs(indices) < 2**53).all() and is_whole(indices):
        return indices.astype(np.int64)
    return _native(indices)


def _counts_rows(indices: Array) -> bool:
    """Whether they are 0, 1, 2, ..."""
    return indices.ndim == 1 and bool((indices == np.arange(indices.size)).all())


def _looks_exchanged(layout: Layout) -> bool:
    """Whether the "indices" have fractions and the "values" count.

    Files exist whose references to the two are exchanged.
    """
    parts: tuple[Dimension | Coordinate, ...]
    parts = layout.columns if isinstance(layout, Points) else layout.dimensions + layout.dependent
    indices = [each.indices for each in parts if each.indices is not None]
    if all(is_whole(each) or not np.isfinite(each).all() for each in indices):
        return False
    return all(bool((each.values >= 0).all()) and is_whole(each.values) for each in parts)
