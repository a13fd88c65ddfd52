"""The batched fit on arrays of another library, such as those of a graphics card."""

from __future__ import annotations

import dataclasses
import importlib
from typing import Any

import numpy as np

from usidx.errors import MissingDependencyError, PlanError
from usidx.model.dimension import Array
from usidx.steps.fitting.batched import fit_batched
from usidx.steps.fitting.problem import Problem

# torch follows the array API by way of this
_ADAPTED = {"torch": "array_api_compat.torch"}


def library_of(name: str) -> Any:
    """The functions of a library of arrays that follows the array API.

    Raises
    ------
    MissingDependencyError : where it is not installed
    PlanError : where it does not follow the array API
    """
    module = _ADAPTED.get(name, name)
    try:
        found = importlib.import_module(module)
    except ImportError as error:
        raise MissingDependencyError(
            f"arrays={name!r} needs the package {module.partition('.')[0]} ({error}); install it, "
            "or leave arrays out"
        ) from error
    if not hasattr(found, "vecdot") or not hasattr(found, "isdtype"):
        raise PlanError(
            f"arrays={name!r} does not follow the array API of 2022.12 or later; 'cupy', 'torch' "
            "and 'array_api_strict' do"
        )
    return found


def fit_elsewhere(
    library: str,
    problem: Problem,
    y: Array,
    weights: Array,
    start: Array,
    out: Array,
    status: Array,
) -> None:
    """As `batched.fit_batched`, with NumPy's arrays, on those of the library in between."""
    xp = library_of(library)
    where = {}
    if library == "torch":
        torch = importlib.import_module("torch")
        where = {"device": "cuda" if torch.cuda.is_available() else "cpu"}

    def moved(array: Any) -> Any:
        return xp.asarray(np.ascontiguousarray(array), **where)

    parts = ("x", "free", "link", "shift", "low", "high")
    there = dataclasses.replace(problem, **{name: moved(getattr(problem, name)) for name in parts})
    found = xp.empty(out.shape, dtype=xp.float64, **where)
    told = xp.empty(status.shape, dtype=xp.int8, **where)
    fit_batched(there, moved(y), moved(weights), moved(start), found, told)
    out[...], status[...] = _returned(found), _returned(told)


def _returned(array: Any) -> Array:
    for method in ("get", "cpu"):  # CuPy's and PyTorch's ways back
        if hasattr(array, method):
            array = getattr(array, method)()
    return np.asarray(array)
