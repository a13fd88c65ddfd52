"""A folder of frames as one lazy Main."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from usidx.arrays.views import with_nan
from usidx.errors import LayoutError, OptionError, UsidError
from usidx.model.dimension import Array
from usidx.stacking.array import FrameArray, check_alike, preprocessed, worded
from usidx.stacking.counting import by_count, paged
from usidx.stacking.labelling import REPORT, labelled
from usidx.stacking.listing import Listing, Path, listed
from usidx.stacking.naming import Named, by_metadata, by_pattern, by_table, counted
from usidx.stacking.options import Check, FrameOptions, Report, sizes_of, warn_of
from usidx.stacking.placing import Placed, check_whole, cut_short, place_named
from usidx.stacking.portable import Portable
from usidx.stacking.readers import opened, reader_of

Kind = tuple[tuple[int, ...], str, int]
_SAMPLE = 8


def stack_frames(paths: Path | Iterable[Path], options: FrameOptions) -> xr.DataArray:
    """A lazy Main of the frames in a folder; see `usidx.stack`."""
    listing = listed(paths)
    reader = reader_of(listing.path(0))
    named = _named(listing, reader, options)
    listing = listing if named is None else named.listing
    kind = _learned(listing, reader, options.check)
    sizes = sizes_of(options)
    if named is not None and not _counts(named, sizes):
        placed = paged(
            place_named(
                named, options.dims, sizes, options.spacing, snake=options.order == "snake"
            ),
            kind[2],
            options.pages,
        )
    else:
        numbers = counted(listing) if named is None else _numbers(named)
        placed = by_count(listing, numbers, kind[2], sizes, options)
    table = placed.table() if options.missing != "drop" or _is_grid(placed) else None
    if options.missing == "cut" and table is not None:
        placed, table = cut_short(placed, table)
    if options.missing == "error" and table is not None:
        check_whole(placed, table)
    array = _frame_array(listing, reader, kind, placed, table, options)
    there = placed.frames[placed.frames >= 0]
    lost = int(np.prod(placed.shape, dtype=float)) - there.size
    files = np.unique(there // kind[2]).size
    report = Report(listing.folder, files, max(0, lost), dict(listing.strangers))
    units = {**({} if named is None else named.units), **options.units}
    main = labelled(array, placed, table, replace(options, units=units), report)
    warn_of(report)
    return main


def report_of(stacked: xr.DataArray) -> Report | None:
    """What became of the files of a folder; None for an array that no `stack` gave."""
    found = stacked.encoding.get(REPORT)
    return found if isinstance(found, Report) else None


def _named(listing: Listing, reader: str, options: FrameOptions) -> Named | None:
    if options.pattern is not None:
        return by_pattern(listing, options.pattern)
    if options.positions is not None:
        return by_table(listing, options.positions)
    if options.metadata is not None:
        return by_metadata(listing, reader, options.metadata)
    return None


def _counts(named: Named, sizes: Mapping[str, Any]) -> bool:
    """Whether the one number that is known of each frame counts through the sizes."""
    return len(named.columns) == 1 and bool(sizes) and not set(named.columns) & set(sizes)


def _numbers(named: Named) -> list[int]:
    name, texts = next(iter(named.columns.items()))
    try:
        return [int(each) for each in texts]
    except ValueError as error:
        raise OptionError(
            f"{name!r} counts the frames through the sizes, but it is not a number everywhere: "
            f"{error}"
        ) from error


def _learned(listing: Listing, reader: str, check: Check) -> Kind:
    """Shape, dtype and number of the frames of each file, by the first and some others.

    Raises
    ------
    LayoutError : where one of those differs; with check="all" naming all that do
    """
    with opened(listing.path(0), reader) as frames:
        kind = frames.kind
    last = len(listing.names) - 1
    if not kind[2]:
        raise LayoutError(f"{listing.path(0)!r} has no frame in it")
    if check == "first" or not last:
        return kind
    some: Iterable[int] = range(1, last + 1)
    if check == "sample":
        some = sorted(set(np.linspace(0, last, _SAMPLE).astype(int).tolist()) - {0})
    strange: list[str] = []
    failed: list[UsidError] = []
    for number in some:
        try:
            with opened(listing.path(number), reader) as frames:
                found = frames.kind
        except UsidError as error:
            if check == "sample":
                raise
            failed.append(error)
            strange.append(f"{listing.names[number]!r} (not read: {error})")
            continue
        if found == kind:
            continue
        if check == "sample":
            check_alike(listing.path(number), found, kind)
        strange.append(f"{listing.names[number]!r} ({worded(found)})")
    if len(strange) == len(failed) == 1:
        raise failed[0]
    if strange:
        more = f" and {len(strange) - 5} more" if len(strange) > 5 else ""
        raise LayoutError(
            f"{len(strange)} of {last + 1} files in {listing.folder!r} are not like the first, "
            f"which has {worded(kind)}: {', '.join(strange[:5])}{more}; leave them out"
        )
    return kind


def _is_grid(placed: Placed) -> bool:
    return bool(np.prod(placed.shape, dtype=float) == (placed.frames >= 0).sum())


def _frame_array(
    listing: Listing,
    reader: str,
    kind: Kind,
    placed: Placed,
    table: Array | None,
    options: FrameOptions,
) -> FrameArray:
    cells = placed.frames[placed.there()] if table is None else table
    names = np.array([os.fsencode(name) for name in listing.names])
    preprocess = None if options.preprocess is None else Portable(options.preprocess)
    array = FrameArray(
        listing.folder, names, listing.stats, reader, kind, cells, kind[0], np.dtype(kind[1]),
        preprocess,
    )  # fmt: skip
    if preprocess is not None:
        path = listing.path(0)
        with opened(path, reader) as frames:
            sample = preprocessed(preprocess, frames.read(0), path)
        if sample.dtype.kind not in "biufc" or not sample.ndim:
            raise OptionError(
                f"preprocess made {sample.dtype} of shape {sample.shape} of a frame, where an "
                "array of numbers is needed"
            )
        array = replace(array, frame=sample.shape, dtype=sample.dtype.newbyteorder("="))
    if (cells < 0).any():
        array = replace(array, dtype=with_nan(array.dtype))
    return array
