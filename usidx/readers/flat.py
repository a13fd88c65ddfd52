"""Rows of nested fields, and of fields that are arrays, as rows of plain ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from usidx.model.dimension import Array
from usidx.stores.base import BlockArray

# What leads from a row to a value in it: names of fields, and places in a field that is an array.
_Way = tuple[Any, ...]


def is_flat(dtype: np.dtype[Any]) -> bool:
    """Whether values are numbers or the like, or have fields that are.

    Examples
    --------
    >>> is_flat(np.dtype([("x", "f4"), ("pixels", "u2", (2, 3))]))
    False
    """
    fields = [dtype] if dtype.names is None else [dtype[name] for name in dtype.names]
    return all(each.names is None and each.subdtype is None for each in fields)


@dataclass(frozen=True, eq=False)
class FlatTable:
    """A table whose fields are called "fitResults_x0", "pixels_0_2" and the like.

    Parameters
    ----------
    table : of which the dtype has fields
    """

    table: BlockArray

    @property
    def shape(self) -> tuple[int, ...]:
        return self.table.shape

    @property
    def ndim(self) -> int:
        return self.table.ndim

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype([(name, dtype) for name, _, dtype in _leaves(self.table.dtype)])

    def __getitem__(self, key: Any, /) -> Array:
        rows = np.asarray(self.table[key])
        out = np.empty(rows.shape, self.dtype)
        for name, way, _ in _leaves(self.table.dtype):
            values = rows
            for step in way:
                values = values[(..., *step)] if isinstance(step, tuple) else values[step]
            out[name] = values
        return out

    def __dask_tokenize__(self) -> Any:
        return "usidx.FlatTable", self.table.__dask_tokenize__()


def _leaves(
    dtype: np.dtype[Any], name: str = "", way: _Way = ()
) -> Iterator[tuple[str, _Way, np.dtype[Any]]]:
    """(name, what leads there, dtype) of every value in a row."""
    before = f"{name}_" if name else ""
    if dtype.subdtype is not None:
        inner, shape = dtype.subdtype
        for place in np.ndindex(*shape):
            numbers = "_".join(map(str, place))
            yield from _leaves(inner, f"{before}{numbers}", (*way, place))
    elif dtype.names is None:
        yield name, way, dtype.newbyteorder("=")
    else:
        for each in dtype.names:
            yield from _leaves(dtype[each], f"{before}{each}", (*way, each))
