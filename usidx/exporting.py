"""Writing labelled arrays to new files: USID-Zarr stores and h5USID files.

Everything is written aside and takes its name at the end, so that what was there before stays
whole until the new one is, and nothing is left of an export that failed.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr

from usidx.arrays.fields import compound_spec
from usidx.arrays.labels import arrange, as_main, origin_of
from usidx.arrays.reshape import to_nd
from usidx.errors import LayoutError, OptionError
from usidx.model.blocks import block_shape, chunks_of
from usidx.model.dimension import Array
from usidx.model.main import MainSpec

if TYPE_CHECKING:
    import dask.array

Exportable = xr.DataArray | xr.Dataset | xr.DataTree
Progress = bool | Callable[[int, int], None]

_TASK_BYTES = 32 * 2**20
_CHUNK_BYTES = 4 * 2**20
_MOST_CHUNKS = 10_000
# A chunk that a dask array has already is kept up to this size.
_LARGEST_KEPT = 256 * 2**20
_counters: dict[str, Callable[[], None]] = {}


@dataclass(frozen=True)
class Part:
    """One Main to be written: its spec, and the values of each of its fields.

    Parameters
    ----------
    spec : of the Main
    arrays : one for each field of a compound Main (else one), with the dimensions of the spec
    """

    spec: MainSpec
    arrays: tuple[xr.DataArray, ...]


@dataclass(frozen=True)
class Parts:
    """Everything that is to be written: Mains, and the attributes of groups by their paths."""

    mains: tuple[Part, ...]
    groups: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def to_zarr(
    obj: Exportable,
    path: str | os.PathLike[str],
    *,
    group: str | None = None,
    overwrite: bool = False,
    compression: Literal["lz4", "zstd"] | None = "lz4",
    chunks: Mapping[str, int] | Sequence[int] | None = None,
    progress: Progress = False,
) -> str:
    """Write Mains to a USID-Zarr store, and return its path.

    Values are computed and written block by block; memory holds a few blocks at a time. Plain
    xarray reads the store with its labels and units, `usidx.open` reads back the same Mains.

    Parameters
    ----------
    obj : a Main, a Dataset (one compound Main, each variable a field) or a DataTree of those
    path : of the store
    group : path in the store of the one Main that is written; a store that exists is added to.
        None writes a whole new store.
    overwrite : replace what is there; it stays whole until the new one is. The arrays may come
        from the very store that is replaced.
    compression : "lz4" is fast, "zstd" small, None stores the bytes as they are
    chunks : size of a stored chunk along the dimensions (those left out are whole); when None the
        chunks of a dask array are kept where they suit
    progress : True for a bar, or a function that is called with (blocks done, blocks in all)

    Raises
    ------
    StoreExistsError : where the target exists and `overwrite` is False
    StoreNotFoundError, ReadOnlyStoreError, NoSpaceError : where it cannot be written
    StoreLockedError : while another process writes the store
    LayoutError : where a dimension has no role
    InvalidMainError, OptionError : for values or attributes that Zarr cannot hold
    """
    from usidx.stores.zarr.draft import draft

    path = os.fspath(path)
    parts = parts_of(obj, group)
    if group is not None and len(parts.mains) != 1:
        raise OptionError(f"group={group!r} takes one Main, the tree has {len(parts.mains)}")
    with draft(path, group=group, overwrite=overwrite) as new:
        sources: list[dask.array.Array] = []
        targets: list[Any] = []
        for part in parts.mains:
            block, chunk = _cut(part, chunks)
            for array, target in zip(
                part.arrays, new.add_main(part.spec, chunk, compression=compression)
            ):
                sources.append(_blocked(array, block))
                targets.append(target)
        for name, attrs in parts.groups.items() if group is None else ():
            new.set_attrs(name, attrs)
        _store(sources, targets, progress)
    return path


def parts_of(obj: Exportable, group: str | None = None) -> Parts:
    """The Mains in an xarray object, and the attributes of its groups.

    Parameters
    ----------
    obj : DataArray, Dataset or DataTree
    group : path for the Main; where None, the path it was opened from, or one by its name

    Raises
    ------
    LayoutError : where a dimension has no role, or there is no Main
    """
    path = None if group is None else "/" + group.strip("/")
    if isinstance(obj, xr.DataArray):
        return Parts((_plain_part(obj, path),))
    if isinstance(obj, xr.Dataset):
        return Parts((_dataset_part(obj, path),))
    mains: list[Part] = []
    groups: dict[str, Mapping[str, Any]] = {}
    for node in obj.subtree:
        where = "/" + node.relative_to(obj).strip("./")
        if not node.data_vars:
            groups[where] = {str(name): value for name, value in node.attrs.items()}
        else:
            mains += _node_parts(node.to_dataset(), where)
    if not mains:
        raise LayoutError("the DataTree has no variables, so there is no Main to write")
    return Parts(tuple(mains), {name: attrs for name, attrs in groups.items() if attrs})


def _node_parts(dataset: xr.Dataset, where: str) -> Iterator[Part]:
    """The Mains of one node: one that has its name, one of fields, or one for each variable."""
    if "usid_main" in dataset.attrs:
        yield _dataset_part(dataset, where)
        return
    for name, array in dataset.data_vars.items():
        own = where if str(name) == where.rsplit("/", 1)[-1] else f"{where.rstrip('/')}/{name}"
        yield _plain_part(array, own)


def _dataset_part(dataset: xr.Dataset, path: str | None) -> Part:
    variables = list(dataset.data_vars.values())
    if len(variables) == 1 and "usid_main" not in dataset.attrs:
        return _plain_part(variables[0], path)
    dataset = _folded(dataset)
    spec = compound_spec(dataset, path=path or _origin_path(dataset))
    return Part(spec, tuple(arrange(each, spec) for each in dataset.data_vars.values()))


def _plain_part(array: xr.DataArray, path: str | None) -> Part:
    spec, arranged = as_main(_folded(array), path=path or _origin_path(array))
    return Part(spec, (arranged,))


def _origin_path(obj: xr.DataArray | xr.Dataset) -> str | None:
    """Where a raw Main that nobody computed on was opened from; one field of it is another Main."""
    origin = origin_of(obj)
    if origin is None or origin.result is not None or origin.field is not None:
        return None
    return origin.main


def _folded(obj: Any) -> Any:
    """N-D from the 2-D form, where its rows are a grid's; a list of points stays one."""
    if set(obj.dims) != {"position", "spectroscopic"}:
        return obj
    try:
        return to_nd(obj)
    except LayoutError:
        return obj


