"""What happens in a run, for progress bars, logs and tests."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

# A bar for a run that ends sooner only flickers.
_BAR_AFTER = 1.0


@dataclass(frozen=True)
class RunStarted:
    """Work begins on a result group.

    Parameters
    ----------
    group : path of the result group
    done, total : positions marked complete, and all
    blocks : how many are to be computed now
    resumed : whether the group was there already, in part
    note : where it runs, if that is worth a word
    """

    group: str
    done: int
    total: int
    blocks: int
    resumed: bool
    note: str = ""


@dataclass(frozen=True)
class BlockDone:
    """One block is computed, written and marked.

    Parameters
    ----------
    number : of the block, counted over all blocks of the result
    where : its slices, by the names of the position dimensions
    positions : how many positions were marked for it, summed over the Mains
    seconds : that it took, reading and writing included
    done, total : positions marked complete so far, and all
    failed : how many of `positions` were marked since the step failed there
    """

    number: int
    where: dict[str, slice] = field(hash=False)
    positions: int
    seconds: float
    done: int
    total: int
    failed: int = 0


@dataclass(frozen=True)
class RunStopped:
    """The run ended early; what is marked stays."""

    group: str
    done: int
    total: int
    error: BaseException


@dataclass(frozen=True)
class RunCompleted:
    """Every block is there and the group is marked complete."""

    group: str
    total: int


Event = RunStarted | BlockDone | RunStopped | RunCompleted
Listener = Callable[[Event], None]


@contextlib.contextmanager
def progress(show: bool | None, label: str) -> Iterator[Listener]:
    """A listener that moves a progress bar.

    Parameters
    ----------
    show : None shows a bar where people look on (a terminal or a notebook) and the run takes
        longer than a second
    label : what stands before the bar
    """
    if show is False or (show is None and not _somebody_looks()):
        yield lambda event: None
        return
    bars: list[Any] = []

    def listen(event: Event) -> None:
        if isinstance(event, RunStarted):
            bars.append(_bar(event, label, delay=0.0 if show else _BAR_AFTER))
            if event.note:
                bars[0].write(f"{label} {event.note}", file=sys.stderr)
        elif isinstance(event, BlockDone) and bars:
            # of a block in which some positions were done before, those count that were not
            bars[0].update(event.done - bars[0].n)

    try:
        yield listen
    finally:
        for bar in bars:
            bar.close()


def _bar(event: RunStarted, label: str, delay: float) -> Any:
    import warnings

    with warnings.catch_warnings():
        # A notebook without ipywidgets gets a bar of text, which is good enough.
        warnings.filterwarnings("ignore", message="IProgress not found")
        from tqdm.auto import tqdm

    return tqdm(
        total=event.total,
        initial=event.done,
        desc=label,
        unit=" positions",
        unit_scale=True,
        delay=delay,
        leave=True,
    )


def _somebody_looks() -> bool:
    return "ipykernel" in sys.modules or (sys.stderr is not None and sys.stderr.isatty())
