"""The tasks of some blocks of a plan, and of no others."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import xarray as xr

from usidx.errors import PlanError
from usidx.model.blocks import MOST_BLOCKS, row_range
from usidx.process.planning.cutting import Cut, Remaking, cut_at
from usidx.process.planning.outputs import Draft
from usidx.process.planning.plan import Output, Plan

if TYPE_CHECKING:
    import dask.array
    from dask.highlevelgraph import HighLevelGraph

    from usidx.process.planning.identity import Labelled
    from usidx.process.running.work import Unit

Graph = dict[Any, Any]
# Chunks that are described for a handful of blocks.
_MOST_CHUNKS = 8192
# Blocks that need each other are all described at once, some kilobytes each.
_MOST_JOINED = 100_000
# What a step makes of a source that is cut everywhere, while its plan is there.
_everywhere: WeakKeyDictionary[Remaking, tuple[Draft, ...]] = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class Described:
    """Lazy arrays with the values of some blocks.

    Parameters
    ----------
    arrays : in which each of the blocks is a chunk
    keys : dask's key of the chunk that is a block, by the key that the output gives the block
    """

    arrays: tuple[dask.array.Array, ...]
    keys: dict[Any, Any]

    @property
    def merged(self) -> HighLevelGraph:
        """What makes the arrays, of which most is not needed."""
        from dask.highlevelgraph import HighLevelGraph

        return HighLevelGraph.merge(*(each.dask for each in self.arrays))

    def graph(self) -> Graph:
        """The tasks of the blocks, as they were described, and no others."""
        from dask._task_spec import convert_legacy_graph

        return dict(convert_legacy_graph(self.merged.cull(set(self.keys.values())).to_dict()))


def graph_of(plan: Plan, units: Sequence[Unit]) -> Graph:
    """The optimised graph that computes the units, without their writing."""
    import dask.array as da
    from dask._task_spec import Alias

    described = describe(plan, [key for unit in units for key in unit.keys])
    graph = dict(da.optimize(described.merged, list(described.keys.values())))
    graph.update({key: Alias(key, known) for key, known in described.keys.items()})
    return graph


def describe(plan: Plan, blocks: Sequence[Any]) -> Described:
    """The lazy values of some blocks, by the keys that outputs give them.

    Raises
    ------
    PlanError : where there are very many blocks, and they need each other
    """
    found = _near(plan, blocks) if plan.is_large else None
    return found if found is not None else _whole(plan, blocks)


def _by_output(plan: Plan, blocks: Iterable[Any]) -> list[tuple[Output, list[Any]]]:
    keys: dict[str, list[Any]] = {}
    for key in blocks:
        keys.setdefault(key[0], []).append(key)
    named = {each.prefix: each for each in plan.outputs}
    return [(named[prefix], some) for prefix, some in keys.items()]


def _whole(plan: Plan, blocks: Sequence[Any]) -> Described:
    """Of arrays in which every block of the plan is a chunk."""
    arrays, keys = [], {}
    for output, some in _by_output(plan, blocks):
        array = output.values if plan.remaking is None else _remade(plan, output)
        arrays.append(array)
        keys.update({key: (array.name, *key[1:]) for key in some})
    return Described(tuple(arrays), keys)


def _remade(plan: Plan, output: Output) -> dask.array.Array:
    """The values of an output, of the source cut into blocks everywhere."""
    assert plan.remaking is not None
    if output.count > _MOST_JOINED:
        raise PlanError(
            f"{plan.tool!r} makes {output.count} blocks of {plan.source.name!r}, which need more "
            "than their own positions: so many cannot be planned together. Give more memory for "
            "fewer and larger blocks"
        )
    if plan.remaking not in _everywhere:
        _everywhere[plan.remaking] = plan.remaking.everywhere()
    found = _everywhere[plan.remaking]
    (draft,) = (each for each in found if each.spec.name == output.name)
    return Output(draft.spec, draft, output.block).values


def _near(plan: Plan, blocks: Sequence[Any]) -> Described | None:
    """Of arrays that are cut where the blocks are; None where that is no good."""
    arrays, keys = [], {}
    known: dict[Any, tuple[tuple[Draft, ...], Labelled | None]] = {}
    for output, some in _by_output(plan, blocks):
        n = output.n_position
        places = [key[1 : n + 1] for key in some]
        cut = cut_at(output.spec.shape[:n], output.block[:n], places)
        if cut.count > _MOST_CHUNKS:
            return None
        name = (output.cut, cut.sizes)
        if name not in known:
            made = _made_in(plan, output, cut, places)
            if made is None:
                return None
            known[name] = made
        drafts, source = known[name]
        (draft,) = (each for each in drafts if each.spec.name == output.name)
        array = draft.values(cut.sizes + tuple((size,) for size in output.spec.shape[n:]))
        rest = (0,) * (array.ndim - n)
        own = {key: (array.name, *cut.place(at), *rest) for key, at in zip(some, places)}
        if source is not None and _reads_more(array, own.values(), source, output):
            return None
        arrays.append(array)
        keys.update(own)
    return Described(tuple(arrays), keys)


def _made_in(
    plan: Plan, output: Output, cut: Cut, places: Sequence[Sequence[int]]
) -> tuple[tuple[Draft, ...], Labelled | None] | None:
    """(what is made, the source cut like it); None where that is no good."""
    if plan.remaking is None:
        # a result that comes in very many chunks is described as a whole already
        return None if output.draft.pieces > MOST_BLOCKS else ((output.draft,), None)
    position = plan.remaking.position
    if (position.dims, position.shape) != output.cut[:2]:
        return None
    return plan.remaking(cut, [_rows(output, each) for each in places])


def _rows(output: Output, place: Sequence[int]) -> tuple[int, int]:
    """The run of rows of a block."""
    n = output.n_position
    shape = output.spec.shape[:n]
    sizes = zip(place, output.block, shape, strict=False)
    part = tuple(slice(at * step, min((at + 1) * step, size)) for at, step, size in sizes)
    return row_range(part, shape, n)


def _reads_more(
    array: dask.array.Array, keys: Iterable[Any], source: Labelled, output: Output
) -> bool:
    """Whether blocks need a chunk of the source that is larger than a block."""
    run = math.prod(output.block[: output.n_position])
    positions = {*output.spec.position.dims, "position"}
    variables = [source] if isinstance(source, xr.DataArray) else list(source.data_vars.values())
    sizes = {
        each.data.name: [
            (axis, each.chunks[axis]) for axis, dim in enumerate(each.dims) if dim in positions
        ]
        for each in variables
        if each.chunks is not None
    }
    # of layers that are culled the names are others, those of their tasks are not
    return any(
        math.prod(chunks[key[1 + axis]] for axis, chunks in sizes[key[0]]) > run
        for layer in array.dask.cull(set(keys)).layers.values()
        for key in layer.get_output_keys()
        if isinstance(key, tuple) and key[0] in sizes
    )
