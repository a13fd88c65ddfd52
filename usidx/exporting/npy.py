"""Writing NumPy's .npy files, block by block."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from usidx.errors import OptionError
from usidx.exporting.moving.aside import aside
from usidx.exporting.moving.chunking import runs_of_positions
from usidx.exporting.moving.parts import Labelled, parts_of
from usidx.exporting.moving.storing import Progress, blocked, store
from usidx.model.dimension import Array
from usidx.stores.remote.url import path_on_disk


@dataclass(frozen=True)
class _Mapped:
    """A target of blocks, mapped anew for each, so that what is written does not stay in memory."""

    path: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __setitem__(self, key: tuple[slice, ...], values: Array) -> None:
        whole = np.lib.format.open_memmap(self.path, mode="r+")
        whole[key] = values
        whole.flush()
        del whole


def to_npy(
    obj: Labelled,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    progress: Progress = False,
) -> str:
    """Write the values of a Main to a new .npy file, and return its path.

    Such a file has values and a shape: positions first, then spectroscopic dimensions. Names, units
    and coordinates are not in it. LiberTEM and `numpy.load(path, mmap_mode="r")` read it.

    Parameters
    ----------
    obj : a Main
    path : of the file
    overwrite : replace the file that is there
    progress : True for a bar, or a function that is called with (blocks done, blocks in all)

    Raises
    ------
    StoreExistsError : where there is a file and `overwrite` is False
    StoreNotFoundError, ReadOnlyStoreError, NoSpaceError : where it cannot be written
    LayoutError : where a dimension has no role
    OptionError : for a compound Main

    Examples
    --------
    >>> import os, tempfile, numpy
    >>> from usidx.testing import make_main
    >>> path = to_npy(make_main((2, 3, 4)), os.path.join(tempfile.mkdtemp(), "scan.npy"))
    >>> numpy.load(path).shape
    (2, 3, 4)
    """
    path = path_on_disk(path, "an .npy file")
    (part,) = parts_of(obj).mains
    if len(part.arrays) != 1 or part.spec.dtype.names is not None:
        raise OptionError(
            f"{part.spec.path!r} is compound; write its fields one by one: dataset['field']"
        )
    _, blocks = runs_of_positions(part)
    dtype = part.spec.dtype.newbyteorder("=")
    with aside(path, overwrite) as file:
        new = file.name
        np.lib.format.open_memmap(new, mode="w+", dtype=dtype, shape=part.spec.shape).flush()
        target = _Mapped(new, part.spec.shape, dtype)
        store([blocked(part.arrays[0], blocks)], [target], progress, here=True)
    return path
