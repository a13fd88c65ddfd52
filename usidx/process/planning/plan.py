"""A step bound to a source: what comes out, in which blocks, and how it is known again."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import xarray as xr

from usidx.arrays.labels import spec_of
from usidx.errors import PlanError, UsidError
from usidx.model.blocks import MOST_BLOCKS, Block, blocks_of, chunks_of
from usidx.model.main import MainSpec
from usidx.model.names import clean_tool
from usidx.model.provenance import canonical, fingerprint
from usidx.process.map import Mapped, mapped_of
from usidx.process.planning.costs import checked_cost, finer_chunks, shapes_of
from usidx.process.planning.cutting import (
    Remaking,
    better_side,
    natural_run,
    opened_in_runs,
)
from usidx.process.planning.identity import Labelled, Source, identify, is_lazy, opened_in, token_of
from usidx.process.planning.inputs import Input, call, given
from usidx.process.planning.outputs import Draft, drafts_of
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


def bind(
    step: Step[..., Any],
    labelled: Labelled,
    parameters: Mapping[str, Any],
    *,
    memory: int | None = None,
    workers: int = 1,
    blocks: Mapping[str, tuple[int, ...]] | None = None,
) -> Plan:
    """The Plan of a step on a source; nothing is computed.

    Parameters
    ----------
    step : a Step
    labelled : DataArray, or Dataset of a compound Main
    parameters : of the step; those left out have their defaults
    memory, workers : bytes that `workers` blocks at once may take; a habit when None
    blocks : shapes of the blocks that an output must be written in, by its name

    Raises
    ------
    PlanError : for wrong parameters, a result that is no Main, or a position that does not fit
    LayoutError : where the dimensions of the result have no roles
    """
    check_step(step)
    bound = given(step.parameters(parameters))
    stored = canonical(bound.plain)
    source = identify(labelled)
    lazy = labelled if is_lazy(labelled) else _chunked(labelled, source)
    bound = bound.along(lazy)
    drafts = _run(step, lazy, bound.arguments, source)
    wanted = dict(blocks or {})
    anew = source.origin is not None
    shapes = shapes_of(drafts, lazy, memory, workers, wanted, bound.inputs, cut_anew=anew)
    better = better_side(lazy, source, drafts, shapes)
    finer = None
    if better is None:
        finer = finer_chunks(drafts, lazy, source, memory, workers, bound.inputs)
    remaking = None
    if better is not None and any(each.count > MOST_BLOCKS for each in _outputs(drafts, shapes)):

        def made(part: Labelled) -> tuple[Draft, ...]:
            return _run(step, part, bound.along(part).arguments, source)

        remaking = Remaking(made, lazy, source, *better)
    elif better is not None or finer is not None:
        if better is not None:
            lazy = opened_in_runs(lazy, source, *better)
        elif finer is not None:
            lazy = opened_in(source, finer)
        bound = bound.along(lazy)
        drafts = _run(step, lazy, bound.arguments, source)
        # of outputs that the source is cut like; others take smaller chunks now
        settled = {
            each.spec.name: shape
            for each, shape in zip(drafts, shapes, strict=True)
            if natural_run(lazy, each.spec.position) is not None
        }
        shapes = shapes_of(drafts, lazy, memory, workers, settled | wanted, bound.inputs)
    identities = [source.identity, *(each.identity for each in bound.inputs)]
    outputs = _outputs(drafts, shapes)
    return Plan(
        tool=step.name,
        version=step.version,
        step=step,
        parameters=stored,
        source=source,
        labelled=lazy,
        outputs=outputs,
        fingerprint=fingerprint(step.name, step.version, stored, identities),
        cost=checked_cost(
            source.name,
            drafts,
            shapes,
            lazy,
            memory,
            workers,
            bound.inputs,
            cut_anew=remaking is not None,
        ),
        arguments=bound.arguments,
        inputs=bound.inputs,
        remaking=remaking,
    )


def bind_result(
    result: Labelled,
    labelled: Labelled,
    tool: str,
    parameters: Mapping[str, Any],
    *,
    version: str = "1",
    further: tuple[Source, ...] = (),
    memory: int | None = None,
    workers: int = 1,
    blocks: Mapping[str, tuple[int, ...]] | None = None,
) -> Plan:
    """The Plan that stores a lazy `result` which was made from a source already.

    Two results of the same tool, version and parameters are the same where dask's token of them
    is: where they are the same operations on the same values. `further` are the other Mains that
    it was made of.

    Raises
    ------
    PlanError : for a result that is no Main, parameters that cannot be kept, or a position that
        does not fit
    LayoutError : where the dimensions of the result have no roles
    """
    tool, stored = clean_tool(tool), canonical(parameters)
    source = identify(labelled)
    drafts = drafts_of(result, tool)
    shapes = shapes_of(drafts, labelled, memory, workers, blocks or {})
    outputs = _outputs(drafts, shapes)
    identities = [source.identity, token_of(result)]
    return Plan(
        tool=tool,
        version=version,
        step=None,
        parameters=stored,
        source=source,
        labelled=labelled,
        outputs=outputs,
        fingerprint=fingerprint(tool, version, stored, identities),
        cost=checked_cost(source.name, drafts, shapes, labelled, memory, workers),
        further=further,
        mapped=mapped_of(result),
    )


def check_step(step: object) -> None:
    """Nothing, where `step` is a Step.

    Raises
    ------
    PlanError : showing how to make one of a function
    """
    if isinstance(step, Step):
        return
    if not callable(step):
        raise PlanError(f"a process needs a step, got {step!r}; see usidx.steps.registered()")
    name = str(getattr(step, "__name__", "")).strip("<>") or "my_step"
    raise PlanError(
        f"{name!r} is a plain function: without a name and a version its results could not be told "
        f"from those of another function. Write @usidx.step({name.title()!r}, version='1') above "
        f"it, or use usidx.step({name.title()!r}, {name}, version='1')"
    )


def _run(
    step: Step[..., Any], labelled: Labelled, parameters: Mapping[str, Any], source: Source
) -> tuple[Draft, ...]:
    try:
        result = call(step, labelled, parameters)
    except UsidError:
        raise
    except Exception as error:
        raise PlanError(
            f"step {step.name!r} raised {type(error).__name__} when it was called on "
            f"{source.name!r} ({_sizes(labelled)}): {error}. Nothing was computed"
        ) from error
    return drafts_of(result, step.name)


def _chunked(labelled: Labelled, source: Source) -> Labelled:
    """A source that is not lazy by dask, in blocks."""
    if source.origin is not None:
        return opened_in(source, {})
    return labelled.chunk("auto") if labelled.nbytes > 2**27 else labelled.chunk()


def _outputs(drafts: tuple[Draft, ...], shapes: list[tuple[int, ...]]) -> tuple[Output, ...]:
    return tuple(Output(each.spec, each, shape) for each, shape in zip(drafts, shapes, strict=True))


def _sizes(labelled: Labelled) -> str:
    return ", ".join(f"{dim}: {size}" for dim, size in labelled.sizes.items())
