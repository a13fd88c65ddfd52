"""What a linked map and spectrum show: which dimensions go where, and reading one of each.

Nothing here draws. A map is read at one place of the other dimensions, a spectrum at one position;
never all of the values, unless they are few.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr

from usidx.arrays.extras import without_extras
from usidx.arrays.roles import dims_by_role
from usidx.errors import LayoutError, OptionError, did_you_mean

Component = Literal["amplitude", "phase", "real", "imag"]
COMPONENTS: tuple[Component, ...] = ("amplitude", "phase", "real", "imag")
Place = Mapping[str, int]

SMALL = 64 * 2**20  # bytes: arrays up to this size are read once, and the map is a mean
MOST_DRAWN = 4 * 2**20  # values of one map or spectrum; of larger ones every n-th is drawn
_LONG = 4  # values along a dimension that is worth an axis of a frame


@dataclass(frozen=True)
class Panels:
    """Which dimensions are drawn where.

    Parameters
    ----------
    map : dimensions of the map: two, or one whose points lie anywhere or make a profile; or none
    spectrum : dimensions of the spectrum (one) or frame (two); or none
    slid : dimensions of more than one value that are drawn nowhere, and slid along instead
    points : coordinates x and y of positions that lie anywhere; None on a grid
    """

    map: tuple[str, ...]
    spectrum: tuple[str, ...]
    slid: tuple[str, ...]
    points: tuple[str, str] | None = None


def one_field(obj: xr.DataArray | xr.Dataset, field: str | None = None) -> xr.DataArray:
    """The array that is shown: of a compound Main one field, or the first with numbers.

    Raises
    ------
    OptionError : for a field that is not there, and where nothing can be drawn
    """
    if isinstance(obj, xr.DataArray):
        if field is not None and field != obj.name:
            raise OptionError(f"{obj.name!r} has no fields, got field={field!r}; leave it out")
        array = obj
    else:
        fields = without_extras(obj)
        names = [str(name) for name in fields.data_vars]
        numbers = [name for name in names if fields[name].dtype.kind in "biufc"]
        if field is not None and field not in names:
            raise OptionError(
                f"there is no field {field!r}{did_you_mean(field, names)}; there are "
                f"{', '.join(names) or 'none'}"
            )
        if field is None and not numbers:
            raise OptionError("there is no field of numbers to draw; compute one of what there is")
        array = fields[field if field is not None else numbers[0]]
    if array.dtype.kind not in "biufc":
        raise OptionError(f"{array.name!r} is {array.dtype}, no numbers; it cannot be drawn")
    if array.size < 2:
        raise OptionError(f"{array.name!r} has {array.size} values; a picture takes two or more")
    return array


def panels_of(
    array: xr.DataArray, map: Sequence[str] | None = None, spectrum: Sequence[str] | None = None
) -> Panels:
    """Which dimensions make the map and which the spectrum.

    The map has the two fastest position dimensions, the frame the two fastest spectroscopic ones
    that have four values or more, the spectrum the only one. A line of spectra that is small is an
    image of position by spectrum.

    Parameters
    ----------
    map, spectrum : names of the dimensions, where they are to be others

    Examples
    --------
    >>> from usidx.testing import make_main
    >>> panels_of(make_main())
    Panels(map=('Y', 'X'), spectrum=('Frequency',), slid=(), points=None)
    """
    position, spectral = (
        tuple(dim for dim in side if array.sizes[dim] > 1) for side in dims_by_role(array)
    )
    long = [dim for dim in spectral if array.sizes[dim] >= _LONG]
    drawn = _x_across(tuple(long[-2:]) or spectral[-1:])
    if spectrum is not None:
        drawn = _asked(array, spectrum, "spectrum")
    mapped = tuple(dim for dim in position if dim not in drawn)[-2:]
    points = None
    if map is not None:
        mapped = _asked(array, map, "map")
        drawn = tuple(dim for dim in drawn if dim not in mapped) if spectrum is None else drawn
    else:
        scattered = [dim for dim in mapped if _points(array, dim)]
        mapped = (scattered[-1],) if scattered else mapped
        mapped = _x_across(mapped)
    if len(mapped) == 1:
        points = _points(array, mapped[0])
    if map is None and len(mapped) == len(drawn) == 1 and points is None:
        if is_small(array):
            mapped = (mapped[0], drawn[0])
    elif set(mapped) & set(drawn):
        raise LayoutError(f"map={mapped} and spectrum={drawn} share a dimension; draw it in one")
    left = tuple(str(dim) for dim in array.dims if array.sizes[dim] > 1)
    return Panels(mapped, drawn, tuple(d for d in left if d not in mapped + drawn), points)


def _x_across(dims: tuple[str, ...]) -> tuple[str, ...]:
    """Two dimensions in the order in which they are drawn: x goes across, whatever is slower."""
    return dims[::-1] if [dim.lower() for dim in dims] == ["x", "y"] else dims


def _asked(array: xr.DataArray, names: Sequence[str], option: str) -> tuple[str, ...]:
    given = (names,) if isinstance(names, str) else tuple(names)
    known = [str(dim) for dim in array.dims]
    for name in given:
        if name not in known:
            raise LayoutError(
                f"{option}={given}: {array.name!r} has no dimension {name!r}"
                f"{did_you_mean(name, known)}; there are {', '.join(known)}"
            )
        if array.sizes[name] < 2:
            raise LayoutError(f"{option}={given}: {name!r} has one value only; choose another")
    if len(set(given)) != len(given) or len(given) > 2:
        raise LayoutError(f"{option}={given}: give one dimension, or two that differ")
    return given


def _points(array: xr.DataArray, dim: str) -> tuple[str, str] | None:
    """Coordinates x and y of a list of positions that lie anywhere, None where it is a line."""
    if dim in array.indexes and array[dim].dtype.kind in "iuf" and dim != "position":
        return None
    near = [
        str(name)
        for name, each in array.coords.items()
        if each.dims == (dim,) and name != dim and each.dtype.kind in "iuf"
    ]
    near = [name for name in near if np.ptp(np.asarray(array[name].values, float)) > 0]
    if len(near) < 2:
        return None
    for x, y in (("X", "Y"), ("x", "y")):
        if x in near and y in near:
            return x, y
    # Slowest first, as the columns of a file are.
    return near[-1], near[-2]


def is_small(array: xr.DataArray) -> bool:
    """Whether the values are so few that they are read once and kept."""
    return bool(array.nbytes <= SMALL)


def middle_of(array: xr.DataArray) -> dict[str, int]:
    """The number of the middle value along every dimension."""
    return {str(dim): size // 2 for dim, size in array.sizes.items()}


def component_of(values: xr.DataArray, component: Component | None) -> xr.DataArray:
    """Real values to draw of complex ones; phases are in degrees. Real values stay."""
    if values.dtype.kind == "b":
        return values.astype("u1").assign_attrs(values.attrs)
    if values.dtype.kind != "c" or component is None:
        return values
    if component == "amplitude":
        found = abs(values)
    elif component == "phase":
        found = xr.apply_ufunc(np.angle, values, kwargs={"deg": True}, dask="allowed")
    else:
        found = values.real if component == "real" else values.imag
    attrs = dict(values.attrs)
    if component == "phase":
        attrs["units"] = "deg"
    result: xr.DataArray = found.assign_attrs(attrs)
    return result


def thinning(array: xr.DataArray, dims: Sequence[str]) -> dict[str, int]:
    """Every how many-th value is drawn along each of some dimensions; 1 for what is not large."""
    count = math.prod(array.sizes[dim] for dim in dims)
    step = math.ceil((count / MOST_DRAWN) ** (1 / max(len(dims), 1)))
    return {dim: max(1, min(step, array.sizes[dim] // 2)) for dim in dims}


def read_at(
    array: xr.DataArray, dims: Sequence[str], place: Place, component: Component | None
) -> xr.DataArray:
    """A map or spectrum in memory: all along `dims`, at one place of everything else.

    Parameters
    ----------
    place : numbers along the other dimensions
    """
    others = {str(dim): place[str(dim)] for dim in array.dims if dim not in dims}
    steps = thinning(array, dims)
    thin = {dim: slice(None, None, step) for dim, step in steps.items() if step > 1}
    part = array.isel({**others, **thin}).transpose(*dims).compute()
    return component_of(part, component)


def mean_at(
    array: xr.DataArray,
    dims: Sequence[str],
    over: Sequence[str],
    place: Place,
    component: Component | None,
) -> xr.DataArray:
    """The mean over some dimensions, at one place of what is neither of these nor of `dims`.

    NaN is left out. Of complex values the amplitude is that of each, so that it does not cancel.
    """
    kept = {*dims, *over}
    part = array.isel({str(dim): place[str(dim)] for dim in array.dims if dim not in kept})
    steps = thinning(array, dims)
    part = part.isel({dim: slice(None, None, step) for dim, step in steps.items()})
    is_complex = part.dtype.kind == "c"
    if is_complex and component == "amplitude":
        part = component_of(part, component)
    precise: Any = "c16" if part.dtype.kind == "c" else "f8"
    mean = part.mean(tuple(over), skipna=True, dtype=precise, keep_attrs=True)
    mean = mean.transpose(*dims).compute()
    return component_of(mean, component) if mean.dtype.kind == "c" else mean
