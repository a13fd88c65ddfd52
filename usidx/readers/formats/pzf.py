"""PYME's compressed frames (.pzf): a header, then the values, plain or by Huffman.

Values that were quantised by their square root come back as PYME gives them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from usidx.errors import DamagedStoreError, NotUsidError
from usidx.model.dimension import Array

MAGIC = b"BD"
HEADER = np.dtype(
    [
        ("id", "S2"), ("version", "u1"), ("format", "u1"), ("compression", "u1"),
        ("quantization", "u1"), ("order", "S1"), ("reserved", "S1"), ("sequence", "<i8"),
        ("frame", "<u4"), ("width", "<u4"), ("height", "<u4"), ("depth", "<u4"),
        ("timestamp", "<u8"), ("offset", "<f4"), ("scale", "<f4"), ("start", "<u4"),
        ("rest", "S12"),
    ]
)  # fmt: skip
_TYPES = {0: "u1", 1: "<u2", 2: "<f4"}
_PLAIN, _HUFFMAN, _CHUNKS = 0, 1, 2
# Versions 1 and 2 have a header without what comes behind "scale".
SHORTEST = 48


@dataclass(frozen=True)
class Head:
    """What the header of a frame says.

    Parameters
    ----------
    shape, dtype : of the frame; its first axis is PYME's x
    order : "C" or "F"
    compression, quantization : by the numbers of the format
    offset, scale : of quantised values
    start : bytes before the values
    sequence, frame : numbers that PYME gave the frame
    timestamp : of the camera, 0 where it has none
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    order: str
    compression: int
    quantization: int
    offset: float
    scale: float
    start: int
    sequence: int
    frame: int
    timestamp: int = 0


def head_of(raw: bytes, place: str) -> Head:
    """The header of a frame.

    Raises
    ------
    DamagedStoreError, NotUsidError : where there is none, or one of another kind
    """
    version = raw[2] if len(raw) > 2 else 0
    whole = HEADER.itemsize if version > 2 else SHORTEST
    if len(raw) < whole or not raw.startswith(MAGIC):
        raise DamagedStoreError(f"{place!r} is no whole frame of PYME: {len(raw)} bytes")
    told = np.frombuffer(raw[:whole].ljust(HEADER.itemsize, b"\0"), HEADER)[0]
    kind = int(told["format"])
    if kind not in _TYPES:
        raise NotUsidError(f"{place!r} has values of kind {kind}, known are {list(_TYPES)}")
    shape = tuple(int(told[name]) for name in ("width", "height", "depth"))
    start = int(told["start"]) if version > 2 else SHORTEST
    return Head(
        shape=shape[:2] if shape[2] <= 1 else shape,
        dtype=np.dtype(_TYPES[kind]),
        order="F" if told["order"] == b"F" and version > 1 else "C",
        compression=int(told["compression"]),
        quantization=int(told["quantization"]),
        offset=float(told["offset"]),
        scale=float(told["scale"]),
        start=start,
        sequence=int(told["sequence"]),
        frame=int(told["frame"]),
        timestamp=int(told["timestamp"]),
    )


def frame_of(raw: bytes, place: str) -> Array:
    """The values of a frame, shape and dtype as its header says.

    Raises
    ------
    DamagedStoreError, NotUsidError : where they cannot be decoded
    """
    head = head_of(raw, place)
    stored = np.dtype("u1") if head.quantization else head.dtype
    size = int(np.prod(head.shape, dtype=np.int64)) * stored.itemsize
    body = raw[head.start :]
    if head.compression == _HUFFMAN:
        body = _huffman(body, size, place)
    elif head.compression == _CHUNKS and not head.quantization:
        body = _chunked(body, size, place)
    elif head.compression != _PLAIN:
        raise NotUsidError(
            f"{place!r} is compressed in a way of PYME that usidx does not know "
            f"({head.compression}); save it there without compression"
        )
    if len(body) < size:
        raise DamagedStoreError(f"{place!r} is cut short: {len(body)} of {size} bytes of values")
    if len(body) > size and head.quantization:
        raise DamagedStoreError(
            f"{place!r} says that its values are quantised to {size} bytes, and has {len(body)}; "
            "PYME writes this for frames that it does not compress, without quantising them"
        )
    values: Array = np.frombuffer(body[:size], stored).reshape(head.shape, order=head.order)  # type: ignore[call-overload]
    if head.quantization:
        roots = values.astype(np.float32) * head.scale
        values = (roots * roots + head.offset).astype(head.dtype)
    return values.astype(head.dtype.newbyteorder("="))


def _chunked(data: bytes, size: int, place: str) -> bytes:
    """Chunks, each coded by itself.

    The length of one is told in bytes, or, of a frame of rows, in rows.
    """
    count = int.from_bytes(data[:2], "little")
    at, parts = 2, []
    for _ in range(count):
        coded, length = (int.from_bytes(data[at + n : at + n + 4], "little") for n in (0, 4))
        at += 8
        parts.append((data[at : at + coded], length))
        at += coded
    total = sum(length for _, length in parts)
    if at > len(data) or not total or size % total:
        raise DamagedStoreError(
            f"{place!r} is cut short, or its {count} chunks of {total} do not make {size} bytes"
        )
    return b"".join(_huffman(part, length * (size // total), place) for part, length in parts)


def _huffman(data: bytes, size: int, place: str) -> bytes:
    """Values coded by Huffman's method: the tree bit by bit, then the code of each byte."""
    bits = np.unpackbits(np.frombuffer(data, np.uint8)).tolist()
    try:
        tree, at = _tree(bits, 0, 0)
        out = bytearray(size)
        if isinstance(tree, int):
            return bytes([tree]) * size
        for number in range(size):
            node = tree
            while not isinstance(node, int):
                node = node[bits[at]]
                at += 1
            out[number] = node
    except (IndexError, RecursionError) as error:
        raise DamagedStoreError(f"the code of {place!r} ends too early, or is no code") from error
    return bytes(out)


def _tree(bits: list[int], at: int, depth: int) -> tuple[Any, int]:
    """(the tree whose description starts at a bit, where it ends): a byte, or a pair of trees."""
    if depth > 256:
        raise RecursionError
    if bits[at]:
        value = 0
        if at + 9 > len(bits):
            raise IndexError
        for bit in bits[at + 1 : at + 9]:
            value = 2 * value + bit
        return value, at + 9
    left, at = _tree(bits, at + 1, depth + 1)
    right, at = _tree(bits, at, depth + 1)
    return (left, right), at
