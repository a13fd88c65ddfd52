"""`usidx resume` completes what is there, where it is told to."""

from __future__ import annotations

import json
import pathlib
import textwrap
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import usidx
from usidx.errors import OptionError
from usidx.process.running.slurm import read_settings

STEPS = """
import os
import usidx

def _largest(spectrum):
    if abs(spectrum).max() > 1.9 and os.path.exists("stop"):
        raise ValueError("too bright")
    return abs(spectrum).max()

@usidx.step("Largest", version="1", per_position=True)
def largest(spectra):
    return spectra.usid.map(_largest, over="Frequency", vectorized=False, dtype="f4")
"""


@pytest.fixture
def stopped(call: Any, scan: pathlib.Path, tmp_path: pathlib.Path) -> str:
    """The group that a run left that was stopped by its step."""
    (tmp_path / "steps.py").write_text(
        textwrap.dedent(STEPS).replace(
            "1.9", str(float(np.abs(usidx.open(scan).values).max() * 0.999))
        )
    )
    (tmp_path / "stop").touch()
    ended = call("run", scan, "Raw_Data", "steps.py:largest", "--memory", "5kB", "--workers", "1")
    assert ended.exit_code == 1
    assert "too bright" in ended.stderr
    advice = "go on with: usidx resume"
    assert advice in ended.stderr
    assert "--step steps.py:largest --memory 5kB --workers 1" in ended.stderr
    (tmp_path / "stop").unlink()
    return ended.stderr.split(advice)[1].split()[1]


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """The address of a cluster of one worker, in a process of its own."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0", memory_limit="2GB"
    ) as cluster:
        yield cluster.scheduler_address


def test_a_group_is_completed_on_a_cluster(
    call: Any, scan: pathlib.Path, stopped: str, scheduler: str
) -> None:
    told = call(
        "resume", scan, stopped, "--step", "steps.py:largest", "--scheduler", scheduler, "--json"
    )
    assert told.exit_code == 0, told.stderr
    report = json.loads(told.stdout)
    assert (report["status"], report["computed"], report["failed"]) == ("complete", True, 0)
    assert report["group"].endswith(stopped)
    expected = np.abs(usidx.open(scan, "Raw_Data").values).max(-1)
    values = usidx.open(scan, report["group"] + "/Largest").values
    np.testing.assert_allclose(values.squeeze(), expected, rtol=1e-6)
    again = call("resume", scan, stopped, "--step", "steps.py:largest")
    assert "nothing was computed" in again.stdout
    run = call("run", scan, "Raw_Data", "mean", "--scheduler", scheduler, "--memory", "100 MB")
    assert run.exit_code == 0, run.stderr


def test_the_only_one_needs_no_name(call: Any, scan: pathlib.Path, stopped: str) -> None:
    told = call("resume", scan, "--step", "steps.py:largest", "--memory", "5kB", "--threads")
    assert told.exit_code == 0, told.stderr
    assert told.stdout.splitlines()[0].endswith(stopped)
    none = call("resume", scan, "--step", "steps.py:largest")
    assert none.exit_code == 1
    assert "no result group that is not complete" in none.stderr
    near = call("resume", scan, stopped.replace("Largest", "Larges"))
    assert f"did you mean '{stopped}'" in near.stderr


def test_what_failed_is_tried_again(
    call: Any, scan: pathlib.Path, stopped: str, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "stop").touch()
    how = ("resume", scan, stopped, "--step", "steps.py:largest", "--memory", "5kB")
    marked = call(*how, "--on-error", "mark", "--json")
    assert marked.exit_code == 0, marked.stderr
    assert json.loads(marked.stdout)["failed"] > 0
    (tmp_path / "stop").unlink()
    retried = call(*how, "--retry-failed", "--json")
    assert json.loads(retried.stdout)["failed"] == 0
    expected = np.abs(usidx.open(scan, "Raw_Data").values).max(-1)
    values = usidx.open(scan, json.loads(retried.stdout)["group"] + "/Largest").values
    np.testing.assert_allclose(values.squeeze(), expected, rtol=1e-6)


def test_a_step_must_be_named(call: Any, scan: pathlib.Path, stopped: str) -> None:
    told = call("resume", scan, stopped)
    assert told.exit_code == 1
    assert "was begun by step 'Largest'" in told.stderr
    assert "Traceback" not in told.output


def test_a_scheduler_that_is_not_there(call: Any, scan: pathlib.Path) -> None:
    told = call(
        "run", scan, "Raw_Data", "mean", "--scheduler", "tcp://127.0.0.1:9", "--wait", "0.5"
    )
    assert told.exit_code == 1
    assert "no scheduler answers at 'tcp://127.0.0.1:9'" in told.stderr
    assert "nothing was begun" in told.stderr
    wrong = call("run", scan, "Raw_Data", "mean", "--scheduler", "tcp://a:1", "--slurm", "b.yaml")
    assert wrong.exit_code == 2


def test_settings_of_slurm(call: Any, scan: pathlib.Path, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "jobs.yaml"
    path.write_text('cores: 4\nmemory: 8GB\nwalltime: "01:00:00"\nprologue: [module load x]\n')
    assert read_settings(path) == {
        "cores": 4,
        "memory": "8GB",
        "walltime": "01:00:00",
        "prologue": ["module load x"],
    }
    path.write_text("cores: 0\nmemry: 8GB\nwalltime: 1:00:00\nqueue: 3\n")
    with pytest.raises(OptionError) as caught:
        read_settings(path)
    told = str(caught.value)
    assert "'cores' is 0, expected 1 or more" in told
    assert "'memry' is not known (did you mean 'memory'?)" in told
    assert "'memory' is missing" in told
    assert "'walltime' is 3600, expected text (in quotes: \"01:00:00\")" in told
    assert "'queue' is 3, expected text" in told
    path.write_text("!!python/object/apply:os.system ['touch bad']")
    with pytest.raises(OptionError, match="are no YAML"):
        read_settings(path)
    assert not (tmp_path / "bad").exists()
    path.write_text("just text")
    with pytest.raises(OptionError, match="found str, expected lines such as 'cores: 4'"):
        read_settings(path)
    told = call("run", scan, "Raw_Data", "mean", "--slurm", "absent.yaml")
    assert told.exit_code == 1
    assert "'absent.yaml' cannot be read (No such file or directory)" in told.stderr


def test_what_slurm_needs_is_said(
    call: Any, scan: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "jobs.yaml").write_text("cores: 1\nmemory: 1GB\n")
    import sys

    for name in ("dask_jobqueue", "dask_jobqueue.slurm"):  # whoever imported them before
        monkeypatch.setitem(sys.modules, name, None)
    told = call("run", scan, "Raw_Data", "mean", "--slurm", "jobs.yaml")
    assert told.exit_code == 1
    assert "pip install 'usidx[slurm]'" in told.stderr
