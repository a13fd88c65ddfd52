"""The checksum of the Fletcher32 filter, in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from usidx.model.dimension import Array

# Pairs of words in a row: what a row is added to stays in the cache.
_ROW = 2**13
# Rows whose sums of sums, row after row, stay below 2**32.
_ROWS = 256
_LOWER, _WORD = np.uint32(0xFFFF), np.uint32(16)
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
    pairs = octets[: octets.size // 4 * 4].view("<u4")
    first = second = 0
    for start in range(0, pairs.size, _ROW * _ROWS):
        part = pairs[start : start + _ROW * _ROWS]
        behind -= 2 * part.size
        plain, weighted = _sums(part)
        first += plain
        second += weighted + behind * plain
    # The bytes of every word were taken in the other order: modulo 65535, 256 turns them around.
    first, second = 256 * first, 256 * second
    rest = octets[4 * pairs.size :].tobytes()
    for place in range(0, len(rest), 2):
        word = int.from_bytes(rest[place : place + 2].ljust(2, b"\0"), "big")
        first += word
        second += word * behind
        behind -= 1
    return _folded(second) << 16 | _folded(first) if first else 0


def _sums(pairs: Array) -> tuple[int, int]:
    """The sum of some words, and that in which the n-th last word counts n times.

    The words lie in rows. What the words at one place of all rows sum up to, and those sums row
    after row, is all it takes.

    Parameters
    ----------
    pairs : array of uint32, each of two words, the lower one first
    """
    width = min(_ROW, pairs.size)
    height = -(-pairs.size // width)
    sums = np.zeros((2, width), np.uint32)
    sums_of_sums = np.zeros((2, width), np.uint32)
    words = np.empty((2, width), np.uint32)
    for row in range(height):
        given = pairs[row * width : (row + 1) * width]
        if given.size < width:
            given = np.concatenate([given, np.zeros(width - given.size, given.dtype)])
        np.bitwise_and(given, _LOWER, out=words[0])
        np.right_shift(given, _WORD, out=words[1])
        sums += words
        sums_of_sums += sums
    lower, upper = (int(each) for each in sums.sum(axis=1, dtype=np.uint64))
    total = lower + upper
    at_places = int(np.dot(sums[0] + sums[1].astype(np.uint64), _PLACES[:width]))
    weighted = 2 * width * int(sums_of_sums.sum(dtype=np.uint64)) - 2 * at_places - upper
    return total, weighted - 2 * (height * width - pairs.size) * total


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
