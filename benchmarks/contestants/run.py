"""One contestant at one piece of work, in a process of its own.

    python run.py MODULE WORK FILE --threads N [--memory BYTES]

`engine.py` starts it, in the environment of the contestant. A line says when the work begins and
when it ends, so that it can be watched meanwhile; the last one is a report in JSON. Before that the
work is done once on a small file (FILE.warm), so that imports are not timed, and afterwards the
answer is compared with what NumPy finds.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pathlib
import resource
import sys
import time
from typing import Any

TIMES = 9  # that work of milliseconds is done
ENOUGH = 6.0  # seconds of it, where it does not take milliseconds after all
OPENS = ("open", "open-labelled")
IN_MILLISECONDS = (*OPENS, "map", "spectrum")
WRITES = ("low-pass", "limited", "cluster", "kernel")
FIRST = 100  # the number of the first map and spectrum
# The system counts the stacks of threads as if they were used in full, 8 MiB each.
STACKS = 2**26


def status(name: str) -> int:
    """Bytes that Linux gives for this process under a name."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return 1024 * int(line.split()[1])
    raise SystemExit(f"/proc/self/status has no {name}; this needs Linux")


def limit_memory(count: int) -> None:
    """Have the system refuse this process more private memory than `count` bytes beyond now."""
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (status("VmData") + STACKS + count, hard))


def do(contestant: Any, work: str, path: str, number: int) -> Any:
    """What comes of a piece of work of milliseconds."""
    if work == "open-labelled":
        return getattr(contestant, "look_at_labels", contestant.look)(path)
    return contestant.look(path) if work == "open" else getattr(contestant, work)(number)


def in_milliseconds(contestant: Any, work: str, path: str, truth: Any) -> tuple[float, float, str]:
    """The least of what it takes, wall and CPU, and what is wrong with the answers."""
    walls, cpus, wrong = [], [], ""
    for number in range(FIRST, FIRST + TIMES):
        began, busy = time.perf_counter(), time.process_time()
        found = do(contestant, work, path, number)
        walls.append(time.perf_counter() - began)
        cpus.append(time.process_time() - busy)
        if truth is not None:
            told = truth.look(found) if work in OPENS else getattr(truth, work)(found, number)
            wrong = wrong or told
        if sum(walls) > ENOUGH:
            break
    return min(walls), min(cpus), wrong


def seconds(contestant: Any, work: str, truth: Any) -> tuple[float, float, str]:
    """What it takes, wall and CPU of this process, and what is wrong with the answer."""
    began, busy = time.perf_counter(), time.process_time()
    found = getattr(contestant, work.replace("-", "_"))()
    wall, cpu = time.perf_counter() - began, time.process_time() - busy
    print("END", file=sys.__stdout__, flush=True)
    sys.stdin.readline()
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))
    wrong = truth.of(work, found)
    if hasattr(found, "remove"):
        found.remove()
    return wall, cpu, wrong


def work_of(contestant: Any, asked: argparse.Namespace) -> dict[str, Any]:
    """The report of one piece of work."""
    from job import Truth, touch

    path, work = asked.file, asked.work
    opening: tuple[float, ...] = ()
    if hasattr(contestant, "start") and work.endswith("cluster"):
        contestant.start()
    contestant.look(path + ".warm")
    if work not in OPENS:
        if work in IN_MILLISECONDS:
            in_milliseconds(contestant, work, path + ".warm", None)
        else:
            found = getattr(contestant, work.replace("-", "_"))()
            if hasattr(found, "remove"):
                found.remove()
        began, busy = time.perf_counter(), time.process_time()
        contestant.look(path)
        opening = time.perf_counter() - began, time.process_time() - busy
    truth = Truth(path)
    if work.startswith(WRITES):
        touch(pathlib.Path(path).parent, 4 * truth.rows * truth.columns)
    if asked.memory:
        limit_memory(asked.memory)
        if hasattr(contestant, "limit") and work.endswith("cluster"):
            contestant.limit()
    print("BEGIN", file=sys.__stdout__, flush=True)
    sys.stdin.readline()
    if work in IN_MILLISECONDS:
        wall, cpu, wrong = in_milliseconds(contestant, work, path, truth)
        print("END", file=sys.__stdout__, flush=True)
        sys.stdin.readline()
    else:
        wall, cpu, wrong = seconds(contestant, work, truth)
    after = wall
    if opening and getattr(contestant, "reads_at_once", False):
        wall, cpu = wall + opening[0], cpu + opening[1]
    estimate = getattr(contestant, "estimate", None)
    report = {"seconds": wall, "cpu": cpu, "wrong": wrong, "estimate": estimate}
    return report if after == wall else {**report, "after": after}


def main() -> None:
    """Do the work, and say how it went in the last line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("module")
    parser.add_argument("work")
    parser.add_argument("file")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--memory", type=int, default=0)
    asked = parser.parse_args()
    sys.stdout = sys.stderr  # some print; what is printed is no report
    module, _, name = asked.module.partition(":")
    began = time.perf_counter()
    kind = getattr(importlib.import_module(module), name or "Contestant")
    imported = time.perf_counter() - began
    contestant = kind(asked.threads, asked.memory)
    report = work_of(contestant, asked)
    print(json.dumps({**report, "import": imported}), file=sys.__stdout__, flush=True)
    sys.__stdout__.flush()
    os._exit(0)  # what is still going on in threads and workers is of no interest


if __name__ == "__main__":
    main()
