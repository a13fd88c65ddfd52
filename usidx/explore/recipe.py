"""A history as the recipe that made its last Main."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from usidx.errors import PlanError
from usidx.explore.faults import fault_of
from usidx.explore.steps import HistoryStep, Place
from usidx.recipes import MainAt, Recipe, RecipeStep, Use
from usidx.recipes.recipe import SOURCE

if TYPE_CHECKING:
    from usidx.explore.history import History


def recipe_of(history: History) -> Recipe:
    """The recipe of a history, as `History.to_recipe`."""
    by_place = {(each.store, each.main): each for each in history}
    numbers = {place: number for number, place in enumerate(by_place, start=1)}
    for place, each in by_place.items():
        fault = "" if _is_measured(each) else fault_of(each, numbers)
        if fault:
            raise PlanError(f"step {numbers[place]}, {each.call}, cannot be made again: {fault}")
    first = _first(history, by_place)
    if first == (history.store, history.main):
        raise PlanError(f"{history.main!r} was measured: there is no recipe that makes it")
    uses = {first: Use(SOURCE)}
    sources: dict[str, MainAt] = {}
    steps: dict[Place, RecipeStep] = {}
    for place, each in by_place.items():
        if place == first:
            continue
        taken = [SOURCE, *sources, *(step.name for step in steps.values())]
        name = each.main.rsplit("/", 1)[-1]
        if _is_measured(each):
            uses[place] = Use(_free(name, taken))
            sources[uses[place].name] = _at(each)
            continue
        group = (each.store, str(each.group))
        if group not in steps:
            steps[group] = _step(each, _free(str(each.tool), taken), uses)
        uses[place] = Use(steps[group].name, name)
    return Recipe(tuple(steps.values()), _at(by_place[first]), sources)


def _is_measured(step: HistoryStep) -> bool:
    return step.group is None and step.status != "missing"


def _first(history: History, by_place: Mapping[Place, HistoryStep]) -> Place:
    """The measurement that the last Main was made of, by way of first sources."""
    place = (history.store, history.main)
    while by_place[place].sources:
        place = by_place[place].sources[0]
    return place


def _step(step: HistoryStep, name: str, uses: Mapping[Place, Use]) -> RecipeStep:
    of = _taken(uses[step.sources[0]], step.field, step.form)
    sources = {}
    for parameter, each in step.inputs.items():
        place = step.place_of(each)
        assert place is not None  # or it would be a fault
        sources[parameter] = _taken(uses[place], each.field, each.form)
    return RecipeStep(name, str(step.tool), of, step.parameters, sources, step.version)


def _taken(use: Use, field: str | None, form: str) -> Use:
    return replace(use, field=field, form="2d" if form == "2d" else "nd")


def _at(step: HistoryStep) -> MainAt:
    return MainAt(step.main, step.store, step.opened_with)


def _free(name: str, taken: Sequence[str]) -> str:
    """The name as recipes may have it, with a number where it is taken."""
    clean = re.sub(r"[^\w-]", "_", name)
    clean = clean if re.match(r"[^\W\d]", clean) else f"_{clean}"
    numbered = (clean if n == 1 else f"{clean}_{n}" for n in range(1, len(taken) + 2))
    return next(each for each in numbered if each not in taken)
