"""What is written to URLs, and what is not."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import usidx
from tests.stores.remote.made import VALUES, write_scan
from usidx.errors import (
    OptionError,
    ReadOnlyStoreError,
    SourceChangedError,
    StoreExistsError,
    StoreNotFoundError,
)


@usidx.step("Half", version="1")
def half(array: xr.DataArray) -> xr.DataArray:
    return array * 0.5


def test_a_store_that_was_replaced(memory, tmp_path):
    first = usidx.open(write_scan(tmp_path / "scan.h5"))
    url = first.usid.to_zarr("memory://made.zarr")
    found = usidx.open(url)
    (first + 1).rename("Raw_Data").usid.to_zarr(url, overwrite=True)

    with pytest.raises(SourceChangedError, match="open it again"):
        found.compute()
    assert np.array_equal(usidx.open(url), VALUES + 1)


@pytest.mark.parametrize("kind", ["h5usid", "netcdf", "npy", "csv", "edf", "hspy", "rechunk"])
def test_what_is_written_to_disks_only(tmp_path, kind):
    array = usidx.open(write_scan(tmp_path / "scan.h5"))
    write = {
        "rechunk": lambda url: array.usid.rechunk_for("maps", url),
        "csv": lambda url: usidx.exporting.to_csv(array, url),
    }.get(kind) or getattr(array.usid, f"to_{kind}")

    with pytest.raises(ReadOnlyStoreError, match="usid.to_zarr"):
        write(f"memory://made.{kind}")


def test_a_store_is_written_whole_or_not_seen(memory, tmp_path, monkeypatch):
    array = usidx.open(write_scan(tmp_path / "scan.h5"))

    def broken(*_, **__):
        raise RuntimeError("the network is down")

    from usidx.stores.zarr import uploading

    url = array.usid.to_zarr("memory://made.zarr", chunks={"Bias": 8})
    monkeypatch.setattr(uploading.FarTarget, "__setitem__", broken)
    with pytest.raises(RuntimeError, match="down"):
        array.usid.to_zarr("memory://other.zarr")
    with pytest.raises(RuntimeError, match="down"):
        (array + 1).rename("Raw_Data").usid.to_zarr(url, overwrite=True)

    assert np.array_equal(usidx.open(url), VALUES)
    assert {each.split("/")[1] for each in memory.find("/")} == {"made.zarr"}


def test_what_an_interrupted_export_left_is_known(memory, tmp_path, monkeypatch):
    array = usidx.open(write_scan(tmp_path / "scan.h5"))
    from usidx.stores.zarr import uploading

    with monkeypatch.context() as patch:
        patch.setattr(uploading, "_remove", lambda url: None)  # it died
        patch.setattr(uploading.FarTarget, "__setitem__", None)
        with pytest.raises(TypeError):
            array.usid.to_zarr("memory://made.zarr")

    with pytest.raises(StoreNotFoundError):
        usidx.open("memory://made.zarr")
    with pytest.raises(StoreExistsError, match="interrupted"):
        array.usid.to_zarr("memory://made.zarr")
    array.usid.to_zarr("memory://made.zarr", overwrite=True)
    assert np.array_equal(usidx.open("memory://made.zarr"), VALUES)
    assert {each.split("/")[1] for each in memory.find("/")} == {"made.zarr"}


def test_zarr_v2_behind_a_url(memory, tmp_path):
    """For programs that know no other: all that makes it a store comes last."""
    path = write_scan(tmp_path / "scan.h5")
    usidx.open(path).usid.process(half).run()
    url = usidx.open_tree(path).usid.to_zarr("memory://old.zarr", zarr_format=2)

    times = {each: memory.info(each)["created"] for each in memory.find("/old.zarr")}
    last = sorted(times, key=lambda each: times[each])[-3:]
    assert [each.removeprefix("/old.zarr/") for each in last] == [
        ".zattrs",
        ".zmetadata",
        ".zgroup",
    ]
    assert not [each for each in times if each.endswith("zarr.json") or "usidx-" in each]
    mains = {each.path: each for each in usidx.list_mains(path)}
    assert {each.path for each in usidx.list_mains(url)} == set(mains)
    for each in mains:
        xr.testing.assert_identical(
            usidx.open(url, each).compute().drop_attrs(), usidx.open(path, each).drop_attrs()
        )
    plain = xr.open_zarr(
        memory.get_mapper("/old.zarr"), group="Measurement_000/Channel_000/Raw_Data"
    )
    assert np.array_equal(plain.Raw_Data, VALUES)
    assert plain.Raw_Data.dims == ("Y", "X", "Bias")
    memory.get("/old.zarr", str(tmp_path / "copy.zarr"), recursive=True)
    assert usidx.validate(tmp_path / "copy.zarr", values=True).ok


@pytest.mark.parametrize(("old", "new"), [(2, 2), (2, 3), (3, 2)])
def test_formats_replace_one_another_behind_a_url(memory, tmp_path, old, new):
    array = usidx.open(write_scan(tmp_path / "scan.h5"))
    url = array.usid.to_zarr("memory://made.zarr", zarr_format=old, chunks={"Bias": 8})
    found = usidx.open(url)
    with pytest.raises(StoreExistsError, match="pass overwrite=True"):
        array.usid.to_zarr(url, zarr_format=new)
    (found + 1).rename("Raw_Data").usid.to_zarr(url, zarr_format=new, overwrite=True)

    assert np.array_equal(usidx.open(url), VALUES + 1)
    with pytest.raises(SourceChangedError):
        found.compute()
    has = {each.rsplit("/", 1)[-1] for each in memory.find("/")}
    assert ("zarr.json" in has, ".zgroup" in has) == (new == 3, new == 2)
    assert {each.split("/")[1] for each in memory.find("/")} == {"made.zarr"}


def test_what_is_no_store_is_not_replaced(memory, tmp_path):
    array = usidx.open(write_scan(tmp_path / "scan.h5"))
    memory.pipe("/thesis/chapter.tex", b"1")

    with pytest.raises(StoreExistsError, match="no Zarr store"):
        array.usid.to_zarr("memory://thesis", overwrite=True)
    assert memory.cat("/thesis/chapter.tex") == b"1"


def test_what_a_url_is_not_written_with(served, tmp_path):
    array = usidx.open(write_scan(tmp_path / "scan.h5"))

    with pytest.raises(OptionError, match="nothing can be written"):
        array.usid.to_zarr(f"{served.url}/made.zarr")
    for options in ({"extend": True}, {"resume": True}, {"group": "/a"}):
        with pytest.raises(OptionError, match="whole"):
            array.usid.to_zarr("memory://made.zarr", **options)


def test_a_tree_with_results_goes_to_a_url_and_back(memory, tmp_path):
    path = write_scan(tmp_path / "scan.h5")
    usidx.open(path).usid.process(half).run()
    usidx.open_tree(path).usid.to_zarr("memory://made.zarr")

    back = usidx.open_tree("memory://made.zarr").usid.to_zarr(tmp_path / "back.zarr")

    assert np.array_equal(usidx.open(back, "Half"), VALUES * 0.5)
    assert usidx.open(back).usid.results()[0].record.status == "complete"
