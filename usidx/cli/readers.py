"""`usidx readers`: which files usidx opens, and how each kind is said to be read."""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Callable
from typing import Any

import click

from usidx.cli.parsing import parsed
from usidx.demo.wording import as_json

EXAMPLES = """\b
Examples:
  usidx readers
  usidx info stack.npy --option n_position=1
  usidx convert frames.raw scan.h5 --reader raw --option nav_shape=[256,256]
"""
USID = (
    ("h5usid", "USID in HDF5, as pyUSID writes it", ".h5 .hdf5 .hf5"),
    ("zarr", "USID in Zarr", ".zarr"),
    ("netcdf", "USID in netCDF-4", ".nc"),
)


def reader_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--reader`, `--option` and `--allow-external`, for commands that open a file.

    The command gets `how`, keyword arguments of `usidx.open`.
    """

    @functools.wraps(command)
    def opening(
        reader: str | None, reading: tuple[str, ...], external: tuple[str, ...], **rest: Any
    ) -> Any:
        how = parsed(reading, "--option")
        if reader is not None:
            how["reader"] = reader
        if external:
            how["allow_external"] = list(external)
        return command(how=how, **rest)

    allow = click.option(
        "--allow-external", "external", multiple=True, metavar="FOLDER",
        help="A folder that FILE may reach into, such as its own; may be repeated.",
    )  # fmt: skip
    option = click.option(
        "--option", "reading", multiple=True, metavar="NAME=VALUE",
        help="An option of the reader, such as nav_shape=[256,256]; may be repeated.",
    )  # fmt: skip
    reader = click.option(
        "--reader", metavar="NAME", help="How to read it; see usidx readers. By the content else."
    )
    return reader(option(allow(opening)))


@click.command("readers", epilog=EXAMPLES, short_help="Which files usidx opens.")
@click.option("--json", "machine", is_flag=True, help="Report as JSON.")
def readers(machine: bool) -> None:
    """Every reader: name, kind of file, endings, and what is missing to use it."""
    from usidx.readers import readers as known

    rows: list[dict[str, Any]] = [
        {"name": name, "title": title, "extensions": endings.split(), "lazy": True, "missing": []}
        for name, title, endings in USID
    ]
    rows += [
        {
            "name": each.name,
            "title": each.title,
            "extensions": list(each.extensions),
            "lazy": each.is_lazy,
            "missing": list(each.missing),
            **({"install": each.install} if each.missing else {}),
        }
        for each in known().values()
    ]
    if machine:
        click.echo(as_json(rows))
        return
    wide = 2 + max(len(str(row["name"])) for row in rows)
    for row in rows:
        click.echo(f"{row['name']:<{wide}}{row['title']}")
        if row["missing"]:
            needed = ", ".join(row["missing"])
            click.echo(f"{'':<{wide}}not installed, needs {needed}: {row['install']}")
        how = "block by block: " if row["lazy"] else "as a whole: "
        ends = how + " ".join(row["extensions"])
        indent = " " * wide
        click.echo(textwrap.fill(ends, 98, initial_indent=indent, subsequent_indent=indent))
