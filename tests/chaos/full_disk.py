"""Let the disk be full at many points: what was there stays, and the work goes on with room.

A small tmpfs has exactly as much room as a point says; or the system allows no larger files.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.chaos import looking, slow
from tests.chaos.children import import_all, in_child

SHARES = (0.0, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97)
"""How much of the room that a work needs there is."""
FILE_SHARES = (0.05, 0.6)
ADVICE = re.compile(r"(up to )?[0-9.]+ (bytes|[KMGT]iB).*needed|take up to [0-9.]+|[kK]ilobytes")
NEW = "/Measurement_000/Channel_001/Raw_Data"

How = Literal["disk", "file", "filling"]


@dataclass
class Tally:
    """What came of all points.

    Parameters
    ----------
    points : tried
    refused : where there was a NoSpaceError
    before_work : of those, where not one block had been computed
    enough : where there was room after all, for what is stored takes less than was reckoned with
    bad : what was wrong, in words
    """

    points: int = 0
    refused: int = 0
    before_work: int = 0
    enough: int = 0
    bad: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Work:
    """Something that needs room.

    Parameters
    ----------
    ending : of the store
    do : does it, at a path
    check : what is wrong once it is done
    """

    ending: str
    do: Callable[[str], Any]
    check: Callable[[str], list[str]]


def _export(path: str) -> None:
    source = slow.opened(path)
    target = _exported(path)
    if target.endswith(".h5"):
        source.usid.to_h5usid(target, checksums=False)
    else:
        source.usid.to_zarr(target)


def _exported(path: str) -> str:
    stem, ending = os.path.splitext(path)
    return f"{stem}-new{ending}"


def _append(path: str) -> None:
    source = slow.opened(path)
    if path.endswith(".h5"):
        source.usid.to_h5usid(path, append="Measurement_000", checksums=False)
    else:
        source.usid.to_zarr(path, group=NEW)


def _run_faults(path: str) -> list[str]:
    (group,) = looking.results_of(path)
    same = (looking.result_values(path, group) == slow.source_values() ** 2).all()
    return [] if same else ["the result is wrong"]


def _main_faults(path: str, main: str | None = None) -> list[str]:
    import usidx

    same = (usidx.open(path, main).values == slow.source_values()).all()
    return [] if same else [f"{main or path} has other values"]


WORKS = {
    f"{kind} {name}": Work(ending, do, check)
    for name, ending in (("hdf5", ".h5"), ("zarr", ".zarr"))
    for kind, do, check in (
        ("run", lambda path: slow.run(path, "whole"), _run_faults),
        ("export", _export, lambda path: _main_faults(_exported(path))),
        ("append", _append, lambda path: _main_faults(path, NEW)),
    )
}


@contextlib.contextmanager
def small_disk(folder: str, size: int) -> Iterator[str]:
    """A folder with a tmpfs of `size` bytes.

    Raises
    ------
    PermissionError : where this user may not mount one
    """
    place = os.path.join(folder, "small")
    os.mkdir(place)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "usidx-chaos", place]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
        said = done.stderr.strip()
    except FileNotFoundError:
        said = "there is no mount"
    if not os.path.ismount(place):
        raise PermissionError(f"no tmpfs can be mounted here: {said}")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def attack(folder: str, *, step: int = 1) -> tuple[Tally, str]:
    """(what came of it, why no disk could be made small, "" where one could).

    Parameters
    ----------
    folder : to work in
    step : only every so many of the points
    """
    tally = Tally()
    why = ""
    number = 0
    os.environ["CHAOS_LOG"] = os.path.join(folder, "log")
    with contextlib.ExitStack() as stack:
        try:
            place = stack.enter_context(small_disk(folder, 32 * 2**20))
        except PermissionError as error:
            why, place = str(error), os.path.join(folder, "small")
        for name, work in WORKS.items():
            template = os.path.join(folder, "template" + work.ending)
            if not os.path.exists(template):
                _must(lambda path=template: slow.make_source(path))  # type: ignore[misc]
            room = _room_taken(template, place, work)
            points: list[tuple[How, float]] = [("file", share) for share in FILE_SHARES]
            if not why:
                points += [("disk", share) for share in SHARES]
                points += [("filling", 0.5)] if name.startswith("run") else []
            for how, share in points:
                number += 1
                if number % step == 0:
                    _point(
                        f"{name}, {how} {share}", template, place, work, how, share * room, tally
                    )
    return tally, why


def _must(work: Callable[[], Any]) -> Any:
    ended = in_child(work)
    if ended.trouble:
        raise RuntimeError(ended.trouble)
    return ended.result


def _placed(template: str, place: str) -> str:
    for left in os.listdir(place):
        inside = os.path.join(place, left)
        (shutil.rmtree if os.path.isdir(inside) else os.unlink)(inside)
    path = os.path.join(place, "scan" + os.path.splitext(template)[1])
    (shutil.copytree if os.path.isdir(template) else shutil.copyfile)(template, path)
    return path


def _taken(place: str) -> int:
    """Bytes of disk that everything in a folder takes."""
    found = [each for each in pathlib.Path(place).rglob("*") if each.is_file()]
    return sum(each.stat().st_blocks * 512 for each in found)


def _room_taken(template: str, place: str, work: Work) -> int:
    path = _placed(template, place)
    before = _taken(place)

    def do() -> list[str]:
        import sys

        work.do(path)
        assert work.check(path) == []
        return list(sys.modules)

    import_all(_must(do))
    return _taken(place) - before


def _point(
    point: str, template: str, place: str, work: Work, how: How, room: float, tally: Tally
) -> None:
    path = _placed(template, place)
    before = looking.source_digest(path)
    size = os.path.getsize(path) if os.path.isfile(path) else 0
    log = pathlib.Path(os.environ["CHAOS_LOG"])
    log.write_bytes(b"")
    ballast = os.path.join(place, "ballast")
    if how == "disk":
        _fill(ballast, int(room))
    ended = in_child(lambda: _tried(work, path, how, ballast, size + int(room)))
    tally.points += 1
    computed = len(log.read_text().splitlines())
    with contextlib.suppress(FileNotFoundError):
        os.unlink(ballast)
    faults = [ended.trouble] if ended.trouble else []
    kind, message = ended.result or ["", ""]
    if kind == "NoSpaceError":
        tally.refused += 1
        tally.before_work += computed == 0
        if not ADVICE.search(message):
            faults.append(f"it does not say how much is needed: {message}")
        if how == "disk" and path.endswith(".h5") and computed:
            faults.append(f"{computed} blocks were computed though there was no room for them")
    elif kind:
        faults.append(f"{kind}: {message}")
    else:
        tally.enough += 1
    faults += _must(lambda: _afterwards(work, path, before, bool(kind)))
    tally.bad += [f"{point}: {each}" for each in faults]


def _fill(ballast: str, room: int) -> None:
    """Leave so much room on the disk."""
    with open(ballast, "ab", buffering=0) as file:
        there = os.fstatvfs(file.fileno())
        free = there.f_bfree * there.f_frsize
        if free > room:
            with contextlib.suppress(OSError):  # what others write just now fills it, too
                os.posix_fallocate(file.fileno(), 0, free - room)
        if not room:
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(4096))


def _tried(work: Work, path: str, how: How, ballast: str, largest: int) -> list[str]:
    """Name and text of the error, empty where there was none."""
    try:
        if how == "file":
            import resource

            if os.path.isdir(path):
                largest = 4096  # of any file: there are many
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))
        if how == "filling":
            done: list[Any] = []
            slow.run(path, "whole", on_block=lambda event: _after_some(event, done, ballast))
        else:
            work.do(path)
    except Exception as error:
        return [type(error).__name__, str(error)]
    return ["", ""]


def _after_some(event: Any, done: list[Any], ballast: str) -> None:
    done.append(event)
    if len(done) == 4:
        _fill(ballast, 0)


def _afterwards(work: Work, path: str, before: str, again: bool) -> list[str]:
    """What is wrong with the source, and with the work once there is room for it."""
    faults = [] if looking.source_digest(path) == before else ["the source has changed"]
    if again:
        work.do(path)
    faults += work.check(path)
    if looking.source_digest(path) != before:
        faults.append("going on has changed the source")
    folder = os.path.dirname(path)
    stores = {os.path.basename(path), os.path.basename(_exported(path))}
    faults += [f"{each} was left" for each in set(os.listdir(folder)) - stores]
    faults += [f"{each} was left" for each in pathlib.Path(folder).rglob("*.partial")]
    return faults
