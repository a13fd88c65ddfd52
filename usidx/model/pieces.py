"""Pieces of a block, small enough to stay in the processor's cache while something is done to them.

Fresh memory for whole blocks costs more than reading and writing them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

# Bytes of a piece: measured best between 0.5 and 2 MiB, less costs too many calls.
PIECE = 2**20


def piece_shape(block: Sequence[int], nbytes: int) -> tuple[int, ...]:
    """Shape of the pieces of a block of positions: equal ones of about `PIECE`, if there are such.

    Parameters
    ----------
    block : shape of the positions
    nbytes : of one position

    Examples
    --------
    >>> piece_shape((16, 512), 4096)
    (1, 256)
    """
    shape = list(block)
    for axis in range(len(shape)):
        inner = math.prod(shape[axis + 1 :]) * nbytes
        most = max(1, PIECE // inner)
        if most >= shape[axis]:
            break
        even = max(part for part in range(1, most + 1) if shape[axis] % part == 0)
        shape[axis] = even if 4 * even > most else most
        if most > 1:
            break
    return tuple(shape)


def cut_in(where: tuple[slice, ...], piece: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """The slices that cut a block into pieces, in row-major order.

    Examples
    --------
    >>> list(cut_in((slice(4, 5), slice(0, 5)), (1, 3)))
    [(slice(4, 5, None), slice(0, 3, None)), (slice(4, 5, None), slice(3, 5, None))]
    """
    edges = [
        [slice(start, min(start + step, part.stop)) for start in range(part.start, part.stop, step)]
        for part, step in zip(where, piece, strict=True)
    ]
    return itertools.product(*edges)


def within(key: tuple[slice, ...], where: tuple[slice, ...]) -> tuple[slice, ...]:
    """Slices that lie in a block, counted from its first position on."""
    return tuple(
        [
            slice(part.start - base.start, part.stop - base.start)
            for part, base in zip(key, where, strict=False)
        ]
    )
