"""Levenberg-Marquardt on thousands of spectra at once, on NumPy or any array of the array API.

The method and the numbers are those of `loops`, for all rows of a batch in step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from usidx.model.dimension import Array
from usidx.steps.fitting.equations import INVERSE, SCALED, damped_step
from usidx.steps.fitting.evaluating import evaluated, parts_of, real_parts
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
    Problem,
)
from usidx.steps.fitting.stacked import factored, solved, squared

_GOING = -1
# So many rows are told their steps one by one
_FEW = 4


@dataclass(eq=False)
class Rows:
    """Arrays with a row for each spectrum."""

    def take(self, which: Any) -> Self:
        """Some of the rows."""
        return type(self)(**{name: value[which] for name, value in vars(self).items()})


@dataclass(eq=False)
class State(Rows):
    """Spectra on their way: parameters, the normal equations there, how far these are trusted.

    Parameters
    ----------
    row : (rows,), of the batch
    p : (rows, k)
    cost, squares : (rows,)
    normal, gradient : (rows, q, q) and (rows, q)
    longest : (rows, q), derivatives so far, in units of which steps are measured
    region, par, before : (rows,), longest step, damping, and what the last step promised
    exact : (rows,), squares below which all is rounding
    status : (rows,), one of STATUS or -1
    """

    row: Any
    p: Any
    cost: Any
    squares: Any
    normal: Any
    gradient: Any
    longest: Any
    region: Any
    par: Any
    before: Any
    exact: Any
    status: Any


@dataclass(eq=False)
class Trial(Rows):
    """Where the next steps lead.

    Parameters
    ----------
    p : (rows, k)
    par, long, size : (rows,), damping, and the scaled lengths of step and parameters
    slope, predicted : (rows,), of the cost along the step, and what the linear model gains
    first : (rows,), whether it is the first step
    """

    p: Any
    par: Any
    long: Any
    size: Any
    slope: Any
    predicted: Any
    first: Any


def fit_batched(problem: Problem, y: Any, weights: Any, start: Any, out: Any, status: Any) -> None:
    """Fit every row; columns of out become parameters, errors and R squared.

    Parameters
    ----------
    problem : with arrays of the library that y is of
    y : (rows, n), real or complex
    weights : (rows or 1, n), 0 where there is no value
    start : (rows, k)
    out : (2 k + 1, rows), status : (rows,), int8; both are filled
    """
    xp = y.__array_namespace__() if hasattr(y, "__array_namespace__") else _adapted(y)
    with np.errstate(all="ignore"):  # values that are not finite are looked for
        out[...], status[...] = _fitted(
            xp, problem, real_parts(xp, y), _twice(xp, weights, y), start
        )


def _adapted(array: Any) -> Any:
    """The functions that go with an array that does not know them itself, as PyTorch's."""
    from array_api_compat import array_namespace

    return array_namespace(array)


def _twice(xp: Any, w: Any, y: Any) -> Any:
    """Weights for what `real_parts` makes of y."""
    if not xp.isdtype(y.dtype, "complex floating"):
        return w
    return np.repeat(w, 2, axis=-1) if xp is np else xp.concat([w, w], axis=-1)


def _fitted(xp: Any, problem: Problem, y: Any, w: Any, start: Any) -> tuple[Any, Any]:
    p = _followed(problem, xp.minimum(xp.maximum(start, problem.low), problem.high))
    cost, squares, normal, gradient = evaluated(xp, problem, y, w, p)
    zeros = xp.zeros_like(cost)
    lost = xp.full(cost.shape, NO_START, dtype=xp.int8)
    going = xp.full(cost.shape, _GOING, dtype=xp.int8)
    state = State(
        xp.arange(cost.shape[0]), p, cost, squares, normal, gradient,
        longest=xp.zeros_like(gradient), region=zeros - 1, par=zeros, before=zeros + TINY,
        exact=EXACT * xp.vecdot(*[y * w if problem.is_weighted else y] * 2),
        status=xp.where(xp.isfinite(cost), going, lost),
    )  # fmt: skip
    return _concluded(xp, problem, _descended(xp, problem, state, y, w), y, w)


