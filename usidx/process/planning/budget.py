"""How large a block may be: memory by arithmetic, before anything runs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from usidx.errors import OptionError
from usidx.model.blocks import DEFAULT_BUDGET, MOST_BLOCKS, block_shape

# A kernel makes copies of its own, of what goes in and comes out: three times as much in all was
# measured for a Fourier transform there and back.
TEMPORARIES = 3
# Blocks as the source has them are kept where they are this much larger or smaller than asked
# for: cutting anew costs more than it gives.
LARGER, _SMALLER = 4, 16
# Where memory is limited, blocks stay small however many there are: they are made as they are run.
_MOST_STRICT = 2**24


def memory_of(values: int) -> int:
    """Bytes that computing a block takes, of which `values` bytes are read and written."""
    return TEMPORARIES * values


def values_budget(memory: int | None, workers: int) -> int:
    """Bytes that one block may read and write, where `memory` is for all that run at once."""
    if memory is None:
        return 2 * DEFAULT_BUDGET
    return max(1, memory // (TEMPORARIES * workers))


def run_shape(
    shape: tuple[int, ...], cost: int, budget: int, *, natural: tuple[int, ...] | None, strict: bool
) -> tuple[int, ...]:
    """Shape of the runs of positions that blocks are made of.

    Parameters
    ----------
    shape : sizes of the position axes
    cost : bytes read and written for one position
    budget : bytes read and written for one block
    natural : the runs in which the source comes, where it comes in runs
    strict : whether the budget must be kept, rather than being a habit
    """
    count = math.prod(natural) if natural else 0
    if natural and _fits(count * cost, budget, strict, natural == shape):
        return natural
    align = count if natural and count * cost <= budget else None
    most = _MOST_STRICT if strict else MOST_BLOCKS
    return block_shape((*shape, cost), len(shape), 1, budget=budget, align=align, most=most)[:-1]


def _fits(values: int, budget: int, strict: bool, whole: bool) -> bool:
    if values > (budget if strict else LARGER * budget):
        return False
    return whole or values * _SMALLER >= budget


def run_of(chunks: Sequence[tuple[int, ...]], n_position: int) -> tuple[int, ...] | None:
    """The runs of positions that dask chunks are, None where they are tiles or cut spectra.

    Parameters
    ----------
    chunks : sizes of the chunks along each axis, positions first

    Examples
    --------
    >>> run_of(((2, 2, 1), (5,), (8,)), 2)
    (2, 5)
    >>> run_of(((2, 2, 1), (3, 2), (8,)), 2) is None
    True
    """
    if any(len(each) > 1 for each in chunks[n_position:]):
        return None
    largest = tuple(max(each) for each in chunks[:n_position])
    cut = [axis for axis in range(n_position) if len(chunks[axis]) > 1]
    if not cut:
        return largest
    if any(largest[axis] > 1 for axis in range(cut[-1])):
        return None
    even = all(size == largest[cut[-1]] for size in chunks[cut[-1]][:-1])
    return largest if even else None


def parse_memory(memory: int | float | str | None) -> int | None:
    """Bytes, from a number of them or text such as "4GB".

    Raises
    ------
    OptionError : for anything else

    Examples
    --------
    >>> parse_memory("1.5 kB")
    1500
    """
    if memory is None:
        return None
    from dask.utils import parse_bytes

    try:
        count = int(parse_bytes(memory))
    except (ValueError, TypeError, AttributeError) as error:
        raise OptionError(
            f"memory={memory!r} is no amount of memory; use a number of bytes or text such as '4GB'"
        ) from error
    if count <= 0:
        raise OptionError(f"memory={memory!r} must be more than nothing")
    return count


def in_text(count: int) -> str:
    """A number of bytes the way `memory` is given, never less.

    Examples
    --------
    >>> in_text(1_500), in_text(10_000_001)
    ('2 kB', '11 MB')
    """
    unit, name = (10**6, "MB") if count >= 10**7 else (10**3, "kB")
    return f"{-(-count // unit)} {name}"
