"""Labels on DataArrays: what they say, and that they survive what people do to arrays."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from usidx.arrays.columns import coordinates_of, indices_of, plain
from usidx.arrays.labels import Origin, as_main, assign_roles, origin_of, spec_of, to_dataarray
from usidx.arrays.making import from_array
from usidx.arrays.roles import dims_by_role
from usidx.errors import LayoutError
from usidx.model.dimension import Dimension
from usidx.model.layout import Coordinate, Grid, Points
from usidx.model.main import MainSpec
from usidx.testing import make_main

Y = Dimension("Y", "um", [0.0, 0.5])
X = Dimension("X", "um", [0.0, 0.1, 0.3])
BIAS = Dimension("Bias", "V", [-1.0, 0.0, 1.0, 0.0])


def spec(position, spectroscopic, **attrs):
    return MainSpec(
        "/Measurement_000/Channel_000/Raw_Data",
        "Current",
        "nA",
        np.dtype("f4"),
        position,
        spectroscopic,
        attrs,
    )


GRID = spec(Grid("position", (Y, X)), Grid("spectroscopic", (BIAS,)), gain=np.int32(3))


def zeros(main):
    return np.arange(np.prod(main.shape), dtype=main.dtype).reshape(main.shape)


def test_labels_say_quantity_units_and_roles():
    array = to_dataarray(GRID, zeros(GRID))
    assert array.dims == ("Y", "X", "Bias")
    assert array.name == "Raw_Data"
    assert array.attrs == {
        "gain": 3,
        "quantity": "Current",
        "units": "nA",
        "long_name": "Current",
    }
    assert array.X.attrs == {"units": "um", "long_name": "X", "usid_role": "position"}
    assert array.Bias.attrs["usid_role"] == "spectroscopic"
    np.testing.assert_array_equal(array.X, [0.0, 0.1, 0.3])


def test_values_of_another_shape_are_refused_with_both_shapes():
    with pytest.raises(LayoutError, match=r"has shape \(2, 3\).*need \(2, 3, 4\)"):
        to_dataarray(GRID, np.zeros((2, 3)))


def test_plot_labels_itself():
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("agg")
    array = make_main()
    array.isel(Y=0, X=0).plot()
    assert plt.gca().get_xlabel() == "Frequency [Hz]"
    assert plt.gca().get_ylabel() == "Cantilever Vertical Deflection\n[V]"
    plt.close("all")


def test_nearest_value_is_found():
    assert make_main().sel(Frequency=330.4e3, method="nearest").Frequency == 330e3


@pytest.mark.parametrize(
    "change",
    [
        lambda a: 2 * a + 1,
        lambda a: np.abs(a),
        lambda a: a.isel(Y=slice(1, 3)),
        lambda a: a.mean("X"),
        lambda a: a.isel(X=0),
        lambda a: xr.concat([a, a], "Y"),
        lambda a: a.T,
        lambda a: a.to_dataset(name="a").a,
        lambda a: a.where(a > 0),
        lambda a: a.chunk(Y=1).map_blocks(lambda b: b),
        lambda a: a.astype("f8").copy(deep=True),
        lambda a: a.interp(Frequency=[310e3, 320e3]),
    ],
)
def test_roles_survive(change):
    array = change(make_main())
    position, spectroscopic = dims_by_role(array)
    assert set(position) == {"Y", "X"} & set(array.dims)
    assert spectroscopic == ("Frequency",)


LAYOUTS = {
    "grid": GRID,
    "offset indices": spec(
        Grid("position", (Dimension("Y", "um", [1.0, 0.5], indices=[7, 9]), X)),
        Grid("spectroscopic", (BIAS,)),
    ),
    "many odd indices": spec(
        Grid("position", (Dimension("Y", "um", 300, indices=np.arange(300) * 2), X)),
        Grid("spectroscopic", (BIAS,)),
    ),
    "labels that had to change": spec(
        Grid("position", (Y, X)),
        Grid("spectroscopic", (Dimension("X_spectroscopic", "V", [0.0, 1.0], label="X"),)),
    ),
    "snake": spec(
        Grid("position", (Y, X), order=np.array([0, 1, 2, 5, 4, 3])),
        Grid("spectroscopic", (BIAS,), order=np.array([3, 2, 1, 0])),
    ),
    "dependent": spec(
        Grid("position", (Y,)),
        Grid(
            "spectroscopic",
            (Dimension("Cycle", "", 2), Dimension("Field_index", "", 3, label="Field")),
            (
                Coordinate("Field", "V", ("Cycle", "Field_index"), np.arange(6.0).reshape(2, 3)),
                Coordinate("Time", "s", ("Cycle",), np.array([0.0, 9.0]), np.array([4, 5])),
            ),
        ),
    ),
    "points": spec(
        Points(
            "position",
            (
                Coordinate("Y", "um", ("position",), np.array([0.0, 0, 1]), np.array([0, 0, 1])),
                Coordinate("X", "um", ("position",), np.array([0.3, 0, 0]), np.array([2, 0, 0])),
                Coordinate("t", "s", ("position",), np.array([5.0, 5, 5]), np.array([0, 1, 2])),
            ),
        ),
        Grid("spectroscopic", (BIAS,)),
    ),
}


@pytest.mark.parametrize("main", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_spec_comes_back_from_the_labels(main):
    back = spec_of(to_dataarray(main, zeros(main)))
    assert back.position == main.position
    assert back.spectroscopic == main.spectroscopic
    assert (back.quantity, back.units, back.dtype) == (main.quantity, main.units, main.dtype)
    assert back.dims == main.dims


def test_order_of_a_part_is_the_order_among_what_is_left():
    main = LAYOUTS["snake"]
    part = to_dataarray(main, zeros(main)).isel(X=slice(0, 2))
    np.testing.assert_array_equal(spec_of(part).position.order, [0, 1, 3, 2])
    assert spec_of(part.isel(Y=0)).position.order is None


def test_indices_are_derived_only_where_they_can_be():
    columns = coordinates_of(LAYOUTS["points"].position)
    assert set(columns) == {"Y", "X", "t", "X_index"}
    assert columns["t"].attrs["usid_indices"] == "count"
    array = to_dataarray(LAYOUTS["points"], zeros(LAYOUTS["points"]))
    np.testing.assert_array_equal(indices_of(array, array.X), [2, 0, 0])


def test_positions_come_first_and_lost_sides_get_one_cell():
    array = make_main()
    found, arranged = as_main(array.transpose("Frequency", "X", "Y"))
    assert found.dims == arranged.dims == ("X", "Y", "Frequency")

    found, arranged = as_main(array.mean("Frequency"))
    assert found.dims == arranged.dims == ("Y", "X", "arb")
    assert found.spectroscopic.dimensions[0] == Dimension("arb", "a. u.", [0.0])

    found, arranged = as_main(array.isel(Y=1, X=2))
    assert found.dims == arranged.dims == ("arb_position", "Frequency")
    assert found.shape == arranged.shape
    assert spec_of(arranged).dims == found.dims


def test_new_dims_are_spectroscopic_beside_positions_and_refused_without():
    array = make_main()
    assert spec_of(array.expand_dims(component=3)).dims == ("Y", "X", "component", "Frequency")
    with pytest.raises(LayoutError, match=r"without a role: component .*assign_roles"):
        spec_of(array.mean(["Y", "X"]).expand_dims(component=3))


def test_roles_are_assigned_to_a_copy():
    plain_array = xr.DataArray(
        np.zeros((2, 3, 4)), dims=("e", "row", "col"), coords={"col": [1.0, 2, 3, 4]}
    )
    array = assign_roles(plain_array, ["row", "col"], quantity="Height", units="nm")
    assert array.dims == ("row", "col", "e")
    assert dims_by_role(array) == (("row", "col"), ("e",))
    assert spec_of(array).quantity == "Height"
    assert plain_array.col.attrs == {}
    assert plain_array.attrs == {}
    np.testing.assert_array_equal(array.col, [1, 2, 3, 4])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"position": ["roow"]}, r"'roow' is no dimension.*did you mean 'row'"),
        ({"position": ["row"], "spectroscopic": ["row"]}, "more than once"),
        ({"position": ["row"], "spectroscopic": []}, "col are left without a role"),
    ],
)
def test_wrong_roles_are_explained(arguments, message):
    array = xr.DataArray(np.zeros((3, 4)), dims=("row", "col"))
    with pytest.raises(LayoutError, match=message):
        assign_roles(array, **arguments)


def test_origin_is_known_until_something_is_computed():
    lazy = make_main(chunks={"Y": 2})
    origin = Origin("a.h5", "/Raw_Data", "abc")
    array = to_dataarray(spec_of(lazy), lazy.data, origin=origin)
    found = origin_of(array)
    assert found is not None
    assert (found.store, found.main, found.identity) == ("a.h5", "/Raw_Data", "abc")
    assert origin_of(array.copy()) == found
    for changed in (
        array + 1,
        array.isel(Y=slice(1, 3)),
        array.T,
        array.compute(),
        array.rename(X="x"),
        array.assign_coords(X=array.X * 2),
        array.assign_attrs(units="mV"),
    ):
        assert origin_of(changed) is None


def test_from_array_folds_two_dimensions_in_the_order_of_acquisition():
    rows = np.arange(24.0).reshape(6, 4)
    folded = from_array(rows, "Current", "nA", position=[Y, X], spectroscopic=[BIAS])
    np.testing.assert_array_equal(folded, rows.reshape(2, 3, 4))
    snake = LAYOUTS["snake"]
    folded = from_array(
        rows, "Current", "nA", position=snake.position, spectroscopic=snake.spectroscopic
    )
    np.testing.assert_array_equal(folded[1, 0], rows[5, ::-1])
    assert from_array(rows[:, :1], "z", "m", position=[Y, X]).dims == ("Y", "X", "arb")


def test_from_array_explains_what_does_not_fit():
    with pytest.raises(LayoutError, match=r"shape \(5, 4\).*Y: 2, X: 3, Bias: 4.*\(6, 4\)"):
        from_array(np.zeros((5, 4)), "I", "A", position=[Y, X], spectroscopic=[BIAS])
    with pytest.raises(LayoutError, match=r"'X' names a position and a spectroscopic"):
        from_array(np.zeros((2, 3, 3)), "I", "A", position=[Y, X], spectroscopic=[X])
    with pytest.raises(LayoutError, match=r"takes Dimensions, got 'Y'"):
        from_array(np.zeros((2, 3)), "I", "A", position=["Y"])


def test_attributes_are_plain():
    assert plain(np.float32(1.5)) == 1.5
    assert plain(np.array([1, 2])) == [1, 2]
    assert plain("text") == "text"
    assert isinstance(plain(np.zeros(1000)), np.ndarray)


def test_a_side_without_dimensions_has_none_again():
    main = make_main()
    for left in (main.mean("Frequency"), main.mean(["Y", "X"])):
        spec, stored = as_main(left)
        assert stored.dims == spec.dims
        assert len(spec.position.dims) >= 1
        assert len(spec.spectroscopic.dims) >= 1
        back = to_dataarray(spec, stored.values)
        xr.testing.assert_identical(back.drop_attrs(), left.drop_attrs())
        assert not [name for name in back.attrs if name.startswith("usid_")]
