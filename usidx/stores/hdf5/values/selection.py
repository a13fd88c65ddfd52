"""What an N-D key means for the 2-D dataset that holds the values."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from usidx.model.dimension import Array

Ranges = tuple[range, ...]


@dataclass(frozen=True, eq=False)
class Fold:
    """How one axis of a stored array unfolds to N-D axes.

    Parameters
    ----------
    shape : sizes of the N-D axes, slowest first
    order : array of int64, shape (size,), the stored row of each cell in row-major order; None
        where the rows are in row-major order already
    """

    shape: tuple[int, ...]
    order: Array | None = None

    @property
    def size(self) -> int:
        """Length of the stored axis."""
        return math.prod(self.shape)


class Comb(NamedTuple):
    """`runs` runs of `block` rows each, the first at `start`, `stride` rows apart."""

    start: int
    stride: int
    runs: int
    block: int


@dataclass(frozen=True)
class Selection:
    """The cells that an N-D key selects.

    Parameters
    ----------
    ranges : one for each N-D axis, ascending
    finish : basic index that makes what the key asked for out of an array of shape `counts`: it
        reverses axes that the key reverses and drops those that it fixes
    """

    ranges: Ranges
    finish: tuple[int | slice, ...]

    @property
    def counts(self) -> tuple[int, ...]:
        """How many places are selected along each axis."""
        return tuple(map(len, self.ranges))


def select(key: Any, shape: tuple[int, ...]) -> Selection:
    """The selection that `key` makes in an array of `shape`.

    Parameters
    ----------
    key : ints and slices, one for each axis or less, with at most one Ellipsis

    Raises
    ------
    IndexError : for a key that is something else, has too many parts, or lies outside
    """
    parts = _complete(key if isinstance(key, tuple) else (key,), len(shape))
    ranges: list[range] = []
    finish: list[int | slice] = []
    for axis, (part, size) in enumerate(zip(parts, shape, strict=True)):
        if isinstance(part, slice):
            found = range(*part.indices(size))
            ranges.append(found if found.step > 0 else found[::-1])
            finish.append(slice(None) if found.step > 0 else slice(None, None, -1))
            continue
        place = _index(part)
        if not -size <= place < size:
            raise IndexError(f"index {place} is out of bounds for axis {axis} with size {size}")
        ranges.append(range(place % size, place % size + 1))
        finish.append(0)
    return Selection(tuple(ranges), tuple(finish))


def _index(part: Any) -> int:
    try:
        if not isinstance(part, (bool, np.bool_)):
            return operator.index(part)
    except TypeError:
        pass
    raise IndexError(f"blocks are read with ints and slices, not with {part!r}")


def _complete(parts: tuple[Any, ...], ndim: int) -> tuple[Any, ...]:
    """One part for each axis; those that the key leaves out are taken whole."""
    dots = [place for place, part in enumerate(parts) if part is Ellipsis]
    given = len(parts) - len(dots)
    if len(dots) > 1 or given > ndim:
        raise IndexError(f"a key with {given} parts for an array with {ndim} axes")
    place = dots[0] if dots else len(parts)
    return (*parts[:place], *(slice(None),) * (ndim - given), *parts[place + 1 :])


def run_of(ranges: Sequence[range], shape: Sequence[int]) -> tuple[int, int] | None:
    """(start, stop) of the row-major cells in `ranges`, or None where they are no single run."""
    outer, block = tail_of(ranges, shape)
    if any(len(each) != 1 for each in ranges[:outer]):
        return None
    start = _flat([each.start for each in ranges], shape)
    return start, start + block


def tail_of(ranges: Sequence[range], shape: Sequence[int]) -> tuple[int, int]:
    """(axis, cells): from `axis` on, the selected cells are one run of so many."""
    block = 1
    for axis in reversed(range(len(ranges))):
        chosen = ranges[axis]
        if len(chosen) > 1 and chosen.step != 1:
            return axis + 1, block
        block *= len(chosen)
        if len(chosen) != shape[axis]:
            return axis, block
    return 0, block


def runs_of(ranges: Sequence[range], shape: Sequence[int]) -> tuple[Array, int]:
    """(starts, cells): where each run of row-major cells starts, in order, and its length."""
    outer, block = tail_of(ranges, shape)
    first = _flat([0] * outer + [each.start for each in ranges[outer:]], shape)
    starts = np.full((1,) * outer, first, dtype=np.int64)
    for axis in range(outer):
        stride = math.prod(shape[axis + 1 :])
        along = np.arange(ranges[axis].start, ranges[axis].stop, ranges[axis].step, dtype=np.int64)
        starts = starts + np.expand_dims(along * stride, tuple(set(range(outer)) - {axis}))
    return starts.reshape(-1), block


def stored_rows(ranges: Sequence[range], fold: Fold) -> slice | Comb | Array:
    """The stored rows of the selected cells, in their row-major order.

    A slice where they are one run, a Comb where they are evenly spaced runs, else an array of
    int64 with one row for each cell.
    """
    if fold.order is not None:
        cells = fold.order.reshape(fold.shape)
        index = tuple(slice(each.start, each.stop, each.step) for each in ranges)
        rows = np.ascontiguousarray(cells[index]).reshape(-1)
        ascending = rows.size > 0 and bool((np.diff(rows) == 1).all())
        return slice(int(rows[0]), int(rows[-1]) + 1) if ascending else rows
    starts, block = runs_of(ranges, fold.shape)
    if starts.size == 1:
        return slice(int(starts[0]), int(starts[0]) + block)
    strides = np.diff(starts)
    if bool((strides == strides[0]).all()):
        return Comb(int(starts[0]), int(strides[0]), starts.size, block)
    return (starts[:, None] + np.arange(block, dtype=np.int64)).reshape(-1)


def as_rows(rows: slice | Comb | Array) -> Array:
    """The same rows as an array of int64, one for each cell."""
    if isinstance(rows, slice):
        return np.arange(rows.start, rows.stop, dtype=np.int64)
    if isinstance(rows, Comb):
        starts = rows.start + rows.stride * np.arange(rows.runs, dtype=np.int64)
        return (starts[:, None] + np.arange(rows.block, dtype=np.int64)).reshape(-1)
    return rows


def _flat(place: Sequence[int], shape: Sequence[int]) -> int:
    """The row-major number of a cell."""
    number = 0
    for each, size in zip(place, shape, strict=True):
        number = number * size + each
    return number
