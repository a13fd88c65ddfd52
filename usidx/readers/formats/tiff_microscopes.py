"""What microscopes say of the size of their pixels, in tags of TIFF files that are their own."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from usidx.model.dimension import Array
from usidx.readers.base import evenly_spaced

_CENTIMETRE = 3
# Two sizes of a pixel of Zeiss that are the same, of which one is rounded.
_ROUNDED = 0.02
_ZEISS_COLUMNS, _ZEISS_PIXEL = 1024, 3
_SPELLINGS = {
    "micron": "um",
    "microns": "um",
    "micrometer": "um",
    "nanometer": "nm",
    "sec": "s",
    "seconds": "s",
    "pixel": "",
    "pixels": "",
}


@dataclass(frozen=True)
class Scale:
    """Of an axis: its values are `start`, `start + step`, ... in these units."""

    step: float = 1.0
    start: float = 0.0
    units: str = ""

    def values(self, size: int) -> Array:
        """Along an axis of that size."""
        return evenly_spaced(size, self.step, self.start)

    def coarser(self, factor: float) -> Scale:
        """That of an axis of which each value stands for `factor` of this one."""
        start = self.start + self.step * (factor - 1) / 2
        return replace(self, step=self.step * factor, start=start)


def plain_units(said: Any) -> str:
    """Units as usidx writes them: um, and nothing for pixels."""
    units = str(said or "").strip().replace("\\u00B5", "u").replace("µ", "u").replace("μ", "u")
    return _SPELLINGS.get(units.lower(), units)


def positive(value: Any) -> float | None:
    """A number above 0, None for anything else."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number > 0 else None


def per_pixel(tags: Mapping[str, Any], name: str) -> float | None:
    """Units for each pixel, from the tag that has pixels for each unit as a fraction."""
    value = tags.get(name)
    if not isinstance(value, tuple) or len(value) != 2 or not value[0] or not value[1]:
        return None
    return positive(value[1] / value[0])


def scales_of(file: Any, number: int, tags: Mapping[str, Any]) -> dict[str, Scale]:
    """The scales of the axes of an image, by their letters; {} where the file has none.

    A resolution counts in centimetres; inches are for printers.

    Parameters
    ----------
    file : a `tifffile.TiffFile`
    number : of the image
    tags : of its first page
    """
    for said in _SYSTEMS:
        found = said(file, number, tags)
        if found is not None:
            return found
    if tags.get("ResolutionUnit") != _CENTIMETRE:
        return {}
    steps = {"X": per_pixel(tags, "XResolution"), "Y": per_pixel(tags, "YResolution")}
    return {axis: Scale(step * 1e4, units="um") for axis, step in steps.items() if step}


def _known(units: Any, **steps: Any) -> dict[str, Scale]:
    """Scales of the axes whose step is a number above 0."""
    found = {axis: positive(step) for axis, step in steps.items()}
    return {axis: Scale(step, units=plain_units(units)) for axis, step in found.items() if step}


def _fei(file: Any, number: int, tags: Mapping[str, Any]) -> dict[str, Scale] | None:
    said = tags.get("FEI_HELIOS") or tags.get("FEI_SFEG") or {}
    scan = said.get("Scan") if isinstance(said, Mapping) else None
    if not isinstance(scan, Mapping):
        return None
    return _pair("m", scan.get("PixelWidth"), scan.get("PixelHeight"))


def _olympus(file: Any, number: int, tags: Mapping[str, Any]) -> dict[str, Scale] | None:
    for name in ("OlympusSIS", "OlympusINI"):
        said = tags.get(name)
        if isinstance(said, Mapping) and "pixelsizex" in said:
            return _pair("m", said.get("pixelsizex"), said.get("pixelsizey"))
    return None


def _pair(units: str, x: Any, y: Any) -> dict[str, Scale]:
    """Scales of columns and rows, of both or of none."""
    found = _known(units, X=x, Y=y)
    return found if len(found) == 2 else {}


