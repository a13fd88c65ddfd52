"""One position of a source, from how people name it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from usidx.arrays.roles import dims_by_role
from usidx.errors import PlanError, did_you_mean
from usidx.process.planning.identity import Labelled


def place_of(
    labelled: Labelled, values: Mapping[str, Any], indices: Mapping[str, int] | None = None
) -> dict[str, int]:
    """The index along each position dimension.

    Parameters
    ----------
    values : coordinate values by name; the nearest position is taken. A list of positions may be
        asked by all its coordinates together
    indices : indices by dimension, as in `isel`

    Dimensions that neither names are taken in the middle.

    Raises
    ------
    PlanError : for names that are no position coordinate, or indices out of bounds
    """
    dims = dims_by_role(labelled)[0]
    coordinates = {str(name): each for name, each in labelled.coords.items() if each.ndim}
    known = {name: each for name, each in coordinates.items() if set(each.dims) <= set(dims)}
    asked = dict(indices or {})
    unknown = [name for name in values if name not in known and name not in dims]
    unknown += [name for name in asked if name not in dims]
    if unknown:
        raise PlanError(
            f"{unknown[0]!r} is no position coordinate{did_you_mean(unknown[0], [*known, *dims])}; "
            f"there are {', '.join(dict.fromkeys([*known, *dims])) or 'none'}"
        )
    place = {dim: labelled.sizes[dim] // 2 for dim in dims}
    place.update(_nearest(labelled, known, values))
    for dim, index in asked.items():
        size = labelled.sizes[dim]
        if not -size <= index < size:
            raise PlanError(f"isel={{{dim!r}: {index}}} is out of bounds: {dim!r} has size {size}")
        place[dim] = int(index) % size
    return place


def _nearest(
    labelled: Labelled, known: Mapping[str, xr.DataArray], values: Mapping[str, Any]
) -> dict[str, int]:
    """Per group of dimensions: the cell whose asked coordinates are nearest, all taken together."""
    groups: dict[tuple[str, ...], list[tuple[xr.DataArray, Any]]] = {}
    for name, value in values.items():
        coordinate = known.get(
            name, xr.DataArray(np.arange(labelled.sizes.get(name, 0)), dims=name)
        )
        groups.setdefault(tuple(map(str, coordinate.dims)), []).append((coordinate, value))
    place: dict[str, int] = {}
    for dims, asked in groups.items():
        distance = sum(_distance(coordinate, value) for coordinate, value in asked)
        cell = np.unravel_index(int(np.argmin(distance)), np.shape(distance))
        place.update({dim: int(index) for dim, index in zip(dims, cell, strict=True)})
    return place


def _distance(coordinate: xr.DataArray, value: Any) -> Any:
    """Squared distance of each cell, in parts of the whole extent so that units do not matter."""
    cells = np.asarray(coordinate.values)
    if not np.issubdtype(cells.dtype, np.number):
        same = cells == value
        if not same.any():
            raise PlanError(f"{coordinate.name!r} has no value {value!r}")
        return np.where(same, 0.0, 1.0)
    extent = float(np.nanmax(cells) - np.nanmin(cells)) or 1.0
    return np.nan_to_num(((cells - value) / extent) ** 2, nan=np.inf)
