"""Writing the blocks of one Main of a result: one task, one or more whole chunks."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import zarr
from zarr.storage import LocalStore

from usidx.errors import (
    DamagedStoreError,
    LayoutError,
    PlanError,
    SourceChangedError,
    StoreLockedError,
)
from usidx.model.blocks import axis_range, blocks_of
from usidx.model.dimension import Array
from usidx.stores.failures import numbered
from usidx.stores.leaves.leaf import dims_and_shape, dtype_from
from usidx.stores.lock import StoreLock, holder_of
from usidx.stores.zarr.array import signature_of
from usidx.stores.zarr.create import open_to_write
from usidx.stores.zarr.encoding import Encoding, encoding_of
from usidx.stores.zarr.failures import numbers_of, record_reasons
from usidx.stores.zarr.files import put
from usidx.stores.zarr.marks import stored_marks
from usidx.stores.zarr.nodes import Node, Stamp, entry_of, folder_of, read_node, stamp_of
from usidx.stores.zarr.staging import writing


@dataclass(frozen=True)
class ZarrWriter:
    """Writes the blocks of one Main, each of them whole chunks, and marks them; it pickles.

    Parameters
    ----------
    folder : of the leaf group
    keys : names of its arrays, one for each field of a compound Main
    marks : name of the array of marks
    shape, dtype, chunks : of the values
    n_position : how many of the axes are positions
    signatures : of the arrays and the marks, by which they are known to be still the same
    run, token : lock file of the claim, and what it says while the claim holds
    durable : whether values, and then their marks, are on disk before anything else is done;
        without it a power failure, though no crash, can lose or damage what was marked shortly
        before
    failures : name of the array that says at which positions the step failed; "" without one
    """

    folder: str
    keys: tuple[str, ...]
    marks: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...]
    n_position: int
    signatures: tuple[str, ...]
    run: str
    token: str
    durable: bool = False
    failures: str = ""

    def done(self) -> Array:
        """Position-shaped array of bool: which positions are marked complete, now.

        What a power failure left of a file of marks says nothing, so those are not.
        """
        return stored_marks(self._open(self.marks).handle)

    def write(self, key: tuple[slice, ...], values: Array, only: Array | None = None) -> None:
        """Write the values of one block, N-D.

        Parameters
        ----------
        key : one slice for each axis; together they cover whole chunks
        values : array, shape of the block, in the units of the Main
        only : bool, shape of the block's positions: the others keep what they have

        Raises
        ------
        LayoutError : where the block is not made of whole chunks, or `values` do not fit it
        NoSpaceError : where the disk is full; what was written before stays
        SourceChangedError : where the store was replaced since the group was claimed
        StoreLockedError : where the claim has ended
        """
        self._check_held()
        bounds = self._whole_chunks(key)
        shape = tuple(each.stop - each.start for each in bounds)
        values = np.asarray(values)
        if values.shape != shape or not np.can_cast(values.dtype, self.dtype, "same_kind"):
            raise LayoutError(
                f"the block {_text(bounds)} of {self.folder!r} takes {shape} values of "
                f"{self.dtype}, got {values.shape} of {values.dtype}"
            )
        names = self.dtype.names
        with writing(self.folder, self._room_needed):
            for place, name in enumerate(self.keys):
                array = self._open(name)
                part = values if names is None else values[names[place]]
                if only is not None:
                    there = only.reshape(only.shape + (1,) * (values.ndim - only.ndim))
                    part = np.where(there, part, array.read(bounds))
                array.write(bounds, part)

    def fail(self, key: tuple[slice, ...], failed: Array, reasons: Sequence[str]) -> None:
        """Say at which positions of the block `key` the step failed, before they are marked.

        Parameters
        ----------
        failed : shape of the block's positions: 0, or the number of a reason from 1 on

        Raises
        ------
        PlanError : where the group has no room to say it
        """
        if not self.failures:
            raise PlanError(
                f"{self.folder!r} has no room to say where a step failed; resume its group with "
                "on_error='mark'"
            )
        self._check_held()
        bounds = self._whole_chunks(key)[: self.n_position]
        with writing(self.folder, self._room_needed):
            numbers = numbered(failed, record_reasons(self.folder, reasons))
            array = self._open(self.failures)
            array.write(bounds, np.where(numbers != 0, numbers, array.read(bounds)))

    def mark(self, key: tuple[slice, ...]) -> None:
        """Mark the positions of the block `key` complete, after `write` has returned.

        Raises
        ------
        LayoutError, NoSpaceError, SourceChangedError, StoreLockedError : as for `write`
        """
        self._check_held()
        bounds = self._whole_chunks(key)[: self.n_position]
        with writing(self.folder, self._room_needed):
            array = self._open(self.marks)
            array.write(bounds, np.ones([each.stop - each.start for each in bounds], np.uint8))

    def _room_needed(self) -> int:
        """How many bytes the positions that are not marked may take."""
        done = self.done()
        each = math.prod(self.shape) // max(1, done.size) * self.dtype.itemsize
        return int(np.count_nonzero(~done)) * each

    def missing_chunks(self) -> list[str]:
        """Chunk files that do not exist."""
        missing = []
        for name in self.keys:
            encode = self._open(name).handle.metadata.encode_chunk_key
            for block in blocks_of(self.shape, self.chunks):
                index = tuple(
                    part.start // size for part, size in zip(block.key, self.chunks, strict=True)
                )
                file = os.path.join(self.folder, name, encode(index))
                if not os.path.exists(file):
                    missing.append(file)
        return missing

    def _check_held(self) -> None:
        # A worker that was thought lost must not write what somebody else goes on with by now.
        holder = holder_of(self.run)
        if holder is None or holder.token != self.token:
            raise StoreLockedError(
                f"the claim on {os.path.dirname(self.folder)!r} has ended; "
                "resume the result to go on with it"
            )

    def _whole_chunks(self, key: tuple[slice, ...]) -> tuple[slice, ...]:
        """`key` with explicit bounds, refused where it cuts a chunk: two tasks would write that."""
        if len(key) != len(self.shape):
            raise LayoutError(
                f"a block of {self.folder!r} needs {len(self.shape)} slices, got {len(key)}"
            )
        bounds = []
        for part, size, chunk in zip(key, self.shape, self.chunks, strict=True):
            places = axis_range(part, size)
            start, stop = places.start, places.stop
            if (
                not len(places)
                or places.step != 1
                or start % chunk
                or (stop % chunk and stop < size)
            ):
                raise LayoutError(
                    f"the block {_text(key)} of {self.folder!r} is not made of whole chunks of "
                    f"{self.chunks}; two tasks that write one chunk would undo each other"
                )
            bounds.append(slice(start, stop))
        return tuple(bounds)

    def _open(self, name: str) -> _Writable:
        try:
            stamps = stamp_of(self.folder), stamp_of(os.path.join(self.folder, name))
            array = _writable(self.folder, name, stamps, self.durable)
        except FileNotFoundError as error:
            raise self._changed() from error
        if array.signature != self.signatures[(*self.keys, self.marks, self.failures).index(name)]:
            raise self._changed()
        return array

    def _changed(self) -> SourceChangedError:
        return SourceChangedError(
            f"{self.folder!r} was replaced or removed while results were written into it; "
            "run the step again"
        )


def writer_of(
    root: str, path: str, node: Node, lock: StoreLock, *, durable: bool = False
) -> ZarrWriter:
    """The writer of the Main at `path`, whose leaf group says `node`, while `lock` is held.

    Raises
    ------
    PlanError : where the Main has no marks
    DamagedStoreError : where one of its arrays is missing
    """
    entry = entry_of(node)
    folder = folder_of(root, path)
    if not entry.get("marks"):
        raise PlanError(f"{path!r} in {root!r} has no marks of completed positions to go on from")
    keys = tuple(str(each["key"]) for each in entry["fields"])
    marks = str(entry["marks"])
    signatures = []
    failures = numbers_of(node)
    for name in filter(None, (*keys, marks, failures)):
        array = read_node(os.path.join(folder, name))
        if array is None:
            raise DamagedStoreError(f"{folder!r} lacks its array {name!r}; run the step again")
        signatures.append(signature_of(node, array))
    shape = dims_and_shape(entry)[1]
    chunks = zarr.open_array(
        LocalStore(os.path.join(folder, keys[0]), read_only=True), mode="r"
    ).chunks
    side = entry["position"]
    return ZarrWriter(
        folder=folder,
        keys=keys,
        marks=marks,
        shape=shape,
        dtype=dtype_from(entry),
        chunks=tuple(chunks),
        n_position=1 if side["kind"] == "points" else len(side["dimensions"]),
        signatures=tuple(signatures),
        run=lock.path,
        token=lock.token,
        durable=durable,
        failures=failures,
    )


@dataclass(frozen=True)
class _Writable:
    """An array that is written whole chunk by whole chunk.

    Parameters
    ----------
    folder : of the array
    handle : the array as zarr has it
    encoding : of its chunks; None where only zarr can do it, in a store that somebody else copied
    signature : by which it is known
    wait : whether what is written is on disk then
    """

    folder: str
    handle: zarr.Array[Any]
    encoding: Encoding | None
    signature: str
    wait: bool

    def read(self, key: tuple[slice, ...]) -> Array:
        return np.asarray(self.handle[key])

    def write(self, key: tuple[slice, ...], values: Array) -> None:
        values = values.astype(self.handle.dtype, copy=False)
        encoding = self.encoding
        if encoding is None or not encoding.is_whole(key, self.handle.shape):
            self.handle[key] = values
            return
        for index, part in encoding.chunks_in(key, values):
            pieces = [each.data for each in encoding.encode(part)]
            put(self.folder, encoding.names(index), *pieces, wait=self.wait)


@lru_cache(maxsize=512)
def _writable(folder: str, name: str, stamps: tuple[Stamp, Stamp], wait: bool) -> _Writable:
    """The array `name`, opened for writing once per process while the metadata stay the same."""
    leaf, node = read_node(folder), read_node(os.path.join(folder, name))
    if leaf is None or node is None:
        raise FileNotFoundError(name)
    whole = os.path.join(folder, name)
    # A chunk of zeros is written like any other: a missing one means that it was not computed.
    array = open_to_write(whole, wait=wait)
    try:
        encoding = encoding_of(array)
    except TypeError:
        encoding = None
    return _Writable(whole, array, encoding, signature_of(leaf, node), wait)


def _text(key: Sequence[slice]) -> str:
    return "[" + ", ".join(f"{each.start}:{each.stop}" for each in key) + "]"
