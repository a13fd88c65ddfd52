"""A lazy index over rows: every operation gives what it gives with coordinates in memory."""

from __future__ import annotations

import copy
import pickle
import warnings

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from usidx.arrays.cells import Column
from usidx.arrays.labels import Origin, as_main, origin_of, spec_of, to_dataarray
from usidx.arrays.positions import (
    LazyColumn,
    RowMajorIndex,
    RowMajorTransform,
    index_along,
)
from usidx.arrays.reshape import to_2d, to_nd
from usidx.arrays.unfolded import to_flat_dataarray
from usidx.errors import LayoutError
from usidx.model.dimension import Dimension
from usidx.model.layout import Grid
from usidx.model.main import MainSpec
from usidx.testing import mains, make_main

quick = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

VALUES = {
    "float64": [-1.5, 0.0, np.nan, 2.25, 7.0],
    "float32": [0.1, -0.1, 3.5, np.nan, 0.25],
    "int16": [-3, 0, 4, 5, 9],
    "uint64": [0, 1, 2**63, 7, 5],
    "<U5": ["a", "bb", "ccc", "", "e"],
    "bool": [True, False],
    "datetime64[ns]": [0, 10**9, 2 * 10**9, 5 * 10**9],
}


def row_array(index, lazy=False):
    """A DataArray over rows with an index, every value another."""
    size = index.transform.size
    values = np.arange(2.0 * size).reshape(size, 2)
    array = xr.DataArray(
        da.from_array(values, chunks=(2, 2)) if lazy else values,
        dims=("position", "spectroscopic"),
        name="values",
        attrs={"units": "nA"},
    )
    return array.assign_coords(xr.Coordinates.from_xindex(index)).assign_coords(
        other=("position", np.arange(size)), scalar=5
    )


def in_memory(array):
    """The same array with plain coordinates."""
    coords = {name: (each.dims, each.values, each.attrs) for name, each in array.coords.items()}
    return xr.DataArray(array.values, coords, array.dims, name=array.name, attrs=array.attrs)


@st.composite
def columns(draw, grid):
    """Coordinates of a grid: of any dtype, repeated, going down, NaN; some over several axes."""
    made = {}
    for axis, size in enumerate(grid):
        dtype = draw(st.sampled_from(sorted(VALUES)))
        values = draw(st.lists(st.sampled_from(VALUES[dtype]), min_size=size, max_size=size))
        attrs = {"units": "um", "usid_role": "position", "usid_axis": axis}
        made["ZYX"[axis]] = Column(np.array(values, dtype), (axis,), attrs, is_axis=True)
    if draw(st.booleans()):
        values = np.arange(np.prod(grid), dtype="i4").reshape(grid) ** 2
        made["T"] = Column(values, tuple(range(len(grid))), {"units": "K"})
    return made


@st.composite
def indexes(draw):
    """Indexes of whole grids, in any order of rows, of runs of them, and of some rows."""
    grid = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)))
    size = int(np.prod(grid))
    cells = None
    if draw(st.booleans()):
        cells = np.array(draw(st.permutations(range(size))), dtype=np.int64)
    index = RowMajorIndex(RowMajorTransform(grid, draw(columns(grid)), cells))
    if draw(st.booleans()):
        return index
    if draw(st.booleans()):
        return index.isel({"position": draw(st.slices(size))})
    rows = draw(st.lists(st.integers(0, size - 1), max_size=6))
    return index.isel({"position": np.array(rows, dtype=int)})


def check(lazy, plain):
    """Both are the same, down to dtypes and attributes."""
    if isinstance(plain, (tuple, list)):
        for one, other in zip(lazy, plain, strict=True):
            check(one, other)
        return
    own = [name for name, index in lazy.xindexes.items() if isinstance(index, RowMajorIndex)]
    xr.testing.assert_identical(lazy.drop_indexes(own), plain)
    for name, each in plain.coords.items():
        if each.dtype.kind != "O":
            assert lazy.coords[name].dtype == each.dtype, name
        assert lazy.coords[name].attrs == each.attrs, name


def is_lazy(obj):
    index = index_along(obj, "position")
    names = [] if index is None else list(index.transform.columns)
    return bool(names) and all(
        isinstance(obj.coords[name].variable._data, LazyColumn) for name in names
    )


def keys(size):
    ints = st.integers(-size, size - 1)
    lists = st.lists(ints, max_size=5) if size else st.just([])
    lists = lists.map(lambda some: np.array(some, dtype=int))
    masks = st.lists(st.booleans(), min_size=size, max_size=size).map(np.array)
    masks = masks.map(lambda mask: mask.astype(bool))
    return st.one_of(*([ints] if size else []), st.slices(size), lists, masks)


