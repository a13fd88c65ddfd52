"""Chunks of Zarr that Blosc packed: it unpacks one that is cut short without a word."""

from __future__ import annotations

import itertools
import os
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from usidx.errors import DamagedStoreError

# Of 16 bytes, the last four say how many the chunk has.
_HEAD = struct.Struct("<12xI")


def check_chunks(array: Any, folder: str, key: Any) -> None:
    """Nothing, where the files of the chunks that a key selects are as long as they say.

    Parameters
    ----------
    array : of Zarr, in either format
    folder : of the store, on disk
    key : ints and slices

    Raises
    ------
    DamagedStoreError : for one that is cut short
    """
    if not _is_blosc(array):
        return
    for path in _files(array, folder, key):
        try:
            with open(path, "rb") as file:
                head = file.read(_HEAD.size)
                size = os.fstat(file.fileno()).st_size
        except FileNotFoundError:  # all fill values
            continue
        needed = _HEAD.unpack(head)[0] if len(head) == _HEAD.size else _HEAD.size
        if size < needed:
            raise DamagedStoreError(
                f"the chunk {path!r} is cut short: it has {size} of the {needed} bytes that it says"
            )


def check_chunks_in(folder: str, name: str, key: Any) -> None:
    """As `check_chunks`, for the array of that name in a folder; nothing for a file."""
    import zarr
    from zarr.storage import LocalStore

    if os.path.isdir(folder):
        store = LocalStore(folder, read_only=True)
        check_chunks(zarr.open_array(store, path=name.strip("/"), mode="r"), folder, key)


def _is_blosc(array: Any) -> bool:
    """Whether what is in the file of a chunk is what Blosc made."""
    metadata = array.metadata
    if metadata.zarr_format == 2:
        return getattr(metadata.compressor, "codec_id", "") == "blosc"
    return any(type(each).__name__ in ("BloscCodec", "Blosc") for each in metadata.codecs)


def _files(array: Any, folder: str, key: Any) -> Iterator[str]:
    """The files of the chunks that a key selects."""
    parts = list(key) if isinstance(key, tuple) else [key]
    parts += [slice(None)] * (array.ndim - len(parts))
    hit = []
    for part, size, chunk in zip(parts, array.shape, array.chunks):
        places = np.atleast_1d(np.arange(size)[part]) if size else np.empty(0, np.int64)
        hit.append(np.unique(places // chunk).tolist())
    for cell in itertools.product(*hit):
        yield os.path.join(folder, array.path, array.metadata.encode_chunk_key(cell))
