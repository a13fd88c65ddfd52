"""Python functions of single spectra in processes: the same values, and nobody left behind."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import threading
import time
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr

import usidx
from usidx.errors import OptionError, StepError
from usidx.process.planning.bind import bind
from usidx.process.running.events import RunStarted
from usidx.process.running.executors import chosen
from usidx.process.running.pace import Pace, pace_of, recut
from usidx.process.running.processes import Processes
from usidx.process.running.runner import Threads
from usidx.process.running.work import count_units
from usidx.step import step

SMALL = {"processes": True, "workers": 2, "memory": "33 kB"}
ROOT = pathlib.Path(usidx.__file__).parents[1]


@pytest.fixture
def source(hdf5_path: str) -> xr.DataArray:
    """The source of one store: the other tests have both."""
    opened = usidx.open(hdf5_path, chunks={"Y": 2})
    assert isinstance(opened, xr.DataArray)
    return opened


def plain(spectrum: np.ndarray, rounds: int = 1) -> float:
    """The largest value, the slow way."""
    largest = spectrum[0]
    for _ in range(rounds):
        for value in spectrum:
            largest = max(largest, value)
    return float(largest)


@step("Largest", version="1", per_position=True)
def largest(spectra: xr.DataArray, *, rounds: int = 1) -> xr.DataArray:
    return spectra.usid.map(
        plain, over="Frequency", vectorized=False, dtype=spectra.dtype, rounds=rounds
    )


@step("Where", version="1", per_position=True)
def where(spectra: xr.DataArray) -> xr.DataArray:
    """The process that computed each position."""
    return spectra.usid.map(
        lambda spectrum: os.getpid(), over="Frequency", vectorized=False, dtype="i8"
    )


def slept(spectrum: np.ndarray) -> float:
    time.sleep(0.002)
    return float(spectrum[0])


@step("Slept", version="1", per_position=True)
def sleeping(spectra: xr.DataArray) -> xr.DataArray:
    return spectra.usid.map(slept, over="Frequency", vectorized=False, dtype="f4")


def test_processes_write_the_same(source: xr.DataArray, truth: xr.DataArray) -> None:
    blocks: list[object] = []
    result = source.usid.process(largest).run(**SMALL, on_block=blocks.append)
    np.testing.assert_array_equal(result.open().squeeze(), truth.max("Frequency"))
    assert result.status == "complete"
    assert len(blocks) > 4
    threads = source.usid.process(largest).run(processes=False, fresh=True)
    np.testing.assert_array_equal(threads.open(), result.open())
    with dask.config.set(scheduler="processes"):
        pids = np.unique(source.usid.process(where).run(workers=2, memory="33 kB").open())
    assert 1 <= len(pids) <= 2
    assert os.getpid() not in pids
    for pid in pids:  # they ended with the run
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)


def test_plain_python_is_recognised(source: xr.DataArray) -> None:
    slow = pace_of(bind(largest, source, {"rounds": 50}), 0.0)
    assert slow is not None
    assert slow.function == "plain"
    assert slow.alone
    # 50 rounds over 32 values are far more than the one round of this
    quick = pace_of(bind(largest, source, {}), 0.0)
    assert quick is not None
    assert slow.seconds > 5 * quick.seconds
    asleep = pace_of(bind(sleeping, source, {}), 0.0)
    assert asleep is not None
    assert not asleep.alone
    assert asleep.seconds > 0.001

    @step("Many", version="1")
    def many(spectra: xr.DataArray) -> xr.DataArray:
        return spectra.usid.map(lambda block: block.max(-1), over="Frequency", dtype="f4")

    assert pace_of(bind(many, source, {}), 0.0) is None


def test_what_a_function_is_given_is_what_a_run_gives_it(source: xr.DataArray) -> None:
    """Also behind other operations, and where it fails."""
    seen: list[Any] = []

    def look(spectrum: np.ndarray) -> float:
        seen.append(spectrum.copy())
        return 0.0

    def fail(spectrum: np.ndarray) -> float:
        raise ValueError("no")

    @step("Looked", version="1")
    def looked(spectra: xr.DataArray, *, function: str = "look") -> xr.DataArray:
        chosen = {"look": look, "fail": fail}[function]
        return 2 * (spectra + 1).usid.map(chosen, over="Frequency", vectorized=False, dtype="f4")

    assert pace_of(bind(looked, source, {}), float("inf")) is not None
    assert seen
    for spectrum in seen:
        assert ((source + 1).values == spectrum).all(-1).any()
    assert pace_of(bind(looked, source, {"function": "fail"}), float("inf")) is None


def chosen_for(process: Any, *how: Any) -> Any:
    """What is chosen for a process."""
    with chosen(process.plan, process._replan, *how) as choice:
        return choice


def test_processes_are_chosen_where_it_pays(source: xr.DataArray, monkeypatch: Any) -> None:
    process = source.usid.process(largest, rounds=50)
    monkeypatch.setattr("usidx.process.running.executors.START_UP", 1e-6)
    choice = chosen_for(process, False, 2)
    assert choice.executor == Processes(2)
    assert choice.note == "runs in 2 processes: the function 'plain' is plain Python"
    assert chosen_for(process, False, 2, False).executor == Threads(2)
    assert chosen_for(process, False, 1).executor == Threads(1)  # which is as fast
    with dask.config.set(scheduler="threads"):
        assert chosen_for(process, False, 2).executor == Threads(2)
    assert chosen_for(source.usid.process(sleeping), False, 2).executor == Threads(2)
    monkeypatch.setattr("usidx.process.running.executors.START_UP", 1e6)
    choice = chosen_for(process, False, 2)
    assert choice.executor == Threads(2)
    assert choice.note == ""


def test_what_cannot_be_sent_runs_in_threads(source: xr.DataArray, monkeypatch: Any) -> None:
    guard = threading.Lock()

    def locked(spectrum: np.ndarray) -> float:
        with guard:
            return plain(spectrum, 20)

    @step("Locked", version="1", per_position=True)
    def made(spectra: xr.DataArray) -> xr.DataArray:
        return spectra.usid.map(locked, over="Frequency", vectorized=False, dtype="f4")

    @step("Joined", version="1")
    def joined(spectra: xr.DataArray) -> xr.DataArray:
        found = spectra.usid.map(plain, over="Frequency", vectorized=False, dtype="f4", rounds=20)
        return spectra - found.mean(["Y", "X"])

    monkeypatch.setattr("usidx.process.running.executors.START_UP", 1e-6)
    choice = chosen_for(source.usid.process(made), False, 2)
    assert choice.executor == Threads(2)
    assert "'locked' is plain Python: what it does cannot be sent" in choice.note
    assert "lock" in choice.note
    choice = chosen_for(source.usid.process(joined), False, 2)
    assert choice.executor == Threads(2)
    assert choice.note.endswith("its blocks have work in common")
    monkeypatch.setattr("usidx.process.running.executors._MOST_SENT", 100)
    choice = chosen_for(source.usid.process(largest, rounds=50), False, 2)
    assert choice.executor == Threads(2)
    assert "each process would get" in choice.note
    with pytest.raises(OptionError, match="'Locked' cannot run in processes"):
        chosen_for(source.usid.process(made), False, 2, True)
    result = source.usid.process(made).run(workers=2)
    np.testing.assert_array_equal(result.open().squeeze(), source.max("Frequency"))


def test_slow_functions_come_in_small_blocks(source: xr.DataArray) -> None:
    whole = source.chunk()
    process = whole.usid.process(largest)
    assert count_units(process.plan) == 1
    slow = recut(process.plan, process._replan, Pace("plain", 0.5, True), 2, 2)
    assert count_units(slow) == 80  # of 4 positions, which take 2 s
    shared = recut(process.plan, process._replan, Pace("plain", 1e-6, True), 2, 2)
    assert 8 <= count_units(shared) <= 16  # 4 for each of 2


def test_a_failure_names_its_block(source: xr.DataArray, truth: xr.DataArray) -> None:
    bright = float(truth.max())

    def refuse(spectrum: np.ndarray) -> float:
        if spectrum.max() == np.float32(bright):
            raise ValueError("too bright")
        return 0.0

    @step("Refused", version="1", per_position=True)
    def refused(spectra: xr.DataArray) -> xr.DataArray:
        return spectra.usid.map(refuse, over="Frequency", vectorized=False, dtype="f4")

    with pytest.raises(StepError, match=r"failed at Y.*too bright"):
        source.usid.process(refused).run(**SMALL)
    (partial,) = source.usid.results()
    assert partial.status == "partial"


def test_failures_are_marked(source: xr.DataArray, truth: xr.DataArray) -> None:
    bright = truth.max("Frequency").values
    limit = np.sort(bright.ravel())[-3]

    def refuse(spectrum: np.ndarray) -> float:
        if spectrum.max() >= limit:
            raise ValueError("too bright")
        return float(spectrum[0])

    @step("Marked", version="1", per_position=True)
    def marked(spectra: xr.DataArray) -> xr.DataArray:
        return spectra.usid.map(refuse, over="Frequency", vectorized=False, dtype="f4")

    result = source.usid.process(marked).run(**SMALL, on_error="mark")
    assert result.status == "complete"
    values = result.open().squeeze().values
    np.testing.assert_array_equal(np.isnan(values), bright >= limit)
    expected = np.where(bright >= limit, np.nan, truth.values[..., 0])
    np.testing.assert_array_equal(values, expected)
    assert result.record.failed == 3


@step("Fatal", version="1", per_position=True)
def fatal(spectra: xr.DataArray, *, flag: str) -> xr.DataArray:
    """Kills the process that computes it, for as long as there is a flag."""

    def die(spectrum: np.ndarray) -> float:
        if os.path.exists(flag) and spectrum[0] == np.float32(spectra_zero):
            os.kill(os.getpid(), signal.SIGKILL)
        return float(spectrum[1])

    spectra_zero = float(spectra[-1, -1, 0])
    return spectra.usid.map(die, over="Frequency", vectorized=False, dtype="f4")


def test_a_process_that_is_killed_is_told_in_words(
    source: xr.DataArray, truth: xr.DataArray, tmp_path: pathlib.Path
) -> None:
    flag = tmp_path / "flag"
    process = source.usid.process(fatal, flag=str(flag))
    flag.touch()
    # where it would be timed, it would kill this process
    with pytest.raises(StepError, match=r"failed at Y\[\d+:16\].*died \(SIGKILL\); where memory"):
        process.run(**SMALL)
    (partial,) = source.usid.results()
    assert 0 < partial.done < 320
    flag.unlink()
    whole = process.run(**SMALL)
    assert whole == partial
    np.testing.assert_array_equal(whole.open().squeeze(), truth.isel(Frequency=1))


SCRIPT = """
import sys, time
import usidx

