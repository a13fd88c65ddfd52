"""Frames of a scan that lie in a file one after the other: folded to the scan, in step with it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from usidx.errors import OptionError
from usidx.model.dimension import Array
from usidx.model.layout import Coordinate
from usidx.readers.base import Axis, Foreign, position
from usidx.stores.base import BlockArray

NAMES = ("Z", "Y", "X")
# Positions for each frame that is there: more are a shape that is wrong.
_MOST_MISSING = 1000


@dataclass(frozen=True, eq=False)
class SyncedArray:
    """Frames at the positions of a scan at which they were taken; a value stands for missing ones.

    Parameters
    ----------
    frames : shape (number of frames, ...), as they lie in the file
    nav_shape : shape of the scan
    sync_offset : the first position has this frame; where it is negative, so many positions have
        none
    fill : value of positions without a frame
    dtype : of the values, which holds `fill`
    """

    frames: BlockArray
    nav_shape: tuple[int, ...]
    sync_offset: int
    fill: Any
    dtype: np.dtype[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.nav_shape + tuple(self.frames.shape[1:])

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def _numbers(self, parts: Sequence[Any]) -> Array:
        """Numbers of the frames at the positions that ints and slices select."""
        numbers: Array = np.array(self.sync_offset)
        stride = 1
        for size, part in zip(reversed(self.nav_shape), reversed(parts)):
            own = stride * np.arange(size)[part]
            numbers = own.reshape(own.shape + (1,) * numbers.ndim) + numbers
            stride *= size
        return numbers

    def __dask_tokenize__(self) -> Any:
        known = (self.nav_shape, self.sync_offset, repr(self.fill), self.dtype.str)
        return "usidx.SyncedArray", self.frames.__dask_tokenize__(), known

    def __getitem__(self, key: Any, /) -> Array:
        parts = list(key) if isinstance(key, tuple) else [key]
        parts += [slice(None)] * (self.ndim - len(parts))
        count = len(self.nav_shape)
        numbers = np.asarray(self._numbers(parts[:count]))
        inner = tuple(parts[count:])
        flat = numbers.reshape(-1)
        sample = np.empty(self.frames.shape[1:], bool)[inner].shape
        out = np.full((flat.size, *sample), self.fill, self.dtype)
        for start, stop in _runs(flat, self.frames.shape[0]):
            first, last = int(flat[start]), int(flat[stop - 1]) + 1
            out[start:stop] = _exact(self.frames[(slice(first, last), *inner)], self.dtype)
        found: Array = out.reshape(numbers.shape + sample)
        return found


def _exact(values: Array, dtype: np.dtype[Any]) -> Array:
    """The values, which `dtype` holds as they are.

    Raises
    ------
    OptionError : for whole numbers that a float rounds, where NaN is to stand beside them
    """
    if dtype.kind == "f" and values.dtype.kind in "iu" and values.dtype.itemsize == 8:
        most = 2**53
        beyond = (values > most) | (values < -most) if values.dtype.kind == "i" else values > most
        if beyond.any():
            raise OptionError(
                "some frames are missing, and others have whole numbers over 2**53, which no float "
                "beside NaN holds; give fill_value=, a whole number for the frames that are missing"
            )
    return values


def _runs(numbers: Array, count: int) -> list[tuple[int, int]]:
    """(start, stop) of each run of successive numbers of frames that are there."""
    there = (numbers >= 0) & (numbers < count)
    breaks = np.flatnonzero((np.diff(numbers) != 1) | (there[1:] != there[:-1])) + 1
    edges = [0, *map(int, breaks), numbers.size]
    return [(a, b) for a, b in zip(edges[:-1], edges[1:]) if b > a and there[a]]


def scan(
    name: str,
    frames: BlockArray,
    signal: Sequence[Axis],
    *,
    nav_shape: Sequence[int] | int | None,
    sync_offset: int = 0,
    fill_value: Any = None,
    positions: Sequence[Axis] | None = None,
    **told: Any,
) -> Foreign:
    """A Main of the frames of a file, folded to a scan.

    Parameters
    ----------
    name : of the Main
    frames : shape (number of frames, ...)
    signal : axes of a frame
    nav_shape : shape of the scan; one axis of all frames when None
    sync_offset : how many frames at the start belong to no position; where it is negative, how many
        positions at the start have no frame
    fill_value : of positions without a frame; NaN when None, for which integers become floats
    positions : axes of the scan, where the file says more of them than their number
    told : quantity, units and attrs of the Main

    Raises
    ------
    OptionError : for a shape that is none, or that the frames do not come near
    """
    count = int(frames.shape[0])
    if not isinstance(sync_offset, (int, np.integer)):
        raise OptionError(f"sync_offset={sync_offset!r} is no whole number of frames")
    shape = _shape(nav_shape, count, sync_offset, positions)
    total = math.prod(shape)
    first, last = max(0, -sync_offset), min(total, count - sync_offset)
    if first >= last or total > _MOST_MISSING * count:
        raise OptionError(
            f"nav_shape={shape} with sync_offset={sync_offset} leaves {max(0, last - first)} of "
            f"{total} positions with one of the {count} frames of {name!r}"
        )
    axes = tuple(positions) if positions is not None else _axes(shape)
    coordinates: tuple[Coordinate, ...] = ()
    dtype, fill = np.dtype(frames.dtype), fill_value
    if last - first < total:
        if fill is None:
            fill = np.nan
            dtype = dtype if dtype.kind in "fc" else np.result_type(dtype, np.float32)
        elif not _is_value(fill, dtype):
            raise OptionError(f"fill_value={fill!r} is no value of {dtype}, which {name!r} has")
        dims = tuple(axis.dimension.name for axis in axes)
        mask = np.zeros(total, np.uint8)
        mask[first:last] = 1
        coordinates = (Coordinate("measured", "", dims, mask.reshape(shape)),)
    array = SyncedArray(frames, shape, sync_offset, 0 if fill is None else fill, dtype)
    return Foreign(name, array, (*axes, *signal), coordinates=coordinates, **told)


def _is_value(fill: Any, dtype: np.dtype[Any]) -> bool:
    """Whether values of a dtype can be `fill`."""
    if not np.can_cast(np.min_scalar_type(fill), dtype, "same_kind"):
        return False
    if dtype.kind not in "iu":
        return True
    return bool(np.iinfo(dtype).min <= fill <= np.iinfo(dtype).max)


def _shape(
    nav_shape: Sequence[int] | int | None,
    count: int,
    sync_offset: int,
    positions: Sequence[Axis] | None,
) -> tuple[int, ...]:
    if nav_shape is None:
        if positions is not None:
            return tuple(axis.dimension.size for axis in positions)
        return (max(0, count - sync_offset),)
    shape = (nav_shape,) if isinstance(nav_shape, (int, np.integer)) else tuple(nav_shape)
    if not shape or any(not isinstance(n, (int, np.integer)) or n < 1 for n in shape):
        raise OptionError(f"nav_shape={nav_shape!r} is no shape: give sizes of at least 1")
    return tuple(int(n) for n in shape)


def _axes(shape: tuple[int, ...]) -> tuple[Axis, ...]:
    if len(shape) == 1:
        return (position("frame", size=shape[0]),)
    names = NAMES[-len(shape) :] if len(shape) <= 3 else [f"scan_{n}" for n in range(len(shape))]
    return tuple(position(name, size=size) for name, size in zip(names, shape))
