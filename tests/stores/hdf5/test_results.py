"""Result groups are found by exact names and by references, and say how far they are."""

from __future__ import annotations

import pathlib

import h5py
import numpy as np
import pytest

from tests.h5usid import CHANNEL, RAW, channel, write_main, write_result
from usidx.errors import MainNotFoundError
from usidx.stores.hdf5 import HDF5Store
from usidx.stores.hdf5.results import named_parts


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "a.h5"


def groups(path: pathlib.Path, main: str) -> list[str]:
    """Paths of the result groups of a Main, without the channel."""
    found = HDF5Store(str(path)).results(main)
    return [each.group.removeprefix(f"/{CHANNEL}/") for each in found]


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("Raw_Data-SHO_Fit_000", ("Raw_Data", "SHO_Fit", 0)),
        ("Raw_Data-Fit_1000", ("Raw_Data", "Fit", 1000)),
        ("Raw-Data-Fit_001", ("Raw-Data", "Fit", 1)),
        ("Raw_Data-Fit_old", None),
        ("Raw_Data-Fit_00", None),
        ("Raw_Data-Fit_0001", None),
        ("Raw_Data_Fit_000", None),
        ("-Fit_000", None),
        ("Raw_Data-_000", None),
        ("Raw_Data-Fit_000_backup", None),
    ],
)
def test_names_are_parsed_exactly(name: str, parts: tuple[str, str, int] | None) -> None:
    assert named_parts(name) == parts


def test_near_names_never_match(path: pathlib.Path) -> None:
    """Each group is a result of one Main by its name alone, however near the others are."""
    with h5py.File(path, "w") as file:
        group = channel(file)
        raw = write_main(group, "Raw_Data")
        for name in ("Raw_Data_2", "Raw", "Old_Raw_Data", "Raw_Data-Fit", "raw_data"):
            write_main(group, name, like=raw)
        for name in (
            "Raw_Data-Fit_000",
            "Raw_Data-SHO_Fit_000",
            "Raw_Data-Fit_001",
            "Raw_Data-Fit_old",
            "Raw_Data-Fit_000_copy",
            "Raw_Data_2-Fit_000",
            "Raw-Fit_000",
            "Old_Raw_Data-Fit_000",
            "Raw_Data-Fit-Again_000",
            "raw_data-Fit_000",
        ):
            source = group[name.rpartition("-")[0]] if "-Fit_" in name else raw
            write_result(source, group.create_group(name), tool=None, refer=False)
    assert groups(path, RAW) == ["Raw_Data-Fit_000", "Raw_Data-Fit_001", "Raw_Data-SHO_Fit_000"]
    assert groups(path, f"{RAW}_2") == ["Raw_Data_2-Fit_000"]
    assert groups(path, f"/{CHANNEL}/Raw") == ["Raw-Fit_000"]
    assert groups(path, f"/{CHANNEL}/Old_Raw_Data") == ["Old_Raw_Data-Fit_000"]
    assert groups(path, f"/{CHANNEL}/Raw_Data-Fit") == ["Raw_Data-Fit-Again_000"]
    assert groups(path, f"/{CHANNEL}/raw_data") == ["raw_data-Fit_000"]
    (record,) = HDF5Store(str(path)).results(f"/{CHANNEL}/Raw_Data-Fit")
    assert (record.main, record.tool) == ("Raw_Data-Fit", "Again")


def test_groups_with_names_of_their_own_are_found_by_their_references(path: pathlib.Path) -> None:
    with h5py.File(path, "w") as file:
        raw = write_main(channel(file))
        other = write_main(file.create_group("Measurement_001/Channel_000"))
        write_result(raw, file.create_group("Analysis/My_Fit_7"), tool="My Fit")
        write_result(other, file.create_group("Analysis/Another"), tool="My Fit")
        write_result(raw, file.create_group("Analysis/Unsaid"), tool=None)
        listed = write_result(raw, file.create_group("Analysis/Listed"), refer=False)
        listed.parent.attrs["source_000"] = np.array([raw.ref], h5py.ref_dtype)
    assert groups(path, RAW) == ["/Analysis/Listed", "/Analysis/My_Fit_7"]
    assert groups(path, "/Measurement_001/Channel_000/Raw_Data") == ["/Analysis/Another"]
    record = HDF5Store(str(path)).result("/Analysis/My_Fit_7")
    assert (record.main, record.tool, record.index) == ("Raw_Data", "My Fit", 7)
    assert record.sources == (("", RAW),)


def test_references_count_for_more_than_names(path: pathlib.Path) -> None:
    """A group that was moved beside another Main still is the result of its own."""
    with h5py.File(path, "w") as file:
        raw = write_main(channel(file))
        moved = write_main(file.create_group("Measurement_001/Channel_000"))
        group = channel(file)
        write_result(moved, group.create_group("Raw_Data-Fit_000"))
        gone = group.create_dataset("gone", data=[1])
        for number, reference in enumerate([None, gone.ref, group.ref], start=1):
            inside = group.create_group(f"Raw_Data-Fit_{number:03d}")
            write_result(raw, inside, refer=False)
            inside.attrs["source_000"] = np.array(reference, h5py.ref_dtype)
        del group["gone"], gone
    assert groups(path, "/Measurement_001/Channel_000/Raw_Data") == ["Raw_Data-Fit_000"]
    # references that lead nowhere say nothing, and the name is all there is
    assert groups(path, RAW) == [f"Raw_Data-Fit_{each:03d}" for each in (1, 2, 3)]


