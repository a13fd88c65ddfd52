"""Coordinates too large for an attribute come back from every store, lazily."""

from __future__ import annotations

import json
import pathlib
import pickle
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr

import usidx
from usidx.errors import DamagedStoreError
from usidx.stores import store_at
from usidx.testing import make_main


def measured() -> xr.DataArray:
    """A Main with coordinates of every kind over its positions, and over both sides."""
    main = make_main((64, 80, 50))
    rng = np.random.default_rng(7)
    start = np.datetime64("2020-01-01", "ns")
    texts = np.array([f"größe {number}" for number in range(5120)]).reshape(64, 80)
    rates = rng.random((64, 80))
    return main.assign_coords(
        Good=(("Y", "X"), rng.random((64, 80)) > 0.5, {"long_name": "good pixels"}),
        Rate=(("Y", "X"), rates, {"units": "1/s", "scale_factor": 3.0, "n": np.float32(2)}),
        When=(("Y", "X"), start + np.arange(5120).reshape(64, 80).astype("m8[s]")),
        Note=(("Y", "X"), texts),
        Drift=(("Y", "Frequency"), rng.random((64, 50), dtype=np.float32)),
        Bias=3.0,
    )


def check_same(expected: xr.DataArray, found: Any) -> None:
    """The coordinates of both are the same, types and attributes included."""
    assert set(found.coords) == set(expected.coords)
    for name, each in expected.coords.items():
        np.testing.assert_array_equal(found[name].values, each.values)
        assert found[name].dtype.kind in (each.dtype.kind, "O"), name
        for key, value in each.attrs.items():
            assert found[name].attrs[key] == value, (name, key)


def is_read(coordinate: xr.DataArray) -> bool:
    return bool(coordinate.variable._in_memory)


@pytest.mark.parametrize("kind", ["zarr", "zarr 2", "netcdf", "hdf5", "contiguous"])
def test_they_come_back(tmp_path: pathlib.Path, kind: str) -> None:
    main, path = measured(), tmp_path / "scan"
    if kind == "netcdf":
        main.usid.to_netcdf(path)
    elif kind in ("hdf5", "contiguous"):
        main.usid.to_h5usid(path, checksums=kind == "hdf5")
    else:
        main.usid.to_zarr(path, zarr_format=2 if kind == "zarr 2" else 3)
    found = usidx.open(path)
    assert not is_read(found.Rate), "values of coordinates wait until they are asked for"
    check_same(main, pickle.loads(pickle.dumps(found)))
    check_same(main, found)
    row = usidx.open(path).isel(Y=3)
    np.testing.assert_array_equal(row.Rate.values, main.Rate.values[3])
    assert row.usid.spec is not None


def test_they_go_from_store_to_store(tmp_path: pathlib.Path) -> None:
    main = measured()
    main.usid.to_zarr(tmp_path / "a.zarr")
    usidx.open(tmp_path / "a.zarr").usid.to_netcdf(tmp_path / "b.nc")
    tree = usidx.open_tree(tmp_path / "b.nc")
    usidx.to_h5usid(tree, tmp_path / "c.h5")
    tree = usidx.open_tree(tmp_path / "c.h5")
    for group in tree.subtree:
        assert not [name for name in group.data_vars if "Coordinate" in str(name)]
    usidx.to_zarr(tree, tmp_path / "d.zarr")
    usidx.open(tmp_path / "d.zarr").usid.to_h5usid(tmp_path / "e.h5")
    check_same(main, usidx.open(tmp_path / "e.h5"))


def test_stores_in_other_chunks_have_them(tmp_path: pathlib.Path) -> None:
    main = measured()
    main.usid.to_h5usid(tmp_path / "a.h5")
    for name in ("maps.h5", "maps.zarr"):
        usidx.open(tmp_path / "a.h5").usid.rechunk_for("maps", tmp_path / name)
        check_same(main, usidx.open(tmp_path / name))


def test_they_lie_beside_each_main_of_a_file(tmp_path: pathlib.Path) -> None:
    first, path = measured(), tmp_path / "scan.h5"
    second = first.assign_coords(Rate=2 * first.Rate)
    first.usid.to_h5usid(path)
    for append in (True, "Measurement_000"):
        usidx.to_h5usid(second, path, append=append)
    third = usidx.to_h5usid({"Other": second}, path, append="/Measurement_000/Channel_000")
    assert usidx.validate(third).ok
    for each in usidx.list_mains(path):
        expected = first if each.path == "/Measurement_000/Channel_000/Raw_Data" else second
        found: Any = usidx.open(path, each.path)
        np.testing.assert_array_equal(found.Rate.values, expected.Rate.values)


def test_those_that_others_took_away_are_not_missed(tmp_path: pathlib.Path) -> None:
    measured().usid.to_h5usid(tmp_path / "scan.h5")
    with h5py.File(tmp_path / "scan.h5", "r+") as file:
        del file["Measurement_000/Channel_000/Raw_Data_Coordinate_Rate"]
        assert file["Measurement_000/Channel_000/Raw_Data_Coordinate_When"].shape == (64, 80)
    assert {"Drift", "When"} < set(usidx.open(tmp_path / "scan.h5").coords)
    assert "Rate" not in usidx.open(tmp_path / "scan.h5").coords
    with h5py.File(tmp_path / "scan.h5", "r+") as file:
        file["Measurement_000/Channel_000/Raw_Data"].attrs["usid_further_coordinates"] = "[1"
    with pytest.raises(DamagedStoreError, match="cannot be read"):
        usidx.open(tmp_path / "scan.h5")


def test_fields_of_a_compound_main_have_them(tmp_path: pathlib.Path) -> None:
    rate = measured().Rate
    main = make_main((64, 80, 5))
    fields = xr.Dataset({"a": main, "b": 2 * main}, attrs={"usid_main": "Raw_Data"})
    fields.assign_coords(Rate=rate.variable).usid.to_zarr(tmp_path / "scan.zarr")
    found: Any = usidx.open(tmp_path / "scan.zarr")
    np.testing.assert_array_equal(found["b"].Rate.values, rate.values)


def test_small_ones_are_kept_once(tmp_path: pathlib.Path) -> None:
    small = make_main((4, 5, 6)).assign_coords(Good=(("Y", "X"), np.ones((4, 5), bool)))
    small.usid.to_zarr(tmp_path / "scan.zarr")
    stored = store_at(tmp_path / "scan.zarr")
    assert stored.open_main(stored.mains()[0].path).further == ()
    assert "Good" in usidx.open(tmp_path / "scan.zarr").coords


def test_what_a_leaf_says_wrongly_is_damage(tmp_path: pathlib.Path) -> None:
    measured().usid.to_zarr(tmp_path / "scan.zarr")
    (leaf,) = [
        each
        for each in (tmp_path / "scan.zarr").rglob("zarr.json")
        if json.loads(each.read_text())["attributes"].get("usid", {}).get("kind") == "main"
    ]
    node = json.loads(leaf.read_text())
    del node["attributes"]["usid"]["further"][0]["dims"]
    leaf.write_text(json.dumps(node))
    with pytest.raises(DamagedStoreError, match="does not describe its coordinates"):
        usidx.open(tmp_path / "scan.zarr")
