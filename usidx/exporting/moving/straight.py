"""Stored values on their way into another store, past the graphs by which values are computed.

One thread reads a few MiB, encodes and writes them, in memory that it uses again and again.
"""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from usidx.exporting.moving.parts import Part
from usidx.exporting.moving.sources import Box, Source, box_of, source_of
from usidx.exporting.moving.threads import each, on_cluster, processors
from usidx.model.blocks import blocks_of
from usidx.model.dimension import Array

Write = Callable[[Any, Box, Array], None]

# Bytes that are read in a row from a file that is opened once, and at most at a time.
_IN_A_ROW = 128 * 2**20
_LARGEST = 64 * 2**20


@dataclass(frozen=True, eq=False)
class Transfer:
    """Values of one array that go into another store as they are.

    Parameters
    ----------
    source : that they are read from
    target : that takes them, by `target[box] = values`
    boxes : what is read, encoded and written at a time
    """

    source: Source
    target: Any
    boxes: tuple[Box, ...]

    @functools.cached_property
    def most(self) -> int:
        """Bytes of the largest box."""
        return max(map(self._nbytes, self.boxes), default=0)

    def rows(self, workers: int) -> Iterator[tuple[Box, ...]]:
        """The boxes, so many together as one thread reads in a row; fewer towards the end.

        So that all threads end at about the same time.
        """
        start, most = 0, max(1, _IN_A_ROW // max(1, self.most))
        while left := len(self.boxes) - start:
            step = min(most, max(1, left // (2 * workers)))
            yield self.boxes[start : start + step]
            start += step

    def _nbytes(self, box: Box) -> int:
        size: int = math.prod(part.stop - part.start for part in box)
        return size * self.source.array.dtype.itemsize


def transfers_of(
    part: Part, targets: Sequence[Any], block: tuple[int, ...], unit: tuple[int, ...]
) -> list[Transfer | None]:
    """How each array of a Main goes straight into its target; None for those that do not.

    Those are the ones that have to be computed first, or that a cluster reads faster.

    Parameters
    ----------
    targets : one for each array; none go straight where one takes several of them, packed
    block : shape of what one task would write
    unit : shape of what the target stores as a whole
    """
    packed = any(target.dtype.names is not None for target in targets)
    if packed or part.completed is not None or on_cluster():
        return [None] * len(targets)
    n_position = len(part.spec.position.shape)
    found: list[Transfer | None] = []
    for array, origin, target in zip(part.arrays, part.origins, targets, strict=True):
        source = source_of(array, origin, n_position)
        box = None if source is None else _box(source, part.spec.shape, block, unit)
        if source is None or box is None:
            found.append(None)
        else:
            boxes = tuple(each.key for each in blocks_of(part.spec.shape, box))
            found.append(Transfer(source, target, boxes))
    return found


def unit_of_rows(part: Part, rows: int) -> tuple[int, ...] | None:
    """Shape of a run of so many rows of the 2-D form; None where no box is."""
    box = box_of(rows, part.spec.position.shape)
    return None if box is None else box + part.spec.spectroscopic.shape


def _box(
    source: Source, shape: tuple[int, ...], block: tuple[int, ...], unit: tuple[int, ...]
) -> tuple[int, ...] | None:
    """Whole units of the target that are made of whole grains of the source; a block if need be."""
    grain = source.grain or (1,) * len(shape)
    box = tuple(
        min(full, math.lcm(one, other)) for one, other, full in zip(unit, grain, shape, strict=True)
    )
    for found in (box, block):
        if math.prod(found) * source.array.dtype.itemsize <= _LARGEST:
            return found
    return None


def carry_out(transfers: Iterable[Transfer], write: Write) -> None:
    """Read and write everything, in as many threads as dask would take.

    Parameters
    ----------
    write : called with a target, a box and its values, from any thread
    """
    own = threading.local()

    def move(item: tuple[Transfer, tuple[Box, ...]]) -> None:
        transfer, boxes = item
        memory = getattr(own, "memory", None)
        if memory is None or memory.nbytes < transfer.most:
            memory = own.memory = np.empty(transfer.most, np.uint8)
        for box, values in zip(boxes, transfer.source.each(boxes, memory), strict=True):
            write(transfer.target, box, values)

    workers = _workers()
    each(workers, move, ((one, boxes) for one in transfers for boxes in one.rows(workers)))


def _workers() -> int:
    import dask.local
    from dask.base import get_scheduler

    if get_scheduler() is dask.local.get_sync:
        return 1
    return int(dask.config.get("num_workers", None) or processors())
