"""What the superblock of an HDF5 file says: where the file ends, and whether it was closed.

Format: HDF5 File Format Specification 3.0, II.A "Disk Format: Level 0A - Format Signature and
Superblock".
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from usidx.stores import disk

SIGNATURE = b"\x89HDF\r\n\x1a\n"
_LONGEST = 96
# Where the base address stands in each version; the end of the file stands two addresses later.
_BASE_AT = {0: 24, 1: 28, 2: 12, 3: 12}


@dataclass(frozen=True)
class Superblock:
    """The beginning of an HDF5 file.

    Parameters
    ----------
    start : where it is in the file: behind a user block
    version : 0 to 3 are known
    end : the first byte behind everything that HDF5 has in the file; None where not understood
    is_open : whether a program has the file open for writing, or ended without closing it; only
        files of version 3 tell
    """

    start: int
    version: int
    end: int | None
    is_open: bool


def read_superblock(descriptor: int) -> Superblock | None:
    """The superblock of an open file; None where it has none, so that it is no HDF5 file."""
    size = os.fstat(descriptor).st_size
    start = 0
    while start < size:
        block = disk.read_at(descriptor, _LONGEST, start).ljust(_LONGEST, b"\0")
        if block.startswith(SIGNATURE):
            return _parse(block, start)
        start = max(512, 2 * start)
    return None


def _parse(block: bytes, start: int) -> Superblock:
    version = block[8]
    width = block[13] if version < 2 else block[9]
    at = _BASE_AT.get(version)
    if at is None or width not in (2, 4, 8):
        return Superblock(start, version, None, False)
    base = int.from_bytes(block[at : at + width], "little")
    end = int.from_bytes(block[at + 2 * width : at + 3 * width], "little")
    # a user block that was put in front later has moved everything
    return Superblock(start, version, end + start - base, version == 3 and block[11] != 0)
