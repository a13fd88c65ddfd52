"""A step bound to a source, or a lazy result to what it was made of: the Plan of a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from usidx.errors import PlanError, UsidError
from usidx.model.blocks import MOST_BLOCKS
from usidx.model.names import clean_tool
from usidx.model.provenance import canonical, fingerprint
from usidx.process.map import mapped_of
from usidx.process.planning.again import again_of
from usidx.process.planning.budget import run_of
from usidx.process.planning.costs import (
    Largest,
    Positions,
    Shape,
    finer_chunks,
    largest_of,
    next_size,
    refusal,
    shapes_of,
)
from usidx.process.planning.cutting import Remaking, better_side, natural_run, opened_in_runs
from usidx.process.planning.identity import Labelled, Source, identify, is_lazy, opened_in, token_of
from usidx.process.planning.inputs import Given, call, given
from usidx.process.planning.neighbours import needs_of
from usidx.process.planning.outputs import Draft, drafts_of
from usidx.process.planning.plan import Output, Plan
from usidx.process.planning.surroundings import surrounded
from usidx.step import Step

# How often blocks are cut anew after a look at what they need of their neighbours.
_ROUNDS = 7


def bind(
    step: Step[..., Any],
    labelled: Labelled,
    parameters: Mapping[str, Any],
    *,
    memory: int | None = None,
    workers: int = 1,
    blocks: Mapping[str, Shape] | None = None,
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
    identities = [source.identity, *(each.identity for each in bound.inputs)]
    known = Plan(
        tool=step.name,
        version=step.version,
        step=step,
        parameters=stored,
        source=source,
        labelled=lazy,
        outputs=(),
        fingerprint=fingerprint(step.name, step.version, stored, identities),
        cost=0,
    )

    def made(part: Labelled) -> tuple[Draft, ...]:
        return _run(step, part, bound.along(part).arguments, source)

    cutter = _Cutter(known, lazy, bound, drafts, made, memory, workers, dict(blocks or {}))
    return _settled(cutter.plan, memory, workers)


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
    blocks: Mapping[str, Shape] | None = None,
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
    identities = [source.identity, token_of(result)]
    again = again_of(result, labelled)
    known = Plan(
        tool=tool,
        version=version,
        step=None,
        parameters=stored,
        source=source,
        labelled=labelled,
        outputs=(),
        fingerprint=fingerprint(tool, version, stored, identities),
        cost=0,
        further=further,
        mapped=mapped_of(result),
        again=again,
    )
    if again is not None:

        def made(part: Labelled) -> tuple[Draft, ...]:
            return drafts_of(again(part), tool)

        none = Given({}, (), {})
        wanted = dict(blocks or {})
        cutter = _Cutter(known, labelled, none, drafts, made, memory, workers, wanted)
        return _settled(cutter.plan, memory, workers)

    def plan(sizes: Positions) -> Plan:
        shapes = shapes_of(drafts, labelled, memory, workers, blocks or {}, sizes=sizes)
        return replace(known, outputs=_outputs(drafts, shapes))

    return _settled(plan, memory, workers)


def _settled(make: Callable[[Positions], Plan], memory: int | None, workers: int) -> Plan:
    """The Plan in blocks that fit together with what they need of their neighbours.

    What that is depends on the blocks: dask joins those that are smaller than their reach. So
    they are made smaller until they fit.

    Parameters
    ----------
    make : the plan for blocks of so many positions, by the side

    Raises
    ------
    PlanError : where blocks do not fit into `memory`
    """
    found: list[tuple[Plan, Largest]] = []
    sizes: Positions = {}
    for _ in range(_ROUNDS):
        plan = make(sizes)
        needs = needs_of(plan)
        if needs.near is not None:
            plan = surrounded(plan, needs.near)
        largest = largest_of(plan, needs.reach)
        found.append((replace(plan, cost=largest.nbytes, apart=needs.apart), largest))
        known = min(sizes.values(), default=None)
        size = next_size(largest, known, memory, workers) if needs.apart else None
        if size is None:
            break
        sizes = dict.fromkeys(needs.reach, size)
    plan, largest = found[-1]
    if not largest.fits(memory, workers):
        assert memory is not None
        worth = [each for each in found if each[1].is_worth_it]
        plan, largest = min(worth or found, key=lambda each: each[1].nbytes)
        raise refusal(plan, largest, memory, workers)
    return plan


@dataclass(frozen=True, eq=False)
class _Cutter:
    """A plan whose source is cut as the blocks of the outputs are where that is better.

    Parameters
    ----------
    known : the plan, but for what depends on the blocks
    lazy, bound, drafts : the source as it was given, its parameters along it, what is made of it
    made : what is made of the source cut in another way
    memory, workers, wanted : as for `bind`
    """

    known: Plan
    lazy: Labelled
    bound: Given
    drafts: tuple[Draft, ...]
    made: Callable[[Labelled], tuple[Draft, ...]]
    memory: int | None
    workers: int
    wanted: Mapping[str, Shape]

    def plan(self, sizes: Positions) -> Plan:
        """The Plan, without its cost.

        Parameters
        ----------
        sizes : positions that blocks may have at most, by the side, where that was looked at
        """
        source, lazy, drafts, bound = self.known.source, self.lazy, self.drafts, self.bound
        anew = source.origin is not None
        shapes = self._shapes(drafts, lazy, bound, sizes, self.wanted, cut_anew=anew)
        better = better_side(lazy, source, drafts, shapes)
        remaking, finer = None, None
        if better is None:
            finer = finer_chunks(
                drafts, lazy, source, self.memory, self.workers, bound.inputs, sizes=sizes
            )
        elif any(each.count > MOST_BLOCKS for each in _outputs(drafts, shapes)):
            remaking = Remaking(self.made, lazy, source, *better)
        if remaking is None and (better is not None or finer is not None):
            lazy = (
                opened_in(source, finer or {})
                if better is None
                else opened_in_runs(lazy, source, *better)
            )
            bound = bound.along(lazy)
            drafts = self.made(lazy)
            # of outputs that the source is cut like; others take smaller chunks now
            settled = {
                each.spec.name: _joined(each, shape) if sizes else shape
                for each, shape in zip(drafts, shapes, strict=True)
                if natural_run(lazy, each.spec.position) is not None
            }
            shapes = self._shapes(drafts, lazy, bound, sizes, settled | dict(self.wanted))
        return replace(
            self.known,
            labelled=lazy,
            outputs=_outputs(drafts, shapes),
            arguments=bound.arguments,
            inputs=bound.inputs,
            remaking=remaking,
        )

    def _shapes(
        self,
        drafts: Sequence[Draft],
        lazy: Labelled,
        bound: Given,
        sizes: Positions,
        wanted: Mapping[str, Shape],
        *,
        cut_anew: bool = False,
    ) -> list[Shape]:
        return shapes_of(
            drafts,
            lazy,
            self.memory,
            self.workers,
            wanted,
            bound.inputs,
            cut_anew=cut_anew,
            sizes=sizes,
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


def _joined(draft: Draft, block: Shape) -> Shape:
    """The shape of the blocks of an output, or of its chunks where dask has joined blocks.

    What needs more of its neighbours than they have is computed of several of them together, and
    would be computed again for each.
    """
    n = len(draft.spec.position.dims)
    # what is left at the end goes to the last one
    run = run_of([sizes[:-1] or sizes for sizes in draft.chunks], n)
    if run is None or math.prod(run) <= math.prod(block[:n]):
        return block
    return run + block[n:]


def _outputs(drafts: Sequence[Draft], shapes: Sequence[Shape]) -> tuple[Output, ...]:
    return tuple(Output(each.spec, each, shape) for each, shape in zip(drafts, shapes, strict=True))


def _sizes(labelled: Labelled) -> str:
    return ", ".join(f"{dim}: {size}" for dim, size in labelled.sizes.items())
