"""Values that dask computes in few tasks where they are all that is wanted in the end.

A function of each position gets whole blocks from dask, read into fresh memory, which costs more
than a mean over them. An array that is made by `computed_from` is what dask makes of it for
everything that is done to it further on. Only where nothing is, the tasks are others.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from usidx.arrays.views import Readable
from usidx.model.dimension import Array
from usidx.model.pieces import cut_in, piece_shape, within

if TYPE_CHECKING:
    import dask.array
    from dask._task_spec import Task

Box = tuple[slice, ...]


def computed_from(lazy: dask.array.Array, values: InPieces) -> dask.array.Array:
    """`lazy`, whose values are those of `values`, which is asked for them where it can be.

    xarray takes arrays of one type only, so that this is no type of its own: dask asks each array
    how the tasks that it needs are to be optimised.
    """
    made: dask.array.Array = lazy.copy()
    usual = made.__dask_optimize__
    made.__dask_optimize__ = partial(_optimized, made.name, made.chunks, values, usual)
    return made


def _optimized(
    name: str,
    chunks: tuple[tuple[int, ...], ...],
    values: InPieces,
    usual: Callable[..., Any],
    graph: Any,
    keys: Any,
    **options: Any,
) -> Any:
    """What dask is to run: a task for each block, and the one that puts them together."""
    last = _last(graph, keys, name)
    if last is None:
        return usual(graph, keys, **options)
    from dask._task_spec import Task

    edges = [list(itertools.accumulate(axis, initial=0)) for axis in chunks]
    boxes = itertools.product(*(list(map(slice, each, each[1:])) for each in edges))
    numbers = itertools.product(*(range(len(axis)) for axis in chunks))
    found: dict[Any, Task] = {
        (name, *number): Task((name, *number), values.box, box)
        for number, box in zip(numbers, boxes, strict=True)
    }
    return {**found, last.key: last}


def _last(graph: Any, keys: Any, name: str) -> Task | None:
    """The task that puts the blocks of one array together; None where anything else is wanted."""
    from dask._task_spec import Task
    from dask.array.core import finalize

    wanted = list(keys) if isinstance(keys, (list, tuple, set)) else [keys]
    layers: Mapping[Any, Mapping[Any, Any]] = getattr(graph, "layers", {})
    if len(wanted) != 1:
        return None
    last = layers.get(wanted[0], {}).get(wanted[0])
    if not isinstance(last, Task) or last.func is not finalize:
        return None
    needed = {each[0] for each in last.dependencies if isinstance(each, tuple)}
    return last if needed == {name} else None


@dataclass(frozen=True, eq=False)
class InPieces:
    """What a function makes of each position of a stored array.

    Parameters
    ----------
    stored : positions first
    n_position : how many of its axes the function leaves
    function : ndarray of some positions -> ndarray, the same positions first
    """

    stored: Readable
    n_position: int
    function: Callable[[Array], Array]

    def box(self, box: Box, /) -> Array:
        """Read and made piece by piece, in memory that is used again and again."""
        reading = getattr(self.stored, "reading", lambda: None)()
        if reading is not None:
            with reading:
                try:
                    found = self._made(box, reading.read)
                except Exception:
                    if reading.holds():
                        raise
                    found = None
                # A file that changed meanwhile is read once more, with a look at it each time.
                if found is not None and reading.holds():
                    return found
        return self._made(box, getattr(self.stored, "read", None))

    def _made(self, box: Box, read: Callable[[Box, Array], Array] | None) -> Array:
        where, rest = box[: self.n_position], self.stored.shape[self.n_position :]
        shape = tuple([part.stop - part.start for part in where])
        piece = piece_shape(shape, max(1, math.prod(rest) * self.stored.dtype.itemsize))
        whole = tuple([slice(0, size) for size in rest])
        room = np.empty(piece + rest, self.stored.dtype)
        found: Array | None = None
        for key in cut_in(where, piece):
            sizes = tuple([part.stop - part.start for part in key])
            if read is None:
                values = np.asarray(self.stored[key + whole])
            else:
                values = read(
                    key + whole, room if sizes == piece else np.empty(sizes + rest, room.dtype)
                )
            made = np.asarray(self.function(values))
            if found is None:
                found = np.empty(shape + made.shape[self.n_position :], made.dtype)
            elif made.dtype != found.dtype:  # as dask has it, where blocks differ
                found = found.astype(np.result_type(found, made))
            found[within(key, where)] = made
        assert found is not None
        return found
