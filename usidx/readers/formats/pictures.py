"""Pictures that Pillow reads: rows and columns of an image, and its channels of colour."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from usidx.model.dimension import Array
from usidx.readers import jpeg2000
from usidx.readers.base import Foreign, Reader, position, spectroscopic
from usidx.readers.formats import netpbm
from usidx.readers.formats.tiff_pages import reading
from usidx.readers.frames import picture_frames
from usidx.readers.hierarchies import plain_attrs
from usidx.readers.raw import FileIdentity

_SIGNATURES = (
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff",
    b"GIF87a",
    b"GIF89a",
    *jpeg2000.SIGNATURES,
)
# Sizes of the header behind the first one of a bitmap.
_BITMAPS = (12, 40, 52, 56, 64, 108, 124)
_LONGEST = 4096


@dataclass(frozen=True, eq=False)
class PictureArray:
    """The frames of a picture; one is unpacked as a whole whenever a part of it is asked for.

    Parameters
    ----------
    path : of the file
    count : of its frames
    inner : shape of a frame
    dtype : of the values
    identity : of the file
    """

    path: str
    count: int
    inner: tuple[int, ...]
    dtype: np.dtype[Any]
    identity: FileIdentity

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.count, *self.inner) if self.count > 1 else self.inner

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __dask_tokenize__(self) -> Any:
        return "usidx.PictureArray", self.path, self.shape, self.dtype.str, self.identity

    def __getitem__(self, key: Any, /) -> Array:
        """The values that ints and slices select.

        Raises
        ------
        DamagedStoreError : where the file cannot be unpacked
        SourceChangedError, StoreNotFoundError : where it is not what it was
        """
        self.identity.check(self.path)
        parts = key if isinstance(key, tuple) else (key,)
        first, rest = (parts[:1], parts[1:]) if self.count > 1 else ((), parts)
        numbers = np.asarray(np.arange(self.count)[first] if first else np.asarray(0))
        with reading(self.path), picture_frames(self.path) as frames:
            found = [frames.read(int(number))[rest] for number in numbers.reshape(-1)]
            if not found:
                return np.empty((0, *np.empty(self.inner, self.dtype)[rest].shape), self.dtype)
        values = np.stack(found).astype(self.dtype, copy=False)
        return values.reshape(numbers.shape + values.shape[1:])


def _claims(path: str, head: bytes) -> bool:
    if head.startswith(b"BM"):
        return int.from_bytes(head[14:18], "little") in _BITMAPS and head[6:10] == bytes(4)
    return head.startswith(_SIGNATURES) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")


def read(path: str) -> Sequence[Foreign]:
    """The image in a file; several frames are positions."""
    identity = FileIdentity.of(path)
    with reading(path), picture_frames(path) as frames:
        array = PictureArray(path, frames.count, frames.shape, frames.dtype, identity)
        attrs = _attrs(frames.told())
    names = ("Y", "X", "channel")[: len(array.inner)]
    axes = [spectroscopic(name, size=size) for name, size in zip(names, array.inner)]
    if array.count > 1:
        axes.insert(0, position("frame", size=array.count))
    chunks = (1, *array.inner) if array.count > 1 else array.inner
    name = os.path.splitext(os.path.basename(path))[0] or "image"
    return [Foreign(name, array, tuple(axes), "Intensity", "", attrs, chunks)]


def _attrs(told: Mapping[str, Any]) -> dict[str, Any]:
    """What the file says of itself, in numbers and short text."""
    return {
        name: value
        for name, value in plain_attrs({k: v for k, v in told.items() if _is_short(v)}).items()
        if not isinstance(value, list) or None not in value
    }


def _is_short(value: Any) -> bool:
    if isinstance(value, bytes):
        return False
    return not isinstance(value, str) or len(value) <= _LONGEST


READERS = (
    *netpbm.READERS,
    Reader(
        name="picture",
        title="PNG, JPEG, JPEG 2000, GIF, BMP, WebP",
        extensions=(
            ".png",
            ".jpg",
            ".jpeg",
            ".jp2",
            ".j2k",
            ".j2c",
            ".jpx",
            ".gif",
            ".bmp",
            ".webp",
        ),
        claims=_claims,
        read=read,
        is_lazy=False,
    ),
)
