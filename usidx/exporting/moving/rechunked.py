"""New stores whose chunks are written one by one, whole, by any thread."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from usidx.errors import NoSpaceError, OptionError
from usidx.exporting.moving.bands import Access, Grid, chunk_for, grid_of
from usidx.exporting.moving.coordinates import put_beside
from usidx.exporting.moving.others import Other, add_others
from usidx.exporting.moving.parts import Part
from usidx.exporting.moving.sharding import shard_for
from usidx.model.dimension import Array
from usidx.stores import disk
from usidx.stores.compression import IN_HDF5, IN_ZARR, Compression, codec_of

if TYPE_CHECKING:
    from usidx.stores.hdf5.writing import create
    from usidx.stores.zarr import draft
    from usidx.stores.zarr.chunk_files import ChunkFiles

Orders = tuple[Array | None, Array | None]


class Target(Protocol):
    """One array of a new store.

    Parameters
    ----------
    grid : its chunks, as a matrix has them
    dtype : of the values
    orders : int64, for each position (spectroscopic value) its row (column) in the store; None
        where that is the same
    """

    @property
    def grid(self) -> Grid: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    @property
    def orders(self) -> Orders: ...
    def write(self, index: tuple[int, int], values: Array) -> None:
        """Write a chunk by its number below, and beside, others; all its values, as a matrix."""
        ...


class New(Protocol):
    """A store that is being made aside."""

    @property
    def folder(self) -> str:
        """On whose disk it is."""
        ...

    def set_attrs(self, path: str, attrs: Mapping[str, Any]) -> None:
        """Give a group its attributes."""
        ...

    def add_main(self, part: Part, access: Access) -> list[Target]:
        """Make a Main without values; one array for each field, or one for all."""
        ...

    def add_other(self, other: Other) -> None:
        """Write a dataset that is no Main, where the store has a place for those."""
        ...

    def check_room(self, values: int, aside: int) -> None:
        """Refuse what there is no room for: values, and those that are set aside in between."""
        ...


@contextlib.contextmanager
def new_store(
    path: str,
    overwrite: bool,
    compression: Compression,
    *,
    zarr_format: Literal[2, 3] | None = None,
    shards: bool = False,
) -> Iterator[New]:
    """A store to be filled in the `with` block; it takes its name at the end of it.

    What kind it is, its name says, but where a format of Zarr is given. With `shards` files of Zarr
    hold several chunks each.

    Raises
    ------
    OptionError : where the name says no kind of store, or the store has no such compression
    """
    folder = os.path.dirname(os.path.realpath(path))
    if zarr_format is not None or path.endswith(".zarr"):
        from usidx.stores.zarr import draft as zarr_draft

        codec: Any = codec_of(compression, IN_ZARR, "lz4", path)
        with zarr_draft.draft(
            path, group=None, overwrite=overwrite, zarr_format=zarr_format
        ) as store:
            yield _NewZarr(store, path, folder, codec, shards)
    elif path.endswith((".h5", ".hdf5", ".hf5")):
        from usidx.stores.hdf5.writing import create as hdf5_create

        codec = codec_of(compression, IN_HDF5, None, path)
        with hdf5_create.draft(path, overwrite=overwrite) as file:
            yield _NewHDF5(file, path, folder, codec)
    else:
        raise OptionError(f"into={path!r} says no kind of store; end it with .zarr or .h5")


@dataclass(frozen=True)
class _NewZarr:
    """A USID-Zarr store."""

    store: draft.Draft
    path: str
    folder: str
    compression: Literal["lz4", "zstd"] | None
    shards: bool

    def set_attrs(self, path: str, attrs: Mapping[str, Any]) -> None:
        self.store.set_attrs(path, attrs)

    def add_main(self, part: Part, access: Access) -> list[Target]:
        from usidx.stores.zarr.chunk_files import chunk_files

        spec = part.spec
        names = spec.dtype.names
        widths = [spec.dtype[name].itemsize for name in names or ()] or [spec.dtype.itemsize]
        chunk = chunk_for(access, spec, max(widths))
        # those of partial results are written one by one
        shards = self.shards and part.completed is None and part.failures is None
        shard = shard_for(access, spec, chunk, max(widths)) if shards else None
        made = self.store.add_main(
            spec,
            chunk,
            extras=part.extras,
            completed=part.completed,
            failures=part.failures,
            compression=self.compression,
            shards=shard,
        )
        file = shard or chunk
        n_position = len(spec.position.shape)
        tall, wide = math.prod(file[:n_position]), math.prod(file[n_position:])
        grid = grid_of(spec.shape_2d, (tall, wide))
        return [
            _ZarrTarget(grid, each.dtype, chunk_files(each), spec.shape, file, n_position)
            for each in made
        ]

    def add_other(self, other: Other) -> None:
        add_others([other], self.store.add_dataset, self.path)

    def check_room(self, values: int, aside: int) -> None:
        _check_free(self.path, self.folder, aside + (values if self.compression is None else 0))


@dataclass(frozen=True)
class _ZarrTarget:
    """An array of a USID-Zarr store; where files hold several chunks, its chunks are the files."""

    grid: Grid
    dtype: np.dtype[Any]
    files: ChunkFiles
    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    n_position: int
    orders: Orders = (None, None)

    def write(self, index: tuple[int, int], values: Array) -> None:
        sides = self.shape[: self.n_position], self.shape[self.n_position :]
        first: list[int] = []
        for number, size, side in zip(index, self.grid.chunk, sides, strict=True):
            first += [int(place) for place in np.unravel_index(number * size, side)]
        place = tuple(at // size for at, size in zip(first, self.chunk, strict=True))
        self.files.write(place, values)


@dataclass(frozen=True)
class _NewHDF5:
    """An h5USID file."""

    store: create.Draft
    path: str
    folder: str
    compression: Literal["gzip", "lzf"] | None

    def set_attrs(self, path: str, attrs: Mapping[str, Any]) -> None:
        self.store.set_attrs(path, attrs)

    def add_main(self, part: Part, access: Access) -> list[Target]:
        spec = put_beside(part, self.store, self.path).spec
        box = chunk_for(access, spec, spec.dtype.itemsize)
        n_position = len(spec.position.shape)
        chunk = math.prod(box[:n_position]), math.prod(box[n_position:])
        made = self.store.add_main(
            spec,
            compression=self.compression,
            completed=part.completed,
            failures=part.failures,
            chunk=chunk,
        )
        orders = spec.position.order, spec.spectroscopic.order
        return [_HDF5Target(grid_of(spec.shape_2d, chunk, orders), spec.dtype, made, orders)]

    def add_other(self, other: Other) -> None:
        self.store.add_dataset(other.path, other.values, other.attrs)

    def check_room(self, values: int, aside: int) -> None:
        _check_free(self.path, self.folder, aside + (values if self.compression is None else 0))
        if self.compression is None:
            self.store.reserve(values)


@dataclass(frozen=True)
class _HDF5Target:
    """A Main of an h5USID file."""

    grid: Grid
    dtype: np.dtype[Any]
    main: create.Target
    orders: Orders = field(default=(None, None))

    def write(self, index: tuple[int, int], values: Array) -> None:
        place = index[0] * self.grid.chunk[0], index[1] * self.grid.chunk[1]
        self.main.write_chunk(place, values)


def _check_free(path: str, folder: str, nbytes: int) -> None:
    free = shutil.disk_usage(folder).free
    if nbytes > free:
        raise NoSpaceError(
            f"writing {path!r} takes {disk.sized(nbytes)} of disk, of which some may be for values "
            f"that are set aside meanwhile, and {disk.sized(free)} are free; make room, write to "
            "another disk, or give more memory"
        )
