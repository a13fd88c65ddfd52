"""What a run will take, by arithmetic: nothing is computed to know it."""

from __future__ import annotations

import functools
import html
import math
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import xarray as xr

from usidx.process.planning.budget import memory_of
from usidx.process.planning.held import told_by
from usidx.process.planning.plan import Plan
from usidx.process.running.helping import GATHERED
from usidx.process.running.measure import seconds_of
from usidx.process.running.streaming import Stream, stream_of
from usidx.process.running.work import MANY_TASKS, count_units

# What a thread takes besides the values: its stack, its allocator's memory, plans of transforms.
# Measured, as is what else it takes for a block that goes to Zarr, however small it is.
AROUND, AROUND_ZARR = 2**23, 4 * 2**20


@dataclass(frozen=True)
class OutputEstimate:
    """One Main that will be made."""

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    nbytes: int

    def __str__(self) -> str:
        sizes = ", ".join(f"{dim}: {n}" for dim, n in zip(self.dims, self.shape, strict=True))
        fields = self.dtype.names
        kind = f"{len(fields)} fields ({', '.join(fields)})" if fields else str(self.dtype)
        return f"{self.name} ({sizes}), {kind}, {in_bytes(self.nbytes)}"


@dataclass(frozen=True, repr=False)
class Estimate:
    """Outputs, blocks, memory and disk of a run.

    Parameters
    ----------
    outputs : the Mains that will be made
    blocks : how many pieces they are computed in
    block_memory : bytes that computing one block takes: what is read and written, and copies
    in_flight : how many blocks are computed at once in one process
    disk : bytes that the result takes
    disk_free : bytes free where it goes; None where that is not known
    streamed : whether blocks are computed piece by piece, and never as a whole in memory
    seconds : that it takes, where that was measured
    kept : bytes in memory besides blocks: what all of them share, and what the step holds
    """

    outputs: tuple[OutputEstimate, ...]
    blocks: int
    block_memory: int
    in_flight: int
    disk: int
    disk_free: int | None
    streamed: bool = False
    seconds: float | None = None
    timed: Callable[[], float] | None = field(default=None, compare=False)
    kept: int = 0

    def measure(self) -> Estimate:
        """The same with `seconds`: one block is computed for it, and nothing is stored.

        Raises
        ------
        StepError : where the step raises
        """
        return self if self.timed is None else replace(self, seconds=self.timed())

    @property
    def memory(self) -> int:
        """Bytes that all blocks at once take in one process, with what they share."""
        return self.block_memory * self.in_flight + self.kept

    def __repr__(self) -> str:
        lines = [f"  {name:<8} {text}" for name, text in self._rows()]
        return "\n".join(["Estimate", *lines])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape(text)}</td></tr>"
            for name, text in self._rows()
        )
        return f"<table><caption>Estimate</caption>{rows}</table>"

    def _rows(self) -> list[tuple[str, str]]:
        free = "" if self.disk_free is None else f" ({in_bytes(self.disk_free)} free)"
        return [
            *(("output", str(each)) for each in self.outputs),
            ("blocks", f"{self.blocks}, {self.in_flight} at once" + ", streamed" * self.streamed),
            ("memory", f"{in_bytes(self.block_memory)} a block, {in_bytes(self.memory)} at once"),
            ("disk", in_bytes(self.disk) + free),
            *([] if self.seconds is None else [("time", f"about {in_time(self.seconds)}")]),
        ]


