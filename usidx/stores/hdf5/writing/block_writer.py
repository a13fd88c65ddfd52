"""Writes blocks of a result into the room set aside for it, past HDF5, from many tasks at once."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from usidx.errors import (
    LayoutError,
    NoSpaceError,
    PlanError,
    ReadOnlyStoreError,
    SourceChangedError,
    StoreLockedError,
)
from usidx.model.blocks import Block, axis_range, row_range
from usidx.model.dimension import Array
from usidx.stores import disk
from usidx.stores.hdf5.file import open_file
from usidx.stores.hdf5.writing.failures import FailureMarks
from usidx.stores.hdf5.writing.new_result import find, span_of
from usidx.stores.hdf5.writing.room import FileMark, Room
from usidx.stores.hdf5.writing.rows import converted, runs
from usidx.stores.lock import holder_of

_SUPERBLOCK_BYTES = 96
_LOOK_EVERY = 2.0
# Seconds in which parts of a block are written without another look at the claim and the file.
_OPEN_FOR = 0.05
_LOOK_TIMEOUT = 5.0
# (token, output) -> when this process last found the output in its place, and the superblock then
_looks: dict[tuple[str, str], tuple[float, bytes]] = {}


@dataclass(frozen=True, eq=False)
class HDF5BlockWriter:
    """Writes and marks blocks of one output; picklable, for use in many tasks and processes.

    Parameters
    ----------
    path : of the file
    main : path of the output
    shape : N-D, positions first
    dtype : of the values
    n_position : how many axes are positions
    row_order, column_order : the file's row (column) of each position (spectroscopic cell) in
        row-major order, shape (size,); None where that is the order of the file
    values, marks : where they go
    file : what tells that the file is still the one that was claimed
    run, token : the lock file of the group, and what it says while the claim is held
    durable : whether values are on disk before they are marked, and marks when `mark` returns;
        without it a power failure, though no crash, can leave marks without their values
    spare : whether positions that are marked already keep the values that they have
    failures : where it is said at which positions the step failed; None where there is no room
    """

    path: str
    main: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    n_position: int
    row_order: Array | None
    column_order: Array | None
    values: Room
    marks: Room
    file: FileMark
    run: str
    token: str
    durable: bool = False
    spare: bool = False
    failures: FailureMarks | None = None

    @property
    def n_rows(self) -> int:
        """How many positions there are."""
        return self.marks.span.nbytes

    @property
    def _rooms(self) -> tuple[Room, ...]:
        """Everything that is written into."""
        more = () if self.failures is None else (self.failures.numbers, self.failures.reasons)
        return (self.values, self.marks, *more)

    def done(self) -> Array:
        """Position-shaped array of bool: which positions are marked complete, now."""
        with self._opened(os.O_RDONLY) as descriptor:
            stored = disk.read_at(descriptor, self.n_rows, self.marks.span.offset)
        marks: Array = np.frombuffer(stored, np.uint8) == 1
        if self.row_order is not None:
            marks = marks[self.row_order]
        return marks.reshape(self.shape[: self.n_position])

    def write(self, key: tuple[slice, ...], values: Array, only: Array | None = None) -> None:
        """Write one N-D block at its place.

        Parameters
        ----------
        key : a slice for each axis: whole runs of positions, and all spectroscopic values
        values : array of the block's shape
        only : bool, shape of the block's positions: the others keep what they have

        Raises
        ------
        LayoutError : for values of another shape, or of a type that does not fit
        SourceChangedError : where the file is not the one in which the room was set aside
        StoreLockedError : where the claim has ended, or somebody else goes on with the group
        NoSpaceError : where the disk is full nevertheless
        """
        with self._opened(os.O_RDWR) as descriptor:
            self._write(descriptor, key, values, only)

    @contextlib.contextmanager
    def pieces(self) -> Iterator[Callable[[tuple[slice, ...], Array], None]]:
        """A function that writes as `write` does, for many small parts of a block in a row.

        That the room is still there is made sure of every so often, not for each part.
        """
        opened = contextlib.ExitStack()
        descriptor, since = -1, -math.inf

        whole = tuple(slice(0, size) for size in self.shape[self.n_position :])
        is_plain = self.row_order is None and self.column_order is None and not self.spare
        row_nbytes = self.values.span.nbytes // self.n_rows

        def write(key: tuple[slice, ...], values: Array) -> None:
            nonlocal descriptor, since
            if time.monotonic() - since > _OPEN_FOR:
                opened.close()
                since = time.monotonic()
                descriptor = opened.enter_context(self._opened(os.O_RDWR))
            if not is_plain or key[self.n_position :] != whole or values.dtype != self.dtype:
                self._write(descriptor, key, values)
                return
            # of all that is done to a block, what is left for most of them
            rows = row_range(key, self.shape, self.n_position)
            if values.shape != tuple([part.stop - part.start for part in key]):
                raise self._misshapen(values, Block(key).shape)
            offset = self.values.span.offset + rows[0] * row_nbytes
            try:
                disk.write_at(descriptor, _bytes(np.ascontiguousarray(values)), offset)
            except OSError as error:
                with self._understandable(values.nbytes):
                    raise error

        with opened:
            yield write

    def _write(
        self, descriptor: int, key: tuple[slice, ...], values: Array, only: Array | None = None
    ) -> None:
        rows = self._rows(key)
        wanted = None if only is None else self.by_rows(key, only)
        block = self._in_file_order(key, values, rows)
        row_nbytes = self.values.span.nbytes // self.n_rows
        with self._understandable(block.nbytes):
            for first, start, stop in self._pending(descriptor, rows, wanted):
                offset = self.values.span.offset + first * row_nbytes
                disk.write_at(descriptor, _bytes(block[start:stop]), offset)

    def _pending(
        self, descriptor: int, rows: range | Array, wanted: Array | None
    ) -> Iterator[tuple[int, int, int]]:
        """The runs of rows that are to be written, as `runs` gives them."""
        for first, start, stop in runs(rows):
            if not self.spare and wanted is None:
                yield first, start, stop
                continue
            free = np.ones(stop - start, bool) if wanted is None else wanted[start:stop]
            if self.spare:
                marks = disk.read_at(descriptor, stop - start, self.marks.span.offset + first)
                free = free & (np.frombuffer(marks, np.uint8) == 0)
            open_rows = np.flatnonzero(free)
            for place, begin, end in runs(open_rows) if open_rows.size else ():
                yield first + place, start + place, start + place + end - begin

    def fail(self, key: tuple[slice, ...], failed: Array, reasons: Sequence[str]) -> None:
        """Say at which positions of the block `key` the step failed, before they are marked.

        Parameters
        ----------
        failed : shape of the block's positions: 0, or the number of a reason from 1 on

        Raises
        ------
        PlanError : where the group has no room to say it
        """
        if self.failures is None:
            raise PlanError(
                f"{self.main!r} has no room to say where a step failed; resume its group with "
                "on_error='mark'"
            )
        rows, by_rows = self._rows(key), self.by_rows(key, failed)
        with self._opened(os.O_RDWR) as descriptor, self._understandable(len(rows)):
            self.failures.record(descriptor, rows, by_rows, reasons)

    def mark(self, key: tuple[slice, ...]) -> None:
        """Mark the positions of the block `key` complete, after `write` has returned."""
        rows = self._rows(key)
        with self._opened(os.O_RDWR) as descriptor, self._understandable():
            if self.durable:
                disk.sync_data(descriptor)
            for first, start, stop in runs(rows):
                ones = b"\1" * (stop - start)
                disk.write_at(descriptor, ones, self.marks.span.offset + first)
            if self.durable:
                disk.sync_data(descriptor)

    def __dask_tokenize__(self) -> tuple[str, ...]:
        return (type(self).__name__, self.path, self.main, self.token)

    def _rows(self, key: tuple[slice, ...]) -> range | Array:
        """The file's rows of a block, in ascending order."""
        whole = all(
            len(axis_range(part, size)) == size
            for part, size in zip(
                key[self.n_position :], self.shape[self.n_position :], strict=False
            )
        )
        if len(key) > len(self.shape) or not whole:
            raise LayoutError(
                f"blocks of {self.main!r} must cover all spectroscopic values of shape "
                f"{self.shape[self.n_position :]}, got {key}; rechunk the output"
            )
        start, stop = row_range(key, self.shape, self.n_position)
        if self.row_order is None:
            return range(start, stop)
        return np.sort(self.row_order[start:stop])

    def by_rows(self, key: tuple[slice, ...], each: Array) -> Array:
        """Something of each position of a block, in the order of its rows in the file."""
        flat = each.reshape(-1)
        if self.row_order is None:
            return flat
        start, stop = row_range(key, self.shape, self.n_position)
        return flat[np.argsort(self.row_order[start:stop])]

    def _in_file_order(self, key: tuple[slice, ...], values: Array, rows: range | Array) -> Array:
        """The block as 2-D array, shape (rows, columns), as its bytes lie in the file."""
        shape = (
            tuple(len(axis_range(part, size)) for part, size in zip(key, self.shape, strict=False))
            + self.shape[len(key) :]
        )
        values = np.asarray(values)
        if values.shape != shape:
            raise self._misshapen(values, shape)
        values = converted(values, self.dtype, self.main)
        block = np.ascontiguousarray(values).reshape(len(rows), -1)
        if self.column_order is not None:
            placed = np.empty_like(block)
            placed[:, self.column_order] = block
            block = placed
        if self.row_order is not None:
            start, stop = row_range(key, self.shape, self.n_position)
            block = block[np.argsort(self.row_order[start:stop])]
        return block

    @contextlib.contextmanager
    def _opened(self, flags: int) -> Iterator[int]:
        """The file, once it is sure that it still has the room, and this writer the right to it."""
        if flags != os.O_RDONLY:
            self.check_claim()
        try:
            descriptor = disk.open_file(self.path, flags)
        except FileNotFoundError as error:
            raise SourceChangedError(
                f"{self.path!r} is gone; the rest of {self.main!r} cannot be written"
            ) from error
        except OSError as error:
            if error.errno not in disk.READ_ONLY:
                raise
            raise ReadOnlyStoreError(
                f"{self.path!r} cannot be written any more ({error.strerror})"
            ) from error
        try:
            if not self.file.fits(descriptor):
                raise self._changed()
            self._check_room(descriptor)
            yield descriptor
        finally:
            os.close(descriptor)

    def check_claim(self) -> None:
        """Make sure that the claim still holds.

        Raises
        ------
        StoreLockedError : where it has ended
        """
        holder = holder_of(self.run)
        if holder is None or holder.token != self.token:
            now = "nobody holds it now" if holder is None else f"it is held by {holder}"
            raise StoreLockedError(
                f"the claim on {self.main!r} has ended, {now}; resume the result to go on writing"
            )

    def _check_room(self, descriptor: int) -> None:
        """Make sure that the room still belongs to the output: others may have deleted it.

        Their changes show in the superblock or in the seals, if the file got another size or room
        was given to something else. Now and then HDF5 is asked in any case, unless another program
        keeps it from looking.
        """
        beginning = disk.read_at(descriptor, _SUPERBLOCK_BYTES, self.values.span.base)
        key = (self.token, self.main)
        when, known = _looks.get(key, (-math.inf, b""))
        sealed = all(room.holds(descriptor) for room in self._rooms)
        if sealed and known == beginning and time.monotonic() - when < _LOOK_EVERY:
            return
        try:
            self._look(timeout=_LOOK_TIMEOUT if not sealed else 0.0)
        except StoreLockedError:
            if not sealed:
                raise
        else:
            _looks[key] = (time.monotonic(), beginning)

    def _look(self, timeout: float) -> None:
        """Ask HDF5 whether the datasets are where they were."""
        with open_file(self.path, timeout=timeout) as file:
            for room in self._rooms:
                dataset = find(file, room.span.name)
                span = span_of(dataset) if isinstance(dataset, h5py.Dataset) else None
                if (
                    span is None
                    or span.offset != room.span.offset
                    or span.nbytes != room.span.nbytes
                ):
                    raise self._changed()

    def _misshapen(self, values: Array, expected: tuple[int, ...]) -> LayoutError:
        return LayoutError(
            f"a block of {self.main!r} has the shape {values.shape}, expected {expected}; a step "
            "must give the shape that it had on the whole Main"
        )

    def _changed(self) -> SourceChangedError:
        return SourceChangedError(
            f"{self.path!r} was replaced or rewritten since {self.main!r} was claimed in it; "
            "nothing was written. Run the step again on the new file"
        )

    @contextlib.contextmanager
    def _understandable(self, nbytes: int = 1) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in disk.NO_ROOM:
                raise
            raise NoSpaceError(
                f"no room to write {disk.sized(nbytes)} into {self.path!r} ({error.strerror}), "
                f"which are needed though room was set aside; {disk.room(self.path)} are free. The "
                "blocks that are marked stay: make room, then resume"
            ) from error


def _bytes(block: Array) -> memoryview:
    """The bytes of a C-contiguous array of any type, records too."""
    return block.reshape(-1).view(np.uint8).data
