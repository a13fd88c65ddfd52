"""Whole chunks of an array, encoded by the thread that has their values.

zarr would hand each of them to threads of its own and back, in several copies.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import google_crc32c
import numpy as np

from usidx.model.blocks import blocks_of
from usidx.model.dimension import Array
from usidx.stores.zarr.chunk_codec import ChunkCodec, codec_of

if TYPE_CHECKING:
    import zarr


@dataclass(frozen=True)
class Encoding:
    """What becomes of the values of a whole chunk (or shard) of an array, and in which file.

    Parameters
    ----------
    shape : of a chunk, which is a shard where there are some
    codec : of the chunks
    names : from the index of a chunk to the name of its file
    fill : what is beyond the edge of the array
    inner : shape of the chunks in a shard; None where each has a file of its own
    """

    shape: tuple[int, ...]
    codec: ChunkCodec
    names: Any
    fill: Any
    inner: tuple[int, ...] | None = None

    def encode(self, values: Array) -> list[Array]:
        """What the file has, one after the other: arrays of uint8.

        Parameters
        ----------
        values : array, all the values of a chunk, also of one at the edge
        """
        if self.inner is None:
            return self.codec.encode(values)
        pieces: list[Array] = []
        index: list[tuple[int, int]] = []
        start = 0
        shard = np.reshape(values, self.shape)
        for block in blocks_of(self.shape, self.inner):
            chunk = self.codec.encode(shard[block.key])
            size = sum(piece.nbytes for piece in chunk)
            pieces += chunk
            index.append((start, size))
            start += size
        # behind the chunks is where each of them is, and the checksum of that
        table = np.array(index, "<u8").reshape(-1).view(np.uint8)
        checksum = int(google_crc32c.value(table)).to_bytes(4, "little")
        return [*pieces, table, np.frombuffer(checksum, np.uint8)]

    def is_whole(self, key: tuple[slice, ...], shape: tuple[int, ...]) -> bool:
        """Whether a block is made of whole chunks, and its slices say from where to where.

        Parameters
        ----------
        shape : of the array
        """
        plain = isinstance(key, tuple) and len(key) == len(shape)
        return plain and all(
            isinstance(part, slice)
            and part.step in (None, 1)
            and None not in (part.start, part.stop)
            and part.start % chunk == 0
            and (part.stop % chunk == 0 or part.stop == size)
            for part, chunk, size in zip(key, self.shape, shape, strict=True)
        )

    def chunks_in(
        self, key: tuple[slice, ...], block: Array
    ) -> Iterator[tuple[tuple[int, ...], Array]]:
        """(index, values) of each chunk of a block that is whole; those at the edge filled up."""
        for each in blocks_of(block.shape, self.shape):
            part = block[each.key]
            index = tuple(
                (whole.start + inside.start) // chunk
                for whole, inside, chunk in zip(key, each.key, self.shape, strict=True)
            )
            if part.shape != self.shape:
                filled = np.full(self.shape, self.fill, block.dtype)
                filled[tuple(map(slice, part.shape))] = part
                part = filled
            yield index, part


def encoding_of(array: zarr.Array[Any]) -> Encoding:
    """The Encoding of an array.

    Raises
    ------
    TypeError : where it has other codecs than `create_leaf` gives it
    """
    metadata: Any = array.metadata
    codec, inner = codec_of(metadata, array.dtype)
    shape = array.chunks if array.shards is None else array.shards
    fill = 0 if array.fill_value is None else array.fill_value
    return Encoding(tuple(shape), codec, metadata.encode_chunk_key, fill, inner)
