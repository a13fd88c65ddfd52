"""Derivatives of functions beside differences of their values."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from usidx.steps import curve_fit
from usidx.steps.fitting.derivatives import beside
from usidx.steps.fitting.models import model_of
from usidx.steps.fitting.running import running

X = np.linspace(0, 10, 64)


def sheared(x, a=1.1, b=0.7, c=0.4):  # type: ignore[no-untyped-def]
    u = (x - 3.1 * b) / np.maximum(c, 0.1)
    u *= 0.3
    return a ** (0.2 * b) * np.tanh(u) + np.where(u > 0, np.sqrt(u * u + a), -c) - np.log(x + a)


def damped(x, a=1.1, b=0.7, c=0.4):  # type: ignore[no-untyped-def]
    wave = np.sin(a * x) + np.cos(x / b) * np.arctan(c * x) - np.expm1(-c * x) + 1 / (x + a)
    return wave * np.exp(-abs(x - b)) + (x + c) ** 2 - np.log1p(b) * np.copysign(c, b) + 2


def turned(x, a=1.1, b=0.7, c=0.4):  # type: ignore[no-untyped-def]
    return a * np.exp(1j * b * x) / (x * x - 1j * c * x - 30.5) + c


@pytest.mark.parametrize("function", [sheared, damped, turned])
def test_derivatives_of_functions_are_carried_along(function) -> None:  # type: ignore[no-untyped-def]
    p = np.array([[1.1, 0.7, 0.4], [1.3, 0.9, 0.5]])
    made = model_of(function, complex_values=function is turned).checked(X, p[0])
    assert made.carries
    values, slopes = running(made, X, range(3)).evaluate(np, X, p, p[0] + np.inf, range(3))
    np.testing.assert_array_equal(values, made.values(X, p))
    for i in range(3):
        step = 1e-5 * np.eye(3)[i]
        slope = (made.values(X, p + step) - made.values(X, p - step)) / 2e-5
        np.testing.assert_allclose(
            np.broadcast_to(slopes[i], slope.shape), slope, rtol=1e-7, atol=1e-7
        )


def test_what_a_function_changes_on_its_way_counts_as_it_was() -> None:
    def changing(x, a=1.1, b=0.7):  # type: ignore[no-untyped-def]
        scaled = x * 2
        first = scaled * a
        scaled += 1
        first *= scaled
        second = first
        second += b * x
        return first + 0 * second

    made = model_of(changing, complex_values=False).checked(X, np.ones(2))
    assert made.carries
    p = np.array([[1.1, 0.7], [1.3, 0.9], [0.2, 0.1]])
    ran = running(made, X, (0, 1))
    for rows in (3, 1, 2, 3):  # into arrays of other lengths, one after the other
        values, slopes = ran.evaluate(np, X, p[:rows], p[0], (0, 1))
        np.testing.assert_array_equal(values, made.values(X, p[:rows]))
        for i, each in enumerate((2 * X * (2 * X + 1), X)):
            np.testing.assert_allclose(slopes[i] + 0 * values, np.tile(each, (rows, 1)))


def test_what_is_not_chosen_has_no_part_in_derivatives() -> None:
    def onset(x, c=3.0, k=1.5, a=2.0):  # type: ignore[no-untyped-def]
        return np.where(x > c, a * np.sqrt(x - c) + (x - c) ** k, 0.1 * a)

    p = np.array([[3.03, 1.5, 2.0], [4.04, 1.7, 1.0]])
    made = model_of(onset, complex_values=False).checked(X, p[0])
    assert made.carries
    with np.errstate(all="ignore"):
        _, slopes = running(made, X, range(3)).evaluate(np, X, p, p[0], range(3))
    for row, (c, k, a) in enumerate(p):
        away = np.maximum(X - c, 1e-9)
        exact = (-0.5 * a / np.sqrt(away) - k * away ** (k - 1), away**k * np.log(away))
        for i, each in enumerate(exact):
            np.testing.assert_allclose(slopes[i][row], np.where(c < X, each, 0), rtol=1e-12)
        np.testing.assert_allclose(slopes[2][row], np.where(c < X, np.sqrt(away), 0.1))


def test_cosines_come_from_sines() -> None:
    rng = np.random.default_rng(1)
    quarters = 0.5 * np.pi * np.arange(-2000.0, 2000)
    angles = np.stack([100 * rng.normal(size=4000), quarters + 1e-5 * rng.normal(size=4000)])
    for each in (angles, 1e8 * angles, np.where(angles > 99, np.nan, angles)):
        away = np.abs(beside(each, np.sin(each)) - np.cos(each))
        assert np.nanmax(away) < 2e-8
        np.testing.assert_array_equal(np.isnan(away), np.isnan(each))
    assert np.median(np.abs(beside(angles, np.sin(angles)) - np.cos(angles))[0]) < 1e-15


def test_functions_that_have_no_rules_are_fitted_by_differences() -> None:
    def summed(x, a=1.0, b=2.0):  # type: ignore[no-untyped-def]
        shape = np.cumsum(np.exp(-x / b), axis=-1)
        return a * shape / 64

    def rooted(x, a=1.0, b=X[5]):  # type: ignore[no-untyped-def]
        return a * np.sqrt((x - b) ** 2)  # begins where the root has no derivative

    def converted(x, a=1.0, b=2.0):  # type: ignore[no-untyped-def]
        return np.asarray(a) * x + b

    for function in (summed, converted):
        assert not model_of(function, complex_values=False).checked(X, np.ones(2)).carries
    assert model_of(rooted, complex_values=False).checked(X, np.ones(2)).carries
    for function, wanted in ((summed, (2.5, 2.2)), (rooted, (2.0, 1.1))):
        columns = (np.full((2, 1), each) for each in wanted)
        spectra = xr.DataArray(function(X, *columns), dims=("Y", "X"), coords={"X": X})
        found = curve_fit(spectra, function, along="X")
        np.testing.assert_allclose(found[["a", "b"]].to_array()[:, 0], wanted, rtol=1e-6)
