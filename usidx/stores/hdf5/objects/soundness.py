"""Whether the values of a dataset are where its file says, and can be read."""

from __future__ import annotations

import math
from collections.abc import Iterator

import h5py

from usidx.model.rules import Violation
from usidx.stores.hdf5.objects.extents import swollen_chunk

_BAND_BYTES = 32 * 2**20
_MEND = "get the original again; what it has lost cannot be told from the file"


def check_storage(path: str, dataset: h5py.Dataset, size: int) -> Iterator[Violation]:
    """What is wrong with the places of the values of a dataset, in a file of `size` bytes."""
    if dataset.chunks is None:
        return
    if dataset.id.get_create_plist().get_nfilters():
        swollen = swollen_chunk(dataset.id)
        if swollen is not None:
            expected = "chunks as large as their values, or less"
            yield Violation(path, "error", swollen, expected, _MEND)
    outside: list[str] = []

    def look(stored: h5py.h5d.StoreInfo) -> bool | None:
        if stored.byte_offset is None or stored.byte_offset + stored.size <= size:
            return None
        outside.append(f"the chunk at {tuple(stored.chunk_offset)} at byte {stored.byte_offset}")
        return True

    try:
        dataset.id.chunk_iter(look)
    except (OSError, RuntimeError, ValueError) as error:
        outside.append(f"an index of chunks that cannot be read ({' '.join(str(error).split())})")
    if outside:
        expected = f"chunks within the {size} bytes of the file"
        yield Violation(path, "error", outside[0], expected, _MEND)


def check_values(path: str, dataset: h5py.Dataset) -> Iterator[Violation]:
    """The error of the first values of a dataset that cannot be read, by their checksum or else."""
    shape = dataset.shape
    if not shape or not math.prod(shape):
        return
    row = math.prod(shape[1:]) * dataset.dtype.itemsize
    step = max(1, _BAND_BYTES // max(1, row))
    if dataset.chunks:
        step = max(dataset.chunks[0], step // dataset.chunks[0] * dataset.chunks[0])
    for start in range(0, shape[0], step):
        stop = min(start + step, shape[0])
        try:
            dataset[start:stop]
        except (OSError, RuntimeError, ValueError, TypeError) as error:
            said = " ".join(str(error).split())
            found = f"values of rows {start} to {stop} that cannot be read ({said})"
            yield Violation(path, "error", found, "values that can be read", _MEND)
            return
