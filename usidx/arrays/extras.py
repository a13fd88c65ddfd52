"""Datasets of a store that are no Mains, as variables of the group they lie in.

A child of a DataTree must agree with its parents on every dimension that both have. So each
dimension of such a variable gets a name that no Main has and no variable above it, and none of
them has an index, which children would inherit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

import xarray as xr

from usidx.arrays.lazy import resolve_chunks, to_dask, to_lazy
from usidx.arrays.roles import ROLE
from usidx.arrays.views import Readable

# What `usidx_role` is for a variable that is no Main.
EXTRA = "extra"
LINKS = "usid_links"
UNREAD = "usid_unread"
FAULT = "usid_fault"
# Attributes of a node that are not attributes of the group in the store.
TOLD = (LINKS, UNREAD)
# Values up to this size are read as a whole when they are asked for, without dask.
_READ_WHOLE = 32 * 2**20


class PlainDataset(Protocol):
    """A dataset of a store, see `usidx.stores.base.StoredDataset`."""

    @property
    def path(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def array(self) -> Readable: ...
    @property
    def attrs(self) -> Mapping[str, Any]: ...
    @property
    def labels(self) -> Sequence[str]: ...
    @property
    def scales(self) -> Sequence[str]: ...
    @property
    def chunks(self) -> tuple[int, ...] | None: ...


class PlainGroup(Protocol):
    """A group of a store, see `usidx.stores.base.StoredGroup`."""

    @property
    def path(self) -> str: ...
    @property
    def attrs(self) -> Mapping[str, Any]: ...
    @property
    def datasets(self) -> Sequence[PlainDataset]: ...
    @property
    def links(self) -> Mapping[str, str]: ...
    @property
    def unread(self) -> Mapping[str, str]: ...


def plain_dataarray(dataset: PlainDataset) -> xr.DataArray:
    """Any dataset of a store as a lazy DataArray, with dimensions called after it."""
    labels = dict(enumerate(dataset.labels))
    dims = [
        f"{dataset.name}_{labels.get(axis) or axis}" for axis in range(len(dataset.array.shape))
    ]
    if len(set(dims)) < len(dims):
        dims = [f"{dataset.name}_{axis}" for axis in range(len(dims))]
    return xr.DataArray(_variable(dataset, tuple(dims), dask=True), name=dataset.name)


def is_extra(variable: xr.DataArray | xr.Variable) -> bool:
    """Whether a variable of a tree is a dataset that is no Main."""
    return bool(variable.attrs.get(ROLE) == EXTRA)


def has_mains(dataset: xr.Dataset) -> bool:
    """Whether any variable of a node of a tree is (a field of) a Main."""
    return any(not is_extra(each) for each in dataset.data_vars.values())


def without_extras(dataset: xr.Dataset) -> xr.Dataset:
    """A node of a tree without what is no Main."""
    return dataset.drop_vars([name for name, each in dataset.variables.items() if is_extra(each)])


def group_datasets(
    groups: Sequence[PlainGroup],
    reserved: Iterable[str],
    *,
    dask: bool,
    faults: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, xr.Dataset]:
    """The node of each group by its path: attributes, and other datasets as lazy variables.

    What no array can hold, and links to what lies elsewhere, are said in the attributes
    `usid_unread` and `usid_links`.

    Parameters
    ----------
    groups : all of the store, parents first
    reserved : names of dimensions that the Mains have
    dask : whether large datasets come in blocks
    faults : why datasets are no Mains, though they look like some, by their paths; it is said in
        their attribute `usid_fault`
    """
    everything = {each.path: each for group in groups for each in group.datasets}
    names = _Names({*reserved, *(each.name for each in everything.values())}, groups)
    nodes = {group.path: _node(group, everything, names, dask) for group in groups}
    for path, fault in faults.items():
        node = nodes.get(_parent(path), xr.Dataset())
        if path.rpartition("/")[2] in node:
            node[path.rpartition("/")[2]].attrs[FAULT] = fault
    return nodes


def _node(
    group: PlainGroup, everything: Mapping[str, PlainDataset], names: _Names, dask: bool
) -> xr.Dataset:
    variables = {each.name: _variable(each, names.of(each), dask) for each in group.datasets}
    along = {scale for each in group.datasets for scale in each.scales if scale}
    coordinates = []
    for path in sorted(along & set(everything)):
        scale = everything[path]
        if _parent(path) == group.path:
            coordinates.append(scale.name)
        elif scale.name not in variables:
            variables[scale.name] = _variable(scale, names.of(scale), dask)
            coordinates.append(scale.name)
    attrs = dict(group.attrs)
    for name, told, word in ((LINKS, group.links, "->"), (UNREAD, group.unread, ":")):
        if told:
            attrs[name] = [f"{each} {word} {what}" for each, what in told.items()]
    return xr.Dataset(variables, attrs=attrs).set_coords(coordinates)


def _variable(dataset: PlainDataset, dims: tuple[str, ...], dask: bool) -> xr.Variable:
    array = dataset.array
    values: Any
    large = array.dtype.itemsize * _size(array.shape) > _READ_WHOLE
    if dask and large and array.dtype.kind != "O":
        chunks = resolve_chunks("auto", dims, array.shape, array.dtype, _blocks(dataset))
        values = to_dask(array, chunks, name=dataset.name)
    else:
        values = to_lazy(array)
    variable = xr.Variable(dims, values, {**dataset.attrs, ROLE: EXTRA})
    if dataset.chunks:
        variable.encoding["preferred_chunks"] = dict(zip(dims, dataset.chunks))
    return variable


def _blocks(dataset: PlainDataset) -> tuple[int, ...]:
    """Shape of blocks of some 32 MiB: whole chunks of the storage, as many as fit in a row."""
    shape = dataset.array.shape
    block = list(dataset.chunks or (1,) * len(shape))
    nbytes = _size(block) * dataset.array.dtype.itemsize
    for axis in reversed(range(len(shape))):
        times = max(1, min(_READ_WHOLE // max(1, nbytes), -(-shape[axis] // block[axis])))
        nbytes *= times
        block[axis] = min(shape[axis], block[axis] * times)
        if block[axis] < shape[axis]:
            break
    return tuple(block)


def _size(shape: Sequence[int]) -> int:
    size = 1
    for each in shape:
        size *= each
    return size


class _Names:
    """Names of dimensions, each of one axis of one dataset (or one scale) along any path."""

    def __init__(self, reserved: set[str], groups: Sequence[PlainGroup]) -> None:
        self._reserved = reserved
        self._scales: dict[str, str] = {}
        self._taken: dict[str, set[str]] = {"": set()}
        self._of: dict[str, tuple[str, ...]] = {}
        datasets = [each for group in groups for each in group.datasets]
        for scale in (scale for each in datasets for scale in each.scales if scale):
            if scale not in self._scales:
                base = f"{scale.rpartition('/')[2]}_0"
                self._scales[scale] = self._free(base, set())
                self._reserved.add(self._scales[scale])
        for group in groups:
            taken = set(self._taken.get(_above(group.path), ()))
            for each in group.datasets:
                names: list[str] = []
                for axis in range(len(each.array.shape)):
                    names.append(self._name(each, axis, taken, names))
                self._of[each.path] = tuple(names)
            self._taken[group.path] = taken

    def of(self, dataset: PlainDataset) -> tuple[str, ...]:
        """Names of the dimensions of a dataset."""
        return self._of[dataset.path]

    def _name(self, dataset: PlainDataset, axis: int, taken: set[str], others: list[str]) -> str:
        """The name of one axis; `others` are those of the axes before it."""
        scale = dataset.scales[axis] if axis < len(dataset.scales) else ""
        # two axes with one scale, as covariances have, cannot have one name
        if scale and self._scales[scale] not in others:
            return self._scales[scale]
        label = dataset.labels[axis] if axis < len(dataset.labels) else ""
        name = self._free(f"{dataset.name}_{label or axis}", taken)
        taken.add(name)
        return name

    def _free(self, name: str, taken: set[str]) -> str:
        while name in self._reserved or name in taken:
            name += "_"
        return name


def _parent(path: str) -> str:
    return path.rpartition("/")[0] or "/"


def _above(path: str) -> str:
    return "" if path == "/" else _parent(path)
