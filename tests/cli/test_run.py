"""`usidx run` computes once, resumes, and takes steps of others."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time
from typing import Any

import click
import numpy as np
import pytest

import usidx
from usidx.cli.run import found, parsed
from usidx.errors import OptionError, PlanError, StoreNotFoundError


def test_a_step_runs_once(call: Any, scan: pathlib.Path) -> None:
    expected = np.abs(usidx.open(scan).values).max(-1)
    first = json.loads(call("run", scan, "Raw_Data", "peak_response", "--json").stdout)
    assert first["computed"] is True
    assert first["status"] == "complete"
    assert first["group"] == "/Measurement_000/Channel_000/Raw_Data-Peak_Response_000"
    values = usidx.open(scan, first["group"] + "/Peak_Response")
    np.testing.assert_allclose(values.values.squeeze(), expected, rtol=1e-6)
    again = json.loads(call("run", scan, "Raw_Data", "peak_response", "--json").stdout)
    assert again["computed"] is False
    assert again["group"] == first["group"]
    fresh = json.loads(call("run", scan, "Raw_Data", "peak_response", "--fresh", "--json").stdout)
    assert fresh["computed"] is True
    assert fresh["group"].endswith("Peak_Response_001")


def test_what_is_completed_was_computed(call: Any, scan: pathlib.Path) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    process = usidx.open(scan, "Raw_Data").usid.process(usidx.steps.peak_response)
    with pytest.raises(KeyboardInterrupt):
        process.run(memory="20 kB", workers=1, on_block=stop)
    (left,) = process.existing()
    assert left.status == "partial"
    done = json.loads(call("run", scan, "Raw_Data", "peak_response", "--json").stdout)
    assert (done["group"], done["computed"], done["status"]) == (left.path, True, "complete")
    again = json.loads(call("run", scan, "Raw_Data", "peak_response", "--json").stdout)
    assert (again["group"], again["computed"]) == (left.path, False)


def test_results_go_where_they_are_sent(call: Any, scan: pathlib.Path) -> None:
    before = scan.read_bytes()
    result = call(
        "run", scan, "Raw_Data", "mean", "--set", 'over=["Frequency"]', "--into", "found.zarr",
        "--memory", "100MB",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "computed and complete" in result.stdout
    assert scan.read_bytes() == before
    entries = json.loads(call("info", "found.zarr", "--json").stdout)
    assert any("Raw_Data-Mean_000" in each["path"] for each in entries)
    again = call(
        "run", scan, "Raw_Data", "mean", "--set", 'over=["Frequency"]', "--into", "found.zarr"
    )
    assert "nothing was computed" in again.stdout


def test_settings_are_json_or_text() -> None:
    assert parsed(("along=Frequency", "n=3", "x=1e-3", "over=[1, 2]", "on=true", "no=a=b")) == {
        "along": "Frequency",
        "n": 3,
        "x": 1e-3,
        "over": [1, 2],
        "on": True,
        "no": "a=b",
    }


@pytest.mark.parametrize("wrong", [("along",), ("=3",), ("a b=3",), ("a=1", "a=2")])
def test_settings_that_are_none(wrong: tuple[str, ...]) -> None:
    with pytest.raises(click.BadParameter):
        parsed(wrong)


def test_wrong_settings_are_a_wrong_use(call: Any, scan: pathlib.Path) -> None:
    result = call("run", scan, "Raw_Data", "peak_response", "--set", "Frequency")
    assert result.exit_code == 2
    assert "NAME=VALUE" in result.stderr


STEPS = """
import usidx

@usidx.step("Contrast", version="1")
def contrast(spectra, *, along="Frequency"):
    size = abs(spectra)
    return size.std(along) / size.mean(along)

def plain(spectra):
    return spectra
"""


def test_steps_of_ones_own(call: Any, scan: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (tmp_path / "my_steps.py").write_text(STEPS)
    result = call("run", scan, "Raw_Data", "my_steps.py:contrast", "--json")
    assert result.exit_code == 0, result.output
    size = np.abs(usidx.open(scan, "Raw_Data").values)
    values = usidx.open(scan, json.loads(result.stdout)["group"] + "/Contrast").values
    np.testing.assert_allclose(values.squeeze(), size.std(-1) / size.mean(-1), rtol=1e-5)


def test_steps_that_are_none(call: Any, tmp_path: pathlib.Path) -> None:
    (tmp_path / "my_steps.py").write_text(STEPS)
    (tmp_path / "broken.py").write_text("1 / 0")
    with pytest.raises(PlanError, match="did you mean"):
        found("sho_guesses")
    with pytest.raises(OptionError, match="did you mean 'contrast'"):
        found("my_steps.py:contrasts")
    with pytest.raises(OptionError, match="is no step"):
        found("my_steps.py:plain")
    with pytest.raises(OptionError, match="ZeroDivisionError"):
        found("broken.py:step")
    with pytest.raises(StoreNotFoundError, match=r"no file 'absent\.py'"):
        found("absent.py:step")
    with pytest.raises(OptionError, match="cannot be imported"):
        found("there.is.no.such:step")


SLOW = """
import time
import usidx

@usidx.step("Slow", version="1", per_position=True)
def slow(spectra):
    def work(block):
        time.sleep(0.5)
        return abs(block).max(-1)
    return spectra.usid.map(work, over="Frequency", dtype="float32")
"""


def test_ctrl_c_leaves_a_group_that_the_same_command_completes(
    tmp_path: pathlib.Path,
) -> None:
    from usidx.testing import make_main

    make_main((24, 8, 32), dtype="complex64").usid.to_h5usid(str(tmp_path / "scan.h5"))
    (tmp_path / "slow.py").write_text(textwrap.dedent(SLOW))
    root = pathlib.Path(usidx.__file__).parents[1]
    # What is started in the background of a shell ignores Ctrl-C, and so do its children.
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    code += "from usidx.cli import main; main()"
    command = [sys.executable, "-c", code, "run", "scan.h5",
               "Raw_Data", "slow.py:slow", "--memory", "40kB"]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(root)}
    child = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and child.poll() is None:
        entries = usidx.list_mains(tmp_path / "scan.h5")
        if any(each.kind == "result" and "partial" in each.status for each in entries):
            break
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 130, errors
    assert b"Traceback" not in errors
    told = errors.decode().partition("go on with: ")[2].split()
    assert told[:2] == ["usidx", "resume"]
    assert told[-5:] == ["Raw_Data-Slow_000", "--step", "slow.py:slow", "--memory", "40kB"]
    (partial,) = [each for each in usidx.list_mains(tmp_path / "scan.h5") if each.kind == "result"]
    assert "partial" in partial.status
    again = [*command[: command.index("run")], *told[1:]]
    done = subprocess.run(again, cwd=tmp_path, env=environment, capture_output=True, timeout=100)
    assert done.returncode == 0, done.stderr
    (whole,) = [each for each in usidx.list_mains(tmp_path / "scan.h5") if each.kind == "result"]
    assert whole.status == "complete"
    expected = np.abs(usidx.open(tmp_path / "scan.h5", "Raw_Data").values).max(-1)
    values = usidx.open(tmp_path / "scan.h5", whole.path).values
    np.testing.assert_allclose(values.squeeze(), expected, rtol=1e-6)
