"""HDF5Array: the values of a dataset as an N-D array that reads what is indexed.

Contiguous values are read by their offset, without HDF5 and its lock, so that many threads read at
once. Everything else goes through h5py, in a file that is open for that one read. As the offset is
remembered, each read makes sure that the file is still the one it was found in.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import h5py
import numpy as np

from usidx.errors import DamagedStoreError, SourceChangedError, StoreNotFoundError
from usidx.model.blocks import contiguous_run
from usidx.model.dimension import Array
from usidx.stores import guard
from usidx.stores.hdf5.file import FileIdentity, open_file, understandable
from usidx.stores.hdf5.objects.place import Place, find_place
from usidx.stores.hdf5.objects.walk import find
from usidx.stores.hdf5.values.chunked import chunks_of
from usidx.stores.hdf5.values.copying import copy_by_offset, copy_through_hdf5, read_run
from usidx.stores.hdf5.values.known import KnownPlace, known_place, remember
from usidx.stores.hdf5.values.selection import Fold, Selection, select

# How long a place that was looked up in a changing file is trusted while its probes hold.
_TRUSTED_SECONDS = 1.0
_ATTEMPTS = 3
# Seconds in which parts are read in a row without another look at the file.
_LOOK_EVERY = 0.1


class _MovedError(Exception):
    """The file was replaced, or its values moved, while it was read."""


@dataclass(frozen=True, eq=False)
class HDF5Array:
    """The values of a dataset of an HDF5 file, N-D, read block by block.

    It holds no open file, can be pickled, and may be read by many threads and processes at once.

    Parameters
    ----------
    path : absolute path of the file
    dataset : path of the dataset in it
    folds : one for each axis of the dataset: how it unfolds to N-D axes
    place : where the values were when the file was opened
    identity : the file, as it was then
    field : of a compound dataset, the one to read; None for all of them
    allow_external : folders with other files that this one may reach
    """

    path: str
    dataset: str
    folds: tuple[Fold, ...]
    place: Place
    identity: FileIdentity
    field: str | None = None
    allow_external: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the N-D axes."""
        return tuple(size for fold in self.folds for size in fold.shape)

    @property
    def ndim(self) -> int:
        """How many N-D axes there are."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """How many values there are."""
        return math.prod(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of one value as it is read."""
        if self.field is None or self.place.dtype.fields is None:
            return self.place.dtype
        return self.place.dtype.fields[self.field][0]

    @property
    def nbytes(self) -> int:
        """Size of all values in memory."""
        return self.size * self.dtype.itemsize

    @property
    def reads_anywhere(self) -> bool:
        """Whether reading a little costs a little: nothing has to be decompressed for it."""
        return self.place.offset is not None

    def only(self, field: str) -> HDF5Array:
        """The same array with one field of its compound values."""
        if self.place.dtype.names is None or field not in self.place.dtype.names:
            raise KeyError(
                f"{self.dataset!r} has the fields {self.place.dtype.names}, not {field!r}"
            )
        return replace(self, field=field)

    def __dask_tokenize__(self) -> Any:
        orders = tuple(None if fold.order is None else hash_of(fold.order) for fold in self.folds)
        shapes = tuple(fold.shape for fold in self.folds)
        place = (self.place.digest, str(self.dtype), self.field)
        return ("usidx.HDF5Array", self.path, self.dataset, self.identity, shapes, orders, place)

    def __repr__(self) -> str:
        return f"<HDF5Array {self.path}::{self.dataset} shape={self.shape} dtype={self.dtype}>"

    def __getitem__(self, key: Any, /) -> Array:
        """The values that ints and slices select, as a new array.

        Raises
        ------
        SourceChangedError : where the file no longer holds what was opened
        StoreNotFoundError : where it has been moved or deleted
        """
        return self.read(key)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.asarray(self.read(()), dtype=dtype)

    def read(self, key: Any, out: Array | None = None) -> Array:
        """The values that `key` selects, in `out` where it is given.

        Parameters
        ----------
        key : ints and slices, one for each N-D axis or less
        out : array of the shape and dtype of the result, filled and returned
        """
        selection = select(key, self.shape)
        direct = out is not None and out.flags.c_contiguous and out.dtype == self.dtype
        forward = all(each != slice(None, None, -1) for each in selection.finish)
        if out is not None and direct and forward:
            self._fill(selection, out.reshape(selection.counts))
            return out
        values = np.empty(selection.counts, dtype=self.dtype)
        self._fill(selection, values)
        finished = values[selection.finish]
        if out is None:
            return np.asarray(finished) if forward else np.ascontiguousarray(finished)
        out[...] = finished
        return out

    def _fill(self, selection: Selection, out: Array) -> None:
        """Read `selection` into `out`, shape `selection.counts`."""
        if not out.size:
            return
        for _ in range(_ATTEMPTS):
            try:
                if self._current().offset is None:
                    self._fill_through_hdf5(selection, out)
                else:
                    self._fill_by_offset(selection, out)
            except _MovedError:
                continue
            return
        raise SourceChangedError(
            f"{self.path!r} was rewritten again and again while {self.dataset!r} was read; wait "
            "until whatever writes it has finished"
        )

    # -- is it still there ---------------------------------------------------------------------

    @property
    def _name(self) -> tuple[str, str, str]:
        return (self.path, self.dataset, self.place.digest)

    def _current(self) -> Place:
        """The last place that is known, without a look at the file."""
        known = known_place(self._name)
        return self.place if known is None else known.place

    def _trusted(self, descriptor: int, now: FileIdentity) -> Place | None:
        """Where the values lie in the open file, if that is sure without HDF5; else None."""
        if now == self.identity:
            return self.place
        known = known_place(self._name)
        if known is None:
            return None
        if known.identity == now:
            return known.place
        # While results are written into the same file it changes all the time, but not here.
        recent = time.monotonic() - known.looked_up < _TRUSTED_SECONDS
        grown = now.same_file(known.identity) and now.size >= known.identity.size
        probes = known.place.probes
        if recent and grown and probes and all(each.holds(descriptor) for each in probes):
            remember(self._name, replace(known, identity=now))
            return known.place
        return None

    def _place_in(self, descriptor: int, now: FileIdentity) -> Place:
        """Where the values lie in the open file, whose identity is `now`."""
        place = self._trusted(descriptor, now)
        if place is None:
            with open_file(self.path) as file:
                found, place = self._look_up(file)
            if not found.same_file(now):
                raise _MovedError
        return place

    def _look_up(self, file: h5py.File) -> tuple[FileIdentity, Place]:
        """Find the dataset again in a file that has changed, and insist that it is the same."""
        found = FileIdentity.of(file)
        guard.check(file, self.allow_external)
        dataset = find(file, self.dataset)
        if not isinstance(dataset, h5py.Dataset):
            raise SourceChangedError(
                f"{self.path!r} has changed since it was opened: {self.dataset!r} is no longer in "
                "it; open the file again to see what it holds now"
            )
        place = find_place(dataset)
        before, after = (self.place.shape, self.place.dtype), (place.shape, place.dtype)
        if before != after or place.digest != self.place.digest:
            what = (
                f"was {before[0]} {before[1]} and is {after[0]} {after[1]}"
                if before != after
                else "has other ancillaries"
            )
            raise SourceChangedError(
                f"{self.path!r} has changed since it was opened: {self.dataset!r} {what}; open it "
                "again"
            )
        remember(self._name, KnownPlace(found, place, time.monotonic()))
        return found, place

    # -- by offset -----------------------------------------------------------------------------

    def _fill_by_offset(self, selection: Selection, out: Array) -> None:
        with self._opened() as raw:
            now = FileIdentity.of(raw.fileno())
            place = self._place_by_offset(raw.fileno(), now)
            copy_by_offset(raw, place, self.folds, selection, self.field, out)
            after = FileIdentity.of(raw.fileno())
            if after != now and self._place_in(raw.fileno(), after).offset != place.offset:
                raise _MovedError

    def _place_by_offset(self, descriptor: int, now: FileIdentity) -> Place:
        """As `_place_in`, of values that can be read by their offset."""
        place = self._place_in(descriptor, now)
        if place.offset is None:
            raise _MovedError  # to where only HDF5 can read it
        if place.stop > now.size:
            raise DamagedStoreError(
                f"{self.path!r} ends at byte {now.size}, but {self.dataset!r} goes to byte "
                f"{place.stop}: the file was cut short; get the original again"
            )
        return place

    def reading(self) -> Reading | None:
        """A Reading of many small parts in a row; None where each has to be read through HDF5."""
        return Reading(self) if self._current().offset is not None else None

    def _opened(self) -> BinaryIO:
        try:
            with understandable(self.path):
                return open(self.path, "rb", buffering=0)
        except StoreNotFoundError as error:
            raise self._gone() from error

    def _gone(self) -> StoreNotFoundError:
        return StoreNotFoundError(
            f"{self.path!r} is not there any more: it was moved, renamed or deleted since it was "
            "opened; open it at its new place"
        )

    # -- through HDF5 --------------------------------------------------------------------------

    def each(self, keys: Sequence[Any], memory: Array) -> Iterator[Array]:
        """What each of some keys selects, one after the other, in the same memory.

        A file that is read through HDF5 is open while they are taken, and opened only once.

        Parameters
        ----------
        keys : ints and slices, as for `read`
        memory : array of uint8, large enough for what any of them selects

        Raises
        ------
        SourceChangedError, StoreNotFoundError, DamagedStoreError : as reading the array
        """
        done = 0
        if self._current().offset is None:
            with contextlib.suppress(_MovedError), self._dataset() as dataset:
                chunks = chunks_of(dataset)
                for key in keys:
                    selection = select(key, self.shape)
                    out = self._within(memory, selection)
                    copy_through_hdf5(dataset, chunks, self.folds, selection, self.field, out)
                    yield out[selection.finish]
                    done += 1
        for key in keys[done:]:
            selection = select(key, self.shape)
            out = self._within(memory, selection)
            self._fill(selection, out)
            yield out[selection.finish]

    def _within(self, memory: Array, selection: Selection) -> Array:
        nbytes = math.prod(selection.counts) * self.dtype.itemsize
        return memory[:nbytes].view(self.dtype).reshape(selection.counts)

    def _fill_through_hdf5(self, selection: Selection, out: Array) -> None:
        with self._dataset() as dataset:
            chunks = chunks_of(dataset)
            copy_through_hdf5(dataset, chunks, self.folds, selection, self.field, out)

    @contextlib.contextmanager
    def _dataset(self) -> Iterator[h5py.Dataset]:
        """The dataset in the open file, once that is known to be what was opened."""
        now = None
        try:
            with open_file(self.path) as file:
                now = FileIdentity.of(file)
                if self._trusted(int(file.id.get_vfd_handle()), now) is None:
                    self._look_up(file)
                yield find(file, self.dataset)
        except StoreNotFoundError as error:
            raise self._gone() from error
        except DamagedStoreError as error:
            # where file locking is off, a writer may have been in the middle of something
            if now is not None and FileIdentity.of(self.path) != now:
                raise _MovedError from error
            raise


