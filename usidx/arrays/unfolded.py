"""The coordinates of a grid along one axis of its 2-D form, worked out when they are asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from usidx.arrays.columns import (
    AXIS,
    OVER,
    coordinates_of,
    free_name,
    index_attrs,
    label_attrs,
    rank,
)
from usidx.arrays.labels import main_attrs
from usidx.arrays.lazy import to_lazy
from usidx.arrays.origin import Origin, mark_origin
from usidx.arrays.views import Key, whole_key
from usidx.errors import LayoutError
from usidx.model.blocks import axis_range
from usidx.model.dimension import Array
from usidx.model.layout import Grid, Layout
from usidx.model.main import MainSpec


@dataclass(frozen=True, eq=False)
class Unfolded:
    """What values along some axes of a grid are for each of its rows.

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
        places = axis_range(part, self.shape[0])
        rows = np.arange(places.start, places.stop, places.step)
        cells = rows if self.cells is None else self.cells[rows]
        where = np.unravel_index(cells, self.grid)
        found = self.values[tuple(where[axis] for axis in self.axes)]
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
    position, spectroscopic = (
        flat_coordinates_of(side) for side in (spec.position, spec.spectroscopic)
    )
    variable = xr.Variable(("position", "spectroscopic"), data, main_attrs(spec))
    array = xr.DataArray(variable, coords={**position, **spectroscopic}, name=spec.name)
    if origin is not None:
        mark_origin(array, origin)
    return array


def flat_coordinates_of(layout: Layout) -> dict[str, xr.Variable]:
    """The coordinates of a side along the one axis it has in the 2-D form, by name.

    Those of a grid are lazy. Every dimension gives a column with `usid_axis`, every dependent
    coordinate one with `usid_over`, the names of the dimensions it runs along. The counters go
    along where they could not be told from the values.
    """
    if not isinstance(layout, Grid):
        return coordinates_of(layout)
    found: dict[str, xr.Variable] = {}
    for axis, each in enumerate(layout.dimensions):
        attrs = {**label_attrs(each, layout.role), AXIS: axis}
        found[each.name] = flat_variable(layout, (each.name,), each.values, attrs)
    for coordinate in layout.dependent:
        attrs = {**label_attrs(coordinate, layout.role), OVER: list(coordinate.dims)}
        found[coordinate.name] = flat_variable(layout, coordinate.dims, coordinate.values, attrs)
    for name, dims, counters in _counters(layout):
        attrs = {**index_attrs(name, layout.role), OVER: list(dims)}
        variable = flat_variable(layout, dims, counters, attrs)
        found[free_name(f"{name}_index", found)] = variable
    return found


def flat_variable(
    layout: Grid, dims: tuple[str, ...], values: Array, attrs: Mapping[str, Any]
) -> xr.Variable:
    """Values along some dimensions of a grid as a lazy variable along the one axis of its rows."""
    axes = tuple(layout.dims.index(dim) for dim in dims)
    column = Unfolded(values, layout.shape, axes, cells_of(layout))
    return xr.Variable((layout.role,), to_lazy(column), dict(attrs))


def cells_of(layout: Layout) -> Array | None:
    """The row-major cell of each row of the file, int64; None where that is the row itself."""
    return None if layout.order is None else np.argsort(layout.order, kind="stable")


def _counters(layout: Grid) -> Iterator[tuple[str, tuple[str, ...], Array]]:
    """(name, dims, counters) of the coordinates whose values do not tell the counters."""
    for each in layout.dimensions:
        if not np.array_equal(rank(each.values), each.counters):
            yield each.name, (each.name,), each.counters
    for coordinate in layout.dependent:
        if coordinate.indices is not None:
            yield coordinate.name, coordinate.dims, coordinate.indices
