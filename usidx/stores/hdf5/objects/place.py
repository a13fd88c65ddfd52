"""Where the values of a dataset lie in its file, and what proves that they still lie there."""

from __future__ import annotations

import hashlib
import math
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import h5py
import numpy as np

from usidx.stores.hdf5.objects import attributes

# The attributes of a Main that refer to its ancillaries.
REFERENCES = (
    "Position_Indices",
    "Position_Values",
    "Spectroscopic_Indices",
    "Spectroscopic_Values",
)
# Of an ancillary, this much is read to tell whether it is the same; of small ones everything.
_SAMPLE_BYTES = 64 * 2**10
_HEADER_BYTES = 512
_PROBE_BYTES = 4096


class Probe(NamedTuple):
    """Some bytes of a file, to see quickly whether they have changed."""

    start: int
    length: int
    checksum: int

    def holds(self, descriptor: int) -> bool:
        """Whether the open file still has these bytes."""
        return zlib.crc32(os.pread(descriptor, self.length, self.start)) == self.checksum


@dataclass(frozen=True)
class Place:
    """Where a dataset is in its file.

    Parameters
    ----------
    shape, dtype : of the dataset, dtype without the names that h5py keeps for enums
    offset : in bytes from the start of the file, where its values lie there in one piece as NumPy
        has them in memory; None where they have to be read through HDF5
    chunks : of the storage; None where it is contiguous
    digest : of what makes it the same Main: shape, dtype and ancillaries
    probes : bytes that change when the dataset moves or its ancillaries change
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int | None
    chunks: tuple[int, ...] | None
    digest: str
    probes: tuple[Probe, ...]

    @property
    def stop(self) -> int:
        """The first byte of the file behind the values; 0 where `offset` is None."""
        if self.offset is None:
            return 0
        return self.offset + math.prod(self.shape) * self.dtype.itemsize


class Side(NamedTuple):
    """What a reference of a Main leads to, and the labels of that; None where it has none."""

    referred: attributes.Referred
    labels: tuple[str, ...] | None


def find_place(dataset: h5py.Dataset, known: Mapping[str, Side] | None = None) -> Place:
    """Where `dataset` is, now; of its ancillaries only samples are read.

    Parameters
    ----------
    known : what its references lead to, by the attribute, where that was just looked up
    """
    digest = hashlib.sha256(repr((dataset.shape, plain_dtype(dataset.dtype))).encode())
    descriptor = _descriptor(dataset.file)
    offset = plain_offset(dataset)
    watched: list[tuple[h5py.Dataset, int | None]] = [(dataset, None)]
    for name in REFERENCES:
        referred, labels = (known or {}).get(name) or _side(dataset, name)
        digest.update(f"{name}:{referred.found}".encode())
        if referred.found == "dataset":
            target = referred.target
            start = plain_offset(target)
            digest.update(repr((target.shape, labels)).encode())
            digest.update(_sample(target, start, descriptor))
            watched.append((target, start))
    return Place(
        shape=tuple(dataset.shape),
        dtype=plain_dtype(dataset.dtype),
        offset=offset,
        chunks=dataset.chunks,
        digest=digest.hexdigest(),
        probes=() if descriptor is None else _probes(watched, descriptor),
    )


def _side(dataset: h5py.Dataset, name: str) -> Side:
    referred = attributes.read_reference(dataset, name)
    labels = None
    if referred.found == "dataset":
        labels = attributes.read_texts(referred.target, "labels")
    return Side(referred, labels)


def plain_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """`dtype` without metadata, such as the names of an enum, that would not survive a pickle."""
    if dtype.names is not None and dtype.fields is not None:
        inner = [dtype.fields[name] for name in dtype.names]
        return np.dtype(
            {
                "names": list(dtype.names),
                "formats": [plain_dtype(each[0]) for each in inner],
                "offsets": [each[1] for each in inner],
                "itemsize": dtype.itemsize,
            }
        )
    if dtype.subdtype is not None:
        return np.dtype((plain_dtype(dtype.subdtype[0]), dtype.subdtype[1]))
    return np.dtype(dtype.str) if dtype.kind in "biufcSV" else np.dtype(dtype.kind)


def plain_offset(dataset: h5py.Dataset) -> int | None:
    """The byte of the file at which the values start, where NumPy can read them from there.

    None for chunked, compact, virtual and external storage, for storage that is not allocated yet,
    and for types of HDF5 that NumPy has to be given by conversion.
    """
    if dataset.chunks is not None or dataset.is_virtual or dataset.external:
        return None
    offset = dataset.id.get_offset()  # includes a user block
    nbytes = math.prod(dataset.shape) * dataset.dtype.itemsize
    if offset is None or not nbytes or dataset.id.get_storage_size() != nbytes:
        return None
    return int(offset) if is_plain(dataset) else None


def is_plain(dataset: h5py.Dataset) -> bool:
    """Whether the bytes of one value in the file are those that NumPy has in memory."""
    dtype = dataset.dtype
    if dtype.hasobject or _has_kind(dtype, "gGMm"):
        return False
    stored = dataset.id.get_type()
    try:
        return bool(stored.equal(h5py.h5t.py_create(dtype, logical=True)))
    except (TypeError, ValueError):
        return False


def _has_kind(dtype: np.dtype[Any], chars: str) -> bool:
    if dtype.names is not None and dtype.fields is not None:
        return any(_has_kind(dtype.fields[name][0], chars) for name in dtype.names)
    return dtype.base.char in chars


def sample(dataset: h5py.Dataset) -> bytes:
    """Some values of a dataset as bytes, the same ones each time; all where they are few."""
    return _sample(dataset, plain_offset(dataset), _descriptor(dataset.file))


def _sample(dataset: h5py.Dataset, offset: int | None, descriptor: int | None) -> bytes:
    """The same, where its offset and the descriptor of its file are known."""
    shape, itemsize = dataset.shape, dataset.dtype.itemsize
    if not math.prod(shape):
        return b""
    if math.prod(shape) * itemsize <= _SAMPLE_BYTES:
        return to_bytes(dataset[()])
    axis = int(np.argmax(shape))
    others = [slice(0, 64)] * len(shape)
    places = 32 if dataset.chunks is None else 8  # each place may mean a chunk to decompress
    starts = np.linspace(0, shape[axis] - 16, places).astype(int).clip(0).tolist()
    narrow = axis == 0 and shape[0] >= 16 and max(shape[1:], default=1) <= 64
    if offset is not None and descriptor is not None and narrow:
        # the same bytes, thirty times as fast
        width = math.prod(shape[1:]) * itemsize
        found = [os.pread(descriptor, 16 * width, offset + start * width) for start in starts]
        if all(len(each) == 16 * width for each in found):
            return b"".join(found)
    parts = []
    for start in starts:
        key = (*others[:axis], slice(start, start + 16), *others[axis + 1 :])
        parts.append(to_bytes(dataset[key]))
    return b"".join(parts)


def _descriptor(file: h5py.File) -> int | None:
    """By which bytes of an open file are read past HDF5, which goes on from where it was.

    None where that cannot be.
    """
    by_place = hasattr(os, "pread") and file.driver == "sec2"
    return int(file.id.get_vfd_handle()) if by_place else None


def to_bytes(values: Any) -> bytes:
    """Values as bytes that are the same in every process."""
    array = np.asarray(values)
    if array.dtype.hasobject:  # the bytes of an object array are addresses
        return repr(array.tolist()).encode("utf-8", "backslashreplace")
    return np.ascontiguousarray(array).tobytes()


def _probes(watched: list[tuple[h5py.Dataset, int | None]], descriptor: int) -> tuple[Probe, ...]:
    """The headers of datasets, and the first values of those whose offset is given.

    The header of a dataset holds the address of its values.
    """
    base = watched[0][0].file.userblock_size
    size = os.fstat(descriptor).st_size
    found = []
    for dataset, offset in watched:
        spans = [(h5py.h5o.get_info(dataset.id).addr + base, _HEADER_BYTES)]
        if offset is not None:
            spans.append((offset, min(_PROBE_BYTES, dataset.id.get_storage_size())))
        found += [(start, min(length, size - start)) for start, length in spans if start < size]
    return tuple(
        Probe(start, length, zlib.crc32(os.pread(descriptor, length, start)))
        for start, length in found
    )
