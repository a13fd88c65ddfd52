"""Igor Pro's binary waves (.ibw), as Asylum and other probe microscopes write them.

Version 5 has up to four dimensions; versions 1 to 3, of old releases, have one (WaveMetrics,
Technical Note 3).

Of an image or a volume the first two dimensions are positions, of a single trace the points are
spectroscopic. Where the parts along the last dimension have names, as the channels of a scan or of
a force curve have, each is a Main.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from usidx.errors import DamagedStoreError, NotUsidError
from usidx.readers.base import Axis, Foreign, Reader, evenly_spaced, position, spectroscopic
from usidx.readers.raw import RawArray

# Two structures of the format, without padding: the header of the file, then that of the wave.
_FILE = "hhiiii4i4iiii"
_WAVE = "IIIihh6sh32siI4i4d4d4s16shhdd"
_DATA = 384
# In versions 1 to 3 the header of a wave has 110 bytes, that of the file fewer than in version 5.
_OLD_FILE = {1: "hih", 2: "hiiih", 3: "hiiiih"}
_OLD_WAVE = "hI20shhI4s4sihddhhhddbbIiI2sII"
_OLD_PADDING = 16
_TYPES = {2: "f4", 4: "f8", 8: "i1", 16: "i2", 32: "i4", 128: "i8"}
_COMPLEX, _UNSIGNED = 1, 64
# Beginnings of the names of channels, and their units where they are not those of the wave.
_CHANNELS = {
    "height": "", "zsens": "", "raw": "", "defl": "", "amp": "", "phase": "deg", "freq": "Hz",
}  # fmt: skip


@dataclass(frozen=True)
class _Wave:
    """What the headers of a file say."""

    order: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    steps: tuple[float, ...]
    starts: tuple[float, ...]
    data_units: str
    dim_units: tuple[str, ...]
    name: str
    note: str
    labels: tuple[tuple[str, ...], ...]
    start: int = _DATA


def _version(head: bytes) -> tuple[str, int]:
    """(byte order, version) of a file; version 0 where it is none."""
    for order in "<>":
        (version,) = struct.unpack_from(f"{order}h", head.ljust(2, b"\0"))
        if version in (*_OLD_FILE, 5):
            return order, version
    return "<", 0


def _claims(path: str, head: bytes) -> bool:
    if path.lower().endswith((".pxp", ".pxt")):
        return True
    order, version = _version(head)
    size = _DATA if version == 5 else 0
    if version in _OLD_FILE:
        size = struct.calcsize(order + _OLD_FILE[version]) + struct.calcsize(order + _OLD_WAVE)
    if not version or len(head) < size:
        return False
    # words of both headers add up to nothing
    words = np.frombuffer(head[:size], f"{order}i2")
    return bool(words.any()) and int(words.sum(dtype=np.int64)) % 65536 == 0


def read(path: str) -> Sequence[Foreign]:
    """The wave in a file."""
    if path.lower().endswith((".pxp", ".pxt")):
        raise NotUsidError(
            f"{path!r} is a packed experiment of Igor Pro, of many waves and windows; save the "
            "waves from Igor as .ibw (Data > Save Waves > Save Igor Binary), and open those"
        )
    with open(path, "rb") as file:
        order, version = _version(file.read(2))
    wave = _old_headers(path, order, version) if version in _OLD_FILE else _headers(path)
    sizes = [int(n) for n in np.cumprod((1, *wave.shape[:-1]), dtype=np.int64)]
    strides = tuple(n * wave.dtype.itemsize for n in sizes)
    name = wave.name or os.path.splitext(os.path.basename(path))[0]
    # dimension 0 of Igor is the fastest one
    axes = [_axis(wave, number, len(wave.shape)) for number in range(len(wave.shape))]
    attrs = _note(wave.note)
    names = wave.labels[len(wave.shape) - 1] if len(wave.shape) > 1 else ()
    if not any(names[1:]):
        array = RawArray(path, wave.shape[::-1], wave.dtype, wave.start, strides[::-1])
        return [Foreign(name, array, tuple(axes[::-1]), name, wave.data_units, attrs)]
    last = len(wave.shape) - 1
    axes = [_axis(wave, number, last) for number in range(last)]
    if wave.data_units:
        attrs["data_units"] = wave.data_units
    found: list[Foreign] = []
    for number in range(wave.shape[last]):
        # the first label is of the dimension itself
        label = names[number + 1] if number + 1 < len(names) else ""
        main = (label or f"layer_{number}").replace("/", "_")
        main = f"{main}_{number}" if any(each.name == main for each in found) else main
        place = wave.start + number * strides[last]
        array = RawArray(path, wave.shape[:last][::-1], wave.dtype, place, strides[:last][::-1])
        units = _units(main, wave.data_units)
        found.append(Foreign(main, array, tuple(axes[::-1]), main, units, attrs))
    return found


def _units(channel: str, units: str) -> str:
    """Those of a channel of a scan, for all of which a wave has one text of units.

    Heights and deflections have those of the wave, phases degrees; of others nothing is said.
    """
    lower = channel.lower()
    for begins, known in _CHANNELS.items():
        if lower.startswith(begins):
            return known or units
    return ""


def _headers(path: str) -> _Wave:
    with open(path, "rb") as file:
        head = file.read(_DATA)
        if len(head) < _DATA:
            raise DamagedStoreError(
                f"{path!r} is cut short: {len(head)} of {_DATA} bytes of header"
            )
        order = "<" if head[:1] == b"\x05" else ">"
        told = struct.unpack_from(order + _FILE, head)
        of_wave = struct.unpack_from(order + _WAVE, head, 64)
        formula, note, data_units, dim_units, labels = (
            told[3], told[4], told[5], told[6:10], told[10:14],
        )  # fmt: skip
        kind = of_wave[4]
        _check_kind(path, kind)
        shape = tuple(n for n in of_wave[11:15] if n > 0)
        if not shape:
            raise NotUsidError(f"{path!r} is a wave without points")
        dtype = _dtype(order, kind)
        stop = _DATA + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        if os.fstat(file.fileno()).st_size < stop + formula + note:
            raise DamagedStoreError(f"{path!r} is cut short: its header needs {stop + note} bytes")
        file.seek(stop + formula)
        text = _text(file.read(note), order)
        long_units = _text(file.read(data_units), order)
        long_dims = [_text(file.read(size), order) for size in dim_units]
        names = [_labels(file.read(size), order) for size in labels]
    short = [_text(of_wave[24][n : n + 4], order) for n in range(0, 16, 4)]
    return _Wave(
        order=order,
        shape=shape,
        dtype=dtype,
        steps=of_wave[15:19],
        starts=of_wave[19:23],
        data_units=long_units or _text(of_wave[23], order),
        dim_units=tuple(long or brief for long, brief in zip(long_dims, short)),
        name=_text(of_wave[8], order),
        note=text,
        labels=tuple(names),
    )


def _old_headers(path: str, order: str, version: int) -> _Wave:
    of_file = struct.Struct(order + _OLD_FILE[version])
    of_wave = struct.Struct(order + _OLD_WAVE)
    start = of_file.size + of_wave.size
    with open(path, "rb") as file:
        head = file.read(start)
        if len(head) < start:
            raise DamagedStoreError(
                f"{path!r} is cut short: {len(head)} of {start} bytes of header"
            )
        sizes, told = of_file.unpack_from(head), of_wave.unpack_from(head, of_file.size)
        kind, name, data_units, units, points = told[0], told[2], told[6], told[7], told[8]
        _check_kind(path, kind)
        dtype = _dtype(order, kind)
        stop = start + points * dtype.itemsize
        note = sizes[2] if version > 1 else 0
        if points < 1 or os.fstat(file.fileno()).st_size < stop + (_OLD_PADDING + note) * bool(
            note
        ):
            raise DamagedStoreError(f"{path!r} is cut short: its header needs {stop + note} bytes")
        file.seek(stop + _OLD_PADDING)
        text = _text(file.read(note), order)
    return _Wave(
        order=order,
        shape=(points,),
        dtype=dtype,
        steps=(told[10],),
        starts=(told[11],),
        data_units=_text(data_units, order),
        dim_units=(_text(units, order),),
        name=_text(name, order),
        note=text,
        labels=((),),
        start=start,
    )


def _check_kind(path: str, kind: int) -> None:
    plain = kind & ~_COMPLEX & ~_UNSIGNED
    if plain not in _TYPES:
        raise NotUsidError(f"{path!r} is a wave of text or of other waves, not of numbers")
    if kind & _COMPLEX and plain not in (2, 4):
        raise NotUsidError(
            f"{path!r} is a wave of complex whole numbers, which NumPy has no type for; make it "
            "one of complex floats in Igor (Redimension/C/D)"
        )


def _dtype(order: str, kind: int) -> np.dtype[Any]:
    code = _TYPES[kind & ~_COMPLEX & ~_UNSIGNED]
    if kind & _UNSIGNED:
        code = code.replace("i", "u")
    if kind & _COMPLEX:
        code = f"c{2 * int(code[1:])}"
    return np.dtype(order + code)


def _axis(wave: _Wave, number: int, count: int) -> Axis:
    names = ("X", "Y", "Z", "T") if count > 1 else ("point",)
    make = position if count > 1 and number < 2 else spectroscopic
    step = wave.steps[number] or 1.0
    values = evenly_spaced(wave.shape[number], step, wave.starts[number])
    return make(names[number], wave.dim_units[number], values)


def _labels(raw: bytes, order: str) -> tuple[str, ...]:
    return tuple(_text(raw[at : at + 32], order) for at in range(0, len(raw), 32))


def _text(raw: bytes, order: str) -> str:
    """In UTF-8, or in the letters of the system that older versions of Igor ran on."""
    raw = raw.split(b"\0", 1)[0]
    try:
        return raw.decode("utf-8").strip()
    except UnicodeDecodeError:
        return raw.decode("cp1252" if order == "<" else "mac-roman", "replace").strip()


def _note(text: str) -> dict[str, Any]:
    """The lines "Name: value" of a note as attributes, numbers as numbers; others as `note`."""
    found: dict[str, Any] = {}
    others = []
    for line in text.replace("\r", "\n").splitlines():
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            others.append(line.strip())
            continue
        try:
            found[name.strip()] = float(value)
        except ValueError:
            found[name.strip()] = value.strip()
    if any(others):
        found["note"] = "\n".join(filter(None, others))
    return found


READERS = (
    Reader(
        name="igor",
        title="Igor Pro, Asylum (.ibw)",
        extensions=(".ibw", ".pxp", ".pxt"),
        claims=_claims,
        read=read,
    ),
)
