"""The log of a transaction: what changes in the file, bytes before and after, with a checksum.

It lies beside the file from the moment at which the change is decided until it is made. Found
later, it says whether the change was not begun, half made or made, and holds what is missing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
from dataclasses import dataclass
from typing import Literal

from usidx.stores import disk

SUFFIX = ".usidx-log"
_UNFINISHED = ".tmp"
_MAGIC = b"usidxlog"
_VERSION = 1
_LENGTH = struct.Struct("<Q")
_CHANGE = struct.Struct("<QI")

State = Literal["untouched", "begun", "finished", "foreign"]


@dataclass(frozen=True)
class Change:
    """Bytes of a file at `offset`, `before` and `after`, of the same length."""

    offset: int
    before: bytes
    after: bytes

    @property
    def stop(self) -> int:
        """Where the bytes end."""
        return self.offset + len(self.after)


@dataclass(frozen=True)
class Log:
    """Everything that one transaction changes in a file.

    Parameters
    ----------
    changes : of bytes below `old_size`
    old_size, new_size : of the file; what lies between them is in the file already
    device, inode : of the file
    what : what was done, and by whom, for messages
    """

    changes: tuple[Change, ...]
    old_size: int
    new_size: int
    device: int
    inode: int
    what: str = ""


class BrokenLogError(ValueError):
    """The bytes are no whole log."""


def log_path(path: str) -> str:
    """Where the log of the file at `path` lies while there is one."""
    return os.path.realpath(path) + SUFFIX


def encode(log: Log) -> bytes:
    """A log as bytes that `decode` reads back, and does not when a bit of them has changed."""
    facts = {
        "version": _VERSION,
        "old_size": log.old_size,
        "new_size": log.new_size,
        "device": log.device,
        "inode": log.inode,
        "what": log.what,
        "changes": len(log.changes),
    }
    head = json.dumps(facts).encode()
    parts = [_LENGTH.pack(len(head)), head]
    for change in log.changes:
        parts += [_CHANGE.pack(change.offset, len(change.after)), change.before, change.after]
    payload = b"".join(parts)
    return _MAGIC + hashlib.sha256(payload).digest() + payload


def decode(data: bytes) -> Log:
    """The log in `data`.

    Raises
    ------
    BrokenLogError : where it is cut or changed, or of a later version of usidx
    """
    start = len(_MAGIC)
    payload = data[start + 32 :]
    if data[:start] != _MAGIC or hashlib.sha256(payload).digest() != data[start : start + 32]:
        raise BrokenLogError("it is cut or damaged")
    place = _LENGTH.size + _LENGTH.unpack_from(payload)[0]
    facts = json.loads(payload[_LENGTH.size : place])
    if facts["version"] != _VERSION:
        raise BrokenLogError(f"its version {facts['version']} is not known to this usidx")
    changes = []
    for _ in range(facts["changes"]):
        offset, length = _CHANGE.unpack_from(payload, place)
        place += _CHANGE.size
        before, after = payload[place : place + length], payload[place + length :][:length]
        changes.append(Change(offset, before, after))
        place += 2 * length
    return Log(
        tuple(changes),
        facts["old_size"],
        facts["new_size"],
        facts["device"],
        facts["inode"],
        facts["what"],
    )


def save(log: Log, path: str) -> None:
    """Put a log beside the file at `path`, whole or not at all, and on disk when this returns."""
    target = log_path(path)
    data = encode(log)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    try:
        with disk.opened(target + _UNFINISHED, flags) as descriptor:
            disk.write_at(descriptor, data, 0)
            disk.sync(descriptor)
        disk.replace(target + _UNFINISHED, target)
    except BaseException:
        remove_unfinished(path)
        raise
    disk.sync_folder(os.path.dirname(target))


def load(path: str) -> Log | None:
    """The log beside the file at `path`; None where there is none, or an empty one.

    Raises
    ------
    BrokenLogError : where the log is not whole
    """
    try:
        with disk.opened(log_path(path), os.O_RDONLY) as descriptor:
            data = disk.read_at(descriptor, os.fstat(descriptor).st_size, 0)
    except FileNotFoundError:
        return None
    return decode(data) if data else None


def remove(path: str) -> None:
    """Take the log away, for good: a log that came back after a power failure would do harm."""
    target = log_path(path)
    if not disk.FOLDER_SYNC:
        with disk.opened(target, os.O_WRONLY) as descriptor:
            disk.truncate(descriptor, 0)
            disk.sync(descriptor)
    disk.remove(target)
    disk.sync_folder(os.path.dirname(target))


def remove_unfinished(path: str) -> None:
    """Take away a log that was never completed."""
    with contextlib.suppress(FileNotFoundError):
        disk.remove(log_path(path) + _UNFINISHED)


def apply(log: Log, descriptor: int) -> None:
    """Make the changes in the file, and wait until they are on disk; twice does no harm."""
    for change in log.changes:
        disk.write_at(descriptor, change.after, change.offset)
    disk.sync(descriptor)


def state(log: Log, descriptor: int) -> State:
    """How far the changes of a log have been made in a file.

    "untouched" and "finished" mean that every byte is as before, or as after. "begun" is any mix
    of the two, even within one change: a write can be torn anywhere. "foreign" means that the file
    is not the one the log was made for.
    """
    size = os.fstat(descriptor).st_size
    if size < log.old_size:
        return "foreign"
    before = after = True
    for change in log.changes:
        now = disk.read_at(descriptor, len(change.after), change.offset)
        before = before and now == change.before
        after = after and now == change.after
        if not _is_mix(now, change):
            return "foreign"
    if before:
        return "untouched"
    # what lies beyond the old size was on disk before the first change was made
    if size < log.new_size:
        return "foreign"
    return "finished" if after else "begun"


def _is_mix(now: bytes, change: Change) -> bool:
    if now in (change.before, change.after):
        return True
    return len(now) == len(change.after) and all(
        found in pair for found, *pair in zip(now, change.before, change.after, strict=True)
    )
