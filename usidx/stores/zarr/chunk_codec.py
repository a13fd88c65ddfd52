"""What becomes of the values of a chunk on their way into its file, and back.

zarr hands every chunk to threads of its own and back, which takes longer than encoding does. The
thread that has the values does it here, for the codecs that usidx gives its arrays.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Any

import google_crc32c
import numpy as np
from numcodecs.blosc import Blosc  # type: ignore[import-untyped]

from usidx.model.dimension import Array

_SHUFFLES = {"noshuffle": 0, "shuffle": 1, "bitshuffle": 2}
_CHECKSUM_BYTES = 4
# In the header of Blosc: bytes before and after, and those of a block.
_SIZES = slice(4, 16)


@dataclass(frozen=True)
class ChunkCodec:
    """How the chunks of an array are encoded.

    Parameters
    ----------
    dtype : of the values, as the file has them
    blosc : what compresses; None where nothing does
    checksum : "crc32c", behind the bytes that it is of, or "crc32", in front of them; "" for none
    """

    dtype: np.dtype[Any]
    blosc: Blosc | None
    checksum: str

    def encode(self, values: Array) -> list[Array]:
        """What the file of a chunk has, one after the other: arrays of uint8.

        Parameters
        ----------
        values : array, all the values of a chunk, also of one at the edge
        """
        values = np.ascontiguousarray(values, dtype=self.dtype).reshape(-1)
        data = values.view(np.uint8)
        if self.blosc is not None:
            data = np.frombuffer(self.blosc.encode(values), np.uint8)
        if not self.checksum:
            return [data]
        found = np.frombuffer(self._checksum(data), np.uint8)
        return [data, found] if self.checksum == "crc32c" else [found, data]

    def decode(self, content: bytes, out: Array) -> None:
        """Fill `out`, contiguous and of the shape of a chunk, from the content of its file.

        Raises
        ------
        ValueError, RuntimeError : where the content cannot be that of such a chunk
        """
        data = np.frombuffer(content, np.uint8)
        if self.checksum == "crc32c":
            data, said = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
        elif self.checksum:
            said, data = data[:_CHECKSUM_BYTES], data[_CHECKSUM_BYTES:]
        if self.checksum and said.tobytes() != self._checksum(data):
            raise ValueError("its checksum is wrong")
        native = out.dtype == self.dtype
        values = out if native else np.empty(out.shape, self.dtype)
        if self.blosc is None:
            if data.nbytes != values.nbytes:
                raise ValueError(f"it is {data.nbytes} bytes, expected {values.nbytes}")
            values.reshape(-1)[...] = data.view(self.dtype)
        else:
            before, _, after = struct.unpack("<III", data[_SIZES].tobytes())
            if before != values.nbytes or after != data.nbytes:
                raise ValueError(f"it is {after} bytes of {before}, expected {values.nbytes}")
            self.blosc.decode(data, out=values.reshape(-1))
        if not native:
            out[...] = values

    def _checksum(self, data: Array) -> bytes:
        value = google_crc32c.value(data) if self.checksum == "crc32c" else zlib.crc32(data.data)
        return int(value).to_bytes(_CHECKSUM_BYTES, "little")


def codec_of(metadata: Any, dtype: np.dtype[Any]) -> tuple[ChunkCodec, tuple[int, ...] | None]:
    """(codec, shape of the chunks in a shard or None) of an array, by the metadata that zarr has.

    Parameters
    ----------
    dtype : of the values

    Raises
    ------
    TypeError : where it has other codecs than usidx gives its arrays
    """
    if metadata.zarr_format == 2:
        return _codec_of_v2(metadata, dtype), None
    codecs = [each.to_dict() for each in metadata.codecs]
    inner = None
    if [each["name"] for each in codecs] == ["sharding_indexed"]:
        said = codecs[0]["configuration"]
        if said.get("index_location", "end") not in ("end", "ShardingCodecIndexLocation.end"):
            raise TypeError("its shards have their index in front")
        inner = tuple(int(size) for size in said["chunk_shape"])
        codecs = [_as_dict(each) for each in said["codecs"]]
    names = [each["name"] for each in codecs]
    if names not in (["bytes", "crc32c"], ["bytes", "blosc", "crc32c"]):
        raise TypeError(f"its chunks go through {names}, which only zarr can do")
    little = codecs[0].get("configuration", {}).get("endian", "little") == "little"
    blosc = None
    if len(codecs) == 3:
        said = codecs[1]["configuration"]
        blosc = Blosc(
            cname=said["cname"],
            clevel=said["clevel"],
            shuffle=_SHUFFLES[said["shuffle"]],
            blocksize=said["blocksize"],
        )
    return ChunkCodec(dtype.newbyteorder("<" if little else ">"), blosc, "crc32c"), inner


def _codec_of_v2(metadata: Any, dtype: np.dtype[Any]) -> ChunkCodec:
    filters = [*(metadata.filters or ()), metadata.compressor]
    names = [None if each is None else each.codec_id for each in filters]
    if metadata.order != "C" or names not in (["crc32"], ["blosc", "crc32"]):
        raise TypeError(f"its chunks go through {names}, which only zarr can do")
    little = metadata.dtype.to_native_dtype().byteorder != ">"
    blosc = filters[0] if len(filters) == 2 else None
    return ChunkCodec(dtype.newbyteorder("<" if little else ">"), blosc, "crc32")


def _as_dict(codec: Any) -> dict[str, Any]:
    found: dict[str, Any] = codec if isinstance(codec, dict) else codec.to_dict()
    return found
