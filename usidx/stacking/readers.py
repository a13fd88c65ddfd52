"""Files as frames: what opens a file of one or more images, by what its first bytes say.

A reader is a callable that takes a path and gives `Frames`. `READERS` has them by name; the table
is all that the rest of the package knows of formats.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from usidx.errors import (
    DamagedStoreError,
    MissingDependencyError,
    NotUsidError,
    StoreNotFoundError,
    UsidError,
)
from usidx.model.dimension import Array


@dataclass(frozen=True)
class Frames:
    """An open file of frames, all of one shape and dtype.

    Parameters
    ----------
    shape, dtype : of one frame
    count : how many the file has
    read : number of a frame -> its values, valid while the file is open
    told : what the file says of itself by name, such as TIFF tags; read when asked for
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    count: int
    read: Callable[[int], Array]
    told: Callable[[], Mapping[str, Any]] = field(default=dict)

    @property
    def kind(self) -> tuple[tuple[int, ...], str, int]:
        """What all files of a stack have in common."""
        return self.shape, self.dtype.str, self.count


Reader = Callable[[str], AbstractContextManager[Frames]]


@contextlib.contextmanager
def opened(path: str, reader: str) -> Iterator[Frames]:
    """The frames of a file, closed in the end.

    Raises
    ------
    StoreNotFoundError : where the file is gone
    DamagedStoreError : where it cannot be read as what it says it is, naming it
    MissingDependencyError : where a library is missing that its format needs
    """
    try:
        with READERS[reader](path) as frames:
            yield frames
    except UsidError:
        raise
    except FileNotFoundError as error:
        raise StoreNotFoundError(f"the frame {path!r} is not there any more") from error
    except ImportError as error:
        raise MissingDependencyError(
            f"{path!r} is read with {error.name}; install it with: pip install {error.name}"
        ) from error
    # What libraries raise for damaged files is anything at all.
    except Exception as error:
        if "imagecodecs" in str(error):
            raise MissingDependencyError(
                f"{path!r} is compressed in a way that needs imagecodecs ({error}); install it "
                "with: pip install imagecodecs"
            ) from error
        raise DamagedStoreError(
            f"the frame {path!r} cannot be read ({type(error).__name__}: {error}); it may be "
            "written only in part. Leave it out, or write it again"
        ) from error


def reader_of(path: str) -> str:
    """The name of the reader for a file, by its first bytes.

    Raises
    ------
    NotUsidError : where it is of no kind that is known
    StoreNotFoundError : where there is no file
    """
    try:
        with open(path, "rb") as file:
            head = file.read(16)
    except FileNotFoundError as error:
        raise StoreNotFoundError(f"there is no file {path!r}") from error
    for start, name in _SIGNATURES.items():
        if head.startswith(start):
            return name
    if head.lstrip()[:1] == b"{" and ending_of(path) == ".edf":
        return "edf"
    if _is_foreign(path):
        return "foreign"
    raise NotUsidError(
        f"{path!r} is no image that usidx stacks (it starts with {head[:8]!r}); it reads "
        f"{', '.join(ENDINGS)}"
    )


def ending_of(name: str) -> str:
    """The ending of a name in small letters, one for all spellings of a format."""
    ending = name[name.rfind(".") :].lower() if "." in name else ""
    return _SPELLINGS.get(ending, ending)


def is_known(name: str) -> bool:
    """Whether a file is a frame by its name."""
    return ending_of(name) in ENDINGS


@contextlib.contextmanager
def _tiff(path: str) -> Iterator[Frames]:
    import tifffile

    with tifffile.TiffFile(path) as file:
        if not file.series:
            raise DamagedStoreError(f"{path!r} is a TIFF without an image; leave it out")
        series: Any = file.series[0]
        first: Any = series.keyframe
        shape, dtype = tuple(first.shape), np.dtype(first.dtype).newbyteorder("=")
        each = int(np.prod(shape))
        count = int(np.prod(series.shape)) // each if each else 0

        def read(number: int) -> Array:
            if len(series.pages) == count:
                values = series.pages[number].asarray(maxworkers=1)
            else:
                # ImageJ describes thousands of images by one page; they lie one after the other.
                handle = file.filehandle
                handle.seek(series.dataoffset + number * each * dtype.itemsize)
                values = handle.read_array(file.byteorder + dtype.char, each).reshape(shape)
            return np.asarray(values)

        if len(series.pages) != count and series.dataoffset is None:
            raise DamagedStoreError(
                f"{path!r} describes {count} images but has {len(series.pages)} pages; it may be "
                "written only in part"
            )
        yield Frames(shape, dtype, count, read, lambda: _tags(file))


