"""Arrays that read blocks of another one: a field of it, its computed part, its 2-D form.

A block array has shape, dtype and ndim, takes ints and slices for every axis, pickles, and holds
no open file. What is said here of one holds for those the stores hand out too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from usidx.model.blocks import axis_range
from usidx.model.dimension import Array

Key = tuple[int | slice, ...]


class Readable(Protocol):
    """An N-D array that reads what is indexed."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    @property
    def ndim(self) -> int: ...
    def __getitem__(self, key: Key, /) -> Array: ...
    def __dask_tokenize__(self) -> Any: ...


@dataclass(frozen=True, eq=False)
class FieldView:
    """One field of a compound block array, reading whole values of it."""

    array: Readable
    field: str

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def ndim(self) -> int:
        return self.array.ndim

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.array.dtype[self.field]

    def __getitem__(self, key: Key, /) -> Array:
        # not ascontiguousarray, which makes an axis of a single value
        return np.asarray(self.array[key][self.field], order="C")

    def __dask_tokenize__(self) -> Any:
        return type(self).__name__, self.array.__dask_tokenize__(), self.field


@dataclass(frozen=True, eq=False)
class ComputedView:
    """A block array with NaN wherever `completed` does not say that the position was computed.

    Parameters
    ----------
    array : N-D values
    completed : bool, the shape of the first axes of `array`
    """

    array: Readable
    completed: Readable

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def ndim(self) -> int:
        return self.array.ndim

    @property
    def dtype(self) -> np.dtype[Any]:
        return with_nan(self.array.dtype)

    def __getitem__(self, key: Key, /) -> Array:
        key = whole_key(key, self.ndim)
        # The marks first: what is marked was written before its mark.
        done = np.asarray(self.completed[key[: self.completed.ndim]], dtype=bool)
        block = np.asarray(self.array[key])
        done = done.reshape(done.shape + (1,) * (block.ndim - done.ndim))
        return np.asarray(np.where(done, block, np.array(np.nan, self.dtype)), dtype=self.dtype)

    def __dask_tokenize__(self) -> Any:
        parts = (self.array.__dask_tokenize__(), self.completed.__dask_tokenize__())
        return type(self).__name__, *parts


def with_nan(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype that holds NaN beside the values of `dtype`; the one xarray promotes to."""
    if dtype.kind in "fc":
        return dtype
    return np.dtype(np.float32 if dtype.itemsize <= 2 else np.float64)


@dataclass(frozen=True, eq=False)
class FlatView:
    """The 2-D form (positions, spectroscopic values) of an N-D block array.

    Parameters
    ----------
    array : N-D values, positions first
    n_position : how many of its axes are positions
    rows, columns : int64, the row-major N-D cell of each row (column), where that is no raster
    """

    array: Readable
    n_position: int
    rows: Array | None = None
    columns: Array | None = None

    @property
    def shape(self) -> tuple[int, int]:
        first, second = self._sides
        return math.prod(first), math.prod(second)

    @property
    def ndim(self) -> int:
        return 2

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.array.dtype

    @property
    def _sides(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return self.array.shape[: self.n_position], self.array.shape[self.n_position :]

    def __getitem__(self, key: Key, /) -> Array:
        key = whole_key(key, 2)
        first, second = self._sides
        rows = list(_pieces(key[0], first, self.rows))
        columns = list(_pieces(key[1], second, self.columns))
        sizes = [sum(len(piece.target) for piece in pieces) for pieces in (rows, columns)]
        out = np.empty(sizes, self.dtype)
        for row in rows:
            for column in columns:
                block = np.asarray(self.array[row.box + column.box])
                out[
                    row.target.start : row.target.stop, column.target.start : column.target.stop
                ] = block.reshape(len(row.target), len(column.target))[:: row.step, :: column.step]
        return np.asarray(out[tuple(_within(part) for part in key)])

    def __dask_tokenize__(self) -> Any:
        parts = (self.array.__dask_tokenize__(), self.n_position, self.rows, self.columns)
        return type(self).__name__, *parts


def whole_key(key: Any, ndim: int) -> Key:
    """A key with an int or a slice for each of `ndim` axes, from any basic NumPy key."""
    parts = list(key) if isinstance(key, tuple) else [key]
    if any(part is Ellipsis for part in parts):
        place = next(number for number, part in enumerate(parts) if part is Ellipsis)
        parts[place : place + 1] = [slice(None)] * (ndim - len(parts) + 1)
    return tuple(parts + [slice(None)] * (ndim - len(parts)))


@dataclass(frozen=True)
class _Piece:
    """A box of N-D cells, the places in the 2-D form it goes to, and in which direction."""

    box: tuple[slice, ...]
    target: range
    step: int


def _pieces(key: int | slice, shape: tuple[int, ...], cells: Array | None) -> Iterator[_Piece]:
    """The boxes of one side that hold what `key` selects, hull of a stepped slice."""
    wanted = _hull(axis_range(key, math.prod(shape)))
    at = 0
    for start, stop, step in _stretches(wanted, cells):
        boxes = list(boxes_of(start, stop, shape))
        for box in boxes[::step]:
            size = math.prod(part.stop - part.start for part in box)
            yield _Piece(box, range(at, at + size), step)
            at += size


def _hull(places: range) -> range:
    if not places:
        return range(0)
    return range(min(places[0], places[-1]), max(places[0], places[-1]) + 1)


def _within(key: int | slice) -> int | slice:
    """What `key` selects, within the hull of what it selects."""
    if not isinstance(key, slice):
        return 0
    return slice(None, None, key.step)


def _stretches(wanted: range, cells: Array | None) -> Iterator[tuple[int, int, int]]:
    """(start, stop, step): runs of neighbouring cells, forwards or backwards, in turn."""
    if cells is None:
        if wanted:
            yield wanted.start, wanted.stop, 1
        return
    part = np.asarray(cells[wanted.start : wanted.stop], dtype=np.int64)
    steps = np.diff(part)
    breaks = {step: np.append(np.flatnonzero(steps != step), steps.size) for step in (1, -1)}
    at = 0
    while at < part.size:
        step = -1 if at < steps.size and steps[at] == -1 else 1
        end = int(breaks[step][np.searchsorted(breaks[step], at)])
        low, high = sorted((int(part[at]), int(part[end])))
        yield low, high + 1, step
        at = end + 1


def boxes_of(start: int, stop: int, shape: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """The few boxes that make up the run start .. stop of the row-major cells of `shape`.

    Examples
    --------
    >>> [[(part.start, part.stop) for part in box] for box in boxes_of(2, 7, (3, 3))]
    [[(0, 1), (2, 3)], [(1, 2), (0, 3)], [(2, 3), (0, 1)]]
    """
    if start >= stop:
        return
    if len(shape) == 1:
        yield (slice(start, stop),)
        return
    inner = math.prod(shape[1:])
    first, last = -(-start // inner), stop // inner
    if first > last:
        first, last = last, last
        for box in boxes_of(start - first * inner, stop - first * inner, shape[1:]):
            yield (slice(first, first + 1), *box)
        return
    head = first * inner
    for box in boxes_of(
        start - (first - 1) * inner, min(head, stop) - (first - 1) * inner, shape[1:]
    ):
        yield (slice(first - 1, first), *box)
    if last > first:
        yield (slice(first, last), *(slice(0, size) for size in shape[1:]))
    for box in boxes_of(0, stop - last * inner, shape[1:]):
        yield (slice(last, last + 1), *box)
