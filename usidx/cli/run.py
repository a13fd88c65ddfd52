"""`usidx run`: a step, or the steps of a recipe, on a Main, into result groups."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from usidx.cli.parsing import parsed
from usidx.cli.readers import reader_options
from usidx.cli.storage import storage_options
from usidx.cli.where import Where, going_on, placed, report
from usidx.demo.wording import as_json, in_time

if TYPE_CHECKING:
    from usidx.process.process import Process
    from usidx.process.results.result import ResultGroup
    from usidx.step import Step

EXAMPLES = """\b
Examples:
  usidx run scan.h5 Raw_Data sho_guess
  usidx run scan.h5 Raw_Data peak_response --set along=Frequency
  usidx run scan.h5 Raw_Data mean --set 'over=["Frequency"]' --into results.zarr
  usidx run scan.h5 Raw_Data my_steps.py:contrast --memory 4GB
  usidx run scan.h5 Raw_Data my_steps.py:flat_field --source flat=flats.h5:Raw_Data
  usidx run s3://lab/scan.h5 Raw_Data sho_guess --into results.zarr --storage-option profile=lab
  usidx run scan.h5 Raw_Data sho_guess --scheduler tcp://node1:8786
  usidx run scan.h5 Raw_Data sho_guess --slurm jobs.yaml --workers 8
  usidx run scan.h5 recipe.yaml
  usidx run scan.h5 Raw_Data recipe.yaml --steps my_steps.py --into results.zarr
