"""How much a dataset claims to hold, against what its file can hold.

A few bytes of a header can claim 2**62 values, or a chunk of 4 GiB. Who reads such a thing fills
memory with nothing, or waits forever.
"""

from __future__ import annotations

import math

import h5py

# No instrument measures more in one file.
_MOST_CELLS = 2**60
# Of a dataset, this much may be claimed beyond what is stored: space that is not written yet.
_SPARE_BYTES = 2**40
# deflate cannot do better, nor can lzf; others need next to nothing where all values are the same.
_MOST_DEFLATED = 1032
_MOST_DECODED = 2**17
_KNOWN_FILTERS = frozenset(
    {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32, 32000}
)
# One chunk is decoded as a whole, for whatever small part of it is read.
_MOST_CHUNK_BYTES = 2**30
_LARGE_CHUNK_BYTES = 2**26
# Chunks are looked at one by one where there are no more.
_MOST_CHUNKS_SEEN = 2**13


def absurdity(
    dataset: h5py.h5d.DatasetID, file_size: int, *, spare: int = _SPARE_BYTES
) -> str | None:
    """What a dataset claims that its file cannot hold, in words; None where it is all right.

    Parameters
    ----------
    file_size : bytes
    spare : bytes that it may claim beyond what is stored
    """
    creation = dataset.get_create_plist()
    layout = creation.get_layout()
    if layout == h5py.h5d.CONTIGUOUS and not creation.get_external_count():
        stored = dataset.get_storage_size()
        # HDF5 has made sure that this is what the shape takes.
        if stored and (dataset.get_offset() or 0) + stored <= file_size:
            return None
    shape = tuple(dataset.shape or ())
    cells = math.prod(shape)
    size = cells * dataset.get_type().get_size()
    if cells > _MOST_CELLS:
        return f"the shape {shape} has {cells:.1e} cells"
    if layout == h5py.h5d.CHUNKED:
        wrong = _chunk_absurdity(dataset, creation, size)
        if wrong is not None:
            return wrong
    elif layout == h5py.h5d.CONTIGUOUS and not creation.get_external_count():
        offset = dataset.get_offset()
        if offset is not None and offset + size > file_size:
            return (
                f"the shape {shape} takes {size} bytes from byte {offset} on, the file ends at "
                f"byte {file_size}"
            )
    if size > max(file_size, spare):
        stored = dataset.get_storage_size()
        if size > _most_decoded(creation) * stored + spare:
            return f"the shape {shape} takes {size:.1e} bytes, of which {stored} are stored"
    return None


def _most_decoded(creation: h5py.h5p.PropDCID) -> int:
    """How many bytes one stored byte may stand for."""
    filters = {creation.get_filter(number)[0] for number in range(creation.get_nfilters())}
    if not filters:
        return 1
    return _MOST_DEFLATED if filters <= _KNOWN_FILTERS else _MOST_DECODED


def _chunk_absurdity(
    dataset: h5py.h5d.DatasetID, creation: h5py.h5p.PropDCID, size: int
) -> str | None:
    chunk = creation.get_chunk()
    chunk_bytes = math.prod(chunk) * dataset.get_type().get_size()
    much = chunk_bytes > _LARGE_CHUNK_BYTES and chunk_bytes > 16 * size
    if much or chunk_bytes > _MOST_CHUNK_BYTES:
        return f"each chunk {chunk} takes {chunk_bytes} bytes in memory"
    if not creation.get_nfilters():
        return None
    shape = tuple(dataset.shape or ())
    count = math.prod(-(-extent // part) for extent, part in zip(shape, chunk, strict=True))
    return None if count > _MOST_CHUNKS_SEEN else swollen_chunk(dataset)


def swollen_chunk(dataset: h5py.h5d.DatasetID) -> str | None:
    """The first chunk that takes more room in the file than its values do; None where none does.

    No filter makes values larger by more than a little, so that its content is something else:
    unpacked, it may fill all memory.

    Parameters
    ----------
    dataset : chunked, with filters
    """
    chunk = dataset.get_create_plist().get_chunk()
    chunk_bytes = math.prod(chunk) * dataset.get_type().get_size()
    most = chunk_bytes + chunk_bytes // 50 + 4096
    found: list[str] = []

    def look(stored: h5py.h5d.StoreInfo) -> bool | None:
        if stored.size <= most:
            return None
        found.append(
            f"the chunk at {tuple(stored.chunk_offset)} takes {stored.size} bytes in the file for "
            f"{chunk_bytes} bytes of values"
        )
        return True

    dataset.chunk_iter(look)
    return found[0] if found else None
