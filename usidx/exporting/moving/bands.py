"""Which part of a Main is held in memory at a time while it is written in other chunks.

The values are taken as a matrix: rows are positions, columns spectroscopic values. A band is a
rectangle of it, made of whole chunks of the target, that is filled from the source and then written
chunk by chunk.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from usidx.exporting.moving.sources import Source, Span
from usidx.model.dimension import Array
from usidx.model.main import MainSpec

Access = Literal["maps", "spectra", "both"]

# What a chunk takes at least, where there is so much, and at most, where it can be cut.
_LEAST_MAPS = 2**18
_LEAST_SPECTRA = 2**20
_MOST_BYTES = 4 * 2**20
_MOST_CHUNKS = 10_000


@dataclass(frozen=True)
class Grid:
    """The chunks of a target, as a matrix has them.

    Parameters
    ----------
    shape : rows and columns of the matrix
    chunk : rows and columns of one chunk
    row_cuts, column_cuts : where bands may begin and end, from 0 to the end
    """

    shape: tuple[int, int]
    chunk: tuple[int, int]
    row_cuts: tuple[int, ...]
    column_cuts: tuple[int, ...]

    @property
    def counts(self) -> tuple[int, int]:
        """How many chunks lie below, and beside, one another."""
        return -(-self.shape[0] // self.chunk[0]), -(-self.shape[1] // self.chunk[1])


@dataclass(frozen=True)
class Cut:
    """A matrix cut into bands: every one of `rows` crossed with every one of `columns`."""

    rows: tuple[Span, ...]
    columns: tuple[Span, ...]

    def __iter__(self) -> Iterator[tuple[Span, Span]]:
        return ((row, column) for row in self.rows for column in self.columns)

    def __len__(self) -> int:
        return len(self.rows) * len(self.columns)

    def chunks(self, chunk: tuple[int, int]) -> int:
        """How many chunks the largest band has."""
        return max(-(-(b - a) // chunk[0]) for a, b in self.rows) * max(
            -(-(b - a) // chunk[1]) for a, b in self.columns
        )


def chunk_for(access: Access, spec: MainSpec, itemsize: int) -> tuple[int, ...]:
    """N-D shape of chunks for reading maps, or spectra: one run of cells on each side.

    Examples
    --------
    >>> from usidx.testing import make_main
    >>> chunk_for("maps", make_main((64, 64, 100)).usid.spec, 4)
    (64, 64, 15)
    """
    first, second = spec.position.shape, spec.spectroscopic.shape
    nbytes = math.prod(first) * math.prod(second) * itemsize
    if access == "both":
        return _tile(first, second, itemsize)
    least = _LEAST_MAPS if access == "maps" else _LEAST_SPECTRA
    least = max(least, nbytes // _MOST_CHUNKS)
    most = max(_MOST_BYTES, least)
    whole, others = (first, second) if access == "maps" else (second, first)
    kept = _run(whole, most // itemsize)
    added = (1,) * len(others)
    if math.prod(kept) == math.prod(whole):
        added = _run(others, least // (math.prod(kept) * itemsize))
    return kept + added if access == "maps" else added + kept


def _tile(first: tuple[int, ...], second: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """A box of which maps and spectra each need about as many as the other."""
    rows, columns = math.prod(first), math.prod(second)
    count = max(_LEAST_SPECTRA, rows * columns * itemsize // _MOST_CHUNKS) // itemsize
    # chunks through a map are rows / tall, through a spectrum columns / wide
    tall = min(rows, max(1, round(math.sqrt(count * rows / columns))))
    tall = max(tall, min(rows, count // columns))
    positions = _run(first, tall)
    return positions + _run(second, max(1, count // math.prod(positions)))


def _run(shape: tuple[int, ...], count: int) -> tuple[int, ...]:
    """A box of about `count` cells whose copies, side by side, each are a run of as many cells."""
    box = [1] * len(shape)
    for axis in reversed(range(len(shape))):
        most = max(1, count // math.prod(box))
        if most >= shape[axis]:
            box[axis] = shape[axis]
            continue
        if math.prod(shape[:axis]) == 1:  # nothing is slower: the last one may be smaller
            box[axis] = -(-shape[axis] // -(-shape[axis] // most))
            break
        even = max(part for part in range(1, most + 1) if shape[axis] % part == 0)
        box[axis] = even if 8 * even > most else shape[axis]
        if box[axis] < shape[axis]:
            break
    return tuple(box)


def grid_of(
    shape: tuple[int, int],
    chunk: tuple[int, int],
    orders: tuple[Array | None, Array | None] = (None, None),
) -> Grid:
    """The Grid of a target whose rows (columns) are in an order of their own.

    Parameters
    ----------
    orders : int64, for each cell its row (column) in the target; None where that is the same
    """
    return Grid(shape, chunk, *map(_cuts, shape, chunk, orders))


def _cuts(size: int, chunk: int, order: Array | None) -> tuple[int, ...]:
    """Where chunks end and all cells before are in the rows before."""
    edges = [*range(0, size, chunk), size]
    if order is None:
        return tuple(edges)
    highest = np.maximum.accumulate(order)
    return tuple(edge for edge in edges if not edge or int(highest[edge - 1]) == edge - 1)


def cut_of(grid: Grid, most: int, source: Source | None, itemsize: int) -> tuple[Cut, int] | None:
    """(bands, bytes that are read to fill them all): the way that reads least.

    Parameters
    ----------
    grid : of the target
    most : chunks that a band may have
    source : that is read; None for one of which every band is read on its own
    itemsize : bytes of one value

    Returns
    -------
    found : None where no band is as small as `most` chunks
    """
    found = []
    for columns_first in (False, True):
        cut = _grouped(grid, most, columns_first)
        if cut is not None:
            found.append((_bytes_read(cut, grid, source, itemsize), len(cut), cut))
    if not found:
        return None
    nbytes, _, cut = min(found, key=lambda each: each[:2])
    return cut, nbytes


def least_of(grid: Grid) -> int:
    """How many chunks the smallest bands have that there can be."""
    rows = max(-(-(b - a) // grid.chunk[0]) for a, b in zip(grid.row_cuts, grid.row_cuts[1:]))
    columns = max(
        -(-(b - a) // grid.chunk[1]) for a, b in zip(grid.column_cuts, grid.column_cuts[1:])
    )
    return rows * columns


def _grouped(grid: Grid, most: int, columns_first: bool) -> Cut | None:
    """Bands that are as wide as they can be, or as tall, and then as large as `most` lets them."""
    sides = [(grid.row_cuts, grid.chunk[0]), (grid.column_cuts, grid.chunk[1])]
    if columns_first:
        sides.reverse()
    (long, long_chunk), (short, short_chunk) = sides
    least = max(-(-(b - a) // short_chunk) for a, b in zip(short, short[1:]))
    one = _joined(long, long_chunk, most // least)
    if one is None:
        return None
    taken = max(-(-(b - a) // long_chunk) for a, b in one)
    other = _joined(short, short_chunk, most // taken)
    if other is None:
        return None
    return Cut(other, one) if columns_first else Cut(one, other)


def _joined(cuts: tuple[int, ...], chunk: int, most: int) -> tuple[Span, ...] | None:
    """Spans between cuts of at most `most` chunks each; None where two cuts are further apart."""
    spans: list[Span] = []
    start = 0
    for place, stop in enumerate(cuts[1:], 1):
        if -(-(stop - start) // chunk) > most:
            if cuts[place - 1] == start:
                return None
            spans.append((start, cuts[place - 1]))
            start = cuts[place - 1]
            if -(-(stop - start) // chunk) > most:
                return None
    return (*spans, (start, cuts[-1]))


def _bytes_read(cut: Cut, grid: Grid, source: Source | None, itemsize: int) -> int:
    """Bytes of storage that are touched, each as often as it is."""
    rows, columns = grid.shape
    if source is None:
        return rows * columns * itemsize
    if not source.on_disk:
        return 0
    tall, wide = source.spans
    row_count = sum(_touched(span, tall, rows) for span in cut.rows)
    if source.grain is not None:
        return row_count * sum(_touched(span, wide, columns) for span in cut.columns) * itemsize
    spans = [source.read_with(span) for span in cut.columns]
    return row_count * sum(last - first for first, last in spans) * itemsize


def _touched(span: Span, step: int, size: int) -> int:
    return min(size, -(-span[1] // step) * step) - span[0] // step * step
