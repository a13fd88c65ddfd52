"""Passes over the values of an array: read or computed, sorted in memory, written in chunks."""

from __future__ import annotations

import contextlib
import itertools
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from usidx.errors import NoSpaceError
from usidx.exporting.moving.bands import Cut
from usidx.exporting.moving.rechunked import Target
from usidx.exporting.moving.sources import Source, Span
from usidx.exporting.moving.storing import store
from usidx.exporting.moving.threads import each
from usidx.exporting.moving.transposing import Band, Sink, Spill
from usidx.model.dimension import Array
from usidx.model.main import MainSpec
from usidx.stores import disk

# Bytes that are read at once, to stay in the processor's cache; more where they go to disk again.
TILE = 2**20
_ASIDE_TILE = 8 * 2**20
# Computing a block takes about three times what comes out of it.
_TEMPORARIES = 3


@dataclass(frozen=True)
class Job:
    """One array on its way into its target.

    Parameters
    ----------
    spec : of the Main that it belongs to
    values : the array
    source : how it is read; None where it has to be computed first
    target : what it is written to
    cut : the bands
    aside : whether its values are set aside on disk first, sorted by bands
    workers : how many threads
    """

    spec: MainSpec
    values: xr.DataArray
    source: Source | None
    target: Target
    cut: Cut
    aside: bool
    workers: int

    @property
    def nbytes(self) -> int:
        """Of all values."""
        return math.prod(self.target.grid.shape) * self.target.dtype.itemsize

    @property
    def steps(self) -> int:
        """How many parts of the work are told of: chunks, and blocks that are computed."""
        chunks = math.prod(self.target.grid.counts)
        return chunks if self.source is not None else chunks + self.values.data.npartitions


class Count:
    """How many parts of the work are done, for who listens."""

    def __init__(self, tell: Callable[[int, int], None], total: int) -> None:
        self._tell, self._total, self._done = tell, total, 0
        self._lock = threading.Lock()

    def add(self, number: int = 1) -> None:
        """Some more are done."""
        with self._lock:
            self._done += number
            self._tell(self._done, self._total)


def carry_out(jobs: Sequence[Job], folder: str, memory: int, count: Count) -> None:
    """Write the arrays of one Main.

    Parameters
    ----------
    jobs : one for each array; those that are computed are computed together
    folder : where values are set aside
    memory : bytes that computing may take, as far as that can be known
    count : is told of each block that is computed, and each chunk that is written

    Raises
    ------
    NoSpaceError : where there is no room to set values aside, or to write them
    """
    computed = [job for job in jobs if job.source is None]
    if computed:
        with contextlib.ExitStack() as stack:
            takers = [stack.enter_context(_taker(job, folder)) for job in computed]
            _compute(computed, takers, memory, count)
            for job, taker in zip(computed, takers, strict=True):
                if isinstance(taker, Spill):
                    _write_bands(job, _from_spill(job, taker), count)
                else:
                    _write(job, taker, count)
    for job in jobs:
        if job.source is not None and job.aside:
            with _taker(job, folder) as spill:
                rows, columns = job.target.grid.shape
                # each thread holds a tile, and parts of it on their way to disk
                tile = max(TILE, min(_ASIDE_TILE, memory // (4 * job.workers)))
                _read(job, spill, ((0, rows), (0, columns)), tile)
                assert isinstance(spill, Spill)
                _write_bands(job, _from_spill(job, spill), count)
        elif job.source is not None:
            _write_bands(job, _from_source(job), count)


def _place(band: Band) -> tuple[Span, Span]:
    return band.rows, band.columns


def _memory_for(job: Job) -> Array:
    """Memory for the largest band, as array of uint8."""
    chunk = job.target.grid.chunk
    return np.empty(job.cut.chunks(chunk) * math.prod(chunk) * job.target.dtype.itemsize, np.uint8)


def _band(job: Job, memory: Array, place: tuple[Span, Span]) -> Band:
    target = job.target
    return Band(memory, *place, target.grid.chunk, target.dtype, target.orders)


@contextlib.contextmanager
def _taker(job: Job, folder: str) -> Iterator[Band | Spill]:
    """What takes all values of an array: one band, or a file."""
    if not job.aside:
        (place,) = job.cut
        yield _band(job, _memory_for(job), place)
        return
    try:
        spill = Spill(folder, job.cut, job.target.dtype, job.nbytes)
    except OSError as error:
        if error.errno not in disk.NO_ROOM:
            raise
        raise NoSpaceError(
            f"there is no room in {folder!r} to set {disk.sized(job.nbytes)} of values aside; make "
            "room, write to another disk, or give as much memory"
        ) from error
    with contextlib.closing(spill):
        yield spill


def _compute(
    jobs: Sequence[Job], takers: Sequence[Band | Spill], memory: int, count: Count
) -> None:
    """Compute every block of some arrays once, and put it where it belongs."""
    import dask

    blocks = [job.values.data for job in jobs]
    largest = sum(math.prod(one.chunksize) * one.dtype.itemsize for one in blocks)
    workers = max(1, min(jobs[0].workers, memory // max(1, _TEMPORARIES * largest)))
    sinks = [
        Sink(job.spec, job.target.dtype, taker) for job, taker in zip(jobs, takers, strict=True)
    ]
    with dask.config.set(num_workers=workers):
        store(blocks, sinks, lambda done, total: count.add(), here=True)


def _from_source(job: Job) -> Callable[[Band], None]:
    return lambda band: _read(job, band, _place(band), TILE)


def _from_spill(job: Job, spill: Spill) -> Callable[[Band], None]:
    def fill(band: Band) -> None:
        each(
            job.workers,
            lambda piece: band.put(piece.row, piece.column, spill.read(piece)),
            spill.pieces(_place(band)),
        )

    return fill


def _read(job: Job, taker: Band | Spill, place: tuple[Span, Span], tile: int) -> None:
    """Read what lies in some rows and columns into a band or a file."""
    source = job.source
    assert source is not None
    sink = Sink(job.spec, job.target.dtype, taker)
    own = threading.local()

    def move(box: tuple[slice, ...]) -> None:
        memory = getattr(own, "memory", None)
        if memory is None:
            memory = own.memory = np.empty(tile, np.uint8)
        sink[box] = source.read(box, memory)

    each(job.workers, move, source.tiles(*place, tile))


def _write_bands(job: Job, fill: Callable[[Band], None], count: Count) -> None:
    memory = _memory_for(job)
    for place in job.cut:
        band = _band(job, memory, place)
        fill(band)
        _write(job, band, count)


def _write(job: Job, band: Band, count: Count) -> None:
    """Write every chunk of a band."""
    height, width = job.target.grid.chunk
    first, second = band.rows[0] // height, band.columns[0] // width

    def write(index: tuple[int, int]) -> None:
        job.target.write((first + index[0], second + index[1]), band.values[index])
        count.add()

    rows, columns = band.values.shape[:2]
    each(job.workers, write, itertools.product(range(rows), range(columns)))
