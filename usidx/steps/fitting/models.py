"""Models of spectra: named terms with their derivatives, sums of them, and Python functions."""

from __future__ import annotations

import inspect
import logging
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol

import numpy as np

from usidx.errors import PlanError, did_you_mean
from usidx.model.dimension import Array
from usidx.steps.fitting import terms
from usidx.steps.fitting.derivatives import program_of
from usidx.steps.fitting.terms import Evaluate

_log = logging.getLogger("usidx")
_EPSILON = math.sqrt(np.finfo(float).eps)


@dataclass(frozen=True)
class Term:
    """One named part of a model.

    Parameters
    ----------
    name : as people write it in a sum
    parameters : their names, in order
    units : of each, made of "y" (the spectrum's) and "x" (those of its dimension)
    evaluate : values and derivatives of many spectra at once, as in `terms`
    code : its number in compiled code
    limits : lowest and highest value of some parameters; "x" stands for a small part of a step of x
    kind : "peak", "baseline", "decay" or "oscillator", for the guesses
    """

    name: str
    parameters: tuple[str, ...]
    units: tuple[str, ...]
    evaluate: Evaluate
    code: int
    kind: str
    limits: tuple[tuple[str, float | str, float], ...] = ()


class Model(Protocol):
    """What the batched fit needs to know of a model."""

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names, in order."""

    @property
    def is_complex(self) -> bool:
        """Whether values are complex."""

    def evaluate(
        self, xp: Any, x: Any, p: Any, high: Any, wanted: Sequence[int]
    ) -> tuple[Any, Mapping[int, Any]]:
        """Values (rows, n) at parameters (rows, k), and derivatives by those that are wanted.

        xp is the library of the arrays; derivatives broadcast to the shape of the values. Steps of
        differences do not lead above high (k,).
        """


@dataclass(frozen=True)
class Sum:
    """A model that is a sum of named terms.

    Parameters
    ----------
    terms : in order
    """

    terms: tuple[Term, ...]
    ties: ClassVar[Mapping[str, str]] = {}
    fixed: ClassVar[tuple[str, ...]] = ()

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names; those that several terms have are numbered, as amplitude_1 and amplitude_2."""
        names = [name for term in self.terms for name in term.parameters]
        count, seen = Counter(names), Counter[str]()
        unique = []
        for name in names:
            seen[name] += 1
            unique.append(f"{name}_{seen[name]}" if count[name] > 1 else name)
        return tuple(unique)

    @property
    def is_complex(self) -> bool:
        """Whether values are complex: those of an oscillator."""
        return self.terms[0].kind == "oscillator"

    @property
    def codes(self) -> Array:
        """The numbers of the terms in compiled code."""
        return np.array([term.code for term in self.terms])

    def units(self, of_values: str, of_x: str) -> tuple[str, ...]:
        """Units of each parameter."""
        return tuple(_units(unit, of_values, of_x) for term in self.terms for unit in term.units)

    def limits(self, x: Array) -> tuple[Array, Array]:
        """Lowest and highest values of each parameter for which the model is defined."""
        names = self.parameters
        low, high = np.full(len(names), -np.inf), np.full(len(names), np.inf)
        small = 1e-3 * np.abs(np.diff(x)).min() if x.size > 1 else 1e-3
        first = 0
        for term in self.terms:
            for name, lowest, highest in term.limits:
                at = first + term.parameters.index(name)
                low[at] = small if isinstance(lowest, str) else lowest
                high[at] = highest
            first += len(term.parameters)
        return low, high

    def positive(self, p: Array) -> Array:
        """The parameters (rows, k) with widths above zero: of -w and w, which are the same."""
        first = 0
        for term in self.terms:
            if term.kind == "peak" and "width" in term.parameters:
                at = first + term.parameters.index("width")
                p[:, at] = np.abs(p[:, at])
            first += len(term.parameters)
        return p

    def evaluate(
        self, xp: Any, x: Any, p: Any, high: Any, wanted: Sequence[int]
    ) -> tuple[Any, Mapping[int, Any]]:
        """As `Model.evaluate`; derivatives are those of all parameters."""
        derivatives: dict[int, Any] = {}
        total, first = None, 0
        for term in self.terms:
            count = len(term.parameters)
            columns = [p[:, first + i, None] for i in range(count)]
            values, slopes = term.evaluate(xp, x, *columns)
            derivatives.update(zip(range(first, first + count), slopes))
            total = values if total is None else total + values
            first += count
        return xp.broadcast_to(total, (p.shape[0], x.shape[0])), derivatives


