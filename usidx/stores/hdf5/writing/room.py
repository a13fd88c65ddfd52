"""Room set aside in a file, and what tells that both are still what they were."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass

from usidx.stores import disk
from usidx.stores.hdf5.writing.new_result import Span

_HEADER_BYTES = 4096
_CONTIGUOUS = b"\x01"


@dataclass(frozen=True)
class FileMark:
    """What tells that a path leads to the same file as before."""

    host: str
    device: int
    inode: int

    @classmethod
    def of(cls, descriptor: int) -> FileMark:
        """That of an open file."""
        there = os.fstat(descriptor)
        return cls(platform.node(), there.st_dev, there.st_ino)

    def fits(self, descriptor: int) -> bool:
        """Whether the open file is that one, as far as this machine can tell."""
        now = FileMark.of(descriptor)
        # each machine numbers the devices of a shared file system in its own way
        return now.inode == self.inode and (now.host != self.host or now.device == self.device)


@dataclass(frozen=True)
class Room:
    """A span, with bytes of the file that say that it still belongs to its dataset.

    `seal` are the address and size of the values, as they stand at `seal_at` in the dataset's
    header; empty where they were not found there.
    """

    span: Span
    seal_at: int
    seal: bytes

    @classmethod
    def of(cls, span: Span, descriptor: int) -> Room:
        """The room of `span` in the open file, in which the dataset must be by now."""
        # Data layout message, class 1 (HDF5 File Format Specification, IV.A.2.i): address, size
        address = (span.offset - span.base).to_bytes(8, "little")
        seal = _CONTIGUOUS + address + span.nbytes.to_bytes(8, "little")
        found = disk.read_at(descriptor, _HEADER_BYTES, span.header).find(seal)
        return cls(span, span.header + found, seal) if found >= 0 else cls(span, 0, b"")

    def holds(self, descriptor: int) -> bool:
        """Whether the seal is where it was."""
        return disk.read_at(descriptor, len(self.seal), self.seal_at) == self.seal
