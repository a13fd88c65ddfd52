"""Derivatives of NumPy functions, carried along with their values by the rule of the chain.

All derivatives together take about as long as two or three calls of the function, where
differences take one for each parameter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

Slopes = Mapping[int, Any]


class Carried(NDArrayOperatorsMixin):
    """Values with their derivatives by some parameters, which ufuncs of NumPy take as an array.

    What has no rule here, asks for a truth value or a single number raises a TypeError.

    Parameters
    ----------
    value : ndarray
    slopes : for each parameter that it depends on, an array that broadcasts to value, or a number
    """

    def __init__(self, value: Any, slopes: Slopes) -> None:
        self.value = value
        self.slopes = slopes

    def __bool__(self) -> bool:
        raise TypeError("parameters of many spectra have no single truth value")

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("values and their derivatives are no single array")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        out = kwargs.pop("out", (None,))
        if method != "__call__" or kwargs or not isinstance(out[0], Carried | None):
            return NotImplemented
        plain = [each.value if isinstance(each, Carried) else each for each in inputs]
        name = ufunc.__name__
        if name in _WITHOUT:
            return ufunc(*plain)
        rules = _RULES.get(name)
        if rules is None or any(name in _REAL and np.iscomplexobj(each) for each in plain):
            return NotImplemented
        # the operator squares what np.power takes logarithms of
        value = plain[0] ** plain[1] if name == "power" else ufunc(*plain)
        slopes: dict[int, Any] = {}
        for each, rule in zip(inputs, rules, strict=True):
            if isinstance(each, Carried):
                factor = rule(*plain, value)
                for at, slope in each.slopes.items():
                    own = _times(factor, slope)
                    slopes[at] = slopes[at] + own if at in slopes else own
        if out[0] is None:
            return Carried(value, slopes)
        out[0].value, out[0].slopes = value, slopes
        return out[0]

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function is not np.where or kwargs or len(args) != 3:
            return NotImplemented
        where, *both = args
        if isinstance(where, Carried):
            return NotImplemented
        pairs = [(e.value, e.slopes) if isinstance(e, Carried) else (e, {}) for e in both]
        (one, by_one), (other, by_other) = pairs
        slopes = {
            at: np.where(where, by_one.get(at, 0.0), by_other.get(at, 0.0))
            for at in {*by_one, *by_other}
        }
        return Carried(np.where(where, one, other), slopes)


def with_slopes(
    function: Callable[..., Any], x: Any, p: Any, wanted: Any
) -> tuple[Any, dict[int, Any]]:
    """Values (rows, n) and derivatives by those that are wanted, which broadcast to them.

    Parameters
    ----------
    function : f(x, *columns) of NumPy
    x : (n,)
    p : (rows, k)
    wanted : indices of parameters

    Raises
    ------
    TypeError : where it does something that has no rule
    """
    columns = [p[:, i, None] for i in range(p.shape[1])]
    seeds = (Carried(c, {i: 1.0}) if i in wanted else c for i, c in enumerate(columns))
    made = function(x, *seeds)
    value, slopes = (made.value, made.slopes) if isinstance(made, Carried) else (made, {})
    value = np.broadcast_to(value, (p.shape[0], x.shape[0]))
    return value, {i: _filled(slopes.get(i, 0.0), value) for i in wanted}


def _filled(slope: Any, value: Any) -> Any:
    """As an array of the kind of the values, of one row where it is the same in all."""
    whole = np.asarray(slope, dtype=np.result_type(value, float))
    if whole.ndim == 2 and whole.shape == value.shape:
        return whole
    rows = whole.shape[0] if whole.ndim == 2 else 1
    return np.ascontiguousarray(np.broadcast_to(whole, (rows, value.shape[1])))


def _times(factor: Any, slope: Any) -> Any:
    if isinstance(factor, float) and factor == 1.0:
        return slope
    return factor if isinstance(slope, float) and slope == 1.0 else factor * slope


# What has no derivative: it goes on without
_WITHOUT = {
    *("less", "less_equal", "greater", "greater_equal", "equal", "not_equal"),
    *("isfinite", "isnan", "isinf", "sign"),
}
_REAL = {"absolute", "fabs", "maximum", "minimum", "copysign", "erf"}
# By each argument, of the arguments and the value
_RULES: dict[str, tuple[Callable[..., Any], ...]] = {
    "add": (lambda a, b, r: 1.0, lambda a, b, r: 1.0),
    "subtract": (lambda a, b, r: 1.0, lambda a, b, r: -1.0),
    "multiply": (lambda a, b, r: b, lambda a, b, r: a),
    "divide": (lambda a, b, r: 1 / b, lambda a, b, r: r / -b),
    "power": (lambda a, b, r: b * a ** (b - 1), lambda a, b, r: r * np.log(a)),
    "maximum": (lambda a, b, r: 1.0 * (a >= b), lambda a, b, r: 1.0 * (b > a)),
    "minimum": (lambda a, b, r: 1.0 * (a <= b), lambda a, b, r: 1.0 * (b < a)),
    "copysign": (lambda a, b, r: np.copysign(1.0, a) * np.copysign(1.0, b), lambda a, b, r: 0.0),
    "negative": (lambda a, r: -1.0,),
    "positive": (lambda a, r: 1.0,),
    "absolute": (lambda a, r: np.sign(a),),
    "fabs": (lambda a, r: np.sign(a),),
    "square": (lambda a, r: 2 * a,),
    "reciprocal": (lambda a, r: -r * r,),
    "sqrt": (lambda a, r: 0.5 / r,),
    "exp": (lambda a, r: r,),
    "expm1": (lambda a, r: r + 1,),
    "log": (lambda a, r: 1 / a,),
    "log1p": (lambda a, r: 1 / (1 + a),),
    "log10": (lambda a, r: 1 / (math.log(10) * a),),
    "sin": (lambda a, r: np.cos(a),),
    "cos": (lambda a, r: -np.sin(a),),
    "tan": (lambda a, r: 1 + r * r,),
    "arctan": (lambda a, r: 1 / (1 + a * a),),
    "sinh": (lambda a, r: np.cosh(a),),
    "cosh": (lambda a, r: np.sinh(a),),
    "tanh": (lambda a, r: 1 - r * r,),
    "erf": (lambda a, r: 2 / math.sqrt(math.pi) * np.exp(-a * a),),
}
