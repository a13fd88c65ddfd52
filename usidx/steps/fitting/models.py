"""Models of spectra: named terms with their derivatives, sums of them, and Python functions."""

from __future__ import annotations

import inspect
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from usidx.errors import PlanError, did_you_mean
from usidx.model.dimension import Array

LN2 = math.log(2.0)
# x (n,), parameters (rows, k), derivatives to be filled (rows, k, n) -> values (rows, n)
Evaluate = Callable[[Array, Array, Array], Array]


@dataclass(frozen=True)
class Term:
    """One named part of a model.

    Parameters
    ----------
    name : as people write it in a sum
    parameters : their names, in order
    units : of each, made of "y" (the spectrum's) and "x" (those of its dimension)
    evaluate : values and derivatives of many spectra at once
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

    def evaluate(self, x: Array, p: Array, jacobian: Array | None, upper: Array) -> Array:
        """Values (rows, m) of parameters (rows, k); derivatives go to jacobian (rows, k, m).

        m is the size of x, and twice that for complex values: real, imaginary, real, ...
        """


@dataclass(frozen=True)
class Sum:
    """A model that is a sum of named terms.

    Parameters
    ----------
    terms : in order
    """

    terms: tuple[Term, ...]

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

    def evaluate(self, x: Array, p: Array, jacobian: Array | None, upper: Array) -> Array:
        """As `Model.evaluate`."""
        if jacobian is None:
            size = x.size * (1 + self.is_complex)
            jacobian = np.empty((p.shape[0], p.shape[1], size))
        if self.is_complex:
            return self.terms[0].evaluate(x, p, jacobian.view(complex)).view(float)
        total, first = None, 0
        for term in self.terms:
            last = first + len(term.parameters)
            values = term.evaluate(x, p[:, first:last], jacobian[:, first:last])
            total = values if total is None else total + values
            first = last
        assert total is not None
        return total


@dataclass(frozen=True)
class Function:
    """A model that is a Python function of x and parameters, which broadcasts.

    Parameters
    ----------
    function : f(x, *parameters) with x of shape (n,) and parameters of shape (rows, 1)
    parameters : their names
    defaults : values that the signature has for some of them
    is_complex : whether its values are
    """

    function: Callable[..., Any]
    parameters: tuple[str, ...]
    defaults: tuple[float | None, ...]
    is_complex: bool

    def values(self, x: Array, p: Array) -> Array:
        """Values (rows, m)."""
        with np.errstate(all="ignore"):
            found = np.asarray(self.function(x, *(p[:, i, np.newaxis] for i in range(p.shape[1]))))
        shape = (p.shape[0], x.size)
        if found.shape != shape:
            try:
                found = np.broadcast_to(found, shape)
            except ValueError:
                raise PlanError(
                    f"{_name(self.function)} made {found.shape} of x {x.shape} and parameters "
                    f"({shape[0]}, 1) each; it must broadcast to {shape}, as NumPy's own functions "
                    "do: use np.where rather than if, and no loop over x"
                ) from None
        wanted = complex if self.is_complex else float
        return np.ascontiguousarray(found, dtype=wanted).view(float)

    def evaluate(self, x: Array, p: Array, jacobian: Array | None, upper: Array) -> Array:
        """As `Model.evaluate`, derivatives by forward differences."""
        values = self.values(x, p)
        if jacobian is None:
            return values
        steps = np.sqrt(np.finfo(float).eps) * np.where(p == 0, 1.0, np.abs(p))
        steps = np.where(p + steps > upper, -steps, steps)
        for i in range(p.shape[1]):
            moved = p.copy()
            moved[:, i] += steps[:, i]
            exact = (moved[:, i] - p[:, i])[:, np.newaxis]  # what of the step survives rounding
            np.divide(self.values(x, moved) - values, exact, out=jacobian[:, i])
        return values


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
            f"{_name(model)}{inspect.signature(model)} does not name its parameters; a model is a "
            "function f(x, a, b, ...), whose arguments after the first are fitted"
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


def _units(unit: str, of_values: str, of_x: str) -> str:
    if unit in ("", "rad"):
        return unit
    if unit in ("x", "y"):
        return of_x if unit == "x" else of_values
    if not of_values or not of_x:
        return ""
    return f"{of_values}/{of_x}" if unit == "y/x" else f"{of_values} {of_x}"


def _name(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__name__", function))


def lorentzian(x: Array, p: Array, jacobian: Array) -> Array:
    """a / (1 + u**2) with u = 2 (x - c) / w."""
    a, c, w = _columns(p)
    u = (x - c) * (2 / w)
    shape = jacobian[:, 0]
    np.divide(1.0, 1.0 + u * u, out=shape)
    values: Array = a * shape
    slope = values * shape * u
    np.multiply(slope, 4 / w, out=jacobian[:, 1])
    np.multiply(slope, u * (2 / w), out=jacobian[:, 2])
    return values


def gaussian(x: Array, p: Array, jacobian: Array) -> Array:
    """a exp(-ln(2) u**2) with u = 2 (x - c) / w."""
    a, c, w = _columns(p)
    u = (x - c) * (2 / w)
    shape = jacobian[:, 0]
    np.exp(-LN2 * u * u, out=shape)
    values: Array = a * shape
    slope = values * u
    np.multiply(slope, 4 * LN2 / w, out=jacobian[:, 1])
    np.multiply(slope, u * (2 * LN2 / w), out=jacobian[:, 2])
    return values


def pseudo_voigt(x: Array, p: Array, jacobian: Array) -> Array:
    """a (h / (1 + u**2) + (1 - h) exp(-ln(2) u**2)) with u = 2 (x - c) / w."""
    a, c, w, h = _columns(p)
    u = (x - c) * (2 / w)
    round_, sharp = np.exp(-LN2 * u * u), 1 / (1 + u * u)
    shape = h * sharp + (1 - h) * round_
    slope = a * u * (2 * h * sharp * sharp + 2 * LN2 * (1 - h) * round_)
    jacobian[:, 0] = shape
    np.multiply(slope, 2 / w, out=jacobian[:, 1])
    np.multiply(slope, u / w, out=jacobian[:, 2])
    np.multiply(a, sharp - round_, out=jacobian[:, 3])
    values: Array = a * shape
    return values


def voigt(x: Array, p: Array, jacobian: Array) -> Array:
    """area Re w(z) / (s sqrt(2 pi)) with z = (x - c + i g) / (s sqrt(2)), w of Faddeeva."""
    from scipy.special import wofz

    area, c, s, g = _columns(p)
    z = (x - c + 1j * g) / (s * math.sqrt(2))
    w = wofz(z)
    slope = 2j / math.sqrt(math.pi) - 2 * z * w
    norm = 1 / (s * math.sqrt(2 * math.pi))
    np.multiply(norm, w.real, out=jacobian[:, 0])
    values: Array = area * jacobian[:, 0]
    outer = area * norm / (s * math.sqrt(2))
    np.multiply(-outer, slope.real, out=jacobian[:, 1])
    np.multiply(-outer, slope.imag, out=jacobian[:, 3])
    np.divide(-values - area * norm * (slope * z).real, s, out=jacobian[:, 2])
    return values


def exponential(x: Array, p: Array, jacobian: Array) -> Array:
    """a exp(-x / t)."""
    a, t = _columns(p)
    np.exp(-x / t, out=jacobian[:, 0])
    values: Array = a * jacobian[:, 0]
    np.multiply(values, x / t**2, out=jacobian[:, 1])
    return values


def linear(x: Array, p: Array, jacobian: Array) -> Array:
    """slope x + intercept."""
    slope, intercept = _columns(p)
    jacobian[:, 0] = x
    jacobian[:, 1] = 1
    values: Array = slope * x + intercept
    return values


def constant(x: Array, p: Array, jacobian: Array) -> Array:
    """offset."""
    jacobian[:, 0] = 1
    return np.repeat(p, x.size, axis=1)


def sho(x: Array, p: Array, jacobian: Array) -> Array:
    """a exp(i phi) f0**2 / (f**2 - i f f0 / q - f0**2)."""
    a, f0, q, phi = _columns(p)
    inverse = 1 / (x**2 - f0**2 - 1j * (x * (f0 / q)))
    unit = np.exp(1j * phi) * f0**2 * inverse
    values: Array = a * unit
    jacobian[:, 0] = unit
    jacobian[:, 1] = values * (2 / f0 + (2 * f0 + 1j * x / q) * inverse)
    jacobian[:, 2] = values * inverse * (-1j * x * f0 / q**2)
    jacobian[:, 3] = 1j * values
    return values


def _columns(p: Array) -> Sequence[Array]:
    return [p[:, i, np.newaxis] for i in range(p.shape[1])]


_PEAK, _WIDE = ("amplitude", "center", "width"), ("y", "x", "x")
TERMS = {
    term.name: term
    for term in (
        Term("lorentzian", _PEAK, _WIDE, lorentzian, 0, "peak"),
        Term("gaussian", _PEAK, _WIDE, gaussian, 1, "peak"),
        Term(
            "pseudo_voigt",
            (*_PEAK, "fraction"),
            (*_WIDE, ""),
            pseudo_voigt,
            2,
            "peak",
            (("fraction", 0.0, 1.0),),
        ),
        Term(
            "voigt",
            ("area", "center", "sigma", "gamma"),
            ("y x", "x", "x", "x"),
            voigt,
            3,
            "peak",
            (("sigma", "x", math.inf), ("gamma", 0.0, math.inf)),
        ),
        Term("exponential", ("amplitude", "decay"), ("y", "x"), exponential, 4, "decay"),
        Term("linear", ("slope", "intercept"), ("y/x", "y"), linear, 5, "baseline"),
        Term("constant", ("offset",), ("y",), constant, 6, "baseline"),
        Term(
            "sho",
            ("amplitude", "frequency", "quality_factor", "phase"),
            ("y", "x", "", "rad"),
            sho,
            7,
            "oscillator",
        ),
    )
}
