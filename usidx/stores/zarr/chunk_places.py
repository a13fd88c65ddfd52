"""Which chunk files of an array there are, and what of it each of them holds."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import zarr

_SAMPLED_CHUNKS = 8


def touched(handle: zarr.Array[Any], key: tuple[slice, ...]) -> Iterator[tuple[int, ...]]:
    """Indices of the chunk files that hold the values of `key`."""
    return itertools.product(
        *(
            range(part.start // size, -(-part.stop // size)) if part.stop > part.start else ()
            for part, size in zip(key, handle.shards or handle.chunks, strict=True)
        )
    )


def region_of(index: tuple[int, ...], handle: zarr.Array[Any]) -> tuple[slice, ...]:
    """The values that a chunk file holds."""
    sizes = handle.shards or handle.chunks
    return tuple(slice(i * size, (i + 1) * size) for i, size in zip(index, sizes, strict=True))


def sampled_chunks(handle: zarr.Array[Any], shape: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Indices of a few chunk files of an array of `shape`, evenly spread."""
    sizes = handle.shards or handle.chunks
    grid = [max(1, -(-size // part)) for size, part in zip(shape, sizes, strict=True)]
    count = math.prod(grid)
    for number in sorted({count * n // _SAMPLED_CHUNKS for n in range(_SAMPLED_CHUNKS)}):
        yield tuple(int(each) for each in np.unravel_index(number, grid))
