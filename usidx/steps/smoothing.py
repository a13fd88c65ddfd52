"""Spectra made smoother."""

from __future__ import annotations

from typing import Literal

import numpy as np
import xarray as xr

from usidx.arrays.apply import spacing, spectral_dim, values_along
from usidx.errors import PlanError
from usidx.model.dimension import Array
from usidx.step import register, step
from usidx.steps.spectra import along_spectra, check_known, check_whole, units_per


@register
@step("Savgol", version="2", per_position=True)
def savgol(
    spectra: xr.DataArray,
    *,
    window: int,
    order: int = 2,
    derivative: int = 0,
    along: str | None = None,
) -> xr.DataArray:
    r"""Spectra in which each value is that of a polynomial fitted to its neighbours.

    Least squares of a polynomial over `window` samples, :math:`\min_a \sum_j (d_{i+j} - \sum_k a_k
    j^k)^2`; at the ends, that of the last full window (A. Savitzky and M. J. E. Golay, Anal. Chem.
    36, 1627, 1964; `scipy.signal.savgol_filter`). NaN wherever a window has a NaN.

    Parameters
    ----------
    spectra : real or complex values, lazily
    window : number of samples, odd
    order : of the polynomial, below `window`
    derivative : 0 for the values, 1 for the slope, 2 for the curvature
    along : evenly spaced spectroscopic dimension; may be left out where there is only one

    Returns
    -------
    DataArray : of the same shape and labels, in the units of the source, for derivatives per unit
        of `along`

    Raises
    ------
    PlanError : for a window that does not fit, uneven spacing, or a dimension that is not there

    Examples
    --------
    >>> spectra = xr.DataArray([[0.0, 1, 4, 9, 16]], dims=("X", "t"))
    >>> savgol(spectra, window=3, derivative=1, along="t").values.round(6)
    array([[0., 2., 4., 6., 8.]])
    """
    dim = spectral_dim(spectra, along)
    check_whole(window=window, order=order, derivative=derivative)
    size = spectra.sizes[dim]
    wrong = []
    if window % 2 == 0 or not 0 < window <= size:
        wrong.append(f"window={window} must be odd and at most the {size} samples of {dim!r}")
    if not 0 <= order < window:
        wrong.append(f"order={order} must be below window={window}")
    if not 0 <= derivative <= order:
        wrong.append(f"derivative={derivative} must be from 0 to order={order}")
    if wrong:
        raise PlanError(f"savgol cannot do this: {'; '.join(wrong)}")
    kwargs = {"window": window, "order": order, "derivative": derivative}
    delta = spacing(spectra, dim) * _direction(spectra, dim)
    found = along_spectra(spectra, savgol_of, dim, delta=delta, **kwargs)
    return found.assign_attrs(units=units_per(spectra, dim, derivative))


def savgol_of(block: Array, *, window: int, order: int, derivative: int, delta: float) -> Array:
    """Spectra, shape (..., n), smoothed by polynomials over `window` samples."""
    from scipy.signal import savgol_filter

    if not block.size:
        return block

    def smooth(values: Array) -> Array:
        found = savgol_filter(values, window, order, deriv=derivative, delta=delta, axis=-1)
        return np.asarray(found)

    kept, reach = without_gaps(block, window)
    if reach is not None:  # the ends are those of the polynomials of the first and last window
        half, bad = window // 2, ~np.isfinite(block)
        reach[..., : half + 1] |= bad[..., :window].any(-1, keepdims=True)
        reach[..., -half - 1 :] |= bad[..., -window:].any(-1, keepdims=True)
    found = smooth(kept.real) + 1j * smooth(kept.imag) if kept.dtype.kind == "c" else smooth(kept)
    return found if reach is None else np.where(reach, np.nan, found)


def without_gaps(block: Array, window: int) -> tuple[Array, Array | None]:
    """(spectra with 0 for what is not finite, where a window has such a value; None for nowhere).

    Filters carry a NaN on to all that comes after it, or stop.
    """
    from scipy import ndimage

    bad = ~np.isfinite(block)
    if not bad.any():
        return block, None
    reach = ndimage.maximum_filter1d(bad.astype(np.uint8), window, axis=-1).astype(bool)
    return np.where(bad, 0, block).astype(block.dtype), reach


@register
@step("Smooth", version="2", per_position=True)
def smooth(
    spectra: xr.DataArray,
    *,
    width: float,
    kind: Literal["gaussian", "mean", "median"] = "gaussian",
    along: str | None = None,
) -> xr.DataArray:
    r"""Spectra in which each value is an average of its neighbours.

    :math:`s_i = \sum_j g_{i-j} d_j`, with a Gaussian g of standard deviation `width`, or the mean
    or median of the samples within `width` around each. Ends are mirrored (`scipy.ndimage`). NaN
    wherever a NaN is within reach.

    Parameters
    ----------
    spectra : real values, lazily
    width : in units of `along` (in samples where it has no values)
    kind : "gaussian", "mean" or "median"
    along : evenly spaced spectroscopic dimension; may be left out where there is only one

    Returns
    -------
    DataArray : of the same shape, labels and units

    Raises
    ------
    PlanError : for complex values, a width that is not above 0, or a dimension that is not there
    OptionError : for another kind

    Examples
    --------
    >>> spectra = xr.DataArray([[0.0, 0, 3, 0, 0]], dims=("X", "t"))
    >>> smooth(spectra, width=3, kind="mean", along="t").values.round(6)
    array([[0., 1., 1., 1., 0.]])
    """
    dim = spectral_dim(spectra, along)
    check_known(kind, "kind", ("gaussian", "mean", "median"))
    if spectra.dtype.kind == "c":
        raise PlanError("smooth is for real values; take it of .real and .imag")
    if not 0 < width < np.inf:
        raise PlanError(f"width={width} must be above 0, in units of {dim!r}")
    samples = width / spacing(spectra, dim)
    if kind != "gaussian":
        samples = 2 * round((samples - 1) / 2) + 1  # odd: as many on the left as on the right
    return along_spectra(spectra, smoothed, dim, width=samples, kind=kind)


def smoothed(block: Array, *, width: float, kind: str) -> Array:
    """Spectra, shape (..., n), smoothed over `width` samples."""
    from scipy import ndimage

    if kind == "gaussian":
        return np.asarray(ndimage.gaussian_filter1d(block, width, axis=-1))
    samples = max(1, int(width))
    kept, reach = without_gaps(block, samples)
    if kind == "mean":
        found = ndimage.uniform_filter1d(kept, samples, axis=-1)
    else:
        found = ndimage.median_filter(kept, size=(1,) * (block.ndim - 1) + (samples,))
    return np.asarray(found if reach is None else np.where(reach, np.nan, found))


def _direction(spectra: xr.DataArray, dim: str) -> float:
    x = values_along(spectra, dim)
    return -1.0 if x.size > 1 and x[-1] < x[0] else 1.0
