"""Pieces of work that several do in a process and an environment of their own, in turns.

A benchmark has a function for each contestant, `(work, path, threads) -> an array`, and a function
that says what is wrong with an array. What is timed is the second of two calls: the first imports
and compiles.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

ENVIRONMENTS = {"HyperSpy": "USIDX_PEERS_PYTHON", "LiberTEM": "USIDX_PEERS_PYTHON"}
Contestants = Mapping[str, Callable[[str, pathlib.Path, int], Any]]
Check = Callable[[str, pathlib.Path, Any], str]


def arguments(text: str, works: Sequence[str], who: Sequence[str], mib: int) -> argparse.Namespace:
    """The command line, which all of these share."""
    parser = argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mib", type=int, default=mib, help="size of the data")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--works", nargs="+", choices=works, default=list(works))
    parser.add_argument("--who", nargs="+", choices=who, default=list(who))
    parser.add_argument("--small", action="store_true", help="8 MiB, one round")
    parser.add_argument("--folder", help="where files go; the default is the temporary folder")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.small:
        asked.mib, asked.rounds = 8, 1
    return asked


def contest(contestants: Contestants, name: str, work: str, path: str, out: str, n: int) -> None:
    """Do the work twice, and write down what the second time took."""
    for _ in range(2):
        wall, cpu = time.perf_counter(), time.process_time()
        found = contestants[name](work, pathlib.Path(path), n)
        took = time.perf_counter() - wall, time.process_time() - cpu
    peak = 0
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            peak = int(line.split()[1]) // 1024
    np.savez(out, took=took, found=np.asarray(found), mib=peak)


def elsewhere(file: str, name: str, work: str, path: pathlib.Path, threads: int) -> Any:
    """(seconds, CPU seconds, MiB, what was found) of another process, or what went wrong."""
    variable = next((value for key, value in ENVIRONMENTS.items() if name.startswith(key)), "")
    python = os.environ.get(variable, "") if variable else sys.executable
    if not python:
        return f"not there: {variable} is not set"
    out = f"{path}.found.npz"
    command = [python, file, "--one", name, work, str(path), out, "--threads", str(threads)]
    alone = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    ran = subprocess.run(command, env={**os.environ, **alone}, capture_output=True, text=True)
    if ran.returncode:
        return (ran.stderr.strip() or "failed").splitlines()[-1][:100]
    with np.load(out) as found:
        return (*found["took"], int(found["mib"]), found["found"])


def compete(
    file: str, asked: argparse.Namespace, path: pathlib.Path, check: Check, floor: str
) -> None:
    """Print a line for each contestant at each work: medians, and ratios to the floor's."""
    print(f"{'':12}{'':18}{'s':>8}{'CPU s':>8}{'x':>7}{'CPU x':>7}{'MiB':>7}")
    for work in asked.works:
        rounds: dict[str, list[tuple[float, float]]] = {}
        told: dict[str, str] = {}
        for _ in range(asked.rounds):
            for name in asked.who:
                if name in told and not told[name].isdigit():
                    continue
                answer = elsewhere(file, name, work, path, asked.threads)
                wrong = answer if isinstance(answer, str) else check(work, path, answer[3])
                told[name] = wrong or str(answer[2])
                if not wrong:
                    rounds.setdefault(name, []).append(answer[:2])
        for name in asked.who:
            if name not in rounds:
                print(f"{work:12}{name:18}{told[name]}")
                continue
            seconds = [statistics.median(each) for each in zip(*rounds[name], strict=True)]
            pairs = list(zip(rounds[name], rounds.get(floor, []), strict=False))
            ratios = [statistics.median(a[n] / b[n] for a, b in pairs) for n in (0, 1) if pairs]
            times = "".join(f"{each:7.2f}" for each in ratios)
            figures = "".join(f"{each:8.2f}" for each in seconds)
            print(f"{work:12}{name:18}{figures}{times}{told[name]:>7}", flush=True)
