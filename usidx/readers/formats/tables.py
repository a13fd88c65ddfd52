"""Text tables (.csv, .tsv, .txt, .dat): long form, wide form, and bare matrices.

In long form each row is one value, and its other columns say where it belongs; where each place has
one row, all other columns are values, each a Main. In wide form each row is a spectrum whose axis
is the heads of its columns. A matrix has numbers alone. Tables are read as a whole, since their
rows may come in any order.
"""

from __future__ import annotations

import csv
import functools
import os
import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from usidx.errors import DamagedStoreError, NotUsidError, OptionError, did_you_mean
from usidx.model.dimension import Array
from usidx.model.layout import Coordinate
from usidx.readers.base import Axis, Foreign, Reader, position, spectroscopic
from usidx.readers.raw import FileIdentity, LoadedArray

if TYPE_CHECKING:
    import pandas as pd

_ENDINGS = (".csv", ".tsv", ".txt", ".dat")
_SPATIAL = ("x", "y", "z", "row", "column", "position", "t", "time")
_SEPARATORS = (",", "\t", ";", None)
# Bytes at the end of a file by which one that was cut short is known.
_TAIL = 2**16


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
        return any(map(_is_number, cells[1]))
    separator = next((each for each in (b";", b"\t", b",") if each in lines[1]), None)
    if separator is not None:
        comma = b"," if separator == b"," else b"."
        cells = [line.replace(b",", comma).split(separator) for line in lines[:4]]
    # the last line of the head may be cut
    rows = cells[1:3] if len(lines) > 3 else cells[1:2]
    return len(cells[0]) > 1 and all(
        len(row) == len(cells[0]) and all(map(_is_number, row)) for row in rows
    )


def _is_number(cell: Any) -> bool:
    try:
        float(cell)
    except (TypeError, ValueError):
        return False
    return True


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
    _check_end(path)
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
    frame, has_heads = _frame(path, separator)
    heads = [str(name) for name in frame.columns]
    if not has_heads or sum(map(_is_number, heads)) > 1:
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
    frame, has_heads = _frame(path, separator)
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
    numeric = [name for name in heads if _is_number(name)]
    if len(numeric) > 1 and values is None:
        return _wide(path, frame, [name for name in heads if name not in numeric], numeric)
    return _long(path, frame, asked, values or heads[-1])


def _frame(path: str, separator: str | None) -> tuple[pd.DataFrame, bool]:
    """(the table, whether its first line is heads)."""
    import pandas as pd

    tried = [separator] if separator is not None else list(_SEPARATORS)
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        first = next((line for line in file if line.strip() and not line.startswith("#")), "")
    for each in tried:
        cells = [cell.strip() for cell in first.split(each)]
        if len(cells) > 1:
            break
    # numbers with a comma, as several languages write them, are separated by something else
    comma = each != "," and _has_commas(path)
    has_heads = not all(_is_number(cell.replace(",", ".") if comma else cell) for cell in cells)
    _check_rows(path, each, len(cells))
    try:
        frame = pd.read_csv(
            path,
            sep=each if each is not None else r"\s+",
            header=0 if has_heads else None,
            comment="#",
            encoding="utf-8-sig",
            skipinitialspace=True,
            decimal="," if comma else ".",
        )
    except (ValueError, UnicodeError) as error:  # all that pandas raises for a broken table
        raise DamagedStoreError(f"{path!r} cannot be read as a table ({error})") from error
    if frame.empty:
        raise NotUsidError(f"{path!r} is a table without rows")
    return frame, has_heads


def _has_commas(path: str) -> bool:
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        head = file.read(8192)
    return re.search(r"\d,\d", head) is not None and re.search(r"\d\.\d", head) is None


def _check_rows(path: str, separator: str | None, count: int) -> None:
    """Nothing, where every row has a cell for each column; pandas would put NaN in their place.

    Raises
    ------
    DamagedStoreError : naming the first row that has not
    """
    with open(path, encoding="utf-8-sig", errors="replace", newline="") as file:
        lines = (line for line in file if line.strip() and not line.startswith("#"))
        rows: Iterable[Sequence[str]]
        if separator is None:
            rows = (line.partition("#")[0].split() for line in lines)
        else:
            rows = csv.reader(lines, delimiter=separator, skipinitialspace=True)
        for number, row in enumerate(rows):
            if len(row) < count:
                raise DamagedStoreError(
                    f"row {number} of {path!r} has {len(row)} cells, and the first has {count}; it "
                    "is cut short, or its separator is another: give separator="
                )


def _check_end(path: str) -> None:
    """Say that the last number of a table may be cut short, where no end of line comes behind it.

    Raises
    ------
    DamagedStoreError : where it has fewer digits than all numbers above it
    """
    with open(path, "rb") as file:
        file.seek(max(0, os.path.getsize(path) - _TAIL))
        lines = file.read().rstrip(b" \t").splitlines(keepends=True)[1:]
    if not lines or lines[-1].endswith((b"\n", b"\r")):
        return
    cells = [re.split(rb"[,;\s]", line.strip())[-1] for line in lines]
    *above, last = [len(cell.partition(b".")[2]) for cell in cells if cell]
    if len(above) > 1 and len(set(above)) == 1 and last < above[0]:
        raise DamagedStoreError(
            f"the last number of {path!r}, {cells[-1].decode(errors='replace')!r}, has fewer "
            "digits than those above it, and no end of line; the file is cut short"
        )
    warnings.warn(
        f"the last line of {path!r} has no end; where the file was cut short, its last number may "
        "be another",
        stacklevel=2,
    )


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
        at, cell = next((pair for pair in enumerate(cells) if not _is_number(pair[1])), (0, ""))
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
