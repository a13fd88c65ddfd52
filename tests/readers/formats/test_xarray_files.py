"""Files that xarray wrote, against xarray and the hashes of their values."""

from __future__ import annotations

import hashlib
import json
import pathlib
from typing import Any

import numpy as np
import pytest
import xarray as xr

import usidx
from usidx.errors import LayoutError, OptionError
from usidx.testing import check_reader

FILES = [
    "eels_h5netcdf.nc", "eels_netcdf4.nc", "eels_netcdf3.nc", "eels_zarr2.zarr", "eels_zarr3.zarr",
    "eels.zarr.zip", "dask.zarr",
]  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_samples(samples: pathlib.Path, name: str) -> None:
    rows = json.loads((samples / "peers" / "MANIFEST.json").read_text())
    facts = next(row for row in rows if row["path"] == f"xarray/{name}")
    opened = usidx.open(samples / "peers" / "xarray" / name)
    values = np.ascontiguousarray(opened.values)
    assert list(values.shape) == facts["shape"]
    assert hashlib.sha256(values.tobytes()).hexdigest() == facts["sha256"]
    check_reader(samples / "peers" / "xarray" / name, values)


def test_labels_and_units(samples: pathlib.Path) -> None:
    path = samples / "peers" / "xarray" / "eels_netcdf4.nc"
    opened = usidx.open(path)
    with xr.open_dataset(path) as plain:
        for dim in opened.dims:
            np.testing.assert_array_equal(opened[dim], plain[dim])
            assert opened[dim].attrs["units"] == plain[dim].attrs.get("units", "")
    assert opened.usid.position_dims == ("y", "x")
    assert opened.attrs["units"] == "counts"


@pytest.fixture
def dataset() -> xr.Dataset:
    """Two variables, times, a coordinate along a scan, and groups are made of it."""
    return xr.Dataset(
        {
            "signal": (("a", "t"), np.random.default_rng(0).random((3, 4))),
            "flag": (("a",), np.array([1, 2, 3], "i2")),
        },
        coords={
            "a": [1.0, 2.0, 4.0],
            "t": ("t", [0.0, 1.0, 2.0, 3.0], {"units": "s"}),
            "motor": ("a", [7.0, 8.0, 9.0], {"units": "mm"}),
        },
    )


def written(obj: Any, path: pathlib.Path) -> None:
    if path.suffix == ".nc":
        obj.to_netcdf(path)
    else:
        obj.to_zarr(path, consolidated=False)


@pytest.mark.parametrize("kind", ["nc", "zarr"])
def test_positions_as_asked(dataset: xr.Dataset, tmp_path: pathlib.Path, kind: str) -> None:
    path = tmp_path / f"data.{kind}"
    written(dataset, path)
    with pytest.raises(LayoutError, match=r"position=\["):
        usidx.open(path, "signal")
    opened = usidx.open(path, "signal", position=["a"])
    np.testing.assert_array_equal(opened, dataset.signal)
    assert opened.usid.position_dims == ("a",)
    np.testing.assert_array_equal(opened.motor, dataset.motor)
    assert opened.t.dtype == np.float64  # seconds stay numbers
    assert [each.path.rpartition("/")[2] for each in usidx.list_mains(path, position="a")] == [
        "flag",
        "signal",
    ]
    with pytest.raises(OptionError, match="has a dimension 'b'"):
        usidx.open(path, "signal", position="b")


@pytest.mark.parametrize("kind", ["nc", "zarr"])
def test_groups(dataset: xr.Dataset, tmp_path: pathlib.Path, kind: str) -> None:
    tree = xr.DataTree.from_dict({"/": xr.Dataset(), "/one": dataset, "/two/in": 2 * dataset})
    path = tmp_path / f"data.{kind}"
    written(tree, path)
    paths = {each.path for each in usidx.list_mains(path, position="a")}
    assert paths == {"/one/signal", "/one/flag", "/two/in/signal", "/two/in/flag"}
    found = usidx.open(path, "two/in/signal", position="a")
    np.testing.assert_array_equal(found, 2 * dataset.signal)


def test_roles_that_stand_in_the_file(tmp_path: pathlib.Path) -> None:
    main: Any = usidx.testing.make_main()
    main.to_netcdf(tmp_path / "plain.nc")
    opened = usidx.open(tmp_path / "plain.nc")
    assert opened.usid.position_dims == ("Y", "X")
    assert opened.attrs["quantity"] == main.attrs["quantity"]
    np.testing.assert_array_equal(opened, main)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", ["2", "2, consolidated", "3", "sharded", "zip", "zip, sharded"])
def test_every_form_of_zarr(dataset: xr.Dataset, tmp_path: pathlib.Path, kind: str) -> None:
    from zarr.storage import ZipStore

    path = tmp_path / "data"  # without an ending that would tell
    options: dict[str, Any] = {"zarr_format": 2 if kind.startswith("2") else 3}
    options["consolidated"] = "consolidated" in kind
    if "sharded" in kind:
        options["encoding"] = {"signal": {"chunks": (1, 2), "shards": (3, 4)}}
    if kind.startswith("zip"):
        with ZipStore(path, mode="w") as store:
            dataset.to_zarr(store, **options)
    else:
        dataset.to_zarr(path, **options)
    check_reader(path, dataset.signal.values, "signal", position="a")
    assert usidx.open(path, "signal", position="a").motor.attrs["units"] == "mm"


@pytest.mark.parametrize("kind", ["nc", "zarr"])
def test_values_that_are_packed(tmp_path: pathlib.Path, kind: str) -> None:
    """Whole numbers with a scale and a gap, a scalar coordinate, and what is said of all."""
    values = np.array([[1.0, np.nan, 3.5], [0.25, 2.0, -1.0]])
    made = xr.Dataset(
        {"height": (("y", "x"), values), "mean": (("e",), np.arange(4.0))},
        coords={"temperature": 300.0},
        attrs={"operator": "A. Nonymous"},
    )
    packed = {"dtype": "i2", "scale_factor": 0.25, "add_offset": 1.0, "_FillValue": -999}
    made["height"].encoding = packed
    written(made, tmp_path / f"data.{kind}")
    opened = usidx.open(tmp_path / f"data.{kind}", "height")
    np.testing.assert_array_equal(opened, values)
    assert opened.usid.position_dims == ("y", "x")
    assert opened.attrs["operator"] == "A. Nonymous"
    assert opened.attrs["temperature"] == 300.0
    # beside a map, what has none of its dimensions is a spectrum
    assert usidx.open(tmp_path / f"data.{kind}", "mean").usid.position_dims == ()
