"""Kill a writer at every change of a file, and look at what it leaves."""

from __future__ import annotations

import ctypes
import os
import pathlib
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.chaos import failing, subject, zarr_subject
from tests.chaos.children import import_all, in_child
from usidx.stores import disk, store_at
from usidx.stores.deleting import delete_group
from usidx.stores.hdf5.transactions.transaction import recover

SHIM = pathlib.Path(__file__).with_name("shim.c")
_NAME = "under-attack"
_BASE = "base"


@dataclass(frozen=True)
class Mode:
    """One way in which a result is written.

    Parameters
    ----------
    options : of the h5py.File that makes the source
    share : whether the result shares the ancillaries of the source's positions
    portable : whether to do without what only Linux has
    work : "result": a whole life of one; "recovery": completing a claim that was interrupted;
        "compressed": the same in compressed chunks; "export": replacing the file by another;
        "append" and "append plain": adding a Main, in chunks or in one piece; "delete": taking a
        result away; "failing": a result that says where the step failed; "stock": a result by
        plain h5py, to be found bad
    ending : of the path
    tears : how many eighths of a write are done when it is the last
    """

    options: dict[str, Any] = field(default_factory=dict)
    share: bool = True
    portable: bool = False
    work: Literal[
        "result",
        "compressed",
        "recovery",
        "export",
        "append",
        "append plain",
        "delete",
        "failing",
        "stock",
    ] = "result"
    ending: str = ".h5"
    tears: tuple[int, ...] = (0, 1, 4, 7)

    def make(self, path: str) -> None:
        """What it begins with."""
        subject.make_scan(path, **self.options)
        if self.work == "recovery":
            subject.interrupt(path)
        if self.work == "delete":
            subject.run(path, share=self.share)

    def do(self, path: str) -> None:
        """What is interrupted."""
        if self.work == "result":
            subject.run(path, share=self.share)
        elif self.work == "compressed":
            subject.run(path, share=self.share, compression="gzip")
        elif self.work == "failing":
            failing.run(path)
        elif self.work == "recovery":
            recover(path)
        elif self.work == "delete":
            delete_group(store_at(path), subject.GROUP)
        elif self.work == "stock":
            subject.run_stock(path)
        elif self.work.startswith("append"):
            subject.append(path, checked=self.work == "append")
        else:
            subject.export(path)

    def faults(self, path: str) -> list[str]:
        """What is wrong afterwards."""
        if self.work == "delete":
            return subject.delete_faults(path)
        if self.work == "failing":
            return failing.faults(path) or subject.faults(path)
        if self.work.startswith("append"):
            with open(os.path.join(os.path.dirname(path), _BASE + ".h5"), "rb") as base:
                return subject.append_faults(path, base.read())
        return subject.export_faults(path) if self.work == "export" else subject.faults(path)


@dataclass(frozen=True)
class ZarrMode:
    """One way in which a Zarr store is written.

    Parameters
    ----------
    work : "result": a whole life of one; "durable": the same, waiting for the disk; "new store": in
        a store of its own; "export": a new store; "overwrite": in place of another; "replace": a
        Main in place of another; "add": one more Main; "delete": taking a result away; "failing": a
        result that says where the step failed; "hurried": marks before values, to be found bad
    portable : whether to do without what only Linux has
    ending : of the path
    tears : how many eighths of a write are done when it is the last
    """

    work: Literal[
        "result", "durable", "new store", "export", "overwrite", "replace", "add", "hurried"
    ]
    portable: bool = False
    ending: str = ".zarr"
    tears: tuple[int, ...] = (0, 4)

    def make(self, path: str) -> None:
        """What it begins with."""
        if self.work not in ("new store", "export"):
            in_child(lambda: zarr_subject.make_store(path))
        if self.work == "delete":
            in_child(lambda: zarr_subject.run(path))

    def do(self, path: str) -> None:
        """What is interrupted."""
        work: dict[str, Callable[[], None]] = {
            "result": lambda: zarr_subject.run(path),
            "durable": lambda: zarr_subject.run(path, durable=True),
            "hurried": lambda: zarr_subject.run_hurried(path),
            "new store": lambda: zarr_subject.run(path),
            "export": lambda: zarr_subject.make_store(path),
            "overwrite": lambda: zarr_subject.export(path),
            "replace": lambda: zarr_subject.replace_main(path),
            "add": lambda: zarr_subject.add_main(path),
            "delete": lambda: delete_group(store_at(path), subject.GROUP),
            "failing": lambda: failing.run(path),
        }
        work[self.work]()

    def faults(self, path: str) -> list[str]:
        """What is wrong afterwards."""
        look: dict[str, Callable[[], list[str]]] = {
            "result": lambda: zarr_subject.result_faults(path),
            "durable": lambda: zarr_subject.result_faults(path),
            "hurried": lambda: zarr_subject.result_faults(path),
            "new store": lambda: zarr_subject.result_faults(path, source=False),
            "export": lambda: zarr_subject.new_store_faults(path),
            "overwrite": lambda: zarr_subject.replaced_faults(path),
            "replace": lambda: zarr_subject.replaced_main_faults(path),
            "add": lambda: zarr_subject.added_faults(path),
            "delete": lambda: zarr_subject.delete_faults(path),
            "failing": lambda: failing.faults(path) or zarr_subject.result_faults(path),
        }
        return look[self.work]()


