"""The four index and value matrices of a Main, and the layouts they stand for.

`infer_layout` reads the matrices of one side; `index_matrix` and `value_matrix` give them back, in
the order of the file's rows, with columns from slowest to fastest. A spectroscopic matrix lies
transposed in the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from usidx.errors import LayoutError
from usidx.model.dimension import Array, Dimension, Role
from usidx.model.inference import infer_layout, unused
from usidx.model.layout import Coordinate, Grid, Layout, Points

__all__ = [
    "Matrices",
    "disambiguate",
    "file_labels",
    "file_quantities",
    "file_units",
    "index_matrix",
    "infer_layout",
    "value_matrix",
    "with_quantities",
]


def index_matrix(layout: Layout, start: int = 0, stop: int | None = None) -> Array:
    """Indices of the file's rows `start` to `stop`: array of uint32, shape (rows, columns).

    Counters that are no whole numbers from 0 on become their ranks.
    """
    return Matrices(layout).indices(start, stop)


def value_matrix(layout: Layout, start: int = 0, stop: int | None = None) -> Array:
    """Values of the file's rows `start` to `stop`: array of floats, shape (rows, columns).

    float32, as other programs write them, where that holds all values exactly, else float64.

    Raises
    ------
    LayoutError : for values that are no numbers, or that float64 cannot hold either
    """
    return Matrices(layout).values(start, stop)


@dataclass(frozen=True, eq=False)
class Matrices:
    """Both matrices of a side, made as many rows at a time as are asked for.

    What holds for all rows is worked out once, so that it is the object to keep for many rows.
    """

    layout: Layout

    @cached_property
    def columns(self) -> tuple[FileColumn, ...]:
        """The columns of both matrices, slowest first."""
        return file_columns(self.layout)

    @cached_property
    def value_type(self) -> np.dtype[Any]:
        """Of the values: float32 where that holds all of them exactly, else float64."""
        return np.dtype(_float_type(self.columns))

    def indices(self, start: int = 0, stop: int | None = None) -> Array:
        """As `index_matrix`."""
        return self._rows(self._counters, np.dtype(np.uint32), start, stop)

    def values(self, start: int = 0, stop: int | None = None) -> Array:
        """As `value_matrix`."""
        values = tuple(column.values for column in self.columns)
        return self._rows(values, self.value_type, start, stop)

    @cached_property
    def _counters(self) -> tuple[Array, ...]:
        return tuple(_unsigned(column.indices) for column in self.columns)

    @cached_property
    def _cell_of_row(self) -> Array | None:
        if self.layout.order is None:
            return None
        cells = np.empty(self.layout.size, np.int64)
        cells[self.layout.order] = np.arange(self.layout.size)
        return cells

    def _rows(
        self, tables: tuple[Array, ...], dtype: np.dtype[Any], start: int, stop: int | None
    ) -> Array:
        start, stop, _ = slice(start, stop).indices(self.layout.size)
        rows = np.arange(start, max(start, stop))
        cells = rows if self._cell_of_row is None else self._cell_of_row[rows]
        places = np.unravel_index(cells, self.layout.shape)
        matrix: Array = np.empty((rows.size, len(tables)), dtype)
        for number, (table, column) in enumerate(zip(tables, self.columns, strict=True)):
            matrix[:, number] = table[tuple(places[axis] for axis in column.axes)]
        return matrix


def file_labels(layout: Layout) -> tuple[str, ...]:
    """Labels of the columns of both matrices."""
    return tuple(column.label for column in file_columns(layout))


def file_units(layout: Layout) -> tuple[str, ...]:
    """Units of the columns of both matrices."""
    return tuple(column.units for column in file_columns(layout))


def file_quantities(layout: Layout) -> tuple[str, ...]:
    """What each column of both matrices measures, "" where its label says it.

    Examples
    --------
    >>> bias, time = Dimension("V", "V", 3, quantity="Bias"), Dimension("time", "s", 2)
    >>> file_quantities(Grid("spectroscopic", (bias, time)))
    ('Bias', '')
    """
    known = _quantities(layout)
    return tuple(known.get(label, "") for label in file_labels(layout))


def with_quantities(layout: Layout, quantities: Sequence[str]) -> Layout:
    """A layout of which the columns of both matrices measure what `file_quantities` gave."""
    labels = file_labels(layout)
    if not isinstance(layout, Grid) or not any(quantities) or len(quantities) != len(labels):
        return layout
    told = dict(zip(labels, quantities))
    dimensions = tuple(
        replace(each, quantity=told.get(each.file_label) or each.quantity)
        for each in layout.dimensions
    )
    return replace(layout, dimensions=dimensions)


def _quantities(layout: Layout) -> Mapping[str, str]:
    if not isinstance(layout, Grid):
        return {}
    return {
        each.file_label: each.quantity
        for each in layout.dimensions
        if each.quantity not in ("", each.name, each.file_label)
    }


@dataclass(frozen=True, eq=False)
class FileColumn:
    """One column of the matrices.

    Parameters
    ----------
    label, units : as the file has them
    axes : numbers of the side's N-D axes along which it changes
    indices, values : arrays, one axis for each of `axes`
    """

    label: str
    units: str
    axes: tuple[int, ...]
    indices: Array
    values: Array


def file_columns(layout: Layout) -> tuple[FileColumn, ...]:
    """The columns of both matrices, slowest first.

    A coordinate that has the values of a dimension shares the column of that; any other stands
    after the fastest dimension it varies with.
    """
    if isinstance(layout, Points):
        return tuple(_own_column(each, (0,)) for each in layout.columns)
    columns: list[FileColumn] = []
    values_of = paired(layout)
    shared = {each.name for each in values_of.values()}
    alone = [each for each in layout.dependent if each.name not in shared]
    for number, dimension in enumerate(layout.dimensions):
        coordinate = values_of.get(dimension.name)
        if coordinate is None:
            columns.append(_dimension_column(dimension, number))
        else:
            columns.append(_shared_column(dimension, coordinate, _axes(layout, coordinate)))
        for each in alone:
            axes = _axes(layout, each)
            if max(axes, default=0) == number:
                columns.append(_own_column(each, axes))
    return tuple(columns)


def paired(grid: Grid) -> Mapping[str, Coordinate]:
    """Coordinates that hold the values of a dimension, by the dimension's name.

    Where the values of "DC_Offset" change from cycle to cycle, its dimension is "DC_Offset_index",
    and the coordinate "DC_Offset" varies with that and the cycle. In the file both are one column.
    """
    return {
        dimension.name: each
        for dimension in grid.dimensions
        for each in grid.dependent
        if each.indices is None
        and len(each.dims) > 1
        and dimension.name in each.dims
        and dimension.file_label == each.file_label
    }


def _axes(grid: Grid, coordinate: Coordinate) -> tuple[int, ...]:
    unknown = [name for name in coordinate.dims if name not in grid.dims]
    if unknown:
        raise LayoutError(
            f"coordinate {coordinate.name!r} varies with {unknown[0]!r}, which is no dimension of "
            f"the {grid.role} side; it has {list(grid.dims)}"
        )
    return tuple(grid.dims.index(name) for name in coordinate.dims)


def _dimension_column(dimension: Dimension, axis: int) -> FileColumn:
    return FileColumn(
        dimension.file_label, dimension.units, (axis,), dimension.counters, dimension.values
    )


def _shared_column(
    dimension: Dimension, coordinate: Coordinate, axes: tuple[int, ...]
) -> FileColumn:
    along = [-1 if name == dimension.name else 1 for name in coordinate.dims]
    indices = np.broadcast_to(dimension.counters.reshape(along), coordinate.values.shape)
    return FileColumn(
        coordinate.file_label, coordinate.units, axes, np.asarray(indices), coordinate.values
    )


def _own_column(coordinate: Coordinate, axes: tuple[int, ...]) -> FileColumn:
    indices = coordinate.indices
    if indices is None:
        indices = np.arange(coordinate.values.size).reshape(coordinate.values.shape)
    return FileColumn(coordinate.file_label, coordinate.units, axes, indices, coordinate.values)


def _unsigned(indices: Array) -> Array:
    if indices.dtype.kind in "iub" and indices.min() >= 0 and indices.max() < 2**32:
        return indices
    return np.unique(indices, return_inverse=True)[1].reshape(indices.shape)


def _float_type(columns: tuple[FileColumn, ...]) -> type[np.float32] | type[np.float64]:
    """The smallest of float32 and float64 that holds the values of all columns exactly."""
    for column in columns:
        if column.values.dtype.kind not in "fiub":
            seconds = f"(da[{column.label!r}] - da[{column.label!r}][0]) / np.timedelta64(1, 's')"
            by = f" by {seconds}" if column.values.dtype.kind == "M" else ""
            raise LayoutError(
                f"coordinate {column.label!r} holds {column.values.dtype}, but the values of a "
                f"USID dimension are real numbers; convert it{by}, or drop it from the array"
            )
        if not _is_exact(column.values, np.float64):
            raise LayoutError(
                f"float64 cannot hold the values of coordinate {column.label!r} exactly, and USID "
                "knows no wider numbers; subtract an offset from them"
            )
    exact = all(_is_exact(column.values, np.float32) for column in columns)
    return np.float32 if exact else np.float64


def _is_exact(values: Array, kind: type[np.float32] | type[np.float64]) -> bool:
    """Whether floats of a kind hold `values` and give them back."""
    if values.dtype.kind in "iub":
        most = 2 ** (np.finfo(kind).nmant + 1)
        # beyond that only some whole numbers are floats, which is not worth telling apart
        return bool(values.min() >= -most and values.max() <= most)
    with np.errstate(over="ignore"):
        return bool(np.array_equal(values.astype(kind), values, equal_nan=True))


def disambiguate(position: Layout, spectroscopic: Layout) -> tuple[Layout, Layout]:
    """Both sides with names that are unique within the Main.

    A name in use on both sides gets `_spectroscopic` on the spectroscopic side; the label stays.

    Examples
    --------
    >>> rows = Grid("position", (Dimension("X", "um", 3),))
    >>> columns = Grid("spectroscopic", (Dimension("X", "1/nm", 5),))
    >>> [side.dims for side in disambiguate(rows, columns)]
    [('X',), ('X_spectroscopic',)]
    """
    position = _renamed(position, _axis_names(spectroscopic), "position")
    taken = {*position.names, *position.dims}
    return position, _renamed(spectroscopic, taken, "spectroscopic")


def _axis_names(layout: Layout) -> set[str]:
    """Names of axes that no coordinate stands for: they cannot be changed."""
    return set(layout.dims) - set(layout.names)


def _renamed(layout: Layout, taken: set[str], role: Role) -> Layout:
    known = [*taken, *layout.names, *layout.dims]
    new: dict[str, str] = {}
    for name in layout.names:
        new[name] = unused(f"{name}_{role}", known) if name in taken else name
        known.append(new[name])
    if all(name == other for name, other in new.items()):
        return layout
    if isinstance(layout, Points):
        columns = (_coordinate_renamed(each, new) for each in layout.columns)
        return replace(layout, columns=tuple(columns))
    return replace(
        layout,
        dimensions=tuple(
            each
            if new[each.name] == each.name
            else replace(each, name=new[each.name], label=each.file_label)
            for each in layout.dimensions
        ),
        dependent=tuple(_coordinate_renamed(each, new) for each in layout.dependent),
    )


def _coordinate_renamed(coordinate: Coordinate, new: Mapping[str, str]) -> Coordinate:
    dims = tuple(new.get(name, name) for name in coordinate.dims)
    if new[coordinate.name] == coordinate.name:
        return replace(coordinate, dims=dims)
    return replace(coordinate, name=new[coordinate.name], dims=dims, label=coordinate.file_label)