"""


@click.command(epilog=EXAMPLES, short_help="Run a step or a recipe on a Main.")
@click.argument("file")
@click.argument("main", metavar="[MAIN]")
@click.argument("step", required=False, metavar="STEP")
@click.option(
    "--set", "settings", multiple=True, metavar="NAME=VALUE",
    help="A parameter of the step; VALUE is JSON, or else text. Repeat for others.",
)  # fmt: skip
@click.option(
    "--source", "sources", multiple=True, metavar="NAME=[FILE:]MAIN",
    help="A parameter of the step that is another Main, of FILE, another file or a URL.",
)  # fmt: skip
@click.option(
    "--steps", "modules", multiple=True, metavar="FILE",
    help="Import this first, such as my_steps.py, which registers steps of yours.",
)  # fmt: skip
@click.option("--into", metavar="STORE", help="Write the results to this store, not into FILE.")
@click.option(
    "--compression", metavar="NAME",
    help="Of new results: gzip, lzf (HDF5), lz4, zstd (Zarr), or none.",
)  # fmt: skip
@click.option("--fresh", is_flag=True, help="Compute anew even where the same result exists.")
@click.option("--json", "machine", is_flag=True, help="Report as JSON.")
@reader_options
@placed
@storage_options
def run(
    file: str,
    main: str,
    step: str | None,
    settings: tuple[str, ...],
    sources: tuple[str, ...],
    modules: tuple[str, ...],
    into: str | None,
    compression: str | None,
    fresh: bool,
    machine: bool,
    where: Where,
    how: dict[str, Any],
) -> None:
    """Run STEP on MAIN of FILE, block by block, into a result group.

    STEP is the name of a step of usidx, or one of yours as my_steps.py:function or
    package.module:function. Or it is a recipe, a YAML file of several steps; that may say itself
    which MAIN it takes. Each group lies beside MAIN, or at its path in another store (--into).
    What exists already is not computed again; what was interrupted goes on.
    """
    import usidx

    for module in modules:
        _loaded(module)
    if step is None:
        if not _is_recipe(main):
            raise click.UsageError(f"Missing argument 'STEP': what is to be run on {main!r}?")
        chosen, step = None, main
    else:
        chosen = main
    target = Target(into, fresh, False if compression == "none" else compression, where)
    if _is_recipe(step):
        if settings or sources:
            raise click.UsageError(
                "a recipe says parameters and sources itself: no --set, --source"
            )
        reports = recipe_ran(file, chosen, step, target, how)
    else:
        parameters = parsed(settings, "--set") | opened(file, sources)
        process = usidx.open(file, chosen, **how).usid.process(found(step), **parameters)
        with where.options() as options:
            reports = [ran(process, target, options, step)]
    if machine:
        told = [report(each.result, each.computed, each.seconds) for each in reports]
        click.echo(as_json(told if _is_recipe(step) else told[0]))
        return
    for each in reports:
        click.echo(each)


@dataclass(frozen=True)
class Target:
    """Where results go, and how they are made."""

    into: str | None
    fresh: bool
    compression: Any
    where: Where


@dataclass(frozen=True)
class Ran:
    """A result that a command has, computed now or found."""

    result: ResultGroup
    computed: bool
    seconds: float
    failed: int

    def __str__(self) -> str:
        what = (
            "computed and complete" if self.computed else "was there already, nothing was computed"
        )
        more = (
            f"; {self.failed} positions failed, --retry-failed tries them again"
            if self.failed
            else ""
        )
        place = f"{self.result.path}\n  in {self.result.store}"
        return f"{place}: {what} ({in_time(self.seconds)}){more}"


def ran(
    process: Process, target: Target, options: Mapping[str, Any], step: str, again: bool = False
) -> Ran:
    """The result of a process, and whether it had to be computed.

    Parameters
    ----------
    options : of `Process.run`
    step : as it was named on the command line
    again : whether the same command goes on with what is left behind, rather than `usidx resume`
    """
    into, fresh = target.into, target.fresh
    start = time.perf_counter()
    known = {each.path: each.status for each in process.existing(into=into)}

    def partial() -> ResultGroup | None:
        there = process.existing(into=into)
        left = [each for each in there if each.status == "partial"]
        # what this run began, or went on with
        return next((each for each in left if not fresh or each.path not in known), None)

    with going_on(partial, target.where, step if ":" in step else None, again):
        result = process.run(into=into, fresh=fresh, compression=target.compression, **options)
    there = not fresh and known.get(result.path) == "complete"
    reused = there and not target.where.retry_failed
    return Ran(result, not reused, time.perf_counter() - start, result.record.failed)


def recipe_ran(
    file: str, main: str | None, path: str, target: Target, how: Mapping[str, Any]
) -> list[Ran]:
    """The results of the steps of a recipe, in their order.

    Parameters
    ----------
    how : keyword arguments of `usidx.open`, before those of the recipe
    """
    import usidx
    from usidx.process.recipe import run_recipe

    recipe = usidx.read_recipe(path)
    at = recipe.source
    chosen = main or (at.main if at else None)
    source = usidx.open(file, chosen, **{**(at.options if at else {}), **how})
    reports: list[Ran] = []
    with target.where.options() as options:

        def run(process: Process) -> ResultGroup:
            reports.append(ran(process, target, options, "", again=True))
            return reports[-1].result

        run_recipe(source, recipe, target.into, run=run)
    return reports


def _is_recipe(step: str) -> bool:
    return step.lower().endswith((".yaml", ".yml"))


def opened(file: str, sources: tuple[str, ...]) -> dict[str, Any]:
    """Parameters of a step that are Mains, from NAME=MAIN and NAME=FILE:MAIN texts."""
    import usidx

    parameters: dict[str, Any] = {}
    for each in sources:
        name, _, value = each.partition("=")
        if not value or not name.isidentifier():
            raise click.BadParameter(
                f"{each!r} is not NAME=MAIN or NAME=FILE:MAIN, such as flat=flats.h5:Raw_Data",
                param_hint="'--source'",
            )
        store, main = _store_and_main(value)
        parameters[name] = usidx.open(store or file, main)
    return parameters


def _store_and_main(text: str) -> tuple[str | None, str | None]:
    """(file or URL, Main) of FILE:MAIN, of a URL alone, or of MAIN."""
    import os

    from usidx.stores.remote.url import is_url

    store, colon, main = text.rpartition(":")
    if is_url(text):  # with a colon of its own, and another before a port
        return (text, None) if store.count("/") < 3 else (store, main)
    # a Main may have a colon in its name
    return (store, main) if colon and os.path.exists(store) else (None, text)


def found(name: str) -> Step[..., Any]:
    """The Step of that name, or at "file.py:function" or "module:function"."""
    from usidx.errors import OptionError, did_you_mean
    from usidx.step import Step, find_step

    place, colon, function = name.rpartition(":")
    if not colon:
        return find_step(name)
    module = _loaded(place)
    step = getattr(module, function, None)
    if isinstance(step, Step):
        return step
    if step is None:
        names = [each for each, value in vars(module).items() if isinstance(value, Step)]
        raise OptionError(f"{place!r} has no {function!r}{did_you_mean(function, names)}")
    raise OptionError(
        f"{function!r} of {place!r} is no step; write "
        f'@usidx.step("{function.title()}", version="1") above it'
    )


def _loaded(place: str) -> Any:
    """The module at a path or of a name; only ever what the user named on the command line."""
    import importlib
    import importlib.util
    import os
    import sys

    import cloudpickle

    from usidx.errors import OptionError, StoreNotFoundError

    try:
        if not place.endswith(".py"):
            sys.path.insert(0, os.getcwd())
            return importlib.import_module(place)
        if not os.path.exists(place):
            raise StoreNotFoundError(f"there is no file {place!r} to take a step from")
        spec = importlib.util.spec_from_file_location(os.path.basename(place)[:-3], place)
        assert spec is not None  # for the name ends with .py
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        # other processes have no module of that name: they get what is in it
        cloudpickle.register_pickle_by_value(module)
        return module
    except StoreNotFoundError:
        raise
    except Exception as error:
        raise OptionError(
            f"{place!r} cannot be imported: {type(error).__name__}: {error}"
        ) from error
