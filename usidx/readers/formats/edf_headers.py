"""Headers of EDF files (ESRF): texts in braces before each image, and what they say."""

from __future__ import annotations

import bz2
import gzip
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from usidx.errors import DamagedStoreError, NotUsidError
from usidx.model.dimension import Array

_BLOCK = 512
_LONGEST = 2**20
_BLANK = " \t\r\n\0"
_END = re.compile(rb"\}\r?\n")
GZIP, BZIP2 = b"\x1f\x8b", b"BZh"
# Names of `DataType` in small letters; "Long" has 32 bits whatever the machine.
_TYPES = {
    "signedbyte": "i1",
    "signed8": "i1",
    "unsignedbyte": "u1",
    "unsigned8": "u1",
    "signedshort": "i2",
    "signed16": "i2",
    "unsignedshort": "u2",
    "unsigned16": "u2",
    "unsignedshortinteger": "u2",
    "signedinteger": "i4",
    "signed32": "i4",
    "unsignedinteger": "u4",
    "unsigned32": "u4",
    "signedlong": "i4",
    "unsignedlong": "u4",
    "signed64": "i8",
    "unsigned64": "u8",
    "float": "f4",
    "floatvalue": "f4",
    "floatieee32": "f4",
    "float32": "f4",
    "real": "f4",
    "double": "f8",
    "doublevalue": "f8",
    "floatieee64": "f8",
    "doubleieee64": "f8",
}
# Keys that say how the values lie in the file, and nothing of what they are.
_STRUCTURE = re.compile(
    r"edf_.*|headerid|byteorder|datatype|dim_\d|size|compression|(motor|counter)_(mne|pos)"
)
# Keys of a block that is no image, which say nothing of the images behind it.
_ITS_OWN = re.compile(r"(?i)edf_.*|size|image|headerid")
_NUMBER = re.compile(r"[-+]?(0|[1-9]\d*)?(\.\d*)?([eE][-+]?\d+)?")


@dataclass(frozen=True)
class EdfImage:
    """Where an image lies in a file, and what its header says.

    Parameters
    ----------
    start, stop : bytes of its values
    shape, dtype : of the image, slowest axis first
    compression : "", "gzip" or "zlib", of this image alone
    header : the texts by their names
    beside : path of the file that has the values, "" where they follow the header
    """

    start: int
    stop: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    compression: str
    header: Mapping[str, str]
    beside: str = ""

    @property
    def stream(self) -> str:
        """What it is an image of, "Image.Psd" and the like; "" where nothing says it."""
        return said(self.header, "EDF_DataBlockID").partition(".")[2]

    @property
    def motors(self) -> dict[str, str]:
        """Positions of motors by their names."""
        return _pairs(self.header, "motor")

    @property
    def counters(self) -> dict[str, str]:
        """Values of counters by their names."""
        return _pairs(self.header, "counter")

    @property
    def others(self) -> dict[str, str]:
        """Everything in the header that is no motor or counter, nor of the format itself."""
        kept = {
            kind
            for kind in ("motor", "counter")
            if said(self.header, f"{kind}_mne") and not _pairs(self.header, kind)
        }
        return {
            name: text
            for name, text in self.header.items()
            if not _STRUCTURE.fullmatch(name.lower()) or name.lower().partition("_")[0] in kept
        }


def said(header: Mapping[str, str], name: str) -> str:
    """The text of a name in any letters, "" where the header has it not."""
    lower = name.lower()
    return next((text for key, text in header.items() if key.lower() == lower), "")


def _pairs(header: Mapping[str, str], kind: str) -> dict[str, str]:
    """Names and values of motors or counters; none where there are more of one than of the other,
    which says that a name has a blank in it."""
    names, values = said(header, f"{kind}_mne").split(), said(header, f"{kind}_pos").split()
    return dict(zip(names, values)) if len(names) == len(values) else {}


def number_of(text: str) -> float | int | str:
    """A text as the number that it is, or as it is: "0012" is a name.

    Examples
    --------
    >>> number_of("2"), number_of("1e-3"), number_of("0012")
    (2, 0.001, '0012')
    """
    if not _NUMBER.fullmatch(text) or not any(each.isdigit() for each in text):
        return text
    plain = text.lstrip("+-").isdigit()
    return int(text) if plain else float(text)


def is_packed(path: str) -> bool:
    """Whether a whole file is compressed."""
    with open(path, "rb") as file:
        return file.read(3).startswith((GZIP, BZIP2))


def opened(path: str) -> IO[bytes] | gzip.GzipFile:
    """An EDF file for reading, unpacked where the whole file is compressed."""
    with open(path, "rb") as file:
        head = file.read(3)
    if head.startswith(GZIP):
        return gzip.open(path, "rb")
    if head.startswith(BZIP2):
        return bz2.open(path, "rb")
    return open(path, "rb")


