"""Writing USID-Zarr stores."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from usidx.errors import OptionError
from usidx.exporting.moving.chunking import Chunks, cut, cut_in_shards
from usidx.exporting.moving.others import add_others
from usidx.exporting.moving.parts import Exportable, Part, Parts, parts_of
from usidx.exporting.moving.resuming import fingerprint_of, remaining, untransferred
from usidx.exporting.moving.sharding import shard_for
from usidx.exporting.moving.storing import Progress, blocked, store
from usidx.exporting.moving.straight import Transfer, transfers_of
from usidx.stores.remote.url import Url, located

if TYPE_CHECKING:
    import dask.array

# Sizes of a file; True for what suits.
Shards = Chunks | Literal[True]
# Sizes of the blocks that one task writes, along each axis; of a chunk; and of a shard.
Cut = tuple[tuple[tuple[int, ...], ...], tuple[int, ...], tuple[int, ...] | None]


def to_zarr(
    obj: Exportable,
    path: str | os.PathLike[str],
    *,
    group: str | None = None,
    overwrite: bool = False,
    extend: bool = False,
    compression: Literal["lz4", "zstd"] | None = "lz4",
    chunks: Chunks = None,
    shards: Shards = None,
    zarr_format: Literal[2, 3] | None = None,
    access: Literal["spectra", "maps", "both"] | None = None,
    progress: Progress = False,
    resume: bool | str = False,
    storage_options: Mapping[str, Any] | None = None,
) -> str:
    """Write Mains to a USID-Zarr store, and return its path.

    Values are computed and written block by block; memory holds a few blocks at a time. Plain
    xarray reads the store with its labels and units, `usidx.open` reads back the same Mains. Of a
    tree the datasets that are no Mains come along; a warning names those that Zarr cannot hold.

    Parameters
    ----------
    obj : a Main, a Dataset (one compound Main, each variable a field) or a DataTree of those
    path : of the store; a URL of fsspec, such as "s3://bucket/scan.zarr", for a whole new one
    group : path in the store of the one Main that is written; a store that exists is added to.
        None writes a whole new store.
    overwrite : replace what is there; it stays whole until the new one is. The arrays may come
        from the very store that is replaced.
    extend : add what is new along the slowest dimension to the Main of that name in the store, with
        which the array must begin; what is stored is not computed again. Chunks and compression
        stay as they are. Where there is no store yet, it is made
    compression : "lz4" is fast, "zstd" small, None stores the bytes as they are
    chunks : size of a stored chunk along the dimensions (those left out are whole); when None the
        chunks of a dask array are kept where they suit
    shards : size of a file along the dimensions (those left out are whole), for fewer files than
        chunks; rounded up to whole chunks. True for files of some 32 MiB. One task writes whole
        files. Mains of partial results keep a file for each chunk, as they are gone on with
    zarr_format : 3 when None, or that of the store that is added to (group, extend). 2 is for
        programs that know no other; it has no shards
    access : what is to be read quickly, instead of `chunks`: "spectra" or "maps" each in one
        piece, or "both" by tiles, of which each takes a few; with `shards=True` in files of many
        chunks. Values are sorted as by `usidx.exporting.rechunk_for`, in bounded memory
    progress : True for a bar, or a function that is called with (blocks done, blocks in all)
    resume : go on where the same export of the same arrays was interrupted, be it by a crash, and
        keep what is written when this one is, beside `path` under a name that begins with a dot.
        Text is one more thing that has to be the same, such as what a file says of its age. What is
        left of any other export to `path` is removed
    storage_options : of fsspec, for a URL: keys and the like

    Raises
    ------
    StoreExistsError : where the target exists and `overwrite` is False
    StoreNotFoundError, ReadOnlyStoreError, NoSpaceError : where it cannot be written
    StoreLockedError : while another process writes the store
    LayoutError : where a dimension has no role
    InvalidMainError, OptionError : for values or attributes that Zarr cannot hold
    """
    path = os.fspath(located(path, storage_options))
    _check_together(
        path,
        group=group,
        overwrite=overwrite,
        extend=extend,
        resume=resume,
        chunks=chunks,
        shards=shards,
        access=access,
        zarr_format=zarr_format,
    )
    if isinstance(path, Url):
        from usidx.exporting.uploading import upload

        return upload(
            obj,
            path,
            group=group,
            overwrite=overwrite,
            compression=compression,
            chunks=chunks,
            progress=progress,
            zarr_format=zarr_format or 3,
        )
    if extend:
        from usidx.exporting.extending import extend_zarr, is_there

        if is_there(path):
            return extend_zarr(obj, path, progress=progress, zarr_format=zarr_format)
    if access is not None:
        from usidx.exporting.rechunking import rechunk_to_zarr

        return rechunk_to_zarr(
            obj,
            access,
            path,
            overwrite=overwrite,
            compression=compression,
            progress=progress,
            zarr_format=zarr_format or 3,
            shards=bool(shards),
        )
    return _written(
        parts_of(obj, group),
        path,
        group=group,
        overwrite=overwrite,
        resume=resume,
        compression=compression,
        chunks=chunks,
        shards=shards,
        zarr_format=zarr_format,
        progress=progress,
    )


def _check_together(
    path: str,
    *,
    group: str | None,
    overwrite: bool,
    extend: bool,
    resume: bool | str,
    chunks: Chunks,
    shards: Shards,
    access: Literal["spectra", "maps", "both"] | None,
    zarr_format: Literal[2, 3] | None,
) -> None:
    """Nothing, where options of `to_zarr` go together.

    Raises
    ------
    OptionError : naming those that do not
    """
    if zarr_format not in (None, 2, 3):
        raise OptionError(f"zarr_format={zarr_format!r} is neither 2 nor 3")
    if zarr_format == 2 and shards is not None:
        raise OptionError(
            "Zarr v2 has no shards: take shards away, or write zarr_format=3, which has them"
        )
    if isinstance(path, Url) and (extend or resume or access is not None or shards is not None):
        raise OptionError(
            f"extend={extend}, resume={resume}, access={access!r}, shards={shards!r}: a store "
            "behind a URL is written whole, at once, in chunks that are said"
        )
    if extend and (shards is not None or access is not None):
        raise OptionError("a store that is extended keeps its chunks; take away shards, access")
    if extend and (overwrite or group is not None):
        raise OptionError("a store is extended, or written anew (overwrite, group), not both")
    in_parts = chunks is not None or shards not in (None, True) or resume or group is not None
    if access is not None and in_parts:
        raise OptionError(
            "access says the chunks (and with shards=True the shards) of a whole store that is "
            "written in one go; take chunks, sizes of shards, resume and group away"
        )


def _written(
    parts: Parts,
    path: str,
    *,
    group: str | None,
    overwrite: bool,
    resume: bool | str,
    compression: Literal["lz4", "zstd"] | None,
    chunks: Chunks,
    shards: Shards,
    zarr_format: Literal[2, 3] | None,
    progress: Progress,
) -> str:
    """The path of a store that is made, or gone on with, or of which one group is written."""
    from usidx.stores.zarr.draft import draft

    if group is not None and len(parts.mains) != 1:
        raise OptionError(f"group={group!r} takes one Main, the tree has {len(parts.mains)}")
    if resume and group is not None:
        raise OptionError("only the export of a whole store is gone on with (resume), not a group")
    cuts = [_cut(part, chunks, shards) for part in parts.mains]
    fingerprint = _fingerprint(parts, cuts, (resume, compression, zarr_format)) if resume else None
    with draft(
        path, group=group, overwrite=overwrite, resume=fingerprint, zarr_format=zarr_format
    ) as new:
        sources: list[dask.array.Array] = []
        targets: list[Any] = []
        transfers: list[Transfer] = []
        for part, (block, chunk, shard) in zip(parts.mains, cuts, strict=True):
            made = new.add_main(
                part.spec,
                chunk,
                extras=part.extras,
                completed=part.completed,
                failures=part.failures,
                compression=compression,
                shards=shard,
            )
            task = tuple(sizes[0] for sizes in block)
            straight = transfers_of(part, made, task, shard or chunk)
            for array, target, transfer in zip(part.arrays, made, straight, strict=True):
                if transfer is None:
                    sources.append(blocked(array, block))
                    targets.append(target)
                else:
                    transfers.append(untransferred(transfer))
        if group is None:
            for name, attrs in parts.groups.items():
                new.set_attrs(name, attrs)
            add_others(parts.others, new.add_dataset, path)
        store(*remaining(sources, targets), progress, transfers=transfers)
    return path


def _fingerprint(parts: Parts, cuts: Sequence[Cut], options: tuple[object, ...]) -> str:
    """Of what is written, and how."""
    sources = [
        blocked(array, block)
        for part, (block, _, _) in zip(parts.mains, cuts, strict=True)
        for array in part.arrays
    ]
    return fingerprint_of(parts, sources, (*options, [each[1:] for each in cuts]))


def _cut(part: Part, chunks: Chunks, shards: Shards) -> Cut:
    """(blocks that one task writes, chunks, shards)."""
    if shards is None or part.completed is not None or part.failures is not None:
        return *cut(part, chunks), None
    if shards is True:
        spec, (_, chunk) = part.spec, cut(part, chunks)
        return cut_in_shards(part, chunk, shard_for("spectra", spec, chunk, spec.dtype.itemsize))
    return cut_in_shards(part, chunks, shards)
