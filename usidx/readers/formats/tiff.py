"""TIFF files: plain, ImageJ, OME, BigTIFF, tiled, with levels, and those of other systems.

What a page has are spectroscopic axes (rows, columns, channels of colour); the axes along which
pages follow each other are positions. Values that lie in the file as they are, one page after the
other, are mapped; of other pages the tiles or strips are read that are asked for.
"""

from __future__ import annotations

import functools
import math
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from usidx.errors import DamagedStoreError, NotUsidError, OptionError
from usidx.model.dimension import Array
from usidx.readers.base import Axis, Foreign, Reader, position, spectroscopic
from usidx.readers.formats.tiff_microscopes import Scale
from usidx.readers.formats.tiff_pages import PagedArray, check_directories, reading
from usidx.readers.formats.tiff_scales import Told, told_by, with_metadata_beside
from usidx.readers.hierarchies import plain
from usidx.readers.raw import FileIdentity, LoadedArray, RawArray
from usidx.stores.base import BlockArray

_SIGNATURES = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_NAMES = {"Q": "frame", "I": "frame", "S": "channel"}
_BLOCK_BYTES = 8 * 2**20
_LONGEST = 32_768
_PALETTE = 3
_CAPTURE_MODE = 65441
_EXTENSIONS = (".tif", ".tiff", ".btf", ".tf8", ".lsm", ".stk", ".svs", ".scn")
# Tags that say how the values are stored, not what they are.
_STRUCTURE = frozenset(
    ("NewSubfileType", "SubfileType", "ImageWidth", "ImageLength", "BitsPerSample", "Compression")
    + ("StripOffsets", "StripByteCounts", "RowsPerStrip", "TileWidth", "TileLength", "TileOffsets")
    + ("TileByteCounts", "SampleFormat", "SamplesPerPixel", "PlanarConfiguration", "Predictor")
    + ("FillOrder", "SubIFDs", "JPEGTables", "ExtraSamples", "YCbCrSubSampling")
    + ("YCbCrPositioning", "ReferenceBlackWhite", "IJMetadata", "IJMetadataByteCounts")
    + ("InterColorProfile", "MinSampleValue", "MaxSampleValue")
)


def _claims(path: str, head: bytes) -> bool:
    return head.startswith(_SIGNATURES)


def read(
    path: str,
    *,
    level: int = 0,
    position: Sequence[str] | None = None,
    n_position: int | None = None,
) -> Sequence[Foreign]:
    """The images of a file, each with all its pages.

    Parameters
    ----------
    level : of a pyramid; 0 is the full one, further ones are coarser
    position : names of the axes that are positions; those along which pages follow when None
    n_position : how many of the axes, the first ones, are positions
    """
    import tifffile

    if position is not None and n_position is not None:
        raise OptionError("position and n_position say the same thing; give one of them")
    with reading(path), tifffile.TiffFile(path) as file:
        if not file.is_ndpi:
            check_directories(path)
        if not file.series:
            raise DamagedStoreError(f"{path!r} is a TIFF without an image")
        _check_planes(path, file)
        found = [
            _main(path, file, number, level, position, n_position)
            for number in range(len(file.series))
        ]
    return found


def _check_planes(path: str, file: Any) -> None:
    """Nothing, where a file has all that it describes.

    What is not there the library leaves out, or takes the pages that are left as what they are.

    Raises
    ------
    DamagedStoreError : where the planes that ImageJ describes are not there
    NotUsidError : where another file of a set describes them
    """
    kind = str(file.series[0].kind)
    if file.is_imagej and kind in ("generic", "uniform"):
        said = file.imagej_metadata or {}
        raise DamagedStoreError(
            f"{path!r} describes {said.get('images', 1)} images of ImageJ and is too short for "
            "them; it was cut short, or written only in part"
        )
    if not file.is_ome or kind == "ome":
        return
    named = re.search(r"<(?:\w+:)?BinaryOnly\s[^>]*MetadataFile=\"([^\"]+)\"", file.ome_metadata)
    beside = "" if named is None else os.path.join(os.path.dirname(path), named[1])
    if beside.lower().endswith(tuple(_EXTENSIONS)) and os.path.isfile(beside):
        raise NotUsidError(
            f"{path!r} holds planes of a set of OME-TIFF files that {beside!r} describes; open that"
        )


