"""Text tables (.csv, .tsv, .txt, .dat): long form, wide form, and bare matrices.

In long form each row is one value, and its other columns say where it belongs; where each place has
one row, all other columns are values, each a Main. In wide form each row is a spectrum whose axis
is the heads of its columns. A matrix has numbers alone. Tables are read as a whole, since their
rows may come in any order.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from usidx.errors import NotUsidError, OptionError, did_you_mean
from usidx.model.dimension import Array
from usidx.model.layout import Coordinate
from usidx.readers.base import Axis, Foreign, Reader, position, spectroscopic
from usidx.readers.formats.table_text import check_end, is_number, table_in
from usidx.readers.raw import FileIdentity, LoadedArray

if TYPE_CHECKING:
    import pandas as pd

_ENDINGS = (".csv", ".tsv", ".txt", ".dat")
_SPATIAL = ("x", "y", "z", "row", "column", "position", "t", "time")


@dataclass(frozen=True)
class Table:
    """What was found of a table.

    Parameters
    ----------
    values : N-D, NaN where the table has no row
    axes : of the values
    quantity, units : of the values
    there : which cells of the positions have a row, where not all have
    """

    values: Array
    axes: tuple[Axis, ...]
    quantity: str
    units: str
    there: Array | None = None


def _claims(path: str, head: bytes) -> bool:
    """Whether lines are numbers: some in a .csv and the like, in other files all of them."""
    lines = [line for line in head.splitlines() if line.strip() and not line.startswith(b"#")]
    if b"\0" in head or len(lines) < 2:
        return False
    cells = [line.replace(b",", b" ").replace(b";", b" ").split() for line in lines[:4]]
    if path.lower().endswith(_ENDINGS):
        return any(map(is_number, cells[1]))
    separator = next((each for each in (b";", b"\t", b",") if each in lines[1]), None)
    if separator is not None:
        comma = b"," if separator == b"," else b"."
        cells = [line.replace(b",", comma).split(separator) for line in lines[:4]]
    # the last line of the head may be cut
    rows = cells[1:3] if len(lines) > 3 else cells[1:2]
    return len(cells[0]) > 1 and all(
        len(row) == len(cells[0]) and all(map(is_number, row)) for row in rows
    )


def read(
    path: str,
    *,
    position: Sequence[str] | str | None = None,
    values: str | None = None,
    separator: str | None = None,
) -> Sequence[Foreign]:
    """The table in a file.

    Parameters
    ----------
    position : columns along which the probe moves; in long form those called X, Y, Z, ... when None
    values : the column of values in long form; when None the last one, or, where each place has one
        row, all that are no places
    separator : between cells; found out when None
    """
    check_end(path)
    asked = (
        None if position is None else [position] if isinstance(position, str) else list(position)
    )
    how = (tuple(asked) if asked is not None else None, separator)
    found = []
    for column in _value_columns(path, *how) if values is None else [values]:
        table = _parsed(path, how[0], column, separator)
        dims = tuple(axis.dimension.name for axis in table.axes if axis.role == "position")
        mask: tuple[Coordinate, ...] = ()
        if table.there is not None:
            mask = (Coordinate("measured", "", dims, table.there.astype(np.uint8)),)
        shape, dtype = table.values.shape, table.values.dtype
        token = (path, FileIdentity.of(path), asked, column, separator)
        load = functools.partial(_values, path, how[0], column, separator)
        name = os.path.splitext(os.path.basename(path))[0]
        found.append(
            Foreign(
                name=name if column is None or values is not None else _name(column),
                array=LoadedArray(load, shape, dtype, token),
                axes=table.axes,
                quantity=table.quantity,
                units=table.units,
                chunks=shape,
                coordinates=mask,
            )
        )
    return found


def _name(column: str) -> str:
    return _told(column)[0].replace("/", "_")


def _value_columns(
    path: str, asked: tuple[str, ...] | None, separator: str | None
) -> Sequence[str | None]:
    """The columns that are values, where there are several: every place has one row in long form.

    Else None: the values are the last column, or the whole table.
    """
    frame, has_heads = table_in(path, separator)
    heads = [str(name) for name in frame.columns]
    if not has_heads or sum(map(is_number, heads)) > 1:
        return [None]
    places = _places(heads, asked)
    others = [name for name in heads if name not in places]
    if not places or len(others) < 2 or not set(places) <= set(heads):
        return [None]
    others = [name for name in others if frame[name].dtype.kind in "biuf"]
    return [None] if frame.duplicated(places).any() or not others else others


def _places(heads: Sequence[str], asked: tuple[str, ...] | None) -> list[str]:
    """The columns along which the probe moves."""
    if asked is not None:
        return list(asked)
    return [name for name in heads if _told(name)[0].lower() in _SPATIAL]


def _values(*arguments: Any) -> Array:
    return _parsed(*arguments).values


def _parsed(
    path: str, asked: tuple[str, ...] | None, values: str | None, separator: str | None
) -> Table:
    frame, has_heads = table_in(path, separator)
    if not has_heads:
        numbers = _numbers(path, frame, list(frame.columns))
        rows, columns = numbers.shape
        axes = (_axis("position", "row", np.arange(rows)), _axis("", "column", np.arange(columns)))
        return Table(numbers, axes, "Unknown", "")
    heads = [str(name) for name in frame.columns]
    unknown = [
        name for name in (*(asked or ()), *([values] if values else ())) if name not in heads
    ]
    if unknown:
        raise OptionError(
            f"{path!r} has no column {unknown[0]!r}{did_you_mean(unknown[0], heads)}; it has "
            f"{', '.join(heads)}"
        )
    numeric = [name for name in heads if is_number(name)]
    if len(numeric) > 1 and values is None:
        return _wide(path, frame, [name for name in heads if name not in numeric], numeric)
    return _long(path, frame, asked, values or heads[-1])


def _wide(path: str, frame: pd.DataFrame, places: list[str], heads: list[str]) -> Table:
    numbers = _numbers(path, frame, heads)
    axis = _axis("", "column", np.array([float(head) for head in heads]))
    if not places:
        return Table(
            numbers, (_axis("position", "row", np.arange(len(frame))), axis), "Unknown", ""
        )
    columns = {name: _numbers(path, frame, [name])[:, 0] for name in places}
    axes, cells, there = _folded(path, columns, places, "position")
    out = _filled(path, (*there.shape, len(heads)), cells, numbers, there)
    return Table(out, (*axes, axis), "Unknown", "", None if there.all() else there)


def _long(path: str, frame: pd.DataFrame, asked: tuple[str, ...] | None, values: str) -> Table:
    heads = [str(name) for name in frame.columns if name != values]
    if not heads:
        numbers = _numbers(path, frame, [values])[:, 0]
        return Table(numbers, (_axis("", "row", np.arange(len(frame))),), *_told(values))
    places = _places(heads, asked)
    others = [name for name in heads if name not in places]
    if places and not frame.duplicated(places).any():
        others = []  # other values at the same places
    # the slowest dimension first: tables name X before Y
    ordered = [*reversed(places), *reversed(others)] if asked is None else [*places, *others]
    columns = {name: _numbers(path, frame, [name])[:, 0] for name in ordered}
    axes, cells, there = _folded(path, columns, places, "")
    out = _filled(path, there.shape, cells, _numbers(path, frame, [values])[:, 0], there)
    mask = None
    if not there.all():
        along = tuple(axis for axis, name in enumerate(ordered) if name not in places)
        mask = np.asarray(there.any(axis=along))
        mask = None if mask.all() or not places else mask
    return Table(out, axes, *_told(values), mask)


def _folded(
    path: str, columns: dict[str, Array], places: list[str], otherwise: str
) -> tuple[tuple[Axis, ...], tuple[Array, ...], Array]:
    """(axes, cell of each row, which cells have a row) of the grid that columns span."""
    if otherwise == "position":
        columns = dict(reversed(columns.items()))
    axes, cells = [], []
    for name, values in columns.items():
        steps, index = np.unique(values, return_inverse=True)
        label, units = _told(name)
        role = "position" if name in places or otherwise == "position" else ""
        axes.append(_axis(role, label, steps, units))
        cells.append(index)
    shape = tuple(axis.dimension.size for axis in axes)
    count = np.zeros(shape, np.int64)
    np.add.at(count, tuple(cells), 1)
    if (count > 1).any():
        place = np.argwhere(count > 1)[0]
        at = ", ".join(
            f"{axis.dimension.name}={axis.dimension.values[n]:g}" for axis, n in zip(axes, place)
        )
        raise NotUsidError(
            f"{path!r} has {int(count[tuple(place)])} rows at {at}; each place may have one"
        )
    return tuple(axes), tuple(cells), count > 0


def _filled(
    path: str, shape: tuple[int, ...], cells: tuple[Array, ...], values: Array, there: Array
) -> Array:
    """Values in their cells; where some have none, NaN, for which whole numbers become floats."""
    if there.all():
        out = np.empty(shape, values.dtype)
    else:
        if values.dtype.kind in "iu" and values.size and np.abs(values).max() > 2**53:
            raise NotUsidError(
                f"{path!r} has places without a row, and whole numbers over 2**53 that a float "
                "beside NaN would change; fill the places, or leave the numbers out"
            )
        out = np.full(shape, np.nan, values.dtype if values.dtype.kind == "f" else np.float64)
    out[cells] = values
    return out


def _axis(role: str, name: str, values: Array, units: str = "") -> Axis:
    make = position if role == "position" else spectroscopic
    return make(name, units, values)


def _told(head: str) -> tuple[str, str]:
    """("Current", "nA") for "Current [nA]" and "Current (nA)"."""
    for opening, closing in ("[]", "()"):
        if head.endswith(closing) and opening in head:
            name, _, units = head[:-1].rpartition(opening)
            return name.strip() or head, units.strip()
    return head, ""


def _numbers(path: str, frame: pd.DataFrame, heads: list[str]) -> Array:
    part = frame[heads]
    wrong = [head for head in heads if part[head].dtype.kind not in "biuf"]
    if wrong:
        cells = part[wrong[0]]
        at, cell = next((pair for pair in enumerate(cells) if not is_number(pair[1])), (0, ""))
        raise NotUsidError(
            f"row {at} of {path!r} has {str(cell)!r} in column {str(wrong[0])!r}, where numbers "
            "are expected; it is cut short, or a column of text: leave it out"
        )
    kinds = {part[head].dtype.kind for head in heads}
    # whole numbers stay what they are, larger ones than a float holds included
    return np.asarray(part.to_numpy(), dtype=None if kinds in ({"i"}, {"u"}) else np.float64)


READERS = (
    Reader(
        name="table",
        title="text tables, long, wide or bare (.csv, .tsv, .txt, .dat)",
        extensions=_ENDINGS,
        claims=_claims,
        read=read,
        is_lazy=False,
        is_general=True,
    ),
)
