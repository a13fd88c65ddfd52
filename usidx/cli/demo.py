"""`usidx demo`: what usidx does, on made-up data or on a file of yours."""

from __future__ import annotations

import click

EXAMPLES = """\b
Examples:
  usidx demo                         a measurement of 268 MB, made up, in the folder demo
  usidx demo --small                 the same in seconds
  usidx demo scan.h5                 your own file, which is only read
  usidx demo scan.h5 Raw_Data --out look
"""


@click.command(epilog=EXAMPLES, short_help="Show what usidx does, on made-up or your own data.")
@click.argument("file", required=False)
@click.argument("main", required=False)
@click.option("--small", is_flag=True, help="Make up 14 MB rather than 268 MB.")
@click.option("--out", default="demo", show_default=True, help="Folder that everything lands in.")
@click.option("--dark", is_flag=True, help="Draw on dark paper.")
@click.option("--in-place", is_flag=True, help="Write results into FILE, beside their source.")
def demo(
    file: str | None, main: str | None, small: bool, out: str, dark: bool, in_place: bool
) -> None:
    """Show what usidx does: open a measurement, draw it, run a step, export it.

    Without FILE a band-excitation measurement is made up first. With FILE, its raw Main (or MAIN)
    is shown the same way; results go to the folder, FILE is left as it is unless --in-place.
    """
    from usidx.demo import own, story

    if file is None and in_place:
        raise click.UsageError("--in-place needs a FILE")
    if file is not None and small:
        raise click.UsageError("--small is for made-up data; leave it out with a FILE")
    if file is None:
        story.tell(out, small=small, dark=dark, say=click.echo)
    else:
        own.tell_of(file, main, out, in_place=in_place, dark=dark, say=click.echo)
