"""StoredArray: a dask array of stored values, parts of which are computed in few tasks.

dask describes a part of an array by two tasks for each block, one that reads the block and one that
picks from it, fuses them, and hands on what it fused by a third. For a map out of many blocks that
takes several times longer than reading it. When a part is computed by itself, and nothing else is
done to it, it is read here by some tasks that know nothing of blocks.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import dask.array
import numpy as np
from dask._task_spec import List, Task, TaskRef
from dask.array.core import finalize
from dask.array.slicing import normalize_index
from dask.highlevelgraph import HighLevelGraph

from usidx.arrays.views import Key, Readable
from usidx.model.dimension import Array

Chunks = tuple[tuple[int, ...], ...]

# Tasks that keep as many cores busy as most machines have, where there are more blocks than that;
# as long as each reads no more than so many bytes.
TASKS = 16
_PIECE = 4 * 2**20


class StoredArray(dask.array.Array):
    """A dask array of all values of a stored one.

    It is pickled, copied and computed with as any dask array is; what is made of it is a plain one.
    """

    stored: tuple[str, Readable] | None = None

    @classmethod
    def of(cls, lazy: dask.array.Array, stored: Readable) -> StoredArray:
        """`lazy`, which reads the blocks of `stored` and does nothing else."""
        made: StoredArray = cls(lazy.dask, lazy.name, lazy.chunks, meta=lazy._meta)
        made.stored = lazy.name, stored
        return made

    def __getitem__(self, index: Any) -> Any:
        part = super().__getitem__(index)
        # Where values were assigned, the array has got another name.
        if self.stored is None or self.stored[0] != self.name or part is self:
            return part
        key = _basic(index, self.shape)
        return part if key is None else StoredPart.of(part, Part(self.stored[1], key))


@dataclass(frozen=True, eq=False)
class Part:
    """What `key`, ints and slices that go forward, picks from a stored array."""

    stored: Readable
    key: Key

    def read(self, box: tuple[slice, ...]) -> Array:
        """The values of a box of the part; `box` has starts and stops, and no steps."""
        boxes = iter(box)
        whole = tuple(
            each if not isinstance(each, slice) else _slice_of(_places(each, size)[next(boxes)])
            for each, size in zip(self.key, self.stored.shape, strict=True)
        )
        return np.asarray(self.stored[whole])


class StoredPart(dask.array.Array):
    """What was picked from a StoredArray."""

    part: tuple[str, Part] | None = None

    @classmethod
    def of(cls, lazy: dask.array.Array, part: Part) -> StoredPart:
        """`lazy`, whose values are those of `part`."""
        made: StoredPart = cls(lazy.dask, lazy.name, lazy.chunks, meta=lazy._meta)
        made.part = lazy.name, part
        return made

    @property
    def __dask_optimize__(self) -> Callable[..., Any]:
        usual: Callable[..., Any] = super().__dask_optimize__
        if self.part is None or self.part[0] != self.name:
            return usual
        picked = partial(_few_tasks, self.name, self.chunks, self.dtype.itemsize, self.part[1])
        return partial(_optimized, picked, usual)


def _optimized(few: Callable[..., Any], usual: Callable[..., Any], graph: Any, keys: Any) -> Any:
    """What dask is to run for `keys`: few tasks where only the values as a whole are wanted."""
    tasks = few(graph, keys)
    return usual(graph, keys) if tasks is None else tasks


def _few_tasks(
    name: str, chunks: Chunks, itemsize: int, part: Part, graph: Any, keys: Any
) -> Mapping[Any, Task] | None:
    """Tasks for the only key that dask finally asks for; None where the graph is another one."""
    wanted = list(keys) if isinstance(keys, (list, tuple, set)) else [keys]
    if len(wanted) != 1 or not isinstance(graph, HighLevelGraph) or len(graph.layers) != 3:
        return None
    last = graph.layers.get(wanted[0], {}).get(wanted[0])
    if not isinstance(last, Task) or last.func is not finalize or len(last.args) != 1:
        return None
    if {each[0] for each in last.dependencies if isinstance(each, tuple)} != {name}:
        return None
    sizes = fewer(chunks, itemsize)
    read = f"read-{name}"
    numbers = itertools.product(*(range(len(axis)) for axis in sizes))
    found: dict[Any, Task] = {
        (read, *number): Task((read, *number), part.read, box)
        for number, box in zip(numbers, _boxes(sizes), strict=True)
    }
    found[last.key] = Task(last.key, finalize, _nested(read, (), sizes))
    return found


def fewer(chunks: Chunks, itemsize: int) -> Chunks:
    """Sizes of blocks that are some of `chunks` each, so that there are not many.

    Examples
    --------
    >>> fewer(((10,) * 64, (7,)), 8)
    ((40, 40, 40, 40, 40, 40, 40, 40, 40, 40, 40, 40, 40, 40, 40, 40), (7,))
    """
    sizes = list(chunks)
    for axis, parts in enumerate(chunks):
        blocks = math.prod(map(len, sizes))
        nbytes = itemsize * math.prod(max(each, default=0) for each in sizes)
        several = max(1, min(-(-blocks // TASKS), _PIECE // max(1, nbytes)))
        sizes[axis] = tuple(
            sum(parts[first : first + several]) for first in range(0, len(parts), several)
        )
    return tuple(sizes)


def _boxes(sizes: Chunks) -> Iterator[tuple[slice, ...]]:
    """The blocks in the order of their numbers."""
    edges = [list(itertools.accumulate(axis, initial=0)) for axis in sizes]
    return itertools.product(*(list(map(slice, each, each[1:])) for each in edges))


def _nested(name: str, number: tuple[int, ...], sizes: Chunks) -> Any:
    """Lists of lists of blocks, the way dask puts them together."""
    if len(number) == len(sizes):
        return TaskRef((name, *number))
    inner = range(len(sizes[len(number)]))
    return List(*(_nested(name, (*number, each), sizes) for each in inner))


def _basic(index: Any, shape: tuple[int, ...]) -> Key | None:
    """One int or slice for each axis, as `index` means it; None where it has anything else."""
    parts = index if isinstance(index, tuple) else (index,)
    if not all(part is Ellipsis or isinstance(part, (int, np.integer, slice)) for part in parts):
        return None
    key: Key = normalize_index(parts, shape)
    forward = all(each.step is None or each.step > 0 for each in key if isinstance(each, slice))
    return key if forward else None


def _places(part: slice, size: int) -> range:
    return range(size)[part]


def _slice_of(places: range) -> slice:
    return slice(places.start, places.stop, places.step)
