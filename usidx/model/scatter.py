"""Grids whose rows come in any order: snakes, spirals through every cell, random sampling.

This looks at whole columns, so it is the second try, after `raster`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from usidx.model.dimension import Array
from usidx.model.raster import Axis


@dataclass(frozen=True, eq=False)
class Ranked:
    """A column of indices: what it counts with, and the place of each row among that.

    Parameters
    ----------
    counters : array, shape (size,), ascending, the different indices
    ranks : array of int, shape (rows,), place of each row's index in `counters`
    changes : how often the index differs from that of the row before
    """

    counters: Array
    ranks: Array
    changes: int

    @property
    def size(self) -> int:
        """How many different indices there are."""
        return int(self.counters.size)


def rank(column: Array) -> Ranked:
    """A column of indices by its ranks.

    Parameters
    ----------
    column : array, shape (rows,), finite
    """
    changes = int(np.count_nonzero(column[1:] != column[:-1]))
    low, high = column.min(), column.max()
    span = int(high) - int(low) + 1
    if not is_whole(column) or span > 4 * column.size + 1024 or int(high) >= 2**63:
        counters, ranks = np.unique(column, return_inverse=True)
        return Ranked(counters, ranks.reshape(-1), changes)
    # Whole numbers close together need no sorting.
    offsets = (column - low).astype(np.intp)
    seen = np.zeros(span, bool)
    seen[offsets] = True
    counters = (np.flatnonzero(seen) + int(low)).astype(column.dtype)
    return Ranked(counters, (np.cumsum(seen) - 1)[offsets], changes)


def is_whole(numbers: Array) -> bool:
    """Whether all of them are whole numbers."""
    return numbers.dtype.kind in "iub" or bool((numbers == np.trunc(numbers)).all())


def slow_to_fast(ranked: Sequence[Ranked]) -> list[int]:
    """Columns that vary, the one that changes least often first.

    Where changes tell nothing, as in random sampling, the columns keep the order of the file.
    """
    varying = [number for number, each in enumerate(ranked) if each.size > 1]
    by_changes = sorted(varying, key=lambda number: ranked[number].changes)
    cells = 1
    for number in by_changes:
        # An axis of a scan changes at most once for each cell of it and the slower axes together.
        cells *= ranked[number].size
        if ranked[number].changes >= cells:
            return varying
    return by_changes


def find_cells(ranked: Sequence[Ranked]) -> tuple[tuple[Axis, ...], Array] | None:
    """The axes, slowest first, and the row of each cell of the grid in row-major order.

    None where some cells have no row or more than one; `why_not` tells more.
    """
    rows = ranked[0].ranks.size
    chosen = _independent(ranked, rows)
    if chosen is None:
        return None
    slowest_first = [number for number in slow_to_fast(ranked) if number in chosen]
    axes = tuple(Axis(number, ranked[number].size) for number in slowest_first)
    cells = np.zeros(rows, np.int64)
    for axis in axes:
        cells *= axis.size
        cells += ranked[axis.column].ranks
    order = np.empty(rows, np.int64)
    order[cells] = np.arange(rows)
    return axes, order


def _independent(ranked: Sequence[Ranked], rows: int) -> set[int] | None:
    """Columns that together give each row a cell of its own, or None.

    The shortest come first: a column that counts the cells of several others, or that is tied to
    one, is left for what depends on them.
    """
    chosen: set[int] = set()
    cells, product = np.zeros(rows, np.int64), 1
    for number in sorted(range(len(ranked)), key=lambda number: ranked[number].size):
        size = ranked[number].size
        if size == 1 or rows % (product * size):
            continue
        finer = cells * size + ranked[number].ranks
        if _distinct(finer, product * size) == product * size:
            cells, product = finer, product * size
            chosen.add(number)
    return chosen if product == rows else None


def _distinct(cells: Array, size: int) -> int:
    """How many of the numbers 0 .. size-1 are in `cells`."""
    seen = np.zeros(size, bool)
    seen[cells] = True
    return int(np.count_nonzero(seen))


def why_not(ranked: Sequence[Ranked], names: Sequence[str]) -> str:
    """Why rows fill no grid, for people to read."""
    rows = ranked[0].ranks.size
    varying = slow_to_fast(ranked)
    if not varying:
        return f"all {rows} rows have the same indices"
    listed = ", ".join(names[number] for number in varying)
    repeated = rows - _different_rows(ranked, varying)
    if repeated:
        return f"{repeated} of the {rows} rows repeat the indices that another row has in {listed}"
    counters = [names[number] for number in varying if ranked[number].size == rows]
    if len(counters) > 1:
        return f"each of the {rows} rows has indices of its own in {' and '.join(counters)}"
    for slow, fast in itertools.permutations(varying, 2):
        if ranked[slow].size < ranked[fast].size < rows and _settles(ranked[fast], ranked[slow]):
            return f"the index of {names[fast]} does not start again when {names[slow]} changes"
    sizes = [ranked[number].size for number in varying]
    grid = " x ".join(str(size) for size in sizes)
    return f"{rows} rows fill a part of the {math.prod(sizes)} cells of a {grid} grid of {listed}"


def _different_rows(ranked: Sequence[Ranked], columns: Sequence[int]) -> int:
    cells = np.zeros(ranked[0].ranks.size, np.int64)
    for number in columns:
        # numbered anew each time, so that the product of sizes cannot overflow
        finer = cells * ranked[number].size + ranked[number].ranks
        cells = np.unique(finer, return_inverse=True)[1].reshape(-1)
    return int(cells.max()) + 1


def _settles(fast: Ranked, slow: Ranked) -> bool:
    """Whether the index of `fast` is enough to know that of `slow`."""
    settled = np.zeros(fast.size, slow.ranks.dtype)
    settled[fast.ranks] = slow.ranks
    return bool((settled[fast.ranks] == slow.ranks).all())
