"""What TIFF files say of their axes: OME, ImageJ, Nion Swift, PYME, and tags of microscopes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from xml.etree import ElementTree

from usidx.errors import NotUsidError
from usidx.readers.formats.pyme_metadata import leaves_of_xml, metadata_beside
from usidx.readers.formats.tiff_microscopes import (
    Scale,
    per_pixel,
    plain_units,
    positive,
    scales_of,
)

# What usidx says itself of values.
_OWN = ("units", "quantity", "long_name")


@dataclass(frozen=True)
class Told:
    """What a file says of one of its images.

    Parameters
    ----------
    scales : of axes, by their letters
    attrs : everything else
    roles : of Nion Swift's: for each axis its name, scale and whether it is a position
    units : of the values
    """

    scales: Mapping[str, Scale]
    attrs: Mapping[str, Any]
    roles: tuple[tuple[str, Scale, bool], ...] = ()
    units: str = ""


def told_by(file: Any, number: int, axes: str) -> Told:
    """What the file says of its image of that number, whose axes have these letters."""
    series = file.series[number]
    if file.is_ome:
        description = str(file.pages[0].description)
        if "<!DOCTYPE" in description or "<!ENTITY" in description:
            raise NotUsidError(
                f"the OME-XML in {file.filename!r} defines entities, which no microscope writes"
            )
        told = _of_ome(description, file, number)
        if series.kind != "mmstack":
            return told
        tags = {tag.name: tag.value for tag in series.keyframe.tags}
        return replace(told, scales={**told.scales, **scales_of(file, number, tags)})
    tags = {tag.name: tag.value for tag in series.keyframe.tags}
    if file.is_imagej and series.kind != "mmstack":
        return _of_imagej(file.imagej_metadata or {}, tags, axes)
    attrs: dict[str, Any] = {}
    if series.kind == "shaped" and len(file.shaped_metadata or ()) == len(file.series):
        said = dict(file.shaped_metadata[number])
        attrs = {name: each for name, each in said.items() if name not in ("shape", "axes")}
        attrs = {f"metadata.{k}" if k in _OWN else k: each for k, each in attrs.items()}
    return Told(scales_of(file, number, tags), dict(_leaves(attrs)))


def _of_imagej(said: Mapping[str, Any], tags: Mapping[str, Any], axes: str) -> Told:
    units = plain_units(said.get("unit"))
    scales: dict[str, Scale] = {}
    if units:
        steps = {
            "X": per_pixel(tags, "XResolution"),
            "Y": per_pixel(tags, "YResolution"),
            "Z": positive(abs(_number(said.get("spacing")))),
        }
        own = {axis: plain_units(said.get(f"{axis.lower()}unit")) or units for axis in steps}
        for axis, step in steps.items():
            if step:
                origin = _number(said.get(f"{axis.lower()}origin"))
                scales[axis] = Scale(step, -origin * step, own[axis])
    interval = positive(said.get("finterval"))
    if interval is None and (rate := positive(said.get("fps"))):
        interval = 1 / rate
    if interval:
        scales["T"] = Scale(interval, units=plain_units(said.get("tunit")) or "s")
    attrs = {f"imagej.{name}": value for name, value in said.items() if name != "nion.1"}
    if said.get("cf") == 0 and "c1" in said:
        # a straight line; the values are those of the file, what they mean is said
        attrs["intensity_offset"] = _number(said.get("c0"))
        attrs["intensity_scale"] = _number(said.get("c1"))
        attrs["intensity_units"] = plain_units(said.get("vunit"))
    if "nion.1" not in said:
        return Told(scales, attrs)
    return _of_nion(str(said["nion.1"]), scales, attrs, axes)


def _number(value: Any) -> float:
    try:
        found = float(value)
    except (TypeError, ValueError):
        return 0.0
    return found if math.isfinite(found) else 0.0


def _of_nion(text: str, scales: Mapping[str, Scale], attrs: dict[str, Any], axes: str) -> Told:
    """Nion Swift's calibrations; they are in its own order of axes, in which spectra come last.

    In the file spectra come first, as ImageJ's channels. Where it is not certain which axis is
    which, the calibrations are only attributes.
    """
    try:
        said = json.loads(text)
    except ValueError:
        return Told(scales, attrs)
    attrs |= {f"metadata.{key}": each for key, each in _leaves(said.get("properties") or {})}
    calibrations = [
        Scale(positive(each.get("scale")) or _number(each.get("scale")) or 1.0,
              _number(each.get("offset")), plain_units(each.get("units")))
        for each in said.get("spatial_calibrations") or []
    ]  # fmt: skip
    sequence = int(bool(said.get("is_sequence")))
    collection = int(said.get("collection_dimension_count") or 0)
    datum = int(said.get("datum_dimension_count") or 0)
    # Where Swift puts the axes of a collection and of a datum.
    orders = {
        (0, 1): ["X"],
        (0, 2): ["Y", "X"],
        (1, 1): ["X", "C"],
        (2, 1): ["Y", "X", "C"],
        (1, 2): ["X", "Z", "C"],
        (2, 2): ["Y", "X", "Z", "C"],
    }
    order = orders.get((collection, datum))
    letters = (["T"] if sequence else []) + (order or [])
    if order is not None and "Y" not in letters and "Y" in axes:
        # a picture has rows, and Swift has one where it needs none
        letters.insert(sequence, "Y")
        calibrations.insert(sequence, Scale(1.0))
        collection += 1
        order = ["Y", *order]
    if order is None or sorted(letters) != sorted(axes) or len(calibrations) != len(axes):
        attrs["nion.1"] = text
        return Told(scales, attrs)
    datum_names = ["channel"] if datum == 1 else ["v", "u"]
    names = {"T": "frame", **dict(zip(order, [*order[:collection], *datum_names]))}
    by_letter = dict(zip(letters, calibrations))
    intensity = said.get("intensity_calibration") or {}
    factors = _number(intensity.get("scale") or 1.0), _number(intensity.get("offset"))
    if factors != (1.0, 0.0):
        attrs |= {"intensity_scale": factors[0], "intensity_offset": factors[1]}
        attrs["intensity_units"] = plain_units(intensity.get("units"))
    roles = tuple(
        (names[axis], by_letter[axis], letters.index(axis) < sequence + collection) for axis in axes
    )
    units = plain_units(intensity.get("units")) if factors == (1.0, 0.0) else ""
    return Told(scales, attrs, roles, units)


def _leaves(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in node.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _of_ome(text: str, file: Any, number: int) -> Told:
    root = ElementTree.fromstring(text.strip("\0 \n"))
    scales: dict[str, Scale] = {}
    attrs: dict[str, Any] = {}
    image = _image(root, file, number)
    if image is not None:
        pixels = next((each for each in image if _local(each) == "Pixels"), image)
        for axis in "XYZ":
            if step := positive(pixels.get(f"PhysicalSize{axis}")):
                units = plain_units(pixels.get(f"PhysicalSize{axis}Unit", "um"))
                scales[axis] = Scale(step, units=units)
        if step := positive(pixels.get("TimeIncrement")):
            scales["T"] = Scale(step, units=plain_units(pixels.get("TimeIncrementUnit", "s")))
        channels = [each.get("Name", "") for each in pixels if _local(each) == "Channel"]
        if any(channels):
            attrs["channel_names"] = channels
        if image.get("Name"):
            attrs["image_name"] = image.get("Name")
        attrs |= {
            _local(each): each.text.strip()
            for each in image
            if _local(each) in ("AcquisitionDate", "Description") and each.text
        }
    for each in root.iter():
        if _local(each) == "XMLAnnotation" and each.get("ID") == "PYME":
            _add_pyme(each, scales, attrs)
    return Told(scales, attrs)


def _image(root: Any, file: Any, number: int) -> Any:
    """The image that a series is; None where it is not certain.

    Series are fewer than images where the file has no pages for some of them.
    """
    images = [each for each in root.iter() if _local(each) == "Image"]
    if len(images) == len(file.series):
        return images[number]
    series = file.series[number]
    sizes = {axis: size for axis, size in zip(series.axes, series.shape) if axis in "XYZCT"}
    alike = [each for each in images if each.get("Name") == series.name and _fits(each, sizes)]
    others = [each.name for each in file.series].count(series.name)
    return alike[0] if len(alike) == 1 and others == 1 else None


def _fits(image: Any, sizes: Mapping[str, int]) -> bool:
    pixels = next((each for each in image if _local(each) == "Pixels"), image)
    return all(pixels.get(f"Size{axis}") == str(size) for axis, size in sizes.items())


def _local(element: Any) -> str:
    return str(element.tag).rpartition("}")[2]


def _add_pyme(annotation: Any, scales: dict[str, Scale], attrs: dict[str, Any]) -> None:
    """What PYME wrote; of its pickles only the text is kept, and never run."""
    metadata = next((each for each in annotation.iter() if _local(each) == "MetaData"), None)
    if metadata is not None:
        _add_voxels(dict(leaves_of_xml(metadata)), scales, attrs)


def _add_voxels(said: Mapping[str, Any], scales: dict[str, Scale], attrs: dict[str, Any]) -> None:
    """Metadata of PYME, with the size of a voxel along axes that have no scale."""
    attrs |= said
    units = plain_units(str(said.get("voxelsize.units", "um")))
    for axis in "XYZ":
        if axis not in scales and (step := positive(said.get(f"voxelsize.{axis.lower()}"))):
            scales[axis] = Scale(step, units=units)


def with_metadata_beside(told: Told, path: str) -> Told:
    """What a file says of an image, and what PYME wrote into a file of metadata beside it."""
    said = metadata_beside(path)
    if not said:
        return told
    scales, attrs = dict(told.scales), dict(told.attrs)
    _add_voxels(said, scales, attrs)
    return replace(told, scales=scales, attrs=attrs)
