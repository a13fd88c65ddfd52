"""Nion Swift's files: .ndata, .ndata1, .h5, .nhdf, and exports to .npy with a .json beside it.

The axes of a sequence and of a collection are positions, those of a datum spectroscopic.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from usidx.errors import DamagedStoreError, NotUsidError
from usidx.readers.base import Axis, Foreign, Reader, evenly_spaced, position, spectroscopic
from usidx.readers.formats.numpy_files import NPY, array_in, array_of_member
from usidx.readers.hierarchies import HDF5_SIGNATURE, hdf5, hdf5_array, plain
from usidx.readers.raw import RawArray
from usidx.stores.base import BlockArray

_ZIP = b"PK\x03\x04"
_POSITION_NAMES = ("Z", "Y", "X")
# In this order, which is not that of most others.
_COLOURS = {3: ("blue", "green", "red"), 4: ("blue", "green", "red", "alpha")}
_KNOWN = ("dimensional_calibrations", "spatial_calibrations", "intensity_calibration", "metadata")


def _claims(path: str, head: bytes) -> bool:
    if head.startswith(_ZIP):
        try:
            with zipfile.ZipFile(path) as archive:
                names = set(archive.namelist())
        except zipfile.BadZipFile:
            return path.lower().endswith((".ndata", ".ndata1"))
        return names == {"data.npy", "metadata.json"}
    if head.startswith(NPY):
        return _is_described(_beside(path))
    return head.startswith(HDF5_SIGNATURE) and bool(_datasets(path))


def _datasets(path: str) -> list[str]:
    """Datasets of an HDF5 file that Swift has described."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            data = file.get("data")
            if isinstance(data, h5py.Dataset):
                return ["data"] if "properties" in data.attrs else []
            if isinstance(data, h5py.Group):
                found = [name for name in data if isinstance(data.get(name), h5py.Dataset)]
                return [f"data/{name}" for name in found if "properties" in data[name].attrs]
    except OSError:
        return []
    return []


def _beside(path: str) -> Mapping[str, Any]:
    """What the .json file beside an exported array says, {} where there is none."""
    try:
        with open(os.path.splitext(path)[0] + ".json", encoding="utf-8") as file:
            said = json.load(file)
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def _is_described(said: Mapping[str, Any]) -> bool:
    return "spatial_calibrations" in said and "datum_dimension_count" in said


def read(path: str) -> Sequence[Foreign]:
    """The data items in a file."""
    with open(path, "rb") as file:
        head = file.read(len(HDF5_SIGNATURE))
        if head.startswith(NPY):
            file.seek(0)
            return [_main(path, _stem(path), array_in(path, file, 0), _beside(path))]
    if head.startswith(_ZIP):
        return [_main(path, _stem(path), *_zipped(path))]
    names = _datasets(path)
    with hdf5(path) as root:
        said = [json.loads(str(plain(root[name].attrs["properties"]))) for name in names]
    found = [
        _main(
            path, str(each.get("title") or name.rpartition("/")[2]), hdf5_array(path, name)[0], each
        )
        for name, each in zip(names, said, strict=True)
    ]
    if len({each.name for each in found}) < len(found):
        found = [
            _main(path, name.rpartition("/")[2], hdf5_array(path, name)[0], each)
            for name, each in zip(names, said, strict=True)
        ]
    return found


def _stem(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]


def _zipped(path: str) -> tuple[RawArray, Mapping[str, Any]]:
    """(values, which lie in the file as they are, and what is said of them)."""
    try:
        with zipfile.ZipFile(path) as archive:
            said = json.loads(archive.read("metadata.json"))
            member = archive.getinfo("data.npy")
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise DamagedStoreError(f"{path!r} is no whole file of Nion Swift ({error})") from error
    if member.compress_type != zipfile.ZIP_STORED:
        raise NotUsidError(
            f"the values in {path!r} are compressed, which Nion Swift never does; unpack the file, "
            "and open data.npy in it"
        )
    with open(path, "rb") as file:
        return array_of_member(path, file, member), said


def _main(path: str, name: str, array: BlockArray, said: Mapping[str, Any]) -> Foreign:
    calibrations = said.get("dimensional_calibrations") or said.get("spatial_calibrations") or []
    datum = int(said.get("datum_dimension_count") or array.ndim)
    sequence = bool(said.get("is_sequence"))
    collection = int(said.get("collection_dimension_count") or 0)
    further = array.ndim - collection - datum - sequence
    # of colours there is no calibration
    is_alone = "is_sequence" in said or len(calibrations) in (0, array.ndim - 1)
    is_colour = array.dtype == np.uint8 and array.shape[-1] in _COLOURS
    colours = int(is_colour and is_alone and further > 0)
    if not sequence and further - colours == 1:
        sequence = True  # exports do not always say it
    if array.ndim != sequence + collection + datum + colours:
        raise DamagedStoreError(
            f"{path!r} has values of {array.ndim} dimensions, and says that {int(sequence)} are of "
            f"a sequence, {collection} of a collection and {datum} of a datum"
        )
    names = _names(sequence, collection, datum) + ["channel"] * colours
    axes: list[Axis] = []
    for number, (axis, size) in enumerate(zip(names, array.shape)):
        told = calibrations[number] if number < len(calibrations) else {}
        step, start = float(told.get("scale") or 1.0), float(told.get("offset") or 0.0)
        make = position if number < sequence + collection else spectroscopic
        axes.append(make(axis, str(told.get("units") or ""), evenly_spaced(size, step, start)))
    intensity = said.get("intensity_calibration") or {}
    attrs = dict(_flat(said.get("metadata") or {}, "metadata."))
    attrs |= {key: plain(said[key]) for key in said if key not in _KNOWN and _is_plain(said[key])}
    if (float(intensity.get("scale") or 1.0), float(intensity.get("offset") or 0.0)) != (1.0, 0.0):
        # the values are those of the file; what they mean in units is said
        attrs["intensity_scale"] = float(intensity.get("scale") or 1.0)
        attrs["intensity_offset"] = float(intensity.get("offset") or 0.0)
        attrs["intensity_units"] = str(intensity.get("units") or "")
    if colours:
        attrs["channel_names"] = list(_COLOURS[array.shape[-1]])
    return Foreign(
        name=name.replace("/", "_"),
        array=array,
        axes=tuple(axes),
        quantity="Intensity",
        units="" if "intensity_scale" in attrs else str(intensity.get("units") or ""),
        attrs=attrs,
    )


def _names(sequence: bool, collection: int, datum: int) -> list[str]:
    found = ["frame"] if sequence else []
    found += _POSITION_NAMES[-collection:] if collection else []
    found += {1: ["channel"], 2: ["v", "u"]}.get(datum, [f"datum_{n}" for n in range(datum)])
    return found


def _is_plain(value: Any) -> bool:
    return isinstance(value, (bool, int, float, str))


def _flat(node: Mapping[str, Any], prefix: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in node.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{prefix}{name}.")
        elif (known := plain(value)) is not None:
            found.append((f"{prefix}{name}", known))
    return found


READERS = (
    Reader(
        name="nion",
        title="Nion Swift (.ndata, .ndata1, .h5, .nhdf, .npy with .json)",
        extensions=(".ndata", ".ndata1", ".nhdf", ".h5", ".npy"),
        claims=_claims,
        read=read,
    ),
)
