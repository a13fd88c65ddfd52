"""The Mains that a result was made of, as its record has them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import xarray as xr

from usidx.arrays.origin import Origin
from usidx.errors import PlanError
from usidx.model.inputs import ATTRIBUTE as INPUTS
from usidx.model.inputs import (
    OPENED,
    InputFacts,
    Place,
    dump_inputs,
    dump_opened,
    load_inputs,
    load_opened,
)
from usidx.process.planning.inputs import Input
from usidx.process.planning.plan import Plan
from usidx.process.results.content import ATTRIBUTE, as_attribute, content_of
from usidx.stores.base import ResultRecord

Labelled = xr.DataArray | xr.Dataset


@dataclass(frozen=True)
class SourceMain:
    """A Main that a result was made of: path of its store, and its path within.

    Parameters
    ----------
    store, main : paths
    allow_external : folders that the store may reach into
    parameters : of the step, which it was; () for the Main that the step was run on
    opened_with : arguments of `usidx.open`, as (name, value), that it takes to open it
    """

    store: str
    main: str
    allow_external: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    opened_with: tuple[tuple[str, Any], ...] = ()

    def open(self, **options: Any) -> Labelled:
        """The Main, lazily, with the options of `usidx.open`."""
        from usidx.opening import open as open_main

        usual = {"allow_external": self.allow_external, **dict(self.opened_with)}
        return open_main(self.store, self.main, **{**usual, **options})


def sources_of(plan: Plan, store: str) -> tuple[Place, ...]:
    """(store, path) of each Main that a plan has as a source, once, as results in `store` say it.

    The store is "" where it is the same.
    """
    return tuple(dict.fromkeys(_place(each, store) for each in _origins(plan)))


def _origins(plan: Plan) -> list[Origin]:
    sources = [plan.source, *(each.source for each in plan.inputs), *plan.further]
    return [each.origin for each in sources if each.origin is not None]


def source_attrs(plan: Plan, store: str) -> dict[str, Any]:
    """Attributes of a result group that say what each source was, and what was in it.

    `usid_inputs` has for each parameter that is a further source its number in `sources_of`, or,
    where no store holds it, its token and the Mains it was made of.
    """
    places = sources_of(plan, store)
    told = {each.name: _facts(each, places, store) for each in plan.inputs}
    attrs = {INPUTS: dump_inputs(told)} if told else {}
    opened = {places.index(_place(each, store)): each.opened_with for each in _origins(plan)}
    if any(opened.values()):
        attrs[OPENED] = dump_opened({number: dict(each) for number, each in opened.items() if each})
    content = content_of(plan)
    return attrs | ({ATTRIBUTE: as_attribute(content)} if content else {})


def _facts(each: Input, places: tuple[Place, ...], store: str) -> InputFacts:
    origin = each.source.origin
    if origin is None:
        made_of = tuple(_place(main, store) for main in each.source.made_of)
        return InputFacts(token=each.source.identity, made_of=made_of)
    return InputFacts(places.index(_place(origin, store)), origin.field, origin.form)


def _place(origin: Origin, store: str) -> Place:
    same = os.path.realpath(origin.store) == os.path.realpath(store)
    return ("" if same else str(origin.store), origin.main)


def is_derived(record: ResultRecord) -> bool:
    """Whether the step was run on an array that no store holds."""
    return "usid_derived" in record.attrs


def sources_in(record: ResultRecord, allow_external: tuple[str, ...]) -> tuple[SourceMain, ...]:
    """Every source of a result, in the order of the record."""
    found = []
    told, opened = load_inputs(record.attrs), load_opened(record.attrs)
    for number, (store, main) in enumerate(record.sources):
        names = tuple(name for name, each in told.items() if each.source == number)
        # what was allowed to this store was not allowed to others that it names
        allowed = () if store else allow_external
        how = tuple(opened.get(number, {}).items())
        found.append(SourceMain(store or record.store, main, allowed, names, how))
    return tuple(found)


def arguments_of(record: ResultRecord, sources: tuple[SourceMain, ...]) -> dict[str, Labelled]:
    """The parameters of a result that were further sources, opened.

    Raises
    ------
    PlanError : naming those that no store holds, or that are not to be found
    StoreNotFoundError, MainNotFoundError : where a source is not there any more
    """
    found: dict[str, Labelled] = {}
    for name, told in load_inputs(record.attrs).items():
        if told.source is None or not 0 <= told.source < len(sources):
            raise PlanError(
                f"parameter {name!r} of {record.name!r} was an array that no store holds; make "
                f"that array again and call .usid.process(step, {name}=...)"
                f".run(into={record.store!r}), which goes on with this group"
            )
        opened = sources[told.source].open(form=told.form)
        found[name] = opened if told.field is None else opened[told.field]
    return found
