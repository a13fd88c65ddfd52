"""Blocks: the pieces of a Main that one task reads, computes and writes.

A block takes whole axes from the fastest upwards, so that its positions are one run of rows: one
read and one write in a file, and one range of marks.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from usidx.errors import LayoutError
from usidx.model.dimension import Array

# Memory of this size is used again once it was let go of, while the system takes larger pieces
# back (glibc, from 32 MiB on): then each block means fresh pages, which cost as much as reading.
DEFAULT_BUDGET = 24 * 2**20
MOST_BLOCKS = 10_000
# How much larger than the budget a block may get to be made of whole storage chunks: a chunk that
# is cut is decompressed once for every block that touches it.
_ALIGNMENT_SLACK = 4


@dataclass(frozen=True)
class Block:
    """One piece of an N-D array: a slice for each axis, all of them with start, stop and step 1."""

    key: tuple[slice, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes along the axes."""
        return tuple(each.stop - each.start for each in self.key)

    @property
    def size(self) -> int:
        """How many values it has."""
        return math.prod(self.shape)

    def __hash__(self) -> int:
        # slices themselves can be hashed only from Python 3.12 on
        return hash(tuple((each.start, each.stop) for each in self.key))


def block_shape(
    shape: tuple[int, ...],
    n_position: int,
    itemsize: int,
    *,
    budget: int = DEFAULT_BUDGET,
    align: int | None = None,
    split_spectroscopic: bool = False,
    most: int = MOST_BLOCKS,
) -> tuple[int, ...]:
    """Shape of blocks that hold at most `budget` bytes and are one run of positions each.

    Parameters
    ----------
    shape : sizes of the N-D axes, positions first
    n_position : how many of the axes are positions
    itemsize : bytes of one value
    budget : bytes of one block; a single position may take more, and so may all blocks where
        there would be more than `most` of them
    align : positions in one storage chunk; blocks are whole chunks where that is near the budget
    split_spectroscopic : also cut the spectroscopic axes of a position that exceeds the budget
    most : blocks that are manageable

    Examples
    --------
    >>> block_shape((512, 512, 1024), 2, 4)
    (12, 512, 1024)
    """
    budget = max(1, budget)
    n_splittable = len(shape) if split_spectroscopic else n_position
    while True:
        block = _fit(shape, n_position, n_splittable, itemsize, budget, align or 1)
        if math.prod(map(_ceil_div, shape, block)) <= most or block == shape:
            return block
        budget *= 2


