"""MainSpec and values <-> labelled DataArray."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from usidx.arrays.columns import (
    COORDINATES,
    EMPTY_SIDES,
    STRUCTURAL,
    coordinates_of,
    label_attrs,
    main_attrs,
    single_cell,
)
from usidx.arrays.further import dump_coordinates, further_coordinates, load_coordinates
from usidx.arrays.origin import Origin, mark_origin, origin_of
from usidx.arrays.rasters import layout_of
from usidx.arrays.reshape import unflatten
from usidx.arrays.roles import ROLES, assign_roles, dims_by_role
from usidx.errors import LayoutError
from usidx.model.layout import Grid, Layout
from usidx.model.main import MainSpec

__all__ = [
    "Origin",
    "as_main",
    "assign_roles",
    "main_attrs",
    "origin_of",
    "spec_of",
    "to_dataarray",
]

OWN_ATTRS = ("quantity", "units", "long_name")


def to_dataarray(spec: MainSpec, data: Any, *, origin: Origin | None = None) -> xr.DataArray:
    """The N-D DataArray of a Main: dimensions, coordinates with roles, and attributes.

    A side that had no dimensions when the Main was stored has none again.

    Parameters
    ----------
    spec : what the Main is
    data : array (NumPy, dask, or one that xarray reads lazily), shape `spec.shape`
    origin : the Main it is, written down in its encoding

    Raises
    ------
    LayoutError : where the shape of `data` is not that of `spec`
    """
    if tuple(data.shape) != spec.shape:
        raise LayoutError(
            f"{spec.path!r} has shape {tuple(data.shape)} but its dimensions "
            f"({', '.join(spec.dims)}) need {spec.shape}"
        )
    coords = coordinates_of(spec.position)
    for name, variable in coordinates_of(spec.spectroscopic).items():
        if name in coords:
            raise LayoutError(
                f"{spec.path!r} has a dimension {name!r} on both sides; names must differ"
            )
        coords[name] = variable
    variable = xr.Variable(spec.dims, data, main_attrs(spec))
    array = xr.DataArray(variable, coords=coords, name=spec.name)
    array = _without_empty_sides(array, spec)
    further = load_coordinates(spec.attrs, dict(array.sizes))
    unknown = {name: each for name, each in further.items() if name not in array.coords}
    array = array.assign_coords(unknown) if unknown else array
    if origin is not None:
        mark_origin(array, origin)
    return array


def _without_empty_sides(array: xr.DataArray, spec: MainSpec) -> xr.DataArray:
    """`array` as it was before a store wanted dimensions on both of its sides."""
    empty = np.ravel(spec.attrs.get(EMPTY_SIDES, []))
    sides = [each for each in (spec.position, spec.spectroscopic) if each.role in empty]
    stand_ins = [each.dims[0] for each in sides if _is_single_cell(each)]
    return array.isel(dict.fromkeys(stand_ins, 0), drop=True) if stand_ins else array


def _is_single_cell(side: Layout) -> bool:
    """Whether a side is what stands for none, by what a file keeps of it."""
    if not isinstance(side, Grid) or side.shape != (1,):
        return False
    found, stand_in = side.dimensions[0], single_cell(side.role)
    return (found.file_label, found.units) == (stand_in.file_label, stand_in.units)


def spec_of(array: xr.DataArray, *, path: str | None = None) -> MainSpec:
    """The MainSpec of any DataArray whose dimensions have roles.

    Positions come first, whatever the order in the array; `as_main` brings the array into that
    order. A side of which nothing is left gets one Dimension of size 1. Coordinates that are no
    part of the layout, such as what `isel` leaves over, are among the attributes. Of the 2-D form
    of a grid it is that of the N-D form.

    Parameters
    ----------
    array : the values, of which only dtype, name and labels are looked at
    path : path of the Main; /Measurement_000/Channel_000/<name> when None

    Raises
    ------
    LayoutError : where it cannot be told which dimensions are positions
    """
    position, spectroscopic = dims_by_role(array)
    name = str(array.name) if array.name else "Raw_Data"
    attrs = array.attrs
    quantity = attrs.get("quantity") or attrs.get("long_name") or name
    told = {key: value for key, value in attrs.items() if key not in (*OWN_ATTRS, *STRUCTURAL)}
    empty = [role for role, dims in zip(ROLES, (position, spectroscopic)) if not dims]
    if empty:
        told[EMPTY_SIDES] = empty
    layouts = (
        layout_of(array, "position", position),
        layout_of(array, "spectroscopic", spectroscopic),
    )
    further = further_coordinates(array, layouts)
    if further:
        told[COORDINATES] = dump_coordinates(further)
    return MainSpec(
        path=f"/Measurement_000/Channel_000/{name}" if path is None else path,
        quantity=str(quantity),
        units=str(attrs.get("units", "")),
        dtype=np.dtype(array.dtype),
        position=layouts[0],
        spectroscopic=layouts[1],
        attrs=told,
    )


def as_main(array: xr.DataArray, *, path: str | None = None) -> tuple[MainSpec, xr.DataArray]:
    """(spec, the array with exactly the dimensions of the spec, in their order), lazily.

    Raises
    ------
    LayoutError : as `spec_of`
    """
    spec = spec_of(array, path=path)
    return spec, arrange(array, spec)


def arrange(array: xr.DataArray, spec: MainSpec) -> xr.DataArray:
    """`array` with the dimensions of its `spec` in their order; those of one cell are added.

    The 2-D form of a grid becomes N-D.
    """
    array = unflatten(array)
    for layout in (spec.position, spec.spectroscopic):
        cell = single_cell(layout.role)
        if layout.dims == (cell.name,) and cell.name not in array.dims:
            array = array.expand_dims({cell.name: cell.values})
            array.coords[cell.name].attrs.update(label_attrs(cell, layout.role))
    return array.transpose(*spec.dims)
