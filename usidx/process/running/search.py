"""Which positions of a block a step raises at, found by computing ever smaller parts of it."""

from __future__ import annotations

import itertools
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from usidx.model.dimension import Array
from usidx.process.planning.outputs import Draft, drafts_of
from usidx.process.running.failures import Outcome, Raised, blank, is_failure, reason_of
from usidx.process.running.helping import Doing
from usidx.process.running.program import Chunks, program_of
from usidx.process.running.routine import Routine
from usidx.process.running.streaming import StreamedWork
from usidx.process.running.work import Commit, Graph, Work

Labelled = xr.DataArray | xr.Dataset
Box = tuple[slice, ...]
"""A slice with both ends for each axis of the positions of a block, counted from its first."""

# Seconds in which a single position is looked for before the block has to do.
_PATIENCE = 60.0

# So many parts of one shape are planned one by one before a routine is made for them.
_WORTH = 4

log = logging.getLogger("usidx")


class NotInPartsError(Exception):
    """A step that takes a whole block does not take a part of it, whatever the values are."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


@dataclass(eq=False)
class Positions:
    """Computes what a step makes of any box of the positions of a block.

    Parameters
    ----------
    function : the step: source, arguments by their names -> result
    source : the part of the source that has the positions of the block, lazily
    dims : names of the position dimensions
    tool : name of the step
    arguments : of the step, but for those in `beside`
    beside : arguments that have the positions of the block, too
    """

    function: Callable[..., Any]
    source: Labelled
    dims: tuple[str, ...]
    tool: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    beside: Mapping[str, Labelled] = field(default_factory=dict)
    _routines: dict[tuple[int, ...], Routine | None] = field(default_factory=dict, repr=False)
    _uses: Counter[tuple[int, ...]] = field(default_factory=Counter, repr=False)
    _values: Array | None = field(default=None, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_routines": {}, "_values": None}

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the block along the dimensions of positions."""
        return tuple(self.source.sizes[dim] for dim in self.dims)

    def load(self) -> None:
        """Take the source into memory, so that its parts need not be read again and again."""
        self.source = self.source.load(scheduler="synchronous")
        self.beside = {
            name: each.load(scheduler="synchronous") for name, each in self.beside.items()
        }
        if isinstance(self.source, xr.DataArray):
            self._values = self.source.values

    def __call__(self, box: Box) -> list[Array]:
        """The values of each output at the positions of `box`."""
        shape = tuple(part.stop - part.start for part in box)
        self._uses[shape] += 1
        if self._uses[shape] > _WORTH and shape not in self._routines:
            self._routines[shape] = self._routine(shape)
        routine = self._routines.get(shape)
        if routine is not None and self._values is not None:
            # a copy: who raises half way may have changed what it was given
            return routine(self._values[box].copy())
        return self._computed(box)

    def drafts(self, box: Box | None = None) -> tuple[Draft, ...]:
        """The Mains that come out of the positions of `box`, lazily; of all when None."""
        box = tuple(slice(0, size) for size in self.shape) if box is None else box
        where = dict(zip(self.dims, box, strict=True))
        # a copy: who raises half way may have changed what it was given
        part, *others = (
            each.isel(where).copy(deep=True).chunk()
            for each in (self.source, *self.beside.values())
        )
        beside = dict(zip(self.beside, others, strict=True))
        return drafts_of(self.function(part, **self.arguments, **beside), self.tool)

    def _computed(self, box: Box) -> list[Array]:
        from dask.base import compute

        try:
            drafts = self.drafts(box)
            lazy = [each.values(tuple((size,) for size in each.spec.shape)) for each in drafts]
        except Exception as error:
            # The step was fine with the whole, before it saw any value.
            raise NotInPartsError(error) from error
        found = compute(*lazy, scheduler="synchronous")
        return [np.asarray(each) for each in found]

    def _routine(self, shape: tuple[int, ...]) -> Routine | None:
        """What is done to parts of a shape wherever they are; None where that depends on it."""
        source = self.source
        if self._values is None or not isinstance(source, xr.DataArray) or self.beside:
            return None
        if source.dims[: len(shape)] != self.dims:
            return None
        if any(part < size < 2 * part for part, size in zip(shape, self.shape, strict=True)):
            return None  # there are no two of them apart from each other
        pairs = zip(shape, self.shape, strict=True)
        cut = tuple(tuple(filter(None, _cut(part, size))) for part, size in pairs)
        try:
            lazy = source.chunk(dict(zip(self.dims, cut, strict=True)))
            drafts = drafts_of(self.function(lazy, **self.arguments), self.tool)
            results = tuple(
                each.values(cut + tuple((size,) for size in each.spec.shape[len(cut) :]))
                for each in drafts
            )
            first, last = tuple(0 for _ in cut), tuple(len(each) - 1 for each in cut)
            return program_of(Chunks(first, last, lazy.data, results))
        except Exception:
            # Whatever is wrong with it, each part can be computed by itself, or will say it better.
            log.debug("parts of %s are computed one by one", self.tool, exc_info=True)
            return None


