"""Frames that lie in several files, one file after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from usidx.errors import DamagedStoreError
from usidx.model.dimension import Array
from usidx.stores.base import BlockArray


@dataclass(frozen=True, eq=False)
class JoinedArray:
    """Arrays one after the other along their first axis; picklable if they are.

    Parameters
    ----------
    parts : alike but for the size of the first axis

    Raises
    ------
    DamagedStoreError : where they are not alike
    """

    parts: tuple[BlockArray, ...]

    def __post_init__(self) -> None:
        kinds = {(tuple(each.shape[1:]), each.dtype) for each in self.parts}
        if len(kinds) != 1:
            said = ", ".join(f"{shape} of {dtype}" for shape, dtype in kinds) or "nothing"
            raise DamagedStoreError(f"files that belong together hold frames that differ: {said}")

    @property
    def shape(self) -> tuple[int, ...]:
        return sum(int(each.shape[0]) for each in self.parts), *self.parts[0].shape[1:]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.parts[0].dtype

    def __dask_tokenize__(self) -> Any:
        return "usidx.JoinedArray", [each.__dask_tokenize__() for each in self.parts]

    def __getitem__(self, key: Any, /) -> Array:
        first, *rest = key if isinstance(key, tuple) else (key,)
        numbers = np.arange(self.shape[0])[first]
        starts = np.cumsum([0, *(int(each.shape[0]) for each in self.parts)])
        if not numbers.ndim:
            part = int(np.searchsorted(starts, numbers, side="right")) - 1
            return np.asarray(self.parts[part][(int(numbers - starts[part]), *rest)])
        found = [
            np.asarray(each[(slice(int(own[0]), int(own[-1]) + 1, _step(own)), *rest)])
            for each, start, stop in zip(self.parts, starts[:-1], starts[1:])
            if (own := numbers[(numbers >= start) & (numbers < stop)] - start).size
        ]
        if not found:
            return np.asarray(self.parts[0][(slice(0, 0), *rest)])
        return found[0] if len(found) == 1 else np.concatenate(found)


def _step(numbers: Array) -> int:
    return int(numbers[1] - numbers[0]) if numbers.size > 1 else 1


def in_order(paths: Sequence[str]) -> list[str]:
    """Paths in the order of the numbers in them.

    Examples
    --------
    >>> in_order(["a_10.mib", "a_9.mib"])
    ['a_9.mib', 'a_10.mib']
    """
    from usidx.model.names import natural_key

    return sorted(paths, key=natural_key)
