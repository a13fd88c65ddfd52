"""From Mains to results and back, by exact names and references."""

from __future__ import annotations

import pathlib
import shutil

import h5py
import numpy as np
import pytest

import usidx
from tests.h5usid import CHANNEL, RAW, channel, write_main, write_result
from usidx.errors import MainNotFoundError, StoreNotFoundError


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        raw = write_main(channel(file))
        near = write_main(channel(file), "Raw_Data_2", like=raw)
        group = channel(file)
        write_result(raw, group.create_group("Raw_Data-SHO_Fit_000"), tool="SHO_Fit")
        write_result(raw, group.create_group("Raw_Data-Fit_000"), tool=None, refer=False)
        write_result(raw, file.create_group("Elsewhere/Mine"), tool="Fit")
        write_result(near, group.create_group("Raw_Data_2-Fit_000"), tool="Fit")
        group.create_group("Raw_Data-Fit_001")["completed_positions"] = np.zeros(12, "u1")
    return tmp_path / "a.h5"


def test_results_of_one_tool(path: pathlib.Path) -> None:
    da = usidx.open(path, "Raw_Data")
    # in the order in which they were made; what does not say when comes first
    assert [each.name for each in da.usid.results("Fit")] == [
        "Raw_Data-Fit_001",
        "Mine",
        "Raw_Data-Fit_000",
    ]
    assert [each.name for each in da.usid.results("SHO_Fit")] == ["Raw_Data-SHO_Fit_000"]
    assert da.usid.results("SHO") == []
    assert da.usid.results("fit") == []
    assert len(da.usid.results()) == 4
    (other,) = usidx.open(path, "Raw_Data_2").usid.results()
    assert other.path == f"/{CHANNEL}/Raw_Data_2-Fit_000"


def test_there_and_back(path: pathlib.Path) -> None:
    da = usidx.open(path, "Raw_Data")
    for result in da.usid.results():
        if result.mains:
            back = result.open().usid.source
            assert back.identical(da) or back.equals(da)
    assert da.usid.source is None


def test_a_crashed_group_says_that_it_is_empty(path: pathlib.Path) -> None:
    crashed = usidx.open(path, "Raw_Data").usid.results("Fit")[0]
    assert (crashed.status, crashed.done, crashed.total) == ("partial", 0, 12)
    with pytest.raises(MainNotFoundError, match="holds no Main"):
        crashed.open()


def test_results_in_another_file(path: pathlib.Path, tmp_path: pathlib.Path) -> None:
    other = tmp_path / "b.h5"
    shutil.copy(path, other)
    with h5py.File(other, "r+") as file:
        group = file[f"{RAW}-Fit_000"]
        group.attrs["source_file_path"], group.attrs["source_dataset_path"] = str(path), RAW
        del file[RAW]
    source = usidx.open(other, "Raw_Data-Fit_000/Fit").usid.source
    assert source.encoding["source"] == str(path)
    path.unlink()
    with pytest.raises(StoreNotFoundError):
        usidx.open(other, "Raw_Data-Fit_000/Fit").usid.source  # noqa: B018


def test_results_in_zarr(tmp_path: pathlib.Path, path: pathlib.Path) -> None:
    usidx.open(path, "Raw_Data").usid.to_zarr(tmp_path / "a.zarr")
    da = usidx.open(tmp_path / "a.zarr")
    made = da.usid.process(usidx.steps.mean, over="Bias").run()
    assert [each.path for each in da.usid.results(made.tool)] == [made.path]
    assert da.usid.results(made.tool[:-1]) == []
    assert made.open().usid.source.equals(da)