AnyMode = Mode | ZarrMode

MODES: dict[str, AnyMode] = {
    "plain": Mode(),
    "own-ancillaries": Mode(share=False),
    "latest": Mode({"libver": "latest"}),
    "user-block": Mode({"userblock_size": 1024}, share=False),
    "free-space": Mode({"fs_strategy": "fsm", "fs_persist": True}),
    "paged": Mode({"fs_strategy": "page", "fs_persist": True, "fs_page_size": 4096}),
    "portable": Mode(portable=True),
    "compressed": Mode(work="compressed"),
    "compressed-free-space": Mode({"fs_strategy": "fsm", "fs_persist": True}, work="compressed"),
    "compressed-portable": Mode({"userblock_size": 1024}, portable=True, work="compressed"),
    "failing": Mode(work="failing"),
    "failing-portable": Mode(work="failing", portable=True),
    "recovery": Mode(work="recovery"),
    "recovery-portable": Mode(work="recovery", portable=True),
    "delete": Mode(work="delete"),
    "delete-own-ancillaries": Mode(work="delete", share=False),
    "delete-free-space": Mode({"fs_strategy": "fsm", "fs_persist": True}, work="delete"),
    "delete-portable": Mode(work="delete", portable=True),
    "export": Mode(work="export"),
    "append": Mode(work="append"),
    "append-plain": Mode({"userblock_size": 1024}, work="append plain"),
    "append-free-space": Mode({"fs_strategy": "fsm", "fs_persist": True}, work="append"),
    "append-latest": Mode({"libver": "latest"}, work="append"),
    "append-portable": Mode(work="append plain", portable=True),
    "zarr": ZarrMode("result"),
    "zarr-durable": ZarrMode("durable"),
    "zarr-portable": ZarrMode("result", portable=True),
    "zarr-new-store": ZarrMode("new store"),
    "zarr-export": ZarrMode("export"),
    "zarr-overwrite": ZarrMode("overwrite"),
    "zarr-overwrite-portable": ZarrMode("overwrite", portable=True),
    "zarr-replace": ZarrMode("replace"),
    "zarr-replace-portable": ZarrMode("replace", portable=True),
    "zarr-add": ZarrMode("add"),
    "zarr-failing": ZarrMode("failing"),
    "zarr-delete": ZarrMode("delete"),
    "zarr-delete-portable": ZarrMode("delete", portable=True),
}


# What the attack must find something in.
BAD_MODES: dict[str, AnyMode] = {"stock": Mode(work="stock"), "zarr-hurried": ZarrMode("hurried")}


@dataclass
class Tally:
    """What came of one mode: points there are, points tried, and what was wrong at which."""

    points: int = 0
    tried: int = 0
    bad: dict[str, list[str]] = field(default_factory=dict)


