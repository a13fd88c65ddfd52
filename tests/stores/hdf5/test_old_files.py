"""What nine years of programs have left in files, read through the front door."""

from __future__ import annotations

import pathlib
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr

import usidx
from tests.h5usid import CHANNEL, RAW, REFERENCES, channel, write_main, write_result
from usidx.errors import InvalidMainError

VALUES = np.arange(60.0).reshape(3, 4, 5)


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "a.h5"


def check(array: Any) -> None:
    np.testing.assert_array_equal(array.values, VALUES)


@pytest.mark.parametrize(
    "options",
    [
        {"chunks": (4, 4), "compression": "szip"},
        {"chunks": (4, 5), "fletcher32": True},
        {"chunks": (5, 3), "compression": "gzip", "shuffle": True},
        {"chunks": (5, 3), "compression": "lzf"},
        {"maxshape": (None, None)},
        {"maxshape": (None, 5), "chunks": (7, 5)},
    ],
    ids=["szip", "fletcher32", "gzip", "lzf", "unlimited", "growing"],
)
def test_storage(path: pathlib.Path, options: dict[str, Any]) -> None:
    if options.get("compression") == "szip" and not h5py.h5z.filter_avail(h5py.h5z.FILTER_SZIP):
        pytest.skip("this HDF5 has no szip")
    with h5py.File(path, "w") as file:
        write_main(channel(file), **options)
    check(usidx.open(path))
    check(usidx.open_tree(path)[RAW]["Raw_Data"])


def test_user_blocks(path: pathlib.Path) -> None:
    with h5py.File(path, "w", userblock_size=1024, libver="latest") as file:
        raw = write_main(channel(file))
        raw.attrs["first"] = raw.regionref[0:4]
        file["numbers"], file["texts"] = [1, 2], ["a", "b"]
    da = usidx.open(path)
    check(da)
    assert da.usid.regions["first"].select().sizes["Y"] == 1
    tree = usidx.open_tree(path)
    assert tree["numbers"].values.tolist() == [1, 2]
    assert tree["texts"].values.tolist() == ["a", "b"]


def test_references_in_lists_of_one(path: pathlib.Path) -> None:
    with h5py.File(path, "w") as file:
        raw = write_main(channel(file))
        for name in REFERENCES:
            raw.attrs[name] = np.array([raw.attrs[name]], h5py.ref_dtype)
    check(usidx.open(path))


def test_ancillaries_anywhere_under_any_name(path: pathlib.Path) -> None:
    with h5py.File(path, "w") as file:
        raw = write_main(channel(file))
        for name in REFERENCES:
            file.move(f"{CHANNEL}/{name}", f"Old/{name.lower()}_1")
    check(usidx.open(path))
    assert list(usidx.open_tree(path)["Old"].to_dataset().variables) == []
    del raw


@pytest.mark.parametrize("what", ["null", "dangling", "group", "region", "text"])
def test_references_that_are_wrong_break_one_main_alone(path: pathlib.Path, what: str) -> None:
    with h5py.File(path, "w") as file:
        write_main(channel(file))
        broken = write_main(file.create_group("Measurement_001"), "Broken")
        gone = file.create_dataset("gone", data=[1])
        broken.attrs["Position_Values"] = {
            "null": np.array(None, h5py.ref_dtype),
            "dangling": gone.ref,
            "group": file.ref,
            "region": broken.regionref[0:1],
            "text": "Position_Values",
        }[what]
        del file["gone"], gone
    check(usidx.open(path))
    assert len(usidx.list_mains(path)) == 1
    with pytest.raises(InvalidMainError, match="Position_Values"):
        usidx.open(path, "Broken")
    assert "Position_Values" in usidx.open_tree(path)["Measurement_001/Broken"].attrs["usid_fault"]


