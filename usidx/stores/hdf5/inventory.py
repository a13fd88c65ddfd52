"""Everything in an h5USID file: its groups, and what they hold besides Mains."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import h5py
import numpy as np

from usidx.errors import MainNotFoundError, UsidError, did_you_mean
from usidx.stores.base import BlockArray, Contents, StoredDataset, StoredGroup
from usidx.stores.hdf5.beside import paths_beside
from usidx.stores.hdf5.file import understandable
from usidx.stores.hdf5.objects import attributes
from usidx.stores.hdf5.objects.place import find_place
from usidx.stores.hdf5.objects.walk import Item, find
from usidx.stores.hdf5.read import Session, block_array, opened, stored_main
from usidx.stores.hdf5.values.plain import PlainArray, in_words, is_numeric, plain_equivalent
from usidx.stores.hdf5.values.selection import Fold

# By these HDF5 ties scales to axes; what they say is in labels and scales of a StoredDataset.
_MACHINERY = frozenset({"DIMENSION_LIST", "REFERENCE_LIST"})
# What netCDF4 writes for a dimension that has no values.
_NO_VALUES = b"This is a netCDF dimension but not a netCDF variable"


class _UnshowableError(Exception):
    """No array can hold a dataset; the text says what it is."""


def contents(path: str, allow_external: Sequence[str] = (), ancillaries: bool = False) -> Contents:
    """Every group and Main of the file at `path`, in one go.

    Parameters
    ----------
    ancillaries : whether those of the Mains are among the datasets of the groups
    """
    with opened(path, allow_external) as session:
        mains, refused = [], {}
        for where in session.catalog.candidates:
            try:
                with understandable(path):
                    mains.append(stored_main(session, where))
            except UsidError as error:
                refused[where] = error
        hidden = {each.spec.path for each in mains}
        for each in mains:
            hidden |= paths_beside(session, each.spec.attrs, each.spec.path)
        hidden |= set() if ancillaries else session.ancillaries.used
        inside = defaultdict(list)
        for item in session.catalog.items:
            inside[_parent(item.path)].append(item)
        groups = [_group(session, where, inside[where], hidden) for where in session.catalog.groups]
    return Contents(tuple(groups), tuple(mains), refused)


def dataset(path: str, name: str, allow_external: Sequence[str] = ()) -> StoredDataset:
    """The dataset at `name` of the file at `path`, whether it is a Main or not.

    Raises
    ------
    MainNotFoundError : where there is none, or one that no array can hold
    """
    name = "/" + name.strip("/")
    with opened(path, allow_external) as session:
        found = find(session.file, name)
        if not isinstance(found, h5py.Dataset):
            known = [each.path for each in session.catalog.items if each.kind == "dataset"]
            raise MainNotFoundError(f"{path!r} has no dataset {name!r}{did_you_mean(name, known)}")
        try:
            return _stored(session, found, name)
        except _UnshowableError as error:
            raise MainNotFoundError(f"{name!r} in {path!r} cannot be shown: {error}") from error


def attrs(path: str, name: str, allow_external: Sequence[str] = ()) -> Mapping[str, Any]:
    """Attributes of the group or dataset at `name` of the file at `path`.

    Raises
    ------
    MainNotFoundError : where there is none
    """
    with opened(path, allow_external) as session:
        found = find(session.file, "/" + name.strip("/"))
        if found is None:
            raise MainNotFoundError(f"{path!r} has no {name!r}")
        return attributes.read_all(found, path_of=session.catalog.path_of)


def _group(session: Session, path: str, items: list[Item], hidden: set[str]) -> StoredGroup:
    """A group that holds `items`, without those in `hidden`."""
    group = find(session.file, path)
    datasets: list[StoredDataset] = []
    unread: dict[str, str] = {}
    for item in items:
        name = item.path.rpartition("/")[2]
        if item.kind == "datatype":
            unread[name] = f"a named datatype, {_type_name(session, item.path)}"
        elif item.kind == "dataset" and item.path not in hidden:
            try:
                with understandable(session.path):
                    datasets.append(_stored(session, find(session.file, item.path), item.path))
            except (_UnshowableError, UsidError) as error:
                unread[name] = str(error)
    return StoredGroup(
        path=path,
        attrs=attributes.read_all(group, path_of=session.catalog.path_of),
        datasets=tuple(datasets),
        links=dict(_links(session, group, items)),
        unread=unread,
    )


def _type_name(session: Session, path: str) -> str:
    try:
        return str(find(session.file, path).dtype)
    except TypeError as error:  # no NumPy equivalent
        return str(error)


def _links(session: Session, group: h5py.Group, items: list[Item]) -> Iterator[tuple[str, str]]:
    """(name, where it leads) of each link to what is met elsewhere, or is not in the file."""
    if group.id.get_num_objs() == len(items):
        return
    own = {item.path.rpartition("/")[2] for item in items}
    for name in group:
        said = attributes.text(name)
        if said in own:
            continue
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.HardLink):
            yield said, session.catalog.path_of(group[name]) or "(an object without a name)"
        elif isinstance(link, h5py.ExternalLink):
            yield said, f"{link.filename}:{link.path}"
        else:
            broken = "" if group.get(name) is not None else " (nothing is there)"
            yield said, f"{getattr(link, 'path', 'somewhere')}{broken}"


def _stored(session: Session, dataset: h5py.Dataset, path: str) -> StoredDataset:
    """A dataset as an array.

    Raises
    ------
    _UnshowableError : where no array can hold it
    """
    attrs = attributes.read_all(dataset, _MACHINERY, session.catalog.path_of)
    try:
        dtype = dataset.dtype
    except TypeError as error:
        raise _UnshowableError(f"a dataset whose values NumPy has no type for: {error}") from error
    if dataset.shape is None:
        raise _UnshowableError(f"an empty dataset of {dtype}" + (f" {attrs}" if attrs else ""))
    names = h5py.check_enum_dtype(dtype)
    if names and dtype.kind != "b":
        attrs.setdefault("flag_values", np.array(list(names.values()), np.dtype(dtype.str)))
        attrs.setdefault("flag_meanings", " ".join(map(str, names)))
    labels, scales = _axes(session, dataset, path)
    return StoredDataset(
        path=path,
        array=stored_array(session, dataset),
        attrs=attrs,
        labels=labels,
        scales=scales,
        chunks=dataset.chunks,
    )


def stored_array(session: Session, dataset: h5py.Dataset) -> BlockArray:
    """The values of any dataset, of any number of axes, as an array that reads blocks."""
    dtype = dataset.dtype
    if is_numeric(dtype) and dtype.subdtype is None:
        folds = [Fold((int(size),)) for size in dataset.shape]
        return block_array(dataset, find_place(dataset), folds, session.allow_external)
    base, inner = dtype.subdtype or (dtype, ())
    try:
        plain = plain_equivalent(base)
    except TypeError as error:
        raise _UnshowableError(f"a dataset of {error}, for which there is no array") from error
    return PlainArray(
        path=session.path,
        dataset=str(dataset.name),
        shape=(*dataset.shape, *inner),
        stored=in_words(dataset),
        dtype=plain,
        allow_external=tuple(session.allow_external),
    )


def _axes(
    session: Session, dataset: h5py.Dataset, path: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(labels, paths of scales) of the axes of a dataset."""
    tied = h5py.h5a.exists(dataset.id, b"DIMENSION_LIST")
    called = h5py.h5a.exists(dataset.id, b"DIMENSION_LABELS")
    labels = [""] * dataset.ndim
    scales = [""] * dataset.ndim
    if dataset.ndim == 1 and h5py.h5ds.is_scale(dataset.id):
        scales[0] = path
    for axis in range(dataset.ndim) if tied or called else ():
        labels[axis] = attributes.text(h5py.h5ds.get_label(dataset.id, axis)) if called else ""
        found: list[h5py.h5d.DatasetID] = []
        if tied and h5py.h5ds.get_num_scales(dataset.id, axis):
            h5py.h5ds.iterate(dataset.id, axis, found.append, 0)
        scales[axis] = next(filter(None, (_scale(session, dataset, axis, s) for s in found)), "")
    return tuple(labels), tuple(scales)


def _scale(
    session: Session, dataset: h5py.Dataset, axis: int, scale: h5py.h5d.DatasetID
) -> str | None:
    fits = scale.shape == (dataset.shape[axis],)
    if not fits or h5py.h5ds.get_scale_name(scale).startswith(_NO_VALUES):
        return None
    return session.catalog.path_of(h5py.Dataset(scale))


def _parent(path: str) -> str:
    return path.rpartition("/")[0] or "/"
