"""`usidx resume`: a result group that is not complete, completed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from usidx.cli.run import found
from usidx.cli.storage import storage_options
from usidx.cli.where import Where, going_on, placed, report
from usidx.demo.wording import as_json, in_time

if TYPE_CHECKING:
    from usidx.process.results.result import ResultGroup

EXAMPLES = """\b
Examples:
  usidx resume scan.h5                                  the only one that is not complete
  usidx resume scan.h5 Raw_Data-SHO_Fit_000 --memory 4GB
  usidx resume scan.h5 Raw_Data-Contrast_000 --step my_steps.py:contrast
  usidx resume scan.h5 Raw_Data-SHO_Fit_000 --slurm jobs.yaml
  usidx resume results.zarr --storage-options s3.json   the source is in S3
"""


@click.command(epilog=EXAMPLES, short_help="Complete a result group that was interrupted.")
@click.argument("file")
@click.argument("group", required=False)
@click.option("--step", metavar="STEP", help="The step that makes it, as for `usidx run`.")
@click.option("--json", "machine", is_flag=True, help="Report as JSON.")
@placed
@storage_options
def resume(file: str, group: str | None, step: str | None, machine: bool, where: Where) -> None:
    """Complete GROUP of FILE: compute what is missing in it, and nothing else.

    GROUP is the path of a result group, or any unique ending of it; it may be left out where only
    one is not complete. A step of your own is named with --step, as files are never trusted to
    name code.
    """
    start = time.perf_counter()
    named = None if step is None else found(step)
    result = _found(file, group)
    before = result.record
    with (
        going_on(lambda: result, where, step),
        where.options() as options,
    ):
        result.resume(named, **options)
    seconds = time.perf_counter() - start
    computed = before.status != "complete" or where.retry_failed
    if machine:
        click.echo(as_json(report(result, computed, seconds)))
        return
    what = "complete" if computed else "was complete already, nothing was computed"
    failed = result.record.failed
    more = f"; {failed} positions failed, --retry-failed tries them again" if failed else ""
    click.echo(f"{result.path}\n  in {result.store}: {what} ({in_time(seconds)}){more}")


def _found(file: str, name: str | None) -> ResultGroup:
    """The result group of that name, or the only one that is not complete.

    Raises
    ------
    MainNotFoundError, AmbiguousMainError : with those that there are
    """
    import usidx
    from usidx.errors import AmbiguousMainError, MainNotFoundError, did_you_mean
    from usidx.process.results.result import ResultGroup
    from usidx.stores import store_at

    store = store_at(file)
    status: dict[str, str] = {}
    for each in usidx.list_mains(file):
        if each.kind == "result":
            path = each.path.rsplit("/", 1)[0]
            status[path] = (
                each.status if status.get(path, "complete") == "complete" else (status[path])
            )
    if name is None:
        fitting = [path for path, told in status.items() if told != "complete"]
        wanted = "result group that is not complete"
    else:
        ending = "/" + name.strip("/")
        fitting = [path for path in status if path.endswith(ending)]
        wanted = f"result group {name!r}"
    if len(fitting) == 1:
        return ResultGroup(store.path, fitting[0])
    if fitting:
        raise AmbiguousMainError(
            f"{file!r} has more than one {wanted}: {', '.join(fitting)}; name one of them"
        )
    near = did_you_mean(name, [path.rsplit("/", 1)[-1] for path in status]) if name else ""
    there = f"; there are {', '.join(status)}" if status else "; it has no results"
    raise MainNotFoundError(f"{file!r} has no {wanted}{near or there}")
