"""Axes joined and split: dask arrays with one task per chunk, and arrays in memory."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from usidx.model.dimension import Array

Chunk = tuple[int, ...]


def flatten(values: Any, sides: tuple[int, ...]) -> Any:
    """Values with the axes of each side joined into one, in row-major order.

    Parameters
    ----------
    values : NumPy or dask array, the axes of each side next to each other
    sides : how many axes each side has
    """
    cuts = np.cumsum((0, *sides))
    parts = [slice(start, stop) for start, stop in zip(cuts[:-1], cuts[1:])]
    if not _is_dask(values):
        return np.asarray(values).reshape([math.prod(values.shape[part]) for part in parts])
    runs = [as_runs(values.chunks[part]) for part in parts]
    values = values.rechunk(tuple(itertools.chain.from_iterable(runs)))
    return _reshape_blocks(values, "to-2d", tuple(_run_lengths(each) for each in runs))


def unfold(values: Any, shapes: tuple[tuple[int, ...] | None, ...]) -> Any:
    """Values with some axes, which are in row-major order, split into several.

    Parameters
    ----------
    values : NumPy or dask array
    shapes : for each axis the sizes it is split into, slowest first; None leaves it as it is
    """
    targets = [(size,) if each is None else each for size, each in zip(values.shape, shapes)]
    if not _is_dask(values):
        return np.asarray(values).reshape(tuple(itertools.chain.from_iterable(targets)))
    folded = [
        (sizes,) if each is None else fold_chunks(sizes, each)
        for sizes, each in zip(values.chunks, shapes)
    ]
    values = values.rechunk(tuple(_run_lengths(each) for each in folded))
    return _reshape_blocks(values, "to-nd", tuple(itertools.chain.from_iterable(folded)))


def take(values: Any, places: Array, axis: int, fill: Any = None) -> Any:
    """Values at `places` along one axis, with `fill` where a place is -1.

    Parameters
    ----------
    values : NumPy or dask array
    places : int64, shape (n,)
    axis : along which they are taken
    fill : what stands where nothing is; the dtype becomes one that holds it
    """
    module: Any = np
    if _is_dask(values):
        import dask.array as module
    if np.array_equal(places, np.arange(values.shape[axis])):
        return values
    missing = places < 0
    taken = module.take(values, np.where(missing, 0, places), axis=axis)
    if not missing.any():
        return taken
    dtype = filled_dtype(values.dtype, fill)
    mask = missing.reshape([-1 if each == axis else 1 for each in range(values.ndim)])
    return module.where(mask, np.asarray(fill, dtype=dtype), taken.astype(dtype))


def filled_dtype(dtype: np.dtype[Any], fill: Any) -> np.dtype[Any]:
    """The dtype that holds the values of `dtype` and `fill`: the same one where it can."""
    with np.errstate(all="ignore"):
        try:
            kept = np.asarray(fill).astype(dtype)
        except (ValueError, TypeError, OverflowError):
            kept = None
    same = kept is not None and (kept == fill or (fill != fill and kept != kept))
    if same and not (dtype.kind in "biu" and fill != fill):
        return dtype
    if dtype.kind in "biu" and fill != fill:
        # As xarray does: small integers fit into float32.
        return np.dtype(np.float32 if dtype.itemsize <= 2 else np.float64)
    return np.result_type(dtype, np.asarray(fill).dtype)


def as_runs(chunks: tuple[Chunk, ...]) -> tuple[Chunk, ...]:
    """Chunks of one side such that each is one run of row-major cells, about as many as before."""
    if _are_runs(chunks):
        return chunks
    shape = tuple(sum(axis) for axis in chunks)
    return _even_runs(shape, math.prod(max(axis) for axis in chunks))


def fold_chunks(flat: Chunk, shape: tuple[int, ...]) -> tuple[Chunk, ...]:
    """N-D chunks of a side of `shape` that are runs: those of the chunks `flat` where they fit."""
    edges = np.cumsum((0, *flat))
    for axis in range(len(shape)):
        inner = math.prod(shape[axis + 1 :])
        period = shape[axis] * inner
        if period == 0 or np.any(edges % inner):
            continue
        count = int(np.searchsorted(edges, period))
        one = flat[:count]
        if sum(one) == period and flat == one * math.prod(shape[:axis]):
            split = tuple(size // inner for size in one)
            before = tuple((1,) * size for size in shape[:axis])
            return (*before, split, *((size,) for size in shape[axis + 1 :]))
    return _even_runs(shape, max(flat))


def _even_runs(shape: tuple[int, ...], cells: int) -> tuple[Chunk, ...]:
    """Chunks that are runs of at most `cells` cells, unless one cell is more."""
    for axis in range(len(shape)):
        inner = math.prod(shape[axis + 1 :])
        if inner <= max(cells, 1):
            size = shape[axis]
            step = min(size, max(1, cells // max(inner, 1))) or 1
            split = tuple(min(step, size - at) for at in range(0, size, step)) or (0,)
            before = tuple((1,) * each for each in shape[:axis])
            return (*before, split, *((each,) for each in shape[axis + 1 :]))
    return tuple((size,) for size in shape)


def _are_runs(chunks: tuple[Chunk, ...]) -> bool:
    """Whether whole axes follow the one that is cut, and single cells go before it."""
    cut = [axis for axis, sizes in enumerate(chunks) if len(sizes) > 1]
    return not cut or all(max(sizes) <= 1 for sizes in chunks[: cut[-1]])


def _run_lengths(chunks: tuple[Chunk, ...]) -> Chunk:
    return tuple(math.prod(sizes) for sizes in itertools.product(*chunks))


def _reshape_blocks(values: Any, name: str, chunks: tuple[Chunk, ...]) -> Any:
    """A dask array whose blocks are those of `values`, in the same order, reshaped to `chunks`."""
    from dask.array import Array as DaskArray
    from dask.base import tokenize
    from dask.highlevelgraph import HighLevelGraph

    key = f"{name}-{tokenize(values, chunks)}"
    sources = itertools.product(*(range(len(axis)) for axis in values.chunks))
    targets = itertools.product(*(range(len(axis)) for axis in chunks))
    shapes = itertools.product(*chunks)
    layer: dict[Any, Any] = {
        (key, *target): (np.reshape, (values.name, *source), shape)
        for source, target, shape in zip(sources, targets, shapes, strict=True)
    }
    graph = HighLevelGraph.from_collections(key, layer, dependencies=[values])
    meta = np.reshape(values._meta, (0,) * len(chunks))
    return DaskArray(graph, key, chunks, meta=meta)


def _is_dask(values: Any) -> bool:
    return hasattr(values, "dask")
