"""The command line: `usidx demo | info | tree | validate | run | resume | convert | ...`."""

from __future__ import annotations

import click

from usidx.cli.convert import convert
from usidx.cli.demo import demo
from usidx.cli.explore import explore
from usidx.cli.history import history
from usidx.cli.inspect import info, tree
from usidx.cli.readers import readers
from usidx.cli.refusals import Commands
from usidx.cli.resume import resume
from usidx.cli.run import run
from usidx.cli.stack import stack
from usidx.cli.steps import steps
from usidx.cli.validate import validate

EPILOG = """\b
Examples:
  usidx demo                         see what usidx does, on made-up data
  usidx info scan.h5                 which Mains a file holds
  usidx explore scan.h5              a map and a spectrum, to click in
  usidx run scan.h5 Raw_Data sho_guess
  usidx convert scan.h5 scan.zarr
  usidx stack map out.zarr           a folder of images as one measurement

Exit status: 0 when done, 1 when something was found wrong, 2 when used wrong, 130 when interrupted.
"""


def _version(ctx: click.Context, option: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        import usidx

        click.echo(f"usidx {usidx.__version__}")
        ctx.exit()


@click.group(
    "usidx",
    cls=Commands,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version", is_flag=True, callback=_version, expose_value=False, is_eager=True,
    help="Say which version this is.",
)  # fmt: skip
def main() -> None:
    """Spectra and images in the USID model: look at them, run steps on them, convert them."""


for command in (
    demo, info, tree, explore, history, validate, run, resume, convert, stack, readers, steps,
):  # fmt: skip
    main.add_command(command)
