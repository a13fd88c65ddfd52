"""What computing blocks of a plan reads and writes, and which blocks fit into memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import xarray as xr

from usidx.errors import PlanError
from usidx.model.layout import Layout
from usidx.model.main import MainSpec
from usidx.process.planning.budget import LARGER, in_text, memory_of, run_shape, values_budget
from usidx.process.planning.cutting import is_flat, natural_run, runs_within
from usidx.process.planning.identity import Labelled, Source
from usidx.process.planning.inputs import Input, read_at_once
from usidx.process.planning.outputs import Draft

if TYPE_CHECKING:
    from usidx.process.planning.plan import Output, Plan

Shape = tuple[int, ...]
# A block that needs more of its neighbours than so many times its own positions is no block: all of
# that would be computed again for each.
MOST_AGAIN = 16
# A source whose positions are not those of the result comes in so many parts of a block.
_PARTS = 4
# Positions by the side that has them.
Positions = Mapping[Any, int]
Made = TypeVar("Made", "Draft", "Output")


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
    reach : positions that any block needs besides its own, and computes with them
    """

    position: Layout
    written: int
    read: int
    beside: int
    least: int
    reach: int = 0

    @property
    def each(self) -> int:
        """Bytes for each position."""
        return max(1, self.written + self.read)

    def of(self, positions: int) -> int:
        """Bytes for a block of so many positions."""
        positions += self.reach
        return positions * self.written + self.beside + max(positions * self.read, self.least)

    def most(self, budget: int) -> int:
        """How many positions a block may have; 0 where not even one fits."""
        left = budget - self.beside
        most = left // self.each
        if self.least > most * self.read:
            most = min(most, (left - self.least) // max(1, self.written))
        return max(0, min(most - self.reach, self.position.size))

    def room(self, budget: int) -> int:
        """Bytes that a chunk of the source may have, where a block of one position is to fit."""
        return budget - self.beside - self.written


def cost_of(
    alike: Sequence[Draft],
    source: Labelled,
    inputs: tuple[Input, ...],
    *,
    cut_anew: bool = False,
    reach: Positions | None = None,
) -> Cost:
    """The Cost of outputs with the same positions.

    Parameters
    ----------
    source, inputs : what they are made of
    cut_anew : whether the source is going to be cut as the blocks are
    reach : positions that blocks need of their neighbours, where that was looked at
    """
    position = alike[0].spec.position
    more, beside = read_at_once(inputs, position)
    overlap = (reach or {}).get(side_of(position))
    together = source.nbytes if overlap is not None else _read_at_once(source, position)
    read = -(-together // position.size)
    return Cost(
        position=position,
        written=sum(_bytes_per_position(each.spec) for each in alike) + more,
        # of a source that is reduced, a chunk is read at a time for any number of positions
        read=read if cut_anew or overlap is not None or _has(source, position) else 0,
        beside=beside,
        # less than a chunk is not read of an array that somebody else made
        least=0 if cut_anew or overlap is not None else chunk_bytes(source),
        reach=overlap or 0,
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
    sizes: Positions | None = None,
) -> list[Shape]:
    """Shape of the blocks of each output: those with the same positions are cut alike.

    Parameters
    ----------
    memory, workers : bytes that `workers` blocks at once may take; a habit when None
    wanted : shapes of blocks that are settled, by the name of the output
    cut_anew : whether a source that comes in runs of positions is going to be cut as they are
    sizes : positions that blocks may have at most, where what they need was looked at
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
        room = budget - cost.beside if memory is None else cost.most(budget) * cost.each
        if sizes and side_of(position) in sizes:
            natural, room = None, sizes[side_of(position)] * cost.each
        runs[side_of(position)] = run_shape(
            position.shape, cost.each, max(1, room), natural=natural, strict=memory is not None
        )
    return [runs[side_of(each.spec.position)] + each.spec.spectroscopic.shape for each in drafts]


def finer_chunks(
    drafts: Sequence[Draft],
    source: Labelled,
    record: Source,
    memory: int | None,
    workers: int,
    inputs: tuple[Input, ...] = (),
    *,
    sizes: Positions | None = None,
) -> dict[str, int] | None:
    """Chunks in which to open a stored source that is reduced, where those it has do not fit.

    So is one whose blocks overlap, with positions other than those of the result: it comes in
    parts of a block, so that little more is read than a block needs.

    None where they fit, where the source does not come in runs of positions (somebody cut it into
    maps, and the step may need them), and where smaller chunks are no help.
    """
    if memory is None or record.origin is None:
        return None
    budget = values_budget(memory, workers)
    if sizes:
        if any(natural_run(source, each.spec.position) is not None for each in drafts):
            return None
        shares = [size / math.prod(shape) for (_, shape), size in sizes.items()]
        return runs_within(source, int(min(shares) * source.nbytes) // _PARTS)
    costs = [cost_of(alike, source, inputs) for alike in _sides(drafts)]
    room = min(each.room(budget) for each in costs)
    if costs[0].least <= room:
        return None
    # half is for the result, many positions at once, where they are small
    return runs_within(source, min(room, budget // 2))


class NoRoomError(PlanError):
    """Not even the smallest blocks fit into memory.

    Parameters
    ----------
    told : what people are told
    need : bytes that they need, all at once
    """

    def __init__(self, told: str, need: int) -> None:
        super().__init__(told)
        self.need = need


@dataclass(frozen=True)
class Largest:
    """The block of a plan that takes most memory.

    Parameters
    ----------
    positions : how many it has
    cost : of blocks like it
    """

    positions: int
    cost: Cost

    @property
    def nbytes(self) -> int:
        """Bytes that it reads and writes."""
        return self.cost.of(self.positions)

    def fits(self, memory: int | None, workers: int) -> bool:
        """Whether `workers` of its kind at once take no more than `memory` bytes.

        None does of which nearly all is computed again for each of its neighbours.
        """
        if memory is None:
            return True
        return self.is_worth_it and memory_of(self.nbytes) * workers <= memory

    @property
    def is_worth_it(self) -> bool:
        """Whether it does not need far more of its neighbours than it has itself."""
        return self.cost.reach <= MOST_AGAIN * self.positions


def largest_of(plan: Plan, reach: Positions) -> Largest:
    """The Largest block of a plan.

    Parameters
    ----------
    reach : positions that blocks need of their neighbours
    """
    found = []
    for alike in _sides(plan.outputs):
        positions = math.prod(alike[0].block[: alike[0].n_position])
        drafts = [each.draft for each in alike]
        anew = plan.remaking is not None
        cost = cost_of(drafts, plan.labelled, plan.inputs, cut_anew=anew, reach=reach)
        found.append(Largest(positions, cost))
    return max(found, key=lambda each: each.nbytes)


def next_size(largest: Largest, size: int | None, memory: int | None, workers: int) -> int | None:
    """How many positions blocks should have after a look at what they need; None to leave them.

    Fewer where they do not fit into `memory`. More where memory is no matter, and most of what is
    computed would be computed again for a neighbour: as many as a block needs besides its own.

    Parameters
    ----------
    size : how many they were to have; None where nothing was known of neighbours
    """
    cost = largest.cost
    budget = values_budget(memory, workers)
    usual = max(1, (budget - cost.beside) // cost.each)
    if memory is None:
        several = LARGER * usual - cost.reach
        more = min(cost.reach, several)
        return more if size is None and more > largest.positions else None
    if largest.fits(memory, workers):
        return None
    before = min(size or usual, usual)
    # what they need shrinks with them where they need whole neighbours, and else it does not
    smaller = before * budget // largest.nbytes
    wanted = max(smaller, cost.most(budget))
    return wanted if 0 < wanted < before else before // 2 or None


def refusal(plan: Plan, largest: Largest, memory: int, workers: int) -> NoRoomError:
    """What the smallest block needs, the largest that would fit, and what to do, as an error."""
    source, positions, cost = plan.labelled, largest.positions, largest.cost
    need = memory_of(largest.nbytes)
    budget = values_budget(memory, workers)
    told = (
        f"the smallest block of {plan.source.name!r} needs {in_text(need)} to compute "
        f"({_counted(positions)}{_beside(cost)}), {workers} at once {in_text(need * workers)}, "
        f"more than memory={memory} bytes; give memory='{in_text(need * workers)}'"
    )
    fewer = memory // need
    if fewer:
        most = cost.most(values_budget(memory, fewer))
        told += (
            f" or workers={fewer}, with which blocks of {_counted(most)} fit "
            f"({in_text(memory_of(cost.of(most)))} each)"
        )
    if cost.least <= (positions + cost.reach) * cost.read:
        return NoRoomError(told, need * workers)
    told += f". The source comes in chunks of {in_text(cost.least)}"
    # as many as there are in a chunk that leaves room for a position of the result
    each = -(-cost.least // max(1, _positions_of(source)))
    most = cost.room(budget) // each
    if not most:
        told += f", of which not even a position ({in_text(each)}) would fit"
        return NoRoomError(told, need * workers)
    chunks = f"{_counted(most)} ({in_text(most * each)})"
    return NoRoomError(f"{told}; open it in chunks of at most {chunks}", need * workers)


def _positions_of(source: Labelled) -> int:
    """How many positions the largest chunk of the source has."""
    from usidx.arrays.roles import known_roles

    roles = known_roles(source)
    return math.prod(
        max(sizes) for dim, sizes in source.chunksizes.items() if roles[str(dim)] == "position"
    )


def _beside(cost: Cost) -> str:
    return f" and {cost.reach} of its neighbours" if cost.reach else ""


def _counted(positions: int) -> str:
    return "1 position" if positions == 1 else f"{positions} positions"


def _sides(drafts: Sequence[Made]) -> Iterator[list[Made]]:
    """Those with the same positions, together."""
    found: dict[Any, list[Made]] = {}
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
