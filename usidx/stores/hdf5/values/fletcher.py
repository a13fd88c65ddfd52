"""The checksum of the Fletcher32 filter: HDF5's own function, or the same in NumPy."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from usidx.model.dimension import Array

# Words in a row: what a row is added to stays in the cache, and threads that check one chunk each
# seldom wait for each other, as they would between many short calls of NumPy.
_ROW = 2**15
# Rows whose sums of sums, row after row, stay below 2**32.
_ROWS = 256
_PLACES = np.arange(_ROW, dtype=np.uint64)


def fletcher32(data: Any) -> int:
    """The checksum that HDF5 computes of some bytes (H5_checksum_fletcher32).

    J. Fletcher, IEEE Trans. Commun. 30, 247, 1982: sums of 16-bit words, and of those sums, modulo
    65535. HDF5 takes the words as big-endian, and an odd last byte as the upper half of a word.

    HDF5's own function computes it where the library that h5py brings gives it away: it lets other
    threads go on meanwhile, which so many short calls of NumPy do badly.

    Parameters
    ----------
    data : anything whose bytes lie in one piece

    Examples
    --------
    >>> hex(fletcher32(b"abcde"))
    '0x4ff029c7'
    """
    octets = np.frombuffer(data, np.uint8)
    compiled = _compiled()
    if compiled is not None:
        return compiled(octets.ctypes.data, octets.size)
    return in_numpy(octets)


@functools.cache
def _compiled() -> Callable[[int, int], int] | None:
    """HDF5's own function, of an address and a number of bytes; None where it is not to be had.

    It is no part of HDF5's public interface, so it must show first that it is what it is called.
    """
    import h5py

    try:
        found = ctypes.CDLL(h5py.h5z.__file__).H5_checksum_fletcher32
    except (OSError, AttributeError):
        return None
    found.restype = ctypes.c_uint32
    found.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    sample = np.arange(4099, dtype=np.uint32).view(np.uint8)[3:]
    if any(found(sample.ctypes.data, n) != in_numpy(sample[:n]) for n in (1, 2, 721, sample.size)):
        return None
    return found


def in_numpy(octets: Array) -> int:
    """The same checksum, computed by NumPy alone.

    Parameters
    ----------
    octets : array of uint8, in one piece
    """
    behind = (octets.size + 1) // 2
    words = octets[: octets.size // 2 * 2].view("<u2")
    first = second = 0
    for start in range(0, words.size, _ROW * _ROWS):
        part = words[start : start + _ROW * _ROWS]
        behind -= part.size
        plain, weighted = _sums(part)
        first += plain
        second += weighted + behind * plain
    # The bytes of every word were taken in the other order: modulo 65535, 256 turns them around.
    first, second = 256 * first, 256 * second
    if octets.size % 2:
        word = 256 * int(octets[-1])
        first += word
        second += word
    return _folded(second) << 16 | _folded(first) if first else 0


def _sums(words: Array) -> tuple[int, int]:
    """The sum of some words, and that in which the n-th last word counts n times.

    The words lie in rows. What the words at one place of all rows sum up to, and those sums row
    after row, is all it takes.

    Parameters
    ----------
    words : array of uint16
    """
    width = min(_ROW, words.size)
    height = -(-words.size // width)
    sums = np.zeros(width, np.uint32)
    sums_of_sums = np.zeros(width, np.uint32)
    for row in range(height):
        given = words[row * width : (row + 1) * width]
        if given.size < width:
            given = np.concatenate([given, np.zeros(width - given.size, given.dtype)])
        sums += given
        sums_of_sums += sums
    total = int(sums.sum(dtype=np.uint64))
    at_places = int(np.dot(sums.astype(np.uint64), _PLACES[:width]))
    weighted = width * int(sums_of_sums.sum(dtype=np.uint64)) - at_places
    return total, weighted - (height * width - words.size) * total


def _folded(total: int) -> int:
    # One's complement sums of anything but zeros are never 0: they are 65535 then.
    return (total - 1) % 65535 + 1


def agrees(data: Any, stored: int) -> bool:
    """Whether bytes have the checksum that is stored with them, by any release of HDF5."""
    found = fletcher32(data)
    # Before 1.6.3 the bytes of each half were swapped on little-endian machines.
    swapped = int.from_bytes(
        bytes(found.to_bytes(4, "little")[place] for place in (1, 0, 3, 2)), "little"
    )
    return stored in (found, swapped)
