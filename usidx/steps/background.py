"""The slow background under the peaks of spectra."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import xarray as xr

from usidx.arrays.apply import spectral_dim, values_along
from usidx.errors import MissingDependencyError, OptionError, PlanError, did_you_mean
from usidx.model.dimension import Array
from usidx.step import register, step
from usidx.steps.spectra import along_spectra

OWN = ("asls", "arpls")
# Spectra that are solved for at once: their bands fit into the cache of a processor.
_VALUES = 2**15


@register
@step("Baseline", version="2", per_position=True)
def baseline(
    spectra: xr.DataArray,
    *,
    smoothness: float = 1e5,
    asymmetry: float = 0.01,
    iterations: int = 10,
    method: str = "asls",
    options: Mapping[str, Any] | None = None,
    keep: Literal["corrected", "baseline"] = "corrected",
    along: str | None = None,
) -> xr.DataArray:
    r"""Spectra without the slow background under their peaks, by asymmetric least squares.

    The background z is smooth, and weighs what is above it less than what is below:

    .. math:: \min_z \sum_i w_i (d_i - z_i)^2 + \lambda \sum_i (z_{i-1} - 2 z_i + z_{i+1})^2

    "asls": :math:`w_i = p` where :math:`d_i > z_i`, else 1 - p (P. H. C. Eilers, Anal. Chem. 75,
    3631, 2003, and 76, 404, 2004). "arpls": :math:`w_i = 1 / (1 + e^{2 (d_i - z_i - 2 s + m) / s})`
    with mean m and standard deviation s of the residuals below, which leaves noise around the
    background alone (S.-J. Baek et al., Analyst 140, 250, 2015). The weights begin with 1 and are
    improved `iterations` times. Any other method is that of `pybaselines` by this name ("airpls",
    "snip", "mor", "imodpoly", ...), spectrum by spectrum, with its own parameters in `options`.

    Parameters
    ----------
    spectra : real values, lazily; a spectrum with a value that is not finite is NaN throughout
    smoothness : lambda, for samples one apart; 1e2 to 1e9
    asymmetry : p of "asls", 0.001 to 0.1 for peaks that point up, 0.9 to 0.999 for those down
    iterations : how often the weights are improved
    method : "asls" or "arpls", or one of pybaselines, which uses neither smoothness, asymmetry nor
        iterations
    options : parameters of a method of pybaselines by name, {"lam": 1e6}
    keep : "corrected" for the spectra without their background, "baseline" for the background
    along : spectroscopic dimension; may be left out where there is only one

    Returns
    -------
    DataArray : of the same shape, labels and units

    Raises
    ------
    PlanError : for complex values, fewer than 3 samples, or a smoothness or asymmetry out of range
    OptionError : for a method that is not known, or options of one that has none
    MissingDependencyError : for a method of pybaselines where that is not installed

    Examples
    --------
    >>> x = np.linspace(0, 1, 101)
    >>> peak = np.exp(-(((x - 0.5) / 0.02) ** 2))
    >>> spectra = xr.DataArray([peak + 3 + x], dims=("X", "t"))
    >>> bool(np.allclose(baseline(spectra, asymmetry=0.001, along="t"), [peak], atol=0.01))
    True
    """
    dim = spectral_dim(spectra, along)
    if keep not in ("corrected", "baseline"):
        raise OptionError(f"keep={keep!r} must be 'corrected' or 'baseline'")
    _check_method(method, options)
    wrong = []
    if spectra.dtype.kind == "c":
        wrong.append("the values are complex, take it of abs(data), .real or .imag")
    if spectra.sizes[dim] < 3:
        wrong.append(f"{dim!r} has {spectra.sizes[dim]} samples, it needs 3 or more")
    if not smoothness > 0 or not 0 < asymmetry < 1 or iterations < 1:
        wrong.append(
            f"smoothness={smoothness} must be above 0, asymmetry={asymmetry} between 0 and 1, "
            f"iterations={iterations} 1 or more"
        )
    if wrong:
        raise PlanError(f"there is no baseline: {'; '.join(wrong)}")
    given: dict[str, Any] = {
        "smoothness": float(smoothness),
        "asymmetry": float(asymmetry),
        "iterations": int(iterations),
        "method": method,
    }
    function: Callable[..., Array] = baselines
    if method not in OWN:
        x = values_along(spectra, dim)
        function, given = from_library, {"method": method, "x": x, "options": dict(options or {})}
    if keep == "corrected":
        function, given = corrected, {"background": function, **given}
    return along_spectra(spectra, function, dim, **given)


def corrected(block: Array, *, background: Callable[..., Array], **given: Any) -> Array:
    """Spectra, shape (..., n), without their background."""
    return np.asarray(block - background(block, **given))


def from_library(block: Array, *, method: str, x: Array, options: Mapping[str, Any]) -> Array:
    """The background of spectra, shape (..., n) over coordinates x, by pybaselines."""
    fitted = getattr(importlib.import_module("pybaselines").Baseline(x), method)
    spectra = block.reshape(-1, x.size)
    found = np.full(spectra.shape, np.nan)
    for row in np.flatnonzero(np.isfinite(spectra).all(-1)):
        found[row], _ = fitted(spectra[row].astype(float), **options)
    return found.reshape(block.shape)


def baselines(
    block: Array, *, smoothness: float, asymmetry: float, iterations: int, method: str
) -> Array:
    """The background of spectra, shape (..., n)."""
    n = block.shape[-1]
    spectra = block.reshape(-1, n)
    found = np.full(spectra.shape, np.nan)
    finite = np.flatnonzero(np.isfinite(spectra).all(-1))
    rows = max(1, _VALUES // n)
    for start in range(0, finite.size, rows):
        some = finite[start : start + rows]
        # samples first: each step of the solver works on a row of neighbours in memory
        d = np.ascontiguousarray(spectra[some].T, float)
        z = solve_smooth(np.ones_like(d), d, smoothness)
        for _ in range(iterations):
            if method == "asls":
                weights = np.where(d > z, asymmetry, 1 - asymmetry)
            else:
                weights = _arpls_weights(d - z)
            z = solve_smooth(weights, d, smoothness)
        found[some] = z.T
    return found.reshape(block.shape)


def _check_method(method: str, options: Mapping[str, Any] | None) -> None:
    if method in OWN:
        if options:
            raise OptionError(f"method={method!r} takes no options; these are for pybaselines")
        return
    try:
        kind = importlib.import_module("pybaselines").Baseline
    except ImportError as error:
        raise MissingDependencyError(
            f"method={method!r} is neither of {', '.join(OWN)}, and others need pybaselines, which "
            f"is not installed ({error}); pip install 'usidx[baseline]'"
        ) from error
    known = [name for name in dir(kind) if name[0] != "_" and callable(getattr(kind, name))]
    if method not in known:
        raise OptionError(
            f"method={method!r} is neither of {', '.join(OWN)} nor one of pybaselines"
            f"{did_you_mean(str(method), sorted({*OWN, *known}))}"
        )


def _arpls_weights(residual: Array) -> Array:
    below = residual < 0
    count = np.maximum(below.sum(0), 1)
    mean = np.where(below, residual, 0).sum(0) / count
    spread = np.sqrt((np.where(below, residual - mean, 0) ** 2).sum(0) / count)
    # a spectrum without noise has nothing below
    spread = np.maximum(spread, 1e-12 * np.maximum(np.abs(residual).max(0), 1e-300))
    exponent = np.clip(2 * (residual - (2 * spread - mean)) / spread, -500, 500)
    weights: Array = 1 / (1 + np.exp(exponent))
    return weights


def solve_smooth(weights: Array, values: Array, smoothness: float) -> Array:
    """The z of (W + smoothness D'D) z = W values, D the second differences, for many spectra.

    The matrix has five diagonals; it is taken apart as L diag(d) L' for all spectra at once (as
    LAPACK's pbsv does for one).

    Parameters
    ----------
    weights, values : ndarray, shape (n, spectra), n at least 3, weights above 0

    Returns
    -------
    ndarray, shape (n, spectra)
    """
    n = weights.shape[0]
    main, first, second = _penalty(n, smoothness)
    d, lower, below = (np.empty_like(values) for _ in range(3))
    z = weights * values
    for i in range(n):
        pivot = weights[i] + main[i]
        if i:
            pivot -= lower[i - 1] ** 2 * d[i - 1]
            z[i] -= lower[i - 1] * z[i - 1]
        if i > 1:
            pivot -= below[i - 2] ** 2 * d[i - 2]
            z[i] -= below[i - 2] * z[i - 2]
        d[i] = pivot
        if i < n - 1:
            off = first[i] - (lower[i - 1] * below[i - 1] * d[i - 1] if i else 0.0)
            lower[i] = off / pivot
        if i < n - 2:
            below[i] = second[i] / pivot
    z /= d
    for i in range(n - 2, -1, -1):
        z[i] -= lower[i] * z[i + 1]
        if i < n - 2:
            z[i] -= below[i] * z[i + 2]
    return z


def _penalty(n: int, smoothness: float) -> tuple[Array, Array, Array]:
    """The diagonals of smoothness D'D, from the main one outwards."""
    main, first, second = np.zeros(n), np.zeros(n - 1), np.full(n - 2, smoothness)
    for offset, weight in ((0, 1.0), (1, 4.0), (2, 1.0)):
        main[offset : offset + n - 2] += weight * smoothness
    first[: n - 2] -= 2 * smoothness
    first[1:] -= 2 * smoothness
    return main, first, second
