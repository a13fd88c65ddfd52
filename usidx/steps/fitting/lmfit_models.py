"""Models of lmfit as functions over many spectra: their parameters, bounds and expressions."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import numpy as np

from usidx.errors import PlanError
from usidx.steps.fitting.models import Function


def is_of_lmfit(model: object) -> bool:
    """Whether it is a `lmfit.Model`, without importing lmfit."""
    return any(each.__module__ == "lmfit.model" for each in type(model).__mro__)


def function_of(model: Any, *, complex_values: bool) -> Function:
    """The Function of a `lmfit.Model`, with its hints as defaults, bounds and ties.

    Raises
    ------
    PlanError : for a model of more than one independent variable
    """
    if len(model.independent_vars) != 1:
        raise PlanError(
            f"{model.name} has the independent variables {', '.join(model.independent_vars)}; "
            "spectra have one"
        )
    names = tuple(str(each) for each in model.param_names)
    hints = model.make_params()
    defaults = tuple(
        float(hints[name].value) if np.isfinite(hints[name].value) else None for name in names
    )
    return Function(
        Evaluated(model, names),
        names,
        defaults,
        complex_values,
        bounds=tuple((float(hints[name].min), float(hints[name].max)) for name in names),
        ties={name: str(hints[name].expr) for name in names if hints[name].expr},
        fixed=tuple(name for name in names if not hints[name].vary and not hints[name].expr),
    )


@dataclass(frozen=True, eq=False)
class Evaluated:
    """A `lmfit.Model` as a function f(x, *parameters).

    Parameters
    ----------
    model : a simple one, or one composed of others
    names : of the parameters, in order
    """

    model: Any
    names: tuple[str, ...]

    @property
    def __name__(self) -> str:
        return str(self.model.name)

    def __call__(self, x: Any, *parameters: Any) -> Any:
        return _evaluated(self.model, x, dict(zip(self.names, parameters, strict=True)))


def _evaluated(model: Any, x: Any, values: dict[str, Any]) -> Any:
    if hasattr(model, "op"):
        return model.op(_evaluated(model.left, x, values), _evaluated(model.right, x, values))
    prefix = model.prefix
    own = {name.removeprefix(prefix): values[name] for name in model.param_names}
    return _broadcasting(model.func)(**{model.independent_vars[0]: x}, **own, **model.opts)


@functools.lru_cache(maxsize=64)
def _broadcasting(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of `lmfit.lineshapes` that takes columns of parameters; any other as it is.

    They take single numbers only, since they keep widths from 0 by Python's max. Here np.maximum
    stands in for it, in them and in those that they call.
    """
    if not isinstance(function, FunctionType) or function.__module__ != "lmfit.lineshapes":
        return function
    known = dict(function.__globals__)
    own = {**known, "max": np.maximum, "min": np.minimum, "not_zero": _not_zero}
    made: dict[str, Any] = own
    for name, each in known.items():
        if isinstance(each, FunctionType) and each.__module__ == function.__module__:
            if name not in ("not_zero",):
                made[name] = _with(each, made)
    return _with(function, made)


def _with(function: FunctionType, known: dict[str, Any]) -> FunctionType:
    made = FunctionType(function.__code__, known, function.__name__, function.__defaults__)
    made.__kwdefaults__ = function.__kwdefaults__
    return made


def _not_zero(value: Any) -> Any:
    """As that of lmfit, for arrays."""
    return np.copysign(np.maximum(1e-15, np.abs(value)), value)
