"""Whole chunks of an array of a draft, encoded by the thread that writes them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import google_crc32c
import numpy as np

from usidx.model.blocks import blocks_of
from usidx.model.dimension import Array
from usidx.stores import disk
from usidx.stores.zarr.chunk_codec import ChunkCodec, codec_of
from usidx.stores.zarr.create import open_to_write
from usidx.stores.zarr.draft import Target
from usidx.stores.zarr.nodes import Stamp, stamp_of
from usidx.stores.zarr.staging import writing


@dataclass(frozen=True)
class ChunkFiles:
    """The chunk files of an array that nobody reads before all of them are there.

    Parameters
    ----------
    target : the array
    codec : of its chunks
    names : from the index of a chunk (or shard) to the name of its file
    inner : shape of the chunks in a shard; None where each has a file of its own
    """

    target: Target
    codec: ChunkCodec
    names: Any
    inner: tuple[int, ...] | None = None

    def write(self, index: tuple[int, ...], values: Array) -> None:
        """Write one chunk.

        Parameters
        ----------
        index : of the chunk along each axis
        values : array, contiguous, all the values of a chunk, also of one at the edge

        Raises
        ------
        NoSpaceError, ReadOnlyStoreError : where it cannot be written
        """
        pieces = self.codec.encode(values) if self.inner is None else self._sharded(values)
        place = os.path.join(self.target.folder, self.names(index))
        with writing(self.target.path):
            os.makedirs(os.path.dirname(place), exist_ok=True)
            size = 0
            with disk.opened(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as file:
                for piece in pieces:
                    disk.write_at(file, piece.data, size)
                    size += piece.nbytes
            if self.target.journal is not None:
                checksum = 0
                for piece in pieces:
                    checksum = google_crc32c.extend(checksum, piece)
                self.target.journal.add(place, size, checksum)

    def _sharded(self, values: Array) -> list[Array]:
        """What a shard has: its chunks, then where each of them is, and the checksum of that."""
        assert self.inner is not None
        pieces: list[Array] = []
        index: list[tuple[int, int]] = []
        start = 0
        shard = np.reshape(values, self.target.chunks)
        for block in blocks_of(self.target.chunks, self.inner):
            chunk = self.codec.encode(shard[block.key])
            size = sum(piece.nbytes for piece in chunk)
            pieces += chunk
            index.append((start, size))
            start += size
        table = np.array(index, "<u8").reshape(-1).view(np.uint8)
        checksum = int(google_crc32c.value(table)).to_bytes(4, "little")
        return [*pieces, table, np.frombuffer(checksum, np.uint8)]


def chunk_files(target: Target) -> ChunkFiles:
    """The ChunkFiles of an array of a draft.

    Raises
    ------
    TypeError : where it has other codecs than `create_leaf` gives it
    """
    return _found(target, stamp_of(target.folder))


@lru_cache(maxsize=64)
def _found(target: Target, stamp: Stamp) -> ChunkFiles:
    """The same, looked up once for as long as the metadata are the same."""
    metadata: Any = open_to_write(target.folder).metadata
    codec, inner = codec_of(metadata, target.dtype)
    return ChunkFiles(target, codec, metadata.encode_chunk_key, inner)
