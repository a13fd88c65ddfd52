"""Spectra made steeper, comparable, or into a few numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr

from usidx.arrays.apply import (
    apply_over,
    floating,
    spectral_dim,
    units_along,
    values_along,
)
from usidx.errors import OptionError, PlanError, did_you_mean
from usidx.model.dimension import Array
from usidx.step import register, step

NORMS = ("max", "range", "area", "norm", "standard")


@register
@step("Normalize", version="1", per_position=True)
def normalize(
    spectra: xr.DataArray,
    *,
    by: Literal["max", "range", "area", "norm", "standard"] = "max",
    along: str | None = None,
) -> xr.DataArray:
    r"""Spectra that can be compared in shape.

    Each is divided by one number of its own: "max" its largest magnitude, "area" its integral over
    `along` by the trapezoidal rule, "norm" :math:`\sqrt{\sum |d|^2}`. "range" maps it to 0 ... 1,
    and "standard" to mean 0 and standard deviation 1 (standard normal variate, R. J. Barnes et
    al., Appl. Spectrosc. 43, 772, 1989). Where that number is 0, the spectrum is NaN.

    Parameters
    ----------
    spectra : values of any numeric dtype, lazily; a spectrum with a NaN is NaN throughout
    by : see above
    along : spectroscopic dimension; may be left out where there is only one

    Returns
    -------
    DataArray : of the same shape and labels, without units (per unit of `along` for "area")

    Raises
    ------
    OptionError : for another way
    PlanError : for the range of complex values, or a dimension that is not there

    Examples
    --------
    >>> spectra = xr.DataArray([[0.0, 1, 4], [1, 2, 3]], dims=("X", "t"))
    >>> normalize(spectra, by="range", along="t").values
    array([[0.  , 0.25, 1.  ], [0.  , 0.5 , 1.  ]])
    """
    dim = spectral_dim(spectra, along)
    check_known(by, "by", NORMS)
    if by == "range" and spectra.dtype.kind == "c":
        raise PlanError("complex values have no range; normalize by 'max' or 'norm'")
    x = values_along(spectra, dim)
    found = along_spectra(spectra, normalized, dim, by=by, x=x)
    unit = units_along(spectra, dim)
    return found.assign_attrs(units=f"1/{unit}" if by == "area" and unit else "")


def normalized(block: Array, *, by: str, x: Array) -> Array:
    """Spectra, shape (..., n) over coordinates x, divided as `normalize` says."""
    if by == "range":
        low = block.min(-1, keepdims=True)
        return _over(block - low, block.max(-1, keepdims=True) - low)
    if by == "standard":
        centred = block - block.mean(-1, keepdims=True)
        return _over(centred, block.std(-1, keepdims=True))
    if by == "area":
        return _over(block, np.trapezoid(block, x, axis=-1)[..., np.newaxis])
    size = np.abs(block)
    if by == "max":
        return _over(block, size.max(-1, keepdims=True))
    return _over(block, np.sqrt((size**2).sum(-1, keepdims=True)))


def _over(values: Array, divisor: Array) -> Array:
    return values / np.where(divisor == 0, np.nan, divisor)


@register
@step("Derivative", version="1", per_position=True)
def derivative(spectra: xr.DataArray, *, order: int = 1, along: str | None = None) -> xr.DataArray:
    r"""The derivative :math:`\partial^n d / \partial x^n` of spectra by differences of neighbours.

    Of second order within the spectrum, also where the spacing is uneven (B. Fornberg, Math.
    Comput. 51, 699, 1988; `numpy.gradient`), applied `order` times. It makes noise larger: `savgol`
    smooths as well.

    Parameters
    ----------
    spectra : values of any numeric dtype, lazily
    order : n
    along : spectroscopic dimension; may be left out where there is only one

    Returns
    -------
    DataArray : of the same shape and labels, in units of the source per unit of `along`

    Raises
    ------
    PlanError : for fewer than 2 samples, values of `along` that repeat, or an order below 1

    Examples
    --------
    >>> time = [0.0, 1, 3, 4]
    >>> spectra = xr.DataArray([[0.0, 1, 9, 16]], dims=("X", "t"), coords={"t": time})
    >>> derivative(spectra, along="t").values
    array([[1., 2., 6., 7.]])
    """
    dim = spectral_dim(spectra, along)
    check_whole(order=order)
    x = values_along(spectra, dim)
    if order < 1 or x.size < 2 or (np.diff(x) == 0).any():
        raise PlanError(
            f"a derivative needs order=1 or more ({order}), and at least 2 values of {dim!r} "
            f"({x.size}) of which neighbours differ"
        )
    found = along_spectra(spectra, derived, dim, x=x, order=order)
    return found.assign_attrs(units=units_per(spectra, dim, order))


def derived(block: Array, *, x: Array, order: int) -> Array:
    """The derivatives of spectra, shape (..., n) over coordinates x."""
    for _ in range(order):
        block = np.asarray(np.gradient(block, x, axis=-1))
    return block


@register
@step("Integrate", version="1", per_position=True)
def integrate(
    spectra: xr.DataArray,
    *,
    windows: Sequence[Sequence[float]] | Mapping[str, Sequence[float]],
    along: str | None = None,
) -> xr.DataArray | xr.Dataset:
    r"""The integrals :math:`\int_a^b d(x)\,dx` of spectra over windows.

    The trapezoidal rule, exact for straight lines between samples: windows need not begin or end
    at samples.

    Parameters
    ----------
    spectra : values of any numeric dtype, lazily
    windows : [(a, b), ...] in units of `along`, or a mapping of names to them
    along : spectroscopic dimension; may be left out where there is only one

    Returns
    -------
    DataArray : "Window", by the middle of each, in the place of `along`; or for a mapping a Dataset
        of maps by name. In units of the source times those of `along`

    Raises
    ------
    PlanError : for windows that are not within the spectrum, or a dimension that is not there

    Examples
    --------
    >>> spectra = xr.DataArray([[0.0, 1, 2, 3]], dims=("X", "t"))
    >>> integrate(spectra, windows=[(0, 3), (0.5, 1.5)], along="t").values
    array([[4.5, 1. ]])
    """
    dim = spectral_dim(spectra, along)
    pairs = list(windows.values() if isinstance(windows, Mapping) else windows)
    weights = trapezoids(values_along(spectra, dim), pairs, dim)
    dtype = floating(spectra.dtype)
    (found,) = apply_over(
        spectra,
        weighted,
        [dim],
        output={"Window": len(pairs)},
        dtypes=[dtype],
        kwargs={"weights": weights.astype(np.empty(0, dtype).real.dtype)},
    )
    units = "·".join(filter(None, [str(spectra.attrs.get("units", "")), units_along(spectra, dim)]))
    found = found.assign_attrs(spectra.attrs, units=units)
    if isinstance(windows, Mapping):
        fields = {
            str(name): found.isel(Window=n, drop=True).assign_attrs(quantity=str(name))
            for n, name in enumerate(windows)
        }
        return xr.Dataset(fields).assign_attrs(quantity="Integrals", units="compound")
    attrs = {"usid_role": "spectroscopic", "units": units_along(spectra, dim)}
    middles = np.array([(low + high) / 2 for low, high in pairs])
    return found.assign_coords(Window=("Window", middles, attrs)).rename(spectra.name)


def trapezoids(x: Array, pairs: Sequence[Sequence[float]], dim: str) -> Array:
    """Weights of samples at x, shape (windows, n), whose sums are integrals over windows."""
    if x.size < 2 or not (np.all(np.diff(x) > 0) or np.all(np.diff(x) < 0)):
        raise PlanError(f"{dim!r} must go up or down throughout to be integrated over")
    order = np.argsort(x)
    knots = x[order]
    weights = np.zeros((len(pairs), x.size))
    for row, pair in enumerate(pairs):
        low, high = sorted(map(float, pair))
        if not knots[0] <= low < high <= knots[-1]:
            raise PlanError(
                f"window {tuple(pair)} is not within {dim!r}, which goes from {knots[0]:.6g} to "
                f"{knots[-1]:.6g}"
            )
        edges = np.unique([low, *knots[(knots > low) & (knots < high)], high])
        for left, right in zip(edges[:-1], edges[1:], strict=True):
            # of a straight line, the integral is its middle times the width
            first = min(int(np.searchsorted(knots, (left + right) / 2)) - 1, x.size - 2)
            share = ((left + right) / 2 - knots[first]) / (knots[first + 1] - knots[first])
            weights[row, order[first]] += (1 - share) * (right - left)
            weights[row, order[first + 1]] += share * (right - left)
    return weights


def weighted(block: Array, *, weights: Array) -> Array:
    """Sums of spectra, shape (..., n), by weights, shape (windows, n)."""
    values = block.astype(np.result_type(floating(block.dtype), weights.dtype), copy=False)
    # those that weigh nothing anywhere may be NaN
    used = np.flatnonzero(weights.any(0))
    part = slice(used[0], used[-1] + 1) if used.size else slice(0)
    return np.asarray(values[..., part] @ weights[:, part].T)


def along_spectra(spectra: xr.DataArray, function: Any, dim: str, **kwargs: Any) -> xr.DataArray:
    """Lazily what a function of blocks (..., n) makes of spectra, with their labels and dtype."""
    dtype = floating(spectra.dtype)
    (found,) = apply_over(
        spectra,
        in_dtype,
        [dim],
        output={dim: spectra.sizes[dim]},
        dtypes=[dtype],
        kwargs={"function": function, "dtype": dtype, **kwargs},
    )
    found = found.transpose(*spectra.dims).assign_coords(spectra.coords)
    return found.rename(spectra.name).assign_attrs(spectra.attrs)


def in_dtype(block: Array, *, function: Any, dtype: np.dtype[Any], **kwargs: Any) -> Array:
    """What a function makes of a block in floating point, in that dtype."""
    return np.asarray(function(block.astype(dtype, copy=False), **kwargs), dtype)


def units_per(spectra: xr.DataArray, dim: str, order: int) -> str:
    """ "V/s^2": units of a derivative."""
    unit, per = str(spectra.attrs.get("units", "")), units_along(spectra, dim)
    if not order or not per:
        return unit
    return f"{unit or '1'}/{per}" + (f"^{order}" if order > 1 else "")


def check_whole(**numbers: object) -> None:
    """Nothing, for whole numbers by the name of their parameter; PlanError for others."""
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
            raise PlanError(f"{name}={value!r} must be a whole number")


def check_known(value: str, name: str, known: Sequence[str]) -> None:
    """Nothing, for a value that is known; OptionError with those that are for another."""
    if value not in known:
        raise OptionError(
            f"{name}={value!r} is not one of {', '.join(known)}{did_you_mean(value, known)}"
        )
