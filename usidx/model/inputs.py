"""Which parameters of a step were sources themselves, as the attributes of a result say it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from usidx.model.provenance import dump_parameters, load_parameters

ATTRIBUTE = "usid_inputs"
OPENED = "usid_opened_with"
# A small array that is kept among the parameters, with all its labels, is a dict of one of these.
ARRAY, DATASET = "usid_array", "usid_dataset"
# A Python function, or a model of lmfit, is kept as what it is known by: its name, and a digest of
# what it does.
FUNCTION = "usid_function"
Place = tuple[str, str]


@dataclass(frozen=True)
class InputFacts:
    """What a parameter was that was an array.

    Parameters
    ----------
    source : its number among the sources of the result, from 0; None where no store holds it
    field : of a compound Main, the field that it was; None for the whole Main
    form : "nd" or "2d"
    token : where no store holds it, by what it is known
    made_of : where no store holds it, the (store, path) of Mains that it was made of; the store
        is "" where it is that of the result
    """

    source: int | None = None
    field: str | None = None
    form: str = "nd"
    token: str = ""
    made_of: tuple[Place, ...] = ()


def dump_inputs(inputs: Mapping[str, InputFacts]) -> str:
    """JSON text that `load_inputs` reads back; what is as usual is left out.

    Examples
    --------
    >>> dump_inputs({"flat": InputFacts(1), "dark": InputFacts(2, form="2d")})
    '{"flat": {"source": 1}, "dark": {"source": 2, "form": "2d"}}'
    """
    usual = vars(InputFacts())
    told = {
        name: {key: value for key, value in vars(each).items() if value != usual[key]}
        for name, each in inputs.items()
    }
    return json.dumps(told)


def load_inputs(attrs: Mapping[str, Any]) -> dict[str, InputFacts]:
    """What each parameter was that was an array, by the attributes of a result group.

    What somebody edited such that it cannot be read says nothing.
    """
    try:
        told = json.loads(str(attrs.get(ATTRIBUTE, "{}")))
        return {str(name): _facts(each) for name, each in told.items()}
    except (ValueError, TypeError, AttributeError, KeyError):
        return {}


def in_words(value: Any) -> str:
    """The repr of a parameter; of a small array that is kept with its labels, only its sizes.

    Examples
    --------
    >>> in_words({"usid_array": {"dims": ["X"], "values": [1.0, 2.0]}}), in_words("low")
    ('<array (X: 2)>', "'low'")
    """
    if isinstance(value, Mapping) and set(value) == {FUNCTION}:
        return f"<function {value[FUNCTION].get('name', '')}>"
    if not isinstance(value, Mapping) or set(value) not in ({ARRAY}, {DATASET}):
        return repr(value)
    if DATASET in value:
        return f"<arrays {', '.join(value[DATASET].get('variables', {}))}>"
    dims, shape = value[ARRAY].get("dims", []), np.shape(value[ARRAY].get("values"))
    sizes = ", ".join(f"{dim}: {size}" for dim, size in zip(dims, shape))
    return f"<array ({sizes})>"


def dump_opened(opened: Mapping[int, Mapping[str, Any]]) -> str:
    """JSON text that says with which arguments of `usidx.open` sources are opened, by number."""
    return dump_parameters({str(number): dict(each) for number, each in opened.items()})


def load_opened(attrs: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    """With which arguments the sources of a result are opened; those without any are left out."""
    try:
        told = load_parameters(str(attrs.get(OPENED, "{}")))
        return {int(number): dict(each) for number, each in told.items()}
    except (ValueError, TypeError, KeyError):
        return {}


def _facts(told: Mapping[str, Any]) -> InputFacts:
    source, field = told.get("source"), told.get("field")
    return InputFacts(
        source=None if source is None else int(source),
        field=None if field is None else str(field),
        form="2d" if told.get("form") == "2d" else "nd",
        token=str(told.get("token", "")),
        made_of=tuple((str(store), str(main)) for store, main in told.get("made_of", ())),
    )