@quick
@given(indexes(), st.data())
def test_isel(index, data):
    array = row_array(index)
    key = data.draw(keys(array.sizes["position"]))
    found = array.isel(position=key)
    check(found, in_memory(array).isel(position=key))
    if not np.isscalar(key):
        assert is_lazy(found)
    twice = data.draw(keys(found.sizes["position"])) if "position" in found.dims else 0
    if "position" in found.dims:
        check(found.isel(position=twice), in_memory(array).isel(position=key).isel(position=twice))


@quick
@given(indexes(), st.data())
def test_isel_of_points(index, data):
    array = row_array(index)
    size = array.sizes["position"]
    assume(size)
    places = data.draw(st.lists(st.integers(0, size - 1), min_size=4, max_size=4))
    for points in (
        xr.DataArray(places, dims="point"),
        xr.Variable(("a", "b"), np.reshape(places, (2, 2))),
        xr.Variable("position", places),
    ):
        check(array.isel(position=points), in_memory(array).isel(position=points))
    check(array.X[places[0]] if "X" in array.coords else array.Z[places[0]], _first(array, places))


def _first(array, places):
    name = "X" if "X" in array.coords else "Z"
    return in_memory(array)[name][places[0]]


OPERATIONS = {
    "arithmetic": lambda a: a + 2 * a,
    "with a reduced": lambda a: a - a.mean("position"),
    "with a part": lambda a: a * a.isel(spectroscopic=0),
    "comparison": lambda a: a > 3,
    "function": lambda a: np.sin(a),
    "mean over all": lambda a: a.mean(),
    "mean of spectra": lambda a: a.mean("spectroscopic", keep_attrs=True),
    "mean of positions": lambda a: a.mean("position"),
    "argmax": lambda a: a.argmax("spectroscopic"),
    "cumsum": lambda a: a.cumsum("position"),
    "where": lambda a: a.where(a > 3),
    "where drop": lambda a: a.where(a.other > 1, drop=True),
    "clip": lambda a: a.clip(1, 4),
    "fillna": lambda a: a.where(a > 3).fillna(0),
    "transpose": lambda a: a.T,
    "expand": lambda a: a.expand_dims(time=2),
    "broadcast": lambda a: xr.broadcast(a, xr.DataArray([1, 2], dims="q")),
    "dataset": lambda a: a.to_dataset(name="a"),
    "dataset of two": lambda a: xr.Dataset({"a": a, "b": a.isel(spectroscopic=0)}),
    "merge": lambda a: xr.merge([a.rename("a"), a.rename("b")], compat="override"),
    "align": lambda a: list(xr.align(a, a + 1, join="exact")),
    "concat spectra": lambda a: xr.concat([a, a], "spectroscopic"),
    "concat new": lambda a: xr.concat([a, a + 1], "repeat", coords="minimal", compat="override"),
    "copy": lambda a: a.copy(),
    "deep copy": lambda a: a.copy(deep=True),
    "copy module": lambda a: copy.deepcopy(a),
    "pickle": lambda a: pickle.loads(pickle.dumps(a)),
    "dot": lambda a: xr.dot(a, a, dim="spectroscopic"),
    "diff": lambda a: a.diff("position"),
    "shift": lambda a: a.shift(position=1),
    "roll": lambda a: a.roll(position=2, roll_coords=True),
    "roll values": lambda a: a.roll(position=2, roll_coords=False),
    "load": lambda a: a.load(),
    "compute": lambda a: a.compute(),
    "assign": lambda a: a.assign_coords(twice=a.other * 2),
    "rename": lambda a: a.rename({name: f"new_{name}" for name in a.coords if name != "scalar"}),
    "rename dim": lambda a: a.rename(position="rows"),
    "drop": lambda a: a.drop_vars([name for name in a.coords if name in "ZYXT"]),
    "drop indexes": lambda a: a.drop_indexes(list(a.xindexes)),
    "other coordinate": lambda a: a.drop_vars("other"),
    "sort": lambda a: a.sortby("other", ascending=False),
    "coordinate": lambda a: a.coords[next(name for name in "ZYX" if name in a.coords)],
    "apply": lambda a: xr.apply_ufunc(
        lambda block: block.sum(-1), a, input_core_dims=[["spectroscopic"]], dask="allowed"
    ),
    "stack": lambda a: a.stack(all=("position", "spectroscopic"), create_index=False),
    "head": lambda a: a.head(position=3),
    "thin": lambda a: a.thin(position=2),
    "isnull": lambda a: a.isnull().any("spectroscopic"),
    "squeeze": lambda a: a.isel(spectroscopic=[0]).squeeze("spectroscopic"),
    "swap": lambda a: a.isel(spectroscopic=slice(None, None, -1)),
    "item": lambda a: a.isel(spectroscopic=1)[0:1],
    "pad": lambda a: a.astype("f8").pad(spectroscopic=1),
    "groupby": lambda a: a.groupby("other").first(),
    "coarsen": lambda a: a.coarsen(position=2, boundary="trim").mean(),
    "rolling": lambda a: a.rolling(position=2).mean(),
    "quantile": lambda a: a.quantile(0.5, "spectroscopic"),
    "map": lambda a: a.to_dataset(name="v").map(np.sqrt),
}