def test_results_of_results_are_not_of_the_first(path: pathlib.Path) -> None:
    with h5py.File(path, "w") as file:
        raw = write_main(channel(file))
        fit = write_result(raw, channel(file).create_group("Raw_Data-SHO_Fit_000"))
        write_result(fit, fit.parent.create_group("Fit-Loop_000"), tool="Loop", name="Loop")
    store = HDF5Store(str(path))
    outer = f"{RAW}-SHO_Fit_000"
    assert [each.group for each in store.results(RAW)] == [outer]
    assert store.result(outer).mains == (f"{outer}/Fit",)
    (inner,) = store.results(f"{outer}/Fit")
    assert inner.mains == (f"{outer}/Fit-Loop_000/Loop",)
    nested = store.result_of(f"{outer}/Fit-Loop_000/Loop")
    assert nested is not None
    assert nested.tool == "Loop"
    assert store.result_of(RAW) is None
    with pytest.raises(MainNotFoundError):
        store.result_of("/nothing")


def test_mains_reached_by_other_names_have_the_same_results(path: pathlib.Path) -> None:
    with h5py.File(path, "w") as file:
        raw = write_main(channel(file))
        write_result(raw, channel(file).create_group("Raw_Data-Fit_000"))
        file["soft"] = h5py.SoftLink(RAW)
        file["zz_hard"] = raw
    for name in (RAW, "/soft", "/zz_hard"):
        assert groups(path, name) == ["Raw_Data-Fit_000"]


def test_sources_in_other_files(path: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with h5py.File(tmp_path / "source.h5", "w") as file:
        write_main(channel(file))
    with h5py.File(path, "w") as file:
        raw = write_main(file.create_group("kept"))
        inside = file.create_group("Raw_Data-Fit_000")
        write_result(raw, inside, refer=False)
        inside.attrs["source_file_path"] = r"C:\data\source.h5"
        inside.attrs["source_dataset_path"] = RAW
        inside.attrs["usid_sources"] = f'[["{tmp_path}/source.h5", "{RAW}"], ["/b.h5", "/c"]]'
    record = HDF5Store(str(path)).result("/Raw_Data-Fit_000")
    assert record.sources == ((f"{tmp_path}/source.h5", RAW), ("/b.h5", "/c"))
    # a Main of that name beside the group would be its source if the group told of no other
    assert groups(path, "/Raw_Data") == ["/Raw_Data-Fit_000"]


@pytest.mark.parametrize(
    ("attrs", "marks", "status", "done"),
    [
        ({}, None, "unknown", 0),
        ({"last_pixel": np.int32(12)}, None, "complete", 12),
        ({"last_pixel": 11}, None, "complete", 12),
        ({"last_pixel": 5}, None, "partial", 5),
        ({"last_pixel": 12}, [1] * 5 + [0] * 7, "partial", 5),
        ({"last_pixel": 3}, [1] * 12, "complete", 12),
    ],
)
def test_how_far_a_group_is(
    path: pathlib.Path, attrs: dict[str, int], marks: list[int] | None, status: str, done: int
) -> None:
    """Marks are trusted wherever there are any; `last_pixel` is a last resort."""
    with h5py.File(path, "w") as file:
        raw = write_main(channel(file))
        group = channel(file).create_group("Raw_Data-Fit_000")
        write_result(raw, group, **attrs)
        if marks is not None:
            group["completed_positions"] = np.array(marks, "u1")
    (record,) = HDF5Store(str(path)).results(RAW)
    assert (record.status, record.done, record.total) == (status, done, 12)
    assert "last_pixel" not in record.parameters


def test_empty_and_crashed_groups_are_listed(path: pathlib.Path) -> None:
    with h5py.File(path, "w") as file:
        raw = write_main(channel(file))
        channel(file).create_group("Raw_Data-Fit_000").attrs["order"] = 3
        crashed = channel(file).create_group("Raw_Data-Fit_001")
        crashed["completed_positions"] = np.zeros(12, "u1")
        half = write_result(raw, channel(file).create_group("Raw_Data-Fit_002"))
        del half.attrs["Spectroscopic_Values"]
    empty, crashed, half = HDF5Store(str(path)).results(RAW)
    assert (empty.status, empty.total, empty.mains) == ("unknown", 0, ())
    assert empty.parameters == {"order": 3}
    assert (crashed.status, crashed.done, crashed.total) == ("partial", 0, 12)
    assert half.mains == (f"{RAW}-Fit_002/Fit",)


def test_legacy_notes_are_no_parameters(path: pathlib.Path) -> None:
    with h5py.File(path, "w") as file:
        raw = write_main(channel(file))
        group = channel(file).create_group("Raw_Data-SVD_000")
        notes = {"Pycroscopy version": "0.59", "pycroscopy_version": "0.60", "machine_id": "lab"}
        write_result(raw, group, tool=None, refer=False, num_components=16, **notes)
    (record,) = HDF5Store(str(path)).results(RAW)
    assert record.parameters == {"num_components": 16}
    assert record.sources == (("", RAW),)
    assert record.attrs["Pycroscopy version"] == "0.59"


def test_groups_that_are_no_results_say_why(path: pathlib.Path) -> None:
    with h5py.File(path, "w") as file:
        raw = write_main(channel(file))
        write_result(raw, channel(file).create_group("Raw_Data-Fit_000"))
    store = HDF5Store(str(path))
    with pytest.raises(MainNotFoundError, match="is no result group"):
        store.result(f"/{CHANNEL}")
    with pytest.raises(MainNotFoundError, match="did you mean 'Raw_Data-Fit_000'"):
        store.result(f"/{CHANNEL}/Raw_Data-Fits_000")
