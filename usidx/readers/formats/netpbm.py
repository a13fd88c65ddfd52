"""Images of Netpbm (.pgm, .ppm, .pbm, .pnm): read where they lie, values as they are in the file.

Pillow stretches values to 16 bits, which these files need not have, so that it is not asked.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from usidx.errors import DamagedStoreError
from usidx.model.dimension import Array
from usidx.readers.base import Foreign, Reader, spectroscopic
from usidx.readers.raw import FileIdentity, LoadedArray, RawArray
from usidx.stores.base import BlockArray

# Kinds: bits, grey, colours; as text, and as bytes.
_BITS, _COLOURS, _TEXT = b"14", b"36", b"123"
_LONGEST = 2**16
_SPACE = rb"(?:\s|#[^\n]*\n)+"
_HEAD = re.compile(rb"P([1-6])" + _SPACE + rb"(\d+)" + _SPACE + rb"(\d+)")
_MOST = re.compile(_SPACE + rb"(\d+)")


@dataclass(frozen=True)
class _Head:
    """What the header of a file says: the digit of its kind, its shape, and where values begin."""

    kind: bytes
    shape: tuple[int, ...]
    most: int
    start: int

    @property
    def stored(self) -> np.dtype[Any]:
        return np.dtype("u1" if self.most < 256 else ">u2")

    @property
    def is_text(self) -> bool:
        return self.kind in _TEXT


def _head(path: str) -> _Head:
    with open(path, "rb") as file:
        head = file.read(_LONGEST)
    matched = _HEAD.match(head)
    most = None
    if matched is not None and matched[1] not in _BITS:
        most = _MOST.match(head, matched.end())
    if matched is None or (most is None and matched[1] not in _BITS):
        raise DamagedStoreError(f"the header of {path!r} has no end; it is cut short")
    kind, columns, rows = matched[1], int(matched[2]), int(matched[3])
    shape = (rows, columns, 3) if kind in _COLOURS else (rows, columns)
    highest = 1 if most is None else int(most[1])
    if not 0 < highest < 2**16 or not rows or not columns:
        raise DamagedStoreError(
            f"the header of {path!r} says {rows} x {columns} values up to {highest}"
        )
    # one blank, and no more, is between the header and values in bytes
    return _Head(kind, shape, highest, (matched if most is None else most).end() + 1)


def read(path: str) -> Sequence[Foreign]:
    """The image in a file; of several the first, and a file that has more is refused."""
    head, size = _head(path), os.path.getsize(path)
    whole = not head.is_text and head.kind not in _BITS
    array: BlockArray
    if whole:
        nbytes = head.start + int(np.prod(head.shape)) * head.stored.itemsize
        start = head.start + (size == nbytes + 1 and _has_two_blanks(path, head.start))
        array = RawArray(path, head.shape, head.stored, start)
        if size > nbytes + 1:
            raise DamagedStoreError(
                f"{path!r} has {size - nbytes} bytes behind its image; several images in one file "
                "are not read, split them first"
            )
    else:
        load = functools.partial(_loaded, path)
        dtype = head.stored.newbyteorder("=")
        array = LoadedArray(load, head.shape, dtype, (path, FileIdentity.of(path)))
    names = ("Y", "X", "channel")[: len(head.shape)]
    axes = tuple(spectroscopic(name, size=n) for name, n in zip(names, head.shape))
    name = os.path.splitext(os.path.basename(path))[0] or "image"
    attrs = {"maximum": head.most}
    chunks = None if whole else head.shape
    return [Foreign(name, array, axes, "Intensity", "", attrs, chunks)]


def _has_two_blanks(path: str, start: int) -> bool:
    """Whether a space and an end of line are before the values, as FabIO writes them."""
    with open(path, "rb") as file:
        file.seek(start - 1)
        return file.read(2) == b" \n"


def _loaded(path: str) -> Array:
    """The values of an image of text, or of bits, of which 1 is black.

    Raises
    ------
    DamagedStoreError : where there are less than the header says
    """
    head = _head(path)
    count = int(np.prod(head.shape))
    with open(path, "rb") as file:
        file.seek(head.start - (1 if head.is_text else 0))
        body = file.read()
    if head.kind == b"4":
        wide = -(-head.shape[1] // 8)
        if len(body) < wide * head.shape[0]:
            raise DamagedStoreError(f"{path!r} is cut short: {len(body)} bytes of bits")
        lines = np.frombuffer(body[: wide * head.shape[0]], np.uint8).reshape(head.shape[0], wide)
        return np.unpackbits(lines, axis=1)[:, : head.shape[1]]
    text = re.sub(rb"#[^\n]*", b" ", body)
    try:
        words = text.split()
        if head.kind == b"1":  # bits may stand side by side
            words = [bytes([each]) for word in words for each in word]
        found = np.array([int(each) for each in words])
    except ValueError as error:
        raise DamagedStoreError(f"{path!r} has something that is no number ({error})") from error
    # the last number may be cut short where nothing comes behind it
    is_whole = head.kind == b"1" or body[-1:].isspace()
    if found.size != count or not is_whole or found.max() > head.most or found.min() < 0:
        raise DamagedStoreError(
            f"{path!r} has {found.size} values of {count}, which are to be from 0 to {head.most}; "
            "it is cut short or damaged"
        )
    return found.astype(head.stored.newbyteorder("=")).reshape(head.shape)


READERS = (
    Reader(
        name="netpbm",
        title="Netpbm (.pgm, .ppm, .pbm, .pnm)",
        extensions=(".pgm", ".ppm", ".pbm", ".pnm"),
        claims=lambda path, head: _HEAD.match(head) is not None,
        read=read,
    ),
)