@pytest.mark.parametrize("name", OPERATIONS)
@settings(max_examples=12, deadline=None)
@given(index=indexes())
def test_operations(name, index):
    operation = OPERATIONS[name]
    array = row_array(index)
    plain = in_memory(array)
    try:
        expected = operation(plain)
    except (ValueError, IndexError, TypeError, ZeroDivisionError):
        assume(False)  # nothing left to work on
    check(operation(array), expected)


@pytest.mark.parametrize("name", ["arithmetic", "where", "mean of spectra", "apply", "concat new"])
@settings(max_examples=8, deadline=None)
@given(index=indexes())
def test_operations_on_dask_arrays_leave_the_coordinates_lazy(name, index):
    assume(index.transform.size)
    array = row_array(index, lazy=True)
    found = OPERATIONS[name](array)
    assert is_lazy(found)
    assert is_lazy(found.compute())
    assert is_lazy(dask.compute(found)[0])
    check(found.compute(), OPERATIONS[name](in_memory(array)))


@quick
@given(indexes(), st.data())
def test_concat(index, data):
    array = row_array(index)
    size = array.sizes["position"]
    parts = data.draw(st.lists(st.slices(size), min_size=1, max_size=4))
    joined = xr.concat([array.isel(position=part) for part in parts], "position")
    plain = in_memory(array)
    check(joined, xr.concat([plain.isel(position=part) for part in parts], "position"))
    assert is_lazy(joined)


def test_neighbours_concatenate_to_a_range():
    flat = to_2d(make_main((40, 50, 3)))
    parts = [flat.isel(position=slice(at, at + 130)) for at in range(0, 2000, 130)]
    joined = xr.concat(parts, "position")
    assert index_along(joined, "position").transform.cells == range(2000)
    xr.testing.assert_identical(joined, flat)
    xr.testing.assert_identical(to_nd(joined), make_main((40, 50, 3)))


def test_rows_of_different_grids_concatenate():
    one, other = to_2d(make_main((3, 4, 2))), to_2d(make_main((2, 5, 2)))
    joined = xr.concat([one, other], "position")
    np.testing.assert_array_equal(joined.X, np.concatenate([one.X, other.X]))
    np.testing.assert_array_equal(joined.sel(Y=0.0).values, [*one[:4].values, *other[:5].values])
    assert joined.X.attrs == one.X.attrs
    with pytest.raises(LayoutError, match=r"\['X', 'Y'\] and \['X', 'y'\] cannot be concat"):
        RowMajorIndex.concat(
            [index_along(each, "position") for each in (one, other.rename(Y="y"))], "position"
        )


@quick
@given(indexes(), st.data())
def test_equal_is_what_has_the_same_rows(index, data):
    array = row_array(index)
    size = array.sizes["position"]
    one, other = (array.isel(position=data.draw(st.slices(size))) for _ in range(2))
    first, second = (index_along(each, "position") for each in (one, other))
    rows = [np.asarray(each.transform.cells).tolist() for each in (first, second)]
    assert first.equals(second) == (rows[0] == rows[1])
    if first.equals(second):
        for name in index.transform.columns:
            assert in_memory(one)[name].variable.equals(in_memory(other)[name].variable)
    assert first.equals(copy.deepcopy(first))
    assert not first.equals(xr.indexes.PandasIndex([1], "position"))


def test_equal_coordinates_of_different_grids_are_equal():
    columns = {"X": Column(np.arange(6.0), (0,))}
    table = {"X": Column(np.arange(6.0).reshape(2, 3), (0, 1))}
    one = RowMajorIndex(RowMajorTransform((6,), columns))
    other = RowMajorIndex(RowMajorTransform((2, 3), table))
    assert one.equals(other)
    assert not one.equals(other.isel({"position": slice(None, None, -1)}))


