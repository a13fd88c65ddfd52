"""Masks of which most pixels weigh nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from usidx.errors import PlanError
from usidx.model.dimension import Array

_PARTS = ("coords", "data", "shape")


def sparse_rows(masks: Any, shape: tuple[int, ...]) -> Any:
    """Sparse masks in rows, a scipy.sparse array of shape (n, v * u); None for dense ones.

    Parameters
    ----------
    masks : a scipy.sparse array, shape (v, u) or (n, v * u); anything with the coords, data and
        shape that a `sparse.COO` has, shape (v, u) or (n, v, u); or a mapping of these
    shape : of frames, (v, u)

    Raises
    ------
    PlanError : for sparse masks of another shape
    """
    import scipy.sparse

    if scipy.sparse.issparse(masks):
        stored = scipy.sparse.coo_array(masks)
        given, places, values = stored.shape, stored.coords, stored.data
        if given != shape and given[-1] == shape[0] * shape[1]:
            given, places = (given[0], *shape), (places[0], *np.divmod(places[1], shape[1]))
    elif isinstance(masks, (np.ndarray, xr.DataArray)) or not all(_has(masks, _PARTS)):
        return None
    else:
        coords, values, given = (_part(masks, name) for name in _PARTS)
        given, places = tuple(int(each) for each in given), tuple(np.asarray(coords, int))
    if given[-2:] != shape or len(given) != len(places) or len(given) not in (2, 3):
        raise PlanError(
            f"sparse masks of shape {given} do not fit frames of shape {shape}; give {shape}, or "
            f"(number of masks, {shape[0]}, {shape[1]})"
        )
    number, count = (places[0], given[0]) if len(given) == 3 else (np.zeros_like(places[0]), 1)
    pixels = places[-2] * shape[1] + places[-1]
    size = (count, shape[0] * shape[1])
    rows = scipy.sparse.csr_array((np.asarray(values), (number, pixels)), shape=size)
    return rows if rows.dtype.kind in "fc" else rows.astype(np.float32)


def sparse_sums(block: Array, masks: Any, dtype: np.dtype[Any]) -> Array:
    """The sums of frames that sparse masks weigh, one frame after the other: it stays in the cache.

    Parameters
    ----------
    block : ndarray, shape (..., v, u)
    masks : scipy.sparse array, shape (n, v * u)
    dtype : of the result, ndarray, shape (..., n)
    """
    n, pixels = masks.shape
    frames = block.reshape(-1, pixels)
    double = np.result_type(dtype, np.float64)
    weights, found = masks.astype(double), np.empty((frames.shape[0], n), dtype)
    for row, frame in enumerate(frames):
        found[row] = weights @ frame.astype(double)
    return found.reshape(*block.shape[:-2], n)


def _has(masks: Any, names: tuple[str, ...]) -> list[bool]:
    here = masks if isinstance(masks, Mapping) else dir(masks)
    return [name in here for name in names]


def _part(masks: Any, name: str) -> Any:
    return masks[name] if isinstance(masks, Mapping) else getattr(masks, name)
