"""Sparse frames in compressed rows (CSR), as LiberTEM has them: three bare files and a .toml.

A row is a frame, a column a pixel. What is not in the file is 0.
"""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from usidx.errors import DamagedStoreError, OptionError, StoreNotFoundError, UnsafeStoreError
from usidx.model.dimension import Array
from usidx.readers.base import Foreign, Reader, spectroscopic
from usidx.readers.raw import RawArray
from usidx.readers.scans import scan

_KIND = "raw_csr"
_PARTS = ("indptr", "indices", "data")
_NAMES = {1: ("channel",), 2: ("v", "u")}


@dataclass(frozen=True, eq=False)
class CsrArray:
    """Frames of which only the values that are not 0 are in files; picklable, nothing is open.

    Parameters
    ----------
    indptr : shape (frames + 1,), where the values of each frame start
    indices : place of each value in its frame, flat
    data : the values
    frame : shape of a frame
    """

    indptr: RawArray
    indices: RawArray
    data: RawArray
    frame: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.indptr.shape[0] - 1, *self.frame

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.data.dtype

    def __dask_tokenize__(self) -> Any:
        parts = [each.__dask_tokenize__() for each in (self.indptr, self.indices, self.data)]
        return "usidx.CsrArray", parts, self.frame

    def __getitem__(self, key: Any, /) -> Array:
        """The values that ints and slices select.

        Raises
        ------
        DamagedStoreError : where the files do not go together
        """
        first, *rest = key if isinstance(key, tuple) else (key,)
        numbers = np.arange(self.shape[0])[first]
        flat = numbers.reshape(-1)
        frames = np.zeros((flat.size, math.prod(self.frame)), self.dtype)
        if flat.size:
            self._fill(frames, flat)
        found: Array = frames.reshape(numbers.shape + self.frame)
        return found[(*(slice(None) for _ in numbers.shape), *rest)]

    def _fill(self, frames: Array, numbers: Array) -> None:
        """Add up values where they belong; a pixel may have several, as in SciPy."""
        low, high = int(numbers.min()), int(numbers.max())
        edges = self.indptr[low : high + 2].astype(np.int64)
        start, stop = int(edges[0]), int(edges[-1])
        if start < 0 or np.any(np.diff(edges) < 0) or stop > self.data.shape[0]:
            raise DamagedStoreError(
                f"{self.indptr.path!r} says that frames {low} to {high} have the values {start} to "
                f"{stop}, and {self.data.path!r} has {self.data.shape[0]}"
            )
        places = self.indices[start:stop].astype(np.int64)
        if places.size and not 0 <= places.min() <= places.max() < frames.shape[1]:
            raise DamagedStoreError(
                f"{self.indices.path!r} has a value at pixel {int(places.max())} of a frame of "
                f"{self.frame}"
            )
        values = self.data[start:stop]
        for row, number in enumerate(numbers):
            own = slice(int(edges[number - low]) - start, int(edges[number - low + 1]) - start)
            np.add.at(frames[row], places[own], values[own])


def _claims(path: str, head: bytes) -> bool:
    return b"filetype" in head and _KIND.encode() in head.lower() and bool(_settings(path))


def _settings(path: str) -> Mapping[str, Any]:
    """What a .toml file says, {} where it is none or of another kind."""
    try:
        with open(path, "rb") as file:
            said = tomllib.load(file)
    except (OSError, ValueError):
        return {}
    params = said.get("params")
    known = isinstance(params, dict) and str(params.get("filetype", "")).lower() == _KIND
    return said if known else {}


