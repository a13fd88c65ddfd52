"""The xarray engine "usid": `xr.open_dataset(path, engine="usid", group=...)`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import xarray as xr
from xarray.backends import BackendEntrypoint

from usidx.errors import UsidError
from usidx.opening import (
    Form,
    as_dataset,
    check_form,
    labelled,
    main_called,
    tree_datasets,
)


class UsidBackend(BackendEntrypoint):
    """Opens the Mains of h5USID files and USID-Zarr stores as lazy Datasets.

    With `chunks={}` the blocks are those that suit the storage.
    """

    description = "Open Universal Spectroscopy and Imaging Data (h5USID, USID-Zarr) with usidx"
    url = "https://pycroscopy.github.io/USID/"
    open_dataset_parameters: ClassVar[Any] = (
        "filename_or_obj",
        "drop_variables",
        "group",
        "form",
        "allow_external",
    )
    supports_groups = True

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Whether the content is that of a store with a Main; False when in doubt."""
        from usidx.stores import store_at

        if not isinstance(filename_or_obj, (str, os.PathLike)):
            return False
        try:
            return bool(store_at(filename_or_obj).mains())
        except (UsidError, OSError):
            return False

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        group: str | None = None,
        form: Form = "nd",
        allow_external: Sequence[str | os.PathLike[str]] = (),
    ) -> xr.Dataset:
        """One Main as a Dataset: one variable of its name, or one per field of a compound Main.

        Parameters
        ----------
        filename_or_obj : path of the store
        drop_variables : names of variables to leave out
        group : the Main, as `main` of `usidx.open`
        form, allow_external : as for `usidx.open`
        """
        from usidx.stores import store_at

        check_form(form)
        stored = main_called(store_at(filename_or_obj, allow_external), group)
        dataset = as_dataset(labelled(stored, form=form, chunks=None))
        return dataset.drop_vars(_names(drop_variables), errors="ignore")

    def open_datatree(self, filename_or_obj: Any, **options: Any) -> xr.DataTree:
        """Every Main as a leaf of a DataTree; parameters as for `open_groups_as_dict`."""
        groups = self.open_groups_as_dict(filename_or_obj, **options)
        return xr.DataTree.from_dict(groups)

    def open_groups_as_dict(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        form: Form = "nd",
        ancillaries: bool = False,
        allow_external: Sequence[str | os.PathLike[str]] = (),
    ) -> dict[str, xr.Dataset]:
        """Every group and Main as a Dataset, by its path.

        Parameters
        ----------
        ancillaries : as for `usidx.open_tree`
        filename_or_obj, drop_variables, form, allow_external : as for `open_dataset`
        """
        from usidx.stores import store_at

        check_form(form)
        store = store_at(filename_or_obj, allow_external)
        nodes = tree_datasets(store, form=form, chunks=None, ancillaries=ancillaries)
        names = _names(drop_variables)
        return {path: each.drop_vars(names, errors="ignore") for path, each in nodes.items()}


def _names(drop_variables: str | Iterable[str] | None) -> list[str]:
    if drop_variables is None:
        return []
    return [drop_variables] if isinstance(drop_variables, str) else list(drop_variables)
