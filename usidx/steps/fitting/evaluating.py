"""The cost of many spectra at once, and their normal equations, on any array of the array API."""

from __future__ import annotations

from typing import Any

import numpy as np

from usidx.steps.fitting.models import Model
from usidx.steps.fitting.problem import Problem
from usidx.steps.fitting.running import Running

# Values of the model that are made at once: they and their derivatives stay in the cache of a
# processor. What is small is done for all rows together.
_AT_ONCE = 2**15
_AT_ONCE_ELSEWHERE = 2**24


def real_parts(xp: Any, values: Any) -> Any:
    """Complex values as real and imaginary parts, which alternate on NumPy, else follow each other.

    For the sums that are made of them any order will do, and on NumPy this one is there already.
    """
    if xp is np:
        return np.ascontiguousarray(values).view(float) if values.dtype.kind == "c" else values
    if not xp.isdtype(values.dtype, "complex floating"):
        return values
    return xp.concat([xp.real(values), xp.imag(values)], axis=-1)


def parts_of(xp: Any, y: Any) -> list[slice]:
    """Rows of y (rows, n) that are handled at once."""
    size = max(1, (_AT_ONCE if xp.__name__ == "numpy" else _AT_ONCE_ELSEWHERE) // y.shape[1])
    rows = y.shape[0]
    return [slice(first, min(first + size, rows)) for first in range(0, rows, size)]


def evaluated(xp: Any, problem: Problem, y: Any, w: Any, p: Any) -> tuple[Any, Any, Any, Any]:
    """Cost, squares, normal equations (rows, q, q) and gradient (rows, q)."""
    found = []
    for part in parts_of(xp, y):
        mine = (y[part, :], w[part, :] if w.shape[0] > 1 else w, p[part, :])
        made = _products(xp, problem, problem.model, *mine)
        if isinstance(problem.model, Running) and not np.isfinite(made[2].sum()):
            # as of a root at 0: differences have a slope there
            made = _products(xp, problem, problem.model.function, *mine)
        found.append(made)
    cost, squares, products = (xp.concat(each, axis=-1) for each in zip(*found, strict=True))
    q = problem.free.shape[0]
    gradient = xp.permute_dims(products[:q, :], (1, 0))
    pairs = [(max(i, j), min(i, j)) for i in range(q) for j in range(q)]
    # numbers of all rows stand side by side, as they are computed with
    both = xp.stack([products[q + i * (i + 1) // 2 + j, :] for i, j in pairs])
    normal = xp.permute_dims(xp.reshape(both, (q, q, -1)), (2, 0, 1))
    total = cost + xp.sum(xp.linalg.diagonal(normal), axis=-1)
    return xp.where(xp.isfinite(total), cost, xp.full_like(cost, xp.inf)), squares, normal, gradient


def _products(
    xp: Any, problem: Problem, model: Model, y: Any, w: Any, p: Any
) -> tuple[Any, Any, Any]:
    """Cost, squares, and products of derivatives with residuals and each other, (.., rows)."""
    values, derivatives = model.evaluate(xp, problem.x, p, problem.high, problem.moving)
    residual = real_parts(xp, values) - y
    rows = [real_parts(xp, each) for each in problem.chosen(derivatives)]
    if problem.is_weighted:
        residual, rows = residual * w, [each * w for each in rows]
    squares = xp.vecdot(residual, residual)
    cost = 0.5 * squares
    if problem.loss != "linear":
        cost, first = robust(xp, problem.loss, residual, problem.scale)
        root = xp.sqrt(first)
        residual, rows = residual * root, [each * root for each in rows]
    found = [xp.vecdot(each, residual) for each in rows]
    found += [xp.vecdot(each, rows[j]) for i, each in enumerate(rows) for j in range(i + 1)]
    # derivatives that one row stands for have one product
    whole = [e if e.shape == cost.shape else xp.broadcast_to(e, cost.shape) for e in found]
    return cost, squares, xp.stack(whole)


def robust(xp: Any, loss: str, residual: Any, scale: float) -> tuple[Any, Any]:
    """Cost (rows,), and the weight of each square (rows, m) that has the same derivative.

    Least squares with these weights never increase the cost (P. W. Holland and R. E. Welsch,
    Commun. Stat. A6, 813, 1977).
    """
    z = (residual / scale) ** 2
    if loss == "soft_l1":
        root = xp.sqrt(1 + z)
        value = 2 * (root - 1)
    else:
        outside = z > 1
        root = xp.sqrt(xp.where(outside, z, xp.ones_like(z)))
        value = xp.where(outside, 2 * root - 1, z)
    return 0.5 * scale**2 * xp.sum(value, axis=-1), 1 / root
