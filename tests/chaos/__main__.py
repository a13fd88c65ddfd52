"""Attack the writing of results at length: `python -m tests.chaos --help`."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from tests.chaos import crash


def main() -> int:
    """Run what is asked for; 0 where nothing was found, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument(
        "what",
        nargs="?",
        default="crash",
        choices=sorted(ATTACKS),
        help="crash at every write (this when nothing is said), loss of power, SIGKILL at random "
        "moments, a full disk, or two processes at once",
    )
    parser.add_argument("--points", type=int, help="points to try in each mode; all by default")
    known = {**crash.MODES, **crash.BAD_MODES}
    parser.add_argument(
        "--mode",
        action="append",
        choices=sorted(known),
        help="crash: only these; 'stock' (plain h5py) and 'zarr-hurried' are not safe",
    )
    parser.add_argument("--rounds", type=int, help="of kill (200) and two (20)")
    parser.add_argument("--seed", type=int, default=0, help="of all chances")
    parser.add_argument("--folder", help="where to work; memory by default, where there is one")
    asked = parser.parse_args()
    if asked.what == "crash" and not crash.is_preloaded():
        return _again_with_shim(sys.argv[1:])
    shared_memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=asked.folder or shared_memory) as folder:
        return 1 if ATTACKS[asked.what](asked, folder) else 0


def _tell(**told: Any) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


def _crash(asked: argparse.Namespace, folder: str) -> int:
    known = {**crash.MODES, **crash.BAD_MODES}
    bad = 0
    for name in asked.mode or crash.MODES:
        start = time.monotonic()
        tally = crash.attack(known[name], folder, most=asked.points, seed=asked.seed)
        bad += len(tally.bad)
        seconds = round(time.monotonic() - start, 1)
        told = {"mode": name, "points": tally.points, "tried": tally.tried, "bad": tally.bad}
        _tell(**told, seed=asked.seed, seconds=seconds)
    return bad


def _power(asked: argparse.Namespace, folder: str) -> int:
    from tests.chaos import power

    bad = 0
    for name in power.CASES:
        moments, tried, wrong = power.attack(name, folder, most=asked.points, seed=asked.seed)
        bad += len(wrong)
        _tell(case=name, moments=moments, tried=tried, bad=wrong, seed=asked.seed)
    return bad


def _kill(asked: argparse.Namespace, folder: str) -> int:
    from tests.chaos import kill

    start = time.monotonic()

    def tell(tally: kill.Tally) -> None:
        sys.stderr.write(f"{tally.rounds} rounds, {tally.in_work} in work, {tally.bad} bad\n")
        sys.stderr.flush()

    tally = kill.attack(folder, rounds=asked.rounds or 200, seed=asked.seed, tell=tell)
    _tell(**vars(tally), seed=asked.seed, seconds=round(time.monotonic() - start, 1))
    return tally.bad


def _full_disk(asked: argparse.Namespace, folder: str) -> int:
    from tests.chaos import full_disk

    start = time.monotonic()
    tally, skipped = full_disk.attack(folder)
    _tell(**vars(tally), skipped=skipped, seconds=round(time.monotonic() - start, 1))
    return len(tally.bad)


def _two(asked: argparse.Namespace, folder: str) -> int:
    from tests.chaos import two

    told = two.attack_both(folder, rounds=asked.rounds or 20)
    for locking, tally in told.items():
        _tell(locking=locking, **tally)
    return sum(len(tally["bad"]) for tally in told.values())


ATTACKS: dict[str, Callable[[argparse.Namespace, str], int]] = {
    "crash": _crash,
    "power": _power,
    "kill": _kill,
    "full-disk": _full_disk,
    "two": _two,
}


def _again_with_shim(arguments: list[str]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "LD_PRELOAD": crash.build_shim(folder)}
        command = [sys.executable, "-m", "tests.chaos", *arguments]
        return subprocess.run(command, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