def _cut(part: int, size: int) -> tuple[int, ...]:
    return (size,) if part == size else (part, size - 2 * part, part)


@dataclass(frozen=True, eq=False)
class Search:
    """Computes what can be computed of a block, writes it, and says which positions failed.

    Calling it does everything but marking, on any machine: what failed has to be recorded first.

    Parameters
    ----------
    positions : of the block
    commits : what becomes of the values; all have the same positions
    places : which of the outputs of the step each of them writes
    pending : array of bool, shape of the block's positions: those to be computed; all when None
    raised : what the block raised as a whole; None where it was not tried
    """

    positions: Positions
    commits: tuple[Commit, ...]
    places: tuple[int, ...]
    pending: Array | None = None
    raised: Raised | None = None

    @property
    def graph(self) -> Graph:
        """No tasks that others would need to know."""
        return {}

    def __call__(self, shared: Any = None) -> Outcome:
        """The Outcome of the block.

        Raises
        ------
        Exception : anything but failures of the step, which are in the outcome
        """
        started = time.perf_counter()
        shape = self.positions.shape
        pending = np.ones(shape, bool) if self.pending is None else self.pending
        blocks = [_block_of(each) for each in self.commits]
        failed, reasons = np.zeros(shape, np.int32), dict[str, int]()
        for box, values in self._computed(pending):
            if isinstance(values, str):
                failed[box] = reasons.setdefault(values, len(reasons) + 1)
                continue
            for commit, block, place in zip(self.commits, blocks, self.places, strict=True):
                block[box] = commit.checked(values[place], block[box].shape)
        failed[~pending] = 0
        for commit, block in zip(self.commits, blocks, strict=True):
            write(commit, block, self.pending)
        return Outcome(time.perf_counter() - started, failed, tuple(reasons))

    def _computed(self, pending: Array) -> Iterator[tuple[Box, list[Array] | str]]:
        """(box, values or the reason why there are none), together all that is pending."""
        whole = tuple(slice(0, size) for size in pending.shape)
        try:
            self.positions.load()
        except Exception as error:
            if not is_failure(error):
                raise
            yield whole, reason_of(error)  # of what the source itself is made of
            return
        waiting = list(reversed(list(boxes_of(pending))))
        while waiting:
            box = waiting.pop()
            try:
                values = self.positions(box)
            except NotInPartsError as error:
                reason = reason_of(error.error) if self.raised is None else self.raised.reason
                yield from ((each, reason) for each in (box, *waiting))
                return
            except Exception as error:
                if not is_failure(error):
                    raise
                parts = halves(box)
                if parts:
                    waiting += reversed(parts)
                else:
                    yield box, reason_of(error)
            else:
                yield box, values


