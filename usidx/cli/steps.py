"""`usidx steps`: which steps can be run by name."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import click

from usidx.demo.wording import as_json

if TYPE_CHECKING:
    from usidx.step import Step

EXAMPLES = """\b
Examples:
  usidx steps
  usidx steps center_of_mass
  usidx run scan.h5 Raw_Data center_of_mass --set radius=12.5
"""


@click.command("steps", epilog=EXAMPLES, short_help="Which steps can be run by name.")
@click.argument("name", required=False)
@click.option("--json", "machine", is_flag=True, help="Report as JSON.")
def steps(name: str | None, machine: bool) -> None:
    """Every step: name, version and what it gives; of NAME alone, the whole documentation."""
    from usidx.step import find_step, registered

    def row(step: Step[..., Any]) -> dict[str, Any]:
        signature = list(step.signature.parameters.values())
        return {
            "name": _function(step),
            "tool": step.name,
            "version": step.version,
            "summary": step.summary,
            "parameters": [each.name for each in signature[1:]],
        }

    found = [find_step(name)] if name else list(registered().values())
    if machine:
        click.echo(as_json([row(each) for each in found]))
        return
    if name:
        (step,) = found
        click.echo(f"{_function(step)} {step.version} ({step.name})\n")
        click.echo(inspect.getdoc(step.function) or "")
        return
    rows = sorted((row(each) for each in found), key=lambda each: str(each["name"]))
    wide = max(len(each["name"]) for each in rows)
    for each in rows:
        click.echo(f"{each['name']:<{wide}}  {each['version']:<3} {each['summary']}")


def _function(step: Step[..., Any]) -> str:
    """The name to type: that of the function, or that of the tool where it has none."""
    return str(getattr(step.function, "__name__", step.name))
