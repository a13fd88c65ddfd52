"""EDF files, as the ESRF and other synchrotrons write them: an image, or many, with motors.

The frames of a file are along one axis of positions. Motors, counters and other numbers of the
headers are coordinates of it where they vary, else attributes. A file that is compressed as a whole
(.edf.gz, .edf.bz2) is one block.
"""

from __future__ import annotations

import functools
import math
import re
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from usidx.errors import DamagedStoreError
from usidx.model.dimension import Array
from usidx.model.layout import Coordinate
from usidx.readers.base import Axis, Foreign, Reader, evenly_spaced, position, spectroscopic
from usidx.readers.formats.edf_headers import (
    BZIP2,
    GZIP,
    EdfImage,
    along,
    images,
    is_packed,
    number_of,
    opened,
    said,
)
from usidx.readers.one_by_one import FrameArray
from usidx.readers.raw import FileIdentity, LoadedArray, RawArray
from usidx.stores.base import BlockArray

_NAMES = {1: ("channel",), 2: ("v", "u"), 3: ("w", "v", "u")}
# start and stop in the file (unpacked), dtype, compression
_Place = tuple[int, int, str, str]
_KEYS = re.compile(rb"(?i)[{;\s](edf_\w+|dim_1)\s*=")
_METRES = re.compile(r"([-+.\deE]+?)(?:[_ ]*m)?")
_ENDINGS = (".edf", ".edf.gz", ".edf.bz2", ".ehf")


def read(path: str) -> Sequence[Foreign]:
    """The images in a file; those that differ in shape, dtype or kind are Mains of their own.

    So are those whose values are in another file than the header.
    """
    identity = FileIdentity.of(path)
    with opened(path) as file:
        found = list(images(path, file))
    kinds: dict[Any, list[int]] = {}
    for number, each in enumerate(found):
        kind = each.stream, each.shape, each.dtype.newbyteorder("="), each.beside
        kinds.setdefault(kind, []).append(number)
    mains: list[Foreign] = []
    for numbers in kinds.values():
        name = f"Raw_Data_{len(mains)}" if mains else "Raw_Data"
        mains.append(_main(path, name, numbers, [found[n] for n in numbers], identity))
    return mains


def _main(
    path: str,
    name: str,
    numbers: Sequence[int],
    found: Sequence[EdfImage],
    identity: FileIdentity,
) -> Foreign:
    attrs, coordinates = _told(found)
    beside = found[0].beside
    packed = not beside and is_packed(path)
    whose = (beside, FileIdentity.of(beside)) if beside else (path, identity)
    array = _array(whose, found, packed)
    axes = _signal(found)
    if len(found) > 1:
        axes = (position("frame", values=np.asarray(numbers)), *axes)
    # as usidx writes them; other headers say "units" of anything
    both = {"quantity", "units"} <= set(attrs)
    quantity, units = ("quantity", "units") if both else ("", "")
    return Foreign(
        name,
        array,
        axes,
        str(attrs.pop(quantity, "Intensity")),
        str(attrs.pop(units, "counts")),
        attrs,
        chunks=tuple(array.shape) if packed else None,
        coordinates=coordinates,
        identity=str((identity, *whose)) if beside else "",
    )


def _array(whose: tuple[str, FileIdentity], found: Sequence[EdfImage], packed: bool) -> BlockArray:
    """The values of images of one shape; of a single one without an axis for frames."""
    path, identity = whose
    first = found[0]
    plain = not packed and not any(each.compression for each in found)
    starts = np.array([each.start for each in found])
    steps = set(np.diff(starts).tolist())
    if plain and len(found) == 1:
        return RawArray(path, first.shape, first.dtype, first.start, identity=identity)
    if plain and len(steps) == 1 and len({each.dtype for each in found}) == 1:
        inner = np.cumprod((1, *first.shape[:0:-1]), dtype=np.int64)[::-1] * first.dtype.itemsize
        strides = (steps.pop(), *map(int, inner))
        shape = (len(found), *first.shape)
        return RawArray(path, shape, first.dtype, first.start, strides, identity)
    places = tuple((each.start, each.stop, each.dtype.str, each.compression) for each in found)
    dtype, token = first.dtype.newbyteorder("="), (path, identity, places)
    if len(found) == 1:
        load = functools.partial(_frame, whose, packed, first.shape, places[0])
        return LoadedArray(load, first.shape, dtype, token)
    frames = functools.partial(_frames, whose, packed, first.shape, places)
    return FrameArray(frames, (len(found), *first.shape), dtype, token)


