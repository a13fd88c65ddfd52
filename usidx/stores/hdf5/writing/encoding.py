"""Chunks as HDF5's filters make them, encoded here: HDF5 lets one thread at a time do it."""

from __future__ import annotations

import math
import uuid
import zlib
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from usidx.model.dimension import Array
from usidx.model.main import MainSpec
from usidx.stores.hdf5.objects.place import is_plain
from usidx.stores.hdf5.values.fletcher import fletcher32

_CHUNK_BYTES = 2**20
_GZIP_LEVEL = 4  # that of h5py


@dataclass(frozen=True)
class Encoding:
    """How the chunks of a dataset are stored.

    Parameters
    ----------
    compression : "gzip", "lzf" or None
    shuffled : whether bytes are sorted by their significance before
    chunk : shape of one
    dtype : of the values in the file
    """

    compression: str | None
    shuffled: bool
    chunk: tuple[int, ...]
    dtype: np.dtype[Any]

    def encode(self, values: Array) -> tuple[int, bytes]:
        """(a bit for each filter that was left out, the bytes of one chunk with their checksum).

        Parameters
        ----------
        values : array, contiguous, all the values of a chunk, also of one at the edge
        """
        skipped, pieces = self.pieces(values)
        return skipped, b"".join(pieces)

    def pieces(self, values: Array) -> tuple[int, list[memoryview]]:
        """What `encode` gives, in pieces that follow one another: memory that is there already.

        Parameters
        ----------
        values : as for `encode`; they have to stay as they are while the pieces are needed
        """
        values = np.ascontiguousarray(values, dtype=self.dtype).reshape(-1)
        if self.compression == "lzf":
            skipped, data = self._through_hdf5(values)
            return skipped, [memoryview(data)]
        raw = values.view(np.uint8)
        if self.shuffled and self.dtype.itemsize > 1:
            # what h5py asks HDF5 for: the first bytes of all values, then the second ones, ...
            raw = np.ascontiguousarray(raw.reshape(-1, self.dtype.itemsize).T).reshape(-1)
        stored = raw.data
        if self.compression is not None:
            stored = memoryview(zlib.compress(stored, _GZIP_LEVEL))
        return 0, [stored, memoryview(fletcher32(stored).to_bytes(4, "little"))]

    def options(self) -> dict[str, Any]:
        """What h5py's `create_dataset` is told to make a dataset of such chunks."""
        return {
            "chunks": self.chunk,
            "compression": self.compression,
            "shuffle": self.shuffled,
            "fletcher32": True,
        }

    def _through_hdf5(self, values: Array) -> tuple[int, bytes]:
        """The bytes as HDF5 makes them, in a file that is never written."""
        name = f"usidx-{uuid.uuid4().hex}"
        with h5py.File(name, "w", driver="core", backing_store=False) as file:
            dataset = file.create_dataset("chunk", self.chunk, self.dtype, **self.options())
            dataset[...] = values.reshape(self.chunk)
            dataset.flush()
            skipped, data = dataset.id.read_direct_chunk((0,) * len(self.chunk))
        return int(skipped), bytes(data)


def chunk_shape(spec: MainSpec, block: tuple[int, ...] | None) -> tuple[int, int]:
    """Shape of the stored chunks: some 1 MiB, and blocks are made of whole ones where that goes."""
    rows, columns = spec.shape_2d
    width = columns * spec.dtype.itemsize
    if width > _CHUNK_BYTES:
        pieces = math.ceil(width / _CHUNK_BYTES)
        return 1, math.ceil(columns / pieces)
    most = min(rows, _CHUNK_BYTES // width)
    n_position = len(spec.position.shape)
    # one run of positions that a block has; the fastest axis where nothing is known
    run = math.prod(block[:n_position]) if block is not None else spec.position.shape[-1]
    if run <= most:
        return most // run * run, columns
    even = max(count for count in range(1, most + 1) if run % count == 0)
    return (even if 4 * even > most else most), columns


def encoding_of(dataset: h5py.Dataset) -> Encoding | None:
    """How the chunks of a dataset are stored; None where that is another way than those here."""
    if dataset.chunks is None or dataset.is_virtual or not is_plain(dataset):
        return None
    created = dataset.id.get_create_plist()
    filters = [created.get_filter(number) for number in range(created.get_nfilters())]
    numbers = tuple(int(each[0]) for each in filters)
    found = Encoding(dataset.compression, dataset.shuffle, dataset.chunks, np.dtype(dataset.dtype))
    expected = {None: (), "gzip": (h5py.h5z.FILTER_DEFLATE,), "lzf": (h5py.h5z.FILTER_LZF,)}
    shuffle = (h5py.h5z.FILTER_SHUFFLE,) if dataset.shuffle else ()
    known = expected.get(dataset.compression)
    if known is None or numbers != (*shuffle, *known, h5py.h5z.FILTER_FLETCHER32):
        return None
    if dataset.compression == "gzip" and dataset.compression_opts != _GZIP_LEVEL:
        return None
    return found