def test_names_and_labels_in_latin_1(path: pathlib.Path) -> None:
    with h5py.File(path, "w") as file:
        raw = write_main(file.create_group("Messung_ä".encode("latin-1")))
        for name in ("Position_Indices", "Position_Values"):
            ancillary = file[raw.attrs[name]]
            ancillary.attrs["labels"] = np.array(["Höhe".encode("latin-1"), b"X"])
            ancillary.attrs["units"] = np.array([b"\xb5m", b"\xb5m"])
        write_result(raw, raw.parent.create_group("Raw_Data-Fit_000"))
    da = usidx.open(path)
    check(da)
    assert da.dims == ("Höhe", "X", "Bias")
    assert da["Höhe"].attrs["units"] == "µm"
    assert usidx.list_mains(path)[0].path == "/Messung_ä/Raw_Data"
    check(usidx.open(path, "Messung_ä/Raw_Data"))
    check(usidx.open_tree(path)["Messung_ä/Raw_Data/Raw_Data"])
    (result,) = da.usid.results("Fit")
    assert result.open().usid.source.identical(da)


def test_names_with_blanks_and_signs(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a #1%20 ü.h5"
    with h5py.File(path, "w") as file:
        write_main(file.create_group("My group (1)"), "Raw Data [V]")
        file["My group (1)/a b"], file["dot."], file["x:y"] = 1, 2, np.arange(2)
    check(usidx.open(path))
    check(usidx.open(path, "Raw Data [V]"))
    tree = usidx.open_tree(path)
    assert tree["My group (1)"].to_dataset()["a b"].item() == 1
    assert set(tree.to_dataset()) == {"dot.", "x:y"}


def test_legacy_groups_and_attributes(path: pathlib.Path) -> None:
    with h5py.File(path, "w") as file:
        file.attrs["Pycroscopy version"] = "0.59"
        group = file.create_group("Raw_Measurement/Channel_000")
        group.attrs["machine_id"] = "lab"
        raw = write_main(group)
        raw.attrs["labels"] = np.array([b"even_rows"])
        raw.attrs["even_rows"] = raw.regionref[::2]
        fit = write_result(raw, group.create_group("Raw_Data-SVD_000"), tool=None, refer=False)
        fit.parent.attrs["last_pixel"] = np.int32(11)
    da = usidx.open(path)
    check(da)
    assert da.attrs["labels"] == ["even_rows"]
    assert da.usid.results("SVD")[0].status == "complete"
    assert usidx.open_tree(path).attrs["Pycroscopy version"] == "0.59"
    np.testing.assert_array_equal(
        da.usid.regions["even_rows"].select().values.ravel(), VALUES.reshape(12, 5)[::2].ravel()
    )


def test_mains_without_positions_are_told(path: pathlib.Path) -> None:
    """A Main that was made and never grew has nothing to open, and does not hide the others."""
    with h5py.File(path, "w") as file:
        raw = write_main(channel(file))
        group = file.create_group("Empty")
        empty = group.create_dataset("Raw_Data", (0, 5), "f4", maxshape=(None, 5))
        empty.attrs.update(dict(raw.attrs))
        for name in ("Position_Indices", "Position_Values"):
            ancillary = group.create_dataset(name, (0, 2), "f4")
            ancillary.attrs.update({"labels": [b"Y", b"X"], "units": [b"m", b"m"]})
            empty.attrs[name] = ancillary.ref
    check(usidx.open(path))
    tree = usidx.open_tree(path)
    assert tree["Empty/Raw_Data"].shape == (0, 5)
    assert tree["Empty/Raw_Data"].attrs["usid_fault"]


def test_more_attributes_than_a_header_holds(path: pathlib.Path) -> None:
    with h5py.File(path, "w", libver="latest") as file:
        raw = write_main(channel(file))
        raw.attrs.update({f"setting_{number:03d}": number for number in range(200)})
        channel(file).attrs["waveform"] = np.zeros(100_000)
    assert usidx.open(path).attrs["setting_199"] == 199
    assert usidx.open_tree(path)[CHANNEL].attrs["waveform"].shape == (100_000,)


def test_groups_with_two_names_are_met_once(path: pathlib.Path) -> None:
    with h5py.File(path, "w") as file:
        write_main(channel(file))
        file["copy"] = file["Measurement_000"]
    check(usidx.open(path, "copy/Channel_000/Raw_Data"))
    tree = usidx.open_tree(path)
    assert tree.attrs["usid_links"] == ["copy -> /Measurement_000"]
    assert len(tree.usid.mains) == 1
    assert isinstance(tree, xr.DataTree)
