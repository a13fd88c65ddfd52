"""Writing USID-Zarr stores behind URLs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from usidx.exporting.moving.chunking import Chunks, cut
from usidx.exporting.moving.others import add_others
from usidx.exporting.moving.parts import Exportable, parts_of
from usidx.exporting.moving.storing import Progress, blocked, store
from usidx.stores.remote.url import Url, is_versioned

if TYPE_CHECKING:
    import dask.array


def upload(
    obj: Exportable,
    url: Url,
    *,
    group: str | None,
    overwrite: bool,
    compression: Literal["lz4", "zstd"] | None,
    chunks: Chunks,
    progress: Progress,
    zarr_format: Literal[2, 3] = 3,
) -> str:
    """Write Mains to a USID-Zarr store behind a URL, and return the URL.

    Parameters
    ----------
    url : of the store
    obj, overwrite, compression, chunks, progress, zarr_format : as of `usidx.exporting.to_zarr`
    group : None, as such a store is written whole

    Raises
    ------
    StoreExistsError, StoreAccessError, LayoutError, InvalidMainError, OptionError
    """
    from usidx.stores.zarr.uploading import draft_afar

    parts = parts_of(obj, group)
    with draft_afar(url, group=group, overwrite=overwrite, zarr_format=zarr_format) as new:
        sources: list[dask.array.Array] = []
        targets: list[Any] = []
        for part in parts.mains:
            block, chunk = cut(part, chunks)
            targets += new.add_main(
                part.spec,
                chunk,
                extras=part.extras,
                completed=part.completed,
                failures=part.failures,
                compression=compression,
            )
            sources += [blocked(array, block) for array in part.arrays]
        for name, attrs in parts.groups.items():
            new.set_attrs(name, attrs)
        add_others(parts.others, new.add_dataset, str(url))
        # a version is written by one process
        store(sources, targets, progress, here=is_versioned(url))
    return str(url)
