"""Scripts that compute a result anew: run in a process of their own, and compared to the bit."""

from __future__ import annotations

import ast
import importlib
import os
import pathlib
import subprocess
import sys

import h5py
import numpy as np
import pytest
import xarray as xr

import usidx
from tests.h5usid import channel, write_main, write_result
from usidx import steps
from usidx.exporting import to_h5usid, to_zarr
from usidx.step import step
from usidx.testing import make_main

MINE = '''
import usidx
from usidx.step import step


@usidx.steps.register
@step("Script_Flat_Field", version="3", per_position=True)
def flat_field(spectra, *, flat, dark, weights=(), mask=None, name=""):
    """Spectra over those of the empty field, without what the detector gives in the dark."""
    weighted = spectra - dark.isel(Y=0, X=0, drop=True)
    if mask is not None:
        weighted = weighted * mask
    for each in weights.ravel():
        weighted = weighted * each
    return (weighted / flat).assign_attrs(spectra.attrs)
'''
PATHS = {name: f"/Measurement_000/Channel_00{n}/{name}" for n, name in enumerate(("Raw", "Flat"))}


def run(script: str, folder: pathlib.Path, into: str) -> subprocess.CompletedProcess[str]:
    file = folder / "recompute.py"
    file.write_text(script, encoding="utf-8")
    root = str(pathlib.Path(usidx.__file__).parents[1])
    env = os.environ | {"PYTHONPATH": os.pathsep.join([root, str(folder)])}
    return subprocess.run(
        [sys.executable, str(file), into],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def run_here(script: str, folder: pathlib.Path, into: str) -> str:
    """What the script says where it ends with an error, "" where it does not."""
    names = {"__name__": "recompute"}
    exec(compile(script, "recompute.py", "exec"), names)
    try:
        names["recompute"](str(folder / into))  # type: ignore[operator]
    except SystemExit as end:
        return str(end)
    return ""


@pytest.mark.parametrize("kind", ["h5", "zarr"])
def test_a_chain_of_two_steps(kind: str, tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / f"scan 'of' \"it\".{kind}")
    {"h5": to_h5usid, "zarr": to_zarr}[kind](make_main((6, 7, 32)), path)
    smooth = usidx.open(path).usid.process(steps.fft_filter, high=1 / 7e3, order=3).run()
    last = smooth.open().usid.process(steps.peak_response).run()
    script = last.open().usid.history.to_script()
    if kind == "h5":
        ended = run(script, tmp_path, "again.zarr")
        assert ended.returncode == 0, ended.stderr
    else:
        assert run_here(script, tmp_path, "again.h5") == ""
    again = usidx.open(tmp_path / ("again.zarr" if kind == "h5" else "again.h5"), "Peak_Response")
    assert again.identical(last.open()) or again.equals(last.open())
    assert again.values.tobytes() == last.open().values.tobytes()
    assert [each.tool for each in again.usid.history] == [None, "FFT_Filter", "Peak_Response"]


def test_a_step_with_several_sources(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "script_steps.py").write_text(MINE)
    monkeypatch.syspath_prepend(str(tmp_path))
    mine = importlib.import_module("script_steps")
    raw = make_main((6, 7, 16))
    flat = (3 + make_main((6, 7, 16), seed=1)).assign_attrs(raw.attrs)
    path = to_h5usid({PATHS["Raw"]: raw, PATHS["Flat"]: flat}, tmp_path / "scan.h5")
    dark = to_zarr((0.01 * raw).assign_attrs(raw.attrs).rename("Dark"), tmp_path / "dark.zarr")
    smooth = usidx.open(path, PATHS["Flat"]).usid.process(steps.fft_filter, high=1 / 7e3).run()
    parameters = {
        "weights": np.random.default_rng(0).normal(size=(10, 10)).astype(">f4"),
        "mask": xr.DataArray(np.arange(7.0), dims="X", coords={"X": raw.X}),
        "name": '"""; import os; os.abort()\n#',
    }
    result = (
        usidx.open(path, PATHS["Raw"])
        .usid.process(mine.flat_field, flat=smooth.open(), dark=usidx.open(dark), **parameters)
        .run()
    )
    told = result.open().usid.history
    assert "flat 2, dark 3" in repr(told) or "dark" in repr(told)
    script = told.to_script()
    refused = run(script, tmp_path, "again.zarr")
    assert refused.returncode == 1
    assert "is not registered here; import what registers it" in refused.stderr
    ended = run(script.replace("import usidx\n", "import usidx\nimport script_steps\n", 1),
                tmp_path, "again.zarr")  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    again = usidx.open(tmp_path / "again.zarr", "Script_Flat_Field")
    assert again.values.tobytes() == result.open().values.tobytes()
    assert [each.tool for each in again.usid.history][-1] == "Script_Flat_Field"
    assert len(again.usid.sources) == 3


def called(script: str) -> set[str]:
    """Names of everything that a script calls."""
    calls = [each.func for each in ast.walk(ast.parse(script)) if isinstance(each, ast.Call)]
    return {each.id if isinstance(each, ast.Name) else each.attr for each in calls}


def test_what_cannot_be_made_again_is_said(tmp_path: pathlib.Path) -> None:
    path = to_h5usid(make_main((3, 4, 8)), tmp_path / "scan.h5")
    da = usidx.open(path)
    saved = da.usid.save(2 * da, "Twice").open()
    mean = saved.usid.process(steps.mean, over="Frequency").run().open()
    script = mean.usid.history.to_script()
    assert "# This cannot be made again: it is a lazy result that was saved" in script
    said = run_here(script, tmp_path, "again.zarr")
    assert said.startswith("step 2 cannot be made again: it is a lazy result that was saved")
    assert not (tmp_path / "again.zarr").exists()

    @step("Unknown", version="1")
    def unknown(spectra: xr.DataArray, *, dark: object = None) -> xr.DataArray:
        return 2 * spectra

    other = da.usid.process(unknown).run().open()
    assert "defined in tests.explore.test_script:" in other.usid.history.to_script()
    lazy = (2 * da).usid.process(steps.mean, over="X").run(into=tmp_path / "r.zarr").open()
    assert "an array that no store holds" in lazy.usid.history.to_script()
    steps.register(unknown)
    lazy = da.usid.process(unknown, dark=2 * da).run().open()
    assert "parameter 'dark' was an array that no store holds" in lazy.usid.history.to_script()
    known = usidx.open(path).usid.process(unknown).run().open()
    assert 'SystemExit("step' not in known.usid.history.to_script()


def test_what_a_file_says_is_never_code(tmp_path: pathlib.Path) -> None:
    bad = '"""\n\r\x0b\u2028import os; os.abort()\n#\'\\'
    with h5py.File(tmp_path / "a.h5", "w") as file:
        raw = write_main(channel(file))
        group = channel(file).create_group("Raw_Data-Mean_000")
        fit = write_result(raw, group, tool="Mean", name="Mean", usid_version="1")
        fit.parent.attrs.update(
            usid_step="usidx.steps.reductions:mean" + bad, timestamp=bad, usidx_version=bad
        )
        fit.parent.attrs["over" + bad.replace("/", "")] = bad
    script = usidx.open(tmp_path / "a.h5", "Mean").usid.history.to_script()
    assert "abort" in script
    assert called(script) <= {
        "step", "get", "registered", "SystemExit", "open", "process", "run", "len", "print",
        "recompute",
    }  # fmt: skip
    imports = [each for each in ast.walk(ast.parse(script)) if isinstance(each, ast.Import)]
    assert [each.names[0].name for each in imports] == ["sys", "usidx"]


def test_what_is_not_there_any_more(tmp_path: pathlib.Path) -> None:
    path = to_h5usid(make_main((3, 4, 8)), tmp_path / "scan.h5")
    result = usidx.open(path).usid.process(steps.mean, over="X").run(into=tmp_path / "r.zarr")
    pathlib.Path(path).unlink()
    script = result.open().usid.history.to_script()
    assert "cannot be made again: it is not there any more" in script
    compile(script, "script", "exec")


def test_files_of_other_systems(tmp_path: pathlib.Path) -> None:
    values = np.random.default_rng(0).normal(size=(4, 5, 6)).astype("f4")
    values.tofile(tmp_path / "frames.raw")
    how = {"reader": "raw", "nav_shape": (4, 5), "sig_shape": (6,), "dtype": "f4"}
    da = usidx.open(tmp_path / "frames.raw", **how)
    result = da.usid.process(steps.mean, over=str(da.dims[-1])).run(into=tmp_path / "r.zarr")
    assert result.source is not None
    np.testing.assert_array_equal(result.source.open(), values)
    reopened = result._process(result.record, None)
    assert reopened.plan.fingerprint == result.record.fingerprint
    told = result.open().usid.history
    assert [each.status for each in told] == ["complete", "complete"]
    assert told[0].opened_with["reader"] == "raw"
    assert run_here(told.to_script(), tmp_path, "again.zarr") == ""
    again = usidx.open(tmp_path / "again.zarr", "Mean")
    assert again.values.tobytes() == result.open().values.tobytes()