def _tags(file: Any) -> dict[str, Any]:
    """Tags of the first page by their names, and what is in its description as "name/key"."""
    import json

    told = {tag.name: tag.value for tag in file.pages[0].tags}
    text = str(told.get("ImageDescription", "")).strip()
    found: Any = file.imagej_metadata or file.shaped_metadata and file.shaped_metadata[0]
    if not found and text.startswith("{"):
        with contextlib.suppress(ValueError):
            found = json.loads(text)
    if not found:
        found = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    return {**_flat(found), **told}


def _flat(nested: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{above}{key}/"))
        else:
            flat[f"{above}{str(key).strip()}"] = value
    return flat


@contextlib.contextmanager
def _picture(path: str) -> Iterator[Frames]:
    from PIL import Image

    with open(path, "rb") as file, Image.open(file) as image:
        _check_depth(path, file)
        file.seek(0)
        mode = {"P": "RGB", "CMYK": "CMYK", "YCbCr": "RGB"}.get(image.mode, image.mode)
        known = {"1": "?", "L": "u1", "I;16": "<u2", "I;16B": ">u2", "I": "<i4", "F": "<f4"}
        channels = len(image.getbands()) if mode == image.mode else 3
        shape = (image.height, image.width) + ((channels,) if mode not in known else ())
        dtype = np.dtype(known.get(mode, "u1")).newbyteorder("=")
        count = int(getattr(image, "n_frames", 1))

        def read(number: int) -> Array:
            if count > 1:
                image.seek(number)
            shown = image if image.mode == mode else image.convert(mode)
            return np.asarray(shown)

        yield Frames(
            shape, dtype, count, read, lambda: {str(key): each for key, each in image.info.items()}
        )


def _check_depth(path: str, file: Any) -> None:
    """Refuse what the library would cut to 8 bits without a word."""
    file.seek(0)
    head = file.read(26)
    if head.startswith(b"\x89PNG") and head[24] == 16 and head[25] != 0:
        raise NotUsidError(
            f"{path!r} is a PNG of 16 bits in colour, which Pillow cuts to 8 bits; convert it to "
            "TIFF, or to 16 bits grey"
        )


@contextlib.contextmanager
def _numpy(path: str) -> Iterator[Frames]:
    with open(path, "rb") as file:
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0
        if version >= (2, 0):
            header = np.lib.format.read_array_header_2_0
        whole, fortran, dtype = header(file)
        start = file.tell()
        if dtype.kind not in "biufc":
            raise NotUsidError(f"{path!r} holds values of {dtype}, which are no image")
        shape = whole[-2:]
        count = int(np.prod(whole[:-2], dtype=int))
        if fortran and count != 1:
            raise NotUsidError(
                f"{path!r} holds {count} images in Fortran order; save it in C order"
            )
        each = int(np.prod(shape, dtype=int))

        def read(number: int) -> Array:
            file.seek(start + number * each * dtype.itemsize)
            values = np.fromfile(file, dtype, each)
            return values.reshape(shape[::-1]).T if fortran else values.reshape(shape)

        size = os.fstat(file.fileno()).st_size
        if size < start + count * each * dtype.itemsize:
            raise DamagedStoreError(
                f"the frame {path!r} is cut short: {size} bytes where its header needs "
                f"{start + count * each * dtype.itemsize}; write it again"
            )
        yield Frames(shape, dtype.newbyteorder("="), count, read)


def _edf(path: str) -> AbstractContextManager[Frames]:
    from usidx.stacking.edf import edf_frames

    return edf_frames(path)


def _foreign(path: str) -> AbstractContextManager[Frames]:
    from usidx.stacking.foreign import foreign_frames

    return foreign_frames(path)


def _is_foreign(path: str) -> bool:
    """Whether `usidx.open` reads a file, with what is installed or could be."""
    from usidx.readers import store_of

    try:
        store_of(path)
    except NotUsidError:
        return False
    return True


READERS: dict[str, Reader] = {
    "tiff": _tiff,
    "picture": _picture,
    "npy": _numpy,
    "edf": _edf,
    "foreign": _foreign,
}
_SPELLINGS = {".tiff": ".tif", ".jpeg": ".jpg"}
ENDINGS = (".tif", ".png", ".jpg", ".npy", ".edf", ".dm3", ".dm4", ".mib", ".mrc", ".ser", ".ndata")
_SIGNATURES = {
    b"II*\x00": "tiff",
    b"MM\x00*": "tiff",
    b"II+\x00": "tiff",
    b"MM\x00+": "tiff",
    b"\x89PNG": "picture",
    b"\xff\xd8\xff": "picture",
    b"\x93NUMPY": "npy",
}
