"""MRC files (CCP4, IMOD): volumes, stacks of images and of volumes, frames of a scan."""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from usidx.errors import DamagedStoreError, NotUsidError
from usidx.readers.base import (
    Axis,
    Foreign,
    Reader,
    evenly_spaced,
    position,
    spectroscopic,
    text_of,
)
from usidx.readers.raw import RawArray
from usidx.readers.scans import scan

_TYPES = {0: "i1", 1: "i2", 2: "f4", 4: "c8", 6: "u2", 12: "f2"}
_EXTENSIONS = (".mrc", ".mrcs", ".map", ".ccp4", ".rec", ".st", ".ali")
_HEADER = 1024
# Space groups from this one on are stacks of volumes (MRC2014).
_VOLUMES = 401
# IMOD's mark, and the flag beside it that says that bytes are signed.
_IMOD, _SIGNED = 1146047817, 1
# The first extended header of FEI: so many frames, of so many numbers each.
_FEI_FRAMES, _FEI_NUMBERS, _FEI_TILT, _FEI_PIXEL = 1024, 32, 0, 11
_LARGEST_PIXEL = 1e-3
_LARGEST_SIZE = 2**24


@dataclass(frozen=True)
class _Head:
    """What the header of a file says.

    Parameters
    ----------
    order : of bytes, "<" or ">"
    shape : sections, rows and columns
    mode : of the values
    counts, lengths : intervals in the cell, and its size in Å, along x, y and z
    letters : what sections, rows and columns are along
    space_group, extended : bytes of the extended header
    is_unsigned : whether bytes are, as IMOD says
    attrs : everything else
    """

    order: str
    shape: tuple[int, int, int]
    mode: int
    counts: tuple[int, int, int]
    lengths: tuple[float, float, float]
    letters: str
    space_group: int
    extended: int
    is_unsigned: bool
    attrs: dict[str, Any]

    def step(self, letter: str) -> float:
        """Å from one value to the next along x, y or z, 0.0 where it is not said."""
        axis = "xyz".index(letter)
        count, length = self.counts[axis], self.lengths[axis]
        return length / count if count > 0 and length > 0 else 0.0


def _head(path: str) -> _Head:
    with open(path, "rb") as file:
        said = file.read(_HEADER)
    if len(said) < _HEADER:
        raise DamagedStoreError(f"{path!r} is cut short: {len(said)} of {_HEADER} bytes")
    order = ">" if said[212:214] == b"\x11\x11" else "<"
    if not _is_sensible(said, order) and _is_sensible(said, "<>"[order == "<"]):
        order = "<>"[order == "<"]  # old programs left the stamp out, or wrote it wrongly
    whole = struct.unpack(f"{order}24i", said[:96])
    numbers = struct.unpack(f"{order}24f", said[:96])
    nx, ny, nz, mode = whole[:4]
    along = whole[18:15:-1]
    known = sorted(along) == [1, 2, 3]
    labels = [text_of(said[at : at + 80]).strip() for at in range(224, _HEADER, 80)]
    imod, flags = struct.unpack(f"{order}2i", said[152:160])
    attrs: dict[str, Any] = {
        "labels": [each for each in labels if each],
        "mrc.space_group": whole[22],
        "mrc.start": list(whole[4:7]),
        "mrc.origin": list(struct.unpack(f"{order}3f", said[196:208])),
        "mrc.angles": list(numbers[13:16]),
        "mrc.extended_header": text_of(said[104:108]).strip() if whole[23] > 0 else "",
    }
    return _Head(
        order=order,
        shape=(nz, ny, nx),
        mode=mode,
        counts=(whole[7], whole[8], whole[9]),
        lengths=(numbers[10], numbers[11], numbers[12]),
        letters="".join("xyz"[axis - 1] for axis in along) if known else "zyx",
        space_group=whole[22],
        extended=max(0, whole[23]),
        is_unsigned=imod == _IMOD and not flags & _SIGNED,
        attrs={name: each for name, each in attrs.items() if each not in ("", [])},
    )


