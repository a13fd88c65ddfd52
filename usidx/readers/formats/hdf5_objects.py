"""Objects of HDF5 files, for the readers of several systems: who holds what, datasets as Mains."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from usidx.model.layout import Coordinate
from usidx.readers.base import Axis, Foreign
from usidx.readers.hierarchies import HDF5_SIGNATURE, hdf5_array

_OWN = ("units", "quantity", "long_name", "DIMENSION_LABELS", "DIMENSION_LIST")


def holds(path: str, head: bytes, is_one: Callable[[Any], bool]) -> bool:
    """Whether any object of an HDF5 file is one that `is_one` knows."""
    import h5py

    if not head.startswith(HDF5_SIGNATURE):
        return False

    def look(_: str, each: Any) -> bool | None:
        return True if is_one(each) else None

    try:
        with h5py.File(path, "r") as file:
            return bool(file.visititems(look))
    except (OSError, RuntimeError):
        return False


def objects(root: Any) -> Iterator[Any]:
    """Every object of a file once, parents first; links that lead nowhere are passed over."""
    found: list[Any] = []
    root.visititems(lambda _, each: found.append(each))
    yield from found


def is_numeric(each: Any) -> bool:
    """Whether an object is a dataset of numbers with at least one axis."""
    return hasattr(each, "shape") and bool(each.ndim) and each.dtype.kind in "biufc"


def dataset_main(
    path: str,
    where: str,
    axes: Sequence[Axis],
    told: Mapping[str, Any],
    name: str,
    coordinates: tuple[Coordinate, ...] = (),
) -> Foreign:
    """The dataset at `where` as the Main `name`; axes of one name are numbered.

    Parameters
    ----------
    told : its attributes; "quantity" or else "long_name", and "units" are those of the values
    """
    array, _ = hdf5_array(path, where)
    names = [each.dimension.name for each in axes]
    if len(set(names)) < len(names):
        axes = [
            Axis(_renamed(each, f"{each.dimension.name}_{number}"), each.role)
            for number, each in enumerate(axes)
        ]
    last = name.rpartition("/")[2]
    return Foreign(
        name=name,
        array=array,
        axes=tuple(axes),
        quantity=str(told.get("quantity") or told.get("long_name") or last),
        units=str(told.get("units", "")),
        attrs={key: value for key, value in told.items() if key not in _OWN},
        coordinates=coordinates,
    )


def _renamed(axis: Axis, name: str) -> Any:
    old = axis.dimension
    return type(old)(name, old.units, np.asarray(old.values), quantity=old.quantity)
