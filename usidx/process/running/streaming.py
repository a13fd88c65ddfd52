"""Blocks computed piece by piece: a little is read, computed and written, again and again.

A piece is small enough to stay in the processor's cache, and is read into the same memory as the
one before. Fresh memory for whole blocks costs more than reading and writing them.
"""

from __future__ import annotations

import itertools
import logging
import math
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import xarray as xr

from usidx.arrays.lazy import stored_of, to_dask
from usidx.arrays.views import Readable
from usidx.model.pieces import piece_shape
from usidx.process.planning.identity import Labelled
from usidx.process.planning.outputs import drafts_of
from usidx.process.running.helping import Doing
from usidx.process.running.program import Chunks, program_of
from usidx.process.running.routine import Routine
from usidx.process.running.work import Commit, Unit

if TYPE_CHECKING:
    from usidx.process.planning.plan import Plan

_streams: weakref.WeakKeyDictionary[Plan, Stream | None] = weakref.WeakKeyDictionary()

log = logging.getLogger("usidx")


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
        stream = self.stream if shared is None or "stream" not in shared else shared["stream"]
        assert stream is not None
        return Doing(stream, self.commits)()

    def shared(self) -> Doing:
        """The same for threads of this process, which may help each other."""
        assert self.stream is not None
        return Doing(self.stream, self.commits)

    def without_stream(self) -> StreamedWork:
        """The same for a machine that has the stream already."""
        return replace(self, stream=None)


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
