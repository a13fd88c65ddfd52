"""What all spectra of a fit have in common, and when a fit has ended."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from usidx.steps.fitting.models import Model

STATUS = ("converged", "at_bound", "max_iterations", "singular", "no_data", "no_start")
CONVERGED, AT_BOUND, EXHAUSTED, SINGULAR, NO_DATA, NO_START = range(len(STATUS))
LOSSES = ("linear", "soft_l1", "huber")
GAIN = 1e-8  # of the sum of squares, below which nothing is left to gain: SciPy's ftol
SMALL = 1e-6  # of it, below which steps shrink evenly
REST = 1e-9  # of it, which the next step would gain
EDGE = 1e-8  # of the parameters, scaled: SciPy's xtol
ANGLE = 1e-9  # cosine between residuals and derivatives at which they are orthogonal
EXACT = 1e-28  # of the squares of the values: what remains is rounding
CONDITION = 1e-13  # smallest eigenvalue of the normal equations, scaled to a diagonal of ones
FADED = 1e-16  # of the square of the longest derivative: one that went with what was fitted
NEAR = 1e-2  # of the parameters, scaled: steps shorter than that hold no surprise
TINY = 1e-300  # rather than 0, to divide by
FACTOR = 100.0  # the first step is at most so many times as long as the parameters are


@dataclass(frozen=True, eq=False)
class Problem:
    """A model on its axis, which parameters move and how far, and what is minimized.

    Arrays are of any library that follows the array API.

    Parameters
    ----------
    model : values and derivatives
    x : (n,)
    free : (q,), indices of parameters that are fitted
    link, shift : (k, k) and (k,): p = link @ p + shift, for those that follow others; the identity
        and 0 for the rest
    low, high : (k,), bounds; infinite for those that follow
    loss : one of LOSSES
    scale : residual beyond which the loss counts less
    iterations : at most
    is_weighted : whether any weight is not 1
    """

    model: Model
    x: Any
    free: Any
    link: Any
    shift: Any
    low: Any
    high: Any
    loss: str
    scale: float
    iterations: int
    is_weighted: bool

    @functools.cached_property
    def follows(self) -> dict[int, dict[int, float]]:
        """Of each parameter that follows others, how fast it moves with each of them."""
        count = self.shift.shape[0]
        links = [[float(self.link[t, other]) for other in range(count)] for t in range(count)]
        return {
            t: {other: speed for other, speed in enumerate(row) if speed != 0}
            for t, row in enumerate(links)
            if row[t] == 0
        }

    @property
    def is_linked(self) -> bool:
        """Whether any parameter follows others."""
        return bool(self.follows)

    @functools.cached_property
    def moving(self) -> tuple[int, ...]:
        """Indices of parameters whose derivatives are needed."""
        free = {int(each) for each in self.free}
        return tuple(sorted(free | {t for t, with_ in self.follows.items() if free & set(with_)}))

    def chosen(self, derivatives: Mapping[int, Any]) -> list[Any]:
        """Derivatives by the parameters that are free, those that follow included."""
        found = []
        for own in (int(each) for each in self.free):
            total = derivatives[own]
            for t, others in self.follows.items():
                if own in others:
                    total = total + others[own] * derivatives[t]
            found.append(total)
        return found
