"""Parameters that follow others: expressions such as "width_1" or "2 * center_1 + 0.5"."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

import numpy as np

from usidx.errors import PlanError, did_you_mean
from usidx.model.dimension import Array


def links_of(names: Sequence[str], ties: Mapping[str, str | float]) -> tuple[Array, Array]:
    """link (k, k) and shift (k,) with p = link @ p + shift, where tied parameters follow the rest.

    Parameters
    ----------
    names : of all k parameters
    ties : for each parameter that follows, sums and multiples of others

    Raises
    ------
    PlanError : for expressions that are no such sums, unknown names, or ties in a circle

    Examples
    --------
    >>> links_of(["a", "b"], {"b": "2 * a + 1"})
    (array([[1., 0.],
           [2., 0.]]), array([0., 1.]))
    """
    link, shift = np.eye(len(names)), np.zeros(len(names))
    for name, text in ties.items():
        try:
            tree = ast.parse(str(text).strip(), mode="eval").body
        except SyntaxError as error:
            raise _refused(name, text, "it cannot be read") from error
        at = names.index(name)
        link[at], shift[at] = _linear(tree, names, name, text)
    tied = [names.index(name) for name in ties]
    for _ in tied:  # those that follow one that follows, and so on
        shift = shift + link[:, tied] @ shift[tied] * np.isin(np.arange(len(names)), tied)
        step = link.copy()
        step[:, tied] = 0
        step[tied] += link[np.ix_(tied, tied)] @ link[tied]
        link = step
        if not link[:, tied].any():
            return link, shift
    if tied:
        raise PlanError(f"ties of {', '.join(ties)} follow each other in a circle")
    return link, shift


def _linear(tree: ast.expr, names: Sequence[str], own: str, text: object) -> tuple[Array, float]:
    """Factors of each parameter, and what is added."""
    if isinstance(tree, ast.Constant) and isinstance(tree.value, (int, float)):
        return np.zeros(len(names)), float(tree.value)
    if isinstance(tree, ast.Name):
        if tree.id not in names:
            raise _refused(own, text, f"there is no {tree.id!r}{did_you_mean(tree.id, names)}")
        return np.eye(len(names))[names.index(tree.id)], 0.0
    if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, (ast.USub, ast.UAdd)):
        factors, added = _linear(tree.operand, names, own, text)
        sign = -1 if isinstance(tree.op, ast.USub) else 1
        return sign * factors, sign * added
    if isinstance(tree, ast.BinOp):
        left, first = _linear(tree.left, names, own, text)
        right, second = _linear(tree.right, names, own, text)
        if isinstance(tree.op, ast.Add):
            return left + right, first + second
        if isinstance(tree.op, ast.Sub):
            return left - right, first - second
        if isinstance(tree.op, ast.Mult) and not (left.any() and right.any()):
            return left * second + right * first, first * second
        if isinstance(tree.op, ast.Div) and not right.any() and second:
            return left / second, first / second
    raise _refused(own, text, "only sums and multiples of parameters can be followed")


def _refused(name: str, text: object, why: str) -> PlanError:
    return PlanError(
        f"ties={{{name!r}: {str(text)!r}}}: {why}; write such as 'width_1', or '2 * center_1 + "
        "0.5'. For other relations write the model as a function"
    )
