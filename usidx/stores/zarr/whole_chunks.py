"""Whole chunks read into memory that is there, decoded by the thread that wants them."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import Any

import numpy as np
import zarr

from usidx.model.dimension import Array
from usidx.stores import disk
from usidx.stores.zarr.chunk_codec import codec_of
from usidx.stores.zarr.chunk_places import touched


def read_whole_chunks(
    handle: zarr.Array[Any],
    folder: str,
    key: tuple[slice, ...],
    out: Array,
    check: Callable[[str], None],
) -> bool:
    """Fill `out` with the values of `key`, or say that zarr has to do it.

    That is so where `key` cuts chunks, for shards and other codecs than those of usidx, and for
    files that are missing or damaged, of which zarr says more.

    Parameters
    ----------
    folder : of the array
    key : slices that go forward
    out : array, C-contiguous, of the shape of `key` and the dtype of the values
    check : called with folders and files that may be links
    """
    try:
        codec, inner = codec_of(handle.metadata, out.dtype)
    except (TypeError, KeyError):
        return False
    chunks = handle.chunks
    if inner is not None or not all(
        part.step == 1 and part.start % size == 0 and (part.stop % size == 0 or part.stop == full)
        for part, size, full in zip(key, chunks, handle.shape, strict=True)
    ):
        return False
    checked: set[str] = set()
    memory = None
    try:
        for index in touched(handle, key):
            file = os.path.join(folder, handle.metadata.encode_chunk_key(index))
            if (parent := os.path.dirname(file)) not in checked:
                check(parent)
                checked.add(parent)
            place = out[_within(index, key, chunks)]
            if place.shape == chunks and place.flags.c_contiguous:
                codec.decode(_content(file, check), place)
                continue
            memory = np.empty(chunks, out.dtype) if memory is None else memory
            codec.decode(_content(file, check), memory)
            place[...] = memory[tuple(slice(0, size) for size in place.shape)]
    except (OSError, ValueError, RuntimeError):
        return False
    return True


def _within(
    index: tuple[int, ...], key: tuple[slice, ...], chunks: tuple[int, ...]
) -> tuple[slice, ...]:
    """Where the values of a chunk are among those of `key`."""
    return tuple(
        slice(number * size - part.start, (number + 1) * size - part.start)
        for number, part, size in zip(index, key, chunks, strict=True)
    )


def _content(file: str, check: Callable[[str], None]) -> bytes:
    if stat.S_ISLNK(os.lstat(file).st_mode):
        check(file)
    with disk.opened(file, os.O_RDONLY) as descriptor:
        return disk.read_at(descriptor, os.fstat(descriptor).st_size, 0)
