"""Fits beside SciPy's least squares of each spectrum, and beside the truth they were made of."""

from __future__ import annotations

import importlib.util
import pathlib

import numpy as np
import pytest
import xarray as xr
from scipy.optimize import curve_fit as scipy_fit
from scipy.optimize import least_squares

import usidx
from usidx import steps
from usidx.errors import PlanError
from usidx.steps.fitting.evaluating import robust
from usidx.steps.fitting.models import TERMS, model_of

HAS_NUMBA = importlib.util.find_spec("numba") is not None
NUMBA = pytest.param(True, marks=pytest.mark.skipif(not HAS_NUMBA, reason="needs Numba"))
BOTH = pytest.mark.parametrize("compiled", [False, NUMBA])
X = np.linspace(0, 10, 64)
SOME = {
    "lorentzian": (2.0, 4.5, 1.2),
    "gaussian": (-2.0, 5.5, 1.7),
    "pseudo_voigt": (3.0, 5.0, 1.5, 0.4),
    "voigt": (4.0, 5.2, 0.5, 0.6),
    "exponential": (3.0, 2.5),
    "linear": (0.3, -1.0),
    "constant": (0.7,),
    "sho": (2.0, 5.0, 8.0, 0.6),
}


def labelled(values: np.ndarray, x: np.ndarray = X) -> xr.DataArray:
    return xr.DataArray(
        values,
        dims=("X", "Energy"),
        coords={"Energy": ("Energy", x, {"units": "eV"})},
        attrs={"units": "V"},
    )


def fit(values: np.ndarray, model: object, x: np.ndarray = X, **kwargs: object) -> xr.Dataset:
    return steps.curve_fit(labelled(values, x), model, along="Energy", **kwargs)


