"""Guesses in machine code beside those of NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from usidx.steps.fitting.guesses import guess
from usidx.steps.fitting.models import model_of


@pytest.mark.parametrize(
    "name",
    [
        "lorentzian + constant",
        "voigt + linear + gaussian",
        "exponential + gaussian",
        "linear + constant + pseudo_voigt + exponential",
    ],
)
def test_guesses_of_numba_are_those_of_numpy(name: str) -> None:
    pytest.importorskip("numba")
    model = model_of(name, complex_values=False)
    rng = np.random.default_rng(7)
    x = np.sort(rng.uniform(0.1, 10, 41))[::-1]
    p = rng.uniform(0.5, 4, (200, len(model.parameters)))
    values, _ = model.evaluate(np, x, p, p[0] + np.inf, ())
    values = values * rng.choice([-1, 1], (200, 1)) + 0.1 * rng.normal(size=values.shape)
    for n in (41, 5):
        ours = guess(model, x[-n:], values[:, -n:], compiled=True)
        np.testing.assert_allclose(ours, guess(model, x[-n:], values[:, -n:]), rtol=1e-8, atol=1e-9)
