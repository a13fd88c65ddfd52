"""USID-Zarr: a group for each Main, which plain xarray reads with its labels and units."""

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
class ZarrStore:
    """A Zarr store of Mains; meets `usidx.stores.base.Store`.

    Parameters
    ----------
    path : of the folder, which need not exist before the first claim
    allow_external : folders outside the store that links within it may lead to
    """

    path: str
    allow_external: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", absolute(self.path))
        object.__setattr__(self, "allow_external", tuple(map(os.fspath, self.allow_external)))

    def mains(self) -> tuple[MainEntry, ...]:
        """Every Main, in natural order of their paths."""
        from usidx.stores.zarr import read

        return read.mains(self.path, self.allow_external)

    def candidates(self, ending: str = "") -> tuple[Candidate, ...]:
        """Every Main, in natural order of their paths; nothing is known of their coordinates."""
        from usidx.stores.zarr.inventory import candidates

        return candidates(self.path, self.allow_external, ending)

    def open_main(self, path: str) -> StoredMain:
        """One Main by its whole path; its coordinates are read, none of its values."""
        from usidx.stores.zarr import read

        return read.open_main(self.path, path, self.allow_external)

    def contents(self, ancillaries: bool = False) -> Contents:
        """Every group and Main; ancillaries are coordinates here, and never on their own."""
        from usidx.stores.zarr.inventory import contents

        return contents(self.path, self.allow_external)

    def dataset(self, path: str) -> StoredDataset:
        """One array by its whole path, whether it is a Main or not."""
        from usidx.stores.zarr.inventory import dataset

        return dataset(self.path, path, self.allow_external)

    def attrs(self, path: str) -> Mapping[str, Any]:
        """Attributes of the group or Main at `path`."""
        from usidx.stores.zarr.inventory import attrs

        return attrs(self.path, path)

    def regions(self) -> tuple[Region, ...]:
        """None: Zarr has no references."""
        return ()

    def results(self, main: str) -> tuple[ResultRecord, ...]:
        """Result groups of the Main at path `main`, beside it, oldest first."""
        from usidx.stores.zarr import read

        return read.results(self.path, main, self.allow_external)

    def result(self, group: str) -> ResultRecord:
        """One result group by its path."""
        from usidx.stores.zarr import read

        return read.result(self.path, group)

    def result_of(self, main: str) -> ResultRecord | None:
        """The result group that the Main at path `main` lies in; None for raw data."""
        from usidx.stores.zarr.inventory import result_of

        return result_of(self.path, main)

    def claim(self, request: ResultRequest, *, durable: bool = False) -> Claim:
        """Create a result group, all of it or nothing, and hold it."""
        from usidx.stores.zarr import write

        refuse_to_write(self.path)
        return write.claim(self.path, request, durable=durable)

    def reopen(
        self, group: str, *, durable: bool = False, failures: bool = False, retry: bool = False
    ) -> Claim:
        """Hold a partial result group, to go on with it."""
        from usidx.stores.zarr import write

        refuse_to_write(self.path)
        return write.reopen(self.path, group, durable=durable, failures=failures, retry=retry)
