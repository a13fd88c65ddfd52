"""Values on their way from one order in storage to another: bands in memory, pieces on disk."""

from __future__ import annotations

import contextlib
import errno
import math
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from usidx.exporting.moving.bands import Cut
from usidx.exporting.moving.sources import Span
from usidx.model.dimension import Array
from usidx.model.layout import Grid, Layout
from usidx.model.main import MainSpec
from usidx.stores import disk
from usidx.stores.hdf5.writing.rows import in_file_order, runs

Place = tuple[int, int]

# Values that are read back from disk at once.
_PIECE = 2**20


class Band:
    """A rectangle of the matrix in memory, every chunk of the target in one piece.

    Parameters
    ----------
    memory : array of uint8, large enough
    rows, columns : of the target that it has
    chunk : rows and columns of one chunk
    dtype : of the values
    orders : int64, for each row (column) of the source its place in the target; None where that
        is the same
    """

    def __init__(
        self,
        memory: Array,
        rows: Span,
        columns: Span,
        chunk: Place,
        dtype: np.dtype[Any],
        orders: tuple[Array | None, Array | None] = (None, None),
    ) -> None:
        self.rows, self.columns, self.chunk = rows, columns, chunk
        self._orders = orders
        shape = -(-(rows[1] - rows[0]) // chunk[0]), -(-(columns[1] - columns[0]) // chunk[1])
        nbytes = math.prod(shape) * math.prod(chunk) * dtype.itemsize
        self.values = memory[:nbytes].view(dtype).reshape(*shape, *chunk)
        # what chunks at the edges have beyond the matrix
        below, beside = (rows[1] - rows[0]) % chunk[0], (columns[1] - columns[0]) % chunk[1]
        if below:
            self.values[-1, :, below:, :] = np.zeros((), dtype)
        if beside:
            self.values[:, -1, :, beside:] = np.zeros((), dtype)

    def put(self, row: int, column: int, matrix: Array) -> None:
        """Take in a part of the matrix that begins at a row and a column of the source.

        What is beyond the band is left out.
        """
        for first, up in _placed(row, matrix.shape[0], self._orders[0]):
            part = matrix[up]
            for second, left in _placed(column, matrix.shape[1], self._orders[1]):
                self._put(first, second, part[:, left])

    def _put(self, row: int, column: int, matrix: Array) -> None:
        (top, bottom), (left, right) = self.rows, self.columns
        up, down = max(0, top - row), max(0, bottom - row)
        first, last = max(0, left - column), max(0, right - column)
        matrix, row, column = matrix[up:down, first:last], row + up, column + first
        height, width = self.chunk
        for i, k, a, b, up in _parts(row - self.rows[0], matrix.shape[0], height):
            for j, m, c, d, left in _parts(column - self.columns[0], matrix.shape[1], width):
                part = matrix[up : up + k * (b - a), left : left + m * (d - c)]
                part = part.reshape(k, b - a, m, d - c).transpose(0, 2, 1, 3)
                self.values[i : i + k, j : j + m, a:b, c:d] = part


def _placed(start: int, count: int, order: Array | None) -> Iterator[tuple[int, Any]]:
    """(place in the target, which of the rows) of each run of rows that stays together."""
    if order is None:
        yield start, slice(None)
        return
    places = order[start : start + count]
    sorting = np.argsort(places)
    for place, first, stop in runs(places[sorting]):
        yield place, sorting[first:stop]


def _parts(start: int, count: int, size: int) -> Iterator[tuple[int, int, int, int, int]]:
    """Some rows by the chunks of `size` rows they are in: whole ones together, cut ones alone.

    Yields
    ------
    (first chunk, how many of them, first row within, the one behind the last, rows before)

    Examples
    --------
    >>> list(_parts(3, 10, 4))
    [(0, 1, 3, 4, 0), (1, 2, 0, 4, 1), (3, 1, 0, 1, 9)]
    """
    done = 0
    while done < count:
        number, within = divmod(start + done, size)
        left = count - done
        if within or left < size:
            stop = min(size, within + left)
            yield number, 1, within, stop, done
            done += stop - within
        else:
            yield number, left // size, 0, size, done
            done += left // size * size


@dataclass(frozen=True)
class _Piece:
    """A part of the matrix on disk: where it begins, its shape, and where its bytes are."""

    row: int
    column: int
    shape: Place
    offset: int


class Spill:
    """Values on disk, sorted by the bands that they are in, until each band is filled.

    The file has no name: it is gone with the process, however that ends.

    Parameters
    ----------
    folder : that the file lies in
    cut : the bands
    dtype : of the values
    nbytes : of all values, which are reserved

    Raises
    ------
    OSError : where there is no room
    """

    def __init__(self, folder: str, cut: Cut, dtype: np.dtype[Any], nbytes: int) -> None:
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115
        self._cut, self._dtype = cut, dtype
        self._lock = threading.Lock()
        self._end = 0
        self._pieces: dict[tuple[Span, Span], list[_Piece]] = {band: [] for band in cut}
        try:
            disk.reserve(self._file.fileno(), 0, nbytes)
        except BaseException:
            self._file.close()
            raise

    def put(self, row: int, column: int, matrix: Array) -> None:
        """Write a part of the matrix, which every value is in once."""
        height, width = matrix.shape
        for band in self._cut:
            (top, bottom), (left, right) = band
            up, down = max(row, top), min(row + height, bottom)
            first, last = max(column, left), min(column + width, right)
            if up >= down or first >= last:
                continue
            part = matrix[up - row : down - row, first - column : last - column]
            data = np.ascontiguousarray(part, dtype=self._dtype)
            with self._lock:
                offset, self._end = self._end, self._end + data.nbytes
                self._pieces[band].append(_Piece(up, first, (down - up, last - first), offset))
                if not disk.POSITIONED_IO:
                    disk.write_at(self._file.fileno(), _bytes(data), offset)
            if disk.POSITIONED_IO:
                disk.write_at(self._file.fileno(), _bytes(data), offset)

    def pieces(self, band: tuple[Span, Span]) -> list[_Piece]:
        """The parts that make up a band, cut to some that are read at once."""
        found = []
        for each in self._pieces[band]:
            width = each.shape[1] * self._dtype.itemsize
            step = max(1, _PIECE // width)
            for start in range(0, each.shape[0], step):
                height = min(step, each.shape[0] - start)
                place = each.row + start, each.column
                found.append(_Piece(*place, (height, each.shape[1]), each.offset + start * width))
        return found

    def read(self, piece: _Piece) -> Array:
        """The values of a piece, as a matrix."""
        nbytes = math.prod(piece.shape) * self._dtype.itemsize
        with contextlib.nullcontext() if disk.POSITIONED_IO else self._lock:
            data = disk.read_at(self._file.fileno(), nbytes, piece.offset)
        if len(data) < nbytes:
            raise OSError(errno.EIO, "the file of values that were set aside was cut short")
        return np.frombuffer(data, self._dtype).reshape(piece.shape)

    def close(self) -> None:
        """Give its room back."""
        self._file.close()


class Sink:
    """What takes boxes of N-D values, by `sink[box] = values`, and hands on parts of the matrix.

    Parameters
    ----------
    spec : of the Main
    dtype : of the values
    taker : a Band that has everything, or a Spill
    """

    def __init__(self, spec: MainSpec, dtype: np.dtype[Any], taker: Band | Spill) -> None:
        self._spec = replace(
            spec,
            dtype=dtype,
            position=_raster(spec.position),
            spectroscopic=_raster(spec.spectroscopic),
        )
        self._taker = taker

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the N-D axes."""
        return self._spec.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of one value."""
        return self._spec.dtype

    def __setitem__(self, box: tuple[slice, ...], values: Array) -> None:
        rows, columns, block = in_file_order(self._spec, box, np.asarray(values))
        for row, up, down in runs(rows):
            for column, left, right in runs(columns):
                self._taker.put(row, column, block[up:down, left:right])


def _raster(side: Layout) -> Layout:
    return replace(side, order=None) if isinstance(side, Grid) else side


def _bytes(values: Array) -> memoryview:
    return values.reshape(-1).view(np.uint8).data
