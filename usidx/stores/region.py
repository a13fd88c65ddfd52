"""Selections that a store has by a name, and how they are told to people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from usidx.model.dimension import Array


@dataclass(frozen=True, eq=False)
class Region:
    """A selection that a store has by a name: a region reference.

    Parameters
    ----------
    name : of the attribute, with [0], [1], ... where it has several
    holder : path of the object that has the attribute
    target : path of the dataset that it selects from; "" where it leads nowhere
    shape : of that dataset
    axes : where every combination of some places along each axis is selected: those places, as a
        slice or an ascending array of int64; None for any other selection
    blocks : where `axes` is None: array of int64, shape (blocks, 2, axes), first place of each
        block and the one behind its last
    fault : why it leads nowhere; "" where it does not
    """

    name: str
    holder: str
    target: str = ""
    shape: tuple[int, ...] = ()
    axes: tuple[slice | Array, ...] | None = None
    blocks: Array | None = None
    fault: str = ""

    def __str__(self) -> str:
        return self.fault or f"{self.target}{places_in_words(self.shape, self.axes, self.blocks)}"


def places_in_words(
    shape: tuple[int, ...], axes: tuple[slice | Array, ...] | None, blocks: Array | None
) -> str:
    """What a `Region` with these selects.

    Examples
    --------
    >>> places_in_words((25, 288), (slice(0, 25, 1), np.array([3, 4, 9])), None)
    '[:, 3 of 288]'
    """
    if axes is None or len(axes) != len(shape):
        sizes = np.zeros((0, 1)) if blocks is None else blocks[:, 1] - blocks[:, 0]
        return f"[{int(sizes.prod(axis=1).sum())} elements]"
    return f"[{', '.join(map(_along_in_words, axes, shape))}]"


def _along_in_words(places: slice | Array, size: int) -> str:
    if not isinstance(places, slice):
        return f"{len(places)} of {size}"
    if (places.start, places.stop, places.step) == (0, size, 1):
        return ":"
    return f"{places.start}:{places.stop}" + (f":{places.step}" if places.step != 1 else "")
