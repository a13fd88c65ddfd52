"""Which cells of a grid some rows hold: a range wherever they are one, else a list.

Cells are numbered in row-major order. A range costs nothing however long it is, and so does what is
worked out from ranges alone; arrays are made only as long as the rows that are asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from usidx.arrays.views import boxes_of
from usidx.model.dimension import Array, same_values

Cells = range | Array
Places = range | Array
"""Places along one axis of a grid."""

_AT_ONCE = 2**20


def as_cells(numbers: Array | Sequence[int] | range) -> Cells:
    """The same numbers, as a range where they are evenly spaced.

    Examples
    --------
    >>> as_cells([3, 5, 7]), as_cells([2, 2])
    (range(3, 9, 2), array([2, 2]))
    """
    if isinstance(numbers, range):
        return numbers
    array = np.asarray(numbers, np.int64).reshape(-1)
    if array.size < 2:
        return range(int(array[0]), int(array[0]) + 1) if array.size else range(0)
    step = int(array[1]) - int(array[0])
    even = _evenly(int(array[0]), step, array.size) if step else range(0)
    if step and even[-1] == array[-1]:
        if all(np.array_equal(array[part], as_array(even[part])) for part in parts_of(array.size)):
            return even
    return array


def as_array(cells: Cells) -> Array:
    """The numbers as an array of int64."""
    if isinstance(cells, range):
        return np.arange(cells.start, cells.stop, cells.step, dtype=np.int64)
    return cells


def as_key(cells: Cells) -> slice | Array:
    """What selects those numbers of an array: a slice for a range."""
    return _slice(cells) if isinstance(cells, range) else cells


def parts_of(size: int) -> Iterator[slice]:
    """Slices that cover `size` rows, each of them short enough to be worked on at once."""
    for start in range(0, size, _AT_ONCE):
        yield slice(start, min(start + _AT_ONCE, size))


def same_cells(left: Cells, right: Cells) -> bool:
    """Whether both are the same numbers in the same order."""
    if isinstance(left, range) and isinstance(right, range):
        return left == right
    return left is right or np.array_equal(as_array(left), as_array(right))


def pick(cells: Cells, key: slice | Array) -> Cells:
    """The cells of the rows that `key` selects: a slice, or an array of ints or bools."""
    if isinstance(key, slice):
        part = cells[key]
        # whatever the step of a range was, with less than two numbers it is 1
        return as_cells(part) if len(part) > 1 else as_cells([int(each) for each in part])
    if key.dtype.kind == "b" and key.shape == (len(cells),):
        key = np.flatnonzero(key)
    if not isinstance(cells, range):
        return as_cells(cells[key])
    key, size = key.astype(np.int64), len(cells)
    if key.size and not (-size <= key.min() and key.max() < size):
        raise IndexError(f"rows {key.min()} to {key.max()} are out of bounds for {size} rows")
    return as_cells(cells.start + cells.step * np.where(key < 0, key + size, key))


def joined(parts: Sequence[Cells]) -> Cells:
    """The cells of several parts one after the other.

    Examples
    --------
    >>> joined([range(0, 4), range(4, 9)])
    range(0, 9)
    """
    whole = range(0)
    for number, part in enumerate(parts):
        longer = _append(whole, part) if isinstance(part, range) else None
        if longer is None:
            rest = [as_array(each) for each in parts[number:]]
            return as_cells(np.concatenate([as_array(whole), *rest]))
        whole = longer
    return whole


def shared(left: Cells, right: Cells) -> Cells:
    """The cells that are in both, in the order of `left`.

    Examples
    --------
    >>> shared(range(0, 30, 4), range(6, 30, 6))
    range(12, 25, 12)
    """
    if isinstance(left, range) and isinstance(right, range):
        return common(left, right)
    return as_cells(as_array(left)[rows_of(right, left) >= 0])


def common(left: range, right: range) -> range:
    """The numbers that are in both ranges, in the order of `left`."""
    one, other = _ascending(left), _ascending(right)
    factor = math.gcd(one.step, other.step)
    if not one or not other or (other[0] - one[0]) % factor:
        return range(0)
    # by the Chinese remainder theorem
    period = other.step // factor
    turns = (other[0] - one[0]) // factor * pow(one.step // factor, -1, period) % period
    step, first = one.step * period, one[0] + one.step * turns
    first += max(0, -(-(max(one[0], other[0]) - first) // step)) * step
    found = range(first, min(one[-1], other[-1]) + 1, step)
    return found if left.step > 0 else found[::-1]


def united(left: Cells, right: Cells) -> Cells:
    """The cells that are in either, ascending.

    Examples
    --------
    >>> united(range(5, 9), range(0, 6))
    range(0, 9)
    """
    if isinstance(left, range) and isinstance(right, range) and left and right:
        low, high = sorted(map(_ascending, (left, right)), key=min)
        even = low.step == high.step and (high[0] - low[0]) % low.step == 0
        if even and high[0] <= low[-1] + low.step:
            return range(low[0], max(low[-1], high[-1]) + 1, low.step)
    return as_cells(np.union1d(as_array(left), as_array(right)))


def rows_of(cells: Cells, wanted: Cells) -> Array:
    """The row that holds each of the cells `wanted`, the first of several; -1 where none does."""
    numbers = as_array(wanted)
    if isinstance(cells, range):
        rows, rest = np.divmod(numbers - cells.start, cells.step)
        return np.where((rest == 0) & (rows >= 0) & (rows < len(cells)), rows, -1)
    if not cells.size:
        return np.full(numbers.shape, -1, np.int64)
    order = np.argsort(cells, kind="stable")
    place = np.minimum(np.searchsorted(cells, numbers, sorter=order), cells.size - 1)
    rows = order[place]
    return np.where(cells[rows] == numbers, rows, -1)


def all_rows_of(cells: Cells, wanted: Cells) -> Array:
    """Every row that holds one of the cells `wanted`, in their order; none for those without."""
    if isinstance(cells, range):
        rows = rows_of(cells, wanted)
        return rows[rows >= 0]
    numbers, order = as_array(wanted), np.argsort(cells, kind="stable")
    first = np.searchsorted(cells, numbers, "left", sorter=order)
    counts = np.searchsorted(cells, numbers, "right", sorter=order) - first
    # 0 .. count-1 for each of the wanted cells
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.asarray(order[np.repeat(first, counts) + within], np.int64)


def run_of(cells: range, wanted: range) -> slice:
    """The rows that hold the cells `wanted`, which are all there, in their order."""
    if not wanted:
        return slice(0, 0)
    step = wanted.step if len(wanted) > 1 else cells.step
    return _slice(_evenly(cells.index(wanted[0]), step // cells.step, len(wanted)))


def product(places: Sequence[Places], grid: Sequence[int]) -> Cells:
    """The cells at all combinations of places along the axes of a grid, the last axis fastest.

    Examples
    --------
    >>> product([range(2, 4), range(5)], (6, 5)), product([range(6), range(1, 2)], (6, 5))
    (range(10, 20), range(1, 31, 5))
    """
    even = even_product(places, grid)
    if even is not None:
        return even
    cells = np.zeros((), np.int64)
    for axis, each in enumerate(places):
        cells = np.add.outer(cells, as_array(each) * math.prod(grid[axis + 1 :]))
    return as_cells(cells)


def even_product(places: Sequence[Places], grid: Sequence[int]) -> range | None:
    """The same as `product` where it is a range, else None."""
    even: range | None = range(1)
    for axis in reversed(range(len(grid))):
        part = as_cells(places[axis])
        if even is None or not isinstance(part, range):
            return None
        even = _crossed(part, math.prod(grid[axis + 1 :]), even)
    return even


def _crossed(slow: range, stride: int, fast: range) -> range | None:
    """The cells `fast` at each place `slow` of an axis in turn; None where they are no range."""
    if not slow or not fast:
        return range(0)
    start = fast[0] + slow[0] * stride
    if len(slow) == 1:
        return _evenly(start, fast.step, len(fast))
    if len(fast) == 1 or slow.step * stride == fast.step * len(fast):
        step = slow.step * stride if len(fast) == 1 else fast.step
        return _evenly(start, step, len(slow) * len(fast))
    return None


def along(cells: Cells, grid: Sequence[int], axis: int) -> Array:
    """The place of each cell along one axis of the grid, int64, shape (rows,)."""
    return as_array(cells) // math.prod(grid[axis + 1 :]) % grid[axis]


def present(cells: Cells, grid: Sequence[int], axis: int) -> Places:
    """The places along one axis of the grid that occur among the cells, ascending."""
    size, inner = grid[axis], math.prod(grid[axis + 1 :])
    if isinstance(cells, range) and cells and abs(cells.step) <= inner:
        first, last = min(cells[0], cells[-1]) // inner, max(cells[0], cells[-1]) // inner
        if last - first + 1 >= size:
            return range(size)
        if first // size == last // size:
            return range(first % size, last % size + 1)
    seen = np.zeros(size, bool)
    for part in parts_of(len(cells)):
        seen[along(cells[part], grid, axis)] = True
        if seen.all():
            break
    return as_cells(np.flatnonzero(seen))


@dataclass(frozen=True, eq=False)
class Column:
    """A coordinate along rows, as a function of the cell of a grid that each row holds.

    Parameters
    ----------
    values : array with one axis for each of `axes`
    axes : axes of the grid along which the values change
    attrs : of the coordinate
    is_axis : whether it is what its one axis of the grid is called by
    key : a name that stays when the coordinate is renamed
    """

    values: Array
    axes: tuple[int, ...]
    attrs: Mapping[Any, Any] = field(default_factory=dict)
    is_axis: bool = False
    key: str = ""

    def __post_init__(self) -> None:
        ascending = sorted(range(len(self.axes)), key=lambda number: self.axes[number])
        object.__setattr__(self, "axes", tuple(self.axes[number] for number in ascending))
        object.__setattr__(self, "values", self.values.transpose(ascending))

    def at(self, cells: Cells, grid: Sequence[int]) -> Array:
        """The value for each of the cells, shape (rows,)."""
        out: Array = np.empty(len(cells), self.values.dtype)
        if isinstance(cells, range) and cells.step == 1:
            self._fill(out, cells, grid)
            return out
        for part in parts_of(len(cells)):
            out[part] = self.values[tuple(along(cells[part], grid, axis) for axis in self.axes)]
        return out

    def _fill(self, out: Array, run: range, grid: Sequence[int]) -> None:
        others = [axis for axis in range(len(grid)) if axis not in self.axes]
        whole = np.expand_dims(self.values, others)
        at = 0
        for box in boxes_of(run.start, run.stop, tuple(grid)):
            shape = [part.stop - part.start for part in box]
            key = tuple(slice(None) if axis in others else part for axis, part in enumerate(box))
            out[at : at + math.prod(shape)].reshape(shape)[...] = whole[key]
            at += math.prod(shape)

    def same_as(self, other: Column) -> bool:
        """Whether both stand for the same values along the same axes."""
        if self.values is other.values:
            return self.axes == other.axes
        return self.axes == other.axes and same_values(self.values, other.values)


def _append(left: range, right: range) -> range | None:
    if not left or not right:
        return left or right
    step = right[0] - left[-1]
    even = step and all(len(each) == 1 or each.step == step for each in (left, right))
    return _evenly(left[0], step, len(left) + len(right)) if even else None


def _slice(cells: range) -> slice:
    if not cells:
        return slice(0, 0)
    stop = cells[-1] + (1 if cells.step > 0 else -1)
    return slice(cells.start, stop if stop >= 0 else None, cells.step)


def _evenly(start: int, step: int, count: int) -> range:
    return range(start, start + step * count, step)


def _ascending(cells: range) -> range:
    return cells if cells.step > 0 else cells[::-1]
