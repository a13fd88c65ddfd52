"""EDF files, as synchrotrons write them, as frames of a stack."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import numpy as np

from usidx.errors import NotUsidError
from usidx.model.dimension import Array
from usidx.readers.formats.edf_headers import EdfImage, images, opened
from usidx.readers.frames import Frames


@contextlib.contextmanager
def edf_frames(path: str) -> Iterator[Frames]:
    """The images of an EDF file.

    Raises
    ------
    DamagedStoreError : where the file ends within a header or an image
    NotUsidError : for a compressed one, or images that differ in shape or dtype
    """
    with opened(path) as file:
        found = list(images(path, file))
        first = found[0]
        for number, each in enumerate(found):
            if (each.shape, each.dtype) != (first.shape, first.dtype):
                raise NotUsidError(
                    f"image {number} of {path!r} is {each.shape} {each.dtype}, the first is "
                    f"{first.shape} {first.dtype}; write them to files of their own"
                )
            if each.compression:
                raise NotUsidError(
                    f"image {number} of {path!r} is compressed, which is not stacked: open it with "
                    "usidx.open(...)"
                )

        def read(number: int) -> Array:
            image = found[number]
            file.seek(image.start)
            values = np.frombuffer(file.read(image.stop - image.start), image.dtype)
            return values.reshape(image.shape)

        native = first.dtype.newbyteorder("=")
        yield Frames(first.shape, native, len(found), read, lambda: _told(first))


def _told(image: EdfImage) -> Mapping[str, str]:
    """The header, with motors and counters by their own names."""
    told = dict(image.header)
    for name, text in image.header.items():
        told.setdefault(name.lower(), text)
    return {**told, **image.motors, **image.counters}
