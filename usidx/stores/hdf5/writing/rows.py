"""Runs of rows or columns in the 2-D form of a file, and values in the type it has."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from usidx.errors import LayoutError
from usidx.model.blocks import axis_range
from usidx.model.dimension import Array
from usidx.model.layout import file_rows
from usidx.model.main import MainSpec

Key = tuple[int | slice, ...]


def runs(places: range | Array) -> Iterator[tuple[int, int, int]]:
    """(place, start, stop) of each run of consecutive places: its first, and its part of them.

    Examples
    --------
    >>> list(runs(np.array([4, 5, 9])))
    [(4, 0, 2), (9, 2, 3)]
    """
    if isinstance(places, range):
        yield places.start, 0, len(places)
        return
    edges = [0, *(np.flatnonzero(np.diff(places) != 1) + 1).tolist(), len(places)]
    for start, stop in zip(edges, edges[1:], strict=False):
        yield int(places[start]), start, stop


def converted(values: Array, dtype: np.dtype[Any], main: str) -> Array:
    """A block of the Main `main` with the dtype that it has in the file.

    Raises
    ------
    LayoutError : where values would lose more than precision
    """
    if values.dtype == dtype:
        return values
    same_fields = values.dtype.names == dtype.names
    if not same_fields or not np.can_cast(values.dtype, dtype, "same_kind"):
        raise LayoutError(
            f"a block of {main!r} has values of {values.dtype}, expected {dtype}; give every block "
            "the type of the Main"
        )
    return values.astype(dtype)


def in_file_order(
    spec: MainSpec, key: Key, values: Array
) -> tuple[range | Array, range | Array, Array]:
    """(rows, columns, block) of one block: ascending places in the file, and its 2-D form.

    Parameters
    ----------
    spec : of the Main
    key : ints and slices over its N-D axes
    values : array of the shape that `key` selects
    """
    n_position = len(spec.position.shape)
    sizes = (
        tuple(len(axis_range(part, size)) for part, size in zip(key, spec.shape, strict=False))
        + spec.shape[len(key) :]
    )
    if math.prod(values.shape) != math.prod(sizes):
        raise LayoutError(
            f"a block of {spec.path!r} at {key} has the shape {values.shape}, expected {sizes}"
        )
    rows = _places(file_rows(spec.position, key[:n_position]))
    columns = _places(file_rows(spec.spectroscopic, key[n_position:]))
    block = converted(values, spec.dtype, spec.path).reshape(len(rows), len(columns))
    if not isinstance(rows, range):
        order = np.argsort(rows)
        rows, block = rows[order], block[order]
    if not isinstance(columns, range):
        order = np.argsort(columns)
        columns, block = columns[order], block[:, order]
    return rows, columns, block


def _places(found: slice | Array) -> range | Array:
    return range(found.start, found.stop) if isinstance(found, slice) else found
