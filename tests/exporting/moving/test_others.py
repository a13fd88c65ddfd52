"""Trees go to h5USID files with everything that was in theirs."""

from __future__ import annotations

import pathlib
import warnings
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr

import usidx
from usidx.errors import NotUsidError, UsidError
from usidx.exporting import to_h5usid, to_netcdf, to_zarr
from usidx.stores import store_at
from usidx.testing import make_main

CHANNEL = "/Measurement_000/Channel_000"


@pytest.fixture
def path(tmp_path: pathlib.Path) -> str:
    """A file with datasets of every kind beside its Main."""
    made = to_h5usid(make_main(), tmp_path / "scan.h5")
    with h5py.File(made, "r+") as file:
        channel = file[CHANNEL]
        channel.create_dataset("Noise", data=np.arange(12.0).reshape(3, 4)).attrs["units"] = "V"
        channel.create_dataset("Names", data=["Zoë", "b"])
        channel.create_dataset("Fixed", data=np.array([b"a", b"bc"]))
        channel.create_dataset("One", data=np.int16(7))
        channel.create_dataset("Empty", shape=(0, 3), dtype="f4")
        channel.create_dataset("Records", data=np.zeros(5, "f4,i2,c8"))
        channel.create_dataset("Large", data=np.ones((300, 20_000), "f8"))
        channel.create_dataset("Flags", data=np.array([True, False]))
        file.create_group("Notes").create_dataset("Position_Notes", data=np.arange(3))
    return made


def test_they_come_along(path: str, tmp_path: pathlib.Path) -> None:
    tree = usidx.open_tree(path)
    new = tree.usid.to_h5usid(tmp_path / "new.h5")
    with h5py.File(path, "r") as before, h5py.File(new, "r") as after:
        for name in ("Noise", "One", "Empty", "Records", "Large", "Flags"):
            old, now = before[CHANNEL][name], after[CHANNEL][name]
            assert (now.shape, now.dtype) == (old.shape, old.dtype)
            np.testing.assert_array_equal(now[()], old[()])
        assert after[CHANNEL]["Large"].fletcher32
        assert after[CHANNEL]["Noise"].attrs["units"] == "V"
        assert "usid_role" not in after[CHANNEL]["Noise"].attrs
        assert after[CHANNEL]["Names"].asstr()[()].tolist() == ["Zoë", "b"]
        assert after[CHANNEL]["Fixed"].asstr()[()].tolist() == ["a", "bc"]
        assert after["Notes/Position_Notes"][()].tolist() == [0, 1, 2]


@pytest.mark.parametrize("export", [to_zarr, to_netcdf])
def test_they_come_along_to_other_stores(path: str, tmp_path: pathlib.Path, export: Any) -> None:
    with h5py.File(path, "r+") as file:
        channel = file[CHANNEL]
        records = np.zeros(5, channel["Records"].dtype)
        records["f0"], records["f2"] = np.arange(5), 1j
        channel["Records"][...] = records
        channel["Records"].attrs["when"] = np.arange(3, dtype="i2")
        channel.create_dataset("Big", data=np.arange(4, dtype=">f8"))
        channel.create_dataset("Half", data=np.arange(4, dtype="f2"))
    tree = usidx.open_tree(path)
    written = export(tree, tmp_path / "there")
    there = usidx.open_tree(written)
    names = set(tree[CHANNEL].dataset.variables)
    assert len(names) == 10
    assert set(there[CHANNEL].dataset.variables) == names
    for name in names:
        old, new = tree[CHANNEL][name], there[CHANNEL][name]
        assert (old.dtype, old.dims) == (new.dtype, new.dims), name
        assert set(old.attrs) == set(new.attrs)
        np.testing.assert_array_equal(old.values, new.values)
    assert there[CHANNEL]["Noise"].attrs["units"] == "V"
    assert there[CHANNEL]["Records"].attrs["when"].dtype == np.int16
    assert there["Notes/Position_Notes"].values.tolist() == [0, 1, 2]
    store = store_at(written)
    assert store.dataset(f"{CHANNEL}/Records").array[1:3]["f0"].tolist() == [1.0, 2.0]
    assert store.attrs(f"{CHANNEL}/Noise")["units"] == "V"
    assert [each.path for each in usidx.list_mains(written)] == [f"{CHANNEL}/Raw_Data"]
    back = there.usid.to_h5usid(tmp_path / "back.h5")
    with h5py.File(path, "r") as before, h5py.File(back, "r") as after:
        for name in names:
            if name != "Fixed":  # text of a fixed width becomes text
                assert before[CHANNEL][name].dtype == after[CHANNEL][name].dtype, name


