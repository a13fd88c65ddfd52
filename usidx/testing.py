"""Small Mains to try things on: for doctests, tests, and people who write steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from usidx.arrays.making import from_array
from usidx.model.dimension import Dimension


def make_main(
    shape: tuple[int, int, int] = (4, 5, 16),
    *,
    dtype: npt.DTypeLike = "float32",
    chunks: Any = None,
    name: str = "Raw_Data",
    seed: int = 0,
) -> xr.DataArray:
    """A labelled Main of resonances over a Y x X map, the same one at every call.

    Parameters
    ----------
    shape : sizes of Y, X and Frequency
    dtype : of the values; a complex one gives the phase of the resonance too
    chunks : as in `DataArray.chunk`; None keeps the values in memory
    seed : of the noise

    Examples
    --------
    >>> make_main().sizes
    Frozen({'Y': 4, 'X': 5, 'Frequency': 16})
    """
    rows, columns, points = shape
    y = np.linspace(0.0, 1.5, rows) if rows > 1 else np.zeros(1)
    x = np.linspace(0.0, 2.0, columns) if columns > 1 else np.zeros(1)
    frequency = np.linspace(300e3, 345e3, points) if points > 1 else np.array([320e3])
    center = 320e3 + 4e3 * np.sin(2.0 * y)[:, None, None] + 2e3 * np.cos(3.0 * x)[None, :, None]
    quality = 60.0
    values = center**2 / (center**2 - frequency**2 + 1j * center * frequency / quality) / quality
    generator = np.random.default_rng(seed)
    values = values + 0.01 * generator.standard_normal(values.shape)
    if not np.issubdtype(dtype, np.complexfloating):
        values = np.abs(values)
    if np.issubdtype(dtype, np.integer):
        values = values * 100
    array = from_array(
        values.astype(dtype),
        "Cantilever Vertical Deflection",
        "V",
        name=name,
        position=[Dimension("Y", "um", y), Dimension("X", "um", x)],
        spectroscopic=[Dimension("Frequency", "Hz", frequency)],
    )
    return array if chunks is None else array.chunk(chunks)
