"""Fits in machine code and on NumPy say and find the same, of many spectra and of single ones."""

from __future__ import annotations

import importlib.util
import inspect
from typing import Any

import numpy as np
import pytest
import xarray as xr

from usidx import steps
from usidx.steps.fitting import compiled as machine

HAS_NUMBA = importlib.util.find_spec("numba") is not None
NUMBA = pytest.param(True, marks=pytest.mark.skipif(not HAS_NUMBA, reason="needs Numba"))
X = np.linspace(0, 10, 64)


def lorentz(x, a, c, w, o):  # type: ignore[no-untyped-def]
    return a / (1 + (2 * (x - c) / w) ** 2) + o


def fit(values: np.ndarray, model: Any, **kwargs: Any) -> xr.Dataset:
    spectra = xr.DataArray(values, dims=("X", "Energy"), coords={"Energy": X})
    return steps.curve_fit(spectra, model, along="Energy", **kwargs)


def test_spectra_fitted_alone_end_where_they_do_among_others() -> None:
    rng = np.random.default_rng(8)
    truth = rng.uniform((1, 2, 0.5, -1), (5, 8, 2, 1), (60, 4))
    values = lorentz(X, *(truth[:, [i]] for i in range(4)))
    values += 0.3 * rng.normal(size=values.shape)
    start = truth + rng.normal(size=truth.shape) * (0.6, 0.3, 0.2, 0.6)
    p0 = xr.Dataset({name: ("X", start[:, i]) for i, name in enumerate("acwo")})
    whole = fit(values, lorentz, p0=p0, compiled=False)
    parts = [fit(values[i : i + 1], lorentz, p0=p0.isel(X=[i]), compiled=False) for i in range(60)]
    alone = xr.concat(parts, "X")
    np.testing.assert_array_equal(alone["status"], whole["status"])
    usable = whole["status"] == 0
    assert usable.sum() > 50
    for name in "acwo":
        away = abs(alone[name] - whole[name])[usable]
        assert (away < 1e-4 * whole[name + "_error"][usable]).all()


@pytest.mark.parametrize("compiled", [False, NUMBA])
@pytest.mark.parametrize(
    ("model", "p0", "level"),
    [
        ("lorentzian", [1, 5, 1], 0.0),
        ("exponential", [2, 3], 0.0),
        ("gaussian + constant", [3, 4, 1, 0.5], 0.0),
        ("gaussian + constant", [3, 4, 1, 0.5], 2.5),
        ("gaussian + constant", [3, 4, 1, 0.5], -3e-12),
    ],
)
def test_spectra_without_anything_have_no_center(
    model: str, p0: list[float], level: float, compiled: bool
) -> None:
    values = np.full((1, X.size), level)
    found = fit(values, model, p0=p0, compiled=compiled)
    assert found["status"] == 3
    for name, each in found.items():
        assert np.isnan(each[0]) or not str(name).endswith("_error")
    # levels themselves are known
    for baseline in ("constant", "linear"):
        assert fit(values, baseline, compiled=compiled)["status"] == 0


def test_small_signals_are_signals() -> None:
    values = lorentz(X, 1e-14, 4.0, 1.5, 0.0)[np.newaxis]
    found = fit(values, "lorentzian", p0=[1, 4.5, 1])
    assert found["status"] == 0
    np.testing.assert_allclose(found["center"], 4.0, rtol=1e-6)


def test_what_is_kept_of_machine_code_is_known_by_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    before, source = machine._text.__wrapped__(), inspect.getsource
    assert machine._text.__wrapped__() == before
    monkeypatch.setattr(machine.inspect, "getsource", lambda each: source(each) + "#")
    assert machine._text.__wrapped__() != before
