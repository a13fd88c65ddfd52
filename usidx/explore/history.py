"""Where a Main comes from: every step from the measurement to it, across groups and files."""

from __future__ import annotations

import html
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import xarray as xr

from usidx.arrays.labels import origin_of
from usidx.errors import MainNotFoundError, PlanError
from usidx.explore.steps import HistoryStep, Place, joined, step_at
from usidx.model.provenance import dump_parameters
from usidx.stores.remote.url import absolute

__all__ = ["History", "HistoryStep", "history", "history_of"]

Labelled = xr.DataArray | xr.Dataset


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
                "inputs": _inputs_in_json(each, numbers),
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

    def to_script(self) -> str:
        """A Python script that computes the last Main anew from the measurements.

        Every step is run again, with exactly its parameters, on what the script made so far. It
        takes the store for the results as its only argument. What cannot be made again (a lazy
        result that was saved, a step that is not registered, a result of another program) is said
        in a comment where it would be, and the script ends there with an error.

        Values are the same to the bit, but for sums over positions, which may differ in their last
        bits where the blocks of the first run were of another size.
        """
        from usidx.explore.script import script_of

        return script_of(self)

    def to_recipe(self) -> str:
        """The recipe that made the last Main, as YAML text; `usidx run` takes it, on any Main.

        It names the measurement that the Main came from, every step with exactly its parameters
        and its version, and other measurements that steps took.

        Raises
        ------
        PlanError : where a step cannot be run again (a lazy result that was saved, a step that is
            not registered, a result of another program), and for a measurement
        """
        from usidx.explore.recipe import recipe_of

        return recipe_of(self).to_yaml()

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
        numbers = {(each.store, each.main): n for n, each in enumerate(self.steps, start=1)}
        origins = step.origins(numbers)
        if origins:
            yield f"of {origins}"
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
    how = dict(origin.opened_with)
    return history(origin.store, origin.main, origin.allow_external, how)


def history(
    store: str,
    main: str,
    allow_external: Sequence[str] = (),
    opened_with: Mapping[str, Any] | None = None,
) -> History:
    """The history of the Main at path `main` of the store at `store`, as `history_of`.

    Parameters
    ----------
    allow_external : folders that this store may reach into; others that it was made of may not
    opened_with : arguments of `usidx.open` that this Main takes
    """
    store, main = absolute(store), "/" + main.strip("/")
    names: dict[Place, Place] = {}
    found: dict[Place, HistoryStep] = {}
    pending: list[tuple[Place, bool]] = [((store, main), False)]
    opened: dict[Place, Mapping[str, Any]] = {(store, main): opened_with or {}}
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
        allowed = tuple(allow_external) if place[0] == store else ()
        step, others = step_at(*place, allowed, opened.get(place))
        found[known] = step
        opened |= others
        open_ones.add(known)
        pending.append((place, True))
        for source in reversed(step.sources):
            if _same(source) in open_ones:
                note = f"made of itself, by way of {source[1]}"
                found[known] = replace(found[known], note=joined(found[known].note, note))
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


def _counted(count: int) -> str:
    return f"{count} step{'' if count == 1 else 's'}"


def _inputs_in_json(step: HistoryStep, numbers: Mapping[Place, int]) -> dict[str, int | None]:
    """The numbers of the steps that parameters came from; None where no store holds them."""
    found = {}
    for name, each in step.inputs.items():
        stored = each.source is not None and each.source < len(step.sources)
        found[name] = numbers.get(step.sources[each.source or 0]) if stored else None
    return found


def _in_json(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as JSON, exactly as stores keep them; what cannot be kept as text."""
    found: dict[str, Any] = {}
    for name, value in parameters.items():
        try:
            found |= json.loads(dump_parameters({name: value}))
        except (PlanError, ValueError):
            found[str(name)] = str(value)
    return found
