"""Spectra at other samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import xarray as xr

from usidx.arrays.apply import apply_over, floating, spacing, spectral_dim, values_along
from usidx.errors import OptionError, PlanError
from usidx.model.dimension import Array
from usidx.step import register, step

METHODS = ("linear", "cubic", "fourier")


@register
@step("Resample", version="1", per_position=True)
def resample(
    spectra: xr.DataArray,
    *,
    to: int | Sequence[float],
    method: Literal["linear", "cubic", "fourier"] = "cubic",
    along: str | None = None,
) -> xr.DataArray:
    r"""Spectra at other samples of the same dimension.

    "linear" and "cubic" are splines through the samples (C. de Boor, A Practical Guide to Splines,
    1978; `scipy.interpolate.make_interp_spline`), which may be spaced in any way. "fourier" gives
    the transform more or fewer frequencies, :math:`d(x) = \frac{1}{n} \sum_k D_k e^{2 \pi i k x /
    L}`, of evenly spaced samples that repeat after L (`scipy.signal.resample`); it lets nothing
    through that fewer samples cannot hold. Before splines with fewer samples, `smooth`.

    Parameters
    ----------
    spectra : values of any numeric dtype, lazily; a spectrum with a NaN is NaN throughout
    to : how many samples, evenly spaced over the same range ("fourier": over the same period), or
        where they are, in units of `along`
    method : see above
    along : spectroscopic dimension; may be left out where there is only one

    Returns
    -------
    DataArray : with other values of `along`, in the units of the source

    Raises
    ------
    PlanError : for samples outside of the spectrum, too few of them, values of `along` that do not
        go up or down throughout, or positions with "fourier"
    OptionError : for another method

    Examples
    --------
    >>> x = np.array([0.0, 1, 3, 4])
    >>> spectra = xr.DataArray([x**2], dims=("X", "t"), coords={"t": x})
    >>> resample(spectra, to=[2, 3.5], along="t").values
    array([[ 4. , 12.25]])
    """
    dim = spectral_dim(spectra, along)
    if method not in METHODS:
        raise OptionError(f"method={method!r} must be one of {', '.join(METHODS)}")
    x = values_along(spectra, dim)
    places = _places(x, to, method, dim)
    if method == "fourier":
        spacing(spectra, dim)
    dtype = floating(spectra.dtype)
    (found,) = apply_over(
        spectra,
        resampled,
        [dim],
        output={dim: places.size},
        dtypes=[dtype],
        kwargs={"x": x, "places": places, "method": method, "dtype": dtype},
    )
    attrs = dict(spectra[dim].attrs) if dim in spectra.coords else {"units": ""}
    attrs["usid_role"] = "spectroscopic"
    found = found.assign_coords({dim: (dim, places, attrs)}).transpose(*spectra.dims)
    return found.assign_attrs(spectra.attrs).rename(spectra.name)


def resampled(
    block: Array, *, x: Array, places: Array, method: str, dtype: np.dtype[np.generic]
) -> Array:
    """Spectra, shape (..., n) over x, at other places, shape (..., m)."""
    values = block.astype(dtype, copy=False)
    if method == "fourier":
        from scipy.signal import resample as by_transform

        return np.asarray(by_transform(values, places.size, axis=-1), dtype)
    from scipy.interpolate import make_interp_spline

    up = slice(None, None, 1 if x[0] < x[-1] else -1)
    degree = 3 if method == "cubic" else 1
    n = x.size
    spline = make_interp_spline(
        x[up], values.reshape(-1, n)[:, up], k=degree, axis=-1, check_finite=False
    )
    found = np.asarray(spline(places), dtype).reshape(*block.shape[:-1], places.size)
    found[np.isnan(values.sum(-1))] = np.nan
    return found


def _places(x: Array, to: int | Sequence[float], method: str, dim: str) -> Array:
    """Where the new samples are."""
    fewest = 4 if method == "cubic" else 2
    steps = np.diff(x)
    if x.size < fewest or not (np.all(steps > 0) or np.all(steps < 0)):
        raise PlanError(
            f"{dim!r} must have {fewest} values or more for {method!r}, which go up or down "
            f"throughout; it has {x.size}"
        )
    if isinstance(to, (int, np.integer)):
        if to < 1:
            raise PlanError(f"to={to} samples must be 1 or more")
        if method == "fourier":
            return np.asarray(x[0] + np.arange(to) * (steps.mean() * x.size / to))
        return np.linspace(x[0], x[-1], to)
    places = np.asarray(to, float)
    inside = (places >= x.min()) & (places <= x.max())
    if method == "fourier" or places.ndim != 1 or not places.size or not inside.all():
        raise PlanError(
            f"samples must be within {dim!r}, which goes from {x.min():.6g} to {x.max():.6g}, and "
            "'fourier' takes their number"
        )
    return places
