"""Frames of Merlin detectors (Quantum Detectors): MIB files, with or without a .hdr beside them."""

from __future__ import annotations

import functools
import glob
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from usidx.errors import DamagedStoreError, NotUsidError, StoreNotFoundError
from usidx.model.dimension import Array
from usidx.readers.base import Foreign, Reader, spectroscopic, text_of
from usidx.readers.joined import JoinedArray
from usidx.readers.one_by_one import FrameArray
from usidx.readers.raw import FileIdentity, RawArray
from usidx.readers.scans import scan
from usidx.stores.base import BlockArray

_TYPES = {"U08": ">u1", "U16": ">u2", "U32": ">u4", "U64": ">u8"}
# What the chip gives: words of 64 bits of so many values each, the last value first.
_RAW = "R64"
_PER_WORD = {1: 64, 6: 8, 12: 4}
_CHIPS = {("1x1", 1): (1, 1), ("2x2", 4): (2, 2)}


@dataclass(frozen=True)
class _Head:
    """The header of the first frame of a file.

    Parameters
    ----------
    number : of the frame in its acquisition
    offset : bytes of a header
    width, height : of a frame, as it lies in the file
    kind : of the values: "U08", ..., "R64"
    chips : how many lie below and beside each other
    depth : bits of a counter
    text : of the header: times, exposure and settings of the chips
    """

    number: int
    offset: int
    width: int
    height: int
    kind: str
    chips: tuple[int, int]
    depth: int
    text: str

    @property
    def is_raw(self) -> bool:
        return self.kind == _RAW

    @property
    def shape(self) -> tuple[int, int]:
        """Of a frame when it is put together."""
        if not self.is_raw:
            return self.height, self.width
        rows, columns = self.chips
        return self.height * rows, self.width * columns // (rows * columns)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values in the file."""
        if self.is_raw:
            return np.dtype(">u2" if self.depth == 12 else "u1")
        return np.dtype(_TYPES[self.kind])

    @property
    def bytes_of_frame(self) -> int:
        if self.is_raw:
            return self.width * self.height * 8 // _PER_WORD[self.depth]
        return self.width * self.height * self.dtype.itemsize


def read(
    path: str,
    *,
    nav_shape: Sequence[int] | int | None = None,
    sync_offset: int = 0,
    fill_value: Any = None,
    flip_rows: bool = False,
) -> Sequence[Foreign]:
    """The frames of a .mib file, or of all those of a .hdr file; rows in the order of the file.

    Parameters
    ----------
    nav_shape : shape of the scan; that of the .hdr file beside it, else all frames along one axis
    sync_offset, fill_value : as for bare frames
    flip_rows : turn each frame upside down, as RosettaSciIO does and LiberTEM does not
    """
    files = _files(path)
    heads = {file: _head(file) for file in files}
    files = sorted(files, key=lambda file: heads[file].number)
    parts = [_frames(file, heads[file], flip_rows) for file in files]
    frames: BlockArray = parts[0] if len(parts) == 1 else JoinedArray(tuple(parts))
    attrs = {**_header(path), "mib.header": heads[files[0]].text}
    if nav_shape is None:
        nav_shape = _said_shape(attrs, int(frames.shape[0]))
    height, width = (int(size) for size in frames.shape[1:])
    return [
        scan(
            "Raw_Data",
            frames,
            [spectroscopic("v", size=height), spectroscopic("u", size=width)],
            nav_shape=nav_shape,
            sync_offset=sync_offset,
            fill_value=fill_value,
            quantity="Intensity",
            units="counts",
            attrs=attrs,
            identity=repr([(file, FileIdentity.of(file)) for file in files]),
        )
    ]


def _files(path: str) -> list[str]:
    """The .mib files of a .hdr file; a .mib file is its own."""
    with open(path, "rb") as file:
        if not file.read(4).startswith(b"HDR"):
            return [path]
    stem = os.path.splitext(path)[0]
    if os.path.isfile(f"{stem}.mib"):
        return [f"{stem}.mib"]
    found = glob.glob(f"{glob.escape(stem)}*.mib")
    if not found:
        raise StoreNotFoundError(f"{path!r} is the header of frames in .mib files, and has none")
    return found