def images(path: str, file: IO[bytes] | gzip.GzipFile) -> Iterator[EdfImage]:
    """Every image of an open file.

    Raises
    ------
    DamagedStoreError : where the file ends within a header or an image
    NotUsidError : for values of a type that is not read
    """
    place, count = 0, 0
    general: dict[str, str] = {}
    while True:
        file.seek(place)
        found = _header(path, file, place)
        if found is None:
            break
        header, start = found
        if said(header, "EDF_DataFormatVersion"):  # a block that is no image, of use to all
            general = {key: text for key, text in header.items() if not _ITS_OWN.fullmatch(key)}
            place = start + _size(header)
            continue
        image = _image(path, {**general, **header}, start)
        if image.beside:
            yield image
            count += 1
            place = start + _size(header)
            continue
        file.seek(image.stop - 1)
        if image.stop > start and not file.read(1):
            file.seek(0, 2)
            raise DamagedStoreError(
                f"{path!r} is cut short: {file.tell()} bytes where its header needs {image.stop}; "
                "it may be written only in part"
            )
        yield image
        count += 1
        # What a header says of the size of its image may include a filling.
        place = max(image.stop, start + _size(header))
    if not count:
        raise DamagedStoreError(f"{path!r} has no image; it is cut short, or no EDF")


def _header(
    path: str, file: IO[bytes] | gzip.GzipFile, place: int
) -> tuple[dict[str, str], int] | None:
    """(texts by their names, where the image starts); None at the end of the file."""
    text = b""
    while True:
        block = file.read(_BLOCK)
        text += block
        end = _END.search(text)
        if end is not None:
            length = end.end()
            break
        if text.endswith(b"}") and text[:-1].rstrip().endswith((b";", b"{")):
            # the end of the line, if there is one, is in the next block
            after = file.read(2)
            length = len(text) + (2 if after == b"\r\n" else after.startswith(b"\n"))
            break
        if not text.strip(b" \r\n\0"):
            if len(block) < _BLOCK:
                return None
        if len(block) < _BLOCK or len(text) > _LONGEST:
            raise DamagedStoreError(
                f"the header at byte {place} of {path!r} has no end; the file is damaged, cut "
                "short, or no EDF"
            )
    inside = text[:length].decode("latin-1").strip()
    if not inside.startswith("{"):
        raise DamagedStoreError(f"at byte {place} of {path!r} there is no header of an EDF image")
    found: dict[str, str] = {}
    for line in inside.strip("{}").split(";"):
        name, equals, value = line.partition("=")
        if equals:
            found[name.strip(_BLANK)] = value.strip(_BLANK)
    whole = said(found, "EDF_HeaderSize")
    return found, place + max(length, int(whole) if whole.isdigit() else 0)


def _image(path: str, header: Mapping[str, str], start: int) -> EdfImage:
    kind = _TYPES.get(said(header, "DataType").lower().replace("_", ""))
    how = said(header, "Compression").lower().removesuffix("compression").strip("_ ")
    how = "" if how.startswith("no") else how
    known = {"": "", "gzip": "gzip", "z": "zlib"}
    if kind is None or how not in known:
        raise NotUsidError(
            f"{path!r} has images of type {said(header, 'DataType')!r}, compression "
            f"{said(header, 'Compression') or 'none'!r}, which usidx does not read; try "
            "reader='fabio', or convert it to TIFF"
        )
    dims = [int(said(header, f"Dim_{n}")) for n in range(1, 10) if said(header, f"Dim_{n}")]
    if not dims or min(dims) < 1:
        raise DamagedStoreError(f"a header of {path!r} says no size (Dim_1, Dim_2): {dims}")
    order = ">" if said(header, "ByteOrder").lower().startswith("high") else "<"
    dtype = np.dtype(order + kind)
    size = math.prod(dims) * dtype.itemsize
    beside = ""
    if said(header, "EDF_BinaryFileName"):
        beside, start, there = _beside(path, header)
        size = there if known[how] else size
        if os.path.getsize(beside) < start + size or there < size:
            raise DamagedStoreError(
                f"{beside!r} has {min(there, os.path.getsize(beside) - start)} bytes of the image "
                f"that the header in {path!r} is of, and {size} are needed"
            )
    elif known[how]:
        size = _size(header)
    shape = tuple(reversed(dims))
    return EdfImage(start, start + size, shape, dtype, known[how], dict(header), beside)


def _beside(path: str, header: Mapping[str, str]) -> tuple[str, int, int]:
    """(file beside this one that has the values of an image, where they start, how many bytes).

    A folder in its name is left out, as FabIO does: nothing is read from elsewhere.
    """
    name = re.split(r"[/\\]", said(header, "EDF_BinaryFileName"))[-1]
    found = os.path.join(os.path.dirname(path), name)
    if not name or not os.path.isfile(found):
        raise DamagedStoreError(
            f"the values of an image of {path!r} are in a file {name!r}, which is not beside it; "
            "copy it there"
        )
    start, size = (said(header, f"EDF_BinaryFile{each}") for each in ("Position", "Size"))
    start_at = int(start) if start.isdigit() else 0
    return found, start_at, int(size) if size.isdigit() else os.path.getsize(found) - start_at


def _size(header: Mapping[str, str]) -> int:
    """Bytes of the values, with what fills them up, as the header says it; 0 where it does not."""
    text = said(header, "EDF_BinarySize") or said(header, "Size")
    return int(text) if text.isdigit() else 0


def along(texts: Sequence[str | None]) -> Array | None:
    """Texts as numbers, NaN for None; None where one is no number."""
    none = (None, "nan", "NaN")
    numbers = [np.nan if each in none else number_of(str(each)) for each in texts]
    if any(isinstance(each, str) for each in numbers):
        return None
    return np.asarray(numbers)
