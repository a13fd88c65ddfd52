"""What a labelled array is, in a few lines: as text, and as HTML for notebooks."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from usidx.arrays.columns import columns_along, layout_from, reason_of
from usidx.arrays.labels import Origin, origin_of
from usidx.arrays.roles import ROLES, dims_by_role
from usidx.errors import UsidError
from usidx.model.dimension import Array, Role
from usidx.model.inputs import in_words
from usidx.model.layout import Coordinate, Grid, Layout
from usidx.readers import store_behind
from usidx.stores.base import ResultRecord
from usidx.stores.progress import progress_of

Labelled = xr.DataArray | xr.Dataset

MOST_SUMMED_UP = 10**6


@dataclass(frozen=True)
class Summary:
    """A title, and rows of a word and the lines that belong to it."""

    title: str
    rows: tuple[tuple[str, tuple[str, ...]], ...]

    def __str__(self) -> str:
        width = max(len(name) for name, _ in self.rows)
        lines = [f"<usidx {self.title}>"]
        for name, texts in self.rows:
            heads = [name, *[""] * (len(texts) - 1)]
            lines.extend(f"  {head:<{width}}  {text}" for head, text in zip(heads, texts))
        return "\n".join(lines)

    def html(self) -> str:
        """The same as a table."""
        left = "style='text-align:left;vertical-align:top'"
        rows = "".join(
            f"<tr><th {left}>{html.escape(name)}</th>"
            f"<td {left}>{'<br>'.join(map(html.escape, texts))}</td></tr>"
            for name, texts in self.rows
        )
        return f"<div><b>{html.escape(self.title)}</b><table>{rows}</table></div>"


def summary_of(obj: Labelled) -> Summary:
    """What a DataArray or Dataset is: quantity, dimensions by role, values, where it lives.

    Nothing but the labels, and the result groups in its store, is read.
    """
    rows: list[tuple[str, tuple[str, ...]]] = []
    try:
        for role, dims in zip(ROLES, dims_by_role(obj)):
            rows.append((role, tuple(_side_lines(obj, role, dims))))
    except UsidError as error:
        rows.append(("dimensions", (str(error),)))
    rows.append(("values", tuple(_value_lines(obj))))
    origin = origin_of(obj)
    if origin is None:
        rows.append(("in", ("no store: made in memory, or computed since it was opened",)))
    else:
        rows.extend(_store_rows(obj, origin))
    return Summary(_title(obj), tuple(rows))


def _title(obj: Labelled) -> str:
    name = obj.attrs.get("usid_main") if isinstance(obj, xr.Dataset) else obj.name
    quantity, units = obj.attrs.get("quantity"), obj.attrs.get("units")
    what = f"{quantity} [{units}]" if quantity and units else quantity or "values"
    kind = "compound Main" if isinstance(obj, xr.Dataset) else "Main"
    return f"{kind} {str(name or 'without a name')!r}: {what}"


def _side_lines(obj: Labelled, role: Role, dims: tuple[str, ...]) -> Iterator[str]:
    columns = columns_along(obj, role) if dims == (role,) else []
    if columns:
        reason = reason_of(obj, role)
        yield f"{role}: {obj.sizes[role]} points" + (f", no grid: {reason}" if reason else "")
        for column in columns:
            units = str(column.attrs.get("units", ""))
            # The columns of a 2-D form are worked out when asked for, which is not for a summary.
            small = column.size <= MOST_SUMMED_UP
            extent = _range(column.values, units) if small else _in_units(units)
            yield f"  {column.name}{extent}"
    elif not dims:
        yield "none left"
    else:
        yield from _grid_lines(layout_from(obj, role, dims))


def _grid_lines(layout: Layout) -> Iterator[str]:
    if not isinstance(layout, Grid):
        return
    for each in layout.dimensions:
        yield f"{each.name}: {each.size}{_range(each.values, each.units)}"
    for dependent in layout.dependent:
        yield _dependent_line(dependent)
    if layout.order is not None:
        yield "acquired in another order than row by row (acquisition_order)"


def _dependent_line(each: Coordinate) -> str:
    return f"{each.name}{_range(each.values, each.units)} along {', '.join(each.dims)}"


def _range(values: Array, units: str) -> str:
    """The extent of some values, in their units."""
    unit = f" {units}" if units else ""
    if values.dtype.kind not in "biuf" or not values.size:
        return _in_units(units)
    if values.ndim == 1 and values.size == 1:
        return f"  {values[0]:g}{unit}"
    # A dimension may go down; anything else is shown by its extremes.
    ends = (
        (values[0], values[-1]) if _is_monotonic(values) else (np.nanmin(values), np.nanmax(values))
    )
    return f"  {ends[0]:g} .. {ends[1]:g}{unit}"


def _in_units(units: str) -> str:
    return f" [{units}]" if units else ""


def _is_monotonic(values: Array) -> bool:
    if values.ndim != 1:
        return False
    steps = np.diff(values)
    return bool((steps >= 0).all() or (steps <= 0).all())


def _value_lines(obj: Labelled) -> Iterator[str]:
    variables = [obj] if isinstance(obj, xr.DataArray) else list(obj.data_vars.values())
    size = in_bytes(sum(each.nbytes for each in variables))
    if isinstance(obj, xr.DataArray):
        yield f"{obj.dtype}, {size}, {_held(obj)}"
        return
    yield f"{size} in {len(variables)} fields"
    for each in variables:
        units = each.attrs.get("units")
        # BGlib and others write the units into the names of fields.
        unit = f" [{units}]" if units and str(units) not in str(each.name) else ""
        yield f"  {each.name}{unit}: {each.dtype}, {_held(each)}"


def _held(array: xr.DataArray) -> str:
    if array.chunks is not None:
        count = math.prod(len(sizes) for sizes in array.chunks)
        each = array.dtype.itemsize * math.prod(max(sizes, default=0) for sizes in array.chunks)
        return f"lazy, {count} block{'' if count == 1 else 's'} of up to {in_bytes(each)}"
    return "in memory" if array.variable._in_memory else "lazy, without dask"


def _store_rows(obj: Labelled, origin: Origin) -> Iterator[tuple[str, tuple[str, ...]]]:
    field = "" if origin.field is None else f", field {origin.field!r}"
    yield "in", (f"{origin.store} {origin.main}{field}",)
    try:
        store = store_behind(origin)
        if origin.result is not None:
            record = store.result(origin.result)
            yield "result of", (_result_line(record), *_source_lines(record))
        found = store.results(origin.main)
        if found:
            yield "results", tuple(f"{each.name}: {progress_of(each)}" for each in found)
    except UsidError as error:
        # The store may have gone or changed since; the array is shown all the same.
        yield "store", (f"{type(error).__name__}: {error}",)


def _result_line(record: ResultRecord) -> str:
    parameters = ", ".join(f"{name}={in_words(value)}" for name, value in record.parameters.items())
    version = f", version {record.version}" if record.version else ""
    return f"{record.step}({parameters}){version}: {progress_of(record)}"


def _source_lines(record: ResultRecord) -> Sequence[str]:
    return [f"from {' '.join(part for part in source if part)}" for source in record.sources]


def in_bytes(count: int) -> str:
    """A number of bytes for people.

    Examples
    --------
    >>> in_bytes(640), in_bytes(3 * 2**20)
    ('640 bytes', '3.0 MiB')
    """
    if count < 1024:
        return f"{count} bytes"
    size = float(count)
    for unit in ("KiB", "MiB", "GiB"):
        size /= 1024
        if size < 1024:
            return f"{size:.1f} {unit}"
    return f"{size / 1024:.1f} TiB"
