"""Values of a formula that stands in a file: arithmetic and a few functions, nothing is run."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from usidx.model.dimension import Array

_LONGEST = 1000
_DEEPEST = 50
_FUNCTIONS: Mapping[str, Callable[[Any], Any]] = {
    "sin": np.sin, "cos": np.cos, "tan": np.tan, "asin": np.arcsin, "acos": np.arccos,
    "atan": np.arctan, "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh, "exp": np.exp,
    "log": np.log, "ln": np.log, "sqrt": np.sqrt, "abs": np.abs, "Abs": np.abs,
}  # fmt: skip
_BINARY: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.Pow: np.power,
}
_UNARY: Mapping[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.UAdd: np.positive,
    ast.USub: np.negative,
}


def evaluated(formula: str, known: Mapping[str, Any]) -> Array | None:
    """Values of a formula of numbers, None where it is more than arithmetic or has no finite value.

    Parameters
    ----------
    formula : such as "a * x ** 2 + b"; "^" is a power too
    known : the values of its names, numbers or arrays of one shape; "pi" is known as well

    Examples
    --------
    >>> evaluated("a * x ^ 2", {"a": 2, "x": np.arange(3)})
    array([0., 2., 8.])
    >>> evaluated("__import__('os')", {}) is None
    True
    """
    if len(formula) > _LONGEST:
        return None
    arrays = {name: np.asarray(value) for name, value in known.items()}
    numbers = {"pi": np.asarray(np.pi)}
    numbers |= {
        name: each.astype("f8") for name, each in arrays.items() if each.dtype.kind in "iuf"
    }
    try:
        tree = ast.parse(formula.replace("^", "**").strip(), mode="eval")
        with np.errstate(all="ignore"):
            found = np.asarray(_value(tree.body, numbers, 0), np.float64)
    except (SyntaxError, ValueError, KeyError, RecursionError, MemoryError, OverflowError):
        return None
    return found if np.isfinite(found).all() else None


def _value(node: ast.expr, known: Mapping[str, Any], depth: int) -> Any:
    """Of a part of a formula.

    Raises
    ------
    ValueError, KeyError : for what is not arithmetic, or not known
    """
    if depth > _DEEPEST:
        raise ValueError("a formula that is nested too deep")
    below = depth + 1
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return np.float64(number)
        case ast.Name(id=name):
            return known[name]
        case ast.BinOp(left=left, op=operator, right=right):
            work = _BINARY[type(operator)]
            return work(_value(left, known, below), _value(right, known, below))
        case ast.UnaryOp(op=sign, operand=operand):
            return _UNARY[type(sign)](_value(operand, known, below))
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]):
            return _FUNCTIONS[name](_value(argument, known, below))
    raise ValueError(f"{type(node).__name__} is no arithmetic")
