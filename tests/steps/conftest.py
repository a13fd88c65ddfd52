"""Sources of steps: diffraction patterns over a map, in memory, lazily, stored, and as a list."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from usidx.arrays.making import from_array
from usidx.model.dimension import Dimension
from usidx.model.layout import Coordinate, Points


def make_frames(shape: tuple[int, int, int, int] = (6, 7, 12, 16), dtype: str = "uint16"):
    """Spots that move about, with noise, over Y x X; frames over ky and kx."""
    rows, columns, v, u = shape
    rng = np.random.default_rng(4)
    ky, kx = np.linspace(-3, 3.6, v), np.linspace(10, 18, u)
    y, x = rng.uniform(-1, 1, (2, rows, columns, 1, 1))
    spot = np.exp(-((ky[:, None] - y) ** 2 + (kx - 14 - x) ** 2) / 2)
    values = rng.poisson(200 * spot + 3).astype(dtype)
    return from_array(
        values,
        "Intensity",
        "counts",
        position=[Dimension("Y", "nm", np.arange(rows) * 0.5), Dimension("X", "nm", columns)],
        spectroscopic=[Dimension("ky", "1/nm", ky), Dimension("kx", "1/nm", kx)],
    )


def scattered(frames: xr.DataArray) -> xr.DataArray:
    """The same frames at positions that are no grid."""
    n = frames.sizes["Y"] * frames.sizes["X"]
    places = np.random.default_rng(5).uniform(0, 9, (2, n))
    sides = [Dimension(dim, str(frames[dim].units), frames[dim].values) for dim in frames.dims[2:]]
    return from_array(
        frames.values.reshape(n, *frames.shape[2:]),
        frames.quantity,
        frames.units,
        position=Points(
            "position",
            tuple(Coordinate(d, "nm", ("position",), v) for d, v in zip("YX", places)),
        ),
        spectroscopic=sides,
    )


@pytest.fixture
def frames() -> xr.DataArray:
    """In memory, (Y, X, ky, kx)."""
    return make_frames()


@pytest.fixture(params=["memory", "lazy", "stored", "list"])
def any_frames(request: pytest.FixtureRequest, tmp_path, frames: xr.DataArray) -> xr.DataArray:
    """The same in every form."""
    import usidx

    if request.param == "memory":
        return frames
    if request.param == "lazy":
        return frames.chunk(Y=2, X=3, ky=5)
    path = str(tmp_path / "scan.h5")
    if request.param == "list":
        frames = scattered(frames)
    frames.usid.to_h5usid(path)
    return usidx.open(path)
