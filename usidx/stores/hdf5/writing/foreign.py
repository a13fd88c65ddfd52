"""Go on with result groups that another program began, pyUSID above all.

They may have their values in chunks, compressed, or not allocated yet, so that there is no place
to write a block to. Then each block goes through HDF5 in a transaction of its own: slower, and as
safe. Marks that are missing, or that several Mains have in common, are made from what there is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from usidx.errors import PlanError, SourceChangedError, StoreLockedError
from usidx.model.dimension import Array
from usidx.model.layout import file_rows
from usidx.model.main import MainSpec
from usidx.stores.failures import encoded, numbered, slots_for
from usidx.stores.hdf5.completion import MARKS, completion
from usidx.stores.hdf5.file import open_file
from usidx.stores.hdf5.transactions.transaction import transaction
from usidx.stores.hdf5.writing.failures import reasons_of
from usidx.stores.hdf5.writing.new_result import find, marks_name
from usidx.stores.hdf5.writing.rows import Key, in_file_order, runs
from usidx.stores.lock import holder_of

# A program that reads the source through HDF5 lets go of the file between its blocks.
_TIMEOUT = 60.0


@dataclass(frozen=True, eq=False)
class TransactionWriter:
    """Writes and marks blocks of a Main through HDF5, each in a transaction; picklable.

    Parameters
    ----------
    path : of the file
    spec : of the Main
    marks : path of the dataset that says which positions are complete
    run, token : the lock file of the group, and what it says while the claim is held
    failures : paths of the datasets that say where the step failed, and why; None without them
    """

    path: str
    spec: MainSpec
    marks: str
    run: str
    token: str
    failures: tuple[str, str] | None = None

    @property
    def main(self) -> str:
        """Path of the Main."""
        return self.spec.path

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the N-D axes."""
        return self.spec.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of one value."""
        return self.spec.dtype

    @property
    def n_rows(self) -> int:
        """How many positions there are."""
        return self.spec.position.size

    def done(self) -> Array:
        """Position-shaped array of bool: which positions are marked complete, now."""
        with open_file(self.path) as file:
            stored = self._find(file, self.marks, (self.n_rows,))[()]
        rows = file_rows(self.spec.position, ())
        return np.asarray(stored[rows] == 1).reshape(self.spec.position.shape)

    def write(self, key: Key, values: Array, only: Array | None = None) -> None:
        """Write one N-D block; positions that are marked already keep the values that they have.

        With `only`, bool, shape of the block's positions, the others do, too.
        """
        rows, columns, block = in_file_order(self.spec, key, np.asarray(values))
        wanted = True if only is None else self._by_rows(key, only)
        with self._changing() as file:
            dataset = self._find(file, self.main, self.spec.shape_2d)
            marks = self._find(file, self.marks, (self.n_rows,))
            low, high = int(rows[0]), int(rows[-1]) + 1
            pending = (marks[low:high][np.asarray(rows) - low] == 0) & wanted
            if not pending.any():
                return
            rows, block = np.asarray(rows)[pending], block[pending]
            for row, start, stop in runs(rows):
                for column, first, last in runs(columns):
                    place = slice(row, row + stop - start), slice(column, column + last - first)
                    dataset[place] = block[start:stop, first:last]

    def fail(self, key: Key, failed: Array, reasons: Sequence[str]) -> None:
        """Say at which positions of the block `key` the step failed, before they are marked."""
        if self.failures is None:
            raise PlanError(
                f"{self.main!r} has no room to say where a step failed; resume its group with "
                "on_error='mark'"
            )
        rows = np.sort(self._rows(key))
        by_rows = self._by_rows(key, failed)
        with self._changing() as file:
            table = file[self.failures[1]]
            slots, new = slots_for(reasons, reasons_of(file[self.main].parent))
            for number, text in new.items():
                table[number - 1] = np.bytes_(encoded(text))
            stored = numbered(by_rows, slots)
            numbers = self._find(file, self.failures[0], (self.n_rows,))
            for row, start, stop in runs(rows[stored != 0]) if stored.any() else ():
                numbers[row : row + stop - start] = stored[stored != 0][start:stop]

    def _rows(self, key: Key) -> Array:
        """The file's rows of a block, in row-major order of its positions."""
        rows = file_rows(self.spec.position, key[: len(self.spec.position.shape)])
        return np.arange(rows.start, rows.stop) if isinstance(rows, slice) else rows

    def _by_rows(self, key: Key, each: Array) -> Array:
        """Something of each position of a block, in the order of its rows in the file."""
        found: Array = each.reshape(-1)[np.argsort(self._rows(key))]
        return found

    def mark(self, key: Key) -> None:
        """Mark the positions of the block `key` complete, after `write` has returned."""
        rows = file_rows(self.spec.position, key[: len(self.spec.position.shape)])
        with self._changing() as file:
            marks = self._find(file, self.marks, (self.n_rows,))
            marks[rows if isinstance(rows, slice) else np.sort(rows)] = 1

    def __dask_tokenize__(self) -> tuple[str, ...]:
        return (type(self).__name__, self.path, self.main, self.token)

    def _changing(self) -> Any:
        holder = holder_of(self.run)
        if holder is None or holder.token != self.token:
            raise StoreLockedError(
                f"the claim on {self.main!r} has ended; resume the result to go on writing"
            )
        return transaction(self.path, timeout=_TIMEOUT, what=f"writing a block of {self.main!r}")

    def _find(self, file: h5py.File, path: str, shape: tuple[int, ...]) -> h5py.Dataset:
        found = find(file, path)
        if not isinstance(found, h5py.Dataset) or found.shape != shape:
            raise SourceChangedError(
                f"{path!r} is no longer in {self.path!r} as it was when {self.main!r} was resumed; "
                "run the step again on the file as it is"
            )
        return found


