"""How long a run will take: one block is computed, and written to where nothing counts."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from usidx.errors import StepError, UsidError
from usidx.model.dimension import Array
from usidx.process.planning.graphs import graph_of
from usidx.process.planning.plan import Plan
from usidx.process.running.streaming import stream_of
from usidx.process.running.work import Unit, count_units, joined, units_of, works_in
from usidx.stores.base import BlockWriter

# What is done at the first call only counts little where a block takes longer than this.
_LONG_SECONDS = 1.0


@dataclass(frozen=True)
class Scratch:
    """Takes blocks like a writer of results, into a nameless file that is gone afterwards.

    Parameters
    ----------
    shape : of the positions
    dtype : of the values
    file : open descriptor; None where there is no room, so that nothing is written
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    file: int | None

    def done(self) -> Array:
        """Nothing is."""
        return np.zeros(self.shape, dtype=bool)

    def write(self, key: tuple[slice, ...], values: Array, only: Array | None = None) -> None:
        """Write the values at the start of the file."""
        if self.file is not None:
            os.lseek(self.file, 0, os.SEEK_SET)
            os.write(self.file, np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)

    def fail(self, key: tuple[slice, ...], failed: Array, reasons: Sequence[str]) -> None:
        """Nothing is to be found again."""

    def mark(self, key: tuple[slice, ...]) -> None:
        """Nothing is to be found again."""

    @contextlib.contextmanager
    def pieces(self) -> Iterator[Callable[[tuple[slice, ...], Array], None]]:
        """As that of a store which takes pieces."""
        yield self.write


def seconds_of(plan: Plan, threads: int, folder: str | None) -> float:
    """Seconds that a run of a plan takes, from one block of it, or two where blocks share tasks.

    Nothing is stored, and no result group is made.

    Parameters
    ----------
    threads : how many blocks are computed at once
    folder : where results go; one block at a time is written to a nameless file there

    Raises
    ------
    StepError : where the step raises
    """
    with _scratch(folder) as file:
        writers: dict[str, BlockWriter] = {
            each.name: Scratch(each.spec.position.shape, np.dtype(each.spec.dtype), file)
            for each in plan.outputs
        }
        units = list(itertools.islice(units_of(plan, writers), 2))
        try:
            return _seconds(plan, units, threads)
        except UsidError:
            raise
        except Exception as error:
            raise StepError(
                f"step {plan.tool!r} (version {plan.version!r}) failed at {units[0]} of "
                f"{plan.source.name!r} while its time was measured: {type(error).__name__}: {error}"
            ) from error


def _seconds(plan: Plan, units: Sequence[Unit], threads: int) -> float:
    count = count_units(plan)
    at_once = max(1, min(threads, count))
    stream = stream_of(plan)
    if stream is not None:
        return _best(stream.work(units[0])) * count / at_once
    works = works_in(plan, units)
    if works is not None:
        return _best(works[0]) * count / at_once
    # the first block takes what all need with it, which is then there for the second
    alone, both = (_best(functools.partial(_together, plan, some)) for some in (units[:1], units))
    return alone + max(0.0, both - alone) * (count - 1) / at_once


def _best(work: Callable[[], Any]) -> float:
    """Seconds that it takes; where they are few it is done twice, as the first time takes more."""
    found: list[float] = []
    while len(found) < 2 and sum(found) < _LONG_SECONDS:
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return min(found)


def _together(plan: Plan, units: Sequence[Unit]) -> None:
    from dask.threaded import get

    graph, last = joined(graph_of(plan, units), units)
    get(graph, list(last))


@contextlib.contextmanager
def _scratch(folder: str | None) -> Iterator[int | None]:
    place = folder
    while place and not os.path.isdir(place):
        place = os.path.dirname(os.path.abspath(place))
    try:
        file = tempfile.TemporaryFile(dir=place or None)  # noqa: SIM115
    except OSError:  # where nothing can be written, as to a share that is for reading
        yield None
        return
    with file:
        yield file.fileno()
