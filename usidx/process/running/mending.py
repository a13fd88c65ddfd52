"""What becomes of blocks whose step raises: the position is named, or failures are marked."""

from __future__ import annotations

import logging
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from usidx.errors import StepError
from usidx.model.dimension import Array
from usidx.process.planning.plan import Plan
from usidx.process.results.failed import named
from usidx.process.running.failures import Ended, Outcome, Raised, blank, is_failure, reason_of
from usidx.process.running.search import Labelled, Locate, Positions, Search, Tried, write
from usidx.process.running.streaming import StreamedWork, stream_of
from usidx.process.running.work import Graph, Unit, Work
from usidx.stores.base import BlockWriter

if TYPE_CHECKING:
    from usidx.process.running.runner import Executor

log = logging.getLogger("usidx")

# So many blocks of nothing but failures from the first on mean that the step is at fault.
_ALARMING = 3


@dataclass(eq=False)
class Mending:
    """Marks the positions that fail in a run, and computes what can be computed.

    Parameters
    ----------
    plan : of the run
    writers : of its outputs
    done : told of each unit that is marked: the unit, seconds, and how many positions failed
    marks : whether failures are marked; a failure ends the run where they are not
    streamed : whether it is computed piece by piece, so that each position is computed alone
    again : what is to be computed once more, position by position
    """

    plan: Plan
    writers: Mapping[str, BlockWriter]
    done: Callable[[Unit, float, int], None]
    marks: bool = True
    streamed: bool = False
    again: deque[tuple[Unit, Search]] = field(default_factory=deque)
    _marks: dict[str, Array] = field(default_factory=dict)
    _ended: int = 0
    _lost: int = 0
    _reason: str = ""

    def __post_init__(self) -> None:
        self._marks = {name: each.done() for name, each in self.writers.items()}

    def search(self, unit: Unit, raised: Raised | None = None) -> Search | None:
        """What computes single positions of a unit; None where they cannot be told apart."""
        positions = positions_of(self.plan, unit, self.streamed)
        if positions is None:
            return None
        names = [each.name for each in self.plan.outputs]
        places = tuple(names.index(each.name) for each in unit.commits)
        return Search(positions, unit.commits, places, self._pending(unit), raised)

    def mind(self, unit: Unit, work: Work | StreamedWork) -> Work | StreamedWork | Tried | Search:
        """The work that is done for a unit: of positions that are not marked, and no others."""
        search = None if self._pending(unit) is None else self.search(unit)
        if search is not None:
            return search
        return Tried(work) if self.marks else work

    def take(self, unit: Unit, ended: Ended) -> None:
        """Do what is left to be done for a unit whose work has ended."""
        if isinstance(ended, Raised):
            search = self.search(unit, ended)
            if search is not None:
                self.again.append((unit, search))
                return
            ended = self._given_up(unit, ended)
        if not isinstance(ended, Outcome):
            self._count(unit, 0, "")
            self.done(unit, ended, 0)
            return
        if ended.count and not self.marks:
            raise UnitFailedError(unit) from LocatedError(self.plan, unit, ended)
        for commit in unit.commits:
            if ended.count:
                commit.writer.fail(commit.key, ended.failed, ended.reasons)
            commit.mark()
        self._count(unit, ended.count, ended.reasons[0] if ended.reasons else "")
        self.done(unit, ended.seconds, ended.count * len(unit.commits))

    def _given_up(self, unit: Unit, raised: Raised) -> Outcome:
        """The Outcome of a unit all of whose positions are failed together."""
        pending = self._pending(unit)
        for commit in unit.commits:
            shape = tuple(part.stop - part.start for part in commit.key)
            write(commit, blank(shape, np.dtype(commit.writer.dtype)), pending)
        n = unit.commits[0].n_marks
        sizes = tuple(part.stop - part.start for part in unit.commits[0].key[:n])
        failed = np.ones(sizes, np.int32) if pending is None else pending.astype(np.int32)
        return Outcome(raised.seconds, failed, (raised.reason,))

    def _pending(self, unit: Unit) -> Array | None:
        """Array of bool, shape of the unit's positions: those not marked; None where all are."""
        open_ = [~self._marks[each.name][each.key[: each.n_marks]] for each in unit.commits]
        pending: Array = np.logical_or.reduce(open_)
        return None if pending.all() else pending

    def _count(self, unit: Unit, failed: int, reason: str) -> None:
        """Say so when everything fails."""
        self._ended += 1
        self._lost += failed * len(unit.commits) == unit.positions
        self._reason = reason or self._reason
        if self._ended == self._lost == _ALARMING:
            self._warn(
                f"of the first {_ALARMING} blocks", "The run goes on and marks them; stop it, "
            )

    def end(self) -> None:
        """Say, at the end of a run of few blocks, that everything failed."""
        if 0 < self._ended == self._lost < _ALARMING:
            self._warn("", "")

    def _warn(self, where: str, advice: str) -> None:
        advice += "mend the step and compute them again with run(retry_failed=True)"
        warnings.warn(
            f"step {self.plan.tool!r} failed at every position {where}".rstrip()
            + f" ({self._reason}), so it is the step that is at fault, or all of the data. "
            + advice[0].upper()
            + advice[1:],
            stacklevel=2,
        )


