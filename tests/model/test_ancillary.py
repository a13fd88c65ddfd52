"""Index and value matrices give their layout back, whatever the order of rows and columns."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from usidx.errors import LayoutError
from usidx.model import raster
from usidx.model.ancillary import (
    disambiguate,
    file_labels,
    file_units,
    index_matrix,
    infer_layout,
    value_matrix,
)
from usidx.model.dimension import Array, Dimension
from usidx.model.layout import Coordinate, Grid, Layout, Points, file_rows

NAMES = "ABCDEF"


@st.composite
def dimensions(draw: st.DrawFn, smallest: int = 1) -> tuple[Dimension, ...]:
    """Dimensions of any size, with values that may repeat, fall or be NaN, and odd counters."""
    sizes = draw(st.lists(st.integers(smallest, 5), min_size=1, max_size=5))
    return tuple(draw(_dimension(NAMES[n], size)) for n, size in enumerate(sizes))


@st.composite
def _dimension(draw: st.DrawFn, name: str, size: int) -> Dimension:
    number = st.floats(width=32, allow_nan=True)
    values = np.array(draw(st.lists(number, min_size=size, max_size=size)), "f4")
    plain = draw(st.booleans())
    counter = st.integers(0, 2**32 - 1)
    counters = draw(st.lists(counter, min_size=size, max_size=size, unique=True))
    indices = None if plain else np.sort(np.array(counters, "u4"))
    if indices is not None and (indices == np.arange(size)).all():
        indices = None
    return Dimension(name, f"unit {name}", values, indices)


def _infer(layout: Layout, columns: Sequence[int] | None = None) -> Layout:
    """What is inferred from a layout's own matrices, with the columns in another order."""
    listed = list(range(len(file_labels(layout)))) if columns is None else list(columns)
    return infer_layout(
        layout.role,
        [file_labels(layout)[n] for n in listed],
        [file_units(layout)[n] for n in listed],
        index_matrix(layout)[:, listed],
        value_matrix(layout)[:, listed],
    )


def _snake(shape: tuple[int, ...]) -> Array:
    """File row of each cell, in row-major order, where every other line runs backwards."""
    cells = np.arange(math.prod(shape)).reshape(shape)
    for axis in range(1, len(shape)):
        lines = cells.reshape(-1, *shape[axis:])
        lines[1::2] = lines[1::2, ::-1].copy()
    return np.argsort(cells.reshape(-1))


def _same_content(found: Layout, layout: Layout) -> None:
    """Every row of the file has the same indices and values under the same labels in both."""
    columns = [file_labels(found).index(label) for label in file_labels(layout)]
    assert len(columns) == len(file_labels(found))
    np.testing.assert_array_equal(index_matrix(found)[:, columns], index_matrix(layout))
    np.testing.assert_array_equal(value_matrix(found)[:, columns], value_matrix(layout))
    assert [file_units(found)[n] for n in columns] == list(file_units(layout))


def _is_row_major(found: Grid) -> None:
    """Cells in the order of the N-D form ascend in their indices, and none comes twice."""
    rows = index_matrix(found)[file_rows(found, ())]
    columns = [file_labels(found).index(each.file_label) for each in found.dimensions]
    cells = [tuple(row) for row in rows[:, columns].tolist()]
    assert cells == sorted(set(cells))


@given(dimensions())
def test_raster(dims: tuple[Dimension, ...]) -> None:
    grid = Grid("position", dims)
    assert _infer(grid) == grid


@given(dimensions(smallest=2))
def test_raster_with_columns_fastest_first(dims: tuple[Dimension, ...]) -> None:
    grid = Grid("spectroscopic", dims)
    assert _infer(grid, range(len(dims))[::-1]) == grid


@given(dimensions())
def test_fastest_first_with_dimensions_of_size_one(dims: tuple[Dimension, ...]) -> None:
    assume(sum(each.size > 1 for each in dims) > 1)  # else the file does not tell its order
    grid = Grid("position", dims)
    assert _infer(grid, range(len(dims))[::-1]) == grid


@given(dimensions(smallest=2), st.data())
def test_raster_with_columns_in_any_order(dims: tuple[Dimension, ...], data: st.DataObject) -> None:
    grid = Grid("position", dims)
    assert _infer(grid, data.draw(st.permutations(range(len(dims))))) == grid


