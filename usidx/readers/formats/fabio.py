"""Files of X-ray detectors through FabIO: CBF, Esperanto, MarCCD, Fit2D, Bruker and others.

The header gives attributes. A frame is read when it is asked for, and no other.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from usidx.errors import DamagedStoreError, NotUsidError
from usidx.model.dimension import Array
from usidx.readers.base import Axis, Foreign, Reader, evenly_spaced, position, spectroscopic
from usidx.readers.closing import let_go
from usidx.readers.formats.edf_headers import number_of
from usidx.readers.hierarchies import plain
from usidx.readers.one_by_one import FrameArray
from usidx.readers.raw import FileIdentity, LoadedArray


@dataclass(frozen=True)
class Format:
    """A format of FabIO.

    Parameters
    ----------
    signature : the first bytes of its files
    extensions : of its files; they must be there where the signature says too little
    by_both : whether it does
    """

    signature: tuple[bytes, ...]
    extensions: tuple[str, ...]
    by_both: bool = False


FORMATS = (
    Format((b"###CBF",), (".cbf",)),
    Format((b"ESPERANTO FORMAT",), (".esperanto", ".eseperanto", ".esper")),
    Format((b"M\0\0\0A\0\0\0S\0\0\0K\0\0\0",), (".msk",)),
    Format((b"\\$FFF_START",), (".f2d",)),
    Format((b"FORMAT :",), (".sfrm", ".gfrm")),
    Format((b"{\nHEADER_BYTES", b"{\r\nHEADER_BYTES"), (".img",)),
    Format((b"OD SAPPHIRE",), (".img",)),
    Format((b"R-AXIS",), (".img", ".osc")),
    Format((b"ADEPT",), (".ge", ".ge1", ".ge2", ".ge3", ".ge4", ".ge5")),
    Format((b"\n\xb8\x03\0",), (".i0",)),
    Format((b"IM",), (".img",), True),
    Format((b"No",), (".kcd",), True),
    Format(
        (b"\xd2\x04\0\0", b"\0\0\x04\xd2"),
        tuple(f".mar{size}" for size in (1200, 1600, 1800, 2000, 2300, 2400, 3000, 3450)),
        True,
    ),
    Format((b"II*\0", b"MM\0*"), (".mccd",), True),
    Format((b"[", b"mpafmt"), (".mpa",), True),
    Format((b"<",), (".xsd",), True),
    # formats that begin with anything: numbers in text, and fields at fixed places
    Format((b"",), (".spr", ".spe"), True),
)
_PACKED = (b"\x1f\x8b", b"BZh")
_PACKED_ENDINGS = tuple(
    f"{ending}{how}" for each in FORMATS for ending in each.extensions for how in (".gz", ".bz2")
)
_ENDINGS = tuple(dict.fromkeys(ending for each in FORMATS for ending in each.extensions))
# Where the values of a CBF image begin, and what stands above them.
_CBF_START = b"\x0c\x1a\x04\xd5"
_CBF_FIELD = re.compile(rb"(X-Binary-Size|Content-MD5):\s*(\S+)")
_PIXEL = re.compile(r"[Pp]ixel_size\s*:?\s*([-+.\deE]+)\s*m\s*x\s*([-+.\deE]+)\s*m")
_LINE = re.compile(r"#?\s*([A-Za-z]\w*)\s*[:=]?\s+(\S.*)")


def read(path: str) -> Sequence[Foreign]:
    """The images in a file."""
    identity = FileIdentity.of(path)
    with _opened(path) as image:
        first = np.asarray(image.data)
        count = _count(image)
        told = _told(image.header)
    dtype = first.dtype.newbyteorder("=")
    token = (path, identity)
    axes = _signal(first.shape, told)
    if count > 1:
        frames = functools.partial(_frames, path, identity, dtype)
        array = FrameArray(frames, (count, *first.shape), dtype, token)
        chunks = (1, *first.shape)
        whole = position("frame", size=count), *axes
        return [Foreign("Raw_Data", array, whole, "Intensity", "counts", told, chunks)]
    load = functools.partial(_frame, path, identity, dtype)
    one = LoadedArray(load, first.shape, dtype, token)
    return [Foreign("Raw_Data", one, axes, "Intensity", "counts", told, first.shape)]


def _opened(path: str) -> Any:
    import fabio

    _check_cbf(path)
    if path.lower().endswith(".mpa"):
        _check_header_ends(path)
    try:
        image = _spe(path) if path.lower().endswith(".spe") else fabio.open(path)
    except Exception as error:
        let_go(error)
        raise
    if image.data is None:
        raise NotUsidError(f"FabIO cannot read the values of {path!r} ({type(image).__name__})")
    _check_size(path, image)
    return image


def _check_header_ends(path: str) -> None:
    """Nothing, where an MPA file has values: without, FabIO looks for them for ever."""
    with open(path, "rb") as file:
        if not any(line.startswith((b"[DATA", b"[CDAT")) for line in file):
            raise DamagedStoreError(f"{path!r} has no values; it is cut short")


def _spe(path: str, number: int = 0) -> Any:
    """A frame of an SPE file, which FabIO takes for another kind where it is not told."""
    from fabio.speimage import SpeImage

    return SpeImage().read(path, number)


def _count(image: Any) -> int:
    """How many frames there are; FabIO says 1 of every SPE file."""
    told = image.header.get("num_frames") if type(image).__name__ == "SpeImage" else image.nframes
    return max(1, int(told or 1))


def _getframe(path: str, image: Any, number: int) -> Any:
    if type(image).__name__ == "SpeImage":
        return _spe(path, number)
    return image.getframe(number) if number else image


def _check_size(path: str, image: Any) -> None:
    """Nothing, where a file is as long as its header says; of formats that have to be looked at.

    FabIO reads them from their end: of a file that is cut short the values would be others, or
    frames would be missing.
    """
    size, kind = os.path.getsize(path), type(image).__name__
    rows, columns = image.shape[-2:]
    if kind == "RaxisImage":
        needed = max(1400, int(image.header.get("Record Length") or 0)) + 2 * rows * columns
    elif kind == "KcdImage":
        depth = {"u16": 2, "u8": 1, "u32": 4}.get(str(image.header.get("Data type", "u16")), 2)
        times = int(image.header.get("Number of readouts", 1))
        needed = _length_of_text(path) + depth * times * rows * columns
    elif kind == "PixiImage":
        each = 24 + 2 * rows * columns
        needed = math.ceil(size / each) * each
    elif kind in ("Fit2dSpreadsheetImage", "MpaImage"):
        # the last number may be cut short where nothing comes behind it
        with open(path, "rb") as file:
            file.seek(-1, os.SEEK_END)
            needed = size if file.read(1).isspace() else size + 1
    else:
        return
    if size < needed:
        raise DamagedStoreError(
            f"{path!r} is cut short: {size} bytes, and its header needs {needed}"
        )


def _length_of_text(path: str) -> int:
    """Where the lines "name = value" at the beginning of a file end."""
    with open(path, "rb") as file:
        head = file.read(2**16)
    end = 0
    for line in head.splitlines(keepends=True):
        if (end and b"=" not in line) or len(line) > 100:
            break
        end += len(line)
    return end


def _check_cbf(path: str) -> None:
    """Nothing, where the values of a CBF file are all there and as its header says.

    FabIO reads values that its own check finds to be wrong.
    """
    with open(path, "rb") as file:
        if file.read(6) != b"###CBF":
            return
        file.seek(0)
        text = file.read()
    start = text.find(_CBF_START)
    if start < 0:
        raise DamagedStoreError(f"{path!r} has no values; it is cut short")
    fields = dict(_CBF_FIELD.findall(text[:start]))
    size = int(fields.get(b"X-Binary-Size", b"0"))
    values = text[start + len(_CBF_START) :][:size]
    if len(values) < size:
        raise DamagedStoreError(f"{path!r} has {len(values)} bytes of values of {size}")
    digest = base64.b64encode(hashlib.md5(values, usedforsecurity=False).digest())
    if fields.get(b"Content-MD5", digest) != digest:
        raise DamagedStoreError(f"the values of {path!r} are not those that its checksum is of")


def _frame(path: str, identity: FileIdentity, dtype: np.dtype[Any]) -> Array:
    return next(_frames(path, identity, dtype, (0,)))


def _frames(
    path: str, identity: FileIdentity, dtype: np.dtype[Any], numbers: Sequence[int]
) -> Iterator[Array]:
    """Frames by their numbers.

    Raises
    ------
    SourceChangedError : where the file is not what it was
    DamagedStoreError : where FabIO cannot read one, or gives other values than those of the first
    """
    identity.check(path)
    with _opened(path) as image:
        for number in numbers:
            try:
                values = np.asarray(_getframe(path, image, number).data)
            except Exception as error:  # whatever FabIO raises for what it cannot read
                let_go(error)
                raise DamagedStoreError(
                    f"frame {number} of {path!r} cannot be read ({type(error).__name__}: {error})"
                ) from error
            if values.dtype.newbyteorder("=") != dtype:
                raise DamagedStoreError(
                    f"frame {number} of {path!r} has values of {values.dtype}, the first of {dtype}"
                )
            yield values


def _told(header: Mapping[str, Any]) -> dict[str, Any]:
    """The header as attributes; lines within one text of it, as Pilatus writes them, too."""
    attrs: dict[str, Any] = {}
    for name, value in header.items():
        if not isinstance(value, str):
            found = plain(value)
            if found is not None:
                attrs[str(name)] = found
            continue
        attrs[str(name)] = number_of(value.strip())
        for line in value.splitlines() if "\n" in value else ():
            matched = _LINE.fullmatch(line.strip())
            if matched is not None:
                attrs.setdefault(matched[1], number_of(matched[2].strip()))
    return attrs


def _signal(shape: tuple[int, ...], told: Mapping[str, Any]) -> tuple[Axis, ...]:
    """Axes of an image; in metres where a Pilatus says the size of its pixels."""
    names = ("v", "u") if len(shape) == 2 else tuple(f"axis_{n}" for n in range(len(shape)))
    texts = [value for value in told.values() if isinstance(value, str)]
    matched = next(filter(None, map(_PIXEL.search, texts)), None)
    if matched is None or len(shape) != 2:
        return tuple(spectroscopic(name, size=size) for name, size in zip(names, shape))
    steps = float(matched[2]), float(matched[1])  # x, the faster one, comes first
    return tuple(
        spectroscopic(name, "m", evenly_spaced(size, step))
        for name, size, step in zip(names, shape, steps)
    )


def _claims(path: str, head: bytes) -> bool:
    lower = path.lower()
    if head.startswith(_PACKED):
        return lower.endswith(_PACKED_ENDINGS)
    return any(
        head.startswith(each.signature) and (not each.by_both or lower.endswith(each.extensions))
        for each in FORMATS
    )


READERS = (
    Reader(
        name="fabio",
        title="X-ray detectors through FabIO (.cbf, .esperanto, .mccd, .msk, ...)",
        extensions=(*_ENDINGS, ".cbf.gz", ".cbf.bz2"),
        claims=_claims,
        read=read,
        requires=("fabio",),
        extra="fabio",
    ),
)