def _frame(
    whose: tuple[str, FileIdentity], packed: bool, shape: tuple[int, ...], place: _Place
) -> Array:
    return next(_frames(whose, packed, shape, (place,), (0,)))


def _frames(
    whose: tuple[str, FileIdentity],
    packed: bool,
    shape: tuple[int, ...],
    places: Sequence[_Place],
    numbers: Sequence[int],
) -> Iterator[Array]:
    """Images of a file by their numbers; the file is unpacked once for all of them.

    Raises
    ------
    SourceChangedError : where the file is not what it was
    DamagedStoreError : where an image cannot be unpacked
    """
    path, identity = whose
    identity.check(path)
    size = math.prod(shape)
    with opened(path) if packed else open(path, "rb") as file:
        for number in numbers:
            start, stop, kind, compression = places[number]
            dtype = np.dtype(kind)
            wanted = size * dtype.itemsize
            try:
                file.seek(start)
                raw = file.read(stop - start)
                if compression:
                    # 32 more: with the header of gzip or of zlib, whichever is there
                    raw = zlib.decompressobj(zlib.MAX_WBITS + 32).decompress(raw, wanted)
            except (OSError, EOFError, zlib.error) as error:
                raise DamagedStoreError(
                    f"image {number} of {path!r} is damaged: {error}"
                ) from error
            if len(raw) != wanted:
                raise DamagedStoreError(
                    f"image {number} of {path!r} has {len(raw)} bytes, and shape {shape} of "
                    f"{dtype} needs {wanted}"
                )
            yield np.frombuffer(raw, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def _signal(found: Sequence[EdfImage]) -> tuple[Axis, ...]:
    """Axes of an image, in metres where the header says the size of a pixel as `PSize_n`."""
    shape = found[0].shape
    names = _NAMES.get(len(shape)) or tuple(f"axis_{n}" for n in range(len(shape), 0, -1))
    axes = []
    for place, (name, size) in enumerate(zip(names, shape)):
        texts = {said(each.header, f"PSize_{len(shape) - place}") for each in found}
        matched = _METRES.fullmatch(texts.pop()) if len(texts) == 1 else None
        step = number_of(matched[1]) if matched else 0
        if isinstance(step, str) or not step > 0:
            axes.append(spectroscopic(name, size=size))
        else:
            axes.append(spectroscopic(name, "m", evenly_spaced(size, float(step))))
    return tuple(axes)


def _told(found: Sequence[EdfImage]) -> tuple[dict[str, Any], tuple[Coordinate, ...]]:
    """(what is the same in all headers, and texts that vary; numbers that vary along the frames)"""
    attrs: dict[str, Any] = {}
    coordinates: dict[str, Array] = {}
    for kind in ("motors", "counters", "others"):
        rows: list[dict[str, str]] = [getattr(each, kind) for each in found]
        prefix = "" if kind == "others" else f"{kind}."
        for name in dict.fromkeys(name for row in rows for name in row):
            texts = [row.get(name) for row in rows]
            values = along(texts)
            if len(set(texts)) == 1:
                attrs[prefix + name] = number_of(str(texts[0]))
            elif values is None:
                attrs[prefix + name] = [text or "" for text in texts]
            elif name != "Image" or len(set(np.diff(values).tolist())) > 1:
                own = name.replace("/", "_")
                taken = own in coordinates or own in ("frame", "channel", "u", "v", "w")
                coordinates[f"{kind[:-1]}_{own}" if taken else own] = values
    return attrs, tuple(
        Coordinate(name, "", ("frame",), values) for name, values in coordinates.items()
    )


def _claims(path: str, head: bytes) -> bool:
    if head.startswith((GZIP, BZIP2)):
        if not path.lower().endswith(_ENDINGS):
            return False
        try:
            with opened(path) as file:
                head = file.read(4096)
        except (OSError, EOFError, zlib.error):
            return True  # its ending says what it was, and reading it that it is damaged
    start = head.lstrip()
    return start.startswith(b"{") and _KEYS.search(start) is not None


READERS = (
    Reader(
        name="edf",
        title="ESRF data format, FabIO (.edf, .edf.gz, .edf.bz2)",
        extensions=_ENDINGS,
        claims=_claims,
        read=read,
    ),
)
