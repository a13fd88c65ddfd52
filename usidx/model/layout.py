"""How the rows (or columns) of a Main's 2-D form fold into N-D."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from usidx.errors import LayoutError
from usidx.model.blocks import axis_range, contiguous_run
from usidx.model.dimension import Array, Dimension, Role, same_values


@dataclass(frozen=True, eq=False)
class Coordinate:
    """Values that belong to cells of a side without being a dimension of it.

    Either a column of a side that is no grid (dims is ("position",) or ("spectroscopic",)), or a
    quantity of a grid that changes with other dimensions than its own.

    Parameters
    ----------
    name, units : as for a Dimension
    dims : names of the dimensions along which the values change, in the order of the array's axes
    values : array, one axis for each name in `dims`
    indices : array of the same shape, the counters of the file
    label : the name in the file, where `name` differs from it
    """

    name: str
    units: str
    dims: tuple[str, ...]
    values: Array
    indices: Array | None = None
    label: str | None = None

    @property
    def file_label(self) -> str:
        """The name as the file has it."""
        return self.name if self.label is None else self.label

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Coordinate):
            return NotImplemented
        if (self.name, self.units, self.dims, self.file_label) != (
            other.name,
            other.units,
            other.dims,
            other.file_label,
        ):
            return False
        if self.indices is None or other.indices is None:
            same_indices = self.indices is other.indices
        else:
            same_indices = same_values(self.indices, other.indices)
        return same_indices and same_values(self.values, other.values)

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True, eq=False)
class Grid:
    """A side whose rows visit every cell of a grid exactly once.

    Parameters
    ----------
    role : "position" for rows, "spectroscopic" for columns
    dimensions : slowest to fastest, the axes of the N-D form
    dependent : coordinates over several dimensions of this side
    order : array of int64, shape (size,), the file's row of each cell in row-major order;
        None where the file is in row-major order already
    """

    role: Role
    dimensions: tuple[Dimension, ...]
    dependent: tuple[Coordinate, ...] = ()
    order: Array | None = None

    def __post_init__(self) -> None:
        if not self.dimensions:
            raise LayoutError(f"the {self.role} side needs at least one Dimension")
        names = [each.name for each in self.dimensions] + [each.name for each in self.dependent]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise LayoutError(
                f"the {self.role} side has more than one dimension named {twice[0]!r}"
            )
        if self.order is not None and self.order.shape != (self.size,):
            raise LayoutError(f"order has shape {self.order.shape}, the grid has {self.size} cells")

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of the N-D axes, slowest to fastest."""
        return tuple(each.name for each in self.dimensions)

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the N-D axes, slowest to fastest."""
        return tuple(each.size for each in self.dimensions)

    @property
    def size(self) -> int:
        """Rows (or columns) in the 2-D form."""
        return math.prod(self.shape)

    @property
    def names(self) -> tuple[str, ...]:
        """Every coordinate name of this side."""
        return self.dims + tuple(each.name for each in self.dependent)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Grid):
            return NotImplemented
        return (
            self.role == other.role
            and self.dimensions == other.dimensions
            and self.dependent == other.dependent
            and _same_order(self.order, other.order)
        )

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True, eq=False)
class Points:
    """A side that is no full grid: a list of rows, each with its coordinates.

    Parameters
    ----------
    role : "position" for rows, "spectroscopic" for columns; also the name of its one dimension
    columns : one coordinate for each dimension in the file, slowest first where that is known
    reason : why it is no grid, as a sentence people can read
    """

    role: Role
    columns: tuple[Coordinate, ...]
    reason: str = ""

    def __post_init__(self) -> None:
        if not self.columns:
            raise LayoutError(f"the {self.role} side needs at least one column")
        sizes = {each.values.shape for each in self.columns}
        if len(sizes) != 1 or len(self.columns[0].values.shape) != 1:
            raise LayoutError(f"columns of the {self.role} side differ in shape: {sorted(sizes)}")

    @property
    def dims(self) -> tuple[str, ...]:
        """The one N-D axis of this side: its role."""
        return (self.role,)

    @property
    def shape(self) -> tuple[int, ...]:
        """Size of the one axis."""
        return (self.size,)

    @property
    def size(self) -> int:
        """Rows (or columns) in the 2-D form."""
        return int(self.columns[0].values.shape[0])

    @property
    def names(self) -> tuple[str, ...]:
        """Every coordinate name of this side."""
        return tuple(each.name for each in self.columns)

    @property
    def order(self) -> None:
        """A list of points is kept in the order of the file."""
        return None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Points):
            return NotImplemented
        return self.role == other.role and self.columns == other.columns

    __hash__ = None  # type: ignore[assignment]


Layout = Grid | Points


def file_rows(layout: Layout, key: tuple[int | slice, ...]) -> slice | Array:
    """The file's rows (or columns) of some cells, in row-major order of the cells.

    Parameters
    ----------
    layout : of the side
    key : ints and slices of step 1 over the N-D axes of the side; missing ones are taken whole

    Returns
    -------
    rows : a slice where they are one ascending run, else an array of int64, shape (cells,)

    Examples
    --------
    >>> file_rows(Grid("position", (Dimension("Y", "um", 4), Dimension("X", "um", 3))), (1,))
    slice(3, 6, None)
    """
    if layout.order is None:
        run = contiguous_run(key, layout.shape)
        if run is not None:
            return slice(*run)
    places = [axis_range(each, size) for each, size in zip(key, layout.shape, strict=False)]
    places += [range(size) for size in layout.shape[len(key) :]]
    rows: Array = np.zeros((), np.int64)
    for each, size in zip(places, layout.shape, strict=True):
        rows = np.add.outer(rows * size, np.asarray(each, np.int64))
    rows = rows.reshape(-1)
    if layout.order is not None:
        rows = np.asarray(layout.order[rows], np.int64)
        if rows.size and bool((np.diff(rows) == 1).all()):
            return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows


def _same_order(left: Array | None, right: Array | None) -> bool:
    if left is None or right is None:
        return left is right
    return bool(np.array_equal(left, right))
