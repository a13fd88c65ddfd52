"""`usidx history`: how a Main came about, and the script or recipe that computes it anew."""

from __future__ import annotations

import click

from usidx.cli.storage import storage_options

EXAMPLES = """\b
Examples:
  usidx history scan.h5 Raw_Data-SHO_Fit_000/SHO_Fit
  usidx history scan.h5 SHO_Fit --script > again.py && python again.py again.zarr
  usidx history scan.h5 SHO_Fit --recipe > recipe.yaml && usidx run other.h5 recipe.yaml
  usidx history scan.h5 SHO_Fit --json
"""


@click.command(epilog=EXAMPLES, short_help="How a Main came about, from the measurement on.")
@click.argument("file")
@click.argument("main", required=False)
@click.option("--json", "machine", is_flag=True, help="Report as JSON.")
@click.option("--script", is_flag=True, help="Write a Python script that computes it anew.")
@click.option("--recipe", is_flag=True, help="Write the recipe that made it, for `usidx run`.")
@storage_options
def history(file: str, main: str | None, machine: bool, script: bool, recipe: bool) -> None:
    """How MAIN of FILE came about: every step from the measurement to it, across files.

    MAIN is the path of a Main, or any unique ending of it.
    """
    import usidx

    if machine + script + recipe > 1:
        raise click.UsageError(
            "--json, --script and --recipe are answers to different questions; take one"
        )
    told = usidx.open(file, main).usid.history
    if recipe:
        click.echo(told.to_recipe(), nl=False)
        return
    click.echo(told.to_json() if machine else told.to_script() if script else repr(told))
