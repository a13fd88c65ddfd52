"""Levenberg-Marquardt on thousands of spectra at once, with NumPy alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from usidx.model.dimension import Array
from usidx.steps.fitting.models import Model

STATUS = ("converged", "at_bound", "max_iterations", "singular", "no_data", "no_start")
CONVERGED, AT_BOUND, EXHAUSTED, SINGULAR, NO_DATA, NO_START = range(len(STATUS))
LOSSES = ("linear", "soft_l1", "huber")
GAIN = 1e-9  # of the sum of squares, below which nothing is left to gain
ROUNDING = 1e-15  # of the sum of squares
ANGLE = 1e-9  # cosine between residuals and derivatives at which they are orthogonal
EXACT = 1e-28  # of the squares of the values: what remains is rounding
CONDITION = 1e-13  # smallest eigenvalue of the normal equations, scaled to a diagonal of ones
# Values in a batch: derivatives of a batch stay in the cache.
_BATCH = 2**15


@dataclass(frozen=True, eq=False)
class Problem:
    """What all spectra of a fit have in common.

    Parameters
    ----------
    model : values and derivatives
    x : ndarray, shape (n,)
    free : indices of parameters that are fitted
    low, high : ndarrays, shape (k,), bounds
    loss : one of LOSSES
    scale : residual beyond which the loss counts less
    iterations : at most
    damping : at the beginning; little of it leaves hard starts for another valley more often
    weighted : whether any weight is not 1
    """

    model: Model
    x: Array
    free: Array
    low: Array
    high: Array
    loss: str
    scale: float
    iterations: int
    damping: float
    weighted: bool


@dataclass(eq=False)
class State:
    """A batch on its way: parameters, the normal equations there, the longest derivatives so far.

    Steps are damped by the longest, not by those at hand, or a peak whose derivatives fade leaves
    the spectrum (J. J. More, Lecture Notes in Mathematics 630, 105, 1978).
    """

    p: Array
    cost: Array
    squares: Array
    normal: Array
    gradient: Array
    scale: Array

    def take(self, rows: Array) -> State:
        """Some of its rows."""
        return State(*(each[rows] for each in self.parts()))

    def put(self, rows: Array, other: State, which: Array) -> None:
        """Its rows become those of another, of which `which` are taken."""
        for mine, theirs in zip(self.parts(), other.parts(), strict=True):
            mine[rows] = theirs[which]

    def parts(self) -> tuple[Array, ...]:
        """All arrays."""
        return self.p, self.cost, self.squares, self.normal, self.gradient, self.scale


def fit_batched(
    problem: Problem, y: Array, weights: Array, start: Array
) -> tuple[Array, Array, Array, Array]:
    """Parameters, normal equations, squares and status of each spectrum.

    Parameters
    ----------
    y : ndarray, shape (rows, m)
    weights : ndarray, shape (rows, m), 0 where there is no value
    start : ndarray, shape (rows, k)

    Returns
    -------
    ndarrays, shapes (rows, k), (rows, free, free), (rows,) and (rows,)
    """
    rows, m = y.shape
    free = problem.free.size
    p, normal = start.copy(), np.full((rows, free, free), np.nan)
    squares, status = np.full(rows, np.nan), np.full(rows, EXHAUSTED, np.int8)
    size = max(16, _BATCH // m)
    for first in range(0, rows, size):
        part = slice(first, first + size)
        found, status[part] = _fit(problem, y[part], weights[part], start[part])
        p[part], normal[part], squares[part] = found.p, found.normal, found.squares
    return p, normal, squares, status


def _fit(problem: Problem, y: Array, w: Array, start: Array) -> tuple[State, Array]:
    low, high = problem.low, problem.high
    with np.errstate(all="ignore"):
        state = _evaluated(problem, y, w, np.clip(start, low, high))
        status = np.full(len(y), -1, np.int8)
        damping, factor = np.full(len(y), problem.damping), np.full(len(y), 2.0)
        exact = EXACT * ((w * y) ** 2).sum(-1)
        status[~np.isfinite(state.cost)] = NO_START
        rows = np.flatnonzero(status < 0)
        here, py, pw = state, y, w
        at = np.arange(len(y))  # the rows of the batch that `here` holds
        for _ in range(problem.iterations):
            done = _is_orthogonal(problem, here) | (here.squares <= exact[at])
            status[at[done & (status[at] < 0)]] = CONVERGED
            rows = np.flatnonzero(status[at] < 0)
            if not rows.size:
                break
            if rows.size < 0.8 * at.size:
                state.put(at, here, np.arange(at.size))
                here, py, pw, at = here.take(rows), py[rows], pw[rows], at[rows]
            finished = _advance(problem, here, py, pw, damping, factor, at)
            status[at[finished & (status[at] < 0)]] = CONVERGED
        if here is not state:
            state.put(at, here, np.arange(at.size))
        status[status < 0] = EXHAUSTED
    return state, status


def _advance(
    problem: Problem, here: State, y: Array, w: Array, damping: Array, factor: Array, at: Array
) -> Array:
    """One step of each row; which of them need no further one."""
    free, mu, nu = problem.free, damping[at], factor[at]
    wanted = _solved(problem, here, mu)
    p = here.p.copy()
    p[:, free] = np.clip(p[:, free] + wanted, problem.low[free], problem.high[free])
    step = p[:, free] - here.p[:, free]
    bent = (here.normal @ step[..., np.newaxis])[..., 0]
    predicted = -(here.gradient * step).sum(-1) - 0.5 * (step * bent).sum(-1)
    there = _evaluated(problem, y, w, p)
    np.maximum(here.scale, there.scale, out=there.scale)
    gain = here.cost - there.cost
    better = gain > 0
    ratio = np.where(predicted > 0, gain / predicted, 0.0)
    damping[at] = np.where(
        better, np.maximum(mu * np.maximum(1 / 3, 1 - (2 * ratio - 1) ** 3) * 0.03, 1e-12), mu * nu
    )
    factor[at] = np.where(better, 2.0, np.minimum(nu * 2, 1e6))
    enough = GAIN * here.cost
    finished = (np.abs(predicted) <= enough) & (np.abs(gain) <= enough)
    # a step that is small because it is damped says nothing
    finished &= (mu <= 1) | (np.abs(gain) <= ROUNDING * here.cost)
    finished |= np.all(np.abs(step) <= 1e-14 * np.abs(p[:, free]), axis=-1) | (mu > 1e30)
    keep = np.flatnonzero(better)
    here.put(keep, there, keep)
    return np.asarray(finished)


def _solved(problem: Problem, here: State, mu: Array) -> Array:
    """The steps of parameters that are free and not held by a bound."""
    held = held_by_bounds(problem, here.p, here.gradient)
    scale = np.where(here.scale == 0, 1.0, here.scale)
    kept = (~held).astype(float)
    scaled = here.normal / (scale[:, :, np.newaxis] * scale[:, np.newaxis, :])
    scaled *= kept[:, :, np.newaxis] * kept[:, np.newaxis, :]
    index = np.arange(problem.free.size)
    scaled[:, index, index] += np.where(held, 1.0, mu[:, np.newaxis])
    right = -here.gradient / scale * kept
    try:
        found = np.linalg.solve(scaled, right[..., np.newaxis])[..., 0]
    except np.linalg.LinAlgError:
        scaled[:, index, index] += 1e-6
        found = np.linalg.solve(scaled, right[..., np.newaxis])[..., 0]
    step: Array = found / scale
    return step


def held_by_bounds(problem: Problem, p: Array, gradient: Array) -> Array:
    """Which free parameters (rows, free) are at a bound that the fit would cross."""
    mine = p[:, problem.free]
    low, high = problem.low[problem.free], problem.high[problem.free]
    held: Array = ((mine <= low) & (gradient > 0)) | ((mine >= high) & (gradient < 0))
    return held


def _is_orthogonal(problem: Problem, here: State) -> Array:
    length = np.sqrt(np.diagonal(here.normal, axis1=1, axis2=2) * 2 * here.cost[:, np.newaxis])
    cosine = np.where(length > 0, np.abs(here.gradient) / length, 0.0)
    cosine[held_by_bounds(problem, here.p, here.gradient)] = 0
    return np.asarray(cosine.max(-1) <= ANGLE)


def _evaluated(problem: Problem, y: Array, w: Array, p: Array) -> State:
    jacobian = np.empty((len(p), p.shape[1], y.shape[1]))
    residual = problem.model.evaluate(problem.x, p, jacobian, problem.high) - y
    if problem.weighted:
        residual *= w
    if problem.free.size < p.shape[1]:
        jacobian = jacobian[:, problem.free]
    if problem.weighted:
        jacobian *= w[:, np.newaxis, :]
    squares = np.einsum("rm,rm->r", residual, residual)
    cost = 0.5 * squares
    if problem.loss != "linear":
        cost, first = robust(problem.loss, residual, problem.scale)
        root = np.sqrt(first)
        residual *= root
        jacobian *= root[:, np.newaxis, :]
    normal = np.matmul(jacobian, jacobian.transpose(0, 2, 1))
    gradient = np.matmul(jacobian, residual[..., np.newaxis])[..., 0]
    cost = np.where(np.isfinite(normal).all((1, 2)), cost, np.inf)
    scale = np.sqrt(np.diagonal(normal, axis1=1, axis2=2))
    return State(p, np.where(np.isnan(cost), np.inf, cost), squares, normal, gradient, scale)


def robust(loss: str, residual: Array, scale: float) -> tuple[Array, Array]:
    """Cost (rows,), and the weight of each square (rows, m) that has the same derivative.

    Least squares with these weights never increase the cost (P. W. Holland and R. E. Welsch,
    Commun. Stat. A6, 813, 1977).
    """
    z = (residual / scale) ** 2
    if loss == "soft_l1":
        root = np.sqrt(1 + z)
        value = 2 * (root - 1)
    else:
        outside = z > 1
        root = np.sqrt(np.where(outside, z, 1.0))
        value = np.where(outside, 2 * root - 1, z)
    cost: Array = 0.5 * scale**2 * value.sum(-1)
    return cost, 1 / root
