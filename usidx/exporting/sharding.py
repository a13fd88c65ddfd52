"""Files of many chunks for one way of reading: fewer files, of which parts are read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from usidx.exporting.moving.bands import Access, Grid, chunk_for, grid_of
from usidx.exporting.moving.others import Other
from usidx.exporting.moving.parts import Part
from usidx.exporting.moving.rechunked import New, Orders, Target
from usidx.model.dimension import Array
from usidx.model.main import MainSpec
from usidx.stores.zarr.draft import Draft

if TYPE_CHECKING:
    from usidx.stores.zarr.chunk_files import ChunkFiles
    from usidx.stores.zarr.create import Compression

# A thread holds a few of them while it makes one.
_SHARD_BYTES = 32 * 2**20


def shard_for(
    access: Access, spec: MainSpec, chunk: tuple[int, ...], itemsize: int
) -> tuple[int, ...]:
    """N-D shape of files of several chunks: more of what is read together, and then more of it all.

    Each side stays one run of cells, as those of `chunk_for` are.

    Examples
    --------
    >>> from usidx.testing import make_main
    >>> shard_for("maps", make_main((64, 64, 1024)).usid.spec, (64, 64, 16), 4)
    (64, 64, 1024)
    """
    n_position = len(spec.position.shape)
    sides = [
        (spec.position.shape, chunk[:n_position]),
        (spec.spectroscopic.shape, chunk[n_position:]),
    ]
    order = (0, 1) if access == "maps" else (1, 0)
    times = _SHARD_BYTES // (math.prod(chunk) * itemsize)
    found = [box for _, box in sides]
    for side in order:
        shape, box = sides[side]
        found[side] = _grown(shape, box, times)
        times //= math.prod(found[side]) // math.prod(box)
    return found[0] + found[1]


def _grown(shape: tuple[int, ...], box: tuple[int, ...], times: int) -> tuple[int, ...]:
    """At most so many boxes as one, of which copies lie side by side as those of the box do."""
    grown = list(box)
    for axis in reversed(range(len(shape))):
        count = -(-shape[axis] // box[axis])
        slowest = math.prod(shape[:axis]) == 1  # its last copy may reach beyond the end
        more = max(
            (n for n in range(1, min(times, count) + 1) if slowest or count % n == 0), default=1
        )
        grown[axis] = box[axis] * more
        times //= more
        if more < count:
            break
    return tuple(grown)


@dataclass(frozen=True)
class NewSharded:
    """A new Zarr store whose files hold several chunks each.

    Parameters
    ----------
    new : the store, with a file for each chunk
    store : the draft that it is made in
    compression : of the chunks
    """

    new: New
    store: Draft
    compression: Compression

    @property
    def folder(self) -> str:
        """On whose disk it is."""
        return self.new.folder

    def set_attrs(self, path: str, attrs: Mapping[str, Any]) -> None:
        """Give a group its attributes."""
        self.new.set_attrs(path, attrs)

    def add_main(self, part: Part, access: Access) -> list[Target]:
        """Make a Main without values; those of partial results keep a file for each chunk."""
        if part.completed is not None or part.failures is not None:
            return self.new.add_main(part, access)
        from usidx.stores.zarr.chunk_files import chunk_files

        spec = part.spec
        names = spec.dtype.names
        width = max(spec.dtype[name].itemsize for name in names) if names else spec.dtype.itemsize
        chunk = chunk_for(access, spec, width)
        shard = shard_for(access, spec, chunk, width)
        made = self.store.add_main(
            spec, chunk, extras=part.extras, compression=self.compression, shards=shard
        )
        n_position = len(spec.position.shape)
        grid = grid_of(
            spec.shape_2d, (math.prod(shard[:n_position]), math.prod(shard[n_position:]))
        )
        return [
            _Sharded(grid, each.dtype, chunk_files(each), spec.shape, shard, n_position)
            for each in made
        ]

    def add_other(self, other: Other) -> None:
        """Write a dataset that is no Main."""
        self.new.add_other(other)

    def check_room(self, values: int, aside: int) -> None:
        """Refuse what there is no room for."""
        self.new.check_room(values, aside)


@dataclass(frozen=True)
class _Sharded:
    """An array of it; what `Target` calls chunks are the files."""

    grid: Grid
    dtype: np.dtype[Any]
    files: ChunkFiles
    shape: tuple[int, ...]
    shard: tuple[int, ...]
    n_position: int
    orders: Orders = (None, None)

    def write(self, index: tuple[int, int], values: Array) -> None:
        sides = self.shape[: self.n_position], self.shape[self.n_position :]
        first: list[int] = []
        for number, size, side in zip(index, self.grid.chunk, sides, strict=True):
            first += [int(place) for place in np.unravel_index(number * size, side)]
        place = tuple(at // size for at, size in zip(first, self.shard, strict=True))
        self.files.write(place, values)
