"""The checksum of the Fletcher32 filter, in NumPy."""

from __future__ import annotations

import numpy as np

# Words in a row, and rows at once: sums stay exact in float64, and temporaries in the cache.
_ROW = 4096
_ROWS = 64
_WEIGHTS = np.stack([np.ones(_ROW), _ROW - np.arange(_ROW, dtype=float)], axis=1)


def fletcher32(data: bytes | memoryview) -> int:
    """The checksum that HDF5 computes of some bytes (H5_checksum_fletcher32).

    J. Fletcher, IEEE Trans. Commun. 30, 247, 1982: sums of 16-bit words, and of those sums, modulo
    65535. HDF5 takes the words as big-endian, and an odd last byte as the upper half of a word.

    Examples
    --------
    >>> hex(fletcher32(b"abcde"))
    '0x4ff029c7'
    """
    words = np.frombuffer(data, ">u2", count=len(data) // 2)
    first, second, done = 0, 0, 0
    total = (len(data) + 1) // 2
    for start in range(0, len(words), _ROW * _ROWS):
        part = words[start : start + _ROW * _ROWS].astype(np.float64)
        rows = np.zeros((-(-len(part) // _ROW), _ROW))
        rows.reshape(-1)[: len(part)] = part
        # plain sums, and sums in which the n-th last word of a row counts n times
        sums = (rows @ _WEIGHTS).astype(np.int64) % 65535
        behind = total - done - _ROW * np.arange(1, len(rows) + 1, dtype=np.int64)
        first += int(sums[:, 0].sum())
        second += int((sums[:, 1] + sums[:, 0] * (behind % 65535)).sum())
        done += len(part)
    if len(data) % 2:
        last = data[-1] << 8
        first, second = first + last, second + last
    if not first % 65535 and not second % 65535 and not np.any(np.frombuffer(data, np.uint8)):
        return 0
    return _folded(second) << 16 | _folded(first)


def _folded(total: int) -> int:
    # One's complement sums of anything but zeros are never 0: they are 65535 then.
    return (total - 1) % 65535 + 1


def agrees(data: bytes | memoryview, stored: int) -> bool:
    """Whether bytes have the checksum that is stored with them, by any release of HDF5."""
    found = fletcher32(data)
    # Before 1.6.3 the bytes of each half were swapped on little-endian machines.
    swapped = int.from_bytes(
        bytes(found.to_bytes(4, "little")[place] for place in (1, 0, 3, 2)), "little"
    )
    return stored in (found, swapped)
