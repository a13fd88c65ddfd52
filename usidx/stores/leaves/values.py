"""Values of datasets that are no Mains, as stores other than HDF5 take them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

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


def check_values(dtype: np.dtype[Any], place: str) -> None:
    """Refuse values that are no numbers, no text and no records of numbers.

    Raises
    ------
    OptionError : naming the dtype
    """
    parts = [dtype] if dtype.names is None else [dtype[name] for name in dtype.names]
    allowed = "biufcOSUT" if dtype.names is None else "biufc"
    if any(part.kind not in allowed or part.char in "gG" for part in parts):
        raise OptionError(f"{place!r} has values of {dtype}, which have no place there")


def row_blocks(shape: tuple[int, ...], itemsize: int) -> Iterator[Any]:
    """Keys of runs of rows that together are everything, each of whole chunks."""
    if not shape:
        yield ()
        return
    row = int(np.prod(shape[1:], dtype=np.int64)) * itemsize
    chunk = chunk_of(shape, itemsize)[0]
    step = max(1, _BLOCK_BYTES // max(1, row * chunk)) * chunk
    for start in range(0, shape[0], step):
        yield (slice(start, min(start + step, shape[0])),)


def chunk_of(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Shape of chunks of some 1 MiB, the fastest axes whole."""
    chunk = [max(1, size) for size in shape]
    for axis in range(len(shape)):
        rest = int(np.prod(chunk[axis + 1 :], dtype=np.int64)) * itemsize
        chunk[axis] = max(1, min(chunk[axis], _CHUNK_BYTES // max(1, rest)))
    return tuple(chunk)


def as_text(values: Array) -> Array:
    """Values of text as an array of str.

    Raises
    ------
    OptionError : for objects that are no text, and bytes that are no UTF-8
    """

    def one(value: Any) -> str:
        if isinstance(value, bytes):
            try:
                return value.decode("utf-8")
            except UnicodeDecodeError as error:
                raise OptionError(f"the bytes {value[:20]!r} are no UTF-8 text") from error
        if not isinstance(value, str):
            raise OptionError(f"a {type(value).__name__} is neither a number nor text")
        return str(value)

    found = np.empty(values.shape, object)
    found[...] = np.reshape([one(each) for each in np.ravel(values)] or [], values.shape)
    return found


def plain_values(values: Any) -> Array:
    """The NumPy array in what indexing gave."""
    return np.asarray(getattr(values, "values", values))
