"""The demo does what it says, and the Python it prints does the same."""

from __future__ import annotations

import os
import pathlib
import shlex
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner

import usidx
from usidx.cli import main
from usidx.demo.data import SMALL, sample
from usidx.demo.wording import as_json, by_sign, in_bytes, in_time
from usidx.testing import make_main

ROOT = pathlib.Path(usidx.__file__).parents[1]
PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[pathlib.Path, str]:
    """The folder of `usidx demo --small`, and what it said."""
    folder = tmp_path_factory.mktemp("told") / "demo"
    result = CliRunner().invoke(main, ["demo", "--small", "--out", str(folder)])
    assert result.exit_code == 0, result.output
    return folder, result.stdout


def executed(script: pathlib.Path, cwd: pathlib.Path) -> str:
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_everything_lands_in_one_folder(told: tuple[pathlib.Path, str]) -> None:
    folder, text = told
    assert {each.name for each in folder.iterdir()} - {"band_excitation.h5.usidx-lock"} == {
        "1_raw.png",
        "2_resonances.png",
        "band_excitation.h5",
        "band_excitation.zarr",
        "demo.py",
    }
    assert all(each.read_bytes().startswith(PNG) for each in folder.glob("*.png"))
    assert str(folder) in text.splitlines()[-1]


def test_the_story_shows_result_and_repetition(told: tuple[pathlib.Path, str]) -> None:
    _, text = told
    assert "Raw_Data-SHO_Fit_000': complete" in text
    assert "is complete already" in text
    results = [each for each in usidx.list_mains(told[0] / "band_excitation.h5")]
    assert [each.kind for each in results] == ["raw", "result"]


def test_the_fit_finds_what_was_put_in(told: tuple[pathlib.Path, str]) -> None:
    truth = sample(SMALL)
    fit = usidx.open(told[0] / "band_excitation.h5", "Raw_Data-SHO_Fit_000/Guess")
    assert isinstance(fit, xr.Dataset)
    strong = np.abs(truth.response) > 1.0
    found = np.asarray(fit["Frequency [Hz]"].values).squeeze()
    assert np.median(np.abs(found - truth.resonance)[strong]) < 100
    quality = np.asarray(fit["Quality Factor"].values).squeeze()
    assert np.median(np.abs(quality / truth.quality - 1)[strong]) < 0.05
    phase = np.asarray(fit["Phase [rad]"].values).squeeze()
    turn = np.angle(np.exp(1j * phase) / truth.response * np.abs(truth.response))
    assert np.median(np.abs(turn)[strong]) < 0.05


def test_plain_xarray_reads_the_export(told: tuple[pathlib.Path, str]) -> None:
    with xr.open_datatree(told[0] / "band_excitation.zarr", engine="zarr") as tree:
        (raw,) = [node for node in tree.subtree if "Raw_Data" in node.data_vars]
        assert raw["Raw_Data"].sizes == {"Y": 96, "X": 96, "Frequency": 192}
        assert raw["Frequency"].attrs["units"] == "Hz"


def test_the_printed_python_is_what_was_saved_and_runs(told: tuple[pathlib.Path, str]) -> None:
    folder, text = told
    script = folder / "demo.py"
    for line in script.read_text().splitlines():
        assert line in text
    before = [each.path for each in usidx.list_mains(folder / "band_excitation.h5")]
    out = executed(script, folder)
    assert out.startswith("resonance 33")
    assert [each.path for each in usidx.list_mains(folder / "band_excitation.h5")] == before


def test_again_in_the_same_folder(told: tuple[pathlib.Path, str]) -> None:
    folder, _ = told
    result = CliRunner().invoke(main, ["demo", "--small", "--dark", "--out", str(folder)])
    assert result.exit_code == 0, result.output
    assert "Raw_Data-SHO_Fit_000': complete" in result.stdout