@given(dimensions(smallest=3))
def test_snake(dims: tuple[Dimension, ...]) -> None:
    order = _snake(tuple(each.size for each in dims))
    grid = Grid("position", dims, order=order if (np.diff(order) < 0).any() else None)
    assert _infer(grid) == grid


@given(dimensions(), st.data())
def test_any_order_of_rows_and_columns_keeps_everything(
    dims: tuple[Dimension, ...], data: st.DataObject
) -> None:
    size = math.prod(each.size for each in dims)
    order = np.random.default_rng(data.draw(st.integers(0, 99))).permutation(size)
    grid = Grid("position", dims, order=order)
    found = _infer(grid, data.draw(st.permutations(range(len(dims)))))
    assert isinstance(found, Grid)
    assert {each.name for each in found.dimensions} == {each.name for each in dims}
    assert all(each in dims for each in found.dimensions)
    _same_content(found, grid)
    _is_row_major(found)


@given(dimensions(), st.data())
def test_a_row_that_is_missing_or_comes_twice_makes_points(
    dims: tuple[Dimension, ...], data: st.DataObject
) -> None:
    grid = Grid("position", dims)
    assume(sum(each.size > 1 for each in dims) > 1)
    rows = list(range(grid.size))
    row = data.draw(st.sampled_from(rows))
    twice = data.draw(st.booleans())
    rows.insert(data.draw(st.sampled_from(rows)), row) if twice else rows.remove(row)
    indices, values = index_matrix(grid)[rows], value_matrix(grid)[rows]
    found = infer_layout("position", file_labels(grid), file_units(grid), indices, values)
    _keeps(found, file_labels(grid), indices, values)
    if twice:
        assert isinstance(found, Points)
        assert f"1 of the {len(rows)} rows repeat" in found.reason
    elif all(each.size > 2 for each in dims):
        assert isinstance(found, Points)
        assert f"a part of the {grid.size} cells" in found.reason


def _keeps(found: Layout, labels: Sequence[str], indices: Array, values: Array) -> None:
    columns = [file_labels(found).index(label) for label in labels]
    np.testing.assert_array_equal(index_matrix(found)[:, columns], indices)
    np.testing.assert_array_equal(value_matrix(found)[:, columns], values)


@st.composite
def dependent_grids(draw: st.DrawFn) -> Grid:
    """Grids with one dimension whose values change with others, and one column tied to others."""
    dims = list(draw(dimensions(smallest=2)))
    assume(len(dims) > 1)
    names = [each.name for each in dims]
    own = draw(st.sampled_from(names))
    others = draw(st.sets(st.sampled_from(names), min_size=1)) - {own}
    assume(others)
    at = names.index(own)
    counters = dims[at].counters
    index = Dimension(f"{own}_index", "", counters, dims[at].indices, label=own)
    dims[at] = index
    shared = [index.name if n == own else n for n in names if n == own or n in others]
    dependent = [Coordinate(own, "V", tuple(shared), _all_different(dims, shared))]
    if draw(st.booleans()):
        # over several dimensions, as over one it would be of the same size as its axis
        tied = [each.name for each in dims if draw(st.booleans())]
        assume(len(tied) > 1)
        cells = _all_different(dims, tied)
        tied_indices = cells.astype("u4")[::-1].copy()
        dependent.append(Coordinate("T", "K", tuple(tied), cells * 2, tied_indices))
    return Grid("spectroscopic", tuple(dims), tuple(dependent))


def _all_different(dims: Sequence[Dimension], names: Sequence[str]) -> Array:
    shape = [each.size for each in dims if each.name in names]
    return np.arange(math.prod(shape), dtype="f4").reshape(shape)


@given(dependent_grids())
def test_dependent_coordinates(grid: Grid) -> None:
    assert _infer(grid) == grid


