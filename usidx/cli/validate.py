"""`usidx validate`: everything in a file that is not as USID asks."""

from __future__ import annotations

import click

from usidx.demo.wording import as_json

EXAMPLES = """\b
Examples:
  usidx validate scan.h5             what is wrong, where, and how to mend it
  usidx validate scan.h5 --values    read every value, too: checksums are proven
  usidx validate scan.h5 --json      the same for scripts

Exit status: 1 when there is an error, 0 when there are warnings and notes at most.
"""
_COLORS = {"error": "red", "warning": "yellow", "note": "cyan"}


@click.command(epilog=EXAMPLES, short_help="What in a file is not as USID asks.")
@click.argument("file")
@click.option("--json", "machine", is_flag=True, help="Report as JSON.")
@click.option(
    "--limit", type=click.FloatRange(min=0, min_open=True), default=60.0, show_default=True,
    metavar="SECONDS", help="Give up after so long.",
)  # fmt: skip
@click.option("--values", is_flag=True, help="Read every value, too.")
@click.option(
    "--allow-external", multiple=True, metavar="FOLDER",
    help="A folder that FILE may reach into; may be given several times.",
)  # fmt: skip
@click.pass_context
def validate(
    ctx: click.Context,
    file: str,
    machine: bool,
    limit: float,
    values: bool,
    allow_external: tuple[str, ...],
) -> None:
    """Everything in FILE that is not as USID asks: errors, warnings and notes.

    FILE is looked at in a process of its own, so that one that makes HDF5 crash or hang does not
    take anything else with it.
    """
    import usidx
    from usidx.validating.report import in_lines

    report = usidx.validate(file, values=values, limit=limit, allow_external=allow_external)
    if machine:
        click.echo(as_json(report.to_dict()))
    else:
        click.echo(click.style(report.headline(), bold=True))
        for each in report.violations:
            head, _, rest = in_lines(each).partition(" ")
            click.echo(f"{click.style(head, fg=_COLORS[each.grade])} {rest}")
    ctx.exit(0 if report.ok else 1)
