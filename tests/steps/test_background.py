"""Backgrounds against a sparse solver, and against the one that was put in."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy import linalg, sparse
from scipy.sparse.linalg import spsolve

import usidx
from usidx import steps
from usidx.arrays.making import from_array
from usidx.errors import OptionError, PlanError
from usidx.model.dimension import Dimension
from usidx.steps.background import solve_smooth


def measured() -> tuple[xr.DataArray, np.ndarray]:
    rng = np.random.default_rng(3)
    x = np.linspace(0, 1, 200)
    slope = rng.uniform(-2, 2, (4, 5, 1))
    background = 5 + slope * x + 2 * x**2
    center = rng.uniform(0.3, 0.7, (4, 5, 1))
    values = background + 6 * np.exp(-(((x - center) / 0.02) ** 2))
    values += rng.normal(0, 0.01, values.shape)
    sides = [Dimension("Y", "um", np.arange(4)), Dimension("X", "um", np.arange(5))]
    shift = Dimension("Shift", "1/cm", 100 + 900 * x)
    return from_array(
        values, "Intensity", "counts", position=sides, spectroscopic=[shift]
    ), background


def by_sparse_matrices(y: np.ndarray, lam: float, p: float, n: int) -> np.ndarray:
    difference = sparse.diags_array([1.0, -2, 1], offsets=[0, 1, 2], shape=(y.size - 2, y.size))
    penalty = lam * (difference.T @ difference)
    weights = np.ones(y.size)
    z = y
    for _ in range(n + 1):
        z = spsolve((sparse.diags_array(weights) + penalty).tocsc(), weights * y)
        weights = np.where(y > z, p, 1 - p)
    return z


def test_it_is_what_sparse_matrices_give() -> None:
    spectra, _ = measured()
    found = steps.baseline(spectra, smoothness=1e4, asymmetry=0.02, iterations=6, keep="baseline")
    for row in (0, 7, 19):
        y = spectra.values.reshape(20, -1)[row]
        expected = by_sparse_matrices(y, 1e4, 0.02, 6)
        np.testing.assert_allclose(found.values.reshape(20, -1)[row], expected, rtol=1e-6)


def test_arpls_is_what_sparse_matrices_give() -> None:
    spectra, _ = measured()
    found = steps.baseline(spectra, smoothness=1e3, iterations=8, method="arpls", keep="baseline")
    y = spectra.values[0, 0]
    difference = sparse.diags_array([1.0, -2, 1], offsets=[0, 1, 2], shape=(y.size - 2, y.size))
    weights = np.ones(y.size)
    for _ in range(9):
        matrix = sparse.diags_array(weights) + 1e3 * (difference.T @ difference)
        z = spsolve(matrix.tocsc(), weights * y)
        below = (y - z)[y < z]
        mean, spread = below.mean(), below.std()
        exponent = 2 * (y - z - (2 * spread - mean)) / spread
        weights = 1 / (1 + np.exp(np.clip(exponent, -500, 500)))
    np.testing.assert_allclose(found[0, 0], z, rtol=1e-8)


@pytest.mark.parametrize("n", [3, 4, 5, 40])
def test_the_solver_solves(n: int) -> None:
    rng = np.random.default_rng(n)
    weights, values = rng.uniform(0.01, 1, (n, 6)), rng.normal(size=(n, 6))
    found = solve_smooth(weights, values, 1e3)
    difference = np.diff(np.eye(n), 2, axis=0)
    for column in range(6):
        w = weights[:, column]
        full = np.diag(w) + 1e3 * difference.T @ difference
        np.testing.assert_allclose(
            found[:, column], linalg.solve(full, w * values[:, column]), rtol=1e-7
        )


@pytest.mark.parametrize(("method", "near"), [("asls", 0.15), ("arpls", 0.03)])
def test_the_background_that_was_put_in_comes_out(method: str, near: float) -> None:
    spectra, background = measured()
    found = steps.baseline(
        spectra, smoothness=1e3, asymmetry=0.005, iterations=30, method=method, keep="baseline"
    )
    assert abs(found.values - background).max() < near
    rest = steps.baseline(spectra, smoothness=1e3, asymmetry=0.005, iterations=30, method=method)
    np.testing.assert_allclose(rest, spectra - found)
    assert rest.attrs == spectra.attrs


def test_a_run_equals_numpy_and_nan_stays_alone(tmp_path) -> None:
    spectra, _ = measured()
    spectra = spectra.astype("f4")
    spectra[1, 1, 7] = np.nan
    path = str(tmp_path / "scan.h5")
    spectra.usid.to_h5usid(path)
    found = usidx.open(path).usid.process(steps.baseline).run(memory="4 MB", workers=2).open()
    expected = steps.baseline(spectra)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.isnan(found[1, 1]).all()
    assert np.isnan(found).sum() == 200


def test_what_does_not_fit_is_said() -> None:
    spectra, _ = measured()
    with pytest.raises(OptionError, match="is neither of asls, arpls nor one of pybaselines"):
        steps.baseline(spectra, method="als")
    with pytest.raises(PlanError, match="values are complex.*asymmetry=2 between"):
        steps.baseline(spectra + 1j, asymmetry=2)


@pytest.mark.parametrize("method", ["airpls", "snip", "imodpoly"])
def test_other_methods_are_those_of_pybaselines(tmp_path, method: str) -> None:
    pybaselines = pytest.importorskip("pybaselines")
    spectra, _ = measured()
    options = {"snip": {"max_half_window": 20}, "airpls": {"lam": 1e5}}.get(method, {})
    path = str(tmp_path / "scan.h5")
    spectra.usid.to_h5usid(path)
    process = usidx.open(path).usid.process(steps.baseline, method=method, options=options)
    found = process.run().open()
    fitted = pybaselines.Baseline(spectra.Shift.values)
    for row in (0, 13):
        y = spectra.values.reshape(20, -1)[row]
        background, _ = getattr(fitted, method)(y, **options)
        np.testing.assert_allclose(found.values.reshape(20, -1)[row], y - background, atol=1e-9)
    with pytest.raises(OptionError, match=r"nor one of pybaselines \(did you mean 'airpls'"):
        steps.baseline(spectra, method="airpl")
    with pytest.raises(OptionError, match="takes no options"):
        steps.baseline(spectra, options={"lam": 1})
