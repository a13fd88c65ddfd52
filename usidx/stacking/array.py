"""Frames of many files as one N-D block array, read frame by frame."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from usidx.arrays.views import Key, whole_key
from usidx.errors import LayoutError, SourceChangedError, StepError, StoreNotFoundError
from usidx.model.dimension import Array
from usidx.stacking.readers import opened

Preprocess = Callable[[Array], Array]


@dataclass(frozen=True, eq=False)
class FrameArray:
    """An array whose first axes say which frame, and whose last ones are those of the frame.

    It pickles and holds no open file. Every file is opened once for each block that is read of it.

    Parameters
    ----------
    folder, names : the files; names are encoded bytes, relative to the folder
    stats : array of int64, shape (files, 2): size and time of the last change of each file
    reader : name of what reads the files
    raw : shape, dtype and number of the frames of each file, before `preprocess`
    cells : array of int64, the shape of the positions: number of the frame, counted over all
        files; -1 where there is none
    frame, dtype : of the values that come out
    preprocess : what is done to each frame, None for nothing
    """

    folder: str
    names: Array
    stats: Array
    reader: str
    raw: tuple[tuple[int, ...], str, int]
    cells: Array
    frame: tuple[int, ...]
    dtype: np.dtype[Any]
    preprocess: Preprocess | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.cells.shape + self.frame

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __getitem__(self, key: Key, /) -> Array:
        parts = whole_key(key, self.ndim)
        cells = np.asarray(self.cells[parts[: self.cells.ndim]])
        window = parts[self.cells.ndim :]
        sizes = tuple(
            len(range(*part.indices(size)))
            for part, size in zip(window, self.frame)
            if isinstance(part, slice)
        )
        if cells.size == 1 and cells.min() >= 0:  # large frames come one by one: no copy
            number, page = divmod(int(cells.reshape(-1)[0]), self.raw[2])
            values = next(self._read(number, np.array([page]), np.zeros(1, int)))[1][window]
            values = np.require(values, self.dtype, "W")
            return values.reshape(cells.shape + sizes)
        out = np.empty(cells.shape + sizes, self.dtype)
        rows = out.reshape((cells.size, *sizes))
        flat = cells.reshape(-1)
        if (flat < 0).any():
            rows[flat < 0] = np.nan
        for number, places in _by_file(flat, self.raw[2]):
            for place, values in self._read(number, flat[places] % self.raw[2], places):
                rows[place] = values[window]
        return out

    def _read(self, number: int, pages: Array, places: Array) -> Iterator[tuple[int, Array]]:
        """(place, values) of some frames of one file."""
        path = self.path(number)
        check_unchanged(path, self.stats[number])
        with opened(path, self.reader) as frames:
            check_alike(path, frames.kind, self.raw)
            for page, place in zip(pages.tolist(), places.tolist()):
                yield place, self.finished(frames.read(page), path)

    def path(self, number: int) -> str:
        """The whole path of a file."""
        return os.path.join(self.folder, os.fsdecode(bytes(self.names[number])))

    def finished(self, values: Array, path: str) -> Array:
        """A frame as it comes out, of the shape and dtype that were promised.

        Raises
        ------
        StepError : where `preprocess` fails, or gives another shape or dtype
        DamagedStoreError : where the file holds another shape than its header says
        """
        if self.preprocess is not None:
            values = preprocessed(self.preprocess, values, path)
        if values.shape != self.frame:
            raise StepError(
                f"the frame {path!r} became {values.shape} where the first one became {self.frame}"
            )
        if values.dtype != self.dtype and not np.can_cast(values.dtype, self.dtype, "same_kind"):
            raise StepError(
                f"the frame {path!r} became {values.dtype} where the first one became {self.dtype}"
            )
        return values

    def __dask_tokenize__(self) -> Any:
        # Files are known by name, size and time, as opening 1e5 of them takes too long.
        parts = (self.folder, self.names.tobytes(), self.stats.tobytes(), self.cells.tobytes())
        rest = (self.reader, self.raw, self.cells.shape, self.frame, self.dtype.str)
        return type(self).__name__, parts, rest, self.preprocess


def preprocessed(preprocess: Preprocess, values: Array, path: str) -> Array:
    """A frame after `preprocess`.

    Raises
    ------
    StepError : where that fails, naming the file
    """
    try:
        return np.asarray(preprocess(values))
    except Exception as error:
        raise StepError(
            f"preprocess failed on the frame {path!r}: {type(error).__name__}: {error}"
        ) from error


def check_alike(
    path: str, found: tuple[tuple[int, ...], str, int], expected: tuple[tuple[int, ...], str, int]
) -> None:
    """Nothing, where a file has the frames that all files of the stack have.

    Raises
    ------
    LayoutError : naming the file, and what differs
    """
    if found != expected:
        raise LayoutError(
            f"the frame {path!r} is not like the others: {worded(found)} where the first file has "
            f"{worded(expected)}; leave it out, or stack it with its likes"
        )


def worded(kind: tuple[tuple[int, ...], str, int]) -> str:
    """What a file holds, in words."""
    shape, dtype, count = kind
    pages = f"{count} frames of " if count != 1 else ""
    return f"{pages}{' x '.join(map(str, shape))} {np.dtype(dtype)}"


def check_unchanged(path: str, known: Array) -> None:
    """Nothing, where a file is as it was when the folder was listed.

    Raises
    ------
    SourceChangedError : where its size or the time of its last change is another
    StoreNotFoundError : where it is gone
    """
    try:
        found = os.stat(path)
    except FileNotFoundError as error:
        raise StoreNotFoundError(
            f"the frame {path!r} is not there any more; stack the folder again"
        ) from error
    if (found.st_size, found.st_mtime_ns) != (int(known[0]), int(known[1])):
        raise SourceChangedError(
            f"the frame {path!r} has changed since the folder was stacked; stack it again"
        )


def _by_file(cells: Array, count: int) -> Iterator[tuple[int, Array]]:
    """(number of the file, places in `cells`) for each file that frames are taken from."""
    order = np.argsort(cells, kind="stable")
    order = order[cells[order] >= 0]
    files = cells[order] // count
    edges = np.flatnonzero(np.diff(files)) + 1
    for places in np.split(order, edges):
        if places.size:
            yield int(cells[places[0]]) // count, places


def frame_bytes(frame: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """How many bytes a frame has."""
    return math.prod(frame) * dtype.itemsize
