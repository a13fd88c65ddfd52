"""What is kept of work that blocks have in common, where each of them does some of it again.

The first step of a decomposition factorises each block, and only when all are done it is known what
becomes of them. dask keeps what each was factorised into, which is as large as the source and
larger. A block can factorise its part again: then only what was made of all blocks is kept.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence, Set
from typing import Any

import numpy as np

from usidx.process.planning.reading import Graph, is_cheap, is_read

# Times what a block reads at least for something it needs, up to which other things are done again.
_NEAR = 4
# Random numbers of these depend on how many were made before.
_STATEFUL = (np.random.BitGenerator, np.random.Generator, np.random.RandomState)
# So few blocks may do more than half of everything again.
_FEW = 3


def ends_of(graph: Graph, handfuls: Sequence[Sequence[Any]]) -> tuple[Any, ...]:
    """Keys of what is computed once and kept, so that blocks can do all else for themselves.

    There are none where blocks have no work in common that they could do again. Reading is no such
    work, nor is what costs no more. Nor are there any where a block would do half of everything
    again, as a block of spectra would that were made of transformed maps.

    Parameters
    ----------
    graph : the tasks of all blocks, as they were described
    handfuls : dask's keys of the blocks that are computed together
    """
    common = _common(graph, handfuls)
    if all(is_cheap(graph[key]) for key in common):
        return ()
    reads = _reads_of({key: graph[key] for key in common})
    total = _count(reads.values())
    kept: dict[Any, None] = {}
    again: set[Any] = set()
    for keys in handfuls:
        needed = _needed_of(graph, keys, common)
        counts = {key: _count([reads[key]]) for key in needed if reads[key] is not None}
        least = min((count for count in counts.values() if count), default=0)
        near = {key for key, n in counts.items() if n <= _NEAR * least and 2 * n <= total}
        own = _count(reads[key] for key in near)
        if own and (own == total or (2 * own > total and len(handfuls) > _FEW)):
            return ()
        again |= near
        kept.update(dict.fromkeys(key for key in needed if key not in near))
    work = needed_by(graph, again)
    return () if all(is_cheap(node) for node in work.values()) else tuple(kept)


def needed_by(graph: Graph, targets: Iterable[Any], known: Set[Any] = frozenset()) -> Graph:
    """The tasks that lead to some keys, without those that are known and what leads to these."""
    found: Graph = {}
    waiting = [key for key in targets if key not in known]
    while waiting:
        key = waiting.pop()
        if key not in found:
            found[key] = graph[key]
            waiting += found[key].dependencies - known
    return found


def _count(reads: Iterable[int | None]) -> int:
    """How much is read for several tasks together."""
    return _together(reads).bit_count()


def _together(reads: Iterable[int | None]) -> int:
    found = 0
    for each in reads:
        found |= each or 0
    return found


def _common(graph: Graph, handfuls: Sequence[Sequence[Any]]) -> frozenset[Any]:
    """Keys of the tasks that blocks need which are far apart: the first and the last of a kind."""
    kinds: dict[Any, list[Sequence[Any]]] = {}
    for keys in handfuls:
        kinds.setdefault(tuple(key[0] for key in keys), []).append(keys)
    users: Counter[Any] = Counter()
    for alike in kinds.values():
        for keys in alike[:1] + alike[1:][-1:]:
            users.update(needed_by(graph, keys).keys())
    return frozenset(key for key, count in users.items() if count > 1)


def _needed_of(graph: Graph, targets: Sequence[Any], common: frozenset[Any]) -> list[Any]:
    """Keys of what the tasks of a block alone need of those in common; no data."""
    from dask._task_spec import DataNode

    own = needed_by(graph, targets, common)
    found = dict.fromkeys(
        [
            *(key for key in targets if key in common),
            *(key for node in own.values() for key in node.dependencies if key in common),
        ]
    )
    return [key for key in found if not isinstance(graph[key], DataNode)]


def _reads_of(graph: Graph) -> dict[Any, int | None]:
    """What is read for each task, one bit for each reading, and for what is made of nothing.

    None where it is not known that it would be the same again: of a function that is not one of
    dask's, and is given nothing that was read, or of a generator of random numbers with a state.
    """
    from dask._task_spec import Alias, DataNode
    from dask.core import toposort

    found: dict[Any, int | None] = {}
    bits = (1 << number for number in itertools.count())
    for key in toposort(graph):
        node = graph[key]
        if isinstance(node, DataNode):
            # a chunk of what is in memory belongs to a block as one that is read does
            found[key] = next(bits) if isinstance(node.value, np.ndarray) else 0
            continue
        if is_read(node):
            found[key] = next(bits)
            continue
        given = {found[each] for each in node.dependencies}
        if None in given:
            found[key] = None
        elif any(given) or isinstance(node, Alias):
            # where it is one, it is kept once: there may be many thousand bits
            found[key] = given.pop() if len(given) == 1 else _together(given)
        else:
            found[key] = next(bits) if _is_repeatable(node) else None
    return found


def _is_repeatable(node: Any) -> bool:
    """Whether a task that is given nothing that was read gives the same each time."""
    given = [getattr(each, "value", each) for each in (*node.args, *node.kwargs.values())]
    if any(isinstance(each, _STATEFUL) for each in given):
        return False
    return all(map(_is_of_library, [node.func, *filter(callable, given)]))


def _is_of_library(function: Any) -> bool:
    while hasattr(function, "func"):  # with some of its arguments
        function = function.func
    module = str(getattr(function, "__module__", "")).partition(".")[0]
    return module in ("dask", "numpy", "builtins")
