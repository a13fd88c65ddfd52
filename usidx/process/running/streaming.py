"""Blocks computed piece by piece: a little is read, computed and written, again and again.

A piece is small enough to stay in the processor's cache, and is read into the same memory as the
one before. Fresh memory for whole blocks costs more than reading and writing them.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from usidx.arrays.lazy import stored_of, to_dask
from usidx.arrays.views import Readable
from usidx.model.blocks import Block
from usidx.model.dimension import Array
from usidx.model.pieces import cut_in, piece_shape, within
from usidx.process.planning.identity import Labelled
from usidx.process.planning.outputs import drafts_of
from usidx.process.running.program import Chunks, program_of
from usidx.process.running.routine import Routine
from usidx.process.running.work import Commit, Unit

if TYPE_CHECKING:
    from usidx.process.planning.plan import Plan

# Results of a block that are no larger are written at once.
GATHERED = 2**20
_memory = threading.local()
_streams: weakref.WeakKeyDictionary[Plan, Stream | None] = weakref.WeakKeyDictionary()

log = logging.getLogger("usidx")

Put = Callable[[tuple[slice, ...], tuple[int, ...], Array], None]
Read = Callable[[tuple[slice, ...], Array], Array]


@dataclass(frozen=True)
class Stream:
    """How the blocks of a plan are computed piece by piece.

    Parameters
    ----------
    array : the values of the source, positions first
    programs : one for each shape that a piece of positions has
    piece : shape of the pieces of positions
    names : of the Mains that come out of a program, in that order
    read_whole : whether a block is read at once, as storage chunks are larger than pieces
    """

    array: Readable
    programs: Mapping[tuple[int, ...], Routine]
    piece: tuple[int, ...]
    names: tuple[str, ...]
    read_whole: bool

    def work(self, unit: Unit) -> StreamedWork:
        """What computes, writes and marks one unit."""
        return StreamedWork(self, unit.commits)


@dataclass(frozen=True)
class StreamedWork:
    """A Unit that is computed piece by piece; calling it does everything, on any machine.

    Parameters
    ----------
    stream : how; None where it was sent apart, since all units need it
    commits : what becomes of the values
    """

    stream: Stream | None
    commits: tuple[Commit, ...]

    def __call__(self, shared: Mapping[Any, Any] | None = None) -> float:
        """Seconds that it took."""
        started = time.perf_counter()
        stream = self.stream if shared is None or "stream" not in shared else shared["stream"]
        assert stream is not None
        reading = getattr(stream.array, "reading", lambda: None)()
        if reading is None or not self._done_by(stream, reading):
            self._compute(stream, None)
        for commit in self.commits:
            commit.mark()
        return time.perf_counter() - started

    def _done_by(self, stream: Stream, reading: Any) -> bool:
        """Whether all was computed from values that were still in their place afterwards."""
        with reading:
            try:
                self._compute(stream, reading.read)
            except Exception:
                if reading.holds():
                    raise
                return False
            return bool(reading.holds())

    def _compute(self, stream: Stream, read: Read | None) -> None:
        """Compute and write all pieces of the block."""
        where = self.commits[0].key[: len(stream.piece)]
        with contextlib.ExitStack() as stack:
            puts = {each.name: stack.enter_context(pieces_of(each)) for each in self.commits}
            for key, shape, values in _pieces(stream, where, read):
                results = stream.programs[shape](values)
                for name, result in zip(stream.names, results, strict=True):
                    if name in puts:
                        puts[name](key, shape, result)

    def without_stream(self) -> StreamedWork:
        """The same for a machine that has the stream already."""
        return replace(self, stream=None)


def _pieces(
    stream: Stream, where: tuple[slice, ...], read: Read | None
) -> Iterator[tuple[tuple[slice, ...], tuple[int, ...], Array]]:
    """(slices of the positions, their shape, their values) of each piece; valid until the next."""
    rest = stream.array.shape[len(where) :]
    everything = tuple(slice(0, size) for size in rest)
    whole = stream.array[where + everything] if stream.read_whole else None
    read = read or getattr(stream.array, "read", None)
    rooms: dict[tuple[int, ...], Array] = {}
    for key in cut_in(where, stream.piece):
        shape = tuple([part.stop - part.start for part in key])
        if whole is not None:
            yield key, shape, whole[within(key, where)]
        elif read is None:
            yield key, shape, np.asarray(stream.array[key + everything])
        else:
            if shape not in rooms:
                rooms[shape] = _room(shape + rest, stream.array.dtype)
            yield key, shape, read(key + everything, rooms[shape])


def _room(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Memory that this thread reads into each time; what was in it is lost."""
    nbytes = math.prod(shape) * dtype.itemsize
    memory: Array | None = getattr(_memory, "piece", None)
    if memory is None or memory.nbytes < nbytes:
        memory = _memory.piece = np.empty(nbytes, np.uint8)
    room: Array = memory[:nbytes].view(dtype).reshape(shape)
    return room


