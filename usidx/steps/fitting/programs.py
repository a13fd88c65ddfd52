"""Steps of a function, run on many rows in a few arrays that are used again and again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from usidx.model.dimension import Array
from usidx.steps.fitting.tracing import Node, Operation, Traced

Step = tuple[Operation, tuple[Any, ...], Array]
# Bound to so many numbers of rows at most
_MOST = 32
_SKIPPED = 72


@dataclass(eq=False)
class Bound:
    """Steps with the arrays that they act on, for some number of rows.

    Parameters
    ----------
    steps : operations, with arguments and where what they make goes
    places : arrays of nodes; several may share one, after each other
    columns : of parameters
    spread : arrays of one column, and those of all values that they are spread to
    value, slopes : the results
    """

    steps: list[Step] = field(default_factory=list)
    places: dict[int, Array] = field(default_factory=dict)
    columns: list[Array] = field(default_factory=list)
    spread: list[tuple[Array, Array]] = field(default_factory=list)
    value: Array = field(default_factory=lambda: np.empty(0))
    slopes: dict[int, Array] = field(default_factory=dict)


@dataclass(eq=False)
class Program:
    """What makes values and derivatives; one thread at a time.

    Parameters
    ----------
    nodes : in order, parameters first
    count : of parameters
    size : of x
    value : of the function: a node, or a constant
    slopes : by index of the parameter; nodes or constants
    """

    nodes: Sequence[Node]
    count: int
    size: int
    value: Any
    slopes: Mapping[int, Any]
    _room: dict[Any, list[Array]] = field(default_factory=dict, init=False)
    _bound: dict[int, Bound] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        results = [e.place for e in (self.value, *self.slopes.values()) if isinstance(e, Traced)]
        self._results = frozenset(results)
        needed = set(results)
        for place in range(len(self.nodes) - 1, -1, -1):
            if place in needed:
                needed |= {e.place for e in self.nodes[place].arguments if isinstance(e, Traced)}
        self._needed = sorted(needed - set(range(self.count)))
        self._last: dict[int, int] = {}
        for place in self._needed:
            for each in self.nodes[place].arguments:
                if isinstance(each, Traced):
                    self._last[each.place] = place

    def __call__(self, p: Array) -> tuple[Array, dict[int, Array]]:
        """Values (rows, n) and derivatives, which broadcast to them, at parameters (rows, k).

        The arrays are written anew by the next call.
        """
        rows = p.shape[0]
        if rows not in self._bound:
            if len(self._bound) >= _MOST:
                self._bound.clear()
            self._bound[rows] = self._bind(rows)
        bound = self._bound[rows]
        for column, values in zip(bound.columns, p.T, strict=True):
            column[:, 0] = values
        for operation, arguments, out in bound.steps:
            operation(*arguments, out=out)
        for narrow, wide in bound.spread:
            wide[...] = narrow
        return bound.value, bound.slopes

    def _bind(self, rows: int) -> Bound:
        """The steps with the arrays that they act on."""
        free: dict[Any, list[int]] = {}
        taken: dict[int, tuple[Any, int]] = {}
        used: dict[Any, int] = {}
        bound = Bound()
        places, steps = bound.places, bound.steps

        def room(place: int) -> Array:
            node = self.nodes[place]
            kind = (node.short, node.dtype)
            if free.get(kind):
                number = free[kind].pop()
            else:
                number = used.get(kind, 0)
                used[kind] = number + 1
            taken[place] = (kind, number)
            return self._array(kind, number, rows)

        for place in range(self.count):
            places[place] = room(place)
        for place in self._needed:
            node = self.nodes[place]
            assert node.operation is not None
            traced = {each.place for each in node.arguments if isinstance(each, Traced)}
            # what is needed no more makes room, for ufuncs for their own result as well
            gone = [e for e in traced if self._last[e] == place and e not in self._results]
            gone = [each for each in gone if each >= self.count]
            is_plain = isinstance(node.operation, np.ufunc)
            for each in gone if is_plain else ():
                free.setdefault(taken[each][0], []).append(taken[each][1])
            arguments = tuple(
                places[each.place] if isinstance(each, Traced) else each for each in node.arguments
            )
            places[place] = room(place)
            for each in () if is_plain else gone:
                free.setdefault(taken[each][0], []).append(taken[each][1])
            steps.append((node.operation, arguments, places[place]))
        bound.columns = [places[place] for place in range(self.count)]
        kind = np.result_type(_dtype(self.value), float)
        bound.value = np.broadcast_to(self._wide(self.value, bound, rows, kind), (rows, self.size))
        bound.slopes = {i: self._wide(e, bound, rows, kind) for i, e in self.slopes.items()}
        return bound

    def _array(self, kind: tuple[bool, np.dtype[Any]], number: int, rows: int) -> Array:
        arrays = self._room.setdefault(kind, [])
        width = 1 if kind[0] else self.size
        size = rows * width
        while len(arrays) <= number:
            arrays.append(np.empty(0, kind[1]))
        # Of arrays as long as powers of 2 equal places would share one place in the cache
        skipped = number * _SKIPPED
        if arrays[number].size < size + skipped:
            arrays[number] = np.empty(size + skipped, kind[1])
        return arrays[number][skipped : skipped + size].reshape(rows, width)

    def _wide(self, each: Any, bound: Bound, rows: int, kind: np.dtype[Any]) -> Array:
        """A result as an array of values; of one row where it is the same in all."""
        found = bound.places[each.place] if isinstance(each, Traced) else np.asarray(each)
        if found.shape == (rows, self.size) and found.dtype == kind:
            return found
        wide = np.empty((rows if isinstance(each, Traced) else 1, self.size), kind)
        wide[...] = found
        if isinstance(each, Traced):
            bound.spread.append((found, wide))
        return wide


def _dtype(each: Any) -> np.dtype[Any]:
    return each.node.dtype if isinstance(each, Traced) else np.asarray(each).dtype
