"""Contestants side by side: each in a process of its own, watched, round after round."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import IO, Any

FOLDER = pathlib.Path(__file__).resolve().parent / "contestants"
LOOK, SEARCH = 0.02, 0.2  # seconds between looks at known processes, and for new ones
TICK = os.sysconf("SC_CLK_TCK")
OUT_OF_MEMORY = ("MemoryError", "Cannot allocate memory", "Unable to allocate", "bad_alloc")


@dataclass(frozen=True)
class Contestant:
    """Somebody who does the job.

    Parameters
    ----------
    name : in tables
    module : in the folder of contestants, and a class of it other than `Contestant` after a colon
    environment : variable that names the Python it runs with; that which runs this when empty
    works : the pieces of work that it does, or all
    """

    name: str
    module: str
    environment: str = ""
    works: tuple[str, ...] = ()
    cannot: tuple[str, ...] = ()

    @property
    def python(self) -> str:
        """Path of the interpreter; empty where it is not known."""
        return os.environ.get(self.environment, "") if self.environment else sys.executable

    def does(self, work: str) -> bool:
        """Whether it is for that piece of work."""
        return work not in self.cannot and (not self.works or work in self.works)


CLUSTERS = ("low-pass-cluster", "limited-cluster", "limited-overlap-cluster")
OVERLAPS = ("limited-overlap", "limited-overlap-cluster")
TOGETHER = ("limited-joint", "limited-overlap")  # work of which no block is done by itself
STORES = ("low-pass", "limited", "kernel", "stored-mean", *TOGETHER, *CLUSTERS)
BEYOND = (*CLUSTERS, *TOGETHER)  # not asked of those who have another way to work
PEERS = "USIDX_PEERS_PYTHON"
CONTESTANTS = (
    Contestant("floor", "floor", cannot=(*TOGETHER, "open-labelled")),
    Contestant("h5py", "floor:ByHDF5", works=("compressed-lazy-mean",)),
    Contestant("usidx", "ours"),
    Contestant("usidx, Zarr", "ours:ToZarr", works=STORES),
    Contestant("usidx, Zarr lz4", "ours:ToZarrPacked", works=STORES),
    Contestant("xarray", "xarray_dask", cannot=(*CLUSTERS, *OVERLAPS)),
    Contestant("xarray, Zarr", "xarray_dask:ToZarr", works=STORES, cannot=OVERLAPS),
    Contestant("HyperSpy", "hyperspy_lazy", PEERS, cannot=BEYOND),
    Contestant("LiberTEM", "libertem_udf", PEERS, cannot=(*BEYOND, "open-labelled")),
    Contestant("sidpy", "sidpy_reader", PEERS, cannot=BEYOND),
    Contestant("pyUSID", "pyusid", "USIDX_PYUSID_PYTHON", cannot=BEYOND),
)


@dataclass
class Watch:
    """The memory of a process and all below it, sampled from outside, and their CPU time.

    Resident memory counts pages of files that are mapped, private memory does not.
    """

    root: int
    resident: int = 0
    private: int = 0
    before: int = 0
    cpu: float = 0.0
    _ended: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Look from now on."""
        self.before = self._look(_tree(self.root))[0]
        self.cpu = -_cpu_below(self.root)
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        if self._thread is None or self._ended.is_set():
            return
        self.cpu += _cpu_below(self.root)
        self._look(_tree(self.root))
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        known, searched = _tree(self.root), time.monotonic()
        while not self._ended.wait(LOOK):
            if time.monotonic() - searched > SEARCH:
                known, searched = _tree(self.root), time.monotonic()
            self._look(known)

    def _look(self, pids: Iterable[int]) -> tuple[int, int]:
        resident = private = 0
        for pid in pids:
            with contextlib.suppress(OSError):
                for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
                    if line.startswith("VmRSS"):
                        resident += 1024 * int(line.split()[1])
                    elif line.startswith("RssAnon"):
                        private += 1024 * int(line.split()[1])
                        break
        self.resident = max(self.resident, resident)
        self.private = max(self.private, private)
        return resident, private


def _parents() -> dict[int, tuple[int, list[str]]]:
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                rest = pathlib.Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
                found[int(name)] = (int(rest[1]), rest)
    return found


