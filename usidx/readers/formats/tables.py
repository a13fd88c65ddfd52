"""Text tables (.csv, .tsv, .txt, .dat): long form, wide form, and bare matrices.

In long form each row is one value, and its other columns say where it belongs; where each place has
one row, all other columns are values, each a Main. In wide form each row is a spectrum whose axis
is the heads of its columns. A matrix has numbers alone. Tables are read as a whole, since their
rows may come in any order.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from usidx.errors import OptionError, did_you_mean
from usidx.model.dimension import Array
from usidx.model.layout import Coordinate
from usidx.readers.base import Foreign, Reader
from usidx.readers.formats.table_columns import columns_in, kind_of_columns
from usidx.readers.formats.table_grids import Table, axis_of, check_numbers, filled, folded, told
from usidx.readers.formats.table_text import check_end, first_lines, is_number, is_packed, table_in
from usidx.readers.raw import FileIdentity, LoadedArray

if TYPE_CHECKING:
    import pandas as pd

_ENDINGS = (".csv", ".tsv", ".txt", ".dat")
_PACKED_ENDINGS = tuple(
    f"{each}{how}" for each in _ENDINGS for how in (".gz", ".bz2", ".xz", ".zip")
) + (".zip",)
_TIMES = ("t", "time", "date", "datetime", "timestamp")
_SPATIAL = ("x", "y", "z", "row", "column", "position", *_TIMES)
_QUANTITY = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([^\W\d]{0,6})")


@dataclass(frozen=True)
class Asked:
    """What was asked of a table: columns that are positions, the separator, lines to leave out."""

    position: tuple[str, ...] | None
    separator: str | None
    skip: int


def _claims(path: str, head: bytes) -> bool:
    """Whether lines are numbers: some in a .csv and the like, in other files all of them."""
    lower = path.lower()
    called = lower.endswith(_PACKED_ENDINGS if is_packed(head) else _ENDINGS)
    lines = first_lines(path, head) if called or not is_packed(head) else []
    if lines is None or len(lines) < 2:
        return lines is None
    cells = [line.replace('"', "").replace(",", " ").replace(";", " ").split() for line in lines]
    if called:
        below = [row for row in cells[2:4] if row and all(map(is_number, row))]
        return any(map(is_number, cells[1])) or bool(below)
    separator = next((each for each in ";\t," if each in lines[1]), None)
    if separator is not None:
        comma = "," if separator == "," else "."
        cells = [line.replace(",", comma).split(separator) for line in lines[:4]]
    rows = cells[1:3]
    return len(cells[0]) > 1 and all(
        len(row) == len(cells[0]) and all(map(is_number, row)) for row in rows
    )


def read(
    path: str,
    *,
    position: Sequence[str] | str | None = None,
    values: str | None = None,
    separator: str | None = None,
    skip: int = 0,
) -> Sequence[Foreign]:
    """The table in a file.

    Parameters
    ----------
    position : columns along which the probe moves; when None those called X, Y, Z, ... and, where
        these do not tell rows apart, those of text and of times
    values : the column of values in long form; when None the last one, or, where each place has one
        row, all that are no places
    separator : between cells; found out when None
    skip : how many lines to leave out at the beginning of text
    """
    check_end(path)
    return _mains(path, Asked(_asked(position), separator, skip), values)


def read_columns(
    path: str, *, position: Sequence[str] | str | None = None, values: str | None = None
) -> Sequence[Foreign]:
    """The table in a file of columns; parameters as for `read`."""
    return _mains(path, Asked(_asked(position), None, 0), values)


def _asked(position: Sequence[str] | str | None) -> tuple[str, ...] | None:
    return None if position is None else (position,) if isinstance(position, str) else (*position,)


def _mains(path: str, how: Asked, values: str | None) -> Sequence[Foreign]:
    found = []
    for column in _value_columns(path, how) if values is None else [values]:
        table = _parsed(path, how, column)
        shape, dtype = table.values.shape, table.values.dtype
        token = (path, FileIdentity.of(path), how, column)
        load = functools.partial(_values, path, how, column)
        name = os.path.basename(path).partition(".")[0]
        found.append(
            Foreign(
                name=name if column is None or values is not None else _name(column),
                array=LoadedArray(load, shape, dtype, token),
                axes=table.axes,
                quantity=table.quantity,
                units=table.units,
                chunks=shape,
                coordinates=_beside(table),
            )
        )
    return found


def _beside(table: Table) -> tuple[Coordinate, ...]:
    """Which places were measured, where not all were, and what is text along an axis."""
    dims = tuple(axis.dimension.name for axis in table.axes if axis.role == "position")
    found = [
        Coordinate(f"{name}_labels", "", (name,), values) for name, values in table.labels.items()
    ]
    if table.there is not None:
        found.append(Coordinate("measured", "", dims, table.there.astype(np.uint8)))
    return tuple(found)


def _name(column: str) -> str:
    return told(column)[0].replace("/", "_")


def _frame(path: str, how: Asked) -> tuple[pd.DataFrame, bool]:
    """(the table, whether it has heads) of text, or of a file of columns."""
    kind = kind_of_columns(path)
    if kind is not None:
        return columns_in(path, kind), True
    return table_in(path, how.separator, how.skip)


def _value_columns(path: str, how: Asked) -> Sequence[str | None]:
    """The columns that are values, where there are several: each place has one row.

    Else None: the values are the last column, or the whole table.
    """
    frame, has_heads = _frame(path, how)
    heads = [str(name) for name in frame.columns]
    if not has_heads or len(_wide_heads(heads)[0]) > 1 or not set(how.position or ()) <= set(heads):
        return [None]
    places, others, values = _arranged(frame, how.position, None)
    rest = len(heads) - len(places) - len(others)
    return [None] if rest < 2 or not values else values


def _arranged(
    frame: pd.DataFrame, asked: tuple[str, ...] | None, value: str | None
) -> tuple[list[str], list[str], list[str]]:
    """(columns that say where a value belongs: of positions, others; columns of values)"""
    heads = [str(name) for name in frame.columns if name != value]
    places = _places(frame, heads, asked)
    others = [name for name in heads if name not in places]
    numbers = [name for name in others if frame[name].dtype.kind in "biuf"]
    if places and not frame.duplicated(places).any():
        return places, [], [value] if value else numbers or others
    if not places and numbers and not frame.duplicated(numbers[:1]).any():
        # values along the first column, as of spectra side by side
        if len(numbers) > 1 or value is not None:
            return [], numbers[:1], [value] if value else numbers[1:]
    if value is None:
        return places, [name for name in others if name != heads[-1]], [heads[-1]]
    return places, others, [value]


def _places(frame: pd.DataFrame, heads: Sequence[str], asked: tuple[str, ...] | None) -> list[str]:
    """The columns along which the probe moves."""
    if asked is not None:
        return list(asked)
    found = [name for name in heads if told(name)[0].lower() in _SPATIAL]
    there = [name for name in found if told(name)[0].lower() not in _TIMES]
    # where the probe was once at each place, times are what was measured there
    for names in (there, found):
        if names and not frame.duplicated(names).any():
            return names
    words = [n for n in heads if n not in found and frame[n].dtype.kind not in "biuf"]
    return found + [name for name in words if name != frame.columns[-1]]


def _values(path: str, how: Asked, column: str | None) -> Array:
    return _parsed(path, how, column).values


def _parsed(path: str, how: Asked, values: str | None) -> Table:
    frame, has_heads = _frame(path, how)
    if not has_heads:
        numbers = _numbers(path, frame, list(frame.columns))
        rows, columns = numbers.shape
        axes = (
            axis_of("position", "row", np.arange(rows)),
            axis_of("", "column", np.arange(columns)),
        )
        return Table(numbers, axes, "Unknown", "")
    frame = frame.set_axis([str(name) for name in frame.columns], axis="columns")
    heads = list(frame.columns)
    unknown = [name for name in (*(how.position or ()), values) if name and name not in heads]
    if unknown:
        raise OptionError(
            f"{path!r} has no column {unknown[0]!r}{did_you_mean(unknown[0], heads)}; it has "
            f"{', '.join(heads)}"
        )
    numeric, units = _wide_heads(heads)
    if len(numeric) > 1 and values is None:
        return _wide(path, frame, numeric, units)
    return _long(path, frame, how.position, values)


def _wide_heads(heads: Sequence[str]) -> tuple[dict[str, float], str]:
    """(heads that are numbers, perhaps with units, and the numbers; their units)"""
    matched = {head: _QUANTITY.fullmatch(head) for head in heads}
    found = {head: (float(each[1]), each[2]) for head, each in matched.items() if each is not None}
    units = {unit for _, unit in found.values()}
    if len(units) != 1:
        found = {head: each for head, each in found.items() if not each[1]}
    one = units.pop() if len(units) == 1 else ""
    return {head: value for head, (value, _) in found.items()}, one


def _wide(path: str, frame: pd.DataFrame, heads: dict[str, float], units: str) -> Table:
    numbers = _numbers(path, frame, list(heads))
    axis = axis_of("", "column", np.array(list(heads.values())), units)
    places = [name for name in frame.columns if name not in heads]
    if not places:
        return Table(
            numbers, (axis_of("position", "row", np.arange(len(frame))), axis), "Unknown", ""
        )
    axes, cells, there, labels = folded(path, frame, list(reversed(places)), places)
    out = filled(path, (*there.shape, len(heads)), cells, numbers, there)
    return Table(out, (*axes, axis), "Unknown", "", None if there.all() else there, labels)


def _long(
    path: str, frame: pd.DataFrame, asked: tuple[str, ...] | None, value: str | None
) -> Table:
    if len(frame.columns) == 1:
        value = str(frame.columns[0])
        numbers = _numbers(path, frame, [value])[:, 0]
        return Table(numbers, (axis_of("", "row", np.arange(len(frame))),), *told(value))
    places, others, (value, *_) = _arranged(frame, asked, value)
    # the slowest dimension first: tables name X before Y
    ordered = [*reversed(places), *reversed(others)] if asked is None else [*places, *others]
    axes, cells, there, labels = folded(path, frame, ordered, places)
    out = filled(path, there.shape, cells, _numbers(path, frame, [value])[:, 0], there)
    mask = None
    if not there.all():
        along = tuple(axis for axis, name in enumerate(ordered) if name not in places)
        mask = np.asarray(there.any(axis=along))
        mask = None if mask.all() or not places else mask
    return Table(out, axes, *told(value), mask, labels)


def _numbers(path: str, frame: pd.DataFrame, heads: list[str]) -> Array:
    check_numbers(path, frame, heads)
    part = frame[heads]
    kinds = {part[head].dtype.kind for head in heads}
    # whole numbers stay what they are, larger ones than a float holds included
    return np.asarray(part.to_numpy(), dtype=None if kinds in ({"i"}, {"u"}) else np.float64)


READERS = (
    Reader(
        name="table",
        title="text tables, long, wide or bare (.csv, .tsv, .txt, .dat)",
        extensions=(*_ENDINGS, ".csv.gz", ".csv.zip"),
        claims=_claims,
        read=read,
        is_lazy=False,
        is_general=True,
    ),
    Reader(
        name="parquet",
        title="tables of columns, Parquet and Feather (.parquet, .feather)",
        extensions=(".parquet", ".feather"),
        claims=lambda path, head: kind_of_columns(path) in ("parquet", "feather"),
        read=read_columns,
        requires=("pyarrow",),
        is_lazy=False,
        is_general=True,
    ),
    Reader(
        name="excel",
        title="the first sheet of Excel files (.xlsx)",
        extensions=(".xlsx",),
        claims=lambda path, head: kind_of_columns(path) == "excel",
        read=read_columns,
        requires=("openpyxl",),
        is_lazy=False,
        is_general=True,
    ),
)
