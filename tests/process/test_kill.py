"""Killed in the middle of a run: nothing is lost, nothing is computed twice, the source stays."""

from __future__ import annotations

import hashlib
import os
import pathlib
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
import xarray as xr

import usidx
from tests.process.slow_step import slow_square
from usidx.errors import UsidError
from usidx.process import ResultGroup

PROGRAM = pathlib.Path(__file__).with_name("slow_step.py")
ROOT = PROGRAM.parents[2]
# Two workers share it: blocks of one row, 16 in all.
BLOCKS = 16


def digest(path: str) -> str:
    """Of the bytes of the source: the values in HDF5, every file of the Main in Zarr."""
    total = hashlib.sha256()
    if os.path.isfile(path):
        with h5py.File(path, "r") as file:
            total.update(file["Measurement_000/Channel_000/Raw_Data"][()].tobytes())
    else:
        folder = pathlib.Path(path, "Measurement_000", "Channel_000", "Raw_Data")
        for each in sorted(folder.rglob("*")):
            total.update(each.read_bytes() if each.is_file() else b"")
    return total.hexdigest()


def killed_after(path: str, log: pathlib.Path, done: int) -> None:
    """Begin a run in another process, and kill it once so many positions are marked."""
    environment = {**os.environ, "SLOW_SECONDS": "0.05", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, str(PROGRAM), path, str(log)], env=environment)
    try:
        deadline = time.monotonic() + 60
        while _done(path) < done:
            assert process.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def _done(path: str) -> int:
    try:
        groups = usidx.open(path).usid.results("Slow_Square")
        return groups[0].done if groups else 0
    except UsidError:  # being written at this very moment
        return 0


@pytest.mark.parametrize("done", [20, 200])
def test_a_killed_run_goes_on(
    path: str, truth: xr.DataArray, tmp_path: pathlib.Path, done: int
) -> None:
    log = tmp_path / "log"
    before = digest(path)
    killed_after(path, log, done)
    source = usidx.open(path)
    (partial,) = source.usid.results()
    assert partial.status == "partial"
    marked = partial.done
    assert done <= marked < 320
    assert digest(path) == before
    opened = partial.open()
    found = opened.values
    computed = ~np.isnan(found)
    assert computed.sum() == marked * 32
    np.testing.assert_array_equal(found[computed], (truth**2).values[computed])

    log.write_text("")
    process = source.usid.process(slow_square, log=str(log))
    assert process.existing() == (partial,)
    resumed = process.run(memory="33 kB", workers=2)
    assert resumed == partial
    # what was marked is not computed again, what was not is, once
    assert len(log.read_text().splitlines()) == BLOCKS - marked // 20
    np.testing.assert_array_equal(resumed.open(), truth**2)
    assert (resumed.status, resumed.done) == ("complete", 320)
    assert digest(path) == before
    whole = process.run(fresh=True)
    np.testing.assert_array_equal(whole.open(), resumed.open())
    assert [each.name for each in source.usid.results()] == [
        "Raw_Data-Slow_Square_000",
        "Raw_Data-Slow_Square_001",
    ]


def test_a_group_goes_on_by_itself_after_a_restart(
    path: str, truth: xr.DataArray, tmp_path: pathlib.Path
) -> None:
    log = tmp_path / "log"
    killed_after(path, log, 40)
    group = "/Measurement_000/Channel_000/Raw_Data-Slow_Square_000"
    partial = ResultGroup(path, group)
    assert partial.record.attrs["usid_step"] == "__main__:slow_square"
    resumed = partial.resume(slow_square)
    assert resumed.status == "complete"
    np.testing.assert_array_equal(resumed.open(), truth**2)
