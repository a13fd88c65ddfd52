"""Computing arrays and writing their blocks, with word of how far it is."""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from usidx.model.dimension import Array

if TYPE_CHECKING:
    import dask.array

Progress = bool | Callable[[int, int], None]

# Blocks that a cluster sends here in one go.
_AT_ONCE = 16

_counters: dict[str, Callable[[], None]] = {}


def blocked(array: xr.DataArray, chunks: tuple[tuple[int, ...], ...]) -> dask.array.Array:
    """The values as a dask array with these chunks; nothing is read."""
    if array.chunks != chunks:
        array = array.chunk(dict(zip(array.dims, chunks)))
    values: dask.array.Array = array.data
    return values


@dataclass(frozen=True)
class _Counted:
    """A target of `dask.array.store` that says when a block is written, to who waits here."""

    target: Any
    token: str

    @property
    def shape(self) -> tuple[int, ...]:
        shape: tuple[int, ...] = self.target.shape
        return shape

    @property
    def dtype(self) -> np.dtype[Any]:
        dtype: np.dtype[Any] = self.target.dtype
        return dtype

    def __setitem__(self, key: tuple[slice, ...], values: Array) -> None:
        self.target[key] = values
        count = _counters.get(self.token)
        if count is not None:  # on a worker in another process nobody counts
            count()


def store(
    sources: list[dask.array.Array], targets: list[Any], progress: Progress, *, here: bool = False
) -> None:
    """Compute and write every block, all arrays in one graph: what they share is computed once.

    Parameters
    ----------
    sources : arrays with the blocks that are written
    targets : what takes the blocks of each, by `target[key] = values`
    progress : see `told`
    here : whether targets only work in this process, whoever computes the blocks
    """
    import dask.array

    total = sum(source.npartitions for source in sources)
    token = uuid.uuid4().hex
    with told(progress) as tell:
        done = 0
        lock = threading.Lock()

        def count() -> None:
            nonlocal done
            with lock:
                done += 1
                tell(done, total)

        _counters[token] = count
        counted: Any = [_Counted(target, token) for target in targets]
        try:
            if here and _is_distributed():
                _bring(sources, counted)
            elif here:
                dask.array.store(sources, counted, lock=False, scheduler="threads")
            else:
                dask.array.store(sources, counted, lock=False)
        finally:
            del _counters[token]
        if done < total:
            tell(total, total)


def _is_distributed() -> bool:
    """Whether a cluster computes what is asked for now."""
    from dask.base import get_scheduler

    scheduler = get_scheduler()
    return type(getattr(scheduler, "__self__", None)).__module__.startswith("distributed")


def _bring(sources: list[dask.array.Array], targets: list[Any]) -> None:
    """Have a cluster compute the blocks, a few at a time, and write them in this process."""
    from dask.array.core import slices_from_chunks
    from dask.base import compute

    blocks = [
        (target, key, block)
        for source, target in zip(sources, targets)
        for key, block in zip(slices_from_chunks(source.chunks), source.to_delayed().ravel())
    ]
    for start in range(0, len(blocks), _AT_ONCE):
        few = blocks[start : start + _AT_ONCE]
        for (target, key, _), values in zip(few, compute(*(block for *_, block in few))):
            target[key] = values


@contextlib.contextmanager
def told(progress: Progress) -> Iterator[Callable[[int, int], None]]:
    """A function to call with (done, total): the caller's own, one that moves a bar, or neither."""
    if callable(progress):
        yield progress
    elif not progress:
        yield lambda done, total: None
    else:
        from tqdm.auto import tqdm

        with tqdm(desc="writing", unit="block") as bar:

            def move(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            yield move
