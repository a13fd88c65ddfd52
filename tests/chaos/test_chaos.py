"""A short attack on the writing of results; `python -m tests.chaos` makes a long one.

After a crash at any write, and after a power failure at any moment, the source is what it was,
every object can be read, no position is marked that is not right, and the work can go on.
"""

from __future__ import annotations

import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

from tests.chaos import full_disk, kill, power, subject, two
from tests.chaos.children import fork, in_child
from tests.chaos.crash import MODES
from usidx.stores import disk

ROOT = pathlib.Path(__file__).resolve().parents[2]
POINTS = 10


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> Any:
    """A folder to work in, in memory where that goes: fsync takes its time on a disk."""
    if not os.path.isdir("/dev/shm"):
        yield str(tmp_path)
        return
    made = f"/dev/shm/usidx-chaos-{os.getpid()}"
    os.mkdir(made)
    yield made
    shutil.rmtree(made)


def attack(*arguments: str) -> list[dict[str, Any]]:
    """What `python -m tests.chaos` tells of each mode."""
    if shutil.which("gcc") is None:
        pytest.skip("there is no gcc to compile the shim that kills the writer")
    if not sys.platform.startswith("linux"):
        pytest.skip("the shim is for Linux")
    command = [sys.executable, "-m", "tests.chaos", *arguments]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert said.returncode in (0, 1), said.stderr
    return [json.loads(line) for line in said.stdout.splitlines()]


@pytest.mark.parametrize(("ending", "points"), [(".h5", POINTS), (".zarr", 3)])
def test_a_crash_at_any_write_loses_nothing(ending: str, points: int) -> None:
    names = [name for name, mode in MODES.items() if mode.ending == ending]
    chosen = [word for name in names for word in ("--mode", name)]
    seed = str(time.time_ns() % 10**6)
    tallies = attack("--points", str(points), "--seed", seed, *chosen)
    assert [tally["mode"] for tally in tallies] == names
    for tally in tallies:
        assert tally["bad"] == {}, f"{tally}; seed {tally['seed']}"
        assert tally["tried"] == points
        assert tally["points"] > 15


@pytest.mark.parametrize(("mode", "points"), [("stock", "60"), ("zarr-hurried", "12")])
def test_the_attack_finds_what_is_not_safe(mode: str, points: str) -> None:
    (tally,) = attack("--points", points, "--mode", mode)
    assert tally["bad"]


@pytest.mark.parametrize("case", list(power.CASES))
def test_a_power_failure_at_any_moment_loses_nothing(folder: str, case: str) -> None:
    seed = time.time_ns() % 10**6
    most = 40 if case in ("hdf5", "hdf5-durable") else 4
    moments, tried, bad = power.attack(case, folder, most=most, seed=seed)
    assert bad == {}, f"seed {seed}"
    assert moments > 15
    assert tried == most


@pytest.mark.parametrize(("case", "most"), [("hdf5-durable", 80), ("zarr-durable", 12)])
def test_the_failures_find_a_writer_that_does_not_wait_for_the_disk(
    folder: str, monkeypatch: pytest.MonkeyPatch, case: str, most: int
) -> None:
    real = power.record

    def hurried(*arguments: Any) -> list[power.Operation]:
        return [each for each in real(*arguments) if each.kind != "sync"]

    monkeypatch.setattr(power, "record", hurried)
    _, _, bad = power.attack(case, folder, most=most, seed=1)
    assert bad


def test_a_writer_that_is_killed_again_and_again_gets_there(folder: str) -> None:
    """kill -9 at random times, and the next one goes on with what is left."""
    path = subject.make_scan(os.path.join(folder, "scan.h5"))
    chance = random.Random(time.time_ns())
    killed = 0
    for attempt in range(25):
        pid = fork()
        if pid == 0:
            try:
                write_slowly()
                subject.go_on(path)
            finally:
                os._exit(0)
        time.sleep(chance.uniform(0, 0.02 + 0.005 * attempt))
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        killed += os.WIFSIGNALED(status)
        ended = in_child(lambda: look(path))
        assert (ended.trouble, ended.result) == ("", [])
    assert killed > 3
    assert in_child(lambda: subject.faults(path)).result == []


def write_slowly() -> None:
    """Let a kill come between any two writes of this process."""
    real = disk.write_at

    def slow(descriptor: int, data: Any, offset: int) -> None:
        time.sleep(0.001)
        real(descriptor, data, offset)

    disk.write_at = slow


def look(path: str) -> list[str]:
    """What is wrong, without doing anything that a reader would not do."""
    return subject.faults(path, write=False)


def test_killed_runs_go_on(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kill, "SECONDS", 0.03)
    plain = [
        case for case in kill.CASES if case[0].startswith("plain") and case[1] != "overlapping"
    ]
    cases = [*plain, ("tiled.zarr", "overlapping")]
    seed = time.time_ns() % 10**6
    tally = kill.attack(folder, rounds=5, seed=seed, ways=("threads",), cases=cases)
    assert tally.rounds == 5
    assert tally.bad == 0, tally
    assert tally.in_work + tally.before + tally.after == 5


def test_a_full_disk_loses_nothing(folder: str) -> None:
    tally, skipped = full_disk.attack(folder, step=10)
    assert tally.bad == []
    assert tally.refused >= (1 if skipped else 5)


def test_two_processes_at_once(folder: str) -> None:
    for locking, tally in two.attack_both(folder, rounds=2).items():
        assert tally["bad"] == [], locking
        assert tally["rounds"] == 2
