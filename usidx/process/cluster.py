"""The workers of a dask cluster as a place to compute."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from usidx.errors import OptionError, StepError
from usidx.process.runner import AnyWork, Report, UnitFailedError
from usidx.process.streaming import StreamedWork
from usidx.process.work import Graph, Unit, Work, is_data

# Blocks under way for each thread: one that runs, and one that waits for it to end.
_PER_THREAD = 2
# An array that every block reads through is sent to the workers once, from this size on.
_HEAVY = 64 * 1024


@dataclass(eq=False)
class Cluster:
    """A `distributed.Client`'s workers. They need usidx and the path of the store, no more."""

    client: Any
    _sent: dict[Any, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        from distributed import Client

        if not isinstance(self.client, Client):
            raise OptionError(
                f"client={self.client!r} is no distributed.Client; write client=Client(...), or "
                "client=False for local threads"
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
    def memory(self) -> int | None:
        """Bytes that one worker may take, the smallest; None where there is no limit."""
        known = self.client.scheduler_info(n_workers=-1)["workers"].values()
        limits = [each["memory_limit"] for each in known if each.get("memory_limit")]
        return min(limits, default=None)

    def run(self, works: Iterator[tuple[Unit, AnyWork]], report: Report) -> None:
        """As `Executor.run`."""
        with self.client.as_current():
            self._run(works, report)

    def _run(self, works: Iterator[tuple[Unit, AnyWork]], report: Report) -> None:
        from distributed import as_completed

        # No name twice: a failed task that somebody holds would answer for the new one.
        name = f"usidx-{uuid.uuid4().hex[:12]}"
        running: dict[Any, Unit] = {}
        completed = as_completed()
        try:
            while True:
                while len(running) < self._most() and (pair := next(works, None)) is not None:
                    unit, work = pair
                    light, shared = self._lightened(work)
                    future = self.client.submit(
                        light, shared, key=f"{name}-{unit.number}", pure=False
                    )
                    running[future] = unit
                    completed.add(future)
                if not running:
                    return
                future = next(completed)
                unit = running.pop(future)
                report(unit, self._outcome(future, unit))
        except UnitFailedError:
            self._wait(list(running))
            raise
        except BaseException:
            self.client.cancel(list(running))
            raise

    def run_joined(self, graph: Graph, last: Mapping[str, Unit], report: Report) -> None:
        """As `Executor.run_joined`."""
        from distributed import as_completed

        futures = self.client.get(graph, list(last), sync=False)
        units = {future.key: last[future.key] for future in futures}
        try:
            for future in as_completed(futures, loop=self.client.loop):
                self._outcome(future, units[future.key])
                report(units[future.key], 0.0)
        except BaseException:
            self.client.cancel(futures)
            raise

    def _most(self) -> int:
        return _PER_THREAD * max(1, int(sum(self.client.nthreads().values())))

    def _lightened(self, work: AnyWork) -> tuple[AnyWork, dict[Any, Any]]:
        """(the work without what all works have in common, that as futures)."""
        if isinstance(work, StreamedWork):
            key = id(work.stream)
            if key not in self._sent:
                self._sent[key] = self.client.scatter([work.stream], hash=False)[0]
            return work.without_stream(), {"stream": self._sent[key]}
        from dask.sizeof import sizeof

        shared: dict[Any, Any] = {}
        for key, node in work.graph.items():
            # dask's name for an array of which blocks are read
            if not (str(key).startswith("original-") and is_data(node)):
                continue
            if key not in self._sent and sizeof(node.value) >= _HEAVY:
                self._sent[key] = self.client.scatter([node.value], hash=False)[0]
            if key in self._sent:
                shared[key] = self._sent[key]
        rest = {key: node for key, node in work.graph.items() if key not in shared}
        return Work(rest, work.keys, work.commits), shared

    def _outcome(self, future: Any, unit: Unit) -> float:
        """Seconds the unit took; what it raised instead becomes the cause of UnitFailedError."""
        from distributed import KilledWorker

        try:
            seconds = future.result()
        except KilledWorker as error:
            raise UnitFailedError(unit) from self._killed(error, unit)
        except Exception as error:
            raise UnitFailedError(unit) from error
        return float(seconds or 0.0)

    def _killed(self, error: Exception, unit: Unit) -> StepError:
        limit = self.memory
        room = f" of {limit / 1e9:.2g} GB" if limit else ""
        told = StepError(
            f"workers died, several one after the other, while they computed {unit}; most often "
            f"they were over their memory limit{room}: give run(memory=...) for smaller blocks, "
            "or the workers more memory"
        )
        told.__cause__ = error
        return told

    def _wait(self, futures: list[Any]) -> None:
        """Let what is under way end, so that nothing writes after the claim is let go."""
        from distributed import wait

        if futures:
            wait(futures)
