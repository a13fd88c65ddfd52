"""Going on with an export that was interrupted: which blocks are there, and which are not."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from usidx.exporting.moving.parts import Parts
from usidx.exporting.moving.straight import Transfer
from usidx.model.dimension import Array

if TYPE_CHECKING:
    import dask.array

# More single blocks than these are computed as the whole rows that they are in.
_MOST_SINGLE = 256


@dataclass(frozen=True)
class _Within:
    """A part of a target."""

    target: Any
    start: tuple[int, ...]
    shape: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        dtype: np.dtype[Any] = self.target.dtype
        return dtype

    def __setitem__(self, key: tuple[slice, ...], values: Array) -> None:
        self.target[
            tuple(
                slice(part.start + first, part.stop + first)
                for part, first in zip(key, self.start, strict=True)
            )
        ] = values


def fingerprint_of(
    parts: Parts, sources: Sequence[dask.array.Array], options: Sequence[object]
) -> str:
    """Digest of what is written and how: two exports with the same one write the same chunks.

    What lazy arrays compute is in their names, by what they are made of; arrays of unknown making
    have another name each time, and are never gone on with.

    Parameters
    ----------
    parts : what is written
    sources : the arrays, in the blocks that they are written in
    options : whatever else changes chunks
    """
    from dask.base import tokenize

    told = hashlib.sha256(repr([*map(str, options)]).encode())
    for part in parts.mains:
        told.update(tokenize(part.spec, part.extras, part.completed, part.failures).encode())
        if part.origin is not None:
            status = os.stat(part.origin[0]) if os.path.exists(part.origin[0]) else None
            stamp = None if status is None else (status.st_size, status.st_mtime_ns, status.st_ino)
            told.update(repr((part.origin, part.origins, stamp)).encode())
    for source in sources:
        told.update(repr((source.name, source.chunks, str(source.dtype))).encode())
    return told.hexdigest()


def remaining(
    sources: Sequence[dask.array.Array], targets: Sequence[Any]
) -> tuple[list[dask.array.Array], list[Any]]:
    """What of the sources is not in their targets yet, and the parts of the targets it goes to."""
    left: list[dask.array.Array] = []
    places: list[Any] = []
    for source, target in zip(sources, targets, strict=True):
        present = target.present()
        if not present:
            left.append(source)
            places.append(target)
            continue
        for box in _boxes(_missing(source, target, present), source.chunks):
            left.append(source[box])
            start = tuple(part.start for part in box)
            shape = tuple(part.stop - part.start for part in box)
            places.append(_Within(target, start, shape))
    return left, places


def untransferred(transfer: Transfer) -> Transfer:
    """What of a transfer is not in its target yet."""
    present = transfer.target.present()
    if not present:
        return transfer
    target, left = transfer.target, []
    for box in transfer.boxes:
        chunks = list(
            itertools.product(
                *(
                    range(part.start // size, -(-part.stop // size))
                    for part, size in zip(box, target.chunks, strict=True)
                )
            )
        )
        missing = [index for index in chunks if index not in present]
        if len(missing) == len(chunks):
            left.append(box)
            continue
        for index in missing:
            sides = zip(index, target.chunks, target.shape, strict=True)
            left.append(
                tuple(slice(n * size, min((n + 1) * size, full)) for n, size, full in sides)
            )
    return replace(transfer, boxes=tuple(left))


def _missing(source: dask.array.Array, target: Any, present: set[tuple[int, ...]]) -> Array:
    """For each block of the source whether some chunk of it is not there."""
    edges = _edges(source.chunks)
    missing = np.zeros(source.numblocks, bool)
    for block in np.ndindex(*source.numblocks):
        ranges = (
            range(each[at] // chunk, -(-each[at + 1] // chunk))
            for each, at, chunk in zip(edges, block, target.chunks, strict=True)
        )
        missing[block] = any(index not in present for index in itertools.product(*ranges))
    return missing


def _boxes(missing: Array, chunks: tuple[tuple[int, ...], ...]) -> Iterator[tuple[slice, ...]]:
    """Slices of the array that together are the blocks that are missing, few where they can be."""
    edges = _edges(chunks)
    axis = int(np.argmax(missing.shape))
    others = tuple(each for each in range(missing.ndim) if each != axis)
    some: Array = np.asarray(missing.any(axis=others))
    every: Array = np.asarray(missing.all(axis=others))
    partly = [int(row) for row in np.flatnonzero(some & ~every)]
    single = [
        block for block in map(tuple, np.argwhere(missing).tolist()) if int(block[axis]) in partly
    ]
    if len(single) <= _MOST_SINGLE:
        for block in single:
            yield tuple(slice(each[at], each[at + 1]) for each, at in zip(edges, block))
        some = every
    whole = tuple(slice(0, each[-1]) for each in edges)
    start = None
    for row, wanted in enumerate(np.append(some, False)):
        if wanted and start is None:
            start = row
        elif not wanted and start is not None:
            box = list(whole)
            box[axis] = slice(edges[axis][start], edges[axis][row])
            yield tuple(box)
            start = None


def _edges(chunks: tuple[tuple[int, ...], ...]) -> list[list[int]]:
    return [[0, *(int(each) for each in np.cumsum(sizes))] for sizes in chunks]
