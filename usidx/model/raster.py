"""Rasters: ancillaries whose rows run through a grid in order.

The sizes of the grid follow from a few rows that are picked by bisection. One pass over both
matrices then proves that every row is what the grid foretells, and learns on the way what counters
and values the axes have. Nothing is sorted and nothing is held but one block, so that 1e8 rows in a
file are no harder than a few.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from usidx.model.blocks import block_shape, blocks_of, row_range
from usidx.model.dimension import Array

READ_BUDGET = 16 * 2**20


class Rows(Protocol):
    """A matrix that is read by slices of its rows: an array, or something lazy."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    def __getitem__(self, rows: slice, /) -> Array: ...


@dataclass(frozen=True)
class Axis:
    """An axis of a raster: the column of the matrices that counts it, and its size."""

    column: int
    size: int


@dataclass
class Learned:
    """A column as a function of some axes, learned and proved block by block.

    Parameters
    ----------
    axes : numbers of the axes it depends on, ascending
    table : array, one axis for each of `axes`
    nan_is_equal : whether a NaN in the column may stand where the table has one
    """

    axes: tuple[int, ...]
    table: Array
    nan_is_equal: bool

    def difference(self, part: Array, key: tuple[slice, ...]) -> tuple[int, ...] | None:
        """The first cell that is not what the table says, or None where all of them are.

        Parameters
        ----------
        part : N-D array, the column in one block
        key : where the block lies in the grid; blocks come in row-major order
        """
        others = [axis for axis in range(part.ndim) if axis not in self.axes]
        mine = tuple(key[axis] for axis in self.axes)
        if all(key[axis].start == 0 for axis in others):  # seen for the first time
            start = tuple(0 if axis in others else slice(None) for axis in range(part.ndim))
            self.table[mine] = part[start]
        foretold = np.expand_dims(self.table[mine], tuple(others))
        same = part == foretold
        if self.nan_is_equal and not same.all():
            same |= (part != part) & (foretold != foretold)
        if same.all():
            return None
        place = np.unravel_index(int(same.argmin()), part.shape)
        return tuple(int(at) + each.start for at, each in zip(place, key, strict=True))

    def widened(self, cell: tuple[int, ...], shape: tuple[int, ...]) -> Learned | None:
        """The column as a function of one more axis, found from its first different cell.

        All cells before `cell` were right, among them the one that differs from it only by being
        at 0 along the slowest axis left out: so the column does vary along that axis. None where
        there is no such axis.
        """
        for axis, at in enumerate(cell):
            if axis not in self.axes and at > 0:
                axes = sorted((*self.axes, axis))
                return learned(axes, shape, self.table.dtype, self.nan_is_equal)
        return None


def learned(
    axes: Sequence[int], shape: tuple[int, ...], dtype: np.dtype[Any], nan_is_equal: bool
) -> Learned:
    """A column that depends on `axes` of a grid of `shape`, with an empty table."""
    table: Array = np.empty(tuple(shape[axis] for axis in axes), dtype.newbyteorder("="))
    return Learned(tuple(axes), table, nan_is_equal)


def find_axes(indices: Rows) -> tuple[Axis, ...] | None:
    """The axes, slowest first, that `indices` would have as a raster; None where it is none.

    Only a few rows are looked at: `read_raster` proves the rest. In a raster of ascending indices
    the column of the fastest axis changes in row 1, and comes back to its start after as many rows
    as the axis is long; there the next axis changes for the first time, and so on.
    """
    rows, columns = indices.shape
    first = indices[0:1][0]
    axes: list[Axis] = []
    free = list(range(columns))
    step = 1
    while step < rows:
        if rows % step:
            return None
        row = indices[step : step + 1][0]
        # Columns that are tied to each other change together. The one that comes back first is the
        # axis; the others depend on it, which the proof will tell.
        ascending = [column for column in free if row[column] > first[column]]
        found = [Axis(column, _length(indices, column, step)) for column in ascending]
        if not found:
            return None
        axes.append(min(found, key=lambda axis: axis.size))
        free.remove(axes[-1].column)
        step *= axes[-1].size
    return tuple(reversed(axes)) if step == rows else None


def _length(indices: Rows, column: int, step: int) -> int:
    """How many times `column` ascends, looked at every `step` rows, before it falls back."""

    def at(place: int) -> Any:
        return indices[place * step : place * step + 1][0, column]

    most = indices.shape[0] // step
    # Up to twice the length, a place in the second turn has a lower value than one it doubles.
    low, high = 1, 2
    while high < most and at(high) > at(low):
        low, high = high, 2 * high
    high = min(high, most)
    while high - low > 1:
        middle = (low + high) // 2
        if at(middle) > at(low):
            low = middle
        else:
            high = middle
    return high


def read_raster(
    indices: Rows, values: Rows, axes: Sequence[Axis]
) -> tuple[list[Learned], list[Learned]] | None:
    """Every column of both matrices as a function of the axes; None where they are no raster.

    The column of an axis must depend on that axis alone and ascend. The index of any other column,
    and all values, may depend on as many axes as they like.
    """
    shape = tuple(axis.size for axis in axes)
    columns = range(indices.shape[1])
    own = {axis.column: (number,) for number, axis in enumerate(axes)}
    tables = {
        (side, column): learned(own.get(column, ()), shape, matrix.dtype, nan_is_equal=side == 1)
        for side, matrix in enumerate((indices, values))
        for column in columns
    }
    decisive = {(0, column) for column in own}
    pending = set(tables)
    while pending:  # again for the columns that depend on more axes than was thought
        open_tables = {each: tables[each] for each in pending}
        different = _prove(indices, values, shape, open_tables, decisive)
        if decisive & different.keys():
            return None
        for each, cell in different.items():
            wider = tables[each].widened(cell, shape)
            if wider is None:
                return None
            tables[each] = wider
        pending = set(different)
    for column in own:
        counters = tables[0, column].table
        if not (counters[1:] > counters[:-1]).all():
            return None
    return [tables[0, column] for column in columns], [tables[1, column] for column in columns]


def _prove(
    indices: Rows,
    values: Rows,
    shape: tuple[int, ...],
    tables: dict[tuple[int, int], Learned],
    decisive: set[tuple[int, int]],
) -> dict[tuple[int, int], tuple[int, ...]]:
    """Read both matrices once; the first different cell of each column that has one.

    Columns are numbered (0, column) in the indices and (1, column) in the values. The first
    difference in a decisive one ends the reading.
    """
    different: dict[tuple[int, int], tuple[int, ...]] = {}
    matrices = (indices, values)
    sides = sorted({side for side, _ in tables})
    itemsize = sum(matrices[side].dtype.itemsize * matrices[side].shape[1] for side in sides)
    for block in blocks_of(shape, block_shape(shape, len(shape), itemsize, budget=READ_BUDGET)):
        start, stop = row_range(block.key, shape, len(shape))
        parts = {side: np.asarray(matrices[side][start:stop]) for side in sides}
        for (side, column), table in tables.items():
            if (side, column) in different:
                continue
            part = parts[side].reshape(*block.shape, -1)[..., column]
            cell = table.difference(part, block.key)
            if cell is not None:
                different[side, column] = cell
                if (side, column) in decisive:
                    return different
    return different