@pytest.mark.parametrize("export", [to_zarr, to_netcdf])
def test_what_cannot_come_along_is_named(path: str, tmp_path: pathlib.Path, export: Any) -> None:
    with h5py.File(path, "r+") as file:
        file[CHANNEL].create_dataset("Nested", data=np.zeros(2, [("a", "f4", (2,))]))
    with pytest.warns(UserWarning, match=f"written without: {CHANNEL}/Nested"):
        written = export(usidx.open_tree(path), tmp_path / "there")
    there = usidx.open_tree(written)[CHANNEL]
    assert "Nested" not in there.dataset
    assert "One" in there.dataset


def test_a_missing_chunk_is_damage(path: str, tmp_path: pathlib.Path) -> None:
    written = to_zarr(usidx.open_tree(path), tmp_path / "there.zarr")
    (pathlib.Path(written) / CHANNEL.strip("/") / "Noise/c/0/0").unlink()
    with pytest.raises(UsidError, match="missing"):
        usidx.open_tree(written)[CHANNEL]["Noise"].compute()


@pytest.mark.parametrize("engine", ["netcdf4", "h5netcdf"])
def test_plain_xarray_reads_them(path: str, tmp_path: pathlib.Path, engine: str) -> None:
    tree = usidx.open_tree(path)
    group = CHANNEL.strip("/")
    stored = [
        xr.open_dataset(to_netcdf(tree, tmp_path / "a.nc"), group=group, engine=engine),
        xr.open_zarr(to_zarr(tree, tmp_path / "a.zarr"), group=group),
    ]
    for plain in stored:
        with plain:
            assert plain["Noise"].attrs["units"] == "V"
            np.testing.assert_array_equal(plain["Noise"], np.arange(12.0).reshape(3, 4))
            assert plain["Names"].values.tolist() == ["Zoë", "b"]


def test_they_go_with_their_channel(path: str, tmp_path: pathlib.Path) -> None:
    tree = usidx.open_tree(path)
    other = to_h5usid(make_main(seed=1), tmp_path / "other.h5")
    tree.usid.to_h5usid(other, append=True)
    with h5py.File(other, "r") as file:
        assert file["Measurement_001/Channel_000/One"][()] == 7
        assert "One" not in file[CHANNEL]
        assert "Notes" not in file  # which belongs to no Measurement


def test_what_is_there_is_not_written_over(path: str) -> None:
    tree = usidx.open_tree(path)
    tree.usid.to_h5usid(path, append="Measurement_000")
    with h5py.File(path, "r") as file:
        assert file["Measurement_000/Channel_001/One"][()] == 7
        assert file[CHANNEL]["One"][()] == 7


def everything(group: h5py.Group) -> Iterator[tuple[str, Any]]:
    """(path, object) of every group and dataset, but for ancillaries."""
    found: list[tuple[str, Any]] = []
    group.visititems(lambda name, obj: found.append((name, obj)))
    return ((name, obj) for name, obj in found if not name.endswith(("_Indices", "_Values")))


def test_samples_come_back_whole(tmp_path: pathlib.Path, samples: pathlib.Path) -> None:
    """Every object, attribute and value, but for ancillaries and what was never computed."""
    seen = 0
    for source in sorted((samples / "h5usid").glob("*/*.h5")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                tree = usidx.open_tree(source)
            except NotUsidError:
                continue
        new = tree.usid.to_h5usid(tmp_path / source.name)
        partial = partial_mains(str(source))
        with h5py.File(source, "r") as before, h5py.File(new, "r") as after:
            for name, old in everything(before):
                now = after[name]
                assert set(old.attrs) <= set(now.attrs), f"{source.name}: {name}"
                if isinstance(old, h5py.Dataset) and f"/{name}" not in partial:
                    assert (now.shape, now.dtype) == (old.shape, old.dtype), (
                        f"{source.name}: {name}"
                    )
                    values = [each[()] for each in (old, now)]
                    if old.dtype.kind != "O":
                        assert values[0].tobytes() == values[1].tobytes(), f"{source.name}: {name}"
        seen += 1
    assert seen > 40


def partial_mains(path: str) -> set[str]:
    store = store_at(path)
    found = set()
    for main in store.candidates():
        try:
            record = store.result_of(main.path)
        except UsidError:
            continue
        if record is not None and record.status == "partial":
            found.add(main.path)
    return found
