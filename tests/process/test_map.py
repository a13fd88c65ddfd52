"""NumPy functions on spectra."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import usidx
from usidx.errors import OptionError, PlanError


def test_blocks_have_the_spectra_last(source: xr.DataArray, truth: xr.DataArray) -> None:
    peak = source.usid.map(lambda block: block.argmax(-1), "Frequency")
    assert peak.chunks is not None
    assert (peak.dims, peak.dtype) == (("Y", "X"), np.dtype("int64"))
    np.testing.assert_array_equal(peak, truth.argmax("Frequency"))
    assert peak.X.attrs["usid_role"] == "position"


def test_a_function_of_one_spectrum_is_called_for_each(
    source: xr.DataArray, truth: xr.DataArray
) -> None:
    def fit(spectrum: np.ndarray, degree: int) -> np.ndarray:
        assert spectrum.shape == (32,)
        return np.polyfit(np.linspace(-1, 1, 32), spectrum, degree)

    fitted = source.usid.map(
        fit, over="Frequency", output={"Power": [2, 1, 0]}, vectorized=False, degree=2
    )
    assert fitted.dims == ("Y", "X", "Power")
    np.testing.assert_array_equal(fitted.Power, [2, 1, 0])
    assert fitted.Power.attrs["usid_role"] == "spectroscopic"
    expected = np.polyfit(np.linspace(-1, 1, 32), truth.values.reshape(-1, 32).T, 2).T
    np.testing.assert_allclose(fitted, expected.reshape(16, 20, 3), rtol=1e-5)


def test_a_dimension_may_stay_or_be_new(source: xr.DataArray, truth: xr.DataArray) -> None:
    same = source.usid.map(lambda block: block - block.min(), "Frequency", output="Frequency")
    xr.testing.assert_equal(same.Frequency, source.Frequency)
    halves = usidx.Dimension("Half", "Hz", [0.25, 0.75])
    split = source.usid.map(
        lambda block: block.reshape(*block.shape[:-1], 2, 16).mean(-1), ["Frequency"], output=halves
    )
    np.testing.assert_array_equal(split.Half, [0.25, 0.75])
    assert split.Half.attrs["units"] == "Hz"
    np.testing.assert_allclose(split[..., 0], truth[..., :16].mean("Frequency"), rtol=1e-6)


def test_positions_may_be_mapped_over(source: xr.DataArray, truth: xr.DataArray) -> None:
    spectrum = source.usid.map(lambda block: block.sum((-2, -1)), ["Y", "X"])
    np.testing.assert_allclose(spectrum, truth.sum(["Y", "X"]), rtol=1e-5)


def test_a_mapped_array_is_saved_and_found_again(path: str) -> None:
    def saved(code: str):
        scope: dict[str, object] = {}
        exec(code, scope)
        source = usidx.open(path)
        return source.usid.save(source.usid.map(scope["f"], "Frequency", dtype="f4"), "Mapped")

    first = saved("def f(block): return block.max(-1)")
    assert saved("def f(block): return block.max(-1)") == first
    assert saved("def f(block): return block.min(-1)") != first


def test_what_cannot_be_mapped_is_told(source: xr.DataArray) -> None:
    with pytest.raises(PlanError, match=r"no dimension 'Frequncy' \(did you mean 'Frequency'\?\)"):
        source.usid.map(np.max, "Frequncy")
    with pytest.raises(PlanError, match="raised ValueError on a spectrum of ones.*give dtype="):
        source.usid.map(lambda block: block.reshape(7), "Frequency")
    with pytest.raises(
        PlanError, match=r"made \(1, 32\) of a block of shape \(1, 32\), but output"
    ):
        source.usid.map(lambda block: block, "Frequency")
    with pytest.raises(OptionError, match="output='Half' is none of the dimensions in over"):
        source.usid.map(lambda block: block, "Frequency", output="Half")
