"""The tasks of some blocks of a plan, and of no others."""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import xarray as xr

from usidx.errors import PlanError
from usidx.model.blocks import MOST_BLOCKS, row_range
from usidx.process.planning.cutting import Cut, Remaking, cut_at
from usidx.process.planning.outputs import Draft
from usidx.process.planning.plan import Output, Plan
from usidx.process.planning.reading import Graph as Graph
from usidx.process.planning.reading import is_read, needed, read_by, share_work
from usidx.process.planning.sizes import noted_of

if TYPE_CHECKING:
    import dask.array
    from dask.highlevelgraph import HighLevelGraph

    from usidx.process.planning.identity import Labelled
    from usidx.process.running.work import Unit

# Chunks that are described for a handful of blocks.
_MOST_CHUNKS = 8192
# Bytes that any task may make, whatever blocks are, and times those that a block may need.
_LITTLE, _BETWEEN = 2**20, 8
# Blocks that need each other are all described at once, some kilobytes each.
_MOST_JOINED = 100_000
# What a step makes of a source that is cut everywhere, while its plan is there.
_everywhere: WeakKeyDictionary[Remaking, tuple[Draft, ...]] = WeakKeyDictionary()
# All tasks of very many blocks: they are made once, rather than for each handful.
_all_tasks: WeakKeyDictionary[Draft, tuple[str, Graph]] = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class Described:
    """Lazy arrays with the values of some blocks.

    Parameters
    ----------
    arrays : in which each of the blocks is a chunk
    keys : dask's key of the chunk that is a block, by the key that the output gives the block
    tasks : of the blocks, where they were looked at: slices of what is read are read alone
    known : tasks of the blocks and of others, where there are very many that need each other
    """

    arrays: tuple[dask.array.Array, ...]
    keys: dict[Any, Any]
    tasks: Graph | None = None
    known: Graph | None = None

    @property
    def merged(self) -> HighLevelGraph:
        """What makes the arrays, of which most is not needed."""
        from dask.highlevelgraph import HighLevelGraph

        return HighLevelGraph.merge(*(each.dask for each in self.arrays))

    def graph(self, instead: Graph | None = None) -> Graph:
        """The tasks of the blocks, as they were described, and no others.

        Parameters
        ----------
        instead : nodes that take the place of what was described
        """
        from dask._task_spec import convert_legacy_graph

        targets = list(self.keys.values())
        if self.known is not None:
            return needed(self.known, targets, instead)
        found = self.tasks
        if found is None:
            found = dict(convert_legacy_graph(self.merged.cull(set(targets)).to_dict()))
        return needed(found, targets, instead) if instead else found


def graph_of(plan: Plan, units: Sequence[Unit]) -> Graph:
    """The optimised graph that computes the units, without their writing."""
    return _optimised(describe(plan, [key for unit in units for key in unit.keys]))


def graph_apart(plan: Plan, units: Sequence[Unit]) -> Graph | None:
    """The same; None where there are very many units, and all of them have work in common."""
    described = describe(plan, [key for unit in units for key in unit.keys])
    if described.known is not None and len(units) > 1:
        first, last = (
            needed(described.known, [described.keys[key] for key in unit.keys])
            for unit in (units[0], units[-1])
        )
        if share_work(first, last):
            return None
    return _optimised(described)


def _optimised(described: Described) -> Graph:
    import dask.array as da
    from dask._task_spec import Alias

    alone = described.tasks is None and described.known is None
    whole = described.merged if alone else described.graph()
    graph = dict(da.optimize(whole, list(described.keys.values())))
    graph.update({key: Alias(key, known) for key, known in described.keys.items()})
    return graph


def describe(plan: Plan, blocks: Sequence[Any]) -> Described:
    """The lazy values of some blocks, by the keys that outputs give them.

    Raises
    ------
    PlanError : where there are very many blocks, and they need each other
    """
    found = nearby(plan, blocks) if plan.is_large else None
    if found is not None:
        return found
    if plan.remaking is not None and plan.remaking.around:
        raise PlanError(
            f"some blocks of {plan.source.name!r} need far more of it than those that were looked "
            f"at before {plan.tool!r} began, so that they cannot be computed each on its own. Give "
            "more memory for fewer and larger blocks"
        )
    return _whole(plan, blocks)


def nearby(plan: Plan, blocks: Sequence[Any]) -> Described | None:
    """The values of some blocks, of a source that is cut where these are.

    None where that is no good: where a block needs what lies between them.
    """
    found = []
    for some in _handfuls(plan, blocks):
        each = _near(plan, some)
        if each is None:
            return None
        found.append(each)
    tasks = {key: node for each in found if each.tasks for key, node in each.tasks.items()}
    return Described(
        tuple(array for each in found for array in each.arrays),
        {key: own for each in found for key, own in each.keys.items()},
        tasks or None,
    )