def _descended(xp: Any, problem: Problem, state: State, y: Any, w: Any) -> State:
    """All rows where their fits ended, in their order."""
    ended: list[State] = []
    for _ in range(problem.iterations):
        trial = _tried(xp, problem, state)
        done = state.status != _GOING
        count = int(xp.sum(xp.astype(done, xp.int64)))
        if count == done.shape[0]:
            break
        if count > 0.1 * done.shape[0]:
            going = ~done
            ended.append(state.take(done))
            state, trial, y = state.take(going), trial.take(going), y[going]
            w = w[going] if w.shape[0] > 1 else w
        _advance(xp, problem, state, trial, y, w)
    state.status = xp.where(state.status == _GOING, _as(xp, EXHAUSTED, state), state.status)
    ended.append(state)
    order = xp.argsort(xp.concat([each.row for each in ended]))
    parts = [vars(each) for each in ended]
    whole = {name: xp.concat([each[name] for each in parts], axis=0) for name in parts[0]}
    return State(**{name: xp.take(each, order, axis=0) for name, each in whole.items()})


def _as(xp: Any, status: int, state: State) -> Any:
    return xp.full(state.status.shape, status, dtype=xp.int8)


def _tried(xp: Any, problem: Problem, state: State) -> Trial:
    """The next step of each row; those that need none, or no look at where it leads, are done."""
    size, inverse = _surveyed(xp, problem, state)
    first = state.region < 0
    longest = FACTOR * xp.where(size > 0, size, xp.ones_like(size))
    state.region = xp.where(first, longest, state.region)
    scaled, par, long = _damped(xp, state, inverse)
    p, step, inside = _stepped(xp, problem, state, scaled * inverse)
    bent = xp.sum(step * xp.matmul(state.normal, step[..., None])[..., 0], axis=-1)
    slope = xp.sum(step * state.gradient, axis=-1)
    predicted = -(slope + 0.5 * bent)
    # as in `loops`: what is left after this step is known without looking
    shrinks = xp.where(predicted < state.before, predicted / state.before, xp.ones_like(par))
    near = (predicted <= GAIN * state.cost) | (predicted * shrinks <= REST * state.cost)
    near = near & (par == 0) & inside & (predicted <= SMALL * state.cost)
    near = near & (long <= NEAR * size) & (state.status == _GOING)
    state.p = xp.where(near[:, None], p, state.p)
    state.squares = xp.where(near, state.squares - 2 * predicted, state.squares)
    state.status = xp.where(near, _as(xp, CONVERGED, state), state.status)
    return Trial(p, par, long, size, slope, predicted, first)


def _surveyed(xp: Any, problem: Problem, state: State) -> tuple[Any, Any]:
    """Length of the scaled parameters, and the inverse of their units, 0 where a bound holds them.

    The units grow to the longest derivatives. Rows whose slope is none are done.
    """
    length = xp.sqrt(xp.linalg.diagonal(state.normal))
    state.longest = xp.maximum(state.longest, length)
    units = xp.where(state.longest > 0, state.longest, xp.ones_like(length))
    mine, low, high = _of_free(xp, problem, state)
    slope = state.gradient
    held = ((mine <= low) & (slope > 0)) | ((mine >= high) & (slope < 0))
    zeros = xp.zeros_like(length)
    steep = xp.where(held | (length == 0), zeros, xp.abs(slope) / (length + TINY))
    flat = xp.max(steep, axis=-1) <= ANGLE * xp.sqrt(2 * state.cost)
    flat = (flat | (state.squares <= state.exact)) & (state.status == _GOING)
    state.status = xp.where(flat, _as(xp, CONVERGED, state), state.status)
    size = xp.sqrt(xp.sum((units * mine) ** 2, axis=-1))
    return size, xp.where(held, zeros, 1 / units)


def _of_free(xp: Any, problem: Problem, state: State) -> tuple[Any, Any, Any]:
    """The parameters that are free, and their bounds."""
    free = problem.free
    bounds = (xp.take(each, free, axis=0) for each in (problem.low, problem.high))
    return (xp.take(state.p, free, axis=1), *bounds)


