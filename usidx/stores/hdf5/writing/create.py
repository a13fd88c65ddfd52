"""Make new h5USID files: written aside, with checksums, and put in place when they are whole."""

from __future__ import annotations

import contextlib
import math
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

import h5py
import numpy as np

from usidx.errors import (
    LayoutError,
    OptionError,
    StoreExistsError,
)
from usidx.model.dimension import Array
from usidx.model.main import MainSpec
from usidx.model.provenance import book_keeping
from usidx.stores.failures import FailedAt
from usidx.stores.hdf5.transactions.aside import aside, unwritable
from usidx.stores.hdf5.transactions.overlay import Overlay
from usidx.stores.hdf5.writing.describe import (
    KnownSide,
    NewAncillaries,
    create_dataset,
    describe_main,
    write_attribute,
    write_attributes,
)
from usidx.stores.hdf5.writing.encoding import Encoding, chunk_shape
from usidx.stores.hdf5.writing.marking import Marks, write_marks
from usidx.stores.hdf5.writing.new_result import find
from usidx.stores.hdf5.writing.plain_dataset import Indexed, write_dataset
from usidx.stores.hdf5.writing.rows import Key, in_file_order, runs
from usidx.stores.hdf5.writing.sharing import known_sides
from usidx.stores.hdf5.writing.target import Target

__all__ = ["Compression", "Draft", "Target", "create_file", "draft"]

Compression = Literal["gzip", "lzf"]

# HDF5 1.10 and later read it. All its metadata have checksums; in older formats, what says where
# chunks are has none.
_LIBVER = ("v110", "v110")
_CACHE_BYTES = 16 * 2**20
# Chunks of at least so many bytes are written by their threads, past HDF5's own lock.
_LEAST_FILLED = 2**16
_SOURCE = re.compile(r"source_[0-9]{3,}")


def create_file(
    path: str,
    mains: Iterable[tuple[MainSpec, Iterable[tuple[Key, Array]]]],
    *,
    groups: Mapping[str, Mapping[str, Any]] | None = None,
    compression: Compression | None = None,
    overwrite: bool = False,
) -> str:
    """Write a new h5USID file from blocks of values, one at a time, and return its path.

    Parameters
    ----------
    path : of the new file
    mains : each a spec and its blocks: (key, values) with slices over the N-D axes. Together the
        blocks of a Main cover it once. They are taken one after the other.
    groups : attributes of groups by their paths, result groups too: their "source_000" is the path
        of the source
    compression : "gzip" is small, "lzf" fast, None stores the values as they are
    overwrite : replace the HDF5 file that is there; it stays whole until the new one is

    Raises
    ------
    StoreExistsError : where there is a file and `overwrite` is False, or it is no HDF5 file
    LayoutError : where the blocks of a Main do not cover it
    NoSpaceError, ReadOnlyStoreError, StoreNotFoundError, StoreLockedError : where it cannot be
        written
    OptionError : for another compression, or attributes and values that HDF5 cannot hold
    """
    with draft(path, overwrite=overwrite) as new:
        for name, attrs in (groups or {}).items():
            new.set_attrs(name, attrs)
        for spec, blocks in mains:
            target = None
            for key, values in blocks:
                if target is None:  # its first block tells how large the next ones are
                    target = new.add_main(spec, block=np.shape(values), compression=compression)
                target[key] = values
            if target is None:
                raise LayoutError(f"{spec.path!r} has no blocks to write")
    return path


@contextlib.contextmanager
def draft(path: str, *, overwrite: bool = False) -> Iterator[Draft]:
    """An h5USID file to be filled inside the `with` block; it takes its name at the end of it.

    Until then, and for good where the block fails, what is at `path` stays as it is.

    Raises
    ------
    StoreExistsError, LayoutError, NoSpaceError, ... : as for `create_file`
    """
    with aside(path, overwrite=overwrite) as overlay:
        file = h5py.File(overlay, "w", libver=_LIBVER, rdcc_nbytes=_CACHE_BYTES)
        try:
            made = Draft(path, file, overlay)
            yield made
            made.finish()
        finally:
            file.close()


