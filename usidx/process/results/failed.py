"""The positions of a result at which its step failed: a sequence that shows itself as a table."""

from __future__ import annotations

import html
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np

from usidx.model.blocks import block_shape, blocks_of
from usidx.model.dimension import Array
from usidx.model.layout import Grid, Layout
from usidx.stores.base import StoredMain
from usidx.stores.failures import Failures

# Rows that a table shows.
_SHOWN = 20
_AT_ONCE = 2**20


@dataclass(frozen=True)
class FailedPosition:
    """A position at which a step failed.

    Parameters
    ----------
    main : name of the Main of the result
    where : index along each position dimension, as `isel` takes them
    coordinates : (value, units) of each coordinate of the position, by its name
    error : type and first line of what was raised
    """

    main: str
    where: Mapping[str, int]
    coordinates: Mapping[str, tuple[Any, str]]
    error: str

    def __str__(self) -> str:
        return in_words(self.where, self.coordinates)


class FailedPositions(Sequence[FailedPosition]):
    """The positions of a result at which its step failed; they are read as they are asked for.

    Parameters
    ----------
    name : of the result group
    mains : of the group
    total : positions of all of them
    """

    def __init__(self, name: str, mains: Sequence[StoredMain], total: int) -> None:
        self.name = name
        self.total = total
        self._mains = [(each, each.failures) for each in mains if each.failures is not None]

    def __len__(self) -> int:
        return sum(failures.count for _, failures in self._mains)

    def __iter__(self) -> Iterator[FailedPosition]:
        for main, failures in self._mains:
            position = main.spec.position
            for place, number in _places(main, failures):
                where = dict(zip(position.dims, place, strict=True))
                error = _reason(failures, number)
                yield FailedPosition(main.spec.name, where, coordinates_at(position, place), error)

    @overload
    def __getitem__(self, key: int) -> FailedPosition: ...
    @overload
    def __getitem__(self, key: slice) -> list[FailedPosition]: ...
    def __getitem__(self, key: int | slice) -> FailedPosition | list[FailedPosition]:
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            if step > 0:
                return list(itertools.islice(self, start, stop, step))
            return list(self)[key]
        place = key + len(self) if key < 0 else key
        found = next(itertools.islice(self, max(0, place), None), None)
        if place < 0 or found is None:
            raise IndexError(f"{self.name!r} has {len(self)} failed positions, there is no {key}")
        return found

    def reasons(self) -> dict[str, int]:
        """How many positions failed for each reason, the most frequent first."""
        counts: Counter[str] = Counter()
        for main, failures in self._mains:
            for _, numbers in _blocks(main, failures):
                for number, count in zip(*np.unique(numbers, return_counts=True), strict=True):
                    if number:
                        counts[_reason(failures, int(number))] += int(count)
        return dict(counts.most_common())

    def _title(self) -> str:
        if not self:
            return f"no position of {self.name!r} failed"
        return f"{len(self)} of {self.total} positions of {self.name!r} failed"

    def _rows(self) -> list[tuple[str, str, str]]:
        return [(str(each), each.main, each.error) for each in self[:_SHOWN]]

    def _more(self) -> str:
        left = len(self) - _SHOWN
        return f"and {left} more; .reasons() counts them" if left > 0 else ""

    def __repr__(self) -> str:
        rows = self._rows()
        widths = [max((len(row[at]) for row in rows), default=0) for at in range(2)]
        lines = [
            f"  {where:<{widths[0]}}  {main:<{widths[1]}}  {error}" for where, main, error in rows
        ]
        more = [f"  {self._more()}"] if self._more() else []
        return "\n".join([f"<usidx: {self._title()}>", *lines, *more])

    def _repr_html_(self) -> str:
        left = "style='text-align:left'"
        head = "".join(f"<th {left}>{each}</th>" for each in ("position", "Main", "error"))
        rows = "".join(
            "<tr>" + "".join(f"<td {left}>{html.escape(text)}</td>" for text in row) + "</tr>"
            for row in self._rows()
        )
        table = f"<table><tr>{head}</tr>{rows}</table>" if rows else ""
        return f"<div><b>{html.escape(self._title())}</b>{table}{html.escape(self._more())}</div>"


def _blocks(main: StoredMain, failures: Failures) -> Iterator[tuple[tuple[slice, ...], Array]]:
    """(slices, numbers of the positions that are marked) of parts of a Main."""
    shape = failures.numbers.shape
    part = block_shape(shape, len(shape), 1, budget=_AT_ONCE)
    for block in blocks_of(shape, part):
        numbers = np.asarray(failures.numbers[block.key])
        if main.completed is not None:
            numbers = np.where(main.completed[block.key], numbers, 0)
        yield block.key, numbers


def _places(main: StoredMain, failures: Failures) -> Iterator[tuple[tuple[int, ...], int]]:
    for key, numbers in _blocks(main, failures):
        first = np.array([part.start for part in key])
        for place in np.argwhere(numbers):
            yield tuple((place + first).tolist()), int(numbers[tuple(place)])


def _reason(failures: Failures, number: int) -> str:
    named = 0 < number <= len(failures.reasons) and failures.reasons[number - 1]
    return str(named) if named else "an error of which nothing is known"


def named(position: Layout, place: tuple[int, ...]) -> str:
    """A position by its indices and coordinates, for people.

    Parameters
    ----------
    position : of the Main
    place : index along each of its dimensions

    Examples
    --------
    >>> from usidx.testing import make_main
    >>> named(make_main().usid.spec.position, (3, 2))
    'Y=3, X=2 (Y 1.5 um, X 1 um)'
    """
    return in_words(dict(zip(position.dims, place, strict=True)), coordinates_at(position, place))


def in_words(where: Mapping[str, int], coordinates: Mapping[str, tuple[Any, str]]) -> str:
    """Indices and coordinates of a position, for people."""
    indices = ", ".join(f"{dim}={at}" for dim, at in where.items())
    told = ", ".join(
        f"{name} {_number(value)} {units}".rstrip() for name, (value, units) in coordinates.items()
    )
    return f"{indices} ({told})" if told else indices


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)


def coordinates_at(position: Layout, place: tuple[int, ...]) -> dict[str, tuple[Any, str]]:
    """(value, units) of each coordinate at a position, by its name."""
    columns: list[tuple[str, str, tuple[int, ...], Array]]
    if isinstance(position, Grid):
        at = dict(zip(position.dims, place, strict=True))
        columns = [(e.name, e.units, (at[e.name],), e.values) for e in position.dimensions]
        for each in position.dependent:
            index = tuple(at[dim] for dim in each.dims)
            columns.append((each.name, each.units, index, each.values))
    else:
        columns = [(each.name, each.units, place, each.values) for each in position.columns]
    found = {}
    for name, units, index, values in columns:
        value = values[index]
        found[name] = (value.item() if isinstance(value, np.generic) else value, units)
    return found
