"""Heaps of texts that HDF5 would read forever.

Texts of any length lie in global heaps, which have no checksums: a collection of objects, one after
the other, the last of which is the free space. Where a flipped bit makes that one 0 bytes long,
HDF5 2.0 goes on to itself, again and again, and can not be interrupted.
"""

from __future__ import annotations

import os
import struct

_SIGNATURE = b"GCOL\x01\0\0\0"
_HEAD = struct.Struct("<8sQ")
_OBJECT = struct.Struct("<HHIQ")
# Larger files take too long to look through whenever they are opened.
_MOST_BYTES = 2**23


def endless_heap(descriptor: int, size: int) -> int | None:
    """The byte at which a heap that has no end starts, in an open file of `size` bytes, or None."""
    if size > _MOST_BYTES or not hasattr(os, "pread"):
        return None
    data = os.pread(descriptor, size, 0)
    start = data.find(_SIGNATURE)
    while start >= 0:
        if _is_endless(data, start):
            return start
        start = data.find(_SIGNATURE, start + 1)
    return None


def starts_endless_heap(data: bytes) -> bool:
    """Whether some bytes that HDF5 asked for are the start of a heap that has no end."""
    return data.startswith(_SIGNATURE) and _is_endless(data, 0)


def _is_endless(data: bytes, start: int) -> bool:
    if start + _HEAD.size > len(data):
        return False
    stop = min(start + _HEAD.unpack_from(data, start)[1], len(data))
    place = start + _HEAD.size
    while place + _OBJECT.size <= stop:
        index, _, _, size = _OBJECT.unpack_from(data, place)
        # the free space counts its own head, and is not rounded up
        length = size if index == 0 else _OBJECT.size + (size + 7) // 8 * 8
        if not length % 2**64:
            return True
        place += length
    return False
