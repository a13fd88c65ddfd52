"""Two processes at once on one store, with and without the locks that HDF5 itself takes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from tests.chaos import kill, looking, slow
from tests.chaos.children import fork, import_all, in_child
from tests.chaos.cluster_host import ROOT
from tests.chaos.crash import do_without_linux
from usidx.stores import store_at
from usidx.stores.lock import run_lock, store_lock

GROUP = f"/{slow.MAIN}-Whole_000"
ADDED = "/Measurement_000/Channel_001/Raw_Data"
KINDS = ("both new", "the same", "run and add", "both resume")


@dataclass
class Tally:
    """What came of it.

    Parameters
    ----------
    rounds : of two processes each
    outcomes : how many of the processes got through, and how many were refused, by what they did
    taken_over : locks of a dead process that did not stop the next one
    bad : what was wrong, in words
    """

    rounds: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    taken_over: int = 0
    bad: list[str] = field(default_factory=list)


def attack(folder: str, *, rounds: int) -> Tally:
    """What comes of some rounds in this process, with HDF5's locks as they are set for it."""
    tally = Tally()
    templates = []
    for ending in (".h5", ".zarr"):
        templates.append(os.path.join(folder, "template" + ending))
        in_child(lambda: slow.make_source(templates[-1]))
    import_all(in_child(lambda: _modules(templates[0], folder)).result)
    for number in range(rounds):
        template = templates[number % 2]
        kind = KINDS[(number + number // len(KINDS)) % len(KINDS)]
        portable = number // (2 * len(KINDS)) % 2 == 1
        place = f"round {number} ({kind}, {os.path.splitext(template)[1]})"
        found = _round(number, kind, template, folder, portable, tally)
        tally.bad += [f"{place}: {each}" for each in found]
        tally.rounds += 1
    return tally


def _modules(template: str, folder: str) -> list[str]:
    path = kill._copied(template, folder)
    slow.run(path, "whole")
    _faults(path)
    return list(sys.modules)


def _round(
    number: int, kind: str, template: str, folder: str, portable: bool, tally: Tally
) -> list[str]:
    path = kill._copied(template, folder)
    source = looking.source_digest(path)
    # short ones end while the other still waits for its turn, long ones do not
    os.environ["CHAOS_SECONDS"] = "0.02" if number % 3 == 0 else "0.1"
    if kind == "both resume":
        in_child(lambda: _begin(path))
    _leave_locks(path, portable)
    works = {
        "both new": (_fresh, _fresh),
        "the same": (_run, _run),
        "run and add": (_run, _add),
        "both resume": (_run, _run),
    }[kind]
    start = time.monotonic() + 0.1
    with ThreadPoolExecutor(2) as pool:
        futures = [
            pool.submit(in_child, lambda w=work: _attempt(w, path, portable, start))  # type: ignore[misc]
            for work in works
        ]
        ended = [each.result() for each in futures]
    found = [each.trouble for each in ended if each.trouble]
    pids = [each.result["pid"] for each in ended if each.result]
    for each in (each.result for each in ended if each.result):
        tally.outcomes[f"{kind}: {each['outcome']}"] += 1
        other = [pid for pid in pids if pid != each["pid"]]
        if each["outcome"] not in ("done", "StoreLockedError"):
            found.append(f"{each['outcome']}: {each['said']}")
            continue
        named = any(f"process {pid}" in each["said"] for pid in other)
        if each["outcome"] != "done" and not named:
            found.append(f"the holder is not named: {each['said']}")
    if not any(each.result and each.result["outcome"] == "done" for each in ended):
        found.append("neither got through; the locks of a dead process may have stopped them")
    else:
        tally.taken_over += 2
    looked = in_child(lambda: [looking.source_digest(path) == source, _faults(path)])
    if looked.trouble or not looked.result[0]:
        found.append(looked.trouble or "the source has changed")
    return found + (looked.result[1] if looked.result else [])


def _begin(path: str) -> None:
    """Leave a partial result."""
    done: list[Any] = []

    def stop(event: Any) -> None:
        done.append(event)
        if len(done) == 5:
            raise KeyboardInterrupt

    try:
        slow.run(path, "whole", on_block=stop)
    except KeyboardInterrupt:
        return


def _leave_locks(path: str, portable: bool) -> None:
    """Let a process die that holds the store and the group."""
    reading, writing = os.pipe()
    pid = fork()
    if pid == 0:
        if portable:
            do_without_linux()
        store_lock(path, "dying").acquire()
        run_lock(path, GROUP, "dying").acquire()
        os.write(writing, b"1")
        time.sleep(60)
        os._exit(1)
    os.read(reading, 1)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(reading)
    os.close(writing)


def _attempt(work: Callable[[str], Any], path: str, portable: bool, start: float) -> dict[str, Any]:
    if portable:
        do_without_linux()
    while time.monotonic() < start:
        pass
    try:
        work(path)
    except Exception as error:
        return {"pid": os.getpid(), "outcome": type(error).__name__, "said": str(error)}
    return {"pid": os.getpid(), "outcome": "done", "said": ""}


def _fresh(path: str) -> None:
    slow.run(path, "whole", fresh=True)


def _run(path: str) -> None:
    slow.run(path, "whole")


def _add(path: str) -> None:
    source = slow.opened(path)
    if path.endswith(".h5"):
        source.usid.to_h5usid(path, append="Measurement_000", checksums=False)
    else:
        source.usid.to_zarr(path, group=ADDED)


def _faults(path: str) -> list[str]:
    """Every group and Main that is there has to be whole, and nothing else may be."""
    import usidx

    found = []
    expected = slow.source_values() ** 2
    for group in looking.results_of(path):
        status = store_at(path).result(group).status
        if status != "complete":
            found.append(f"{group} is {status}")
        elif not (looking.result_values(path, group) == expected).all():
            found.append(f"{group} has other values")
    for main in [each for each in store_at(path).mains() if each.path == ADDED]:
        same = (usidx.open(path, main.path).values == slow.source_values()).all()
        if not same:
            found.append("what was added has other values")
    name = os.path.basename(path)
    found += [f"{each} was left" for each in os.listdir(os.path.dirname(path)) if each != name]
    return found


def attack_both(folder: str, *, rounds: int) -> dict[str, dict[str, Any]]:
    """What comes of it with HDF5's own locks, and without, in so many rounds each."""
    told = {}
    for locking in ("TRUE", "FALSE"):
        environment = {**os.environ, "HDF5_USE_FILE_LOCKING": locking, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "tests.chaos.two", folder, str(rounds)]
        said = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        if said.returncode:
            raise RuntimeError(said.stderr)
        told[f"HDF5_USE_FILE_LOCKING={locking}"] = json.loads(said.stdout)
    return told


def main() -> None:
    """Attack in a process that was started with the locks set."""
    folder = tempfile.mkdtemp(dir=sys.argv[1])
    tally = attack(folder, rounds=int(sys.argv[2]))
    shutil.rmtree(folder)
    sys.stdout.write(json.dumps(vars(tally)) + "\n")


if __name__ == "__main__":
    main()
