"""Which parameters of a step were sources themselves, as the attributes of a result say it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ATTRIBUTE = "usid_inputs"
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


def _facts(told: Mapping[str, Any]) -> InputFacts:
    source, field = told.get("source"), told.get("field")
    return InputFacts(
        source=None if source is None else int(source),
        field=None if field is None else str(field),
        form="2d" if told.get("form") == "2d" else "nd",
        token=str(told.get("token", "")),
        made_of=tuple((str(store), str(main)) for store, main in told.get("made_of", ())),
    )