def _main(
    path: str,
    file: Any,
    number: int,
    level: int,
    position: Sequence[str] | None,
    n_position: int | None,
) -> Foreign:
    full: Any = file.series[number]
    if not isinstance(level, int) or not 0 <= level < len(full.levels):
        raise OptionError(
            f"level={level!r} is not in {path!r}, which has the levels 0 to {len(full.levels) - 1}"
        )
    series = full.levels[level]
    array, n_outer = _array(path, file, number, level)
    letters = str(series.axes)
    told = with_metadata_beside(told_by(file, number, letters), path)
    names, scales = _named(letters), _scales(letters, told, full.shape, series.shape)
    roles = [axis < n_outer for axis in range(len(letters))]
    if told.roles:
        names = [each[0] for each in told.roles]
        roles = [each[2] for each in told.roles]
    roles = _roles(path, names, roles, position, n_position)
    axes = [
        _axis(name, scale, size, is_position)
        for name, scale, size, is_position in zip(names, scales, array.shape, roles)
    ]
    name = f"Series_{number:03d}" if len(file.series) > 1 else _stem(path)
    return Foreign(
        name=name,
        array=array,
        axes=tuple(axes),
        quantity="Intensity",
        units=told.units,
        attrs={**_attrs(file, number), **_plain_ones(told.attrs)},
        chunks=_chunks(array, series.keyframe, n_outer),
    )


def _stem(path: str) -> str:
    return os.path.basename(path).partition(".")[0] or "image"


def _named(letters: str) -> list[str]:
    """Names of axes by the letters that tifffile gives them, numbered where they are not apart."""
    names = [_NAMES.get(each, each) for each in letters]
    return [f"{name}_{axis}" if names.count(name) > 1 else name for axis, name in enumerate(names)]


def _scales(
    letters: str, told: Told, full: Sequence[int], shape: Sequence[int]
) -> list[Scale | None]:
    """The scale of each axis, None where the file has none; of a coarser level where it is one."""
    if told.roles:
        return [each[1] for each in told.roles]
    found: list[Scale | None] = []
    for letter, whole, size in zip(letters, full, shape):
        scale = told.scales.get(letter)
        if whole != size:
            scale = (scale or Scale()).coarser(whole / size)
        found.append(scale)
    return found


def _axis(name: str, scale: Scale | None, size: int, is_position: bool) -> Axis:
    make = position if is_position else spectroscopic
    if scale is None:
        return make(name, size=size)
    return make(name, scale.units, scale.values(size))


def _roles(
    path: str,
    names: Sequence[str],
    roles: list[bool],
    position: Sequence[str] | None,
    n_position: int | None,
) -> list[bool]:
    """Of each axis whether it is a position: as asked, else as the file has it."""
    if n_position is not None:
        if not 0 <= n_position <= len(names):
            raise OptionError(
                f"n_position={n_position} is not between 0 and {len(names)}, the axes"
            )
        return [axis < n_position for axis in range(len(names))]
    if position is None:
        return roles
    asked = [position] if isinstance(position, str) else list(position)
    unknown = [each for each in asked if each not in names]
    if unknown:
        raise OptionError(
            f"position={asked!r}: {path!r} has no axis {unknown[0]!r}; it has {', '.join(names)}"
        )
    return [name in asked for name in names]


def _array(path: str, file: Any, number: int, level: int) -> tuple[BlockArray, int]:
    """(the values of a level of an image, how many axes come before those of a page)."""
    series = file.series[number].levels[level]
    shape, dtype = tuple(int(n) for n in series.shape), np.dtype(series.dtype)
    if dtype.kind not in "biufc":
        raise NotUsidError(f"{path!r} has values of {dtype}, which are no numbers")
    inner = tuple(int(n) for n in series.keyframe.shape)
    n_outer = len(shape) - len(inner)
    fits = n_outer >= 0 and shape[n_outer:] == inner
    if series.dataoffset is not None and dtype.itemsize:
        stored = dtype.newbyteorder(file.byteorder)
        return RawArray(path, shape, stored, int(series.dataoffset)), max(0, n_outer)
    pages = list(series.pages)
    outer = shape[:n_outer] if fits else ()
    if any(each is None for each in pages):
        missing = sum(each is None for each in pages)
        raise DamagedStoreError(
            f"{path!r} has no image for {missing} of the {len(pages)} planes that it describes; "
            "other files of the set are missing, or it was written only in part"
        )
    if not fits or len(pages) != math.prod(outer) or _is_mended(file):
        if fits and len(pages) < math.prod(outer):
            raise DamagedStoreError(
                f"{path!r} describes {math.prod(outer)} images and has {len(pages)} pages; it was "
                "written only in part"
            )
        load = functools.partial(_loaded, path, number, level)
        token = (path, FileIdentity.of(path), number, level)
        return LoadedArray(load, shape, dtype.newbyteorder("="), token), 0
    return _paged(path, pages, outer, inner, dtype), n_outer


def _is_mended(file: Any) -> bool:
    """Whether the library corrects what pages say of themselves when all of them are read.

    Zeiss writes sizes of strips before they were packed, and places that count from each 4 GiB on.
    """
    if file.is_lsm:
        return file.filehandle.size >= 2**32 or any(
            page.compression != 1 for page in (file.pages[0], file.pages[1])
        )
    return bool(file.is_ndpi) and (file.pages[0].tags.valueof(_CAPTURE_MODE) or 0) >= 6


