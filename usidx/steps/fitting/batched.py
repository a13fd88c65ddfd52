"""Levenberg-Marquardt on thousands of spectra at once, on NumPy or any array of the array API.

The method and the numbers are those of `loops`, for all rows of a batch in step.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from usidx.steps.fitting.problem import (
    ANGLE,
    AT_BOUND,
    CONDITION,
    CONVERGED,
    EDGE,
    EXACT,
    EXHAUSTED,
    FACTOR,
    GAIN,
    NEAR,
    NO_START,
    REST,
    SINGULAR,
    TINY,
    Problem,
)
from usidx.steps.fitting.stacked import factored, solved, squared

# Values in a batch: derivatives of a batch stay in the cache of a processor. Others take more.
_BATCH = 2**15
_BATCH_ELSEWHERE = 2**24
_GOING = -1


@dataclass(eq=False)
class State:
    """Rows on their way: parameters, the normal equations there, and how far the model is trusted.

    Parameters
    ----------
    row : (rows,), of the batch
    y, w : (rows, m), values and weights
    p : (rows, k)
    cost, squares : (rows,)
    normal, gradient : (rows, q, q) and (rows, q)
    longest : (rows, q), derivatives so far, in units of which steps are measured
    region, par, before : (rows,), longest step, damping, and what the last step promised
    exact : (rows,), squares below which all is rounding
    status : (rows,), one of STATUS or -1
    """

    row: Any
    y: Any
    w: Any
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

    def take(self, which: Any) -> State:
        """Some of its rows."""
        values = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        return State(**{name: value[which, ...] for name, value in values.items()})


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
    xp = namespace_of(y)
    here = xp.__name__ == "numpy"
    size = max(16, (_BATCH if here else _BATCH_ELSEWHERE) // y.shape[1])
    for first in range(0, y.shape[0], size):
        part = slice(first, first + size)
        w = weights[part, :] if weights.shape[0] > 1 else weights
        w = xp.broadcast_to(w, y[part, :].shape)
        out[:, part], status[part] = _fitted(xp, problem, y[part, :], w, start[part, :])


def namespace_of(array: Any) -> Any:
    """The functions that go with an array."""
    if hasattr(array, "__array_namespace__"):
        return array.__array_namespace__()
    from array_api_compat import array_namespace

    return array_namespace(array)


def _fitted(xp: Any, problem: Problem, y: Any, w: Any, start: Any) -> tuple[Any, Any]:
    if problem.model.is_complex:
        y = xp.concat([xp.real(y), xp.imag(y)], axis=-1)
        w = xp.concat([w, w], axis=-1)
    with quiet(xp):
        state = _descended(xp, problem, _begun(xp, problem, y, w, start))
        return _concluded(xp, problem, state)


def quiet(xp: Any) -> Any:
    """NumPy without warnings of values that are not finite, which are looked for."""
    import numpy as np

    return np.errstate(all="ignore")


def _begun(xp: Any, problem: Problem, y: Any, w: Any, start: Any) -> State:
    p = _followed(problem, xp.minimum(xp.maximum(start, problem.low), problem.high))
    cost, squares, normal, gradient = _evaluated(xp, problem, y, w, p)
    zeros = xp.zeros_like(cost)
    lost = xp.full(cost.shape, NO_START, dtype=xp.int8)
    going = xp.full(cost.shape, _GOING, dtype=xp.int8)
    return State(
        xp.arange(cost.shape[0]), y, w, p, cost, squares, normal, gradient,
        longest=xp.zeros_like(gradient), region=zeros - 1, par=zeros, before=zeros + TINY,
        exact=EXACT * xp.sum((w * y) ** 2, axis=-1),
        status=xp.where(xp.isfinite(cost), going, lost),
    )  # fmt: skip


def _descended(xp: Any, problem: Problem, state: State) -> State:
    """All rows where their fits ended, in their order."""
    ended: list[State] = []
    for _ in range(problem.iterations):
        size, inverse = _surveyed(xp, problem, state)
        done = state.status != _GOING
        count = int(xp.sum(xp.astype(done, xp.int64)))
        if count == done.shape[0]:
            break
        if count > 0.2 * done.shape[0]:
            ended.append(state.take(done))
            state, size, inverse = state.take(~done), size[~done], inverse[~done, ...]
        _advance(xp, problem, state, size, inverse)
    state.status = xp.where(state.status == _GOING, _as(xp, EXHAUSTED, state), state.status)
    ended.append(state)
    order = xp.argsort(xp.concat([each.row for each in ended]))
    fields = ("row", "y", "w", "p", "cost", "squares", "normal", "gradient", "longest", "region",
              "par", "before", "exact", "status")  # fmt: skip
    whole = {f: xp.concat([getattr(each, f) for each in ended], axis=0) for f in fields}
    return State(**{f: xp.take(each, order, axis=0) for f, each in whole.items()})


def _as(xp: Any, status: int, state: State) -> Any:
    return xp.full(state.status.shape, status, dtype=xp.int8)


def _surveyed(xp: Any, problem: Problem, state: State) -> tuple[Any, Any]:
    """Length of the scaled parameters, and the inverse of their units, 0 where a bound holds them.

    The units grow to the longest derivatives. Rows whose slope is none are done.
    """
    length = xp.sqrt(xp.linalg.diagonal(state.normal))
    state.longest = xp.maximum(state.longest, length)
    units = xp.where(state.longest > 0, state.longest, xp.ones_like(length))
    free = problem.free
    mine = xp.take(state.p, free, axis=1)
    low, high = xp.take(problem.low, free, axis=0), xp.take(problem.high, free, axis=0)
    slope = state.gradient
    held = ((mine <= low) & (slope > 0)) | ((mine >= high) & (slope < 0))
    zeros = xp.zeros_like(length)
    steep = xp.where(held | (length == 0), zeros, xp.abs(slope) / (length + TINY))
    flat = xp.max(steep, axis=-1) <= ANGLE * xp.sqrt(2 * state.cost)
    flat = (flat | (state.squares <= state.exact)) & (state.status == _GOING)
    state.status = xp.where(flat, _as(xp, CONVERGED, state), state.status)
    size = xp.sqrt(xp.sum((units * mine) ** 2, axis=-1))
    first = FACTOR * xp.where(size > 0, size, xp.ones_like(size))
    state.region = xp.where(state.region < 0, -first, state.region)
    return size, xp.where(held, zeros, 1 / units)


def _advance(xp: Any, problem: Problem, state: State, size: Any, inverse: Any) -> None:
    """One step of each row that is going."""
    first = state.region < 0
    region = xp.abs(state.region)
    scaled, par, long = _damped(xp, state, inverse, region)
    p, step, inside = _stepped(xp, problem, state, scaled * inverse)
    bent = xp.sum(step * xp.matmul(state.normal, step[..., None])[..., 0], axis=-1)
    slope = xp.sum(step * state.gradient, axis=-1)
    predicted = -(slope + 0.5 * bent)
    going = state.status == _GOING
    # as in `loops`: what is left after this step is known without looking
    near = (par == 0) & inside & (long <= NEAR * size) & (predicted <= NEAR**2 * state.cost)
    shrinks = xp.where(predicted < state.before, predicted / state.before, xp.ones_like(par))
    enough = GAIN * state.cost
    near = going & near & ((predicted <= enough) | (predicted * shrinks <= REST * state.cost))
    cost, squares, normal, gradient = _evaluated(xp, problem, state.y, state.w, p)
    wild = cost >= 100 * state.cost
    gain = xp.where(wild, -state.cost, state.cost - cost)
    ratio = xp.where(predicted > 0, gain / predicted, xp.zeros_like(gain))
    region = xp.where(first, xp.minimum(region, long), region)
    state.region, state.par = _trusted(xp, region, par, long, gain, ratio, slope, state.cost)
    ended = (xp.abs(gain) <= enough) & (predicted <= enough) & (ratio <= 2)
    ended = near | (going & (ended | (state.region <= EDGE * size)))
    better = going & (ratio >= 1e-4)
    state.before = xp.where(better & (par == 0), predicted, xp.full_like(par, TINY))
    state.p = xp.where(better[:, None], p, state.p)
    state.cost = xp.where(better, cost, state.cost)
    state.squares = xp.where(better, squares, state.squares)
    state.gradient = xp.where(better[:, None], gradient, state.gradient)
    state.normal = xp.where(better[:, None, None], normal, state.normal)
    state.status = xp.where(ended, _as(xp, CONVERGED, state), state.status)


def _damped(xp: Any, state: State, inverse: Any, region: Any) -> tuple[Any, Any, Any]:
    """The scaled step, its damping and length: that of the region within a tenth, or shorter."""
    right = -state.gradient * inverse
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


def _evaluated(xp: Any, problem: Problem, y: Any, w: Any, p: Any) -> tuple[Any, Any, Any, Any]:
    """Cost, squares, normal equations and gradient."""
    q, n = problem.free.shape[0], problem.x.shape[0]
    values, derivatives = problem.model.evaluate(xp, problem.x, p, problem.high, problem.moving)
    rows = xp.empty((p.shape[0], q + 1, y.shape[1]), dtype=y.dtype)
    for number, each in enumerate([*problem.chosen(derivatives), values]):
        if problem.model.is_complex:
            rows[:, number, :n] = xp.real(each)
            rows[:, number, n:] = xp.imag(each)
        else:
            rows[:, number, :] = each
    rows[:, q, :] -= y
    if problem.is_weighted:
        rows *= w[:, None, :]
    cost, squares = None, None
    if problem.loss != "linear":
        residual = rows[:, q, :]
        squares = xp.sum(residual * residual, axis=-1)
        cost, first = robust(xp, problem.loss, residual, problem.scale)
        rows *= xp.sqrt(first)[:, None, :]
    products = xp.matmul(rows, xp.matrix_transpose(rows))
    normal, gradient = products[:, :q, :q], products[:, :q, q]
    if cost is None or squares is None:
        squares = products[:, q, q]
        cost = 0.5 * squares
    total = cost + xp.sum(xp.linalg.diagonal(normal), axis=-1)
    return xp.where(xp.isfinite(total), cost, xp.full_like(cost, xp.inf)), squares, normal, gradient


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


def _concluded(xp: Any, problem: Problem, state: State) -> tuple[Any, Any]:
    """Parameters, errors and R squared (2 k + 1, rows), and status (rows,)."""
    free, rows = problem.free, state.p.shape[0]
    mine = xp.take(state.p, free, axis=1)
    low, high = xp.take(problem.low, free, axis=0), xp.take(problem.high, free, axis=0)
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
    count, spread = _spread(xp, state, problem.model.is_complex)
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


def _spread(xp: Any, state: State, is_complex: bool) -> tuple[Any, Any]:
    """Number of values, and their weighted squares about their mean."""
    count = xp.sum(xp.astype(state.w != 0, state.y.dtype), axis=-1)
    spread = xp.zeros_like(state.cost)
    m = state.y.shape[1]
    for part in (slice(0, m // 2), slice(m // 2, m)) if is_complex else (slice(0, m),):
        y, square = state.y[:, part], state.w[:, part] ** 2
        mean = xp.sum(square * y, axis=-1) / xp.sum(square, axis=-1)
        away = y - mean[:, None]
        spread = spread + xp.sum(square * away * away, axis=-1)
    return count, spread
