"""`usidx explore`: a map and a spectrum in a window, or as a picture."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

import click

from usidx.cli.readers import reader_options
from usidx.cli.refusals import Refusal
from usidx.cli.storage import storage_options

EXAMPLES = """\b
Examples:
  usidx explore scan.h5                        click in the map, click in the spectrum
  usidx explore scan.h5 Raw_Data --at Frequency=330e3
  usidx explore eels.hspy --save eels.png      a picture, without a window
  usidx explore scan.h5 Fit --field "Amplitude [V]" --at Y=3 --at X=2e-6
Keys: Shift with an arrow steps in the map, comma and full stop along the spectrum, m goes on to the
next component of complex values, d to decades and back.
"""


class NoWindow(Refusal):
    """There is nothing to draw on; exit status 2."""

    exit_code = 2


@click.command(epilog=EXAMPLES, short_help="Look at a map and a spectrum that follow each other.")
@click.argument("file")
@click.argument("main", required=False)
@click.option(
    "--at", "places", multiple=True, metavar="DIM=LABEL",
    help="Where to begin, the nearest there is; may be repeated.",
)  # fmt: skip
@click.option("--field", metavar="NAME", help="Of a compound Main; the first with numbers else.")
@click.option(
    "--component", type=click.Choice(["amplitude", "phase", "real", "imag"]),
    help="Of complex values; the amplitude else.",
)  # fmt: skip
@click.option("--log", is_flag=True, help="Draw values by decades.")
@click.option("--upper", is_flag=True, help="Draw rows from the top down, as cameras have them.")
@click.option("--save", metavar="PICTURE", help="Write a .png, .svg or .pdf; open no window.")
@click.option("--overwrite", is_flag=True, help="Replace PICTURE where it is there already.")
@reader_options
@storage_options
def explore(
    file: str,
    main: str | None,
    places: tuple[str, ...],
    field: str | None,
    component: Any,
    log: bool,
    upper: bool,
    save: str | None,
    overwrite: bool,
    how: dict[str, Any],
) -> None:
    """Show MAIN of FILE in a window: a map, and the spectrum where you click.

    MAIN is the path of a Main, or any unique ending of it; the raw Main where there is one. Nothing
    is written but PICTURE.
    """
    import usidx
    from usidx.explore.figure import explore as explored
    from usidx.explore.figure import has_window, require_matplotlib

    if overwrite and save is None:
        raise click.UsageError("--overwrite is for --save")
    at = _labels(places)
    require_matplotlib()
    if save is None and not has_window():
        raise NoWindow(
            "matplotlib opens no window here (there is no display, or no toolkit such as "
            "python3-tk); write a picture with --save picture.png"
        )
    if save is not None and os.path.exists(save) and not overwrite:
        raise Refusal(f"{save!r} is there already; --overwrite replaces it")
    obj = usidx.open(file, main, **how)
    if save is not None:
        import matplotlib as mpl

        mpl.use("agg")
    shown = explored(obj, at=at, field=field, component=component, log=log, upper=upper)
    if save is None:
        shown.show()
    else:
        click.echo(f"wrote {shown.save(save, overwrite=overwrite)}")


def _labels(places: Sequence[str]) -> dict[str, Any]:
    """Labels by their names, of DIM=LABEL texts; a LABEL that is no number is text."""
    found: dict[str, Any] = {}
    for each in places:
        name, equals, value = (part.strip() for part in each.partition("="))
        if not (name and equals and value):
            raise click.UsageError(f"--at takes DIM=LABEL, such as Frequency=330e3; got {each!r}")
        if name in found:
            raise click.UsageError(f"--at: {name!r} is given twice")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found