@quick
@given(indexes(), st.data(), st.sampled_from(["inner", "outer", "left", "right"]))
def test_aligning(index, data, join):
    array = row_array(index).drop_vars("other")
    cells = index.transform.cells
    assume(len({*np.asarray(cells).tolist()}) == len(cells))
    size = array.sizes["position"]
    one, other = (array.isel(position=data.draw(st.slices(size))) for _ in range(2))
    held = [set(np.asarray(index_along(each, "position").transform.cells)) for each in (one, other)]
    wanted = {
        "inner": held[0] & held[1],
        "outer": held[0] | held[1],
        "left": held[0],
        "right": held[1],
    }[join]
    found = xr.align(one, other, join=join)
    for each, own in zip(found, held):
        rows = np.asarray(index_along(each, "position").transform.cells)
        assert set(rows) == wanted
        row_of = {cell: row for row, cell in enumerate(np.asarray(cells))}
        for cell, values in zip(rows, each.values):
            expected = array.values[row_of[cell]] if cell in own else [np.nan, np.nan]
            np.testing.assert_array_equal(values, expected)
    assert found[0].coords.equals(found[1].coords)
    for name, column in index.transform.columns.items():
        assert found[0].coords[name].attrs == column.attrs


def test_arithmetic_goes_by_rows_and_not_by_their_number():
    flat = to_2d(make_main())
    total = flat.isel(position=slice(0, 12)) + flat.isel(position=slice(8, 20))
    np.testing.assert_array_equal(total, 2 * flat[8:12])
    other = to_2d(make_main((5, 4, 16)))
    with pytest.raises(LayoutError, match=r"two different grids along 'position'.*drop_vars"):
        flat + other


def test_rows_that_are_there_twice_cannot_be_aligned():
    flat = to_2d(make_main())
    with pytest.raises(ValueError, match="some rows are there twice"):
        flat.isel(position=[1, 1]) + flat


# -- labels ---------------------------------------------------------------------------------------


def rows_that(array, **conditions):
    """The rows for which all conditions hold, by NumPy alone."""
    plain = in_memory(array)
    mask = np.ones(array.sizes["position"], bool)
    for name, condition in conditions.items():
        mask &= condition(plain.coords[name].values)
    return plain.isel(position=np.flatnonzero(mask))


@quick
@given(indexes(), st.data())
def test_sel_of_one_label(index, data):
    array = row_array(index)
    size = array.sizes["position"]
    assume(size)
    plain = in_memory(array)
    names = data.draw(
        st.lists(st.sampled_from(sorted(index.transform.columns)), min_size=1, unique=True)
    )
    row = data.draw(st.integers(0, size - 1))
    labels = {name: plain.coords[name].values[row] for name in names}
    assume(all(label == label for label in labels.values()))
    conditions = {
        name: (lambda values, label=label: values == label) for name, label in labels.items()
    }
    expected = rows_that(array, **conditions)
    found = array.sel(labels)
    if "position" not in found.dims:
        named = {index.transform.columns[name].axes for name in names}
        assert named >= {(axis,) for axis in range(len(index.transform.grid))}
        expected = expected.isel(position=0)
    check(found, expected)


@quick
@given(indexes(), st.data())
def test_sel_of_labels_that_no_row_has(index, data):
    array = row_array(index)
    name = data.draw(st.sampled_from(sorted(index.transform.columns)))
    dtype = array.coords[name].dtype
    label = {"U": "nothing", "b": None, "M": np.datetime64("1999-01-01")}.get(dtype.kind, 77)
    with pytest.raises(KeyError):
        array.sel({name: label})


@st.composite
def even_mains(draw):
    """2-D forms of grids whose values are all different, and their N-D forms."""
    shape = draw(st.tuples(*[st.integers(1, 5)] * 3))
    down = draw(st.booleans())
    dtype = draw(st.sampled_from(["f4", "f8", "i2"]))
    dimensions = [
        Dimension(name, "um", np.arange(size).astype(dtype)[:: -1 if down else 1])
        for name, size in zip("ZYX", shape)
    ]
    rows = Grid("position", tuple(dimensions))
    columns = Grid("spectroscopic", (Dimension("f", "Hz", [1.0, 2.0]),))
    spec = MainSpec("/Raw_Data", "z", "m", np.dtype("f8"), rows, columns)
    values = np.arange(2.0 * np.prod(shape)).reshape(*shape, 2)
    array = to_dataarray(spec, values)
    return array, to_2d(array)


