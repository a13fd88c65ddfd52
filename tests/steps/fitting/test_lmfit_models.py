"""Models of lmfit beside the fits of lmfit."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from usidx.steps import curve_fit

X = np.linspace(0, 10, 64)


def test_models_of_lmfit_are_fitted_with_their_hints() -> None:
    models = pytest.importorskip("lmfit.models")
    model = models.GaussianModel(prefix="a_") + models.VoigtModel(prefix="b_")
    model += models.ConstantModel()
    for name, value in (("a_center", 2.0), ("b_center", 7.0), ("a_amplitude", 2.0)):
        model.set_param_hint(name, value=value)
    model.set_param_hint("a_sigma", value=0.5, min=0.1, max=3)
    model.set_param_hint("b_sigma", expr="a_sigma")
    model.set_param_hint("c", value=0.1, vary=False)
    rng = np.random.default_rng(2)
    values = np.stack([
        model.eval(x=X, a_amplitude=2 + i, a_center=2.2, a_sigma=0.6, b_amplitude=3, b_center=6.8)
        for i in range(4)
    ]) + 0.02 * rng.normal(size=(4, X.size))  # fmt: skip
    spectra = xr.DataArray(values, dims=("Y", "X"), coords={"X": X})
    found = curve_fit(spectra, model, along="X")
    for row, y in enumerate(values):
        theirs = model.fit(y, x=X).params
        for name in ("a_center", "a_sigma", "b_sigma", "b_amplitude"):
            np.testing.assert_allclose(found[name][row], theirs[name].value, rtol=1e-4)
            np.testing.assert_allclose(found[name + "_error"][row], theirs[name].stderr, rtol=1e-2)
    assert (found["c"] == 0.1).all()
