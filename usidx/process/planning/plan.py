"""What a run will be: what comes out, in which blocks, and how it is known again."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import xarray as xr

from usidx.arrays.labels import spec_of
from usidx.model.blocks import MOST_BLOCKS, Block, blocks_of, chunks_of
from usidx.model.main import MainSpec
from usidx.process.map import Mapped
from usidx.process.planning.again import Again
from usidx.process.planning.cutting import Remaking
from usidx.process.planning.identity import Labelled, Source
from usidx.process.planning.inputs import Input
from usidx.process.planning.outputs import Draft
from usidx.step import Step

if TYPE_CHECKING:
    import dask.array


@dataclass(frozen=True, eq=False)
class Output:
    """One Main that a process makes.

    Parameters
    ----------
    spec : what the Main is
    draft : its values, in any chunks
    block : shape of the blocks
    """

    spec: MainSpec
    draft: Draft
    block: tuple[int, ...]

    @functools.cached_property
    def values(self) -> dask.array.Array:
        """N-D, lazily, in the order of the spec; one chunk for each block."""
        return self.draft.values(chunks_of(self.spec.shape, self.block))

    @property
    def name(self) -> str:
        """Of the Main."""
        return self.spec.name

    @property
    def n_position(self) -> int:
        """How many of the axes are positions."""
        return len(self.spec.position.dims)

    @property
    def cut(self) -> tuple[tuple[str, ...], tuple[int, ...], tuple[int, ...]]:
        """The same for outputs whose blocks have the same positions."""
        n = self.n_position
        return self.spec.position.dims, self.spec.position.shape, self.block[:n]

    @property
    def count(self) -> int:
        """How many blocks there are."""
        return math.prod(-(-n // part) for n, part in zip(self.spec.shape, self.block, strict=True))

    def blocks(self) -> Iterator[Block]:
        """Every block, in row-major order."""
        return blocks_of(self.spec.shape, self.block)

    def key(self, block: Block) -> tuple[Any, ...]:
        """What stands for the values of a block in the graphs of its plan."""
        pairs = zip(block.key, self.block, strict=True)
        return (self.prefix, *(part.start // step for part, step in pairs))

    @property
    def prefix(self) -> str:
        """The first part of the keys of its blocks."""
        return f"usidx-{self.name}"


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything about a run but where it goes.

    Parameters
    ----------
    tool, version : of the step, or of a result that was made without one
    step : what is run; None where the outputs were made already
    parameters : of the step
    source, labelled : what it is run on, as a record and as an array
    outputs : the Mains that come out
    fingerprint : of step, version, parameters and source
    cost : bytes read and written for one block, the largest of all
    arguments : the parameters as the step is called with them
    inputs : those of them that are further sources
    further : other sources, which a result that was made already was made of
    remaking : makes the outputs anew of parts of the source, where there are very many blocks
    mapped : how such a result is made of any part of the source, where that is known
    again : how it is made of the source in other chunks, each position from itself alone
    apart : whether blocks are computed each on its own, though they have tasks in common
    """

    tool: str
    version: str
    step: Step[..., Any] | None
    parameters: Mapping[str, Any]
    source: Source
    labelled: Labelled
    outputs: tuple[Output, ...]
    fingerprint: str
    cost: int
    arguments: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[Input, ...] = ()
    further: tuple[Source, ...] = ()
    remaking: Remaking | None = None
    mapped: Mapped | None = None
    again: Again | None = None
    apart: bool = False

    @property
    def is_large(self) -> bool:
        """Whether there are too many blocks to describe all of them at once."""
        return any(each.count > MOST_BLOCKS for each in self.outputs)

    @property
    def stored_spec(self) -> MainSpec | None:
        """Of the source, where it is the whole of a stored Main."""
        if not self.source.is_whole or self.source.origin is None:
            return None
        array = self.labelled
        if isinstance(array, xr.Dataset):
            array = next(iter(array.data_vars.values()))
        return spec_of(array, path=self.source.origin.main)
