"""Cut the power at every moment of a write: what was not waited for may be lost, in any order.

A killed process leaves everything that it wrote in the system's memory; a power failure does not.
So the changes of the files are recorded, and disks are made up as they may be found afterwards:
of what was written since the last sync of a file any sectors may be there, new names may be
missing, and a file may have any of its sizes.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.chaos import subject
from tests.chaos.children import in_child
from usidx.stores import disk

SECTOR = 512


@dataclass(frozen=True)
class Operation:
    """One change of a file, or a wait for one: "write", "size", "sync", "name", "gone", "names"."""

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


@dataclass
class Disk:
    """A folder on the made-up disk."""

    names: dict[str, Stored] = field(default_factory=dict)
    seen: dict[str, Stored] = field(default_factory=dict)
    pending: list[tuple[str, Stored | None]] = field(default_factory=list)

    def do(self, operation: Operation) -> None:
        """Let an operation happen."""
        path = operation.path
        if operation.kind in ("write", "size"):
            if path not in self.seen:
                self.seen[path] = Stored()
                self.pending.append((path, self.seen[path]))
            self.seen[path].pending.append(operation)
        elif operation.kind == "sync":
            self.seen[path].sync()
        elif operation.kind == "name":
            moved = self.seen.pop(path)
            target = operation.data.decode()
            self.seen[target] = moved
            self.pending += [(path, None), (target, moved)]
        elif operation.kind == "gone":
            self.seen.pop(path, None)
            self.pending.append((path, None))
        elif operation.kind == "names":
            self._settle(len(self.pending))

    def _settle(self, count: int) -> None:
        for path, stored in self.pending[:count]:
            if stored is None:
                self.names.pop(path, None)
            else:
                self.names[path] = stored
        del self.pending[:count]

    def after_failure(self, chance: random.Random, share: float) -> dict[str, bytes]:
        """What may be found: content by path. Names change in order, as journals keep them."""
        names = dict(self.names)
        count = len(self.pending) if share == 1 else chance.randint(0, len(self.pending))
        for path, stored in self.pending[:count]:
            names.pop(path, None)
            if stored is not None:
                names[path] = stored
        return {path: stored.after_failure(chance, share) for path, stored in names.items()}


def record(work: Callable[[], None], keep: Callable[[str], bool]) -> list[Operation]:
    """Every change of a file for whose path `keep` is true, while `work` is done."""
    trace: list[Operation] = []

    def path_of(descriptor: int) -> str:
        return os.readlink(f"/proc/self/fd/{descriptor}")

    def note(kind: str, path: str, place: int = 0, data: Any = b"") -> None:
        if keep(path):
            trace.append(Operation(kind, path, place, bytes(data)))

    real = {name: getattr(disk, name) for name in ("write_at", "truncate", "reserve", "sync")}
    real |= {
        name: getattr(disk, name) for name in ("sync_data", "sync_folder", "replace", "remove")
    }

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
        if keep(os.path.join(folder, "x")) or trace:
            trace.append(Operation("names", folder))

    def replace(source: str, target: str) -> None:
        real["replace"](source, target)
        note("name", source, 0, target.encode())

    def remove(path: str) -> None:
        real["remove"](path)
        note("gone", path)

    with pytest.MonkeyPatch.context() as patch:
        for name, fake in (
            ("write_at", write_at),
            ("truncate", truncate),
            ("reserve", reserve),
            ("sync", sync),
            ("sync_data", sync),
            ("sync_folder", sync_folder),
            ("replace", replace),
            ("remove", remove),
        ):
            patch.setattr(disk, name, fake)
        work()
    return trace


def attack(
    folder: str,
    *,
    durable: bool,
    share: bool = True,
    most: int | None = None,
    seed: int = 0,
) -> tuple[int, int, dict[str, list[str]]]:
    """(moments, disks looked at, what was wrong) for a power failure while a result is written."""
    path = subject.make_scan(os.path.join(folder, "power.h5"))
    with open(path, "rb") as file:
        before = file.read()
    trace = record(
        lambda: subject.run(path, share=share, durable=durable),
        lambda each: each.startswith(path) and not each.endswith(("-lock", "-run")),
    )
    chance = random.Random(seed)
    cases = [(at, part) for at in range(len(trace) + 1) for part in (0.0, 0.2, 0.5, 0.8, 1.0)]
    if most is not None:
        cases = sorted(chance.sample(cases, min(most, len(cases))))
    bad: dict[str, list[str]] = {}
    made, reached = Disk(), 0
    made.seen[path] = made.names[path] = Stored(bytearray(before))
    for at, part in cases:
        while reached < at:
            made.do(trace[reached])
            reached += 1
        _lay_out(path, made.after_failure(chance, part))
        ended = in_child(lambda: subject.faults(path, power_failure=not durable))
        found = [*(ended.result or []), *([ended.trouble] if ended.trouble else [])]
        if found:
            bad[f"moment {at}, {part:.0%} written"] = found
    return len(trace), len(cases), bad


def _lay_out(path: str, files: dict[str, bytes]) -> None:
    folder, name = os.path.split(path)
    for each in os.listdir(folder):
        if each.startswith(name):
            os.unlink(os.path.join(folder, each))
    for each, data in files.items():
        with open(each, "wb") as file:
            file.write(data)