def _head(path: str) -> _Head:
    with open(path, "rb") as file:
        head = file.read(1024)
    fields = head.split(b",")
    try:
        number, offset, chips, width, height = (int(fields[at]) for at in (1, 2, 3, 4, 5))
        kind, layout = (text_of(fields[at]).strip() for at in (6, 7))
        last = re.findall(rb"\d+", head[:offset].rstrip(b"\0 ,\r\n").rpartition(b",")[2])
        depth = int(last[-1]) if last else 0
    except (IndexError, ValueError) as error:
        raise DamagedStoreError(
            f"the header of the first frame of {path!r} cannot be read ({head[:40]!r})"
        ) from error
    known = _CHIPS.get((layout.replace("G", ""), chips), (0, 0))
    if kind not in _TYPES and not (kind == _RAW and depth in _PER_WORD and all(known)):
        raise NotUsidError(
            f"{path!r} has frames of type {kind!r} of {chips} chips ({layout}) with {depth} bits: "
            "packed as the chip gives them. Convert them in Merlin, or with RosettaSciIO "
            f"(reader='rosettasciio'); read are {', '.join(_TYPES)}, and R64 with "
            f"{', '.join(map(str, _PER_WORD))} bits of one chip or 2 x 2"
        )
    text = text_of(head[:offset]).strip("\0 ,\r\n")
    return _Head(number, offset, width, height, kind, known, depth, text)


def _frames(path: str, head: _Head, flip_rows: bool) -> BlockArray:
    stride = head.offset + head.bytes_of_frame
    count, left = divmod(os.path.getsize(path), stride)
    if left or not count:
        raise DamagedStoreError(
            f"{path!r} ends in the middle of frame {count}: it is cut short, or its frames differ"
        )
    if head.is_raw:
        size = head.bytes_of_frame
        packed = RawArray(path, (count, size), np.dtype("u1"), head.offset, (stride, 1))
        unpack = functools.partial(_unpacked, packed, head, flip_rows)
        token = (path, packed.identity, flip_rows)
        return FrameArray(unpack, (count, *head.shape), head.dtype.newbyteorder("="), token)
    start, row = head.offset, head.width * head.dtype.itemsize
    if flip_rows:
        start, row = start + (head.height - 1) * row, -row
    strides = (stride, row, head.dtype.itemsize)
    return RawArray(path, (count, head.height, head.width), head.dtype, start, strides)


def _unpacked(
    packed: RawArray, head: _Head, flip_rows: bool, numbers: Sequence[int]
) -> Iterable[Array]:
    """Frames of these numbers: values from words, chips where they belong."""
    for number in numbers:
        words = packed[number].reshape(head.height, -1, 8)
        if head.depth == 12:
            words = words.view(">u2")
        words = words[..., ::-1]
        if head.depth == 1:
            words = np.unpackbits(words, axis=-1, bitorder="little")
        rows: Array = words.reshape(head.height, head.width)
        if head.chips == (2, 2):
            # those below lie first, each turned by half
            fourth, third, second, first = np.split(rows, 4, axis=1)
            below = np.hstack([third[::-1, ::-1], fourth[::-1, ::-1]])
            rows = np.vstack([np.hstack([first, second]), below])
        yield rows[::-1] if flip_rows else rows


def _header(path: str) -> dict[str, str]:
    """What the .hdr file beside a .mib file says, {} where there is none."""
    beside = os.path.splitext(path)[0] + ".hdr"
    beside = beside if os.path.isfile(beside) else path
    with open(beside, "rb") as file:
        if not file.read(4).startswith(b"HDR"):
            return {}
    with open(beside, encoding="utf-8", errors="replace") as file:
        lines = [re.split(r":\s+|\t", line.strip(), maxsplit=1) for line in file]
    return {parts[0].rstrip(":"): parts[1].strip() for parts in lines if len(parts) == 2}


def _said_shape(attrs: Mapping[str, str], count: int) -> tuple[int, ...] | None:
    """Shape of the scan that a .hdr file says, None where it does not go with the frames.

    Frames may be missing at its end, of a scan that was stopped.
    """
    rows, columns = _number(attrs, "ScanY"), _number(attrs, "ScanX")
    if 0 < count <= rows * columns:
        return rows, columns
    columns = _number(attrs, "Frames per Trigger (Number)")
    total = max(count, _number(attrs, "Frames in Acquisition (Number)"))
    if columns > 1 and total % columns == 0:
        return total // columns, columns
    return None


def _number(attrs: Mapping[str, str], name: str) -> int:
    matched = re.match(r"\d+", attrs.get(name, ""))
    return int(matched[0]) if matched else 0


READERS = (
    Reader(
        name="mib",
        title="Merlin, Quantum Detectors (.mib, .hdr)",
        extensions=(".mib", ".hdr"),
        claims=lambda path, head: (
            head.startswith(b"MQ1,") or (head.startswith(b"HDR,") and b"Chip" in head)
        ),
        read=read,
    ),
)
