"""Files of many chunks for one way of reading: fewer files, of which parts are read."""

from __future__ import annotations

import math

from usidx.exporting.moving.bands import Access
from usidx.model.main import MainSpec

# A thread holds a few of them while it makes one.
_SHARD_BYTES = 32 * 2**20


def shard_for(
    access: Access, spec: MainSpec, chunk: tuple[int, ...], itemsize: int
) -> tuple[int, ...]:
    """N-D shape of files of several chunks: more of what is read together, and then more of it all.

    Each side stays one run of cells, as those of `chunk_for` are.

    Examples
    --------
    >>> from usidx.testing import make_main
    >>> shard_for("maps", make_main((64, 64, 1024)).usid.spec, (64, 64, 16), 4)
    (64, 64, 1024)
    """
    n_position = len(spec.position.shape)
    sides = [
        (spec.position.shape, chunk[:n_position]),
        (spec.spectroscopic.shape, chunk[n_position:]),
    ]
    order = (0, 1) if access == "maps" else (1, 0)
    times = _SHARD_BYTES // (math.prod(chunk) * itemsize)
    found = [box for _, box in sides]
    for side in order:
        shape, box = sides[side]
        found[side] = _grown(shape, box, times)
        times //= math.prod(found[side]) // math.prod(box)
    return found[0] + found[1]


def _grown(shape: tuple[int, ...], box: tuple[int, ...], times: int) -> tuple[int, ...]:
    """At most so many boxes as one, of which copies lie side by side as those of the box do."""
    grown = list(box)
    for axis in reversed(range(len(shape))):
        count = -(-shape[axis] // box[axis])
        slowest = math.prod(shape[:axis]) == 1  # its last copy may reach beyond the end
        more = max(
            (n for n in range(1, min(times, count) + 1) if slowest or count % n == 0), default=1
        )
        grown[axis] = box[axis] * more
        times //= more
        if more < count:
            break
    return tuple(grown)