@given(dependent_grids(), st.integers(0, 99))
def test_dependent_coordinates_in_any_order(grid: Grid, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(grid.size)
    scattered = Grid(grid.role, grid.dimensions, grid.dependent, order)
    found = _infer(scattered)
    assert isinstance(found, Grid)
    _same_content(found, scattered)
    _is_row_major(found)
    assert {each.name for each in found.dependent} == {each.name for each in grid.dependent}


def test_column_tied_to_one_dimension_comes_back() -> None:
    dims = (Dimension("Step", "", 4), Dimension("Frequency", "kHz", 7))
    amplitude = Coordinate("AC", "V", ("Step",), np.array([0, 1, 4, 9.0], "f4"))
    grid = Grid("spectroscopic", dims, (amplitude,))
    assert file_labels(grid) == ("Step", "AC", "Frequency")
    assert _infer(grid) == grid


class _Watched:
    """A matrix that can only be read by slices of rows, and remembers how."""

    def __init__(self, matrix: Array) -> None:
        self._matrix = matrix
        self.shape = matrix.shape
        self.dtype = matrix.dtype
        self.most = 0
        self.total = 0

    def __getitem__(self, rows: slice) -> Array:
        part = self._matrix[rows]
        self.most = max(self.most, len(part))
        self.total += len(part)
        return part


@given(dimensions(smallest=2), st.integers(1, 400))
def test_any_size_of_block_gives_the_same(dims: tuple[Dimension, ...], budget: int) -> None:
    grid = Grid("position", dims)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(raster, "READ_BUDGET", budget)
        assert _infer(grid) == grid


@given(dependent_grids(), st.integers(1, 400))
def test_any_size_of_block_gives_the_same_dependents(grid: Grid, budget: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(raster, "READ_BUDGET", budget)
        assert _infer(grid) == grid


def test_raster_is_read_once_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raster, "READ_BUDGET", 2**14)
    dims = (Dimension("Y", "um", 300), Dimension("X", "um", 700))
    grid = Grid("position", dims)
    indices, values = _Watched(index_matrix(grid)), _Watched(value_matrix(grid))
    assert infer_layout("position", ["Y", "X"], ["um", "um"], indices, values) == grid
    assert values.total == grid.size
    assert indices.total < grid.size + 200  # and some single rows, to find the sizes
    assert max(indices.most, values.most) <= 2**14 // 16


def test_a_wrong_value_anywhere_is_found() -> None:
    dims = (Dimension("Y", "um", 30), Dimension("X", "um", 70))
    grid = Grid("position", dims)
    values = value_matrix(grid)
    values[1234, 1] += 1
    found = infer_layout("position", ["Y", "X"], ["um", "um"], index_matrix(grid), values)
    assert isinstance(found, Grid)
    assert found.dims == ("Y", "X_index")
    np.testing.assert_array_equal(value_matrix(found), values)


def test_a_wrong_index_anywhere_makes_points() -> None:
    dims = (Dimension("Y", "um", 30), Dimension("X", "um", 70))
    indices = index_matrix(Grid("position", dims))
    indices[1234, 1] += 1
    found = infer_layout("position", ["Y", "X"], ["", ""], indices, indices.astype("f4"))
    assert isinstance(found, Points)
    assert "1 of the 2100 rows repeat the indices" in found.reason


def test_ragged_columns_make_points() -> None:
    indices = np.array([(cycle, step) for cycle in range(3) for step in range(4 + cycle)])
    found = infer_layout("spectroscopic", ["Cycle", "Step"], ["", "V"], indices, indices * 0.5)
    assert isinstance(found, Points)
    assert found.reason == "15 rows fill a part of the 18 cells of a 3 x 6 grid of Cycle, Step"
    np.testing.assert_array_equal(value_matrix(found), indices * 0.5)


def test_points_come_back() -> None:
    columns = (
        Coordinate("X", "nm", ("position",), np.array([0.5, 0.1, 0.7, 0.1], "f4")),
        Coordinate("Y", "um", ("position",), np.array([3, 3, 1, 2], "f4")),
    )
    points = Points("position", columns)
    assert _infer(points) == points
    seen = tuple(
        Coordinate(each.name, each.units, each.dims, each.values, np.array(indices))
        for each, indices in zip(columns, ([0, 0, 1, 2], [0, 2, 0, 2]), strict=True)
    )
    assert _infer(Points("position", seen)) == Points("position", seen)


@pytest.mark.parametrize("dtype", ["u2", "i8", "f4", "f8", ">f8", ">u4"])
def test_indices_of_any_type(dtype: str) -> None:
    grid = Grid("position", (Dimension("Y", "", 3), Dimension("X", "", 5)))
    indices = index_matrix(grid).astype(dtype)
    found = infer_layout("position", ["Y", "X"], ["", ""], indices, value_matrix(grid))
    assert found == grid
    offset = infer_layout("position", ["Y", "X"], ["", ""], 3 * indices + 5, value_matrix(grid))
    assert isinstance(offset, Grid)
    assert offset.dimensions[1].counters.tolist() == [5, 8, 11, 14, 17]
    assert offset.dimensions[1].counters.dtype.kind in "iu"
    assert index_matrix(offset).tolist() == (3 * index_matrix(grid) + 5).tolist()


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_indices_that_are_no_numbers_make_points(odd: float) -> None:
    indices = np.array([[0, 0], [0, 1], [1, 0], [1, odd]])
    found = infer_layout("position", ["Y", "X"], ["", ""], indices, np.arange(8.0).reshape(4, 2))
    assert isinstance(found, Points)
    assert found.reason == "some indices are not finite"
    np.testing.assert_array_equal(value_matrix(found), np.arange(8.0).reshape(4, 2))


def test_one_row_with_two_dimensions() -> None:
    zeros, values = np.zeros((1, 2), "u4"), np.array([[3.0, 4.0]], "f4")
    found = infer_layout("position", ["Y", "X"], ["um", "um"], zeros, values)
    assert found == Grid(
        "position", (Dimension("Y", "um", values[:, 0]), Dimension("X", "um", values[:, 1]))
    )


def test_values_that_change_where_the_index_does_not() -> None:
    indices = np.array([[0, 0], [0, 1], [0, 2]])
    values = np.array([[5, 0], [6, 1], [7, 2]], "f4")
    found = infer_layout("position", ["Time", "X"], ["s", "um"], indices, values)
    assert isinstance(found, Grid)
    assert found.dims == ("Time_index", "X")
    (time,) = found.dependent
    assert (time.name, time.units, time.dims) == ("Time", "s", ("Time_index", "X"))
    assert time.values.tolist() == [[5, 6, 7]]
    assert _infer(found) == found


def test_exchanged_matrices() -> None:
    grid = Grid("position", (Dimension("Y", "", [0.5, 0.1]), Dimension("X", "", [2.5, 1.0, 2.5])))
    found = infer_layout("position", ["Y", "X"], ["", ""], value_matrix(grid), index_matrix(grid))
    assert found == grid


def test_labels_get_names_that_are_unique() -> None:
    labels = ["", "X", "X", "None", "a/b", " padded "]
    zeros = np.zeros((1, 6), "u4")
    found = infer_layout("position", labels, [""] * 6, zeros, zeros)
    assert found.dims == ("position_0", "X", "X_1", "None", "a_b", "padded")
    assert file_labels(found) == tuple(labels)


@pytest.mark.parametrize(
    ("labels", "indices", "values", "message"),
    [
        (["X"], np.zeros((3, 2)), np.zeros((3, 2)), r"2 dimensions, but 1 labels \['X'\]"),
        (["X", "Y"], np.zeros((3, 2)), np.zeros((2, 2)), r"found \(3, 2\) and \(2, 2\)"),
        (["X", "Y"], np.zeros((0, 2)), np.zeros((0, 2)), "not be empty"),
        (["X"], np.zeros(3), np.zeros(3), "must both have the shape"),
    ],
)
def test_matrices_that_do_not_fit(
    labels: list[str], indices: Array, values: Array, message: str
) -> None:
    with pytest.raises(LayoutError, match=message):
        infer_layout("position", labels, labels, indices, values)


def test_values_are_float32_unless_that_loses_something() -> None:
    def kind(*values: Array) -> np.dtype[np.generic]:
        dims = tuple(Dimension(NAMES[n], "", each) for n, each in enumerate(values))
        return value_matrix(Grid("position", dims)).dtype

    assert kind(np.arange(3), np.array([0.5, np.nan])) == "f4"
    assert kind(np.array([0.1])) == "f8"
    assert kind(np.array([0.1], "f4")) == "f4"
    assert kind(np.array([2**24, 2**24 + 1])) == "f8"
    assert kind(np.array([1e300])) == "f8"
    with pytest.raises(LayoutError, match="float64 cannot hold"):
        kind(np.array([2**53 + 1]))
    with pytest.raises(LayoutError, match="'A' holds <U1"):
        kind(np.array(["a"]))


@given(dimensions(), st.data())
def test_parts_of_the_matrices(dims: tuple[Dimension, ...], data: st.DataObject) -> None:
    size = math.prod(each.size for each in dims)
    shuffled = np.random.default_rng(0).permutation(size)
    grid = Grid("position", dims, order=data.draw(st.sampled_from([None, shuffled])))
    start = data.draw(st.integers(0, size))
    stop = data.draw(st.none() | st.integers(start, size))
    np.testing.assert_array_equal(index_matrix(grid, start, stop), index_matrix(grid)[start:stop])
    np.testing.assert_array_equal(value_matrix(grid, start, stop), value_matrix(grid)[start:stop])


@given(dimensions(), st.data())
def test_rows_of_cells(dims: tuple[Dimension, ...], data: st.DataObject) -> None:
    shape = tuple(each.size for each in dims)
    order = np.arange(math.prod(shape))
    shuffled = np.random.default_rng(1).permutation(order.size)
    scattered = data.draw(st.booleans())
    grid = Grid("position", dims, order=shuffled if scattered else None)
    key = []
    for size in shape[: data.draw(st.integers(0, len(shape)))]:
        start = data.draw(st.integers(0, size - 1))
        stop = data.draw(st.integers(start, size))
        key.append(data.draw(st.sampled_from([start, start - size, slice(start, stop)])))
    expected = (shuffled if scattered else order).reshape(shape)[tuple(key)].ravel()
    rows = file_rows(grid, tuple(key))
    np.testing.assert_array_equal(np.arange(order.size)[rows], expected)
    is_run = expected.size > 0 and bool((np.diff(expected) == 1).all())
    assert isinstance(rows, slice) or not is_run


def _names(layouts: Sequence[Layout]) -> list[tuple[str, ...]]:
    return [each.names for each in layouts]


def test_a_name_on_both_sides_gets_another() -> None:
    rows = Grid("position", (Dimension("Y", "um", 2), Dimension("X", "um", 3)))
    columns = Grid("spectroscopic", (Dimension("X", "1/nm", 4), Dimension("V", "V", 5)))
    position, spectroscopic = disambiguate(rows, columns)
    assert position == rows
    assert spectroscopic.dims == ("X_spectroscopic", "V")
    assert file_labels(spectroscopic) == ("X", "V")
    assert disambiguate(position, spectroscopic) == (position, spectroscopic)


def test_dependent_coordinates_follow_their_dimensions() -> None:
    rows = Grid("position", (Dimension("DC", "V", 2), Dimension("DC_index", "", 3)))
    dims = (Dimension("Cycle", "", 2), Dimension("DC_index", "", 3, label="DC"))
    offset = Coordinate("DC", "V", ("Cycle", "DC_index"), np.arange(6.0).reshape(2, 3))
    columns = Grid("spectroscopic", dims, (offset,))
    _, found = disambiguate(rows, columns)
    assert _names([found]) == [("Cycle", "DC_index_spectroscopic", "DC_spectroscopic")]
    assert isinstance(found, Grid)
    assert found.dependent[0].dims == ("Cycle", "DC_index_spectroscopic")
    assert file_labels(found) == ("Cycle", "DC")
    np.testing.assert_array_equal(value_matrix(found), value_matrix(columns))


def test_points_and_labels_named_like_an_axis() -> None:
    values = np.arange(3.0)
    rows = Points("position", (Coordinate("spectroscopic", "", ("position",), values),))
    columns = Points("spectroscopic", (Coordinate("position", "", ("spectroscopic",), values),))
    found = disambiguate(rows, columns)
    assert _names(found) == [("spectroscopic_position",), ("position_spectroscopic",)]
    assert [file_labels(each) for each in found] == [("spectroscopic",), ("position",)]


def test_indices_beyond_every_signed_integer() -> None:
    indices = np.array([[2**64 - 1], [2**64 - 2]], "u8")
    found = infer_layout("position", ["X"], ["nm"], indices, np.array([[7.0], [6.0]]))
    assert isinstance(found, Grid)
    assert found.dimensions[0].values.tolist() == [6, 7]
    assert found.dimensions[0].counters.tolist() == [2**64 - 2, 2**64 - 1]
    assert index_matrix(found).tolist() == [[1], [0]]  # ranks, as uint32 cannot hold them