def _paged(
    path: str, pages: list[Any], outer: tuple[int, ...], inner: tuple[int, ...], dtype: Any
) -> PagedArray:
    """Pages, which may be in several files of one folder."""
    where = [str(each.parent.filehandle.path) for each in pages]
    files = tuple(dict.fromkeys(where))
    folder = os.path.dirname(os.path.realpath(path))
    for each in files:
        if os.path.dirname(os.path.realpath(each)) != folder:
            raise NotUsidError(
                f"{path!r} refers to {each!r}, which is not in its folder; usidx does not follow it"
            )
    return PagedArray(
        files=files,
        identities=tuple(map(FileIdentity.of, files)),
        numbers=np.array([files.index(each) for each in where], np.int32).reshape(outer),
        offsets=np.array([each.offset for each in pages], np.int64).reshape(outer),
        inner=inner,
        dtype=np.dtype(dtype).newbyteorder("="),
    )


def _loaded(path: str, number: int, level: int) -> Array:
    import tifffile

    with reading(path), tifffile.TiffFile(path) as file:
        values: Array = file.series[number].levels[level].asarray(maxworkers=1)
        return values


def _chunks(array: BlockArray, page: Any, n_outer: int) -> tuple[int, ...] | None:
    """Blocks of whole tiles or strips, where a page is larger than what is quick to read."""
    if isinstance(array, LoadedArray):
        return array.shape
    inner = array.shape[n_outer:]
    if math.prod(inner) * array.dtype.itemsize <= _BLOCK_BYTES:
        return None
    wide = 0 if len(inner) < 2 or inner[-1] == page.imagewidth else 1
    rows = len(inner) - 2 - wide
    if rows < 0 or inner[rows] != page.imagelength or not page.is_tiled:
        strip = 1 if isinstance(array, RawArray) else max(1, page.rowsperstrip)
        return None if rows < 0 else _rows(array, n_outer + rows, strip)
    block = [1] * n_outer + [*inner]
    block[n_outer + rows] = min(inner[rows], page.tilelength)
    block[n_outer + rows + 1] = min(inner[rows + 1], page.tilewidth)
    for axis, tile in ((rows + 1, page.tilewidth), (rows, page.tilelength)):
        times = max(1, _BLOCK_BYTES // (math.prod(block) * array.dtype.itemsize))
        block[n_outer + axis] = min(inner[axis], tile * times)
    return tuple(block)


def _rows(array: BlockArray, axis: int, strip: int) -> tuple[int, ...]:
    """Blocks of whole strips."""
    block = [1] * axis + [strip, *array.shape[axis + 1 :]]
    times = max(1, _BLOCK_BYTES // (math.prod(block) * array.dtype.itemsize))
    block[axis] = min(array.shape[axis], strip * times)
    return tuple(block)


def _attrs(file: Any, number: int) -> dict[str, Any]:
    """What the tags of the first page of an image say, but for how it is stored."""
    tags: dict[str, Any] = {tag.name: tag.value for tag in file.series[number].keyframe.tags}
    if tags.get("PhotometricInterpretation") != _PALETTE or np.size(tags["ColorMap"]) > _LONGEST:
        tags.pop("ColorMap", None)
    if file.is_imagej or file.is_shaped:
        tags.pop("ImageDescription", None)
    elif file.is_ome:
        tags["ImageDescription"] = file.pages[0].description
    found: dict[str, Any] = {}
    for name, value in tags.items():
        if name not in _STRUCTURE:
            found.update(_plain_ones(dict(_leaves(str(name), value))))
    return found


def _leaves(name: str, value: Any) -> list[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        return [(name, value)]
    return [leaf for key, each in value.items() for leaf in _leaves(f"{name}.{key}", each)]


def _plain_ones(told: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers, short text, short lists of either, and arrays of numbers."""
    found = {}
    for name, value in told.items():
        if isinstance(value, int) and not isinstance(value, bool):
            value = int(value)  # of enumerations too
        items = value if isinstance(value, (list, tuple)) else ()
        if isinstance(value, bytes) or any(isinstance(each, (bytes, np.ndarray)) for each in items):
            continue  # drawings over the image, tables of how it is shown
        value = plain(value)
        is_long = isinstance(value, (str, list)) and len(value) > _LONGEST
        is_long |= isinstance(value, np.ndarray) and value.size > _LONGEST
        if value is None or is_long or (isinstance(value, list) and None in value):
            continue
        if isinstance(value, str):
            value = value.replace("\0", "").strip()
        if name.strip() and not (isinstance(value, str) and not value):
            found[name] = value
    return found


READERS = (
    Reader(
        name="tiff",
        title="TIFF (plain, ImageJ, OME, BigTIFF, pyramids)",
        extensions=_EXTENSIONS,
        claims=_claims,
        read=read,
    ),
)
