"""Chunks read by their place in the file and decoded here: HDF5 lets one thread at a time do it.

HDF5 says where the chunks are, each time anew, while the file stays open for reading. Reading,
checking and decompressing them needs no lock, so that threads do it side by side.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import math
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import h5py
import numpy as np

from usidx.errors import DamagedStoreError
from usidx.model.dimension import Array
from usidx.stores.hdf5.objects.place import is_plain
from usidx.stores.hdf5.values.fletcher import agrees
from usidx.stores.hdf5.values.selection import Comb, as_rows
from usidx.stores.remote.objects import read_ranges

if TYPE_CHECKING:
    from usidx.stores.remote.ranged import RangedFile

_DEFLATE = h5py.h5z.FILTER_DEFLATE
_SHUFFLE = h5py.h5z.FILTER_SHUFFLE
_FLETCHER = h5py.h5z.FILTER_FLETCHER32
_KNOWN = (_DEFLATE, _SHUFFLE, _FLETCHER)
_CHECKSUM_BYTES = 4
# No filter adds so much to a chunk: what claims more is not even read.
_CLUTTER_BYTES = 2**26
# Of a file behind a URL so much is fetched at once.
_AT_ONCE = 32 * 2**20
# So many chunks that are so small are read faster by HDF5: a loop in Python costs more than a lock.
_MANY, _SMALL = 4096, 16 * 2**10


Bytes = bytes | memoryview


class Stored(NamedTuple):
    """Where a chunk is: its bytes in the file, and a bit for each filter that it went without."""

    offset: int
    nbytes: int
    skipped: int


@dataclass(frozen=True)
class Pipeline:
    """The filters of a dataset, in the order in which they were applied, and what goes in.

    Parameters
    ----------
    filters : numbers of the filters
    width : bytes of one value, as the shuffle filter takes it
    nbytes : of a decoded chunk
    """

    filters: tuple[int, ...]
    width: int
    nbytes: int

    def decode(self, raw: bytes, skipped: int) -> Bytes:
        """The bytes that were filtered into `raw`.

        Raises
        ------
        ValueError : where they cannot have been
        """
        data: Bytes = raw
        applied = [number for place, number in enumerate(self.filters) if not skipped >> place & 1]
        checks = applied.count(_FLETCHER)
        for number in reversed(applied):
            if number == _FLETCHER:
                data = _checked(data)
                checks -= 1
            elif number == _DEFLATE:
                data = _inflated(data, self.nbytes + checks * _CHECKSUM_BYTES)
            else:
                data = _unshuffled(data, self.width)
        if len(data) != self.nbytes:
            raise ValueError(f"it has {len(data)} bytes, expected {self.nbytes}")
        return data


def _checked(data: Bytes) -> Bytes:
    view = memoryview(data)
    content, checksum = view[:-_CHECKSUM_BYTES], view[-_CHECKSUM_BYTES:]
    if len(view) < _CHECKSUM_BYTES or not agrees(content, int.from_bytes(checksum, "little")):
        raise ValueError("its checksum (fletcher32) is wrong")
    return content


def _inflated(data: Bytes, nbytes: int) -> bytes:
    # A bound, as damaged or hostile bytes may be told to become any number of bytes.
    library = _library()
    inflater = library.decompressobj()
    try:
        found: bytes = inflater.decompress(data, nbytes + 1)
    except library.error as error:
        raise ValueError(str(error)) from error
    if len(found) > nbytes or not inflater.eof:
        raise ValueError(f"it does not decompress to {nbytes} bytes")
    return found


@functools.cache
def _library() -> Any:
    """The module that decompresses: Intel's ISA-L, more than twice as fast, if it is installed."""
    try:
        return importlib.import_module("isal.isal_zlib")
    except ImportError:
        return zlib


def _unshuffled(data: Bytes, width: int) -> Bytes:
    count = len(data) // width
    if width == 1 or count < 2:
        return data
    values = np.frombuffer(data, np.uint8)
    found = np.empty_like(values)
    whole = count * width
    planes, target = values[:whole].reshape(width, count), found[:whole].reshape(count, width)
    for number, plane in enumerate(planes):  # three times as fast as copying the transpose at once
        target[:, number] = plane
    found[whole:] = values[whole:]
    return found.data


