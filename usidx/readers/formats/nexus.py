"""NeXus files: the NXdata groups in them, with their axes (https://manual.nexusformat.org)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from usidx.errors import OptionError
from usidx.model.dimension import Array
from usidx.model.layout import Coordinate
from usidx.readers.base import Axis, Foreign, Reader, default_positions, position, spectroscopic
from usidx.readers.formats.hdf5_objects import dataset_main, holds, objects
from usidx.readers.hierarchies import hdf5, plain, plain_attrs, whole

_INTERPRETATIONS = {"scalar": 0, "spectrum": 1, "image": 2, "rgb-image": 3, "rgba-image": 3}
_MOST_TOLD = 1000


def _is_nxdata(each: Any) -> bool:
    said = plain(each.attrs.get("NX_class"))
    return not hasattr(each, "shape") and said == "NXdata" and _signal_name(each) is not None


def _signal_name(group: Any) -> str | None:
    """Name of the signal of an NXdata group, in the convention of today or the one before."""
    name = plain(group.attrs.get("signal"))
    if not isinstance(name, str):
        marked = [key for key in group if "signal" in getattr(group.get(key), "attrs", ())]
        name = marked[0] if marked else None
    return name if name is not None and _is_signal(group, name) else None


def _is_signal(group: Any, name: str) -> bool:
    import h5py

    found = group.get(name)
    return isinstance(found, h5py.Dataset) and found.ndim > 0 and found.dtype.kind in "biufc"


def _texts(value: Any) -> list[str]:
    """One or several names as a list: an array, or a text with colons, as old files have it."""
    value = plain(value)
    if isinstance(value, str):
        return [each.strip() for each in re.split("[:,]", value.strip("[] "))]
    return [] if value is None else [str(each) for each in np.ravel(value)]


def read(path: str, *, n_position: int | None = None) -> Sequence[Foreign]:
    """The NXdata groups of a file: their signals, with their axes.

    What an entry says besides, as single values, are attributes ("instrument.detector.distance").

    Parameters
    ----------
    n_position : how many of the axes, the first ones, are positions; else what `interpretation`
        leaves over
    """
    described = []
    with hdf5(path) as root:
        for group in filter(_is_nxdata, objects(root)):
            first = _signal_name(group)
            assert first is not None
            others = _texts(group.attrs.get("auxiliary_signals"))
            names = [first, *(each for each in others if each != first and _is_signal(group, each))]
            told = _told(group)
            for name in names:
                signal = group[name]
                axes, coordinates = _axes(group, signal, _positions(group, signal, n_position))
                attrs = {**told, **plain_attrs(dict(signal.attrs))}
                title = plain(group.attrs.get("title")) if name == first else None
                attrs["quantity"] = title or attrs.get("long_name") or name
                main = str(group.name) if len(names) == 1 else f"{group.name}/{name}"
                # a dataset of several names is read by the one that HDF5 knows
                described.append((str(signal.name), axes, attrs, main, coordinates))
    return [dataset_main(path, *each) for each in described]


def _positions(group: Any, signal: Any, asked: int | None) -> int:
    if asked is not None and not 0 <= asked <= signal.ndim:
        raise OptionError(
            f"n_position={asked} is not between 0 and {signal.ndim}, the axes of {signal.name!r}"
        )
    said = plain(signal.attrs.get("interpretation") or group.attrs.get("interpretation"))
    inner = _INTERPRETATIONS.get(str(said))
    count = default_positions(signal.ndim) if inner is None else signal.ndim - inner
    return max(0, count if asked is None else asked)


def _axes(group: Any, signal: Any, count: int) -> tuple[list[Axis], tuple[Coordinate, ...]]:
    """(axes of a signal, fields along them that are no axis); the first `count` are positions."""
    fields = dict(_fields(group, signal))
    labels = _axis_names(group, signal)
    # points anywhere in a plane: one axis of the signal, and several fields along it
    if signal.ndim == 1 and len(labels) > 1:
        axes, names = [position("point", size=signal.shape[0])], [""]
    else:
        first = {dims[0]: name for name, (dims, _) in reversed(fields.items()) if len(dims) == 1}
        names = [first.get(axis, "") for axis in range(signal.ndim)]
        axes = []
        for axis, (name, size) in enumerate(zip(names, signal.shape, strict=True)):
            make = position if axis < count else spectroscopic
            if name:
                told = _units(group, name), fields[name][1]
                axes.append(make(name, *told, quantity=_long_name(group, name)))
            else:
                said = labels[axis] if axis < len(labels) else ""
                axes.append(make(f"dim_{axis}" if said in (".", "") else said, size=size))
    dims = [each.dimension.name for each in axes]
    coordinates = tuple(
        Coordinate(name, _units(group, name), tuple(dims[axis] for axis in along), values)
        for name, (along, values) in fields.items()
        if name not in names and len(set(dims)) == len(dims)
    )
    return axes, coordinates


def _axis_names(group: Any, signal: Any) -> list[str]:
    """Names of the fields that are axes, "." for an axis that has none."""
    names = _texts(group.attrs.get("axes")) or _texts(signal.attrs.get("axes"))
    if names:
        return names
    numbered: dict[int, str] = {}
    for name in group:
        number = plain(getattr(group.get(name), "attrs", {}).get("axis"))
        if isinstance(number, int) and number not in numbered:
            numbered[number] = str(name)
    return [numbered.get(axis + 1, ".") for axis in range(signal.ndim)]


def _fields(group: Any, signal: Any) -> Iterator[tuple[str, tuple[tuple[int, ...], Array]]]:
    """(name, (axes of the signal along which it is, values)) of each field that belongs to axes."""
    names = _axis_names(group, signal)
    said = {
        key.removesuffix("_indices"): tuple(int(each) for each in np.ravel(value))
        for key, value in group.attrs.items()
        if key.endswith("_indices") and np.asarray(value).dtype.kind in "iu"
    }
    others = [name for name in said if name not in names]
    for number, name in enumerate([*names, *others]):
        field = group.get(name) if name not in (".", "") else None
        if field is None or getattr(field, "ndim", 0) == 0 or field.dtype.kind not in "iuf":
            continue
        if field.size > signal.size + max(signal.shape):
            continue
        default = (number,) if number < signal.ndim and len(names) <= signal.ndim else (0,)
        axes = said.get(name, default if field.ndim == 1 else tuple(range(field.ndim)))
        values = whole(field)
        if any(axis >= signal.ndim for axis in axes):
            continue
        shape = tuple(signal.shape[axis] for axis in axes)
        if len(axes) == 1 and values.shape == (shape[0] + 1,):  # edges of bins
            values = (values[:-1] + values[1:]) / 2
        if values.shape == shape:
            yield name, (axes, values)


def _units(group: Any, name: str) -> str:
    return str(plain(group[name].attrs.get("units")) or "")


def _long_name(group: Any, name: str) -> str:
    return str(plain(group[name].attrs.get("long_name")) or "")


def _told(group: Any) -> dict[str, Any]:
    """What the entry of an NXdata group says in single values, by their paths within it."""
    above = group
    while above.name != "/" and plain(above.attrs.get("NX_class")) != "NXentry":
        above = above.parent
    above = group if above.name == "/" else above
    found: dict[str, Any] = {}

    def take(name: str, each: Any) -> bool | None:
        if getattr(each, "size", 0) == 1 and each.dtype.kind in "biufSUO":
            value = plain(each[()] if each.ndim == 0 else np.ravel(each[...])[0])
            if value is not None:
                found[name.replace("/", ".")] = value
            units = plain(each.attrs.get("units"))
            if isinstance(units, str) and units and value is not None:
                found[f"{name.replace('/', '.')}.units"] = units
        return True if len(found) >= _MOST_TOLD else None

    above.visititems(take)
    return found


READER = Reader(
    name="nexus",
    title="NeXus with NXdata (.nxs, .h5)",
    extensions=(".nxs", ".nx", ".h5", ".hdf5"),
    claims=lambda path, head: holds(path, head, _is_nxdata),
    read=read,
)
