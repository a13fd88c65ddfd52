"""The contract that every USID store meets, and what passes between stores and their users.

A store holds Mains and result groups. Two exist: `stores.hdf5` (h5USID) and `stores.zarr`
(USID-Zarr). Everything above this floor speaks to them through `Store`, `Claim` and `BlockWriter`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Protocol

import numpy as np

from usidx.model.dimension import Array
from usidx.model.main import MainSpec

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

    @property
    def name(self) -> str:
        """The last part of the group's path."""
        return self.group.rsplit("/", 1)[-1]


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
    completed : position-shaped array of bool, lazily, for a Main of a partial result; None otherwise
    result : the group it belongs to, when that is a result group
    """

    store: str
    spec: MainSpec
    array: BlockArray
    chunks: tuple[int, ...]
    identity: str
    completed: BlockArray | None = None
    result: ResultRecord | None = None


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
    """A result group to be created: `<main>-<tool>_NNN` in the group `parent`."""

    parent: str
    main: str
    tool: str
    version: str
    parameters: Mapping[str, Any]
    fingerprint: str
    sources: tuple[tuple[str, str], ...]
    outputs: tuple[OutputRequest, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)


class BlockWriter(Protocol):
    """Writes blocks of one output; picklable, used by many tasks at once on different blocks."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...

    def done(self) -> Array:
        """Position-shaped array of bool: which positions are marked complete, now."""
        ...

    def write(self, key: tuple[slice, ...], values: Array) -> None:
        """Write one N-D block; `key` covers all spectroscopic values and whole runs of positions."""
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
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
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

    def open_main(self, path: str) -> StoredMain:
        """One Main by its whole path; only metadata and ancillaries are read."""
        ...

    def results(self, main: str) -> tuple[ResultRecord, ...]:
        """Result groups of the Main at path `main`, beside it, oldest first."""
        ...

    def result(self, group: str) -> ResultRecord:
        """One result group by its path."""
        ...

    def claim(self, request: ResultRequest) -> Claim:
        """Create a result group with reserved space, and hold it."""
        ...

    def reopen(self, group: str) -> Claim:
        """Hold a partial result group, to go on with it."""
        ...
