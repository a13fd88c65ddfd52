"""Frames that are counted, by their names or by their order, as the scan went along."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from usidx.errors import LayoutError, OptionError
from usidx.model.dimension import Array
from usidx.stacking.listing import Listing
from usidx.stacking.options import FrameOptions
from usidx.stacking.placing import Axis, Placed, place_counted


def by_count(
    listing: Listing,
    numbers: list[int] | None,
    per_file: int,
    sizes: dict[str, Any],
    options: FrameOptions,
) -> Placed:
    """Frames that are counted by their names, or by their order."""
    names = list(sizes) if options.dims is None else list(options.dims)
    places, start, step = _from_zero(listing, numbers, options.first)
    if not sizes:
        return _in_a_row(places, start, step, per_file, names, options)
    if sorted(names) != sorted(sizes):
        raise OptionError(f"dims={tuple(names)} must name {', '.join(sizes)}, each once")
    shape = tuple(n if isinstance(n, int) else len(n) for n in (sizes[name] for name in names))
    if any(size < 1 for size in shape):
        raise OptionError(f"sizes={sizes} must be 1 or more")
    cells, files = int(np.prod(shape)), len(listing.names)
    # Files of several frames each fill the grid, or have a dimension of their own for these.
    inside = per_file if cells != files and cells % per_file == 0 else 1
    short = int(places.max() + 1) * inside < cells
    if short and options.missing != "error":
        _check_told(start, step, cells, options)
    snake = options.order == "snake"
    placed = place_counted(places, inside, names, shape, snake=snake)
    axes = tuple(
        axis if isinstance(sizes[axis.name], int) else Axis(axis.name, np.asarray(sizes[axis.name]))
        for axis in placed.axes
    )
    placed = replace(placed, axes=axes)
    return placed if inside == per_file else paged(placed, per_file, options.pages)


def _check_told(start: int | None, step: int, cells: int, options: FrameOptions) -> None:
    """Refuse to guess which frames are missing, where their numbers leave it open."""
    if start not in (None, 0) and options.first is None:
        raise LayoutError(
            f"the names count from {start}, and there are fewer than {cells}: whether the first or "
            f"the last are missing, names do not say; pass first={start}, or the number that the "
            "first of all has"
        )
    if step > 1:
        raise LayoutError(
            f"the names count in steps of {step}, and there are fewer than {cells}: whether those "
            "between or the last are missing, names do not say; rename them, or give positions=..."
        )


def _in_a_row(
    places: Array,
    start: int | None,
    step: int,
    per_file: int,
    names: Sequence[str],
    options: FrameOptions,
) -> Placed:
    if len(names) > 1:
        raise OptionError(
            f"dims={tuple(names)} needs sizes, as in sizes={{{names[0]!r}: 3, ...}}, or a pattern "
            "that finds each of them in the names"
        )
    if options.order == "snake":
        raise OptionError("order='snake' needs sizes, as in sizes={'Y': 3, 'X': 4}")
    if len(places) == 1 and per_file > 1 and not names:
        # One file is no scan of files, but of what is in it.
        axis = Axis(options.pages, np.arange(per_file))
        return Placed((axis,), np.arange(per_file)[:, None], np.arange(per_file))
    values = np.arange(int(places.max()) + 1) * step + (start or 0)
    axis = Axis(names[0] if names else "frame", values)
    placed = Placed((axis,), places[:, None], np.arange(len(places)))
    return paged(placed, per_file, options.pages)


def _from_zero(
    listing: Listing, numbers: list[int] | None, first: int | None
) -> tuple[Array, int | None, int]:
    """(the count of each file from 0 on, the number that is 0, their step)."""
    if numbers is None:
        return np.arange(len(listing.names)), None, 1
    found = np.array(numbers, dtype=np.int64)
    start = int(found.min()) if first is None else first
    if found.min() < start:
        raise OptionError(f"first={first}, but {listing.names[int(found.argmin())]!r} is before it")
    distinct, counts = np.unique(found, return_counts=True)
    if counts.max() > 1:
        those = np.flatnonzero(found == distinct[counts.argmax()])[:2]
        raise LayoutError(
            f"{' and '.join(repr(listing.names[n]) for n in those)} have the same number, "
            f"{distinct[counts.argmax()]}; leave one out"
        )
    step = int(np.gcd.reduce(np.append(np.diff(distinct), distinct[0] - start))) or 1
    return (found - start) // step, start, step


def paged(placed: Placed, per_file: int, name: str) -> Placed:
    """The same with one more dimension, the fastest, for the frames within each file."""
    if per_file == 1:
        return placed
    if name in [axis.name for axis in placed.axes]:
        raise OptionError(
            f"each file has {per_file} frames, whose dimension cannot be called {name!r} as well; "
            "pass another name with pages=..."
        )
    pages = np.arange(per_file)
    places = np.repeat(placed.places, per_file, axis=0)
    places = np.column_stack([places, np.tile(pages, len(placed.places))])
    frames = placed.frames[:, None] * per_file + pages
    frames[placed.frames < 0] = -1
    order = placed.order
    if order is not None:
        order = (order[:, None] * per_file + pages).reshape(-1)
    return Placed((*placed.axes, Axis(name, pages)), places, frames.reshape(-1), order)
