"""Where blocks are computed: local threads, or the workers of a cluster."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Protocol

from usidx.errors import OptionError
from usidx.process.plan import Plan
from usidx.process.streaming import Stream, StreamedWork, stream_of
from usidx.process.work import Graph, Unit, Work, batches, graph_of, joined, units_of, works_of
from usidx.stores.base import BlockWriter

AnyWork = Work | StreamedWork
Report = Callable[[Unit, float], None]
"""Called with each unit that is done, and the seconds it took."""

_ONE_THREAD = ("sync", "synchronous", "single-threaded")


class UnitFailedError(Exception):
    """What a block raised is the cause; `unit` is None where several blocks needed the task."""

    def __init__(self, unit: Unit | None) -> None:
        super().__init__(unit)
        self.unit = unit


class Executor(Protocol):
    """Somewhere to compute."""

    @property
    def workers(self) -> int:
        """How many blocks are computed at once in one process."""
        ...

    def run(self, works: Iterator[tuple[Unit, AnyWork]], report: Report) -> None:
        """Do all works, with a bound on those that are under way.

        Raises
        ------
        UnitFailedError : at the first failure, after those under way have ended
        """
        ...

    def run_joined(self, graph: Graph, last: Mapping[str, Unit], report: Report) -> None:
        """Do a graph whose tasks serve several units; the keys of `last` commit them."""
        ...


def execute(
    plan: Plan, writers: Mapping[str, BlockWriter], executor: Executor, report: Report
) -> None:
    """Compute, write and mark every block that is not marked yet.

    Units that need nothing of each other are one task each, made when there is a thread for it:
    what is in memory is bounded by how many run at once. Those of a step that acts on each
    position alone are computed piece by piece. Where they have tasks in common (a mean
    over the map that is subtracted, neighbours that overlap) all are one graph for dask.

    Raises
    ------
    UnitFailedError : as `Executor.run`
    """
    feed = _Feed(plan, units_of(plan, writers), stream_of(plan))
    executor.run(iter(feed), report)
    if feed.rest:
        graph, last = joined(graph_of(plan, feed.rest), feed.rest)
        executor.run_joined(graph, last, report)


@dataclass
class _Feed:
    """The works of a plan one after the other, until units turn up that are not independent."""

    plan: Plan
    units: Iterator[Unit]
    stream: Stream | None = None
    rest: tuple[Unit, ...] = ()

    def __iter__(self) -> Iterator[tuple[Unit, AnyWork]]:
        if self.stream is not None:
            yield from ((unit, self.stream.work(unit)) for unit in self.units)
            return
        for batch in batches(self.units):
            works = works_of(graph_of(self.plan, batch), batch)
            if works is None:
                self.rest = (*batch, *self.units)
                return
            yield from zip(batch, works, strict=True)


@dataclass(frozen=True)
class Threads:
    """A pool of threads in this process; one worker is the calling thread itself."""

    workers: int

    def run(self, works: Iterator[tuple[Unit, AnyWork]], report: Report) -> None:
        """As `Executor.run`."""
        if self.workers == 1:
            for unit, work in works:
                report(unit, _attempt(unit, work))
            return
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="usidx")
        running: dict[Future[float], Unit] = {}
        try:
            while True:
                # one more than there are threads, so that none waits for its next block
                while len(running) <= self.workers and (pair := next(works, None)) is not None:
                    running[pool.submit(_attempt, *pair)] = pair[0]
                if not running:
                    return
                for done in wait(running, return_when=FIRST_COMPLETED).done:
                    report(running.pop(done), done.result())
        finally:
            # What is half done is brought to its end, so that nothing writes after the claim is
            # let go.
            pool.shutdown(wait=True, cancel_futures=True)

    def run_joined(self, graph: Graph, last: Mapping[str, Unit], report: Report) -> None:
        """As `Executor.run_joined`."""
        from dask.threaded import get

        def posttask(key: Any, result: Any, graph: Any, state: Any, thread: Any) -> None:
            if key in last:
                report(last[key], 0.0)

        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="usidx")
        try:
            get(graph, list(last), pool=pool, callbacks=[(None, None, None, posttask, None)])
        except Exception as error:
            raise UnitFailedError(None) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _attempt(unit: Unit, work: AnyWork) -> float:
    try:
        return work()
    except Exception as error:
        raise UnitFailedError(unit) from error


def find_executor(client: Any = None, workers: int | None = None) -> Executor:
    """The cluster of `client`, or of the Client in scope; local threads where there is none.

    Parameters
    ----------
    client : a `distributed.Client`; False for local threads although one is in scope
    workers : how many threads; as dask is configured when None

    Raises
    ------
    OptionError : for a client that is none, is closed or asynchronous, or workers < 1
    """
    if workers is not None and workers < 1:
        raise OptionError(f"workers={workers} must be 1 or more")
    found = client_in_scope() if client is None else client
    if found is not None and found is not False:
        from usidx.process.cluster import Cluster

        return Cluster(found)
    return Threads(workers or _default_workers())


def client_in_scope() -> Any:
    """The `distributed.Client` that is current, or was made last; None where there is none."""
    # Nobody can have made a client without importing distributed, which takes its time.
    if "distributed" not in sys.modules:
        return None
    from distributed import default_client

    try:
        client = default_client()
    except ValueError:
        return None
    return client if client.status == "running" and not client.asynchronous else None


def _default_workers() -> int:
    import dask
    from dask.system import CPU_COUNT

    if dask.config.get("scheduler", None) in _ONE_THREAD:
        return 1
    return int(dask.config.get("num_workers", None) or CPU_COUNT)
