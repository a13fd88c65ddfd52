"""A whole new store, or a new Main in one that exists, made aside and put in place at the end."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from usidx.errors import NotUsidError, OptionError, StoreExistsError
from usidx.model.dimension import Array
from usidx.model.main import MainSpec
from usidx.stores import disk
from usidx.stores.failures import FailedAt
from usidx.stores.leaves.attributes import pack
from usidx.stores.leaves.further import ExtraCoordinate
from usidx.stores.leaves.leaf import VERSION, describe
from usidx.stores.leaves.values import Indexed
from usidx.stores.lock import held, refuse_runs, store_lock
from usidx.stores.zarr.create import Compression, create_leaf, open_to_write
from usidx.stores.zarr.failures import write_failures
from usidx.stores.zarr.nodes import (
    ZarrFormat,
    consolidate,
    entry_of,
    folder_of,
    format_of,
    group_node,
    read_node,
    unconsolidate,
    write_node,
)
from usidx.stores.zarr.plain_dataset import write_dataset
from usidx.stores.zarr.staging import aside, check_replaceable, place, writing
from usidx.stores.zarr.unfinished import Journal, is_whole, sweep, unfinished

_LOCK_TIMEOUT = 30.0


@dataclass(frozen=True)
class Target:
    """An array that dask stores blocks into; it pickles and holds nothing open.

    Parameters
    ----------
    folder : of the Zarr array
    path : of the store that it will be part of, for messages
    shape, dtype : of the array
    chunks : what one file holds: a chunk, or a shard of several
    journal : that chunks are entered in; None where nobody will go on with the store
    """

    folder: str
    path: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...]
    journal: Journal | None = None

    def present(self) -> set[tuple[int, ...]]:
        """Indices of the chunks that are whole, of a store that is gone on with; all are read."""
        from usidx.stores.zarr.chunk_files import chunk_files

        known = {} if self.journal is None else self.journal.chunks()
        if not known:
            return set()
        names = chunk_files(self).encoding.names
        grid = [-(-size // chunk) for size, chunk in zip(self.shape, self.chunks, strict=True)]
        return {
            index
            for index in np.ndindex(*grid)
            if is_whole(os.path.join(self.folder, names(index)), known)
        }

    def __setitem__(self, key: tuple[slice, ...], values: Array) -> None:
        from usidx.stores.zarr.chunk_files import chunk_files

        block = np.asarray(values).astype(self.dtype, copy=False)
        with writing(self.path, lambda: math.prod(self.shape) * self.dtype.itemsize):
            # zarr needs several copies of a block, and threads of its own.
            files = chunk_files(self)
            if not files.encoding.is_whole(key, self.shape):
                open_to_write(self.folder)[key] = block
                return
            for index, part in files.encoding.chunks_in(key, block):
                files.write(index, part)


class Draft:
    """A store that is being made aside; nobody sees it before it is put in place."""

    def __init__(
        self,
        folder: str,
        root: str,
        leaf: str | None,
        journal: Journal | None = None,
        zarr_format: ZarrFormat = 3,
    ) -> None:
        self._folder = folder
        self._journal = journal
        self._made: set[str] = set()
        self._root = root
        self._leaf = leaf
        self._format: ZarrFormat = zarr_format

    def add_main(
        self,
        spec: MainSpec,
        chunks: tuple[int, ...],
        *,
        extras: Sequence[ExtraCoordinate] = (),
        completed: Array | None = None,
        failures: FailedAt | None = None,
        compression: Compression = "lz4",
        shards: tuple[int, ...] | None = None,
    ) -> tuple[Target, ...]:
        """Make a Main without values, and say where they go: one target for each field.

        Parameters
        ----------
        spec : of the Main; its path is where it will be in the store
        chunks : sizes of one chunk along the N-D axes; who stores writes whole chunks
        extras : coordinates that the model has no place for, written for plain xarray alone
        completed : position-shaped array of bool, for a Main of a partial result: which positions
            have been computed
        failures : where the step failed, for a Main of a result
        compression : "lz4", "zstd" or None
        shards : sizes of a file of several chunks; who stores writes whole ones then
        """
        folder = self._folder if self._leaf is not None else folder_of(self._folder, spec.path)
        there = os.path.exists(folder) and self._journal is not None
        if spec.path in self._made or (os.path.exists(folder) and not there):
            raise StoreExistsError(
                f"{spec.path!r} is given twice; give each Main a path of its own"
            )
        self._made.add(spec.path)
        if failures is not None and completed is None:
            completed = np.ones(spec.position.shape, bool)
        with writing(self._root, lambda: spec.nbytes):
            if there and entry_of(read_node(folder) or group_node()).get("kind") != "main":
                disk.remove_tree(folder)  # its metadata were not all there
                there = False
            if self._leaf is None:
                self._make_groups(spec.parent)
            leaf = (
                describe(spec, extras)
                if there
                else create_leaf(
                    folder,
                    spec,
                    chunks,
                    extras=extras,
                    compression=compression,
                    marked=completed is not None,
                    shards=shards,
                    zarr_format=self._format,
                )
            )
            if completed is not None:
                open_to_write(os.path.join(folder, leaf.marks))[...] = completed.astype(np.uint8)
            if failures is not None:
                write_failures(folder, failures)
        return tuple(
            Target(
                os.path.join(folder, key),
                self._root,
                spec.shape,
                dtype,
                shards or chunks,
                self._journal,
            )
            for key, dtype in leaf.fields
        )

    def set_attrs(self, path: str, attrs: Mapping[str, Any]) -> None:
        """Give the group at `path`, which is made where there is none, its attributes.

        Those of a result group are the ones that `usidx.stores.base.ResultRecord` has.
        """
        plain, exact = pack(attrs, path)
        with writing(self._root):
            self._make_groups(path)
            folder = folder_of(self._folder, path)
            node = read_node(folder) or group_node(zarr_format=self._format)
            node["attributes"] = {**plain, "usid": {"version": VERSION, "attrs": exact}}
            write_node(folder, node, wait=False)

    def add_dataset(
        self, path: str, values: Indexed, dims: Sequence[str], attrs: Mapping[str, Any]
    ) -> None:
        """Write a dataset that is no Main, unless there is something at `path` already.

        Parameters
        ----------
        path : where it will be in the store
        values : of any shape, read a few rows at a time
        dims : names of its axes
        attrs : of the dataset

        Raises
        ------
        OptionError : for values, or attributes, that Zarr has no type for
        """
        parent, _, _ = path.rpartition("/")
        with writing(self._root):
            self._make_groups(parent)
            folder = folder_of(self._folder, path)
            if self._journal is not None and path not in self._made:
                disk.remove_tree(folder)  # it may not be whole
            self._made.add(path)
            if not os.path.lexists(folder):
                try:
                    write_dataset(folder, values, dims, attrs, self._format)
                except BaseException:
                    disk.remove_tree(folder)
                    raise

    def _make_groups(self, path: str) -> None:
        parts = [part for part in path.split("/") if part]
        for depth in range(len(parts) + 1):
            folder = folder_of(self._folder, "/".join(parts[:depth]))
            node = read_node(folder)
            if node is None:
                os.makedirs(folder, exist_ok=True)
                write_node(folder, group_node(zarr_format=self._format), wait=False)
            elif entry_of(node).get("kind") == "main":
                raise StoreExistsError(
                    f"{'/'.join(parts[:depth])!r} is a Main, which cannot hold {path!r}"
                )


@contextlib.contextmanager
def draft(
    path: str,
    *,
    group: str | None,
    overwrite: bool,
    resume: str | None = None,
    zarr_format: ZarrFormat | None = None,
) -> Iterator[Draft]:
    """A store to be filled inside the `with` block; it replaces the old one at the end of it.

    Until then the store at `path` stays as it is, and if the block fails for good. The store is
    locked meanwhile, so that nobody makes results in what is about to be replaced.

    Parameters
    ----------
    path : of the store
    group : path in the store of the one Main that is added; None for a whole new store
    overwrite : whether a store (or with `group`, a Main) that is there already may be replaced
    resume : fingerprint of what a whole new store is made of: what was made of it before, and not
        finished, is gone on with; what was made of anything else is removed
    zarr_format : of the store; that of the one that is added to, else 3, when None

    Raises
    ------
    OptionError : for another format than that of the store which is added to
    StoreExistsError : where there is one and `overwrite` is False, or it is no Zarr store
    NotUsidError : where `group` is to be added to a folder that is no Zarr store
    StoreNotFoundError, ReadOnlyStoreError, NoSpaceError : where nothing can be written
    StoreLockedError : while another process writes it
    """
    root = os.path.realpath(path)
    target = root if group is None else folder_of(root, group)
    with held(store_lock(root, "exporting"), _LOCK_TIMEOUT):
        _check_target(path, root, target, overwrite)
        chosen = zarr_format or 3
        if group is None:
            sweep(root, resume)
        elif read_node(root) is not None:
            chosen = _same_format(path, root, zarr_format)
        with contextlib.ExitStack() as stack:
            journal = None if resume is None else stack.enter_context(unfinished(root, resume))
            folder = stack.enter_context(aside(root)) if journal is None else journal.folder
            new = os.path.join(folder, "new")
            made = Draft(new, path, group, journal, chosen)
            if group is None:
                with writing(path):
                    made._make_groups("/")
            yield made
            with writing(path):
                if group is None:
                    consolidate(new)
                _check_target(path, root, target, overwrite)
                if group is not None:
                    unconsolidate(root)
                if journal is not None:
                    journal.end()
                place(new, root, group or "/", replace=overwrite)
                if group is not None:
                    consolidate(root)


def _same_format(path: str, root: str, asked: ZarrFormat | None) -> ZarrFormat:
    """The format of a store, which is that of everything in it."""
    found = format_of(root)
    if asked not in (None, found):
        raise OptionError(
            f"{path!r} is a Zarr v{found} store, and so is what is added to it; leave out "
            f"zarr_format={asked}, or write a new store"
        )
    return found


def _check_target(path: str, root: str, target: str, overwrite: bool) -> None:
    there = os.path.lexists(target) and not (os.path.isdir(target) and not os.listdir(target))
    if there and not overwrite:
        raise StoreExistsError(f"{target!r} is there already; pass overwrite=True to replace it")
    if there:
        check_replaceable(target)
        refuse_runs(path)
    if target == root:
        return
    if os.path.isdir(root) and os.listdir(root) and read_node(root) is None:
        raise NotUsidError(f"{path!r} is no Zarr store that a Main could be added to")
    if there and entry_of(read_node(target) or group_node()).get("kind") != "main":
        raise StoreExistsError(
            f"{target!r} is no Main, so it is not replaced by one, not even with overwrite=True; "
            "choose another group"
        )