class Reading:
    """Reads many small parts of an HDF5Array in a row, from a file that is opened once.

    That the file still holds what was opened is made sure of every so often, not for each part:
    what was read counts only once `holds` has said so.
    """

    def __init__(self, array: HDF5Array) -> None:
        self._array = array
        self._raw: BinaryIO | None = None
        self._place = array.place
        self._shape = array.shape
        self._is_plain = array.field is None and all(fold.order is None for fold in array.folds)
        self._known: FileIdentity | None = None
        self._looked = -math.inf

    def read(self, key: Any, out: Array) -> Array:
        """The values that ints and slices select, in `out`: C-contiguous, of their shape and dtype.

        Raises
        ------
        SourceChangedError, StoreNotFoundError, DamagedStoreError : as reading the array
        """
        if time.monotonic() - self._looked > _LOOK_EVERY and not self.holds():
            return self._array.read(key, out)
        assert self._raw is not None
        run = contiguous_run(key, self._shape) if self._is_plain else None
        if run is not None:
            dtype, offset = self._place.dtype, self._place.offset
            assert offset is not None
            read_run(self._raw, offset + run[0] * dtype.itemsize, dtype, None, out.reshape(-1))
        else:
            array, selection = self._array, select(key, self._shape)
            copy_by_offset(self._raw, self._place, array.folds, selection, array.field, out)
        return out

    def holds(self) -> bool:
        """Whether everything that was read was what the array stands for."""
        array = self._array
        if self._raw is None:
            self._raw = array._opened()
        try:
            now = FileIdentity.of(self._raw.fileno())
            if now != self._known:
                place = array._place_by_offset(self._raw.fileno(), now)
                if self._known is not None and place.offset != self._place.offset:
                    return False
                self._known, self._place = now, place
            replaced = FileIdentity.of(array.path)
        except (_MovedError, FileNotFoundError):
            return False
        self._looked = time.monotonic()
        return replaced.same_file(now)

    def __enter__(self) -> Reading:
        return self

    def __exit__(self, *_: object) -> None:
        if self._raw is not None:
            self._raw.close()


def hash_of(array: Array) -> str:
    """A digest of the content of an array."""
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
