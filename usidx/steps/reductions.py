"""Numbers that stand for whole spectra or maps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import xarray as xr

from usidx.arrays.apply import apply_over, check_dims, check_values, floating, spectral_dim
from usidx.arrays.roles import known_roles
from usidx.errors import OptionError, PlanError, did_you_mean
from usidx.model.dimension import Array
from usidx.step import register, step

_STATISTICS = ("Mean", "Standard Deviation", "Minimum", "Maximum")
# Values of which statistics are made at once, so that they stay in the cache.
_AT_ONCE = 2**17
REDUCTIONS = ("mean", "sum", "std", "var", "min", "max", "median")


@register
@step("Peak_Response", version="2", per_position=True)
def peak_response(spectra: xr.DataArray, *, along: str | None = None) -> xr.DataArray:
    r"""The largest magnitude of each spectrum, :math:`\max_s |d(s)|`.

    Parameters
    ----------
    spectra : values of any real or complex dtype, lazily; NaN counts as missing
    along : spectroscopic dimension; may be left out where there is only one

    Returns
    -------
    DataArray : without the dimension `along`, real, ints without sign, in the units of the source

    Raises
    ------
    PlanError : where there is no such dimension

    Examples
    --------
    >>> spectra = xr.DataArray([[1, -5, 2], [0, 3, 1]], dims=("X", "Bias"))
    >>> peak_response(spectra, along="Bias").values
    array([5, 3], dtype=uint64)
    """
    dim = spectral_dim(spectra, along)
    check_values(spectra)
    size = abs(spectra)
    if size.dtype.kind == "i":  # the lowest one has no counterpart above 0 but without a sign
        size = size.astype(size.dtype.str.replace("i", "u"))
    return size.max(dim).assign_attrs(spectra.attrs)


@register
@step("Mean", version="1")
def mean(data: xr.DataArray, *, over: str | Sequence[str] | None = None) -> xr.DataArray:
    r"""The arithmetic mean :math:`\frac{1}{n} \sum d` over dimensions, NaN left out.

    Parameters
    ----------
    data : values of any numeric dtype, lazily
    over : one or several dimensions, positions too; all spectroscopic ones when left out

    Returns
    -------
    DataArray : without the dimensions `over`, in the units of the source

    Raises
    ------
    PlanError : where there is no such dimension

    Examples
    --------
    >>> mean(xr.DataArray([[1.0, 2.0], [3.0, 5.0]], dims=("X", "Bias")), over="X").values
    array([2. , 3.5])
    """
    dims = _reduced(data, over)
    cut = data.chunks is None or any(len(data.chunksizes[dim]) > 1 for dim in dims)
    if cut or data.dtype.kind not in "fc":
        return data.mean(dims).assign_attrs(data.attrs)
    (found,) = apply_over(data, mean_of, dims, dtypes=[data.dtype], kwargs={"n_axes": len(dims)})
    return found.assign_attrs(data.attrs)


def mean_of(block: Array, *, n_axes: int) -> Array:
    """Means over the last axes of a block, NaN left out.

    Parameters
    ----------
    block : ndarray, floating or complex
    n_axes : how many axes
    """
    axes = tuple(range(block.ndim - n_axes, block.ndim))
    found = np.asarray(block.mean(axis=axes))
    # Looking for NaN beforehand would cost more than the mean: it shows in the mean.
    missing = np.isnan(found)
    if missing.any():
        there = ~np.isnan(block)
        with np.errstate(invalid="ignore"):
            found = np.asarray(block.sum(axis=axes, where=there) / there.sum(axis=axes))
    return found.astype(block.dtype, copy=False)


@register
@step("Statistics", version="2")
def statistics(data: xr.DataArray, *, over: str | Sequence[str] | None = None) -> xr.Dataset:
    r"""Mean, standard deviation, minimum and maximum over dimensions, NaN left out.

    The standard deviation is that of the values at hand, :math:`\sqrt{\frac{1}{n} \sum (d -
    \bar d)^2}`.

    Parameters
    ----------
    data : real values, lazily
    over : one or several dimensions, positions too; all spectroscopic ones when left out

    Returns
    -------
    Dataset : "Mean", "Standard Deviation", "Minimum" and "Maximum", without the dimensions `over`,
        in the units of the source

    Raises
    ------
    PlanError : for complex values, which have no order, or a dimension that is not there

    Examples
    --------
    >>> found = statistics(xr.DataArray([[1.0, 3.0], [5.0, 5.0]], dims=("X", "Bias")), over="Bias")
    >>> found["Standard Deviation"].values
    array([1., 0.])
    """
    if data.dtype.kind == "c":
        raise PlanError(
            "complex values have no minimum and maximum; take statistics of abs(data), data.real "
            "or data.imag"
        )
    dims = _reduced(data, over)
    cut = data.chunks is not None and any(len(data.chunksizes[dim]) > 1 for dim in dims)
    found: tuple[xr.DataArray, ...]
    if cut or not data.size:
        found = (data.mean(dims), data.std(dims), data.min(dims), data.max(dims))
    else:
        # one for all: of floats where the data are ints
        dtypes = [np.ones(1, data.dtype).mean().dtype] * len(_STATISTICS)
        n_axes = {"n_axes": len(dims)}
        found = apply_over(data, statistics_of, dims, dtypes=dtypes, kwargs=n_axes)
    fields = {
        name: each.astype(found[0].dtype).assign_attrs(data.attrs, quantity=name)
        for name, each in zip(_STATISTICS, found, strict=True)
    }
    quantity = str(data.attrs.get("quantity", "")) or "Values"
    return xr.Dataset(fields).assign_attrs(
        quantity=f"Statistics of {quantity}", units=data.attrs.get("units", "")
    )


def statistics_of(block: Array, *, n_axes: int) -> tuple[Array, ...]:
    """Mean, standard deviation, minimum and maximum over the last axes of a block, NaN left out.

    Some rows at a time, so that what is made on the way is small beside the block.

    Parameters
    ----------
    block : ndarray, real
    n_axes : how many axes
    """
    loop = block.shape[: block.ndim - n_axes]
    rows = block.reshape(math.prod(loop), -1)
    dtype = np.ones(1, block.dtype).mean().dtype
    found = np.empty((len(_STATISTICS), rows.shape[0]), dtype)
    step = max(1, _AT_ONCE // max(1, rows.shape[1]))
    for start in range(0, rows.shape[0], step):
        part = rows[start : start + step]
        values = part.astype(floating(dtype), copy=False)
        mean = mean_of(values, n_axes=1)
        away = values - mean[:, np.newaxis]
        spread = np.sqrt(mean_of(np.square(away, out=away), n_axes=1))
        least, most = np.fmin.reduce(part, axis=1), np.fmax.reduce(part, axis=1)
        found[:, start : start + step] = mean, spread, least, most
    return tuple(each.reshape(loop) for each in found)


@register
@step("Reduce", version="2")
def reduce(
    data: xr.DataArray,
    *,
    how: Literal["mean", "sum", "std", "var", "min", "max", "median"],
    over: str | Sequence[str] | None = None,
) -> xr.DataArray:
    r"""One number for all values along dimensions, by the name of the reduction, NaN left out.

    Of n values d: "mean" :math:`\bar d = \frac{1}{n} \sum d`, "sum" :math:`\sum d`, "var"
    :math:`\frac{1}{n} \sum |d - \bar d|^2` and "std" its root, "min", "max", and "median", for
    which the dimensions are taken whole. NaN where all are NaN.

    Parameters
    ----------
    data : values of any numeric dtype, lazily; real ones for "min", "max" and "median"
    how : see above
    over : one or several dimensions, positions too; all spectroscopic ones when left out

    Returns
    -------
    DataArray : without the dimensions `over`, in the units of the source, squared for "var"

    Raises
    ------
    PlanError : for complex values that have no order, or a dimension that is not there
    OptionError : for another reduction

    Examples
    --------
    >>> data = xr.DataArray([[1.0, 2.0], [3.0, 5.0]], dims=("X", "Bias"))
    >>> reduce(data, how="max", over="X").values
    array([3., 5.])
    """
    if how not in REDUCTIONS:
        raise OptionError(
            f"how={how!r} is none of {', '.join(REDUCTIONS)}{did_you_mean(str(how), REDUCTIONS)}"
        )
    if how == "mean":
        return mean.function(data, over=over)
    if data.dtype.kind == "c" and how in ("min", "max", "median"):
        raise PlanError(f"complex values have no {how}; take that of abs(data), .real or .imag")
    dims = _reduced(data, over)
    whole = data.chunk(dict.fromkeys(dims, -1)) if how == "median" and data.chunks else data
    if how == "sum" and data.dtype.kind in "fc":
        found = _sum(data.astype(floating(data.dtype), copy=False), dims)
    else:
        found = getattr(whole, how)(dims)
    unit = str(data.attrs.get("units", ""))
    units = f"({unit})^2" if how == "var" and unit else unit
    return found.assign_attrs(data.attrs, units=units)


@register
@step("Sum", version="2")
def sum(data: xr.DataArray, *, over: str | Sequence[str] | None = None) -> xr.DataArray:
    r"""The sum :math:`\sum d` over dimensions, NaN left out; NaN where there is nothing else.

    Over frames, a detector of all pixels; over the positions of a map, the pattern of all of it.

    Parameters
    ----------
    data : values of any numeric dtype, lazily
    over : one or several dimensions, positions too; all spectroscopic ones when left out

    Returns
    -------
    DataArray : without the dimensions `over`, in the units of the source

    Raises
    ------
    PlanError : where there is no such dimension

    Examples
    --------
    >>> sum(xr.DataArray([[1.0, 2.0], [3.0, 5.0]], dims=("X", "Bias")), over="X").values
    array([4., 7.])
    """
    return reduce.function(data, how="sum", over=over)


@register
@step("Stddev", version="1")
def stddev(data: xr.DataArray, *, over: str | Sequence[str] | None = None) -> xr.DataArray:
    r"""The standard deviation :math:`\sqrt{\frac{1}{n} \sum |d - \bar d|^2}`, NaN left out.

    Parameters
    ----------
    data : values of any numeric dtype, lazily
    over : one or several dimensions, positions too; all spectroscopic ones when left out

    Returns
    -------
    DataArray : without the dimensions `over`, in the units of the source

    Raises
    ------
    PlanError : where there is no such dimension

    Examples
    --------
    >>> stddev(xr.DataArray([[1.0, 3.0], [5.0, 5.0]], dims=("X", "Bias")), over="Bias").values
    array([1., 0.])
    """
    return reduce.function(data, how="std", over=over)


def _sum(data: xr.DataArray, dims: list[str]) -> xr.DataArray:
    if data.chunks is None or any(len(data.chunksizes[dim]) > 1 for dim in dims):
        return data.sum(dims, min_count=1)
    (found,) = apply_over(data, sum_of, dims, dtypes=[data.dtype], kwargs={"n_axes": len(dims)})
    return found


def sum_of(block: Array, *, n_axes: int) -> Array:
    """Sums over the last axes of a block, NaN left out; NaN where there is nothing else.

    Parameters
    ----------
    block : ndarray, floating or complex
    n_axes : how many axes
    """
    axes = tuple(range(block.ndim - n_axes, block.ndim))
    found = np.asarray(block.sum(axis=axes))
    missing = np.isnan(found)
    if missing.any():
        there = ~np.isnan(block)
        found = np.asarray(block.sum(axis=axes, where=there))
        found = np.where(there.any(axis=axes), found, np.nan)
    return found.astype(block.dtype, copy=False)


def _reduced(data: xr.DataArray, over: str | Sequence[str] | None) -> list[str]:
    if over is None:
        dims = [dim for dim, role in known_roles(data).items() if role != "position"]
        if not dims:
            raise PlanError("there is no spectroscopic dimension left; say over=... which ones")
        check_values(data)
        return dims
    dims = [over] if isinstance(over, str) else list(over)
    check_dims(data, dims)
    check_values(data)
    return dims
