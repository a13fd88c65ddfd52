"""Where a Main comes from: every step from the measurement to it, across groups and files."""

from __future__ import annotations

import html
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import xarray as xr

from usidx.arrays.labels import origin_of
from usidx.errors import MainNotFoundError, PlanError, UsidError
from usidx.model.provenance import dump_parameters
from usidx.stores import store_at
from usidx.stores.base import ResultRecord, Store

Labelled = xr.DataArray | xr.Dataset
Place = tuple[str, str]

# Programs note their version under these names.
_PROGRAMS = {
    "usidx_version": "usidx",
    "pyUSID_version": "pyUSID",
    "pycroscopy_version": "pycroscopy",
    "Pycroscopy version": "pycroscopy",
}
_LONGEST = 60


@dataclass(frozen=True)
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
    """

    store: str
    main: str
    sources: tuple[Place, ...] = ()
    group: str | None = None
    tool: str | None = None
    version: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    field: str | None = None
    timestamp: str | None = None
    program: str = ""
    status: str = "complete"
    note: str = ""

    @property
    def call(self) -> str:
        """The tool with its parameters, shortened; "measured" for a measurement."""
        if self.tool is None:
            return "?" if self.status == "missing" else "measured"
        told = (f"{name}={_short(value)}" for name, value in self.parameters.items())
        version = f" version {self.version}" if self.version else ""
        return f"{self.tool}({', '.join(told)}){version}"


@dataclass(frozen=True)
class History:
    """How a Main came about, the first step first; it shows itself as text and as HTML.

    Parameters
    ----------
    store, main : path of the store, and of the Main within
    steps : sources before what was made of them; the last one is the Main itself
    """

    store: str
    main: str
    steps: tuple[HistoryStep, ...]

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[HistoryStep]:
        return iter(self.steps)

    def __getitem__(self, number: int) -> HistoryStep:
        return self.steps[number]

    def to_json(self, *, indent: int | None = 2) -> str:
        """The history as JSON text; `sources` of a step are the numbers of other steps, from 0."""
        numbers = {(each.store, each.main): place for place, each in enumerate(self.steps)}
        steps = [
            {
                "store": each.store,
                "main": each.main,
                "sources": [numbers[source] for source in each.sources if source in numbers],
                "group": each.group,
                "tool": each.tool,
                "version": each.version,
                "parameters": _in_json(each.parameters),
                "field": each.field,
                "timestamp": each.timestamp,
                "program": each.program,
                "status": each.status,
                "note": each.note,
            }
            for each in self.steps
        ]
        whole = {"store": self.store, "main": self.main, "steps": steps}
        return json.dumps(whole, indent=indent, ensure_ascii=False)

    def __repr__(self) -> str:
        lines = [f"<usidx history of {self.main!r}: {_counted(len(self))}>"]
        for number, each in enumerate(self.steps, start=1):
            lines.append(f"  {number}  {each.call}")
            lines += [f"       {text}" for text in self._details(each)]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{number}</td><td style='text-align:left'>"
            f"<b>{html.escape(each.call)}</b><br>"
            f"{'<br>'.join(map(html.escape, self._details(each)))}</td></tr>"
            for number, each in enumerate(self.steps, start=1)
        )
        title = f"history of {self.main}: {_counted(len(self))}"
        return f"<div><b>{html.escape(title)}</b><table>{rows}</table></div>"

    def _details(self, step: HistoryStep) -> Iterator[str]:
        elsewhere = f"  in {step.store}" if step.store != self.store else ""
        yield f"{step.main}{elsewhere}"
        if step.sources:
            numbers = {(each.store, each.main): n for n, each in enumerate(self.steps, start=1)}
            told = [f"{numbers.get(each, '?')}" for each in step.sources]
            part = f", field {step.field!r}" if step.field else ""
            yield f"of {', '.join(told)}{part}"
        said = [step.timestamp or "", step.program, "" if step.tool is None else step.status]
        if any(said):
            yield ", ".join(filter(None, said))
        if step.note:
            yield step.note


def history_of(obj: Labelled) -> History:
    """How a Main came about: every step from the measurement to it, across groups and files.

    What is missing or was moved is said in the history.

    Parameters
    ----------
    obj : a Main as it was opened

    Raises
    ------
    MainNotFoundError : where `obj` is no Main of a store
    """
    origin = origin_of(obj)
    if origin is None:
        raise MainNotFoundError(
            "this array is no Main of a store: it was made in memory, or something was computed on "
            "it since it was opened; save it first, or ask what usidx.open gave"
        )
    return history(origin.store, origin.main, origin.allow_external)


def history(store: str, main: str, allow_external: Sequence[str] = ()) -> History:
    """The history of the Main at path `main` of the store at `store`, as `history_of`.

    Parameters
    ----------
    allow_external : folders that this store may reach into; others that it was made of may not
    """
    store, main = os.path.abspath(store), "/" + main.strip("/")
    names: dict[Place, Place] = {}
    found: dict[Place, HistoryStep] = {}
    pending: list[tuple[Place, bool]] = [((store, main), False)]
    open_ones: set[Place] = set()
    order: list[Place] = []
    while pending:
        place, done = pending.pop()
        known = _same(place)
        if done:
            open_ones.discard(known)
            order.append(known)
            continue
        if known in found:
            continue
        names[known] = place
        found[known] = step = _step(*place, allow_external if place[0] == store else ())
        open_ones.add(known)
        pending.append((place, True))
        for source in reversed(step.sources):
            if _same(source) in open_ones:
                note = f"made of itself, by way of {source[1]}"
                found[known] = replace(found[known], note=_joined(found[known].note, note))
            pending.append((source, False))
    steps = []
    for each in order:
        step = found[each]
        sources = tuple(names.get(_same(source), source) for source in step.sources)
        steps.append(replace(step, sources=sources))
    return History(store, main, tuple(steps))


def _same(place: Place) -> Place:
    """A place by which a Main is known, whatever links lead to its store."""
    return os.path.realpath(place[0]), place[1]


def _step(path: str, main: str, allow_external: Sequence[str]) -> HistoryStep:
    """How one Main was made."""
    try:
        store = store_at(path, allow_external)
        record = store.result_of(main)
        if record is None:
            return _measured(store, path, main)
        return _made(path, main, record)
    except (UsidError, OSError) as error:
        return HistoryStep(path, main, status="missing", note=str(error))


def _measured(store: Store, path: str, main: str) -> HistoryStep:
    """A Main that is no result; what it does not say of itself, the groups around it may."""
    said: dict[str, Any] = {}
    place = main
    while place:
        said = {**store.attrs(place), **said}
        place = place.rpartition("/")[0]
    said = {**store.attrs("/"), **said}
    return HistoryStep(path, main, timestamp=_timestamp(said), program=_program(said))


def _made(path: str, main: str, record: ResultRecord) -> HistoryStep:
    sources = tuple((os.path.abspath(store or path), where) for store, where in record.sources)
    note = "" if sources else str(record.attrs.get("usid_derived") or _untold(record))
    note = _joined(note, _moved(record))
    told = record.attrs.get("usid_field")
    return HistoryStep(
        store=path,
        main=main,
        sources=sources,
        group=record.group,
        tool=record.tool,
        version=record.version,
        parameters=record.parameters,
        field=None if told is None else str(told),
        timestamp=_timestamp(record.attrs),
        program=_program(record.attrs),
        status=record.status,
        note=note,
    )


def _moved(record: ResultRecord) -> str:
    """What is to be said where the source is read from another place than the group tells."""
    told = record.attrs.get("source_file_path")
    found = next((store for store, _ in record.sources if store), None)
    if not isinstance(told, str) or found is None:
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


def _joined(*notes: str) -> str:
    return "; ".join(filter(None, notes))


def _short(value: Any) -> str:
    said = " ".join(repr(value).split())
    return said if len(said) <= _LONGEST else said[: _LONGEST - 1] + "…"


def _counted(count: int) -> str:
    return f"{count} step{'' if count == 1 else 's'}"


def _in_json(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as JSON, exactly as stores keep them; what cannot be kept as text."""
    found: dict[str, Any] = {}
    for name, value in parameters.items():
        try:
            found |= json.loads(dump_parameters({name: value}))
        except (PlanError, ValueError):
            found[str(name)] = str(value)
    return found
