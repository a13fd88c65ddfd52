"""A plan in blocks that fit into memory, together with what is there besides them."""

from __future__ import annotations

from usidx.errors import PlanError
from usidx.process.planning.budget import in_text, memory_of, parse_memory
from usidx.process.planning.costs import NoRoomError
from usidx.process.planning.course import course_of
from usidx.process.planning.held import held_by, told_by
from usidx.process.planning.plan import Plan
from usidx.process.planning.replanning import Replan
from usidx.process.running.estimate import estimate_of
from usidx.process.running.runner import Executor
from usidx.process.running.work import count_units

# Of a worker's memory: the rest is for the worker itself and what dask keeps.
_SHARE_OF_WORKER = 0.6
# How often blocks are cut anew at most.
_ROUNDS = 20


def plan_for(
    plan: Plan, replan: Replan, executor: Executor, memory: int | float | str | None
) -> Plan:
    """The plan in blocks that fit into `memory`, or into the workers of a cluster.

    Raises
    ------
    PlanError : where not even single positions do, with what is in memory besides blocks
    """
    limit = parse_memory(memory)
    of_worker = getattr(executor, "memory", None)
    if limit is None and of_worker is not None:
        usual = int(_SHARE_OF_WORKER * of_worker)
        if estimate_of(plan, executor.workers, None).memory > usual:
            limit = usual
    if limit is None:
        return plan
    # what blocks share is spread over the workers of a cluster
    return _within(replan, limit, executor.workers, shared=of_worker is None)


def _within(replan: Replan, memory: int, workers: int, *, shared: bool) -> Plan:
    """The plan in blocks of which `workers` at once fit beside what is there besides them.

    What that is depends on the blocks, so that smaller and smaller ones are tried, of sizes that
    do not depend on `memory`: what is refused then says what would do.
    """
    best: tuple[int, int, Plan] | None = None
    refused: NoRoomError | None = None
    room = memory
    for tried in range(_ROUNDS):
        try:
            plan = replan(memory=room, workers=workers)
        except NoRoomError as error:
            if refused is not None:
                break
            refused, room = error, error.need  # the smallest that there are
            continue
        smallest = plan
        if shared:
            plan = _as_large_as_free(plan, replan, workers)
        kept = told_by(plan) + (held_by(plan, workers) if shared else 0)
        if not kept and refused is None:
            return plan
        together = kept + memory_of(plan.cost) * min(workers, count_units(plan))
        if together <= memory:
            return plan
        best = min(best or (together, kept, plan), (together, kept, plan), key=lambda each: each[0])
        # where blocks could be larger and take no more, smaller ones take no less
        if refused is not None or plan is not smallest:
            break
        room = memory - kept if not tried and kept < memory else 4 ** _power(room)
    if best is None or (refused is not None and not best[1]):
        assert refused is not None
        raise refused
    need, kept, plan = best
    raise _refusal(plan, kept, need, memory, workers)


def _as_large_as_free(plan: Plan, replan: Replan, workers: int) -> Plan:
    """The plan in larger blocks where those take no more, since a chunk is factorised for any."""
    course = course_of(plan, workers)
    if course is None or course.each <= memory_of(plan.cost):
        return plan
    try:
        larger = replan(memory=course.each * workers, workers=workers)
    except NoRoomError:
        return plan
    now, then = (
        held_by(each, workers) + memory_of(each.cost) * min(workers, count_units(each))
        for each in (plan, larger)
    )
    return larger if then <= now else plan


def _power(room: int) -> int:
    """Of the largest power of 4 that is less."""
    return max(0, ((room - 1).bit_length() - 1) // 2)


def _refusal(plan: Plan, kept: int, need: int, memory: int, workers: int) -> PlanError:
    """What is there besides blocks, what both need, and what to do, as an error."""
    told, advice = told_by(plan), f"give memory='{in_text(need)}'"
    course = course_of(plan, workers)
    if course is not None and told < kept:
        what = (
            f"{plan.tool!r} factorises {plan.source.name!r} chunk by chunk, and then the factors "
            f"of all chunks together, which takes {in_text(kept)} besides its blocks"
        )
        # the factors of a chunk are no smaller than it where it has fewer rows than columns
        together = course.before > 2 * workers * course.each
        advice += f", or make it of {'larger' if together else 'smaller'} chunks"
    elif told < kept:
        what = (
            f"every block of {plan.tool!r} needs {in_text(kept)} that are made of all of "
            f"{plan.source.name!r}, and stay in memory until the last block is written"
        )
        advice += (
            ", compute some of the spectroscopic values at a time (array.isel(...)), or use the "
            "workers of a cluster"
        )
    else:
        what = f"{plan.tool!r} holds {in_text(told)} besides its blocks"
    return PlanError(
        f"{what}. With the smallest blocks, {workers} at once, that is {in_text(need)}, more than "
        f"memory={memory} bytes; {advice}"
    )
