"""Files that xarray wrote, against xarray and the hashes of their values."""

from __future__ import annotations

import contextlib
import hashlib
import json
import pathlib
import re
import shutil
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr
import zarr
from zarr.storage import LocalStore

import usidx
from usidx.errors import LayoutError, MissingDependencyError, NotUsidError, OptionError
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
        attrs={"operator": "unknown"},
    )
    packed = {"dtype": "i2", "scale_factor": 0.25, "add_offset": 1.0, "_FillValue": -999}
    made["height"].encoding = packed
    written(made, tmp_path / f"data.{kind}")
    opened = usidx.open(tmp_path / f"data.{kind}", "height")
    np.testing.assert_array_equal(opened, values)
    assert opened.usid.position_dims == ("y", "x")
    assert opened.attrs["operator"] == "unknown"
    assert opened.attrs["temperature"] == 300.0
    # beside a map, what has none of its dimensions is a spectrum
    assert usidx.open(tmp_path / f"data.{kind}", "mean").usid.position_dims == ()


def test_values_along_dimensions_of_the_groups_above(
    dataset: xr.Dataset, tmp_path: pathlib.Path
) -> None:
    """xarray writes what groups have in common once, into the one above them."""
    below = dataset.assign(signal=2 * dataset.signal)
    tree = xr.DataTree.from_dict({"/": dataset, "/in": below, "/in/most": below})
    for kind in ("nc", "zarr"):
        path = tmp_path / f"data.{kind}"
        written(tree, path)
        for group in ("in", "in/most"):
            for options in ({}, {"group": group}):
                opened = usidx.open(path, f"{group}/signal", position="a", **options)
                np.testing.assert_array_equal(opened, below.signal)
                np.testing.assert_array_equal(opened.a, dataset.a)
                np.testing.assert_array_equal(opened.t, dataset.t)
                assert opened.t.attrs["units"] == "s"


def test_coordinates_of_any_kind(dataset: xr.Dataset, tmp_path: pathlib.Path) -> None:
    times = np.array(["2020-01-01", "2020-01-02", "2020-01-05"], "M8[ns]")
    full = dataset.drop_vars("flag").assign_coords(
        label=("a", ["p", "q", "r"]),
        when=("a", times),
        drift=(("a", "t"), np.arange(12.0).reshape(3, 4)),
        start=times[0],
    )
    full["t_bnds"] = ("t", "edge"), np.arange(8.0).reshape(4, 2)
    full.t.attrs["bounds"] = "t_bnds"
    written(full, tmp_path / "a.nc")
    opened = usidx.open(tmp_path / "a.nc", position="a")  # edges of bins are no Main
    again = usidx.open(opened.usid.to_zarr(tmp_path / "a.zarr"))
    for each in (opened, again):
        np.testing.assert_array_equal(each.label, full.label)
        np.testing.assert_array_equal(each.when, [0, 86400, 4 * 86400])
        np.testing.assert_array_equal(each.attrs["drift"], full.drift)
        np.testing.assert_array_equal(each.attrs["t_bnds"], full.t_bnds)
        assert each.attrs["start"].startswith("2020-01-01")
        assert each.when.attrs["units"] == "seconds since 2020-01-01T00:00:00.000000000"


@pytest.mark.parametrize(
    ("units", "calendar"), [("days since 2000-02-28", "360_day"), ("months since 2000-01-01", None)]
)
def test_times_that_numpy_has_not(tmp_path: pathlib.Path, units: str, calendar: str | None) -> None:
    """They stay the numbers of the file, and say from when they count."""
    pytest.importorskip("cftime")
    said = {"units": units} | ({"calendar": calendar} if calendar else {})
    plain = xr.Dataset(
        {"T": (("x", "time"), np.arange(6.0).reshape(2, 3))}, {"time": ("time", [1.0, 2, 3], said)}
    )
    plain.to_netcdf(tmp_path / "a.nc")
    opened = usidx.open(tmp_path / "a.nc")
    np.testing.assert_array_equal(opened, plain["T"])
    np.testing.assert_array_equal(opened.time, [1.0, 2.0, 3.0])
    assert opened.time.attrs["units"] == units
    assert usidx.open(opened.usid.to_h5usid(tmp_path / "a.h5")).time.attrs["units"] == units


def test_netcdf_that_does_not_say_so(tmp_path: pathlib.Path) -> None:
    """Of old libraries, and with types that netCDF does not have."""
    made = xr.Dataset({"mask": (("y", "x"), np.eye(3, dtype=bool))}, {"y": ("y", [1.0, 2, 4])})
    made.to_netcdf(tmp_path / "a.h5", engine="h5netcdf")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        del file.attrs["_NCProperties"]
        file["type"] = np.dtype([("re", "f4"), ("im", "f4")])  # a named type among variables
    opened = usidx.open(tmp_path / "a.h5")
    assert opened.dtype == bool
    np.testing.assert_array_equal(opened, made.mask)
    np.testing.assert_array_equal(opened.y, made.y)


