"""One side of a Main (its positions, or its spectroscopic values) as coordinates, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import xarray as xr
from xarray.core.indexing import LazilyIndexedArray

from usidx.arrays.roles import ROLE, role_of
from usidx.model.dimension import Array, Dimension, Role
from usidx.model.layout import Coordinate, Grid, Layout, Points
from usidx.model.main import MainSpec

LABEL = "usid_label"
INDICES = "usid_indices"
INDEX_OF = "usid_index_of"
AXIS = "usid_axis"
OVER = "usid_over"
REASON = "usid_reason"
ORDER = "usid_order"
ORDER_NAMES: dict[Role, str] = {
    "position": "acquisition_order",
    "spectroscopic": "acquisition_order_spectroscopic",
}
# Attribute of a stored Main: roles of the sides of which the array had no dimension. In a store
# each side has one at least.
EMPTY_SIDES = "usid_empty_sides"
# Attribute of a stored Main: its coordinates that are no part of its layout.
COORDINATES = "usid_coordinates"
# Attributes of a stored Main that are none of its array.
STRUCTURAL = (EMPTY_SIDES, COORDINATES, "usid_further_coordinates")
MOST_IN_ATTRS = 256
# The order of more rows than these is a lazy coordinate, which selections do not copy.
MOST_AT_HAND = 2**20


def coordinates_of(layout: Layout) -> dict[str, xr.Variable]:
    """The coordinates that carry a layout, by name.

    A Grid gives one for each Dimension, one for each dependent Coordinate, and the order of
    acquisition where that is no raster. Points give one along "position" (or "spectroscopic") for
    each column, with `usid_axis` to tell them from dimensions. The counters of the file are kept
    where they could not be told from the values.
    """
    found = _grid_coordinates(layout) if isinstance(layout, Grid) else _points_coordinates(layout)
    if layout.order is not None:
        order: Any = np.asarray(layout.order, np.int64).reshape(layout.shape)
        if order.size > MOST_AT_HAND:
            order = LazilyIndexedArray(order)
        attrs = {
            ROLE: layout.role,
            ORDER: 1,
            "long_name": f"order of acquisition, {layout.role}",
            "units": "",
        }
        found[free_name(ORDER_NAMES[layout.role], found)] = xr.Variable(layout.dims, order, attrs)
    return found


def label_attrs(each: Dimension | Coordinate, role: Role) -> dict[str, Any]:
    """Attributes of the coordinate that carries a Dimension or Coordinate."""
    quantity = each.quantity if isinstance(each, Dimension) else ""
    attrs = {"units": each.units, "long_name": quantity or _shown_name(each), ROLE: role}
    if each.label is not None and each.label != each.name:
        attrs[LABEL] = each.label
    return attrs


def _shown_name(each: Dimension | Coordinate) -> str:
    label = each.file_label
    # The counter of a quantity that changes with other dimensions is not the quantity itself.
    return f"{label} index" if each.name == f"{label}_index" else label or each.name


def _grid_coordinates(layout: Grid) -> dict[str, xr.Variable]:
    found: dict[str, xr.Variable] = {}
    for dimension in layout.dimensions:
        attrs = label_attrs(dimension, layout.role)
        counters = dimension.counters
        usual = np.array_equal(counters, np.arange(dimension.size))
        if not usual and dimension.size <= MOST_IN_ATTRS:
            attrs[INDICES] = counters.tolist()
        found[dimension.name] = xr.Variable((dimension.name,), dimension.values, attrs)
        if not usual and dimension.size > MOST_IN_ATTRS:
            _add_index(found, dimension.name, (dimension.name,), counters, layout)
    for each in layout.dependent:
        attrs = label_attrs(each, layout.role)
        found[each.name] = xr.Variable(each.dims, each.values, attrs)
        if each.indices is not None:
            _add_index(found, each.name, each.dims, each.indices, layout)
    return found


def _points_coordinates(layout: Points) -> dict[str, xr.Variable]:
    found: dict[str, xr.Variable] = {}
    for axis, each in enumerate(layout.columns):
        attrs = {**label_attrs(each, layout.role), AXIS: axis}
        found[each.name] = xr.Variable(layout.dims, each.values, attrs)
    if layout.reason:
        found[layout.columns[0].name].attrs[REASON] = layout.reason
    for each in layout.columns:
        if each.indices is None or np.array_equal(each.indices, np.arange(layout.size)):
            found[each.name].attrs[INDICES] = "count"
        elif np.array_equal(each.indices, rank(each.values)):
            continue
        else:
            _add_index(found, each.name, layout.dims, each.indices, layout)
    return found


def _add_index(
    found: dict[str, xr.Variable], name: str, dims: tuple[str, ...], indices: Array, layout: Layout
) -> None:
    attrs = index_attrs(name, layout.role)
    taken = {*found, *layout.names}
    found[free_name(f"{name}_index", taken)] = xr.Variable(dims, indices, attrs)


def index_attrs(name: str, role: Role) -> dict[str, Any]:
    """Attributes of the coordinate that holds the counters of coordinate `name`."""
    return {"units": "", "long_name": f"{name} index", ROLE: role, INDEX_OF: name}


def free_name(name: str, taken: Iterable[str]) -> str:
    """`name`, with as many '_' after it as make it one that is not taken."""
    taken = set(taken)
    while name in taken:
        name += "_"
    return name


def rank(values: Array) -> Array:
    """Place of each value among the distinct values, ascending, shape (n,)."""
    return np.unique(values, return_inverse=True, equal_nan=True)[1].reshape(-1)


def columns_along(obj: xr.DataArray | xr.Dataset, dim: str) -> list[xr.DataArray]:
    """The coordinates that are columns of a side without a grid, along `dim`, slowest first."""
    found = [each for each in obj.coords.values() if each.dims == (dim,) and AXIS in each.attrs]
    return sorted(found, key=lambda each: int(each.attrs[AXIS]))


def indices_of(obj: xr.DataArray | xr.Dataset, coordinate: xr.DataArray) -> Array | None:
    """The counters of the file for a coordinate, of its shape; None where nothing is kept."""
    name = coordinate.name
    for each in obj.coords.values():
        if each.attrs.get(INDEX_OF) == name and set(each.dims) == set(coordinate.dims):
            return np.asarray(each.transpose(*coordinate.dims).values)
    kept = coordinate.attrs.get(INDICES)
    if isinstance(kept, str) and kept == "count":
        return np.arange(coordinate.size)
    if isinstance(kept, (list, tuple, np.ndarray)) and len(kept) == coordinate.size:
        return np.asarray(kept)
    return None


def layout_from(obj: xr.DataArray | xr.Dataset, role: Role, dims: tuple[str, ...]) -> Layout:
    """The layout of the side `role`, whose dimensions in `obj` are `dims`, slowest first."""
    if not dims:
        return Grid(role, (single_cell(role),))
    if dims == (role,) and columns_along(obj, role):
        return Points(role, tuple(_columns(obj, role)), reason_of(obj, role))
    dimensions = tuple(_dimension(obj, dim) for dim in dims)
    dependent = tuple(_dependents(obj, role, dims))
    return Grid(role, dimensions, dependent, _order(obj, role, dims))


def single_cell(role: Role) -> Dimension:
    """The Dimension that stands for a side of which nothing is left."""
    name = "arb" if role == "spectroscopic" else "arb_position"
    return Dimension(name, "a. u.", np.zeros(1), label="arb")


def _dimension(obj: xr.DataArray | xr.Dataset, dim: str) -> Dimension:
    if dim not in obj.coords:
        return Dimension(dim, "", np.arange(obj.sizes[dim]))
    coordinate = obj.coords[dim]
    attrs = coordinate.attrs
    label = attrs.get(LABEL)
    return Dimension(
        dim,
        str(attrs.get("units", "")),
        coordinate.values,
        indices=indices_of(obj, coordinate),
        label=None if label is None else str(label),
        quantity=str(attrs.get("long_name", "")),
    )


def reason_of(obj: xr.DataArray | xr.Dataset, role: Role) -> str:
    """Why a side is a list of points and no grid, as far as that is known."""
    columns = columns_along(obj, role)
    return next((str(each.attrs[REASON]) for each in columns if REASON in each.attrs), "")


def _columns(obj: xr.DataArray | xr.Dataset, role: Role) -> Iterable[Coordinate]:
    """The columns of a list of points, as a file has them.

    The 2-D form of a grid has the counters of a quantity that changes with other dimensions, and
    its values, in two coordinates; in a file they are one column.
    """
    dependent = {str(each.name): each for each in obj.coords.values() if _is_dependent(each, role)}
    for each in columns_along(obj, role):
        counters = indices_of(obj, each)
        counters = rank(each.values) if counters is None else counters
        for name, values in dependent.items():
            if each.name in values.attrs[OVER] and _file_label(each) == _file_label(values):
                each = dependent.pop(name)
                break
        yield _coordinate(each, (role,), counters)
    for each in dependent.values():
        counters = indices_of(obj, each)
        yield _coordinate(each, (role,), rank(each.values) if counters is None else counters)


def _is_dependent(coordinate: xr.DataArray, role: Role) -> bool:
    attrs = coordinate.attrs
    over = coordinate.dims == (role,) and OVER in attrs and INDEX_OF not in attrs
    return over and role_of(coordinate) == role


def _file_label(coordinate: xr.DataArray) -> str:
    return str(coordinate.attrs.get(LABEL, coordinate.name))


def _dependents(
    obj: xr.DataArray | xr.Dataset, role: Role, dims: tuple[str, ...]
) -> Iterable[Coordinate]:
    for name, each in obj.coords.items():
        held = {ORDER, INDEX_OF} & set(each.attrs)
        if name in dims or not each.dims or held or role_of(each) != role:
            continue
        if each.dtype.kind not in "biuf":  # text and times: USID has numbers along its dimensions
            continue
        if set(each.dims) <= set(dims):
            over = tuple(dim for dim in dims if dim in each.dims)
            each = each.transpose(*over)
            yield _coordinate(each, over, indices_of(obj, each))


def _coordinate(each: xr.DataArray, dims: tuple[str, ...], indices: Array | None) -> Coordinate:
    label = each.attrs.get(LABEL)
    return Coordinate(
        str(each.name),
        str(each.attrs.get("units", "")),
        dims,
        each.values,
        indices,
        None if label is None else str(label),
    )


def _order(obj: xr.DataArray | xr.Dataset, role: Role, dims: tuple[str, ...]) -> Array | None:
    for each in obj.coords.values():
        if ORDER in each.attrs and role_of(each) == role and set(each.dims) == set(dims):
            rows = each.transpose(*dims).values.reshape(-1)
            # Of a part of the Main, the order among what is left.
            order = rows.astype(np.int64, copy=False) if _counts_all(rows) else rank(rows)
            return None if np.array_equal(order, np.arange(order.size)) else order
    return None


def _counts_all(rows: Array) -> bool:
    """Whether they are 0 .. n-1 in some order."""
    if not rows.size or rows.min() != 0 or rows.max() != rows.size - 1:
        return False
    seen = np.zeros(rows.size, bool)
    seen[rows] = True
    return bool(seen.all())


def main_attrs(spec: MainSpec) -> dict[str, Any]:
    """Attributes of the DataArray of a Main: what the file says, and the three that plots read."""
    own = {"quantity": spec.quantity, "units": spec.units, "long_name": spec.quantity}
    told = {name: value for name, value in spec.attrs.items() if name not in STRUCTURAL}
    return {**plain_attrs(told), **own}


def plain_attrs(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes as plain Python values, as every format of xarray can write them."""
    return {str(name): plain(value) for name, value in attrs.items()}


def plain(value: Any) -> Any:
    """A NumPy scalar or small array as numbers, text and lists; anything else as it is."""
    if isinstance(value, np.generic):
        return value.item()
    if (
        isinstance(value, np.ndarray)
        and value.size <= MOST_IN_ATTRS
        and value.dtype.kind in "biufUS"
    ):
        return value.tolist()
    return value
