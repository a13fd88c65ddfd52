"""Fits of complex spectra beside SciPy's least squares of their parts."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import xarray as xr
from scipy.optimize import curve_fit as scipy_fit
from scipy.optimize import least_squares

from usidx import steps

HAS_NUMBA = importlib.util.find_spec("numba") is not None
NUMBA = pytest.param(True, marks=pytest.mark.skipif(not HAS_NUMBA, reason="needs Numba"))
BOTH = pytest.mark.parametrize("compiled", [False, NUMBA])
NAMES = ("amplitude", "frequency", "quality_factor", "phase")
BAND = np.linspace(3, 7, 48)
BEGIN = (2.0, 5.0, 8.0, 0.6)


def fit(values: np.ndarray, model: object, x: np.ndarray, **kwargs: object) -> xr.Dataset:
    spectra = xr.DataArray(values, dims=("X", "Frequency"), coords={"Frequency": x})
    return steps.curve_fit(spectra, model, along="Frequency", **kwargs)


def response(x, a=2.0, f=5.0, q=8.0, phi=0.6):  # type: ignore[no-untyped-def]
    return a * np.exp(1j * phi) * f**2 / (x**2 - 1j * x * f / q - f**2)


def oscillators(rows: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(11)
    truth = np.array(BEGIN) * (1 + 0.05 * rng.normal(size=(rows, 4)))
    values = response(BAND, *(truth[:, [i]] for i in range(4)))
    parts = rng.normal(size=(2, *values.shape))
    return truth, values + noise * (parts[0] + 1j * parts[1])


@BOTH
def test_weights_and_errors_of_complex_spectra_are_those_of_scipy(compiled: bool) -> None:
    _, values = oscillators(12, 0.3)
    sigma = np.linspace(0.5, 2, BAND.size)
    found = fit(values, "sho", BAND, weights=1 / sigma, compiled=compiled)
    assert (found["status"] == 0).all()

    def both(x, *p):  # type: ignore[no-untyped-def]
        made = response(x, *p)
        return np.concatenate([made.real, made.imag])

    for row, y in enumerate(values):
        start = [found[name].values[row] for name in NAMES]
        split = np.concatenate([y.real, y.imag])
        p, covariance = scipy_fit(both, BAND, split, start, np.tile(sigma, 2))
        for i, name in enumerate(NAMES):
            error = np.sqrt(covariance[i, i])
            assert abs(found[name][row] - p[i]) < 1e-3 * error
            np.testing.assert_allclose(found[name + "_error"][row], error, rtol=1e-3)


@BOTH
@pytest.mark.parametrize("loss", ["soft_l1", "huber"])
def test_robust_losses_of_complex_spectra_are_those_of_scipy(loss: str, compiled: bool) -> None:
    truth, values = oscillators(8, 0.1)
    values[:, 3::8] += 6 - 4j
    given = {"loss": loss, "loss_scale": 0.2, "compiled": compiled}
    found = fit(values, "sho", BAND, p0=BEGIN, **given)
    assert (found["status"] == 0).all()
    for row, y in enumerate(values):
        ours = np.array([found[name].values[row] for name in NAMES])
        theirs = least_squares(
            lambda p, y=y: (response(BAND, *p) - y).view(float),
            BEGIN,
            loss=loss,
            f_scale=0.2,
            x_scale=BEGIN,
            xtol=1e-12,
            ftol=1e-12,
        )
        np.testing.assert_allclose(ours, theirs.x, rtol=1e-3)
    plain = fit(values, "sho", BAND, p0=BEGIN, compiled=compiled)
    robust_away, away = (abs(each["frequency"] - truth[:, 1]).mean() for each in (found, plain))
    assert robust_away < 0.5 * away


@BOTH
def test_fixed_and_tied_parameters_of_complex_spectra(compiled: bool) -> None:
    truth, values = oscillators(10, 0.2)
    # the phase stays, and the amplitude follows the quality factor
    kept = {"fixed": {"phase": 0.6}, "ties": {"amplitude": "quality_factor / 4"}}
    found = fit(values, "sho", BAND, compiled=compiled, **kept)
    assert (found["status"] == 0).all()
    assert (found["phase"] == 0.6).all()
    assert np.isnan(found["phase_error"]).all()
    np.testing.assert_allclose(found["amplitude"], found["quality_factor"] / 4)
    np.testing.assert_allclose(found["amplitude_error"], found["quality_factor_error"] / 4)

    def both(x, f, q):  # type: ignore[no-untyped-def]
        made = response(x, q / 4, f, q, 0.6)
        return np.concatenate([made.real, made.imag])

    for row, y in enumerate(values):
        split = np.concatenate([y.real, y.imag])
        p, covariance = scipy_fit(both, BAND, split, truth[row, 1:3])
        for i, name in enumerate(NAMES[1:3]):
            error = np.sqrt(covariance[i, i])
            assert abs(found[name][row] - p[i]) < 1e-3 * error
            np.testing.assert_allclose(found[name + "_error"][row], error, rtol=1e-3)


@BOTH
def test_complex_spectra_say_why_they_cannot_be_fitted(compiled: bool) -> None:
    truth, values = oscillators(5, 0.05)
    values[1] = np.nan
    values[2, 5:9] = np.nan
    values[3, 2:] = np.nan
    found = fit(values, "sho", BAND, p0=BEGIN, compiled=compiled)
    assert found["status"].values.tolist() == [0, 4, 0, 4, 0]
    np.testing.assert_allclose(found["frequency"][[0, 2, 4]], truth[[0, 2, 4], 1], rtol=1e-2)
    held = fit(values, "sho", BAND, bounds={"quality_factor": (None, 6)}, compiled=compiled)
    assert held["status"].values.tolist() == [1, 4, 1, 4, 1]
    assert (held["quality_factor"][[0, 2, 4]] == 6).all()
    lost = fit(values, "sho", BAND, p0={"frequency": np.inf}, compiled=compiled)
    assert lost["status"].values.tolist() == [5, 4, 5, 4, 5]
    once = fit(values, "sho", BAND, p0=[1, 4.5, 20, 0], iterations=1, compiled=compiled)
    assert once["status"].values.tolist() == [2, 4, 2, 4, 2]
    none = fit(0 * values, "sho", BAND, p0=BEGIN, compiled=compiled)
    assert none["status"].values[0] == 3