def _advance(xp: Any, problem: Problem, state: State, trial: Trial, y: Any, w: Any) -> None:
    """Look where the steps lead, and go there where it is better."""
    cost, squares, normal, gradient = evaluated(xp, problem, y, w, trial.p)
    par, long, predicted = trial.par, trial.long, trial.predicted
    going = state.status == _GOING
    gain = xp.where(cost >= 100 * state.cost, -state.cost, state.cost - cost)
    ratio = xp.where(predicted > 0, gain / predicted, xp.zeros_like(gain))
    region = xp.where(trial.first, xp.minimum(state.region, long), state.region)
    state.region, state.par = _trusted(xp, region, par, long, gain, ratio, trial.slope, state.cost)
    enough = GAIN * state.cost
    ended = (xp.abs(gain) <= enough) & (predicted <= enough) & (ratio <= 2)
    ended = going & (ended | (state.region <= EDGE * trial.size))
    better = going & (ratio >= 1e-4)
    state.before = xp.where(better & (par == 0), predicted, xp.full_like(par, TINY))
    state.p = xp.where(better[:, None], trial.p, state.p)
    state.cost = xp.where(better, cost, state.cost)
    state.squares = xp.where(better, squares, state.squares)
    state.gradient = xp.where(better[:, None], gradient, state.gradient)
    state.normal = xp.where(better[:, None, None], normal, state.normal)
    state.status = xp.where(ended, _as(xp, CONVERGED, state), state.status)


def _damped(xp: Any, state: State, inverse: Any) -> tuple[Any, Any, Any]:
    """The scaled step, its damping and length: that of the region within a tenth, or shorter."""
    if xp is np and len(inverse) <= _FEW:
        return _damped_one_by_one(state, inverse)
    right, region = -state.gradient * inverse, state.region
    zeros = xp.zeros_like(region)
    lower, regular = factored(xp, state.normal, inverse, zeros)
    step = solved(xp, lower, right)
    long = xp.sqrt(xp.sum(step * step, axis=-1))
    short = regular & (long <= 1.1 * region)
    if bool(xp.all(short | (state.status != _GOING))):
        return step, zeros, long
    steep = xp.sqrt(xp.sum(right * right, axis=-1))
    away, most = xp.where(regular, long - region, zeros + xp.inf), steep / region
    bend = squared(lower, step) / (long * long + TINY)
    least = xp.where(regular, away / region / (bend + TINY), zeros)
    par = xp.minimum(xp.maximum(state.par, least), most)
    par = xp.where(par == 0, xp.where(regular, steep / (long + TINY), 1e-3 * most), par)
    par, done = xp.where(short, zeros, par), short
    for turn in range(10):
        par = xp.where((par == 0) & ~done, xp.maximum(zeros + TINY, 1e-3 * most), par)
        lower, _ = factored(xp, state.normal, inverse, par)
        step = xp.where(done[:, None], step, solved(xp, lower, right))
        long = xp.where(done, long, xp.sqrt(xp.sum(step * step, axis=-1)))
        before, away = away, long - region
        done = done | (xp.abs(away) <= 0.1 * region)
        done = done | ((least == 0) & (away <= before) & (before < 0))
        if turn == 9 or bool(xp.all(done | (state.status != _GOING))):
            break
        bend = squared(lower, step) / (long * long + TINY)
        least = xp.where(away > 0, xp.maximum(least, par), least)
        par = xp.where(done, par, xp.maximum(least, par + away / region / (bend + TINY)))
    return step, par, long


def _damped_one_by_one(state: State, inverse: Array) -> tuple[Array, Array, Array]:
    """The same in loops over numbers, which is faster for few rows."""
    rows, q = inverse.shape
    step, par, long = np.zeros((rows, q)), np.zeros(rows), np.zeros(rows)
    small, lower = np.zeros((5, q)), np.zeros((q, q))
    for row in range(rows):
        if state.status[row] == _GOING:
            small[INVERSE] = inverse[row]
            par[row], long[row] = damped_step(
                state.normal, state.gradient, row, state.region[row], state.par[row], small, lower
            )
            step[row] = small[SCALED]
    return step, par, long


def _stepped(xp: Any, problem: Problem, state: State, step: Any) -> tuple[Any, Any, Any]:
    """Where the step (rows, q) leads within bounds, the step there, and whether it was within."""
    columns = [state.p[:, t] for t in range(state.p.shape[1])]
    inside, steps = step[:, 0] == step[:, 0], []
    for j, t in enumerate(int(each) for each in problem.free):
        end = columns[t] + step[:, j]
        there = xp.minimum(xp.maximum(end, problem.low[t]), problem.high[t])
        inside = inside & (there == end)
        steps.append(xp.where(there == end, step[:, j], there - columns[t]))
        columns[t] = there
    return _followed(problem, xp.stack(columns, axis=-1)), xp.stack(steps, axis=-1), inside