def _tree(root: int) -> list[int]:
    """A process and all below it."""
    parents = _parents()
    tree = [root]
    for pid in tree:
        tree.extend(child for child, (parent, _) in parents.items() if parent == pid)
    return tree


def _cpu_below(root: int) -> float:
    """Seconds of all processes below one; its own are left out, it knows them better."""
    parents, total = _parents(), 0
    for pid in _tree(root):
        rest = parents.get(pid, (0, ["0"] * 15))[1]
        own = 0 if pid == root else int(rest[11]) + int(rest[12])
        total += own + int(rest[13]) + int(rest[14])
    return total / TICK


def race(
    contestant: Contestant,
    work: str,
    path: pathlib.Path,
    threads: int,
    *,
    memory: int = 0,
    patience: float = 300.0,
) -> dict[str, Any]:
    """What one contestant reports of one piece of work, or why there is nothing: "failed"."""
    command = [contestant.python, str(FOLDER / "run.py"), contestant.module, work, str(path)]
    command += ["--threads", str(threads), "--memory", str(memory)]
    alone = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with open(f"{path}.told", "w+b") as told:
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=told,
            env={**os.environ, **alone},
            start_new_session=True,
        )
        watch = Watch(child.pid)
        gave_up = threading.Timer(patience, _end, [child.pid])
        gave_up.start()
        assert child.stdout is not None
        assert child.stdin is not None
        report = _listen(child.stdout, child.stdin, watch)
        child.wait()
        late = not gave_up.is_alive()
        gave_up.cancel()
        watch.stop()
        _end(child.pid)  # whatever it has left behind
        told.seek(0)
        words = told.read().decode(errors="replace")
    for left in path.parent.glob(f"{path.name}.*"):
        if left.suffix not in (".warm",) and not report:
            _remove(left)
    if not report:
        return {"failed": f"over {patience:.0f} s" if late else _reason(child.returncode, words)}
    own = (
        {"cpu": report["cpu"] + watch.cpu}
        if not work.startswith(("open", "map", "spectrum"))
        else {}
    )
    mib = {
        "peak_mib": watch.resident / 2**20,
        "private_mib": watch.private / 2**20,
        "before_mib": watch.before / 2**20,
    }
    return {**report, **own, **mib}


def _listen(out: IO[bytes], into: IO[bytes], watch: Watch) -> dict[str, Any]:
    report: dict[str, Any] = {}
    for line in out:
        if line.strip() == b"BEGIN":
            watch.start()
            into.write(b"go\n")
            into.flush()
        elif line.strip() == b"END":
            watch.stop()
            into.write(b"go on\n")  # it looks at its answer, and all of the source for that
            into.flush()
        elif line.startswith(b"{"):
            report = json.loads(line)
    return report


def _end(session: int) -> None:
    """End a process that was started here, and those that it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(session, signal.SIGKILL)


def _remove(path: pathlib.Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _reason(code: int, words: str) -> str:
    if any(each in words for each in OUT_OF_MEMORY):
        return "out of memory"
    if code < 0:
        return f"died of {signal.Signals(-code).name}"
    lines = [line for line in words.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"[\w.]+(Error|Exception|Killed\w+)\b", line)]
    return (errors or lines or [f"ended with {code}"])[-1][:200]


Rounds = dict[str, list[dict[str, Any]]]


def ratio(rounds: Rounds, name: str, what: str) -> float | None:
    """The median over the rounds of what `name` took, in multiples of the floor's same round."""
    floor, own = rounds.get("floor", []), rounds.get(name, [])
    pairs = [
        (each[what], base[what])
        for each, base in zip(own, floor, strict=False)
        if "failed" not in each and "failed" not in base and each.get(what) and base.get(what)
    ]
    return statistics.median(each / base for each, base in pairs) if pairs else None


def trouble(each: Iterable[Mapping[str, Any]]) -> str:
    """Why the figures of a contestant do not count; nothing where they do."""
    for report in each:
        if "failed" in report:
            return str(report["failed"])
        if report["wrong"]:
            return f"wrong: {report['wrong']}"
    return ""