def _zeiss_sem(file: Any, number: int, tags: Mapping[str, Any]) -> dict[str, Scale] | None:
    """Of a picture of 1024 columns the size of a pixel is among numbers without names."""
    said = tags.get("CZ_SEM")
    if not isinstance(said, Mapping):
        return None
    named: Any = said.get("ap_image_pixel_size") or said.get("ap_pixel_size") or ()
    unnamed: Any = said.get("") or ()
    columns = positive(tags.get("ImageWidth"))
    exact = positive(unnamed[_ZEISS_PIXEL]) if len(unnamed) > _ZEISS_PIXEL else None
    exact = exact * _ZEISS_COLUMNS / columns if exact and columns else None
    if len(named) == 3 and positive(named[1]):
        units = plain_units(named[2])
        rounded = {"pm": 1e-12, "nm": 1e-9, "um": 1e-6, "mm": 1e-3, "m": 1.0}.get(units)
        if not exact or not rounded or abs(exact / (rounded * named[1]) - 1) > _ROUNDED:
            return _pair(units, named[1], named[1])
    return _pair("m", exact, exact)


def _tvips(file: Any, number: int, tags: Mapping[str, Any]) -> dict[str, Scale] | None:
    said = tags.get("TVIPS")
    if not isinstance(said, Mapping) or "PixelSizeX" not in said:
        return None
    return _pair("nm", said.get("PixelSizeX"), said.get("PixelSizeY"))


def _zeiss_lsm(file: Any, number: int, tags: Mapping[str, Any]) -> dict[str, Scale] | None:
    said = tags.get("CZ_LSMINFO")
    if not isinstance(said, Mapping) or file.series[number].kind != "lsm" or number:
        return {} if file.is_lsm else None
    sizes = {axis: said.get(f"VoxelSize{axis}") for axis in "XYZ"}
    return {**_known("m", **sizes), **_known("s", T=said.get("TimeIntervall"))}


def _metamorph(file: Any, number: int, tags: Mapping[str, Any]) -> dict[str, Scale] | None:
    if not file.is_stk:
        return None
    said = file.stk_metadata or {}
    if not said.get("SpatialCalibration") or not plain_units(said.get("CalibrationUnits")):
        return {}
    steps = {axis: _fraction(said.get(f"{axis}Calibration")) for axis in "XY"}
    steps["Z"] = _fraction(_first(said.get("ZDistance")))
    return _known(said["CalibrationUnits"], **steps)


def _fraction(value: Any) -> Any:
    """A number that may be a pair, numerator and denominator."""
    if isinstance(value, tuple) and len(value) == 2:
        return value[0] / value[1] if value[1] else None
    return value


def _first(values: Any) -> Any:
    """The step of all, None where they differ."""
    each = np.unique(np.asarray(values if values is not None else ()))
    return each[0] if each.size == 1 else None


def _fluoview(file: Any, number: int, tags: Mapping[str, Any]) -> dict[str, Scale] | None:
    said = tags.get("MM_Header")
    if not file.is_fluoview or not isinstance(said, Mapping):
        return None
    found: dict[str, Scale] = {}
    for name, _, _, step, units in said.get("Dimensions") or ():
        axis = {"time": "T"}.get(str(name).lower(), str(name).upper())
        if axis in ("X", "Y", "Z", "T"):
            found |= _known(units, **{axis: step})
    return found


def _micro_manager(file: Any, number: int, tags: Mapping[str, Any]) -> dict[str, Scale] | None:
    if file.series[number].kind != "mmstack":
        return None
    said = (file.micromanager_metadata or {}).get("Summary") or {}
    pixel = said.get("PixelSize_um")
    found = _known("um", X=pixel, Y=pixel, Z=said.get("z-step_um"))
    return {**found, **_known("ms", T=said.get("Interval_ms"))}


def _aperio(file: Any, number: int, tags: Mapping[str, Any]) -> dict[str, Scale] | None:
    """Of the slide; pictures of its label, and small ones of the whole, say nothing."""
    if not file.is_svs:
        return None
    if file.series[number].name != "Baseline":
        return {}
    found = re.search(r"\|\s*MPP\s*=\s*([0-9.]+)", str(tags.get("ImageDescription", "")))
    return {} if found is None else _pair("um", found[1], found[1])


_SYSTEMS: tuple[Callable[[Any, int, Mapping[str, Any]], dict[str, Scale] | None], ...] = (
    _fei,
    _olympus,
    _zeiss_sem,
    _tvips,
    _zeiss_lsm,
    _metamorph,
    _fluoview,
    _micro_manager,
    _aperio,
)
