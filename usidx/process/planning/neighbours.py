"""What blocks need of each other, and whether each of them is computed on its own all the same.

Blocks of a map that is smoothed overlap: dask reads each part of the source once and keeps it for
all who need it, and what is made of it too, so that in the end much of the map is in memory. Where
the work of neighbours is all that is done again, each block gets a graph of its own, in which a
slice of what is read is the reading of that slice.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from usidx.process.planning.costs import side_of
from usidx.process.planning.graphs import describe
from usidx.process.planning.identity import Labelled
from usidx.process.planning.plan import Output, Plan
from usidx.process.planning.reading import (
    Graph,
    block_read_by,
    is_cheap,
    is_read,
    lazy_arrays,
    needed,
    read_by,
    reads_anything,
)
from usidx.process.planning.sizes import factorises
from usidx.process.planning.surroundings import Surroundings, surroundings_of

# Of so few blocks the first and the last may be neighbours, or nearly so.
_FEW = 4


@dataclass(frozen=True)
class Needs:
    """What blocks need beyond their own positions.

    Parameters
    ----------
    apart : whether they have tasks in common that are done again for each of them
    reach : positions of the source besides its own that a block needs at most, by the side
    near : the same of blocks of which only the surroundings are described
    """

    apart: bool
    reach: Mapping[Any, int]
    near: Surroundings | None = None


NOTHING = Needs(False, {})


def needs_of(plan: Plan) -> Needs:
    """The Needs of the blocks of a plan; NOTHING where they have no tasks in common, or too many.

    What is read, cut, joined and cast, and the arithmetic of single values, is done again for any
    block that needs it. So is anything else for neighbours, but not where the first block and the
    last need the same: a mean over the map, a decomposition, a source in maps.

    Blocks in the middle are looked at, those beside them, the first and the last. Where there are
    very many, these and what is around them are all that is described.
    """
    if plan.again is not None or (plan.step is not None and plan.step.per_position):
        return NOTHING
    near = surroundings_of(plan)
    if near is not None:
        return Needs(True, {near.side: near.reach}, near)
    reach: dict[Any, int] = {}
    for output in plan.outputs:
        keys = _looked_at(output)
        if len(keys) < 2:
            continue
        graphs = list(graphs_of(plan, [[key] for key in keys]))
        if _need_the_same(graphs[0], graphs[-1], plan.labelled, cheap=output.count <= _FEW):
            return NOTHING
        if not _share(graphs):
            continue
        share = max(read_by(each).share_of(plan.labelled) for each in graphs)
        position = output.spec.position
        own = math.prod(output.block[: output.n_position])
        more = max(0, math.ceil(share * position.size - 1e-6) - own)
        reach[side_of(position)] = max(reach.get(side_of(position), 0), more)
    return Needs(bool(reach), reach)


def own_graphs(plan: Plan, handfuls: Sequence[Sequence[Any]]) -> Iterator[Graph]:
    """The optimised graph of each handful of blocks, by itself.

    Parameters
    ----------
    handfuls : keys of the blocks, as outputs give them; they are keys of the graphs too
    """
    for keys, graph in zip(handfuls, graphs_of(plan, handfuls), strict=True):
        yield own_graph_of(graph, keys)


def own_graph_of(graph: Graph, keys: Sequence[Any]) -> Graph:
    """The graph of some blocks, optimised, in which slices of what is read are read alone."""
    from dask.array.optimization import optimize

    return dict(optimize(read_by(graph).graph, list(keys)))


def graphs_of(
    plan: Plan, handfuls: Sequence[Sequence[Any]], known: Graph | None = None
) -> Iterator[Graph]:
    """The tasks that each handful of blocks needs, as they were described.

    Parameters
    ----------
    handfuls : as for `own_graphs`
    known : nodes that take the place of what was described
    """
    from dask._task_spec import Alias

    described = describe(plan, [key for keys in handfuls for key in keys])
    whole = described.graph(known)
    for keys in handfuls:
        own = needed(whole, [described.keys[key] for key in keys])
        yield {**own, **{key: Alias(key, described.keys[key]) for key in keys}}


def _looked_at(output: Output) -> list[Any]:
    """Keys of the first block, of one in the middle and those beside it, and of the last one."""
    counts = [-(-size // part) for size, part in zip(output.spec.shape, output.block, strict=True)]
    middle = [count // 2 for count in counts]
    places = [[0] * len(counts), middle]
    for axis, count in enumerate(counts):
        for place in (middle[axis] - 1, middle[axis] + 1):
            if 0 <= place < count:
                places.append([*middle[:axis], place, *middle[axis + 1 :]])
    places.append([count - 1 for count in counts])
    keys = [(output.prefix, *place) for place in places]
    # the last stays the last
    return list(dict.fromkeys(reversed(keys)))[::-1]


def _share(graphs: Sequence[Graph]) -> bool:
    """Whether there is a task that two of the graphs have."""
    from dask._task_spec import Alias, DataNode

    users = Counter(
        key
        for each in graphs
        for key, node in each.items()
        if not isinstance(node, (Alias, DataNode))
    )
    return any(count > 1 for count in users.values())


def _need_the_same(one: Graph, other: Graph, source: Labelled, *, cheap: bool) -> bool:
    """Whether blocks that are no neighbours need the same part of the source.

    Parameters
    ----------
    cheap : whether what costs no more than reading does not count
    """
    names = {each.data.name for each in lazy_arrays(source)}

    def reads(key: Any) -> bool:
        return any(
            reads_anything(node) or (isinstance(each, tuple) and each[0] in names)
            for each, node in needed(one, [key]).items()
        )

    def is_of_source(key: Any) -> bool:
        if isinstance(key, tuple) and key[0] in names:
            return True
        read = block_read_by(one, key) if is_read(one[key]) else None
        return read is not None and any(map(read.is_of, lazy_arrays(source)))

    common = one.keys() & other.keys()
    if not cheap and any(map(is_of_source, common)):
        return True
    # what is factorised is of all blocks also where they come from elsewhere
    return any(not is_cheap(one[key]) and (factorises(one[key]) or reads(key)) for key in common)
