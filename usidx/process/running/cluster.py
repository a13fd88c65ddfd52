"""The workers of a dask cluster as a place to compute."""

from __future__ import annotations

import contextlib
import itertools
import logging
import queue
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from usidx.errors import ClusterError, OptionError, StepError
from usidx.process.running.estimate import in_bytes
from usidx.process.running.parcel import (
    Ended,
    Packer,
    WorkerError,
    get_ready,
    is_under_way,
    perform,
)
from usidx.process.running.runner import AnyWork, Report, UnitFailedError
from usidx.process.running.work import Graph, Unit

log = logging.getLogger("usidx")

# Tasks under way for each thread: one that runs, and one that waits for it to end.
_PER_THREAD = 2
# Small blocks go together, so that a task takes about so many seconds: each costs milliseconds.
_TASK_SECONDS, _MOST_TOGETHER = 0.2, 32
# Seconds between looks at a cluster from which nothing comes.
_LOOK_EVERY = 1.0
# Seconds that blocks which run when a run is stopped have to come to their end.
_TO_END = 30.0
# Workers that are told to get ready; of many more, each has its share of the work to do it in.
_MOST_AT_ONCE = 64
PATIENCE = "usidx.workers-timeout"


def patience() -> float:
    """Seconds to wait for a scheduler and for workers, as dask is configured; 60 if it is not."""
    import dask
    from dask.utils import parse_timedelta

    return float(parse_timedelta(dask.config.get(PATIENCE, "60 s")))


