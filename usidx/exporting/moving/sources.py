"""Where the values of an array are read: in a store, in memory, or nowhere before they are made."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from usidx.arrays.labels import Origin
from usidx.arrays.views import FieldView, Readable, boxes_of
from usidx.model.dimension import Array
from usidx.readers import store_behind
from usidx.stores.base import StoredMain

Box = tuple[slice, ...]
Span = tuple[int, int]
"""The first of some rows (columns), and the one behind the last."""

# Of rows that lie one after the other, parts of at least so many bytes are read by themselves.
_LONG_RUN = 32 * 2**10


@dataclass(frozen=True, eq=False)
class Source:
    """Values that can be read box by box, as often as it takes.

    Parameters
    ----------
    array : N-D values, positions first
    n_position : how many of its axes are positions
    grain : shape of what has to be read as a whole (a storage chunk); None where nothing has
    on_disk : whether reading means reading a file
    """

    array: Readable
    n_position: int
    grain: tuple[int, ...] | None = None
    on_disk: bool = True

    @property
    def sides(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Sizes of the axes of the positions, and of the spectroscopic ones."""
        return self.array.shape[: self.n_position], self.array.shape[self.n_position :]

    @property
    def spans(self) -> tuple[int, int]:
        """How many rows, and columns, lie between the ends of one grain."""
        if self.grain is None:
            return 1, 1
        first, second = self.sides
        return _span(first, self.grain[: self.n_position]), _span(
            second, self.grain[self.n_position :]
        )

    def read_with(self, columns: Span) -> Span:
        """The columns that are read to have some of them."""
        nbytes = (columns[1] - columns[0]) * self.array.dtype.itemsize
        if self.grain is None and self.on_disk and nbytes < _LONG_RUN:
            return 0, math.prod(self.sides[1])
        return columns

    def tiles(self, rows: Span, columns: Span, budget: int) -> Iterator[Box]:
        """Boxes of about `budget` bytes with all of some rows and columns, grain by grain.

        They may have other columns, too, where reading less takes longer.
        """
        first, second = self.sides
        columns = self.read_with(columns)
        count = max(1, budget // self.array.dtype.itemsize)
        inner = second if self.grain is None else self.grain[self.n_position :]
        outer = (1,) * len(first) if self.grain is None else self.grain[: self.n_position]
        width = min(math.prod(inner), columns[1] - columns[0])
        tall = _grown(first, outer, count // width)
        wide = _grown(second, inner, count // math.prod(tall))
        if self.grain is None and math.prod(wide) > count:
            wide = _grown(second, (1,) * len(second), count)
        for row in _cut(rows, first, tall):
            for column in _cut(columns, second, wide):
                yield row + column

    def read(self, box: Box, memory: Array | None) -> Array:
        """The values of a box, in `memory` (array of uint8) where that goes."""
        read = getattr(self.array, "read", None)
        shape = tuple(part.stop - part.start for part in box)
        nbytes = math.prod(shape) * self.array.dtype.itemsize
        if read is None or memory is None or nbytes > memory.nbytes:
            return np.asarray(self.array[box])
        out: Array = read(box, memory[:nbytes].view(self.array.dtype).reshape(shape))
        return out

    def each(self, boxes: Sequence[Box], memory: Array) -> Iterator[Array]:
        """The values of some boxes, one after the other, in the same memory where that goes.

        Parameters
        ----------
        memory : array of uint8, large enough for any of them
        """
        several = getattr(self.array, "each", None)
        if several is not None:
            yield from several(boxes, memory)
            return
        for box in boxes:
            yield self.read(box, memory)


def source_of(array: xr.DataArray, origin: Origin | None, n_position: int) -> Source | None:
    """How the values of an array are read; None for what has to be computed first.

    Parameters
    ----------
    array : with the dimensions of its Main in their order
    origin : the Main that it is, untouched; None for any other
    """
    stored = None if origin is None else _stored(array, origin)
    if stored is not None and origin is not None:
        values: Any = stored.array
        if origin.field is not None and stored.spec.dtype.names:
            only = getattr(values, "only", None)
            values = FieldView(values, origin.field) if only is None else only(origin.field)
        if values.dtype == array.dtype:
            return Source(values, n_position, _grain_of(values, stored))
    if array.chunks is None and isinstance(array.variable._data, np.ndarray):
        return Source(_InMemory(array.values), n_position, on_disk=False)
    return None


def _stored(array: xr.DataArray, origin: Origin) -> StoredMain | None:
    """The Main that has exactly the values of an array; None where not all of it was computed."""
    stored = store_behind(origin).open_main(origin.main)
    if stored.result is not None and stored.result.status == "partial":
        return None
    same = stored.spec.dims == array.dims and stored.spec.shape == array.shape
    return stored if same and stored.identity == origin.identity else None


def _grain_of(array: Any, stored: StoredMain) -> tuple[int, ...] | None:
    """Shape of what is read as a whole; that of the blocks that suit the store, where no less is.

    A Zarr array knows its chunks. Those of an HDF5 dataset are two-dimensional: they are boxes of
    cells where they end with a line of them.
    """
    if getattr(array, "reads_anywhere", False):
        return None
    chunks: tuple[int, ...] | None = getattr(array, "chunks", None)
    if chunks is not None:
        return tuple(chunks)
    place: Any = getattr(array, "place", None)
    sides = (stored.spec.position, stored.spec.spectroscopic)
    if place is None or place.chunks is None or any(side.order is not None for side in sides):
        return stored.chunks
    if len(place.chunks) != len(sides):  # a dataset of another system, in its own dimensions
        own = tuple(place.chunks)
        return own if len(own) == len(stored.spec.dims) else stored.chunks
    boxes = [box_of(count, side.shape) for count, side in zip(place.chunks, sides, strict=True)]
    return stored.chunks if boxes[0] is None or boxes[1] is None else boxes[0] + boxes[1]


def box_of(count: int, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """The box whose copies are every run of `count` cells, one after the other; None for none."""
    box = [1] * len(shape)
    for axis in reversed(range(len(shape))):
        box[axis] = min(count, shape[axis])
        if count <= shape[axis]:
            last = math.prod(shape[:axis]) == 1  # only then the last run may be shorter
            return tuple(box) if last or shape[axis] % count == 0 else None
        if count % shape[axis]:
            return None
        count //= shape[axis]
    return tuple(box)


@dataclass(frozen=True, eq=False)
class _InMemory:
    """An array that is there."""

    values: Array

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    @property
    def ndim(self) -> int:
        return self.values.ndim

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.values.dtype

    def __getitem__(self, key: Any, /) -> Array:
        return np.asarray(self.values[key])

    def __dask_tokenize__(self) -> Any:
        return type(self).__name__, id(self.values)


def _span(shape: tuple[int, ...], grain: tuple[int, ...]) -> int:
    """How many row-major cells lie between the ends of a box of the shape `grain`."""
    for axis, size in enumerate(grain):
        if size > 1:
            return min(size, shape[axis]) * math.prod(shape[axis + 1 :])
    return 1


def _grown(shape: tuple[int, ...], start: tuple[int, ...], count: int) -> tuple[int, ...]:
    """A box of whole boxes `start`, of about `count` cells, the fastest axes first."""
    box = [min(size, full) for size, full in zip(start, shape, strict=True)]
    for axis in reversed(range(len(box))):
        times = max(1, count // math.prod(box))
        box[axis] = min(shape[axis], box[axis] * times)
        if box[axis] < shape[axis]:
            break
    return tuple(box)


def _cut(span: Span, shape: tuple[int, ...], step: tuple[int, ...]) -> Iterator[Box]:
    """The boxes that make up a run of row-major cells, cut at the multiples of `step`."""
    for box in boxes_of(*span, shape):
        yield from _crossed(box, step)


def _crossed(box: Box, step: tuple[int, ...]) -> Iterator[Box]:
    if not box:
        yield ()
        return
    start = box[0].start
    while start < box[0].stop:
        stop = min(box[0].stop, (start // step[0] + 1) * step[0])
        for rest in _crossed(box[1:], step[1:]):
            yield (slice(start, stop), *rest)
        start = stop
