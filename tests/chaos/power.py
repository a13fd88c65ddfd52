"""Cut the power at every moment of a write: what was not waited for may be lost, in any order.

A killed process leaves everything that it wrote in the system's memory; a power failure does not.
So the changes of the files are recorded, and disks are made up as they may be found afterwards:
of what was written since the last sync of a file any sectors may be there, new names may be
missing, and a file may have any of its sizes.
"""

from __future__ import annotations

import glob
import os
import pathlib
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from tests.chaos import subject, zarr_subject
from tests.chaos.children import in_child
from usidx.stores import disk, store_at
from usidx.stores.hdf5.writing.block_writer import HDF5BlockWriter
from usidx.stores.lock import STORE_SUFFIX
from usidx.stores.zarr.writer import ZarrWriter

SECTOR = 512


@dataclass(frozen=True)
class Operation:
    """One change of a file or folder, or a wait for one.

    `kind` is "write", "size", "name", "swap", "gone", "sync" (of a file) or "names" (in a folder),
    or "marked" where a mark has been made that is to stay.
    """

    kind: str
    path: str
    place: int = 0
    data: bytes = b""


@dataclass
class Stored:
    """A file on the made-up disk: what is surely there, and what has come since the last sync."""

    data: bytearray = field(default_factory=bytearray)
    pending: list[Operation] = field(default_factory=list)

    def after_failure(self, chance: random.Random, share: float) -> bytes:
        """What may be found in it; each new sector has got there with the probability `share`."""
        found = bytearray(self.data)
        sizes = [len(found)]
        longest = len(found)
        for each in self.pending:
            end = each.place if each.kind == "size" else each.place + len(each.data)
            longest = end if each.kind == "size" else max(longest, end)
            sizes.append(longest)
        size = sizes[-1] if share == 1 else chance.choice(sizes)
        found = found.ljust(max(sizes), b"\0")
        for each in self.pending:
            for start, part in _sectors(each):
                if chance.random() < share:
                    found[start : start + len(part)] = part
        return bytes(found[:size])

    def sync(self) -> None:
        """Everything has got there."""
        self.data = bytearray(self.after_failure(random.Random(0), 1.0))
        self.pending.clear()


def _sectors(operation: Operation) -> list[tuple[int, bytes]]:
    start, data = operation.place, operation.data
    edges = [0, *range(SECTOR - start % SECTOR, len(data), SECTOR), len(data)]
    return [(start + a, data[a:b]) for a, b in zip(edges, edges[1:], strict=False) if b > a]


@dataclass(frozen=True)
class Renaming:
    """One change of names: `old` gone, `new` there, or both, of files or of whole folders.

    Parameters
    ----------
    old, new : paths; "" for none
    stored : what is new under `new`, where nothing is moved there
    swap : whether what is called `new` is called `old` then
    """

    old: str = ""
    new: str = ""
    stored: Stored | None = None
    swap: bool = False

    def concerns(self, folder: str) -> bool:
        """Whether it changes names in a folder."""
        return folder in (os.path.dirname(self.old), os.path.dirname(self.new))

    def apply(self, names: dict[str, Stored]) -> None:
        """Make it."""
        if self.stored is not None:
            names[self.new] = self.stored
            return
        taken = _taken(names, self.old)
        if self.swap:
            names.update({self.old + end: each for end, each in _taken(names, self.new).items()})
        if self.new:
            names.update({self.new + end: each for end, each in taken.items()})


def _taken(names: dict[str, Stored], path: str) -> dict[str, Stored]:
    """What was called `path`, or below it, by what follows that in its name."""
    found = [each for each in names if each == path or each.startswith(path + "/")]
    return {each[len(path) :]: names.pop(each) for each in found}


