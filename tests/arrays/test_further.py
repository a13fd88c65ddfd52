"""Coordinates that are no part of a layout survive any store."""

from __future__ import annotations

import pathlib
import warnings
from typing import Any

import numpy as np
import pytest
import xarray as xr

import usidx
from usidx.testing import make_main


def labelled(array: xr.DataArray) -> xr.DataArray:
    return array.assign_coords(
        site="Å",
        when=np.datetime64("2020-01-01T00:00:01", "ns"),
        phase=1 + 2j,
        nothing=np.nan,
        good=("Y", np.array([True, False, True, True])),
        temperature=("X", np.linspace(290, 300, 5, dtype="f4"), {"units": "K", "how": [1, 2]}),
        label=(("Y", "X"), np.arange(20).astype(str).reshape(4, 5)),
    )


def same(found: Any, expected: Any) -> None:
    for name, each in expected.coords.items():
        xr.testing.assert_equal(found.coords[name].variable, each.variable)
        assert found.coords[name].dtype.kind == each.dtype.kind
        assert found.coords[name].attrs == each.attrs


@pytest.mark.parametrize("kind", ["h5", "zarr", "nc"])
@pytest.mark.parametrize("chunks", [None, {}])
def test_they_come_back(tmp_path: pathlib.Path, kind: str, chunks: Any) -> None:
    array = labelled(make_main((4, 5, 8), chunks=chunks)).isel(Frequency=3)
    path = tmp_path / f"a.{kind}"
    to = {"h5": "to_h5usid", "zarr": "to_zarr", "nc": "to_netcdf"}[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        getattr(array.usid, to)(path)
    found = usidx.open(path)
    same(found, array.drop_vars(["X", "Y"]))
    assert found.dims == ("Y", "X")
    flat = usidx.open(path, form="2d")
    assert flat.coords["site"].item() == "Å"
    assert "temperature" not in flat.coords  # its dimension is none of the 2-D form


@pytest.mark.parametrize("kind", ["h5", "zarr", "nc"])
def test_text_and_times_along_a_dimension_of_a_role(tmp_path: pathlib.Path, kind: str) -> None:
    days = np.array(["2020-01-01", "2020-01-02", "2020-01-05"], "M8[ns]")
    array = xr.DataArray(
        np.random.default_rng(0).random((3, 2, 4)),
        dims=("Y", "X", "V"),
        coords={"Y": [0.0, 0.5, 1.0], "site": ("Y", ["a", "b", "c"]), "when": ("Y", days)},
        name="Current",
    ).assign_coords(cell=(("Y", "X"), np.arange(6).astype(str).astype(object).reshape(3, 2)))
    array = array.usid.assign_roles(position=["Y", "X"], spectroscopic=["V"])
    path = tmp_path / f"a.{kind}"
    to = {"h5": "to_h5usid", "zarr": "to_zarr", "nc": "to_netcdf"}[kind]
    for form in (array, array.usid.to_2d()):
        path.unlink() if path.is_file() else None
        getattr(form.usid, to)(path, **({"overwrite": True} if kind == "zarr" else {}))
        found = usidx.open(path)
        assert found.dims == ("Y", "X", "V")
        for name in ("site", "when", "cell"):
            assert found[name].dims == array[name].dims
            assert found[name].values.tolist() == array[name].values.tolist()


def test_results_have_those_of_their_step(tmp_path: pathlib.Path) -> None:
    labelled(make_main((4, 5, 8))).usid.to_h5usid(tmp_path / "a.h5")
    raw = usidx.open(tmp_path / "a.h5")
    result = raw.usid.process(usidx.steps.mean, over=["Frequency"]).run().open()
    assert result.coords["site"].item() == "Å"
    same(
        result.drop_vars(["X", "Y"]),
        labelled(make_main((4, 5, 8))).mean("Frequency").drop_vars(["X", "Y"]),
    )


def test_compound_mains_have_them(tmp_path: pathlib.Path) -> None:
    main = labelled(make_main((4, 5, 8)))
    whole = xr.Dataset({"A": main.isel(Frequency=0), "B": main.isel(Frequency=0) * 2})
    whole.usid.to_zarr(tmp_path / "a.zarr")
    same(
        usidx.open(tmp_path / "a.zarr")["B"].drop_vars(["X", "Y"]), whole["B"].drop_vars(["X", "Y"])
    )


def test_large_ones_lie_beside_their_main_in_hdf5(tmp_path: pathlib.Path) -> None:
    height = np.random.default_rng(2).random((64, 64))
    large = make_main((64, 64, 2)).assign_coords(height=(("Y", "X"), height), site="A")
    large.usid.to_h5usid(tmp_path / "a.h5")
    found = usidx.open(tmp_path / "a.h5")
    np.testing.assert_array_equal(found.height.values, height)
    assert found.coords["site"].item() == "A"


def test_what_hdf5_has_no_type_for_is_named(tmp_path: pathlib.Path) -> None:
    height = np.zeros((64, 64), np.longdouble)
    large = make_main((64, 64, 2)).assign_coords(height=(("Y", "X"), height), site="A")
    with pytest.warns(UserWarning, match="coordinates height of /Measurement_000"):
        large.usid.to_h5usid(tmp_path / "a.h5")
    found = usidx.open(tmp_path / "a.h5")
    assert "height" not in found.coords
    assert found.coords["site"].item() == "A"


def test_what_somebody_edited_says_nothing(tmp_path: pathlib.Path) -> None:
    import h5py

    labelled(make_main((4, 5, 8))).usid.to_h5usid(tmp_path / "a.h5")
    for text in ("{", "[]", '{"a": 1}', '{"a": {"dims": ["X"], "values": 1, "attrs": {}}}'):
        with h5py.File(tmp_path / "a.h5", "r+") as file:
            file["Measurement_000/Channel_000/Raw_Data"].attrs["usid_coordinates"] = text
        assert set(usidx.open(tmp_path / "a.h5").coords) == {"Y", "X", "Frequency"}
