"""Frames of scanning electron diffraction and volumes: BLO and MRC files."""

from __future__ import annotations

import struct
from collections.abc import Sequence
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

_MRC_TYPES = {0: "i1", 1: "i2", 2: "f4", 4: "c8", 6: "u2", 12: "f2"}
_MRC_HEADER = 1024
# Space groups from this one on are stacks of volumes (MRC2014).
_VOLUMES = 401


def read_blo(
    path: str,
    *,
    nav_shape: Sequence[int] | int | None = None,
    sync_offset: int = 0,
    fill_value: Any = None,
) -> Sequence[Foreign]:
    """The diffraction patterns of an ASTAR (NanoMEGAS) block file.

    Parameters
    ----------
    nav_shape : shape of the scan; that of the file, with its steps, when None
    sync_offset, fill_value : as for bare frames
    """
    with open(path, "rb") as file:
        head = file.read(512)
    try:
        data, _, side, _, nx, ny, _, sx, sy, _, per_cm = struct.unpack("<IIHHHHHddIH", head[12:52])
    except struct.error as error:
        raise DamagedStoreError(f"{path!r} is cut short: {len(head)} bytes of header") from error
    frame = side * side
    frames = RawArray(
        path,
        (ny * nx, side, side),
        np.dtype("u1"),
        data + 6,
        (frame + 6, side, 1),
    )
    step = 100.0 / per_cm if per_cm else 1.0
    units = "cm" if per_cm else ""
    positions = [
        position("Y", "nm", evenly_spaced(ny, sy or 1.0)),
        position("X", "nm", evenly_spaced(nx, sx or 1.0)),
    ]
    return [
        scan(
            "Raw_Data",
            frames,
            [spectroscopic(name, units, evenly_spaced(side, step)) for name in "vu"],
            nav_shape=nav_shape,
            sync_offset=sync_offset,
            fill_value=fill_value,
            positions=positions if nav_shape is None else None,
            quantity="Intensity",
            units="counts",
        )
    ]


def read_mrc(
    path: str,
    *,
    nav_shape: Sequence[int] | int | None = None,
    sync_offset: int = 0,
    fill_value: Any = None,
) -> Sequence[Foreign]:
    """The images of an MRC (CCP4) file: the sections of a volume, or the frames of a scan.

    Parameters
    ----------
    nav_shape : shape of the scan; all sections along one axis when None
    sync_offset, fill_value : as for bare frames
    """
    with open(path, "rb") as file:
        head = file.read(_MRC_HEADER)
    if len(head) < _MRC_HEADER:
        raise DamagedStoreError(f"{path!r} is cut short: {len(head)} of {_MRC_HEADER} bytes")
    order = ">" if head[212:214] == b"\x11\x11" else "<"
    nx, ny, nz, mode = struct.unpack(f"{order}4i", head[:16])
    mx, my, mz = struct.unpack(f"{order}3i", head[28:40])
    cell = struct.unpack(f"{order}3f", head[40:52])
    space_group = struct.unpack(f"{order}i", head[88:92])[0]
    extended = struct.unpack(f"{order}i", head[92:96])[0]
    if mode not in _MRC_TYPES or min(nx, ny, nz) < 1:
        raise NotUsidError(
            f"{path!r} has values of mode {mode} and shape {(nz, ny, nx)}; read are modes "
            f"{', '.join(map(str, _MRC_TYPES))}"
        )
    dtype = np.dtype(order + _MRC_TYPES[mode])
    array = RawArray(path, (nz, ny, nx), dtype, _MRC_HEADER + max(0, extended))
    steps = [
        length / n if n > 0 and length > 0 else 0.0
        for n, length in zip((mz, my, mx), reversed(cell))
    ]
    signal = [_mrc_axis(name, n, step) for name, n, step in zip("yx", (ny, nx), steps[1:])]
    labels = [text_of(head[at : at + 80]) for at in range(224, _MRC_HEADER, 80)]
    attrs = {"labels": [label for label in labels if label.strip()]}
    positions = None
    if nav_shape is None and not sync_offset:
        units, step = ("Å", steps[0]) if steps[0] else ("", 1.0)
        # a stack of volumes says how many sections one of them has
        each = mz if space_group >= _VOLUMES and 0 < mz < nz and not nz % mz else nz
        positions = [position("z", units, evenly_spaced(each, step))]
        if each < nz:
            positions.insert(0, position("volume", size=nz // each))
    return [
        scan(
            "Raw_Data",
            array,
            signal,
            nav_shape=nav_shape,
            sync_offset=sync_offset,
            fill_value=fill_value,
            positions=positions,
            quantity="Intensity",
            units="counts",
            attrs=attrs if attrs["labels"] else {},
        )
    ]


def _mrc_axis(name: str, size: int, step: float) -> Axis:
    return spectroscopic(name, "Å" if step else "", evenly_spaced(size, step or 1.0))


def _is_mrc(path: str, head: bytes) -> bool:
    return len(head) >= _MRC_HEADER and head[208:211] == b"MAP"


BLO = Reader(
    name="blo",
    title="ASTAR, NanoMEGAS (.blo)",
    extensions=(".blo",),
    claims=lambda path, head: head.startswith(b"IMGBLO"),
    read=read_blo,
)
MRC = Reader(
    name="mrc",
    title="MRC, CCP4 (.mrc)",
    extensions=(".mrc", ".mrcs", ".st", ".ali"),
    claims=_is_mrc,
    read=read_mrc,
)
READERS = (BLO, MRC)