@dataclass(eq=False)
class Cluster:
    """A `distributed.Client`'s workers. They need usidx and the path of the store, no more.

    Parameters
    ----------
    client : that is open and blocking
    paths : files and folders that workers must see
    need : bytes that a block takes, where that is known
    """

    client: Any
    paths: tuple[str, ...] = ()
    need: int | None = None
    _threads: tuple[float, int] = field(default=(float("-inf"), 0), repr=False)
    _alone_since: float | None = field(default=None, repr=False)
    _limit: int | None = field(default=None, repr=False)
    _ready: list[Any] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        from distributed import Client

        if not isinstance(self.client, Client):
            raise OptionError(
                f"client={self.client!r} is no distributed.Client; write client=Client(...), the "
                "address of a scheduler, or client=False for local threads"
            )
        if self.client.asynchronous or self.client.status != "running":
            raise OptionError(
                f"the client is {'asynchronous' if self.client.asynchronous else 'closed'}; give "
                "an open, blocking distributed.Client"
            )

    @property
    def workers(self) -> int:
        """Threads of one worker, the largest: how many blocks share the memory of a process."""
        return max(self.client.nthreads().values(), default=1)

    @property
    def threads(self) -> int:
        """Of all workers that are there, as it was known a moment ago.

        Raises
        ------
        ClusterError : where the scheduler went away
        """
        when, count = self._threads
        if time.monotonic() - when > _LOOK_EVERY:
            try:
                count = int(sum(self.client.nthreads().values()))
            except (OSError, TimeoutError) as error:
                raise self.lost() from error
            self._threads = (time.monotonic(), count)
        return count

    @property
    def memory(self) -> int | None:
        """Bytes that one worker may take, the smallest; None where there is no limit."""
        known = self.client.scheduler_info(n_workers=-1)["workers"].values()
        limits = [each["memory_limit"] for each in known if each.get("memory_limit")]
        # also to be told when they died of it
        self._limit = min(limits, default=self._limit)
        return self._limit

    @property
    def address(self) -> str:
        """Of the scheduler."""
        return str(self.client.scheduler.address if self.client.scheduler else self.client)

    def wait_for_workers(self) -> None:
        """Wait until there is one that answers.

        Raises
        ------
        ClusterError : where none came in the time that is set as `usidx.workers-timeout` in
            dask's configuration
        """
        seconds = patience()
        # A cluster that grows with its work has no workers before there is any.
        hello = self.client.submit(int, pure=False)
        try:
            hello.result(timeout=seconds)
        except TimeoutError as error:
            raise ClusterError(self._nobody(seconds)) from error
        finally:
            hello.release()
        # They import what they need while the plan is made here.
        self._ready = [
            self.client.submit(get_ready, self.paths, workers=[address], pure=False)
            for address in list(self.client.nthreads())[:_MOST_AT_ONCE]
        ]

    def _nobody(self, seconds: float) -> str:
        return (
            f"no worker was there for {seconds:g} s at the scheduler {self.address}; start some "
            f"(dask worker {self.address}), look why jobs wait (squeue), or wait longer: "
            f"dask.config.set({{{PATIENCE!r}: '10 min'}})"
        )

    def run(self, works: Iterator[tuple[Unit, AnyWork]], report: Report) -> None:
        """As `Executor.run`.

        Raises
        ------
        ClusterError : where the scheduler goes away, or all workers do and none comes back
        """
        with self.client.as_current():
            _Run(self, Packer(self.paths)).run(works, report)

    def compute(self, graph: Graph, keys: Sequence[Any]) -> list[Any]:
        """As `Executor.compute`."""
        try:
            return list(self.client.get(graph, list(keys)))
        except Exception as error:
            raise UnitFailedError(None) from error

    def run_joined(self, graph: Graph, last: Mapping[str, Unit], report: Report) -> None:
        """As `Executor.run_joined`."""
        futures = self.client.get(graph, list(last), sync=False)
        ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        running = {future.key: future for future in futures}
        try:
            for future in futures:
                future.add_done_callback(ended.put)
            while running:
                future = self.next_of(ended)
                del running[future.key]
                value = self.value_of(future, last[future.key])
                report(last[future.key], value or 0.0)
        except BaseException:
            with contextlib.suppress(Exception):  # what is wrong is said by what is under way
                self.client.cancel(list(running.values()))
            raise

    def next_of(self, ended: queue.SimpleQueue[Any]) -> Any:
        """The next future that has ended.

        Raises
        ------
        ClusterError : where none can end any more
        """
        while True:
            try:
                return ended.get(timeout=_LOOK_EVERY)
            except queue.Empty:
                self._look()

    def _look(self) -> None:
        if self.client.status != "running":
            raise self.lost()
        if self.threads:
            self._alone_since = None
            return
        self._alone_since = self._alone_since or time.monotonic()
        seconds = patience()
        if time.monotonic() - self._alone_since > seconds:
            raise ClusterError(self._nobody(seconds))

    def lost(self) -> ClusterError:
        """The error that says that the scheduler is gone."""
        return ClusterError(
            f"the scheduler {self.address} went away, or somebody cancelled what ran there; start "
            "a cluster anew, and go on there"
        )

    def value_of(self, future: Any, unit: Unit) -> Any:
        """What a task returned.

        Raises
        ------
        UnitFailedError : for what it raised
        ClusterError : where it was lost together with the scheduler
        """
        from concurrent.futures import CancelledError

        from distributed import KilledWorker

        try:
            return future.result()
        except KilledWorker as error:
            raise UnitFailedError(unit) from self._killed(error, unit)
        except (CancelledError, OSError) as error:
            if isinstance(error, OSError) and self.client.status == "running":
                raise UnitFailedError(unit) from error
            raise self.lost() from error
        except ModuleNotFoundError as error:
            if "usidx" not in str(error):
                raise UnitFailedError(unit) from error
            raise ClusterError(
                f"a worker of {self.address} cannot import usidx ({error}); install the same "
                "version there"
            ) from error
        except Exception as error:
            raise UnitFailedError(unit) from error

    def _killed(self, error: Exception, unit: Unit) -> StepError:
        limit = self.memory
        room = f" of {limit / 1e9:.2g} GB" if limit else ""
        most = "most often they were"
        with contextlib.suppress(Exception):  # only a better word is lost
            if self.client.get_events("worker-restart-memory"):
                most = "they were"
        need = f" (a block takes about {in_bytes(self.need)})" if self.need else ""
        told = StepError(
            f"workers died, several one after the other, while they computed {unit}{need}; {most} "
            f"over their memory limit{room}: give run(memory=...) for smaller blocks, "
            "or the workers more memory"
        )
        told.__cause__ = error
        return told


