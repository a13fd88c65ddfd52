"""EDF files, as synchrotrons write them: text headers of blocks of 512 bytes before each image."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from usidx.errors import DamagedStoreError, NotUsidError
from usidx.model.dimension import Array
from usidx.readers.frames import Frames

_BLOCK = 512
_LONGEST = 2**20
# Names of `DataType` in small letters; "Long" has 32 bits whatever the machine.
_TYPES = {
    "signedbyte": "i1",
    "unsignedbyte": "u1",
    "signedshort": "i2",
    "unsignedshort": "u2",
    "signedinteger": "i4",
    "unsignedinteger": "u4",
    "signedlong": "i4",
    "unsignedlong": "u4",
    "signed64": "i8",
    "unsigned64": "u8",
    "float": "f4",
    "floatvalue": "f4",
    "real": "f4",
    "double": "f8",
    "doublevalue": "f8",
}


@dataclass(frozen=True)
class _Image:
    """Where an image of the file lies, and what its header says."""

    start: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    header: Mapping[str, str]


@contextlib.contextmanager
def edf_frames(path: str) -> Iterator[Frames]:
    """The images of an EDF file.

    Raises
    ------
    DamagedStoreError : where the file ends within a header or an image
    NotUsidError : for a compressed one, or images that differ in shape or dtype
    """
    with open(path, "rb") as file:
        images = list(_images(path, file))
        first = images[0]
        for number, each in enumerate(images):
            if (each.shape, each.dtype) != (first.shape, first.dtype):
                raise NotUsidError(
                    f"image {number} of {path!r} is {each.shape} {each.dtype}, the first is "
                    f"{first.shape} {first.dtype}; write them to files of their own"
                )

        def read(number: int) -> Array:
            image = images[number]
            file.seek(image.start)
            size = int(np.prod(image.shape))
            return np.fromfile(file, image.dtype, size).reshape(image.shape)

        native = first.dtype.newbyteorder("=")
        yield Frames(first.shape, native, len(images), read, lambda: _told(first.header))


def _images(path: str, file: BinaryIO) -> Iterator[_Image]:
    size = os.fstat(file.fileno()).st_size
    place = 0
    while place < size:
        file.seek(place)
        header, start = _header(path, file, place)
        image = _image(path, header, start)
        stop = start + int(np.prod(image.shape)) * image.dtype.itemsize
        if stop > size:
            raise DamagedStoreError(
                f"the frame {path!r} is cut short: {size} bytes where its header needs {stop}; "
                "it may be written only in part"
            )
        yield image
        # What a header says of the size of its image may include a filling.
        place = max(stop, start + int(header.get("edf_binarysize", 0)))


def _header(path: str, file: BinaryIO, place: int) -> tuple[dict[str, str], int]:
    """({name in small letters: text, and as it is spelled}, where the image starts)."""
    text = b""
    while not text.rstrip(b" \r\n\0").endswith(b"}"):
        block = file.read(_BLOCK)
        text += block
        if len(block) < _BLOCK or len(text) > _LONGEST:
            raise DamagedStoreError(
                f"the header at byte {place} of {path!r} has no end; the file is damaged, or no EDF"
            )
    found: dict[str, str] = {}
    for line in text.decode("latin-1").strip().strip("{}").split(";"):
        name, equals, value = line.partition("=")
        if equals:
            found[name.strip()] = value.strip()
            found.setdefault(name.strip().lower(), value.strip())
    return found, place + len(text)


def _image(path: str, header: Mapping[str, str], start: int) -> _Image:
    kind = _TYPES.get(header.get("datatype", "").lower().replace("_", ""))
    if kind is None or header.get("compression", "none").lower() not in ("none", "nocompression"):
        raise NotUsidError(
            f"{path!r} has images of type {header.get('datatype')!r}, compression "
            f"{header.get('compression', 'none')!r}, which usidx does not read; convert it to TIFF"
        )
    dims = [int(header[f"dim_{n}"]) for n in range(1, 10) if f"dim_{n}" in header]
    order = ">" if header.get("byteorder", "LowByteFirst").lower().startswith("high") else "<"
    return _Image(start, tuple(reversed(dims)), np.dtype(order + kind), header)


def _told(header: Mapping[str, str]) -> dict[str, str]:
    """The header, with motors and counters by their own names."""
    told = dict(header)
    for kind in ("motor", "counter"):
        names = header.get(f"{kind}_mne", "").split()
        told.update(zip(names, header.get(f"{kind}_pos", "").split()))
    return told
