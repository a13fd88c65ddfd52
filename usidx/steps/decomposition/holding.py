"""What decompositions have in memory besides blocks, however many of these are computed at once.

Counted in copies that were measured: those that scikit-learn and BLAS make on the way, too.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray as xr

from usidx.arrays.apply import floating
from usidx.arrays.roles import dims_by_role
from usidx.steps.decomposition.matrix import double, sample_of
from usidx.steps.decomposition.subspace import DIRECTIONS_MORE, MOST_EXACT

# Less than that comes and goes with any run.
_LEAST = 2**22
# Covariances of blocks, or sums along directions: those that wait to be added up, and the last one.
_PARTS = 10


def in_subspace(data: xr.DataArray, *, n_components: int = 8, **_: Any) -> int:
    """Bytes of partial sums, on the way to the directions of most variance."""
    columns = math.prod(data.sizes[dim] for dim in dims_by_role(data)[1])
    width = columns if columns <= MOST_EXACT else n_components + DIRECTIONS_MORE
    return _counted(_PARTS * columns * width * double(data.dtype).itemsize)


def in_independent(
    data: xr.DataArray, *, n_components: int = 8, of: str = "spectra", **_: Any
) -> int:
    """Bytes of partial sums, and of maps of components where these are made independent."""
    found = in_subspace(data, n_components=n_components)
    if of != "maps":
        return found
    rows, columns = _sample(data)
    sample = rows * columns * 2 * data.dtype.itemsize
    # spectra are converted before, components are turned after
    return found + _counted(sample + rows * max(columns, 6 * n_components) * 8)


def in_mixtures(data: xr.DataArray, **_: Any) -> int:
    """Bytes of a sample: as it is read, in double precision, and less what explains it."""
    return _counted(math.prod(_sample(data)) * (2 * data.dtype.itemsize + 4 * 8))


def in_clusters(data: xr.DataArray, **_: Any) -> int:
    """Bytes of a sample: as it is read, in floating point, and less the middle of it."""
    floats = floating(data.dtype).itemsize
    return _counted(math.prod(_sample(data)) * (2 * data.dtype.itemsize + 3 * floats))


def _sample(data: xr.DataArray) -> tuple[int, int]:
    """(rows, columns) of a sample."""
    position, spectral = dims_by_role(data)
    columns = math.prod(data.sizes[dim] for dim in spectral)
    sizes = {dim: data.sizes[dim] for dim in position}
    steps = sample_of(sizes, columns)
    return math.prod(-(-size // steps[dim]) for dim, size in sizes.items()), columns


def _counted(nbytes: int | np.integer[Any]) -> int:
    return int(nbytes) if nbytes > _LEAST else 0
