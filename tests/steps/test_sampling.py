"""Other samples of spectra against SciPy, and of functions that are known."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy.interpolate import CubicSpline
from scipy.signal import resample

import usidx
from usidx import steps
from usidx.errors import OptionError, PlanError
from usidx.testing import make_main


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("down", [False, True])
def test_splines_are_those_of_numpy_and_scipy(dtype: str, down: bool) -> None:
    data = make_main((4, 5, 20), dtype=dtype)
    x = np.sort(np.random.default_rng(0).uniform(0, 5, 20))
    x = x[::-1] if down else x
    data = data.assign_coords(Frequency=("Frequency", x, data.Frequency.attrs)).chunk(Y=2)
    places = np.linspace(x.min(), x.max(), 33)[::-1]
    found = steps.resample(data.transpose("Frequency", "Y", "X"), to=list(places), method="linear")
    up = slice(None, None, -1 if down else 1)
    flat = data.values.reshape(20, 20)[:, up]
    expected = np.stack([np.interp(places, x[up], each) for each in flat]).reshape(4, 5, 33)
    assert found.dims == ("Frequency", "Y", "X")
    np.testing.assert_allclose(found.transpose("Y", "X", ...), expected, atol=1e-12)
    np.testing.assert_array_equal(found.Frequency, places)
    assert found.Frequency.attrs["units"] == data.Frequency.attrs["units"]
    cubic = steps.resample(data, to=9)
    expected = CubicSpline(x[up], flat, axis=1)(np.linspace(x[0], x[-1], 9))
    np.testing.assert_allclose(cubic.values.reshape(20, 9), expected, atol=1e-9)


@pytest.mark.parametrize("ending", ["h5", "zarr"])
def test_a_run_resamples(tmp_path, ending: str) -> None:
    data = make_main((6, 7, 32))
    data[2, 3, 4] = np.nan
    path = str(tmp_path / f"scan.{ending}")
    (usidx.to_zarr if ending == "zarr" else usidx.to_h5usid)(data, path)
    process = usidx.open(path).usid.process(steps.resample, to=12, method="fourier")
    found = process.run(memory="100 kB").open()
    np.testing.assert_allclose(found, resample(data.values, 12, axis=-1), rtol=1e-4, atol=1e-6)
    first, spacing = float(data.Frequency[0]), float(data.Frequency[1] - data.Frequency[0])
    np.testing.assert_allclose(found.Frequency, first + np.arange(12) * spacing * 32 / 12)
    gap = steps.resample(data, to=12)
    assert np.isnan(gap[2, 3]).all()
    assert np.isfinite(gap).sum() == 41 * 12


def test_samples_that_are_none() -> None:
    data = make_main((4, 5, 20))
    with pytest.raises(PlanError, match="samples must be within 'Frequency'"):
        steps.resample(data, to=[0.0, 1.0])
    with pytest.raises(OptionError, match="method='spline' must be one of"):
        steps.resample(data, to=9, method="spline")
    with pytest.raises(PlanError, match="go up or down throughout"):
        steps.resample(data.assign_coords(Frequency=np.zeros(20)), to=9)
    bent = xr.DataArray(np.ones((2, 3)), dims=("X", "t"), coords={"t": [0.0, 1, 5]})
    with pytest.raises(PlanError, match="is not evenly spaced"):
        steps.resample(bent, to=4, method="fourier", along="t")
