"""How long a function of single spectra takes, and whether it keeps other threads waiting."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from usidx.arrays.apply import OnWhole
from usidx.errors import PlanError
from usidx.model.dimension import Array
from usidx.process.map import Kernel
from usidx.process.planning.budget import memory_of
from usidx.process.planning.graphs import describe
from usidx.process.planning.plan import Output, Plan

log = logging.getLogger("usidx")

# Seconds of calls that make a measurement, and how many there are at most.
_MEASURED, _MOST_CALLS = 0.02, 200
# Seconds of processor time in a second: of one thread that computes, though others have the
# processors, at least; and of two that do not keep each other waiting.
_BUSY, _AT_ONCE = 0.1, 1.2
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
        found = _first_kernel(plan, output)
        if found is None:
            continue
        kernel, values = found
        try:
            return _measured(kernel, values(), output, worth)
        except Exception:
            log.debug("%s could not be timed", kernel.__name__, exc_info=True)
            return None
    return None


def _first_kernel(plan: Plan, output: Output) -> tuple[Kernel, Callable[[], Array]] | None:
    """The first function of single spectra on the way to a block, and what gives its input."""
    from dask._task_spec import Task
    from dask.core import toposort
    from dask.local import get_sync

    first = output.key(next(output.blocks()))
    graph = describe(plan, [first]).graph()
    kernels = {key for key, node in graph.items() if _kernel_in(node) is not None}
    if not kernels:
        return None
    first = next(key for key in toposort(graph) if key in kernels)
    node: Any = graph[first]
    kernel = _kernel_in(node)
    assert kernel is not None
    # the same task with a function that gives back what it is given
    given = np.asarray if node.func is kernel else replace(node.func, function=np.asarray)
    wanted = {**graph, first: Task(first, given, *node.args, **node.kwargs)}
    return kernel, lambda: np.asarray(get_sync(wanted, first))


def _kernel_in(node: Any) -> Kernel | None:
    """The function of single spectra that a task calls, if it does."""
    function = getattr(node, "func", None)
    if isinstance(function, OnWhole):
        function = function.function
    return function if isinstance(function, Kernel) and not function.vectorized else None


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
    """Whether two threads compute no more in a second than one would.

    Told by processor time: how long it takes depends on what else the machine does.
    """

    def calls(_: int) -> tuple[float, float]:
        began, busy = time.perf_counter(), time.thread_time()
        for spectrum in spectra:
            kernel.function(spectrum, **kwargs)
        return time.perf_counter() - began, time.thread_time() - busy

    tries = []
    with ThreadPoolExecutor(2) as pool:
        took, busy = next(pool.map(calls, range(1)))
        if busy < _BUSY * took:  # it waits for something else than a processor
            return False
        for _ in range(3):
            began, busy = time.perf_counter(), time.process_time()
            list(pool.map(calls, range(2)))
            tries.append((time.process_time() - busy) / (time.perf_counter() - began))
    return max(tries) < _AT_ONCE


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
