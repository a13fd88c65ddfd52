"""Frames of scanning electron diffraction: BLO files of ASTAR."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from usidx.errors import DamagedStoreError
from usidx.readers.base import (
    Foreign,
    Reader,
    evenly_spaced,
    position,
    spectroscopic,
)
from usidx.readers.raw import RawArray
from usidx.readers.scans import scan

# Where people's own words start.
_NOTE, _LONGEST_NOTE = 240, 2**16


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
    if len(head) < _NOTE:
        raise DamagedStoreError(f"{path!r} is cut short: {len(head)} bytes of header")
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
            attrs=_told(path, head),
        )
    ]


def _told(path: str, head: bytes) -> dict[str, Any]:
    """How a file was taken; a number of days counts from the end of 1899."""
    start, turned, energy, length, days = (
        struct.unpack_from(kind, head, at)[0]
        for kind, at in (("<I", 8), ("<H", 28), ("<I", 46), ("<I", 52), ("<d", 56))
    )
    found = {
        "blo.beam_energy_V": energy,
        "blo.camera_length_mm": length / 10,
        "blo.scan_rotation_degrees": turned / 100,
        "blo.acquisition_time_days": days,
    }
    with open(path, "rb") as file:
        file.seek(_NOTE)
        note = file.read(max(0, min(start - _NOTE, _LONGEST_NOTE)))
    found["blo.note"] = note.decode("latin-1").strip("\0 ")
    return {name: each for name, each in found.items() if each}


BLO = Reader(
    name="blo",
    title="ASTAR, NanoMEGAS (.blo)",
    extensions=(".blo",),
    claims=lambda path, head: head.startswith(b"IMGBLO"),
    read=read_blo,
)
READERS = (BLO,)
