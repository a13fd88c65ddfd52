"""Maps and frames made smoother, smaller, and free of what the detector adds."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr

from usidx.arrays.apply import check_dims, floating, spacing
from usidx.arrays.roles import known_roles
from usidx.errors import OptionError, PlanError
from usidx.model.dimension import Array
from usidx.step import register, step

# How many times as far as a dimension is long a Gaussian may reach.
_FURTHEST = 100
Over = Sequence[str] | None


@register
@step("Gaussian_Filter", version="1")
def gaussian_filter(
    data: xr.DataArray,
    *,
    sigma: float | Mapping[str, float],
    truncate: float = 4.0,
    over: Over = None,
) -> xr.DataArray:
    r"""Maps or frames smoothed by a Gaussian, :math:`g(x) \propto e^{-x^2 / 2 \sigma^2}`.

    Edges are mirrored (`scipy.ndimage.gaussian_filter`). Blocks get what they need of their
    neighbours. A NaN spreads as far as the Gaussian reaches.

    Parameters
    ----------
    data : real values, lazily
    sigma : standard deviation in units of the dimensions (in samples where they have no values),
        one for all or one for each by name
    truncate : where the Gaussian ends, in standard deviations
    over : evenly spaced dimensions; when left out those that `sigma` names, or else the positions
        of a map

    Returns
    -------
    DataArray : of the same shape, labels and units; float32 where 32 bits hold the values

    Raises
    ------
    PlanError : for scattered positions, uneven spacing, complex values, or a sigma that is not
        above 0

    Examples
    --------
    >>> spot = xr.DataArray(np.zeros((5, 5)), dims=("Y", "X"))
    >>> spot[2, 2] = 100
    >>> gaussian_filter(spot, sigma=0.5, over=["Y", "X"]).values[2].round()
    array([ 0., 8., 62., 8., 0.])
    """
    dims = _grid_dims(
        data, over if over is not None or not isinstance(sigma, Mapping) else list(sigma)
    )
    samples = {}
    for dim in dims:
        each = sigma.get(dim, 0) if isinstance(sigma, Mapping) else sigma
        if not each > 0 or not truncate > 0:
            raise PlanError(
                f"sigma={sigma!r} along {dim!r} and truncate={truncate} must be above 0"
            )
        samples[dim] = each / spacing(data, dim)
        if not truncate * samples[dim] <= _FURTHEST * max(1, data.sizes[dim]):
            raise PlanError(
                f"sigma={sigma!r} and truncate={truncate} reach over {truncate * samples[dim]:.3g} "
                f"samples of {dim!r}, which has {data.sizes[dim]}; take the mean over it instead"
            )
    reach = {dim: int(truncate * each + 0.5) for dim, each in samples.items()}
    return overlapping(
        data, _gaussian, reach, sigma=tuple(samples.values()), truncate=float(truncate)
    )


def _gaussian(block: Array, axes: tuple[int, ...], *, sigma: Any, truncate: float) -> Array:
    from scipy import ndimage

    found = ndimage.gaussian_filter(block, sigma, truncate=truncate, axes=axes)
    return np.asarray(found)


@register
@step("Median_Filter", version="2")
def median_filter(
    data: xr.DataArray, *, size: int | Mapping[str, int] = 3, over: Over = None
) -> xr.DataArray:
    r"""Maps or frames of which each value is the median of its neighbourhood.

    :math:`c_p = \mathrm{median}\, \{d_q : |q - p| \le n / 2\}`. Edges are mirrored
    (`scipy.ndimage.median_filter`). Blocks get what they need of their neighbours. Single values
    that stick out are gone, edges stay. NaN wherever the neighbourhood has a NaN.

    Parameters
    ----------
    data : real values, lazily
    size : samples of the neighbourhood, odd, one for all dimensions or one for each by name
    over : dimensions; when left out those that `size` names, or else the positions of a map

    Returns
    -------
    DataArray : of the same shape, dtype, labels and units

    Raises
    ------
    PlanError : for scattered positions, complex values, or a size that is not odd

    Examples
    --------
    >>> spot = xr.DataArray(np.zeros((5, 5)), dims=("Y", "X"))
    >>> spot[2, 2] = 100
    >>> float(median_filter(spot, size=3, over=["Y", "X"]).max())
    0.0
    """
    dims = _grid_dims(
        data, over if over is not None or not isinstance(size, Mapping) else list(size)
    )
    sizes = {dim: size.get(dim, 1) if isinstance(size, Mapping) else size for dim in dims}
    if any(each < 1 or each % 2 == 0 for each in sizes.values()):
        raise PlanError(f"size={size!r} must be odd, so that each value is in the middle")
    reach = {dim: each // 2 for dim, each in sizes.items()}
    return overlapping(data, _median, reach, keep=True, size=tuple(sizes.values()))


def _median(block: Array, axes: tuple[int, ...], *, size: tuple[int, ...]) -> Array:
    from scipy import ndimage

    whole = [1] * block.ndim
    for axis, each in zip(axes, size, strict=True):
        whole[axis] = each
    bad = np.isnan(block) if block.dtype.kind == "f" else np.zeros((), bool)
    if not bad.any():
        return np.asarray(ndimage.median_filter(block, size=tuple(whole)))
    # a NaN has no place in the order of values
    reach = ndimage.maximum_filter(bad.astype(np.uint8), size=tuple(whole)).astype(bool)
    found = ndimage.median_filter(np.where(bad, 0, block), size=tuple(whole))
    return np.where(reach, np.nan, found)


@register
@step("Crop", version="1")
def crop(data: xr.DataArray, *, to: Mapping[str, Sequence[float]]) -> xr.DataArray:
    """The part of a Main within ranges of its coordinates, both ends included.

    Parameters
    ----------
    data : any values, lazily
    to : {"X": (0, 1.5), "Frequency": (3e5, 3.2e5)}, in units of each coordinate, of positions (of
        scattered ones too) or spectra

    Returns
    -------
    DataArray : with fewer values, in the dtype and units of the source

    Raises
    ------
    PlanError : for names that are no coordinate along one dimension, or a range without values

    Examples
    --------
    >>> data = xr.DataArray([1, 2, 3, 4], dims="X", coords={"X": [3.0, 2, 1, 0]})
    >>> crop(data, to={"X": (1, 2)}).values
    array([2, 3])
    """
    kept: dict[str, Array] = {}
    for name, pair in to.items():
        if name not in data.coords or data.coords[name].ndim != 1:
            known = [str(each) for each, values in data.coords.items() if values.ndim == 1]
            raise PlanError(
                f"{name!r} is no coordinate along one dimension; those are "
                f"{', '.join(known) or 'none'}"
            )
        low, high = sorted(map(float, pair))
        values = np.asarray(data.coords[name].values)
        dim = str(data.coords[name].dims[0])
        kept[dim] = kept.get(dim, True) & (values >= low) & (values <= high)
        if not kept[dim].any():
            raise PlanError(
                f"nothing is left of {name!r} between {low:.6g} and {high:.6g}; it goes from "
                f"{values.min():.6g} to {values.max():.6g}"
            )
    return data.isel({dim: _slice_of(np.flatnonzero(each)) for dim, each in kept.items()})


def _slice_of(places: Array) -> slice | Array:
    first, last = int(places[0]), int(places[-1])
    return slice(first, last + 1) if last - first + 1 == places.size else places


@register
@step("Bin", version="1")
def bin(
    data: xr.DataArray, *, by: Mapping[str, int], how: Literal["mean", "sum"] = "mean"
) -> xr.DataArray:
    r"""Means, or sums, of neighbouring values: :math:`b_j = \frac{1}{n} \sum_{i=jn}^{jn+n-1} d_i`.

    Coordinates are the means of those of the values; what is left at the end is cut off.

    Parameters
    ----------
    data : values of any numeric dtype, lazily
    by : n for each dimension, {"ky": 2, "kx": 2}
    how : "mean" or "sum"

    Returns
    -------
    DataArray : with fewer values, in floating point for means, in the units of the source

    Raises
    ------
    PlanError : for dimensions that are not there or shorter than n, scattered positions included
    OptionError : for another way

    Examples
    --------
    >>> data = xr.DataArray([1.0, 3, 5, 9, 100], dims="X", coords={"X": [0.0, 1, 2, 3, 4]})
    >>> found = bin(data, by={"X": 2})
    >>> found.values, found.X.values
    (array([2., 7.]), array([0.5, 2.5]))
    """
    if how not in ("mean", "sum"):
        raise OptionError(f"how={how!r} must be 'mean' or 'sum'")
    dims = _grid_dims(data, list(by))
    for dim, each in by.items():
        if int(each) != each or not 1 <= each <= data.sizes[dim]:
            raise PlanError(
                f"by={each} along {dim!r} must be a whole number from 1 to {data.sizes[dim]}"
            )
    windows = {dim: int(by[dim]) for dim in dims}
    coarse = data.coarsen(windows, boundary="trim")
    found = coarse.mean() if how == "mean" else coarse.sum()
    if how == "mean":
        found = found.astype(floating(data.dtype))
    for dim in dims:  # xarray keeps the values of coordinates, but not what they are
        if dim in data.coords:
            found[dim].attrs = dict(data[dim].attrs)
    return found.assign_attrs(data.attrs).rename(data.name)


def overlapping(
    data: xr.DataArray,
    function: Callable[..., Array],
    reach: Mapping[str, int],
    *,
    keep: bool = False,
    **kwargs: Any,
) -> xr.DataArray:
    """Lazily what a filter makes of an array, whose blocks overlap by what it reaches.

    Parameters
    ----------
    function : (ndarray, axes of `reach`, **kwargs) -> ndarray of the same shape
    reach : samples that a value depends on to each side, by dimension
    keep : whether the dtype stays; else it becomes floating
    """
    if data.dtype.kind == "c":
        raise PlanError("this filter is for real values; filter data.real and data.imag")
    dtype = data.dtype if keep else floating(data.dtype)
    axes = tuple(data.dims.index(dim) for dim in reach)
    options = {"function": function, "axes": axes, "dtype": dtype, **kwargs}
    if data.chunks is None:
        return data.copy(data=_filtered(data.values, **options))
    import dask.array as da

    # blocks that are shorter than their reach are joined by dask, where there are others
    array = data.chunk({dim: -1 for dim, n in reach.items() if 2 * n >= data.sizes[dim]})
    cut = {
        axis: reach[dim]
        for dim, axis in zip(reach, axes, strict=True)
        if len(array.chunksizes[dim]) > 1
    }
    meta = np.empty((0,) * data.ndim, dtype)
    depth = {axis: cut.get(axis, 0) for axis in range(data.ndim)}
    lazy = da.map_overlap(
        functools.partial(_filtered, **options),
        array.data,
        depth=depth,
        boundary="none",
        meta=meta,
    )
    return data.copy(data=lazy)


def _filtered(
    block: Array, *, function: Any, axes: tuple[int, ...], dtype: np.dtype[Any], **kwargs: Any
) -> Array:
    inside = floating(dtype) if dtype.kind == "f" else dtype  # SciPy has no filters of 16 bits
    found = function(block.astype(inside, copy=False), axes, **kwargs)
    return np.asarray(found, dtype)


def _grid_dims(data: xr.DataArray, over: Over) -> list[str]:
    """The dimensions meant by `over`: those of a map when None."""
    roles = known_roles(data)
    dims = (
        [dim for dim, role in roles.items() if role == "position"] if over is None else list(over)
    )
    if not dims:
        raise PlanError("there is no map: no dimension is known as a position; say over=[...]")
    if "position" in dims and "position" in data.dims:
        raise PlanError(
            "the positions are a list without neighbours, and this needs a grid; open the Main in "
            "its N-D form where it has one"
        )
    check_dims(data, dims)
    return [dim for dim in dims if data.sizes[dim] > 1 or over is not None]
