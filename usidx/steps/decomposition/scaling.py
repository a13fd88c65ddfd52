"""What is done to spectra before their components are found, and undone in these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from usidx.arrays.apply import floating
from usidx.errors import PlanError
from usidx.model.dimension import Array
from usidx.steps.decomposition.matrix import double


@dataclass(frozen=True)
class Scaling:
    """Spectra less a mean, or counts over their noise.

    Parameters
    ----------
    mean : ndarray, shape (d,), taken away from each spectrum
    total : ndarray, shape (d,), the sum of the counts of all spectra; None where values are no
        counts. Then each count is divided by the roots of its row's and its column's sum
    """

    mean: Array
    total: Array | None = None

    def of(self, values: Array) -> Array:
        """Rows of spectra, shape (n, d), scaled.

        In 32 bits where these hold the values less their mean. Where the mean stays, its square
        would hide what is small in that precision.
        """
        if self.total is None:
            dtype = floating(values.dtype) if self.mean.any() else double(values.dtype)
            return np.asarray(np.subtract(values, self.mean.astype(dtype), dtype=dtype))
        return np.asarray(values * (_inverse(self.rows(values)) * _inverse(self.columns)))

    def left(self, dtype: np.dtype[Any]) -> Array:
        """What rounding the mean to a dtype leaves of it in `of`, shape (d,)."""
        return np.asarray(self.mean - self.mean.astype(floating(dtype)))

    def rows(self, values: Array) -> Array:
        """What rows are multiplied by in the end, shape (n, 1)."""
        if self.total is None:
            return np.ones((values.shape[0], 1))
        return np.asarray(np.sqrt(counts(values).sum(1, dtype=float))[:, np.newaxis])

    @property
    def columns(self) -> Array:
        """What components are multiplied by in the end, shape (d,)."""
        return np.ones(self.mean.shape) if self.total is None else np.sqrt(self.total)


def counts(values: Array) -> Array:
    """The values themselves, which must be counts.

    Raises
    ------
    PlanError : for values below 0
    """
    if values.size and values.min() < 0:
        raise PlanError(
            f"poisson=True is for counts, and there are values below 0 ({values.min():.6g}); take "
            "the background away afterwards, or leave poisson out"
        )
    return values


def moments_of_mean(values: Array, centre: bool, poisson: bool) -> tuple[Array, Array]:
    """(count, sum over rows), of which `scaling_of` makes a scaling."""
    dtype = double(values.dtype)
    if poisson:
        total = counts(values).sum(0, dtype=dtype)
    else:
        total = values.sum(0, dtype=dtype) if centre else np.zeros(values.shape[1], dtype)
    return np.array(values.shape[0]), total


def scaling_of(moments: tuple[Array, Array], poisson: bool) -> Scaling:
    """The scaling of all rows, by the sums of `moments_of_mean`."""
    count, total = moments
    return Scaling(np.zeros_like(total), total) if poisson else Scaling(total / count)


def _inverse(values: Array) -> Array:
    """1 / values, and 0 for 0: where nothing was counted, nothing is said."""
    found: Array = np.divide(1, values, out=np.zeros_like(values), where=values > 0)
    return found