@dataclass
class Disk:
    """A folder on the made-up disk, of a file system that keeps a journal of its names."""

    names: dict[str, Stored] = field(default_factory=dict)
    seen: dict[str, Stored] = field(default_factory=dict)
    pending: list[Renaming] = field(default_factory=list)

    def do(self, operation: Operation) -> None:
        """Let an operation happen."""
        path, other = operation.path, operation.data
        if operation.kind in ("write", "size"):
            if path not in self.seen:
                self._rename(Renaming(new=path, stored=Stored()))
            self.seen[path].pending.append(operation)
        elif operation.kind == "sync":
            self.seen[path].sync()
        elif operation.kind == "name":
            self._rename(Renaming(path, other.decode()))
        elif operation.kind == "swap":
            self._rename(Renaming(path, other.decode(), swap=True))
        elif operation.kind == "gone":
            self._rename(Renaming(path))
        elif operation.kind == "names":
            last = [n for n, each in enumerate(self.pending, 1) if each.concerns(path)]
            count = last[-1] if last else 0
            for each in self.pending[:count]:
                each.apply(self.names)
            del self.pending[:count]

    def _rename(self, renaming: Renaming) -> None:
        renaming.apply(self.seen)
        self.pending.append(renaming)

    def after_failure(self, chance: random.Random, share: float) -> dict[str, bytes]:
        """What may be found: content by path. Names change in order, as journals keep them."""
        names = dict(self.names)
        count = len(self.pending) if share == 1 else chance.randint(0, len(self.pending))
        for each in self.pending[:count]:
            each.apply(names)
        return {path: stored.after_failure(chance, share) for path, stored in names.items()}


def record(work: Callable[[], None], keep: Callable[[str], bool]) -> list[Operation]:
    """Every change of a file for whose path `keep` is true, while `work` is done."""
    trace: list[Operation] = []

    def path_of(descriptor: int) -> str:
        return os.readlink(f"/proc/self/fd/{descriptor}")

    def note(kind: str, path: str, place: int = 0, data: Any = b"") -> None:
        if keep(path):
            trace.append(Operation(kind, path, place, bytes(data)))

    fakes = ("write_at", "truncate", "reserve", "replace", "exchange", "remove", "remove_tree")
    real = {name: getattr(disk, name) for name in fakes}

    def write_at(descriptor: int, data: Any, offset: int) -> None:
        real["write_at"](descriptor, data, offset)
        note("write", path_of(descriptor), offset, memoryview(data).cast("B"))

    def truncate(descriptor: int, size: int) -> None:
        real["truncate"](descriptor, size)
        note("size", path_of(descriptor), size)

    def reserve(descriptor: int, start: int, stop: int) -> None:
        real["reserve"](descriptor, start, stop)
        if stop > start:
            note("size", path_of(descriptor), stop)

    def sync(descriptor: int) -> None:
        note("sync", path_of(descriptor))

    def sync_folder(folder: str) -> None:
        trace.append(Operation("names", folder))

    def replace(source: str, target: str) -> None:
        real["replace"](source, target)
        note("name", source, 0, target.encode())

    def exchange(left: str, right: str) -> bool:
        done: bool = real["exchange"](left, right)
        if done:
            note("swap", left, 0, right.encode())
        return done

    def remove(path: str) -> None:
        real["remove"](path)
        note("gone", path)

    def remove_tree(folder: str) -> None:
        real["remove_tree"](folder)
        note("gone", folder)

    def noted(mark: Callable[..., None]) -> Callable[..., None]:
        def mark_and_note(self: Any, key: tuple[slice, ...]) -> None:
            mark(self, key)
            trace.append(Operation("marked", "", key[0].start))

        return mark_and_note

    with pytest.MonkeyPatch.context() as patch:
        for name, fake in (
            ("write_at", write_at),
            ("truncate", truncate),
            ("reserve", reserve),
            ("sync", sync),
            ("sync_data", sync),
            ("sync_folder", sync_folder),
            ("replace", replace),
            ("exchange", exchange),
            ("remove", remove),
            ("remove_tree", remove_tree),
        ):
            patch.setattr(disk, name, fake)
        for writer in (HDF5BlockWriter, ZarrWriter):
            patch.setattr(writer, "mark", noted(writer.mark))
        work()
    return trace


@dataclass(frozen=True)
class Case:
    """Something that is written while the power fails.

    Parameters
    ----------
    make : makes what there is before, at a path
    work : is done when it fails
    faults : what is wrong afterwards
    ending : of the path
    """

    make: Callable[[str], Any]
    work: Callable[[str], Any]
    faults: Callable[[str], list[str]]
    ending: str = ".h5"