def build_shim(folder: str) -> str:
    """The path of the compiled shim.

    Raises
    ------
    FileNotFoundError : where there is no gcc
    """
    compiler = shutil.which("gcc")
    if compiler is None:
        raise FileNotFoundError("gcc")
    target = os.path.join(folder, "shim.so")
    command = [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-o", target, str(SHIM), "-ldl"]
    subprocess.run(command, check=True, capture_output=True)
    return target


def is_preloaded() -> bool:
    """Whether this process runs with the shim."""
    return hasattr(ctypes.CDLL(None), "chaos_count")


def attack(mode: AnyMode, folder: str, *, most: int | None = None, seed: int = 0) -> Tally:
    """Kill a writer at its points, clean and torn, and collect what is wrong afterwards.

    Parameters
    ----------
    mode : how it writes
    folder : to work in; fsync is fast on a tmpfs
    most : points to try, chosen at random; None for all of them
    seed : of the choice
    """
    base = os.path.join(folder, _BASE + mode.ending)
    _clear(base)  # the log that another mode left is of another file
    mode.make(base)
    path = os.path.join(folder, _NAME + mode.ending)
    tally = Tally()
    _prepare(base, path)
    ended = in_child(_writer(path, mode, at=0, torn=0))
    tearable: list[bool] = ended.result or []
    tally.points = len(tearable)
    if ended.trouble or not tearable:
        tally.bad["without a crash"] = [ended.trouble or "nothing was counted"]
        return tally
    tally.bad.update(_look(mode, path, "without a crash"))
    points = [
        (at, torn)
        for at, can_tear in enumerate(tearable, start=1)
        for torn in (mode.tears if can_tear else (0,))
    ]
    if most is not None:
        points = sorted(random.Random(seed).sample(points, min(most, len(points))))
    for at, torn in points:
        _prepare(base, path)
        ended = in_child(_writer(path, mode, at=at, torn=torn))
        place = f"point {at}, torn at {torn}/8"
        if not ended.killed:
            tally.bad[place] = [ended.trouble or "it was not killed"]
            continue
        tally.tried += 1
        tally.bad.update(_look(mode, path, place))
    return tally


def _writer(path: str, mode: AnyMode, *, at: int, torn: int) -> Callable[[], list[bool]]:
    """What writes and dies; where it does not, which of its changes can be made in part."""

    def work() -> list[bool]:
        if mode.portable:
            do_without_linux()
        shim = ctypes.CDLL(None)
        shim.chaos_reset()
        os.environ.update(CHAOS_AT=str(at), CHAOS_TORN=str(torn), CHAOS_MATCH=_NAME)
        mode.do(path)
        del os.environ["CHAOS_MATCH"]
        return [bool(shim.chaos_tearable(number + 1)) for number in range(shim.chaos_count())]

    return work


def do_without_linux() -> None:
    """Make usidx take the ways it has for systems without the calls of Linux, in this process."""
    disk.POSITIONED_IO = disk.ALLOCATION = disk.KERNEL_LOCKS = disk.FOLDER_SYNC = False
    disk.EXCHANGE = False


def _look(mode: AnyMode, path: str, place: str) -> dict[str, list[str]]:
    """What is wrong with the file, as a child sees it: HDF5 may die of a broken one."""
    ended = in_child(lambda: [mode.faults(path), list(sys.modules)])
    import_all(ended.result[1] if ended.result else ())
    found = [*(ended.result or [[]])[0], *([ended.trouble] if ended.trouble else [])]
    if ended.killed and not found:
        found = ["the checker was killed"]
    return {place: found} if found else {}


def _prepare(base: str, path: str) -> None:
    _clear(path)
    for source in _siblings(base):
        target = path + source[len(base) :]
        if os.path.isdir(source):
            shutil.copytree(source, target)
        elif not source.endswith("-lock"):
            shutil.copyfile(source, target)


def _clear(path: str) -> None:
    for left in _siblings(path):
        if os.path.isdir(left):
            shutil.rmtree(left)
        else:
            os.unlink(left)


def _siblings(path: str) -> list[str]:
    """The store at `path`, and what lies beside it and is called after it."""
    folder, name = os.path.split(path)
    names = [each for each in os.listdir(folder) if each.startswith((name, f".{name}"))]
    return [os.path.join(folder, each) for each in names]
