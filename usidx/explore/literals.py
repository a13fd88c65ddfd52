"""Values of parameters as Python text that gives exactly them."""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np

from usidx.errors import PlanError
from usidx.model.dimension import Array

# Larger arrays are written in base64.
_LEGIBLE = 64
_WIDTH = 88

ARRAY = '''\
def array(dtype, shape, text):
    """An array of the bytes that `text` has in base64."""
    return np.frombuffer(base64.b64decode(text), dtype).reshape(shape)
'''


def literal(value: Any, indent: str = "") -> str:
    """Python text of a plain value, as `usidx.model.provenance.canonical` gives them.

    Parameters
    ----------
    value : None, bool, int, float, complex, text, list, dict or numeric array
    indent : of the line that it begins in

    Raises
    ------
    PlanError : for anything else

    Examples
    --------
    >>> literal({"edges": [0.1, float("inf")], "mode": "low"})
    '{"edges": [0.1, float("inf")], "mode": "low"}'
    >>> literal(np.array([1, 2], "i2"))
    'np.array([1, 2], "<i2")'
    """
    if value is None or isinstance(value, bool):
        return repr(value)
    if isinstance(value, str):
        return text(value)
    if isinstance(value, int):
        return repr(int(value))
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else f'float("{value!r}")'
    if isinstance(value, complex):
        return f"complex({literal(value.real)}, {literal(value.imag)})"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(literal(each, indent) for each in value)}]"
    if isinstance(value, dict):
        inside = (f"{text(str(key))}: {literal(each, indent)}" for key, each in value.items())
        return f"{{{', '.join(inside)}}}"
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        return _array(value, indent)
    raise PlanError(f"a parameter is a {type(value).__name__}, which no script can have in it")


def _array(value: Array, indent: str) -> str:
    little = value.astype(value.dtype.newbyteorder("<"))
    dtype = text(little.dtype.str)
    legible = value.size <= _LEGIBLE and value.dtype.kind != "c" and bool(np.isfinite(value).all())
    if legible and value.ndim and value.size:
        return f"np.array({literal(value.tolist())}, {dtype})"
    coded = base64.b64encode(little.tobytes()).decode("ascii")
    inner = indent + "    "
    lines = [coded[at : at + _WIDTH] for at in range(0, len(coded), _WIDTH)] or [""]
    quoted = "\n".join(f'{inner}"{line}"' for line in lines)
    return f"array({dtype}, {value.shape!r}, (\n{quoted}\n{indent}))"


def text(value: str) -> str:
    """Python text of a str, in double quotes and ASCII where it can be."""
    quoted = ascii(value)
    plain = "\\" not in quoted and '"' not in quoted and quoted.startswith("'")
    return f'"{quoted[1:-1]}"' if plain else quoted


def remark(value: str) -> str:
    """Text that can stand in a comment: in one line, and all of it legible."""
    return "".join(each if each.isprintable() else " " for each in value)
