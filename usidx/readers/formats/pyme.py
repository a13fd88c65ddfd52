"""PYME's files: images and tables in HDF5 (.h5, .h5r), and frames (.pzf).

Frames are positions, X and Y of a frame are spectroscopic, in the order of the file (X slower). The
metadata are attributes by their names there, events a text in the attribute `events`.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from usidx.errors import DamagedStoreError, NotUsidError
from usidx.model.dimension import Array
from usidx.model.layout import Coordinate
from usidx.readers.base import (
    Axis,
    Foreign,
    Reader,
    evenly_spaced,
    position,
    spectroscopic,
)
from usidx.readers.flat import FlatTable
from usidx.readers.formats import pyme_metadata, pyme_pickles
from usidx.readers.formats.pyme_metadata import metadata_beside
from usidx.readers.formats.pzf import HEADER, MAGIC, SHORTEST, Head, frame_of, head_of
from usidx.readers.hierarchies import HDF5_SIGNATURE, flattened, hdf5, hdf5_array
from usidx.readers.raw import FileIdentity, LoadedArray
from usidx.stores.base import BlockArray


def _claims_hdf5(path: str, head: bytes) -> bool:
    import h5py

    if not head.startswith(HDF5_SIGNATURE):
        return False
    try:
        with h5py.File(path, "r") as file:
            return "MetaData" in file and any(
                name in file for name in ("ImageData", "PZFImageData", "FitResults")
            )
    except OSError:
        return False


def read_hdf5(path: str, *, events: bool = False) -> Sequence[Foreign]:
    """The images of a .h5 file, the table of fits of a .h5r file.

    Parameters
    ----------
    events : whether the events of the measurement, which are in the attribute `events`, are a Main
        of their own, too: the time of each, with its name and description as coordinates
    """
    with hdf5(path) as root:
        attrs = flattened(root["MetaData"])
        rows = _events(root)
        images = "ImageData" in root
        packed = "PZFImageData" in root
        first = bytes(root["PZFImageData"][0]) if packed and len(root["PZFImageData"]) else b""
        count = len(root["PZFImageData"]) if packed else 0
        has_fits = "FitResults" in root
    if rows:
        attrs["events"] = json.dumps(rows)
    found = []
    if images:
        array, _ = hdf5_array(path, "ImageData")
        found.append(_images(array, attrs))
    elif packed:
        if not first:
            raise DamagedStoreError(f"{path!r} holds no frame")
        packed_array = PackedFrames(path, count, head_of(first, path))
        found.append(_images(packed_array, attrs, chunks=(1, *packed_array.shape[1:])))
    if has_fits:
        table, _ = hdf5_array(path, "FitResults")
        flat = FlatTable(table)
        axis = position("event", size=flat.shape[0])
        found.append(Foreign("FitResults", flat, (axis,), "Fit", "", attrs))
    if events:
        found.append(_events_main(path, rows))
    return found


def _events(root: Any) -> list[dict[str, Any]]:
    """The events of a measurement, in the order of the file."""
    if "Events" not in root or not len(root["Events"]):
        return []
    return [
        {
            "name": row["EventName"].decode("utf-8", "replace"),
            "time": float(row["Time"]),
            "description": row["EventDescr"].decode("utf-8", "replace"),
        }
        for row in root["Events"][...]
    ]


def _events_main(path: str, rows: Sequence[Mapping[str, Any]]) -> Foreign:
    if not rows:
        raise NotUsidError(f"{path!r} has no events")
    times = np.array([each["time"] for each in rows])
    load = functools.partial(np.copy, times)
    array = LoadedArray(load, times.shape, times.dtype, (path, FileIdentity.of(path)))
    told = tuple(
        Coordinate(name, "", ("event",), np.array([each[name] for each in rows]))
        for name in ("name", "description")
    )
    axis = position("event", size=len(rows))
    return Foreign("Events", array, (axis,), "Time", "s", coordinates=told)


def _images(
    array: BlockArray, attrs: Mapping[str, Any], chunks: tuple[int, ...] | None = None
) -> Foreign:
    units = str(attrs.get("voxelsize.units", "")) or "um"
    frames: Axis
    if int(attrs.get("SizeZ") or 1) == array.shape[0] > 1:
        frames = position("Z", units, _pixels(attrs, "z", array.shape[0]))
    elif "Camera.CycleTime" in attrs:
        step = float(attrs["Camera.CycleTime"])
        frames = position("time", "s", evenly_spaced(array.shape[0], step))
    else:
        frames = position("frame", size=array.shape[0])
    axes = (
        frames,
        spectroscopic("x", units, _pixels(attrs, "x", array.shape[1])),
        spectroscopic("y", units, _pixels(attrs, "y", array.shape[2])),
    )
    return Foreign("ImageData", array, axes, "Intensity", "counts", attrs, chunks)


def _pixels(attrs: Mapping[str, Any], axis: str, size: int) -> Array:
    return evenly_spaced(size, float(attrs.get(f"voxelsize.{axis}") or 1.0))


@dataclass(frozen=True, eq=False)
class PackedFrames:
    """Frames that lie in an HDF5 file as .pzf files would, decoded when they are indexed.

    Parameters
    ----------
    path : of the file
    count : of the frames
    head : of the first one; all are alike
    """

    path: str
    count: int
    head: Head
    identity: FileIdentity = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "identity", FileIdentity.of(self.path))

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.count, *self.head.shape)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.head.dtype.newbyteorder("=")

    def __dask_tokenize__(self) -> Any:
        return "usidx.PackedFrames", self.path, self.shape, self.identity

    def __getitem__(self, key: Any, /) -> Array:
        self.identity.check(self.path)
        parts = list(key) if isinstance(key, tuple) else [key]
        parts += [slice(None)] * (self.ndim - len(parts))
        numbers = np.arange(self.count)[parts[0]]
        inner = tuple(parts[1:])
        out = []
        with hdf5(self.path) as root:
            stored = root["PZFImageData"]
            for number in np.atleast_1d(numbers):
                values = frame_of(bytes(stored[int(number)]), f"{self.path}, frame {number}")
                if values.shape != self.head.shape or values.dtype != self.dtype:
                    raise DamagedStoreError(
                        f"frame {number} of {self.path!r} is {values.shape} {values.dtype}, the "
                        f"first is {self.head.shape} {self.dtype}"
                    )
                out.append(values[inner])
        if not out:
            return np.empty((0, *self.head.shape), self.dtype)[(slice(None), *inner)]
        found: Array = np.stack(out) if isinstance(parts[0], slice) else np.asarray(out[0])
        return found


def read_frame(path: str) -> Sequence[Foreign]:
    """The frame in a .pzf file."""
    with open(path, "rb") as file:
        head = head_of(file.read(HEADER.itemsize), path)
    load = functools.partial(_frame, path)
    dtype = head.dtype.newbyteorder("=")
    array = LoadedArray(load, head.shape, dtype, (path, FileIdentity.of(path)))
    attrs = {"SequenceID": head.sequence, "FrameNum": head.frame, **metadata_beside(path)}
    if head.timestamp:
        attrs["FrameTimestamp"] = head.timestamp
    units = str(attrs.get("voxelsize.units", "um")) if "voxelsize.x" in attrs else ""
    axes = tuple(
        spectroscopic(name, units, _pixels(attrs, name, size) if units else None, size=size)
        for name, size in zip("xyz", head.shape)
    )
    name = os.path.splitext(os.path.basename(path))[0]
    return [Foreign(name, array, axes, "Intensity", "counts", attrs, head.shape)]


def _claims_frame(path: str, head: bytes) -> bool:
    """By the mark, and by a version and kinds that there are: the mark has two letters alone."""
    return head.startswith(MAGIC) and len(head) >= SHORTEST and 0 < head[2] < 16 and head[3] < 16


def _frame(path: str) -> Array:
    with open(path, "rb") as file:
        return frame_of(file.read(), path)


READERS = (
    Reader(
        name="pyme",
        title="PYME (.h5, .h5r)",
        extensions=(".h5", ".h5r"),
        claims=_claims_hdf5,
        read=read_hdf5,
    ),
    Reader(
        name="pzf",
        title="frames of PYME (.pzf)",
        extensions=(".pzf",),
        claims=_claims_frame,
        read=read_frame,
        is_lazy=False,
    ),
    *pyme_pickles.READERS,
    *pyme_metadata.READERS,
)
