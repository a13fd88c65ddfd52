"""Grids that the columns of a table span: axes, and the cell of each row."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from usidx.errors import NotUsidError
from usidx.model.dimension import Array
from usidx.readers.base import Axis, position, spectroscopic
from usidx.readers.formats.table_text import is_number

if TYPE_CHECKING:
    import pandas as pd

_TIME = re.compile(r"\d{4}-\d{2}-\d{2}")
# Of a grid, this many cells for each row are no grid.
_MOST_CELLS = 100
# Whole numbers from here on have more than 64 bits.
_LARGEST = 2.0**64


@dataclass(frozen=True)
class Table:
    """What was found of a table.

    Parameters
    ----------
    values : N-D, NaN where the table has no row
    axes : of the values
    quantity, units : of the values
    there : which cells of the positions have a row, where not all have
    labels : texts along axes, by the names of these
    """

    values: Array
    axes: tuple[Axis, ...]
    quantity: str
    units: str
    there: Array | None = None
    labels: dict[str, Array] = field(default_factory=dict)


def folded(
    path: str, frame: pd.DataFrame, ordered: Sequence[str], places: Sequence[str]
) -> tuple[tuple[Axis, ...], tuple[Array, ...], Array, dict[str, Array]]:
    """(axes, cell of each row, which cells have a row, texts along axes) of a grid of columns."""
    axes, cells = [], []
    labels: dict[str, Array] = {}
    for name in ordered:
        label, units = told(name)
        steps, index = _steps(path, frame, name)
        if steps.dtype.kind == "U":
            labels[label], steps = steps, np.arange(len(steps))
        axes.append(axis_of("position" if name in places else "", label, steps, units))
        cells.append(index)
    shape = tuple(axis.dimension.size for axis in axes)
    if math.prod(shape) > _MOST_CELLS * len(frame):
        raise NotUsidError(
            f"the columns {', '.join(ordered)} of {path!r} span {math.prod(shape)} places, of "
            f"which {len(frame)} have a row; say which are places by position=, and which are "
            "values by values="
        )
    count = np.zeros(shape, np.int64)
    np.add.at(count, tuple(cells), 1)
    if (count > 1).any():
        place = np.argwhere(count > 1)[0]
        at = ", ".join(
            f"{axis.dimension.name}={labels.get(axis.dimension.name, axis.dimension.values)[n]}"
            for axis, n in zip(axes, place)
        )
        raise NotUsidError(
            f"{path!r} has {int(count[tuple(place)])} rows at {at}; each place may have one. Take "
            "means of them first, as by pandas' groupby"
        )
    return tuple(axes), tuple(cells), count > 0, labels


def _steps(path: str, frame: pd.DataFrame, name: str) -> tuple[Array, Array]:
    """(values along an axis, which of them each row has); text as it is, times as they are."""
    column = frame[name]
    if column.isna().any():
        raise NotUsidError(
            f"row {int(np.argmax(column.isna()))} of {path!r} has nothing in column {name!r}, "
            "which says where its value belongs"
        )
    if column.dtype.kind == "M" or column.dtype.kind in "biuf":
        steps, index = np.unique(column.to_numpy(), return_inverse=True)
        return _joined(steps, index) if steps.dtype.kind == "f" else (steps, index)
    check_numbers(path, frame, [name], or_texts=True)
    texts = column.astype(str).to_numpy(str)
    times = _times(texts)
    if times is not None:
        return np.unique(times, return_inverse=True)
    _, first = np.unique(texts, return_index=True)
    order = texts[np.sort(first)]  # as they come in the file
    ranks = np.argsort(order)
    return order, ranks[np.searchsorted(order, texts, sorter=ranks)]


def _joined(steps: Array, index: Array) -> tuple[Array, Array]:
    """Steps of which none is as good as another: 0.1 + 0.2 is 0.3."""
    near = np.diff(steps) <= 8 * np.spacing(np.abs(steps).max())
    if not near.any():
        return steps, index
    groups = np.concatenate(([0], np.cumsum(~near)))
    return steps[np.concatenate(([True], ~near))], groups[index]


def _times(texts: Array) -> Array | None:
    """Dates, with or without times of day, of which every text is one; else None."""
    import pandas as pd

    if not all(_TIME.match(each) for each in texts):
        return None
    try:
        return np.asarray(pd.to_datetime(texts, format="ISO8601").as_unit("ns").to_numpy())
    except (ValueError, AttributeError):  # something else behind it, or zones that differ
        return None


def filled(
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


def axis_of(role: str, name: str, values: Array, units: str = "") -> Axis:
    make = position if role == "position" else spectroscopic
    return make(name, units, values)


def told(head: str) -> tuple[str, str]:
    """("Current", "nA") for "Current [nA]" and "Current (nA)"."""
    for opening, closing in ("[]", "()"):
        if head.endswith(closing) and opening in head:
            name, _, units = head[:-1].rpartition(opening)
            return name.strip() or head, units.strip()
    return head, ""


def check_numbers(
    path: str, frame: pd.DataFrame, heads: Sequence[str], or_texts: bool = False
) -> None:
    """Nothing, where columns hold numbers; with `or_texts` also where no cell is one.

    Raises
    ------
    NotUsidError : naming the first cell that is no number
    """
    wrong = [head for head in heads if frame[head].dtype.kind not in "biuf"]
    if wrong and not (or_texts and not any(map(is_number, frame[wrong[0]]))):
        cells = [str(each) for each in frame[wrong[0]]]
        fits = [is_number(each) and abs(float(each)) < _LARGEST for each in cells]
        at = fits.index(False) if False in fits else 0
        cell = cells[at]
        raise NotUsidError(
            f"row {at} of {path!r} has {cell!r} in column {str(wrong[0])!r}, where numbers "
            "are expected; it is cut short, or a column of text: leave it out"
        )
