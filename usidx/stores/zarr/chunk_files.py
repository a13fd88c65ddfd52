"""The chunk files of an array of a draft, written by the threads that have the values."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache

import google_crc32c

from usidx.model.dimension import Array
from usidx.stores import disk
from usidx.stores.zarr.create import open_to_write
from usidx.stores.zarr.draft import Target
from usidx.stores.zarr.encoding import Encoding, encoding_of
from usidx.stores.zarr.nodes import Stamp, stamp_of
from usidx.stores.zarr.staging import writing


@dataclass(frozen=True)
class ChunkFiles:
    """The chunk files of an array that nobody reads before all of them are there.

    Parameters
    ----------
    target : the array
    encoding : of its chunks
    """

    target: Target
    encoding: Encoding

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
        pieces = self.encoding.encode(values)
        place = os.path.join(self.target.folder, self.encoding.names(index))
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
    return ChunkFiles(target, encoding_of(open_to_write(target.folder)))
