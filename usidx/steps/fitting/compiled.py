"""Fits in machine code that Numba makes of `loops`, `equations` and `shapes`, where it is there."""

from __future__ import annotations

import functools
import importlib.util
import inspect
import logging
from collections.abc import Callable

import numpy as np

from usidx.errors import PlanError
from usidx.model.dimension import Array
from usidx.steps.fitting import equations, loops, shapes, sums
from usidx.steps.fitting.models import Function, Sum
from usidx.steps.fitting.problem import LOSSES, Problem

_log = logging.getLogger("usidx")
# not for NaN and infinity: that of a model out of its range is found by them
_FAST = {"contract", "reassoc", "arcp", "nsz"}


@functools.cache
def is_there() -> bool:
    """Whether Numba is installed; where it is not, says once how to get it."""
    if importlib.util.find_spec("numba") is not None:
        return True
    _log.info(
        "fits of named models are some times faster with Numba: pip install 'usidx[fit]'; without "
        "it they run on NumPy, with the same result"
    )
    return False


def is_compiled(model: Sum | Function, wanted: bool | None, size: int) -> bool:
    """Whether a fit runs in machine code.

    Parameters
    ----------
    model : what is fitted
    wanted : by who calls; None for what is fastest
    size : number of values in all spectra

    Raises
    ------
    PlanError : where it is wanted and cannot be had
    """
    if wanted is False or (wanted is None and not is_there()):
        return False
    if not is_there():
        raise PlanError("compiled=True needs Numba: pip install 'usidx[fit]'")
    return isinstance(model, Sum)


def fit_compiled(
    problem: Problem, y: Array, weights: Array, start: Array, out: Array, status: Array
) -> None:
    """As `batched.fit_batched`, for a model of named terms; weights may have a single row."""
    assert isinstance(problem.model, Sum)
    is_plain = problem.free.size == start.shape[1] and problem.loss == "linear"
    is_plain = is_plain and not problem.is_weighted
    y, weights = np.ascontiguousarray(y), np.ascontiguousarray(weights)
    if problem.model.is_complex:
        y, weights = y.view(float), np.repeat(weights, 2, axis=1)
    _of_terms()(
        problem.model.codes,
        problem.x,
        y,
        weights,
        np.ascontiguousarray(start),
        problem.free,
        problem.link,
        np.stack([problem.low, problem.high, problem.shift]),
        is_plain,
        problem.is_linked,
        LOSSES.index(problem.loss),
        float(problem.scale),
        problem.iterations,
        1 + problem.model.is_complex,
        out,
        status,
    )


def _named(
    codes: Array, x: Array, spectra: Array, weights: Array, start: Array, free: Array, link: Array,
    box: Array, plain: bool, linked: bool, loss: int, scale: float, iterations: int, width: int,
    out: Array, status: Array,
) -> None:  # fmt: skip
    loops.fit_many(
        shapes.terms, codes, x, spectra, weights, start, free, link, box, plain, linked, loss,
        scale, iterations, width, out, status,
    )  # fmt: skip


@functools.cache
def _of_terms() -> Callable[..., None]:
    """`loops.fit_many` of named terms; other sessions take it from the disk."""
    import numba

    _register()
    made: Callable[..., None] = numba.njit(
        cache=True, nogil=True, fastmath={"contract"}, error_model="numpy"
    )(_named)
    return made


@functools.cache
def _register() -> None:
    """Make the functions of four files known to Numba."""
    from numba.extending import register_jitable

    for module in (sums, shapes, equations, loops):
        for name, function in vars(module).items():
            if inspect.isfunction(function) and function.__module__ == module.__name__:
                reorder = module in (sums, shapes) and name != "exponentials"
                options = {"fastmath": _FAST if reorder else {"contract"}, "error_model": "numpy"}
                register_jitable(**options)(function)
