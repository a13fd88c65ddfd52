"""One block of work: compute the values of a run of positions, write them, mark them."""

from __future__ import annotations

import itertools
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from usidx.errors import StepError
from usidx.model.blocks import Block
from usidx.model.dimension import Array
from usidx.process.planning.graphs import Graph as Graph
from usidx.process.planning.graphs import graph_apart
from usidx.process.planning.graphs import graph_of as graph_of
from usidx.process.planning.neighbours import own_graphs
from usidx.process.planning.plan import Output, Plan
from usidx.process.planning.trees import values_of
from usidx.stores.base import BlockWriter

# How many blocks have their graphs at hand at once: what a graph costs is paid for these only.
BATCH = 256
# Tasks of one block from which on several threads do them, where there are fewer blocks than those.
MANY_TASKS = 16


@dataclass(frozen=True)
class Commit:
    """Writes the values of one block of one Main and marks them.

    Parameters
    ----------
    name : of the Main
    writer : of its values
    key : the block's slices along all N-D axes
    n_marks : how many of the axes have marks: those of positions
    """

    name: str
    writer: BlockWriter
    key: tuple[slice, ...]
    n_marks: int

    @property
    def positions(self) -> int:
        """How many are marked."""
        sizes = [each.stop - each.start for each in self.key[: self.n_marks]]
        return int(np.prod(sizes, dtype=int))

    def __call__(self, values: Array) -> None:
        """Write, then mark.

        Raises
        ------
        StepError : where the values are not what the step said they would be
        """
        self.writer.write(self.key, self.checked(values, Block(self.key).shape))
        self.mark()

    def mark(self) -> None:
        """Mark the block, all of which is written."""
        self.writer.mark(self.key)

    def checked(self, values: Array, expected: tuple[int, ...]) -> Array:
        """Values of the block or of a part of it, in the type of the writer.

        Raises
        ------
        StepError : where they are not what the step said they would be
        """
        values = np.asarray(values)
        if values.shape != expected:
            raise StepError(
                f"it gave {self.name!r} values of shape {values.shape} where its lazy result "
                f"has {expected}"
            )
        if values.dtype != self.writer.dtype:
            values = self._cast(values)
        return values

    def _cast(self, values: Array) -> Array:
        if not np.can_cast(values.dtype, self.writer.dtype, casting="same_kind"):
            raise StepError(
                f"it gave {self.name!r} values of dtype {values.dtype} where its lazy result has "
                f"{self.writer.dtype}"
            )
        return values.astype(self.writer.dtype)


@dataclass(frozen=True)
class Unit:
    """The blocks of all Mains that have the same run of positions: what one task does.

    Parameters
    ----------
    number : counted over all units of the plan
    where : slices by the names of the position dimensions
    commits : one for each Main that still lacks the block
    keys : of the values for each commit, as outputs give them to blocks
    missing : how many positions of them were not marked, summed over the Mains
    """

    number: int
    where: dict[str, slice]
    commits: tuple[Commit, ...]
    keys: tuple[Any, ...]
    missing: int = 0

    @property
    def positions(self) -> int:
        """How many positions will be marked, summed over the Mains."""
        return sum(each.positions for each in self.commits)

    def __str__(self) -> str:
        return ", ".join(f"{name}[{part.start}:{part.stop}]" for name, part in self.where.items())


@dataclass(frozen=True)
class Work:
    """A Unit with the graph that computes it; calling it does everything, on any machine.

    Parameters
    ----------
    graph : the tasks it needs, and no others
    keys : of the values
    commits : what becomes of them
    """

    graph: Graph
    keys: tuple[Any, ...]
    commits: tuple[Commit, ...]

    def __call__(self, shared: Mapping[Any, Any] | None = None) -> float:
        """Seconds that it took.

        Parameters
        ----------
        shared : nodes of the graph that were sent apart, since many units need them
        """
        started = time.perf_counter()
        graph = {**self.graph, **shared} if shared else self.graph
        values = values_of(graph, self.keys)
        for commit, each in zip(self.commits, values, strict=True):
            commit(each)
        return time.perf_counter() - started


@dataclass(frozen=True)
class CommitAll:
    """Commits the values that a scheduler hands it, as the last task of a larger graph."""

    commits: tuple[Commit, ...]

    def __call__(self, *values: Array) -> None:
        for commit, each in zip(self.commits, values, strict=True):
            commit(each)