def marks_of(group: h5py.Group, main: str, alone: bool) -> h5py.Dataset | None:
    """The marks of one Main that no other Main has too, whatever the case of their name."""
    wanted = {marks_name(main, False).casefold()} | ({MARKS} if alone else set())
    for name in group:
        if name.casefold() in wanted and isinstance(group[name], h5py.Dataset):
            return group[name]
    return None


def make_marks(path: str, group: str, specs: Mapping[str, MainSpec]) -> None:
    """Give each Main of a group marks of its own, of what the group says is done.

    Raises
    ------
    PlanError : where the group does not say it
    """
    alone = len(specs) == 1
    with transaction(path, timeout=_TIMEOUT, what=f"resuming {group!r}") as file:
        inside = file[group]
        for name, spec in specs.items():
            if marks_of(inside, name, alone) is None:
                done = _first_done(inside, name, spec)
                inside.create_dataset(marks_name(name, alone), data=done)


def _first_done(group: h5py.Group, name: str, spec: MainSpec) -> Array:
    """What is done of a Main, by the marks of all Mains of its group, or by `last_pixel`."""
    n_rows = spec.position.size
    said = completion(group, group.file[spec.path], n_rows)
    done = np.zeros(n_rows, np.uint8)
    if said.marks is not None and group.file[said.marks].shape == done.shape:
        done[:] = group.file[said.marks][()] != 0
    elif said.marks is None and said.status == "partial" and said.total == n_rows:
        done[: said.done] = 1
    elif said.status != "complete":
        raise PlanError(
            f"{group.name!r} does not say which positions of {name!r} are complete, so it cannot "
            "be resumed; run the step again with fresh=True"
        )
    else:
        done[:] = 1
    return done


def complete_shared_marks(group: h5py.Group) -> None:
    """Say that everything is complete in the marks that Mains of a group have in common, too."""
    marks = group.get(MARKS)
    if isinstance(marks, h5py.Dataset) and marks.ndim == 1 and marks.dtype.kind in "biu":
        if not np.all(marks[()]):
            marks[...] = 1
