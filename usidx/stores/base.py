"""The contract that every USID store meets, and what passes between stores and their users.

A store holds Mains and result groups. Two exist: `stores.hdf5` (h5USID) and `stores.zarr`
(USID-Zarr). Everything above this floor speaks to them through `Store`, `Claim` and `BlockWriter`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Protocol

import numpy as np

from usidx.errors import UsidError
from usidx.model.dimension import Array
from usidx.model.main import MainSpec
from usidx.stores.compression import Compression
from usidx.stores.failures import Failures
from usidx.stores.region import Region

Key = tuple[int | slice, ...]
Status = Literal["complete", "partial", "unknown"]


class BlockArray(Protocol):
    """An N-D array on disk that reads what is indexed, picklable and without an open handle."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    @property
    def ndim(self) -> int: ...
    def __getitem__(self, key: Key, /) -> Array: ...
    def __dask_tokenize__(self) -> Any: ...


@dataclass(frozen=True)
class MainEntry:
    """One row of `list_mains`: what a Main is, without opening it.

    `kind` is "raw" or "result"; `status` is "complete", "partial (61 %)" or "unknown".
    """

    path: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    quantity: str
    units: str
    dtype: np.dtype[Any]
    kind: Literal["raw", "result"]
    status: str


@dataclass(frozen=True)
class Candidate:
    """A dataset that looks like a Main: where it is, and whether it belongs to a result."""

    path: str
    kind: Literal["raw", "result"]


@dataclass(frozen=True)
class ResultRecord:
    """What a result group says of itself.

    Parameters
    ----------
    store : path of the store that holds the group
    group : path of the group, such as "/Measurement_000/Channel_000/Raw_Data-SHO_Fit_000"
    main : name of the source Main as the group's name has it ("Raw_Data")
    tool, index : "SHO_Fit" and 0 in the example
    sources : (store, path) of each source; store is "" when it is the same store
    mains : paths of the Mains in the group
    status : "unknown" where a group says nothing about completion
    done, total : positions marked complete, and all, summed over the group's Mains
    parameters : of the step
    version : of the step, None where the group has none
    fingerprint : of (step, version, parameters, source), None for groups of other programs
    attrs : every attribute of the group
    failed : positions, of those done, at which the step failed, summed over the group's Mains
    """

    store: str
    group: str
    main: str
    tool: str
    index: int
    sources: tuple[tuple[str, str], ...]
    mains: tuple[str, ...]
    status: Status
    done: int
    total: int
    parameters: Mapping[str, Any]
    version: str | None
    fingerprint: str | None
    attrs: Mapping[str, Any]
    failed: int = 0

    @property
    def name(self) -> str:
        """The last part of the group's path."""
        return self.group.rsplit("/", 1)[-1]

    @property
    def step(self) -> str:
        """Name of the step, which is that of the tool where the group does not say another."""
        return str(self.attrs.get("usid_step_name") or self.tool)


@dataclass(frozen=True)
class FurtherCoordinate:
    """A coordinate of a Main that is no part of its layout, read when its values are asked for.

    Parameters
    ----------
    name, dims, attrs : of the coordinate
    array : its values
    """

    name: str
    dims: tuple[str, ...]
    array: BlockArray
    attrs: Mapping[str, Any]


@dataclass(frozen=True)
class StoredMain:
    """A Main in a store: its spec, and an array that reads it block by block.

    Parameters
    ----------
    store : path of the store
    spec : everything but the values
    array : the N-D values, lazily
    chunks : block shape that suits the storage, one size for each N-D axis
    identity : digest of what the Main is (path, shape, dtype, ancillaries, a sample of its values)
    completed : position-shaped array of bool, lazily, for a Main of a partial result; None for
        any other
    result : the group it belongs to, when that is a result group
    allow_external : folders with other files that the store may reach
    failures : where the step failed, for a Main of a result that says so; None for any other
    opened_with : arguments of `usidx.open` that it takes to open it again; for files of others
    further : coordinates that are no part of the layout, and too large for the attributes
    """

    store: str
    spec: MainSpec
    array: BlockArray
    chunks: tuple[int, ...]
    identity: str
    completed: BlockArray | None = None
    result: ResultRecord | None = None
    allow_external: tuple[str, ...] = ()
    failures: Failures | None = None
    opened_with: Mapping[str, Any] = field(default_factory=dict)
    further: tuple[FurtherCoordinate, ...] = ()


