"""What a NumPy function does with columns of parameters, noted down step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from usidx.model.dimension import Array

# What has no derivative: it goes on without
WITHOUT = {
    *("less", "less_equal", "greater", "greater_equal", "equal", "not_equal"),
    *("isfinite", "isnan", "isinf", "sign"),
}
REAL = {"absolute", "fabs", "maximum", "minimum", "copysign", "erf"}
# What the operator ** does for these numbers, rather than taking logarithms
_POWERS = {-1: np.reciprocal, 0.5: np.sqrt, 1: np.positive, 2: np.square}
Operation = Callable[..., Any]


@dataclass(frozen=True, eq=False)
class Node:
    """One step of a function.

    Parameters
    ----------
    name : of the operation
    operation : called with the arguments and `out`; None for a parameter
    arguments : places of nodes, or constants
    dtype : of what it makes
    short : whether that is one number for each row, rather than a value for each x
    moves : whether it has a derivative
    """

    name: str
    operation: Operation | None
    arguments: tuple[Traced | Array, ...]
    dtype: np.dtype[Any]
    short: bool
    moves: bool


class Tape:
    """The steps of a function in order, each once.

    Parameters
    ----------
    size : of x
    rules : operations that have a derivative
    """

    def __init__(self, size: int, rules: Mapping[str, Any]) -> None:
        self.nodes: list[Node] = []
        self.size = size
        self.rules = rules
        self._known: dict[Any, int] = {}

    def parameter(self, *, moves: bool) -> Traced:
        """One more column of parameters, (rows, 1)."""
        self.nodes.append(Node("", None, (), np.dtype(float), True, moves))
        return Traced(self, len(self.nodes) - 1)

    def note(self, name: str, operation: Operation, inputs: tuple[Any, ...]) -> Traced:
        """What an operation makes of its inputs, each of them traced or an array or a number.

        Raises
        ------
        TypeError : where it makes something else than a number for each row, or each value
        """
        arguments = tuple(e.again() if isinstance(e, Traced) else self._kept(e) for e in inputs)
        key = (operation, *(_key(each) for each in arguments))
        if key not in self._known:
            traced = [each.node for each in arguments if isinstance(each, Traced)]
            kinds = [e.node.dtype if isinstance(e, Traced) else e.dtype for e in arguments]
            moves = name not in WITHOUT and any(each.moves for each in traced)
            is_odd = name in REAL and any(each.kind == "c" for each in kinds)
            if moves and (name not in self.rules or is_odd):
                raise TypeError(f"{name} has no derivative here")
            made = operation(
                *(
                    np.ones((1, 1), kind) if isinstance(each, Traced) or each.ndim else each
                    for each, kind in zip(arguments, kinds)
                )
            )
            if made.shape != (1, 1) or made.dtype.kind not in "biufc":
                raise TypeError(f"{name} makes no value for each x")
            short = all(map(is_short, arguments))
            self.nodes.append(Node(name, operation, arguments, made.dtype, short, moves))
            self._known[key] = len(self.nodes) - 1
        return Traced(self, self._known[key])

    def _kept(self, value: Any) -> Array:
        """A copy, since the function may go on to change it."""
        kept = np.array(value)
        shape = kept.shape or (1,)
        if (
            kept.dtype.kind not in "biufc"
            or shape[-1] not in (1, self.size)
            or kept.size > shape[-1]
        ):
            raise TypeError(f"an array of {kept.shape} has no value for each x")
        return kept


class Traced(NDArrayOperatorsMixin):
    """A node of a tape, which ufuncs of NumPy take as an array.

    What has no rule, asks for a truth value or a single number raises a TypeError.

    Parameters
    ----------
    tape : what it is noted on
    place : where
    """

    def __init__(self, tape: Tape, place: int) -> None:
        self.tape = tape
        self.place = place

    @property
    def node(self) -> Node:
        """The step that made it."""
        return self.tape.nodes[self.place]

    def again(self) -> Traced:
        """The same, which stays where `*=` and the like move this one on."""
        return Traced(self.tape, self.place)

    def __bool__(self) -> bool:
        raise TypeError("parameters of many spectra have no single truth value")

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("steps of a function are no array")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        out = kwargs.pop("out", (None,))
        if method != "__call__" or kwargs or ufunc.nout != 1:
            return NotImplemented
        if not isinstance(out[0], Traced | None):
            return NotImplemented
        if ufunc is np.power and isinstance(inputs[1], int | float) and inputs[1] in _POWERS:
            ufunc, inputs = _POWERS[inputs[1]], inputs[:1]
        made = self.tape.note(ufunc.__name__, ufunc, inputs)
        if out[0] is None:
            return made
        out[0].place = made.place
        return out[0]

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function is not np.where or kwargs or len(args) != 3:
            return NotImplemented
        return self.tape.note("where", where, args)


def where(mask: Any, one: Any, other: Any, out: Any = None) -> Any:
    """As np.where, into an array."""
    if out is None:
        return np.where(mask, one, other)
    out[...] = np.where(mask, one, other)
    return out


def is_short(values: Any) -> bool:
    """Whether it is one number for each row, or for all."""
    if isinstance(values, Traced):
        return values.node.short
    shape = np.shape(values)
    return not shape or shape[-1] == 1


def _key(argument: Traced | Array) -> Any:
    if isinstance(argument, Traced):
        return argument.place
    return (argument.shape, argument.dtype.str, argument.tobytes())
