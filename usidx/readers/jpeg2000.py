"""What JPEG 2000 says of its values: Pillow stretches those of 12 bits, and cuts deep colours."""

from __future__ import annotations

from typing import Any

from usidx.errors import DamagedStoreError, MissingDependencyError, NotUsidError

BOXES, CODE = b"\x00\x00\x00\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"
SIGNATURES = (BOXES, CODE)
_SIZES, _PER_COMPONENT = 42, 3


def stretched_by(path: str, file: Any) -> int:
    """What Pillow multiplies the values of an image with: 1 for those of 8 and 16 bits.

    Parameters
    ----------
    path, file : of the image, and it opened for reading

    Raises
    ------
    NotUsidError : where Pillow would change values
    MissingDependencyError : where Pillow was built without JPEG 2000
    DamagedStoreError : where the file ends before it says
    """
    from PIL import features

    if not features.check("jpg_2000"):
        raise MissingDependencyError(
            f"{path!r} is an image in JPEG 2000, which this Pillow was built without; install one "
            "with it: pip install --force-reinstall pillow"
        )
    depths = _depths(path, file)
    deepest = max(depths)
    has_colours = len(depths) > 1
    if len(set(depths)) > 1 or not 0 < deepest <= (8 if has_colours else 16):
        raise NotUsidError(
            f"{path!r} is an image in JPEG 2000 with {len(depths)} components of "
            f"{', '.join(map(str, depths))} bits (negative: signed), which Pillow would change; "
            "convert it to TIFF"
        )
    return int(2 ** ((8 if deepest <= 8 else 16) - deepest))


def _depths(path: str, file: Any) -> list[int]:
    """Bits of the values of each component, negative where they are signed."""
    file.seek(_code(path, file))
    head = file.read(_SIZES)
    count = int.from_bytes(head[_SIZES - 2 :], "big")
    told = file.read(count * _PER_COMPONENT)[::_PER_COMPONENT]
    if not head.startswith(CODE) or not count or len(told) < count:
        raise DamagedStoreError(f"{path!r} says nothing of its values; it is cut short")
    return [(-1 if each & 0x80 else 1) * ((each & 0x7F) + 1) for each in told]


def _code(path: str, file: Any) -> int:
    """Where the code of the values begins, which lies in a box behind others."""
    place = 0
    while True:
        file.seek(place)
        head = file.read(16)
        if head.startswith(CODE):
            return place
        size, kind = int.from_bytes(head[:4], "big"), head[4:8]
        behind = 8
        if size == 1:
            size, behind = int.from_bytes(head[8:16], "big"), 16
        if kind == b"jp2c":
            return place + behind
        if size < behind or len(head) < behind:
            raise DamagedStoreError(f"{path!r} holds no values; it is cut short")
        place += size
