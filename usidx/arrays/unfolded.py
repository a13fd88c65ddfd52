"""The coordinates of a grid along one axis of its 2-D form, worked out when they are asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from usidx.arrays.cells import Cells, Column, as_array
from usidx.arrays.columns import coordinates_of, main_attrs
from usidx.arrays.further import load_coordinates
from usidx.arrays.lazy import to_lazy
from usidx.arrays.origin import Origin, mark_origin
from usidx.arrays.rasters import Attrs, cells_of, index_of
from usidx.arrays.views import Key, whole_key
from usidx.errors import LayoutError
from usidx.model.blocks import axis_range
from usidx.model.dimension import Array
from usidx.model.layout import Grid, Layout
from usidx.model.main import MainSpec


@dataclass(frozen=True, eq=False)
class Unfolded:
    """What values along some axes of a grid are for each of its rows, as a block array.

    Parameters
    ----------
    values : array with one axis for each of `axes`
    grid : sizes of the grid, slowest first
    axes : the axes of the grid along which `values` runs
    cells : int64, the row-major cell of each row; None for row-major order
    """

    values: Array
    grid: tuple[int, ...]
    axes: tuple[int, ...]
    cells: Array | None = None

    @property
    def shape(self) -> tuple[int]:
        return (math.prod(self.grid),)

    @property
    def ndim(self) -> int:
        return 1

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.values.dtype

    def __getitem__(self, key: Key, /) -> Array:
        part = whole_key(key, 1)[0]
        rows: Cells = axis_range(part, self.shape[0])
        cells = rows if self.cells is None else self.cells[as_array(rows)]
        found = Column(self.values, self.axes).at(cells, self.grid)
        return np.asarray(found if isinstance(part, slice) else found[0])

    def __dask_tokenize__(self) -> Any:
        return type(self).__name__, self.values, self.grid, self.axes, self.cells


def to_flat_dataarray(spec: MainSpec, data: Any, *, origin: Origin | None = None) -> xr.DataArray:
    """The 2-D DataArray of a Main: (position, spectroscopic), with lazy coordinates along both.

    Parameters
    ----------
    spec : what the Main is
    data : array (NumPy, dask, or one that xarray reads lazily), shape `spec.shape_2d`
    origin : the Main it is, written down in its encoding
    """
    if tuple(data.shape) != spec.shape_2d:
        raise LayoutError(f"{spec.path!r} is {spec.shape_2d} in 2-D, got {tuple(data.shape)}")
    variable = xr.Variable(("position", "spectroscopic"), data, main_attrs(spec))
    array = xr.DataArray(variable, name=spec.name)
    for side in (spec.position, spec.spectroscopic):
        array = array.assign_coords(flat_coordinates_of(side))
    further = load_coordinates(spec.attrs, {})
    array = array.assign_coords({k: v for k, v in further.items() if k not in array.coords})
    if origin is not None:
        mark_origin(array, origin)
    return array


def flat_coordinates_of(layout: Layout, known: Attrs | None = None) -> xr.Coordinates:
    """The coordinates of a side along the one axis it has in the 2-D form.

    Those of a grid are lazy, and so is their index.

    Parameters
    ----------
    layout : of the side
    known : further attributes of the coordinates, by name
    """
    if isinstance(layout, Grid):
        return xr.Coordinates.from_xindex(index_of(layout, known))
    return xr.Coordinates(coordinates_of(layout))


def flat_variable(
    layout: Grid, dims: tuple[str, ...], values: Array, attrs: Mapping[str, Any]
) -> xr.Variable:
    """Values along some dimensions of a grid as a lazy variable along the one axis of its rows."""
    axes = tuple(layout.dims.index(dim) for dim in dims)
    column = Unfolded(values, layout.shape, axes, cells_of(layout))
    return xr.Variable((layout.role,), to_lazy(column), dict(attrs))
