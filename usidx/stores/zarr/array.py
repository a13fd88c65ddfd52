"""The values of a Main in a Zarr store: read chunk by chunk, never a chunk that is not there."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import zarr
from zarr.abc.store import Store
from zarr.storage import LocalStore

from usidx.errors import (
    DamagedStoreError,
    MainNotFoundError,
    SourceChangedError,
    StoreAccessError,
    UsidError,
)
from usidx.model.dimension import Array
from usidx.stores.base import Key
from usidx.stores.remote.url import Url
from usidx.stores.zarr.chunk_places import region_of, sampled_chunks, touched
from usidx.stores.zarr.keys import length, normal
from usidx.stores.zarr.marks import are_listed, stored_marks
from usidx.stores.zarr.nodes import (
    Node,
    Stamp,
    check_inside,
    check_node,
    entry_of,
    read_node,
    stamp_of,
)
from usidx.stores.zarr.whole_chunks import read_whole_chunks

SAMPLED_BYTES = 65536


@dataclass(frozen=True)
class ZarrArray:
    """The N-D values of one Main (or its marks), read on demand; it pickles and holds nothing open.

    Parameters
    ----------
    root : path of the store
    folder : of the leaf group
    keys : names of the arrays in it, one for each field of a compound Main
    shape, dtype : of the values; the dtype is structured for a compound Main
    chunks : what one chunk file holds
    signatures : of each array, by which it is known to be the one that was opened
    absent : what stands for a chunk file that is missing: nothing ("error"), the fill value where
        the positions are not marked complete ("unmarked"), or the fill value ("fill"); with "marks"
        the fill value also stands for a file that cannot be decoded
    marks : name of the array of marks, with "unmarked"
    allow : folders that links may lead to
    token : what tells this array from others of the same path, for dask
    """

    root: str
    folder: str
    keys: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...]
    signatures: tuple[str, ...]
    absent: str = "error"
    marks: str = ""
    allow: tuple[str, ...] = ()
    token: str = ""

    @property
    def ndim(self) -> int:
        """How many axes."""
        return len(self.shape)

    def __dask_tokenize__(self) -> Any:
        return (
            "usidx.ZarrArray",
            self.folder,
            self.keys,
            self.signatures,
            str(self.dtype),
            self.token,
        )

    def __getitem__(self, key: Key, /) -> Array:
        """The values that ints and slices select, as a new array.

        Raises
        ------
        DamagedStoreError : where a chunk is missing or cannot be decoded
        SourceChangedError : where the store is no longer the one that was opened
        UnsafeStoreError : where a chunk is a link out of the store
        """
        forward, mirrored, dropped = normal(key, self.shape)
        if self.dtype.names is None:
            values = self._read(0, forward)
        else:
            values = np.empty(tuple(map(length, forward)), dtype=self.dtype)
            for place, name in enumerate(self.dtype.names):
                values[name] = self._read(place, forward)
        return values[mirrored][dropped] if self.shape else values

    def read(self, key: Key, out: Array | None = None) -> Array:
        """The values that `key` selects, in `out` where it is given.

        Whole chunks are decoded in it, without the copies and threads that zarr needs.

        Parameters
        ----------
        key : ints and slices, one for each axis or less
        out : array of the shape and dtype of the result, filled and returned
        """
        if out is None:
            return self[key]
        if not self._decoded(key, out):
            out[...] = self[key]
        return out

    def only(self, name: str) -> ZarrArray:
        """One field of a compound Main, read without the others."""
        names = self.dtype.names or ()
        if name not in names:
            raise MainNotFoundError(
                f"{self.folder!r} has no field {name!r}; it has {', '.join(names)}"
            )
        place = names.index(name)
        return ZarrArray(
            root=self.root,
            folder=self.folder,
            keys=(self.keys[place],),
            shape=self.shape,
            dtype=self.dtype[name],
            chunks=self.chunks,
            signatures=(self.signatures[place],),
            absent=self.absent,
            marks=self.marks,
            allow=self.allow,
            token=self.token,
        )

    def sample(self) -> Iterator[bytes]:
        """Size and first bytes of a few chunk files, evenly spread, by which contents are known."""
        for place, name in enumerate(self.keys):
            handle, _ = self._open(place)
            for index in sampled_chunks(handle, self.shape):
                chunk = handle.metadata.encode_chunk_key(index)
                file = os.path.join(self.folder, name, chunk)
                check_inside(self.root, file, self.allow)
                try:
                    with open(file, "rb") as stream:
                        size = os.fstat(stream.fileno()).st_size
                        yield f"{name}/{chunk}:{size}:".encode() + stream.read(SAMPLED_BYTES)
                except FileNotFoundError:
                    yield f"{name}/{chunk}:absent".encode()

    def _read(self, place: int, key: tuple[slice, ...]) -> Array:
        """The values of one array for slices that go forward."""
        name = self.keys[place]
        dtype = self.dtype if self.dtype.names is None else self.dtype[place]
        try:
            handle, before = self._open(place)
            values = self._values(handle, name, key)
        except UsidError:
            raise
        except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
            self._check_same(place)
            raise self._damage(name, key, error) from error
        if self._stamps(name) != before:
            self._check_same(place)
        # zarr's dtypes compare equal to NumPy's own and yet are others to what hashes them
        return values.view(dtype) if values.dtype == dtype else values.astype(dtype)

    def _decoded(self, key: Key, out: Array) -> bool:
        """Whether `out` was filled, which only goes with whole chunks of what is complete."""
        forward, mirrored, dropped = normal(key, self.shape)
        plain = (*mirrored, *dropped) == (slice(None, None, 1),) * self.ndim + (
            slice(None),
        ) * self.ndim
        fits = out.flags.c_contiguous and out.dtype == self.dtype and out.size > 0
        if not (plain and fits) or self.absent != "error" or self.dtype.names is not None:
            return False
        name = self.keys[0]
        handle, before = self._open(0)
        folder = os.path.join(self.folder, name)
        inside = partial(check_inside, self.root, allow=self.allow)
        if not read_whole_chunks(handle, folder, forward, out, inside):
            return False
        if self._stamps(name) != before:
            self._check_same(0)
        return True

    def _values(self, handle: zarr.Array[Any], name: str, key: tuple[slice, ...]) -> Array:
        # Marks first: what is marked by now was written before, so its chunks must be there.
        done = self._marks() if self.absent == "unmarked" else None
        if self.absent == "marks" and are_listed(handle, key):
            return stored_marks(handle, key, lambda path: check_inside(self.root, path, self.allow))
        self._refuse_missing(handle, name, key, done)
        return np.asarray(stored_marks(handle, key) if self.absent == "marks" else handle[key])

    def _open(self, place: int) -> tuple[zarr.Array[Any], tuple[Stamp, Stamp]]:
        stamps = self._stamps(self.keys[place])
        return self._opened_with(place, stamps), stamps

    def _opened_with(self, place: int, stamps: tuple[Stamp, Stamp]) -> zarr.Array[Any]:
        handle, signature = _opened(self.folder, self.keys[place], stamps)
        if signature != self.signatures[place]:
            raise self._changed()
        return handle

    def _stamps(self, name: str) -> tuple[Stamp, Stamp]:
        try:
            return stamp_of(self.folder), stamp_of(os.path.join(self.folder, name))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise self._changed() from error

    def _check_same(self, place: int) -> None:
        """Raise SourceChangedError where the array is another one by now."""
        self._open(place)

    def _changed(self) -> SourceChangedError:
        return SourceChangedError(
            f"{self.folder!r} was replaced or removed since it was opened; open it again"
        )

    def _refuse_missing(
        self, handle: zarr.Array[Any], name: str, key: tuple[slice, ...], done: Array | None
    ) -> None:
        """Look at the chunk files that `key` needs: none may be missing, none a link to elsewhere.

        Where `done` is given, those may be missing that hold no position marked in it.
        """
        folder = os.path.join(self.folder, name)
        checked: set[str] = set()
        for index in touched(handle, key):
            chunk = handle.metadata.encode_chunk_key(index)
            file = os.path.join(folder, chunk)
            parent = os.path.dirname(file)
            if parent not in checked:
                check_inside(self.root, parent, self.allow)
                checked.add(parent)
            try:
                if stat.S_ISLNK(os.lstat(file).st_mode):
                    check_inside(self.root, file, self.allow)
            except FileNotFoundError:
                if self.absent in ("fill", "marks"):
                    continue
                if done is not None and not done[region_of(index, handle)[: done.ndim]].any():
                    continue
                raise DamagedStoreError(
                    f"chunk {chunk!r} of {folder!r} is missing though it was written; "
                    "restore it from a copy of the store, or compute it again"
                ) from None

    def _marks(self) -> Array:
        marks = open_array(
            self.root, self.folder, (self.marks,), None, absent="marks", allow=self.allow
        )
        return marks[(slice(None),) * marks.ndim]

    def _damage(self, name: str, key: tuple[slice, ...], error: Exception) -> Exception:
        if isinstance(error, PermissionError):
            return StoreAccessError(
                f"{os.path.join(self.folder, name)!r} may not be read by this user; "
                "ask its owner for permission to read it"
            )
        bounds = ", ".join(f"{each.start}:{each.stop}" for each in key)
        return DamagedStoreError(
            f"[{bounds}] of {os.path.join(self.folder, name)!r} cannot be read ({error}); "
            "restore the chunk from a copy of the store, or compute it again"
        )


def signature_of(leaf: Node, array: Node) -> str:
    """Digest that changes when the array is replaced by another, not when attributes are edited."""
    meta = {key: value for key, value in array.items() if key != "attributes"}
    text = json.dumps([entry_of(leaf).get("id"), meta], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def read_whole(root: str, folder: str, name: str, allow: tuple[str, ...] = ()) -> Array:
    """All values of the array `name` in the leaf at `folder`.

    Raises
    ------
    DamagedStoreError : where it or one of its chunks is missing
    """
    array = open_array(root, folder, (name,), None, allow=allow)
    return array[(slice(None),) * array.ndim]


def open_array(
    root: str,
    folder: str,
    keys: tuple[str, ...],
    dtype: np.dtype[Any] | None,
    *,
    absent: str = "error",
    marks: str = "",
    allow: tuple[str, ...] = (),
    token: str = "",
) -> ZarrArray:
    """The ZarrArray over the arrays `keys` of the leaf group at `folder`.

    Parameters
    ----------
    dtype : of the values; that of the array when None

    Raises
    ------
    DamagedStoreError : where an array is missing, or their shapes differ
    """
    leaf = read_node(folder)
    signatures = []
    shapes = set()
    for name in keys:
        check_node(root, os.path.join(folder, name), allow)
        node = read_node(os.path.join(folder, name))
        if leaf is None or node is None or node["node_type"] != "array":
            raise DamagedStoreError(
                f"{folder!r} lacks its array {name!r}; restore the store from a copy"
            )
        signatures.append(signature_of(leaf, node))
        handle, _ = _opened(folder, name, (stamp_of(folder), stamp_of(os.path.join(folder, name))))
        shapes.add((handle.shape, handle.chunks))
        dtype = _own_dtype(handle) if dtype is None else dtype
    if len(shapes) != 1 or dtype is None:
        raise DamagedStoreError(f"the fields {', '.join(keys)} of {folder!r} differ in shape")
    ((shape, chunks),) = shapes
    return _kind_at(folder)(
        root=root,
        folder=folder,
        keys=keys,
        shape=tuple(shape),
        dtype=dtype,
        chunks=tuple(chunks),
        signatures=tuple(signatures),
        absent=absent,
        marks=marks,
        allow=allow,
        token=token,
    )


def _kind_at(folder: str) -> type[ZarrArray]:
    if not isinstance(folder, Url):
        return ZarrArray
    from usidx.stores.zarr.afar import FarZarrArray

    return FarZarrArray


def _store_at(place: str) -> Store:
    if not isinstance(place, Url):
        return LocalStore(place, read_only=True)
    from usidx.stores.zarr.afar import objects_at

    return objects_at(place)


@lru_cache(maxsize=512)
def _opened(folder: str, name: str, stamps: tuple[Stamp, Stamp]) -> tuple[zarr.Array[Any], str]:
    """(array, signature), opened once per process for as long as the metadata stay the same."""
    place = os.path.join(folder, name)
    leaf, node = read_node(folder), read_node(place)
    if leaf is None or node is None:
        raise FileNotFoundError(place)
    try:
        handle = zarr.open_array(_store_at(place), mode="r")
    except (ValueError, TypeError, KeyError) as error:
        raise DamagedStoreError(
            f"the metadata of {place!r} cannot be understood: {error}"
        ) from error
    return handle, signature_of(leaf, node)


def _own_dtype(handle: zarr.Array[Any]) -> np.dtype[Any]:
    found: np.dtype[Any] = handle.dtype
    return found if found.kind == "T" else np.dtype(found.str)
