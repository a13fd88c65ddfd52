"""What a detector and a scan add to measured values, taken away."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import xarray as xr

from usidx.arrays.apply import apply_over, check_dims, check_values, floating, values_along
from usidx.arrays.roles import known_roles
from usidx.errors import OptionError, PlanError
from usidx.model.dimension import Array
from usidx.step import register, step


@register
@step("Flat_Field", version="2", per_position=True)
def flat_field(
    raw: xr.DataArray,
    *,
    flat: xr.DataArray,
    dark: xr.DataArray | None = None,
    time: str | None = None,
) -> xr.DataArray:
    r"""Values over those of the empty field, without what the detector gives in the dark.

    .. math:: c = \frac{d_{raw} - d_{dark}}{d_{flat} - d_{dark}}

    NaN where the flat is as dark as the dark. Flats that were taken now and then are interpolated
    in time, on a straight line from one to the next; before the first and after the last, these
    count.

    Parameters
    ----------
    raw : real values, lazily
    flat, dark : Mains of the same spectra or frames; of as many positions as `raw`, which belong to
        each other, or of any others, over which the mean is taken
    time : a coordinate of `raw` along one dimension, and of `flat` or `dark` or both, which says
        when each was taken; those that do not have it are taken as above

    Returns
    -------
    DataArray : of the shape and labels of `raw`, without units; float32 where 32 bits hold it

    Raises
    ------
    PlanError : for a flat or dark with other spectra or frames than `raw`, or a time that `raw` and
        at least one of them do not have

    Examples
    --------
    >>> raw = xr.DataArray([[3.0, 5.0], [2.0, 9.0]], dims=("X", "u"))
    >>> flat = xr.DataArray([5.0, 9.0], dims="u")
    >>> flat_field(raw, flat=flat, dark=xr.DataArray([1.0, 1.0], dims="u")).values
    array([[0.5 , 0.5 ], [0.25, 1. ]])
    """
    dtype = floating(raw.dtype)
    above = raw.astype(dtype)
    if time is not None:
        _check_time(time, raw, flat, dark)
    white = _fitting(raw, flat, "flat", time)
    if dark is not None:
        black = _fitting(raw, dark, "dark", time)
        above, white = above - black, white - black
    found = above / white.where(white != 0)
    found = found.transpose(*raw.dims).assign_coords(raw.coords)
    return found.assign_attrs(raw.attrs, units="").rename(raw.name)


def _check_time(time: str, raw: xr.DataArray, *others: xr.DataArray | None) -> None:
    theirs = [each for each in others if each is not None and time in each.coords]
    for each in (raw, *theirs):
        if time not in each.coords or each.coords[time].ndim != 1 or not theirs:
            raise PlanError(
                f"time={time!r} must be a coordinate along one dimension of raw, and of flat or "
                f"dark; raw has {', '.join(map(str, raw.coords)) or 'no coordinates'}"
            )


def _fitting(raw: xr.DataArray, other: xr.DataArray, name: str, time: str | None) -> xr.DataArray:
    """Another Main in the dtype of the result, without coordinates, for every value of `raw`."""
    dtype = floating(raw.dtype)
    if time is None or time not in other.coords:
        return _alike(raw, other, name).astype(dtype)
    (own,), (dim,) = other.coords[time].dims, raw.coords[time].dims
    order = np.argsort(other.coords[time].values, kind="stable")
    when = np.asarray(other.coords[time].values, float)[order]
    now = np.asarray(raw.coords[time].values, float)
    after = np.clip(np.searchsorted(when, now), 1, max(1, when.size - 1))
    first, second = after - 1, np.minimum(after, when.size - 1)
    apart = np.where(when[second] > when[first], when[second] - when[first], 1)
    later = np.clip((now - when[first]) / apart, 0, 1)
    each = other.rename({own: dim}) if own != dim else other
    each = each.drop_vars([name for name, its in each.coords.items() if dim in its.dims])
    parts = [
        each.isel({dim: order[places]}).astype(dtype)
        * xr.DataArray(weight.astype(dtype), dims=str(dim))
        for places, weight in ((first, 1 - later), (second, later))
    ]
    return _alike(raw, parts[0] + parts[1], name)


def _alike(raw: xr.DataArray, other: xr.DataArray, name: str) -> xr.DataArray:
    """Another Main without coordinates, so that it is computed with `raw` by place."""
    positions = {dim for dim, role in known_roles(raw).items() if role == "position"}
    roles = known_roles(other)
    own = [dim for dim, role in roles.items() if role == "position" or dim in positions]
    same = all(other.sizes[dim] == raw.sizes.get(dim) for dim in own)
    bare = other.drop_vars(list(other.coords))
    bare = bare if same else bare.mean(own)
    wrong = [f"{dim} {size}" for dim, size in bare.sizes.items() if raw.sizes.get(str(dim)) != size]
    if wrong:
        has = ", ".join(f"{dim} {size}" for dim, size in raw.sizes.items())
        raise PlanError(f"{name} has {', '.join(wrong)}, which does not fit raw: {has}")
    return bare


@register
@step("Destripe", version="1")
def destripe(
    data: xr.DataArray, *, along: str, method: Literal["median", "mean"] = "median"
) -> xr.DataArray:
    r"""Maps whose lines are all at the same level.

    The median (or mean) of each line is taken away, and the mean of these over the map is added
    again: :math:`c_{yx} = d_{yx} - m_y + \bar m`. So offsets between the lines of a scan go, and
    any slope across the lines with them. NaN is left out.

    Parameters
    ----------
    data : real values over a map, lazily; every spectroscopic value is a map of its own
    along : the dimension along the lines, the fast one of the scan
    method : "median", which a few high features in a line do not move, or "mean"

    Returns
    -------
    DataArray : of the same shape, labels and units

    Raises
    ------
    PlanError : for a dimension that is no position of a grid, or complex values
    OptionError : for another method

    Examples
    --------
    >>> heights = xr.DataArray([[1.0, 2, 3], [11, 12, 13]], dims=("Y", "X"))
    >>> heights = heights.usid.assign_roles(["Y", "X"])
    >>> destripe(heights, along="X").values
    array([[6., 7., 8.], [6., 7., 8.]])
    """
    if method not in ("median", "mean"):
        raise OptionError(f"method={method!r} must be 'median' or 'mean'")
    check_dims(data, [along])
    maps = [dim for dim, role in known_roles(data).items() if role == "position"]
    if along not in maps or len(maps) < 2:
        raise PlanError(
            f"lines along {along!r} need a map; the positions are {', '.join(maps) or 'none'}"
        )
    if data.dtype.kind == "c":
        raise PlanError("complex values have no median; take destripe of data.real and data.imag")
    dtype = floating(data.dtype)
    (level,) = apply_over(
        data, levels, [along], dtypes=[dtype], kwargs={"method": method, "dtype": dtype}
    )
    others = [dim for dim in maps if dim != along]
    found = data.astype(dtype) - level.drop_vars(list(level.coords)) + _plain_mean(level, others)
    found = found.transpose(*data.dims).assign_coords(data.coords)
    return found.assign_attrs(data.attrs).rename(data.name)


@register
@step("Level", version="1")
def level(data: xr.DataArray | xr.Dataset, *, order: Literal[0, 1] = 1) -> Any:
    r"""Maps less the plane that comes nearest to them: of tilted samples, and of beams that wander.

    :math:`c_p = d_p - (a + b y_p + c x_p)` with a, b and c of least squares over the map, NaN left
    out; for `order` 0 only the mean. The regression of centers of mass takes away what the
    scan itself moves the beam by (A. Clausen et al., J. Open Source Softw. 5, 2006, 2020).

    Parameters
    ----------
    data : real or complex values over a map, grid or not, lazily; every spectroscopic value is a
        map of its own. A Dataset, such as that of `center_of_mass`, has each variable done
    order : 0 for the mean, 1 for the plane

    Returns
    -------
    DataArray or Dataset : as `data`, of the same shape, labels and units

    Raises
    ------
    PlanError : where there are no positions
    OptionError : for another order

    Examples
    --------
    >>> heights = xr.DataArray([[1.0, 2, 3], [11, 12, 13]], dims=("Y", "X"))
    >>> level(heights.usid.assign_roles(["Y", "X"])).values.round(9) + 0
    array([[0., 0., 0.], [0., 0., 0.]])
    """
    if order not in (0, 1):
        raise OptionError(f"order={order!r} must be 0 for the mean, or 1 for the plane")
    if isinstance(data, xr.Dataset):
        return data.map(level.function, keep_attrs=True, order=order)
    maps = [dim for dim, role in known_roles(data).items() if role == "position"]
    if not maps:
        raise PlanError("there is no map: no dimension is known as a position")
    check_values(data)
    dtype = floating(data.dtype)
    terms = _terms(data, maps, order)
    bare = data.drop_vars(list(data.coords)).astype(np.result_type(dtype, float))
    there = bare.notnull()
    square = xr.dot(terms, terms.rename(term="other"), there.astype(float), dim=maps)
    right = xr.dot(terms, bare.where(there, 0), dim=maps)
    plane = xr.apply_ufunc(
        solved,
        square,
        right,
        input_core_dims=[["term", "other"], ["term"]],
        output_core_dims=[["term"]],
        dask="parallelized",
        output_dtypes=[bare.dtype],
        dask_gufunc_kwargs={"allow_rechunk": True},
    )
    found = (bare - xr.dot(terms, plane, dim="term")).astype(dtype)
    found = found.transpose(*data.dims).assign_coords(data.coords)
    return found.assign_attrs(data.attrs).rename(data.name)


def solved(square: Array, right: Array) -> Array:
    """The least squares of normal equations, (..., n, n) and (..., n) -> (..., n)."""
    inverse = np.linalg.pinv(square, rcond=1e-12, hermitian=True)
    return np.asarray((inverse @ right[..., np.newaxis])[..., 0])


def _terms(data: xr.DataArray, maps: list[str], order: int) -> xr.DataArray:
    """1, and each coordinate of positions from -1 to 1, (term, *maps)."""
    one = xr.DataArray(np.ones([data.sizes[dim] for dim in maps]), dims=maps)
    terms = [one]
    along = {dim: [dim] for dim in maps}
    if maps == ["position"]:  # a list has coordinates of its own for each direction
        along = {
            "position": [
                str(name) for name, each in data.coords.items() if each.dims == ("position",)
            ]
        }
    for dim, names in along.items():
        for name in names:
            values = values_along(data, name) if name == dim else data.coords[name].values
            if order and np.issubdtype(values.dtype, np.number) and np.ptp(values) > 0:
                scaled = 2 * (values - values.min()) / np.ptp(values) - 1
                terms.append(one * xr.DataArray(scaled.astype(float), dims=dim))
    return xr.concat(terms, "term")


def levels(block: Array, *, method: str, dtype: np.dtype[np.generic]) -> Array:
    """The median or mean of each line, shape (..., n), NaN left out."""
    import warnings

    with warnings.catch_warnings():
        # a line of nothing but NaN is NaN
        warnings.simplefilter("ignore", RuntimeWarning)
        found = np.nanmedian(block, axis=-1) if method == "median" else np.nanmean(block, axis=-1)
    return np.asarray(found, dtype)


def _plain_mean(level: xr.DataArray, dims: list[str]) -> xr.DataArray:
    return level.drop_vars(list(level.coords)).mean(dims)
