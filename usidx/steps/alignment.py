"""Images that drifted from one to the next, and by how much."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import xarray as xr

from usidx.arrays.apply import (
    check_dims,
    check_values,
    floating,
    frame_dims,
    spacing,
    units_along,
    values_along,
)
from usidx.arrays.roles import known_roles
from usidx.errors import OptionError, PlanError
from usidx.model.dimension import Array
from usidx.step import register, step

Over = Sequence[str] | None


@register
@step("Drift", version="1")
def drift(
    data: xr.DataArray,
    *,
    along: str,
    over: Over = None,
    to: Literal["previous", "first"] = "previous",
    upsample: int = 10,
) -> xr.Dataset:
    r"""How far each image of a stack has moved since the first one.

    The shift between two images is where the inverse transform of the phase of
    :math:`\hat a \hat b^*` has its peak, found to 1 / `upsample` of a pixel (M. Guizar-Sicairos et
    al., Opt. Lett. 33, 156, 2008; `skimage.registration.phase_cross_correlation`). Shifts to the
    image before are added up, which follows images that change; those to the first one add up no
    errors. Images at several other values are taken together, by their mean.

    Parameters
    ----------
    data : real values, lazily; all must be finite
    along : the dimension of the stack: time, or the number of the image
    over : the two dimensions of images, evenly spaced; when left out, the map where `along` is
        spectroscopic, else the spectroscopic ones
    to : "previous" for the sum of the shifts from image to image, "first" for that to the first
    upsample : how many times finer than a pixel a shift is

    Returns
    -------
    Dataset : "Drift of Y" and "Drift of X" for images over Y and X, by `along`, in their units

    Raises
    ------
    PlanError : for complex values, uneven spacing, or dimensions that are not there
    OptionError : for another `to`

    Examples
    --------
    >>> first = np.random.default_rng(0).random((24, 32))
    >>> stack = xr.DataArray([first, np.roll(first, (2, -3), (0, 1))], dims=("Time", "Y", "X"))
    >>> found = drift(stack, along="Time", over=["Y", "X"])
    >>> found["Drift of Y"].values, found["Drift of X"].values
    (array([0., 2.]), array([ 0., -3.]))
    """
    dims = _image_dims(data, along, over)
    if to not in ("previous", "first"):
        raise OptionError(f"to={to!r} must be 'previous' or 'first'")
    moved = _moved(data, along, dims, to, upsample)
    fields = {}
    for n, dim in enumerate(dims):
        name = f"Drift of {dim}"
        each = moved.isel(axis=n, drop=True) * _step(data, dim)
        fields[name] = each.assign_attrs(quantity=name, units=units_along(data, dim))
    return xr.Dataset(fields).assign_attrs(quantity="Drift", units="compound")


@register
@step("Align", version="2")
def align(
    data: xr.DataArray,
    *,
    along: str,
    over: Over = None,
    to: Literal["previous", "first"] = "previous",
    upsample: int = 10,
    order: int = 1,
) -> xr.Dataset:
    """Images of a stack moved back to where the first one is, and how far they had moved.

    Rigidly, by the drift that `drift` finds, between pixels by splines (`scipy.ndimage.shift`).

    Parameters
    ----------
    data, along, over, to, upsample : as of `drift`
    order : of the splines, 0 for the nearest pixel, 1 for straight lines, to 5

    Returns
    -------
    Dataset : "Aligned", of the shape and units of `data`, NaN where an image did not reach;
        "Drift of Y" and "Drift of X" for images over Y and X, in their units

    Raises
    ------
    PlanError, OptionError : as of `drift`

    Examples
    --------
    >>> first = np.random.default_rng(0).random((24, 32))
    >>> stack = xr.DataArray([first, np.roll(first, (2, -3), (0, 1))], dims=("Time", "Y", "X"))
    >>> found = align(stack, along="Time", over=["Y", "X"])["Aligned"]
    >>> bool(np.allclose(found[1, :-2, 3:], first[:-2, 3:]))
    True
    """
    dims = _image_dims(data, along, over)
    if order not in range(6):
        raise OptionError(f"order={order} of the splines must be from 0 to 5")
    found = drift.function(data, along=along, over=dims, to=to, upsample=upsample)
    back = [found[f"Drift of {dim}"] / _step(data, dim) for dim in dims]
    dtype = floating(data.dtype)
    whole = data if data.chunks is None else data.chunk({along: 1} | dict.fromkeys(dims, -1))
    aligned = xr.apply_ufunc(
        shifted_back,
        whole.astype(dtype),
        *(each.drop_vars(list(each.coords)) for each in back),
        input_core_dims=[list(dims), [], []],
        output_core_dims=[list(dims)],
        dask="parallelized",
        output_dtypes=[dtype],
        kwargs={"order": order},
    )
    aligned = aligned.transpose(*data.dims).assign_coords(data.coords)
    quantity = str(data.attrs.get("quantity", "")) or "Aligned"
    attrs = {"quantity": quantity, "units": data.attrs.get("units", "")}
    return xr.Dataset({"Aligned": aligned.assign_attrs(attrs), **found.data_vars})


def shifts(images: Array, references: Array, *, upsample: int) -> Array:
    """How many pixels each image is away from its reference, (..., v, u) twice -> (..., 2)."""
    from skimage.registration import phase_cross_correlation

    shape = np.broadcast_shapes(images.shape, references.shape)
    pairs = [np.broadcast_to(each, shape).reshape(-1, *shape[-2:]) for each in (images, references)]
    found = np.zeros((len(pairs[0]), 2))
    for row, (image, reference) in enumerate(zip(*pairs, strict=True)):
        if not (np.isfinite(image).all() and np.isfinite(reference).all()):
            raise PlanError(
                "an image of the stack has values that are not finite, and where it lies cannot be "
                "told; crop them away, or fill them first, with array.fillna(...)"
            )
        back, _, _ = phase_cross_correlation(reference, image, upsample_factor=upsample)
        # 0, not -0; in 64 bits, where parts of a pixel add up to whole ones
        found[row] = 0.0 - np.round(np.asarray(back, float) * upsample) / upsample
    return found.reshape(*shape[:-2], 2)


def shifted_back(images: Array, down: Array, right: Array, *, order: int) -> Array:
    """Images, shape (..., v, u), moved back by pixels down and right, shape (...); NaN outside."""
    from scipy import ndimage

    # what rounding adds to a shift would leave nothing of the pixels at the edge
    moves = [each.round(6) for each in np.broadcast_arrays(down, right, images[..., 0, 0])[:2]]
    flat = images.reshape(-1, *images.shape[-2:])
    found = np.empty_like(flat)
    for row, (y, x) in enumerate(zip(*(each.ravel() for each in moves), strict=True)):
        ndimage.shift(flat[row], (-y, -x), found[row], order, mode="constant", cval=np.nan)
    return found.reshape(images.shape)


def _moved(
    data: xr.DataArray, along: str, dims: tuple[str, str], to: str, upsample: int
) -> xr.DataArray:
    """Pixels that each image has moved since the first one, (along, axis)."""
    others = [dim for dim in data.dims if dim not in (along, *dims)]
    if data.dtype.kind == "f":
        data = data.astype(floating(data.dtype), copy=False)
    images = data.mean(others) if others else data
    if images.chunks is not None:
        images = images.chunk({along: 1} | dict.fromkeys(dims, -1))
    bare = images.drop_vars(list(images.coords)).transpose(along, *dims)
    if to == "first":
        before = bare.isel({along: 0})
    else:  # the first one is its own
        before = bare.isel({along: np.maximum(np.arange(bare.sizes[along]) - 1, 0)})
    found: xr.DataArray = xr.apply_ufunc(
        shifts,
        bare,
        before,
        input_core_dims=[list(dims), list(dims)],
        output_core_dims=[["axis"]],
        dask="parallelized",
        output_dtypes=[float],
        dask_gufunc_kwargs={"output_sizes": {"axis": 2}},
        kwargs={"upsample": int(upsample)},
    )
    if found.chunks is not None:
        found = found.chunk({along: -1})
    found = found.cumsum(along) if to == "previous" else found
    kept = {name: each for name, each in data.coords.items() if each.dims == (along,)}
    return found.assign_coords(kept)


def _image_dims(data: xr.DataArray, along: str, over: Over) -> tuple[str, str]:
    """The dimensions of images, where everything else is in order."""
    check_dims(data, [along])
    check_values(data)
    if over is None:
        roles = known_roles(data)
        maps = [dim for dim, role in roles.items() if role == "position" and dim != along]
        over = maps if roles[along] != "position" and len(maps) == 2 else None
    dims = frame_dims(data, over)
    if along in dims or data.dtype.kind == "c":
        raise PlanError(
            f"images over {' and '.join(dims)} along {along!r} must be of real values "
            f"({data.dtype}), and {along!r} none of their dimensions"
        )
    for dim in dims:
        _step(data, dim)
    return dims


def _step(data: xr.DataArray, dim: str) -> float:
    """From one pixel to the next, in units of the dimension, below 0 where it goes down."""
    values = values_along(data, dim)
    return spacing(data, dim) * (-1 if values.size > 1 and values[-1] < values[0] else 1)
