"""The Mains that a result was made of, as its record has them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import xarray as xr

from usidx.arrays.origin import Origin
from usidx.errors import PlanError
from usidx.process.content import ATTRIBUTE, as_attribute, content_of
from usidx.process.plan import Plan
from usidx.stores.base import ResultRecord

Labelled = xr.DataArray | xr.Dataset
INPUTS = "usid_inputs"
Place = tuple[str, str]


@dataclass(frozen=True)
class SourceMain:
    """A Main that a result was made of: path of its store, and its path within.

    Parameters
    ----------
    store, main : paths
    allow_external : folders that the store may reach into
    parameters : of the step, which it was; () for the Main that the step was run on
    """

    store: str
    main: str
    allow_external: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()

    def open(self, **options: Any) -> Labelled:
        """The Main, lazily, with the options of `usidx.open`."""
        from usidx.opening import open as open_main

        return open_main(
            self.store, self.main, **{"allow_external": self.allow_external, **options}
        )


def sources_of(plan: Plan, store: str) -> tuple[Place, ...]:
    """(store, path) of each Main that a plan has as a source, once, as results in `store` say it.

    The store is "" where it is the same.
    """
    sources = [plan.source, *(each.source for each in plan.inputs), *plan.further]
    origins = [each.origin for each in sources if each.origin is not None]
    return tuple(dict.fromkeys(_place(each, store) for each in origins))


def source_attrs(plan: Plan, store: str) -> dict[str, Any]:
    """Attributes of a result group that say what each source was, and what was in it.

    `usid_inputs` has for each parameter that is a further source its number in `sources_of`, or,
    where no store holds it, its token and the Mains it was made of.
    """
    places = sources_of(plan, store)
    told: dict[str, dict[str, Any]] = {}
    for each in plan.inputs:
        origin = each.source.origin
        if origin is None:
            made_of = [_place(main, store) for main in each.source.made_of]
            told[each.name] = {"derived": each.source.identity, "of": made_of}
            continue
        told[each.name] = {"source": places.index(_place(origin, store))}
        if origin.field is not None:
            told[each.name]["field"] = origin.field
        if origin.form != "nd":
            told[each.name]["form"] = origin.form
    attrs = {INPUTS: json.dumps(told)} if told else {}
    content = content_of(plan)
    return attrs | ({ATTRIBUTE: as_attribute(content)} if content else {})


def _place(origin: Origin, store: str) -> Place:
    same = os.path.realpath(origin.store) == os.path.realpath(store)
    return ("" if same else origin.store, origin.main)


def is_derived(record: ResultRecord) -> bool:
    """Whether the step was run on an array that no store holds."""
    return "usid_derived" in record.attrs


def inputs_in(record: ResultRecord) -> Mapping[str, Mapping[str, Any]]:
    """What each parameter was that was a further source, as `source_attrs` wrote it."""
    try:
        told = json.loads(str(record.attrs.get(INPUTS, "{}")))
    except ValueError:  # edited by hand; the sources themselves are still there
        return {}
    whole = isinstance(told, dict) and all(isinstance(each, dict) for each in told.values())
    return told if whole else {}


def sources_in(record: ResultRecord, allow_external: tuple[str, ...]) -> tuple[SourceMain, ...]:
    """Every source of a result, in the order of the record."""
    found = []
    told = inputs_in(record)
    for number, (store, main) in enumerate(record.sources):
        names = tuple(name for name, each in told.items() if each.get("source") == number)
        # what was allowed to this store was not allowed to others that it names
        allowed = () if store else allow_external
        found.append(SourceMain(store or record.store, main, allowed, names))
    return tuple(found)


def arguments_of(record: ResultRecord, sources: tuple[SourceMain, ...]) -> dict[str, Labelled]:
    """The parameters of a result that were further sources, opened.

    Raises
    ------
    PlanError : naming those that no store holds, or that are not to be found
    StoreNotFoundError, MainNotFoundError : where a source is not there any more
    """
    found: dict[str, Labelled] = {}
    for name, told in inputs_in(record).items():
        number = told.get("source")
        if not isinstance(number, int) or not 0 <= number < len(sources):
            raise PlanError(
                f"parameter {name!r} of {record.name!r} was an array that no store holds; make "
                f"that array again and call .usid.process(step, {name}=...)"
                f".run(into={record.store!r}), which goes on with this group"
            )
        opened = sources[number].open(form=told.get("form", "nd"))
        found[name] = opened[str(told["field"])] if told.get("field") is not None else opened
    return found
