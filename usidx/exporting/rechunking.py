"""The same values in other chunks: for reading maps, or for reading spectra."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import xarray as xr

from usidx.arrays.fields import field_names, pack
from usidx.errors import OptionError, did_you_mean
from usidx.exporting.moving.bands import Access, Cut, cut_of, least_of
from usidx.exporting.moving.parts import Exportable, Part, Parts, parts_of
from usidx.exporting.moving.passes import TILE, Count, Job, carry_out
from usidx.exporting.moving.rechunked import New, Target, new_store
from usidx.exporting.moving.sources import Source, source_of
from usidx.exporting.moving.storing import Progress, told
from usidx.exporting.moving.threads import processors
from usidx.model.dimension import Array
from usidx.stores import disk
from usidx.stores.compression import Compression
from usidx.stores.remote.url import path_on_disk

if TYPE_CHECKING:
    from usidx.arrays.labels import Origin

_MEMORY = 512 * 10**6
# What a thread holds of a chunk that it encodes: the chunk, what it is made into, and a copy.
_COPIES = 3
_log = logging.getLogger("usidx")


def rechunk_for(
    obj: Exportable,
    access: Access,
    into: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    compression: Compression = None,
    memory: int | float | str = _MEMORY,
    workers: int | None = None,
    progress: Progress = False,
) -> str:
    """Write Mains to a new store in chunks that suit one way of reading, and return its path.

    Files of measurements have their values spectrum by spectrum, so that one map of many is read
    from all over the file. In a store for maps it is read in one piece. Values, coordinates and
    attributes stay as they are. They are read in the order in which they lie, sorted in memory and
    written chunk by chunk, with no more memory than was said. What is lazily computed is computed
    once, and set aside on the disk of `into` where it does not fit.

    Parameters
    ----------
    obj : a Main, a Dataset (one compound Main, each variable a field) or a DataTree of those
    access : "maps" for values at all positions together, "spectra" for all values of a position
    into : path of the new store, ending with .zarr or .h5
    overwrite : replace the store that is there; it stays whole until the new one is
    compression : "lz4" or "zstd" for Zarr, "gzip" or "lzf" for HDF5; None for what the store does
        by itself (lz4, nothing), True for the usual one, False for none
    memory : bytes, or text such as "1GB", that all of it takes at most, besides what computing
        lazy arrays takes
    workers : how many threads; one for each processor when None
    progress : True for a bar, or a function that is called with (parts done, parts in all)

    Raises
    ------
    StoreExistsError : where there is a store and `overwrite` is False
    OptionError : for another access, compression or ending, and where memory does not suffice
    NoSpaceError : where the disk has no room, before anything is written where that is known
    StoreNotFoundError, ReadOnlyStoreError, StoreLockedError : where it cannot be written
    LayoutError : where a dimension has no role

    Examples
    --------
    >>> import os, tempfile, usidx
    >>> from usidx.testing import make_main
    >>> path = os.path.join(tempfile.mkdtemp(), "maps.zarr")
    >>> maps = usidx.open(rechunk_for(make_main((64, 64, 256)), "maps", path))
    >>> maps.data.chunksize[:2]
    (64, 64)
    """
    if access not in ("maps", "spectra"):
        raise OptionError(
            f"access={access!r} is not known{did_you_mean(str(access), ('maps', 'spectra'))}; use "
            "'maps' to read values at all positions, 'spectra' to read all values of a position"
        )
    path = path_on_disk(into, "a store in other chunks")
    budget, threads = _bytes_of(memory), _threads_of(workers)
    with new_store(path, overwrite, compression) as new:
        _fill(new, parts_of(obj), access, budget, threads, progress)
    return path


def rechunk_to_zarr(
    obj: Exportable,
    access: Access,
    path: str,
    *,
    overwrite: bool,
    compression: Literal["lz4", "zstd"] | None,
    progress: Progress,
    zarr_format: Literal[2, 3] = 3,
    shards: bool = False,
) -> str:
    """The same, to a Zarr store of any name, also in tiles for both ways of reading.

    Parameters
    ----------
    shards : whether files hold several chunks
    obj, access, path, overwrite, compression, progress, zarr_format : as of `to_zarr`
    """
    if access not in (known := ("spectra", "maps", "both")):
        raise OptionError(
            f"access={access!r} is not known{did_you_mean(str(access), known)}; use "
            f"{', '.join(map(repr, known))}"
        )
    chosen: Compression = False if compression is None else compression
    with new_store(path, overwrite, chosen, zarr_format=zarr_format, shards=shards) as new:
        _fill(new, parts_of(obj), access, _MEMORY, _threads_of(None), progress)
    return path


def _fill(
    new: New, parts: Parts, access: Access, budget: int, threads: int, progress: Progress
) -> None:
    """Write everything into a new store."""
    with told(progress) as tell:
        for name, attrs in parts.groups.items():
            new.set_attrs(name, attrs)
        jobs = [_jobs(each, new.add_main(each, access), budget, threads) for each in parts.mains]
        aside = [sum(job.nbytes for job in each if job.aside) for each in jobs]
        new.check_room(sum(each.spec.nbytes for each in parts.mains), max(aside))
        for other in parts.others:
            new.add_other(other)
        count = Count(tell, sum(job.steps for each in jobs for job in each))
        for each in jobs:
            carry_out(each, new.folder, budget, count)


def _jobs(part: Part, targets: Sequence[Target], memory: int, workers: int) -> list[Job]:
    """How each array of a Main is written.

    Raises
    ------
    OptionError : where memory does not suffice
    """
    arrays, origins = list(part.arrays), list(part.origins)
    if len(targets) == 1 and part.spec.dtype.names is not None:
        arrays, origins = [_packed(part)], [_whole(part)]
    n_position = len(part.spec.position.shape)
    sources = [source_of(*each, n_position) for each in zip(arrays, origins, strict=True)]
    computed = sum(source is None for source in sources)
    jobs = []
    for values, source, target in zip(arrays, sources, targets, strict=True):
        share = memory if source is not None else memory // computed
        cut, aside, threads = _planned(source, target, share, workers, part.spec.path)
        values = values.chunk() if source is None and values.chunks is None else values
        jobs.append(Job(part.spec, values, source, target, cut, aside, threads))
    return jobs


def _planned(
    source: Source | None, target: Target, memory: int, workers: int, path: str
) -> tuple[Cut, bool, int]:
    """(bands, whether values are set aside, threads): the way that moves the least bytes."""
    grid, itemsize = target.grid, target.dtype.itemsize
    chunk = math.prod(grid.chunk) * itemsize
    grain = itemsize * math.prod(source.grain) if source is not None and source.grain else 0
    each = max(_COPIES * chunk, 2 * max(grain, TILE))
    least = least_of(grid)
    threads = max(1, min(workers, (memory - least * chunk) // each))
    most = (memory - threads * each) // chunk
    if most < least:
        raise _too_little(path, memory, least * chunk + each, chunk, least > 1)
    found = cut_of(grid, most, source, itemsize)
    assert found is not None
    cut, nbytes = found
    # set aside, values are read once, written, which counts twice, and read again
    once = math.prod(grid.shape) * itemsize
    on_disk = source is None or source.on_disk
    aside = len(cut) > 1 and on_disk and (source is None or nbytes > 4 * once)
    _log.debug(
        "%s goes into chunks of %s in %d bands; %s are read%s",
        path,
        disk.sized(chunk),
        len(cut),
        disk.sized(2 * once if aside else nbytes),
        ", values are set aside in between" if aside else "",
    )
    return cut, aside, threads


def _too_little(path: str, memory: int, need: int, chunk: int, ordered: bool) -> OptionError:
    advice = f"give memory='{-(-need // 10**6)}MB' or more"
    if ordered:
        advice += ", or write a .zarr store, whose chunks need not follow the order of the file"
    return OptionError(
        f"{path!r} goes into chunks of {disk.sized(chunk)}, for which {disk.sized(need)} of memory "
        f"are needed at least, and memory is {disk.sized(memory)}; {advice}"
    )


def _whole(part: Part) -> Origin | None:
    """The compound Main that the fields of a part are, all of them in its order."""
    from dataclasses import replace

    origins = [each for each in part.origins if each is not None]
    if len(origins) != len(part.arrays) or len({(each.store, each.main) for each in origins}) != 1:
        return None
    if [each.field for each in origins] != list(field_names(part.spec.dtype)):
        return None
    return replace(origins[0], field=None)


def _packed(part: Part) -> xr.DataArray:
    """The fields of a compound Main as one lazy array."""
    import dask.array

    dtype = part.spec.dtype
    first = part.arrays[0].chunk() if part.arrays[0].chunks is None else part.arrays[0]
    chunks = dict(zip(first.dims, first.chunks or (), strict=True))
    fields = [each.chunk(chunks).data for each in part.arrays]
    values = dask.array.map_blocks(
        _pack,
        *fields,
        dtype=dtype,
        meta=np.empty((0,) * first.ndim, dtype),
        packed=dtype,
    )
    return xr.DataArray(values, dims=first.dims)


def _pack(*fields: Array, packed: np.dtype[np.void]) -> Array:
    """One block of a compound Main."""
    return pack(dict(zip(field_names(packed), fields, strict=True)), packed)


def _bytes_of(memory: int | float | str) -> int:
    from dask.utils import parse_bytes

    try:
        count = int(parse_bytes(memory))
    except (ValueError, TypeError, AttributeError) as error:
        raise OptionError(
            f"memory={memory!r} is no amount of memory; use a number of bytes or text such as '1GB'"
        ) from error
    if count <= 0:
        raise OptionError(f"memory={memory!r} must be more than nothing")
    return count


def _threads_of(workers: int | None) -> int:
    if workers is None:
        return processors()
    if workers < 1:
        raise OptionError(f"workers={workers!r} must be at least 1")
    return workers