@quick
@given(even_mains(), st.data())
def test_sel_is_that_of_the_nd_form(both, data):
    array, flat = both
    labels, method = {}, None
    for name in data.draw(st.lists(st.sampled_from("ZYX"), min_size=1, unique=True)):
        values = array[name].values
        one = st.sampled_from(values.tolist())
        kind = data.draw(st.sampled_from(["one", "list", "slice", "nearest"]))
        if kind == "one" or kind == "nearest":
            labels[name] = data.draw(one)
        elif kind == "list":
            labels[name] = data.draw(st.lists(one, min_size=1, max_size=4))
        else:
            ends = sorted(data.draw(st.tuples(one, one)))
            labels[name] = slice(*(ends if values[0] <= values[-1] else ends[::-1]))
    if not any(isinstance(label, slice) for label in labels.values()) and data.draw(st.booleans()):
        method = "nearest"
        labels = {
            name: label + 0.4 if np.isscalar(label) else [each + 0.4 for each in label]
            for name, label in labels.items()
        }
    found = flat.sel(labels, method=method)
    expected = array.sel(labels, method=method)
    gone = [name for name in "ZYX" if name not in expected.dims]
    expected = expected.expand_dims(gone).transpose("Z", "Y", "X", "f")
    np.testing.assert_array_equal(found.values.reshape(-1), expected.values.reshape(-1))
    for name in "ZYX":
        values = expected[name].broadcast_like(expected.isel(f=0)).transpose("Z", "Y", "X").values
        np.testing.assert_array_equal(np.ravel(found[name]), values.reshape(-1))
    assert ("position" in found.dims) == (expected[..., 0].size > 1 or not _all_named(labels))


def _all_named(labels):
    return set(labels) == set("ZYX") and all(np.isscalar(each) for each in labels.values())


@quick
@given(even_mains(), st.data())
def test_sel_within_a_part(both, data):
    _, flat = both
    part = flat.isel(position=data.draw(st.slices(flat.sizes["position"])))
    assume(part.sizes["position"])
    name = data.draw(st.sampled_from("ZYX"))
    values = part[name].values
    label = data.draw(st.sampled_from(values.tolist()))
    check(part.sel({name: label}), rows_that(part, **{name: lambda each: each == label}))
    near = values[np.abs(values - (label + 0.3)).argmin()]
    found = part.sel({name: label + 0.3}, method="nearest")
    check(found, rows_that(part, **{name: lambda each: each == near}))
    low, high = sorted((label, data.draw(st.sampled_from(values.tolist()))))
    ends = (low, high) if flat[name][0] <= flat[name][-1] else (high, low)
    check(
        part.sel({name: slice(*ends)}),
        rows_that(part, **{name: lambda each: (each >= low) & (each <= high)}),
    )
    lost = next((each for each in flat[name].values if each not in values), None)
    if lost is not None:
        with pytest.raises(KeyError):
            part.sel({name: lost})


def test_one_axis_gives_slices():
    flat = to_2d(make_main((40, 50, 4)))
    cells = {
        "Y": index_along(flat.sel(Y=flat.Y[100].item()), "position").transform.cells,
        "X": index_along(flat.sel(X=flat.X[3].item()), "position").transform.cells,
        "Ys": index_along(flat.sel(Y=slice(0, flat.Y[450].item())), "position").transform.cells,
    }
    assert cells == {"Y": range(100, 150), "X": range(3, 2003, 50), "Ys": range(0, 500)}


def test_labels_of_points():
    array = make_main()
    flat = to_2d(array)
    y = xr.DataArray(array.Y.values[[0, 3, 2]], dims="point", coords={"point": [7, 8, 9]})
    x = xr.DataArray(array.X.values[[4, 0, 4]], dims="point")
    for each, options in ((x, {}), (x + 0.1, {"method": "nearest"})):
        found = flat.sel(X=each, Y=y, **options)
        np.testing.assert_array_equal(found, array.sel(X=each, Y=y, **options).values.T.T)
        np.testing.assert_array_equal(found.X, array.X.values[[4, 0, 4]])
        assert found.point.values.tolist() == [7, 8, 9]
    np.testing.assert_array_equal(
        flat.sel(X=0.0, Y=y.variable), array.sel(X=0.0, Y=y).transpose("point", ...)
    )
    with pytest.raises(LayoutError, match="Y is missing or given twice"):
        flat.sel(X=x)
    with pytest.raises(LayoutError, match="cannot be mixed"):
        flat.sel(X=x, Y=[0.0, 0.5])
    with pytest.raises(KeyError, match="1 of 3 points have no row"):
        flat.isel(position=slice(0, 16)).sel(X=x + [0.0, 0.5, 0.0], Y=y)


