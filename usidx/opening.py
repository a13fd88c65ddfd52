"""Open what is in a store: one Main, all of them, or a result."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr

from usidx.arrays.extras import group_datasets
from usidx.arrays.fields import to_dataset
from usidx.arrays.further import with_further
from usidx.arrays.labels import Origin, to_dataarray
from usidx.arrays.lazy import Chunks, resolve_chunks, to_dask, to_lazy
from usidx.arrays.rasters import cells_of
from usidx.arrays.unfolded import to_flat_dataarray
from usidx.arrays.views import ComputedView, FieldView, FlatView, Readable
from usidx.errors import (
    InvalidMainError,
    MainNotFoundError,
    OptionError,
    did_you_mean,
)
from usidx.model.blocks import block_shape, blocks_of
from usidx.readers import store_of
from usidx.stores.base import Store, StoredMain
from usidx.stores.choosing import main_called, no_mains, resolve, sole_raw
from usidx.stores.keeping import keeping_open
from usidx.stores.remote.url import located
from usidx.stores.table import MainTable

Form = Literal["nd", "2d"]
Path = str | os.PathLike[str]
Labelled = xr.DataArray | xr.Dataset

__all__ = [
    "as_dataset",
    "check_form",
    "labelled",
    "list_mains",
    "main_called",
    "open",
    "open_result",
    "open_tree",
    "resolve",
    "sole_raw",
    "store_of",
    "tree_datasets",
]


def list_mains(
    path: Path,
    *,
    reader: str | None = None,
    allow_external: Sequence[Path] = (),
    storage_options: Mapping[str, Any] | None = None,
    **reader_options: Any,
) -> MainTable:
    """The Mains of a file, as a table; nothing but metadata is read.

    Parameters
    ----------
    path : an h5USID file, a USID-Zarr store, or a file of another system
    reader : the name of the one that reads it; by the content of the file when None
    allow_external : folders that the store may reach into
    storage_options : of fsspec, for a URL: keys and the like
    reader_options : of readers of other systems

    Raises
    ------
    StoreNotFoundError, NotUsidError, DamagedStoreError, UnsafeStoreError
    """
    store = store_of(located(path, storage_options), allow_external, reader, reader_options)
    return MainTable(store.path, store.mains())


def open(  # the name that people write: usidx.open
    path: Path,
    main: str | None = None,
    *,
    form: Form = "nd",
    chunks: Chunks = "auto",
    reader: str | None = None,
    allow_external: Sequence[Path] = (),
    storage_options: Mapping[str, Any] | None = None,
    **reader_options: Any,
) -> Labelled:
    """A Main as a lazy, labelled DataArray; a compound one as a Dataset of one variable per field.

    Positions come first, slowest to fastest, then the spectroscopic dimensions, slowest to
    fastest, whatever order the file has. Only metadata and ancillaries are read, and no file is
    left open.

    Parameters
    ----------
    path : an h5USID file, a USID-Zarr store, or a file of another system that usidx has a reader
        for. Those of USID may be behind a URL that fsspec knows, too
    main : path of the Main, or an ending of it that no other Main has ("Raw_Data",
        "Raw_Data-SHO_Fit_000/Fit"); None for the raw Main, where there is one
    form : "nd" for one axis per dimension, "2d" for the (position, spectroscopic) of the file
    chunks : "auto" (or {}) for blocks that suit the storage; {dim: size}, a size, or one size for
        each dimension; None for no dask
    reader : the name of the one that reads it; by the content of the file when None
    allow_external : folders that the store may reach into
    storage_options : of fsspec, for a URL: keys and the like
    reader_options : of readers of other systems, such as `nav_shape` for bare frames

    Raises
    ------
    StoreNotFoundError, NotUsidError, DamagedStoreError, UnsafeStoreError : for the store
    MainNotFoundError, AmbiguousMainError, InvalidMainError : for the Main
    OptionError : for `form`, `chunks` or `reader`
    """
    check_form(form)
    with keeping_open():
        stored = main_called(
            store_of(located(path, storage_options), allow_external, reader, reader_options), main
        )
    return labelled(stored, form=form, chunks=chunks)


def open_tree(
    path: Path,
    *,
    form: Form = "nd",
    chunks: Chunks = "auto",
    ancillaries: bool = False,
    reader: str | None = None,
    allow_external: Sequence[Path] = (),
    storage_options: Mapping[str, Any] | None = None,
    **reader_options: Any,
) -> xr.DataTree:
    """Everything in a store as a DataTree: each Main a leaf at its own path.

    The nodes of groups have the attributes of the groups, and as lazy variables the datasets in
    them that are no Mains. Their dimensions have names that no Main has. A Main that breaks the
    model is such a variable, too, and its attribute `usid_fault` says what is wrong with it.

    Parameters
    ----------
    ancillaries : whether those of the Mains are among the variables of the groups
    path, form, chunks, reader, allow_external, storage_options, reader_options : as for `open`,
        and so are the errors
    """
    check_form(form)
    store = store_of(located(path, storage_options), allow_external, reader, reader_options)
    nodes = tree_datasets(store, form=form, chunks=chunks, ancillaries=ancillaries)
    tree = xr.DataTree.from_dict(nodes)
    tree.encoding["source"] = store.path
    return tree


def open_result(
    store: Path | Store, group: str, *, form: Form = "nd", chunks: Chunks = "auto"
) -> Labelled | xr.DataTree:
    """What a result group holds: its Main, or a DataTree of them where there are several.

    Parameters
    ----------
    store : the store, or its path
    group : path of the result group
    form, chunks : as for `open`

    Raises
    ------
    MainNotFoundError : where the group holds no Main
    """
    check_form(form)
    store = store_of(store) if isinstance(store, (str, os.PathLike)) else store
    record = store.result(group)
    if not record.mains:
        raise MainNotFoundError(
            f"result group {group!r} of {store.path!r} holds no Main: it was made but nothing was "
            "written; run it again"
        )
    if len(record.mains) == 1:
        return labelled(store.open_main(record.mains[0]), form=form, chunks=chunks)
    leaves = {
        path.removeprefix(record.group): as_dataset(
            labelled(store.open_main(path), form=form, chunks=chunks)
        )
        for path in record.mains
    }
    tree = xr.DataTree.from_dict(leaves, name=record.name)
    tree.encoding["source"] = store.path
    return tree


def tree_datasets(
    store: Store,
    *,
    form: Form = "nd",
    chunks: Chunks = "auto",
    ancillaries: bool = False,
) -> dict[str, xr.Dataset]:
    """One Dataset for each group and Main of a store, by its path; groups first.

    Raises
    ------
    NotUsidError : for a store without a Main
    """
    contents = store.contents(ancillaries)
    if not contents.mains:
        store.mains()  # which knows what is wrong with those that come near
        raise next(iter(contents.refused.values()), no_mains(store.path))
    faults = {path: str(error) for path, error in contents.refused.items()}
    for path, error in contents.refused.items():
        if not isinstance(error, InvalidMainError):
            warnings.warn(f"{path!r} is left out: {error}", stacklevel=3)
    leaves = {
        each.spec.path: as_dataset(labelled(each, form=form, chunks=chunks))
        for each in contents.mains
    }
    dims = {str(dim) for each in leaves.values() for dim in each.dims}
    groups = group_datasets(contents.groups, dims, dask=chunks is not None, faults=faults)
    return groups | leaves


def labelled(stored: StoredMain, *, form: Form = "nd", chunks: Chunks = "auto") -> Labelled:
    """A Main of a store as a DataArray, or a Dataset of one variable per field.

    Positions of a partial result that were not computed are NaN; `usid_status` in the attributes
    says what a result is. Those at which the step failed are NaN, too, or 0 in integers;
    `usid_failed` counts them.
    """
    spec, result = stored.spec, stored.result
    origin = Origin(
        store=stored.store,
        main=spec.path,
        identity=stored.identity,
        form=form,
        result=None if result is None else result.group,
        allow_external=stored.allow_external,
        opened_with=tuple(stored.opened_with.items()),
        lineage=_lineage(stored),
    )
    label = to_dataarray if form == "nd" else to_flat_dataarray

    status = _status(stored)

    def values(field: str | None = None) -> Any:
        return _values(stored, field, form, chunks, masked=status == "partial")

    array: Labelled
    if spec.dtype.names:
        array = to_dataset(spec, values, origin=origin, label=label)
        array = with_further(array, stored.further)
        variables = list(array.data_vars.values())
    else:
        array = with_further(label(spec, values(), origin=origin), stored.further)
        variables = [array]
    for each in (array, *variables):
        each.encoding["source"] = stored.store
        if status is not None:
            each.attrs["usid_status"] = status
        if stored.failures is not None:
            each.attrs["usid_failed"] = stored.failures.count
    for each in variables:
        dims = spec.dims if form == "nd" else each.dims
        suited = dict(zip(dims, _suited(stored, form), strict=True))
        each.encoding["preferred_chunks"] = {dim: suited[dim] for dim in each.dims}
    return array


def as_dataset(array: Labelled) -> xr.Dataset:
    """A DataArray as a Dataset with one variable, named as it; a Dataset as it is."""
    if isinstance(array, xr.Dataset):
        return array
    name = str(array.name)
    # xarray keeps variables and coordinates under one roof.
    free = f"{name}_values" if name in array.coords else name
    dataset = array.to_dataset(name=free)
    dataset.encoding["source"] = array.encoding.get("source")
    return dataset


def _values(
    stored: StoredMain, field: str | None, form: Form, chunks: Chunks, *, masked: bool
) -> Any:
    """The values of a Main, or a field of it, as `chunks` and `form` ask for."""
    spec = stored.spec
    view: Readable = stored.array if field is None else only_field(stored.array, field)
    if masked and stored.completed is not None:
        view = ComputedView(view, stored.completed)
    dims = spec.dims
    if form == "2d":
        orders = cells_of(spec.position), cells_of(spec.spectroscopic)
        view = FlatView(view, len(spec.position.dims), *orders)
        dims = ("position", "spectroscopic")
    if chunks is None:
        return to_lazy(view)
    sizes = resolve_chunks(chunks, dims, view.shape, view.dtype, _suited(stored, form))
    # By what the Main is, not by when its file was changed last: results that we append to it
    # change neither the array nor what was made of it.
    known = None
    if not masked:
        known = f"{stored.store}|{stored.identity}|{field}|{form}|{_lineage(stored)}"
    return to_dask(view, sizes, name=spec.name, known=known)


def _status(stored: StoredMain) -> str | None:
    """The status of one Main, which may be complete in a group that is partial; None for raw."""
    if stored.result is None:
        return None
    if stored.result.status == "complete" or stored.completed is None:
        return stored.result.status
    marks = stored.completed
    # a part at a time, as there may be very many
    part = block_shape(marks.shape, marks.ndim, 1, budget=2**20)
    done = (np.all(marks[block.key]) for block in blocks_of(marks.shape, part))
    return "complete" if all(done) else "partial"


def _lineage(stored: StoredMain) -> str:
    """What tells the result that a Main belongs to from any other in its place."""
    return "" if stored.result is None else stored.result.fingerprint or ""


def only_field(array: Any, field: str) -> Readable:
    """One field of a compound array, read without the others where the array knows how."""
    only = getattr(array, "only", None)
    return FieldView(array, field) if only is None else only(field)


def _suited(stored: StoredMain, form: Form) -> tuple[int, ...]:
    if form == "nd":
        return stored.chunks
    n_position = len(stored.spec.position.dims)
    return math.prod(stored.chunks[:n_position]), math.prod(stored.chunks[n_position:])


def check_form(form: object) -> None:
    """Nothing, where `form` is one that Mains can have.

    Raises
    ------
    OptionError : for any other
    """
    if form not in ("nd", "2d"):
        raise OptionError(
            f"form={form!r} is not known{did_you_mean(str(form), ('nd', '2d'))}; use 'nd' for one "
            "axis per dimension, '2d' for (position, spectroscopic) as in the file"
        )
