"""OME-Zarr: images with levels in Zarr stores, calibrated; of versions 0.1 to 0.5."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from usidx.errors import DamagedStoreError, OptionError, did_you_mean
from usidx.readers.base import Axis, Foreign, Reader, evenly_spaced, position, spectroscopic
from usidx.readers.formats.tiff_microscopes import plain_units
from usidx.readers.formats.zarr_arrays import array_of, chunks_of, zarr_root
from usidx.readers.hierarchies import plain_attrs

# Of versions before 0.3, which name no axes.
_AXES = ("t", "c", "z", "y", "x")
_UNITS = {
    "angstrom": "A",
    "nanometer": "nm",
    "micrometer": "um",
    "millimeter": "mm",
    "centimeter": "cm",
    "meter": "m",
    "nanosecond": "ns",
    "microsecond": "us",
    "millisecond": "ms",
    "second": "s",
    "minute": "min",
    "hour": "h",
}
_KEYS = ("ome", "multiscales", "omero", "plate", "well", "bioformats2raw.layout")
_MOST = 2**20


def _claims(path: str, head: bytes) -> bool:
    return _says_so(_root_attrs(path, head))


def _root_attrs(path: str, head: bytes) -> Mapping[str, Any]:
    """Attributes of the root of a store, {} where there is none."""
    found: Mapping[str, Any] = {}
    try:
        if os.path.isdir(path):
            for name in ("zarr.json", ".zattrs"):
                place = os.path.join(path, name)
                if os.path.isfile(place) and os.path.getsize(place) < _MOST:
                    with open(place, encoding="utf-8") as file:
                        found = json.load(file)
                    break
        elif head.startswith(b"PK\x03\x04"):
            with zipfile.ZipFile(path) as archive:
                for name in {"zarr.json", ".zattrs"} & set(archive.namelist()):
                    found = json.loads(archive.read(name))
    except (OSError, ValueError, zipfile.BadZipFile):
        return {}
    found = found.get("attributes", found) if isinstance(found, dict) else {}
    return found if isinstance(found, dict) else {}


def _ome(attrs: Mapping[str, Any]) -> Mapping[str, Any]:
    """What OME-Zarr says of a group; from version 0.5 on under a name of its own."""
    said = attrs.get("ome", attrs)
    return said if isinstance(said, Mapping) else {}


def _says_so(attrs: Mapping[str, Any]) -> bool:
    said = _ome(attrs)
    kinds = (("multiscales", list), ("plate", dict), ("well", dict), ("bioformats2raw.layout", int))
    return any(isinstance(said.get(name), kind) for name, kind in kinds)


def read(
    path: str, *, level: int = 0, position: Sequence[str] | str | None = None
) -> Sequence[Foreign]:
    """The images of a store, those of a plate by their wells.

    Time, channels and depth are positions, rows and columns spectroscopic.

    Parameters
    ----------
    level : of each image; 0 is the full one, further ones are coarser
    position : names of the axes that are positions
    """
    found = []
    with zarr_root(path) as root:
        for where, group in _groups(root, ""):
            said = _ome(dict(group.attrs))
            listed = said.get("multiscales")
            images = listed if isinstance(listed, list) else []
            for number, image in enumerate(images):
                name = where or _name(path)
                name = f"{name}_{number}" if len(images) > 1 else name
                found.append(_main(path, where, name, group, image, said, level, position))
    if not found:
        raise DamagedStoreError(f"{path!r} says that it is OME-Zarr, and holds no image")
    return found


def _name(path: str) -> str:
    return os.path.basename(path.rstrip("/")).partition(".")[0] or "image"


def _groups(group: Any, where: str) -> Iterator[tuple[str, Any]]:
    yield where, group
    for name, below in sorted(group.groups()):
        yield from _groups(below, f"{where}/{name}".strip("/"))


def _main(
    path: str,
    where: str,
    name: str,
    group: Any,
    image: Mapping[str, Any],
    said: Mapping[str, Any],
    level: int,
    asked: Sequence[str] | str | None,
) -> Foreign:
    levels = image.get("datasets") or []
    if not isinstance(level, int) or not 0 <= level < max(1, len(levels)):
        raise OptionError(f"level={level!r}: {name!r} has the levels 0 to {len(levels) - 1}")
    try:
        inner = str(levels[level]["path"])
        array = group[inner]
        names, units = _axes(image, array.ndim)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise DamagedStoreError(
            f"{name!r} of {path!r} does not say where its values and axes are ({error!r})"
        ) from error
    steps, starts = _scales(levels[level], image, array.ndim)
    wanted = [asked] if isinstance(asked, str) else asked
    if wanted is None:
        wanted = [each for each in names if each not in ("y", "x")]
    for each in wanted:
        if each not in names:
            raise OptionError(
                f"position={asked!r}: {name!r} has no axis {each!r}{did_you_mean(each, names)}; "
                f"it has {', '.join(names)}"
            )
    axes = []
    for axis, dim in enumerate(names):
        size = int(array.shape[axis])
        make = position if dim in wanted else spectroscopic
        is_plain = (steps[axis], starts[axis]) == (1.0, 0.0) and not units[axis]
        values = None if is_plain else evenly_spaced(size, steps[axis], starts[axis])
        axes.append(_axis(make, dim, units[axis], values, size))
    attrs = {key: each for key, each in dict(group.attrs).items() if key not in _KEYS}
    channels = (said.get("omero") or {}).get("channels") or []
    labels = [str(each.get("label", "")) for each in channels if isinstance(each, Mapping)]
    told: dict[str, Any] = {"channel_names": labels} if any(labels) else {}
    if image.get("name"):
        told["image_name"] = str(image["name"])
    place = f"{where}/{inner}".strip("/")
    return Foreign(
        f"/{name}" if "/" in name else name,
        array_of(path, place, array),
        tuple(axes),
        "Intensity",
        "",
        {**plain_attrs(attrs), **told},
        chunks_of(array),
        # what was found in an image, such as cells
        kind="result" if "labels" in where.split("/") else "raw",
    )


def _axis(make: Any, dim: str, units: str, values: Any, size: int) -> Axis:
    made: Axis = make(dim, units, values, size=size)
    return made


def _axes(image: Mapping[str, Any], ndim: int) -> tuple[list[str], list[str]]:
    """(names, units) of the axes of an image."""
    said = image.get("axes")
    if said is None:
        return list(_AXES[-ndim:]), [""] * ndim
    names = [each if isinstance(each, str) else str(each["name"]) for each in said]
    told = ["" if isinstance(each, str) else str(each.get("unit") or "") for each in said]
    if len(names) != ndim or len(set(names)) != ndim:
        raise ValueError(f"axes {names} of an array of {ndim} axes")
    return names, [_UNITS.get(each, plain_units(each)) for each in told]


def _scales(
    level: Mapping[str, Any], image: Mapping[str, Any], ndim: int
) -> tuple[list[float], list[float]]:
    """(steps, starts) along the axes: those of a level, then those of the whole image.

    Raises
    ------
    DamagedStoreError : where they are of other axes than the array has
    """
    given = [
        each
        for holder in (level, image)
        for each in holder.get("coordinateTransformations") or ()
        if isinstance(each, Mapping) and each.get("type") != "identity"
    ]
    steps, starts = [1.0] * ndim, [0.0] * ndim
    for each in given:
        kind = str(each.get("type"))
        values = each.get(kind)
        if kind not in ("scale", "translation") or not isinstance(values, list):
            raise DamagedStoreError(
                f"an image is placed by a {kind!r} that usidx does not know; scale and translation "
                "of numbers are known"
            )
        if len(values) != ndim:
            raise DamagedStoreError(f"a {kind} of {len(values)} numbers is of {ndim} axes")
        numbers = [float(value) for value in values]
        if kind == "scale":
            steps = [step * number for step, number in zip(steps, numbers)]
            starts = [start * number for start, number in zip(starts, numbers)]
        else:
            starts = [start + number for start, number in zip(starts, numbers)]
    return steps, starts


READERS = (
    Reader(
        name="ome_zarr",
        title="OME-Zarr (.ome.zarr, .zarr)",
        extensions=(".ome.zarr", ".zarr"),
        claims=_claims,
        read=read,
    ),
)