@dataclass(frozen=True)
class Function:
    """A model that is a Python function of x and parameters.

    Parameters
    ----------
    function : f(x, *parameters) with x of shape (n,) and parameters of shape (rows, 1)
    parameters : their names
    defaults : values that the signature has for some of them
    is_complex : whether its values are
    bounds : lowest and highest values of each parameter; none when empty
    ties : of parameters that follow others
    fixed : parameters that stay where they begin
    one_by_one : whether it is called for each spectrum, since it does not broadcast
    carries : whether `derivatives` has rules for all that it does
    """

    function: Callable[..., Any]
    parameters: tuple[str, ...]
    defaults: tuple[float | None, ...]
    is_complex: bool
    bounds: tuple[tuple[float, float], ...] = ()
    ties: Mapping[str, str] = field(default_factory=dict)
    fixed: tuple[str, ...] = ()
    one_by_one: bool = False
    carries: bool = False

    def limits(self, x: Array) -> tuple[Array, Array]:
        """Lowest and highest values of each parameter for which the model is defined."""
        pairs = np.array(self.bounds or [(-np.inf, np.inf)] * len(self.parameters), dtype=float)
        return pairs[:, 0].copy(), pairs[:, 1].copy()

    def checked(self, x: Array, p: Array) -> Function:
        """The function, called one by one where it has to be.

        Parameters
        ----------
        x : (n,)
        p : (k,), values to try it with; NaN for any

        Raises
        ------
        PlanError : where it makes something else than a value for each x
        """
        ones = np.where(np.isfinite(p), p, 1.0)
        rows = np.stack([ones, 1.01 * ones + 0.01])
        shape = (2, x.size)
        with np.errstate(all="ignore"):
            try:
                each = np.stack([np.broadcast_to(self.function(x, *row), x.shape) for row in rows])
            except Exception as error:
                raise PlanError(
                    f"{name_of(self.function)} did not make {x.size} values of x {x.shape} and "
                    f"numbers ({type(error).__name__}: {error}); it must broadcast to {x.shape}"
                ) from error
            if each.dtype.kind == "c" and not self.is_complex:
                raise PlanError(
                    f"{name_of(self.function)} makes complex values, for spectra that are real"
                )
            try:
                both = np.broadcast_to(self.values(x, rows), shape)
            except Exception:  # whatever a function for numbers does with arrays
                both = np.full(shape, np.nan)
        if np.allclose(each, both, equal_nan=True):
            return replace(self, carries=self._carries(x, rows))
        _log.info(
            "%s does not broadcast over spectra, so it is called for each of them, which is slow: "
            "use np.where rather than if, np.maximum rather than max, and no loop over x",
            name_of(self.function),
        )
        return replace(self, one_by_one=True)

    def _carries(self, x: Array, p: Array) -> bool:
        """Whether derivatives can be carried along, and are those of differences."""
        wanted = range(p.shape[1])
        with np.errstate(all="ignore"):
            try:
                values, slopes = program_of(self.function, x, p.shape[1], wanted)(p)
            except Exception:  # whatever a function for arrays does with something like them
                return False
            told, differences = self.evaluate(np, x, p, np.full(p.shape[1], np.inf), wanted)
            return np.allclose(values, told, equal_nan=True) and all(
                np.allclose(slopes[i], differences[i], 1e-4, 1e-5 * _largest(differences[i]))
                for i in wanted
            )

    def values(self, x: Any, p: Any) -> Any:
        """Values that broadcast to (rows, n), of parameters (rows, k)."""
        if self.one_by_one:
            return np.stack([np.broadcast_to(self.function(x, *row), x.shape) for row in p])
        return self.function(x, *(p[:, i, None] for i in range(p.shape[1])))

    def evaluate(
        self, xp: Any, x: Any, p: Any, high: Any, wanted: Sequence[int]
    ) -> tuple[Any, Mapping[int, Any]]:
        """As `Model.evaluate`, derivatives by forward differences."""
        shape = (p.shape[0], x.shape[0])
        values = xp.broadcast_to(self.values(x, p), shape)
        differences = {}
        for i in wanted:
            column = p[:, i]
            step = _EPSILON * xp.where(column == 0, xp.ones_like(column), xp.abs(column))
            step = xp.where(column + step > high[i], -step, step)
            moved = column + step
            columns = [p[:, j] if j != i else moved for j in range(p.shape[1])]
            slope = self.values(x, xp.stack(columns, axis=-1)) - values
            slope *= (1 / (moved - column))[:, None]  # by what of the step survives rounding
            differences[i] = slope
        return values, differences


