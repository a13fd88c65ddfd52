"""Options of `usidx run` and `usidx resume` that say where and how to compute."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from usidx.cli.refusals import Refusal, in_one_line
from usidx.errors import UsidError

if TYPE_CHECKING:
    from usidx.process.results.result import ResultGroup

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--memory", metavar="SIZE", help="Memory that the run may take, such as 4GB."),
    click.option(
        "--scheduler", metavar="ADDRESS", help="Run on a dask cluster, such as tcp://host:8786."
    ),
    click.option("--slurm", metavar="YAML", help="Run in SLURM jobs, as this file describes them."),
    click.option(
        "--workers",
        type=click.IntRange(min=1),
        metavar="N",
        help="Threads or processes of this machine, or SLURM jobs.",
    ),  # fmt: skip
    click.option("--processes/--threads", default=None, help="Rather than what seems faster here."),
    click.option(
        "--wait",
        type=click.FloatRange(min=0, min_open=True),
        metavar="SECONDS",
        help="How long to wait for a cluster and its workers; 60 when left out.",
    ),  # fmt: skip
    click.option(
        "--on-error",
        type=click.Choice(["raise", "mark"]),
        default="raise",
        show_default=True,
        help="Stop where the step raises, or mark that position and go on.",
    ),  # fmt: skip
    click.option(
        "--retry-failed", is_flag=True, help="Compute again only what is marked as failed."
    ),
    click.option(
        "--durable", is_flag=True, help="Be safe from a loss of power, too; it is slower."
    ),
)


@dataclass(frozen=True)
class Where:
    """Where and how to compute, as the command line says it."""

    memory: str | None = None
    scheduler: str | None = None
    slurm: str | None = None
    workers: int | None = None
    processes: bool | None = None
    wait: float | None = None
    on_error: str = "raise"
    retry_failed: bool = False
    durable: bool = False

    @contextlib.contextmanager
    def options(self) -> Iterator[dict[str, Any]]:
        """Keywords of `Process.run`; jobs that were begun for it end with the context."""
        if self.scheduler and self.slurm:
            raise click.UsageError("--scheduler and --slurm are two places; give one of them")
        if self.scheduler and self.workers:
            raise click.UsageError("the workers of --scheduler are there already; no --workers")
        if self.processes and (self.scheduler or self.slurm):
            raise click.UsageError("--processes are for this machine, not for a cluster")
        found: dict[str, Any] = {
            "memory": self.memory, "processes": self.processes, "on_error": self.on_error,
            "retry_failed": self.retry_failed, "durable": self.durable, "progress": True,
        }  # fmt: skip
        with contextlib.ExitStack() as stack:
            if self.wait is not None:
                import dask

                from usidx.process.running.cluster import PATIENCE

                stack.enter_context(dask.config.set({PATIENCE: self.wait}))
            if self.slurm is not None:
                from usidx.process.running.slurm import read_settings, slurm_cluster

                settings = read_settings(self.slurm)
                found["client"] = stack.enter_context(slurm_cluster(settings, self.workers))
            elif self.scheduler is not None:
                found["client"] = self.scheduler
            else:
                found["workers"] = self.workers
            yield found

    def words(self) -> list[str]:
        """The options again, as they are written."""
        words: list[str] = []
        for name in ("memory", "scheduler", "slurm", "workers", "wait"):
            value = getattr(self, name)
            if value is not None:
                words += [f"--{name}", f"{value:g}" if isinstance(value, float) else str(value)]
        if self.processes is not None:
            words.append("--processes" if self.processes else "--threads")
        if self.on_error != "raise":
            words += ["--on-error", self.on_error]
        return (
            words
            + (["--retry-failed"] if self.retry_failed else [])
            + (["--durable"] if self.durable else [])
        )


def placed(command: Command) -> Command:
    """Give a command the options; it gets them as one argument, `where`."""
    import functools

    @functools.wraps(command)
    def gathered(**given: Any) -> Any:
        own = {name: given.pop(name) for name in Where.__dataclass_fields__}
        return command(**given, where=Where(**own))

    made: Any = gathered
    for option in reversed(_OPTIONS):
        made = option(made)
    return made  # type: ignore[no-any-return]


@contextlib.contextmanager
def going_on(
    partial: Callable[[], ResultGroup | None], where: Where, step: str | None, again: bool = False
) -> Iterator[None]:
    """Say how to go on, where what is computed in the context ends early.

    Parameters
    ----------
    partial : finds the group that is left behind, None where there is none
    step : that makes it, as it must be named on the command line; None for those of usidx
    again : whether the same command goes on with it, rather than `usidx resume`
    """
    try:
        yield
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(_advice(partial(), where, step, again)) from stop
    except UsidError as error:
        advice = _advice(partial(), where, step, again)
        raise Refusal(in_one_line(str(error)).rstrip(".") + advice) from error


def _advice(group: ResultGroup | None, where: Where, step: str | None, again: bool) -> str:
    if group is None:
        return "; nothing was begun"
    record = group.record
    share = 100 * record.done // record.total if record.total else 0
    if again:
        return f"; {share} % of {group.name} is done and kept, the same command goes on"
    command = ["usidx", "resume", group.store, group.name, *(("--step", step) if step else ())]
    return f"; {share} % is done and kept, go on with: {shlex.join([*command, *where.words()])}"


def report(result: ResultGroup, computed: bool, seconds: float) -> Mapping[str, Any]:
    """What `--json` tells of a result."""
    record = result.record
    return {
        "group": result.path,
        "store": result.store,
        "status": record.status,
        "parameters": record.parameters,
        "computed": computed,
        "failed": record.failed,
        "seconds": round(seconds, 6),
    }
