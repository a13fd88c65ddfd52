"""Whole chunks of an array of a draft, encoded by the thread that writes them.

zarr hands every chunk to threads of its own and back, which takes longer than encoding does.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import google_crc32c
import numpy as np
from numcodecs.blosc import Blosc  # type: ignore[import-untyped]

from usidx.model.blocks import blocks_of
from usidx.model.dimension import Array
from usidx.stores import disk
from usidx.stores.zarr.create import open_to_write
from usidx.stores.zarr.draft import Target
from usidx.stores.zarr.staging import writing

_SHUFFLES = {"noshuffle": 0, "shuffle": 1, "bitshuffle": 2}


@dataclass(frozen=True)
class ChunkFiles:
    """The chunk files of an array that nobody reads before all of them are there.

    Parameters
    ----------
    target : the array
    dtype : of the values, as the file has them
    blosc : what compresses; None where nothing does
    names : from the index of a chunk (or shard) to the name of its file
    inner : shape of the chunks in a shard; None where each has a file of its own
    """

    target: Target
    dtype: np.dtype[Any]
    blosc: Blosc | None
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
        if self.inner is None:
            data, checksum = self._encoded(values)
        else:
            data, checksum = self._sharded(values)
        place = os.path.join(self.target.folder, self.names(index))
        with writing(self.target.path):
            os.makedirs(os.path.dirname(place), exist_ok=True)
            with disk.opened(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as file:
                disk.write_at(file, data.data, 0)
                disk.write_at(file, int(checksum).to_bytes(4, "little"), data.nbytes)
            if self.target.journal is not None:
                end = int(checksum).to_bytes(4, "little")
                known = checksum if self.inner is None else int(google_crc32c.value(data))
                whole = google_crc32c.extend(known, end)
                self.target.journal.add(place, data.nbytes + len(end), whole)

    def _encoded(self, values: Array) -> tuple[Array, int]:
        """(bytes, checksum) of one chunk."""
        values = np.ascontiguousarray(values, dtype=self.dtype).reshape(-1)
        data = values.view(np.uint8)
        if self.blosc is not None:
            data = np.frombuffer(self.blosc.encode(values), np.uint8)
        return data, int(google_crc32c.value(data))

    def _sharded(self, values: Array) -> tuple[Array, int]:
        """(bytes, checksum of the index at their end) of a shard: its chunks and where each is."""
        assert self.inner is not None
        pieces: list[Array] = []
        index: list[tuple[int, int]] = []
        start = 0
        shard = np.reshape(values, self.target.chunks)
        for block in blocks_of(self.target.chunks, self.inner):
            data, checksum = self._encoded(shard[block.key])
            pieces += [data, np.frombuffer(checksum.to_bytes(4, "little"), np.uint8)]
            index.append((start, data.nbytes + 4))
            start += data.nbytes + 4
        table = np.array(index, "<u8").reshape(-1).view(np.uint8)
        return np.concatenate([*pieces, table]), int(google_crc32c.value(table))


def chunk_files(target: Target) -> ChunkFiles:
    """The ChunkFiles of an array of a draft.

    Raises
    ------
    TypeError : where it has other codecs than `create_leaf` gives it
    """
    metadata: Any = open_to_write(target.folder).metadata
    codecs = [each.to_dict() for each in metadata.codecs]
    inner = None
    if [each["name"] for each in codecs] == ["sharding_indexed"]:
        said = codecs[0]["configuration"]
        if said.get("index_location", "end") not in ("end", "ShardingCodecIndexLocation.end"):
            raise TypeError(f"shards of {target.folder!r} have their index in front")
        inner = tuple(int(size) for size in said["chunk_shape"])
        codecs = [_as_dict(each) for each in said["codecs"]]
    names = [each["name"] for each in codecs]
    if names not in (["bytes", "crc32c"], ["bytes", "blosc", "crc32c"]):
        raise TypeError(f"chunks of {target.folder!r} go through {names}, which only zarr can do")
    little = codecs[0].get("configuration", {}).get("endian", "little") == "little"
    dtype = target.dtype.newbyteorder("<" if little else ">")
    blosc = None
    if len(codecs) == 3:
        said = codecs[1]["configuration"]
        blosc = Blosc(
            cname=said["cname"],
            clevel=said["clevel"],
            shuffle=_SHUFFLES[said["shuffle"]],
            blocksize=said["blocksize"],
        )
    return ChunkFiles(target, dtype, blosc, metadata.encode_chunk_key, inner)


def _as_dict(codec: Any) -> dict[str, Any]:
    found: dict[str, Any] = codec if isinstance(codec, dict) else codec.to_dict()
    return found
