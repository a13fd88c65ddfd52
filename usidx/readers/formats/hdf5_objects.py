"""Objects of HDF5 files, for the readers of several systems: who holds what, datasets as Mains."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from usidx.errors import StoreNotFoundError
from usidx.model.layout import Coordinate
from usidx.readers.base import Axis, Foreign
from usidx.readers.hierarchies import HDF5_SIGNATURE, hdf5_array
from usidx.readers.raw import FileIdentity

_OWN = ("units", "quantity", "long_name", "DIMENSION_LABELS", "DIMENSION_LIST")


def holds(path: str, head: bytes, is_one: Callable[[Any], bool]) -> bool:
    """Whether any object of an HDF5 file is one that `is_one` knows."""
    import h5py

    # something else may come before the signature, as in files of MATLAB
    if not head.startswith(HDF5_SIGNATURE) and not (head and h5py.is_hdf5(path)):
        return False

    def look(_: str, each: Any) -> bool | None:
        return True if is_one(each) else None

    try:
        with h5py.File(path, "r") as file:
            return bool(file.visititems(look))
    except (OSError, RuntimeError):
        return False


def leads_elsewhere(group: Any) -> bool:
    """Whether a group has a link into another file; the file was found to be allowed to."""
    import h5py

    if not isinstance(group, h5py.Group):
        return False
    return any(isinstance(group.get(name, getlink=True), h5py.ExternalLink) for name in group)


def objects(root: Any, allow_external: Sequence[str] = ()) -> Iterator[tuple[str, Any]]:
    """(path, object) of every object of a file once, parents first.

    Links that lead nowhere are passed over, and so are those into other files but where
    `allow_external` names their folders.
    """
    from usidx.stores.hdf5.objects.walk import find, walk

    for item in walk(root, bool(allow_external)):
        found = find(root, item.path)
        if found is not None:
            yield item.path, found


def is_numeric(each: Any) -> bool:
    """Whether an object is a dataset of numbers with at least one axis and one value."""
    import h5py

    if not isinstance(each, h5py.Dataset) or not each.shape or not each.size:
        return False
    try:
        return bool(each.dtype.kind in "biufc")
    except TypeError:  # values that NumPy has no type for
        return False


def dataset_main(
    path: str,
    where: str,
    axes: Sequence[Axis],
    told: Mapping[str, Any],
    name: str,
    coordinates: tuple[Coordinate, ...] = (),
    kind: Literal["raw", "result"] = "raw",
    allow_external: Sequence[str] = (),
) -> Foreign:
    """The dataset at `where` as the Main `name`; axes of one name are numbered.

    Parameters
    ----------
    told : its attributes; "quantity" or else "long_name", and "units" are those of the values
    kind : "result" for what was computed of another dataset
    allow_external : folders with other files that this one may reach into

    Raises
    ------
    StoreNotFoundError : where values are in another file, which is not there
    """
    others = _other_files(path, where, allow_external) if allow_external else ()
    array, _ = hdf5_array(path, where, allow_external)
    names = [each.dimension.name for each in axes]
    if len(set(names)) < len(names):
        axes = [
            Axis(_renamed(each, f"{each.dimension.name}_{number}"), each.role)
            for number, each in enumerate(axes)
        ]
    last = name.rpartition("/")[2]
    identity = repr([(each, FileIdentity.of(each)) for each in (path, *others)]) if others else ""
    return Foreign(
        name=name,
        array=array,
        axes=tuple(axes),
        quantity=str(told.get("quantity") or told.get("long_name") or last),
        units=str(told.get("units", "")),
        attrs={key: value for key, value in told.items() if key not in _OWN},
        coordinates=coordinates,
        identity=identity,
        kind=kind,
    )


def _other_files(path: str, where: str, allow_external: Sequence[str]) -> tuple[str, ...]:
    """Files other than the one at `path` that the values of a dataset are in."""
    from usidx.readers.hierarchies import hdf5

    with hdf5(path, allow_external) as root:
        dataset = root[where]
        own = os.path.abspath(dataset.file.filename)
        found = [own] if own != os.path.abspath(path) else []
        if dataset.is_virtual:
            # HDF5 itself gives fill values where a file is missing, as if they had been measured
            folder = os.path.dirname(own)
            names = {str(each.file_name) for each in dataset.virtual_sources()} - {"."}
            # "%" stands for numbers of files
            found += sorted(os.path.join(folder, each) for each in names if "%" not in each)
    for each in found:
        if not os.path.isfile(each):
            raise StoreNotFoundError(f"{where!r} of {path!r} has values in {each!r}: no such file")
    return tuple(found)


def _renamed(axis: Axis, name: str) -> Any:
    old = axis.dimension
    return type(old)(name, old.units, np.asarray(old.values), quantity=old.quantity)
