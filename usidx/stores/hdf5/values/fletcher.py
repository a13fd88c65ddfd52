"""The checksum of the Fletcher32 filter, in NumPy."""

from __future__ import annotations

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

    Parameters
    ----------
    data : anything whose bytes lie in one piece

    Examples
    --------
    >>> hex(fletcher32(b"abcde"))
    '0x4ff029c7'
    """
    octets = np.frombuffer(data, np.uint8)
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
