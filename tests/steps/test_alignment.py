"""Stacks of images that drift by what is known, against NumPy and scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy import ndimage
from skimage.registration import phase_cross_correlation

import usidx
from usidx import steps
from usidx.errors import OptionError, PlanError
from usidx.model.dimension import Dimension

MOVES = np.array([[0, 0], [1.5, -2], [3, -3.5], [2, -6], [0, -8.5]])


def make_stack(side: str = "spectroscopic") -> xr.DataArray:
    """Five images of smooth noise over Y x X, 0.5 nm apart, which have moved by MOVES."""
    rng = np.random.default_rng(0)
    image = ndimage.gaussian_filter(rng.normal(size=(60, 72)), 2, mode="wrap")
    waves = ndimage.fourier_shift
    values = np.stack([np.fft.ifft2(waves(np.fft.fft2(image), move)).real for move in MOVES])
    images = [Dimension("Y", "nm", np.arange(60) * -0.5), Dimension("X", "nm", np.arange(72) * 0.5)]
    time = [Dimension("Time", "s", np.arange(5) * 2.0)]
    if side == "position":
        return usidx.from_array(values, "Height", "nm", position=time, spectroscopic=images)
    return usidx.from_array(
        np.moveaxis(values, 0, -1), "Height", "nm", position=images, spectroscopic=time
    )


@pytest.mark.parametrize("side", ["spectroscopic", "position"])
@pytest.mark.parametrize("to", ["previous", "first"])
def test_drift_is_what_moved_the_images(side: str, to: str) -> None:
    data = make_stack(side)
    for each in (data, data.chunk(Y=20, X=30, Time=2)):
        found = steps.drift(each, along="Time", to=to, upsample=20)
        np.testing.assert_allclose(found["Drift of Y"], MOVES[:, 0] * -0.5, atol=0.03)
        np.testing.assert_allclose(found["Drift of X"], MOVES[:, 1] * 0.5, atol=0.03)
        assert found["Drift of X"].attrs["units"] == "nm"
        np.testing.assert_array_equal(found.Time, data.Time)
    frames = data.transpose("Time", "Y", "X").values
    pairs = [(frames[0 if to == "first" else n - 1], frames[n]) for n in range(1, 5)]
    shifts = [-phase_cross_correlation(*pair, upsample_factor=20)[0] for pair in pairs]
    expected = np.concatenate([[[0, 0]], shifts if to == "first" else np.cumsum(shifts, 0)])
    np.testing.assert_allclose(found["Drift of X"], expected[:, 1] * 0.5)


@pytest.mark.parametrize("ending", ["h5", "zarr"])
def test_a_run_aligns_a_stack(tmp_path, ending: str) -> None:
    path = str(tmp_path / f"stack.{ending}")
    (usidx.to_zarr if ending == "zarr" else usidx.to_h5usid)(make_stack(), path)
    process = usidx.open(path).usid.process(steps.align, along="Time", order=3, upsample=20)
    tree = process.run(memory="2 MB", workers=2).open()
    assert set(tree.children) == {"Aligned", "Drift of Y", "Drift of X"}
    aligned = tree["Aligned/Aligned"]
    assert aligned.dims == ("Y", "X", "Time")
    assert aligned.attrs["units"] == "nm"
    first = make_stack().values[..., :1]
    inside = aligned.values[8:-8, 12:-12]
    np.testing.assert_allclose(inside, first[8:-8, 12:-12] + 0 * inside, atol=0.01)
    assert np.isnan(aligned.values[:, 0, -1]).all()
    drifted = tree["Drift of X/Drift of X"].squeeze()
    np.testing.assert_allclose(drifted, MOVES[:, 1] * 0.5, atol=0.03)


def test_several_channels_move_together() -> None:
    data = make_stack()
    both = xr.concat([data, 3 + data], xr.Variable("Channel", [0, 1])).transpose("Y", "X", ...)
    found = steps.align(both.chunk(Channel=1), along="Time", over=["Y", "X"], order=0, to="first")
    assert found["Aligned"].dims == both.dims
    other = steps.align(2 * data, along="Time", order=0, to="first")
    np.testing.assert_allclose(found["Aligned"][:, :, 0] * 2, other["Aligned"])


def test_what_has_no_drift_is_said() -> None:
    data = make_stack()
    with pytest.raises(OptionError, match="to='last' must be"):
        steps.drift(data, along="Time", to="last")
    with pytest.raises(PlanError, match="must be of real values"):
        steps.drift(data + 0j, along="Time")
    data[3, 3, 2] = np.nan
    with pytest.raises(PlanError, match="an image of the stack has values that are not finite"):
        steps.drift(data, along="Time")
