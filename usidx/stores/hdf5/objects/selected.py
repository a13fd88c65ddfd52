"""What a region reference selects."""

from __future__ import annotations

import math
from dataclasses import dataclass

import h5py
import numpy as np

from usidx.model.dimension import Array
from usidx.stores.region import places_in_words

Axis = slice | Array


@dataclass(frozen=True, eq=False)
class Selected:
    """Some elements of a dataset.

    Parameters
    ----------
    shape : of the dataset
    axes : where every combination of some places along each axis is selected: those places, a
        slice where they are evenly spaced, else an ascending array of int64; None for any other
    blocks : where `axes` is None: array of int64, shape (blocks, 2, axes), first place of each
        block and the one behind its last; in the order of the reference
    """

    shape: tuple[int, ...]
    axes: tuple[Axis, ...] | None
    blocks: Array | None = None

    def __str__(self) -> str:
        return places_in_words(self.shape, self.axes, self.blocks)


def selected(reference: h5py.RegionReference, obj: h5py.HLObject) -> Selected:
    """What `reference`, found on `obj`, selects, whatever way it was written.

    Raises
    ------
    OSError, RuntimeError, ValueError : as h5py, where the reference cannot be followed
    """
    space = h5py.h5r.get_region(reference, obj.id)
    shape = tuple(int(size) for size in space.shape)
    kind = space.get_select_type()
    if kind == h5py.h5s.SEL_ALL:
        return Selected(shape, tuple(slice(0, size, 1) for size in shape))
    if kind == h5py.h5s.SEL_NONE or not space.get_select_npoints():
        return Selected(shape, (slice(0, 0, 1),) * len(shape))
    if any(stop >= size for stop, size in zip(space.get_select_bounds()[1], shape, strict=True)):
        raise ValueError(f"it selects beyond the shape {shape}")
    if kind == h5py.h5s.SEL_POINTS:
        points = np.asarray(space.get_select_elem_pointlist(), np.int64)
        return _gathered(shape, np.stack([points, points + 1], axis=1))
    if space.is_regular_hyperslab():
        parts = zip(*space.get_regular_hyperslab(), strict=True)
        return Selected(shape, tuple(_regular(*map(int, part)) for part in parts))
    blocks = np.asarray(space.get_select_hyper_blocklist(), np.int64)
    blocks[:, 1] += 1
    return _gathered(shape, blocks)


def _regular(start: int, stride: int, count: int, block: int) -> Axis:
    if count == 1 or stride == block:
        return slice(start, start + count * block, 1)
    if block == 1:
        return slice(start, start + (count - 1) * stride + 1, stride)
    steps = start + stride * np.arange(count, dtype=np.int64)
    return np.asarray((steps[:, None] + np.arange(block, dtype=np.int64)).reshape(-1))


def _gathered(shape: tuple[int, ...], blocks: Array) -> Selected:
    """The selection of some blocks, no two of which overlap."""
    count = int((blocks[:, 1] - blocks[:, 0]).prod(axis=1).sum())
    places = [_places(np.unique(blocks[:, :, axis], axis=0)) for axis in range(len(shape))]
    # The blocks lie within the combinations of their places, and fill them if there are as many.
    if count != math.prod(map(len, places)):
        return Selected(shape, None, blocks)
    return Selected(shape, tuple(map(evenly, places)))


def _places(spans: Array) -> Array:
    """Every place in some spans, ascending."""
    return np.unique(np.concatenate([np.arange(*span, dtype=np.int64) for span in spans.tolist()]))


def evenly(places: Array) -> Axis:
    """Ascending places as a slice where they are evenly spaced.

    Examples
    --------
    >>> evenly(np.array([3, 5, 7]))
    slice(3, 8, 2)
    """
    if not places.size:
        return slice(0, 0, 1)
    steps = np.diff(places)
    first, last = int(places[0]), int(places[-1])
    if steps.size and not bool((steps == steps[0]).all()):
        return places
    return slice(first, last + 1, int(steps[0]) if steps.size else 1)
