"""Smoother spectra where some values are missing, against NumPy over each window."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy import ndimage, signal

from usidx import steps


def with_gaps() -> xr.DataArray:
    values = np.random.default_rng(0).normal(size=(6, 40)) + np.arange(40)
    for row, place in ((1, 20), (2, 0), (3, 38), (4, 5)):
        values[row, place] = np.nan
    values[5, 30] = np.inf
    return xr.DataArray(values, dims=("X", "t"))


@pytest.mark.parametrize(("window", "order"), [(3, 1), (7, 2), (11, 3)])
def test_a_gap_is_as_wide_as_the_window(window: int, order: int) -> None:
    data = with_gaps()
    found = steps.savgol(data.chunk(X=2), window=window, order=order, along="t").values
    half = window // 2
    for row, spectrum in enumerate(data.values):
        for n in range(40):
            start = min(max(n - half, 0), 40 - window)
            part = spectrum[start : start + window]
            if not np.isfinite(part).all():
                assert np.isnan(found[row, n]), (row, n)
                continue
            fit = np.polynomial.Polynomial.fit(np.arange(start, start + window), part, order)
            np.testing.assert_allclose(found[row, n], fit(n), rtol=1e-9)
    np.testing.assert_allclose(found[0], signal.savgol_filter(data.values[0], window, order))


@pytest.mark.parametrize(("kind", "function"), [("mean", np.mean), ("median", np.median)])
def test_averages_of_windows_with_gaps(kind: str, function) -> None:
    data = with_gaps()
    found = steps.smooth(data.chunk(X=4), width=5, kind=kind, along="t")
    values = np.where(np.isfinite(data), data, np.nan)
    expected = ndimage.generic_filter(values, function, size=(1, 5), mode="reflect")
    np.testing.assert_allclose(found, expected)
