"""Frames of Dectris ARINA, EIGER and others: a master file in HDF5, and files beside it."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from usidx.errors import DamagedStoreError, StoreNotFoundError
from usidx.model.dimension import Array
from usidx.readers.base import Foreign, Reader, evenly_spaced, spectroscopic
from usidx.readers.hierarchies import HDF5_SIGNATURE, flattened, hdf5_array, plain
from usidx.readers.joined import JoinedArray, in_order
from usidx.readers.raw import FileIdentity
from usidx.readers.scans import scan
from usidx.stores.base import BlockArray

_DATA, _DETECTOR = "entry/data", "entry/instrument/detector"
_SHORT = np.dtype(np.uint16)
_FRAMES = re.compile(r"data_\d+")


@dataclass(frozen=True, eq=False)
class ShortArray:
    """Counts in 16 bits, of a detector that never counts to more; masked pixels are all ones."""

    array: BlockArray

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.array.shape)

    @property
    def ndim(self) -> int:
        return self.array.ndim

    @property
    def dtype(self) -> np.dtype[Any]:
        return _SHORT

    def __dask_tokenize__(self) -> Any:
        return "usidx.ShortArray", self.array.__dask_tokenize__()

    def __getitem__(self, key: Any, /) -> Array:
        found: Array = np.asarray(self.array[key]).astype(_SHORT)
        return found


def _claims(path: str, head: bytes) -> bool:
    return "ARINA" in _description(path, head)


def _claims_eiger(path: str, head: bytes) -> bool:
    described = _description(path, head)
    return bool(described) and "ARINA" not in described


def _description(path: str, head: bytes) -> str:
    """What the detector of a master file is; "" for files of other kinds."""
    import h5py

    if not head.startswith(HDF5_SIGNATURE):
        return ""
    try:
        with h5py.File(path, "r") as file:
            described = str(plain(file[f"{_DETECTOR}/description"][()])).upper()
            frames = all(_FRAMES.fullmatch(name) for name in file[_DATA])
            return described if f"{_DETECTOR}/detectorSpecific" in file and frames else ""
    except (OSError, KeyError, RuntimeError, TypeError):
        return ""


def read(
    path: str,
    *,
    nav_shape: Sequence[int] | int | None = None,
    sync_offset: int = 0,
    fill_value: Any = None,
) -> Sequence[Foreign]:
    """The frames of a master file, from all files that it links to.

    Parameters
    ----------
    nav_shape : shape of the scan, which no file says; when None a square where the number of frames
        is one, as in RosettaSciIO, else all frames along one axis
    sync_offset, fill_value : as for bare frames
    """
    return _read(path, "arina", nav_shape, sync_offset, fill_value)


def read_eiger(
    path: str,
    *,
    nav_shape: Sequence[int] | int | None = None,
    sync_offset: int = 0,
    fill_value: Any = None,
) -> Sequence[Foreign]:
    """The same for other detectors of Dectris; when `nav_shape` is None, frames are along one axis.

    Their counts keep the type that they have in the files.
    """
    return _read(path, "eiger", nav_shape, sync_offset, fill_value)


def _read(
    path: str,
    kind: str,
    nav_shape: Sequence[int] | int | None,
    sync_offset: int,
    fill_value: Any,
) -> Sequence[Foreign]:
    import h5py

    # its links go to other files, which whoever opened it has allowed
    with h5py.File(path, "r") as file:
        places = [_place(path, file[_DATA], name) for name in in_order(list(file[_DATA]))]
        attrs = {f"{kind}.{name}": each for name, each in flattened(file[_DETECTOR]).items()}
    if not places:
        raise DamagedStoreError(f"{path!r} links to no frames")
    frames: BlockArray = JoinedArray(tuple(_part(path, *place) for place in places))
    largest = attrs.get("arina.saturation_value")  # others use all bits to mark pixels
    if frames.dtype.itemsize > _SHORT.itemsize and isinstance(largest, int):
        frames = ShortArray(frames) if 0 < largest < np.iinfo(_SHORT).max else frames
    count, side = int(frames.shape[0]), math.isqrt(int(frames.shape[0]))
    is_square = side > 1 and side * side == count
    if nav_shape is None and not sync_offset and is_square and kind == "arina":
        nav_shape = side, side
    steps = [attrs.get(f"{kind}.{axis}_pixel_size") for axis in "yx"]
    signal = [
        spectroscopic(name, "m" if step else "", evenly_spaced(int(size), float(step or 1.0)))
        for name, size, step in zip("vu", frames.shape[1:], steps)
    ]
    return [
        scan(
            "Raw_Data",
            frames,
            signal,
            nav_shape=nav_shape,
            sync_offset=sync_offset,
            fill_value=fill_value,
            quantity="Intensity",
            units="counts",
            attrs=attrs,
            identity=repr([(file, FileIdentity.of(file)) for file, _ in places]),
        )
    ]


def _place(path: str, group: Any, name: str) -> tuple[str, str]:
    """(file, dataset) that a link of the master file goes to."""
    import h5py

    link = group.get(name, getlink=True)
    if not isinstance(link, h5py.ExternalLink):
        return path, f"{_DATA}/{name}"
    return os.path.join(os.path.dirname(os.path.abspath(path)), link.filename), link.path


def _part(path: str, file: str, name: str) -> BlockArray:
    if not os.path.isfile(file):
        raise StoreNotFoundError(f"{path!r} has frames in {file!r}, which is not there")
    found, _ = hdf5_array(file, name)
    if found.ndim != 3:
        raise DamagedStoreError(f"{name!r} of {file!r} has shape {found.shape}, frames have three")
    return found


READERS = (
    Reader(
        name="arina",
        title="Dectris ARINA (_master.h5)",
        extensions=("_master.h5",),
        claims=_claims,
        read=read,
    ),
    Reader(
        name="eiger",
        title="Dectris EIGER, PILATUS3 and others (_master.h5)",
        extensions=("_master.h5",),
        claims=_claims_eiger,
        read=read_eiger,
    ),
)
