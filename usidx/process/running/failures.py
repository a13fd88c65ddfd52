"""What a user's code raised at some positions: which errors count, and what is kept of them."""

from __future__ import annotations

from concurrent.futures import BrokenExecutor, CancelledError
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from usidx.errors import OptionError, UsidError
from usidx.model.dimension import Array

OnError = Literal["raise", "mark"]
ON_ERROR: tuple[OnError, ...] = ("raise", "mark")

# Bytes of a reason: what a store keeps of it.
MOST_BYTES = 200
# Trouble of the machine or of its stores, whatever code meets it. Nothing says of a position that
# it cannot be computed because a disk was away.
_OF_MACHINE = (MemoryError, OSError, ImportError, UsidError, BrokenExecutor, CancelledError)
# Errors of the programs that carry tasks to workers.
_CARRIERS = frozenset({"distributed", "pickle", "_pickle", "cloudpickle", "tblib"})


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of a block whose positions were computed apart; it is not marked yet.

    Parameters
    ----------
    seconds : that it took
    failed : array of int32, shape of the block's positions: 0, or the number of a reason from 1 on
    reasons : why, each once
    """

    seconds: float
    failed: Array
    reasons: tuple[str, ...] = ()

    def __float__(self) -> float:
        return self.seconds

    @property
    def count(self) -> int:
        """How many positions failed."""
        return int(np.count_nonzero(self.failed))


@dataclass(frozen=True)
class Raised:
    """What a block raised, of which nothing was written; it stands for the values of a task, too.

    Parameters
    ----------
    reason : why
    kind : name of the type of the error
    seconds : that it took
    """

    reason: str
    kind: str
    seconds: float = 0.0

    def __float__(self) -> float:
        return self.seconds


Ended = float | Outcome | Raised
"""What a work returns: the seconds it took, where its block is written and marked, or more."""


def check_on_error(on_error: object) -> None:
    """Nothing, where `on_error` is one that there is.

    Raises
    ------
    OptionError : for any other
    """
    if on_error not in ON_ERROR:
        raise OptionError(
            f"on_error={on_error!r} is not known; use 'raise' to stop at the first position at "
            "which the step raises, or 'mark' to go on and mark such positions as failed"
        )


def is_failure(error: BaseException | None) -> bool:
    """Whether an error is one of the user's code at some data, and not trouble of the machine.

    Interrupts, a lack of memory, errors of files and networks, of imports, of the stores and of
    workers are no failures of a position.

    Examples
    --------
    >>> is_failure(ZeroDivisionError()), is_failure(MemoryError()), is_failure(KeyboardInterrupt())
    (True, False, False)
    """
    if not isinstance(error, Exception) or isinstance(error, _OF_MACHINE):
        return False
    return type(error).__module__.partition(".")[0] not in _CARRIERS


def reason_of(error: BaseException) -> str:
    """Type and first line of the message of an error, in at most `MOST_BYTES` of UTF-8.

    Examples
    --------
    >>> reason_of(ValueError("no light\\nat all"))
    'ValueError: no light'
    """
    lines = str(error).strip().splitlines()
    told = f"{type(error).__name__}: {lines[0].strip()}" if lines else type(error).__name__
    told = "".join(each if each.isprintable() else "?" for each in told)
    raw = told.encode("utf-8", "replace")
    if len(raw) <= MOST_BYTES:
        return raw.decode("utf-8")
    return raw[: MOST_BYTES - 3].decode("utf-8", "ignore") + "..."


def blank(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Values that stand for failed positions: NaN where a type has it, 0 (False) where not.

    Examples
    --------
    >>> blank((2,), np.dtype("f4")), blank((1,), np.dtype([("a", "f8"), ("n", "i2")]))
    (array([nan, nan], dtype=float32), array([(nan, 0)], dtype=[('a', '<f8'), ('n', '<i2')]))
    """
    values: Array = np.zeros(shape, dtype)
    if dtype.names is not None:
        for name in dtype.names:
            values[name] = blank(shape + dtype[name].shape, dtype[name].base)
    elif dtype.kind == "f":
        values[...] = np.nan
    elif dtype.kind == "c":
        values[...] = complex(np.nan, np.nan)
    return values
