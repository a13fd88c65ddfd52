"""Scans of the EMPAD detector: an .xml file, and frames in a .raw file beside it.

A frame has 130 rows of 128 pixels, of which the last two are none of the detector.
"""

from __future__ import annotations

import dataclasses
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import numpy as np

from usidx.errors import DamagedStoreError, StoreNotFoundError
from usidx.readers.base import Axis, Foreign, Reader, evenly_spaced, position, spectroscopic
from usidx.readers.raw import RawArray
from usidx.readers.scans import scan

_SIDE, _ROWS = 128, 130
_DTYPE = np.dtype("<f4")
_FRAME = _ROWS * _SIDE * _DTYPE.itemsize


@dataclass(frozen=True)
class _Said:
    """What is known of a file of frames.

    Parameters
    ----------
    raw : its path
    shapes : that the scan may have
    attrs : everything that is said
    field : meters of the scan along rows and columns, or of its longer side; None where not said
    pixel : of the detector, in 1/nm; 0.0 where not said
    """

    raw: str
    shapes: list[tuple[int, ...]] = dataclasses.field(default_factory=list)
    attrs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    field: tuple[float, float] | float | None = None
    pixel: float = 0.0

    def positions(self, shape: tuple[int, ...]) -> list[Axis] | None:
        """Axes of the scan in nm, None where their steps are not known."""
        if self.field is None or len(shape) != 2:
            return None
        sides = self.field
        if isinstance(sides, float):
            sides = sides * shape[0] / max(shape), sides * shape[1] / max(shape)
        steps = [1e9 * side / size for side, size in zip(sides, shape)]
        return [
            position(name, "nm", evenly_spaced(size, step))
            for name, size, step in zip("YX", shape, steps)
        ]

    def signal(self, name: str) -> Axis:
        """An axis of a frame; of a calibrated one the pixel in the middle is 0."""
        if not self.pixel:
            return spectroscopic(name, size=_SIDE)
        values = evenly_spaced(_SIDE, self.pixel, -self.pixel * _SIDE / 2)
        return spectroscopic(name, "1/nm", values)


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
    said = _said(path) if is_xml else _Said(path)
    raw, shapes = said.raw, said.shapes
    count, left = divmod(_size(path, raw), _FRAME)
    if left or not count:
        raise DamagedStoreError(
            f"{raw!r} ends in the middle of frame {count}: it is cut short, or no file of an EMPAD"
        )
    positions = None
    if nav_shape is None and shapes:
        # of an acquisition that was a search, the file has the shape of the search
        fitting = [shape for shape in shapes if math.prod(shape) == count]
        if not fitting:
            raise DamagedStoreError(
                f"{raw!r} has {count} frames, and {path!r} says a scan of "
                f"{' or '.join(map(str, shapes))}: it is cut short, or give nav_shape="
            )
        nav_shape = fitting[0]
        positions = said.positions(fitting[0])
    size = _DTYPE.itemsize
    frames = RawArray(raw, (count, _SIDE, _SIDE), _DTYPE, 0, (_FRAME, _SIDE * size, size))
    return [
        scan(
            "Raw_Data",
            frames,
            [said.signal("v"), said.signal("u")],
            nav_shape=nav_shape,
            sync_offset=sync_offset,
            fill_value=fill_value,
            positions=positions,
            quantity="Intensity",
            units="counts",
            attrs=said.attrs,
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


def _said(path: str) -> _Said:
    """What an .xml file says of its frames."""
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
    name = name.replace("\\", "/").rpartition("/")[2]
    attrs = _attrs(root)
    if when := _attribute(root.find("timestamp"), "isoformat"):
        attrs["empad.timestamp"] = when
    raw = os.path.join(os.path.dirname(path), name)
    return _Said(raw, _shapes(path, root, name), attrs, _field(attrs), _pixel(attrs))


def _shapes(path: str, root: Any, name: str) -> list[tuple[int, ...]]:
    """Shapes that the scan may have; releases say them in different places."""
    counts = [root.findtext("count")] if (root.findtext("type") or "").strip() == "series" else []
    counts += [each.text for each in root.findall("scan_parameters/series_count")]
    if counts:
        return [(_number(path, counts[0]),)]
    known = {each.get("mode", ""): each for each in root.findall("scan_parameters")}
    sizes = [
        [known[mode].findtext(f"scan_resolution_{axis}") for axis in "yx"]
        for mode in ("acquire", "search")
        if mode in known
    ]
    sizes.append([root.findtext(f"pix_{axis}") for axis in "yx"])
    if matched := re.search(r"_x(\d+)_y(\d+)\.", name):
        sizes.append([matched[2], matched[1]])
    return [tuple(_number(path, each) for each in size) for size in sizes if any(size)]


def _field(attrs: Mapping[str, Any]) -> tuple[float, float] | float | None:
    """Size of the whole scan in meters: along its rows and columns, or of its longer side."""
    measured = "empad.iom_measurements."
    text = str(attrs.get(f"{measured}optics.get_full_scan_field_of_view", ""))
    numbers = [float(each) for each in re.findall(r"\d[\d.]*(?:[eE][-+]?\d+)?", text)]
    if len(numbers) == 2 and all(numbers):
        return numbers[0], numbers[1]
    size = attrs.get(f"{measured}full_scan_field_of_view.x")
    factor = attrs.get(f"{measured}full_scan_field_of_view.scale_factor")
    if isinstance(size, float) and isinstance(factor, float) and size > 0 and factor > 0:
        return size / factor
    return None


def _pixel(attrs: Mapping[str, Any]) -> float:
    """From one pixel to the next in 1/nm, 0.0 where it is not said."""
    said = attrs.get("empad.iom_measurements.calibrated_pixelsize")
    return said * 1e9 if isinstance(said, float) and said > 0 else 0.0


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
    marks = (b"scan_parameters", b"<count", b"<pix_x", b"camserver")
    return is_xml and b"<raw_file" in head and any(mark in head for mark in marks)


READERS = (
    Reader(
        name="empad",
        title="EMPAD detector (.xml, and .raw with reader='empad')",
        extensions=(".xml",),
        claims=_claims,
        read=read,
    ),
)
