"""The lineage of results across groups and files, told whole whatever is missing."""

from __future__ import annotations

import json
import pathlib
import shutil

import h5py
import numpy as np
import pytest

import usidx
from tests.h5usid import CHANNEL, RAW, channel, write_main, write_result
from usidx.errors import MainNotFoundError
from usidx.explore.history import history
from usidx.testing import make_main

FIT = f"{RAW}-SHO_Fit_000/Fit"
LOOP = f"{RAW}-SHO_Fit_000/Fit-Loop_000/Loop"


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    """A measurement, its fit as pyUSID notes it, and a fit of that as older programs left it."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["Measurement_000/x"] = 0
        file["Measurement_000"].attrs["timestamp"] = "2019_01_02-03_04_05"
        file.attrs["Pycroscopy version"] = "0.59"
        raw = write_main(channel(file))
        group = channel(file).create_group("Raw_Data-SHO_Fit_000")
        notes = {"pyUSID_version": "0.0.12", "machine_id": "lab"}
        fit = write_result(raw, group, tool="SHO_Fit", guess="wavelet", limits=[1, 2.5], **notes)
        inner = group.create_group("Fit-Loop_000")
        write_result(fit, inner, tool=None, refer=False, name="Loop")
        inner["completed_positions"] = np.array([1] * 4 + [0] * 8, "u1")
    return tmp_path / "a.h5"


def test_from_the_measurement_to_the_result(path: pathlib.Path) -> None:
    told = usidx.open(path, "Loop").usid.history
    assert [each.main for each in told] == [RAW, FIT, LOOP]
    measured, fit, loop = told
    assert (measured.tool, measured.group, measured.sources) == (None, None, ())
    assert measured.timestamp == "2019_01_02-03_04_05"
    assert measured.program == "pycroscopy 0.59"
    assert fit.tool == "SHO_Fit"
    assert fit.parameters["guess"] == "wavelet"
    assert set(fit.parameters) == {"guess", "limits"}
    assert fit.sources == ((str(path), RAW),)
    assert (fit.program, fit.status) == ("pyUSID 0.0.12", "unknown")
    assert fit.timestamp == "2024_05_06-07_08_09"
    assert (loop.tool, loop.status) == ("Loop", "partial")
    assert loop.sources == ((str(path), FIT),)
    assert len(usidx.open(path, "Raw_Data").usid.history) == 1
    assert told[0] is measured


def test_text_html_and_json(path: pathlib.Path) -> None:
    told = usidx.open(path, "Loop").usid.history
    lines = repr(told).splitlines()
    assert lines[0] == f"<usidx history of {LOOP!r}: 3 steps>"
    assert lines[1] == "  1  measured"
    assert "  2  SHO_Fit(guess='wavelet', limits=array([1. , 2.5]))" in lines
    assert any("pyUSID 0.0.12" in line for line in lines)
    assert "SHO_Fit(guess=&#x27;wavelet&#x27;" in told._repr_html_()
    found = json.loads(told.to_json())
    assert (found["store"], found["main"]) == (str(path), LOOP)
    assert [each["sources"] for each in found["steps"]] == [[], [0], [1]]
    assert found["steps"][1]["parameters"]["limits"]["$array"]["shape"] == [2]
    assert found["steps"][2]["status"] == "partial"
    assert "\n" not in told.to_json(indent=None)


def test_across_files_that_were_moved_or_lost(path: pathlib.Path, tmp_path: pathlib.Path) -> None:
    other = tmp_path / "results" / "b.h5"
    other.parent.mkdir()
    with h5py.File(path) as source, h5py.File(other, "w") as file:
        copied = write_main(file.create_group("aside"))
        group = file.create_group("Raw_Data-Fit_000")
        write_result(copied, group, refer=False)
        group.attrs["source_file_path"] = str(path)
        group.attrs["source_dataset_path"] = source[FIT].name
    told = usidx.open(other, "Raw_Data-Fit_000/Fit").usid.history
    assert [(each.store, each.main) for each in told] == [
        (str(path), RAW),
        (str(path), FIT),
        (str(other), "/Raw_Data-Fit_000/Fit"),
    ]
    assert f"in {path}" in repr(told)
    # moved beside it under its name
    shutil.move(path, other.parent / "a.h5")
    told = usidx.open(other, "Raw_Data-Fit_000/Fit").usid.history
    assert told[0].store == str(other.parent / "a.h5")
    assert told[2].note == f"its source was in {path}, which has moved"
    # its Main has gone
    with h5py.File(other.parent / "a.h5", "r+") as file:
        del file[FIT]
    told = usidx.open(other, "Raw_Data-Fit_000/Fit").usid.history
    assert [each.status for each in told] == ["missing", "unknown"]
    assert "has no Main" in told[0].note
    # the file has gone
    (other.parent / "a.h5").unlink()
    opened = usidx.open(other, "Raw_Data-Fit_000/Fit")
    assert "there is no file" in opened.usid.history[0].note
    assert "there is no file" in repr(opened.usid.history)
    assert json.loads(opened.usid.history.to_json())["steps"][0]["status"] == "missing"
    # it is no HDF5 file any more
    (other.parent / "a.h5").write_text("gone")
    assert opened.usid.history[0].status == "missing"


def test_circles_come_to_an_end(tmp_path: pathlib.Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        raw = write_main(channel(file))
        one = write_result(raw, file.create_group("One"), tool="One", name="A")
        two = write_result(one, file.create_group("Two"), tool="Two", name="B")
        file["One"].attrs["source_000"] = two.ref
        alone = write_result(raw, file.create_group("Alone"), tool="Alone", name="C")
        file["Alone"].attrs["source_000"] = alone.ref
    told = history(str(tmp_path / "a.h5"), "/Two/B")
    assert [each.main for each in told] == ["/One/A", "/Two/B"]
    assert told[0].note == "made of itself, by way of /Two/B"
    assert [each["sources"] for each in json.loads(told.to_json())["steps"]] == [[1], [0]]
    told = history(str(tmp_path / "a.h5"), "/Alone/C")
    assert [each.note for each in told] == ["made of itself, by way of /Alone/C"]


def test_several_sources_and_shared_ones(tmp_path: pathlib.Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        raw = write_main(channel(file))
        left = write_result(raw, file.create_group("Left"), tool="Left", name="L")
        right = write_result(raw, file.create_group("Right"), tool="Right", name="R")
        both = write_result(left, file.create_group("Both"), tool="Both", name="B")
        both.parent.attrs["source_001"] = right.ref
    told = history(str(tmp_path / "a.h5"), "/Both/B")
    assert [each.tool for each in told] == [None, "Left", "Right", "Both"]
    assert [each["sources"] for each in json.loads(told.to_json())["steps"]] == [
        [],
        [0],
        [0],
        [1, 2],
    ]
    assert "of 2, 3" in repr(told)


def test_a_very_long_way(tmp_path: pathlib.Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        last = write_main(channel(file), shape=(1, 2, 3))
        for number in range(60):
            last = write_result(last, file.create_group(f"Step_{number:02d}"), tool="Next")
    assert len(history(str(tmp_path / "a.h5"), "/Step_59/Fit")) == 61


def test_groups_that_do_not_say_what_they_were_made_of(tmp_path: pathlib.Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        raw = write_main(channel(file))
        write_result(raw, file.create_group("Gone-Fit_000"), tool=None, refer=False)
    told = usidx.open(tmp_path / "a.h5", "Gone-Fit_000/Fit").usid.history
    assert len(told) == 1
    assert "'Gone', which is not there" in told[0].note


@pytest.mark.parametrize("kind", ["h5", "zarr"])
def test_results_of_usidx_in_both_stores(tmp_path: pathlib.Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    da = make_main((3, 4, 16), dtype="complex64")
    (da.usid.to_h5usid if kind == "h5" else da.usid.to_zarr)(path)
    first = usidx.open(path).usid.process(usidx.steps.peak_response, along="Frequency").run()
    told = first.open().usid.history
    assert [each.main for each in told][0] == RAW
    assert told[1].group == first.path
    assert told[1].tool == first.tool
    assert told[1].version == first.version
    assert told[1].parameters["along"] == "Frequency"
    assert told[1].status == "complete"
    assert told[1].program.startswith("usidx")
    far = usidx.open(path).usid.process(usidx.steps.peak_response, along="Frequency")
    away = far.run(into=tmp_path / "away.zarr").open().usid.history
    assert [each.store for each in away] == [str(path), str(tmp_path / "away.zarr")]
    assert away[0].main == RAW


def test_arrays_that_no_store_holds(path: pathlib.Path) -> None:
    with pytest.raises(MainNotFoundError, match="no Main of a store"):
        make_main().usid.history  # noqa: B018
    with pytest.raises(MainNotFoundError, match="no Main of a store"):
        (usidx.open(path, "Loop") * 2).usid.history  # noqa: B018


def test_of_one_field(samples: pathlib.Path) -> None:
    fit = usidx.open(samples / "h5usid/pyusid/29_bglib_fitter_status_names.h5", "Fit")
    told = next(iter(fit.data_vars.values())).usid.history
    assert told.steps == fit.usid.history.steps


def test_of_real_results(samples: pathlib.Path) -> None:
    real = samples / "h5usid/real/Signal_SI__df40204b.h5"
    told = usidx.open(real, "Raw_Data-SVD_000/U").usid.history
    assert [each.program for each in told] == ["pyUSID 0.0.4"] * 2
    elsewhere = usidx.open(samples / "h5usid/pyusid/21_results_in_other_file.h5").usid.history
    assert [pathlib.Path(each.store).name for each in elsewhere] == [
        "02_4d_slow_to_fast.h5",
        "21_results_in_other_file.h5",
    ]
    assert elsewhere[0].status == "complete"
    assert CHANNEL in elsewhere[0].main