@dataclass(frozen=True)
class StoredDataset:
    """A dataset of a store that is no Main, as an array that is read when its values are asked for.

    Parameters
    ----------
    path : within the store
    array : the values; what NumPy has no type for as text
    attrs : of the dataset
    labels : what each axis is called in the store, "" where it has no name
    scales : path of the 1-D dataset with the coordinates of each axis, "" where there is none
    chunks : of the storage; None where it is in one piece
    """

    path: str
    array: BlockArray
    attrs: Mapping[str, Any] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    scales: tuple[str, ...] = ()
    chunks: tuple[int, ...] | None = None

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class StoredGroup:
    """A group of a store: its attributes, and what is in it besides Mains and groups.

    Parameters
    ----------
    path : within the store, "/" for the root
    attrs : of the group
    datasets : that are neither Mains nor ancillaries of Mains
    links : names of links in the group that lead to what is elsewhere, and where they lead
    unread : names of what no array can show, and what it is
    """

    path: str
    attrs: Mapping[str, Any]
    datasets: tuple[StoredDataset, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    unread: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Contents:
    """Everything in a store.

    Parameters
    ----------
    groups : all of them, parents first
    mains : the Mains, in the order of the store
    refused : what is wrong with those that break the model, by their paths
    """

    groups: tuple[StoredGroup, ...]
    mains: tuple[StoredMain, ...]
    refused: Mapping[str, UsidError]


@dataclass(frozen=True)
class OutputRequest:
    """One Main to be created in a result group.

    Parameters
    ----------
    spec : of the new Main; only the last part of its path counts
    block : shape of the blocks it will be written in, one size for each N-D axis; a Zarr store
        makes them its chunks
    share_position, share_spectroscopic : path of a Main in the same store whose ancillaries of that
        side are to be referred to rather than written again; None writes new ones
    """

    spec: MainSpec
    block: tuple[int, ...]
    share_position: str | None = None
    share_spectroscopic: str | None = None


@dataclass(frozen=True)
class ResultRequest:
    """A result group to be created: `<main>-<tool>_NNN` in the group `parent`.

    With `failures` it has room to say at which positions the step failed, and why. `compression`
    is that of the values.
    """

    parent: str
    main: str
    tool: str
    version: str
    parameters: Mapping[str, Any]
    fingerprint: str
    sources: tuple[tuple[str, str], ...]
    outputs: tuple[OutputRequest, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    failures: bool = False
    compression: Compression = None


class BlockWriter(Protocol):
    """Writes blocks of one output; picklable, used by many tasks at once on different blocks."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...

    def done(self) -> Array:
        """Position-shaped array of bool: which positions are marked complete, now."""
        ...

    def write(self, key: tuple[slice, ...], values: Array, only: Array | None = None) -> None:
        """Write one N-D block; `key` has all spectroscopic values and whole runs of positions.

        With `only`, bool, shape of the block's positions, the others keep what they have.
        """
        ...

    def fail(self, key: tuple[slice, ...], failed: Array, reasons: Sequence[str]) -> None:
        """Say at which positions of the block `key` the step failed, before they are marked.

        `failed` has the shape of the block's positions: 0, or the number of a reason from 1 on. For
        a group that has room for it, and for one task at a time.
        """
        ...

    def mark(self, key: tuple[slice, ...]) -> None:
        """Mark the positions of the block `key` complete, after `write` has returned."""
        ...


class Claim(Protocol):
    """A result group held by this process for writing, from its creation (or resumption) on."""

    @property
    def group(self) -> str: ...
    @property
    def writers(self) -> Mapping[str, BlockWriter]:
        """One writer for each output, by the name of its Main."""
        ...

    def complete(self) -> None:
        """Mark the whole group complete; refused while any position is not marked."""
        ...

    def __enter__(self) -> Claim: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go of the group; what is marked stays marked."""
        ...


class Store(Protocol):
    """A file (or folder) of Mains."""

    @property
    def path(self) -> str: ...

    def mains(self) -> tuple[MainEntry, ...]:
        """Every Main, in the order of the file."""
        ...

    def candidates(self, ending: str = "") -> tuple[Candidate, ...]:
        """What looks like a Main, in the order of the file; not even ancillaries are read.

        Only those whose path is `ending`, or ends with it after a "/", where that is not empty.
        """
        ...

    def open_main(self, path: str) -> StoredMain:
        """One Main by its whole path; only metadata and ancillaries are read."""
        ...

    def contents(self, ancillaries: bool = False) -> Contents:
        """Every group and Main; ancillaries count among the other datasets where asked for."""
        ...

    def dataset(self, path: str) -> StoredDataset:
        """One dataset by its whole path, whether it is a Main or not."""
        ...

    def attrs(self, path: str) -> Mapping[str, Any]:
        """Attributes of the group or dataset at `path`."""
        ...

    def regions(self) -> tuple[Region, ...]:
        """Every region reference in the attributes of groups and datasets."""
        ...

    def results(self, main: str) -> tuple[ResultRecord, ...]:
        """Result groups of the Main at path `main`, oldest first.

        Those that refer to it, wherever they are, and those beside it that are named after it and
        refer to no other Main of the store.
        """
        ...

    def result_of(self, main: str) -> ResultRecord | None:
        """The result group that the Main at path `main` lies in; None for raw data."""
        ...

    def result(self, group: str) -> ResultRecord:
        """One result group by its path."""
        ...

    def claim(self, request: ResultRequest, *, durable: bool = False) -> Claim:
        """Create a result group with reserved space, and hold it.

        With `durable` values are on disk before they are marked, and marks when `mark` returns.
        """
        ...

    def reopen(
        self, group: str, *, durable: bool = False, failures: bool = False, retry: bool = False
    ) -> Claim:
        """Hold a partial result group, to go on with it.

        With `failures` it gets room to say where the step failed, unless it has it. With `retry`
        the positions at which it failed are no longer marked, and the group may be complete.
        """
        ...
