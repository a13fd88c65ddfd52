"""Fits in machine code that Numba makes of `loops`, `equations`, `sums`, `shapes`, `estimates`."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import inspect
import logging
from collections.abc import Callable
from typing import Any

import numpy as np

from usidx.errors import PlanError
from usidx.model.dimension import Array
from usidx.steps.fitting import equations, estimates, loops, problem, shapes, sums
from usidx.steps.fitting.models import Function, Sum, name_of
from usidx.steps.fitting.problem import LOSSES, Problem

_log = logging.getLogger("usidx")
_COMPILED = (sums, shapes, equations, loops, estimates)
# Leave to reorder sums. Not for NaN and infinity: that of a model out of its range is found by them
_FAST = {"contract", "reassoc", "arcp", "nsz"}
# Values from which on it pays to compile a Python function, which takes some ten seconds.
WORTH_COMPILING = 2**26


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


def is_compiled(model: Sum | Function, x: Array, wanted: bool | None, size: int) -> bool:
    """Whether a fit runs in machine code.

    Parameters
    ----------
    model : what is fitted
    x : (n,)
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
    if isinstance(model, Sum):
        return True
    if wanted is None and size < WORTH_COMPILING:
        return False
    why = _why_not(model, x)
    if why and wanted:
        raise PlanError(
            f"compiled=True: {name_of(model.function)} cannot be compiled by Numba ({why}); leave "
            "compiled out, and it is evaluated for many spectra at once"
        )
    if why:
        _log.info(
            "%s is not compiled by Numba (%s); it is evaluated for many spectra at once",
            name_of(model.function),
            why,
        )
    return not why


def fit_compiled(
    problem: Problem, y: Array, weights: Array, start: Array, out: Array, status: Array
) -> None:
    """As `batched.fit_batched`, with arrays of NumPy."""
    model = problem.model
    is_plain = problem.free.size == start.shape[1] and problem.loss == "linear"
    is_plain = is_plain and not problem.is_weighted
    y, weights = np.ascontiguousarray(y), np.ascontiguousarray(weights)
    if model.is_complex:
        y, weights = y.view(float), np.repeat(weights, 2, axis=1)
    if isinstance(model, Sum):
        many, codes = _of_terms(), model.codes
    else:
        assert isinstance(model, Function)
        many = _of_function(model.function, len(model.parameters), model.is_complex)
        codes = np.empty(0, int)
    many(
        codes,
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
        1 + model.is_complex,
        out,
        status,
    )


def guess_compiled(model: Sum, x: Array, distances: Array, spectra: Array) -> Array:
    """As `guesses.guess`, for x that ascends, with the distances between its samples (n,)."""
    found = np.empty((len(spectra), len(model.parameters)))
    _of_guesses()(model.codes, x, distances, np.ascontiguousarray(spectra), found)
    return found


@functools.cache
def _of_guesses() -> Callable[..., None]:
    """`estimates.guess_many`; other sessions take it from the disk."""
    import numba

    _register()
    text = _text()

    @numba.njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")
    def guessed(codes, x, distances, spectra, found):  # type: ignore[no-untyped-def]
        if text >= 0:
            estimates.guess_many(codes, x, distances, spectra, found)

    made: Callable[..., None] = guessed
    return made


@functools.cache
def _of_terms() -> Callable[..., None]:
    """`loops.fit_many` of named terms; other sessions take it from the disk."""
    import numba

    _register()
    text = _text()

    @numba.njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")
    def named(  # type: ignore[no-untyped-def]
        codes, x, spectra, weights, start, free, link, box, plain, linked, loss, scale, iterations,
        width, out, status,
    ):  # fmt: skip
        if text >= 0:
            loops.fit_many(
                shapes.terms, codes, x, spectra, weights, start, free, link, box, plain, linked,
                loss, scale, iterations, width, out, status,
            )  # fmt: skip

    made: Callable[..., None] = named
    return made


@functools.cache
def _text() -> int:
    """What tells the text of all that is compiled from any other.

    Numba looks at the file of a function only, not at those that it calls: what is on the disk is
    known by this number as well, which the function refers to.
    """
    text = "".join(inspect.getsource(each) for each in (*_COMPILED, problem))
    return int(hashlib.sha256(text.encode()).hexdigest()[:12], 16)


@functools.lru_cache(maxsize=32)
def _of_function(function: Callable[..., Any], count: int, is_complex: bool) -> Callable[..., None]:
    """`loops.fit_many` of a Python function of x and `count` parameters."""
    import numba
    from numba.np.unsafe import ndarray

    _register()
    user = numba.njit(error_model="numpy")(function)
    to_fixed_tuple: Any = ndarray.to_fixed_tuple

    @numba.njit(error_model="numpy")
    def values(data, x, p, at, box, y, r, df, work):  # type: ignore[no-untyped-def]
        made = user(x, *to_fixed_tuple(p[at], count))
        _fill(made, r, is_complex)
        for j in range(count):
            here = p[at, j]
            step = 1.5e-8 * (abs(here) if here != 0 else 1.0)
            p[at, j] = here - step if here + step > box[1, j] else here + step
            _fill(user(x, *to_fixed_tuple(p[at], count)), df[j], is_complex)
            per = 1 / (p[at, j] - here)  # by what of the step survives rounding
            for i in range(r.size):
                df[j, i] = (df[j, i] - r[i]) * per
            p[at, j] = here
        for i in range(r.size):
            r[i] -= y[i]

    @numba.njit(nogil=True, fastmath={"contract"}, error_model="numpy")
    def many(  # type: ignore[no-untyped-def]
        data, x, spectra, weights, start, free, link, box, plain, linked, loss, scale, iterations,
        width, out, status,
    ):  # fmt: skip
        loops.fit_many(
            values, data, x, spectra, weights, start, free, link, box, plain, linked, loss, scale,
            iterations, width, out, status,
        )  # fmt: skip

    made: Callable[..., None] = many
    return made


def _fill(made: Array, row: Array, is_complex: bool) -> None:
    """Values (n,) become a row (m,), complex ones their parts in turns."""
    if is_complex:
        for i in range(made.size):
            row[2 * i] = made[i].real
            row[2 * i + 1] = made[i].imag
    else:
        for i in range(made.size):
            row[i] = made[i].real


@functools.lru_cache(maxsize=32)
def _tried(function: Callable[..., Any]) -> Callable[..., Any]:
    import numba

    made: Callable[..., Any] = numba.njit(error_model="numpy")(function)
    return made


def _why_not(model: Function, x: Array) -> str:
    """Why a Python function cannot be compiled, or makes something else then; "" where it can."""
    from numba.core.errors import NumbaError

    p = [1.1 if each is None else float(each) for each in model.defaults]
    try:
        found = _tried(model.function)(x, *p)
        wanted = model.function(x, *p)
    except NumbaError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return next((each for each in lines[1:] if not each.startswith(">")), "unknown")[:150]
    except Exception as error:  # whatever the function does
        return f"{type(error).__name__}: {error}"
    if np.shape(found) != x.shape or not np.allclose(found, wanted, equal_nan=True):
        return "its values are others then"
    return ""


@functools.cache
def _register() -> None:
    """Make the functions of five files known to Numba."""
    from numba.extending import register_jitable

    for module in _COMPILED:
        for name, function in vars(module).items():
            if inspect.isfunction(function) and function.__module__ == module.__name__:
                reorder = module in (sums, shapes, estimates) and name != "exponentials"
                options = {"fastmath": _FAST if reorder else {"contract"}, "error_model": "numpy"}
                register_jitable(**options)(function)
    register_jitable(error_model="numpy")(_fill)