def test_tolerance_and_slices_as_in_xarray():
    flat = to_2d(make_main())
    assert flat.sel(X=0.9, Y=0, method="nearest", tolerance=0.2).X == 1.0
    with pytest.raises(KeyError):
        flat.sel(X=0.9, Y=0, method="nearest", tolerance=0.01)
    with pytest.raises(KeyError, match="no row has Y=1.0, X=0.0 all at once"):
        flat.isel(position=slice(0, None, 3)).sel(Y=1.0, X=0.0)
    assert flat.sel(X=slice(5, 9)).sizes["position"] == 0
    np.testing.assert_array_equal(
        flat.sel(X=slice(None, None, -1), Y=0.5).X, flat.X[5:10].values[::-1]
    )


def test_labels_that_repeat():
    columns = {
        "Y": Column(np.array([1.0, 1.0, 2.0]), (0,), is_axis=True),
        "X": Column(np.array([3.0, 2.0, 3.0, np.nan]), (1,), is_axis=True),
    }
    array = row_array(RowMajorIndex(RowMajorTransform((3, 4), columns)))
    assert array.sel(Y=1.0, X=3.0).other.values.tolist() == [0, 2, 4, 6]
    assert array.sel(Y=2.0, X=3.0).other.values.tolist() == [8, 10]
    assert array.sel(Y=2.0, X=2.0).other == 9
    assert array.sel(X=[2.0, 3.0], Y=2.0).other.values.tolist() == [9, 8, 10]
    assert array.sel(X=2.6, method="nearest").other.values.tolist() == [0, 2, 4, 6, 8, 10]
    assert array.sel(X=np.nan).other.values.tolist() == [3, 7, 11]
    with pytest.raises(KeyError, match="X"):
        array.sel(X=[2.0, 9.0])


def test_labels_of_what_changes_with_several_axes():
    table = np.array([[1.0, 5.0, 2.0], [5.0, 1.0, 7.0]])
    columns = {
        "Y": Column(np.array([0.0, 1.0]), (0,), is_axis=True),
        "X": Column(np.arange(3), (1,), is_axis=True),
        "T": Column(table, (0, 1)),
    }
    array = row_array(RowMajorIndex(RowMajorTransform((2, 3), columns)))
    assert array.sel(T=5.0).other.values.tolist() == [1, 3]
    assert array.sel(T=5.0, Y=1.0).other.values.tolist() == [3]
    assert array.sel(T=1.0, Y=1.0, X=1).other == 4
    with pytest.raises(KeyError, match=r"no row has T=7.0, Y=0.0"):
        array.sel(T=7.0, Y=0.0)


# -- to files, to N-D, to text --------------------------------------------------------------------


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("to", ["zarr", "netcdf4", "h5netcdf"])
def test_files_hold_the_coordinates(tmp_path, to, chunked):
    main = make_main()
    flat = to_2d(main.chunk(Y=2) if chunked else main)
    flat = flat.chunk(position=7) if chunked else flat
    dataset = flat.to_dataset(name="values")
    path = tmp_path / "a"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if to == "zarr":
            dataset.to_zarr(path)
            back = xr.open_zarr(path).load()
        else:
            dataset.to_netcdf(path, engine=to)
            back = xr.load_dataset(path, engine=to)
    xr.testing.assert_equal(back, dataset)
    assert back.X.attrs["units"] == "um"
    assert back.X.attrs["usid_role"] == "position"
    np.testing.assert_array_equal(to_nd(back["values"]), main)
    again = back["values"].set_xindex(["Y", "X"], RowMajorIndex)
    np.testing.assert_array_equal(again.sel(X=1.0).values, main.sel(X=1.0))


def test_chunks_and_tokens():
    flat = to_2d(make_main(chunks={"Y": 2}))
    assert flat.chunk(position=7).X.chunks == ((7, 7, 6),)
    np.testing.assert_array_equal(flat.chunk(position=7).X.compute(), flat.X)
    assert flat.chunk(position=7).X.data.name == flat.chunk(position=7).X.data.name
    assert dask.base.tokenize(flat) == dask.base.tokenize(to_2d(make_main(chunks={"Y": 2})))
    assert dask.base.tokenize(flat) != dask.base.tokenize(flat.isel(position=slice(1, None)))
    moved = to_2d(make_main(chunks={"Y": 2}).assign_coords(X=np.arange(5.0)))
    assert dask.base.tokenize(flat.X) != dask.base.tokenize(moved.X)


