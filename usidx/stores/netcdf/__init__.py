"""USID in netCDF-4: a group for each Main, which plain xarray reads with its labels and units.

Such files are written whole and only read afterwards: results go into another store.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from usidx.stores.base import (
    Candidate,
    Contents,
    MainEntry,
    ResultRecord,
    StoredDataset,
    StoredMain,
)
from usidx.stores.readonly import TakesNoResults
from usidx.stores.region import Region


@dataclass(frozen=True)
class NetcdfStore(TakesNoResults):
    """A netCDF-4 file that `usidx.to_netcdf` wrote; meets `usidx.stores.base.Store`.

    Parameters
    ----------
    path : of the file
    allow_external : folders with other files that this one may reach by links or external storage
    """

    path: str
    allow_external: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", os.path.abspath(os.fspath(self.path)))
        object.__setattr__(self, "allow_external", tuple(map(os.fspath, self.allow_external)))

    def mains(self) -> tuple[MainEntry, ...]:
        """Every Main, in the order in which they were written."""
        from usidx.stores.netcdf import read

        return read.mains(self.path, self.allow_external)

    def candidates(self, ending: str = "") -> tuple[Candidate, ...]:
        """Every Main, in the order in which they were written; no coordinate is read."""
        from usidx.stores.netcdf import read

        return read.candidates(self.path, self.allow_external, ending)

    def open_main(self, path: str) -> StoredMain:
        """One Main by its whole path; its coordinates are read, none of its values."""
        from usidx.stores.netcdf import read

        return read.open_main(self.path, path, self.allow_external)

    def contents(self, ancillaries: bool = False) -> Contents:
        """Every group and Main; ancillaries are coordinates here, and never on their own."""
        from usidx.stores.netcdf import read

        return read.contents(self.path, self.allow_external)

    def dataset(self, path: str) -> StoredDataset:
        """One variable by its whole path, or the values of the Main there."""
        from usidx.stores.netcdf import read

        return read.dataset(self.path, path, self.allow_external)

    def attrs(self, path: str) -> Mapping[str, Any]:
        """Attributes of the group or Main at `path`."""
        from usidx.stores.netcdf import read

        return read.attrs(self.path, path, self.allow_external)

    def regions(self) -> tuple[Region, ...]:
        """None: netCDF has no references."""
        return ()

    def results(self, main: str) -> tuple[ResultRecord, ...]:
        """Result groups of the Main at path `main`, beside it, oldest first."""
        from usidx.stores.netcdf import read

        return read.results(self.path, main, self.allow_external)

    def result(self, group: str) -> ResultRecord:
        """One result group by its path."""
        from usidx.stores.netcdf import read

        return read.result(self.path, group, self.allow_external)

    def result_of(self, main: str) -> ResultRecord | None:
        """The result group that the Main at path `main` lies in; None for raw data."""
        from usidx.stores.netcdf import read

        return read.result_of(self.path, main, self.allow_external)

    @property
    def refusal(self) -> str:
        return (
            f"{self.path!r} is a netCDF file, which takes no results, since a crash in the middle "
            "of a write could destroy it"
        )
