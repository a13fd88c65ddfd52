"""A labelled array between N-D and the two dimensions of a file: lazy, one task per chunk."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import xarray as xr
from xarray.indexes import Index

from usidx.arrays.columns import (
    INDEX_OF,
    ORDER,
    OVER,
    columns_along,
    layout_from,
    single_cell,
)
from usidx.arrays.fold import Fold, fold_points
from usidx.arrays.folding import flatten, take, unfold
from usidx.arrays.lazy import stored_array, to_lazy
from usidx.arrays.positions import RowMajorIndex, index_along
from usidx.arrays.rasters import cells_of, fold_index
from usidx.arrays.roles import ROLES, dims_by_role
from usidx.arrays.unfolded import flat_coordinates_of, flat_variable
from usidx.arrays.views import FlatView
from usidx.errors import LayoutError, OptionError, did_you_mean
from usidx.model.dimension import Array, Role
from usidx.model.layout import Coordinate, Grid, Layout, Points

Labelled = TypeVar("Labelled", xr.DataArray, xr.Dataset)


def to_2d(obj: Labelled, *, order: str = "acquisition") -> Labelled:
    """The 2-D form: dimensions (position, spectroscopic), everything else as coordinates along.

    Lazy, with one task for each chunk; chunks that are no run of rows are merged and cut first.
    `to_nd` is the inverse.

    Parameters
    ----------
    obj : whose dimensions have roles
    order : "acquisition" for the rows as the file has them, "raster" for row-major order

    Raises
    ------
    LayoutError : where a dimension has no role
    OptionError : for another `order`
    """
    if order not in ("acquisition", "raster"):
        raise OptionError(f"order={order!r} is not known; use 'acquisition' or 'raster'")
    sides: list[Layout] = []
    indexes: dict[Hashable, Index] = {}
    coords: dict[Hashable, xr.Variable] = {}
    known = {name: each.attrs for name, each in obj.coords.items()}
    for role, dims in zip(ROLES, dims_by_role(obj)):
        layout = _rows_of(obj, role) or layout_from(obj, role, dims)
        if isinstance(layout, Grid) and order == "raster":
            layout = Grid(role, layout.dimensions, layout.dependent)
        sides.append(layout)
        made = obj.coords if _rows_of(obj, role) else flat_coordinates_of(layout, known)
        own = {name: index for name, index in made.xindexes.items() if _runs_along(index, role)}
        indexes.update(own)
        names = own or made.variables
        coords.update({name: made.variables[name].copy(deep=False) for name in names})

    lost = [side for side in sides if _is_lost(side, tuple(obj.dims))]

    def change(variable: xr.Variable) -> xr.Variable:
        return _flat(variable, sides, lost)

    for name, each in obj.coords.items():
        if name not in coords and not {ORDER, INDEX_OF} & set(each.attrs):
            coords[name] = _flat_coordinate(each, sides)
    return _rebuilt(obj, change, coords, indexes)


def to_nd(obj: Labelled, fill_value: Any = None, *, dims: Sequence[str] | None = None) -> Labelled:
    """The N-D form of anything that has a `position` or `spectroscopic` dimension.

    Positions are folded by the counters of the file. Where the rows leave cells of the grid empty
    (a raster that was stopped, a sparse scan), these get `fill_value`, and a coordinate `measured`
    says which are not. What has its grid already is returned as it is.

    Parameters
    ----------
    obj : whose dimensions have roles
    fill_value : of cells that were not measured; None where there may be none
    dims : the columns that become dimensions, slowest first; all of them when None. Any others
        become coordinates over these.

    Raises
    ------
    LayoutError : where rows share a cell, where cells are empty and there is no `fill_value`, or
        where the counters are no grid's
    """
    folds = _folds(obj, fill_value, dims)
    return _unfolded(obj, folds, fill_value) if folds else obj


def unflatten(obj: Labelled) -> Labelled:
    """`obj` with every side N-D that is the rows of a grid in full, as far as its index tells."""
    found = {role: fold_index(obj, role) for role in ROLES}
    folds = {role: fold for role, fold in found.items() if fold is not None}
    return _unfolded(obj, folds, None) if folds else obj


def _unfolded(obj: Labelled, folds: Mapping[Role, Fold], fill_value: Any) -> Labelled:
    def change(variable: xr.Variable) -> xr.Variable:
        return _folded(variable, folds, fill_value)

    coords: dict[Hashable, xr.Variable] = {}
    for fold in folds.values():
        coords.update(fold.coordinates())
    handled = {name for fold in folds.values() for name in fold.handled}
    for name, coordinate in obj.coords.items():
        if name not in coords and name not in handled:
            coords[name] = _folded_coordinate(coordinate, folds)
    left = [role for role in ROLES if role not in folds]
    kept = {
        name: index
        for name, index in obj.xindexes.items()
        if any(_runs_along(index, role) for role in left)
    }
    return _rebuilt(obj, change, coords, kept)


def _runs_along(index: Index, dim: str) -> bool:
    return isinstance(index, RowMajorIndex) and index.transform.dim == dim


def _rows_of(obj: xr.DataArray | xr.Dataset, role: Role) -> Points | None:
    """A side that is rows with a lazy index already; its values stay out of the layout."""
    if role not in obj.dims or index_along(obj, role) is None:
        return None
    nothing: Array = np.broadcast_to(np.zeros(()), (obj.sizes[role],))
    return Points(role, (Coordinate(role, "", (role,), nothing),))


def _rebuilt(
    obj: Labelled,
    change: Callable[[xr.Variable], xr.Variable],
    coords: Mapping[Hashable, xr.Variable],
    indexes: Mapping[Hashable, Index],
) -> Labelled:
    """`obj` with changed values and other coordinates, which keep attributes of its own ones.

    Coordinates that are in none of the `indexes` get xarray's own.
    """
    for name, variable in coords.items():
        kept = obj.coords[name].attrs if name in obj.coords else {}
        kept = {key: value for key, value in kept.items() if not str(key).startswith("usid_")}
        variable.attrs = {**kept, **variable.attrs}
    others = xr.Coordinates({name: each for name, each in coords.items() if name not in indexes})
    labels = xr.Coordinates(
        {name: others.variables.get(name, each) for name, each in coords.items()},
        {**indexes, **others.xindexes},
    )
    if isinstance(obj, xr.Dataset):
        variables = {name: change(each.variable) for name, each in obj.data_vars.items()}
        return xr.Dataset(variables, coords=labels, attrs=obj.attrs)
    return xr.DataArray(change(obj.variable), coords=labels, name=obj.name)


def _is_lost(layout: Layout, dims: Sequence[Hashable]) -> bool:
    """Whether nothing is left of a side, so that its one cell has yet to be added."""
    return layout.dims == (single_cell(layout.role).name,) and layout.dims[0] not in dims


def _flat(variable: xr.Variable, sides: Sequence[Layout], lost: Sequence[Layout]) -> xr.Variable:
    present = [side for side in sides if side in lost or set(side.dims) & set(variable.dims)]
    sizes = {dim: size for side in present for dim, size in zip(side.dims, side.shape)}
    target = tuple(side.role for side in present)
    stored = stored_array(variable)
    if stored is not None and len(present) == 2 and variable.dims == tuple(sizes):
        view = FlatView(stored, len(present[0].dims), *(cells_of(side) for side in present))
        return xr.Variable(target, to_lazy(view), variable.attrs)
    expanded = variable.set_dims(sizes)
    values = flatten(expanded.data, tuple(len(side.dims) for side in present))
    for axis, side in enumerate(present):
        cells = cells_of(side)
        values = values if cells is None else take(values, cells, axis)
    return xr.Variable(target, values, variable.attrs)


def _flat_coordinate(coordinate: xr.DataArray, sides: Sequence[Layout]) -> xr.Variable:
    """A coordinate that is no part of a layout, along the axes of the 2-D form."""
    dims = [str(dim) for dim in coordinate.dims]
    attrs = {**coordinate.attrs, OVER: dims}
    for side in sides:
        if dims and set(dims) <= set(side.dims) and isinstance(side, Grid):
            return flat_variable(side, tuple(dims), coordinate.values, attrs)
    touched = [side for side in sides if set(side.dims) & set(dims)]
    if all(isinstance(side, Points) for side in touched):
        return coordinate.variable
    return _flat(coordinate.variable, sides, ())


def _folds(
    obj: xr.DataArray | xr.Dataset, fill_value: Any, dims: Sequence[str] | None
) -> dict[Role, Fold]:
    """The sides that fold.

    The 2-D form of a Main whose positions are no grid has spectra to fold all the same; but where
    nothing folds, or a `fill_value` or `dims` asked for more, the reason is to be told.
    """
    folds: dict[Role, Fold] = {}
    refused: list[LayoutError] = []
    for role in ROLES:
        fold = None
        try:
            if dims is None:
                fold = fold_index(obj, role, may_be_empty=fill_value is not None)
            if fold is None:
                fold = fold_points(obj, role, dims=dims, may_be_empty=fill_value is not None)
        except LayoutError as error:
            refused.append(error)
            continue
        if fold is not None:
            folds[role] = fold
    if refused and (not folds or fill_value is not None or dims is not None):
        raise refused[0]
    if dims is not None:
        known = [name for fold in folds.values() for name in fold.layout.names]
        unknown = [name for name in dims if name not in known and f"{name}_index" not in known]
        if unknown:
            columns = [str(each.name) for role in ROLES for each in columns_along(obj, role)]
            raise LayoutError(
                f"{unknown[0]!r} is no column to fold by{did_you_mean(unknown[0], columns)}; there "
                f"are {', '.join(columns) or 'none'}"
            )
    return folds


def _folded(variable: xr.Variable, folds: Mapping[Role, Fold], fill_value: Any) -> xr.Variable:
    by_dim: dict[Hashable, Fold] = {role: fold for role, fold in folds.items()}
    values = variable.data
    target: list[Hashable] = []
    shapes: list[tuple[int, ...] | None] = []
    for axis, dim in enumerate(variable.dims):
        fold = by_dim.get(dim)
        if fold is None:
            target.append(dim)
            shapes.append(None)
            continue
        if fold.rows is not None:
            values = take(values, fold.rows, axis, fill_value)
        target.extend(fold.layout.dims)
        shapes.append(fold.layout.shape)
    if variable.dims and tuple(target) != variable.dims:
        values = unfold(values, tuple(shapes))
    return xr.Variable(target, values, variable.attrs)


def _folded_coordinate(coordinate: xr.DataArray, folds: Mapping[Role, Fold]) -> xr.Variable:
    """A coordinate that is no part of a layout, along the dimensions of the grid."""
    if not set(coordinate.dims) & set(folds):
        return coordinate.variable.copy(deep=False)
    attrs = {key: value for key, value in coordinate.attrs.items() if key != OVER}
    over = coordinate.attrs.get(OVER)
    for role, fold in folds.items():
        if coordinate.dims == (role,) and over is not None and set(over) <= set(fold.layout.dims):
            values = fold.place(coordinate.variable, tuple(over))
            return xr.Variable(tuple(over), values, attrs)
    folded = _folded(coordinate.variable, folds, np.nan)
    return xr.Variable(folded.dims, folded.data, attrs)
