"""The steps of a recipe, run one after the other into result groups."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import xarray as xr

from usidx.arrays.labels import origin_of
from usidx.errors import PlanError, RecipeError, UsidError, did_you_mean
from usidx.opening import open as open_main
from usidx.process.process import Process
from usidx.process.results.result import ResultGroup
from usidx.process.results.target import Path
from usidx.recipes import MainAt, Recipe, Use, read_recipe
from usidx.recipes.recipe import SOURCE
from usidx.step import find_step

Labelled = xr.DataArray | xr.Dataset


def run_recipe(
    source: Labelled,
    recipe: Recipe | str | os.PathLike[str],
    into: Path | None = None,
    *,
    run: Callable[[Process], ResultGroup] | None = None,
    **options: Any,
) -> dict[str, ResultGroup]:
    """The result group of each step of a recipe, by the steps' names; all are complete.

    Each step is run as `Process.run` does it: what exists is taken as it is, what was interrupted
    goes on, and what depends on something that changed is computed anew, beside the old.

    Parameters
    ----------
    source : that the recipe is run on
    recipe : as `read_recipe` gives it, or the path of its file
    into : the store for all results; that of the source when None
    run : runs the process of each step; its `run(into, **options)` when None
    options : of `Process.run`

    Raises
    ------
    RecipeError : where the recipe cannot be read, or asks for a Main that is not there
    PlanError, StepError : as `Process.run`, naming the step of the recipe; what was computed stays

    Examples
    --------
    >>> import tempfile
    >>> from usidx.recipes import parse_recipe
    >>> from usidx.testing import make_main
    >>> recipe = parse_recipe(
    ...     "usidx_recipe: 1\\n"
    ...     "steps:\\n"
    ...     "- {step: normalize, name: scaled}\\n"
    ...     "- {step: mean, parameters: {over: [Frequency]}}\\n"
    ... )
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     results = run_recipe(make_main(), recipe, into=f"{folder}/results.zarr")
    >>> list(results)
    ['scaled', 'mean']
    """
    read = recipe if isinstance(recipe, Recipe) else read_recipe(recipe)
    mains = _Mains(source, read.sources)
    results: dict[str, ResultGroup] = {}
    for step in read.steps:
        try:
            parameters = {name: mains.opened(use) for name, use in step.sources.items()}
            process = Process(
                find_step(step.step), mains.opened(step.of), {**step.parameters, **parameters}
            )
            made = process.run(into, **options) if run is None else run(process)
        except UsidError as error:
            error.args = (f"step {step.name!r} of the recipe: {error}", *error.args[1:])
            raise
        results[step.name] = mains.made[step.name] = made
    return results


class _Mains:
    """The Mains that steps may take, by their names in the recipe; `made` are those of steps."""

    def __init__(self, source: Labelled, others: Mapping[str, MainAt]) -> None:
        self._source, self._others = source, others
        self.made: dict[str, ResultGroup] = {}

    def opened(self, use: Use) -> Labelled:
        """The Main that is meant.

        Raises
        ------
        RecipeError : where there is none, or several
        """
        found = self._whole(use)
        if use.field is None:
            return found
        fields = [str(each) for each in found.data_vars] if isinstance(found, xr.Dataset) else []
        if use.field not in fields:
            there = f"it has {', '.join(fields)}" if fields else "it is not compound"
            raise RecipeError(
                f"{use.name!r} has no field {use.field!r}{did_you_mean(use.field, fields)}; {there}"
            )
        return found[use.field]

    def _whole(self, use: Use) -> Labelled:
        if use.name in self.made:
            group = self.made[use.name]
            return open_main(group.store, _main_of(group, use), form=use.form)
        origin = origin_of(self._source)
        if use.name == SOURCE:
            if use.form == "nd":
                return self._source
            if origin is None:
                return self._source.usid.to_2d()  # type: ignore[no-any-return]
            return open_main(origin.store, origin.main, form=use.form, **dict(origin.opened_with))
        at = self._others[use.name]
        store = at.store or (origin.store if origin else None)
        if store is None:
            raise PlanError(
                f"{use.name!r} is to be found in the store of the source, but the source is in "
                "none; name its store in the recipe"
            )
        return open_main(store, at.main, form=use.form, **at.options)


def _main_of(group: ResultGroup, use: Use) -> str:
    """Path of the Main of a result that is meant."""
    names = {path.rsplit("/", 1)[-1]: path for path in group.mains}
    if use.main is None and len(names) == 1:
        return next(iter(names.values()))
    if use.main in names:
        return names[use.main]
    found = f"has no Main {use.main!r}" if use.main else "has several Mains"
    hint = did_you_mean(use.main or "", names)
    raise RecipeError(
        f"the result of {use.name!r} {found}{hint}; write one of "
        f"{', '.join(f'{use.name}/{each}' for each in names)}"
    )
