"""How far blocks reach into those around them, where there are too many to describe them all.

Of a source that is cut at some blocks and around them, dask describes the tasks of these in the
same way as if it were cut everywhere. Whether the surroundings are all that blocks need shows in
what their tasks read.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from usidx.process.planning.costs import MOST_AGAIN, side_of
from usidx.process.planning.cutting import Remaking
from usidx.process.planning.graphs import check_joined, nearby
from usidx.process.planning.plan import Output, Plan
from usidx.process.planning.reading import needed, read_by, share_work


@dataclass(frozen=True)
class Surroundings:
    """What blocks need of those around them.

    Parameters
    ----------
    around : positions along any axis, to each side
    reach : positions of the source besides its own that a block needs at most
    side : that the blocks lie along
    """

    around: int
    reach: int
    side: tuple[Any, ...]


def surroundings_of(plan: Plan) -> Surroundings | None:
    """The Surroundings of the blocks of a plan; None where they need none, or more than that.

    Looked at are the blocks at the ends of each axis, some in the middle, and those beside these.

    Raises
    ------
    PlanError : where they need more, and are too many to be described all at once
    """
    remaking = plan.remaking
    if remaking is None or not plan.is_large:
        return None
    looked_at = [_looked_at(output) for output in plan.outputs]
    if all(nearby(plan, [key]) is not None for key in _alone(looked_at)):
        return None
    own = max(math.prod(each.block[: each.n_position]) for each in plan.outputs)
    for around in _widths(own):
        tried = replace(remaking, around=around, most=(1 + MOST_AGAIN) * own)
        reach = _reach(replace(plan, remaking=tried), looked_at, own)
        if reach is not None:
            return Surroundings(around, reach, side_of(remaking.position))
    check_joined(plan)
    return None


def surrounded(plan: Plan, found: Surroundings) -> Plan:
    """The plan with its source cut around blocks as well."""
    assert plan.remaking is not None
    own = max(math.prod(each.block[: each.n_position]) for each in plan.outputs)
    # where axes end, and where there are others at hand, a block may read somewhat more
    remaking: Remaking = replace(plan.remaking, around=found.around, most=2 * (own + found.reach))
    return replace(plan, remaking=remaking)


def _widths(own: int) -> Iterator[int]:
    """How far blocks may reach, from near to far: no further than it is worth while."""
    width = 1
    while 2 * width <= MOST_AGAIN * own:
        yield width
        width = max(width + 1, 3 * width // 2)


def _reach(plan: Plan, looked_at: Sequence[Sequence[Any]], own: int) -> int | None:
    """Positions that blocks need besides their own; None where their surroundings are too few."""
    # a handful may be a single block, without others beside it
    if any(nearby(plan, [key]) is None for key in _alone(looked_at)):
        return None
    described = nearby(plan, [key for keys in looked_at for key in keys])
    if described is None:
        return None
    tasks = described.graph()
    most = 0.0
    for output, keys in zip(plan.outputs, looked_at, strict=True):
        graphs = [needed(tasks, [described.keys[key]]) for key in keys]
        # the first and the last may be neighbours across the ends of an axis, the middle is none
        first, middle, last = graphs[0], graphs[1], graphs[-1]
        if share_work(first, middle) or share_work(middle, last):
            return None
        share = max(
            read_by(graph, [described.keys[key]]).share_of(plan.labelled)
            for key, graph in zip(keys, graphs, strict=True)
        )
        most = max(most, share * output.spec.position.size)
    return max(0, math.ceil(most - 1e-6) - own)


def _alone(looked_at: Sequence[Sequence[Any]]) -> list[Any]:
    """Keys of blocks that are looked at one by one: in the middle and at both ends."""
    return [keys[place] for keys in looked_at for place in (1, 0, -1)]


def _looked_at(output: Output) -> list[Any]:
    """Keys of the first block, of one in the middle, of some at the ends, and of the last one."""
    counts = [-(-size // part) for size, part in zip(output.spec.shape, output.block, strict=True)]
    # not where a map that is turned round, or over, has the same blocks
    middle = [count * (axis + 1) // (2 * axis + 3) for axis, count in enumerate(counts)]
    places = [[0] * len(counts), middle]
    for axis, count in enumerate(counts):
        at = middle[axis]
        for place in (0, 1, 2, at - 1, at + 1, at + 2, count - 2, count - 1):
            if 0 <= place < count:
                places.append([*middle[:axis], place, *middle[axis + 1 :]])
    # in the corners
    n = output.n_position
    ends = [sorted({0, count - 1}) for count in counts[:n]]
    places += [[*corner, *([0] * (len(counts) - n))] for corner in itertools.product(*ends)]
    keys = dict.fromkeys((output.prefix, *place) for place in places)
    last = (output.prefix, *(count - 1 for count in counts))
    return [*(key for key in keys if key != last), last]