def units_of(plan: Plan, writers: Mapping[str, BlockWriter]) -> Iterator[Unit]:
    """The units still to be done: those with a position that is not marked in a Main of theirs."""
    groups: dict[Any, list[Output]] = {}
    for output in plan.outputs:
        groups.setdefault(output.cut, []).append(output)
    number = 0
    for alike in groups.values():
        done = {each.name: writers[each.name].done() for each in alike}
        for blocks in zip(*(each.blocks() for each in alike), strict=True):
            unit = _unit(number, alike, blocks, writers, done)
            number += 1
            if unit.commits:
                yield unit


def count_pending(plan: Plan, writers: Mapping[str, BlockWriter]) -> int:
    """How many units `units_of` gives, without making them."""
    pending: dict[Any, Array] = {}
    for output in plan.outputs:
        missing = ~writers[output.name].done()
        for axis, step in enumerate(output.block[: output.n_position]):
            edges = np.arange(0, missing.shape[axis], step)
            missing = np.logical_or.reduceat(missing, edges, axis=axis)
        pending[output.cut] = missing | pending.get(output.cut, np.False_)
    return sum(int(each.sum()) for each in pending.values())


def count_units(plan: Plan) -> int:
    """How many units the whole plan has."""
    return sum({output.cut: output.count for output in plan.outputs}.values())


def _unit(
    number: int,
    outputs: Sequence[Output],
    blocks: Sequence[Block],
    writers: Mapping[str, BlockWriter],
    done: Mapping[str, Array],
) -> Unit:
    commits, keys, missing = [], [], 0
    for output, block in zip(outputs, blocks, strict=True):
        marks = done[output.name][block.key[: output.n_position]]
        if marks.all():
            continue
        missing += marks.size - int(np.count_nonzero(marks))
        commits.append(Commit(output.name, writers[output.name], block.key, output.n_position))
        keys.append(output.key(block))
    first = outputs[0]
    where = dict(zip(first.spec.position.dims, blocks[0].key[: first.n_position], strict=True))
    return Unit(number, where, tuple(commits), tuple(keys), missing)


def batches(units: Iterable[Unit], size: int = BATCH) -> Iterator[tuple[Unit, ...]]:
    """The units in handfuls whose graphs are made together."""
    source = iter(units)
    while batch := tuple(itertools.islice(source, size)):
        yield batch


def works_in(plan: Plan, units: Sequence[Unit]) -> tuple[Work, ...] | None:
    """One Work for each unit of a plan, None where they are to be computed together."""
    if not plan.apart:
        graph = graph_apart(plan, units)
        return None if graph is None else works_of(graph, units)
    graphs = own_graphs(plan, [unit.keys for unit in units])
    return tuple(
        Work(graph, unit.keys, unit.commits) for graph, unit in zip(graphs, units, strict=True)
    )


def works_of(graph: Graph, units: Sequence[Unit]) -> tuple[Work, ...] | None:
    """One Work for each unit, None where units have tasks in common.

    Data and names may be in common; a task may not, since each unit would compute it again.
    """
    from dask.optimization import cull

    users: Counter[Any] = Counter()
    works = []
    for unit in units:
        keys = tuple(graph[key].target for key in unit.keys)
        own, _ = cull(graph, list(keys))
        tasks = [key for key, node in own.items() if not is_data(node)]
        users.update(tasks)
        if any(users[key] > 1 for key in tasks):
            return None
        works.append(Work(dict(own), keys, unit.commits))
    return tuple(works)


def is_data(node: Any) -> bool:
    """Whether a node of a graph is data or another name of a node, and so costs nothing."""
    from dask._task_spec import Alias, DataNode

    return isinstance(node, (Alias, DataNode))


def joined(graph: Graph, units: Sequence[Unit]) -> tuple[Graph, dict[Any, Unit]]:
    """(graph, units by key): the graph with one more task for each unit, which commits it."""
    from dask._task_spec import Task, TaskRef

    run = uuid.uuid4().hex
    known = {key: graph[key].target for unit in units for key in unit.keys}
    # the keys of blocks are those of every plan that makes the same Mains
    whole = {key: node for key, node in graph.items() if key not in known}
    last: dict[Any, Unit] = {}
    for unit in units:
        key = f"usidx-commit-{run}-{unit.number}"
        whole[key] = Task(
            key, CommitAll(unit.commits), *(TaskRef(known[each]) for each in unit.keys)
        )
        last[key] = unit
    return whole, last
