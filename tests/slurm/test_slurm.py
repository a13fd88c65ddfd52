"""Runs in jobs of a real SLURM, one of which is killed in the middle.

It takes about a minute, so that it runs only where it is asked for:

    USIDX_SLURM=1 python -m pytest tests/slurm
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import xarray as xr

import usidx
from tests.slurm import machine
from usidx.process.running.slurm import slurm_cluster
from usidx.step import step
from usidx.testing import make_main

ROOT = pathlib.Path(usidx.__file__).parents[1]
pytestmark = [
    pytest.mark.skipif(
        not os.environ.get("USIDX_SLURM"), reason="it takes a minute; USIDX_SLURM=1 runs it"
    ),
    pytest.mark.skipif(bool(machine.missing()), reason=machine.missing() or "-"),
    pytest.mark.timeout(300),
]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """The environment of a SLURM that was started for these tests."""
    folder = tmp_path_factory.mktemp("slurm")
    with pytest.MonkeyPatch.context() as patch, machine.slurm(folder) as environment:
        patch.setenv("SLURM_CONF", environment["SLURM_CONF"])
        patch.setenv("PYTHONPATH", str(ROOT))
        yield {**environment, "PYTHONPATH": str(ROOT)}


@pytest.fixture
def scan(tmp_path: pathlib.Path) -> pathlib.Path:
    """A file with a raw Main of 16 x 20 spectra."""
    make_main((16, 20, 32), dtype="float32").usid.to_h5usid(str(tmp_path / "scan.h5"))
    return tmp_path / "scan.h5"


@step("Slow_Square", version="1", per_position=True)
def slow_square(spectra: xr.DataArray) -> xr.DataArray:
    """Spectra squared, slowly."""

    def squared(block: np.ndarray) -> np.ndarray:
        import time

        time.sleep(0.1)
        return block**2

    return spectra.usid.map(squared, over="Frequency", output="Frequency", dtype="f4")


def test_a_killed_job_costs_nothing(
    slurm: Mapping[str, str], scan: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    source = usidx.open(scan, chunks={"Y": 1})
    truth = source.values
    settings = {
        "cores": 1,
        "memory": "1GB",
        "interface": "lo",
        "python": sys.executable,
        "walltime": "00:10:00",
        "log_directory": str(tmp_path / "logs"),
        "local_directory": str(tmp_path),
    }
    killed: list[str] = []
    after: list[int] = []

    def kill_one(block: Any) -> None:
        running = machine.jobs(slurm)
        if not killed and len(running) == 2:
            killed.append(running[0])
            machine.cancel(running[0], slurm)
        elif killed:
            after.append(block.number)

    with slurm_cluster(settings, jobs=2) as cluster:
        assert ":8787" not in cluster.dashboard_link
        with cluster.get_client() as client:
            client.wait_for_workers(2, timeout=60)
        result = source.usid.process(slow_square).run(
            client=cluster, memory="9 kB", on_block=kill_one
        )
    assert killed
    assert len(after) > 5
    assert result.status == "complete"
    np.testing.assert_array_equal(result.open(), truth**2)
    np.testing.assert_array_equal(usidx.open(scan, "Raw_Data"), truth)
    assert machine.jobs(slurm) == []  # they ended with the cluster


def test_the_command_line_runs_in_jobs(
    slurm: Mapping[str, str], scan: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "jobs.yaml").write_text(
        "cores: 1\nmemory: 1GB\ninterface: lo\njobs: 1\nqueue: main\n"
        f'walltime: "00:10:00"\npython: {sys.executable}\nlog_directory: {tmp_path / "logs"}\n'
    )
    command = [sys.executable, "-c", "from usidx.cli import main; main()", "run", str(scan)]
    command += ["Raw_Data", "peak_response", "--slurm", str(tmp_path / "jobs.yaml"), "--json"]
    done = subprocess.run(command, env=slurm, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["status"] == "complete"
    values = usidx.open(scan, report["group"] + "/Peak_Response")
    expected = np.abs(usidx.open(scan, "Raw_Data").values).max(-1)
    np.testing.assert_allclose(values.squeeze(), expected, rtol=1e-6)
    machines = (tmp_path / "logs").iterdir()
    assert any("Start worker at" in each.read_text() for each in machines)
