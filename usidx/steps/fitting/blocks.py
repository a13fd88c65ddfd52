"""A fit of one block of spectra: missing values, beginnings, the method, errors."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from usidx.model.dimension import Array
from usidx.steps.fitting import compiled as machine
from usidx.steps.fitting.batched import fit_batched
from usidx.steps.fitting.elsewhere import fit_elsewhere
from usidx.steps.fitting.guesses import guess
from usidx.steps.fitting.models import Function, Sum
from usidx.steps.fitting.problem import NO_DATA, Problem
from usidx.steps.fitting.running import running

# Spectra are handled in batches of about this many values: few temporaries, and in the cache where
# one is fitted after the other; many where what is small is done for all together.
_BATCH_COMPILED, _BATCH, _BATCH_ELSEWHERE = 2**17, 2**22, 2**23


@dataclass(frozen=True, eq=False)
class Task:
    """What is done to blocks of spectra; called with a block.

    Parameters
    ----------
    model : what is fitted
    x : ndarray, shape (n,)
    numbers : ndarray, shape (k,), to begin with; NaN where it is guessed or in a map
    maps : names of parameters that begin at further arrays
    free, link, shift, low, high, loss, scale, iterations : as in `problem.Problem`
    compiled : whether with Numba
    library : of arrays that it runs on; "" for NumPy's
    """

    model: Sum | Function
    x: Array
    numbers: Array
    maps: tuple[str, ...]
    free: Array
    link: Array
    shift: Array
    low: Array
    high: Array
    loss: str
    scale: float
    iterations: int
    compiled: bool
    library: str = ""

    @property
    def dtypes(self) -> list[np.dtype[Any]]:
        """Of the results: values, errors, R squared, status."""
        count = 2 * len(self.model.parameters) + 1
        return [np.dtype(float)] * count + [np.dtype(np.int8)]

    def __call__(self, block: Array, *others: Array, weighted: bool) -> tuple[Array, ...]:
        """The results, each of shape (...), of a block of shape (..., n)."""
        shape, n = block.shape[:-1], self.x.size
        spectra = block.reshape(-1, n)
        weights = np.broadcast_to(others[0], block.shape).reshape(-1, n) if weighted else None
        maps = [np.broadcast_to(each, shape).reshape(-1) for each in others[weighted:]]
        k = len(self.model.parameters)
        values = np.full((2 * k + 1, len(spectra)), np.nan)
        status = np.full(len(spectra), NO_DATA, np.int8)
        most = _BATCH_COMPILED if self.compiled else _BATCH
        rows = max(1, (_BATCH_ELSEWHERE if self.library else most) // n)
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
        w = np.ones((1, y.shape[1])) if weights is None else np.array(weights, dtype=float)
        # looking for NaN in sums is cheaper than in all values
        complete = bool(np.isfinite(y.sum(-1)).all()) and bool(np.isfinite(w).all())
        filled = y
        if not complete:
            there = np.isfinite(y) & np.isfinite(w)
            w = np.where(there, w, 0.0)
            y = np.where(there, y, 0.0)
            means = y.sum(-1, keepdims=True) / np.maximum(there.sum(-1, keepdims=True), 1)
            filled = np.where(there, y, means)
        count = np.count_nonzero(w, axis=-1) * (1 + self.model.is_complex)
        use = np.broadcast_to(count > self.free.size, len(y))
        if use.all():
            self._fit(y, w, self._start(filled, maps), out, status)
        elif use.any():
            rows = np.flatnonzero(use)
            start = self._start(filled[rows], [each[rows] for each in maps])
            found, told = np.empty((len(out), rows.size)), np.empty(rows.size, np.int8)
            self._fit(y[rows], w if len(w) == 1 else w[rows], start, found, told)
            out[:, rows], status[rows] = found, told

    def _start(self, spectra: Array, maps: list[Array]) -> Array:
        start = np.repeat(self.numbers[np.newaxis], len(spectra), axis=0)
        for name, each in zip(self.maps, maps, strict=True):
            start[:, self.model.parameters.index(name)] = each
        missing = np.isnan(start)
        if isinstance(self.model, Sum) and missing.any():
            guessed = guess(self.model, self.x, spectra, compiled=self.compiled)
            start = np.where(missing, guessed, start)
        return start

    def _fit(self, y: Array, w: Array, start: Array, out: Array, status: Array) -> None:
        problem = Problem(
            self.model, self.x, self.free, self.link, self.shift, self.low, self.high, self.loss,
            self.scale, self.iterations, not bool((w == 1).all()),
        )  # fmt: skip
        if self.library:
            fit_elsewhere(self.library, problem, y, w, start, out, status)
        elif self.compiled:
            machine.fit_compiled(problem, y, w, start, out, status)
        else:
            if isinstance(self.model, Function):
                fastest = running(self.model, self.x, problem.moving)
                problem = dataclasses.replace(problem, model=fastest)
            fit_batched(problem, y, w, start, out, status)
        if isinstance(self.model, Sum):
            out[: start.shape[1]] = self.model.positive(out[: start.shape[1]].T).T