@quick
@given(mains(points=False))
def test_the_layout_of_the_2d_form_is_that_of_the_nd_form(array):
    flat = to_2d(array)
    assert spec_of(flat) == spec_of(array)
    spec, arranged = as_main(flat)
    assert spec == spec_of(array)
    np.testing.assert_array_equal(arranged, array.values)
    xr.testing.assert_identical(to_2d(flat), flat)


@quick
@given(mains(points=False), st.data())
def test_parts_fold_as_they_do_without_the_index(array, data):
    flat = to_2d(array)
    for dim in flat.dims:
        flat = flat.isel({dim: data.draw(st.slices(flat.sizes[dim]))})
    plain = flat.drop_indexes([name for name in flat.xindexes])
    try:
        expected = to_nd(plain, fill_value=-1)
    except LayoutError as error:
        if "index of its own" not in str(error):  # a grid is known to be one
            with pytest.raises(LayoutError):
                to_nd(flat, fill_value=-1)
        return
    found = to_nd(flat, fill_value=-1)
    for name in ("Temperature_position", "Temperature_spectroscopic"):
        if name in found.coords:  # is known to the index also where nothing was measured
            there = expected.coords[name].notnull()
            found = found.assign_coords({name: found.coords[name].where(there)})
            found.coords[name].attrs = expected.coords[name].attrs
    xr.testing.assert_identical(found, expected)


def test_parts_that_leave_cells_empty_say_so():
    flat = to_2d(make_main())
    with pytest.raises(LayoutError, match="13 position rows but a 3 x 5 grid"):
        to_nd(flat.isel(position=slice(0, 13), spectroscopic=0))
    spectra = to_nd(flat.isel(position=slice(0, 13)))
    assert spectra.dims == ("position", "Frequency")
    assert is_lazy(spectra)
    assert spectra.sel(X=0.5).sizes["position"] == 3
    folded = to_nd(flat.isel(position=slice(0, 13)), fill_value=np.nan)
    assert folded.measured.values.sum() == 13
    assert to_nd(flat.isel(position=slice(5, 15))).sizes["Y"] == 2
    with pytest.raises(LayoutError, match="rows 0 and 1 of the position side are both at"):
        to_nd(flat.isel(position=[3, 3], spectroscopic=0))


def test_unstacking():
    array = make_main()
    flat = to_2d(array)
    for each in (flat, flat.chunk(position=5)):
        unstacked = each.unstack("position")
        np.testing.assert_array_equal(unstacked.transpose("Y", "X", ...), array)
        assert unstacked.X.attrs["units"] == "um"
    part = flat.isel(position=slice(2, 9)).unstack("position")
    assert part.sizes["Y"] == 2
    assert part.isnull().any()
    dependent = flat.to_dataset(name="a")
    with pytest.raises(LayoutError, match=r"to_nd"):
        xr.concat([flat, to_2d(make_main((2, 2, 16)))], "position").unstack("position")
    assert dependent.unstack("position").a.dims[0] == "spectroscopic"


def test_pandas_indexes_when_asked_for():
    flat = to_2d(make_main(chunks={"Y": 2}))
    rows = flat.indexes["X"]
    assert rows.names == ["Y", "X"]
    np.testing.assert_array_equal(rows.get_level_values("X"), flat.X)
    np.testing.assert_array_equal(rows.get_level_values("Y"), flat.Y)
    doubled = xr.map_blocks(lambda block: 2 * block, flat).compute()
    np.testing.assert_array_equal(doubled, 2 * make_main().values.reshape(20, 16))


def test_text_and_html_show_a_few_values():
    flat = to_2d(make_main((400, 500, 2)))
    assert "* X" in repr(flat)
    assert "RowMajorIndex (200000 rows of 400 x 500)" in repr(flat)
    assert "RowMajorIndex" in flat._repr_html_()
    assert "200000 values" in repr(flat.X)
    listed = flat.isel(position=[5, 3, 9])
    assert "(3 rows of 400 x 500, listed)" in repr(listed)


def test_a_dimension_that_is_called_position():
    rows = Grid("position", (Dimension("position", "um", [3.0, 1.0]), Dimension("X", "um", 3)))
    columns = Grid("spectroscopic", (Dimension("f", "Hz", [1.0, 2.0]),))
    spec = MainSpec("/Raw_Data", "z", "m", np.dtype("f8"), rows, columns)
    flat = to_flat_dataarray(spec, np.arange(12.0).reshape(6, 2))
    assert flat.position.values.tolist() == [3.0] * 3 + [1.0] * 3
    assert flat.sel(position=1.0).values.tolist() == [[6, 7], [8, 9], [10, 11]]
    assert spec_of(flat, path="/Raw_Data").position == rows


