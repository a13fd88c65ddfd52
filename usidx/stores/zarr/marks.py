"""Marks of completed positions: files of a few bytes each, of which there may be very many."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BytesCodec, Crc32cCodec
from zarr.core.chunk_key_encodings import DefaultChunkKeyEncoding
from zarr.storage import LocalStore

from usidx.model.blocks import axis_range
from usidx.model.dimension import Array
from usidx.stores.zarr.chunk_codec import codec_of

# Fewer files than these zarr looks for one by one.
_FEW = 64


def stored_marks(
    handle: zarr.Array[Any],
    key: tuple[slice, ...] | None = None,
    check: Callable[[str], None] | None = None,
) -> Array:
    """Marks as an array of bool; False where a file of them is missing or damaged.

    A power failure can leave a file without its content. What it marked is then computed again.

    Parameters
    ----------
    handle : the array of marks
    key : slices that go forward; everything when None
    check : called with folders and files that may be links, of arrays that are listed
    """
    whole = (slice(None),) * handle.ndim
    if are_listed(handle, whole if key is None else key):
        marks = _listed(handle, check or (lambda path: None))
        return marks if key is None else marks[key]
    try:
        return np.asarray(handle[whole if key is None else key]).astype(bool)
    except (ValueError, RuntimeError):
        marks = np.zeros(handle.shape, dtype=bool)
    for index in np.ndindex(*(-(-n // part) for n, part in zip(handle.shape, handle.chunks))):
        region = _region(index, handle)
        with contextlib.suppress(ValueError, RuntimeError):
            marks[region] = np.asarray(handle[region]).astype(bool)
    return marks if key is None else marks[key]


def are_listed(handle: zarr.Array[Any], key: tuple[slice, ...]) -> bool:
    """Whether marks are so many that the folder is looked into for the files that there are."""
    count = math.prod(
        len(axis_range(part, size)) // chunk + 2
        for part, size, chunk in zip(key, handle.shape, handle.chunks, strict=True)
    )
    return count > _FEW and _is_plain(handle)


def _is_plain(handle: zarr.Array[Any]) -> bool:
    """Whether marks are files of bytes with a checksum in a folder, as usidx makes them."""
    metadata: Any = handle.metadata
    if metadata.zarr_format == 2:
        coded = metadata.filters is None and getattr(metadata.compressor, "codec_id", "") == "crc32"
        return (
            isinstance(handle.store, LocalStore)
            and not handle.path
            and coded
            and handle.dtype == np.uint8
            and metadata.dimension_separator == "/"
            and handle.ndim > 0
        )
    codecs = tuple(type(each) for each in getattr(metadata, "codecs", ()))
    encoding = getattr(metadata, "chunk_key_encoding", None)
    return (
        isinstance(handle.store, LocalStore)
        and not handle.path
        and codecs == (BytesCodec, Crc32cCodec)
        and handle.dtype == np.uint8
        and handle.fill_value == 0
        and isinstance(encoding, DefaultChunkKeyEncoding)
        and encoding.separator == "/"
        and handle.ndim > 0
    )


def _listed(handle: zarr.Array[Any], check: Callable[[str], None]) -> Array:
    """Marks from the files that there are: zarr would look for each that there could be."""
    marks = np.zeros(handle.shape, dtype=bool)
    grid = tuple(-(-n // part) for n, part in zip(handle.shape, handle.chunks, strict=True))
    assert isinstance(handle.store, LocalStore)
    top = os.fspath(handle.store.root)
    codec, _ = codec_of(handle.metadata, np.dtype(np.uint8))
    if handle.metadata.zarr_format == 3:
        top = os.path.join(top, "c")
    check(top)
    for index, path in _files(top, grid, check):
        region = _region(index, handle)
        try:
            with open(path, "rb") as stream:
                content = stream.read()
        except FileNotFoundError:
            continue  # it has lost its marks since, to be computed again
        found = np.empty(handle.chunks, np.uint8)
        with contextlib.suppress(ValueError):  # a power failure can leave a file without content
            codec.decode(content, found)
            there = marks[region]
            there[...] = found[tuple(slice(0, n) for n in there.shape)]
    return marks


def _files(
    folder: str, grid: tuple[int, ...], check: Callable[[str], None], index: tuple[int, ...] = ()
) -> Iterator[tuple[tuple[int, ...], str]]:
    """(index, path) of each chunk file in a folder of chunks, and in the folders in it."""
    try:
        with os.scandir(folder) as entries:
            names = {each.name: each.is_symlink() for each in entries}
    except (FileNotFoundError, NotADirectoryError):
        return
    for name, is_link in names.items():
        # a name that no chunk has is a file that was being written
        if not (name.isascii() and name.isdigit() and str(int(name)) == name):
            continue
        if int(name) >= grid[len(index)]:
            continue
        inner, path = (*index, int(name)), os.path.join(folder, name)
        if is_link:
            check(path)
        if len(inner) == len(grid):
            yield inner, path
        else:
            yield from _files(path, grid, check, inner)


def _region(index: tuple[int, ...], handle: zarr.Array[Any]) -> tuple[slice, ...]:
    sizes = handle.shards or handle.chunks
    return tuple(slice(i * size, (i + 1) * size) for i, size in zip(index, sizes, strict=True))
