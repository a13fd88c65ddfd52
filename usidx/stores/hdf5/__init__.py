"""h5USID: Mains in HDF5 files, as pyUSID and its predecessors write them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from usidx.stores.base import (
    Candidate,
    Claim,
    Contents,
    MainEntry,
    ResultRecord,
    ResultRequest,
    StoredDataset,
    StoredMain,
)
from usidx.stores.region import Region
from usidx.stores.remote.url import absolute, refuse_to_write


@dataclass(frozen=True)
class HDF5Store:
    """An h5USID file; meets `usidx.stores.base.Store`.

    Parameters
    ----------
    path : of the file
    allow_external : folders with other files that this one may reach by links or external storage
    """

    path: str
    allow_external: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", absolute(self.path))
        folders = (os.path.abspath(os.fspath(folder)) for folder in self.allow_external)
        object.__setattr__(self, "allow_external", tuple(folders))

    def mains(self) -> tuple[MainEntry, ...]:
        """Every valid Main, in the order of the file."""
        from usidx.stores.hdf5 import read

        return read.mains(self.path, self.allow_external)

    def candidates(self, ending: str = "") -> tuple[Candidate, ...]:
        """What looks like a Main, in the order of the file; not even ancillaries are read."""
        from usidx.stores.hdf5 import read

        return read.candidates(self.path, self.allow_external, ending)

    def open_main(self, path: str) -> StoredMain:
        """One Main by its whole path; only metadata and ancillaries are read."""
        from usidx.stores.hdf5 import read

        return read.open_main(self.path, path, self.allow_external)

    def contents(self, ancillaries: bool = False) -> Contents:
        """Every group and Main; ancillaries count among the other datasets where asked for."""
        from usidx.stores.hdf5.inventory import contents

        return contents(self.path, self.allow_external, ancillaries)

    def dataset(self, path: str) -> StoredDataset:
        """One dataset by its whole path, whether it is a Main or not."""
        from usidx.stores.hdf5.inventory import dataset

        return dataset(self.path, path, self.allow_external)

    def attrs(self, path: str) -> Mapping[str, Any]:
        """Attributes of the group or dataset at `path`."""
        from usidx.stores.hdf5.inventory import attrs

        return attrs(self.path, path, self.allow_external)

    def regions(self) -> tuple[Region, ...]:
        """Every region reference in the attributes of groups and datasets."""
        from usidx.stores.hdf5.regions import regions

        return regions(self.path, self.allow_external)

    def results(self, main: str) -> tuple[ResultRecord, ...]:
        """Result groups of the Main at path `main`, wherever they are, oldest first."""
        from usidx.stores.hdf5 import read

        return read.results(self.path, main, self.allow_external)

    def result(self, group: str) -> ResultRecord:
        """One result group by its path."""
        from usidx.stores.hdf5 import read

        return read.result(self.path, group, self.allow_external)

    def result_of(self, main: str) -> ResultRecord | None:
        """The result group that the Main at path `main` lies in; None for raw data."""
        from usidx.stores.hdf5 import read

        return read.result_of(self.path, main, self.allow_external)

    def claim(self, request: ResultRequest, *, durable: bool = False) -> Claim:
        """Create a result group with reserved space, all of it or nothing, and hold it."""
        from usidx.stores.hdf5 import write

        refuse_to_write(self.path)
        return write.claim(self.path, request, durable=durable)

    def reopen(
        self, group: str, *, durable: bool = False, failures: bool = False, retry: bool = False
    ) -> Claim:
        """Hold a partial result group, to go on with it."""
        from usidx.stores.hdf5 import write

        refuse_to_write(self.path)
        return write.reopen(self.path, group, durable=durable, failures=failures, retry=retry)
