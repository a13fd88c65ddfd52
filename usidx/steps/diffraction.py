"""What diffraction patterns say: where their center is, and how they fall off around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from usidx.arrays.apply import (
    apply_over,
    check_dims,
    check_values,
    floating,
    frame_dims,
    units_along,
    values_along,
)
from usidx.arrays.roles import known_roles
from usidx.errors import PlanError
from usidx.model.dimension import Array
from usidx.step import register, step
from usidx.steps.masks import masked_sums, radii


@register
@step("Center_Of_Mass", version="1", per_position=True)
def center_of_mass(
    data: xr.DataArray,
    *,
    radius: float | None = None,
    center: Sequence[float] | None = None,
    over: Sequence[str] | None = None,
) -> xr.Dataset:
    r"""Where the center of each frame is: first moments, as in differential phase contrast.

    .. math:: c = \frac{\sum_p k_p d_p}{\sum_p d_p}

    (E. M. Waddell and J. N. Chapman, Optik 54, 83, 1979). Frames that sum up to nothing, or hold a
    NaN, give NaN.

    Parameters
    ----------
    data : frames of real values, lazily
    radius : pixels further from `center` do not count, in units of the frame's dimensions; all do
        when left out
    center : along both dimensions, in their units; the middle of the frame when left out
    over : the two dimensions of frames; may be left out where there are no other spectroscopic ones

    Returns
    -------
    Dataset : "Center of ky" and "Center of kx" for frames of ky and kx, in their units

    Raises
    ------
    PlanError : for complex values, a radius without pixels, or a dimension that is not there

    Examples
    --------
    >>> frames = xr.DataArray(np.zeros((1, 5, 5)), dims=("X", "ky", "kx"))
    >>> frames[0, 1, 3] = frames[0, 1, 4] = 1
    >>> found = center_of_mass(frames, over=["ky", "kx"])
    >>> float(found["Center of ky"][0]), float(found["Center of kx"][0])
    (1.0, 3.5)
    """
    dims = frame_dims(data, over)
    if data.dtype.kind == "c":
        raise PlanError("complex values have no center of mass; take that of abs(data)")
    v, u = (values_along(data, dim) for dim in dims)
    distance = radii(data, dims, center)
    counted = np.ones(distance.shape) if radius is None else (distance <= radius).astype(float)
    if not counted.any():
        raise PlanError(f"no pixel of {' x '.join(dims)} is within {radius} of the center")
    # Measured from the middle, where large coordinates do not eat the digits of small shifts.
    middle = float(v.mean()), float(u.mean())
    moments = [counted, counted * (v - middle[0])[:, np.newaxis], counted * (u - middle[1])]
    weights = np.stack([each.ravel() for each in moments]).astype(floating(data.dtype))
    (found,) = apply_over(
        data,
        centers,
        dims,
        output={"axis": 2},
        dtypes=[floating(data.dtype)],
        kwargs={"moments": weights, "middle": middle},
    )
    fields = {}
    for n, dim in enumerate(dims):
        name = f"Center of {dim}"
        each = found.isel(axis=n, drop=True)
        fields[name] = each.assign_attrs(quantity=name, units=units_along(data, dim))
    return xr.Dataset(fields).assign_attrs(quantity="Center of mass", units="compound")


def centers(block: Array, *, moments: Array, middle: tuple[float, float]) -> Array:
    """The centers of frames along both axes, shape (..., 2).

    Parameters
    ----------
    block : ndarray, shape (..., v, u), real
    moments : ndarray, shape (3, v * u): weights of pixels, and these times each coordinate
    middle : what the coordinates are measured from
    """
    sums = masked_sums(block, masks=moments).astype(np.float64)
    total = np.where(sums[..., :1] == 0, np.nan, sums[..., :1])
    return np.asarray(sums[..., 1:] / total + middle, floating(block.dtype))


@register
@step("Curl_Divergence", version="1")
def curl_divergence(field: xr.Dataset, *, over: Sequence[str] | None = None) -> xr.Dataset:
    r"""Curl and divergence of a map of vectors, such as that of `center_of_mass`.

    .. math:: \nabla \times c = \partial_x c_y - \partial_y c_x, \qquad
              \nabla \cdot c = \partial_y c_y + \partial_x c_x

    by differences of neighbours (`numpy.gradient`). In a map without rotation between scan and
    detector, the curl of the electric field is zero, and its divergence the charge.

    Parameters
    ----------
    field : the component along the slow dimension of the map first, then the one along the fast
    over : dimensions of the map, slow and fast; may be left out where it has only two

    Returns
    -------
    Dataset : "Curl" and "Divergence", in units of the vectors per unit of the map

    Raises
    ------
    PlanError : for anything but two components over a grid

    Examples
    --------
    >>> y, x = np.meshgrid(np.arange(4.0), np.arange(5.0), indexing="ij")
    >>> field = xr.Dataset({"v": (("Y", "X"), 2 * y - x), "u": (("Y", "X"), y + 3 * x)})
    >>> found = curl_divergence(field, over=["Y", "X"])
    >>> float(found["Curl"].mean()), float(found["Divergence"].mean())
    (-2.0, 5.0)
    """
    if not isinstance(field, xr.Dataset) or len(field.data_vars) != 2:
        raise PlanError(
            "curl_divergence needs a Dataset of two components, such as that of center_of_mass"
        )
    slow, fast = field.data_vars.values()
    dims = list(over) if over is not None else _map_dims(field)
    check_dims(field, dims)
    if len(dims) != 2 or any(field.sizes[dim] < 2 for dim in dims):
        raise PlanError(
            f"curl and divergence need a map of two dimensions with at least 2 positions each; "
            f"this has {', '.join(f'{dim} {field.sizes[dim]}' for dim in dims) or 'none'}"
        )
    y, x = dims
    units = f"{slow.attrs.get('units', '')}/({units_along(slow, y)})".removesuffix("/()")
    found = {
        "Curl": gradient(slow, x) - gradient(fast, y),
        "Divergence": gradient(slow, y) + gradient(fast, x),
    }
    named = {name: each.assign_attrs(quantity=name, units=units) for name, each in found.items()}
    return xr.Dataset(named).assign_attrs(quantity="Derivatives of a field", units="compound")


def gradient(array: xr.DataArray, dim: str) -> xr.DataArray:
    """The derivative along a dimension by differences of neighbours, in its units."""
    if array.chunks is not None and min(array.chunksizes[dim]) < 2:
        array = array.chunk({dim: -1})
    if dim not in array.coords:
        array = array.assign_coords({dim: np.arange(array.sizes[dim], dtype=float)})
    return array.differentiate(dim)


def _map_dims(field: xr.Dataset) -> list[str]:
    return [
        dim
        for dim, role in known_roles(field).items()
        if role == "position" and field.sizes[dim] > 1
    ]


@register
@step("Radial_Profile", version="1", per_position=True)
def radial_profile(
    data: xr.DataArray,
    *,
    center: Sequence[float] | None = None,
    width: float | None = None,
    over: Sequence[str] | None = None,
) -> xr.DataArray:
    r"""The mean of each frame over rings around a center.

    .. math:: f(r_j) = \frac{1}{n_j} \sum_{p:\, j w \le |k_p - c| < (j + 1) w} d_p

    Parameters
    ----------
    data : frames of any numeric dtype, lazily
    center : along both dimensions, in their units; the middle of the frame when left out
    width : w of the rings, in units of the frame's dimensions; the larger distance of two
        neighbouring pixels when left out
    over : the two dimensions of frames; may be left out where there are no other spectroscopic ones

    Returns
    -------
    DataArray : "Radius", the middle of each ring, in the place of frames; NaN where no pixel is in
        a ring. In the units of the source

    Raises
    ------
    PlanError : for a width that is not above 0, or a dimension that is not there

    Examples
    --------
    >>> frames = xr.DataArray(np.ones((1, 5, 5)), dims=("X", "ky", "kx"))
    >>> radial_profile(frames, over=["ky", "kx"]).values
    array([[1., 1., 1.]])
    """
    dims = frame_dims(data, over)
    distance = radii(data, dims, center)
    if width is None:
        steps = [np.abs(np.diff(values_along(data, dim))).max() for dim in dims]
        width = float(max(steps))
    if not width > 0:
        raise PlanError(f"width={width} of the rings must be above 0")
    # a pixel on the edge of a ring is in the outer one, whatever rounding makes of it
    rings = np.floor(distance.ravel() / width + 1e-9).astype(int)
    n = int(rings.max()) + 1
    order = np.argsort(rings, kind="stable")
    present, starts, counts = np.unique(rings[order], return_index=True, return_counts=True)
    dtype = floating(data.dtype)
    (found,) = apply_over(
        data,
        ring_means,
        dims,
        output={"Radius": n},
        dtypes=[dtype],
        kwargs={"order": order, "starts": starts, "counts": counts, "present": present, "n": n},
    )
    attrs = {"usid_role": "spectroscopic", "units": units_along(data, dims[1])}
    radius = ("Radius", (np.arange(n) + 0.5) * width, attrs)
    return found.assign_coords(Radius=radius).assign_attrs(data.attrs).rename(data.name)


def ring_means(
    block: Array, *, order: Array, starts: Array, counts: Array, present: Array, n: int
) -> Array:
    """Means over the rings of frames.

    Parameters
    ----------
    block : ndarray, shape (..., v, u)
    order : ndarray, shape (v * u,): pixels sorted by their ring
    starts, counts : ndarrays: where each ring begins among these, and how many pixels it has
    present : ndarray: the numbers of these rings
    n : how many rings there are, those without pixels included
    """
    dtype = floating(block.dtype)
    frames = block.reshape(-1, order.size)
    found = np.full((frames.shape[0], n), np.nan, dtype)
    sums = np.result_type(dtype, np.float64)
    for row, frame in enumerate(frames):  # one at a time stays in the cache
        found[row, present] = np.add.reduceat(frame[order].astype(sums), starts) / counts
    return found.reshape(*block.shape[:-2], n)


@register
@step("Pick", version="1")
def pick(data: xr.DataArray, *, at: Mapping[str, float]) -> xr.DataArray:
    """The spectrum or frame at one position, the nearest one.

    Parameters
    ----------
    data : any values, lazily
    at : coordinates of the position, {"Y": 1.5, "X": 0.2}, in their units. Of scattered positions,
        the one is taken that is nearest in all of them together

    Returns
    -------
    DataArray : without the dimensions of `at`, in the units of the source

    Raises
    ------
    PlanError : for names that are no coordinates of single positions

    Examples
    --------
    >>> data = xr.DataArray([[1, 2], [3, 4]], dims=("X", "f"), coords={"X": [0.0, 0.5]})
    >>> pick(data, at={"X": 0.4}).values
    array([3, 4])
    """
    unknown = [name for name in at if name not in data.coords or data.coords[name].ndim != 1]
    if unknown or not at:
        known = [str(name) for name, each in data.coords.items() if each.ndim == 1]
        raise PlanError(
            f"at={dict(at)!r} must name coordinates along one dimension, which are "
            f"{', '.join(known) or 'none'}"
        )
    check_values(data)
    distances: dict[str, Array] = {}
    for name, value in at.items():
        dim = str(data.coords[name].dims[0])
        square = (np.asarray(data.coords[name].values, dtype=float) - float(value)) ** 2
        distances[dim] = distances.get(dim, 0) + square
    if any(np.isnan(each).all() for each in distances.values()):
        raise PlanError(f"at={dict(at)!r} must be numbers, and the coordinates have to have some")
    return data.isel({dim: int(np.nanargmin(each)) for dim, each in distances.items()}, drop=True)
