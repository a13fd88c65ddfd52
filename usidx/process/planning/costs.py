"""What computing blocks of a plan reads and writes, and which blocks fit into memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from usidx.errors import PlanError
from usidx.model.layout import Layout
from usidx.model.main import MainSpec
from usidx.process.planning.budget import in_text, memory_of, run_shape, values_budget
from usidx.process.planning.cutting import is_flat, natural_run, runs_within
from usidx.process.planning.identity import Labelled, Source
from usidx.process.planning.inputs import Input, read_at_once
from usidx.process.planning.outputs import Draft

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Cost:
    """Bytes that a block of some outputs reads and writes, which are cut alike.

    Parameters
    ----------
    position : the positions that they have
    written : for each position, of outputs and of what is read besides the source
    read : for each position, of the source
    beside : for any block, besides the source
    least : of the source for any block, however few positions it has: a chunk
    """

    position: Layout
    written: int
    read: int
    beside: int
    least: int

    def of(self, positions: int) -> int:
        """Bytes for a block of so many positions."""
        return positions * self.written + self.beside + max(positions * self.read, self.least)

    def most(self, budget: int) -> int:
        """How many positions a block may have; 0 where not even one fits."""
        left = budget - self.beside
        most = left // max(1, self.written + self.read)
        if self.least > most * self.read:
            most = min(most, (left - self.least) // max(1, self.written))
        return max(0, min(most, self.position.size))

    def room(self, budget: int) -> int:
        """Bytes that a chunk of the source may have, where a block of one position is to fit."""
        return budget - self.beside - self.written


def cost_of(
    alike: Sequence[Draft], source: Labelled, inputs: tuple[Input, ...], *, cut_anew: bool = False
) -> Cost:
    """The Cost of outputs with the same positions.

    Parameters
    ----------
    source, inputs : what they are made of
    cut_anew : whether the source is going to be cut as the blocks are
    """
    position = alike[0].spec.position
    more, beside = read_at_once(inputs, position)
    read = -(-_read_at_once(source, position) // position.size)
    return Cost(
        position=position,
        written=sum(_bytes_per_position(each.spec) for each in alike) + more,
        # of a source that is reduced, a chunk is read at a time for any number of positions
        read=read if cut_anew or _has(source, position) else 0,
        beside=beside,
        # less than a chunk is not read of an array that somebody else made
        least=0 if cut_anew else chunk_bytes(source),
    )


def shapes_of(
    drafts: Sequence[Draft],
    source: Labelled,
    memory: int | None,
    workers: int,
    wanted: Mapping[str, Shape],
    inputs: tuple[Input, ...] = (),
    *,
    cut_anew: bool = False,
) -> list[Shape]:
    """Shape of the blocks of each output: those with the same positions are cut alike.

    Parameters
    ----------
    memory, workers : bytes that `workers` blocks at once may take; a habit when None
    wanted : shapes of blocks that are settled, by the name of the output
    cut_anew : whether a source that comes in runs of positions is going to be cut as they are
    """
    budget = values_budget(memory, workers)
    runs: dict[Any, Shape] = {}
    for alike in _sides(drafts):
        position = alike[0].spec.position
        settled = [wanted[each.spec.name] for each in alike if each.spec.name in wanted]
        natural = natural_run(source, position)
        if settled:
            runs[side_of(position)] = settled[0][: len(position.dims)]
            continue
        cost = cost_of(alike, source, inputs, cut_anew=cut_anew and natural is not None)
        each = cost.written + cost.read
        room = budget - cost.beside if memory is None else cost.most(budget) * each
        runs[side_of(position)] = run_shape(
            position.shape, each, max(1, room), natural=natural, strict=memory is not None
        )
    return [runs[side_of(each.spec.position)] + each.spec.spectroscopic.shape for each in drafts]


def finer_chunks(
    drafts: Sequence[Draft],
    source: Labelled,
    record: Source,
    memory: int | None,
    workers: int,
    inputs: tuple[Input, ...] = (),
) -> dict[str, int] | None:
    """Chunks in which to open a stored source that is reduced, where those it has do not fit.

    None where they fit, where the source does not come in runs of positions (somebody cut it into
    maps, and the step may need them), and where smaller chunks are no help.
    """
    if memory is None or record.origin is None:
        return None
    budget = values_budget(memory, workers)
    costs = [cost_of(alike, source, inputs) for alike in _sides(drafts)]
    room = min(each.room(budget) for each in costs)
    if costs[0].least <= room:
        return None
    # half is for the result, many positions at once, where they are small
    return runs_within(source, min(room, budget // 2))


def checked_cost(
    name: str,
    drafts: Sequence[Draft],
    shapes: Sequence[Shape],
    source: Labelled,
    memory: int | None,
    workers: int,
    inputs: tuple[Input, ...] = (),
    *,
    cut_anew: bool = False,
) -> int:
    """Bytes that the largest block reads and writes, of all outputs.

    Raises
    ------
    PlanError : where it does not fit into `memory`, saying what it needs and what would fit
    """
    shape_of = {each.spec.name: shape for each, shape in zip(drafts, shapes, strict=True)}
    found = []
    for alike in _sides(drafts):
        n = len(alike[0].spec.position.dims)
        positions = math.prod(shape_of[alike[0].spec.name][:n])
        cost = cost_of(alike, source, inputs, cut_anew=cut_anew)
        found.append((cost.of(positions), positions, cost))
    largest, positions, cost = max(found, key=lambda each: each[0])
    if memory is not None and memory_of(largest) * workers > memory:
        raise PlanError(_refusal(name, source, positions, cost, memory, workers))
    return largest


def _refusal(
    name: str, source: Labelled, positions: int, cost: Cost, memory: int, workers: int
) -> str:
    """What the smallest block needs, the largest that would fit, and what to do."""
    need = memory_of(cost.of(positions))
    budget = values_budget(memory, workers)
    told = (
        f"the smallest block of {name!r} needs {in_text(need)} to compute ({_counted(positions)})"
        f", {workers} at once {in_text(need * workers)}, more than memory={memory} bytes; give "
        f"memory='{in_text(need * workers)}'"
    )
    fewer = memory // need
    if fewer:
        most = cost.most(values_budget(memory, fewer))
        told += (
            f" or workers={fewer}, with which blocks of {_counted(most)} fit "
            f"({in_text(memory_of(cost.of(most)))} each)"
        )
    if cost.least <= positions * cost.read:
        return told
    told += f". The source comes in chunks of {in_text(cost.least)}"
    # as many as there are in a chunk that leaves room for a position of the result
    each = -(-cost.least // max(1, _positions_of(source)))
    most = cost.room(budget) // each
    if not most:
        return f"{told}, of which not even a position ({in_text(each)}) would fit"
    return f"{told}; open it in chunks of at most {_counted(most)} ({in_text(most * each)})"


def _positions_of(source: Labelled) -> int:
    """How many positions the largest chunk of the source has."""
    from usidx.arrays.roles import known_roles

    roles = known_roles(source)
    return math.prod(
        max(sizes) for dim, sizes in source.chunksizes.items() if roles[str(dim)] == "position"
    )


def _counted(positions: int) -> str:
    return "1 position" if positions == 1 else f"{positions} positions"


def _sides(drafts: Sequence[Draft]) -> Iterator[list[Draft]]:
    """Those with the same positions, together."""
    found: dict[Any, list[Draft]] = {}
    for each in drafts:
        found.setdefault(side_of(each.spec.position), []).append(each)
    return iter(found.values())


def side_of(position: Layout) -> tuple[Any, ...]:
    """What outputs with the same positions have in common."""
    return position.dims, position.shape


def _read_at_once(source: Labelled, position: Layout) -> int:
    """Bytes of the source that all positions of an output need in memory together.

    All of it where the output has the positions of the source. Where it has others, the source is
    reduced: dask does that chunk by chunk.
    """
    return source.nbytes if _has(source, position) else chunk_bytes(source)


def _has(source: Labelled, position: Layout) -> bool:
    """Whether the source has the positions of an output."""
    sizes = source.sizes
    alike = all(sizes.get(dim) == size for dim, size in zip(*side_of(position), strict=True))
    return alike or is_flat(source, position)


def chunk_bytes(source: Labelled) -> int:
    """Bytes of the largest chunk of the source."""
    arrays = [source] if isinstance(source, xr.DataArray) else list(source.data_vars.values())
    return sum(
        math.prod(max(each) for each in array.chunks or ()) * array.dtype.itemsize
        for array in arrays
    )


def _bytes_per_position(spec: MainSpec) -> int:
    return spec.spectroscopic.size * np.dtype(spec.dtype).itemsize
