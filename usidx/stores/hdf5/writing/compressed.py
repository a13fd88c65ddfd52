"""Blocks of a result in compressed chunks: encoded by who computed them, put in by transactions.

A chunk has no place before its size is known. So each block goes behind the end of the file, where
nothing refers to it, and a transaction of some kilobytes makes its chunks part of the dataset: all
of them, or none. Then its positions are marked, as those of any other block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import h5py
import numpy as np

from usidx.errors import SourceChangedError
from usidx.model.dimension import Array
from usidx.model.main import MainSpec
from usidx.stores.hdf5.transactions.transaction import transaction
from usidx.stores.hdf5.writing.block_writer import HDF5BlockWriter
from usidx.stores.hdf5.writing.encoding import Encoding, encoding_of
from usidx.stores.hdf5.writing.new_result import find
from usidx.stores.hdf5.writing.rows import in_file_order, runs

# Others that read the file through HDF5 let go of it between their blocks.
_TIMEOUT = 60.0


class _Chunk(NamedTuple):
    """An encoded chunk: its first row and column, the filters it went without, and its bytes."""

    place: tuple[int, int]
    skipped: int
    data: bytes


@dataclass(frozen=True, eq=False)
class CompressedWriter:
    """Writes and marks blocks of a Main that is stored in chunks; picklable.

    Parameters
    ----------
    spec : of the Main
    encoding : of its chunks
    marks : what writes the marks, and knows whether the claim still holds
    """

    spec: MainSpec
    encoding: Encoding
    marks: HDF5BlockWriter

    @property
    def main(self) -> str:
        """Path of the Main."""
        return self.spec.path

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the N-D axes."""
        return self.spec.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of one value."""
        return self.spec.dtype

    @property
    def n_rows(self) -> int:
        """How many positions there are."""
        return self.spec.position.size

    def done(self) -> Array:
        """Position-shaped array of bool: which positions are marked complete, now."""
        return self.marks.done()

    def mark(self, key: tuple[slice, ...]) -> None:
        """Mark the positions of the block `key` complete, after `write` has returned."""
        self.marks.mark(key)

    def fail(self, key: tuple[slice, ...], failed: Array, reasons: Sequence[str]) -> None:
        """Say at which positions of the block `key` the step failed, before they are marked."""
        self.marks.fail(key, failed, reasons)

    def write(self, key: tuple[slice, ...], values: Array, only: Array | None = None) -> None:
        """Write one N-D block.

        Parameters
        ----------
        key : a slice for each axis: whole runs of positions, and all spectroscopic values
        values : array of the block's shape
        only : bool, shape of the block's positions: the others keep what they have

        Raises
        ------
        LayoutError : for values of another shape, or of a type that does not fit
        SourceChangedError : where the file is not the one that was claimed
        StoreLockedError : where the claim has ended, or others do not let go of the file
        NoSpaceError : where the disk is full; what is marked stays
        """
        self.marks.check_claim()
        rows, _, block = in_file_order(self.spec, key, np.asarray(values))
        wanted = self._wanted(key, rows, only)
        parts = [(int(row), block[a:b]) for row, a, b in _chosen(rows, wanted)]
        whole, rest = [], []
        for row, part in parts:
            first = min(len(part), -row % self.encoding.chunk[0])
            last = max(first, self._last_whole(row, len(part)))
            whole += self._encoded(row + first, part[first:last])
            rest += [
                (row + start, part[start:stop])
                for start, stop in ((0, first), (last, len(part)))
                if stop > start
            ]
        if whole or rest:
            self._put_in(whole, rest)

    def _wanted(self, key: tuple[slice, ...], rows: range | Array, only: Array | None) -> Array:
        """Which rows of a block are to be written, in their order in the file."""
        wanted = np.ones(len(rows), bool) if only is None else self.marks.by_rows(key, only)
        if self.marks.spare:
            wanted = wanted & ~self.marks.by_rows(key, self.done()[key[: self.marks.n_position]])
        return np.asarray(wanted, bool)

    def _last_whole(self, row: int, count: int) -> int:
        """How many of the rows there are before the last chunk that they have only a part of."""
        stop = row + count
        return count if stop == self.n_rows else count - stop % self.encoding.chunk[0]

    def _encoded(self, row: int, part: Array) -> list[_Chunk]:
        """The chunks that some rows are, which begin and end with chunks."""
        height, width = self.encoding.chunk
        found = []
        for first in range(0, part.shape[0], height):
            for column in range(0, part.shape[1], width):
                values = part[first : first + height, column : column + width]
                if values.shape != self.encoding.chunk:  # at the edge, chunks go beyond the values
                    padded = np.zeros(self.encoding.chunk, self.dtype)
                    padded[: values.shape[0], : values.shape[1]] = values
                    values = padded
                found.append(_Chunk((row + first, column), *self.encoding.encode(values)))
        return found

    def _put_in(self, whole: Sequence[_Chunk], rest: Sequence[tuple[int, Array]]) -> None:
        path = self.marks.path
        what = f"writing a block of {self.main!r}"
        with transaction(path, timeout=_TIMEOUT, what=what) as file:
            self.marks.check_claim()
            dataset = find(file, self.main)
            same = isinstance(dataset, h5py.Dataset) and dataset.shape == self.spec.shape_2d
            if not same or encoding_of(dataset) != self.encoding:
                raise SourceChangedError(
                    f"{self.main!r} is no longer in {path!r} as it was when it was claimed; run "
                    "the step again on the file as it is"
                )
            for place, skipped, data in whole:
                dataset.id.write_direct_chunk(place, data, skipped)
            for row, values in rest:  # chunks that other blocks have a part of
                dataset[row : row + len(values)] = values

    def __dask_tokenize__(self) -> tuple[str, ...]:
        return (type(self).__name__, self.marks.path, self.main, self.marks.token)


def _chosen(rows: range | Array, wanted: Array) -> list[tuple[int, int, int]]:
    """The runs of rows that are wanted, as `runs` gives them."""
    found = []
    for first, start, stop in runs(rows):
        chosen = np.flatnonzero(wanted[start:stop])
        for place, a, b in runs(chosen) if chosen.size else ():
            found.append((first + place, start + place, start + place + b - a))
    return found
