"""Tasks of dask as a list of calls, which is run many times with little around them.

dask looks up by name what each task needs, every time. For tasks that take microseconds this costs
as much as they do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from usidx.model.dimension import Array


@dataclass(frozen=True)
class Call:
    """One call of a function on what lies in numbered places.

    Parameters
    ----------
    function : what is called
    args, kwargs : places of its arguments
    target : place of what it returns
    last : places that nothing needs afterwards
    """

    function: Callable[..., Any]
    args: tuple[int, ...]
    kwargs: tuple[tuple[str, int], ...]
    target: int
    last: tuple[int, ...] = ()


@dataclass(frozen=True)
class Routine:
    """Calls that lead from one array to several.

    Parameters
    ----------
    places : what lies in each place before the first call; the array goes into the first
    calls : in the order in which they are made
    results : places of what comes out
    """

    places: tuple[Any, ...]
    calls: tuple[Call, ...]
    results: tuple[int, ...]

    def __call__(self, values: Array) -> list[Array]:
        """The values of each result."""
        known = [values, *self.places[1:]]
        for call in self.calls:
            args = [known[each] for each in call.args]
            if call.kwargs:
                named = {name: known[each] for name, each in call.kwargs}
                known[call.target] = call.function(*args, **named)
            else:
                known[call.target] = call.function(*args)
            # what is let go of early leaves memory that is warm to the next call
            del args
            for each in call.last:
                known[each] = None
        return [np.asarray(known[each]) for each in self.results]


def routine_of(source: Any, tasks: Sequence[Any], results: Sequence[Any]) -> Routine:
    """The Routine that does what `tasks` do, in their order.

    Parameters
    ----------
    source : key of the array that is put in
    tasks : nodes of a dask graph, each after those it needs
    results : keys of what comes out
    """
    making = _Making(source)
    for task in tasks:
        making.add(task)
    return making.routine([making.at[key] for key in results])


class _Making:
    """A Routine in the making."""

    def __init__(self, source: Any) -> None:
        self.at: dict[Any, int] = {source: 0}
        self.places: list[Any] = [None]
        self.calls: list[Call] = []

    def add(self, task: Any) -> None:
        """The calls for one node of a graph."""
        from dask._task_spec import Alias, DataNode

        if isinstance(task, Alias):
            self.at[task.key] = self.at[task.target]
        elif isinstance(task, DataNode):
            self.at[task.key] = self.place(task.value)
        else:
            self.at[task.key] = self.call(task.func, task.args, task.kwargs)

    def call(self, function: Any, args: Sequence[Any], kwargs: Any) -> int:
        """The place of what a call returns."""
        taken = tuple(self.argument(each) for each in args)
        named = tuple((name, self.argument(each)) for name, each in kwargs.items())
        target = self.place(None)
        self.calls.append(Call(function, taken, named, target))
        return target

    def argument(self, given: Any) -> int:
        """The place of an argument of a task."""
        from dask._task_spec import DataNode, GraphNode, List, Task, TaskRef

        if isinstance(given, TaskRef):
            return self.at[given.key]
        if isinstance(given, DataNode):
            return self.place(given.value)
        if isinstance(given, List):
            return self.call(_listed, tuple(given.args), {})
        if type(given) is Task:
            return self.call(given.func, given.args, given.kwargs)
        if isinstance(given, GraphNode):
            needed = sorted(given.dependencies, key=str)
            node = _Node(given, tuple(needed))
            target = self.place(None)
            self.calls.append(Call(node, tuple(self.at[key] for key in needed), (), target))
            return target
        return self.place(given)

    def place(self, value: Any) -> int:
        """A new place with a value in it."""
        self.places.append(value)
        return len(self.places) - 1

    def routine(self, results: Sequence[int]) -> Routine:
        """What was made, with results at given places."""
        calls, moved = _without_copies(self.calls, results)
        found = tuple(moved.get(each, each) for each in results)
        fixed = set(range(1, len(self.places))) - {call.target for call in calls}
        needed = set(found) | fixed
        marked = []
        for call in reversed(calls):
            own = set(_needs(call))
            marked.append(replace(call, last=tuple(sorted(own - needed))))
            needed |= own
        return Routine(tuple(self.places), tuple(reversed(marked)), found)


@dataclass(frozen=True)
class _Node:
    """A node of a graph that stands inside another one, as a function of what it needs."""

    node: Any
    keys: tuple[Any, ...]

    def __call__(self, *values: Any) -> Any:
        return self.node(dict(zip(self.keys, values, strict=True)))


def _listed(*values: Any) -> list[Any]:
    return list(values)


def _without_copies(
    calls: Sequence[Call], results: Sequence[int]
) -> tuple[list[Call], dict[int, int]]:
    """(calls, places by places): without those that join a single array, which would copy it.

    An array that something else needs as well is copied nevertheless, for the sake of functions
    that change what they are given.
    """
    from dask.array.core import concatenate_axes

    users = Counter([*results, *(place for call in calls for place in _needs(call))])
    made = {call.target: call for call in calls}
    moved: dict[int, int] = {}
    dropped: set[int] = set()
    for call in calls:
        if call.function is not concatenate_axes:
            continue
        chain, place = {call.target}, call.args[0]
        while users[place] == 1 and _is_list_of_one(made.get(place)):
            chain.add(place)
            place = made[place].args[0]
        if len(chain) > 1 and users[place] == 1 and not _is_list(made.get(place)):
            moved[call.target] = moved.get(place, place)
            dropped |= chain
    kept = [call for call in calls if call.target not in dropped]
    return [_moved(call, moved) for call in kept], moved


def _needs(call: Call) -> tuple[int, ...]:
    return (*call.args, *(place for _, place in call.kwargs))


def _is_list(call: Call | None) -> bool:
    return call is not None and call.function is _listed


def _is_list_of_one(call: Call | None) -> bool:
    return call is not None and call.function is _listed and len(call.args) == 1


def _moved(call: Call, places: Mapping[int, int]) -> Call:
    return replace(
        call,
        args=tuple(places.get(each, each) for each in call.args),
        kwargs=tuple((name, places.get(each, each)) for name, each in call.kwargs),
    )