@usidx.step("Slow", version="1", per_position=True)
def slow(spectra):
    def work(spectrum):
        time.sleep(0.01)
        return float(spectrum[0])
    return spectra.usid.map(work, over="Frequency", vectorized=False, dtype="f4")

# no `if __name__ == "__main__":`, as people write it
print("once", flush=True)
usidx.open(sys.argv[1]).usid.process(slow).run(processes=True, workers=2, memory="20 kB")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_stopped_leaves_no_process_behind(
    hdf5_path: str, tmp_path: pathlib.Path, number: signal.Signals
) -> None:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    start = "import signal, sys, runpy; signal.signal(signal.SIGINT, signal.default_int_handler); "
    start += "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    child = subprocess.Popen(
        [sys.executable, "-c", start, str(script), hdf5_path],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not _done(hdf5_path) and time.monotonic() < deadline:
        assert child.poll() is None
        time.sleep(0.02)
    workers = _children(child.pid)
    assert len(workers) == 2
    child.send_signal(number)
    assert child.communicate(timeout=60)[0] == "once\n"
    while any(map(_lives, workers)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(_lives, workers))
    (partial,) = usidx.open(hdf5_path).usid.results()
    assert 0 < partial.done < 320


def _done(path: str) -> int:
    groups = usidx.open(path).usid.results("Slow")
    return groups[0].done if groups else 0


def _children(pid: int) -> list[int]:
    text = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(each) for each in text.split()]


def _lives(pid: int) -> bool:
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_it_is_said_where_a_run_runs(
    source: xr.DataArray, monkeypatch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    from usidx.process.running.events import progress

    with progress(True, "Largest") as listen:
        listen(RunStarted("/group", 0, 320, 4, False, "runs in 2 processes"))
    assert "Largest runs in 2 processes\n" in capsys.readouterr().err
