"""What a model of lmfit is, as a digest: the same in another session, another after a change."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import dask
from dask.base import tokenize
from dask.tokenize import TokenizationError

from usidx.errors import PlanError
from usidx.model.inputs import FUNCTION
from usidx.process.planning.code import code_digest, function_token


def is_model(value: Any) -> bool:
    """Whether it is a `lmfit.Model`, without importing lmfit."""
    return any(each.__module__ == "lmfit.model" for each in type(value).__mro__)


def model_known(model: Any) -> dict[str, Any]:
    """What is kept of a `lmfit.Model` that is a parameter: its name, and what tells it from others.

    Raises
    ------
    PlanError : as `model_token`
    """
    return {FUNCTION: {"name": str(model.name), "token": model_token(model)}}


def model_token(model: Any) -> str:
    """What tells a `lmfit.Model` from any other: its functions, and its parameters with hints.

    Composite models are known by their parts and how these are joined.

    Raises
    ------
    PlanError : for a function that cannot be told from others of its kind, such as that of an
        ExpressionModel
    """
    parameters = model.make_params()
    hints = [
        (name, float(each.value), float(each.min), float(each.max), bool(each.vary), each.expr)
        for name, each in ((str(name), parameters[name]) for name in model.param_names)
    ]
    return hashlib.sha256(repr((_parts(model), hints)).encode()).hexdigest()


def _parts(model: Any) -> tuple[Any, ...]:
    if hasattr(model, "op"):
        return ("joined", _told(model.op, model), _parts(model.left), _parts(model.right))
    with dask.config.set({"tokenize.ensure-deterministic": True}):
        try:
            options = [(name, tokenize(each)) for name, each in sorted(model.opts.items())]
        except TokenizationError as error:
            raise _refused(model, "has options that cannot be told apart") from error
    names = (list(model.independent_vars), list(model.param_names))
    return (_told(model.func, model), str(model.prefix), names, options)


def _told(function: Callable[..., Any], model: Any) -> tuple[str, str]:
    name = str(getattr(function, "__qualname__", ""))
    if "<locals>" in name and function.__module__.partition(".")[0] == "lmfit":
        if getattr(function, "__closure__", None):
            raise _refused(model, "has a function that lmfit makes anew in each session")
        return (name, code_digest(function))
    # those of lmfit go by their names and their code, what they call by its name
    with dask.config.set({"tokenize.ensure-deterministic": True}):
        try:
            return (function_token(function), code_digest(function))
        except TokenizationError as error:
            kind = str(error).partition(". See")[0]
            why = f"has a function that refers to what cannot be told apart ({kind})"
            raise _refused(model, why) from error


def _refused(model: Any, why: str) -> PlanError:
    return PlanError(
        f"the lmfit model {model.name!r} {why}. So a result of it would not be found again: write "
        "the model as a function f(x, a, b, ...) that refers to plain values, and give that, or "
        "lmfit.Model(f); or make a step of your own around the fit, with @usidx.step"
    )
