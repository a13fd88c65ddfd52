"""Detectors of frames: sums of pixels that masks weigh, as matrix products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from usidx.arrays.apply import apply_over, floating, frame_dims, values_along
from usidx.errors import PlanError
from usidx.model.dimension import Array
from usidx.step import register, step
from usidx.steps.sparse_masks import sparse_rows, sparse_sums

# Multiplications in one product. OpenBLAS starts threads for larger ones, which get in the way of
# those that work on other frames.
_MOST = 2**18
_ROWS = 256
Over = Sequence[str] | None


@register
@step("Masks", version="1", per_position=True)
def apply_masks(data: xr.DataArray, *, masks: Any, over: Over = None) -> xr.DataArray:
    r"""Each frame as seen by detectors, :math:`s_m = \sum_p w_{mp} d_p` over its pixels p.

    All masks are applied at once, as one matrix product for a block of frames (A. Clausen et al.,
    J. Open Source Softw. 5, 2006, 2020). A frame with a NaN has NaN in every sum. Masks that are
    sparse stay so: only the pixels that they weigh are multiplied, and only a NaN among these
    counts.

    Parameters
    ----------
    data : frames of any numeric dtype, lazily
    masks : weights of pixels, real or complex, shape (v, u) or (mask, v, u): a DataArray with the
        two dimensions of the frames and at most one more, or an ndarray. Sparse ones are a
        `sparse.COO`, or a `scipy.sparse` array, shape (v, u) or (mask, v * u); or a mapping of
        "coords", shape (2 or 3, n), "data", shape (n,), and "shape", which a result group can hold
    over : the two dimensions of frames; may be left out where there are no other spectroscopic ones

    Returns
    -------
    DataArray : the last dimension in the place of frames, "Mask" unless `masks` names it; without
        it for a single mask. In the units of the source; float32 where 32 bits hold the values

    Raises
    ------
    PlanError : for masks of another shape than the frames, or dimensions that are not there

    Examples
    --------
    >>> frames = xr.DataArray(np.arange(18).reshape(2, 3, 3), dims=("X", "ky", "kx"))
    >>> apply_masks(frames, masks=[np.ones((3, 3)), np.eye(3)], over=["ky", "kx"]).values
    array([[ 36.,  12.],
           [117.,  39.]])
    """
    dims = frame_dims(data, over)
    weights, coordinate = _weights(data, masks, dims)
    if coordinate is None:
        return _summed(data, weights[0], dims)
    dim = str(coordinate.dims[0])
    (found,) = apply_over(
        data,
        masked_sums,
        dims,
        output={dim: weights.shape[0]},
        dtypes=[_dtype(data, weights)],
        kwargs={"masks": weights},
    )
    return found.assign_coords({dim: coordinate}).assign_attrs(data.attrs).rename(data.name)


@register
@step("Disk_Detector", version="1", per_position=True)
def disk_detector(
    data: xr.DataArray,
    *,
    radius: float,
    center: Sequence[float] | None = None,
    over: Over = None,
) -> xr.DataArray:
    r"""Sum of each frame's pixels within a circle: bright field.

    :math:`s = \sum_p d_p` over pixels with :math:`|k_p - c| \le r`.

    Parameters
    ----------
    data : frames of any numeric dtype, lazily
    radius : of the circle, in units of the frame's dimensions
    center : along both dimensions, in their units; the middle of the frame when left out
    over : the two dimensions of frames; may be left out where there are no other spectroscopic ones

    Returns
    -------
    DataArray : without the dimensions of frames, in the units of the source

    Raises
    ------
    PlanError : where no pixel is within the circle, or a dimension is not there

    Examples
    --------
    >>> frames = xr.DataArray(np.ones((2, 5, 5)), dims=("X", "ky", "kx"))
    >>> disk_detector(frames, radius=1, over=["ky", "kx"]).values
    array([5., 5.])
    """
    return ring_detector.function(data, inner=0.0, outer=radius, center=center, over=over)


@register
@step("Ring_Detector", version="1", per_position=True)
def ring_detector(
    data: xr.DataArray,
    *,
    inner: float,
    outer: float,
    center: Sequence[float] | None = None,
    over: Over = None,
) -> xr.DataArray:
    r"""Sum of each frame's pixels within a ring: annular dark field.

    :math:`s = \sum_p d_p` over pixels with :math:`r_{inner} \le |k_p - c| \le r_{outer}`.

    Parameters
    ----------
    data : frames of any numeric dtype, lazily
    inner, outer : radii, in units of the frame's dimensions
    center : along both dimensions, in their units; the middle of the frame when left out
    over : the two dimensions of frames; may be left out where there are no other spectroscopic ones

    Returns
    -------
    DataArray : without the dimensions of frames, in the units of the source

    Raises
    ------
    PlanError : where no pixel is within the ring, or a dimension is not there

    Examples
    --------
    >>> frames = xr.DataArray(np.ones((2, 5, 5)), dims=("X", "ky", "kx"))
    >>> ring_detector(frames, inner=1, outer=1.5, over=["ky", "kx"]).values
    array([8., 8.])
    """
    dims = frame_dims(data, over)
    distance = radii(data, dims, center)
    # as wide as rounding makes the distance of a pixel that lies on the edge
    slack = 1e-9 * float(distance.max())
    inside = (distance >= inner - slack) & (distance <= outer + slack)
    if not inside.any():
        raise PlanError(
            f"no pixel of {' x '.join(dims)} is between {inner} and {outer} of the center; the "
            f"nearest is at {distance.min():.6g}, the furthest at {distance.max():.6g}"
        )
    return _summed(data, inside.astype(np.float32).ravel(), dims)


@register
@step("Point_Detector", version="1", per_position=True)
def point_detector(data: xr.DataArray, *, at: Sequence[float], over: Over = None) -> xr.DataArray:
    """The one pixel of each frame that is nearest to a point.

    Parameters
    ----------
    data : frames of any dtype, lazily
    at : along both dimensions of frames, in their units
    over : the two dimensions of frames; may be left out where there are no other spectroscopic ones

    Returns
    -------
    DataArray : without the dimensions of frames, in the dtype and units of the source

    Raises
    ------
    PlanError : for a point outside of the frame, or a dimension that is not there

    Examples
    --------
    >>> frames = xr.DataArray(np.arange(18).reshape(2, 3, 3), dims=("X", "ky", "kx"))
    >>> point_detector(frames, at=[1.1, 2], over=["ky", "kx"]).values
    array([ 5, 14])
    """
    dims = frame_dims(data, over)
    place = {}
    for dim, value in zip(dims, _pair(at, "at", dims), strict=True):
        values = values_along(data, dim)
        reach = np.abs(np.diff(values)).max() / 2 if values.size > 1 else np.inf
        if not values.min() - reach <= value <= values.max() + reach:
            raise PlanError(
                f"{value} is outside of {dim!r}, which goes from {values.min():.6g} to "
                f"{values.max():.6g}"
            )
        place[dim] = int(np.abs(values - value).argmin())
    return data.isel(place, drop=True)


def radii(data: xr.DataArray, dims: Sequence[str], center: Sequence[float] | None) -> Array:
    """The distance of each pixel of a frame from a center.

    Parameters
    ----------
    dims : of frames, slowest first
    center : along both, in their units; the middle when None

    Returns
    -------
    ndarray, shape (v, u), float64, in the units of the dimensions
    """
    v, u = (values_along(data, dim) for dim in dims)
    middle = (v.min() + v.max()) / 2, (u.min() + u.max()) / 2
    y, x = middle if center is None else _pair(center, "center", dims)
    distance: Array = np.hypot((v - y)[:, np.newaxis], u - x)
    return distance


def masked_sums(block: Array, *, masks: Any) -> Array:
    """The sums of frames that masks weigh.

    Parameters
    ----------
    block : ndarray, shape (..., v, u)
    masks : ndarray, shape (n, v * u), or (v * u,) for a single one; or scipy.sparse, shape
        (n, v * u)

    Returns
    -------
    ndarray, shape (..., n), or (...) for a single mask; floating or complex
    """
    dtype = np.result_type(floating(block.dtype), masks.dtype)
    if not isinstance(masks, np.ndarray):
        return sparse_sums(block, masks, dtype)
    weights = np.atleast_2d(masks).astype(dtype, copy=False)
    n, pixels = weights.shape
    frames = block.reshape(-1, pixels)
    found = np.empty((frames.shape[0], n), dtype)
    for start in range(0, frames.shape[0], _ROWS):
        some = frames[start : start + _ROWS]
        # In pieces of pixels: they are converted in the cache, and rounding adds up less.
        length = max(64, _MOST // (n * max(1, some.shape[0])))
        total = np.zeros((some.shape[0], n), np.result_type(dtype, np.float64))
        for first in range(0, pixels, length):
            part = slice(first, first + length)
            total += some[:, part].astype(dtype, copy=False) @ weights[:, part].T
        found[start : start + _ROWS] = total
    return np.asarray(found.reshape(block.shape[:-2] + masks.shape[:-1]))


def _summed(data: xr.DataArray, mask: Array, dims: Sequence[str]) -> xr.DataArray:
    (found,) = apply_over(
        data, masked_sums, dims, dtypes=[_dtype(data, mask)], kwargs={"masks": mask}
    )
    return found.assign_attrs(data.attrs).rename(data.name)


def _dtype(data: xr.DataArray, weights: Array) -> np.dtype[Any]:
    return np.result_type(floating(data.dtype), weights.dtype)


def _weights(
    data: xr.DataArray, masks: Any, dims: Sequence[str]
) -> tuple[Any, xr.DataArray | None]:
    """(masks in rows, the coordinate that counts them; None for a single mask)."""
    shape = tuple(data.sizes[dim] for dim in dims)
    sparse = sparse_rows(masks, shape)
    if sparse is not None:
        return sparse, _numbers(sparse.shape[0])
    coordinate = None
    if isinstance(masks, xr.DataArray):
        others = [str(dim) for dim in masks.dims if dim not in dims]
        if len(others) > 1 or any(dim not in masks.dims for dim in dims):
            raise PlanError(
                f"masks have the dimensions {', '.join(map(str, masks.dims))}; they need "
                f"{' and '.join(dims)}, and at most one more"
            )
        masks = masks.transpose(*others, *dims)
        coordinate = masks[others[0]] if others else None
    values = np.asarray(masks)
    if values.shape[-2:] != shape or values.ndim not in (2, 3):
        raise PlanError(
            f"masks of shape {values.shape} do not fit frames of {' x '.join(dims)}, {shape}; "
            f"give {shape}, or (number of masks, {shape[0]}, {shape[1]})"
        )
    if values.dtype.kind == "f" and values.dtype != np.float32:
        single = values.astype(np.float32)
        # 0, 1 and the like need no more than 32 bits
        values = single if np.array_equal(single, values) else values
    if values.dtype.kind not in "fc":
        values = values.astype(np.float32)
    if values.ndim == 3 and coordinate is None:
        coordinate = _numbers(values.shape[0])
    if coordinate is not None:
        coordinate = coordinate.reset_coords(drop=True)
        coordinate = coordinate.assign_attrs(coordinate.attrs, usid_role="spectroscopic")
    return values.reshape(-1, shape[0] * shape[1]), coordinate


def _numbers(count: int) -> xr.DataArray:
    attrs = {"usid_role": "spectroscopic"}
    return xr.DataArray(np.arange(count), dims="Mask", name="Mask", attrs=attrs)


def _pair(values: Sequence[float], name: str, dims: Sequence[str]) -> tuple[float, float]:
    try:
        first, second = (float(each) for each in values)
    except (TypeError, ValueError) as error:
        raise PlanError(
            f"{name}={values!r} must be two numbers, along {dims[0]!r} and {dims[1]!r}"
        ) from error
    return first, second