@contextlib.contextmanager
def pieces_of(commit: Commit) -> Iterator[Put]:
    """A function that takes the pieces of a block, and has them written when the context ends."""
    rest = commit.key[commit.n_marks :]
    expected = Block(rest).shape
    pieces = getattr(commit.writer, "pieces", None)
    nbytes = math.prod(Block(commit.key).shape) * np.dtype(commit.writer.dtype).itemsize
    if pieces is not None and nbytes > GATHERED:
        with pieces() as write:

            def put(key: tuple[slice, ...], shape: tuple[int, ...], values: Array) -> None:
                write(key + rest, commit.checked(values, shape + expected))

            yield put
        return
    # A store that takes whole blocks only, or a block that is no more than a piece.
    block = np.empty(Block(commit.key).shape, commit.writer.dtype)

    def gather(key: tuple[slice, ...], shape: tuple[int, ...], values: Array) -> None:
        block[within(key, commit.key)] = commit.checked(values, shape + expected)

    yield gather
    commit.writer.write(commit.key, block)


def stream_of(plan: Plan) -> Stream | None:
    """The Stream of a plan that computes each position from itself alone, as its step promises.

    None where the promise is missing, where the source is not a whole stored Main, or where what
    dask would compute depends on more than the values of a piece. Found once for each plan.
    """
    if plan not in _streams:
        _streams[plan] = _found(plan)
    return _streams[plan]


def _found(plan: Plan) -> Stream | None:
    cuts = {each.cut for each in plan.outputs}
    origin, source = plan.source.origin, plan.labelled
    if not _promises(plan) or len(cuts) != 1:
        return None
    if plan.inputs:  # which would be read again for every piece
        return None
    if not plan.source.is_whole or origin is None or not isinstance(source, xr.DataArray):
        return None
    output = plan.outputs[0]
    n = output.n_position
    if source.dims[:n] != output.spec.position.dims or source.shape[:n] != output.spec.shape[:n]:
        return None
    each = source.nbytes // math.prod(source.shape[:n])
    piece = piece_shape(output.block[:n], each)
    cut = tuple(map(_cut, source.shape[:n], output.block[:n], piece))
    try:
        return _stream(plan, source, piece, cut)
    except Exception:
        # Whatever is wrong with small pieces, whole blocks may work, or will say it better.
        log.debug("%s is not computed piece by piece", plan.tool, exc_info=True)
        return None


def _promises(plan: Plan) -> bool:
    step = plan.step
    if step is None:
        return plan.again is not None
    # Those of usidx mix values in ways that show in dask's tasks: a mean over positions does.
    return step.per_position or step.place.startswith("usidx.steps.")


def _made(plan: Plan, lazy: xr.DataArray) -> Labelled:
    """What the plan makes of its source, cut into pieces."""
    if plan.step is None:
        assert plan.again is not None
        return plan.again(lazy)
    made: Labelled = plan.step(lazy, **plan.arguments)
    return made


def _stream(
    plan: Plan, source: xr.DataArray, piece: tuple[int, ...], cut: tuple[tuple[int, ...], ...]
) -> Stream | None:
    array = stored_of(source.data)
    if array is None or array.shape != source.shape:
        return None
    whole = tuple((size,) for size in source.shape[len(piece) :])
    lazy = source.copy(data=to_dask(array, cut + whole, name=str(source.name)))
    drafts = drafts_of(_made(plan, lazy), plan.tool)
    if any(draft.spec != output.spec for draft, output in zip(drafts, plan.outputs, strict=True)):
        return None
    results = tuple(
        draft.values(cut + tuple((size,) for size in draft.spec.shape[len(cut) :]))
        for draft in drafts
    )
    programs: dict[tuple[int, ...], Routine] = {}
    for shape, first, last in _shapes(cut):
        program = program_of(Chunks(first, last, lazy.data, results))
        if program is None:
            return None
        programs[shape] = program
    return Stream(
        array, programs, piece, tuple(each.name for each in plan.outputs), _in_chunks(array)
    )


def _in_chunks(array: Readable) -> bool:
    return not getattr(array, "reads_anywhere", False)


def _cut(size: int, block: int, piece: int) -> tuple[int, ...]:
    """An axis cut such that each size of a piece is there twice, as far apart as can be.

    What lies between is left whole: dask's description of millions of chunks takes its time, and
    only those that are looked at need to be there.

    Examples
    --------
    >>> _cut(1000, 100, 30)
    (10, 30, 920, 30, 10)
    """
    sizes = set()
    for length in {min(block, size), size % block} - {0}:
        sizes |= {min(piece, length), length % piece} - {0}
    ends = sorted(sizes)
    between = size - 2 * sum(ends)
    if between > 0:
        return (*ends, between, *reversed(ends))
    found: list[int] = []
    for start in range(0, size, block):
        stop = min(start + block, size)
        found += [min(piece, stop - each) for each in range(start, stop, piece)]
    return tuple(found)


def _shapes(
    cut: tuple[tuple[int, ...], ...],
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]:
    """(shape, numbers of the first piece that has it, numbers of the last), for each shape."""
    ends = []
    for sizes in cut:
        along: dict[int, tuple[int, int]] = {}
        for number, size in enumerate(sizes):
            first, _ = along.get(size, (number, number))
            along[size] = (first, number)
        ends.append(list(along.items()))
    for each in itertools.product(*ends):
        yield (
            tuple(size for size, _ in each),
            tuple(first for _, (first, _) in each),
            tuple(last for _, (_, last) in each),
        )