@pytest.mark.parametrize("dtype", ["complex64", "float32", "int16"])
def test_own_file_is_only_read(tmp_path: pathlib.Path, dtype: str) -> None:
    scan = tmp_path / "scan.h5"
    make_main((6, 8, 32), dtype=dtype).usid.to_h5usid(str(scan))
    before = scan.read_bytes()
    folder = tmp_path / "out"
    result = CliRunner().invoke(main, ["demo", str(scan), "--out", str(folder)])
    assert result.exit_code == 0, result.output
    assert scan.read_bytes() == before
    assert {each.name for each in folder.iterdir()} == {
        "demo.py",
        "scan-results.zarr",
        "scan.png",
        "scan.zarr",
    }
    assert {each.name for each in tmp_path.iterdir()} == {"out", "scan.h5"}
    values = usidx.open(folder / "scan.zarr").values
    np.testing.assert_array_equal(values, usidx.open(scan).values)
    assert executed(folder / "demo.py", tmp_path)


def test_in_place_writes_beside_the_source(tmp_path: pathlib.Path) -> None:
    scan = tmp_path / "scan.h5"
    make_main((6, 8, 32)).usid.to_h5usid(str(scan))
    arguments = ["demo", str(scan), "--in-place", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert [each.kind for each in usidx.list_mains(scan)] == ["raw", "result"]
    assert not (tmp_path / "out" / "scan-results.zarr").exists()
    assert executed(tmp_path / "out" / "demo.py", tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "real/Signal_SI__df40204b.h5",
        "real/SingFreqPFM_0003__78de268c.h5",
        "real/sparse_sampling__8e91f113.h5",
        "real/AFM_Force_Curve__50bec706.h5",
        "pyusid/28_beps_small_like_h5py.h5",
        "pyusid/04_single_spectrum.h5",
        "pyusid/09_bool.h5",
    ],
)
def test_files_of_others(tmp_path: pathlib.Path, samples: pathlib.Path, name: str) -> None:
    arguments = ["demo", str(samples / "h5usid" / name), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert len(list((tmp_path / "out").glob("*.png"))) == 1


def test_without_matplotlib_the_rest_goes_on(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = tmp_path / "scan.h5"
    make_main((6, 8, 32)).usid.to_h5usid(str(scan))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = CliRunner().invoke(main, ["demo", str(scan), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "pip install 'usidx[plot]'" in result.stdout
    assert not list((tmp_path / "out").glob("*.png"))
    assert (tmp_path / "out" / "scan.zarr").is_dir()


@pytest.mark.parametrize(
    "arguments", [["--in-place"], ["--small", "scan.h5"]], ids=["in-place", "small"]
)
def test_options_that_make_no_sense_together(arguments: list[str]) -> None:
    assert CliRunner().invoke(main, ["demo", *arguments]).exit_code == 2


def test_interrupted_the_demo_says_how_to_go_on(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from usidx.process.process import Process

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    scan = tmp_path / "my scan.h5"
    make_main((6, 8, 32)).usid.to_h5usid(str(scan))
    monkeypatch.setattr(Process, "run", stopped)
    result = CliRunner().invoke(main, ["demo", str(scan), "--out", str(tmp_path / "out")])
    assert result.exit_code == 130
    (line,) = [line for line in result.stderr.splitlines() if "interrupted" in line]
    again = shlex.split(line.split("To go on: ")[1])
    monkeypatch.undo()
    assert again[0] == "usidx"
    assert CliRunner().invoke(main, again[1:]).exit_code == 0


def test_sizes_and_times_are_worded_for_people() -> None:
    sizes = [0, 999, 1000, 268435456, 5e12, 7e15]
    assert [in_bytes(size) for size in sizes] == [
        "0 bytes", "999 bytes", "1 kB", "268 MB", "5 TB", "7000 TB",
    ]  # fmt: skip
    times = [0.0004, 0.25, 3.14, 61.2, 125]
    assert [in_time(each) for each in times] == [
        "0.4 ms",
        "250 ms",
        "3.1 s",
        "61.2 s",
        "2 min 05 s",
    ]
    assert by_sign((6, 8), ("Y", "X")) == "Y 6 × X 8"


def test_json_of_what_json_has_no_word_for() -> None:
    value = {"a": np.float32(1.5), "b": np.array([1, 2]), "c": float("nan"), "d": b"x", "e": (1,)}
    assert as_json(value) == (
        '{\n  "a": 1.5,\n  "b": [\n    1,\n    2\n  ],\n  "c": "nan",\n  "d": "x",\n  "e": [\n'
        "    1\n  ]\n}"
    )
