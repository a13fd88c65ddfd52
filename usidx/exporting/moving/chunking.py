"""How the values of a Main are cut: blocks that one task writes, and chunks in the store."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from usidx.errors import OptionError
from usidx.exporting.moving.parts import Part
from usidx.model.blocks import block_shape, chunks_of
from usidx.model.main import MainSpec

Chunks = Mapping[str, int] | Sequence[int] | None

_TASK_BYTES = 32 * 2**20
_CHUNK_BYTES = 4 * 2**20
_MOST_CHUNKS = 10_000
# A chunk that a dask array has already is kept up to this size.
_LARGEST_KEPT = 256 * 2**20


def cut(part: Part, chunks: Chunks) -> tuple[tuple[tuple[int, ...], ...], tuple[int, ...]]:
    """(blocks that one task writes, chunks in the store); every block is made of whole chunks."""
    spec = part.spec
    if chunks is not None:
        chunk = _asked(spec, chunks)
        block = _merged(chunk, spec, part.arrays[0].chunks)
        return chunks_of(spec.shape, block), chunk
    given = part.arrays[0].chunks
    kept = None if given is None else _regular(given)
    if kept is None or _nbytes(kept, spec) > _LARGEST_KEPT:
        kept = block_shape(
            spec.shape, len(spec.position.shape), spec.dtype.itemsize, budget=_TASK_BYTES
        )
    return chunks_of(spec.shape, kept), _divided(kept, spec)


def cut_in_shards(
    part: Part, chunks: Chunks, shards: Chunks
) -> tuple[tuple[tuple[int, ...], ...], tuple[int, ...], tuple[int, ...]]:
    """(blocks that one task writes, chunks, shards); every block is made of whole shards."""
    spec = part.spec
    assert shards is not None
    asked = _asked(spec, shards)
    chunk = _divided(asked, spec) if chunks is None else _asked(spec, chunks)
    shard = tuple(-(-size // each) * each for size, each in zip(asked, chunk, strict=True))
    given = part.arrays[0].chunks
    block = _merged(shard, spec, given)
    return chunks_of(spec.shape, block), chunk, shard


def runs_of_positions(part: Part) -> tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]:
    """(shape, sizes along each axis) of blocks that are one run of whole spectra each."""
    spec = part.spec
    n_position = len(spec.position.shape)
    given = part.arrays[0].chunks
    kept = None if given is None else _regular(given)
    if (
        kept is None
        or not _is_run(kept, spec.shape, n_position)
        or _nbytes(kept, spec) > _LARGEST_KEPT
    ):
        kept = block_shape(spec.shape, n_position, spec.dtype.itemsize, budget=_TASK_BYTES)
    return kept, chunks_of(spec.shape, kept)


def _is_run(block: tuple[int, ...], shape: tuple[int, ...], n_position: int) -> bool:
    """Whether blocks have whole spectra, and positions that follow one another."""
    if block[n_position:] != shape[n_position:]:
        return False
    cut = [axis for axis in range(n_position) if block[axis] < shape[axis]]
    return not cut or all(block[axis] == 1 for axis in range(cut[-1]))


def _nbytes(block: tuple[int, ...], spec: MainSpec) -> int:
    return math.prod(block) * spec.dtype.itemsize


def _asked(spec: MainSpec, chunks: Mapping[str, int] | Sequence[int]) -> tuple[int, ...]:
    if isinstance(chunks, Mapping):
        unknown = sorted(set(chunks) - set(spec.dims))
        sizes = [chunks.get(dim, -1) for dim in spec.dims]
    else:
        unknown, sizes = [], list(chunks)
    fits = len(sizes) == len(spec.shape) and all(
        isinstance(size, int) and (size >= 1 or size == -1) for size in sizes
    )
    if unknown or not fits:
        raise OptionError(
            f"chunks={chunks!r} does not fit {spec.path!r}: it takes one size of at least 1 (or -1 "
            f"for all) for each of {dict(zip(spec.dims, spec.shape))}"
        )
    return tuple(full if size == -1 else min(size, full) for size, full in zip(sizes, spec.shape))


def _regular(given: tuple[tuple[int, ...], ...]) -> tuple[int, ...] | None:
    """The size of chunks that are all alike but for the last along each axis, else None."""
    for axis in given:
        if any(size != axis[0] for size in axis[:-1]) or axis[-1] > axis[0] or not axis[0]:
            return None
    return tuple(axis[0] for axis in given)


def _divided(block: tuple[int, ...], spec: MainSpec) -> tuple[int, ...]:
    """Chunks that cut a block evenly, slowest axes first, into pieces that are quick to read."""
    budget = max(_CHUNK_BYTES, spec.nbytes // _MOST_CHUNKS)
    chunk = list(block)
    for axis in range(len(block)):
        rest = math.prod(chunk[:axis] + chunk[axis + 1 :]) * spec.dtype.itemsize
        most = max(1, budget // rest)
        chunk[axis] = max(n for n in range(1, min(most, chunk[axis]) + 1) if chunk[axis] % n == 0)
    return tuple(chunk)


def _merged(
    chunk: tuple[int, ...], spec: MainSpec, given: tuple[tuple[int, ...], ...] | None
) -> tuple[int, ...]:
    """Whole chunks that make up the work of one task, the fastest axes first.

    Spectra that blocks of the array have whole stay so where that is possible at all: what is cut
    there, such as a frame of a file, is computed anew for each part.
    """
    block = list(chunk)
    for axis in reversed(range(len(block))):
        nbytes = _nbytes(tuple(block), spec)
        whole = axis >= len(spec.position.shape) and given is not None and len(given[axis]) == 1
        budget = _LARGEST_KEPT if whole else _TASK_BYTES
        times = min(max(1, budget // nbytes), -(-spec.shape[axis] // chunk[axis]))
        block[axis] = min(spec.shape[axis], chunk[axis] * times)
    return tuple(block)
