"""What a recipe says, and its text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from usidx.model.provenance import dump_parameters

VERSION = 1
# The Main that a recipe is run on, in `of` and `sources` of its steps.
SOURCE = "source"


@dataclass(frozen=True)
class MainAt:
    """Where a Main lies.

    Parameters
    ----------
    main : its path in the store, or any unique ending of it; None for the only one
    store : path or URL; None for the store that the recipe is run on
    options : more arguments of `usidx.open`, such as reader
    """

    main: str | None = None
    store: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Use:
    """A Main that a step takes.

    Parameters
    ----------
    name : SOURCE, a name among the recipe's sources, or that of an earlier step
    main : last part of the path, where a step made several Mains
    field : of a compound Main; None for all of it
    form : "nd" or "2d"
    """

    name: str
    main: str | None = None
    field: str | None = None
    form: Literal["nd", "2d"] = "nd"


@dataclass(frozen=True)
class RecipeStep:
    """A step of a recipe.

    Parameters
    ----------
    name : by which later steps speak of its result
    step : name of a registered step
    of : what it is run on
    parameters : of the step, those that are Mains aside
    sources : parameters of the step that are Mains
    version : that the step must have; None for any
    """

    name: str
    step: str
    of: Use
    parameters: Mapping[str, Any] = field(default_factory=dict)
    sources: Mapping[str, Use] = field(default_factory=dict)
    version: str | None = None


@dataclass(frozen=True)
class Recipe:
    """Steps in the order in which they are run.

    Parameters
    ----------
    steps : each takes the source, or what steps before it made
    source : the Main that the recipe was made for; None where it does not say
    sources : other Mains, by names that the steps use

    Examples
    --------
    >>> smooth = RecipeStep("smooth", "Smooth", Use(SOURCE), {"width": 3})
    >>> print(Recipe((smooth,)).to_yaml(), end="")
    usidx_recipe: 1
    steps:
    - name: smooth
      step: Smooth
      of: source
      parameters:
        width: 3
    """

    steps: tuple[RecipeStep, ...]
    source: MainAt | None = None
    sources: Mapping[str, MainAt] = field(default_factory=dict)

    def to_yaml(self) -> str:
        """The text of the recipe, which `parse_recipe` reads back exactly.

        Raises
        ------
        PlanError : for parameters that no file can keep
        """
        import yaml

        told: dict[str, Any] = {"usidx_recipe": VERSION}
        if self.source is not None:
            told["source"] = _place(self.source)
        if self.sources:
            told["sources"] = {name: _place(each) for name, each in self.sources.items()}
        told["steps"] = [_step(each) for each in self.steps]
        text: str = yaml.safe_dump(told, sort_keys=False, allow_unicode=True, width=96)
        return text


def _place(at: MainAt) -> dict[str, Any]:
    told = {"store": at.store, "main": at.main, "options": _plain(at.options)}
    return {key: value for key, value in told.items() if value}


def _step(step: RecipeStep) -> dict[str, Any]:
    told: dict[str, Any] = {"name": step.name, "step": step.step}
    if step.version is not None:
        told["version"] = step.version
    told["of"] = _use(step.of)
    if step.sources:
        told["sources"] = {name: _use(each) for name, each in step.sources.items()}
    if step.parameters:
        told["parameters"] = _plain(step.parameters)
    return told


def _use(use: Use) -> str | dict[str, Any]:
    if use.field is None and use.form == "nd":
        return use.name if use.main is None else f"{use.name}/{use.main}"
    told = {"name": use.name, "main": use.main, "field": use.field, "form": use.form}
    return {key: value for key, value in told.items() if value and value != "nd"}


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as JSON has them, what it has no word for as result groups keep it."""
    told: dict[str, Any] = json.loads(dump_parameters(values))
    return told
