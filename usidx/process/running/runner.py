"""Where blocks are computed: local threads, or the workers of a cluster."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Any, Protocol

from usidx.errors import OptionError
from usidx.process.planning.plan import Plan
from usidx.process.running.common import Common, common_of
from usidx.process.running.failures import Ended
from usidx.process.running.heap import keep_memory
from usidx.process.running.helping import Doing, help_with
from usidx.process.running.mending import Mending, UnitFailedError, guarded
from usidx.process.running.rereading import read_anew
from usidx.process.running.search import Locate, Search, Tried
from usidx.process.running.streaming import Stream, StreamedWork, stream_of
from usidx.process.running.work import (
    MANY_TASKS,
    Graph,
    Unit,
    Work,
    batches,
    graph_of,
    joined,
    units_of,
    works_in,
)
from usidx.stores.base import BlockWriter

AnyWork = Work | StreamedWork | Search | Locate | Tried
Report = Callable[[Unit, Ended], None]
"""Called with each unit whose work ended without raising, and what the work returned."""

__all__ = ["AnyWork", "Executor", "Report", "Threads", "UnitFailedError", "execute"]

_ONE_THREAD = ("sync", "synchronous", "single-threaded")


class Executor(Protocol):
    """Somewhere to compute."""

    @property
    def workers(self) -> int:
        """How many blocks are computed at once in one process."""
        ...

    def run(self, works: Iterator[tuple[Unit, AnyWork]], report: Report) -> None:
        """Do all works, with a bound on those that are under way.

        `works` may go on after it has ended, with what a report gave rise to: the run is over when
        it is at its end and nothing is under way.

        Raises
        ------
        UnitFailedError : at the first failure, after those under way have ended
        """
        ...

    def compute(self, graph: Graph, keys: Sequence[Any]) -> list[Any]:
        """The values of some keys of a graph.

        Raises
        ------
        UnitFailedError : for what a task raised
        """
        ...

    def run_joined(self, graph: Graph, last: Mapping[str, Unit], report: Report) -> None:
        """Do a graph whose tasks serve several units; the keys of `last` commit them."""
        ...


def execute(
    plan: Plan,
    writers: Mapping[str, BlockWriter],
    executor: Executor,
    report: Callable[[Unit, float], None],
    mending: Mending | None = None,
) -> None:
    """Compute, write and mark every block that is not marked yet.

    Units that need nothing of each other are one task each, made when there is a thread for it:
    what is in memory is bounded by how many run at once. Those of a step that acts on each
    position alone are computed piece by piece. Where all need a summary of the source (a mean over
    the map that is subtracted) that is computed first. Where they have other tasks in common, and
    more than neighbours have, all are one graph for dask, in which what waits for all others reads
    its part anew, rather than everything being kept. So are a few units of many tasks (a mean over
    the map), so that all threads have a part in them.

    Parameters
    ----------
    report : called with each unit that is done, and the seconds it took; `mending` calls its own
    mending : takes care of what raises; None where that ends the run

    Raises
    ------
    UnitFailedError : as `Executor.run`
    """
    keep_memory()
    stream = stream_of(plan)

    def take(unit: Unit, ended: Ended) -> None:
        if mending is None:
            report(unit, float(ended))
        else:
            mending.take(unit, ended)

    if mending is not None:
        mending.streamed = stream is not None
    threads = int(getattr(executor, "threads", executor.workers))
    feed = _Feed(plan, units_of(plan, writers), stream, mending, threads)
    executor.run(feed, take)
    common = common_of(plan, feed.rest, executor)
    if common is not None:
        feed.follow(common)
        executor.run(feed, take)
    elif feed.rest:
        graph, last = joined(read_anew(graph_of(plan, feed.rest)), feed.rest)
        executor.run_joined(guarded(graph) if mending and mending.marks else graph, last, take)
        executor.run(feed, take)  # what failed of these, position by position


@dataclass
class _Feed:
    """The works of a plan one after the other, until units turn up that are not independent.

    What is to be mended comes as soon as it is known, also after the end.
    """

    plan: Plan
    units: Iterator[Unit]
    stream: Stream | None = None
    mending: Mending | None = None
    threads: int = 1
    rest: tuple[Unit, ...] = ()

    def __post_init__(self) -> None:
        self._works = self._made()

    def __iter__(self) -> Iterator[tuple[Unit, AnyWork]]:
        return self

    def __next__(self) -> tuple[Unit, AnyWork]:
        if self.mending is not None and self.mending.again:
            return self.mending.again.popleft()
        return next(self._works)

    def follow(self, common: Common) -> None:
        """Go on with the rest, all of which need what was computed before."""
        self._works = ((unit, self._minded(unit, work)) for unit, work in common.works(self.rest))

    def _made(self) -> Iterator[tuple[Unit, AnyWork]]:
        if self.stream is not None:
            for unit in self.units:
                yield unit, self._minded(unit, self.stream.work(unit))
            return
        for batch in batches(self.units):
            works = works_in(self.plan, batch)
            if works is None or self._are_spread(works):
                self.rest = (*batch, *self.units)
                return
            for unit, work in zip(batch, works, strict=True):
                yield unit, self._minded(unit, work)

    def _are_spread(self, works: Sequence[Work]) -> bool:
        """Whether there are fewer works than threads, of which each could do a part of one."""
        return len(works) < self.threads and any(len(each.graph) > MANY_TASKS for each in works)

    def _minded(self, unit: Unit, work: Work | StreamedWork) -> AnyWork:
        return work if self.mending is None else self.mending.mind(unit, work)


@dataclass(frozen=True)
class Threads:
    """A pool of threads in this process; one worker is the calling thread itself."""

    workers: int

    def run(self, works: Iterator[tuple[Unit, AnyWork]], report: Report) -> None:
        """As `Executor.run`."""
        if self.workers == 1:
            while (pair := next(works, None)) is not None:
                report(pair[0], _attempt(*pair))
            return
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="usidx")
        running: dict[Future[Ended], tuple[Unit, Doing | None]] = {}
        helpers: set[Future[None]] = set()
        try:
            while True:
                # one more than there are threads, so that none waits for its next block
                while len(running) <= self.workers and (pair := next(works, None)) is not None:
                    work, doing = _shared(pair[1])
                    running[pool.submit(_attempt, pair[0], work)] = pair[0], doing
                if not running:
                    return
                under_way = [doing for _, doing in running.values() if doing is not None]
                helpers = {each for each in helpers if not each.done()}
                idle = self.workers - len(running) - len(helpers) if under_way else 0
                for number in range(idle):
                    first = number % len(under_way)
                    helpers.add(pool.submit(help_with, under_way[first:] + under_way[:first]))
                for done in wait(running, return_when=FIRST_COMPLETED).done:
                    report(running.pop(done)[0], done.result())
        finally:
            for _, doing in running.values():
                if doing is not None:
                    doing.call_off()
            # What is half done is brought to its end, so that nothing writes after the claim is
            # let go.
            pool.shutdown(wait=True, cancel_futures=True)

    def compute(self, graph: Graph, keys: Sequence[Any]) -> list[Any]:
        """As `Executor.compute`."""
        from dask.threaded import get

        with ThreadPoolExecutor(self.workers, thread_name_prefix="usidx") as pool:
            try:
                return list(get(graph, list(keys), pool=pool, callbacks=()))
            except Exception as error:
                raise UnitFailedError(None) from error

    def run_joined(self, graph: Graph, last: Mapping[str, Unit], report: Report) -> None:
        """As `Executor.run_joined`."""
        from dask.threaded import get

        def posttask(key: Any, result: Any, graph: Any, state: Any, thread: Any) -> None:
            if key in last:
                report(last[key], result or 0.0)

        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="usidx")
        try:
            get(graph, list(last), pool=pool, callbacks=[(None, None, None, posttask, None)])
        except Exception as error:
            raise UnitFailedError(None) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _shared(work: AnyWork) -> tuple[AnyWork | Doing, Doing | None]:
    """(what is called, what other threads may take part in): of a block in pieces."""
    if isinstance(work, StreamedWork):
        doing = work.shared()
        return doing, doing
    if isinstance(work, Tried) and isinstance(work.work, StreamedWork):
        doing = work.work.shared()
        return replace(work, work=doing), doing
    return work, None


def _attempt(unit: Unit, work: AnyWork | Doing) -> Ended:
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
        from usidx.process.running.cluster import Cluster

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
