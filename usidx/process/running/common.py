"""What all blocks of a plan need, computed before them: then each of them is computed on its own.

Spectra less their mean over the map are blocks that need a mean of all. In one graph with it they
wait for each other, and a scheduler that has many of them keeps what it has not written yet.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from usidx.process.planning.graphs import Graph
from usidx.process.planning.neighbours import graphs_of, is_cheap, is_read, own_graph_of
from usidx.process.planning.plan import Plan
from usidx.process.running.rereading import read_anew
from usidx.process.running.work import Unit, Work, batches

if TYPE_CHECKING:
    from usidx.process.running.runner import Executor

# More values than these, or of more bytes, are no summary of the source, but may be as large.
_MOST_KEYS, _MOST_BYTES = 16, 2**26

log = logging.getLogger("usidx")


@dataclass(frozen=True, eq=False)
class Common:
    """What all units of a plan need.

    Parameters
    ----------
    plan : of the units
    values : by dask's keys
    """

    plan: Plan
    values: dict[Any, Any]

    def works(self, units: Sequence[Unit]) -> Iterator[tuple[Unit, Work]]:
        """One Work after the other; each has the values."""
        from dask._task_spec import Alias, DataNode

        # as dask calls arrays that blocks are read from, so that workers get them once
        names = {key: f"original-common-{number}" for number, key in enumerate(self.values)}
        known: Graph = {names[key]: DataNode(names[key], each) for key, each in self.values.items()}
        known |= {key: Alias(key, name) for key, name in names.items()}
        for batch in batches(units):
            graphs = graphs_of(self.plan, [unit.keys for unit in batch], known)
            for unit, graph in zip(batch, graphs, strict=True):
                yield unit, Work(own_graph_of(graph, unit.keys), unit.keys, unit.commits)


def common_of(plan: Plan, units: Sequence[Unit], executor: Executor) -> Common | None:
    """What all units need, computed; None where there is no such thing, or it is large.

    None also where it cannot be computed: as a part of all blocks it is told better what happened.
    """
    if len(units) < 2:
        return None
    one, other = graphs_of(plan, [units[0].keys, units[-1].keys])
    keys = _summaries(one, other)
    if not 0 < len(keys) <= _MOST_KEYS:
        return None
    from dask.array.optimization import optimize

    try:
        values = executor.compute(read_anew(dict(optimize(one, keys))), keys)
    except Exception:
        log.debug("what blocks of %s have in common was not computed", plan.tool, exc_info=True)
        return None
    if sum(int(getattr(each, "nbytes", _MOST_BYTES)) for each in values) > _MOST_BYTES:
        return None
    return Common(plan, dict(zip(keys, values, strict=True)))


def _summaries(one: Graph, other: Graph) -> list[Any]:
    """Keys of what two blocks need that was made of what is read, and used for either alone."""
    from dask.core import toposort

    shared = one.keys() & other.keys()
    read: set[Any] = set()
    made: set[Any] = set()
    for key in toposort(one):
        if key not in shared:
            continue
        node = one[key]
        if is_read(node) or node.dependencies & read:
            read.add(key)
            if not is_cheap(node) or node.dependencies & made:
                made.add(key)
    used = {each for key, node in one.items() if key not in shared for each in node.dependencies}
    return [key for key in one if key in made & used]
