"""Scans of the EMPAD detector: an .xml file, and frames in a .raw file beside it.

A frame has 130 rows of 128 pixels, of which the last two are none of the detector.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

import numpy as np

from usidx.errors import DamagedStoreError, StoreNotFoundError
from usidx.readers.base import Foreign, Reader, spectroscopic
from usidx.readers.raw import RawArray
from usidx.readers.scans import scan

_SIDE, _ROWS = 128, 130
_DTYPE = np.dtype("<f4")
_FRAME = _ROWS * _SIDE * _DTYPE.itemsize


def read(
    path: str,
    *,
    nav_shape: Sequence[int] | int | None = None,
    sync_offset: int = 0,
    fill_value: Any = None,
) -> Sequence[Foreign]:
    """The frames of a scan or a series, by its .xml file, or a .raw file with reader="empad".

    Parameters
    ----------
    nav_shape : shape of the scan; that of the .xml file, or one axis of all frames, when None
    sync_offset, fill_value : as for bare frames
    """
    with open(path, "rb") as file:
        is_xml = file.read(64).lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"<")
    attrs: dict[str, Any] = {}
    shapes: list[tuple[int, ...]] = []
    raw = path
    if is_xml:
        raw, shapes, attrs = _said(path)
    count, left = divmod(_size(path, raw), _FRAME)
    if left or not count:
        raise DamagedStoreError(
            f"{raw!r} ends in the middle of frame {count}: it is cut short, or no file of an EMPAD"
        )
    if nav_shape is None and shapes:
        # of an acquisition that was a search, the file has the shape of the search
        fitting = [shape for shape in shapes if math.prod(shape) == count]
        if not fitting:
            raise DamagedStoreError(
                f"{raw!r} has {count} frames, and {path!r} says a scan of "
                f"{' or '.join(map(str, shapes))}: it is cut short, or give nav_shape="
            )
        nav_shape = fitting[0]
    size = _DTYPE.itemsize
    frames = RawArray(raw, (count, _SIDE, _SIDE), _DTYPE, 0, (_FRAME, _SIDE * size, size))
    return [
        scan(
            "Raw_Data",
            frames,
            [spectroscopic("v", size=_SIDE), spectroscopic("u", size=_SIDE)],
            nav_shape=nav_shape,
            sync_offset=sync_offset,
            fill_value=fill_value,
            quantity="Intensity",
            units="counts",
            attrs=attrs,
            identity=repr((raw, frames.identity)),
        )
    ]


def _size(path: str, raw: str) -> int:
    try:
        return os.path.getsize(raw)
    except OSError as error:
        raise StoreNotFoundError(
            f"{path!r} is of frames in {os.path.basename(raw)!r}, which is not beside it"
        ) from error


def _said(path: str) -> tuple[str, list[tuple[int, ...]], dict[str, Any]]:
    """(path of the frames, shapes that the scan may have, everything else that is said)."""
    try:
        with open(path, "rb") as file:
            text = file.read()
        if b"<!ENTITY" in text:
            raise DamagedStoreError(f"{path!r} defines entities, which no EMPAD writes")
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise DamagedStoreError(f"{path!r} is no whole XML file ({error})") from error
    name = _attribute(root.find("raw_file"), "filename")
    if not name:
        raise DamagedStoreError(f"{path!r} names no file of frames")
    # names may be those of the computer that wrote them, with its folders
    raw = os.path.join(os.path.dirname(path), name.replace("\\", "/").rpartition("/")[2])
    shapes: list[tuple[int, ...]] = []
    if (root.findtext("type") or "scan").strip() == "series":
        shapes.append((_number(path, root.findtext("count")),))
    else:
        known = {each.get("mode", ""): each for each in root.findall("scan_parameters")}
        for mode in ("acquire", "search"):
            if mode in known:
                sizes = [known[mode].findtext(f"scan_resolution_{axis}") for axis in "yx"]
                shapes.append(tuple(_number(path, each) for each in sizes))
    return raw, shapes, _attrs(root)


def _attribute(node: Any, name: str) -> str:
    return "" if node is None else str(node.get(name) or "")


def _number(path: str, text: str | None) -> int:
    try:
        found = int(text or "")
    except ValueError as error:
        raise DamagedStoreError(f"{path!r} gives {text!r} as a size of its scan") from error
    if found < 1:
        raise DamagedStoreError(f"{path!r} gives {found} as a size of its scan")
    return found


def _attrs(root: Any) -> dict[str, Any]:
    """The texts of all elements, by the names above them."""
    found: dict[str, Any] = {}

    def look(node: Any, prefix: str) -> None:
        for each in node:
            mode = each.get("mode")
            name = f"{prefix}{each.tag}" + (f".{mode}" if mode else "")
            text = (each.text or "").strip()
            if text:
                try:
                    found[name] = float(text)
                except ValueError:
                    found[name] = text
            look(each, f"{name}.")

    look(root, "empad.")
    return found


def _claims(path: str, head: bytes) -> bool:
    is_xml = head.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"<")
    return is_xml and b"<raw_file" in head and (b"scan_parameters" in head or b"<count" in head)


READERS = (
    Reader(
        name="empad",
        title="EMPAD detector (.xml, and .raw with reader='empad')",
        extensions=(".xml",),
        claims=_claims,
        read=read,
    ),
)
