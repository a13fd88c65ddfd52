"""How long a function of single spectra takes, and whether it keeps other threads waiting."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from usidx.errors import PlanError
from usidx.model.dimension import Array
from usidx.process.budget import memory_of
from usidx.process.map import Kernel
from usidx.process.plan import Output, Plan

log = logging.getLogger("usidx")

# Seconds of calls that make a measurement, and how many there are at most.
_MEASURED, _MOST_CALLS = 0.02, 200
# Two threads take as long as one where nothing keeps them waiting, twice as long where Python does.
_BETWEEN = 1.5
# A call that takes so long is not made again to find out more about it.
_LONG = 1.0
# Blocks of a slow function: about so many seconds each, and so many for each thread.
_BLOCK_SECONDS, _BLOCKS_PER_THREAD = 2.0, 4


@dataclass(frozen=True)
class Pace:
    """How fast a function of single spectra is.

    Parameters
    ----------
    function : its name
    seconds : of processor time for one position of the result
    alone : whether it keeps other threads waiting, as plain Python does
    """

    function: str
    seconds: float
    alone: bool


def pace_of(plan: Plan, worth: float) -> Pace | None:
    """The Pace of a plan that calls a function once for each spectrum; None for any other plan.

    The function is called on a few spectra of the first block. None also where it fails on these:
    the run will say it better.

    Parameters
    ----------
    worth : seconds; whether the function keeps others waiting is only tried where all positions
        take longer
    """
    for output in plan.outputs:
        found = _first_kernel(output)
        if found is None:
            continue
        kernel, values = found
        try:
            return _measured(kernel, values(), output, worth)
        except Exception:
            log.debug("%s could not be timed", kernel.__name__, exc_info=True)
            return None
    return None


def _first_kernel(output: Output) -> tuple[Kernel, Callable[[], Array]] | None:
    """The first function of single spectra on the way to a block, and what gives its input."""
    from dask._task_spec import Task, convert_legacy_graph
    from dask.core import toposort
    from dask.local import get_sync

    key = (output.values.name, *(0,) * output.values.ndim)
    graph = dict(convert_legacy_graph(output.values.dask.cull({key}).to_dict()))
    kernels = {key for key, node in graph.items() if _is_kernel(getattr(node, "func", None))}
    if not kernels:
        return None
    each = next(key for key in toposort(graph) if key in kernels)
    node: Any = graph[each]
    wanted = {**graph, each: Task(each, np.asarray, node.args[0])}
    return node.func, lambda: np.asarray(get_sync(wanted, each))


def _is_kernel(function: Any) -> bool:
    return isinstance(function, Kernel) and not function.vectorized


def _measured(kernel: Kernel, values: Array, output: Output, worth: float) -> Pace:
    spectra = values.reshape(-1, *values.shape[values.ndim - kernel.n_over :])
    kwargs = dict(kernel.kwargs)
    kernel.function(spectra[0], **kwargs)  # what is done at the first call only
    some = spectra[:: max(1, len(spectra) // _MOST_CALLS)]
    busy, count = _timed(kernel, some, kwargs)
    positions = min(math.prod(output.block[: output.n_position]), output.spec.position.size)
    seconds = busy / count * len(spectra) / positions
    alone = False
    if seconds * output.spec.position.size > worth:
        alone = busy / count > _LONG or _keeps_waiting(kernel, some[:count], kwargs)
    return Pace(kernel.__name__, seconds, alone)


def _timed(kernel: Kernel, spectra: Array, kwargs: dict[str, Any]) -> tuple[float, int]:
    """(seconds that this thread took, spectra that it did)."""
    began, count = time.perf_counter(), 0
    for spectrum in spectra:
        kernel.function(spectrum, **kwargs)
        count += 1
        if time.perf_counter() - began > _MEASURED:
            break
    return time.perf_counter() - began, count


def _keeps_waiting(kernel: Kernel, spectra: Array, kwargs: dict[str, Any]) -> bool:
    """Whether two threads take about twice as long as one; each is tried twice, as others run."""

    def calls(_: int) -> None:
        for spectrum in spectra:
            kernel.function(spectrum, **kwargs)

    times = []
    with ThreadPoolExecutor(2) as pool:
        for threads in (1, 2):
            tries = []
            for _ in range(2):
                began = time.perf_counter()
                list(pool.map(calls, range(threads)))
                tries.append(time.perf_counter() - began)
            times.append(min(tries))
    return times[1] > _BETWEEN * times[0]


def recut(plan: Plan, replan: Any, pace: Pace, workers: int, threads: int) -> Plan:
    """The plan in blocks that end often enough to be shared out, marked and shown.

    A few megabytes of spectra may be minutes of work.

    Parameters
    ----------
    workers, threads : that share the memory of one process, and all there are
    """
    output = plan.outputs[0]
    positions = math.prod(output.block[: output.n_position])
    most = output.spec.position.size / (_BLOCKS_PER_THREAD * threads)
    wanted = max(1, math.floor(min(_BLOCK_SECONDS / max(pace.seconds, 1e-9), most)))
    if positions < 2 * wanted:
        return plan
    each = -(-plan.cost // positions)
    try:
        return replan(memory=memory_of(each * wanted) * workers, workers=workers)  # type: ignore[no-any-return]
    except PlanError:  # where the source comes in larger blocks
        return plan
