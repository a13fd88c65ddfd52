"""Levenberg-Marquardt of one spectrum after the other in loops over numbers, for Numba to compile.

Plain Python without arrays made for each spectrum. The method is that of MINPACK (J. J. More,
Lecture Notes in Mathematics 630, 105, 1978), which SciPy runs: steps within a region in which the
linear model was right so far, in parameters scaled by their longest derivatives. In place of the
derivatives themselves their normal equations are solved, made in one pass over the spectrum.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from usidx.model.dimension import Array
from usidx.steps.fitting.equations import (
    HIGH,
    INVERSE,
    LONGEST,
    LOW,
    SHIFT,
    STEP,
    damped_step,
    factored,
    variance_of,
)
from usidx.steps.fitting.problem import (
    ANGLE,
    AT_BOUND,
    CONDITION,
    CONVERGED,
    EDGE,
    EXACT,
    EXHAUSTED,
    FACTOR,
    FADED,
    GAIN,
    NEAR,
    NO_START,
    REST,
    SINGULAR,
    SMALL,
    TINY,
)
from usidx.steps.fitting.sums import normal_equations, spread_of, weighted_squares


def fit_many(
    values: Any, data: Array, x: Array, spectra: Array, weights: Array, start: Array, free: Array,
    link: Array, box: Array, plain: bool, linked: bool, loss: int, scale: float, iterations: int,
    width: int, out: Array, status: Array,
) -> None:  # fmt: skip
    """Fit each row of spectra (rows, m), beginning at start (rows, k).

    Parameters are those of `problem.Problem`; width is 2 for complex values, whose parts alternate.
    `values(data, x, p, at, box, y, r, df, work)` makes residuals and derivatives. Columns of out
    (2k + 1, rows) become parameters, errors and R squared.
    """
    m, k, q = spectra.shape[1], start.shape[1], free.size
    r, work = np.empty(m), np.empty(m)
    df, jr = np.zeros((k + 1, m)), np.zeros((q + 1, m))  # the last row stays 0
    # here and where a step leads, in turns
    p, a, g = np.empty((2, k)), np.empty((2, q, q)), np.empty((2, q))
    small, lower = np.empty((5, q)), np.empty((q, q))
    for row in range(spectra.shape[0]):
        y, w = spectra[row], weights[row if weights.shape[0] > 1 else 0]
        for j in range(k):
            p[0, j] = min(max(start[row, j], box[LOW, j]), box[HIGH, j])
        _follow(p, 0, link, box, linked)
        state, squares, here = _descended(
            values, data, x, y, w, free, link, box, plain, linked, loss, scale, iterations,
            r, work, df, jr, p, a, g, small, lower,
        )  # fmt: skip
        status[row] = _concluded(
            state, squares, here, y, w, free, link, box, width, p, a, small, lower, out, row
        )


def _descended(
    values: Any, data: Array, x: Array, y: Array, w: Array, free: Array, link: Array, box: Array,
    plain: bool, linked: bool, loss: int, scale: float, iterations: int, r: Array, work: Array,
    df: Array, jr: Array, p: Array, a: Array, g: Array, small: Array, lower: Array,
) -> tuple[int, float, int]:  # fmt: skip
    """How it ended, the sum of squares there, and which of p and a are those there."""
    here, exact = 0, EXACT * weighted_squares(y, w)
    region, par, before = -1.0, 0.0, TINY
    for j in range(free.size):
        small[LONGEST, j] = 0.0
    values(data, x, p, here, box, y, r, df, work)
    cost, squares = normal_equations(
        w, free, link, plain, linked, loss, scale, r, df, jr, a, g, here
    )
    if not np.isfinite(cost):
        return NO_START, np.nan, here
    for _ in range(iterations):
        angle, size = _surveyed(p, a, g, here, free, box, small)
        if angle <= ANGLE * math.sqrt(2 * cost) or squares <= exact:
            return CONVERGED, squares, here
        first, there = region < 0, 1 - here
        if first:
            region = FACTOR * size if size > 0 else FACTOR
        par, long = damped_step(a, g, here, region, par, small, lower)
        inside = _stepped(p, here, free, box, small)
        _follow(p, there, link, box, linked)
        slope, predicted = _promised(a, g, here, small)
        if par == 0 and inside and long <= NEAR * size and predicted <= SMALL * cost:
            # steps shrink as the last one did: what is left after this one is known without looking
            rest = predicted * min(predicted / before, 1.0)
            if predicted <= GAIN * cost or rest <= REST * cost:
                for j in range(p.shape[1]):
                    p[here, j] = p[there, j]
                return CONVERGED, squares - 2 * predicted, here
        values(data, x, p, there, box, y, r, df, work)
        cost_there, squares_there = normal_equations(
            w, free, link, plain, linked, loss, scale, r, df, jr, a, g, there
        )
        if first:
            region = min(region, long)
        gain = cost - cost_there if cost_there < 100 * cost else -cost
        ratio = gain / predicted if predicted > 0 else 0.0
        region, par = _trusted(region, par, long, gain, ratio, slope, cost)
        ended = abs(gain) <= GAIN * cost and predicted <= GAIN * cost and ratio <= 2
        if ratio >= 1e-4:
            cost, squares, here = cost_there, squares_there, there
            before = predicted if par == 0 else TINY
        if ended or region <= EDGE * size:
            return CONVERGED, squares, here
    return EXHAUSTED, squares, here


def _trusted(
    region: float, par: float, long: float, gain: float, ratio: float, slope: float, cost: float
) -> tuple[float, float]:
    """The region in which the linear model is trusted from now on, and the damping to try."""
    if ratio <= 0.25:
        shrink = 0.5 if gain >= 0 else 0.5 * slope / (slope + gain)
        shrink = shrink if gain > -cost and shrink >= 0.1 else 0.1
        return shrink * min(region, 10 * long), par / shrink
    if par == 0 or ratio >= 0.75:
        return 2 * long, 0.5 * par
    return region, par


def _follow(p: Array, at: int, link: Array, box: Array, linked: bool) -> None:
    """Linked parameters follow the others."""
    if linked:
        for t in range(link.shape[0]):
            if link[t, t] == 0:
                value = box[SHIFT, t]
                for j in range(link.shape[0]):
                    if link[t, j] != 0:
                        value += link[t, j] * p[at, j]
                p[at, t] = value


def _surveyed(
    p: Array, a: Array, g: Array, here: int, free: Array, box: Array, small: Array
) -> tuple[float, float]:
    """The steepest slope in units of its derivatives, and the length of the scaled parameters.

    The scale grows to the longest derivatives, and parameters that would leave bounds are held.
    """
    steepest, size = 0.0, 0.0
    for j in range(free.size):
        mine, slope = p[here, free[j]], g[here, j]
        length = math.sqrt(a[here, j, j])
        small[LONGEST, j] = max(small[LONGEST, j], length)
        longest = small[LONGEST, j] if small[LONGEST, j] > 0 else 1.0
        low, high = box[LOW, free[j]], box[HIGH, free[j]]
        held = (mine <= low and slope > 0) or (mine >= high and slope < 0)
        small[INVERSE, j] = 0.0 if held else 1 / longest
        if not held and abs(slope) > steepest * length:
            steepest = abs(slope) / length
        size += (longest * mine) ** 2
    return steepest, math.sqrt(size)


def _stepped(p: Array, here: int, free: Array, box: Array, small: Array) -> bool:
    """Whether the step ends within bounds, onto which it is shortened; there p becomes its end."""
    inside, there = True, 1 - here
    for j in range(p.shape[1]):
        p[there, j] = p[here, j]
    for j in range(free.size):
        t = free[j]
        end = p[here, t] + small[STEP, j]
        p[there, t] = min(max(end, box[LOW, t]), box[HIGH, t])
        if p[there, t] != end:
            inside = False
            small[STEP, j] = p[there, t] - p[here, t]
    return inside


def _promised(a: Array, g: Array, here: int, small: Array) -> tuple[float, float]:
    """The slope of the cost along the step, and what the linear model gains by it."""
    slope, bent = 0.0, 0.0
    for i in range(g.shape[1]):
        along = 0.0
        for j in range(g.shape[1]):
            along += a[here, i, j] * small[STEP, j]
        bent += small[STEP, i] * along
        slope += small[STEP, i] * g[here, i]
    return slope, -(slope + 0.5 * bent)


def _concluded(
    state: int, squares: float, here: int, y: Array, w: Array, free: Array, link: Array, box: Array,
    width: int, p: Array, a: Array, small: Array, lower: Array, out: Array, row: int,
) -> int:  # fmt: skip
    """The status; parameters, errors and R squared go to a column of out (2k + 1, rows).

    Errors are of the inverse of the normal equations without the parameters at bounds.
    """
    k, q = p.shape[1], free.size
    at_bound, regular = False, state != NO_START
    for j in range(q):
        mine, length = p[here, free[j]], math.sqrt(a[here, j, j])
        held = mine <= box[LOW, free[j]] or mine >= box[HIGH, free[j]]
        small[INVERSE, j] = 0.0 if held else 1 / length
        at_bound = at_bound or held
        regular = regular and (held or length > 0)
    regular = regular and factored(a, here, 0.0, small, lower)
    for t in range(k):
        out[t, row] = p[here, t]
        out[k + t, row] = variance_of(t, free, link, small, lower) if regular else np.nan
    worst = 0.0
    for j in range(q):
        if small[INVERSE, j] > 0:
            worst += out[k + free[j], row] * a[here, j, j]
    regular = regular and worst < 1 / CONDITION
    count, spread = spread_of(y, w, width)
    if spread <= EXACT * weighted_squares(y, w):
        # nothing is there: what is left of a peak is rounding, and its place that of nothing
        for j in range(q):
            faded = a[here, j, j] < FADED * small[LONGEST, j] ** 2
            regular = regular and not (faded and small[INVERSE, j] > 0)
    noise = squares / max(count - q, 1) if regular else np.nan
    for t in range(k):
        out[k + t, row] = math.sqrt(out[k + t, row] * noise)
    out[2 * k, row] = 1 - squares / spread if spread > 0 else np.nan
    if not regular and state <= AT_BOUND:
        return SINGULAR
    return AT_BOUND if state == CONVERGED and at_bound else state
