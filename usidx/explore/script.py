"""A history as a Python script that goes through all of it again.

What a file says is text from others. It comes into the script as literals and comments alone, so
that running the script runs nothing but steps that are registered where it is run.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from usidx.errors import PlanError
from usidx.explore.faults import fault_of
from usidx.explore.literals import ARRAY, literal, remark, text
from usidx.explore.steps import HistoryStep, Place
from usidx.model.inputs import InputFacts

if TYPE_CHECKING:
    from usidx.explore.history import History

_STEP = '''\
def step(name, version, place):
    """The registered step of that name, if it is the one that made the result."""
    found = usidx.steps.registered().get(name)
    if found is None or (found.version, found.place) != (version, place):
        raise SystemExit(
            f"step {name!r}, version {version!r}, defined in {place}, is not registered here"
            + ("" if found is None else f": that is {found.place}, version {found.version!r}")
            + "; import what registers it at the top of this script"
        )
    return found
'''
_END = """\
if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(f"usage: python {sys.argv[0]} RESULTS.zarr (a store of its own)")
    print(recompute(sys.argv[1]))
"""
_INDENT = "    "


def script_of(history: History) -> str:
    """The script of a history, as `History.to_script`."""
    numbers = {(each.store, each.main): n for n, each in enumerate(history, start=1)}
    stores = _stores(history)
    body: list[str] = []
    for number, each in enumerate(history, start=1):
        body += [*_Writer(number, each, numbers, stores, history).lines(), ""]
    last = len(history)
    body.append(f"return usidx.open(*main_{last})")
    whole = "\n".join(_INDENT + line if line else "" for line in body)
    arrays = re.search(r"(?<![.\w])array\(", whole) is not None
    return "\n".join([*_head(history, stores, whole, arrays), whole, "", "", _END])


def _head(history: History, stores: dict[str, str], body: str, arrays: bool) -> Iterator[str]:
    """What stands before the steps: what the script is, imports, stores."""
    yield f"# Computes {remark(repr(history.main))} anew from the measurements, step by step."
    yield f"# Written by usidx {_version()} from the history in {remark(repr(history.store))}."
    yield "# The argument is the store that all results go to, which is made: recomputed.zarr"
    yield ""
    yield from ["import base64", "import sys", ""] if arrays else ["import sys", ""]
    yield from ["import numpy as np", ""] if arrays or "np.array(" in body else []
    yield from ["import usidx", ""]
    yield from (f"{name} = {text(path)}" for path, name in stores.items())
    yield from ["", ""]
    yield _STEP
    yield ""
    if arrays:
        yield ARRAY
        yield ""
    yield "def recompute(into):"
    yield f'{_INDENT}"""The last Main, opened, after every step was run into the store `into`."""'


def _stores(history: History) -> dict[str, str]:
    """Names in the script of the stores with measurements."""
    measured = [each.store for each in history if each.group is None]
    return {path: f"STORE_{n}" for n, path in enumerate(dict.fromkeys(measured), start=1)}


def _version() -> str:
    from usidx.model.provenance import book_keeping

    return book_keeping()["usidx_version"]


class _Writer:
    """The lines of one step.

    Parameters
    ----------
    number : of the step, from 1
    numbers : of the steps by their places
    """

    def __init__(
        self,
        number: int,
        step: HistoryStep,
        numbers: dict[Place, int],
        stores: dict[str, str],
        history: History,
    ) -> None:
        self._number, self._step, self._numbers = number, step, numbers
        self._stores, self._history = stores, history

    def lines(self) -> Iterator[str]:
        """All of them."""
        step = self._step
        said = ", ".join(filter(None, [step.timestamp, step.program]))
        where = step.main if step.store == self._history.store else f"{step.main} in {step.store}"
        yield f"# {self._number}: {remark(step.call)}"
        yield f"# {remark(where)}{remark(f' ({said})') if said else ''}"
        if step.group is None and step.status != "missing":
            yield f"main_{self._number} = {self._stores[step.store]}, {text(step.main)}"
            return
        fault = self._fault()
        if fault:
            yield f"# This cannot be made again: {remark(fault)}."
            yield f"# Put it here in another way, as the store and the path of main_{self._number}:"
            yield f'# main_{self._number} = "results.zarr", {text(step.main)}'
            yield f"raise SystemExit({text(f'step {self._number} cannot be made again: {fault}')})"
            return
        yield from self._call()
        name = step.main.rsplit("/", 1)[-1]
        path = f"result_{self._number}.path + {text('/' + name)}"
        yield f"main_{self._number} = into, {path}"

    def _fault(self) -> str:
        """Why the step cannot be run again; "" where it can."""
        fault = fault_of(self._step, self._numbers)
        if fault:
            return fault
        try:
            for value in self._step.parameters.values():
                literal(value)
        except PlanError as error:
            return str(error)
        return ""

    def _call(self) -> Iterator[str]:
        step = self._step
        names = ", ".join(text(str(each)) for each in (step.tool, step.version, step.place))
        first = InputFacts(0, step.field, step.form)
        inner = _INDENT * 2
        if not str(step.place).startswith("usidx.steps."):
            yield f"# {remark(str(step.place))} is to be imported at the top, to be registered"
        yield f"result_{self._number} = ("
        yield f"{_INDENT}{self._opened(first)}"
        yield f"{_INDENT}.usid.process("
        yield f"{inner}step({names}),"
        # inside `recompute`, one level deeper
        arguments = {name: literal(value, inner + _INDENT) for name, value in self._plain()}
        arguments |= {name: self._opened(each) for name, each in step.inputs.items()}
        for name, value in arguments.items():
            named = name.isidentifier() and name.isascii() and not keyword.iskeyword(name)
            yield f"{inner}{name}={value}," if named else f"{inner}**{{{text(name)}: {value}}},"
        yield f"{_INDENT})"
        yield f"{_INDENT}.run(into)"
        yield ")"

    def _plain(self) -> list[tuple[str, Any]]:
        return [(str(name), value) for name, value in self._step.parameters.items()]

    def _opened(self, each: InputFacts) -> str:
        """How a source is opened in the script."""
        place = self._step.place_of(each)
        assert place is not None
        number = self._numbers[place]
        how = dict(self._history[number - 1].opened_with)
        if each.form != "nd":
            how["form"] = each.form
        options = "".join(f", **{{{text(name)}: {literal(value)}}}" for name, value in how.items())
        field = "" if each.field is None else f"[{text(each.field)}]"
        return f"usidx.open(*main_{number}{options}){field}"
