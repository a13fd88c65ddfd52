"""HyperSpy's files: .hspy (HDF5) and .zspy (Zarr).

Navigation axes are positions, signal axes are spectroscopic. Axes that are not uniform keep their
values exactly. Metadata are attributes by their place, "metadata.General.title"; what the
instrument's own file had said is the text of one attribute, `original_metadata`. What HyperSpy
learned of a signal are results beside it: see `hyperspy_learning`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from usidx.errors import DamagedStoreError, NotUsidError
from usidx.model.layout import Coordinate
from usidx.readers.base import (
    Axis,
    Foreign,
    Reader,
    evenly_spaced,
    position,
    spectroscopic,
    text_of,
)
from usidx.readers.colours import ColourArray, colours, is_colour
from usidx.readers.formats.hyperspy_learning import LEARNING, Values, learned, learning_attrs
from usidx.readers.hierarchies import (
    HDF5_SIGNATURE,
    as_text,
    flattened,
    folder_attrs,
    hdf5,
    hdf5_array,
    plain,
    plain_attrs,
    root_attrs,
    whole,
    zarr_array,
    zarr_group,
)
from usidx.stores.base import BlockArray

_OWN = "usid."
_OWN_ATTRIBUTES = "usid.attributes."
_NOTHING = ("_None_", "", None, "<undefined>")


def _claims(path: str, head: bytes) -> bool:
    if head.startswith(HDF5_SIGNATURE):
        return str(root_attrs(path).get("file_format", "")).lower() == "hyperspy"
    return not head and str(folder_attrs(path).get("file_format", "")).lower() == "zspy"


def read(path: str) -> Sequence[Foreign]:
    """The signals in a file."""
    opened, values = (zarr_group, zarr_array) if os.path.isdir(path) else (hdf5, hdf5_array)
    with opened(path) as root:
        if "Experiments" not in root:
            raise DamagedStoreError(f"{path!r} says that it is HyperSpy's, and has no Experiments")
        experiments = root["Experiments"]
        for name in experiments:
            _check_equal(path, str(name), experiments[name])
        names = [str(name) for name in experiments if "data" in experiments[name]]
        found = [_described(path, experiments[name]) for name in names]
    mains: list[Foreign] = []
    for name, described in zip(names, found, strict=True):
        main = _signal(path, name, values, *described)
        mains += [main, *learned(main, path, f"Experiments/{name}/{LEARNING}", values)]
    return mains


def _check_equal(path: str, name: str, group: Any) -> None:
    """Nothing, for a signal whose positions have values of one shape."""
    if "attributes" in group and bool(group["attributes"].attrs.get("ragged", False)):
        raise NotUsidError(
            f"{name!r} in {path!r} is ragged: each position has values of another shape, which "
            "USID has no place for; make them equal in HyperSpy first"
        )


def _described(path: str, group: Any) -> tuple[list[Axis], dict[str, Any], tuple[Coordinate, ...]]:
    """(axes, metadata, further coordinates) of one signal."""
    attrs: dict[str, Any] = {}
    if "metadata" in group:
        attrs = {f"metadata.{key}": value for key, value in flattened(group["metadata"]).items()}
        attrs = {key: value for key, value in attrs.items() if value not in ("_None_",)}
    if "original_metadata" in group:
        original = flattened(group["original_metadata"])
        # what usidx wrote, which HyperSpy has no place for, is restored
        for key in [key for key in original if key.startswith(_OWN_ATTRIBUTES)]:
            attrs[key.removeprefix(_OWN_ATTRIBUTES)] = original.pop(key)
        original = {key: each for key, each in original.items() if not key.startswith(_OWN)}
        if original:
            attrs["original_metadata"] = as_text(original)
    attrs |= learning_attrs(group)
    shape = group["data"].shape
    axes = [_axis(path, group[f"axis-{axis}"], axis, size) for axis, size in enumerate(shape)]
    axes, coordinates = _restored(group, axes)
    return axes, attrs, coordinates


def _restored(group: Any, axes: list[Axis]) -> tuple[list[Axis], tuple[Coordinate, ...]]:
    """(the axes, further coordinates) with what usidx wrote beside a signal: see `to_hspy`."""
    place = "original_metadata/usid/coordinates"
    if place not in group:
        return axes, ()
    sizes = {each.dimension.name: each.dimension.size for each in axes}
    found: dict[str, Coordinate] = {}
    for name in group[place]:
        said = group[place][name]
        kept = [said[each] for each in ("values", "_list_values") if each in said]
        # an empty list has another name there
        listed = np.ravel(said["_list_dims"][...]) if "_list_dims" in said else ()
        dims = [text_of(each) for each in listed]
        if not kept or tuple(kept[0].shape) != tuple(sizes.get(dim, -1) for dim in dims):
            continue
        values = whole(kept[0])
        if values.dtype.kind == "O":
            values = np.array([text_of(each) for each in values.ravel()]).reshape(values.shape)
        units = text_of(said.attrs.get("units", ""))
        found[name] = Coordinate(name, units, tuple(dims), values)
    own = {name: each for name, each in found.items() if each.dims == (name,)}
    restored = []
    for each in axes:
        old = each.dimension
        if old.name in own:
            make = position if each.role == "position" else spectroscopic
            each = make(old.name, old.units, own[old.name].values)
        restored.append(each)
    return restored, tuple(each for name, each in found.items() if name not in own)


def _axis(path: str, group: Any, number: int, size: int) -> Axis:
    said: Mapping[str, Any] = plain_attrs(dict(group.attrs))
    navigate = bool(said.get("navigate", False))
    name = said.get("name")
    if name in _NOTHING:
        name = f"{'nav' if navigate else 'sig'}_{number}"
    units = said.get("units")
    values: Any
    if "axis" in group:
        values = whole(group["axis"])
    elif "axis" in said:
        values = np.asarray(said["axis"])
    elif "expression" in said:
        raise NotUsidError(
            f"axis {name!r} of {path!r} is the formula {said['expression']!r}, and nothing that "
            "stands in a file is ever run; store its values, with HyperSpy's "
            "axis.convert_to_non_uniform_axis()"
        )
    else:
        values = evenly_spaced(size, float(said.get("scale", 1.0)), float(said.get("offset", 0.0)))
    make = position if navigate else spectroscopic
    return make(str(name), "" if units in _NOTHING else str(units), values)


def _signal(
    path: str,
    name: str,
    values: Values,
    axes: list[Axis],
    attrs: Mapping[str, Any],
    coordinates: tuple[Coordinate, ...],
) -> Foreign:
    array: BlockArray
    array, _ = values(path, f"Experiments/{name}/data")
    if is_colour(array.dtype):
        axes = [*axes, colours(array.dtype)]
        array = ColourArray(array)
    if array.dtype.kind not in "biufc":
        raise NotUsidError(
            f"{name!r} in {path!r} has values of {array.dtype}, which are no numbers"
        )
    title = attrs.get("metadata.General.title")
    shown = name if name != "__unnamed__" else "Signal"
    quantity, units = _quantity(str(plain(attrs.get("metadata.Signal.quantity")) or ""))
    return Foreign(
        name=re.sub("/", "_", str(title or shown)),
        array=array,
        axes=_named_apart(axes),
        quantity=quantity or "Intensity",
        units=units,
        attrs=attrs,
        coordinates=coordinates,
    )


def _quantity(said: str) -> tuple[str, str]:
    """("Intensity", "Counts") for "Intensity (Counts)"."""
    matched = re.fullmatch(r"\s*(.*?)\s*(?:\((.*)\))?\s*", said)
    return ("", "") if matched is None else (matched[1], matched[2] or "")


def _named_apart(axes: list[Axis]) -> tuple[Axis, ...]:
    """The axes, where two have one name by their numbers as well."""
    names = [each.dimension.name for each in axes]
    found = []
    for number, each in enumerate(axes):
        old = each.dimension
        if names.count(old.name) > 1:
            make = position if each.role == "position" else spectroscopic
            each = make(f"{old.name}_{number}", old.units, old.values)
        found.append(each)
    return tuple(found)


READERS = (
    Reader(
        name="hyperspy",
        title="HyperSpy (.hspy, .zspy)",
        extensions=(".hspy", ".zspy"),
        claims=_claims,
        read=read,
    ),
)
