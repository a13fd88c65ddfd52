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

from usidx.errors import DamagedStoreError, NotUsidError
from usidx.model.layout import Coordinate
from usidx.readers.base import Axis, Foreign, Reader
from usidx.readers.colours import ColourArray, colours, is_colour
from usidx.readers.formats.hyperspy_axes import axis_of, named_apart, restored
from usidx.readers.formats.hyperspy_learning import LEARNING, Values, learned, learning_attrs
from usidx.readers.hierarchies import (
    HDF5_SIGNATURE,
    ZIP_SIGNATURE,
    as_text,
    flattened,
    folder_attrs,
    hdf5,
    hdf5_array,
    is_hdf5,
    plain,
    zarr_array,
    zarr_group,
)
from usidx.stores.base import BlockArray

_OWN = "usid."
_OWN_ATTRIBUTES = "usid.attributes."
# What they were called until version 1.2 of the format.
_METADATA = ("metadata", "mapped_parameters")
_ORIGINAL = ("original_metadata", "original_parameters")
_SIGNAL = "._sig_"
_OLD_TITLES = ("metadata.title", "metadata.name")


def _claims(path: str, head: bytes) -> bool:
    if head.startswith(HDF5_SIGNATURE):
        return _is_hdf5_of_hyperspy(path)
    if head and not head.startswith(ZIP_SIGNATURE):
        return False
    return str(folder_attrs(path).get("file_format", "")).lower() == "zspy"


def _is_hdf5_of_hyperspy(path: str) -> bool:
    """Whether a file says it, or is one of the first ones, which did not."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            said = plain(file.attrs.get("file_format"))
            if said is not None:
                return str(said).lower() == "hyperspy"
            signals = file.get("Experiments")
            found = [signals.get(name) for name in signals] if hasattr(signals, "keys") else []
            return any(
                hasattr(each, "keys") and {"data", "axis-0", _METADATA[1]} <= set(each)
                for each in found
            )
    except (OSError, RuntimeError, KeyError):
        return False


def read(path: str) -> Sequence[Foreign]:
    """The signals in a file."""
    is_zarr = os.path.isdir(path) or not is_hdf5(path)
    opened, values = (zarr_group, zarr_array) if is_zarr else (hdf5, hdf5_array)
    with opened(path) as root:
        if "Experiments" not in root:
            raise DamagedStoreError(f"{path!r} says that it is HyperSpy's, and has no Experiments")
        experiments = root["Experiments"]
        for name in experiments:
            _check_equal(path, str(name), experiments[name])
        names = [str(name) for name in experiments if "data" in experiments[name]]
        found = [_described(path, experiments[name]) for name in names]
    mains: list[Foreign] = []
    titles = [_title(name, attrs) for name, (_, attrs, _) in zip(names, found, strict=True)]
    for name, title, described in zip(names, titles, found, strict=True):
        # two of one title are known by their places
        shown = title if titles.count(title) == 1 else name
        main = _signal(path, name, shown, values, *described)
        mains += [main, *learned(main, path, f"Experiments/{name}/{LEARNING}", values)]
    return mains


def _check_equal(path: str, name: str, group: Any) -> None:
    """Nothing, for a signal whose positions have values of one shape."""
    if "attributes" in group and bool(group["attributes"].attrs.get("ragged", False)):
        raise NotUsidError(
            f"{name!r} in {path!r} is ragged: each position has values of another shape, which "
            "USID has no place for; make them equal in HyperSpy first"
        )


def _of_signals(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata, where a signal among them, such as a variance, is its values."""
    found = {}
    for key, value in attrs.items():
        before, mark, rest = key.partition(_SIGNAL)
        name, _, part = rest.partition(".")
        if not mark:
            found[key] = value
        elif part == "data":
            found[f"{before}.{name}"] = value
    return found


def _is_none(value: Any) -> bool:
    return isinstance(value, str) and value == "_None_"


def _described(path: str, group: Any) -> tuple[list[Axis], dict[str, Any], tuple[Coordinate, ...]]:
    """(axes, metadata, further coordinates) of one signal."""
    attrs: dict[str, Any] = {}
    for name in (each for each in _METADATA if each in group):
        attrs = {f"metadata.{key}": each for key, each in flattened(group[name]).items()}
        attrs = {key: each for key, each in attrs.items() if not _is_none(each)}
        attrs = _of_signals(attrs)
    for name in (each for each in _ORIGINAL if each in group):
        original = flattened(group[name])
        # what usidx wrote, which HyperSpy has no place for, is restored
        for key in [key for key in original if key.startswith(_OWN_ATTRIBUTES)]:
            attrs[key.removeprefix(_OWN_ATTRIBUTES)] = original.pop(key)
        original = {key: each for key, each in original.items() if not key.startswith(_OWN)}
        if original:
            attrs["original_metadata"] = as_text(original)
    attrs |= learning_attrs(group)
    shape = group["data"].shape
    axes = [axis_of(path, group[f"axis-{axis}"], axis, size) for axis, size in enumerate(shape)]
    axes, coordinates = restored(group, axes)
    return axes, attrs, coordinates


def _title(name: str, attrs: Mapping[str, Any]) -> str:
    titles = [attrs.get(each) for each in ("metadata.General.title", *_OLD_TITLES)]
    shown = name if name != "__unnamed__" else "Signal"
    return str(next((each for each in titles if each), shown))


def _signal(
    path: str,
    name: str,
    shown: str,
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
    quantity, units = _quantity(str(plain(attrs.get("metadata.Signal.quantity")) or ""))
    return Foreign(
        name=re.sub("/", "_", shown),
        array=array,
        axes=named_apart(axes),
        quantity=quantity or "Intensity",
        units=units,
        attrs=attrs,
        coordinates=coordinates,
    )


def _quantity(said: str) -> tuple[str, str]:
    """("Intensity", "Counts") for "Intensity (Counts)"."""
    matched = re.fullmatch(r"\s*(.*?)\s*(?:\((.*)\))?\s*", said)
    return ("", "") if matched is None else (matched[1], matched[2] or "")


READERS = (
    Reader(
        name="hyperspy",
        title="HyperSpy (.hspy, .zspy)",
        extensions=(".hspy", ".zspy"),
        claims=_claims,
        read=read,
    ),
)
