"""Where a plan is computed: threads or processes of this machine, or a cluster."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from usidx.errors import OptionError
from usidx.process.planning.plan import Plan
from usidx.process.running.estimate import estimate_of, in_bytes
from usidx.process.running.pace import Pace, pace_of, recut
from usidx.process.running.processes import Processes
from usidx.process.running.runner import Executor, client_in_scope, find_executor
from usidx.process.running.work import Unit, Work, works_in

log = logging.getLogger("usidx")

# Seconds until processes have imported what they need, several at once on few processors.
START_UP = 1.0
# Bytes that a process may get besides the positions that it computes.
_MOST_SENT = 2**27
_OF_DASK = {"processes": True, "multiprocessing": True, "threads": False, "threading": False}


@dataclass(frozen=True)
class Choice:
    """Somewhere to compute a plan, and why there.

    Parameters
    ----------
    executor : that computes it
    note : what people are told about it; "" where there is nothing to say
    pace : of the plan's function of single spectra, if it has one
    """

    executor: Executor
    note: str = ""
    pace: Pace | None = None

    @property
    def threads(self) -> int:
        """How many blocks are computed at once, in all processes."""
        return int(getattr(self.executor, "threads", self.executor.workers))

    def expects(self, plan: Plan) -> None:
        """Keep how many bytes a block of the plan takes, to be told where workers die of it."""
        if hasattr(self.executor, "need"):
            self.executor.need = estimate_of(plan, self.executor.workers, None).block_memory


@contextlib.contextmanager
def chosen(
    plan: Plan,
    replan: Any,
    client: Any = None,
    workers: int | None = None,
    processes: bool | None = None,
    *,
    paths: tuple[str, ...] = (),
    left: float = 1.0,
) -> Iterator[Choice]:
    """Somewhere to compute a plan; what was made for it is closed with the context.

    Parameters
    ----------
    replan : makes the plan again, in other blocks
    client : `distributed.Client`, address of a scheduler, or a cluster; the client in scope when
        None, this machine where there is none or for False
    workers : how many threads or processes of this machine
    processes : whether processes of this machine; when None, where the plan's function of single
        spectra is plain Python, and that is faster
    paths : files and folders that workers must see
    left : share of the positions that is to be computed

    Raises
    ------
    OptionError : for values that are none of these, and processes=True where they cannot be used
    ClusterError : where the scheduler, or its workers, cannot be reached
    """
    if client is None and processes is None:
        client = client_in_scope()
    if client is not None and client is not False:
        if processes:
            raise OptionError("processes=True is for this machine; leave out processes or client")
        from usidx.process.running.cluster import Cluster
        from usidx.process.running.connect import connected

        with connected(client) as given:
            cluster = Cluster(given, paths)
            cluster.wait_for_workers()
            yield Choice(cluster, f"runs on {cluster.address}", pace_of(plan, float("inf")))
        return
    threads = find_executor(False, workers)
    yield _local(plan, replan, threads, _asked(processes), left)


def _asked(processes: bool | None) -> bool | None:
    """What people want, here or in dask's configuration."""
    import dask

    if processes is not None:
        return processes
    return _OF_DASK.get(str(dask.config.get("scheduler", None)))


def _local(
    plan: Plan, replan: Any, threads: Executor, processes: bool | None, left: float
) -> Choice:
    """Threads or processes of this machine."""
    workers = threads.workers
    if processes:
        # Not timed: people may want processes since the function brings its process down.
        pace = Pace(plan.tool, 0.0, True)
        reason = _against_processes(recut(plan, replan, pace, workers, workers))
        if reason:
            raise OptionError(f"processes=True: {plan.tool!r} cannot run in processes: {reason}")
        return Choice(Processes(workers), f"runs in {_counted(workers)}", pace)
    gained = left * (1 - 1 / workers)
    found = pace_of(plan, 2 * START_UP / gained if gained else float("inf"))
    if processes is False or found is None or not found.alone:
        return Choice(threads, pace=found)
    reason = _against_processes(recut(plan, replan, found, workers, workers))
    if reason:
        note = f"runs in one thread at a time, as {found.function!r} is plain Python: {reason}"
        log.warning("%s %s", plan.tool, note)
        return Choice(threads, note, found)
    note = f"runs in {_counted(workers)}: the function {found.function!r} is plain Python"
    log.info("%s %s", plan.tool, note)
    return Choice(Processes(workers), note, found)


def _counted(workers: int) -> str:
    return f"{workers} processes" if workers > 1 else "a process of its own"


def _against_processes(plan: Plan) -> str:
    """Why a plan cannot run in processes; "" where it can."""
    import cloudpickle

    units: list[Unit] = []
    for output in plan.outputs:
        for number, block in enumerate(output.blocks()):
            if number == 2:
                break
            units.append(Unit(len(units), {}, (), (output.key(block),)))
    works: tuple[Work, ...] | None = works_in(plan, units[:2])
    if works is None:
        return "its blocks have work in common"
    try:
        size = len(cloudpickle.dumps(works))
    except Exception as error:
        return f"what it does cannot be sent to a process ({type(error).__name__}: {error})"
    if size > _MOST_SENT:
        return f"each process would get {in_bytes(size)} that it refers to"
    return ""
