"""Stores that were not finished: kept beside their target, with a journal of the chunks written.

A line of the journal is written after its chunk: name, size and checksum of the file, and a
checksum of the line itself. A chunk counts where its file is as the journal says; so a crash, even
of the machine, costs what was just being written and never leaves a wrong value.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

import google_crc32c

from usidx.stores import disk
from usidx.stores.zarr.staging import remove_aside, tidy, writing

_UNFINISHED = ".usidx-unfinished-"
_JOURNAL = "journal"


@dataclass(frozen=True)
class Journal:
    """Which chunks of a store that is being made are whole; it pickles and holds nothing open.

    Parameters
    ----------
    folder : that the store is made in
    """

    folder: str

    @property
    def path(self) -> str:
        """Of the file."""
        return os.path.join(self.folder, _JOURNAL)

    def begin(self, fingerprint: str) -> bool:
        """Whether this is the journal of what has this fingerprint; else a new one is begun."""
        with contextlib.suppress(OSError, UnicodeDecodeError), open(self.path, "rb") as file:
            if file.readline().decode().rstrip("\n") == fingerprint:
                return True
        disk.put(self.path, f"{fingerprint}\n".encode(), wait=True)
        return False

    def add(self, file: str, size: int, checksum: int) -> None:
        """Say that a chunk is written, by the path of its file, its size and its CRC-32C."""
        name = os.path.relpath(file, self.folder)
        text = f"{checksum:08x} {size} {name}".encode()
        line = b"%s %08x\n" % (text, google_crc32c.value(text))
        with disk.opened(self.path, os.O_WRONLY | os.O_APPEND) as descriptor:
            os.write(descriptor, line)

    def chunks(self) -> dict[str, tuple[int, int]]:
        """(size, checksum) of each chunk file by its path; lines that are torn are left out."""
        found = {}
        try:
            with open(self.path, "rb") as file:
                lines = file.read().split(b"\n")[1:]
        except FileNotFoundError:
            return {}
        for line in lines:
            text, _, said = line.rpartition(b" ")
            with contextlib.suppress(ValueError):
                if int(said, 16) == google_crc32c.value(text):
                    checksum, size, name = text.decode().split(" ", 2)
                    found[os.path.join(self.folder, name)] = int(size), int(checksum, 16)
        return found

    def end(self) -> None:
        """Forget everything: what is in the folder from here on is not to be gone on with."""
        with contextlib.suppress(FileNotFoundError):
            disk.remove(self.path)
        disk.sync_folder(self.folder)


def is_whole(file: str, known: dict[str, tuple[int, int]]) -> bool:
    """Whether a chunk file is as the journal says."""
    if file not in known:
        return False
    size, checksum = known[file]
    try:
        with open(file, "rb") as stream:
            data = stream.read(size + 1)
    except OSError:
        return False
    return len(data) == size and google_crc32c.value(data) == checksum


@contextlib.contextmanager
def unfinished(target: str, fingerprint: str) -> Iterator[Journal]:
    """The journal and folder in which what has this fingerprint is made, found again or new.

    Only for who holds the lock of `target`. It is removed in the end; after an error it stays where
    chunks have been written.
    """
    parent, name = os.path.split(target)
    tidy(target)
    folder = os.path.join(parent, f".{name}{_UNFINISHED}{fingerprint[:16]}")
    journal = Journal(folder)
    with writing(target):
        os.makedirs(folder, exist_ok=True)
        if not journal.begin(fingerprint):
            for each in os.listdir(folder):
                if each != _JOURNAL:
                    disk.remove_tree(os.path.join(folder, each))
    try:
        yield journal
    except BaseException:
        if not journal.chunks():
            remove_aside(folder)
        raise
    remove_aside(folder)


def sweep(target: str, but: str | None = None) -> None:
    """Remove what was not finished of other stores for `target` than that of a fingerprint."""
    parent, name = os.path.split(target)
    start = f".{name}{_UNFINISHED}"
    kept = None if but is None else start + but[:16]
    for each in os.listdir(parent) if os.path.isdir(parent) else ():
        if each.startswith(start) and each != kept:
            remove_aside(os.path.join(parent, each))