@dataclass(frozen=True, eq=False)
class Tried:
    """A work that gives back what the step raised, so that others go on; all else is raised.

    Parameters
    ----------
    work : of a block
    """

    work: Work | StreamedWork | Doing

    @property
    def commits(self) -> tuple[Commit, ...]:
        """Of the work."""
        return self.work.commits

    @property
    def graph(self) -> Graph:
        """Of the work, where it has one."""
        return self.work.graph if isinstance(self.work, Work) else {}

    def __call__(self, shared: Any = None) -> float | Raised:
        """Seconds that it took, or what was raised."""
        started = time.perf_counter()
        try:
            return self.work(shared)
        except Exception as error:
            if not is_failure(error):
                raise
            seconds = time.perf_counter() - started
            return Raised(reason_of(error), type(error).__name__, seconds)


@dataclass(frozen=True, eq=False)
class Locate:
    """Finds one position at which a block raises; it writes nothing.

    Parameters
    ----------
    positions : of the block
    commits : none, as nothing is written
    """

    positions: Positions
    commits: tuple[Commit, ...] = ()
    patience: float = _PATIENCE

    @property
    def graph(self) -> Graph:
        """No tasks that others would need to know."""
        return {}

    def __call__(self, shared: Any = None) -> Outcome:
        """An Outcome with that position, or with none.

        None where parts of the block do not raise, or where the search took too long.
        """
        started = time.perf_counter()
        failed = np.zeros(self.positions.shape, np.int32)
        box = tuple(slice(0, size) for size in failed.shape)
        told = ""
        self.positions.load()
        while (parts := halves(box)) and time.perf_counter() - started < self.patience:
            error = self._error_at(parts[0])
            box = parts[0] if error is not None else parts[1]
            told = reason_of(error) if error is not None else ""
        if halves(box):
            told = ""
        elif not told:  # nobody saw it raise, it was what was left
            error = self._error_at(box)
            told = "" if error is None else reason_of(error)
        if told:
            failed[box] = 1
        return Outcome(time.perf_counter() - started, failed, (told,) if told else ())

    def _error_at(self, box: Box) -> Exception | None:
        try:
            self.positions(box)
        except Exception as error:
            if not is_failure(error) or isinstance(error, NotInPartsError):
                raise
            return error
        return None


def write(commit: Commit, block: Array, only: Array | None) -> None:
    """Write the values of a block; with `only`, bool, those of some positions of it."""
    if only is None:
        commit.writer.write(commit.key, block)
    else:
        commit.writer.write(commit.key, block, only)


def _block_of(commit: Commit) -> Array:
    """Values of the whole block that stand for failed positions."""
    shape = tuple(part.stop - part.start for part in commit.key)
    return blank(shape, np.dtype(commit.writer.dtype))


def halves(box: Box) -> list[Box]:
    """The two halves of a box along its first axis that can be parted; none of a single position.

    Examples
    --------
    >>> halves((slice(2, 3), slice(0, 5)))
    [(slice(2, 3, None), slice(0, 2, None)), (slice(2, 3, None), slice(2, 5, None))]
    """
    for axis, part in enumerate(box):
        if part.stop - part.start > 1:
            middle = (part.start + part.stop) // 2
            ends = slice(part.start, middle), slice(middle, part.stop)
            return [(*box[:axis], each, *box[axis + 1 :]) for each in ends]
    return []


def boxes_of(pending: Array) -> Iterator[Box]:
    """Boxes that hold the places where `pending`, bool, is true, and no others.

    Examples
    --------
    >>> list(boxes_of(np.array([[True, True], [False, True]])))[1]
    (slice(1, 2, None), slice(1, 2, None))
    """
    if pending.all():
        yield tuple(slice(0, size) for size in pending.shape)
        return
    for place in itertools.product(*map(range, pending.shape[:-1])):
        edges = np.flatnonzero(np.diff(pending[place].astype(np.int8), prepend=0, append=0))
        for start, stop in edges.reshape(-1, 2).tolist():
            yield (*(slice(each, each + 1) for each in place), slice(start, stop))
