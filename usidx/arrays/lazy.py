"""Block arrays as dask arrays, and as arrays that xarray reads lazily without dask."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core.indexing import (
    ExplicitIndexer,
    IndexingSupport,
    LazilyIndexedArray,
    explicit_indexing_adapter,
)

from usidx.arrays.views import Readable, whole_key
from usidx.errors import OptionError, did_you_mean
from usidx.model.dimension import Array

if TYPE_CHECKING:
    import dask.array

Chunks = Any
"""What people write for chunks: "auto", {}, {dim: size}, a size, or a tuple of sizes."""

# An array as heavy as this is sent to workers once, not inside each task.
HEAVY = 64 * 1024


def to_dask(
    array: Readable,
    chunks: tuple[tuple[int, ...], ...],
    *,
    name: str = "main",
    known: str | None = None,
) -> dask.array.Array:
    """A dask array with one task for each block, whose name follows from what it reads.

    Slices and ints that select a part of a block are handed on to `array`, so that only the part
    is read.

    Parameters
    ----------
    array : what is read
    chunks : sizes of the blocks along each axis
    name : a word that says in dashboards what is read
    known : what tells the values from any others; the token of the array when None
    """
    import dask.array
    from dask.base import tokenize

    token = tokenize(known or array.__dask_tokenize__(), chunks)
    lazy: dask.array.Array = dask.array.from_array(
        Blocks(array),
        chunks=chunks,
        # A part is picked by a task that dask calls so, too. Only where it finds one name for both
        # does it fuse them into one task, and not into two.
        name=f"getitem-{token}-{name}",
        lock=False,
        asarray=True,
        # dask 2026.8 hands slices on only to arrays that say they take lists as well.
        fancy=True,
        meta=np.empty((0,) * array.ndim, dtype=array.dtype),
        inline_array=len(pickle.dumps(array)) < HEAVY,
    )
    return lazy


def stored_of(lazy: dask.array.Array) -> Readable | None:
    """The block array that `lazy`, as `to_dask` made it, reads; None for any other array."""
    from dask._task_spec import DataNode, TaskRef, convert_legacy_graph

    key = (lazy.name, *(0,) * lazy.ndim)
    graph = dict(convert_legacy_graph(lazy.dask.cull({key}).to_dict()))
    told = getattr(graph[key], "args", (None,))[0]
    while isinstance(told, TaskRef):
        told = graph[told.key]
        told = told.value if isinstance(told, DataNode) else getattr(told, "target", None)
    if isinstance(told, DataNode):
        told = told.value
    return told.array if isinstance(told, Blocks) else None


@dataclass(frozen=True, eq=False)
class Blocks:
    """A block array that takes a list of places along an axis, as dask does."""

    array: Readable

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def ndim(self) -> int:
        return self.array.ndim

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.array.dtype

    def __getitem__(self, key: Any, /) -> Array:
        return read_outer(self.array, whole_key(key, self.ndim))

    def __dask_tokenize__(self) -> Any:
        return self.array.__dask_tokenize__()


def to_lazy(array: Readable) -> LazilyIndexedArray:
    """An array that xarray indexes lazily and reads when its values are asked for."""
    return LazilyIndexedArray(BlockAdapter(array))


def stored_array(variable: xr.Variable) -> Readable | None:
    """The block array that a variable still stands for as a whole; None for any other values."""
    stored: Any = variable._data
    while not isinstance(stored, LazilyIndexedArray) and hasattr(stored, "array"):
        stored = stored.array
    if not isinstance(stored, LazilyIndexedArray) or not isinstance(stored.array, BlockAdapter):
        return None
    whole = stored.key.tuple == (slice(None),) * len(stored.array.shape)
    return stored.array.array if whole else None


class BlockAdapter(BackendArray):
    """A block array the way xarray's backends index: ints, slices and lists along each axis."""

    def __init__(self, array: Readable) -> None:
        self.array = array
        self.shape = array.shape
        self.dtype = array.dtype

    def __getitem__(self, key: ExplicitIndexer) -> Any:
        return explicit_indexing_adapter(key, self.shape, IndexingSupport.OUTER, self._read)

    def _read(self, key: tuple[Any, ...]) -> Array:
        return read_outer(self.array, key)


def read_outer(array: Readable, key: tuple[Any, ...]) -> Array:
    """What ints, slices and lists of places, each along its own axis, select of a block array."""
    parts = [np.asarray(each) if isinstance(each, list) else each for each in key]
    hulls, within = zip(*map(_hull, parts)) if parts else ((), ())
    block = np.asarray(array[tuple(hulls)])
    # The last axis first, so that the places of those before it stay.
    axis = block.ndim
    for hull, places in zip(reversed(hulls), reversed(within)):
        if isinstance(hull, slice):
            axis -= 1
            if places is not None:
                block = np.take(block, places, axis=axis)
    return block


def _hull(part: int | slice | Array) -> tuple[int | slice, Array | None]:
    """(what to read, the places within it that are wanted, None for all)."""
    if isinstance(part, slice):
        return part, None
    if not isinstance(part, np.ndarray):
        return int(part), None
    if not part.size:
        return slice(0, 0), None
    low, high = int(part.min()), int(part.max()) + 1
    return slice(low, high), part - low


def resolve_chunks(
    chunks: Chunks,
    dims: tuple[str, ...],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    stored: tuple[int, ...],
) -> tuple[tuple[int, ...], ...]:
    """Sizes of the blocks along each axis, from what people write.

    Parameters
    ----------
    chunks : "auto" and {} for the blocks that suit the storage; {dim: size} changes those of one
        dimension; a size, or one for each dimension; -1 takes a dimension whole
    dims, shape, dtype : of the array
    stored : block shape that suits the storage

    Raises
    ------
    OptionError : for anything else
    """
    from dask.array.core import normalize_chunks

    sizes: Any
    if (isinstance(chunks, str) and chunks == "auto") or chunks is True:
        sizes = stored
    elif isinstance(chunks, Mapping):
        unknown = [str(name) for name in chunks if name not in dims]
        if unknown:
            raise OptionError(
                f"chunks names {unknown[0]!r}, which is no dimension"
                f"{did_you_mean(unknown[0], dims)}; the array has {', '.join(dims)}"
            )
        sizes = tuple(_or(chunks.get(dim), size) for dim, size in zip(dims, stored))
    elif isinstance(chunks, (int, tuple, list)) and chunks is not False:
        sizes = tuple(chunks) if isinstance(chunks, list) else chunks
    else:
        raise OptionError(
            f"chunks={chunks!r} is not understood; use 'auto' (the blocks of the storage), a "
            "mapping such as {'X': 16}, a size, one size for each dimension, or None for no dask"
        )
    try:
        found = normalize_chunks(
            sizes, shape, dtype=dtype, previous_chunks=tuple((size,) for size in stored)
        )
    except (ValueError, TypeError, NotImplementedError) as error:
        raise OptionError(
            f"chunks={chunks!r} does not fit dimensions {dict(zip(dims, shape))}: {error}"
        ) from error
    return tuple(tuple(int(size) for size in axis) for axis in found)


def _or(value: Any, otherwise: int) -> Any:
    return otherwise if value is None else value
