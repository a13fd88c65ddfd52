"""Stacks of Mains: one grid, or a refusal that says how grids differ."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import usidx
from usidx.errors import LayoutError, OptionError, StoreNotFoundError
from usidx.testing import make_main


@pytest.fixture
def three():
    return [make_main((3, 4, 8), seed=seed, chunks={"Y": 1}) for seed in range(3)]


def test_a_new_position_in_front(three, tmp_path):
    da = usidx.stack(three, dim=usidx.Dimension("time", "s", [0.0, 10.0, 25.0]))
    assert da.dims == ("time", "Y", "X", "Frequency")
    assert da.usid.position_dims == ("time", "Y", "X")
    assert da.chunks is not None
    np.testing.assert_array_equal(da.values, [each.values for each in three])
    np.testing.assert_array_equal(da.time, [0, 10, 25])
    assert da.time.attrs["units"] == "s"
    assert (da.attrs["quantity"], da.attrs["units"]) == ("Cantilever Vertical Deflection", "V")
    found = usidx.open(da.usid.to_h5usid(tmp_path / "series.h5"))
    np.testing.assert_array_equal(found.values, da.values)
    assert found.dims == da.dims


def test_a_new_spectroscopic_dimension(three):
    da = usidx.stack(three, dim="bias", role="spectroscopic")
    assert da.dims == ("Y", "X", "bias", "Frequency")
    assert da.usid.spectroscopic_dims == ("bias", "Frequency")
    np.testing.assert_array_equal(da.values[:, :, 1], three[1].values)


def test_files(three, tmp_path):
    for number, each in enumerate(three):
        each.usid.to_h5usid(tmp_path / f"run_{number + 8}.h5")
    wanted = [each.values for each in three]
    da = usidx.stack(f"{tmp_path}/run_*.h5", dim="run", main="Raw_Data")
    np.testing.assert_array_equal(da.values, wanted)  # 8, 9, 10
    paths = [tmp_path / "run_10.h5", tmp_path / "run_8.h5"]
    np.testing.assert_array_equal(usidx.stack(paths, dim="run").values, [wanted[2], wanted[0]])
    with pytest.raises(StoreNotFoundError, match="no file fits"):
        usidx.stack(f"{tmp_path}/nothing_*.h5", dim="run")


def test_grids_that_differ_are_named(three):
    moved = three[1].assign_coords(X=three[1].X + 0.25)
    moved.X.attrs.update(three[1].X.attrs)
    message = r"'X' of number 1 differs by up to 0.25 um \(4 of 4\). Interpolate"
    with pytest.raises(LayoutError, match=message):
        usidx.stack([three[0], moved], dim="time")
    first = usidx.stack([three[0], moved], dim="time", join="override")
    np.testing.assert_array_equal(first.X, three[0].X)
    np.testing.assert_array_equal(first.values[1], moved.values)
    outer = usidx.stack([three[0], moved], dim="time", join="outer")
    assert outer.sizes["X"] == 8
    assert int(np.isnan(outer.values).sum()) == outer.size // 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda da: da.isel(Y=slice(2)), r"'Y' of number 1 has Y: 2, not Y: 3"),
        (lambda da: da.drop_vars("Y"), "it has the dimensions"),
        (
            lambda da: da.assign_attrs(units="mV"),
            r"number 1 is not like number 0: its units are mV",
        ),
        (lambda da: da.astype("f8"), "it has the dtype float64 where the first has float32"),
        (lambda da: da.rename(X="Z"), "it has the dimensions"),
        (lambda da: da.to_dataset(name="a"), "it is a Dataset where the first has DataArray"),
    ],
)
def test_what_is_another_measurement(three, change, message):
    with pytest.raises(LayoutError, match=message):
        usidx.stack([three[0], change(three[1])], dim="time")


def test_units_of_a_coordinate(three):
    other = three[1].copy()
    other.X.attrs["units"] = "nm"
    with pytest.raises(LayoutError, match="'X' of number 1 is in 'nm', not 'um'"):
        usidx.stack([three[0], other], dim="time")


def test_compound():
    parts = [
        xr.Dataset(
            {"Amplitude": make_main(seed=seed), "Phase": make_main(seed=seed + 5)},
            attrs={"quantity": "Fit", "units": "", "usid_main": "Fit"},
        )
        for seed in (0, 1)
    ]
    ds = usidx.stack(parts, dim="time")
    assert list(ds.data_vars) == ["Amplitude", "Phase"]
    assert ds.usid.position_dims == ("time", "Y", "X")
    np.testing.assert_array_equal(ds.Phase.values[1], parts[1].Phase.values)
    with pytest.raises(LayoutError, match="its fields are"):
        usidx.stack([parts[0], parts[1].drop_vars("Phase")], dim="time")


def test_orders_of_acquisition_follow_each_other(tmp_path):
    side = usidx.Dimension("Y", "um", [0.0, 1.0]), usidx.Dimension("X", "um", [0.0, 1.0, 2.0])
    from usidx.model.layout import Grid

    snake = Grid("position", side, (), np.array([0, 1, 2, 5, 4, 3]))
    rows = np.arange(12.0).reshape(6, 2)
    spectra = [usidx.Dimension("Bias", "V", [0.0, 1.0])]
    mains = [
        usidx.from_array(rows + 100 * n, "Current", "nA", position=snake, spectroscopic=spectra)
        for n in range(2)
    ]
    da = usidx.stack(mains, dim="time")
    order = [[[0, 1, 2], [5, 4, 3]], [[6, 7, 8], [11, 10, 9]]]
    np.testing.assert_array_equal(da.acquisition_order, order)
    path = da.usid.to_h5usid(tmp_path / "snakes.h5")
    np.testing.assert_array_equal(
        usidx.open(path, form="2d").values, np.concatenate([rows, rows + 100])
    )


def test_points_have_no_room(three, tmp_path):
    points = [each.usid.to_2d().isel(position=[0, 3, 5]) for each in three]
    with pytest.raises(LayoutError, match="is a list of points"):
        usidx.stack(points, dim="time")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "needs a name for the new dimension"),
        ({"dim": "X"}, "the Mains have 'X' already"),
        ({"dim": "t", "join": "left"}, "join='left' is not known"),
        ({"dim": "t", "role": "time"}, "role='time' is neither"),
        ({"dim": usidx.Dimension("t", "s", [1.0])}, "has 1 values for 3 Mains"),
    ],
)
def test_options(three, options, message):
    with pytest.raises(OptionError, match=message):
        usidx.stack(three, **options)


def test_no_array_and_nothing(three):
    with pytest.raises(OptionError, match="number 1 to stack is a int"):
        usidx.stack([three[0], 3], dim="t")
    with pytest.raises(OptionError, match="no Mains to stack"):
        usidx.stack([], dim="t")
