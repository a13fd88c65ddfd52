"""A fit of one block of spectra: missing values, beginnings, the method, errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from usidx.errors import PlanError
from usidx.model.dimension import Array
from usidx.steps.fitting import compiled as machine
from usidx.steps.fitting.batched import (
    AT_BOUND,
    CONDITION,
    CONVERGED,
    NO_DATA,
    SINGULAR,
    Problem,
    fit_batched,
)
from usidx.steps.fitting.guesses import guess
from usidx.steps.fitting.models import Function, Sum

# Spectra are handled in batches of about this many values: few temporaries, and in the cache.
_BATCH = 2**17


@dataclass(frozen=True, eq=False)
class Task:
    """What is done to blocks of spectra; called with a block.

    Parameters
    ----------
    model : what is fitted
    x : ndarray, shape (n,)
    numbers : ndarray, shape (k,), to begin with; NaN where it is guessed or in a map
    maps : names of parameters that begin at further arrays
    free, low, high, loss, scale, iterations : as in `batched.Problem`
    compiled : whether with Numba; None where it is there
    """

    model: Sum | Function
    x: Array
    numbers: Array
    maps: tuple[str, ...]
    free: Array
    low: Array
    high: Array
    loss: str
    scale: float
    iterations: int
    compiled: bool | None

    @property
    def dtypes(self) -> list[np.dtype[Any]]:
        """Of the results: values, errors, R squared, status."""
        count = 2 * len(self.model.parameters) + 1
        return [np.dtype(float)] * count + [np.dtype(np.int8)]

    def check(self) -> None:
        """Nothing, where the fit can run.

        Raises
        ------
        PlanError : where Numba is asked for and cannot be had, or a function does not broadcast
        """
        if isinstance(self.model, Function):
            if self.compiled:
                raise PlanError("functions run on NumPy; leave compiled=True out")
            ones = np.where(np.isnan(self.numbers), 1.0, self.numbers)
            self.model.values(self.x, np.stack([ones, ones]))
        elif self.compiled and not machine.is_there():
            raise PlanError("compiled=True needs Numba: pip install 'usidx[fit]'")

    def __call__(self, block: Array, *others: Array, weighted: bool) -> tuple[Array, ...]:
        """The results, each of shape (...), of a block of shape (..., n)."""
        shape, n = block.shape[:-1], self.x.size
        spectra = block.reshape(-1, n)
        weights = np.broadcast_to(others[0], block.shape).reshape(-1, n) if weighted else None
        maps = [np.broadcast_to(each, shape).reshape(-1) for each in others[weighted:]]
        k = len(self.model.parameters)
        values = np.full((2 * k + 1, len(spectra)), np.nan)
        status = np.full(len(spectra), NO_DATA, np.int8)
        rows = max(1, _BATCH // n)
        for first in range(0, len(spectra), rows):
            part = slice(first, first + rows)
            own = None if weights is None else weights[part]
            self._part(
                spectra[part], own, [each[part] for each in maps], values[:, part], status[part]
            )
        return (*(each.reshape(shape) for each in values), status.reshape(shape))

    def _part(
        self, spectra: Array, weights: Array | None, maps: list[Array], out: Array, status: Array
    ) -> None:
        """Fill `out` (2k + 1, rows) and `status` (rows,)."""
        kind = complex if self.model.is_complex else float
        y = np.ascontiguousarray(spectra, dtype=kind)
        sums = y.sum(-1)  # looking for NaN in it is cheaper than in all values
        w = np.ones((1, y.shape[1])) if weights is None else np.array(weights, dtype=float)
        complete = bool(np.isfinite(sums).all()) and bool(np.isfinite(w).all())
        if not complete:
            there = np.isfinite(y) & np.isfinite(w)
            w = np.where(there, w, 0.0)
            y = np.where(there, y, 0.0)
            means = y.sum(-1, keepdims=True) / np.maximum(there.sum(-1, keepdims=True), 1)
            filled = np.where(there, y, means)
        else:
            filled = y
        flat = y.view(float)
        if self.model.is_complex:
            w = np.repeat(w, 2, axis=1)
        count = np.broadcast_to(np.count_nonzero(w, axis=-1), len(y))
        use = (count > self.free.size) if count.size else np.zeros(0, bool)
        rows = slice(None) if use.all() else np.flatnonzero(use)
        if not use.any():
            return
        own = w if w.shape[0] == 1 else w[rows]
        start = self._start(filled[rows], [each[rows] for each in maps])
        out[:, rows], status[rows] = self._fitted(flat[rows], own, count[rows], start)

    def _start(self, spectra: Array, maps: list[Array]) -> Array:
        start = np.repeat(self.numbers[np.newaxis], len(spectra), axis=0)
        for name, each in zip(self.maps, maps, strict=True):
            start[:, self.model.parameters.index(name)] = each
        missing = np.isnan(start)
        if isinstance(self.model, Sum) and missing.any():
            start = np.where(missing, guess(self.model, self.x, spectra), start)
        return start

    def _fitted(self, y: Array, w: Array, count: Array, start: Array) -> tuple[Array, Array]:
        # guesses are near, what people give need not be
        given = bool(self.maps) or not np.isnan(self.numbers[self.free]).all()
        damping = 1.0 if given else 1e-3
        problem = Problem(
            self.model, self.x, self.free, self.low, self.high, self.loss, self.scale,
            self.iterations, damping, not bool((w == 1).all()),
        )  # fmt: skip
        quick = isinstance(self.model, Sum) and self.compiled is not False and machine.is_there()
        if quick:
            p, normal, squares, status = machine.fit_compiled(problem, y, w, start)
        else:
            whole = np.broadcast_to(w, y.shape)
            p, normal, squares, status = fit_batched(problem, y, whole, start)
        if isinstance(self.model, Sum):
            p = self.model.positive(p)
        k = p.shape[1]
        found = np.full((2 * k + 1, len(y)), np.nan)
        found[:k] = p.T
        errors, singular, bound = self._errors(problem, p, normal, squares, count)
        found[k + self.free] = errors.T
        found[2 * k] = 1 - squares / self._spread(y, w)
        status[(status == CONVERGED) & bound] = AT_BOUND
        status[(status <= AT_BOUND) & singular] = SINGULAR
        return found, status

    def _spread(self, y: Array, w: Array) -> Array:
        """Weighted squares of the distance from the mean; NaN where there is none."""
        square = w * w
        total = square.sum(-1)
        width = 2 if self.model.is_complex else 1
        spread = np.zeros(len(y))
        for part in range(width):
            mine, weight = y[:, part::width], square[:, part::width]
            mean = (weight * mine).sum(-1) * (width / total)
            away = mine - mean[:, np.newaxis]
            spread += (weight * away * away).sum(-1)
        return np.where(spread > 0, spread, np.nan)

    def _errors(
        self, problem: Problem, p: Array, normal: Array, squares: Array, count: Array
    ) -> tuple[Array, Array, Array]:
        """Standard errors (rows, free), which rows are singular, which are at a bound."""
        low, high = problem.low[self.free], problem.high[self.free]
        mine = p[:, self.free]
        bound = (mine <= low) | (mine >= high)
        diagonal = np.diagonal(normal, axis1=1, axis2=2)
        usable = ~bound & (diagonal > 0) & np.isfinite(diagonal)
        scale = np.sqrt(np.where(usable, diagonal, 1.0))
        both = usable[:, :, np.newaxis] & usable[:, np.newaxis, :]
        scaled = np.where(both, normal, 0.0) / (scale[:, :, np.newaxis] * scale[:, np.newaxis, :])
        index = np.arange(self.free.size)
        scaled[:, index, index] = 1.0
        singular = np.asarray((~usable & ~bound).any(-1) | ~np.isfinite(scaled).all((1, 2)))
        scaled[~np.isfinite(scaled).all((1, 2))] = np.eye(self.free.size)
        try:
            variances = np.diagonal(np.linalg.inv(scaled), axis1=1, axis2=2)
        except np.linalg.LinAlgError:  # one of them is exactly singular
            values, vectors = np.linalg.eigh(scaled)
            values = np.maximum(values, 0.5 * CONDITION)
            variances = (vectors**2 / values[:, np.newaxis, :]).sum(-1)
        # the largest is at most the inverse of the smallest eigenvalue, their sum at least
        singular |= ~((variances > 0).all(-1) & (variances.sum(-1) < 1 / CONDITION))
        variances = np.abs(variances)
        freedom = np.maximum(count - self.free.size, 1)
        errors = np.sqrt(variances * (squares / freedom)[:, np.newaxis]) / scale
        errors[~usable | singular[:, np.newaxis]] = np.nan
        return errors, singular, np.asarray(bound.any(-1))
