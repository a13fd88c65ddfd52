"""Writing netCDF-4 files of Mains."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal

from usidx.exporting.moving.chunking import Chunks, cut
from usidx.exporting.moving.others import add_others
from usidx.exporting.moving.parts import Exportable, parts_of
from usidx.exporting.moving.storing import Progress, blocked, store
from usidx.stores.remote.url import path_on_disk

if TYPE_CHECKING:
    import dask.array


def to_netcdf(
    obj: Exportable,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    compression: Literal["zlib", "zstd"] | None = None,
    checksums: bool = True,
    chunks: Chunks = None,
    progress: Progress = False,
) -> str:
    """Write Mains to a new netCDF-4 file, and return its path.

    Each Main is a group at its path with its coordinates, labelled as the CF conventions have it:
    `xarray.open_dataset(path, group=...)` shows it, by netCDF4 and by h5netcdf, and `usidx.open`
    reads back the same Main. A compound Main is one variable for each field. Complex values are
    the type that netCDF4 (there with `auto_complex=True`) and h5netcdf know. Values are computed
    and written block by block; what is at `path` stays whole until the new file is. Of a tree the
    datasets that are no Mains come along; a warning names those that netCDF cannot hold.

    netCDF has no type for some attributes, and none for True and False: those are complete in the
    text of the attribute `usid` of each group, from which usidx reads them.

    Parameters
    ----------
    obj : a Main, a Dataset (one compound Main, each variable a field), a DataTree of those, or a
        list or dict of Mains
    path : of the file
    overwrite : replace the file that is there; the arrays may come from the very file
    compression : "zlib" is read everywhere, "zstd" is faster and smaller, None stores the values
        as they are
    checksums : whether flipped bits are noticed when values are read
    chunks : size of a stored chunk along the dimensions (those left out are whole); when None the
        chunks of a dask array are kept where they suit
    progress : True for a bar, or a function that is called with (blocks done, blocks in all)

    Raises
    ------
    StoreExistsError : where there is a file and `overwrite` is False, or it is no file of Mains
    StoreNotFoundError, ReadOnlyStoreError, NoSpaceError : where it cannot be written
    StoreLockedError : while another process writes the file
    LayoutError : where a dimension has no role
    InvalidMainError, OptionError : for values or attributes that netCDF cannot hold

    Examples
    --------
    >>> import os, tempfile, usidx
    >>> from usidx.testing import make_main
    >>> path = to_netcdf(make_main(), os.path.join(tempfile.mkdtemp(), "scan.nc"))
    >>> usidx.open(path).dims
    ('Y', 'X', 'Frequency')
    """
    from usidx.stores.netcdf.write import draft

    path = path_on_disk(path, "a netCDF file")
    parts = parts_of(obj)
    with draft(path, overwrite=overwrite) as new:
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
                checked=checksums,
            )
            sources += [blocked(array, block) for array in part.arrays]
        for name, attrs in parts.groups.items():
            new.set_attrs(name, attrs)
        add_others(parts.others, new.add_dataset, path)
        # The library writes from one thread of one process.
        store(sources, targets, progress, here=True)
    return path
