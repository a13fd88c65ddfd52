"""Thresholds against scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from skimage import filters

import usidx
from usidx import steps
from usidx.errors import OptionError, PlanError
from usidx.steps.thresholds import METHODS
from usidx.testing import make_main


@pytest.mark.parametrize("method", METHODS)
def test_thresholds_are_those_of_scikit_image(method: str) -> None:
    rng = np.random.default_rng(0)
    values = np.where(rng.random((20, 24, 3)) > 0.6, 5, 1) + rng.normal(size=(20, 24, 3)) / 2
    data = make_main((20, 24, 3), dtype="float64").copy(data=values)
    found = steps.threshold(data.chunk(Y=7, Frequency=2), method=method)
    expected = [getattr(filters, f"threshold_{method}")(values[..., n]) for n in range(3)]
    np.testing.assert_allclose(found["Threshold"], expected)
    np.testing.assert_array_equal(found["Mask"], values > np.array(expected))
    assert found["Threshold"].attrs["units"] == "V"


def test_frames_in_every_form_have_their_own(any_frames: xr.DataArray, frames) -> None:
    found = steps.threshold(any_frames, over=["ky", "kx"])
    flat = frames.values.reshape(-1, 12, 16)
    expected = np.array([filters.threshold_otsu(each.astype(float)) for each in flat])
    np.testing.assert_allclose(found["Threshold"].values.ravel(), expected, rtol=1e-6)
    above = flat > expected[:, None, None]
    np.testing.assert_array_equal(found["Mask"].values.reshape(flat.shape), above)
    assert found["Mask"].dims == any_frames.dims


def test_nan_is_left_out_and_a_value_is_taken_as_it_is(tmp_path) -> None:
    data = make_main((6, 7, 4), dtype="float64")
    data[0, 0, 0], data[:, :, 1] = np.nan, np.nan
    found = steps.threshold(data)["Threshold"].values
    there = data.values[..., 0][np.isfinite(data.values[..., 0])]
    assert found[0] == pytest.approx(filters.threshold_otsu(there))
    assert np.isnan(found[1])
    path = str(tmp_path / "scan.h5")
    data.usid.to_h5usid(path)
    tree = usidx.open(path).usid.process(steps.threshold, value=0.1).run().open()
    mask = tree["Mask/Mask"]
    assert mask.dtype == "uint8"
    np.testing.assert_array_equal(mask, data.values > 0.1)
    np.testing.assert_allclose(tree["Threshold/Threshold"].squeeze(), 0.1)


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(OptionError, match=r"'otsuu' is none of .* \(did you mean 'otsu'"):
        steps.threshold(make_main(), method="otsuu")
    with pytest.raises(PlanError, match="complex values have no order"):
        steps.threshold(make_main(dtype="complex64"))
