"""A lazy index over the rows of a grid: 1e8 positions in 2-D form without 1e8 coordinates.

In the 2-D form of a Main all positions lie along one dimension, and X, Y, ... are coordinates along
it. They follow from the row alone: nothing has to be kept but the values along each axis of the
grid, and the cells that the rows hold. Whatever uses xarray's coordinate transforms, a young part
of its API, is in this module.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
import pandas as pd
import xarray as xr
from xarray.core import duck_array_ops
from xarray.core.indexing import (
    CoordinateTransformIndexingAdapter,
    ExplicitIndexer,
    IndexSelResult,
)
from xarray.indexes import CoordinateTransform, CoordinateTransformIndex, Index, PandasIndex

from usidx.arrays.cells import (
    Cells,
    Column,
    joined,
    parts_of,
    pick,
    rows_of,
    same_cells,
    shared,
    united,
)
from usidx.arrays.lookup import rows_with
from usidx.errors import LayoutError
from usidx.model.dimension import Array, same_values


class RowMajorTransform(CoordinateTransform):
    """The coordinates of rows, worked out from the cells of a grid that they hold.

    Parameters
    ----------
    grid : sizes of the grid, slowest axis first
    columns : the coordinates by name
    cells : the row-major cell that each row holds; all of them in order when None
    dim : name of the dimension along which the rows lie
    """

    def __init__(
        self,
        grid: Sequence[int],
        columns: Mapping[Hashable, Column],
        cells: Cells | None = None,
        dim: str = "position",
    ) -> None:
        self.grid = tuple(grid)
        self.columns = dict(columns)
        self.cells = range(int(np.prod(self.grid, dtype=np.int64))) if cells is None else cells
        # each column has a dtype of its own, which is that of its LazyColumn
        super().__init__(self.columns, {dim: len(self.cells)}, dtype=np.dtype(object))

    @property
    def dim(self) -> str:
        """Name of the dimension along which the rows lie."""
        return self.dims[0]

    @property
    def size(self) -> int:
        """How many rows there are."""
        return len(self.cells)

    def with_cells(self, cells: Cells) -> RowMajorTransform:
        """The same for other rows."""
        return RowMajorTransform(self.grid, self.columns, cells, self.dim)

    def values(self, name: Hashable) -> Array:
        """The coordinate `name` of every row, shape (rows,)."""
        return self.columns[name].at(self.cells, self.grid)

    def forward(self, dim_positions: dict[str, Any]) -> dict[Hashable, Any]:
        """Every coordinate of some rows."""
        rows = np.asarray(dim_positions[self.dim])
        part = self.with_cells(pick(self.cells, rows.reshape(-1).astype(np.int64)))
        return {name: part.values(name).reshape(rows.shape) for name in self.columns}

    def reverse(self, coord_labels: dict[Hashable, Any]) -> dict[str, Any]:
        """The rows that have some coordinates, with a label of each axis for each."""
        shape = np.shape(next(iter(coord_labels.values())))
        labels = {name: xr.Variable("row", np.ravel(each)) for name, each in coord_labels.items()}
        rows: Any = rows_with(labels, self.columns, self.grid, self.cells)
        return {self.dim: rows.values.reshape(shape)}

    def on_same_grid(self, other: RowMajorTransform) -> bool:
        """Whether a cell is the same place for both."""
        return (
            self.grid == other.grid
            and set(self.columns) == set(other.columns)
            and all(each.same_as(other.columns[name]) for name, each in self.columns.items())
        )

    def equals(self, other: CoordinateTransform, **_: Any) -> bool:
        """Whether all rows are the same cells; of different grids, have the same coordinates."""
        if not isinstance(other, RowMajorTransform):
            return False
        if (self.dim, self.size) != (other.dim, other.size):
            return False
        if set(self.columns) != set(other.columns):
            return False
        if self.on_same_grid(other):
            return same_cells(self.cells, other.cells)
        for part in parts_of(self.size):
            one, two = (each.with_cells(pick(each.cells, part)) for each in (self, other))
            if not all(same_values(one.values(name), two.values(name)) for name in self.columns):
                return False
        return True

    def __deepcopy__(self, memo: Any) -> Self:
        return self

    def __dask_tokenize__(self) -> Any:
        cells = self.cells if isinstance(self.cells, np.ndarray) else repr(self.cells)
        columns = [(name, each.values, each.axes) for name, each in self.columns.items()]
        return type(self).__name__, self.grid, self.dim, cells, columns

    def __repr__(self) -> str:
        names = ", ".join(str(name) for name in self.columns)
        return f"{type(self).__name__}({self.size} rows of a grid {self.grid}: {names})"


class LazyColumn(CoordinateTransformIndexingAdapter):
    """One coordinate of a RowMajorTransform as an array, whose values are made when asked for."""

    _transform: RowMajorTransform

    @property
    def dtype(self) -> np.dtype[Any]:
        dtype: np.dtype[Any] = self._transform.columns[self._coord_name].values.dtype
        return dtype

    @property
    def _in_memory(self) -> bool:
        return False

    def get_duck_array(self) -> Array:
        return self._transform.values(self._coord_name)

    def _part(self, key: Any) -> Any:
        if isinstance(key, slice):
            return self._of(key)
        rows = np.asarray(key)
        return self._of(rows.reshape(-1)).get_duck_array().reshape(rows.shape)

    def _of(self, key: slice | Array) -> LazyColumn:
        transform = self._transform
        return LazyColumn(transform.with_cells(pick(transform.cells, key)), self._coord_name)

    def same_as(self, other: LazyColumn) -> bool:
        """Whether both are the same coordinate of the same rows of a grid."""
        one, two = self._transform, other._transform
        columns = one.columns[self._coord_name], two.columns[other._coord_name]
        alike = one.grid == two.grid and columns[0].same_as(columns[1])
        return alike and same_cells(one.cells, two.cells)

    def __getitem__(self, indexer: ExplicitIndexer) -> Any:
        self._check_and_raise_if_non_basic_indexer(indexer)
        return self._oindex_get(indexer)

    def _oindex_get(self, indexer: ExplicitIndexer) -> Any:
        return self._part(indexer.tuple[0] if indexer.tuple else slice(None))

    _vindex_get = _oindex_get

    def __dask_tokenize__(self) -> Any:
        return type(self).__name__, self._transform, self._coord_name


class LazyVariable(xr.Variable):
    """The variable of a LazyColumn; it stays one where what it belongs to is loaded or computed.

    xarray's own IndexVariable does likewise. Asking for its values gives an array all the same.
    """

    __slots__ = ()

    def load(self, **options: Any) -> Self:
        """Itself."""
        return self if isinstance(self._data, LazyColumn) else super().load(**options)

    async def load_async(self, **options: Any) -> Self:
        """Itself."""
        return self.load(**options)

    def equals(self, other: Any, equiv: Any = duck_array_ops.array_equiv) -> bool | None:
        """Whether the values are equal, which two of the same rows tell without making them."""
        mine, theirs = self._data, getattr(other, "_data", None)
        if isinstance(mine, LazyColumn) and isinstance(theirs, LazyColumn):
            if mine.same_as(theirs):
                return bool(self.dims == other.dims)
        same: bool | None = super().equals(other, equiv)
        return same

    def __dask_tokenize__(self) -> Any:
        if isinstance(self._data, LazyColumn):
            return type(self).__name__, self._dims, self._data, self._attrs
        return super().__dask_tokenize__()


class RowMajorIndex(CoordinateTransformIndex):
    """The index of the rows of a grid, with every coordinate they have.

    Slices of it are as lazy as it is itself. Rows picked one by one, and parts concatenated that do
    not follow each other, keep a list of their cells; so they can still be selected and aligned.

    Parameters
    ----------
    transform : from rows to coordinates
    """

    transform: RowMajorTransform

    @classmethod
    def from_variables(
        cls, variables: Mapping[Any, xr.Variable], *, options: Mapping[str, Any]
    ) -> Self:
        """The index of coordinates in memory, all along one dimension: a list of rows."""
        dims = {each.dims for each in variables.values()}
        if len(dims) != 1 or len(next(iter(dims))) != 1:
            raise LayoutError(
                f"{cls.__name__} takes coordinates along one and the same dimension, found "
                f"{sorted(map(str, dims))}"
            )
        columns = {name: Column(each.values, (0,), each.attrs) for name, each in variables.items()}
        first = next(iter(variables.values()))
        return cls(RowMajorTransform((first.size,), columns, dim=str(first.dims[0])))

    def create_variables(
        self, variables: Mapping[Any, xr.Variable] | None = None
    ) -> dict[Any, xr.Variable]:
        """The lazy coordinates, with the attributes of `variables`, else those they always had."""
        made: dict[Any, xr.Variable] = {}
        for name, column in self.transform.columns.items():
            known = (variables or {}).get(name)
            made[name] = LazyVariable(
                self.transform.dims,
                LazyColumn(self.transform, name),
                dict(column.attrs) if known is None else known.attrs,
                None if known is None else known.encoding,
            )
        return made

    def isel(self, indexers: Mapping[Any, Any]) -> Self | None:
        """The index of the rows that are selected; None for a single row or points of a shape."""
        key = indexers[self.transform.dim]
        if isinstance(key, xr.Variable) and key.dims != self.transform.dims:
            return None
        if not isinstance(key, slice):
            key = np.asarray(key)
            if key.ndim != 1:
                return None
        return self._with(pick(self.transform.cells, key))

    def sel(
        self, labels: dict[Any, Any], method: str | None = None, tolerance: Any = None
    ) -> IndexSelResult:
        """The rows that have the labels; see `lookup.rows_with`."""
        held = self.transform
        rows = rows_with(labels, held.columns, held.grid, held.cells, method, tolerance)
        return IndexSelResult({held.dim: rows})

    @classmethod
    def concat(
        cls,
        indexes: Sequence[Self],
        dim: Hashable,
        positions: Iterable[Iterable[int]] | None = None,
    ) -> Self:
        """One index after the other: a range where they are neighbours, else a list of cells.

        Of different grids it is a list of rows with their coordinates in memory.
        """
        held = [each.transform for each in indexes]
        first = held[0]
        for each in held[1:]:
            if set(each.columns) != set(first.columns):
                raise LayoutError(
                    f"rows with the coordinates {sorted(map(str, first.columns))} and "
                    f"{sorted(map(str, each.columns))} cannot be concatenated; drop those that "
                    "they do not share with .reset_index(...) and .drop_vars(...)"
                )
        if not all(each.on_same_grid(first) for each in held[1:]):
            first, held = _listed(held)
        cells = joined([each.cells for each in held])
        if positions is not None:
            places = np.concatenate([np.asarray(each, np.int64) for each in positions])
            cells = pick(cells, np.argsort(places, kind="stable"))
        return cls(first.with_cells(cells))

    def join(self, other: Self, how: str = "inner") -> Self:
        """The index of the rows that are in both ("inner"), or in either ("outer")."""
        self._check_alike(other)
        combine = united if how == "outer" else shared
        return self._with(combine(self.transform.cells, other.transform.cells))

    def reindex_like(self, other: Self, **_: Any) -> dict[Hashable, Any]:
        """The row here for each row of `other`, -1 where there is none."""
        self._check_alike(other)
        cells = self.transform.cells
        if not isinstance(cells, range) and np.unique(cells).size < cells.size:
            raise ValueError(
                f"cannot reindex or align along {self.transform.dim!r}: some rows are there twice"
            )
        return {self.transform.dim: rows_of(cells, other.transform.cells)}

    def rename(self, name_dict: Mapping[Any, Hashable], dims_dict: Mapping[Any, Hashable]) -> Self:
        """The same with other names."""
        held = self.transform
        columns = {name_dict.get(name, name): each for name, each in held.columns.items()}
        dim = str(dims_dict.get(held.dim, held.dim))
        if dim == held.dim and list(columns) == list(held.columns):
            return self
        return type(self)(RowMajorTransform(held.grid, columns, held.cells, dim))

    def to_pandas_index(self) -> pd.MultiIndex:
        """All labels of the rows, in memory."""
        columns = self.transform.columns.items()
        found = {name: pd.factorize(each.values.reshape(-1)) for name, each in columns}
        codes = [
            replace(each, values=found[name][0].reshape(each.values.shape)).at(
                self.transform.cells, self.transform.grid
            )
            for name, each in columns
        ]
        return pd.MultiIndex([levels for _, levels in found.values()], codes, names=list(found))

    def unstack(self) -> tuple[dict[Hashable, Index], pd.MultiIndex]:
        """An index for each axis of the grid, and the axes of each row, for `DataArray.unstack`."""
        held = self.transform
        axes = self.axes()
        if len(axes) < len(held.grid) or len(held.columns) > len(axes):
            raise LayoutError(
                f"unstacking {held.dim!r} would lose what is no axis of its grid (of "
                f"{', '.join(map(str, held.columns))}); use .usid.to_nd(), which is lazy as well"
            )
        for name in axes:
            if not pd.Index(held.columns[name].values).is_unique:
                raise LayoutError(f"{name!r} repeats values, so that nothing unstacks by it")
        rows = self.to_pandas_index().remove_unused_levels()
        indexes: dict[Hashable, Index] = {
            name: PandasIndex(level.rename(name), name, coord_dtype=held.columns[name].values.dtype)
            for name, level in zip(axes, rows.levels)
        }
        return indexes, rows

    def axes(self) -> tuple[Hashable, ...]:
        """Names of the coordinates that are the axes of the grid, slowest first."""
        named = {each.axes: name for name, each in self.transform.columns.items() if each.is_axis}
        return tuple(named[axes] for axes in sorted(named))

    def _with(self, cells: Cells) -> Self:
        return type(self)(self.transform.with_cells(cells))

    def _check_alike(self, other: Self) -> None:
        if not self.transform.on_same_grid(other.transform):
            raise LayoutError(
                f"rows of two different grids along {self.transform.dim!r} cannot be aligned: "
                f"{self.transform!r} and {other.transform!r}; drop the labels of one with "
                f".drop_vars({sorted(map(str, self.transform.columns))}) to go by the order of rows"
            )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.transform!r})"

    def _repr_inline_(self, max_width: int) -> str:
        held = self.transform
        listed = "" if isinstance(held.cells, range) else ", listed"
        grid = " x ".join(map(str, held.grid))
        return f"{type(self).__name__} ({held.size} rows of {grid}{listed})"[:max_width]


def _listed(
    held: Sequence[RowMajorTransform],
) -> tuple[RowMajorTransform, list[RowMajorTransform]]:
    """Rows of several grids as one list of rows, with their coordinates in memory."""
    columns = {
        name: Column(np.concatenate([each.values(name) for each in held]), (0,), column.attrs)
        for name, column in held[0].columns.items()
    }
    whole = RowMajorTransform((sum(each.size for each in held),), columns, dim=held[0].dim)
    return whole, [whole]


def index_along(obj: xr.DataArray | xr.Dataset, dim: str) -> RowMajorIndex | None:
    """The lazy index of the rows along `dim`, None where there is none."""
    found = (each for each in obj.xindexes.values() if isinstance(each, RowMajorIndex))
    return next((each for each in found if each.transform.dim == dim), None)