def peaks(rows: int, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = np.stack(
        [
            rng.uniform(1, 5, rows),
            rng.uniform(2, 8, rows),
            rng.uniform(0.5, 2, rows),
            rng.uniform(-1, 1, rows),
        ],
        axis=-1,
    )
    values = lorentz(X, *(truth[:, [i]] for i in range(4)))
    return truth, values + noise * rng.normal(size=values.shape)


def lorentz(x, a, c, w, o):  # type: ignore[no-untyped-def]
    return a / (1 + (2 * (x - c) / w) ** 2) + o


@pytest.mark.parametrize("name", TERMS)
def test_derivatives_are_those_of_differences(name: str) -> None:
    model = model_of(name, complex_values=name == "sho")
    p = np.array([SOME[name]])
    every = range(p.size)
    _, slopes = model.evaluate(np, X, p, p + np.inf, every)
    for i in range(p.size):
        up, down = p.copy(), p.copy()
        up[0, i] += 1e-5
        down[0, i] -= 1e-5
        ends = [model.evaluate(np, X, each, p + np.inf, every)[0] for each in (up, down)]
        slope = np.broadcast_to(slopes[i], ends[0].shape)
        np.testing.assert_allclose(slope, (ends[0] - ends[1]) / 2e-5, rtol=1e-6, atol=1e-8)


@BOTH
@pytest.mark.parametrize("name", TERMS)
def test_clean_spectra_give_their_parameters(name: str, compiled: bool) -> None:
    truth = np.array([SOME[name]]) * np.array([[1.0], [1.05]])
    model = model_of(name, complex_values=name == "sho")
    values, _ = model.evaluate(np, X, truth, truth[0] + np.inf, ())
    found = fit(values, name, compiled=compiled)
    assert found["status"].values.tolist() == [0, 0]
    for i, parameter in enumerate(model.parameters):
        np.testing.assert_allclose(found[parameter], truth[:, i], rtol=1e-5)


@BOTH
def test_noisy_spectra_are_those_of_scipy_from_the_same_hard_starts(compiled: bool) -> None:
    rng = np.random.default_rng(1)
    truth, values = peaks(1000, 0.3)
    start = truth + rng.normal(size=truth.shape) * (0.6, 0.3, 0.2, 0.6)
    start[:, 2] = np.abs(start[:, 2]) + 0.2
    names = ("amplitude", "center", "width", "offset")
    p0 = xr.Dataset({name: ("X", start[:, i]) for i, name in enumerate(names)})
    found = fit(values, "lorentzian + constant", p0=p0, compiled=compiled)
    ours = np.stack([found[name].values for name in names], axis=-1)
    errors = np.stack([found[name + "_error"].values for name in names], axis=-1)
    equal = 0
    for row, y in enumerate(values):
        theirs = least_squares(
            lambda p, y=y: lorentz(X, *p) - y, start[row], slopes_of_lorentz, method="lm"
        )
        away = np.abs(np.abs(theirs.x) - np.abs(ours[row]))
        same = (away <= 1e-2 * errors[row]).all()
        # a spike between two samples has any width: such are told apart, and as low
        mine = 0.5 * ((lorentz(X, *ours[row]) - y) ** 2).sum()
        equal += bool(same or (found["status"][row] == 3 and mine <= theirs.cost * (1 + 1e-6)))
    assert equal >= 0.999 * len(values)


def slopes_of_lorentz(p):  # type: ignore[no-untyped-def]
    u = 2 * (X - p[1]) / p[2]
    shape = 1 / (1 + u * u)
    slope = 4 * p[0] / p[2] * shape * shape * u
    return np.stack([shape, slope, 0.5 * slope * u, np.ones_like(X)], axis=-1)


@BOTH
def test_errors_are_those_of_scipy(compiled: bool) -> None:
    _, values = peaks(20, 0.1)
    sigma = np.linspace(0.5, 2, X.size)
    found = fit(values, "lorentzian + constant", weights=1 / sigma, compiled=compiled)
    for row, y in enumerate(values):
        start = [found[n].values[row] for n in ("amplitude", "center", "width", "offset")]
        p, covariance = scipy_fit(lorentz, X, y, start, sigma)
        np.testing.assert_allclose(found["center"][row], p[1], rtol=1e-5)
        np.testing.assert_allclose(found["center_error"][row], np.sqrt(covariance[1, 1]), rtol=1e-3)
    assert (found["amplitude"].units, found["center_error"].units) == ("V", "eV")


@BOTH
def test_bounds_are_kept_as_scipy_keeps_them(compiled: bool) -> None:
    _, values = peaks(150, 0.1)
    box = {"width": (0.8, 1.2), "amplitude": (0.0, 3.0)}
    found = fit(values, "lorentzian + constant", bounds=box, compiled=compiled)
    low, high = [0, -np.inf, 0.8, -np.inf], [3, np.inf, 1.2, np.inf]
    names = ("amplitude", "center", "width", "offset")
    ours = np.stack([found[name].values for name in names], axis=-1)
    for row, y in enumerate(values):
        start = np.clip(
            ours[row] + (0.05, 0.02, 0.02, 0.05), np.add(low, 1e-3), np.add(high, -1e-3)
        )
        theirs = least_squares(lambda p, y=y: lorentz(X, *p) - y, start, bounds=(low, high))
        mine = 0.5 * ((lorentz(X, *ours[row]) - y) ** 2).sum()
        assert mine <= theirs.cost * (1 + 1e-5)
    at = ((ours <= low) | (ours >= high)).any(-1)
    np.testing.assert_array_equal(found["status"] == 1, at)
    assert 10 < at.sum() < 150
    assert np.isnan(found["width_error"].values[ours[:, 2] == 0.8]).all()


@BOTH
def test_what_cannot_be_fitted_says_so_and_the_rest_is_fitted(compiled: bool) -> None:
    truth, values = peaks(6, 0.02)
    values[1] = np.nan
    values[2, 10:20] = np.nan
    values[3] = 2.5
    values[4, 3:] = np.nan
    found = fit(values, "lorentzian + constant", compiled=compiled)
    status = found["status"].values
    assert status[[0, 1, 2, 4, 5]].tolist() == [0, 4, 0, 4, 0]
    assert status[3] == 3
    assert np.isnan(found["center_error"].values[3])
    assert np.isnan(found["r_squared"].values[3])
    np.testing.assert_allclose(found["offset"][3] + 0 * found["center"][3], 2.5, atol=1e-6)
    assert np.isnan(found["center"].values[[1, 4]]).all()
    np.testing.assert_allclose(found["center"].values[[0, 2, 5]], truth[[0, 2, 5], 1], atol=0.05)
    once = fit(values, "lorentzian + constant", iterations=1, compiled=compiled)
    assert once["status"].values[0] == 2


@BOTH
@pytest.mark.parametrize("loss", ["soft_l1", "huber"])
def test_robust_losses_are_those_of_scipy(loss: str, compiled: bool) -> None:
    truth, values = peaks(12, 0.05)
    values[:, 4::9] += 4
    found = fit(values, "lorentzian + constant", loss=loss, loss_scale=0.1, compiled=compiled)
    names = ("amplitude", "center", "width", "offset")
    for row, y in enumerate(values):
        start = [found[name].values[row] for name in names]
        theirs = least_squares(
            lambda p, y=y: lorentz(X, *p) - y, start, loss=loss, f_scale=0.1, xtol=1e-12, ftol=1e-12
        )
        cost = robust(np, loss, (lorentz(X, *start) - y)[np.newaxis], 0.1)[0][0]
        assert cost <= theirs.cost * (1 + 1e-6)
    plain = fit(values, "lorentzian + constant", compiled=compiled)
    assert abs(found["offset"] - truth[:, 3]).max() < 0.2 < abs(plain["offset"] - truth[:, 3]).min()


def test_a_function_is_fitted_as_the_name_is() -> None:
    truth, values = peaks(50, 0.1)
    named = fit(values, "lorentzian + constant", compiled=False)
    own = fit(values, lorentz, p0=xr.Dataset({n: named[m] for n, m in zip("acwo", (
        "amplitude", "center", "width", "offset"))}) * 1.05)  # fmt: skip
    np.testing.assert_allclose(own["c"], named["center"], rtol=1e-6)
    np.testing.assert_allclose(own["w_error"], named["width_error"], rtol=1e-3)


def test_a_function_ends_where_the_name_does_from_hard_starts() -> None:
    rng = np.random.default_rng(1)
    truth, values = peaks(1000, 0.3)
    start = truth + rng.normal(size=truth.shape) * (0.6, 0.3, 0.2, 0.6)
    start[:, 2] = np.abs(start[:, 2]) + 0.2
    found = []
    for model, names in (
        ("lorentzian + constant", ("amplitude", "center", "width", "offset")),
        (lorentz, tuple("acwo")),
    ):
        p0 = xr.Dataset({name: ("X", start[:, i]) for i, name in enumerate(names)})
        each = fit(values, model, p0=p0, compiled=False)
        found.append([each[names[1]], each[names[1] + "_error"], each["status"]])
    (named, error, status), (own, _, told) = found
    same = (abs(named - own) <= 1e-2 * error) | ((status == 3) & (told == 3))
    assert same.sum() >= 999


def test_a_complex_function_fits_both_parts() -> None:
    def turning(t, a=1.0, rate=0.9):  # type: ignore[no-untyped-def]
        return a * np.exp(1j * rate * t)

    values = turning(X, np.array([[2.0], [3.0]]), np.array([[1.0], [1.1]]))
    found = fit(values, turning)
    np.testing.assert_allclose(found["rate"], [1.0, 1.1], rtol=1e-7)
    np.testing.assert_allclose(found["r_squared"], 1)


@BOTH
def test_sums_fixed_parameters_and_descending_axes(compiled: bool) -> None:
    two = lorentz(X, 4, 3, 0.8, 0) + lorentz(X, 2, 7, 1.5, 0) + 0.3 * X - 1
    found = fit(two[np.newaxis], "lorentzian + lorentzian + linear", compiled=compiled)
    np.testing.assert_allclose([found["center_1"][0], found["center_2"][0]], [3, 7], rtol=1e-5)
    np.testing.assert_allclose(found["slope"], 0.3, rtol=1e-5)
    held = fit(
        two[np.newaxis, ::-1], "lorentzian + lorentzian + linear", X[::-1],
        fixed={"center_1": 3.1}, compiled=compiled,
    )  # fmt: skip
    assert held["center_1"][0] == 3.1
    assert np.isnan(held["center_1_error"][0])
    np.testing.assert_allclose(held["center_2"], 7, atol=0.05)


@BOTH
def test_tied_parameters_are_those_of_a_model_without_them(compiled: bool) -> None:
    def pair(x, a1=3.0, c=3.0, w=1.0, a2=2.0, o=0.0):  # type: ignore[no-untyped-def]
        return lorentz(x, a1, c, w, o) + lorentz(x, a2, c + 4, 0.5 * w, 0)

    rng = np.random.default_rng(5)
    truth = rng.uniform((2, 2.8, 0.8, 1, 0), (4, 3.2, 1.4, 3, 1), (20, 5))
    values = pair(X, *(truth[:, [i]] for i in range(5))) + 0.05 * rng.normal(size=(20, X.size))
    ties = {"center_2": "center_1 + 4", "width_2": "width_1 / 2"}
    model = "lorentzian + lorentzian + constant"
    start = {"amplitude_1": 3, "center_1": 3, "width_1": 1, "amplitude_2": 2, "offset": 0}
    found = fit(values, model, ties=ties, p0=start, compiled=compiled)
    for row, y in enumerate(values):
        p, covariance = scipy_fit(pair, X, y, (3, 3, 1, 2, 0))
        for name, i in (("center_1", 1), ("width_1", 2), ("amplitude_2", 3)):
            np.testing.assert_allclose(found[name][row], p[i], rtol=1e-5)
            error = np.sqrt(covariance[i, i])
            np.testing.assert_allclose(found[name + "_error"][row], error, rtol=1e-3)
    np.testing.assert_allclose(found["center_2"], found["center_1"] + 4)
    np.testing.assert_allclose(found["width_2_error"], found["width_1_error"] / 2)


def test_functions_compiled_by_numba_are_fitted_as_they_are_without() -> None:
    pytest.importorskip("numba")
    _, values = peaks(20, 0.1)
    start = {"a": 3.0, "c": 5.0, "w": 1.0, "o": 0.0}
    kept = {"p0": start, "bounds": {"w": (0.1, 3)}, "weights": np.linspace(0.5, 2, X.size)}
    slow, fast = (fit(values, lorentz, compiled=each, **kept) for each in (False, True))
    converged = (slow["status"] == 0) & (fast["status"] == 0)
    assert converged.sum() > 10
    for name in ("c", "w_error", "r_squared"):
        np.testing.assert_allclose(fast[name][converged], slow[name][converged], rtol=1e-4)

    def asks(x, a=1.0):  # type: ignore[no-untyped-def]
        return a * x + len(str(pathlib.Path.cwd()))

    with pytest.raises(PlanError, match="asks cannot be compiled by Numba"):
        fit(values, asks, compiled=True)
    assert np.isfinite(fit(values, asks)["a"]).all()


def test_functions_of_single_numbers_are_called_for_each_spectrum(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def kinked(x, a=1.0, b=0.5):  # type: ignore[no-untyped-def]
        return a * x if b < 0 else a * x + max(b, 0.0)

    values = np.array([[2.0], [3.0]]) * X + 0.7
    with caplog.at_level("INFO", "usidx"):
        found = fit(values, kinked)
    assert "does not broadcast over spectra" in caplog.text
    np.testing.assert_allclose(found["a"], [2, 3], rtol=1e-6)
    np.testing.assert_allclose(found["b"], 0.7, rtol=1e-6)


@pytest.mark.parametrize("name", ["lorentzian + constant", "voigt", "sho"])
def test_other_arrays_than_numpys_are_fitted_the_same(name: str) -> None:
    pytest.importorskip("array_api_strict")
    parts = [SOME[each.strip()] for each in name.split("+")]
    truth = np.concatenate(parts) * np.array([[1.0], [1.04], [0.97]])
    model = model_of(name, complex_values=name == "sho")
    values, _ = model.evaluate(np, X, truth, truth[0] + np.inf, ())
    noise = 0.01 * np.random.default_rng(3).normal(size=(2, *values.shape))
    values = values + (noise[0] + 1j * noise[1] if name == "sho" else noise[0])
    kept = {"loss": "soft_l1", "loss_scale": 0.05, "weights": np.linspace(1, 2, X.size)}
    for each in ({}, kept):
        here = fit(values, name, compiled=False, **each)
        there = fit(values, name, arrays="array_api_strict", **each)
        assert here["status"].values.tolist() == [0, 0, 0]
        xr.testing.assert_allclose(there, here, rtol=1e-4)


def test_lazy_blocks_in_any_order_give_the_same() -> None:
    _, values = peaks(30, 0.1)
    whole = labelled(values)
    eager = steps.curve_fit(whole, "lorentzian + constant", along="Energy")
    lazy = steps.curve_fit(whole.T.chunk(X=7, Energy=20), "lorentzian + constant", along="Energy")
    assert lazy["center"].chunks is not None
    xr.testing.assert_allclose(lazy.compute(), eager)


@pytest.mark.parametrize(
    ("model", "kwargs", "told"),
    [
        ("lorenzian", {}, "did you mean 'lorentzian'"),
        ("sho", {}, "does not suit real values"),
        (lorentz, {}, "where does the fit of a, c, w, o begin"),
        ("gaussian", {"p0": {"centre": 3}}, "no parameter 'centre'"),
        ("gaussian", {"p0": [1, 2]}, "p0 has 2 values"),
        ("gaussian", {"bounds": {"width": (3, 2)}}, "leave nothing"),
        ("gaussian", {"loss": "cauchy"}, "none of linear"),
        ("gaussian", {"weights": xr.DataArray([1.0], dims="Z")}, "weights have the dimensions Z"),
        (lambda x, *p: x, {}, "does not name its parameters"),
        (lambda x, a=1.0: np.ones(3), {}, "must broadcast to"),
        ("constant", {"fixed": ["offset"]}, "all parameters are fixed"),
        ("gaussian", {"ties": {"width": "2 * centre"}}, "did you mean 'center'"),
        ("gaussian", {"ties": {"width": "center ** 2"}}, "only sums and multiples"),
        ("gaussian", {"arrays": "math"}, "does not follow the array API"),
        ("linear", {"ties": {"slope": "intercept", "intercept": "slope"}}, "in a circle"),
    ],
)
def test_what_is_not_understood_is_refused(model: object, kwargs: dict, told: str) -> None:
    with pytest.raises(PlanError, match=told):
        fit(np.ones((2, X.size)), model, **kwargs)


def test_a_map_is_fitted_into_a_group_beside_its_source(tmp_path: pathlib.Path) -> None:
    _, values = peaks(12, 0.1)
    path = tmp_path / "map.h5"
    main = usidx.from_array(
        values.reshape(3, 4, -1),
        "Counts",
        "V",
        position=[usidx.Dimension("Y", "m", 3), usidx.Dimension("X", "m", 4)],
        spectroscopic=[usidx.Dimension("Energy", "eV", X)],
    )  # fmt: skip
    main.usid.to_h5usid(path)
    stored = usidx.open(path)
    found = stored.usid.process(steps.curve_fit, model="lorentzian + constant").run().open()
    expected = fit(values, "lorentzian + constant")
    np.testing.assert_allclose(found["center"].values.ravel(), expected["center"], rtol=1e-6)
    assert found["status"].dtype == np.int8


def test_functions_are_known_by_what_they_do(tmp_path: pathlib.Path) -> None:
    def line(x, a=1.0, b=0.0):  # type: ignore[no-untyped-def]
        return a * x + b

    def other(x, a=1.0, b=0.0):  # type: ignore[no-untyped-def]
        return a * x - b

    main = usidx.from_array(
        np.outer([1.0, 2.0], X) + 1,
        "Counts",
        "V",
        position=[usidx.Dimension("X", "m", 2)],
        spectroscopic=[usidx.Dimension("Energy", "eV", X)],
    )
    main.usid.to_h5usid(tmp_path / "map.h5")
    stored = usidx.open(tmp_path / "map.h5")
    first = stored.usid.process(steps.curve_fit, model=line).run()
    np.testing.assert_allclose(first.open()["a"].values.ravel(), [1, 2])
    assert stored.usid.process(steps.curve_fit, model=line).run().path == first.path
    assert stored.usid.process(steps.curve_fit, model=other).run().path != first.path
    with pytest.raises(PlanError, match="'model' was the Python function"):
        stored.usid.process(steps.curve_fit, **first.record.parameters)
