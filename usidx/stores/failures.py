"""At which positions of a result a step failed, and why, as stores keep it.

A Main has a number for each position: 0, or that of a reason. The reasons are a short table, one
slot of fixed size for each, which only whoever holds the group writes into.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from usidx.model.dimension import Array

if TYPE_CHECKING:
    from usidx.stores.base import BlockArray

SLOTS = 255
SLOT_BYTES = 256
# In the last slot, for what comes when all others are taken.
OTHERS = "another error; there were too many different ones to keep them all"


@dataclass(frozen=True, eq=False)
class Failures:
    """At which positions of a Main the step failed, and why.

    Parameters
    ----------
    count : how many positions
    numbers : position-shaped array of uint8, lazily: 0, or the number of a reason from 1 on
    reasons : the text of each
    """

    count: int
    numbers: BlockArray
    reasons: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class FailedAt:
    """The same in memory, on its way into another store.

    Parameters
    ----------
    numbers : array of uint8, position-shaped: 0, or the number of a reason from 1 on
    reasons : the text of each
    """

    numbers: Array
    reasons: tuple[str, ...]

    def __dask_tokenize__(self) -> tuple[object, ...]:
        return type(self).__name__, self.numbers.tobytes(), self.numbers.shape, self.reasons


def failed_at(failures: Failures, done: Array | None) -> FailedAt:
    """What failed of a Main, in memory; of the positions that `done` has, of all when None."""
    numbers = np.asarray(failures.numbers[(slice(None),) * failures.numbers.ndim])
    known = failures.reasons + ("an error of which nothing is told",) * (
        int(numbers.max(initial=0)) - len(failures.reasons)
    )
    return FailedAt(numbers if done is None else np.where(done, numbers, np.uint8(0)), known)


def slots_for(reasons: Sequence[str], known: Sequence[str]) -> tuple[list[int], dict[int, str]]:
    """(number of the slot of each reason, what is to be written into slots by their numbers).

    Parameters
    ----------
    reasons : texts
    known : what is in the table, slot by slot; "" for a free one

    Examples
    --------
    >>> slots_for(["b", "c"], ["a", "b", "", ""])
    ([2, 3], {3: 'c'})
    """
    taken = {text: number for number, text in enumerate(known, 1) if text}
    # the last one is kept for all that find no place
    free = [number for number, text in enumerate(known[:-1], 1) if not text][::-1]
    numbers, new = [], {}
    for reason in reasons:
        text = decoded(encoded(reason))[0] or "?"
        if text not in taken and not free:
            text = OTHERS
        if text not in taken:
            number = free.pop() if free else len(known)
            taken[text], new[number] = number, text
        numbers.append(taken[text])
    return numbers, new


def encoded(text: str) -> bytes:
    """The bytes of a slot that holds a text."""
    raw = text.replace("\0", "").encode("utf-8", "replace")[:SLOT_BYTES]
    return raw.decode("utf-8", "ignore").encode("utf-8").ljust(SLOT_BYTES, b"\0")


def decoded(slots: bytes) -> tuple[str, ...]:
    """The texts of all slots, "" for free ones."""
    parts = (slots[start : start + SLOT_BYTES] for start in range(0, len(slots), SLOT_BYTES))
    return tuple(each.rstrip(b"\0").decode("utf-8", "replace") for each in parts)


def numbered(failed: Array, slots: Sequence[int]) -> Array:
    """The numbers of a block as the store has them, uint8.

    Parameters
    ----------
    failed : 0, or the number of a reason of the block from 1 on
    slots : the number in the store of each of those
    """
    table: Array = np.array([0, *slots], np.uint8)
    found: Array = table[failed]
    return found
