"""Work shared by some threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any


def each(workers: int, work: Callable[[Any], None], items: Iterable[Any]) -> None:
    """Do `work` on each item, in threads; what goes wrong first is raised, and no more is begun."""
    with ThreadPoolExecutor(workers) as pool:
        waiting: set[Future[None]] = set()
        try:
            for item in items:
                if len(waiting) >= 2 * workers:
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    for one in done:
                        one.result()
                waiting.add(pool.submit(work, item))
            for one in waiting:
                one.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def on_cluster() -> bool:
    """Whether a cluster computes what dask is asked for now."""
    from dask.base import get_scheduler

    scheduler = get_scheduler()
    return type(getattr(scheduler, "__self__", None)).__module__.startswith("distributed")


def processors() -> int:
    """How many of the machine's processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