def _handfuls(plan: Plan, blocks: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """The blocks, in parts for each of which few chunks are described: some lie all over a map."""
    around = plan.remaking.around if plan.remaking is not None else 0
    cuts = (_cut_of(output, some, around) for output, some in _by_output(plan, blocks))
    if len(blocks) < 2 or all(cut.count <= _MOST_CHUNKS for cut in cuts):
        yield blocks
        return
    half = len(blocks) // 2
    yield from _handfuls(plan, blocks[:half])
    yield from _handfuls(plan, blocks[half:])


def _cut_of(output: Output, blocks: Sequence[Any], around: int) -> Cut:
    n = output.n_position
    places = [key[1 : n + 1] for key in blocks]
    return cut_at(output.spec.shape[:n], output.block[:n], places, around)


def _by_output(plan: Plan, blocks: Iterable[Any]) -> list[tuple[Output, list[Any]]]:
    keys: dict[str, list[Any]] = {}
    for key in blocks:
        keys.setdefault(key[0], []).append(key)
    named = {each.prefix: each for each in plan.outputs}
    return [(named[prefix], some) for prefix, some in keys.items()]


def _whole(plan: Plan, blocks: Sequence[Any]) -> Described:
    """Of arrays in which every block of the plan is a chunk."""
    arrays, keys = [], {}
    known: list[Graph] = []
    for output, some in _by_output(plan, blocks):
        remade = output if plan.remaking is None else _remade(plan, output)
        if plan.is_large and max(output.count, remade.draft.pieces) <= _MOST_JOINED:
            known.append(_all_tasks_of(remade))
        arrays.append(remade.values)
        keys.update({key: (remade.values.name, *key[1:]) for key in some})
    if len(known) < len(arrays):
        return Described(tuple(arrays), keys)
    together = known[0] if len(known) == 1 else dict(ChainMap(*known))
    return Described(tuple(arrays), keys, known=together)


def _all_tasks_of(output: Output) -> Graph:
    """The tasks of all blocks of an output."""
    from dask._task_spec import convert_legacy_graph

    name, found = _all_tasks.get(output.draft, ("", {}))
    if name != output.values.name:
        found = dict(convert_legacy_graph(output.values.dask.to_dict()))
        _all_tasks[output.draft] = output.values.name, found
    return found


def _remade(plan: Plan, output: Output) -> Output:
    """The output, of the source cut into blocks everywhere."""
    assert plan.remaking is not None
    check_joined(plan)
    if plan.remaking not in _everywhere:
        _everywhere[plan.remaking] = plan.remaking.everywhere()
    found = _everywhere[plan.remaking]
    (draft,) = (each for each in found if each.spec.name == output.name)
    return Output(draft.spec, draft, output.block)


def check_joined(plan: Plan) -> None:
    """Nothing, where there are few enough blocks to be described all at once.

    Raises
    ------
    PlanError : saying what would do
    """
    most = max(output.count for output in plan.outputs)
    if most > _MOST_JOINED:
        raise PlanError(
            f"{plan.tool!r} makes {most} blocks of {plan.source.name!r}, which need more than "
            "their own positions and those around them: so many cannot be planned together. Give "
            "more memory for fewer and larger blocks. Where all of them need the same, such as a "
            "mean over the map, store that first (mean = da.usid.save(da.mean([...]), "
            "tool='Mean').open()) and give it to the step as a parameter: there may be any number "
            "of blocks then"
        )


def _near(plan: Plan, blocks: Sequence[Any]) -> Described | None:
    """Of arrays that are cut where the blocks are; None where that is no good."""
    arrays, keys = [], {}
    around = plan.remaking.around if plan.remaking is not None else 0
    known: dict[Any, tuple[tuple[Draft, ...], Labelled | None]] = {}
    for output, some in _by_output(plan, blocks):
        n = output.n_position
        places = [key[1 : n + 1] for key in some]
        cut = _cut_of(output, some, around)
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
        if source is not None and not around and _reads_more(array, own.values(), source, output):
            return None
        arrays.append(array)
        keys.update(own)
    found = Described(tuple(arrays), keys)
    if not around:
        return found
    tasks = _tasks_nearby(plan, found)
    return None if tasks is None else replace(found, tasks=tasks)


def _tasks_nearby(plan: Plan, described: Described) -> Graph | None:
    """The tasks of blocks, with slices of what lies around them; None where one needs far more."""
    from dask._task_spec import Alias, DataNode

    remaking = plan.remaking
    assert remaking is not None
    own = read_by(described.graph(), list(described.keys.values()))
    positions = remaking.position.size
    made = sum(each.spec.nbytes for each in plan.outputs)
    each = -(-(plan.labelled.nbytes + made) // positions)
    most = max(_LITTLE, _BETWEEN * remaking.most * each)
    layers = described.merged.layers
    for key, node in own.graph.items():
        if key in own.read:
            nbytes = own.read[key].size * np.dtype(own.read[key].array.dtype).itemsize
        elif is_read(node):
            return None
        elif isinstance(node, (Alias, DataNode)):
            continue
        else:
            noted = noted_of(key, layers)
            nbytes = 0 if noted is None else noted.nbytes
        if nbytes > most:
            return None
    read = own.share_of(remaking.labelled) * positions
    return own.graph if read <= remaking.most * len(described.keys) else None


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
