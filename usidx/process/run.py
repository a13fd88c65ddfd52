"""A plan carried out: found, resumed or computed anew, and what is said when it ends early."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from usidx.errors import PlanError, StepError, UsidError
from usidx.process.planning.plan import Plan
from usidx.process.planning.replanning import Replan
from usidx.process.results.adopt import adopted, is_foreign
from usidx.process.results.content import check_content
from usidx.process.results.moved import came_along
from usidx.process.results.result import ResultGroup
from usidx.process.results.target import (
    Path,
    Target,
    claim_in,
    request_of,
    target_of,
    twins_of,
    warn_of_changed_code,
    warn_of_failures,
)
from usidx.process.running.events import (
    BlockDone,
    Event,
    Listener,
    RunCompleted,
    RunStarted,
    RunStopped,
)
from usidx.process.running.events import progress as progress_bar
from usidx.process.running.executors import Choice, chosen
from usidx.process.running.failures import OnError, check_on_error
from usidx.process.running.grown import ATTRIBUTE as FIRST_ROWS
from usidx.process.running.grown import Earlier, earlier_of
from usidx.process.running.mending import LocatedError, Mending, located_error
from usidx.process.running.pace import recut
from usidx.process.running.room import plan_for
from usidx.process.running.runner import Executor, UnitFailedError, execute
from usidx.process.running.work import Unit, count_pending
from usidx.stores.base import Claim, ResultRecord, ResultRequest, Store
from usidx.stores.compression import Compression, check_compression

log = logging.getLogger("usidx")


@dataclass(frozen=True)
class Options:
    """How to run.

    Parameters
    ----------
    client : `distributed.Client` to run on, the address of a scheduler, or a cluster; the client in
        scope when None, this machine where there is none or for False
    memory : bytes, or text such as "4GB", that all blocks at once may take in one process
    workers : how many threads or processes of this machine
    progress : whether to show a bar; when None, where somebody looks on and it takes a while
    on_block : called after each block
    durable : whether values are on disk before they are marked, against a loss of power
    processes : whether to run in processes of this machine; when None, where that is faster, for
        plain Python functions of single spectra
    on_error : "raise" ends the run where the step raises, "mark" marks such positions as failed
    retry_failed : whether positions that are marked as failed are computed again
    compression : of the values of a new group, as the store knows it

    Raises
    ------
    OptionError : for any other `on_error`, or a compression that no store knows
    """

    client: Any = None
    memory: int | float | str | None = None
    workers: int | None = None
    progress: bool | None = None
    on_block: Callable[[BlockDone], None] | None = None
    durable: bool = False
    processes: bool | None = None
    on_error: OnError = "raise"
    retry_failed: bool = False
    compression: Compression = None

    def __post_init__(self) -> None:
        check_on_error(self.on_error)
        check_compression(self.compression)


def run_plan(
    plan: Plan, replan: Replan, into: Path | None, options: Options, *, fresh: bool = False
) -> ResultGroup:
    """The complete result group of a plan: found, resumed, or (always, with `fresh`) made anew.

    Raises
    ------
    StepError, PlanError, NoSpaceError, ReadOnlyStoreError, StoreLockedError : as `Process.run`
    """
    target = target_of(into, plan.source)
    twins = () if fresh else twins_of(plan, target.store)
    if twins:
        warn_of_changed_code(plan, twins[0])
    if twins and twins[0].status == "complete" and not _is_to_retry(twins[0], options):
        log.info("%s is complete already", twins[0].group)
        warn_of_failures(twins[0])
        return ResultGroup(target.store.path, twins[0].group)
    return _run(plan, replan, target, twins[0] if twins else None, options, fresh=fresh)


def resume_plan(plan: Plan, replan: Replan, group: ResultGroup, options: Options) -> ResultGroup:
    """The group after its missing blocks were computed.

    Raises
    ------
    PlanError : where it is a group of another step, version, parameters or source
    """
    record = group.record
    known = record.fingerprint == plan.fingerprint or came_along(plan, record)
    if not known and not is_foreign(record):
        raise PlanError(
            f"{group.name!r} cannot be resumed: its source, parameters or step are no longer those "
            f"it was begun with. A run of {plan.tool!r} makes a new group"
        )
    if record.status == "complete" and not _is_to_retry(record, options):
        return group
    check_content(plan, record)
    return _run(plan, replan, target_of(group.store, plan.source), record, options)


def _is_to_retry(record: ResultRecord, options: Options) -> bool:
    return options.retry_failed and record.failed > 0


def _run(
    plan: Plan,
    replan: Replan,
    target: Target,
    twin: ResultRecord | None,
    options: Options,
    *,
    fresh: bool = False,
) -> ResultGroup:
    if twin is not None and is_foreign(twin):
        plan, replan = adopted(plan, replan, target.store, twin)
    with contextlib.ExitStack() as stack:
        choice = stack.enter_context(_chosen(plan, replan, target, twin, options))
        executor = choice.executor
        plan = plan_for(plan, replan, executor, options.memory)
        if choice.pace is not None:
            plan = recut(plan, replan, choice.pace, executor.workers, choice.threads)
        earlier = None
        if twin is None:
            earlier = None if fresh else earlier_of(plan, target.store)
            request = _request(plan, target, earlier, options)
            claim = claim_in(target, request, durable=options.durable)
        else:
            try:
                claim = _reopened(target.store, twin, options)
            except PlanError:
                now = target.store.result(twin.group)
                if now.status != "complete" or _is_to_retry(now, options):
                    raise
                return ResultGroup(target.store.path, twin.group)  # by somebody else, just now
        stack.enter_context(claim)
        listeners = [stack.enter_context(progress_bar(options.progress, plan.tool))]
        if options.on_block is not None:
            listeners.append(only_blocks(options.on_block))
        plan = _fitted(plan, replan, claim, executor, options.memory)
        if earlier is not None:
            earlier.fill(plan, claim)
        choice.expects(plan)
        carry_out(
            plan,
            claim,
            executor,
            listeners,
            resumed=twin is not None,
            note=choice.note,
            on_error=options.on_error,
            retry=options.retry_failed,
        )
    return ResultGroup(target.store.path, claim.group)


def _request(
    plan: Plan, target: Target, earlier: Earlier | None, options: Options
) -> ResultRequest:
    """The group that is to be made."""
    request = request_of(plan, target)
    return replace(
        request,
        failures=options.on_error == "mark",
        compression=options.compression,
        attrs={**request.attrs, **({FIRST_ROWS: earlier.group} if earlier else {})},
    )


def _reopened(store: Store, twin: ResultRecord, options: Options) -> Claim:
    return store.reopen(
        twin.group,
        durable=options.durable,
        failures=options.on_error == "mark",
        retry=_is_to_retry(twin, options),
    )


def _chosen(
    plan: Plan, replan: Replan, target: Target, twin: ResultRecord | None, options: Options
) -> contextlib.AbstractContextManager[Choice]:
    origin = plan.source.origin
    return chosen(
        plan,
        replan,
        options.client,
        options.workers,
        options.processes,
        paths=(target.store.path, *((origin.store,) if origin else ())),
        left=1 - twin.done / twin.total if twin is not None and twin.total else 1.0,
    )


def _fitted(
    plan: Plan,
    replan: Replan,
    claim: Claim,
    executor: Executor,
    memory: int | float | str | None,
) -> Plan:
    """The plan in blocks that the writers take: a Zarr store takes whole chunks.

    Raises
    ------
    PlanError : where the store has folded the positions of a group in another way than the plan, or
        where the blocks that a group was begun in do not fit into `memory`
    """
    for output in plan.outputs:
        shape = claim.writers[output.name].shape
        if shape != output.spec.shape:
            raise PlanError(
                f"{claim.group!r} was begun with {output.name!r} in the shape {output.spec.shape}, "
                f"and the store has it as {shape} now, so it cannot be resumed from here; open the "
                "source in its N-D form (form='nd'), or run(fresh=True)"
            )
    chunks = {name: getattr(each, "chunks", None) for name, each in claim.writers.items()}
    fixed = {name: tuple(each) for name, each in chunks.items() if each is not None}
    cut = {each.name: each.block for each in plan.outputs}
    if all(cut[name] == each for name, each in fixed.items()):
        return plan
    again = functools.partial(replan, blocks=fixed)
    plan = again()
    try:
        return plan_for(plan, again, executor, memory)
    except PlanError as error:
        raise PlanError(
            f"{claim.group!r} was begun in larger blocks, which its chunks are, so that it cannot "
            f"be resumed in smaller ones: {error}. Or begin anew with run(fresh=True)"
        ) from None


def carry_out(
    plan: Plan,
    claim: Claim,
    executor: Executor,
    listeners: Iterable[Listener],
    *,
    resumed: bool,
    note: str = "",
    on_error: OnError = "raise",
    retry: bool = False,
) -> None:
    """Compute what is pending in a claimed group, and mark the group complete.

    Parameters
    ----------
    on_error, retry : as `on_error` and `retry_failed` of Options

    Raises
    ------
    StepError : where the step raised, naming the position, or the block; what is done stays done
    KeyboardInterrupt : with the same in its message
    """
    run = _Run(claim, tuple(listeners))
    run.start(count_pending(plan, claim.writers), resumed, note)
    mending = None
    if retry or on_error == "mark":
        mending = Mending(plan, claim.writers, run.report, marks=on_error == "mark")
    try:
        execute(plan, claim.writers, executor, run.report, mending)
        claim.complete()
    except UnitFailedError as failure:
        cause = failure.__cause__ or failure
        run.stop(cause)
        located = located_error(plan, failure.unit, cause, executor)
        raise _translated(plan, failure.unit, located, run.kept()) from cause
    except KeyboardInterrupt as interrupt:
        run.stop(interrupt)
        raise KeyboardInterrupt(f"stopped by hand; {run.kept()}") from None
    except BaseException as error:
        run.stop(error)
        error.add_note(run.kept())
        raise
    run.tell(RunCompleted(claim.group, run.total))
    if mending is not None:
        mending.end()


@dataclass
class _Run:
    """The count of what is done, and who is told."""

    claim: Claim
    listeners: tuple[Listener, ...]
    done: int = 0
    total: int = 0

    def start(self, blocks: int, resumed: bool, note: str) -> None:
        self.done, self.total = self.count()
        self.tell(RunStarted(self.claim.group, self.done, self.total, blocks, resumed, note))

    def count(self) -> tuple[int, int]:
        marks = [writer.done() for writer in self.claim.writers.values()]
        return sum(int(each.sum()) for each in marks), sum(each.size for each in marks)

    def report(self, unit: Unit, seconds: float, failed: int = 0) -> None:
        self.done = min(self.total, self.done + unit.missing)
        where, count = unit.where, unit.positions
        self.tell(BlockDone(unit.number, where, count, seconds, self.done, self.total, failed))

    def stop(self, error: BaseException) -> None:
        self.tell(RunStopped(self.claim.group, self.done, self.total, error))

    def tell(self, event: Event) -> None:
        for listener in self.listeners:
            listener(event)

    def kept(self) -> str:
        done, total = self.count()
        share = f"{100 * done // total} %" if total else "nothing"
        return f"{share} is done and kept in {self.claim.group!r}; run it again to go on"


def _translated(plan: Plan, unit: Unit | None, error: BaseException, kept: str) -> BaseException:
    """The error to raise for what happened in a block."""
    where = "in a part that several blocks share" if unit is None else f"at {unit}"
    if isinstance(error, LocatedError):
        where = f"at {error.where}"
    if isinstance(error, UsidError) and not isinstance(error, StepError):
        error.add_note(f"This happened {where} of {plan.source.name!r}; {kept}.")
        return error
    told = str(error) if isinstance(error, StepError) else f"{type(error).__name__}: {error}"
    advice = " Give run(memory=...) for smaller blocks." if isinstance(error, MemoryError) else ""
    return StepError(
        f"step {plan.tool!r} (version {plan.version!r}) failed {where} of "
        f"{plan.source.name!r}: {told}.{advice} {kept[0].upper()}{kept[1:]}"
    )


def only_blocks(on_block: Callable[[BlockDone], None]) -> Listener:
    """A listener that hands on the blocks alone."""

    def listen(event: Event) -> None:
        if isinstance(event, BlockDone):
            on_block(event)

    return listen