class Draft:
    """An h5USID file that is being made, or added to; use it through `draft` or `appending`.

    Parameters
    ----------
    path : of the file
    file : what is made, or added to
    overlay : that HDF5 writes to
    adds : whether there is something in the file already
    """

    def __init__(self, path: str, file: h5py.File, overlay: Overlay, *, adds: bool = False) -> None:
        self._path = path
        self._file = file
        self._overlay = overlay
        self._lock = threading.Lock()
        self._shared: list[KnownSide] = []
        self._sides: dict[str, list[KnownSide]] = {}
        self._made = set() if adds else {"/"}
        self._targets: list[Target] = []
        self._sources: list[tuple[str, str, str]] = []
        self._marks: list[Marks] = []
        self._stand_in = np.zeros(0, np.uint8)

    def add_main(
        self,
        spec: MainSpec,
        *,
        block: tuple[int, ...] | None = None,
        compression: Compression | None = None,
        checked: bool = True,
        completed: Array | None = None,
        failures: FailedAt | None = None,
        chunk: tuple[int, int] | None = None,
    ) -> Target:
        """Make a Main without values, and say where they go.

        Parameters
        ----------
        spec : of the Main; its path is where it will be in the file
        block : shape of the blocks it will be written in, so that they are whole stored chunks
        compression : "gzip", "lzf" or None
        checked : whether values get checksums, for which they are chunked; else they lie in one
            piece
        completed : position-shaped array of bool, for a Main of a partial result: which positions
            have been computed
        failures : where the step failed, for a Main of a result
        chunk : rows and columns of a stored chunk; those that suit `block` when None
        """
        _check_kept(spec, compression, checked)
        shuffled = compression is not None and spec.dtype.names is None
        encoding = Encoding(compression, shuffled, chunk or chunk_shape(spec, block), spec.dtype)
        with self._lock, self._checked():
            group = self._group(spec.parent)
            self._check_free(group, spec)
            if checked:
                dataset = group.create_dataset(
                    spec.name, spec.shape_2d, spec.dtype, **encoding.options()
                )
            else:
                dataset = create_dataset(group, spec.name, spec.shape_2d, spec.dtype)
            # A Measurement has everything it needs; its channels share what is equal.
            known = self._sides.setdefault(spec.path.split("/")[1], list(self._shared))
            ancillaries = NewAncillaries(group, checked, known)
            for layout in (spec.position, spec.spectroscopic):
                ancillaries.side(layout, spec.name).refer(dataset, layout.role)
            describe_main(dataset, spec)
            if completed is not None or failures is not None:
                self._marks.append(Marks(spec, completed, failures))
        self._targets.append(Target(self, spec, dataset, encoding, checked))
        return self._targets[-1]

    def add_dataset(
        self, path: str, values: Indexed, attrs: Mapping[str, Any], *, checked: bool = True
    ) -> None:
        """Write a dataset that is no Main, unless there is something at `path` already.

        Parameters
        ----------
        path : where it will be in the file
        values : of any shape, read a few rows at a time
        attrs : of the dataset
        checked : whether values get checksums
        """
        parent, _, name = path.rpartition("/")
        with self._lock, self._checked():
            group = self._group(parent)
            if group.get(name, getlink=True) is None:
                made = write_dataset(group, name, values, checked=checked)
                write_attributes(made, {str(key): value for key, value in attrs.items()})

    def names(self, path: str) -> list[str]:
        """What is in the group at `path`; nothing where there is none."""
        with self._lock:
            group = find(self._file, path)
            return list(group) if isinstance(group, h5py.Group) else []

    def share(self, specs: Iterable[MainSpec], group: str | None, mains: Iterable[str]) -> None:
        """Let new Mains of these specs refer to ancillaries that the file has already.

        Parameters
        ----------
        specs : of the new Mains
        group : in and below which to look for equal ones; None for nowhere
        mains : paths of further Mains that may have them
        """
        with self._lock:
            self._shared += known_sides(self._file, specs, group, mains)

    def reserve(self, nbytes: int) -> None:
        """Make sure that the disk has room for so many bytes of values.

        Raises
        ------
        NoSpaceError : where it has not
        """
        with self._lock, self._checked():
            self._overlay.reserve(nbytes)

    def set_attrs(self, path: str, attrs: Mapping[str, Any]) -> None:
        """Give the group at `path`, which is made where there is none, its attributes.

        One that was in the file before keeps those it has.
        """
        with self._lock, self._checked():
            group = self._group(path)
            if group.name not in self._made:
                return
            for name, value in attrs.items():
                if _SOURCE.fullmatch(name) and isinstance(value, str):
                    self._sources.append((str(group.name), name, value))
                else:
                    write_attribute(group, name, value)

    def finish(self) -> None:
        """Write what could not be known before, and make sure that nothing is missing.

        Raises
        ------
        LayoutError : where a Main was not covered by its blocks, or twice in part
        """
        for target in self._targets:
            if target.written != target.spec.position.size * target.spec.spectroscopic.size:
                raise LayoutError(
                    f"{target.written} values were written to {target.spec.path!r}, which has "
                    f"{target.spec.position.size * target.spec.spectroscopic.size}; its blocks "
                    "must cover it exactly once"
                )
        for parent in dict.fromkeys(each.spec.parent for each in self._marks):
            mains = {t.spec.name: t.spec for t in self._targets if t.spec.parent == parent}
            marks = [each for each in self._marks if each.spec.parent == parent]
            write_marks(self._file[parent], mains, marks)
        for group, name, source in self._sources:
            dataset = find(self._file, source)
            if isinstance(dataset, h5py.Dataset):
                self._file[group].attrs[name] = dataset.ref
            else:  # it did not come along
                write_attribute(self._file[group], "source_dataset_path", source)

    def write(self, target: Target, key: Key, values: Array) -> None:
        """Write one block; used by `Target`, from any thread."""
        spec = target.spec
        rows, columns, block = in_file_order(spec, key, np.asarray(values))
        height = target.encoding.chunk[0]
        if target.checked and isinstance(rows, range) and len(columns) == spec.shape_2d[1]:
            first = min(len(rows), -rows.start % height)
            last = len(rows) if rows.stop == spec.shape_2d[0] else len(rows) - rows.stop % height
            if last > first:
                self._write_rows(target, rows.start + first, block[first:last])
                if last - first == len(rows):
                    return
                block = np.concatenate([block[:first], block[last:]])
                rows = np.concatenate([np.r_[rows][:first], np.r_[rows][last:]])
        with self._lock, self._checked():
            for row, start, stop in runs(rows) if len(rows) else ():
                for column, left, right in runs(columns):
                    place = slice(row, row + stop - start), slice(column, column + right - left)
                    target.dataset[place] = block[start:stop, left:right]
            target.written += block.size

    def _write_rows(self, target: Target, row: int, values: Array) -> None:
        """Write whole rows that begin and end with stored chunks."""
        height, width = target.encoding.chunk
        for first in range(0, values.shape[0], height):
            for column in range(0, values.shape[1], width):
                chunk = values[first : first + height, column : column + width]
                if chunk.shape != target.encoding.chunk:  # at the edge, chunks go on behind it
                    padded = np.zeros(target.encoding.chunk, values.dtype)
                    padded[: chunk.shape[0], : chunk.shape[1]] = chunk
                    chunk = padded
                self.write_chunk(target, (row + first, column), chunk)

    def write_chunk(self, target: Target, place: tuple[int, int], values: Array) -> None:
        """Write one stored chunk, encoded by the thread that calls; used by `Target`.

        HDF5 finds its place, one thread at a time, and then each thread writes its own.
        """
        skipped, pieces = target.encoding.pieces(values)
        size = sum(piece.nbytes for piece in pieces)
        put = target.dataset.id.write_direct_chunk
        found = None
        with self._lock, self._checked():
            if size >= _LEAST_FILLED:
                if size > self._stand_in.nbytes:
                    self._stand_in = np.zeros(size, np.uint8)
                zeros = self._stand_in[:size]
                found = self._overlay.place_for(zeros, lambda: put(place, zeros, skipped))
            if found is None:
                put(place, b"".join(pieces), skipped)
            sides = zip(place, values.shape, target.spec.shape_2d, strict=True)
            target.written += math.prod(min(part, full - at) for at, part, full in sides)
        if found is not None:
            self._overlay.fill(found, pieces)
            self._refuse_unwritten()

    def _check_free(self, group: h5py.Group, spec: MainSpec) -> None:
        if any(target.spec.path == spec.path for target in self._targets):
            raise StoreExistsError(f"{spec.path!r} is given twice; give each a path of its own")
        if group.get(spec.name, getlink=True) is not None:
            raise StoreExistsError(
                f"there is a {spec.path!r} already in {self._path!r}; give the new one another "
                "name, with rename(...)"
            )

    def _group(self, path: str) -> h5py.Group:
        """The group at `path`; those that are made for it get pyUSID's book-keeping."""
        group: h5py.Group = self._file
        for part in [each for each in path.split("/") if each]:
            if group.get(part, getlink=True) is None:
                write_attributes(group.create_group(part), book_keeping())
                self._made.add(str(group[part].name))
            found = find(group, part)
            if not isinstance(found, h5py.Group):
                what = "a link" if found is None else "a Main"
                where = f"{str(group.name).rstrip('/')}/{part}"
                raise StoreExistsError(f"{where!r} is {what}, which cannot hold {path!r}")
            group = found
        return group

    @contextlib.contextmanager
    def _checked(self) -> Iterator[None]:
        """Stop as soon as something could not be written: HDF5 itself is not told."""
        try:
            yield
        except (TypeError, ValueError) as error:
            if isinstance(error, (OptionError, LayoutError)):
                raise
            raise OptionError(f"{self._path!r} cannot hold this: {error}") from error
        finally:
            self._refuse_unwritten()

    def _refuse_unwritten(self) -> None:
        if self._overlay.error is not None:
            values = sum(each.spec.nbytes for each in self._targets)
            needed = max(self._overlay.wanted, values)
            raise unwritable(self._path, self._overlay.error, needed)


def _check_kept(spec: MainSpec, compression: Compression | None, checked: bool) -> None:
    if compression not in (None, "gzip", "lzf"):
        raise OptionError(f"compression={compression!r} is none of 'gzip', 'lzf' and None")
    if compression is not None and not checked:
        raise OptionError(
            f"compression={compression!r} needs values in chunks, which have checksums; leave "
            "checksums as it is, or compression"
        )
    if spec.dtype.hasobject or spec.dtype.itemsize == 0:
        raise OptionError(f"{spec.path!r} has values of {spec.dtype}; HDF5 keeps numbers")
