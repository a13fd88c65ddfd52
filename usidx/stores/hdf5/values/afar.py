"""HDF5 files behind URLs: their structure through HDF5, their values by ranges of bytes."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import h5py
import numpy as np

from usidx.errors import DamagedStoreError, NotUsidError, SourceChangedError, UsidError
from usidx.model.dimension import Array
from usidx.stores.hdf5.file import SIGNATURE, FileIdentity, raised_by_h5py
from usidx.stores.hdf5.objects.heaps import starts_endless_heap
from usidx.stores.hdf5.objects.walk import find
from usidx.stores.hdf5.values.bytes import HDF5Array, Reading
from usidx.stores.hdf5.values.chunked import chunks_of
from usidx.stores.hdf5.values.copying import Rows, copy_through_hdf5, rows_of
from usidx.stores.hdf5.values.selection import Selection, as_rows
from usidx.stores.remote.objects import Version, near, read_ranges, version_of
from usidx.stores.remote.ranged import RangedFile
from usidx.stores.remote.url import Url

# So much is fetched at once, and held until it is copied.
_AT_ONCE = 32 * 2**20

_open: weakref.WeakValueDictionary[int, RangedFile] = weakref.WeakValueDictionary()
_open_lock = threading.Lock()


class _HDF5Object(RangedFile):
    """An HDF5 file behind a URL, which gives HDF5 nothing that it would read forever."""

    def at(self, start: int, stop: int) -> bytes:
        data = super().at(start, stop)
        if starts_endless_heap(data):
            raise DamagedStoreError(
                f"{str(self.url)!r} is damaged: HDF5 would read the heap of texts at byte {start} "
                "forever. Get the original again"
            )
        return data


def is_hdf5_afar(url: Url, version: Version) -> bool:
    """Whether the object has the HDF5 signature where HDF5 looks for it."""
    file = RangedFile(url, version)
    place = 0
    while place + len(SIGNATURE) <= version.size:
        if file.at(place, place + len(SIGNATURE)) == SIGNATURE:
            return True
        place = 512 if place == 0 else 2 * place
    return False


@contextmanager
def open_afar(url: Url, version: Version | None = None) -> Iterator[h5py.File]:
    """The HDF5 file at a URL, open for reading inside the `with` block.

    Parameters
    ----------
    version : that it must have; when None, the one that it has now

    Raises
    ------
    StoreNotFoundError, StoreAccessError, NotUsidError, DamagedStoreError : as they say
    SourceChangedError : where it became another one meanwhile
    """
    now = version_of(url)
    if version is not None and now != version:
        raise changed(url)
    raw = _HDF5Object(url, now)
    try:
        with h5py.File(raw, "r") as file:
            number = int(h5py.h5o.get_info(file.id).fileno)
            with _open_lock:
                _open[number] = raw
            yield file
    except Exception as error:
        if version_of(url) != now:
            raise changed(url) from error
        if isinstance(raw.error, UsidError):
            raise raw.error from error
        if isinstance(error, UsidError) or not raised_by_h5py(error):
            raise
        if not is_hdf5_afar(url, now):
            what = "is empty" if not now.size else "is not an HDF5 file: its signature is missing"
            raise NotUsidError(f"{str(url)!r} {what}") from error
        said = " ".join(str(error).split())
        raise DamagedStoreError(
            f"{str(url)!r} cannot be read: HDF5 says {said!r}. Get the original again"
        ) from error
    if version_of(url) != now:
        raise changed(url)


def changed(url: str) -> SourceChangedError:
    """What is raised where an object is no longer the one that was opened."""
    return SourceChangedError(f"{str(url)!r} has changed since it was opened; open it again")


def raw_of(dataset: h5py.Dataset) -> RangedFile | None:
    """The object that an open dataset is read from; None for files of this machine."""
    if dataset.file.driver != "fileobj":
        return None
    with _open_lock:
        return _open.get(int(h5py.h5o.get_info(dataset.id).fileno))


def identity_of(version: Version) -> FileIdentity:
    """The identity of a version of an object."""
    return FileIdentity(0, version.tag, version.size, 0)


@dataclass(frozen=True, eq=False)
class FarArray(HDF5Array):
    """The values of a dataset behind a URL, N-D, read block by block.

    Of a contiguous dataset it asks for the bytes that it needs, of a chunked one for whole chunks.
    It holds nothing open, can be pickled, and makes sure that the object is the one it was.
    """

    def __repr__(self) -> str:
        return f"<FarArray {self.path}::{self.dataset} shape={self.shape} dtype={self.dtype}>"

    def reading(self) -> Reading | None:
        return None

    def _fill(self, selection: Selection, out: Array) -> None:
        if not out.size:
            return
        url = self.path
        assert isinstance(url, Url)
        version = Version(self.identity.size, self.identity.inode)
        if self.place.offset is None:
            with open_afar(url, version) as file:
                dataset = find(file, self.dataset)
                chunks = chunks_of(dataset)
                copy_through_hdf5(dataset, chunks, self.folds, selection, self.field, out)
            return
        rows = rows_of(selection.ranges, self.folds)
        try:
            self._copy_ranges(url, rows, out)
        except UsidError as error:
            if version_of(url) != version:
                raise changed(url) from error
            raise
        # what was read before it changed was right
        if version_of(url) != version:
            raise changed(url)

    def _copy_ranges(self, url: Url, rows: Sequence[Rows], out: Array) -> None:
        """Fill `out` with the given rows along each axis of the dataset."""
        lines, columns = _as_matrix([as_rows(each) for each in rows], self.place.shape)
        flat = out.reshape(lines.size, columns.size)
        dtype, width = self.place.dtype, self.place.shape[-1] if len(self.place.shape) > 1 else 1
        assert self.place.offset is not None
        apart = near(url)
        for low, high, inside, target in _runs(columns, max(1, apart // dtype.itemsize)):
            nbytes = (high - low) * dtype.itemsize
            starts = self.place.offset + (lines * width + low) * dtype.itemsize
            step = max(1, _AT_ONCE // max(nbytes, apart))
            for first in range(0, lines.size, step):
                part = starts[first : first + step].tolist()
                found = read_ranges(url, [(start, start + nbytes) for start in part])
                for number, data in enumerate(found, start=first):
                    values = np.frombuffer(data, dtype)[inside]
                    flat[number, target] = values if self.field is None else values[self.field]


def _as_matrix(rows: list[Array], shape: tuple[int, ...]) -> tuple[Array, Array]:
    """(lines, columns) of the dataset as a matrix whose lines are along its last axis."""
    if len(rows) == 1:
        return rows[0], np.zeros(1, np.int64)
    lines = rows[0]
    for places, size in zip(rows[1:-1], shape[1:-1], strict=True):
        lines = (lines[:, None] * size + places).reshape(-1)
    return lines, rows[-1]


def _runs(columns: Array, near: int) -> Iterator[tuple[int, int, Array | slice, Array | slice]]:
    """(low, high, which of those between, places in `columns`) of columns that lie near."""
    order = np.argsort(columns, kind="stable")
    ordered = columns[order]
    edges = [0, *(np.flatnonzero(np.diff(ordered) > near) + 1).tolist(), len(columns)]
    for start, stop in zip(edges[:-1], edges[1:], strict=True):
        low, high = int(ordered[start]), int(ordered[stop - 1]) + 1
        if high - low == len(columns) and bool((np.diff(columns) == 1).all()):
            yield low, high, slice(None), slice(None)
        else:
            yield low, high, ordered[start:stop] - low, order[start:stop]