def _claims(path: str, head: bytes) -> bool:
    """Whether a file has the mark of MRC2014; older ones have a name and as many bytes as said."""
    if len(head) < _HEADER or head[208:211] == b"MAP":
        return len(head) >= _HEADER
    if not path.lower().endswith(_EXTENSIONS) or not any(_is_sensible(head, o) for o in "<>"):
        return False
    said = _head(path)
    if said.mode not in _TYPES:
        return False
    size = math.prod(said.shape) * np.dtype(_TYPES[said.mode]).itemsize
    return os.path.getsize(path) == _HEADER + said.extended + size


def _is_sensible(said: bytes, order: str) -> bool:
    sizes: tuple[int, ...] = struct.unpack(f"{order}4i", said[:16])
    return min(sizes[:3]) > 0 and max(sizes[:3]) < _LARGEST_SIZE and 0 <= sizes[3] <= 101


def read(
    path: str,
    *,
    nav_shape: Sequence[int] | int | None = None,
    sync_offset: int = 0,
    fill_value: Any = None,
    unsigned_bytes: bool | None = None,
) -> Sequence[Foreign]:
    """The images of a file: the sections of a volume, or the frames of a scan.

    Parameters
    ----------
    nav_shape : shape of the scan; all sections along one axis when None
    sync_offset, fill_value : as for bare frames
    unsigned_bytes : whether values of one byte (mode 0) are 0 to 255, as RosettaSciIO has them;
        when None they are -128 to 127, as the format says and LiberTEM has them, unless IMOD wrote
        the file and says otherwise
    """
    head = _head(path)
    if head.mode not in _TYPES or min(head.shape) < 1:
        raise NotUsidError(
            f"{path!r} has values of mode {head.mode} and shape {head.shape}; read are modes "
            f"{', '.join(map(str, _TYPES))}"
        )
    is_unsigned = head.is_unsigned if unsigned_bytes is None else unsigned_bytes
    dtype = np.dtype(head.order + _TYPES[head.mode])
    if head.mode == 0 and is_unsigned:
        dtype = np.dtype("u1")
    array = RawArray(path, head.shape, dtype, _HEADER + head.extended)
    steps = [head.step(letter) for letter in head.letters]
    attrs = dict(head.attrs)
    if (told := _fei(path, head)) is not None:
        tilts, pixel = told
        attrs["mrc.alpha_tilt"] = tilts
        steps = [0.0, pixel, pixel] if pixel else steps
    first, *rest = zip(head.letters, head.shape, steps, strict=True)
    positions = None
    if nav_shape is None and not sync_offset:
        name, count, step = first
        # a stack of volumes says how many sections one of them has
        each = head.counts["xyz".index(name)]
        is_stack = head.space_group >= _VOLUMES and 0 < each < count and not count % each
        each = each if is_stack else count
        positions = [position(name, "Å" if step else "", evenly_spaced(each, step or 1.0))]
        if each < count:
            positions.insert(0, position("volume", size=count // each))
    return [
        scan(
            "Raw_Data",
            array,
            [_axis(*each) for each in rest],
            nav_shape=nav_shape,
            sync_offset=sync_offset,
            fill_value=fill_value,
            positions=positions,
            quantity="Intensity",
            units="counts",
            attrs=attrs,
        )
    ]


def _axis(name: str, size: int, step: float) -> Axis:
    return spectroscopic(name, "Å" if step else "", evenly_spaced(size, step or 1.0))


def _fei(path: str, head: _Head) -> tuple[list[float], float] | None:
    """(tilts in degrees, size of a pixel in Å) of FEI's first extended header, None without one."""
    size = _FEI_FRAMES * _FEI_NUMBERS * 4
    if head.extended != size or head.attrs.get("mrc.extended_header"):
        return None
    said = RawArray(path, (_FEI_FRAMES, _FEI_NUMBERS), np.dtype(f"{head.order}f4"), _HEADER)
    numbers = said[: min(head.shape[0], _FEI_FRAMES)]
    pixel = float(numbers[0, _FEI_PIXEL])
    tilts = [float(each) for each in numbers[:, _FEI_TILT]]
    return tilts, pixel * 1e10 if 0 < pixel < _LARGEST_PIXEL else 0.0


READERS = (
    Reader(
        name="mrc",
        title="MRC, CCP4, IMOD (.mrc)",
        extensions=_EXTENSIONS,
        claims=_claims,
        read=read,
    ),
)