def test_transform_meets_the_contract_of_xarray():
    transform = index_along(to_2d(make_main()), "position").transform
    rows = np.array([[3, 7], [0, 19]])
    labels = transform.forward({"position": rows})
    np.testing.assert_array_equal(transform.reverse(labels)["position"], rows)
    assert set(transform.generate_coords()) == {"Y", "X"}
    with pytest.raises(LayoutError, match="one and the same dimension"):
        make_main().to_dataset(name="a").drop_indexes(["Y", "X"]).set_xindex(
            ["Y", "X"], RowMajorIndex
        )


def test_untouched_2d_forms_know_their_origin():
    spec = spec_of(make_main(), path="/Raw_Data")
    data = make_main(chunks={"Y": 2}).data.reshape(20, 16)
    flat = to_flat_dataarray(spec, data, origin=Origin("a.h5", "/Raw_Data", "id", form="2d"))
    assert origin_of(flat) is not None
    assert origin_of(flat.isel(position=slice(3))) is None
    relabelled = flat.drop_vars(["Y", "X"])
    assert origin_of(relabelled) is None


# -- 1e8 positions --------------------------------------------------------------------------------


@pytest.fixture
def huge(monkeypatch):
    """The 2-D form of a 10,000 x 10,000 grid, where making more than 2**20 labels is an error."""
    side = Grid(
        "position",
        (Dimension("Y", "um", 0.5 * np.arange(10_000)), Dimension("X", "nm", np.arange(10_000))),
    )
    columns = Grid("spectroscopic", (Dimension("f", "Hz", [1.0, 2.0]),))
    spec = MainSpec("/Raw_Data", "z", "m", np.dtype("f4"), side, columns)
    array = to_dataarray(spec, da.zeros(spec.shape, chunks=(100, -1, -1), dtype="f4"))
    made = Column.at

    def at(self, cells, grid):
        assert len(cells) <= 2**20, f"{len(cells)} labels were made"
        return made(self, cells, grid)

    monkeypatch.setattr(Column, "at", at)
    return array, to_2d(array)


HUGE = {
    "repr": repr,
    "html": lambda a: a._repr_html_(),
    "summary": lambda a: repr(a.usid),
    "spec": spec_of,
    "slice": lambda a: a.isel(position=slice(10**7, None, 3)),
    "few": lambda a: a.isel(position=[5, 10**8 - 1]),
    "one": lambda a: a.isel(position=-1),
    "row": lambda a: a.sel(Y=100.0),
    "column": lambda a: a.sel(X=17),
    "cell": lambda a: a.sel(X=17, Y=0.5),
    "nearest": lambda a: a.sel(X=17.3, Y=0.6, method="nearest"),
    "box": lambda a: a.sel(X=slice(5, 20), Y=slice(3, 9)),
    "arithmetic": lambda a: 2 * a + a,
    "parts": lambda a: a.isel(position=slice(10**7)) + a.isel(position=slice(10**7)),
    "aligned": lambda a: xr.align(a, a + 1),
    "mean": lambda a: a.mean("spectroscopic"),
    "map": lambda a: a.mean("position"),
    "concat": lambda a: xr.concat(
        [a.isel(position=slice(10**7)), a.isel(position=slice(10**7, None))], "position"
    ),
    "copy": lambda a: a.copy(deep=True),
    "pickle": lambda a: pickle.loads(pickle.dumps(a)),
    "chunk": lambda a: a.chunk(position=2**20),
    "rename": lambda a: a.rename(X="x", position="rows"),
    "token": dask.base.tokenize,
    "apply": lambda a: xr.apply_ufunc(
        lambda block: block.sum(-1), a, input_core_dims=[["spectroscopic"]], dask="parallelized"
    ),
    "dataset": lambda a: xr.Dataset({"a": a, "b": a + 1}),
    "to_nd": to_nd,
    "to_2d": to_2d,
    "main": as_main,
    "part to_nd": lambda a: to_nd(a.isel(position=slice(20_000, 50_000))),
    "equals": lambda a: a.X.variable.equals(a.copy(deep=True).X.variable),
}


@pytest.mark.parametrize("name", HUGE)
def test_no_labels_of_1e8_positions_are_made(huge, name):
    array, flat = huge
    found = HUGE[name](flat)
    if name == "to_nd":
        xr.testing.assert_identical(found.coords.to_dataset(), array.coords.to_dataset())
        assert found.shape == array.shape
        assert len(found.__dask_graph__()) < 500
    if name == "spec":
        assert found == spec_of(array)
    if name == "concat":
        assert index_along(found, "position").transform.cells == range(10**8)
