"""Computing arrays and writing their blocks, with word of how far it is."""

from __future__ import annotations

import contextlib
import os
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from usidx.exporting.moving.straight import Transfer, carry_out
from usidx.exporting.moving.threads import on_cluster
from usidx.model.dimension import Array

if TYPE_CHECKING:
    import dask.array

Progress = bool | Callable[[int, int], None]

# Blocks that a cluster sends here in one go.
_AT_ONCE = 16

_under_way: dict[str, _Writing] = {}


def blocked(array: xr.DataArray, chunks: tuple[tuple[int, ...], ...]) -> dask.array.Array:
    """The values as a dask array with these chunks; nothing is read."""
    if array.chunks != chunks:
        array = array.chunk(dict(zip(array.dims, chunks)))
    values: dask.array.Array = array.data
    return values


class _Writing:
    """What is being written by threads of this process, and how many blocks are done."""

    def __init__(self, tell: Callable[[int, int], None], total: int) -> None:
        self._tell = tell
        self._total = total
        self._changed = threading.Condition()
        self._active = 0
        self._stopped = False
        self.done = 0

    def write(self, target: Any, key: tuple[slice, ...], values: Array) -> None:
        """Write one block, unless it is over already."""
        with self._changed:
            if self._stopped:
                return
            self._active += 1
        try:
            target[key] = values
            with self._changed:
                self.done += 1
                self._tell(self.done, self._total)
        finally:
            with self._changed:
                self._active -= 1
                self._changed.notify_all()

    def stop(self) -> None:
        """Let no more blocks be written, and wait for those that just are.

        After an error dask goes on with what its threads have begun, while the files that they
        write into are being removed.
        """
        with self._changed:
            self._stopped = True
            self._changed.wait_for(lambda: self._active == 0)


@dataclass(frozen=True)
class _Counted:
    """A target of `dask.array.store` that tells this process of each block that is written."""

    target: Any
    token: str
    home: int

    @property
    def shape(self) -> tuple[int, ...]:
        shape: tuple[int, ...] = self.target.shape
        return shape

    @property
    def dtype(self) -> np.dtype[Any]:
        dtype: np.dtype[Any] = self.target.dtype
        return dtype

    def __setitem__(self, key: tuple[slice, ...], values: Array) -> None:
        if os.getpid() != self.home:  # a worker; here nobody hears of it
            self.target[key] = values
        elif (writing := _under_way.get(self.token)) is not None:
            writing.write(self.target, key, values)


def store(
    sources: list[dask.array.Array],
    targets: list[Any],
    progress: Progress,
    *,
    here: bool = False,
    transfers: Sequence[Transfer] = (),
) -> None:
    """Compute and write every block, all arrays in one graph: what they share is computed once.

    Parameters
    ----------
    sources : arrays with the blocks that are written
    targets : what takes the blocks of each, by `target[key] = values`
    progress : see `told`
    here : whether targets only work in this process, whoever computes the blocks
    transfers : what else is written, as it is stored already
    """
    import dask.array

    total = sum(source.npartitions for source in sources)
    total += sum(len(each.boxes) for each in transfers)
    token = uuid.uuid4().hex
    with told(progress) as tell:
        writing = _under_way[token] = _Writing(tell, total)
        counted: Any = [_Counted(target, token, os.getpid()) for target in targets]
        try:
            if here and on_cluster():
                _bring(sources, counted)
            elif here:
                dask.array.store(sources, counted, lock=False, scheduler="threads")
            elif sources:
                dask.array.store(sources, counted, lock=False)
            carry_out(transfers, writing.write)
        finally:
            writing.stop()
            del _under_way[token]
        if writing.done < total:
            tell(total, total)


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