def model_of(model: str | Callable[..., Any], *, complex_values: bool) -> Sum | Function:
    """The model that people mean by a name, a sum of names or a function.

    Raises
    ------
    PlanError : for names that are not known, and models that do not suit the values
    """
    if isinstance(model, str):
        return _sum_of(model, complex_values)
    if not callable(model):
        raise PlanError(
            f"a model is a name ({', '.join(TERMS)}), a sum of names or a function f(x, *params), "
            f"not {model!r}"
        )
    accepted = list(inspect.signature(model).parameters.values())[1:]
    single = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if not accepted or any(each.kind not in single for each in accepted):
        raise PlanError(
            f"{name_of(model)}{inspect.signature(model)} does not name its parameters; a "
            "model is a function f(x, a, b, ...), whose arguments after the first are fitted"
        )
    defaults = tuple(None if e.default is e.empty else float(e.default) for e in accepted)
    return Function(model, tuple(each.name for each in accepted), defaults, complex_values)


def _sum_of(text: str, complex_values: bool) -> Sum:
    names = [each.strip().lower().replace("-", "_") for each in text.split("+")]
    unknown = [f"{each!r}{did_you_mean(each, TERMS)}" for each in names if each not in TERMS]
    if unknown:
        raise PlanError(
            f"model {text!r} has terms that are not known: {', '.join(unknown)}; there are "
            f"{', '.join(TERMS)}, joined with +, and functions f(x, *params)"
        )
    made = Sum(tuple(TERMS[each] for each in names))
    oscillators = sum(each.kind == "oscillator" for each in made.terms)
    if oscillators and len(made.terms) > 1:
        raise PlanError(f"model {text!r}: 'sho' stands alone; for a sum give a function")
    if bool(oscillators) != complex_values:
        kind = "complex" if complex_values else "real"
        other = "'sho'" if complex_values else "all but 'sho'"
        raise PlanError(
            f"model {text!r} does not suit {kind} values, for which there is {other}; fit abs(da), "
            "da.real or da.imag, or give a function"
        )
    return made


def _largest(values: Array) -> float:
    return float(np.abs(values).max())


def _units(unit: str, of_values: str, of_x: str) -> str:
    if unit in ("", "rad"):
        return unit
    if unit in ("x", "y"):
        return of_x if unit == "x" else of_values
    if not of_values or not of_x:
        return ""
    return f"{of_values}/{of_x}" if unit == "y/x" else f"{of_values} {of_x}"


def name_of(function: Callable[..., Any]) -> str:
    """Of a function, for people."""
    return str(getattr(function, "__name__", function))


_PEAK, _WIDE = ("amplitude", "center", "width"), ("y", "x", "x")
TERMS = {
    term.name: term
    for term in (
        Term("lorentzian", _PEAK, _WIDE, terms.lorentzian, 0, "peak"),
        Term("gaussian", _PEAK, _WIDE, terms.gaussian, 1, "peak"),
        Term(
            "pseudo_voigt",
            (*_PEAK, "fraction"),
            (*_WIDE, ""),
            terms.pseudo_voigt,
            2,
            "peak",
            (("fraction", 0.0, 1.0),),
        ),
        Term(
            "voigt",
            ("area", "center", "sigma", "gamma"),
            ("y x", "x", "x", "x"),
            terms.voigt,
            3,
            "peak",
            (("sigma", "x", math.inf), ("gamma", 0.0, math.inf)),
        ),
        Term("exponential", ("amplitude", "decay"), ("y", "x"), terms.exponential, 4, "decay"),
        Term("linear", ("slope", "intercept"), ("y/x", "y"), terms.linear, 5, "baseline"),
        Term("constant", ("offset",), ("y",), terms.constant, 6, "baseline"),
        Term(
            "sho",
            ("amplitude", "frequency", "quality_factor", "phase"),
            ("y", "x", "", "rad"),
            terms.sho,
            7,
            "oscillator",
        ),
    )
}