@dataclass(frozen=True, eq=False)
class Chunks:
    """The chunks of a dataset of an open file, for as long as it is open.

    Parameters
    ----------
    dataset : that they are of
    pipeline : the filters that they went through
    shape : of a chunk
    dtype : of the values
    raw : the object behind a URL that the file is; None for a file of this machine
    """

    dataset: h5py.Dataset
    pipeline: Pipeline
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    raw: RangedFile | None

    @functools.cached_property
    def descriptor(self) -> int:
        """Of the open file."""
        return int(self.dataset.file.id.get_vfd_handle())

    def copy(self, rows: Sequence[slice | Comb | Array], field: str | None, out: Array) -> bool:
        """Fill `out` with the given rows along each axis, or say that HDF5 should.

        That is so where chunks were never written, and of very many small ones.

        Parameters
        ----------
        out : array, one axis for each axis of the dataset

        Raises
        ------
        DamagedStoreError : where a chunk is not what its filters made
        """
        pipeline = self.pipeline
        parts = [_parts(each, size) for each, size in zip(rows, self.shape, strict=True)]
        if pipeline.nbytes < _SMALL and math.prod(map(len, parts)) > _MANY:
            return False
        touched = [
            tuple(part.number * size for part, size in zip(each, self.shape, strict=True))
            for each in itertools.product(*parts)
        ]
        places = _places(self.dataset, touched)
        if places is None:
            return False
        wanted = [
            _Wanted(where, place, _index([part.target for part in each]), [p.inside for p in each])
            for each, where, place in zip(itertools.product(*parts), touched, places, strict=True)
        ]
        if pipeline.filters == (_FLETCHER,) and field is None and out.dtype == self.dtype:
            wanted = self._read_in_place(wanted, out)
        most = 2 * pipeline.nbytes + _CLUTTER_BYTES
        contents = self._contents([each.place for each in wanted], most)
        for each in wanted:
            try:
                if each.place.nbytes > most:
                    raise ValueError(f"it is said to take {each.place.nbytes} bytes")
                decoded = pipeline.decode(next(contents), each.place.skipped)
                values = np.frombuffer(decoded, self.dtype).reshape(self.shape)
            except ValueError as error:
                raise self._damaged(each, error) from error
            found = values if field is None else values[field]
            out[each.target] = found[_index(each.inside)]
        return True

    def _damaged(self, chunk: _Wanted, error: Exception) -> DamagedStoreError:
        dataset = self.dataset
        return DamagedStoreError(
            f"the chunk at {chunk.where} of {dataset.name!r} in {dataset.file.filename!r} is "
            f"damaged: {error}; get the original file again"
        )

    def _read_in_place(self, wanted: list[_Wanted], out: Array) -> list[_Wanted]:
        """Read whole chunks that have nothing but a checksum to where they go; give the others."""
        if self.raw is not None or not hasattr(os, "preadv"):
            return wanted
        left, check = [], bytearray(_CHECKSUM_BYTES)
        for each in wanted:
            sliced = all(isinstance(part, slice) for part in (*each.target, *each.inside))
            target = out[each.target] if sliced else out[:0]
            stored = target.nbytes + _CHECKSUM_BYTES
            whole = target.shape == self.shape and target.flags.c_contiguous
            if not whole or each.place.skipped or each.place.nbytes != stored:
                left.append(each)
                continue
            content = target.reshape(-1).view(np.uint8)
            count = os.preadv(self.descriptor, [content.data, check], each.place.offset)
            if count != stored or not agrees(content, int.from_bytes(check, "little")):
                raise self._damaged(each, ValueError("its checksum (fletcher32) is wrong"))
        return left

    def _contents(self, places: Sequence[Stored], most: int) -> Iterator[bytes]:
        """The bytes of each chunk as they are stored, none of which has more than `most`."""
        if self.raw is None:
            for place in places:
                yield os.pread(self.descriptor, place.nbytes, place.offset)
            return
        bounds = [0]
        size = 0
        for number, place in enumerate(places):
            size += place.nbytes
            if place.nbytes > most:
                bounds.append(number)
                break  # nobody asks for it
            if size > _AT_ONCE:
                bounds.append(number + 1)
                size = 0
        else:
            bounds.append(len(places))
        for start, stop in itertools.pairwise(bounds):
            ranges = [(each.offset, each.offset + each.nbytes) for each in places[start:stop]]
            if ranges:
                yield from map(bytes, read_ranges(self.raw.url, ranges))


