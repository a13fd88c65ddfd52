"""Lazy values cut where blocks are wanted, and left whole elsewhere.

dask describes each chunk of an array on its own, so that a million of them take gigabytes before
the first one is computed. Of an array with so many blocks only some hundred are described at once;
what lies between them is a single chunk, which nobody computes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import xarray as xr

from usidx.arrays.folding import fold_chunks
from usidx.arrays.lazy import stored_of, to_dask
from usidx.arrays.roles import known_roles
from usidx.model.blocks import block_shape
from usidx.model.layout import Layout
from usidx.process.planning.budget import run_of
from usidx.process.planning.identity import Labelled, Source, opened_in
from usidx.process.planning.outputs import Draft

Sizes = tuple[tuple[int, ...], ...]
# Small chunks to each side of a block. dask joins one that is smaller than its reach with those
# beside it, and moves what is padded by a part of one.
_SMALL = 3


@dataclass(frozen=True)
class Cut:
    """Where axes are cut such that some blocks are chunks.

    Parameters
    ----------
    sizes : of the chunks along each axis
    numbers : along each axis, the number of the chunk that a block is, by the block's own number
    """

    sizes: Sizes
    numbers: tuple[Mapping[int, int], ...]

    def place(self, block: Sequence[int]) -> tuple[int, ...]:
        """The place of a block among the chunks."""
        return tuple(along[number] for along, number in zip(self.numbers, block, strict=True))

    @property
    def count(self) -> int:
        """How many chunks there are."""
        return math.prod(len(each) for each in self.sizes)


def cut_at(
    shape: Sequence[int],
    block: Sequence[int],
    places: Iterable[Sequence[int]],
    around: int = 0,
) -> Cut:
    """The Cut of axes of `shape` that has the blocks at some places.

    Parameters
    ----------
    block : shape of the blocks
    places : numbers of a block along each axis
    around : what lies beside a block, across the ends of an axis too, is in chunks of about this
        size, and not in one that is much larger

    Examples
    --------
    >>> cut_at((1000,), (10,), [(7,), (8,)]).sizes
    ((70, 10, 10, 910),)
    >>> cut_at((1000,), (10,), [(7,), (8,)], around=4).sizes
    ((58, 4, 4, 4, 10, 10, 4, 4, 4, 898),)
    """
    wanted = list(zip(*places, strict=True))
    sizes: list[tuple[int, ...]] = []
    numbers: list[dict[int, int]] = []
    for size, step, along in zip(shape, block, wanted, strict=True):
        ordered = sorted(set(along))
        first, last = ordered[0] * step, min((ordered[-1] + 1) * step, size)
        found: list[int] = []
        at: dict[int, int] = {}
        end = 0
        # those at one end may be neighbours of those at the other
        before = around if last + around > size else 0
        for number in ordered:
            start = number * step
            found += _between(start - end, before, around)
            at[number] = len(found)
            end = min(start + step, size)
            found.append(end - start)
            before = around
        found += _between(size - end, around, around if first < around else 0)
        sizes.append(tuple(found))
        numbers.append(at)
    return Cut(tuple(sizes), tuple(numbers))


def _between(size: int, before: int, after: int) -> list[int]:
    """Sizes of the chunks of what lies between blocks: small ones at its ends, one for the rest."""
    most = max(before, after)
    rest = size - _SMALL * (before + after)
    if rest > most:
        ends = [before] * _SMALL, [after] * _SMALL
        return [each for each in (*ends[0], rest, *ends[1]) if each]
    count = max(1, size // most) if most else 1
    return [size // count + (part < size % count) for part in range(count)] if size else []


@dataclass(frozen=True, eq=False)
class Remaking:
    """Makes the outputs of a step again, of the same source cut in other places.

    Parameters
    ----------
    made : what the step makes of a source
    labelled, source : what it is run on, as an array and as a record
    position, run : the side along which it is cut, and the shape of the runs that blocks are
    around : positions along each axis on both sides of a block that are cut from what lies between
    most : positions that a block may need, its own included, where any are cut so
    """

    made: Callable[[Labelled], tuple[Draft, ...]]
    labelled: Labelled
    source: Source
    position: Layout
    run: tuple[int, ...]
    around: int = 0
    most: int = 0

    def __call__(
        self, cut: Cut, runs: Iterable[tuple[int, int]]
    ) -> tuple[tuple[Draft, ...], Labelled]:
        """(what is made, the source that it is made of).

        Parameters
        ----------
        cut : of the positions
        runs : first row of each block that is wanted and the one behind its last, for a source
            that has rows
        """
        chunks: dict[str, tuple[int, ...]]
        if is_flat(self.labelled, self.position):
            edges = sorted({0, self.position.size, *(edge for run in runs for edge in run)})
            chunks = {"position": tuple(b - a for a, b in zip(edges[:-1], edges[1:], strict=True))}
        else:
            chunks = dict(zip(self.position.dims, cut.sizes, strict=True))
        source = cut_anew(self.labelled, self.source, chunks)
        return self.made(source), source

    def everywhere(self) -> tuple[Draft, ...]:
        """What is made of the source cut into runs everywhere."""
        return self.made(opened_in_runs(self.labelled, self.source, self.position, self.run))


def cut_anew(labelled: Labelled, source: Source, chunks: Mapping[str, tuple[int, ...]]) -> Labelled:
    """A stored Main in other chunks; dimensions that are not named are left whole."""
    whole = {str(dim): (size,) for dim, size in labelled.sizes.items()}
    array = stored_of(labelled.data) if isinstance(labelled, xr.DataArray) else None
    if isinstance(labelled, xr.Dataset) or array is None or array.shape != labelled.shape:
        return opened_in(source, {**whole, **chunks})
    sizes = tuple(chunks.get(dim, whole[dim]) for dim in map(str, labelled.dims))
    return labelled.copy(data=to_dask(array, sizes, name=str(labelled.name)))


def natural_run(source: Labelled, position: Layout) -> tuple[int, ...] | None:
    """The runs in which the source comes, where it has the positions of an output."""
    array = source if isinstance(source, xr.DataArray) else next(iter(source.values()))
    sizes = {str(dim): size for dim, size in array.sizes.items()}
    if array.chunks is not None and is_flat(source, position):
        rows = array.chunks[array.dims.index("position")]
        return tuple(max(each) for each in fold_chunks(rows, position.shape))
    if array.chunks is None or any(
        sizes.get(dim) != n for dim, n in zip(position.dims, position.shape, strict=True)
    ):
        return None
    others = [str(dim) for dim in array.dims if dim not in position.dims]
    ordered = array.transpose(*position.dims, *others)
    return run_of(ordered.chunks or (), len(position.dims))


def runs_within(source: Labelled, room: int) -> dict[str, int] | None:
    """Sizes of chunks of at most `room` bytes, for a stored source that comes in larger runs.

    None for a source that is cut in any other way, and where such chunks do not help: where a
    position is larger, or a chunk of the storage, which is read as a whole.
    """
    dims = [dim for dim, role in known_roles(source).items() if role == "position"]
    arrays = [source] if isinstance(source, xr.DataArray) else list(source.data_vars.values())
    for array in arrays:
        others = [str(dim) for dim in array.dims if dim not in dims]
        chunks = array.transpose(*dims, *others).chunks or ()
        if run_of(chunks, len(dims)) is None or _read_as_a_whole(array) > room:
            return None
    shape = tuple(source.sizes[dim] for dim in dims)
    each = sum(array.nbytes for array in arrays) // max(1, math.prod(shape))
    if not dims or not each or each > room:
        return None
    run = block_shape((*shape, each), len(dims), 1, budget=room, most=2**24)
    return dict(zip(dims, run, strict=False))


def _read_as_a_whole(lazy: xr.DataArray) -> int:
    """Bytes that are read and decoded together, whatever is wanted of them."""
    array: Any = stored_of(lazy.data)
    while (inner := getattr(array, "array", None)) is not None:
        array = inner
    if array is None or getattr(array, "reads_anywhere", False):
        return 0
    chunks = getattr(array, "chunks", None) or getattr(
        getattr(array, "place", None), "chunks", None
    )
    return math.prod(chunks) * int(array.dtype.itemsize) if chunks else 0


def is_flat(source: Labelled, position: Layout) -> bool:
    """Whether the source has in 2-D form the positions of an output, which is N-D."""
    flat = position.dims != ("position",) and source.sizes.get("position") == position.size
    return flat and not set(position.dims) & set(source.dims)


def better_side(
    source: Labelled, record: Source, drafts: tuple[Draft, ...], shapes: list[tuple[int, ...]]
) -> tuple[Layout, tuple[int, ...]] | None:
    """(positions, run): how to cut the source as the outputs are; None where it is not worth it.

    Only a source that comes in runs is cut anew: where somebody cut it into maps, the step may be
    one that needs maps.
    """
    for draft, shape in zip(drafts, shapes, strict=True):
        position = draft.spec.position
        natural = natural_run(source, position)
        run = shape[: len(position.dims)]
        if record.origin is not None and natural is not None and natural != run:
            return position, run
    return None


def opened_in_runs(
    source: Labelled, record: Source, position: Layout, run: tuple[int, ...]
) -> Labelled:
    """The source opened in runs of positions."""
    if is_flat(source, position):
        return opened_in(record, {"position": math.prod(run)})
    return opened_in(record, dict(zip(position.dims, run, strict=True)))
