"""Arrays of a Zarr store behind a URL: their chunks through zarr and fsspec, none that is missing.

Files of this machine can be looked at before they are read. Here that would be one more request for
each chunk, so what was missing is noted while zarr reads.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import zarr
from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import FsspecStore, StorePath, WrapperStore

from usidx.errors import (
    DamagedStoreError,
    MainNotFoundError,
    SourceChangedError,
)
from usidx.model.dimension import Array
from usidx.stores.base import Key
from usidx.stores.remote.failing import failed
from usidx.stores.remote.objects import filesystem, options_of, read_ranges, version_of
from usidx.stores.remote.url import Url
from usidx.stores.zarr.array import SAMPLED_BYTES, ZarrArray
from usidx.stores.zarr.chunk_places import region_of, sampled_chunks, touched
from usidx.stores.zarr.marks import stored_marks
from usidx.stores.zarr.nodes import Stamp

_last: dict[tuple[str, str], tuple[Stamp, Stamp]] = {}
_last_lock = threading.Lock()


class Noting(WrapperStore[FsspecStore]):
    """Objects behind a URL, which notes the keys that nothing was found at."""

    def __init__(self, url: Url) -> None:
        super().__init__(objects_at(url))
        self._url = url
        self.missing: set[str] = set()

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """The content of one object, None where there is none."""
        try:
            found = await super().get(key, prototype, byte_range)
        except Exception as error:  # each kind of storage has errors of its own
            raise failed(self._url.joined(key), error) from error
        if found is None:
            self.missing.add(key)
        return found


def objects_at(url: Url, *, read_only: bool = True) -> FsspecStore:
    """What is behind a URL as a store of zarr.

    Raises
    ------
    MissingDependencyError, StoreAccessError : where it cannot be reached
    """
    filesystem(url)  # says what is missing
    return FsspecStore.from_url(str(url), storage_options=options_of(url), read_only=read_only)


@dataclass(frozen=True)
class FarZarrArray(ZarrArray):
    """The N-D values of one Main of a store behind a URL; parameters as those of ZarrArray."""

    def only(self, name: str) -> FarZarrArray:
        """One field of a compound Main, read without the others."""
        names = self.dtype.names or ()
        if name not in names:
            raise MainNotFoundError(
                f"{self.folder!r} has no field {name!r}; it has {', '.join(names)}"
            )
        place = names.index(name)
        return replace(
            self,
            keys=(self.keys[place],),
            dtype=self.dtype[name],
            signatures=(self.signatures[place],),
        )

    def _decoded(self, key: Key, out: Array) -> bool:
        return False

    def sample(self) -> Iterator[bytes]:
        """Size and first bytes of a few chunks, those that a store of this machine gives."""
        folder = self.folder
        assert isinstance(folder, Url)
        for place, name in enumerate(self.keys):
            handle, _ = self._open(place)
            for index in sampled_chunks(handle, self.shape):
                chunk = handle.metadata.encode_chunk_key(index)
                url = folder.joined(name, chunk)
                try:
                    size = version_of(url).size
                    part = read_ranges(url, [(0, min(size, SAMPLED_BYTES))]) if size else [b""]
                    yield f"{name}/{chunk}:{size}:".encode() + bytes(part[0])
                except FileNotFoundError:
                    yield f"{name}/{chunk}:absent".encode()

    def _open(self, place: int) -> tuple[zarr.Array[Any], tuple[Stamp, Stamp]]:
        # What was there a moment ago will do: it is looked at again once the values are here.
        name = self.keys[place]
        with _last_lock:
            stamps = _last.get((self.folder, name))
        if stamps is not None:
            with contextlib.suppress(SourceChangedError):
                return self._opened_with(place, stamps), stamps
        stamps = self._stamps(name)
        return self._opened_with(place, stamps), stamps

    def _check_same(self, place: int) -> None:
        self._opened_with(place, self._stamps(self.keys[place]))

    def _stamps(self, name: str) -> tuple[Stamp, Stamp]:
        stamps = super()._stamps(name)
        with _last_lock:
            if len(_last) > 1024:
                _last.clear()
            _last[self.folder, name] = stamps
        return stamps

    def _values(self, handle: zarr.Array[Any], name: str, key: tuple[slice, ...]) -> Array:
        done = self._marks() if self.absent == "unmarked" else None
        folder = self.folder
        assert isinstance(folder, Url)
        noting = Noting(folder.joined(name))
        noted: zarr.Array[Any] = zarr.Array(zarr.AsyncArray(handle.metadata, StorePath(noting)))
        values = stored_marks(noted, key) if self.absent == "marks" else noted[key]
        self._refuse_noted(handle, name, key, done, noting.missing)
        return np.asarray(values)

    def _refuse_noted(
        self,
        handle: zarr.Array[Any],
        name: str,
        key: tuple[slice, ...],
        done: Array | None,
        missing: set[str],
    ) -> None:
        if not missing or self.absent in ("fill", "marks"):
            return
        for index in touched(handle, key):
            chunk = handle.metadata.encode_chunk_key(index)
            if chunk not in missing:
                continue
            if done is not None and not done[region_of(index, handle)[: done.ndim]].any():
                continue
            raise DamagedStoreError(
                f"chunk {chunk!r} of {os.path.join(self.folder, name)!r} is missing though it was "
                "written; restore it from a copy of the store, or compute it again"
            )
