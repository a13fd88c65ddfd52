"""Processes on this machine as a place to compute, for functions that keep Python to themselves."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

from usidx.errors import StepError
from usidx.process.running.parcel import Ended, Packer, Parcel
from usidx.process.running.runner import AnyWork, Report, Threads, UnitFailedError
from usidx.process.running.work import Graph, Unit
from usidx.process.running.worker import receive, send

_START = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from usidx.process.running.worker import main; main()"
)
_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
)


class _WorkerDiedError(Exception):
    """A process ended before it answered."""


@dataclass(frozen=True)
class Processes:
    """Processes of this machine with one thread each; they end with this one.

    They are programs of their own rather than `multiprocessing`'s, which would run a script that
    has no `if __name__ == "__main__":` once more in each of them.

    Parameters
    ----------
    workers : how many
    """

    workers: int

    def run(self, works: Iterator[tuple[Unit, AnyWork]], report: Report) -> None:
        """As `Executor.run`."""
        packer = Packer()
        team = _Team(self.workers)
        threads = ThreadPoolExecutor(self.workers, thread_name_prefix="usidx")
        running: dict[Future[Ended], Unit] = {}
        try:
            while True:
                while len(running) <= self.workers and (pair := next(works, None)) is not None:
                    unit, work = pair
                    parcel = packer.pack([work])
                    running[threads.submit(team.perform, parcel, packer.shared)] = unit
                if not running:
                    return
                for done in wait(running, return_when=FIRST_COMPLETED).done:
                    _take(done, running.pop(done), report)
        except UnitFailedError:
            threads.shutdown(wait=True, cancel_futures=True)  # what is under way ends
            raise
        except BaseException:
            team.kill()
            raise
        finally:
            threads.shutdown(wait=True, cancel_futures=True)
            team.end()

    def compute(self, graph: Graph, keys: Sequence[Any]) -> list[Any]:
        """As `Executor.compute`, in threads."""
        return Threads(self.workers).compute(graph, keys)

    def run_joined(self, graph: Graph, last: Mapping[str, Unit], report: Report) -> None:
        """As `Executor.run_joined`, in threads: what tasks have in common is in one memory."""
        Threads(self.workers).run_joined(graph, last, report)


def _take(done: Future[Ended], unit: Unit, report: Report) -> None:
    try:
        ended = done.result()
    except _WorkerDiedError as error:
        raise UnitFailedError(unit) from StepError(str(error))
    if ended.error is not None:
        raise UnitFailedError(unit) from ended.error
    report(unit, ended.seconds[0])


@dataclass(eq=False)
class _Team:
    """The processes: those that wait for work, and all there are."""

    size: int
    idle: queue.SimpleQueue[_Worker] = field(default_factory=queue.SimpleQueue)
    all: list[_Worker] = field(default_factory=list)

    def __post_init__(self) -> None:
        try:
            for _ in range(self.size):
                self.all.append(_Worker())
        except BaseException:
            self.end()
            raise
        for each in self.all:
            self.idle.put(each)

    def perform(self, parcel: Parcel, shared: Mapping[str, bytes]) -> Ended:
        """What became of a parcel; waits for a process that has nothing to do."""
        worker = self.idle.get()
        try:
            return worker.perform(parcel, shared)
        finally:
            self.idle.put(worker)

    def kill(self) -> None:
        """End all processes, even within blocks."""
        for each in self.all:
            each.kill()

    def end(self) -> None:
        """End all processes, which have nothing to do."""
        for each in self.all:
            each.end()


class _Worker:
    """One process."""

    def __init__(self) -> None:
        # It imports what this process would. In a session of its own Ctrl-C does not reach it.
        path = json.dumps([each for each in sys.path if isinstance(each, str)])
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **_ONE_THREAD},
            start_new_session=True,
        )
        self._known: set[str] = set()

    def perform(self, parcel: Parcel, shared: Mapping[str, bytes]) -> Ended:
        """What became of a parcel.

        Raises
        ------
        _WorkerDiedError : where the process died of it
        """
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        new = {name: shared[name] for name in parcel.shared if name not in self._known}
        try:
            send(process.stdin, (parcel, new))
            ended: Ended = receive(process.stdout)
        except (EOFError, OSError) as error:
            raise _WorkerDiedError(self._death()) from error
        self._known.update(new)
        return ended

    def _death(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5)
        status = self._process.returncode
        if status is None or status >= 0:
            return f"the process that computed it ended (exit status {status})"
        told = f"the process that computed it died ({signal.Signals(-status).name})"
        if -status != signal.SIGKILL:
            return told
        return f"{told}; where memory ran out, give run(memory=...) or fewer workers"

    def kill(self) -> None:
        """End the process, even within a block, which is as safe as any crash."""
        self._process.kill()

    def end(self) -> None:
        """End the process when it has nothing to do."""
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):  # it may be dead already
                if pipe is not None:
                    pipe.close()
        self._process.wait()