@dataclass(eq=False)
class _Run:
    """Tasks under way on a cluster, bounded by its threads."""

    cluster: Cluster
    packer: Packer
    running: dict[Any, tuple[Unit, ...]] = field(default_factory=dict)
    ended: queue.SimpleQueue[Any] = field(default_factory=queue.SimpleQueue)
    together: int = 1
    _shared: dict[str, Any] = field(default_factory=dict)
    _count: Iterator[int] = field(default_factory=itertools.count)

    def run(self, works: Iterator[tuple[Unit, AnyWork]], report: Report) -> None:
        try:
            while True:
                while len(self.running) < self.most and self._submit(works):
                    pass
                if not self.running:
                    return
                future = self.cluster.next_of(self.ended)
                self._take(future, self.running.pop(future), report)
        except UnitFailedError:
            self._let_end()
            raise
        except ClusterError:
            raise
        except BaseException:
            self._stop()
            raise

    @property
    def most(self) -> int:
        """Tasks that may be under way; some also while no worker is there."""
        return _PER_THREAD * max(1, self.cluster.threads)

    def _submit(self, works: Iterator[tuple[Unit, AnyWork]]) -> bool:
        pairs = tuple(itertools.islice(works, self.together))
        if not pairs:
            return False
        units = tuple(unit for unit, _ in pairs)
        client = self.cluster.client
        parcel = self.packer.pack(work for _, work in pairs)
        for name in parcel.shared:
            if name not in self._shared:
                # As a task rather than scattered: what a dying worker had is made again.
                content = self.packer.shared[name]
                self._shared[name] = client.submit(bytes, content, key=name, pure=False)
        shared = [self._shared[name] for name in parcel.shared]
        # No name twice: a task that somebody holds would answer for the new one. A unit may come
        # again, position by position.
        key = f"usidx-block-{self.packer.run}-{units[0].number}-{next(self._count)}"
        future = client.submit(perform, parcel, *shared, key=key, pure=False)
        self.running[future] = units
        future.add_done_callback(self.ended.put)
        return True

    def _take(self, future: Any, units: tuple[Unit, ...], report: Report) -> None:
        """Report the units that a task did; raise what it says went wrong."""
        ended: Ended = self.cluster.value_of(future, units[0])
        for unit, seconds in zip(units, ended.seconds, strict=False):
            report(unit, seconds)
        if isinstance(ended.error, WorkerError):
            raise ClusterError(
                f"the worker on {ended.host!r} cannot compute: {ended.error}"
            ) from ended.error
        if ended.error is not None:
            raise UnitFailedError(units[len(ended.seconds)]) from ended.error
        mean = sum(map(float, ended.seconds)) / len(units)
        fits = int(_TASK_SECONDS / max(mean, 1e-6))
        self.together = max(1, min(fits, 2 * self.together, _MOST_TOGETHER))

    def _let_end(self) -> None:
        """Let what is under way end, so that nothing writes after the claim is let go."""
        with contextlib.suppress(ClusterError):
            while self.running:
                self.running.pop(self.cluster.next_of(self.ended), None)

    def _stop(self) -> None:
        """Call off what has not begun, and wait a while for what has."""
        client = self.cluster.client
        with contextlib.suppress(Exception):  # what made us stop is what people should see
            client.cancel(list(self.running))
            left = client.run(_wait_for_end, self.packer.run, _TO_END, on_error="ignore")
            if any(left.values()):
                log.warning("some blocks still run on the cluster; they will not be counted")


async def _wait_for_end(run: str, seconds: float) -> bool:
    """Whether a worker still works on a run after so many seconds."""
    import asyncio

    deadline = time.monotonic() + seconds
    while is_under_way(run) and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    return is_under_way(run)