def _cut(
    part: Part, chunks: Mapping[str, int] | Sequence[int] | None
) -> tuple[tuple[tuple[int, ...], ...], tuple[int, ...]]:
    """(blocks that one task writes, chunks in the store); every block is made of whole chunks."""
    spec = part.spec
    if chunks is not None:
        chunk = _asked(spec, chunks)
        block = _merged(chunk, spec)
        return chunks_of(spec.shape, block), chunk
    given = part.arrays[0].chunks
    kept = None if given is None else _regular(given)
    if kept is None or math.prod(kept) * spec.dtype.itemsize > _LARGEST_KEPT:
        kept = block_shape(
            spec.shape, len(spec.position.shape), spec.dtype.itemsize, budget=_TASK_BYTES
        )
    return chunks_of(spec.shape, kept), _divided(kept, spec)


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


def _merged(chunk: tuple[int, ...], spec: MainSpec) -> tuple[int, ...]:
    """Whole chunks that make up the work of one task, the fastest axes first."""
    block = list(chunk)
    for axis in reversed(range(len(block))):
        nbytes = math.prod(block) * spec.dtype.itemsize
        times = min(max(1, _TASK_BYTES // nbytes), -(-spec.shape[axis] // chunk[axis]))
        block[axis] = min(spec.shape[axis], chunk[axis] * times)
    return tuple(block)


def _blocked(array: xr.DataArray, chunks: tuple[tuple[int, ...], ...]) -> dask.array.Array:
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


def _store(sources: list[dask.array.Array], targets: list[Any], progress: Progress) -> None:
    """Compute and write every block, all arrays in one graph: what they share is computed once."""
    import dask.array

    total = sum(source.npartitions for source in sources)
    token = uuid.uuid4().hex
    with _told(progress) as tell:
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
def _told(progress: Progress) -> Iterator[Callable[[int, int], None]]:
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
