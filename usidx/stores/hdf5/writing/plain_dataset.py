"""Write datasets that are no Mains: whatever array comes along with them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import h5py
import numpy as np

from usidx.errors import OptionError
from usidx.model.dimension import Array

_BLOCK_BYTES = 16 * 2**20
_CHUNK_BYTES = 2**20


class Indexed(Protocol):
    """An array whose parts are read when they are asked for."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    def __getitem__(self, key: Any, /) -> Any: ...


def write_dataset(group: h5py.Group, name: str, values: Indexed, *, checked: bool) -> h5py.Dataset:
    """A new dataset with all values, a few rows at a time; text becomes UTF-8.

    Parameters
    ----------
    group, name : where it goes
    values : of any shape
    checked : whether it gets checksums, for which it has to be chunked

    Raises
    ------
    OptionError : for values that are neither numbers nor text
    """
    shape, dtype = values.shape, values.dtype
    if dtype.kind in "OSTU":
        made = group.create_dataset(name, shape, h5py.string_dtype("utf-8"))
        for key in _blocks(shape, 64):
            made[key] = np.vectorize(str, otypes=[object])(np.asarray(values[key]))
        return made
    if dtype.kind not in "biufcV" or dtype.hasobject:
        raise OptionError(f"{name!r} has values of {dtype}, which an HDF5 file cannot hold")
    checked = checked and bool(shape) and 0 not in shape
    options = {"chunks": _chunks(shape, dtype), "fletcher32": True} if checked else {}
    made = group.create_dataset(name, shape, dtype, **options)
    for key in _blocks(shape, dtype.itemsize):
        made[key] = _plain(values[key])
    return made


def _plain(values: Any) -> Array:
    return np.asarray(getattr(values, "values", values))


def _blocks(shape: tuple[int, ...], itemsize: int) -> Iterator[Any]:
    """Keys of runs of rows that together are everything."""
    if not shape:
        yield ()
        return
    row = int(np.prod(shape[1:], dtype=np.int64)) * itemsize
    step = max(1, _BLOCK_BYTES // max(1, row))
    for start in range(0, shape[0], step):
        yield (slice(start, min(start + step, shape[0])),)


def _chunks(shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[int, ...]:
    """Shape of chunks of some 1 MiB, the fastest axes whole."""
    chunk = list(shape)
    for axis in range(len(shape)):
        rest = int(np.prod(chunk[axis + 1 :], dtype=np.int64)) * dtype.itemsize
        chunk[axis] = max(1, min(chunk[axis], _CHUNK_BYTES // max(1, rest)))
    return tuple(chunk)
