"""h5USID: Mains in HDF5 files, as pyUSID and its predecessors write them."""

from __future__ import annotations

import os
from dataclasses import dataclass

from usidx.stores.base import Claim, MainEntry, ResultRecord, ResultRequest, StoredMain


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
        object.__setattr__(self, "path", os.path.abspath(os.fspath(self.path)))
        folders = (os.path.abspath(os.fspath(folder)) for folder in self.allow_external)
        object.__setattr__(self, "allow_external", tuple(folders))

    def mains(self) -> tuple[MainEntry, ...]:
        """Every valid Main, in the order of the file."""
        from usidx.stores.hdf5 import read

        return read.mains(self.path, self.allow_external)

    def open_main(self, path: str) -> StoredMain:
        """One Main by its whole path; only metadata and ancillaries are read."""
        from usidx.stores.hdf5 import read

        return read.open_main(self.path, path, self.allow_external)

    def results(self, main: str) -> tuple[ResultRecord, ...]:
        """Result groups of the Main at path `main`, beside it, oldest first."""
        from usidx.stores.hdf5 import read

        return read.results(self.path, main, self.allow_external)

    def result(self, group: str) -> ResultRecord:
        """One result group by its path."""
        from usidx.stores.hdf5 import read

        return read.result(self.path, group, self.allow_external)

    def claim(self, request: ResultRequest) -> Claim:
        """Create a result group with reserved space, all of it or nothing, and hold it."""
        from usidx.stores.hdf5 import write

        return write.claim(self.path, request)

    def reopen(self, group: str) -> Claim:
        """Hold a partial result group, to go on with it."""
        from usidx.stores.hdf5 import write

        return write.reopen(self.path, group)
