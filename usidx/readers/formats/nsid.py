"""NSID, the files of sidpy and pyNSID: datasets with a scale for each axis.

Spatial and temporal dimensions, and points of a cloud, are positions, unless a file that usidx
wrote says otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from usidx.model.dimension import Array
from usidx.model.layout import Coordinate
from usidx.readers.base import Axis, Foreign, Reader, position, spectroscopic
from usidx.readers.formats.hdf5_objects import dataset_main, holds, objects
from usidx.readers.hierarchies import flattened, hdf5, plain_attrs, times_of, whole

_POINTS = "POINT_CLOUD"
_POSITIONS = ("SPATIAL", "TEMPORAL", _POINTS)
_METADATA = ("metadata", "original_metadata")
# Where `usidx.exporting.to_nsid` puts what NSID has no place for.
_OWN = "original_metadata/usid"
_OF_NSID = ("main_data_name", "data_type", "modality", "source")
_BOOK_KEEPING = ("machine_id", "platform", "timestamp", "sidpy_version", "pyNSID_version")


def _is_nsid(each: Any) -> bool:
    known = {"data_type", "main_data_name", "modality"}
    return hasattr(each, "shape") and known <= set(each.attrs) and "DIMENSION_LIST" in each.attrs


def read(path: str) -> Sequence[Foreign]:
    """The datasets of sidpy in a file."""
    described = []
    with hdf5(path) as root:
        for where, each in objects(root):
            if not _is_nsid(each):
                continue
            axes = [_axis(dim, number, size) for number, (dim, size) in enumerate(_dims(each))]
            attrs, coordinates = _told(each)
            # text along an axis was kept as a coordinate of its name
            own = {one.name: one.values for one in coordinates if one.dims == (one.name,)}
            axes = [_relabelled(axis, own.get(axis.dimension.name)) for axis in axes]
            coordinates = tuple(one for one in coordinates if one.name not in own)
            described.append((where, axes, attrs, where, coordinates))
    return [dataset_main(path, *each) for each in described]


def _dims(each: Any) -> list[tuple[Any, int]]:
    return list(zip(each.dims, each.shape, strict=True))


def _axis(dim: Any, number: int, size: int) -> Axis:
    scale = dim[0] if len(dim) else None
    told = plain_attrs(dict(scale.attrs)) if scale is not None else {}
    role = told.get("usid_role", "position" if _kind(dim) in _POSITIONS else "spectroscopic")
    make = position if role == "position" else spectroscopic
    name = _name(dim, number)
    quantity = str(told.get("usid_quantity", told.get("quantity", "")))
    units = str(told.get("usid_units", told.get("units", "")))
    values = None
    if scale is not None and scale.dtype.kind in "biufc":
        values = whole(scale)
    return make(name, units, values, size=size, quantity=quantity)


def _relabelled(axis: Axis, values: Array | None) -> Axis:
    return axis if values is None else Axis(replace(axis.dimension, values=values), axis.role)


def _name(dim: Any, number: int) -> str:
    told = plain_attrs(dict(dim[0].attrs)) if len(dim) else {}
    return str(told.get("usid_name") or told.get("name") or dim.label or f"dim_{number}")


def _told(main: Any) -> tuple[dict[str, Any], tuple[Coordinate, ...]]:
    """(attributes, further coordinates) of a dataset and of the groups beside it."""
    told = plain_attrs(dict(main.attrs))
    attrs = {name: value for name, value in told.items() if name not in _BOOK_KEEPING}
    group = main.parent
    own = _OWN.replace("/", ".") + "."
    for name in (each for each in _METADATA if each in group):
        found = flattened(group[name], f"{name}.")
        attrs |= {key: value for key, value in found.items() if not key.startswith(own)}
    if "usid_units" in attrs:  # what usidx wrote is restored as it was
        attrs = {name: value for name, value in attrs.items() if name not in _OF_NSID}
        attrs |= {name: attrs.pop(f"usid_{name}") for name in ("quantity", "units")}
    beside = group.get(_OWN, {})
    if "attributes" in beside:
        attrs |= plain_attrs(dict(beside["attributes"].attrs))
    sizes = {_name(dim, number): size for number, (dim, size) in enumerate(_dims(main))}
    kept = beside.get("coordinates", {})
    coordinates = (_coordinate(str(name), plain_attrs(kept[name].attrs), sizes) for name in kept)
    known = [each for each in coordinates if each is not None]
    return attrs, (*known, *_points(main))


def _points(main: Any) -> list[Coordinate]:
    """Where points lie, which sidpy keeps beside them: "coordinate_0", "coordinate_1", ..."""
    named = [_name(dim, number) for number, dim in enumerate(main.dims) if _kind(dim) == _POINTS]
    beside = main.parent.get("point_cloud")
    if len(named) != 1 or beside is None:
        return []
    told = plain_attrs(dict(beside.attrs))
    values, units = np.asarray(told.get("coordinates", [])), str(told.get("spacial_units", ""))
    size = main.shape[[_kind(dim) for dim in main.dims].index(_POINTS)]
    if values.dtype.kind not in "iuf" or values.ndim != 2 or len(values) != size:
        return []
    return [
        Coordinate(f"coordinate_{number}", units, (named[0],), column)
        for number, column in enumerate(values.T)
    ]


def _kind(dim: Any) -> str:
    told = plain_attrs(dict(dim[0].attrs)) if len(dim) else {}
    return str(told.get("dimension_type", "")).upper()


def _coordinate(name: str, told: Mapping[str, Any], sizes: Mapping[str, int]) -> Coordinate | None:
    """What was kept of a coordinate; None where it does not go with the axes."""
    dims = tuple(map(str, np.ravel(told.get("dims", []))))
    values = np.asarray(told.get("values"))
    shape = tuple(sizes.get(dim, -1) for dim in dims)
    if values.dtype.kind == "U" and values.size == math.prod(shape):
        values = values.reshape(shape)  # text comes as a list
    if values.shape != shape:
        return None
    values = times_of(values, str(told.get("dtype", "")))
    return Coordinate(name, str(told.get("units", "")), dims, values)


READER = Reader(
    name="nsid",
    title="NSID, sidpy and pyNSID (.h5, .hf5)",
    extensions=(".h5", ".hf5"),
    claims=lambda path, head: holds(path, head, _is_nsid),
    read=read,
)
