"""One step of a history: a measurement, or what a tool made of other Mains."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping
from typing import Any

from usidx.errors import MainNotFoundError, UsidError
from usidx.model.inputs import InputFacts, in_words, load_inputs, load_opened
from usidx.readers import store_of
from usidx.stores.base import ResultRecord, Store
from usidx.stores.remote.url import absolute

Place = tuple[str, str]

# Programs note their version under these names.
_PROGRAMS = {
    "usidx_version": "usidx",
    "pyUSID_version": "pyUSID",
    "pycroscopy_version": "pycroscopy",
    "Pycroscopy version": "pycroscopy",
}
_LONGEST = 60


@dataclasses.dataclass(frozen=True)
class HistoryStep:
    """One Main on the way: a measurement, or what a tool made of other Mains.

    Parameters
    ----------
    store, main : path of the store, and of the Main within
    sources : (store, main) of each Main it was made of; empty for a measurement
    group : path of the result group; None for a measurement
    tool, version, parameters : of the step that made it; None and {} for a measurement
    field : the field of its source that it was made of, where that is a compound Main
    timestamp : when, as the file has it; None where it does not say
    program : that wrote it, such as "pyUSID 0.0.12"; "" where it does not say
    status : "complete", "partial", "unknown", or "missing" where it is not there any more
    note : what else is to be said, such as why it is missing
    inputs : what each parameter was that was a further source, by its name
    form : "2d" where the source was taken in its 2-D form
    place : where the step is defined, "module:name"; None where it was none
    derived : whether the step was run on an array that no store holds
    opened_with : arguments of `usidx.open` that the Main is opened with
    """

    store: str
    main: str
    sources: tuple[Place, ...] = ()
    group: str | None = None
    tool: str | None = None
    version: str | None = None
    parameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    field: str | None = None
    timestamp: str | None = None
    program: str = ""
    status: str = "complete"
    note: str = ""
    inputs: Mapping[str, InputFacts] = dataclasses.field(default_factory=dict)
    form: str = "nd"
    place: str | None = None
    derived: bool = False
    opened_with: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def call(self) -> str:
        """The tool with its parameters, shortened; "measured" for a measurement."""
        if self.tool is None:
            return "?" if self.status == "missing" else "measured"
        told = (f"{name}={short(value)}" for name, value in self.parameters.items())
        version = f" version {self.version}" if self.version else ""
        return f"{self.tool}({', '.join(told)}){version}"

    def place_of(self, each: InputFacts) -> Place | None:
        """Of a parameter that was a source; None where no store holds it."""
        stored = each.source is not None and each.source < len(self.sources)
        return self.sources[each.source or 0] if stored else None

    def origins(self, numbers: Mapping[Place, int]) -> str:
        """What it was made of, by the numbers of other steps: "1, flat 2, dark 3"."""
        uses: dict[int, list[tuple[str, str | None]]] = {}
        if self.sources and not self.derived:
            uses[0] = [("", self.field)]
        for name, each in self.inputs.items():
            if each.source is not None:
                uses.setdefault(each.source, []).append((name, each.field))
        told = []
        for number, place in enumerate(self.sources):
            for name, field in uses.get(number, [("", None)]):
                part = f", field {field!r}" if field else ""
                told.append(f"{name} {numbers.get(place, '?')}{part}".strip())
        lost = [name for name, each in self.inputs.items() if each.source is None]
        if self.derived:
            told.insert(0, "an array that no store holds")
        return ", ".join([*told, *(f"{name} an array that no store holds" for name in lost)])


def step_at(
    path: str,
    main: str,
    allow_external: tuple[str, ...] = (),
    opened_with: Mapping[str, Any] | None = None,
) -> tuple[HistoryStep, Mapping[Place, Mapping[str, Any]]]:
    """How one Main was made, and with which arguments those it was made of are opened."""
    how = dict(opened_with or {})
    reader = how.pop("reader", None)
    try:
        store = store_of(path, allow_external, reader, how)
        record = store.result_of(main)
        if record is None:
            return _measured(store, path, main, dict(opened_with or {})), {}
        return _made(path, main, record)
    except (UsidError, OSError) as error:
        return HistoryStep(path, main, status="missing", note=str(error)), {}


def _measured(store: Store, path: str, main: str, how: Mapping[str, Any]) -> HistoryStep:
    """A Main that is no result; what it does not say of itself, the groups around it may."""
    said = dict(store.attrs(main))
    place = main.rpartition("/")[0]
    while place:
        said = {**_said(store, place), **said}
        place = place.rpartition("/")[0]
    said = {**_said(store, "/"), **said}
    return HistoryStep(
        path, main, timestamp=_timestamp(said), program=_program(said), opened_with=how
    )


def _said(store: Store, group: str) -> Mapping[str, Any]:
    """Attributes of a group; files of other systems have none."""
    try:
        return store.attrs(group)
    except MainNotFoundError:
        return {}


def _made(
    path: str, main: str, record: ResultRecord
) -> tuple[HistoryStep, Mapping[Place, Mapping[str, Any]]]:
    sources = tuple((absolute(store or path), where) for store, where in record.sources)
    note = "" if sources else str(record.attrs.get("usid_derived") or _untold(record))
    told, place = record.attrs.get("usid_field"), record.attrs.get("usid_step")
    step = HistoryStep(
        store=path,
        main=main,
        sources=sources,
        group=record.group,
        tool=record.step,
        version=record.version,
        parameters=record.parameters,
        field=None if told is None else str(told),
        timestamp=_timestamp(record.attrs),
        program=_program(record.attrs),
        status=record.status,
        note=joined(note, _moved(record), *_made_of(path, record)),
        inputs=load_inputs(record.attrs),
        form=str(record.attrs.get("usid_form", "nd")),
        place=None if place is None else str(place),
        derived="usid_derived" in record.attrs,
    )
    opened = load_opened(record.attrs)
    return step, {sources[number]: how for number, how in opened.items() if number < len(sources)}


def _made_of(path: str, record: ResultRecord) -> Iterator[str]:
    """What is known of parameters that no store holds."""
    for name, each in load_inputs(record.attrs).items():
        if each.source is None and each.made_of:
            mains = ", ".join(f"{main} in {store or path}" for store, main in each.made_of)
            yield f"{name} was made lazily of {mains}"


def _moved(record: ResultRecord) -> str:
    """What is to be said where the source is read from another place than the group tells."""
    told = record.attrs.get("source_file_path")
    found = next((store for store, _ in record.sources if store), None)
    if not isinstance(told, str) or found is None or found == told:
        return ""
    there = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(record.store)), told))
    return "" if there == os.path.normpath(found) else f"its source was in {told}, which has moved"


def _untold(record: ResultRecord) -> str:
    named = f"; by its name it was {record.main!r}, which is not there" if record.main else ""
    return f"the group does not say what it was made of{named}"


def _timestamp(attrs: Mapping[str, Any]) -> str | None:
    told = attrs.get("timestamp", attrs.get("time_stamp"))
    return None if told is None else str(told)


def _program(attrs: Mapping[str, Any]) -> str:
    said = (f"{name} {attrs[key]}" for key, name in _PROGRAMS.items() if key in attrs)
    return next(said, "")


def joined(*notes: str) -> str:
    """Notes as one."""
    return "; ".join(filter(None, notes))


def short(value: Any) -> str:
    """What a parameter is, in a few words."""
    said = " ".join(in_words(value).split())
    return said if len(said) <= _LONGEST else said[: _LONGEST - 1] + "…"
