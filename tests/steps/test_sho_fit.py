"""Oscillators in noise come back as SciPy's least squares of both parts find them."""

from __future__ import annotations

import pathlib

import h5py
import numpy as np
import pytest
import xarray as xr
from scipy.optimize import least_squares

import usidx
from usidx import steps
from usidx.errors import PlanError
from usidx.steps.sho import FIELDS, sho_response
from usidx.testing import make_main

FREQUENCY = np.linspace(300e3, 360e3, 120)


def band(rows: int, noise: float) -> xr.DataArray:
    rng = np.random.default_rng(3)
    truth = (
        rng.uniform(1e-4, 5e-4, rows),
        rng.uniform(320e3, 340e3, rows),
        rng.uniform(80, 300, rows),
        rng.uniform(-3, 3, rows),
    )
    values = sho_response(FREQUENCY, *truth)
    size = noise * np.abs(values).max(-1, keepdims=True)
    values = values + size * (rng.normal(size=values.shape) + 1j * rng.normal(size=values.shape))
    axis = ("Frequency", FREQUENCY, {"units": "Hz"})
    return xr.DataArray(
        values, dims=("X", "Frequency"), coords={"Frequency": axis}, attrs={"units": "V"}
    )


def test_fits_are_those_of_scipy() -> None:
    spectra = band(40, 0.1)
    found = steps.sho_fit(spectra, along="Frequency")
    guess = steps.sho_guess(spectra, along="Frequency")
    again = steps.sho_fit(spectra, along="Frequency", guess=guess)
    for row, y in enumerate(spectra.values):

        def away(p: np.ndarray, y: np.ndarray = y) -> np.ndarray:
            scaled = sho_response(FREQUENCY, p[0] * 1e-4, p[1] * 1e5, p[2] * 100, p[3]) - y
            return 1e4 * scaled.view(float)

        ours = np.array([float(found[name][row]) for name in FIELDS[:4]])
        start = ours / (1e-4, 1e5, 100, 1)
        theirs = least_squares(away, start * (1.02, 1.0001, 1.02, 1), xtol=1e-12, ftol=1e-12)
        np.testing.assert_allclose(start, theirs.x, rtol=1e-4, atol=1e-4)
    for name in FIELDS:
        np.testing.assert_allclose(again[name], found[name], rtol=1e-4)
    assert found["Frequency"].attrs["units"] == "Hz"
    assert (found["R2 Criterion"] >= guess["R2 Criterion"] - 1e-9).all()


def test_what_is_no_oscillator_is_nan_and_real_values_are_refused() -> None:
    spectra = band(3, 0.01)
    spectra[1] = np.nan
    found = steps.sho_fit(spectra.astype("complex64").chunk(X=1), along="Frequency").compute()
    assert np.isnan(found["Amplitude"]).values.tolist() == [False, True, False]
    assert found["Amplitude"].dtype == np.float32
    with pytest.raises(PlanError, match="response is complex"):
        steps.sho_fit(abs(spectra), along="Frequency")


def test_a_run_stores_guess_and_fit_as_bglib_does(tmp_path: pathlib.Path) -> None:
    main = make_main((3, 4, 48), dtype="complex64")
    stored = usidx.open(usidx.to_h5usid(main, tmp_path / "band.h5"), "Raw_Data")
    group = stored.usid.process(steps.sho_fit).run().path
    assert group == "/Measurement_000/Channel_000/Raw_Data-SHO_Fit_000"
    expected = steps.sho_fit(main)
    names = ("Amplitude [V]", "Frequency [Hz]", "Quality Factor", "Phase [rad]", "R2 Criterion")
    for main_name, before in (("Fit", ""), ("Guess", "Guess ")):
        with h5py.File(tmp_path / "band.h5") as file:
            found = file[f"{group}/{main_name}"]
            assert found.dtype.names == names
            assert found.attrs["quantity"] == "SHO"
            assert found.attrs["units"] == "compound"
        opened = usidx.open(tmp_path / "band.h5", f"{group}/{main_name}")
        for name, field in zip(names, FIELDS, strict=True):
            np.testing.assert_allclose(opened[name], expected[before + field], rtol=1e-3)
    guess = usidx.open(tmp_path / "band.h5", f"{group}/Guess")
    again = steps.sho_fit(stored, guess=guess)
    np.testing.assert_allclose(again["Frequency"], expected["Frequency"], rtol=1e-5)
    with pytest.raises(PlanError, match="the guess has no Frequency"):
        steps.sho_fit(stored, guess=guess[["Amplitude [V]"]])
