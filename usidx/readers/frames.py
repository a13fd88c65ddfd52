"""Files of images as frames: TIFF, pictures that Pillow reads, and NumPy's .npy, one by one.

Each is a context manager that takes a path and gives `Frames`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from usidx.errors import DamagedStoreError, NotUsidError
from usidx.model.dimension import Array
from usidx.readers import jpeg2000

# Modes of Pillow that are unpacked to others: indices into colours, and colours as JPEG has them.
_MODES = {"P": "RGB", "PA": "RGBA", "YCbCr": "RGB", "RGBX": "RGB"}


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


@contextlib.contextmanager
def tiff_frames(path: str) -> Iterator[Frames]:
    import tifffile

    with tifffile.TiffFile(path) as file:
        if not file.series:
            raise DamagedStoreError(f"{path!r} is a TIFF without an image; leave it out")
        series: Any = file.series[0]
        if file.is_imagej and series.kind in ("generic", "uniform"):
            # the library takes the pages that are left as what they are
            raise DamagedStoreError(
                f"{path!r} is too short for the images of ImageJ that it describes; write it again"
            )
        first: Any = series.keyframe
        shape, dtype = tuple(first.shape), np.dtype(first.dtype).newbyteorder("=")
        each = int(np.prod(shape))
        count = int(np.prod(series.shape)) // each if each else 0
        # colours that lie one after the other are channels of pixels like any others
        apart = len(shape) == 3 and str(first.axes).startswith("S")

        def read(number: int) -> Array:
            if len(series.pages) == count:
                values = series.pages[number].asarray(maxworkers=1)
            else:
                # ImageJ describes thousands of images by one page; they lie one after the other.
                handle = file.filehandle
                handle.seek(series.dataoffset + number * each * dtype.itemsize)
                values = handle.read_array(file.byteorder + dtype.char, each).reshape(shape)
            return np.moveaxis(values, 0, -1) if apart else np.asarray(values)

        if len(series.pages) != count and series.dataoffset is None:
            raise DamagedStoreError(
                f"{path!r} describes {count} images but has {len(series.pages)} pages; it may be "
                "written only in part"
            )
        own = (*shape[1:], shape[0]) if apart else shape
        yield Frames(own, dtype, count, read, lambda: tags(file))


def tags(file: Any) -> dict[str, Any]:
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
    return {**flattened_names(found), **told}


def flattened_names(nested: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Values of mappings within mappings, by names such as "above/below"."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping):
            flat.update(flattened_names(value, f"{above}{key}/"))
        else:
            flat[f"{above}{str(key).strip()}"] = value
    return flat


@contextlib.contextmanager
def picture_frames(path: str) -> Iterator[Frames]:
    from PIL import Image

    with contextlib.ExitStack() as stack:
        file = stack.enter_context(open(path, "rb"))
        step = _check_depth(path, file)
        file.seek(0)
        image = stack.enter_context(_picture(path, file))
        # what is behind the first picture of a camera is of other sizes
        count = 1 if image.format == "MPO" else int(getattr(image, "n_frames", 1))
        mode = _MODES.get(image.mode, image.mode)
        if image.format == "GIF" and count > 1:
            mode = "RGB"  # each frame has colours of its own
        known = {"1": "?", "L": "u1", "I;16": "<u2", "I;16B": ">u2", "I": "<i4", "F": "<f4"}
        channels = () if mode in known else (Image.getmodebands(mode),)
        shape = (image.height, image.width, *channels)
        dtype = np.dtype(known.get(mode, "u1")).newbyteorder("=")

        def read(number: int) -> Array:
            if count > 1:
                image.seek(number)
            shown = image if image.mode == mode else image.convert(mode)
            return np.asarray(shown) // step if step > 1 else np.asarray(shown)

        yield Frames(shape, dtype, count, read, lambda: _told(image))


def _picture(path: str, file: Any) -> Any:
    from PIL import Image

    try:
        return Image.open(file)
    except Image.DecompressionBombError as error:
        raise NotUsidError(
            f"{path!r} has more pixels than Pillow takes for harmless ({error}); where it is not "
            "made to fill the memory, set PIL.Image.MAX_IMAGE_PIXELS = None, or convert it to TIFF"
        ) from error


def _told(image: Any) -> dict[str, Any]:
    """What a picture says of itself, and what the camera said."""
    from PIL import ExifTags
    from PIL.TiffImagePlugin import IFDRational

    told = {str(key): each for key, each in image.info.items()}
    for code, value in image.getexif().items():
        name = ExifTags.TAGS.get(code, str(code))
        told[f"Exif.{name}"] = float(value) if isinstance(value, IFDRational) else value
    return told


def _check_depth(path: str, file: Any) -> int:
    """What Pillow multiplies values with that have fewer bits than its own; 1 for all others.

    Raises
    ------
    NotUsidError : where it would cut values to 8 bits without a word
    """
    file.seek(0)
    head = file.read(26)
    if head.startswith(jpeg2000.SIGNATURES):
        return jpeg2000.stretched_by(path, file)
    if not head.startswith(b"\x89PNG") or len(head) < 26:
        return 1
    depth, colour = head[24], head[25]
    if depth == 16 and colour != 0:
        raise NotUsidError(
            f"{path!r} is a PNG of 16 bits in colour, which Pillow cuts to 8 bits; convert it to "
            "TIFF, or to 16 bits grey"
        )
    return 255 // (2**depth - 1) if colour == 0 and depth in (2, 4) else 1


@contextlib.contextmanager
def numpy_frames(path: str) -> Iterator[Frames]:
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
