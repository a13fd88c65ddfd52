"""Small systems of linear equations, one for each row, all at once: loops over their columns.

Arrays are of any library that follows the array API; only numbers along rows are computed with, as
graphics cards like it, and for NumPy this is faster than LAPACK for each row.
"""

from __future__ import annotations

from typing import Any

from usidx.steps.fitting.problem import CONDITION

Factor = list[list[Any]]


def factored(xp: Any, a: Any, inverse: Any, par: Any) -> tuple[Factor, Any]:
    """The Cholesky factor of a (rows, q, q) in units, plus par, and which rows are regular.

    The inverse of its diagonal stands in place of the diagonal.

    Parameters
    ----------
    inverse : (rows, q) of the units; 0 for those that are left out
    par : (rows,), damping
    """
    lower: Factor = []
    regular = par == par
    for i in range(a.shape[1]):
        row: list[Any] = []
        for j in range(i):
            left = a[:, i, j] * inverse[:, i] * inverse[:, j]
            for n in range(j):
                left = left - row[n] * lower[j][n]
            row.append(left * lower[j][j])
        kept = inverse[:, i] > 0
        whole = xp.where(kept, a[:, i, i] * inverse[:, i] ** 2 + par, xp.ones_like(par))
        left = whole
        for each in row:
            left = left - each * each
        good = left > CONDITION * whole
        regular = regular & good
        row.append(1 / xp.sqrt(xp.where(good, left, CONDITION * xp.ones_like(left))))
        lower.append(row)
    return lower, regular


def solved(xp: Any, lower: Factor, right: Any) -> Any:
    """The solution (rows, q) for the right-hand side (rows, q)."""
    found = _forward(lower, [right[:, i] for i in range(right.shape[1])])
    for i in reversed(range(len(found))):
        left = found[i]
        for n in range(i + 1, len(found)):
            left = left - lower[n][i] * found[n]
        found[i] = left * lower[i][i]
    return xp.stack(found, axis=-1)


def squared(lower: Factor, right: Any) -> Any:
    """Square (rows,) of the length of lower^-1 right, for right (rows, q)."""
    parts = _forward(lower, [right[:, i] for i in range(right.shape[1])])
    total = parts[0] * parts[0]
    for each in parts[1:]:
        total = total + each * each
    return total


def _forward(lower: Factor, right: list[Any]) -> list[Any]:
    found: list[Any] = []
    for i, left in enumerate(right):
        for n in range(i):
            left = left - lower[i][n] * found[n]
        found.append(left * lower[i][i])
    return found
