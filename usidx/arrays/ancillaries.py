"""The four ancillaries of a labelled array, lazily: what an h5USID file of it would hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import xarray as xr

from usidx.arrays.lazy import to_lazy
from usidx.arrays.rasters import layout_of
from usidx.arrays.roles import dims_by_role
from usidx.arrays.views import Key, whole_key
from usidx.model.ancillary import Matrices, file_labels, file_units
from usidx.model.blocks import axis_range
from usidx.model.dimension import Array, Role
from usidx.model.layout import Layout

Kind = Literal["indices", "values"]


class Sides(NamedTuple):
    """How both sides of a Main fold."""

    position: Layout
    spectroscopic: Layout


def sides_of(obj: xr.DataArray | xr.Dataset) -> Sides:
    """The layouts of both sides of a labelled array.

    Raises
    ------
    LayoutError : where a dimension has no role
    """
    position, spectroscopic = dims_by_role(obj)
    return Sides(
        layout_of(obj, "position", position), layout_of(obj, "spectroscopic", spectroscopic)
    )


def ancillary(obj: xr.DataArray | xr.Dataset, role: Role, kind: Kind) -> xr.DataArray:
    """One of the four ancillaries, shaped and ordered as in a file; rows are made when read.

    Parameters
    ----------
    obj : whose dimensions have roles
    role : the side
    kind : "indices" or "values"

    Returns
    -------
    DataArray, (position, dimension) or (dimension, spectroscopic), with the labels and units of
    the columns, slowest first
    """
    layout = getattr(sides_of(obj), role)
    matrix = to_lazy(Matrix(Matrices(layout), kind))
    labels = np.array(file_labels(layout), dtype=np.str_)
    coords: dict[str, Any] = {"dimension": ("dimension", labels)}
    if kind == "values":
        coords["units"] = ("dimension", np.array(file_units(layout), dtype=np.str_))
    dims = ("position", "dimension") if role == "position" else ("dimension", "spectroscopic")
    name = f"{role.capitalize()}_{kind.capitalize()}"
    return xr.DataArray(xr.Variable(dims, matrix), coords=coords, name=name)


@dataclass(frozen=True, eq=False)
class Matrix:
    """An ancillary as a block array; the spectroscopic ones lie on their side, as in a file."""

    matrices: Matrices
    kind: Kind

    @property
    def layout(self) -> Layout:
        return self.matrices.layout

    @property
    def shape(self) -> tuple[int, int]:
        rows, columns = self.layout.size, len(self.matrices.columns)
        return (rows, columns) if self.layout.role == "position" else (columns, rows)

    @property
    def ndim(self) -> int:
        return 2

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.uint32) if self.kind == "indices" else self.matrices.value_type

    def _rows(self, start: int, stop: int) -> Array:
        matrix = self.matrices.indices if self.kind == "indices" else self.matrices.values
        return matrix(start, stop)

    def __getitem__(self, key: Key, /) -> Array:
        parts = whole_key(key, 2)
        rows, columns = parts if self.layout.role == "position" else parts[::-1]
        places = np.asarray(axis_range(rows, self.layout.size))
        start, stop = (int(places.min()), int(places.max()) + 1) if places.size else (0, 0)
        block = self._rows(start, stop)[places - start]
        if not isinstance(rows, slice):
            return np.asarray(block[0][columns])
        found = block[:, columns]
        return np.asarray(found if self.layout.role == "position" else found.T)

    def __dask_tokenize__(self) -> Any:
        layout = self.layout
        columns = [
            (each.axes, each.indices if self.kind == "indices" else each.values)
            for each in self.matrices.columns
        ]
        return type(self).__name__, layout.role, self.kind, layout.shape, layout.order, columns
