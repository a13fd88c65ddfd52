"""Which positions of a result have been computed, as far as its group tells."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import h5py
import numpy as np

from usidx.model.dimension import Array
from usidx.stores.base import Status
from usidx.stores.hdf5.objects import attributes
from usidx.stores.hdf5.values.bytes import HDF5Array, hash_of
from usidx.stores.hdf5.values.selection import Fold, as_rows, select, stored_rows
from usidx.stores.hdf5.writing.failures import count_failed

MARKS = "completed_positions"


@dataclass(frozen=True)
class Completion:
    """How far a Main of a result is.

    Parameters
    ----------
    status : "unknown" where nothing says it
    done, total : positions that are complete, and all
    marks : path of the dataset that marks them; None where there is none
    failed : how many of those that are marked failed
    """

    status: Status
    done: int
    total: int
    marks: str | None = None
    failed: int = 0

    def __str__(self) -> str:
        told: str = self.status
        if self.status == "partial":
            told = f"partial ({100 * self.done // max(1, self.total)} %)"
        return f"{told}, {self.failed} failed" if self.failed else told


def completion(group: h5py.Group, main: h5py.Dataset, n_source: int | None = None) -> Completion:
    """How far the Main `main` of the result group `group` is.

    Marks are trusted wherever there are any. `last_pixel` is a last resort: pyUSID sets it to all
    positions in groups that it only looked at.

    Parameters
    ----------
    n_source : positions of the source, which is what `last_pixel` counts; None where unknown
    """
    rows = int(main.shape[0])
    name = str(main.name).rsplit("/", 1)[-1]
    found = _find_marks(group, name)
    if found is not None:
        return replace(_marked(found), failed=count_failed(group, name, found))
    said = attributes.read_text(group, "usid_status").value
    if said == "complete":
        return Completion("complete", rows, rows)
    if said == "partial":
        return Completion("partial", 0, rows)
    last = attributes.read_number(group, "last_pixel")
    if last is None:
        return Completion("unknown", 0, rows)
    total = rows if n_source is None else n_source
    if last >= total - 1:  # some programs wrote the index of the last, others the number of all
        return Completion("complete", rows, rows)
    return Completion("partial", max(0, int(last)), total)


def loose_marks(group: h5py.Group) -> Completion | None:
    """How far a group without any Main is, by its marks; None where it has none."""
    found = _find_marks(group, "")
    return None if found is None else _marked(found)


def _marked(marks: h5py.Dataset) -> Completion:
    done = int(np.count_nonzero(marks[()]))
    status: Status = "complete" if done == marks.size else "partial"
    name: str | bytes = marks.name  # bytes, where it is no UTF-8
    path = name if isinstance(name, str) else name.decode("utf-8", "surrogateescape")
    return Completion(status, done, int(marks.size), path)


def _find_marks(group: h5py.Group, main: str) -> h5py.Dataset | None:
    """The marks of one Main: its own, in whatever case they are named, else those of all."""
    own = f"completed_{main}_positions".casefold()
    names = {name.casefold(): name for name in group if name.casefold() in (own, MARKS)}
    for name in (own, MARKS):
        marks = group.get(names[name]) if name in names else None
        if isinstance(marks, h5py.Dataset) and marks.ndim == 1 and marks.dtype.kind in "bui":
            if marks.size:
                return marks
    return None


@dataclass(frozen=True, eq=False)
class Completed:
    """Position-shaped array of bool: which positions are marked complete, whenever it is read."""

    marks: HDF5Array

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the N-D axes of the positions."""
        return self.marks.shape

    @property
    def ndim(self) -> int:
        """How many axes there are."""
        return self.marks.ndim

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of bool."""
        return np.dtype(bool)

    def __getitem__(self, key: Any, /) -> Array:
        return np.asarray(self.marks[key] != 0)

    def __dask_tokenize__(self) -> Any:
        return ("usidx.Completed", self.marks.__dask_tokenize__())


@dataclass(frozen=True, eq=False)
class FirstRows:
    """Position-shaped array of bool: the first `count` rows of the file are complete."""

    fold: Fold
    count: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the N-D axes of the positions."""
        return self.fold.shape

    @property
    def ndim(self) -> int:
        """How many axes there are."""
        return len(self.fold.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of bool."""
        return np.dtype(bool)

    def __getitem__(self, key: Any, /) -> Array:
        selection = select(key, self.fold.shape)
        rows = as_rows(stored_rows(selection.ranges, self.fold))
        return np.asarray((rows < self.count).reshape(selection.counts)[selection.finish])

    def __dask_tokenize__(self) -> Any:
        order = None if self.fold.order is None else hash_of(self.fold.order)
        return ("usidx.FirstRows", self.fold.shape, order, self.count)
