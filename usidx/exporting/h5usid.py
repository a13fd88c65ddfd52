"""Writing h5USID files, as pyUSID reads them."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from usidx.arrays.fields import field_names, pack
from usidx.errors import OptionError
from usidx.exporting.moving.chunking import runs_of_positions
from usidx.exporting.moving.coordinates import put_beside
from usidx.exporting.moving.parts import Exportable, Part, Parts, parts_of
from usidx.exporting.moving.placing import next_measurements, places_in
from usidx.exporting.moving.storing import Progress, blocked, store
from usidx.exporting.moving.straight import Transfer, transfers_of, unit_of_rows
from usidx.model.dimension import Array
from usidx.stores.remote.url import path_on_disk

if TYPE_CHECKING:
    import dask.array

    from usidx.stores.hdf5.writing.create import Draft

Compression = Literal["gzip", "lzf"]


def to_h5usid(
    obj: Exportable,
    path: str | os.PathLike[str],
    *,
    append: bool | str = False,
    overwrite: bool = False,
    compression: Compression | None = None,
    checksums: bool = True,
    progress: Progress = False,
) -> str:
    """Write Mains to a new h5USID file, or add them to one, and return its path.

    Values are computed and written block by block; memory holds a few blocks at a time. The file
    has all of the Mains in the end, or is as it was, whatever happens meanwhile. `usidx.open` reads
    back the same Mains, pyUSID and h5py read them as any other USID file. Of a tree the datasets
    that are no Mains come along. Coordinates that the model has no place for (over both sides,
    masks) are in an attribute of their Main, or datasets beside it where they are large.

    Parameters
    ----------
    obj : a Main, a Dataset (one compound Main, each variable a field), a DataTree of those, a list
        of Mains (the channels of one Measurement), or a dict of them by their names or paths
    path : of the file
    append : add to the file, which is made where there is none: True as the next Measurement_00x;
        "Measurement_000" as the next Channel_00x of that one; the path of any other group puts the
        Mains into it, by their names. What is in the file keeps its bytes
    overwrite : replace the HDF5 file that is there; it stays whole until the new one is. The
        arrays may come from the very file that is replaced.
    compression : "gzip" is small, "lzf" fast, None stores the values as they are
    checksums : whether flipped bits are noticed when values are read. Without, values lie in one
        piece and are read some times faster, by usidx without HDF5
    progress : True for a bar, or a function that is called with (blocks done, blocks in all)

    Raises
    ------
    StoreExistsError : where there is a file, and neither `overwrite` nor `append`, or it is no HDF5
        file; and where a Main of that name is in the file
    StoreNotFoundError, ReadOnlyStoreError, NoSpaceError : where it cannot be written
    StoreLockedError : while another process writes the file, or has it open
    LayoutError : where a dimension has no role
    OptionError : for values or attributes that HDF5 cannot hold

    Examples
    --------
    >>> import os, tempfile, usidx
    >>> from usidx.testing import make_main
    >>> path = os.path.join(tempfile.mkdtemp(), "scan.h5")
    >>> for seed in (0, 1):
    ...     written = to_h5usid(make_main(seed=seed), path, append=True)
    >>> [main.path for main in usidx.list_mains(path)]
    ['/Measurement_000/Channel_000/Raw_Data', '/Measurement_001/Channel_000/Raw_Data']
    """
    path = path_on_disk(path, "an h5USID file")
    if append and overwrite:
        raise OptionError("a file is either replaced (overwrite) or added to (append), not both")
    parts = parts_of(obj)
    with _opened(path, bool(append), overwrite) as new:
        if append:
            parts = _placed(parts, append, new, path)
        if compression is None:
            new.reserve(sum(part.spec.nbytes for part in parts.mains))
        sources: list[dask.array.Array] = []
        targets: list[Any] = []
        for name, attrs in parts.groups.items():
            new.set_attrs(name, attrs)
        transfers: list[Transfer] = []
        for whole in parts.mains:
            part = put_beside(whole, new, path, checked=checksums)
            block, chunks = runs_of_positions(part)
            target = new.add_main(
                part.spec,
                block=block,
                compression=compression,
                checked=checksums,
                completed=part.completed,
                failures=part.failures,
            )
            unit = unit_of_rows(part, target.encoding.chunk[0]) or block
            (transfer, *_) = transfers_of(part, [target], block, unit)
            if transfer is None:
                sources.append(_packed(part, chunks))
                targets.append(target)
            else:
                transfers.append(transfer)
        for other in parts.others:
            new.add_dataset(other.path, other.values, other.attrs, checked=checksums)
        # One process has the file open, so that it takes the blocks whoever computes them.
        store(sources, targets, progress, here=True, transfers=transfers)
    return path


def _opened(path: str, append: bool, overwrite: bool) -> AbstractContextManager[Draft]:
    """The file that is made, or that is added to."""
    from usidx.stores.hdf5.writing.append import appending
    from usidx.stores.hdf5.writing.create import draft

    if append and os.path.exists(path):
        return appending(path)
    return draft(path, overwrite=overwrite)


def _placed(parts: Parts, append: bool | str, new: Draft, path: str) -> Parts:
    """The Mains at the places that they get in the file, where they share what is equal."""
    paths = [part.spec.path for part in parts.mains]
    if isinstance(append, str):
        places = places_in(append, paths, new.names)
    else:
        places = next_measurements(paths, new.names)
    here = os.path.realpath(path)
    known = [
        part.origin[1]
        for part in parts.mains
        if part.origin is not None and os.path.realpath(part.origin[0]) == here
    ]
    group = places.home if places.home != "/" else None
    new.share([part.spec for part in parts.mains], group, known)
    return parts.moved(places, path)


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
