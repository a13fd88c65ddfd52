"""Least squares of a model to every spectrum of a map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from usidx.arrays.apply import spectral_dim
from usidx.errors import PlanError, did_you_mean
from usidx.step import register, step
from usidx.steps.fitting.blocks import Task
from usidx.steps.fitting.compiled import is_compiled
from usidx.steps.fitting.elsewhere import library_of
from usidx.steps.fitting.lmfit_models import function_of, is_of_lmfit
from usidx.steps.fitting.models import Function, Sum, model_of
from usidx.steps.fitting.problem import LOSSES, STATUS
from usidx.steps.fitting.starting import Start, begin, bounds_of, check_names, free_of
from usidx.steps.fitting.ties import links_of


@register
@step("Curve_Fit", version="3", per_position=True)
def curve_fit(
    spectra: xr.DataArray,
    model: Any,
    *,
    along: str | None = None,
    p0: Start = None,
    bounds: Mapping[str, Sequence[float | None]] | None = None,
    fixed: Mapping[str, float] | Sequence[str] | None = None,
    ties: Mapping[str, str | float] | None = None,
    weights: xr.DataArray | Sequence[float] | None = None,
    loss: str = "linear",
    loss_scale: float = 1.0,
    iterations: int = 400,
    compiled: bool | None = None,
    arrays: str | None = None,
) -> xr.Dataset:
    r"""Parameters of the model nearest to each spectrum, their errors, and whether to trust them.

    Minimized is :math:`\frac{1}{2} \sum_i \rho([w_i (f(x_i; p) - y_i)]^2)` by the method of
    Levenberg and Marquardt (D. W. Marquardt, J. Soc. Indust. Appl. Math. 11, 431, 1963) with the
    steps of MINPACK (J. J. More, Lecture Notes in Mathematics 630, 105, 1978), projected
    onto the bounds. With :math:`u = 2 (x - c) / w` the named terms are

    - "lorentzian" (amplitude a, center c, width w at half height): :math:`a / (1 + u^2)`
    - "gaussian" (the same): :math:`a\, e^{-u^2 \ln 2}`
    - "pseudo_voigt" (also fraction h): :math:`a (h / (1 + u^2) + (1 - h) e^{-u^2 \ln 2})`
    - "voigt" (area A, center c, sigma s, gamma g): the convolution of both, of area A,
      :math:`A\, \mathrm{Re}\, w(z) / (s \sqrt{2 \pi})` with :math:`z = (x - c + i g) / (s
      \sqrt 2)`
    - "exponential" (amplitude a, decay t): :math:`a\, e^{-x / t}`
    - "linear" (slope, intercept) and "constant" (offset)
    - "sho" (amplitude, frequency, quality_factor, phase): the complex oscillator of `sho_guess`

    Sums are written "lorentzian + linear"; names that two terms share are numbered, as in
    amplitude_1 and amplitude_2. Values that are NaN are left out. Errors are those of a linear
    model there, with the variance of the residuals; of complex values, real and imaginary parts are
    fitted together.

    Parameters
    ----------
    spectra : real or complex values, lazily
    model : a name, a sum of names, a `lmfit.Model` (its hints are defaults, bounds and ties), or a
        function f(x, a, b, ...) of NumPy arrays: x of shape (n,), parameters of shape (rows, 1)
    along : spectroscopic dimension of x (0, 1, 2, ... where it has no values); may be left out
        where there is only one
    p0 : where to begin: numbers by name or in order, or a Dataset with a map for each parameter,
        such as an earlier fit; the rest is guessed for named terms. A function takes the defaults
        in its signature
    bounds : (low, high) by name, None for open
    fixed : values by name, or names that stay where they begin
    ties : for parameters that follow others, sums and multiples of those: {"width_2": "width_1",
        "center_2": "center_1 + 15.2"}
    weights : of residuals, 1 / sigma: numbers along x, or an array that has `along` among its
        dimensions
    loss : "linear" for least squares; "soft_l1" or "huber" let outliers count less
    loss_scale : weighted residual from which on they do
    iterations : at most
    compiled : True asks for Numba, False for NumPy; None takes Numba where it is installed (`pip
        install usidx[fit]`), for functions from some ten million values on: it takes seconds to
        compile one. What it cannot compile runs on NumPy
    arrays : library of arrays to run on in place of NumPy, such as "cupy" or "torch" where there is
        a graphics card; it must follow the array API. Functions get its arrays

    Returns
    -------
    Dataset : for each parameter a variable of its name and one of its name with "_error";
        "r_squared", :math:`1 - \sum w^2 (y - f)^2 / \sum w^2 (y - \bar y)^2`; and "status", which
        is 0 where it converged, 1 at_bound (some parameter is at its bound), 2 max_iterations,
        3 singular (parameters cannot be told apart, errors are NaN), 4 no_data (not more values
        than parameters), 5 no_start (the model is not finite at p0)

    Raises
    ------
    PlanError : for a model, names or bounds that are not understood, or no value to begin with

    Examples
    --------
    >>> x = np.linspace(0, 10, 100)
    >>> peaks = [3 / (1 + (2 * (x - center) / 1.5) ** 2) + 1 for center in (4, 6)]
    >>> spectra = xr.DataArray(peaks, dims=("X", "Energy"), coords={"Energy": x})
    >>> found = curve_fit(spectra, "lorentzian + constant", along="Energy")
    >>> found["center"].values.round(6), found["status"].values
    (array([4., 6.]), array([0, 0], dtype=int8))
    """
    dim = spectral_dim(spectra, along)
    is_complex = spectra.dtype.kind == "c"
    if is_of_lmfit(model):
        made: Sum | Function = function_of(model, complex_values=is_complex)
    else:
        made = model_of(model, complex_values=is_complex)
    x = np.arange(float(spectra.sizes[dim]))
    of_x = ""
    if dim in spectra.coords:
        x = np.asarray(spectra.coords[dim].values, dtype=float)
        of_x = str(spectra.coords[dim].attrs.get("units", ""))
    if not np.isfinite(x).all():
        raise PlanError(f"{dim!r} has values that are not finite, where no model has a value")
    _check_loss(loss, loss_scale, iterations)
    tied = {**made.ties, **(ties or {})}
    check_names(made.parameters, list(tied))
    numbers, maps, held = begin(made, p0, fixed, tied)
    low, high = bounds_of(made, bounds, x, tied)
    link, shift = links_of(made.parameters, tied)
    if isinstance(made, Function):
        made = made.checked(x, numbers)
    if arrays is not None:
        library_of(arrays)
    machine = is_compiled(made, x, False if arrays else compiled, spectra.size)
    task = Task(
        made, x, numbers, tuple(maps), free_of(made, held, tied), link, shift, low, high, loss,
        loss_scale, iterations, machine, arrays or "",
    )  # fmt: skip
    fields = _applied(spectra, dim, task, maps, weights)
    units = made.units(str(spectra.attrs.get("units", "")), of_x) if isinstance(made, Sum) else ()
    return _labelled(made, fields, units)


def _applied(
    spectra: xr.DataArray,
    dim: str,
    task: Task,
    maps: Mapping[str, xr.DataArray],
    weights: xr.DataArray | Sequence[float] | None,
) -> tuple[xr.DataArray, ...]:
    arrays, dims = [spectra], [[dim]]
    if weights is not None:
        if not isinstance(weights, xr.DataArray):
            weights = xr.DataArray(np.asarray(weights, dtype=float), dims=dim)
        if dim not in weights.dims or not set(weights.dims) <= set(spectra.dims):
            raise PlanError(
                f"weights have the dimensions {', '.join(map(str, weights.dims)) or 'none'}; they "
                f"need {dim!r} and may have others of {', '.join(map(str, spectra.dims))}"
            )
        arrays.append(weights)
        dims.append([dim])
    for name, each in maps.items():
        if not set(each.dims) <= set(spectra.dims) - {dim}:
            raise PlanError(
                f"p0 of {name!r} has the dimensions {', '.join(map(str, each.dims))}; it may have "
                f"those of the spectra other than {dim!r}"
            )
        arrays.append(each)
        dims.append([])
    arrays = [a if a.chunks is None or not d else a.chunk({dim: -1}) for a, d in zip(arrays, dims)]
    dtypes = task.dtypes
    try:
        found = xr.apply_ufunc(
            task,
            *arrays,
            input_core_dims=dims,
            output_core_dims=[[]] * len(dtypes),
            join="exact",
            dask="parallelized",
            dask_gufunc_kwargs={"meta": tuple(np.empty(0, each) for each in dtypes)},
            kwargs={"weighted": weights is not None},
        )
    except xr.AlignmentError as error:
        raise PlanError(
            f"p0 or weights have other coordinates than the spectra ({error}); make them the same "
            "first, with p0.reindex_like(da, method='nearest', tolerance=...)"
        ) from error
    assert isinstance(found, tuple)
    return found


def _check_loss(loss: str, scale: float, iterations: int) -> None:
    if loss not in LOSSES:
        raise PlanError(f"loss={loss!r}{did_you_mean(loss, LOSSES)} is none of {', '.join(LOSSES)}")
    if not scale > 0 or iterations < 1:
        raise PlanError(f"loss_scale={scale} and iterations={iterations} must be above zero")


def _labelled(
    model: Sum | Function, fields: Sequence[xr.DataArray], units: Sequence[str]
) -> xr.Dataset:
    names = model.parameters
    found: dict[str, xr.DataArray] = {}
    for number, name in enumerate(names):
        unit = units[number] if units else ""
        for suffix, at in (("", number), ("_error", number + len(names))):
            own = name + suffix
            found[own] = fields[at].assign_attrs(quantity=own, long_name=own, units=unit)
    found["r_squared"] = fields[-2].assign_attrs(quantity="r_squared", units="")
    found["status"] = fields[-1].assign_attrs(
        quantity="status",
        units="",
        flag_values=list(range(len(STATUS))),
        flag_meanings=" ".join(STATUS),
    )
    return xr.Dataset(found).assign_attrs(quantity="Fit parameters", units="compound")