CASES = {
    "hdf5": Case(
        subject.make_scan, subject.run, lambda path: subject.faults(path, power_failure=True)
    ),
    "hdf5-durable": Case(
        subject.make_scan, lambda path: subject.run(path, durable=True), subject.faults
    ),
    "hdf5-compressed-durable": Case(
        subject.make_scan,
        lambda path: subject.run(path, durable=True, compression="gzip"),
        subject.faults,
    ),
    "hdf5-export": Case(subject.make_scan, subject.export, subject.export_faults),
    "zarr": Case(
        zarr_subject.make_store,
        zarr_subject.run,
        lambda path: zarr_subject.result_faults(path, power_failure=True),
        ".zarr",
    ),
    "zarr-durable": Case(
        zarr_subject.make_store,
        lambda path: zarr_subject.run(path, durable=True),
        zarr_subject.result_faults,
        ".zarr",
    ),
    "zarr-export": Case(
        zarr_subject.make_store, zarr_subject.export, zarr_subject.replaced_faults, ".zarr"
    ),
    "zarr-replace": Case(
        zarr_subject.make_store,
        zarr_subject.replace_main,
        zarr_subject.replaced_main_faults,
        ".zarr",
    ),
}


def attack(
    name: str, folder: str, *, most: int | None = None, seed: int = 0
) -> tuple[int, int, dict[str, list[str]]]:
    """(moments, disks looked at, what was wrong) for power failures during one of `CASES`.

    Of durable results the marks that had been made are among what must not be lost.
    """
    case = CASES[name]
    path = os.path.join(folder, "power" + case.ending)
    before = _begun(case, path)
    own = (path, os.path.join(folder, "." + os.path.basename(path)))
    trace = record(
        lambda: case.work(path),
        lambda each: each.startswith(own) and not each.endswith(("-lock", "-run")),
    )
    chance = random.Random(seed)
    cases = [(at, part) for at in range(len(trace) + 1) for part in (0.0, 0.2, 0.5, 0.8, 1.0)]
    if most is not None:
        cases = sorted(chance.sample(cases, min(most, len(cases))))
    bad: dict[str, list[str]] = {}
    made, reached = Disk(), 0
    for each, data in before.items():
        made.seen[each] = made.names[each] = Stored(bytearray(data))
    for at, part in cases:
        while reached < at:
            made.do(trace[reached])
            reached += 1
        # nothing is said of the lock file; if it is there, somebody died
        _lay_out(path, {**made.after_failure(chance, part), path + STORE_SUFFIX: b""})
        marks = [each.place for each in trace[:at] if each.kind == "marked"]
        found = _found(case, path, marks if name.endswith("durable") else [])
        if found:
            bad[f"moment {at}, {part:.0%} written"] = found
    return len(trace), len(cases), bad


def _found(case: Case, path: str, marks: list[int]) -> list[str]:
    """What is wrong on one disk, where the rows `marks` had been marked."""

    def look() -> list[str]:
        return _lost(path, marks) + case.faults(path)

    ended = in_child(look)
    return [*(ended.result or []), *([ended.trouble] if ended.trouble else [])]


def _lost(path: str, marks: list[int]) -> list[str]:
    """Marks that had been made and are not there."""
    if not marks:
        return []
    done = store_at(path).open_main(zarr_subject.FIT).completed
    if done is None:  # all of them are
        return []
    rows = np.asarray(done[:, :]).all(axis=1)
    return [f"the mark of row {row} is lost" for row in marks if not rows[row]]


def _lay_out(path: str, files: dict[str, bytes]) -> None:
    folder, name = os.path.split(path)
    for each in os.listdir(folder):
        if each.startswith((name, f".{name}")):
            left = os.path.join(folder, each)
            (shutil.rmtree if os.path.isdir(left) else os.unlink)(left)
    for each, data in files.items():
        os.makedirs(os.path.dirname(each), exist_ok=True)
        with open(each, "wb") as file:
            file.write(data)


def _begun(case: Case, path: str) -> dict[str, bytes]:
    """Contents by path of what there is at the beginning."""
    _lay_out(path, {})
    ended = in_child(lambda: bool(case.make(path)))
    assert not ended.trouble, ended.trouble
    found = [path, *glob.glob(path + "/**", recursive=True, include_hidden=True)]
    return {each: pathlib.Path(each).read_bytes() for each in found if os.path.isfile(each)}