def read(
    path: str,
    *,
    nav_shape: Sequence[int] | int | None = None,
    sig_shape: Sequence[int] | int | None = None,
    sync_offset: int = 0,
    fill_value: Any = None,
) -> Sequence[Foreign]:
    """The frames that a .toml file describes.

    Parameters
    ----------
    nav_shape, sig_shape : of the scan and of a frame; as the file says when None
    sync_offset, fill_value : as for bare frames
    """
    said = _settings(path)
    if not said:
        raise DamagedStoreError(f"{path!r} is no TOML file that describes frames of {_KIND!r}")
    params, kept = said["params"], said.get(str(said["params"]["filetype"]), said.get(_KIND))
    if not isinstance(kept, dict):
        raise DamagedStoreError(f"{path!r} names no files: it has no table [{_KIND}]")
    parts = [_part(path, kept, name) for name in _PARTS]
    indptr, indices, data = parts
    if indices.shape != data.shape or indptr.shape[0] < 2:
        raise DamagedStoreError(
            f"{path!r} names files with {indices.shape[0]} places, {data.shape[0]} values and "
            f"{indptr.shape[0]} starts of frames: one is cut short, or its dtype is another"
        )
    if int(indptr[-1]) != data.shape[0]:
        raise DamagedStoreError(
            f"{indptr.path!r} ends at value {int(indptr[-1])}, and {data.path!r} has "
            f"{data.shape[0]}: one of them is cut short"
        )
    frame = _shape(path, "sig_shape", params.get("sig_shape") if sig_shape is None else sig_shape)
    told = _shape(path, "sig_shape", params.get("sig_shape", frame))
    if math.prod(frame) != math.prod(told):
        raise OptionError(f"sig_shape={frame}: frames of {path!r} have {math.prod(told)} pixels")
    names = _NAMES.get(len(frame)) or tuple(f"sig_{n}" for n in range(len(frame)))
    return [
        scan(
            "Raw_Data",
            CsrArray(indptr, indices, data, frame),
            [spectroscopic(name, size=n) for name, n in zip(names, frame)],
            nav_shape=params.get("nav_shape") if nav_shape is None else nav_shape,
            sync_offset=sync_offset,
            fill_value=fill_value,
            quantity="Intensity",
            units="counts",
            identity=repr([(each.path, each.identity) for each in parts]),
        )
    ]


def _part(path: str, kept: Mapping[str, Any], name: str) -> RawArray:
    file, dtype = kept.get(f"{name}_file"), kept.get(f"{name}_dtype")
    if not isinstance(file, str) or not isinstance(dtype, str):
        raise DamagedStoreError(f"{path!r} does not say {name}_file and {name}_dtype")
    folder = os.path.dirname(os.path.abspath(path))
    found = os.path.normpath(os.path.join(folder, file))
    if os.path.dirname(found) != folder:
        raise UnsafeStoreError(
            f"{path!r} names {file!r}, which is not beside it: whoever made it decides which of "
            "your files it shows as data; put the files together"
        )
    try:
        kind = np.dtype(dtype)
    except TypeError as error:
        raise DamagedStoreError(f"{path!r} has {name}_dtype={dtype!r}, no dtype") from error
    try:
        size = os.path.getsize(found)
    except OSError as error:
        raise StoreNotFoundError(f"{path!r} names {file!r}, which is not there") from error
    if kind.kind not in "biufc" or size % kind.itemsize:
        raise DamagedStoreError(f"{found!r} has {size} bytes, not a whole number of {kind}")
    return RawArray(found, (size // kind.itemsize,), kind)


def _shape(path: str, name: str, given: Any) -> tuple[int, ...]:
    shape = (given,) if isinstance(given, int) else given
    if not isinstance(shape, (list, tuple)) or not shape:
        raise OptionError(f"{path!r} says no {name}; give {name}=(rows, columns)")
    if any(not isinstance(n, (int, np.integer)) or n < 1 for n in shape):
        raise OptionError(f"{name}={given!r} is no shape: give sizes of at least 1")
    return tuple(int(n) for n in shape)


READERS = (
    Reader(
        name="csr",
        title="LiberTEM's sparse frames in compressed rows (.toml)",
        extensions=(".toml",),
        claims=_claims,
        read=read,
    ),
)