def test_arrays_without_a_name_and_without_values(tmp_path: pathlib.Path) -> None:
    xr.DataArray(np.eye(3), dims=("x", "E")).to_netcdf(tmp_path / "a.nc")
    opened = usidx.open(tmp_path / "a.nc")
    assert (opened.name, opened.attrs["quantity"]) == ("Raw_Data", "Unknown")
    xr.Dataset({"none": ("x", np.zeros(0)), "some": ("E", np.ones(3))}).to_netcdf(tmp_path / "b.nc")
    np.testing.assert_array_equal(usidx.open(tmp_path / "b.nc", position=[]), np.ones(3))
    xr.Dataset({"none": ("x", np.zeros(0))}).to_netcdf(tmp_path / "c.nc")
    with pytest.raises(NotUsidError, match="none have no extent"):
        usidx.open(tmp_path / "c.nc")
    (tmp_path / "d.nc").write_bytes(b"CDF\x05" + bytes(100))
    with pytest.raises(NotUsidError, match="nccopy -k nc4"):
        usidx.open(tmp_path / "d.nc")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("zipped", [False, True])
def test_zarr_without_xarray(tmp_path: pathlib.Path, version: Any, zipped: bool) -> None:
    """Arrays of groups whose axes have no names, or have each others' in other sizes."""
    from zarr.storage import ZipStore

    path = tmp_path / "data"
    names = {"dimension_names": ["y", None, "E"]} if version == 3 else {}
    with contextlib.closing(ZipStore(path, mode="w") if zipped else LocalStore(path)) as store:
        root = zarr.create_group(store, zarr_format=version, attributes={"operator": "A"})
        for name, shape in (("a", (3, 4, 5)), ("in/b", (2, 4, 6)), ("c", (7, 4, 5))):
            array = root.create_array(name, shape=shape, dtype=">f4", chunks=(2, 3, 5), **names)
            array[...] = np.arange(np.prod(shape)).reshape(shape)
            array.attrs["units"] = "nA"
    for name, shape in (("a", (3, 4, 5)), ("in/b", (2, 4, 6)), ("c", (7, 4, 5))):
        expected = np.arange(np.prod(shape), dtype="f4").reshape(shape)
        np.testing.assert_array_equal(usidx.open(path, name), expected)
    check_reader(path, np.arange(60, dtype="f4").reshape(3, 4, 5), "a", cut_short=False)
    opened = usidx.open(path, "a")
    assert opened.dims == (("y", "dim_1", "E") if version == 3 else ("dim_0", "dim_1", "dim_2"))
    assert opened.usid.position_dims == opened.dims[:2]
    assert (opened.usid.units, opened.attrs["operator"]) == ("nA", "A")


def test_arrays_alone_in_a_zip_file(tmp_path: pathlib.Path) -> None:
    from zarr.storage import ZipStore

    with contextlib.closing(ZipStore(tmp_path / "a.zip", mode="w")) as store:
        zarr.create_array(store, data=np.eye(4), chunks=(2, 4))
    np.testing.assert_array_equal(usidx.open(tmp_path / "a.zip"), np.eye(4))
    zarr.create_array(tmp_path / "text", shape=(3,), dtype="str")
    with pytest.raises(NotUsidError, match="no numbers"):
        usidx.open(tmp_path / "text")


@pytest.mark.parametrize("version", [2, 3])
def test_a_zip_file_of_a_folder(tmp_path: pathlib.Path, version: Any) -> None:
    """As `zip -r` and file managers make it: the store is one folder further down."""
    zarr.create_array(
        tmp_path / "scan.zarr", shape=(4, 4), dtype="f4", chunks=(2, 4), zarr_format=version
    )
    path = shutil.make_archive(str(tmp_path / "scan.zarr"), "zip", tmp_path, "scan.zarr")
    with pytest.raises(NotUsidError, match=r"holds the folder 'scan.zarr'.*cd scan.zarr && zip"):
        usidx.open(path)
    path = shutil.make_archive(str(tmp_path / "scan.zarr"), "zip", tmp_path / "scan.zarr")
    assert usidx.open(path).shape == (4, 4)


def test_codecs_that_are_missing(dataset: xr.Dataset, tmp_path: pathlib.Path) -> None:
    for version, name, said in ((2, ".zarray", '"blosc"'), (3, "zarr.json", '"zstd"')):
        path = tmp_path / f"a{version}"
        dataset.to_zarr(path, zarr_format=version, consolidated=False)
        place = path / "signal" / name
        assert said in place.read_text() or version == 2
        text = re.sub(r'("id"|"name"): "(blosc|zstd)"', r'\1: "mine"', place.read_text())
        place.write_text(text)
        with pytest.raises(MissingDependencyError, match="codec 'mine'.* install the package"):
            usidx.open(path, "signal", position="a")
