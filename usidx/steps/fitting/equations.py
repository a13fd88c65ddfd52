"""The step that the normal equations of one spectrum give, in loops for Numba to compile.

These are short loops, which are slower as vectors: they are compiled without leave to reorder.
"""

from __future__ import annotations

import math

import numpy as np

from usidx.model.dimension import Array
from usidx.steps.fitting.problem import CONDITION

# Rows of `small` (5, q): the step; the inverse of the longest derivatives, which is 0 where a bound
# holds a parameter; the step in units of these derivatives; room to turn it; the longest
STEP, INVERSE, SCALED, TURNED, LONGEST = range(5)
# Rows of `box` (3, k): bounds, and what is added to parameters that follow others
LOW, HIGH, SHIFT = range(3)


def damped_step(
    a: Array, g: Array, at: int, region: float, par: float, small: Array, lower: Array
) -> tuple[float, float]:
    """The damping of the step, and its scaled length: that of the region, within a tenth.

    There is no damping where the step is shorter without. The iteration is that of MINPACK's lmpar.
    """
    slope = 0.0
    for j in range(g.shape[1]):
        slope += (g[at, j] * small[INVERSE, j]) ** 2
    slope = math.sqrt(slope)
    least, most, away, long = 0.0, slope / region, np.inf, 0.0
    regular = factored(a, at, 0.0, small, lower)
    if regular:
        long = _solved(g, at, small, lower)
        away = long - region
        if away <= 0.1 * region:
            return 0.0, long
        least = away / region / _bend(long, small, lower)
    par = min(max(par, least), most)
    if par == 0:
        par = slope / long if regular else 1e-3 * most
    for turn in range(10):
        par = max(par, 1e-300, 1e-3 * most if par == 0 else 0.0)
        factored(a, at, par, small, lower)
        long = _solved(g, at, small, lower)
        before, away = away, long - region
        near = abs(away) <= 0.1 * region
        if near or (least == 0 and away <= before and before < 0) or turn == 9:
            break
        if away > 0:
            least = max(least, par)
        else:
            most = min(most, par)
        par = max(least, par + away / region / _bend(long, small, lower))
    return par, long


def factored(a: Array, at: int, par: float, small: Array, lower: Array) -> bool:
    """Whether a[at] in units of the longest derivatives, with par added, is regular.

    lower becomes its Cholesky factor, with the inverse of the diagonal in place of the diagonal.
    Parameters that are held are left out.
    """
    regular = True
    for i in range(lower.shape[0]):
        for j in range(i):
            left = a[at, i, j] * small[INVERSE, i] * small[INVERSE, j]
            for n in range(j):
                left -= lower[i, n] * lower[j, n]
            lower[i, j] = left * lower[j, j]
        whole = par + a[at, i, i] * small[INVERSE, i] ** 2 if small[INVERSE, i] > 0 else 1.0
        left = whole
        for n in range(i):
            left -= lower[i, n] * lower[i, n]
        if not left > CONDITION * whole:
            regular = False
            left = CONDITION
        lower[i, i] = 1 / math.sqrt(left)
    return regular


def _solved(g: Array, at: int, small: Array, lower: Array) -> float:
    """The scaled length of the step that the factor gives."""
    q = lower.shape[0]
    for i in range(q):
        left = -g[at, i] * small[INVERSE, i]
        for n in range(i):
            left -= lower[i, n] * small[SCALED, n]
        small[SCALED, i] = left * lower[i, i]
    square = 0.0
    for back in range(q):
        i = q - 1 - back
        left = small[SCALED, i]
        for n in range(i + 1, q):
            left -= lower[n, i] * small[SCALED, n]
        left *= lower[i, i]
        square += left * left
        small[SCALED, i] = left
        small[STEP, i] = left * small[INVERSE, i]
    return math.sqrt(square)


def _bend(long: float, small: Array, lower: Array) -> float:
    """How fast the length of the step, in units of itself, shrinks with damping."""
    for i in range(lower.shape[0]):
        small[TURNED, i] = small[SCALED, i] / long
    return _through(small, lower)


def _through(small: Array, lower: Array) -> float:
    """Square of the length of lower^-1 turned, which turned becomes."""
    total = 0.0
    for i in range(lower.shape[0]):
        left = small[TURNED, i]
        for n in range(i):
            left -= lower[i, n] * small[TURNED, n]
        left *= lower[i, i]
        small[TURNED, i] = left
        total += left * left
    return total


def variance_of(t: int, free: Array, link: Array, small: Array, lower: Array) -> float:
    """Of a parameter, for noise of 1; NaN where it is fixed, or at a bound, or follows such."""
    moves = False
    for j in range(free.size):
        part = link[t, free[j]]
        if part != 0 and small[INVERSE, j] == 0:
            return np.nan
        moves = moves or part != 0
        small[TURNED, j] = part * small[INVERSE, j]
    return _through(small, lower) if moves else np.nan
