"""Where a step failed, in an HDF5 file: datasets beside those that mark what is complete.

Each Main of a result group has one of uint8, shape (positions,), named as its marks are: 0, or the
number of a reason. The reasons are one dataset of the group.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from usidx.errors import PlanError
from usidx.model.dimension import Array
from usidx.model.result_rules import FailuresFacts
from usidx.stores import disk
from usidx.stores.failures import SLOT_BYTES, SLOTS, decoded, encoded, numbered, slots_for
from usidx.stores.hdf5.transactions.transaction import transaction
from usidx.stores.hdf5.writing.describe import create_dataset, write_attribute
from usidx.stores.hdf5.writing.rows import runs

if TYPE_CHECKING:
    from usidx.stores.hdf5.writing.room import Room

REASONS = "failure_reasons"
_AT_ONCE = 2**22
_TIMEOUT = 60.0


@dataclass(frozen=True)
class FailureMarks:
    """Where the failures of one Main are written, past HDF5.

    Parameters
    ----------
    numbers : of each position, in the order of the file
    reasons : the slots that they count
    """

    numbers: Room
    reasons: Room

    def record(
        self, descriptor: int, rows: range | Array, failed: Array, reasons: Sequence[str]
    ) -> None:
        """Write the numbers of those rows at which something failed; the reasons first.

        Parameters
        ----------
        descriptor : of the file
        rows : of the file, in ascending order
        failed : of each of them, 0 or the number of one of `reasons`, from 1 on
        """
        span = self.reasons.span
        known = decoded(disk.read_at(descriptor, span.nbytes, span.offset))
        slots, new = slots_for(reasons, known)
        for number, text in new.items():
            disk.write_at(descriptor, encoded(text), span.offset + (number - 1) * SLOT_BYTES)
        numbers = numbered(failed, slots)
        places = np.flatnonzero(numbers)
        if not places.size:
            return
        at = np.asarray(rows)[places]
        for row, start, stop in runs(at):
            part = numbers[places[start:stop]].tobytes()
            disk.write_at(descriptor, part, self.numbers.span.offset + row)


def failures_name(main: str, alone: bool) -> str:
    """Name of the dataset that says where the step failed."""
    return "failed_positions" if alone else f"failed_{main}_positions"


def create_failures(group: h5py.Group, rows: Mapping[str, int]) -> None:
    """Make room in a result group to say where the step fails.

    Parameters
    ----------
    group : of a file that is open in a transaction
    rows : positions of each of its Mains, by name
    """
    if not _are_slots(group.get(REASONS)):
        known = [encoded(text) for text in reasons_of(group)][:SLOTS]
        if REASONS in group:  # as another program copied them
            del group[REASONS]
        slots = create_dataset(group, REASONS, (SLOTS,), np.dtype(f"S{SLOT_BYTES}"))
        slots[...] = np.array(known + [b""] * (SLOTS - len(known)), slots.dtype)
        write_attribute(
            slots, "long_name", "why the step failed; positions have the number, from 1"
        )
    for main, count in rows.items():
        name = failures_name(main, len(rows) == 1)
        if name in group:
            continue
        numbers = create_dataset(group, name, (count,), np.dtype(np.uint8))
        for start in range(0, count, _AT_ONCE):
            # room that HDF5 uses again has other bytes in it
            part = min(_AT_ONCE, count - start)
            numbers[start : start + part] = np.zeros(part, np.uint8)
        write_attribute(numbers, "long_name", f"0, or the number of a reason in {REASONS}")


def find_failures(
    group: h5py.Group, main: str, alone: bool, rows: int
) -> tuple[h5py.Dataset, h5py.Dataset] | None:
    """(numbers, reasons) of one Main of a group; None where it has none, or none that fit."""
    numbers, reasons = group.get(failures_name(main, alone)), group.get(REASONS)
    if not isinstance(numbers, h5py.Dataset) or not _are_slots(reasons):
        return None
    fits = numbers.dtype == np.uint8 and numbers.shape == (rows,)
    return (numbers, reasons) if fits else None


def _are_slots(reasons: Any) -> bool:
    if not isinstance(reasons, h5py.Dataset):
        return False
    return bool(reasons.dtype == np.dtype(f"S{SLOT_BYTES}")) and reasons.shape == (SLOTS,)


def count_failed(group: h5py.Group, main: str, marks: h5py.Dataset) -> int:
    """How many of the positions that are marked failed."""
    total = 0
    for numbers in (_numbers(group, main), _numbers(group, None)):
        if numbers is None or numbers.shape != marks.shape:
            continue
        for start in range(0, numbers.shape[0], _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            total += int(np.count_nonzero((numbers[part] != 0) & (marks[part] != 0)))
        return total
    return total


def _numbers(group: h5py.Group, main: str | None) -> h5py.Dataset | None:
    found = group.get(failures_name(main or "", main is None))
    fits = isinstance(found, h5py.Dataset) and found.dtype == np.uint8 and found.ndim == 1
    return found if fits else None


def find_numbers(group: h5py.Group, main: str, rows: int) -> h5py.Dataset | None:
    """Where it is said at which positions of a Main the step failed; None where it is not."""
    for found in (_numbers(group, main), _numbers(group, None)):
        if found is not None and found.shape == (rows,):
            return found
    return None


def reasons_of(group: h5py.Group) -> tuple[str, ...]:
    """The texts of all slots of a group, "" for free ones; also as other programs copy them."""
    found = group.get(REASONS)
    if not isinstance(found, h5py.Dataset) or found.dtype.kind not in "SO" or found.ndim != 1:
        return ()
    texts = [each if isinstance(each, bytes) else str(each).encode() for each in found[()]]
    return tuple(each.rstrip(b"\0").decode("utf-8", "replace") for each in texts)


def failures_facts(group: h5py.Group, marks: h5py.Dataset) -> FailuresFacts | None:
    """What there is to be judged of the failures that belong to some marks; None without any."""
    name = str(marks.name).rpartition("/")[2].replace("completed", "failed", 1)
    found = group.get(name)
    if not isinstance(found, h5py.Dataset):
        return None
    path = f"{str(group.name).rstrip('/')}/{name}"
    if found.dtype != np.uint8 or found.shape != marks.shape or found.ndim != 1:
        return FailuresFacts(path, fits=False)
    named = np.array([False, *map(bool, reasons_of(group))] + [False] * 256)[:256]
    unmarked = unnamed = 0
    for start in range(0, found.shape[0], _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        numbers = found[part]
        unmarked += int(np.count_nonzero((numbers != 0) & (marks[part] == 0)))
        unnamed += int(np.count_nonzero((numbers != 0) & ~named[numbers]))
    return FailuresFacts(path, True, unmarked, unnamed)


def prepare(
    path: str, group: str, rows: Mapping[str, int], status: str, *, create: bool, retry: bool
) -> None:
    """Make a group ready to be gone on with: what is not marked has not failed.

    Nothing is changed where that is so already.

    Parameters
    ----------
    rows : positions of each of its Mains, by name
    status : name of the attribute with the status of the group
    create : whether it gets room to say where the step fails, unless it has it
    retry : whether the positions at which it failed lose their marks, and the group its status

    Raises
    ------
    PlanError : where the failures or marks of a Main are not what usidx writes
    """
    from usidx.stores.hdf5.file import open_file

    with open_file(path) as file:
        if not _is_to_change(file[group], rows, create, retry):
            return
    with transaction(path, timeout=_TIMEOUT, what=f"resuming {group!r}") as file:
        inside = file[group]
        if create:
            create_failures(inside, rows)
        for numbers, marks in _pairs(inside, rows):
            for start in range(0, numbers.shape[0], _AT_ONCE):
                part = slice(start, start + _AT_ONCE)
                failed, done = numbers[part], marks[part]
                if retry and np.any(failed):
                    marks[part] = np.where(failed != 0, 0, done)
                    done = marks[part]
                if np.any(failed[done == 0]):
                    numbers[part] = np.where(done == 0, 0, failed)
        if retry:
            write_attribute(inside, status, "partial")
            if "last_pixel" in inside.attrs:
                del inside.attrs["last_pixel"]


def _is_to_change(group: h5py.Group, rows: Mapping[str, int], create: bool, retry: bool) -> bool:
    alone = len(rows) == 1
    found = [find_failures(group, main, alone, count) for main, count in rows.items()]
    if create and None in found:
        return True
    for numbers, marks in _pairs(group, rows):
        for start in range(0, numbers.shape[0], _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            failed = numbers[part]
            if np.any(failed if retry else failed[marks[part] == 0]):
                return True
    return False


def _pairs(
    group: h5py.Group, rows: Mapping[str, int]
) -> Iterator[tuple[h5py.Dataset, h5py.Dataset]]:
    """(numbers, marks) of each Main that has numbers."""
    from usidx.stores.hdf5.writing.foreign import marks_of

    alone = len(rows) == 1
    for main, count in rows.items():
        if failures_name(main, alone) not in group:
            continue
        found = find_numbers(group, main, count)
        marks: Any = marks_of(group, main, alone)
        if found is None or marks is None or marks.shape != (count,):
            raise PlanError(
                f"{failures_name(main, alone)!r} in {group.name!r} does not fit the {count} "
                f"positions of {main!r}, so it cannot be resumed; run it again with fresh=True"
            )
        yield found, marks
