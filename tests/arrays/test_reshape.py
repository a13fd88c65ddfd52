"""The way between N-D and 2-D: exact both ways, lazy, one task for each chunk."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from usidx.arrays.labels import spec_of, to_dataarray
from usidx.arrays.reshape import to_2d, to_nd
from usidx.errors import LayoutError, OptionError
from usidx.model.ancillary import file_labels, index_matrix, infer_layout, value_matrix
from usidx.model.dimension import Dimension
from usidx.model.layout import Coordinate, Grid, Points
from usidx.model.main import MainSpec
from usidx.testing import mains, make_main

quick = settings(max_examples=60, deadline=None)


def file_rows(array):
    """The 2-D values of a labelled array, by NumPy alone."""
    spec = spec_of(array)
    flat = array.values.reshape(spec.shape_2d)
    for axis, side in enumerate((spec.position, spec.spectroscopic)):
        if side.order is not None:
            flat = np.take(flat, np.argsort(side.order), axis=axis)
    return flat


@quick
@given(mains())
def test_2d_has_the_rows_of_the_file(array):
    flat = to_2d(array)
    assert flat.dims == ("position", "spectroscopic")
    np.testing.assert_array_equal(flat.values, file_rows(array))
    assert flat.dtype == array.dtype
    assert flat.attrs == array.attrs


@quick
@given(mains())
def test_labels_in_2d_are_the_matrices_of_the_file(array):
    spec, flat = spec_of(array), spec_of(to_2d(array))
    for role in ("position", "spectroscopic"):
        before, after = getattr(spec, role), getattr(flat, role)
        np.testing.assert_array_equal(
            np.sort(value_matrix(before), axis=1), np.sort(value_matrix(after), axis=1)
        )


@quick
@given(mains(points=False))
def test_nd_is_the_inverse_of_2d(array):
    back = to_nd(to_2d(array))
    xr.testing.assert_identical(back, array)
    assert spec_of(back) == spec_of(array)


@quick
@given(mains(points=False), st.integers(1, 3), st.integers(1, 3))
def test_lazy_and_in_memory_are_the_same(array, rows, columns):
    chunks = dict(zip(array.dims, [rows, columns] * 3))
    lazy = array.chunk(chunks)
    flat = to_2d(lazy)
    assert flat.chunks is not None
    np.testing.assert_array_equal(flat.values, to_2d(array).values)
    back = to_nd(flat)
    assert back.chunks is not None
    xr.testing.assert_identical(back.compute(), array)


@quick
@given(mains(points=False))
def test_raster_order_on_demand(array):
    flat = to_2d(array, order="raster")
    np.testing.assert_array_equal(flat.values, array.values.reshape(flat.shape))
    np.testing.assert_array_equal(to_nd(flat).values, array.values)


def test_points_have_a_2d_form_and_come_back():
    array = partial_raster(np.arange(13))
    back = to_nd(to_2d(array))
    xr.testing.assert_identical(back, array)


def test_one_task_per_chunk():
    array = make_main((8, 6, 16), chunks={"Y": 2, "X": -1, "Frequency": -1})
    before = len(array.__dask_graph__())
    flat = to_2d(array)
    assert flat.chunks == ((12, 12, 12, 12), (16,))
    assert len(flat.__dask_graph__()) == before + 4
    back = to_nd(flat)
    assert back.chunks == array.chunks
    assert len(back.__dask_graph__()) == before + 8


def test_chunks_that_are_no_runs_are_merged_first():
    array = make_main((8, 6, 16), chunks={"Y": 4, "X": 2, "Frequency": 4})
    flat = to_2d(array)
    np.testing.assert_array_equal(flat.values, array.values.reshape(48, 16))
    assert all(size % 6 == 0 for size in flat.chunks[0])


def test_names_follow_from_what_is_computed():
    array = make_main(chunks={"Y": 2})
    assert to_2d(array).data.name == to_2d(array).data.name
    assert to_2d(array).data.name != to_2d(array + 1).data.name


def test_labels_of_2d_are_worked_out_when_asked_for():
    flat = to_2d(make_main((400, 500, 2), chunks={"Y": 50}))
    assert not flat.X.variable._in_memory
    part = flat.isel(position=slice(1000, 1010))
    assert not part.X.variable._in_memory
    np.testing.assert_array_equal(part.Y, np.full(10, make_main((400, 500, 2)).Y.values[2]))


def test_other_coordinates_go_along():
    array = make_main().assign_coords(
        domain=(("X", "Y"), np.arange(20).reshape(5, 4)),
        gain=("Y", [1, 2, 3, 4]),
        noise=(("Y", "Frequency"), np.arange(64).reshape(4, 16)),
        temperature=300.0,
    )
    flat = to_2d(array)
    np.testing.assert_array_equal(flat.domain, array.domain.transpose("Y", "X").values.ravel())
    np.testing.assert_array_equal(flat.gain, np.repeat([1, 2, 3, 4], 5))
    back = to_nd(flat)
    xr.testing.assert_identical(back.domain.variable, array.domain.variable)
    xr.testing.assert_identical(back.gain.variable, array.gain.variable)
    assert back.temperature == 300.0


def test_datasets_are_reshaped_whole():
    array = make_main(chunks={"Y": 2})
    dataset = xr.Dataset({"a": array, "b": 2 * array, "image": array.mean("Frequency")})
    flat = to_2d(dataset)
    assert flat.a.dims == ("position", "spectroscopic")
    assert flat.image.dims == ("position",)
    xr.testing.assert_allclose(to_nd(flat).compute(), dataset.compute())


def test_sides_of_which_nothing_is_left_get_one_cell():
    image = make_main().mean("Frequency")
    flat = to_2d(image)
    assert flat.shape == (20, 1)
    assert to_nd(flat).dims == ("Y", "X", "arb")


@pytest.mark.parametrize(
    ("selection", "shape"),
    [({"position": slice(0, 10)}, (2, 5)), ({"position": [3, 1, 8, 6]}, (2, 2))],
)
def test_parts_of_2d_fold_into_the_grid_of_what_is_left(selection, shape):
    array = make_main()
    part = to_nd(to_2d(array).isel(selection))
    assert part.shape == (*shape, 16)
    xr.testing.assert_equal(
        part.drop_vars("acquisition_order", errors="ignore"), array.sel(Y=part.Y, X=part.X)
    )


GRID_Y, GRID_X = 0.5 * np.arange(3), 0.1 * np.arange(5)


def points_main(indices, values=None):
    values = values if values is not None else [GRID_Y[indices[0]], GRID_X[indices[1]]]
    columns = tuple(
        Coordinate(name, "um", ("position",), np.asarray(value), np.asarray(index))
        for name, index, value in zip(("Y", "X"), indices, values)
    )
    spec = MainSpec(
        "/Raw_Data",
        "Current",
        "nA",
        np.dtype("f4"),
        Points("position", columns),
        Grid("spectroscopic", (Dimension("Bias", "V", [0.0, 1.0]),)),
    )
    data = np.arange(2 * len(indices[0]), dtype="f4").reshape(-1, 2)
    return to_dataarray(spec, data)


def partial_raster(rows):
    return points_main(np.unravel_index(np.asarray(rows), (3, 5)))


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("rows", [np.arange(13), np.array([12, 0, 3, 7, 14, 6])])
def test_incomplete_rasters_fold_with_a_mask(rows, lazy):
    array = partial_raster(rows)
    array = array.chunk(position=4) if lazy else array
    folded = to_nd(array, fill_value=np.nan)
    expected = np.full((15, 2), np.nan, "f4")
    expected[rows] = array.values
    mask = np.zeros(15, bool)
    mask[rows] = True
    assert folded.dims == ("Y", "X", "Bias")
    np.testing.assert_array_equal(folded, expected.reshape(3, 5, 2))
    np.testing.assert_array_equal(folded.measured, mask.reshape(3, 5))
    np.testing.assert_array_equal(folded.X, GRID_X)
    assert folded.dtype == np.dtype("f4")
    assert (folded.chunks is not None) == lazy


def test_empty_cells_need_a_fill_value():
    with pytest.raises(
        LayoutError, match=r"13 position rows but a 3 x 5 grid.*needs 15.*fill_value"
    ):
        to_nd(partial_raster(np.arange(13)))


def test_fill_values_keep_the_dtype_where_it_holds_them():
    array = partial_raster(np.arange(13)).astype("i2")
    assert to_nd(array, fill_value=-1).dtype == np.dtype("i2")
    assert to_nd(array, fill_value=np.nan).dtype == np.dtype("f4")
    assert to_nd(array.astype("c8"), fill_value=np.nan).dtype == np.dtype("c8")


def test_shared_cells_are_refused():
    array = points_main((np.array([0, 0, 1, 0]), np.array([0, 1, 0, 1])))
    with pytest.raises(LayoutError, match=r"rows 1 and 3 .* both at Y=0, X=0.1"):
        to_nd(array, fill_value=np.nan)


def test_counters_are_refused():
    count = np.arange(8)
    array = points_main((count, count), (np.linspace(0, 1, 8), np.linspace(3, 2, 8)))
    with pytest.raises(LayoutError, match=r"index of its own in Y and X"):
        to_nd(array, fill_value=np.nan)


def test_values_that_differ_within_a_cell_are_kept():
    rng = np.random.default_rng(0)
    y, x = np.divmod(np.arange(15), 5)
    values = [GRID_Y[y], GRID_X[x] + 0.01 * rng.random(15)]
    folded = to_nd(points_main((y, x), values))
    assert folded.dims == ("Y", "X_index", "Bias")
    np.testing.assert_array_equal(folded.X, values[1].reshape(3, 5))


def test_columns_can_be_chosen():
    array = partial_raster(np.arange(15)).assign_coords(
        Time=("position", 2.0 * np.arange(15), {"usid_role": "position", "usid_axis": 2})
    )
    folded = to_nd(array, dims=["X", "Y"])
    assert folded.dims == ("X", "Y", "Bias")
    np.testing.assert_array_equal(
        folded.Time.transpose("Y", "X").values.ravel(), 2.0 * np.arange(15)
    )
    with pytest.raises(LayoutError, match=r"'Tim' is no column.*did you mean 'Time'"):
        to_nd(array, dims=["Tim"])


def test_what_is_nd_stays_as_it_is():
    array = make_main()
    assert to_nd(array) is array
    with pytest.raises(OptionError, match="'acquisition' or 'raster'"):
        to_2d(array, order="file")


def test_dependent_values_survive_the_way_through_a_file():
    field = np.arange(6.0).reshape(2, 3)
    side = Grid(
        "spectroscopic",
        (Dimension("Cycle", "", 2), Dimension("Field_index", "", 3, label="Field")),
        (Coordinate("Field", "V", ("Cycle", "Field_index"), field),),
    )
    rows = Grid("position", (Dimension("Y", "um", 2),))
    spec = MainSpec("/Raw_Data", "z", "m", np.dtype("f4"), rows, side)
    array = to_dataarray(spec, np.zeros(spec.shape, "f4"))
    flat = spec_of(to_2d(array)).spectroscopic
    assert file_labels(flat) == ("Cycle", "Field")
    inferred = infer_layout(
        "spectroscopic", file_labels(flat), ("", "V"), index_matrix(flat), value_matrix(flat)
    )
    assert inferred == side


def test_the_order_of_very_many_rows_is_lazy(monkeypatch):
    monkeypatch.setattr("usidx.arrays.columns.MOST_AT_HAND", 3)
    order = np.array([0, 3, 1, 2])
    rows = Grid("position", (Dimension("X", "um", 4),), order=order)
    columns = Grid("spectroscopic", (Dimension("f", "Hz", 2),))
    spec = MainSpec("/Raw_Data", "z", "m", np.dtype("f4"), rows, columns)
    array = to_dataarray(spec, np.arange(8, dtype="f4").reshape(4, 2))
    assert not array.acquisition_order.variable._in_memory
    np.testing.assert_array_equal(array.acquisition_order, order)
    assert spec_of(array).position == rows
    part = array.isel(X=slice(1, None))
    assert not part.acquisition_order.variable._in_memory
    assert spec_of(part).position.order.tolist() == [2, 0, 1]
    xr.testing.assert_identical(to_nd(to_2d(array)), array)
