"""Copy selected values of a stored array into memory: by their offset, or through HDF5."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, BinaryIO

import h5py
import numpy as np

from usidx.errors import DamagedStoreError
from usidx.model.dimension import Array
from usidx.stores import disk
from usidx.stores.hdf5.objects.filters import require_filters
from usidx.stores.hdf5.objects.place import Place
from usidx.stores.hdf5.values.chunked import Chunks
from usidx.stores.hdf5.values.mapped import mapped
from usidx.stores.hdf5.values.selection import (
    Comb,
    Fold,
    Ranges,
    Selection,
    as_rows,
    run_of,
    runs_of,
    stored_rows,
    tail_of,
)

# Runs of at least this many bytes are read one by one; shorter ones are copied out of a mapping.
_LONG_RUN = 32 * 2**10
# One read by offset takes this much where one field is to be picked out of it.
_FIELD_BYTES = 2**20
# One read through HDF5 takes about this much where rows are to be picked out of it.
_BAND_BYTES = 32 * 2**20

Rows = slice | Comb | Array


def copy_by_offset(
    raw: BinaryIO,
    place: Place,
    folds: tuple[Fold, ...],
    selection: Selection,
    field: str | None,
    out: Array,
) -> None:
    """Fill `out` from values that lie in one piece in the file `raw`, opened unbuffered.

    Parameters
    ----------
    out : array, C-contiguous, shape `selection.counts`, not empty
    """
    assert place.offset is not None
    shape = tuple(size for fold in folds for size in fold.shape)
    in_order = all(fold.order is None for fold in folds)
    if in_order:
        run = run_of(selection.ranges, shape)
        if run is not None:
            start = place.offset + run[0] * place.dtype.itemsize
            return read_run(raw, start, place.dtype, field, out.reshape(-1))
        if tail_of(selection.ranges, shape)[1] * place.dtype.itemsize >= _LONG_RUN:
            starts, cells = runs_of(selection.ranges, shape)
            for row, cell in zip(out.reshape(-1, cells), starts.tolist(), strict=True):
                start = place.offset + cell * place.dtype.itemsize
                read_run(raw, start, place.dtype, field, row)
            return None
    whole = mapped(raw, place)
    values = whole if field is None else whole[field]
    if in_order:
        index = tuple(slice(each.start, each.stop, each.step) for each in selection.ranges)
        out[...] = values.reshape(shape)[index]
    else:
        rows = rows_of(selection.ranges, folds)
        _pick(values, rows, out.reshape([_length(each) for each in rows]))
    return None


def read_run(
    raw: BinaryIO, start: int, dtype: np.dtype[Any], field: str | None, out: Array
) -> None:
    """Fill `out`, 1-D and contiguous, with the values from byte `start` on, or one field."""
    if field is None:
        _read_into(raw, start, out)
        return
    step = max(1, _FIELD_BYTES // dtype.itemsize)
    whole = np.empty(min(step, out.size), dtype=dtype)
    for first in range(0, out.size, step):
        part = out[first : first + step]
        _read_into(raw, start + first * dtype.itemsize, whole[: part.size])
        part[...] = whole[: part.size][field]


def _read_into(raw: BinaryIO, start: int, out: Array) -> None:
    """Fill `out`, 1-D and contiguous, with the bytes from `start` on."""
    view = out.view(np.uint8)
    done = disk.read_into(raw.fileno(), view.data, start)
    if done < view.size:
        raise DamagedStoreError(
            f"{raw.name!r} ended {view.size - done} bytes too early: it was cut short while it "
            "was read; get the original again"
        )


def rows_of(ranges: Ranges, folds: Sequence[Fold]) -> list[Rows]:
    """For each axis of the stored array, the rows that the N-D ranges mean."""
    found: list[Rows] = []
    first = 0
    for fold in folds:
        found.append(stored_rows(ranges[first : first + len(fold.shape)], fold))
        first += len(fold.shape)
    return found


def _length(rows: Rows) -> int:
    if isinstance(rows, slice):
        return int(rows.stop - rows.start)
    return rows.runs * rows.block if isinstance(rows, Comb) else int(rows.size)


def _pick(values: Array, rows: Sequence[Rows], out: Array) -> None:
    """Fill `out` with the given rows along each axis of `values`."""
    index = [each if isinstance(each, slice) else as_rows(each) for each in rows]
    picked = [each for each in index if not isinstance(each, slice)]
    if len(picked) > 1:
        out[...] = values[np.ix_(*picked)]
    else:
        out[...] = values[tuple(index)]


def copy_through_hdf5(
    dataset: h5py.Dataset,
    chunks: Chunks | None,
    folds: tuple[Fold, ...],
    selection: Selection,
    field: str | None,
    out: Array,
) -> None:
    """Fill `out` from a dataset of an open file, whatever its storage.

    Every chunk that is touched is decompressed once, outside the lock of HDF5 where it can be.

    Parameters
    ----------
    chunks : of the dataset; None where only HDF5 can read them
    out : array, C-contiguous, shape `selection.counts`, not empty

    Raises
    ------
    DamagedStoreError : where a chunk is not what its filters made
    MissingDependencyError : where HDF5 lacks one of its filters
    """
    rows = rows_of(selection.ranges, folds)
    out = out.reshape([_length(each) for each in rows])
    if chunks is not None and chunks.copy(rows, field, out):
        return
    require_filters(dataset)
    source = dataset if field is None else dataset.fields(field)
    if not any(isinstance(each, np.ndarray) for each in rows):
        out[...] = source[tuple(_in_h5py(each) for each in rows)]
        return
    others = [_hull(each) for each in rows[1:]]
    width = math.prod(each.stop - each.start for each in others) * dataset.dtype.itemsize
    wanted = as_rows(rows[0])
    places = np.argsort(wanted, kind="stable")
    for first, stop in _bands(wanted[places], width, dataset.chunks):
        band = places[first:stop]
        low, high = int(wanted[band[0]]), int(wanted[band[-1]]) + 1
        block = source[(slice(low, high), *others)]
        inside = [as_rows(each) - hull.start for each, hull in zip(rows[1:], others, strict=True)]
        out[band] = block[np.ix_(wanted[band] - low, *inside)]


def _bands(wanted: Array, width: int, chunks: tuple[int, ...] | None) -> list[tuple[int, int]]:
    """(first, stop) of the wanted rows that are read at once: those of some rows of chunks.

    Parameters
    ----------
    wanted : array of int64, 1-D, ascending
    width : bytes in one row
    """
    step = chunks[0] if chunks else 1
    height = max(step, _BAND_BYTES // max(1, width) // step * step)
    edges = np.flatnonzero(np.diff(wanted // height)) + 1
    bounds = [0, *edges.tolist(), len(wanted)]
    return list(zip(bounds[:-1], bounds[1:], strict=True))


def _hull(rows: Rows) -> slice:
    """The shortest slice that holds all the rows."""
    if isinstance(rows, slice):
        return rows
    if isinstance(rows, Comb):
        return slice(rows.start, rows.start + rows.stride * (rows.runs - 1) + rows.block)
    return slice(int(rows.min()), int(rows.max()) + 1)


def _in_h5py(rows: Rows) -> Any:
    if not isinstance(rows, Comb):
        return rows
    return h5py.MultiBlockSlice(rows.start, rows.stride, rows.runs, rows.block)
