"""Sums along one spectrum, its normal equations among them, in loops for Numba to compile.

These are compiled with leave to reorder sums, which makes vectors of them.
"""

from __future__ import annotations

import math

import numpy as np

from usidx.model.dimension import Array


def weighted_squares(y: Array, w: Array) -> float:
    """Sum of the squares of w y."""
    total = 0.0
    for i in range(y.size):
        each = w[i] * y[i]
        total += each * each
    return total


def normal_equations(
    w: Array, free: Array, link: Array, plain: bool, linked: bool, loss: int, scale: float,
    r: Array, df: Array, jr: Array, a: Array, g: Array, at: int,
) -> tuple[float, float]:  # fmt: skip
    """Cost and squares of residuals r (m,) with derivatives df (k, m).

    a[at] (q, q) and g[at] (q,) become the normal equations of the free parameters. Where not all
    is plain (every parameter free, weights of 1, linear loss), jr is made of df.
    """
    if plain:
        squares = _products(df, r, a, g, at)
        cost = 0.5 * squares
    else:
        for i in range(w.size):
            r[i] *= w[i]
        _chosen(w, free, link, linked, df, jr)
        cost, squares = 0.0, 0.0
        if loss > 0:
            cost, squares = _robust(loss, scale, free.size, r, jr)
        reweighted = _products(jr, r, a, g, at)
        if loss == 0:
            cost, squares = 0.5 * reweighted, reweighted
    total = cost
    for i in range(free.size):
        total += a[at, i, i]
    return (cost if np.isfinite(total) else np.inf), squares


def _chosen(w: Array, free: Array, link: Array, linked: bool, df: Array, jr: Array) -> None:
    """The derivatives by the free parameters, weighted, become jr."""
    for j in range(free.size):
        t = free[j]
        for i in range(w.size):
            jr[j, i] = df[t, i] * w[i]
        if linked:
            for other in range(link.shape[0]):
                part = link[other, t]
                if other != t and part != 0:
                    for i in range(w.size):
                        jr[j, i] += part * df[other, i] * w[i]


def _robust(loss: int, scale: float, q: int, r: Array, jr: Array) -> tuple[float, float]:
    """Cost and squares; r and jr become those of least squares with the same derivative."""
    cost, squares = 0.0, 0.0
    for i in range(r.size):
        squares += r[i] * r[i]
        z = (r[i] / scale) ** 2
        root, value = 1.0, z
        if loss == 1:
            root = math.sqrt(1 + z)
            value = 2 * (root - 1)
        elif z > 1:
            root = math.sqrt(z)
            value = 2 * root - 1
        cost += 0.5 * scale * scale * value
        half = 1 / math.sqrt(root)
        r[i] *= half
        for j in range(q):
            jr[j, i] *= half
    return cost, squares


def _products(rows: Array, r: Array, a: Array, g: Array, at: int) -> float:
    """The sum of squares of r; a[at] becomes rows rows^T, and g[at] rows r.

    Rows are taken two by two, so that each is loaded half as often; one of zeros follows the last.
    """
    m, q = r.size, g.shape[1]
    squares = 0.0
    for i in range(0, q, 2):
        one, both, other, left, right, squares = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for n in range(m):
            squares += r[n] * r[n]
            one += rows[i, n] * rows[i, n]
            both += rows[i, n] * rows[i + 1, n]
            other += rows[i + 1, n] * rows[i + 1, n]
            left += rows[i, n] * r[n]
            right += rows[i + 1, n] * r[n]
        a[at, i, i], g[at, i] = one, left
        paired = i + 1 < q
        if paired:
            a[at, i + 1, i], a[at, i, i + 1], a[at, i + 1, i + 1], g[at, i + 1] = (
                both,
                both,
                other,
                right,
            )
        for j in range(0, i, 2):
            one, both, other, left = 0.0, 0.0, 0.0, 0.0
            for n in range(m):
                one += rows[i, n] * rows[j, n]
                both += rows[i, n] * rows[j + 1, n]
                other += rows[i + 1, n] * rows[j, n]
                left += rows[i + 1, n] * rows[j + 1, n]
            a[at, i, j], a[at, j, i], a[at, i, j + 1], a[at, j + 1, i] = one, one, both, both
            if paired:
                a[at, i + 1, j], a[at, j, i + 1] = other, other
                a[at, i + 1, j + 1], a[at, j + 1, i + 1] = left, left
    return squares


def spread_of(y: Array, w: Array, width: int) -> tuple[int, float]:
    """How many values there are, and their weighted squares about their mean."""
    count, spread = 0, 0.0
    for part in range(width):
        total, mean = 0.0, 0.0
        for i in range(y.size // width):
            square = w[i * width + part] ** 2
            total += square
            mean += square * y[i * width + part]
            count += square > 0
        mean /= total
        for i in range(y.size // width):
            away = w[i * width + part] * (y[i * width + part] - mean)
            spread += away * away
    return count, spread
