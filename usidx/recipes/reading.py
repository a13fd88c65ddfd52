"""A recipe from the text of a YAML file; whatever is wrong with it is said with its line."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from usidx.errors import PlanError, RecipeError, did_you_mean
from usidx.model.provenance import canonical, load_parameters
from usidx.recipes.lines import Lined, Spot, lined
from usidx.recipes.recipe import SOURCE, VERSION, MainAt, Recipe, RecipeStep, Use
from usidx.step import find_step

_NAME = re.compile(r"[^\W\d][\w-]*")
_WHOLE = ("usidx_recipe", "source", "sources", "steps")
_STEP = ("name", "step", "version", "of", "parameters", "sources")
_PLACE = ("store", "main", "options")
_USE = ("name", "main", "field", "form")


def read_recipe(path: str | os.PathLike[str]) -> Recipe:
    """The recipe in a YAML file; stores that it names are looked for from the file's folder.

    Steps are named, and looked up among the registered ones; nothing of the file is ever run.

    Parameters
    ----------
    path : of the file

    Raises
    ------
    RecipeError : naming everything that is wrong, with its line
    """
    name = os.fspath(path)
    try:
        with open(name, encoding="utf-8") as file:
            text = file.read()
    except OSError as error:
        raise RecipeError(f"the recipe {name!r} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise RecipeError(f"the recipe {name!r} is no text in UTF-8") from error
    return parse_recipe(text, name, os.path.dirname(os.path.abspath(name)))


def parse_recipe(text: str, name: str = "recipe", folder: str | None = None) -> Recipe:
    """The recipe that a YAML text says.

    Parameters
    ----------
    name : what errors call it
    folder : from which relative paths of stores are meant; as they are when None

    Raises
    ------
    RecipeError : naming everything that is wrong, with its line

    Examples
    --------
    >>> recipe = parse_recipe("usidx_recipe: 1\\nsteps:\\n- step: normalize\\n")
    >>> recipe.steps[0].of
    Use(name='source', main=None, field=None, form='nd')
    >>> parse_recipe("usidx_recipe: 1\\nsteps:\\n- step: normalise\\n")
    Traceback (most recent call last):
        ...
    usidx.errors.RecipeError: recipe, line 3: there is no registered step 'normalise' ...
    """
    found = lined(text, name)
    recipe = Recipe(()) if found.faults else _Reader(found, folder).recipe()
    if found.faults:
        told = sorted(set(found.faults))
        raise RecipeError("; ".join(f"{name}, line {line}: {fault}" for line, fault in told))
    return recipe


class _Reader:
    """Makes a recipe of a text, to which it adds faults."""

    def __init__(self, text: Lined, folder: str | None) -> None:
        self._text_of, self._folder = text, folder
        self._names = [SOURCE]

    def recipe(self) -> Recipe:
        """What the text says; of no use where it has faults."""
        told = self._mapping(self._text_of.told, (), _WHOLE)
        version = told.get("usidx_recipe")
        if version != VERSION or type(version) is not int:
            found = told.get("usidx_recipe", "nothing")
            self._text_of.fault(
                ("usidx_recipe",), f"expected 'usidx_recipe: {VERSION}', found {found!r}"
            )
        source = self._place(told["source"], ("source",)) if "source" in told else None
        sources = self._mapping(told.get("sources", {}), ("sources",))
        places = {}
        for key, value in sources.items():
            self._new_name(key, ("sources", key))
            places[key] = self._place(value, ("sources", key))
        steps = told.get("steps")
        if not isinstance(steps, list) or not steps:
            self._text_of.fault(("steps",), "'steps' must be a list of steps")
            return Recipe(())
        made: list[RecipeStep] = []
        for number, each in enumerate(steps):
            made.append(self._step(each, ("steps", number), made[-1].name if made else SOURCE))
        return Recipe(tuple(made), source, places)

    def _step(self, told: Any, spot: Spot, before: str) -> RecipeStep:
        told = self._mapping(told, spot, _STEP)
        name = self._text(told, "name", spot) or self._text(told, "step", spot) or "?"
        title = self._text(told, "step", spot)
        if title is None:
            self._text_of.fault(
                spot, "a step needs the name of a registered step: 'step: fft_filter'"
            )
        of = self._use(told.get("of", before), (*spot, "of"))
        given = self._mapping(told.get("sources", {}), (*spot, "sources"))
        sources = {key: self._use(each, (*spot, "sources", key)) for key, each in given.items()}
        parameters = self._parameters(told.get("parameters", {}), (*spot, "parameters"))
        version = self._text(told, "version", spot)
        if title is not None:
            self._check(title, version, parameters, sources, spot)
        self._new_name(name, (*spot, "name" if "name" in told else "step"))
        return RecipeStep(name, title or "?", of, parameters, sources, version)

    def _check(
        self,
        title: str,
        version: str | None,
        parameters: Mapping[str, Any],
        sources: Mapping[str, Use],
        spot: Spot,
    ) -> None:
        """That there is such a step, of that version, and that it takes these parameters."""
        for twice in parameters.keys() & sources.keys():
            self._text_of.fault((*spot, "sources", twice), f"{twice!r} is a parameter and a source")
        try:
            step = find_step(title)
        except PlanError as error:
            self._text_of.fault((*spot, "step"), str(error))
            return
        if version is not None and step.version != version:
            self._text_of.fault(
                (*spot, "version"),
                f"step {step.name!r} has version {step.version!r} here, the recipe wants "
                f"{version!r}; leave the version out to take what there is",
            )
        try:
            step.parameters({**parameters, **sources})
        except PlanError as error:
            where = "parameters" if (*spot, "parameters") in self._text_of.lines else "step"
            self._text_of.fault((*spot, where), str(error))

    def _place(self, told: Any, spot: Spot) -> MainAt:
        """A Main from 'STORE:MAIN', from 'MAIN', or from a mapping."""
        if isinstance(told, str):
            place, _, main = told.rpartition(":")
            return MainAt(main or None, self._store(place or None))
        told = self._mapping(told, spot, _PLACE)
        options = self._parameters(told.get("options", {}), (*spot, "options"))
        store = self._store(self._text(told, "store", spot))
        return MainAt(self._text(told, "main", spot), store, options)

    def _store(self, store: str | None) -> str | None:
        if store is None or self._folder is None or "://" in store:
            return store
        return os.path.join(self._folder, store)

    def _use(self, told: Any, spot: Spot) -> Use:
        if isinstance(told, str):
            name, _, part = told.partition("/")
            use = Use(name, part or None)
        else:
            told = self._mapping(told, spot, _USE)
            values = {key: self._text(told, key, spot) for key in _USE}
            form = values.pop("form") or "nd"
            if form not in ("nd", "2d"):
                self._text_of.fault((*spot, "form"), f"the form is 'nd' or '2d', not {form!r}")
            taken = values.pop("name") or SOURCE
            use = Use(taken, **values, form="2d" if form == "2d" else "nd")
        if use.name not in self._names:
            self._text_of.fault(
                spot,
                f"there is no {use.name!r} before this{did_you_mean(use.name, self._names)}; "
                f"there are {', '.join(self._names)}",
            )
        return use

    def _parameters(self, told: Any, spot: Spot) -> dict[str, Any]:
        told = self._mapping(told, spot)
        found: dict[str, Any] = {}
        for key, value in told.items():
            try:
                found |= canonical(load_parameters(json.dumps({key: value})))
            except (PlanError, TypeError, ValueError, KeyError) as error:
                self._text_of.fault((*spot, key), f"{key!r} is no value of a parameter: {error}")
        return found

    def _new_name(self, name: str, spot: Spot) -> None:
        if not _NAME.fullmatch(name):
            self._text_of.fault(spot, f"{name!r} is no name: letters, digits, '_' and '-'")
        if name in self._names:
            self._text_of.fault(spot, f"there is a {name!r} already; give this one another 'name'")
        self._names.append(name)

    def _text(self, told: Mapping[str, Any], key: str, spot: Spot) -> str | None:
        value = told.get(key)
        if value is None or isinstance(value, str):
            return value or None
        self._text_of.fault((*spot, key), f"{key!r} must be text, found {value!r}: write '{value}'")
        return None

    def _mapping(self, told: Any, spot: Spot, known: Sequence[str] = ()) -> dict[str, Any]:
        if not isinstance(told, dict):
            what = f"{spot[-1]!r}" if spot else "a recipe"
            wanted = f" of {', '.join(known)}" if known else ""
            self._text_of.fault(
                spot, f"{what} must be a mapping{wanted}, found {type(told).__name__}"
            )
            return {}
        for key in told if known else ():
            if key not in known:
                hint = did_you_mean(key, known) or f"; there are {', '.join(known)}"
                self._text_of.fault((*spot, key), f"there is no key {key!r}{hint}")
        return told