def positions_of(plan: Plan, unit: Unit, streamed: bool) -> Positions | None:
    """What computes any of the positions of a unit by themselves.

    None where the step does not promise that each position is computed from that position alone,
    or where the source does not have the positions of the result.
    """
    function, source = _per_position(plan, streamed)
    if function is None:
        return None
    output = next(each for each in plan.outputs if each.name == unit.commits[0].name)
    position = output.spec.position
    if any(source.sizes.get(dim) != size for dim, size in zip(position.dims, position.shape)):
        return None
    if len({each.cut for each in plan.outputs}) != 1:
        return None
    where = dict(zip(position.dims, unit.commits[0].key, strict=False))
    beside = {
        name: _culled(each.isel(where))
        for name, each in plan.arguments.items()
        if isinstance(each, (xr.DataArray, xr.Dataset)) and _has_positions(each, source, where)
    }
    others = {name: each for name, each in plan.arguments.items() if name not in beside}
    part = _culled(source.isel(where))
    found = Positions(function, part, position.dims, plan.tool, others, beside)
    return found if _makes(found, plan) else None


def _has_positions(value: Labelled, source: Labelled, where: Mapping[str, slice]) -> bool:
    """Whether an argument of a step has the positions of its source, and goes with them."""
    return all(value.sizes.get(dim) == source.sizes[dim] for dim in where)


def _makes(positions: Positions, plan: Plan) -> bool:
    """Whether what is computed of a part is the same part of what the plan makes."""
    try:
        drafts = positions.drafts()
    except Exception:
        log.debug("%s does not work on parts of its source", plan.tool, exc_info=True)
        return False
    return len(drafts) == len(plan.outputs) and all(
        draft.spec.position.dims == positions.dims
        and draft.spec.position.shape == positions.shape
        and draft.spec.spectroscopic.shape == output.spec.spectroscopic.shape
        for draft, output in zip(drafts, plan.outputs, strict=True)
    )


def _per_position(plan: Plan, streamed: bool) -> tuple[Callable[..., Any] | None, Labelled]:
    """(what makes the result of a part of an array, that array)."""
    if plan.step is not None and (plan.step.per_position or streamed):
        # not the Step: one of a script or notebook goes by its name, which workers do not know
        return plan.step.function, plan.labelled
    if plan.step is None and plan.mapped is not None:
        return plan.mapped.function, plan.mapped.source
    return None, plan.labelled


def _culled(part: Labelled) -> Labelled:
    """The same without tasks of other parts, so that it is small on its way to a worker."""
    from dask.base import is_dask_collection, optimize

    if not is_dask_collection(part):
        return part
    (optimized,) = optimize(part)
    found: Labelled = optimized
    return found


@dataclass(frozen=True, eq=False)
class Guarded:
    """A task's function that hands on what failed before it, and gives back what it raises."""

    function: Callable[..., Any]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the function returns, or the first Raised among its arguments."""
        found = next(_raised_in((args, kwargs)), None)
        if found is not None:
            return found
        try:
            return self.function(*args, **kwargs)
        except Exception as error:
            if not is_failure(error):
                raise
            return Raised(reason_of(error), type(error).__name__)


def _raised_in(value: Any) -> Iterator[Raised]:
    if isinstance(value, Raised):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _raised_in(each)
    elif type(value) in (list, tuple):
        for each in value:
            yield from _raised_in(each)


def guarded(graph: Graph) -> Graph:
    """The graph with tasks that give back what they raise: only what needs them fails with them."""
    from dask._task_spec import NestedContainer, Task

    return {
        key: Task(key, Guarded(node.func), *node.args, **node.kwargs)
        if isinstance(node, Task) and not isinstance(node, NestedContainer)
        else node
        for key, node in graph.items()
    }


class UnitFailedError(Exception):
    """What a block raised is the cause; `unit` is None where several blocks needed the task."""

    def __init__(self, unit: Unit | None) -> None:
        super().__init__(unit)
        self.unit = unit


class LocatedError(StepError):
    """What a step raised at a position that is known.

    Parameters
    ----------
    outcome : of the block, with the position where it failed, or few of them
    """

    def __init__(self, plan: Plan, unit: Unit, outcome: Outcome) -> None:
        super().__init__(outcome.reasons[0])
        self.where = place_of_failure(plan, unit, outcome)


def place_of_failure(plan: Plan, unit: Unit, outcome: Outcome) -> str:
    """Where in the result the first failure of a block is, for people."""
    commit = unit.commits[0]
    position = next(each for each in plan.outputs if each.name == commit.name).spec.position
    first = [part.start for part in commit.key[: commit.n_marks]]
    place = np.argwhere(outcome.failed)[0] + np.array(first)
    return named(position, tuple(place.tolist()))


def located_error(
    plan: Plan, unit: Unit | None, error: BaseException, executor: Executor
) -> BaseException:
    """The error that says at which position a unit raised `error`; `error` where nobody can tell.

    The unit is computed once more in parts, where it was computed before.
    """
    if unit is None or not is_failure(error):
        return error
    found: list[Ended] = []
    try:
        positions = positions_of(plan, unit, stream_of(plan) is not None)
        if positions is None:
            return error
        executor.run(iter([(unit, Locate(positions))]), lambda _, ended: found.append(ended))
    except Exception:
        # The error that is known already tells more than one of the search.
        log.debug("the position at which %s failed was not found", plan.tool, exc_info=True)
    outcome = found[0] if found else None
    if not isinstance(outcome, Outcome) or outcome.count != 1:
        return error
    return LocatedError(plan, unit, outcome)
