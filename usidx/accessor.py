"""`.usid` on what xarray has: every method hands off to a function elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import xarray as xr

if TYPE_CHECKING:
    from pandas import DataFrame

    from usidx.arrays.ancillaries import Sides
    from usidx.explore.figure import Explorer
    from usidx.explore.history import History
    from usidx.explore.regions import Selections
    from usidx.model.main import MainSpec
    from usidx.process.process import Process
    from usidx.process.results.groups import ResultList
    from usidx.process.results.result import ResultGroup
    from usidx.recipes import Recipe
    from usidx.step import Step
    from usidx.stores.table import MainTable

Labelled = TypeVar("Labelled", xr.DataArray, xr.Dataset)
Path = str | os.PathLike[str]


class UsidAccessor(Generic[Labelled]):
    """What a labelled array is as a Main, and what can be done with it."""

    def __init__(self, obj: Labelled) -> None:
        self._obj: Labelled = obj

    def __repr__(self) -> str:
        from usidx.explore.summary import summary_of

        return str(summary_of(self._obj))

    def _repr_html_(self) -> str:
        from usidx.explore.summary import summary_of

        return summary_of(self._obj).html()

    @property
    def quantity(self) -> str:
        """What was measured."""
        return str(self._obj.attrs.get("quantity", ""))

    @property
    def units(self) -> str:
        """Units of the values."""
        return str(self._obj.attrs.get("units", ""))

    @property
    def position_dims(self) -> tuple[str, ...]:
        """Names of the position dimensions, in the order of the array."""
        from usidx.arrays.roles import dims_by_role

        return dims_by_role(self._obj)[0]

    @property
    def spectroscopic_dims(self) -> tuple[str, ...]:
        """Names of the spectroscopic dimensions, in the order of the array."""
        from usidx.arrays.roles import dims_by_role

        return dims_by_role(self._obj)[1]

    @property
    def layout(self) -> Sides:
        """How both sides fold: `.position` and `.spectroscopic`."""
        from usidx.arrays.ancillaries import sides_of

        return sides_of(self._obj)

    @property
    def spec(self) -> MainSpec:
        """Everything about the Main but its values."""
        from usidx.arrays.fields import main_spec

        return main_spec(self._obj)

    @property
    def position_indices(self) -> xr.DataArray:
        """Position_Indices as a file has them: (position, dimension)."""
        from usidx.arrays.ancillaries import ancillary

        return ancillary(self._obj, "position", "indices")

    @property
    def position_values(self) -> xr.DataArray:
        """Position_Values as a file has them: (position, dimension)."""
        from usidx.arrays.ancillaries import ancillary

        return ancillary(self._obj, "position", "values")

    @property
    def spectroscopic_indices(self) -> xr.DataArray:
        """Spectroscopic_Indices as a file has them: (dimension, spectroscopic)."""
        from usidx.arrays.ancillaries import ancillary

        return ancillary(self._obj, "spectroscopic", "indices")

    @property
    def spectroscopic_values(self) -> xr.DataArray:
        """Spectroscopic_Values as a file has them: (dimension, spectroscopic)."""
        from usidx.arrays.ancillaries import ancillary

        return ancillary(self._obj, "spectroscopic", "values")

    def assign_roles(
        self,
        position: Sequence[str] = (),
        spectroscopic: Sequence[str] | None = None,
        *,
        quantity: str | None = None,
        units: str | None = None,
    ) -> Labelled:
        """A copy whose dimensions have roles; see `usidx.arrays.roles.assign_roles`."""
        from usidx.arrays.roles import assign_roles

        return assign_roles(self._obj, position, spectroscopic, quantity=quantity, units=units)

    def to_2d(self, *, order: str = "acquisition") -> Labelled:
        """The 2-D form (position, spectroscopic), lazily; see `usidx.arrays.reshape.to_2d`."""
        from usidx.arrays.reshape import to_2d

        return to_2d(self._obj, order=order)

    def to_nd(self, fill_value: Any = None, *, dims: Sequence[str] | None = None) -> Labelled:
        """The N-D form, lazily; see `usidx.arrays.reshape.to_nd`."""
        from usidx.arrays.reshape import to_nd

        return to_nd(self._obj, fill_value, dims=dims)

    def to_real(self, *, dim: str = "component") -> xr.DataArray:
        """Complex or compound values as real numbers; see `usidx.arrays.real.to_real`."""
        from usidx.arrays.real import to_real

        return to_real(self._obj, dim=dim)

    def to_csv(self, path: Path, **options: Any) -> str:
        """Write a text file; options are those of `usidx.exporting.to_csv`."""
        from usidx.exporting import to_csv

        return to_csv(self._obj, path, **options)

    def to_zarr(self, path: Path, **options: Any) -> str:
        """Write a USID-Zarr store; options are those of `usidx.exporting.to_zarr`."""
        from usidx.exporting import to_zarr

        return to_zarr(self._obj, path, **options)

    def to_h5usid(self, path: Path, **options: Any) -> str:
        """Write an h5USID file; options are those of `usidx.exporting.to_h5usid`."""
        from usidx.exporting import to_h5usid

        return to_h5usid(self._obj, path, **options)

    def to_netcdf(self, path: Path, **options: Any) -> str:
        """Write a netCDF-4 file; options are those of `usidx.exporting.to_netcdf`."""
        from usidx.exporting import to_netcdf

        return to_netcdf(self._obj, path, **options)

    def to_hspy(self, path: Path, **options: Any) -> str:
        """Write a file that HyperSpy opens; options are those of `usidx.exporting.to_hspy`."""
        from usidx.exporting import to_hspy

        return to_hspy(self._obj, path, **options)

    def to_nsid(self, path: Path, **options: Any) -> str:
        """Write a file that pyNSID opens; options are those of `usidx.exporting.to_nsid`."""
        from usidx.exporting import to_nsid

        return to_nsid(self._obj, path, **options)

    def to_npy(self, path: Path, **options: Any) -> str:
        """Write a .npy file; options are those of `usidx.exporting.to_npy`."""
        from usidx.exporting import to_npy

        return to_npy(self._obj, path, **options)

    def to_dataframe(self, **options: Any) -> DataFrame:
        """A table with a row for each value; options of `usidx.exporting.to_dataframe`."""
        from usidx.exporting import to_dataframe

        return to_dataframe(self._obj, **options)

    def rechunk_for(self, access: Literal["maps", "spectra"], into: Path, **options: Any) -> str:
        """Write a store in other chunks; options are those of `usidx.exporting.rechunk_for`."""
        from usidx.exporting import rechunk_for

        return rechunk_for(self._obj, access, into, **options)

    @property
    def source(self) -> xr.DataArray | xr.Dataset | None:
        """The Main that this result was computed from, opened; None where this is no result."""
        from usidx.process.results.lineage import source_of

        return source_of(self._obj)

    @property
    def sources(self) -> tuple[xr.DataArray | xr.Dataset, ...]:
        """Every Main that this result was computed from, opened; () where this is no result."""
        from usidx.process.results.lineage import sources_of

        return sources_of(self._obj)

    def results(self, tool: str | None = None) -> ResultList:
        """The result groups of this Main anywhere in its store, of one tool by its exact name."""
        from usidx.process.results.lineage import results_of

        return results_of(self._obj, tool)

    @property
    def history(self) -> History:
        """How this Main came about, step by step from the measurement, across files."""
        from usidx.explore.history import history_of

        return history_of(self._obj)

    @property
    def regions(self) -> Selections:
        """Selections that the file has by name: region references on the Main and around it."""
        from usidx.explore.regions import regions_of

        return regions_of(self._obj)

    def explore(self, **options: Any) -> Explorer:
        """Linked map and spectrum, to click in; options of `usidx.explore.figure.explore`."""
        from usidx.explore.figure import explore

        return explore(self._obj, **options)

    def process(self, step: Step[..., Any], **parameters: Any) -> Process:
        """A step bound to this Main; nothing runs before `.preview()` or `.run()`."""
        from usidx.process.process import Process

        return Process(step, self._obj, parameters)

    def run_recipe(
        self, recipe: Recipe | Path, into: Path | None = None, **options: Any
    ) -> dict[str, ResultGroup]:
        """The steps of a recipe, run on this Main; see `usidx.process.recipe.run_recipe`."""
        from usidx.process.recipe import run_recipe

        return run_recipe(self._obj, recipe, into, **options)

    def save(
        self,
        lazy: xr.DataArray | xr.Dataset,
        tool: str,
        parameters: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> ResultGroup:
        """Compute a lazy result of this Main into a result group beside it."""
        from usidx.process.save import save

        return save(self._obj, lazy, tool=tool, parameters=parameters, **options)


@xr.register_dataarray_accessor("usid")
class UsidArray(UsidAccessor[xr.DataArray]):
    """`DataArray.usid`: what the array is as a Main, and what can be done with it."""

    def from_real(
        self, *, dim: str = "component", restore: bool = True
    ) -> xr.DataArray | xr.Dataset:
        """What `to_real` made this array from; see `usidx.arrays.real.from_real`."""
        from usidx.arrays.real import from_real

        return from_real(self._obj, dim=dim, restore=restore)

    def to_hyperspy(self) -> Any:
        """A lazy HyperSpy signal, where it is installed; see `usidx.exporting.to_hyperspy`."""
        from usidx.exporting import to_hyperspy

        return to_hyperspy(self._obj)

    def to_sidpy(self) -> Any:
        """A lazy sidpy Dataset, where it is installed; see `usidx.exporting.to_sidpy`."""
        from usidx.exporting import to_sidpy

        return to_sidpy(self._obj)

    def to_libertem(self, context: Any = None) -> Any:
        """A LiberTEM data set, where it is installed; see `usidx.exporting.to_libertem`."""
        from usidx.exporting import to_libertem

        return to_libertem(self._obj, context)

    def to_edf(self, path: Path, **options: Any) -> str:
        """Write frames as an EDF file; options are those of `usidx.exporting.to_edf`."""
        from usidx.exporting import to_edf

        return to_edf(self._obj, path, **options)

    def map(
        self, function: Callable[..., Any], over: str | Sequence[str], **options: Any
    ) -> xr.DataArray:
        """A NumPy function on spectra, lazily; see `usidx.process.map.map_spectra`."""
        from usidx.process.map import map_spectra

        return map_spectra(self._obj, function, over, **options)


@xr.register_dataset_accessor("usid")
class UsidDataset(UsidAccessor[xr.Dataset]):
    """`Dataset.usid`: what a compound Main is, and what can be done with it."""


@xr.register_datatree_accessor("usid")
class UsidTree:
    """`DataTree.usid`: the Mains of a tree."""

    def __init__(self, tree: xr.DataTree) -> None:
        self._tree = tree

    def __repr__(self) -> str:
        return repr(self.mains)

    def _repr_html_(self) -> str:
        return self.mains._repr_html_()

    @property
    def mains(self) -> MainTable:
        """The Mains of the tree, as a table."""
        from usidx.explore.trees import mains_of

        return mains_of(self._tree)

    @property
    def regions(self) -> Selections:
        """Selections that the file has by name, all of them."""
        from usidx.explore.trees import regions_of

        return regions_of(self._tree)

    def to_zarr(self, path: Path, **options: Any) -> str:
        """Write a USID-Zarr store of all Mains; options are those of `usidx.exporting.to_zarr`."""
        from usidx.exporting import to_zarr

        return to_zarr(self._tree, path, **options)

    def to_hspy(self, path: Path, **options: Any) -> str:
        """Write a file of all Mains for HyperSpy; options of `usidx.exporting.to_hspy`."""
        from usidx.exporting import to_hspy

        return to_hspy(self._tree, path, **options)

    def to_nsid(self, path: Path, **options: Any) -> str:
        """Write a file of all Mains for pyNSID; options of `usidx.exporting.to_nsid`."""
        from usidx.exporting import to_nsid

        return to_nsid(self._tree, path, **options)

    def rechunk_for(self, access: Literal["maps", "spectra"], into: Path, **options: Any) -> str:
        """Write all Mains in other chunks; options are those of `usidx.exporting.rechunk_for`."""
        from usidx.exporting import rechunk_for

        return rechunk_for(self._tree, access, into, **options)

    def to_h5usid(self, path: Path, **options: Any) -> str:
        """Write an h5USID file of all Mains; options are those of `usidx.exporting.to_h5usid`."""
        from usidx.exporting import to_h5usid

        return to_h5usid(self._tree, path, **options)

    def to_netcdf(self, path: Path, **options: Any) -> str:
        """Write a netCDF-4 file; options are those of `usidx.exporting.to_netcdf`."""
        from usidx.exporting import to_netcdf

        return to_netcdf(self._tree, path, **options)