def _followed(problem: Problem, p: Any) -> Any:
    """Linked parameters follow the others."""
    return p @ problem.link.T + problem.shift if problem.is_linked else p


def _trusted(
    xp: Any, region: Any, par: Any, long: Any, gain: Any, ratio: Any, slope: Any, cost: Any
) -> tuple[Any, Any]:
    shrink = xp.where(gain >= 0, xp.full_like(par, 0.5), 0.5 * slope / (slope + gain))
    shrink = xp.where((gain > -cost) & (shrink >= 0.1), shrink, xp.full_like(par, 0.1))
    bad, good = ratio <= 0.25, (par == 0) | (ratio >= 0.75)
    smaller, larger = shrink * xp.minimum(region, 10 * long), 2 * long
    return (
        xp.where(bad, smaller, xp.where(good, larger, region)),
        xp.where(bad, par / shrink, xp.where(good, 0.5 * par, par)),
    )


def _concluded(xp: Any, problem: Problem, state: State, y: Any, w: Any) -> tuple[Any, Any]:
    """Parameters, errors and R squared (2 k + 1, rows), and status (rows,)."""
    free, rows = problem.free, state.p.shape[0]
    mine, low, high = _of_free(xp, problem, state)
    held = (mine <= low) | (mine >= high)
    squares = xp.linalg.diagonal(state.normal)
    usable = (squares > 0) & xp.isfinite(squares)
    zeros, nothing = xp.zeros_like(squares), xp.full((rows,), xp.nan, dtype=state.p.dtype)
    inverse = xp.where(held | ~usable, zeros, 1 / xp.sqrt(xp.where(usable, squares, zeros + 1)))
    lower, regular = factored(xp, state.normal, inverse, xp.zeros_like(state.cost))
    variances = []
    worst = xp.zeros_like(state.cost)
    places = [int(each) for each in free]
    for t in range(state.p.shape[1]):
        parts = xp.take(problem.link[t, :], free, axis=0)
        lost = xp.any(held & (parts != 0), axis=-1)
        own = xp.where(lost, nothing, squared(lower, parts * inverse))
        if t in places:
            worst = worst + xp.where(lost, xp.zeros_like(own), own * squares[:, places.index(t)])
        variances.append(own if bool(xp.any(parts != 0)) else nothing)
    regular = regular & xp.all(usable | held, axis=-1) & (worst < 1 / CONDITION)
    regular = regular & (state.status != NO_START)
    parts = 1 + problem.model.is_complex
    pieces = [
        _spread(xp, y[part, :], w[part, :] if w.shape[0] > 1 else w, parts)
        for part in parts_of(xp, y)
    ]
    count, spread = (xp.concat(each) for each in zip(*pieces, strict=True))
    # nothing is there: what is left of a peak is rounding, and its place that of nothing
    faded = xp.any(~held & (squares < FADED * state.longest**2), axis=-1)
    regular = regular & ~(faded & (spread <= state.exact))
    noise = state.squares / xp.maximum(count - free.shape[0], xp.ones_like(count))
    noise = xp.where(regular, noise, nothing)
    errors = [xp.sqrt(each * noise) for each in variances]
    r_squared = xp.where(spread > 0, 1 - state.squares / spread, nothing)
    columns = [*(state.p[:, t] for t in range(state.p.shape[1])), *errors, r_squared]
    status = state.status
    bound = (status == CONVERGED) & xp.any(held, axis=-1)
    status = xp.where(bound, _as(xp, AT_BOUND, state), status)
    status = xp.where(~regular & (status <= AT_BOUND), _as(xp, SINGULAR, state), status)
    return xp.stack(columns), status


def _spread(xp: Any, y: Any, w: Any, parts: int) -> tuple[Any, Any]:
    """Number of values, and their weighted squares about the mean of each part."""
    count = xp.sum(xp.astype(w != 0, y.dtype), axis=-1)
    count = xp.broadcast_to(count, (y.shape[0],))
    spread, size = xp.zeros((y.shape[0],), dtype=y.dtype), y.shape[1] // parts
    for part in range(parts):
        # where `real_parts` has put them
        own = slice(part, None, parts) if xp is np else slice(part * size, (part + 1) * size)
        mine, weight = y[:, own], w[:, own]
        square = weight * weight
        mean = xp.sum(square * mine, axis=-1) / xp.sum(square, axis=-1)
        away = (mine - mean[:, None]) * weight
        spread = spread + xp.vecdot(away, away)
    return count, spread
