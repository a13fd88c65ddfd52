"""What a run will take, by arithmetic: nothing is computed to know it."""

from __future__ import annotations

import html
import math
import os
import shutil
from dataclasses import dataclass
from typing import Any

import numpy as np

from usidx.process.budget import memory_of
from usidx.process.plan import Plan
from usidx.process.work import count_units


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
    """

    outputs: tuple[OutputEstimate, ...]
    blocks: int
    block_memory: int
    in_flight: int
    disk: int
    disk_free: int | None

    @property
    def memory(self) -> int:
        """Bytes that all blocks at once take in one process."""
        return self.block_memory * self.in_flight

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
            ("blocks", f"{self.blocks}, {self.in_flight} at once"),
            ("memory", f"{in_bytes(self.block_memory)} a block, {in_bytes(self.memory)} at once"),
            ("disk", in_bytes(self.disk) + free),
        ]


def estimate_of(plan: Plan, workers: int, folder: str | None) -> Estimate:
    """The Estimate of a plan that is run by `workers` at once and written below `folder`."""
    outputs = tuple(
        OutputEstimate(
            each.name, each.spec.dims, each.spec.shape, np.dtype(each.spec.dtype), each.spec.nbytes
        )
        for each in plan.outputs
    )
    blocks = count_units(plan)
    marks = sum(each.spec.position.size for each in plan.outputs)
    return Estimate(
        outputs=outputs,
        blocks=blocks,
        block_memory=memory_of(plan.cost),
        in_flight=min(workers, blocks),
        disk=sum(each.nbytes for each in outputs) + marks,
        disk_free=_free(folder),
    )


def _free(folder: str | None) -> int | None:
    while folder and not os.path.exists(folder):
        folder = os.path.dirname(os.path.abspath(folder))
    return shutil.disk_usage(folder).free if folder else None


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