def _fit(
    shape: tuple[int, ...],
    n_position: int,
    n_splittable: int,
    itemsize: int,
    budget: int,
    align: int,
) -> tuple[int, ...]:
    """Whole axes from the fastest on while they fit, a part of the next one, and 1 of the rest."""
    block = list(shape)
    nbytes = itemsize * math.prod(shape[n_splittable:])
    for axis in reversed(range(n_splittable)):
        if nbytes * shape[axis] <= budget:
            nbytes *= shape[axis]
            continue
        most = max(1, budget // nbytes)
        count = _even_part(shape[axis], most)
        if axis < n_position and align > 1:
            inner = math.prod(shape[axis + 1 : n_position])
            count = _aligned_part(shape[axis], most, count, align // math.gcd(align, inner))
        block[axis] = count
        block[:axis] = [1] * axis
        break
    return tuple(block)


def _even_part(size: int, most: int) -> int:
    """The part that cuts `size` into equal pieces of at most `most`, as few as possible."""
    return _ceil_div(size, _ceil_div(size, most))


def _aligned_part(size: int, most: int, even: int, step: int) -> int:
    """The part near `even` that is a multiple of `step`, unless that bursts `most` by far."""
    rounded_up = _ceil_div(even, step) * step
    if rounded_up <= most:
        return min(size, rounded_up)
    if step <= most:
        return most // step * step
    return min(size, step) if step <= _ALIGNMENT_SLACK * most else even


def blocks_of(shape: tuple[int, ...], block: tuple[int, ...]) -> Iterator[Block]:
    """Every block of an array in row-major order; together they cover each cell exactly once."""
    edges = [
        [slice(start, min(start + step, size)) for start in range(0, size, step)]
        for size, step in zip(shape, block, strict=True)
    ]
    return (Block(key) for key in itertools.product(*edges))


def chunks_of(shape: tuple[int, ...], block: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Sizes of the blocks along each axis, the way dask writes chunks.

    Examples
    --------
    >>> chunks_of((5, 4), (2, 4))
    ((2, 2, 1), (4,))
    """
    return tuple(
        tuple(min(step, size - start) for start in range(0, size, step))
        for size, step in zip(shape, block, strict=True)
    )


def row_range(
    key: tuple[int | slice, ...], shape: tuple[int, ...], n_position: int
) -> tuple[int, int]:
    """(start, stop): the run of row-major positions that a block covers.

    Parameters
    ----------
    key : ints and slices, one for each N-D axis; those of the spectroscopic axes may be left out
    shape : sizes of the N-D axes, positions first
    n_position : how many of the axes are positions

    Raises
    ------
    LayoutError : where the positions of the block are no single run

    Examples
    --------
    >>> row_range((slice(2, 4), slice(0, 10), slice(0, 7)), (6, 10, 7), 2)
    (20, 40)
    """
    run = contiguous_run(key[:n_position], shape[:n_position])
    if run is None:
        raise LayoutError(
            f"the positions {key[:n_position]} of {shape[:n_position]} are no single run of rows; "
            "take part of one axis, all of the faster ones and single values of the slower ones"
        )
    return run


def contiguous_run(key: tuple[int | slice, ...], shape: tuple[int, ...]) -> tuple[int, int] | None:
    """(start, stop) of the row-major cells that `key` selects, or None where they are no run.

    Axes that `key` leaves out are taken whole; ints count as slices of length 1.
    """
    start, count, stride = 0, 1, 1
    whole = True  # whether every axis up to here from the fastest is taken whole
    is_run = True
    for axis in range(len(shape) - 1, -1, -1):
        size = shape[axis]
        places = axis_range(key[axis], size) if axis < len(key) else range(size)
        length = len(places)
        if length == 0:
            return 0, 0
        if length > 1 and (places.step != 1 or not whole):
            is_run = False
        whole = whole and length == size
        start += places[0] * stride
        count *= length
        stride *= size
    return (start, start + count) if is_run else None


def axis_range(key: int | slice, size: int) -> range:
    """The places along one axis of `size` that an int or a slice selects."""
    if isinstance(key, slice):
        return range(*key.indices(size))
    place = key + size if key < 0 else int(key)
    if not 0 <= place < size:
        raise IndexError(f"index {key} is out of bounds for an axis of size {size}")
    return range(place, place + 1)


def pending(blocks: Iterable[Block], done: Array) -> Iterator[Block]:
    """The blocks that have a position which is not done yet.

    Parameters
    ----------
    blocks : of an array whose first axes are those of `done`
    done : array of bool, position-shaped
    """
    return (each for each in blocks if not bool(done[each.key[: done.ndim]].all()))


def whole_chunks(
    shape: tuple[int, ...], chunk: tuple[int, ...], itemsize: int, *, budget: int = 32 * 2**20
) -> tuple[int, ...]:
    """Shape of blocks to read: whole chunks of a store, as many as fit in, fastest axes first.

    Examples
    --------
    >>> whole_chunks((100, 100, 1000), (10, 10, 100), 4, budget=2_000_000)
    (10, 50, 1000)
    """
    block = list(chunk)
    nbytes = math.prod(block) * itemsize
    for axis in reversed(range(len(shape))):
        if block[axis] >= shape[axis]:
            block[axis] = shape[axis]
            continue
        most, whole = max(1, budget // max(1, nbytes)), -(-shape[axis] // block[axis])
        count = min(most, whole)
        nbytes *= count
        block[axis] = min(shape[axis], block[axis] * count)
        if count < whole:
            break
    return tuple(block)


def _ceil_div(size: int, part: int) -> int:
    return -(-size // part)
