"""Filters of frames, against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from usidx.errors import OptionError
from usidx.stacking.filters import binned, gaussian, median, parsed


@pytest.mark.parametrize("shape", [(40, 50), (130, 7), (1, 300), (257, 129)])
@pytest.mark.parametrize("sigma", [0.6, 3, 25.0])
def test_gaussian(shape, sigma):
    values = np.random.default_rng(0).standard_normal(shape)
    wanted = ndimage.gaussian_filter(values, sigma)
    np.testing.assert_allclose(gaussian(values, sigma=sigma), wanted, rtol=0, atol=1e-12)
    single = gaussian(values.astype("f4"), sigma=sigma)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, wanted, rtol=0, atol=3e-6)


def test_gaussian_of_integers_colours_and_gaps():
    counts = np.random.default_rng(0).integers(0, 60000, (30, 20)).astype("u2")
    wanted = ndimage.gaussian_filter(counts.astype("f8"), 2, truncate=3)
    found = gaussian(counts, sigma=2, truncate=3)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    colours = np.stack([counts, counts[::-1]], axis=-1)
    smooth = ndimage.gaussian_filter(counts[::-1].astype("f8"), 2)
    np.testing.assert_allclose(gaussian(colours, sigma=2)[..., 1], smooth, rtol=1e-5)
    holed = counts.astype("f8")
    holed[15, 10] = np.nan
    found = gaussian(holed, sigma=1)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(ndimage.gaussian_filter(holed, 1)))


def test_median_and_bins():
    values = np.random.default_rng(0).integers(0, 255, (21, 30)).astype("u1")
    np.testing.assert_array_equal(median(values, size=3), ndimage.median_filter(values, 3))
    found = binned(values, by=4)
    assert found.shape == (5, 7)
    assert found[1, 2] == pytest.approx(values[4:8, 8:12].mean())


def test_parsed():
    values = np.random.default_rng(0).standard_normal((20, 20))
    both = parsed(["median:3", "gaussian: sigma=1.5, truncate=2"])
    assert both is not None
    assert str(both) == "median(size=3), gaussian(sigma=1.5, truncate=2)"
    wanted = ndimage.gaussian_filter(ndimage.median_filter(values, 3), 1.5, truncate=2)
    np.testing.assert_allclose(both(values), wanted, atol=1e-12)
    assert parsed([]) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gausian:2", r"no filter 'gausian' \(did you mean 'gaussian'"),
        ("gaussian", "needs sigma; write gaussian:sigma=..."),
        ("gaussian:radius=2", "gaussian has no 'radius'"),
        ("median:size=x", "size must be a number"),
    ],
)
def test_refused(text, message):
    with pytest.raises(OptionError, match=message):
        parsed([text])


def test_values_out_of_range():
    with pytest.raises(OptionError, match="must be above 0"):
        gaussian(np.zeros((3, 3)), sigma=0)
    with pytest.raises(OptionError, match="by=5 must be a whole number from 1 to 3"):
        binned(np.zeros((3, 9)), by=5)
