"""Writing h5USID files, as pyUSID reads them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from usidx.arrays.fields import field_names, pack
from usidx.exporting.chunking import runs_of_positions
from usidx.exporting.parts import Exportable, Part, parts_of
from usidx.exporting.storing import Progress, blocked, store
from usidx.model.dimension import Array

if TYPE_CHECKING:
    import dask.array


def to_h5usid(
    obj: Exportable,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    compression: Literal["gzip", "lzf"] | None = None,
    progress: Progress = False,
) -> str:
    """Write Mains to a new h5USID file, and return its path.

    Values are computed and written block by block; memory holds a few blocks at a time.
    `usidx.open` reads back the same Mains, pyUSID and h5py read them as any other USID file. What
    the model has no place for (coordinates over both sides, masks) is not in the file.

    Parameters
    ----------
    obj : a Main, a Dataset (one compound Main, each variable a field) or a DataTree of those
    path : of the file
    overwrite : replace the HDF5 file that is there; it stays whole until the new one is. The
        arrays may come from the very file that is replaced.
    compression : "gzip" is small, "lzf" fast, None stores the values as they are; each with a
        checksum
    progress : True for a bar, or a function that is called with (blocks done, blocks in all)

    Raises
    ------
    StoreExistsError : where there is a file and `overwrite` is False, or it is no HDF5 file
    StoreNotFoundError, ReadOnlyStoreError, NoSpaceError : where it cannot be written
    StoreLockedError : while another process writes the file
    LayoutError : where a dimension has no role
    OptionError : for values or attributes that HDF5 cannot hold
    """
    from usidx.stores.hdf5.create import draft

    path = os.fspath(path)
    parts = parts_of(obj)
    with draft(path, overwrite=overwrite) as new:
        sources: list[dask.array.Array] = []
        targets: list[Any] = []
        for name, attrs in parts.groups.items():
            new.set_attrs(name, attrs)
        for part in parts.mains:
            block, chunks = runs_of_positions(part)
            target = new.add_main(
                part.spec, block=block, compression=compression, completed=part.completed
            )
            sources.append(_packed(part, chunks))
            targets.append(target)
        # One process has the file open, so that it takes the blocks whoever computes them.
        store(sources, targets, progress, here=True)
    return path


def _packed(part: Part, chunks: tuple[tuple[int, ...], ...]) -> dask.array.Array:
    """The values of a Main as one lazy array, structured where it is a compound one."""
    import dask.array

    fields = [blocked(array, chunks) for array in part.arrays]
    dtype = part.spec.dtype
    if dtype.names is None:
        return fields[0]
    nothing = np.empty((0,) * len(part.spec.shape), dtype)
    packed: dask.array.Array = dask.array.map_blocks(
        _pack, *fields, dtype=dtype, meta=nothing, packed=dtype
    )
    return packed


def _pack(*fields: Array, packed: np.dtype[Any]) -> Array:
    """One block of a compound Main."""
    return pack(dict(zip(field_names(packed), fields)), packed)
