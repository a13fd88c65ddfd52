"""What is in memory besides blocks: what they share, and what their step says that it holds.

Maps that are transformed are each needed by all blocks of spectra: the first of these is there when
the last map is, and no map can go before the last block. A step that makes a model of a sample has
that sample in memory, which its result does not tell.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from usidx.errors import PlanError
from usidx.process.planning.budget import memory_of
from usidx.process.planning.costs import largest_of
from usidx.process.planning.course import course_of
from usidx.process.planning.graphs import Graph, describe
from usidx.process.planning.neighbours import graphs_of
from usidx.process.planning.plan import Output, Plan
from usidx.process.planning.reading import is_read, reads_anything
from usidx.process.planning.sizes import noted_of


def told_by(plan: Plan) -> int:
    """Bytes that the step of a plan says it holds besides its blocks; 0 where it says nothing.

    Raises
    ------
    PlanError : where it says anything but a number of bytes
    """
    if plan.step is None or plan.step.holds is None:
        return 0
    told = plan.step.holds(plan.labelled, **plan.arguments)
    if not isinstance(told, (int, np.integer)) or told < 0:
        raise PlanError(
            f"holds of step {plan.tool!r} gave {told!r}, where it gives the number of bytes that "
            "a run has in memory besides its blocks"
        )
    return int(told)


# Chunks that a block reads of an array, beyond which these are not just those it lies in.
_NEAR = 4


@dataclass(frozen=True)
class Shared:
    """What the first blocks of a plan and the last ones both need, as it goes into the first.

    Parameters
    ----------
    nbytes : of all of it
    piece : bytes of the largest piece that is computed for it
    making : bytes in memory while a piece is made: what it is made of, step by step, and a copy
    reads : whether blocks read the source besides
    """

    nbytes: int
    piece: int
    making: int
    reads: bool


NOTHING = Shared(0, 0, 0, True)


def held_by(plan: Plan, workers: int) -> int:
    """Bytes that blocks share, beyond those that `workers` blocks at once take.

    All of it is in memory while the last blocks are computed, and nearly all of it while its last
    pieces are made, which is before the first block.
    """
    blocks = sum({each.cut: each.count for each in plan.outputs}.values())
    at_once = min(workers, blocks)
    counted = memory_of(plan.cost)
    course = course_of(plan, workers)
    if course is not None:
        last = course.kept + at_once * max(course.each, counted)
        return max(0, max(last, course.before) - at_once * counted)
    shared = shared_by(plan)
    if not shared.nbytes:
        return 0
    largest = largest_of(plan, {})
    cost, positions = largest.cost, largest.positions
    each = counted
    if not shared.reads:
        each = memory_of(positions * cost.written + cost.beside)
    last = shared.nbytes + at_once * each
    made = max(0, shared.nbytes - workers * shared.piece) + workers * shared.making
    return max(0, max(last, made) - at_once * counted)


def shared_by(plan: Plan) -> Shared:
    """What blocks of a plan share; NOTHING where each is computed on its own.

    By the chunks of lazy arrays, as dask notes them; what is delayed has no size that is known.
    """
    from dask._task_spec import Alias, DataNode

    if plan.apart or (plan.step is not None and plan.step.per_position):
        return NOTHING
    found: list[Shared] = []
    scattered = False
    pieces: dict[Any, int] = {}
    for output in plan.outputs:
        if output.count < 2:
            continue
        counts = [-(-n // part) for n, part in zip(output.spec.shape, output.block, strict=True)]
        ends = [(output.prefix, *places) for places in ([0] * len(counts), [n - 1 for n in counts])]
        one, other = graphs_of(plan, [[key] for key in ends])
        layers = describe(plan, ends).merged.layers
        noted = {key: noted_of(key, layers) for key in one}
        sizes = {key: 0 if value is None else value.nbytes for key, value in noted.items()}
        own = {key: node for key, node in one.items() if key not in other}
        used = {
            key
            for node in own.values()
            for key in node.dependencies & other.keys()
            if not isinstance(one[key], (Alias, DataNode))
        }
        pieces |= {key: sizes[key] for key in used}
        scattered = scattered or _is_scattered(output, one, own)
        # what is joined of others is there once, whoever made those
        computed = [key for key in one.keys() & other.keys() if len(one[key].dependencies) == 1]
        within = {each for key in computed if sizes[key] for each in one[key].dependencies}
        piece = max((sizes[key] for key in computed if key not in within), default=0)
        making = max((_made_of(key, one, sizes) for key in computed), default=0)
        found.append(Shared(0, piece, making, any(map(reads_anything, own.values()))))
    return Shared(
        max(sum(pieces.values()), plan.labelled.nbytes if scattered else 0),
        max((each.piece for each in found), default=0),
        max((each.making for each in found), default=0),
        any(each.reads for each in found),
    )


def _is_scattered(output: Output, graph: Graph, own: Graph) -> bool:
    """Whether a block takes its values of chunks all over the source, as one of shuffled rows does.

    All of them are read for the first few blocks, and kept for those that need them, too.
    """
    read = {key for node in own.values() for key in node.dependencies if is_read(graph[key])}
    names = {key[0] if isinstance(key, tuple) else key for key in read}
    chunks = sum(is_read(node) for node in graph.values())
    share = math.prod(output.block[: output.n_position]) / output.spec.position.size
    return len(read) > _NEAR * (len(names) + share * chunks)


def _made_of(key: Any, graph: Graph, sizes: Mapping[Any, int]) -> int:
    """Bytes in memory while a task is done: of the tasks that dask fuses with it, and a copy.

    Chunks that are read are not among them: of these only what is needed is read.
    """
    together = largest = sizes[key]
    while True:
        (key,) = graph[key].dependencies
        if len(graph[key].dependencies) != 1 or is_read(graph[key]):
            break
        together += sizes[key]
        largest = max(largest, sizes[key])
    return max(together + largest, memory_of(largest))
