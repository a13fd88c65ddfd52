"""Series of images and scans of TVIPS cameras (.tvips), in one file or several."""

from __future__ import annotations

import itertools
import os
import re
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from usidx.errors import DamagedStoreError, OptionError
from usidx.readers.base import Foreign, Reader, evenly_spaced, spectroscopic
from usidx.readers.joined import JoinedArray
from usidx.readers.raw import RawArray
from usidx.readers.scans import scan

_SERIES = struct.Struct("<13i")
_NAMES = (
    "size", "version", "width", "height", "bits", "x_offset", "y_offset", "x_binning",
    "y_binning", "pixel_size", "high_tension", "magnification", "header",
)  # fmt: skip
_HEADER_1 = 12
# In the header of a frame: whether it is an image (1) or diffraction (2), and where the scan was.
_MODE, _SCAN, _UNTIL_SCAN = 24, 68, 76
_DIFFRACTION = 2
_MOST_SEARCHED = 4096


def _series(head: bytes) -> dict[str, int]:
    """The header of a series, {} where there is none."""
    if len(head) < _SERIES.size:
        return {}
    said = dict(zip(_NAMES, _SERIES.unpack_from(head)))
    is_one = said["size"] == 256 and said["version"] in (1, 2) and said["bits"] in (8, 16)
    if not is_one or not all(0 < said[name] < 2**16 for name in ("width", "height")):
        return {}
    if said["version"] == 1:
        said["header"] = _HEADER_1
    return said if 0 <= said["header"] < 2**16 else {}


def read(
    path: str,
    *,
    nav_shape: Sequence[int] | int | None = None,
    sync_offset: int | None = None,
    fill_value: Any = None,
) -> Sequence[Foreign]:
    """The frames of a series, also of the files after the first: name_000.tvips, name_001.tvips.

    Parameters
    ----------
    nav_shape, sync_offset : of the scan; as the headers of frames say where they do, in which the
        scan is at (0, 0), then at (0, 1). All frames along one axis else
    fill_value : as for bare frames
    """
    with open(path, "rb") as file:
        said = _series(file.read(_SERIES.size))
    if not said:
        raise DamagedStoreError(f"the header of {path!r} is none of a TVIPS series, or cut short")
    parts = [
        _frames(each, said, said["size"] if number == 0 else 0)
        for number, each in enumerate(_files(path))
    ]
    frames = JoinedArray(tuple(parts)) if len(parts) > 1 else parts[0]
    if nav_shape is None and sync_offset is None and said["version"] > 1:
        nav_shape, sync_offset = _said_shape(parts[0], frames.shape[0], said)
    mode = 0
    if said["header"] >= _MODE + 4:
        mode = int(_fields(parts[0], said, _MODE, np.dtype("<u4"), 1)[0, 0])
    step = float(said["pixel_size"]) or 1.0
    units = ("1/nm" if mode == _DIFFRACTION else "nm") if said["pixel_size"] else ""
    signal = [
        spectroscopic(name, units, evenly_spaced(said[size], step, float(said[offset])))
        for name, size, offset in (("v", "height", "y_offset"), ("u", "width", "x_offset"))
    ]
    kept = ("version", "x_binning", "y_binning", "high_tension", "magnification")
    return [
        scan(
            "Raw_Data",
            frames,
            signal,
            nav_shape=nav_shape,
            sync_offset=sync_offset or 0,
            fill_value=fill_value,
            quantity="Intensity",
            units="counts",
            attrs={f"tvips.{name}": said[name] for name in kept},
            identity=repr([(each.path, each.identity) for each in parts]),
        )
    ]


def _files(path: str) -> list[str]:
    """Every file of a series, the one with its header first."""
    matched = re.fullmatch(r"(.*_)000(\.[^.]*)", path)
    if matched is None:
        return [path]
    found = (f"{matched[1]}{number:03d}{matched[2]}" for number in itertools.count())
    return list(itertools.takewhile(os.path.exists, found))


def _frames(path: str, said: dict[str, int], start: int) -> RawArray:
    dtype = np.dtype(f"<u{said['bits'] // 8}")
    height, width = said["height"], said["width"]
    stride = said["header"] + height * width * dtype.itemsize
    count, left = divmod(os.path.getsize(path) - start, stride)
    if left or count < 1:
        raise DamagedStoreError(
            f"{path!r} ends in the middle of frame {count}: it is cut short, or its header is wrong"
        )
    row = width * dtype.itemsize
    return RawArray(
        path,
        (count, height, width),
        dtype,
        start + said["header"],
        (stride, row, dtype.itemsize),
    )


def _fields(
    frames: RawArray, said: dict[str, int], at: int, dtype: np.dtype[Any], count: int
) -> Any:
    """Numbers in the headers of the first frames, shape (frames, count)."""
    assert frames.strides is not None
    first = min(frames.shape[0], _MOST_SEARCHED)
    strides = frames.strides[0], dtype.itemsize
    place = frames.offset - said["header"] + at
    return RawArray(frames.path, (first, count), dtype, place, strides)[:]


def _said_shape(
    frames: RawArray, count: int, said: dict[str, int]
) -> tuple[tuple[int, int] | None, int]:
    """(shape of the scan, frames before it), as the headers of frames say; (None, 0) else."""
    if said["header"] < _UNTIL_SCAN:
        return None, 0
    x, y = _fields(frames, said, _SCAN, np.dtype("<f4"), 2).T
    at_start = np.flatnonzero((y[:-1] == 0) & (x[:-1] == 0) & (y[1:] == 0) & (x[1:] == 1))
    if not at_start.size:
        return None, 0
    start = int(at_start[0])
    back = np.flatnonzero(np.diff(x[start:]) < 0)
    if not back.size:
        return None, 0
    columns = int(back[0]) + 1
    rows = (count - start) // columns
    if rows < 1:
        raise OptionError(f"{frames.path!r} says of its scan what cannot be; give nav_shape=")
    return (rows, columns), start


READERS = (
    Reader(
        name="tvips",
        title="TVIPS cameras (.tvips)",
        extensions=(".tvips",),
        claims=lambda path, head: bool(_series(head)),
        read=read,
    ),
)
