"""What xarray and zarr make of a USID-Zarr store, without usidx."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

from usidx.model.dimension import Dimension
from usidx.model.layout import Coordinate, Grid, Points
from usidx.model.main import MainSpec
from usidx.stores.base import OutputRequest, ResultRequest
from usidx.stores.zarr import ZarrStore
from usidx.stores.zarr.draft import draft

CHANNEL = "Measurement_000/Channel_000"
MAIN = f"/{CHANNEL}/Raw_Data"


def write(folder: pathlib.Path, spec: MainSpec, values: Any) -> str:
    path = str(folder / "scan.zarr")
    with draft(path, group=None, overwrite=False) as new:
        names = spec.dtype.names
        for place, target in enumerate(new.add_main(spec, (1, *spec.shape[1:]))):
            target[...] = values if names is None else values[names[place]]
    return path


def rich_main() -> tuple[MainSpec, Any]:
    """Names with blanks and slashes, a dependent coordinate, counters, a random order."""
    position = Grid(
        "position",
        (
            Dimension("Y", "um", [0.0, 0.5, 1.0]),
            Dimension("X", "um", [3.0, 2.0], indices=[7, 4], quantity="Fast axis"),
        ),
        dependent=(Coordinate("Z drift", "nm", ("Y", "X"), np.arange(6.0).reshape(3, 2)),),
        order=np.array([3, 0, 1, 5, 4, 2]),
    )
    spectroscopic = Grid(
        "spectroscopic",
        (
            Dimension("DC Offset", "V", np.array([-1, 0, 1, 0], dtype="f4")),
            Dimension("Force/Area", "N/m^2", np.array([1.5, 2.5])),
        ),
    )
    attrs = {
        "gain": np.float32(0.1),
        "limits": np.array([1, 2], dtype="i2"),
        "broken": float("nan"),
        "note": "µ",
        "scale_factor": 10.0,
        "_FillValue": 3.0,
    }
    spec = MainSpec(MAIN, "Current", "nA", np.dtype("f8"), position, spectroscopic, attrs)
    return spec, np.arange(48.0).reshape(spec.shape)


def test_xarray_reads_labels_and_units(tmp_path: pathlib.Path) -> None:
    spec, values = rich_main()
    path = write(tmp_path, spec, values)
    ds = xr.open_zarr(path, group=MAIN)
    array = ds["Raw_Data"]
    assert array.dims == ("Y", "X", "DC Offset", "Force_Area")
    np.testing.assert_array_equal(array.values, values)
    assert array.attrs["units"] == "nA"
    assert array.attrs["long_name"] == "Current"
    assert array.attrs["note"] == "µ"
    assert set(ds.data_vars) == {"Raw_Data"}
    np.testing.assert_array_equal(array.X, [3.0, 2.0])
    assert array.X.attrs["units"] == "um"
    assert array.X.attrs["long_name"] == "Fast axis"
    assert array.X.attrs["usid_role"] == "position"
    assert array["DC Offset"].dtype == np.dtype("f4")
    assert array["Force_Area"].attrs["long_name"] == "Force/Area"
    np.testing.assert_array_equal(array.Z_drift, np.arange(6.0).reshape(3, 2))
    assert array.Z_drift.attrs["units"] == "nm"
    np.testing.assert_array_equal(array.acquisition_order, [[3, 0], [1, 5], [4, 2]])


def test_xarray_opens_the_tree(tmp_path: pathlib.Path) -> None:
    spec, values = rich_main()
    path = write(tmp_path, spec, values)
    tree = xr.open_datatree(path, engine="zarr")
    np.testing.assert_array_equal(tree[MAIN]["Raw_Data"].values, values)
    lazy = xr.open_datatree(path, engine="zarr", chunks={})
    assert lazy[MAIN]["Raw_Data"].chunks == ((1, 1, 1), (2,), (4,), (2,))


def test_zarr_reads_the_values(tmp_path: pathlib.Path) -> None:
    spec, values = rich_main()
    path = write(tmp_path, spec, values)
    array = zarr.open_array(path, path=f"{CHANNEL}/Raw_Data/Raw_Data", mode="r")
    np.testing.assert_array_equal(array[...], values)
    assert array.metadata.dimension_names == ("Y", "X", "DC Offset", "Force_Area")
    assert array.metadata.zarr_format == 3


def test_usidx_reads_the_same_main(tmp_path: pathlib.Path) -> None:
    spec, values = rich_main()
    stored = ZarrStore(write(tmp_path, spec, values)).open_main(MAIN)
    assert stored.spec.position == spec.position
    assert stored.spec.spectroscopic == spec.spectroscopic
    assert stored.spec.position.dimensions[1].quantity == "Fast axis"
    attrs = stored.spec.attrs
    assert attrs["gain"] == np.float32(0.1)
    assert attrs["gain"].dtype == np.float32
    np.testing.assert_array_equal(attrs["limits"], [1, 2])
    assert attrs["limits"].dtype == np.int16
    assert np.isnan(attrs["broken"])
    assert (attrs["scale_factor"], attrs["_FillValue"]) == (10.0, 3.0)
    assert set(attrs) == set(spec.attrs)


def test_what_the_model_alone_needs_is_in_one_entry(tmp_path: pathlib.Path) -> None:
    spec, values = rich_main()
    folder = pathlib.Path(write(tmp_path, spec, values)) / CHANNEL / "Raw_Data"
    attributes = json.loads((folder / "zarr.json").read_text())["attributes"]
    assert set(attributes) == {"usid"}


def test_points_have_their_coordinates_along_position(tmp_path: pathlib.Path) -> None:
    columns = (
        Coordinate("Y", "um", ("position",), np.array([0.0, 2.0, 5.0])),
        Coordinate("X", "nm", ("position",), np.array([1.0, 1.0, 7.0]), np.array([0, 0, 1])),
    )
    spectroscopic = Grid("spectroscopic", (Dimension("t", "s", [0.0, 1.0]),))
    position = Points("position", columns, "aborted")
    spec = MainSpec(MAIN, "Height", "m", np.dtype("i4"), position, spectroscopic)
    path = write(tmp_path, spec, np.arange(6).reshape(3, 2))
    array = xr.open_zarr(path, group=MAIN)["Raw_Data"]
    assert array.dims == ("position", "t")
    assert {"X", "Y"} <= set(array.coords)
    np.testing.assert_array_equal(array.X, [1.0, 1.0, 7.0])
    assert array.Y.attrs["units"] == "um"
    stored = ZarrStore(path).open_main(MAIN)
    assert stored.spec.position == position
    assert isinstance(stored.spec.position, Points)
    assert stored.spec.position.reason == "aborted"


@pytest.mark.parametrize(
    "values",
    [
        np.array(["tip", "bé", ""]),
        np.array(["tip", "be", "c"], dtype=object),
        np.array(["2026-01-01", "2026-01-02", "2026-02-01"], dtype="M8[D]"),
        np.array([1, 2, 3], dtype="m8[ms]"),
        np.array([1.5, np.nan, 2], dtype=">f4"),
        np.array([True, False, True]),
        np.array([0.5, 0.25, 7], dtype="f2"),
    ],
    ids=lambda values: str(values.dtype),
)
def test_coordinates_of_every_kind(tmp_path: pathlib.Path, values: Any) -> None:
    position = Grid("position", (Dimension("Y", "", values),))
    spectroscopic = Grid("spectroscopic", (Dimension("t", "s", [0.0, 1.0]),))
    spec = MainSpec(MAIN, "Height", "m", np.dtype("f4"), position, spectroscopic)
    path = write(tmp_path, spec, np.zeros((3, 2), "f4"))
    plain = xr.open_zarr(path, group=MAIN).Y.values
    if values.dtype.kind in "mM":
        np.testing.assert_array_equal(plain.astype(values.dtype), values)
    else:
        np.testing.assert_array_equal(plain, values)
    side = ZarrStore(path).open_main(MAIN).spec.position
    assert isinstance(side, Grid)
    assert side.dimensions[0].values.dtype == values.dtype
    np.testing.assert_array_equal(side.dimensions[0].values, values)


# Before that version xarray decodes units of time in any file, unless it is told not to.
DECODES_TIME = tuple(map(int, xr.__version__.split(".")[:2])) < (2026, 4)


@pytest.mark.parametrize(
    "units",
    [
        "s",
        "seconds since the start",
        pytest.param("days", marks=pytest.mark.skipif(DECODES_TIME, reason="an older xarray")),
        "K",
        "",
    ],
)
def test_units_do_not_turn_values_into_dates(tmp_path: pathlib.Path, units: str) -> None:
    position = Grid("position", (Dimension("Y", units, [0.0, 1.0]),))
    spectroscopic = Grid("spectroscopic", (Dimension("t", units, [0.0, 1.0]),))
    spec = MainSpec(MAIN, "Age", units, np.dtype("f4"), position, spectroscopic)
    path = write(tmp_path, spec, np.ones((2, 2), "f4"))
    array = xr.open_zarr(path, group=MAIN)["Raw_Data"]
    np.testing.assert_array_equal(array.values, 1.0)
    stored = ZarrStore(path).open_main(MAIN).spec
    assert stored.units == units
    assert stored.position == position


def test_nan_zero_and_all_bits_survive(tmp_path: pathlib.Path) -> None:
    spec, _ = rich_main()
    bits = np.random.default_rng(0).integers(0, 2**63, 48).astype("u8").reshape(spec.shape)
    values = bits.view("f8").copy()
    values[0] = 0.0
    values[1] = np.nan
    path = write(tmp_path, spec, values)
    stored = ZarrStore(path).open_main(MAIN)
    whole = stored.array[(slice(None),) * 4]
    np.testing.assert_array_equal(whole.view("u8"), values.view("u8"))
    np.testing.assert_array_equal(xr.open_zarr(path, group=MAIN)["Raw_Data"], values)


def test_a_compound_main_is_one_array_for_each_field(tmp_path: pathlib.Path) -> None:
    spec, _ = rich_main()
    dtype = np.dtype([("Amplitude [V]", "<f4"), ("R2/Criterion", "<f8"), ("ok", "?")])
    spec = MainSpec(MAIN, "SHO", "compound", dtype, spec.position, spec.spectroscopic)
    values = np.zeros(spec.shape, dtype)
    values["Amplitude [V]"] = np.arange(48).reshape(spec.shape)
    values["ok"] = True
    path = write(tmp_path, spec, values)
    ds = xr.open_zarr(path, group=MAIN)
    assert set(ds.data_vars) == {"Amplitude [V]", "R2_Criterion", "ok"}
    np.testing.assert_array_equal(ds["Amplitude [V]"], values["Amplitude [V]"])
    stored = ZarrStore(path).open_main(MAIN)
    assert stored.spec.dtype == dtype
    np.testing.assert_array_equal(stored.array[(slice(None),) * 4], values)


def test_plain_xarray_sees_results_as_they_come(tmp_path: pathlib.Path) -> None:
    spec, values = rich_main()
    path = write(tmp_path, spec, values)
    store = ZarrStore(path)
    out = MainSpec("/Fit", "Fit", "V", np.dtype("f4"), spec.position, spec.spectroscopic)
    request = ResultRequest(
        parent=f"/{CHANNEL}",
        main="Raw_Data",
        tool="Fit",
        version="1",
        parameters={"a": 1},
        fingerprint="",
        sources=(("", MAIN),),
        outputs=(OutputRequest(out, (1, 2, 4, 2)),),
    )
    with store.claim(request) as claim:
        key = (slice(0, 1), slice(0, 2), slice(0, 4), slice(0, 2))
        claim.writers["Fit"].write(key, np.ones((1, 2, 4, 2), "f4"))
        claim.writers["Fit"].mark(key)
        tree = xr.open_datatree(path, engine="zarr")
        node = tree[claim.group]
        assert node.attrs["usid_status"] == "partial"
        assert node.attrs["source_000"] == MAIN
        assert node.attrs["a"] == 1
        fit = node["Fit"].to_dataset()
        assert (fit.Fit[0] == 1).all()
        assert np.isnan(fit.Fit[1:]).all()
        np.testing.assert_array_equal(fit.completed_positions, [[1, 1], [0, 0], [0, 0]])
        for row in (1, 2):
            key = (slice(row, row + 1), *key[1:])
            claim.writers["Fit"].write(key, np.ones((1, 2, 4, 2), "f4"))
            claim.writers["Fit"].mark(key)
        claim.complete()
    tree = xr.open_datatree(path, engine="zarr")
    assert tree[claim.group].attrs["usid_status"] == "complete"
    np.testing.assert_array_equal(tree[MAIN]["Raw_Data"], values)


def test_a_store_that_xarray_wrote_again_still_is_usid(tmp_path: pathlib.Path) -> None:
    spec, values = rich_main()
    path = write(tmp_path, spec, values + 1)
    copy = tmp_path / "copy.zarr"
    with xr.open_zarr(path, group=MAIN) as ds:
        ds.to_zarr(copy, group=MAIN, zarr_format=3, consolidated=False)
    stored = ZarrStore(str(copy)).open_main(MAIN)
    assert stored.spec.position == spec.position
    np.testing.assert_array_equal(stored.array[(slice(None),) * 4], values + 1)
