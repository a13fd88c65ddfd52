"""Frames in their places as a labelled Main."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from usidx.arrays.lazy import resolve_chunks, to_dask
from usidx.arrays.making import from_array
from usidx.errors import OptionError
from usidx.model.blocks import block_shape
from usidx.model.dimension import Array, Dimension
from usidx.model.layout import Coordinate, Grid, Points
from usidx.stacking.array import FrameArray
from usidx.stacking.options import FrameOptions, Report, check_known
from usidx.stacking.placing import Placed
from usidx.stacking.portable import called

FRAME_DIMS = {1: ("u",), 2: ("v", "u"), 3: ("v", "u", "channel")}
REPORT = "usid_stack"
MASK = "measured"
_MOST_TOLD = 20
# Filters need several times what a block has, in every thread.
_BLOCK_BYTES = 16 * 2**20


def labelled(
    array: FrameArray,
    placed: Placed,
    table: Array | None,
    options: FrameOptions,
    report: Report,
) -> xr.DataArray:
    names = _frame_names(array.frame, options.frame_dims)
    check_known("units", options.units, [*(axis.name for axis in placed.axes), *names])
    check_known("spacing", options.spacing, [*(axis.name for axis in placed.axes), *names])
    frame = [
        Dimension(name, options.units.get(name, ""), _spaced(name, np.arange(size), options))
        for name, size in zip(names, array.frame)
    ]
    position = _points(placed, options) if table is None else _grid(placed, options)
    dims = (*position.dims, *names)
    suited = block_shape(array.shape, array.cells.ndim, array.dtype.itemsize, budget=_BLOCK_BYTES)
    chunks = resolve_chunks(options.chunks, dims, array.shape, array.dtype, suited)
    main = from_array(
        to_dask(array, chunks, name="stack"),
        options.quantity,
        options.value_units,
        position=position,
        spectroscopic=frame,
        name=options.name,
        attrs=_attrs(report, options),
    )
    if table is not None and (table < 0).any():
        told = {"long_name": "whether there is a frame", "units": ""}
        main = main.assign_coords({MASK: (position.dims, table >= 0, told)})
    main.encoding[REPORT] = report
    return main


def _frame_names(frame: tuple[int, ...], given: Sequence[str] | None) -> tuple[str, ...]:
    if given is None:
        return FRAME_DIMS.get(len(frame)) or tuple(f"axis_{n}" for n in range(len(frame)))
    if isinstance(given, str) or len(given) != len(frame):
        raise OptionError(
            f"frame_dims={given!r} must name the {len(frame)} axes of a frame of {frame}"
        )
    return tuple(given)


def _grid(placed: Placed, options: FrameOptions) -> Grid:
    dimensions = tuple(
        Dimension(
            axis.name, options.units.get(axis.name, ""), _spaced(axis.name, axis.values, options)
        )
        for axis in placed.axes
    )
    order = placed.order
    if order is not None and np.array_equal(order, np.arange(order.size)):
        order = None
    return Grid("position", dimensions, (), order)


def _points(placed: Placed, options: FrameOptions) -> Points:
    """The frames that there are, as a list."""
    there = placed.there()
    columns = []
    for number, axis in enumerate(placed.axes):
        places = placed.places[there, number]
        values = _spaced(axis.name, axis.values, options)[places]
        units = options.units.get(axis.name, "")
        columns.append(Coordinate(axis.name, units, ("position",), values, places))
    return Points("position", tuple(columns), f"there are {there.size} frames, and no full grid")


def _spaced(name: str, values: Array, options: FrameOptions) -> Array:
    """The coordinates along a dimension: the values that were found, or evenly spaced ones."""
    spacing = options.spacing.get(name)
    if spacing is None or values.dtype.kind == "f" and np.ndim(spacing) == 0:
        return values  # measured positions were taken to their spacing before
    counts = np.arange(values.size)
    if values.dtype.kind == "i" and values.size > 1:
        counts = (values - values[0]) // max(1, int(np.gcd.reduce(np.abs(np.diff(values)))))
    if isinstance(spacing, tuple) and len(spacing) == 2:
        return np.asarray(spacing[0] + spacing[1] * counts)
    if np.ndim(spacing) == 0:
        return np.asarray(spacing * counts)
    given = np.asarray(spacing)
    if given.shape != values.shape:
        raise OptionError(
            f"spacing[{name!r}] has {given.size} values, {name} has {values.size}; give a number, "
            "(start, step), or a list of all values"
        )
    return given


def _attrs(report: Report, options: FrameOptions) -> dict[str, Any]:
    attrs: dict[str, Any] = {"stack_folder": report.folder, "stack_files": report.files}
    if report.missing:
        attrs["stack_missing"] = report.missing
    if options.preprocess is not None:
        attrs["stack_preprocess"] = called(options.preprocess)
    if report.left_out:
        attrs["stack_left_out"] = report.lines()[:_MOST_TOLD]
    return attrs