def estimate_of(
    plan: Plan, workers: int, folder: str | None, *, threads: int | None = None
) -> Estimate:
    """The Estimate of a plan.

    Parameters
    ----------
    workers : how many blocks are computed at once in one process
    folder : path of the store that results go to, where that is known
    threads : how many blocks are computed at once in all processes; `workers` when None
    """
    outputs = tuple(
        OutputEstimate(
            each.name, each.spec.dims, each.spec.shape, np.dtype(each.spec.dtype), each.spec.nbytes
        )
        for each in plan.outputs
    )
    blocks = count_units(plan)
    marks = sum(each.spec.position.size for each in plan.outputs)
    stream = stream_of(plan)
    whole = memory_of(plan.cost) + (AROUND_ZARR if _in_chunks(folder) else 0)
    each, helpers = whole, 0
    if stream is not None and (in_pieces := _of_pieces(plan, stream, folder)) < whole:
        each, helpers = in_pieces, _of_helpers(plan, stream, workers - blocks)
    return Estimate(
        outputs=outputs,
        blocks=blocks,
        block_memory=each,
        # a few blocks for which much of the source is reduced are computed by all threads
        in_flight=workers if stream is None and _reduces(plan) else min(workers, blocks),
        disk=sum(each.nbytes for each in outputs) + marks,
        disk_free=_free(folder),
        streamed=stream is not None,
        timed=functools.partial(seconds_of, plan, threads or workers, folder),
        kept=told_by(plan) + helpers,
    )


def _reduces(plan: Plan) -> bool:
    """Whether a block needs many chunks of the source."""
    source = plan.labelled
    arrays = [source] if isinstance(source, xr.DataArray) else list(source.data_vars.values())
    chunks: int = sum(each.data.npartitions for each in arrays if each.chunks is not None)
    return chunks > MANY_TASKS * count_units(plan)


def _of_pieces(plan: Plan, stream: Stream, folder: str | None) -> int:
    """Bytes that computing a block takes which is read, computed and written piece by piece."""
    block, source, results = _of_positions(plan, stream)
    # storage chunks that are larger than pieces are decoded once, for all of them
    whole = 2 * block * source if stream.read_whole else 0
    if _in_chunks(folder):
        # a chunk is compressed as a whole
        gathered = 2 * block * sum(results) + AROUND_ZARR
    else:
        gathered = sum(block * each for each in results if block * each <= GATHERED)
    return _of_piece(plan, stream) + whole + gathered + AROUND


def _of_helpers(plan: Plan, stream: Stream, most: int) -> int:
    """Bytes that threads take, `most` of them, that take part in blocks of others."""
    block = plan.outputs[0].block[: len(stream.piece)]
    cut = zip(block, stream.piece, strict=True)
    more = count_units(plan) * (math.prod(-(-size // part) for size, part in cut) - 1)
    return max(0, min(most, more)) * (_of_piece(plan, stream) + AROUND)


def _of_piece(plan: Plan, stream: Stream) -> int:
    """Bytes that computing one piece takes."""
    _, source, results = _of_positions(plan, stream)
    return memory_of(math.prod(stream.piece) * (source + sum(results)))


def _of_positions(plan: Plan, stream: Stream) -> tuple[int, int, list[int]]:
    """(positions in a block, bytes of one in the source, and in each result)."""
    output = plan.outputs[0]
    n = output.n_position
    source = stream.array.dtype.itemsize * math.prod(stream.array.shape[n:])
    results = [each.spec.spectroscopic.size * each.spec.dtype.itemsize for each in plan.outputs]
    return math.prod(output.block[:n]), source, results


def _in_chunks(folder: str | None) -> bool:
    """Whether results go to a Zarr store."""
    return folder is not None and (os.path.isdir(folder) or folder.endswith(".zarr"))


def _free(folder: str | None) -> int | None:
    while folder and not os.path.exists(folder):
        folder = os.path.dirname(os.path.abspath(folder))
    return shutil.disk_usage(folder).free if folder else None


def in_time(seconds: float) -> str:
    """A time the way people say it.

    Examples
    --------
    >>> in_time(0.25), in_time(90), in_time(10_000)
    ('0.25 s', '1.5 minutes', '2.8 hours')
    """
    for unit, name in ((3600, "hours"), (60, "minutes")):
        if seconds >= unit:
            return f"{seconds / unit:.2g} {name}"
    return f"{seconds:.2g} s"


def in_bytes(count: int) -> str:
    """A number of bytes the way people say it.

    Examples
    --------
    >>> in_bytes(999), in_bytes(1_500_000)
    ('999 B', '1.5 MB')
    """
    if count < 1000:
        return f"{count} B"
    power = min(int(math.log10(count) // 3), 5)
    return f"{count / 1000**power:.3g} {' kMGTP'[power]}B"
