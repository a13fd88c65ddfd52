"""Steps along spectra against SciPy and NumPy, in memory, lazily, and run into stores."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy import interpolate, ndimage, signal

import usidx
from usidx import steps
from usidx.errors import OptionError, PlanError
from usidx.testing import make_main

CALLS = {
    "savgol": {"window": 5, "order": 3, "derivative": 1},
    "smooth": {"width": 6e3},
    "normalize": {"by": "area"},
    "derivative": {"order": 2},
    "integrate": {"windows": [(305e3, 320e3), (301e3, 340e3)]},
}


@pytest.fixture
def main() -> xr.DataArray:
    return make_main((4, 5, 31), dtype="float64")


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("ending", ["h5", "zarr"])
def test_stored_equals_in_memory(tmp_path, name: str, ending: str) -> None:
    main = make_main((6, 5, 31))
    step = getattr(steps, name)
    path = str(tmp_path / f"scan.{ending}")
    (usidx.to_zarr if ending == "zarr" else usidx.to_h5usid)(main, path)
    process = usidx.open(path).usid.process(step, **CALLS[name])
    found = process.run(memory="1 MB", workers=1).open()
    expected = step(main, **CALLS[name])
    assert found.dims == expected.dims
    assert found.dtype == expected.dtype == np.float32
    assert found.attrs["units"] == (expected.attrs["units"] or "a. u.")
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * abs(expected.values).max())
    assert process.step.per_position


@pytest.mark.parametrize("name", CALLS)
def test_lazy_and_turned_equals_in_memory(main: xr.DataArray, name: str) -> None:
    step, options = getattr(steps, name), CALLS[name]
    lazy = step(main.transpose("Frequency", "X", "Y").chunk(Frequency=7, X=2), **options)
    assert lazy.chunks is not None
    expected = step(main, **options)
    np.testing.assert_allclose(lazy.transpose(*expected.dims), expected)


@pytest.mark.parametrize("derivative", [0, 1, 2])
def test_savgol_is_that_of_scipy(main: xr.DataArray, derivative: int) -> None:
    found = steps.savgol(main, window=7, order=3, derivative=derivative)
    delta = float(main.Frequency[1] - main.Frequency[0])
    expected = signal.savgol_filter(main.values, 7, 3, deriv=derivative, delta=delta)
    np.testing.assert_allclose(found, expected)
    assert found.attrs["units"] == ["V", "V/Hz", "V/Hz^2"][derivative]
    turned = steps.savgol(main[..., ::-1], window=7, order=3, derivative=derivative)[..., ::-1]
    np.testing.assert_allclose(turned, expected, atol=1e-12 * abs(expected).max())


def test_smooth_is_that_of_scipy(main: xr.DataArray) -> None:
    flat, step = main.values.reshape(-1, 31), float(main.Frequency[1] - main.Frequency[0])
    for kind, expected in {
        "gaussian": [ndimage.gaussian_filter1d(each, 2) for each in flat],
        "mean": [ndimage.uniform_filter1d(each, 5) for each in flat],
        "median": [ndimage.median_filter(each, 5) for each in flat],
    }.items():
        found = steps.smooth(main, width=(2 if kind == "gaussian" else 5) * step, kind=kind)
        np.testing.assert_allclose(found.values.reshape(-1, 31), expected)


def test_normalize_makes_what_it_says(main: xr.DataArray) -> None:
    norm = {by: steps.normalize(main, by=by).values for by in ("max", "range", "norm", "standard")}
    np.testing.assert_allclose(abs(norm["max"]).max(-1), 1)
    np.testing.assert_allclose(norm["range"].min(-1), 0, atol=1e-12)
    np.testing.assert_allclose(norm["range"].max(-1), 1)
    np.testing.assert_allclose(np.linalg.norm(norm["norm"], axis=-1), 1)
    np.testing.assert_allclose(norm["standard"].mean(-1), 0, atol=1e-12)
    np.testing.assert_allclose(norm["standard"].std(-1), 1)
    area = steps.normalize(main, by="area")
    np.testing.assert_allclose(area.integrate("Frequency"), 1)
    assert area.attrs["units"] == "1/Hz"
    zero = main.copy()
    zero[0, 0] = 0
    assert np.isnan(steps.normalize(zero)[0, 0]).all()
    assert np.isfinite(steps.normalize(zero)[0, 1]).all()
    with pytest.raises(OptionError, match="did you mean 'norm'"):
        steps.normalize(main, by="nrom")


def test_derivatives_of_uneven_spectra(main: xr.DataArray) -> None:
    x = np.sort(np.random.default_rng(0).uniform(0, 1, 31))
    uneven = main.assign_coords(Frequency=("Frequency", x, main.Frequency.attrs))
    found = steps.derivative(uneven)
    np.testing.assert_allclose(found, uneven.differentiate("Frequency"))
    assert found.attrs["units"] == "V/Hz"


def test_integrals_are_those_of_the_lines_between_samples(main: xr.DataArray) -> None:
    windows = [(303.3e3, 319.9e3), (312.1e3, 312.2e3), (300e3, 345e3)]
    found = steps.integrate(main, windows=windows)
    x = main.Frequency.values
    for n, (low, high) in enumerate(windows):
        knots = np.unique(np.r_[low, x[(x > low) & (x < high)], high])
        values = interpolate.make_interp_spline(x, main.values, k=1, axis=-1)(knots)
        np.testing.assert_allclose(found[..., n], np.trapezoid(values, knots, axis=-1))
    assert found.attrs["units"] == "V·Hz"
    named = steps.integrate(main[..., ::-1], windows={"low": windows[0], "all": windows[2]})
    np.testing.assert_allclose(named["low"], found[..., 0])
    np.testing.assert_allclose(named["all"], found[..., 2])


def test_complex_spectra_are_done_in_both_parts() -> None:
    main = make_main(dtype="complex128")
    for step, options in ((steps.savgol, {"window": 5}), (steps.derivative, {})):
        both = step(main.real, **options) + 1j * step(main.imag, **options)
        np.testing.assert_allclose(step(main, **options), both)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: steps.savgol(d, window=4, order=9), "window=4 must be odd.*order=9 must be"),
        (lambda d: steps.smooth(d, width=0), "width=0 must be above 0"),
        (lambda d: steps.derivative(d, order=0), "a derivative needs order=1"),
        (lambda d: steps.integrate(d, windows=[(1, 2)]), r"window \(1, 2\) is not within"),
        (lambda d: steps.normalize(d + 1j, by="range"), "complex values have no range"),
    ],
)
def test_what_does_not_fit_is_said(main: xr.DataArray, call, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        call(main)
