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


def store(sources: list[dask.array.Array], targets: list[Any], progress: Progress) -> None:
    """Compute and write every block, all arrays in one graph: what they share is computed once."""
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
        try:
            counted: Any = [_Counted(target, token) for target in targets]
            dask.array.store(sources, counted, lock=False, compute=True)
        finally:
            del _counters[token]
        if done < total:
            tell(total, total)


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
