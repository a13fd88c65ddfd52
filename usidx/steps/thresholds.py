"""What stands out of images: values above a threshold that they set themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import xarray as xr

from usidx.arrays.apply import apply_over, check_dims, check_values, real
from usidx.arrays.roles import known_roles
from usidx.errors import OptionError, PlanError, did_you_mean
from usidx.model.dimension import Array
from usidx.step import register, step

METHODS = ("otsu", "li", "yen", "isodata", "triangle", "minimum", "mean")


@register
@step("Threshold", version="1")
def threshold(
    data: xr.DataArray,
    *,
    method: Literal["otsu", "li", "yen", "isodata", "triangle", "minimum", "mean"] = "otsu",
    value: float | None = None,
    over: Sequence[str] | None = None,
) -> xr.Dataset:
    r"""Where images are above a threshold that parts them in two, and that threshold.

    "otsu" takes the t of the largest variance between both parts, :math:`\max_t n_<(t)\, n_>(t)\,
    (m_<(t) - m_>(t))^2` with numbers n and means m (N. Otsu, IEEE Trans. Syst. Man Cybern. 9, 62,
    1979); the others are those of `skimage.filters.threshold_...`. NaN is not above, and left out.

    Parameters
    ----------
    data : real values, lazily
    method : "otsu", "li", "yen", "isodata", "triangle", "minimum" or "mean"
    value : a threshold for all, in units of the source, in the place of a method
    over : dimensions of images, each of which has a threshold of its own; when left out, the
        positions of a map, grid or not

    Returns
    -------
    Dataset : "Mask", 1 where a value is above and 0 elsewhere, of the shape of `data`; and
        "Threshold", without the dimensions `over`, in the units of the source

    Raises
    ------
    PlanError : for complex values, or dimensions that are not there
    OptionError : for another method

    Examples
    --------
    >>> image = xr.DataArray([[1.0, 2, 1], [9, 8, 1]], dims=("Y", "X"))
    >>> threshold(image, over=["Y", "X"])["Mask"].values
    array([[0, 0, 0],
           [1, 1, 0]], dtype=uint8)
    """
    if method not in METHODS:
        near = did_you_mean(str(method), METHODS)
        raise OptionError(f"method={method!r} is none of {', '.join(METHODS)}{near}")
    dims = _dims(data, over)
    check_values(data)
    if data.dtype.kind == "c":
        raise PlanError("complex values have no order; take the threshold of abs(data)")
    dtype = real(data.dtype)
    if value is None:
        (level,) = apply_over(
            data, levels, dims, dtypes=[dtype], kwargs={"method": method, "n_axes": len(dims)}
        )
    else:
        level = xr.zeros_like(data.isel(dict.fromkeys(dims, 0), drop=True), dtype) + dtype.type(
            value
        )
    mask = (data > level.drop_vars(list(level.coords))).astype(np.uint8).transpose(*data.dims)
    units = str(data.attrs.get("units", ""))
    parts = {
        "Mask": mask.assign_coords(data.coords).assign_attrs(quantity="Mask", units=""),
        "Threshold": level.assign_attrs(quantity="Threshold", units=units),
    }
    return xr.Dataset({name: each.rename(name) for name, each in parts.items()})


def levels(block: Array, *, method: str, n_axes: int) -> Array:
    """The threshold of each image over the last axes of a block; NaN where there is nothing."""
    from skimage import filters

    kept = block.shape[: block.ndim - n_axes]
    images = block.reshape(-1, int(np.prod(block.shape[len(kept) :])))
    found = np.full(images.shape[0], np.nan)
    function = getattr(filters, f"threshold_{method}")
    for row, image in enumerate(images):
        there = image[np.isfinite(image)].astype(float)
        if there.size:
            found[row] = there[0] if np.ptp(there) == 0 else function(there)
    return found.reshape(kept).astype(real(block.dtype))


def _dims(data: xr.DataArray, over: Sequence[str] | None) -> list[str]:
    if over is not None:
        check_dims(data, list(over))
        return list(over)
    found = [dim for dim, role in known_roles(data).items() if role == "position"]
    if not found:
        raise PlanError("there is no map: no dimension is known as a position; say over=[...]")
    return found
