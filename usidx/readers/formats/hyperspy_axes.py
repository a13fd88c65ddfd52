"""Axes of HyperSpy's signals, and what usidx wrote beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from usidx.errors import NotUsidError
from usidx.model.dimension import Array
from usidx.model.layout import Coordinate
from usidx.readers.base import (
    Axis,
    evenly_spaced,
    position,
    spectroscopic,
    text_of,
)
from usidx.readers.formulas import evaluated
from usidx.readers.hierarchies import plain_attrs, times_of, whole

_NOTHING = ("_None_", "", None, "<undefined>")


def restored(group: Any, axes: list[Axis]) -> tuple[list[Axis], tuple[Coordinate, ...]]:
    """(the axes, further coordinates) with what usidx wrote beside a signal: see `to_hspy`."""
    place = "original_metadata/usid/coordinates"
    if place not in group:
        return axes, ()
    sizes = {each.dimension.name: each.dimension.size for each in axes}
    found: dict[str, Coordinate] = {}
    for name in group[place]:
        said = group[place][name]
        # an empty list has another name there
        listed = np.ravel(said["_list_dims"][...]) if "_list_dims" in said else ()
        dims = [text_of(each) for each in listed]
        values = _kept(said, tuple(sizes.get(dim, -1) for dim in dims))
        if values is not None:
            units = text_of(said.attrs.get("units", ""))
            found[name] = Coordinate(name, units, tuple(dims), values)
    own = {name: each for name, each in found.items() if each.dims == (name,)}
    restored = []
    for each in axes:
        old = each.dimension
        if old.name in own:
            make = position if each.role == "position" else spectroscopic
            each = make(old.name, old.units, own[old.name].values)
        restored.append(each)
    return restored, tuple(each for name, each in found.items() if name not in own)


def _kept(said: Any, shape: tuple[int, ...]) -> Array | None:
    """Values of a coordinate, None where they are not of this shape."""
    kept = [said[each] for each in ("values", "_list_values") if each in said]
    values: Array = whole(kept[0]) if kept else np.asarray(said.attrs.get("values", []))
    if values.shape != shape:
        return None
    if values.dtype.kind == "O":
        values = np.array([text_of(each) for each in values.ravel()]).reshape(shape)
    return times_of(values, text_of(said.attrs.get("dtype", "")))


def axis_of(path: str, group: Any, number: int, size: int) -> Axis:
    """One axis of a signal, by its group in the file.

    Raises
    ------
    NotUsidError : for a formula that is more than arithmetic
    """
    said: Mapping[str, Any] = plain_attrs(dict(group.attrs))
    navigate = bool(said.get("navigate", False))
    name = said.get("name")
    if name in _NOTHING:
        name = f"{'nav' if navigate else 'sig'}_{number}"
    units = said.get("units")
    values: Any
    if "axis" in group:
        values = whole(group["axis"])
    elif "axis" in said:
        values = np.asarray(said["axis"])
    elif "expression" in said:
        values = _of_formula(path, str(name), group, said, size)
    else:
        values = _uniform(said, size)
    make = position if navigate else spectroscopic
    return make(str(name), "" if units in _NOTHING else str(units), values)


def _uniform(said: Mapping[str, Any], size: int) -> Array:
    return evenly_spaced(size, float(said.get("scale", 1.0)), float(said.get("offset", 0.0)))


def _of_formula(path: str, name: str, group: Any, said: Mapping[str, Any], size: int) -> Array:
    """Values of an axis that is a function of another, such as "a * x ** 2"."""
    below = group.get("x")
    known = dict(said)
    if below is not None:
        own = whole(below["axis"]) if "axis" in below else None
        known["x"] = _uniform(plain_attrs(dict(below.attrs)), size) if own is None else own
    values = evaluated(str(said["expression"]), known)
    if values is None:
        raise NotUsidError(
            f"axis {name!r} of {path!r} is the formula {said['expression']!r}, and nothing that "
            "stands in a file is ever run: it is arithmetic and sin, exp and the like, or store "
            "its values, with HyperSpy's axis.convert_to_non_uniform_axis()"
        )
    return np.full(size, values) if values.ndim == 0 else values


def named_apart(axes: list[Axis]) -> tuple[Axis, ...]:
    """The axes, where two have one name by their numbers as well."""
    names = [each.dimension.name for each in axes]
    found = []
    for number, each in enumerate(axes):
        old = each.dimension
        if names.count(old.name) > 1:
            make = position if each.role == "position" else spectroscopic
            each = make(f"{old.name}_{number}", old.units, old.values)
        found.append(each)
    return tuple(found)
