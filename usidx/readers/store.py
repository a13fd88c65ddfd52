"""A file of another system as a store of Mains that are only read."""

from __future__ import annotations

import hashlib
import inspect
import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import xarray as xr

from usidx.arrays.columns import COORDINATES, EMPTY_SIDES, single_cell
from usidx.arrays.further import dump_coordinates, is_kept
from usidx.arrays.roles import ROLES
from usidx.errors import (
    DamagedStoreError,
    MainNotFoundError,
    MissingDependencyError,
    OptionError,
    UsidError,
    did_you_mean,
)
from usidx.model.blocks import block_shape
from usidx.model.dimension import Array, Role
from usidx.model.layout import Grid
from usidx.model.main import MainSpec
from usidx.readers.base import Foreign, Reader
from usidx.stores.base import (
    BlockArray,
    Candidate,
    Contents,
    MainEntry,
    ResultRecord,
    StoredDataset,
    StoredGroup,
    StoredMain,
)
from usidx.stores.readonly import TakesNoResults
from usidx.stores.region import Region

_BLOCK_BYTES = 32 * 2**20


@dataclass(frozen=True, eq=False)
class Arranged:
    """A block array with its axes in another order, in the machine's byte order.

    Parameters
    ----------
    array : of which blocks are read
    order : the axis of `array` for each axis; None for one of one cell between them
    """

    array: BlockArray
    order: tuple[int | None, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(1 if axis is None else self.array.shape[axis] for axis in self.order)

    @property
    def ndim(self) -> int:
        return len(self.order)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.array.dtype.newbyteorder("=")

    def __getitem__(self, key: Any, /) -> Array:
        parts = list(key) if isinstance(key, tuple) else [key]
        parts += [slice(None)] * (self.ndim - len(parts))
        own: list[Any] = [slice(None)] * self.array.ndim
        for axis, part in zip(self.order, parts, strict=True):
            if axis is not None:
                own[axis] = part
        block = np.asarray(self.array[tuple(own)], self.dtype)
        left = [axis for axis, part in enumerate(own) if isinstance(part, slice)]
        wanted = [axis for axis in self.order if axis in left]
        block = block.transpose([left.index(axis) for axis in wanted if axis is not None])
        cells = tuple(
            None if axis is None else slice(None)
            for axis in self.order
            if axis is None or axis in left
        )
        # of the axes of one cell, what their own key selects
        own_key = tuple(
            part if axis is None else slice(None)
            for axis, part in zip(self.order, parts, strict=True)
            if axis is None or axis in left
        )
        found: Array = block[cells][own_key]
        return found

    def __dask_tokenize__(self) -> Any:
        return "usidx.Arranged", self.array.__dask_tokenize__(), self.order


@dataclass(frozen=True, eq=False)
class ForeignStore(TakesNoResults):
    """A file (or folder) of another system; meets `usidx.stores.base.Store`.

    Parameters
    ----------
    path : of the file
    reader : that reads it
    options : of the reader, as people gave them
    allow_external : folders with other files that this one may reach into
    """

    path: str
    reader: Reader
    options: Mapping[str, Any] = field(default_factory=dict)
    allow_external: tuple[str, ...] = ()

    def mains(self) -> tuple[MainEntry, ...]:
        """Every Main, in the order of the file."""
        return tuple(map(_entry, self._found()))

    def candidates(self, ending: str = "") -> tuple[Candidate, ...]:
        """Every Main whose path is `ending` or ends with it."""
        wanted = "/" + ending.strip("/")
        return tuple(
            Candidate(each.path, each.kind)
            for each in self._found()
            if wanted == "/" or each.path.endswith(wanted)
        )

    def open_main(self, path: str) -> StoredMain:
        """One Main by its whole path."""
        return self._stored(self._main(path))

    def contents(self, ancillaries: bool = False) -> Contents:
        """Every Main, and the groups above them."""
        mains = tuple(self._stored(each) for each in self._found())
        groups: dict[str, None] = {"/": None}
        for each in mains:
            parts = each.spec.path.strip("/").split("/")[:-1]
            groups.update({"/" + "/".join(parts[: n + 1]): None for n in range(len(parts))})
        return Contents(tuple(StoredGroup(each, {}) for each in groups), mains, {})

    def dataset(self, path: str) -> StoredDataset:
        """The values of the Main at `path`."""
        main = self.open_main(path)
        spec = main.spec
        return StoredDataset(spec.path, main.array, spec.attrs, spec.dims, chunks=main.chunks)

    def attrs(self, path: str) -> Mapping[str, Any]:
        """Attributes of the Main at `path`; groups have none."""
        known = {each.path: each.attrs for each in self._found()}
        path = "/" + path.strip("/")
        if path not in known and not any(f"{each}/".startswith(f"{path}/") for each in known):
            raise MainNotFoundError(f"{self.path!r} has no {path!r}")
        return known.get(path, {})

    def regions(self) -> tuple[Region, ...]:
        """None: region references are of HDF5."""
        return ()

    def results(self, main: str) -> tuple[ResultRecord, ...]:
        """None: results of such a file are in other stores."""
        return ()

    def result_of(self, main: str) -> ResultRecord | None:
        """None: what it holds is no result of usidx."""
        self._main(main)
        return None

    def result(self, group: str) -> ResultRecord:
        """None: there are no results.

        Raises
        ------
        MainNotFoundError : always
        """
        raise MainNotFoundError(f"{self.path!r} has no result group {group!r}")

    @property
    def refusal(self) -> str:
        return f"{self.path!r} is a file of {self.reader.title}, which takes no results of usidx"

    def _found(self) -> Sequence[Foreign]:
        self.reader.check_installed(self.path)
        reach = {"allow_external": self.allow_external} if self.reader.reaches_out else {}
        try:
            inspect.signature(self.reader.read).bind(self.path, **self.options, **reach)
        except TypeError as error:
            raise OptionError(
                f"the reader {self.reader.name!r} does not take these options: {error}"
            ) from error
        try:
            found = self.reader.read(self.path, **self.options, **reach)
        except UsidError:
            raise
        except ImportError as error:
            raise MissingDependencyError(
                f"{self.path!r} cannot be read by the reader {self.reader.name!r} ({error}); "
                f"install it: pip install {error.name or '...'}"
            ) from error
        except Exception as error:
            raise _damaged(self, error) from error
        if not found:
            raise DamagedStoreError(f"{self.path!r} holds nothing that is an array")
        return _told_apart(found)

    def _main(self, path: str) -> Foreign:
        path = "/" + path.strip("/")
        found = {each.path: each for each in self._found()}
        if path not in found:
            raise MainNotFoundError(
                f"{self.path!r} has no Main {path!r}{did_you_mean(path, found)}; it has "
                f"{', '.join(found)}"
            )
        return found[path]

    def _stored(self, main: Foreign) -> StoredMain:
        order, spec = _order(main), _spec(main)
        as_it_is = order == tuple(range(main.array.ndim)) and main.array.dtype == spec.dtype
        # methods of arrays of plug-ins may have the names of those that ours have, such as "read"
        as_it_is = as_it_is and type(main.array).__module__.startswith("usidx.")
        n_position = sum(each.role == "position" for each in main.axes)
        if main.chunks is None:
            itemsize = spec.dtype.itemsize
            chunks = block_shape(spec.shape, max(1, n_position), itemsize, budget=_BLOCK_BYTES)
        else:
            chunks = tuple(1 if axis is None else main.chunks[axis] for axis in order)
        return StoredMain(
            store=self.path,
            spec=spec,
            array=main.array if as_it_is else Arranged(main.array, order),
            chunks=chunks,
            identity=_identity(self, main, spec),
            opened_with={"reader": self.reader.name, **self.options},
            allow_external=self.allow_external,
        )


def _told_apart(mains: Sequence[Foreign]) -> list[Foreign]:
    """The Mains, those that have the path of one before them with a number behind it."""
    taken = {each.path for each in mains}
    seen: set[str] = set()
    found = []
    for each in mains:
        if each.path in seen:
            names = (f"{each.name}_{number}" for number in itertools.count(1))
            free = (replace(each, name=name) for name in names)
            each = next(main for main in free if main.path not in taken)
            taken.add(each.path)
        seen.add(each.path)
        found.append(each)
    return found


def _order(main: Foreign) -> tuple[int | None, ...]:
    """The axes of the file, those of positions first; None stands for a side that it has not."""
    sides: list[list[int | None]] = [
        [axis for axis, each in enumerate(main.axes) if each.role == role] or [None]
        for role in ROLES
    ]
    return (*sides[0], *sides[1])


def _spec(main: Foreign) -> MainSpec:
    sides: dict[Role, Grid] = {}
    empty = []
    texts = _texts(main)
    for role in ROLES:
        dimensions = tuple(each.dimension for each in main.axes if each.role == role)
        names = {each.name for each in dimensions}
        along = tuple(
            each
            for each in main.coordinates
            # what is along none belongs to the positions
            if set(each.dims) <= names and (each.dims or role == "position")
            if each.name not in texts
        )
        if not dimensions:
            empty.append(role)
        sides[role] = Grid(role, dimensions or (single_cell(role),), along)
    attrs = dict(main.attrs)
    # what changes with both sides has no place on either
    placed = {each.name for side in sides.values() for each in side.dependent}
    placed |= set(texts)
    attrs |= {each.name: each.values for each in main.coordinates if each.name not in placed}
    if texts:
        attrs[COORDINATES] = dump_coordinates(texts)
    if empty:
        attrs[EMPTY_SIDES] = empty
    return MainSpec(
        path=main.path,
        quantity=main.quantity or "Unknown",
        units=main.units,
        dtype=main.array.dtype.newbyteorder("="),
        position=sides["position"],
        spectroscopic=sides["spectroscopic"],
        attrs=attrs,
    )


def _texts(main: Foreign) -> dict[str, xr.DataArray]:
    """Coordinates of text, for which the layout of a file of USID has no place."""
    found = {
        each.name: xr.DataArray(each.values, dims=each.dims, attrs={"units": each.units})
        for each in main.coordinates
        if each.values.dtype.kind == "U"
    }
    # those that are too large for an attribute stay where they are
    kept = dump_coordinates(found)
    return {name: each for name, each in found.items() if is_kept({COORDINATES: kept}, name)}


def _entry(main: Foreign) -> MainEntry:
    spec = _spec(main)
    # of a side without dimensions, nothing is shown
    shown = [place for place, axis in enumerate(_order(main)) if axis is not None]
    return MainEntry(
        path=spec.path,
        dims=tuple(spec.dims[place] for place in shown),
        shape=tuple(spec.shape[place] for place in shown),
        quantity=spec.quantity,
        units=spec.units,
        dtype=spec.dtype,
        kind=main.kind,
        status="complete",
    )


def _told(options: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Options in one order; a list is a tuple, which is what results keep of one."""
    return [
        (name, tuple(value) if isinstance(value, list) else value)
        for name, value in sorted(options.items())
    ]


def _identity(store: ForeignStore, main: Foreign, spec: MainSpec) -> str:
    digest = hashlib.sha256(
        repr((store.reader.name, _told(store.options), main.path, spec.shape)).encode()
    )
    if main.identity:
        digest.update(main.identity.encode())
    else:
        now = os.stat(store.path)
        digest.update(repr((now.st_size, now.st_mtime_ns)).encode())
    return digest.hexdigest()


def _damaged(store: ForeignStore, error: Exception) -> DamagedStoreError:
    said = f"{type(error).__name__}: {error}"
    return DamagedStoreError(
        f"{store.path!r} cannot be read as a file of {store.reader.title} ({said}); it is damaged, "
        "cut short, or of another kind: say which with reader='...'"
    )
