"""One axis of a measurement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from usidx.errors import LayoutError

Role = Literal["position", "spectroscopic"]
Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Dimension:
    """One axis: its name, units and the values along it.

    Parameters
    ----------
    name : the axis as people call it, unique within a Main
    units : units of `values`, "" when it has none
    values : array, shape (n,); an int n stands for 0 .. n-1
    indices : array, shape (n,), the counters the file has for these values; 0 .. n-1 when left out
    label : the name in the file, where `name` had to differ from it to be unique
    quantity : what the axis measures, for plot labels; the name when left out

    Raises
    ------
    LayoutError : for an empty name, values that are not 1-D, or indices of another length

    Examples
    --------
    >>> Dimension("X", "um", [0.0, 0.5, 1.0]).size
    3
    """

    name: str
    units: str
    values: Array
    indices: Array | None = None
    label: str | None = None
    quantity: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            raise LayoutError(f"a Dimension needs a name, got {self.name!r}")
        if not isinstance(self.units, str):
            raise LayoutError(
                f"units of Dimension {self.name!r} must be text, got {self.units!r}; "
                "write Dimension(name, units, values)"
            )
        given: Any = self.values
        count = isinstance(given, (int, np.integer)) and not isinstance(given, bool)
        values = np.arange(given) if count else np.asarray(given)
        if values.ndim != 1 or values.size == 0:
            raise LayoutError(
                f"values of Dimension {self.name!r} must be 1-D and not empty, "
                f"got shape {values.shape}"
            )
        object.__setattr__(self, "values", values)
        if self.indices is not None:
            indices = np.asarray(self.indices)
            if indices.shape != values.shape:
                raise LayoutError(
                    f"Dimension {self.name!r} has {values.size} values "
                    f"but indices of shape {indices.shape}"
                )
            object.__setattr__(self, "indices", indices)

    @property
    def size(self) -> int:
        """How many values there are."""
        return int(self.values.size)

    @property
    def counters(self) -> Array:
        """The indices of the file, shape (n,); 0 .. n-1 when it had no others."""
        return np.arange(self.size) if self.indices is None else self.indices

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Dimension):
            return NotImplemented
        return (
            (self.name, self.units, self.file_label) == (other.name, other.units, other.file_label)
            and same_values(self.values, other.values)
            and same_values(self.counters, other.counters)
        )

    __hash__ = None  # type: ignore[assignment]

    @property
    def file_label(self) -> str:
        """The name as the file has it."""
        return self.name if self.label is None else self.label


def same_values(left: Array, right: Array) -> bool:
    """Whether two arrays hold the same values, NaN equal to NaN, whatever their dtypes."""
    if left.shape != right.shape:
        return False
    nan = all(np.issubdtype(each.dtype, np.inexact) for each in (left, right))
    return bool(np.array_equal(left, right, equal_nan=nan))
