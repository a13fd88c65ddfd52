"""Files that a library opened, and left to whoever catches its error."""

from __future__ import annotations

import traceback
import warnings


def let_go(error: BaseException) -> None:
    """Drop what the calls behind an error hold, such as files that they failed on.

    They would stay open for as long as somebody has the error. Python's warning about each is
    nothing that a user of usidx could mend.
    """
    known: set[int] = set()
    following: BaseException | None = error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        while following is not None and id(following) not in known:
            known.add(id(following))
            traceback.clear_frames(following.__traceback__)
            following = following.__cause__ or following.__context__
