"""Python functions as models that run on NumPy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from usidx.model.dimension import Array
from usidx.steps.fitting.derivatives import program_of
from usidx.steps.fitting.models import Function
from usidx.steps.fitting.programs import Program


@dataclass(frozen=True, eq=False)
class Running:
    """A Function with the program that makes its values and derivatives; for one thread.

    Parameters
    ----------
    function : whose program it is
    program : of its values and derivatives
    """

    function: Function
    program: Program

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names, in order."""
        return self.function.parameters

    @property
    def is_complex(self) -> bool:
        """Whether values are complex."""
        return self.function.is_complex

    def evaluate(
        self, xp: Any, x: Any, p: Any, high: Any, wanted: Sequence[int]
    ) -> tuple[Any, Mapping[int, Any]]:
        """As `Model.evaluate`, with derivatives where there are some, and NaN where there is none.

        The next call writes into the same arrays.
        """
        return self.program(p)


def running(function: Function, x: Array, wanted: Sequence[int]) -> Running | Function:
    """What evaluates a function fastest at x (n,), with derivatives by those that are wanted."""
    if not function.carries:
        return function
    return Running(function, program_of(function.function, x, len(function.parameters), wanted))
