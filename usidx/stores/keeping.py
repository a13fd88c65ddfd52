"""Files that stay open, with what was found in them, while several things are asked of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar

Made = TypeVar("Made")


@dataclass(frozen=True, eq=False)
class _Kept:
    """What is kept by one thread, and what closes it."""

    made: dict[Any, Any] = field(default_factory=dict)
    end: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)


_kept: ContextVar[_Kept | None] = ContextVar("usidx_kept", default=None)


@contextlib.contextmanager
def keeping_open() -> Iterator[None]:
    """Files that are opened to be read inside the `with` block are opened once, until its end.

    To open one is most of what it takes to look something up in it. In such a block nothing is
    written, nor waited for: a file that is open keeps writers waiting.
    """
    if _kept.get() is not None:
        yield
        return
    kept = _Kept()
    token = _kept.set(kept)
    try:
        with kept.end:
            yield
    finally:
        _kept.reset(token)


def kept(key: Any, make: Callable[[contextlib.ExitStack], Made]) -> Made | None:
    """What was made for a key in this `keeping_open`; None outside any.

    Parameters
    ----------
    make : makes it where it is not there, and leaves what closes it with the stack
    """
    found = _kept.get()
    if found is None:
        return None
    if key not in found.made:
        with contextlib.ExitStack() as stack:
            found.made[key] = make(stack)
            found.end.push(stack.pop_all())
    made: Made = found.made[key]
    return made
