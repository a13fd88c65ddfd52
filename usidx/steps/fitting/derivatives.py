"""Derivatives of NumPy functions, by the rule of the chain back through what made their values.

A function is looked at once; what it does, and what its derivatives take, is one list of steps then
(`programs` runs it), of which those that are alike are done once. All derivatives together take
about as long as one or two calls of the function, where differences take one for each parameter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from usidx.model.dimension import Array
from usidx.steps.fitting.programs import Program
from usidx.steps.fitting.tracing import Tape, Traced, is_short

Rule = Callable[..., tuple[Any, ...]]


def program_of(
    function: Callable[..., Any], x: Array, count: int, wanted: Iterable[int]
) -> Program:
    """What makes values of a function, and derivatives by those that are wanted.

    Parameters
    ----------
    function : f(x, *columns) of NumPy
    x : (n,)
    count : number of parameters
    wanted : indices of parameters

    Raises
    ------
    TypeError : where it does something that has no rule
    """
    wanted = tuple(wanted)
    tape = Tape(x.size, RULES)
    columns = [tape.parameter(moves=i in wanted) for i in range(count)]
    made = function(x, *columns)
    made = made.again() if isinstance(made, Traced) else np.asarray(made)
    parts = _back(made) if isinstance(made, Traced) and made.node.moves else {}
    slopes = {i: parts[i].whole if i in parts else 0.0 for i in wanted}
    return Program(tape.nodes, count, x.size, made, slopes)


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A derivative in parts, since numbers for each row are cheaper to multiply with each other.

    Parameters
    ----------
    factor : a number, or one for each row
    array : the rest; None where there is none
    mask : where it is not 0, whatever the array has there; None for everywhere
    """

    factor: Any
    array: Any = None
    mask: Any = None

    def times(self, factors: Iterable[Any]) -> Part:
        """The product with all factors."""
        factor, array = self.factor, self.array
        for each in factors:
            if not is_short(each):
                array = each if array is None else array * each
            else:
                factor = each if _is_one(factor) else factor * each
        return Part(factor, array, self.mask)

    def within(self, mask: Any) -> Part:
        """The same where the mask is, and 0 elsewhere."""
        return Part(self.factor, self.array, mask if self.mask is None else self.mask & mask)

    def plus(self, other: Part) -> Part:
        """The sum of both."""
        total = self.whole + other.whole
        mask = None if self.mask is None or other.mask is None else self.mask | other.mask
        return Part(total, None, mask) if is_short(total) else Part(1.0, total, mask)

    @property
    def whole(self) -> Any:
        """The derivative, which broadcasts to the values."""
        found = self.factor
        if self.array is not None:
            found = self.array if _is_one(found) else self.array * found
        return found if self.mask is None else np.where(self.mask, found, 0.0)


def _is_one(factor: Any) -> bool:
    return isinstance(factor, float) and factor == 1.0


def _back(last: Traced) -> dict[int, Part]:
    """Derivatives of the last value by the nodes that were made of nothing."""
    tape, parts = last.tape, {last.place: Part(1.0)}
    for place in range(last.place, -1, -1):
        node = tape.nodes[place]
        if place not in parts or not node.arguments:
            continue
        mine = parts.pop(place)
        for at, each in enumerate(node.arguments):
            if not isinstance(each, Traced) or not each.node.moves:
                continue
            if node.name == "where":
                mask = node.arguments[0]
                own = mine.within(mask if at == 1 else ~mask)
            else:
                own = mine.times(RULES[node.name][at](*node.arguments, Traced(tape, place)))
            parts[each.place] = parts[each.place].plus(own) if each.place in parts else own
    return parts


def beside(angle: Any, value: Any, out: Any = None) -> Any:
    """Cosines of an angle whose sine is known.

    They are exact to 1e-8, where they vanish, and mostly to some 1e-15. Derivatives need no more,
    and those of NumPy take ten times as long.
    """
    found = np.empty(np.shape(angle)) if out is None else out
    if not (angle.max() < _FAR and angle.min() > -_FAR):
        return np.cos(angle, out=found)
    turns = angle * (0.5 / math.pi)
    turns -= np.rint(turns)
    np.abs(turns, out=turns)
    np.subtract(0.25, turns, out=turns)
    np.multiply(value, value, out=found)
    np.subtract(1.0, found, out=found)
    np.sqrt(found, out=found)
    return np.copysign(found, turns, out=found)


def _beside(angle: Traced, value: Traced) -> Traced:
    if angle.node.short or angle.node.dtype.kind == "c":
        return angle.tape.note("cos", np.cos, (angle,))
    return angle.tape.note("beside", beside, (angle, value))


def _by_divisor(a: Any, b: Any, r: Any) -> tuple[Any, ...]:
    if is_short(b):
        return -1 / b, r
    # the inverse is there already where the dividend has a derivative
    return -1.0, r * (1 / b) if isinstance(a, Traced) and a.node.moves else r / b


# Angles up to here lose too few digits to be in the wrong quarter
_FAR = 1e6
# By each argument, of the arguments and the value, in factors
RULES: dict[str, tuple[Rule, ...]] = {
    "add": (lambda a, b, r: (), lambda a, b, r: ()),
    "subtract": (lambda a, b, r: (), lambda a, b, r: (-1.0,)),
    "multiply": (lambda a, b, r: (b,), lambda a, b, r: (a,)),
    "divide": (lambda a, b, r: (1 / b,), _by_divisor),
    "power": (lambda a, b, r: (b, a ** (b - 1)), lambda a, b, r: (r, np.log(a))),
    "maximum": (lambda a, b, r: (1.0 * (a >= b),), lambda a, b, r: (1.0 * (b > a),)),
    "minimum": (lambda a, b, r: (1.0 * (a <= b),), lambda a, b, r: (1.0 * (b < a),)),
    "copysign": (
        lambda a, b, r: (np.copysign(1.0, a) * np.copysign(1.0, b),),
        lambda a, b, r: (0.0,),
    ),
    "negative": (lambda a, r: (-1.0,),),
    "positive": (lambda a, r: (),),
    "absolute": (lambda a, r: (np.sign(a),),),
    "fabs": (lambda a, r: (np.sign(a),),),
    "square": (lambda a, r: (2.0, a),),
    "reciprocal": (lambda a, r: (-1.0, r * r),),
    "sqrt": (lambda a, r: (0.5, 1 / r),),
    "exp": (lambda a, r: (r,),),
    "expm1": (lambda a, r: (r + 1,),),
    "log": (lambda a, r: (1 / a,),),
    "log1p": (lambda a, r: (1 / (1 + a),),),
    "log10": (lambda a, r: (1 / math.log(10), 1 / a),),
    "sin": (lambda a, r: (_beside(a, r),),),
    "cos": (lambda a, r: (-1.0, _beside(a - 0.5 * math.pi, r)),),
    "tan": (lambda a, r: (1 + r * r,),),
    "arctan": (lambda a, r: (1 / (1 + a * a),),),
    "sinh": (lambda a, r: (np.cosh(a),),),
    "cosh": (lambda a, r: (np.sinh(a),),),
    "tanh": (lambda a, r: (1 - r * r,),),
    "erf": (lambda a, r: (2 / math.sqrt(math.pi), np.exp(-a * a)),),
    "where": (),
    "beside": (),
}
