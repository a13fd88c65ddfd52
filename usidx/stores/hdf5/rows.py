"""Runs of rows or columns in the 2-D form of a file, and values in the type it has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from usidx.errors import LayoutError
from usidx.model.dimension import Array


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