class _Wanted(NamedTuple):
    """A chunk: its first row and column, where it is stored, and which of its values go where."""

    where: tuple[int, ...]
    place: Stored
    target: Any
    inside: list[slice | Array]


def chunks_of(dataset: h5py.Dataset) -> Chunks | None:
    """The Chunks of a dataset of an open file; None where only HDF5 can read them.

    That is so for other filters than gzip, shuffle and fletcher32, and for types that HDF5
    converts.
    """
    from usidx.stores.hdf5.values.afar import raw_of

    pipeline = _pipeline_of(dataset)
    if pipeline is None:
        return None
    return Chunks(dataset, pipeline, dataset.chunks, dataset.dtype, raw_of(dataset))


def _pipeline_of(dataset: h5py.Dataset) -> Pipeline | None:
    """The filters of a dataset; None where they, or its type, are left to HDF5."""
    file = dataset.file
    if dataset.chunks is None or dataset.is_virtual or file.driver not in ("sec2", "fileobj"):
        return None
    # Not every release of HDF5 counts the user block in the place of a chunk.
    if not hasattr(os, "pread") or file.userblock_size or not is_plain(dataset):
        return None
    created = dataset.id.get_create_plist()
    found = [created.get_filter(number) for number in range(created.get_nfilters())]
    numbers = tuple(int(each[0]) for each in found)
    if not numbers or any(each not in _KNOWN or numbers.count(each) > 1 for each in numbers):
        return None
    widths = [int(each[2][0]) for each in found if each[0] == _SHUFFLE and len(each[2])]
    if len(widths) != numbers.count(_SHUFFLE) or any(width < 1 for width in widths):
        return None
    nbytes = math.prod(dataset.chunks) * dataset.dtype.itemsize
    return Pipeline(numbers, widths[0] if widths else 1, nbytes)


def _places(dataset: h5py.Dataset, touched: Sequence[tuple[int, ...]]) -> list[Stored] | None:
    """Where the chunks are; None where one was never written."""
    found = []
    for where in touched:
        info = dataset.id.get_chunk_info_by_coord(where)
        if info.byte_offset is None or not info.size:
            return None
        found.append(Stored(int(info.byte_offset), int(info.size), int(info.filter_mask)))
    return found


class _Part(NamedTuple):
    """The rows that lie in one chunk: their places in the result, and within the chunk."""

    number: int
    target: slice | Array
    inside: slice | Array


def _parts(rows: slice | Comb | Array, size: int) -> list[_Part]:
    """The rows, sorted by the chunk of `size` rows that they lie in."""
    if isinstance(rows, slice):
        return list(_parts_of_run(rows.start, rows.stop, size))
    return list(_parts_of_any(as_rows(rows), size))


def _parts_of_run(start: int, stop: int, size: int) -> Iterator[_Part]:
    for number in range(start // size, -(-stop // size)):
        first, last = max(start, number * size), min(stop, (number + 1) * size)
        target = slice(first - start, last - start)
        yield _Part(number, target, slice(first - number * size, last - number * size))


def _parts_of_any(rows: Array, size: int) -> Iterator[_Part]:
    numbers = rows // size
    order = None
    if np.any(numbers[1:] < numbers[:-1]):
        order = np.argsort(numbers, kind="stable")
        numbers = numbers[order]
    edges = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(rows)]
    for start, stop in itertools.pairwise(edges):
        target = slice(start, stop) if order is None else order[start:stop]
        inside = rows[target] - int(numbers[start]) * size
        yield _Part(int(numbers[start]), target, _as_slice(inside))


def _as_slice(places: Array) -> slice | Array:
    first, last = int(places[0]), int(places[-1])
    if last - first + 1 == len(places) and bool((np.diff(places) == 1).all()):
        return slice(first, last + 1)
    return places


def _index(parts: Sequence[slice | Array]) -> Any:
    """The index that takes every combination of the places along each axis."""
    if sum(not isinstance(each, slice) for each in parts) < 2:
        return tuple(parts)
    ends = (
        each if not isinstance(each, slice) else np.arange(each.start, each.stop) for each in parts
    )
    return np.ix_(*ends)
