"""A Main as a signal: navigation and signal axes, uniform or not, and nested metadata.

HyperSpy and those who read its files have an array with one axis for each dimension. An axis is
uniform (an offset and a scale), or has values that rise or fall; what is neither is kept beside.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from usidx.arrays.columns import EMPTY_SIDES
from usidx.errors import OptionError
from usidx.exporting.moving.chunking import Chunks, cut
from usidx.exporting.moving.parts import Part
from usidx.model.dimension import Array, Dimension
from usidx.model.layout import Grid
from usidx.model.main import MainSpec

_OWN = "metadata."
_ORIGINAL = "original_metadata"


@dataclass(frozen=True)
class SignalAxis:
    """One axis of a signal.

    Parameters
    ----------
    name, units : of the axis
    size : how many values there are
    is_navigation : whether positions are along it
    offset, scale : of a uniform axis
    values : of one that is not uniform, rising or falling; None for one that is
    quantity : along the axis, "" where it is not said
    """

    name: str
    units: str
    size: int
    is_navigation: bool
    offset: float = 0.0
    scale: float = 1.0
    values: Array | None = None
    quantity: str = ""


@dataclass(frozen=True)
class Signal:
    """A Main as HyperSpy has it.

    Parameters
    ----------
    title : of the signal
    values : with one dimension for each axis
    axes : navigation axes, then signal axes
    metadata, original_metadata : nested mappings of plain values
    """

    title: str
    values: xr.DataArray
    axes: tuple[SignalAxis, ...]
    metadata: Mapping[str, Any]
    original_metadata: Mapping[str, Any]

    @property
    def n_navigation(self) -> int:
        """How many axes are positions; they come first."""
        return sum(each.is_navigation for each in self.axes)


def signal_of(part: Part, *, as_they_are: bool = False) -> Signal:
    """A Main as a signal; nothing is read.

    Parameters
    ----------
    as_they_are : whether every axis of numbers has its values, also where an offset and a scale
        would do, and where they go up and down, and metadata are those of the Main alone

    Raises
    ------
    OptionError : for a compound Main, for one value without axes, and for values that are no
        numbers
    """
    spec = part.spec
    if len(part.arrays) != 1 or spec.dtype.names is not None:
        raise OptionError(
            f"{spec.path!r} is compound, and a signal has one number for each place; write its "
            "fields one by one: dataset['field']"
        )
    if spec.dtype.kind not in "biufc":
        raise OptionError(f"{spec.path!r} has values of {spec.dtype}, and a signal has numbers")
    values, kept = part.arrays[0], {}
    empty = {str(each) for each in np.ravel(spec.attrs.get(EMPTY_SIDES, []))}
    axes: list[SignalAxis] = []
    for side in (spec.position, spec.spectroscopic):
        if side.role in empty:
            values = values.isel({dim: 0 for dim in side.dims}, drop=True)
            continue
        known = {each.name: each for each in side.dimensions} if isinstance(side, Grid) else {}
        for dim, size in zip(side.dims, side.shape):
            dimension = known.get(dim, Dimension(dim, "", np.arange(size)))
            axis = _axis(dimension, side.role == "position", as_they_are)
            axes.append(axis)
            if axis.values is None and not _is_uniform(dimension.values):
                kept[dim] = _kept(dimension.units, (dim,), dimension.values)
        others = side.dependent if isinstance(side, Grid) else side.columns
        kept |= {each.name: _kept(each.units, each.dims, each.values) for each in others}
    for extra in part.extras:
        kept[extra.name] = _kept(str(extra.attrs.get("units", "")), extra.dims, extra.values)
    metadata, original = _metadata(part, kept)
    title = str(metadata.get("General", {}).get("title") or spec.name)
    if not axes:
        raise OptionError(
            f"{title!r} is one value, and a signal has axes; write it as an attribute"
        )
    if not as_they_are:
        _complete(metadata, title, spec)
    return Signal(title, values, tuple(axes), metadata, original)


def cut_signal(
    part: Part, signal: Signal, chunks: Chunks
) -> tuple[tuple[tuple[int, ...], ...], tuple[int, ...]]:
    """(blocks, chunks) along the dimensions that the signal has; sides of one cell are none."""
    blocks, chunk = cut(part, chunks)
    kept = [part.spec.dims.index(str(dim)) for dim in signal.values.dims]
    return tuple(blocks[axis] for axis in kept), tuple(chunk[axis] for axis in kept)


def _kept(units: str, dims: tuple[str, ...], values: Array) -> dict[str, Any]:
    """Values along axes as numbers or text; of times "dtype" says what they were."""
    values = np.asarray(values)
    told = {"units": units, "dims": list(dims)}
    if values.dtype.kind == "M":
        return {**told, "values": np.datetime_as_string(values), "dtype": values.dtype.str}
    if values.dtype.kind == "m":
        return {**told, "values": values.astype(np.int64), "dtype": values.dtype.str}
    return {**told, "values": values}


def _axis(dimension: Dimension, is_navigation: bool, as_it_is: bool) -> SignalAxis:
    values = dimension.values
    told: dict[str, Any] = {
        "name": dimension.name,
        "units": dimension.units,
        "size": dimension.size,
        "is_navigation": is_navigation,
        "quantity": dimension.quantity,
    }
    if as_it_is and values.dtype.kind in "biuf":
        return SignalAxis(**told, values=values)
    if _is_uniform(values):
        scale = 1.0
        if values.size > 1:
            scale = (float(values[-1]) - float(values[0])) / (values.size - 1)
        return SignalAxis(**told, offset=float(values[0]), scale=scale)
    if values.dtype.kind in "iuf" and np.isfinite(values).all():
        steps = np.diff(values.astype(np.float64))
        if (steps > 0).all() or (steps < 0).all():
            return SignalAxis(**told, values=values.astype(np.float64))
    return SignalAxis(**told)


def _is_uniform(values: Array) -> bool:
    """Whether an offset and a scale give the values back, but for rounding."""
    if values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        return False
    numbers = values.astype(np.float64)
    if numbers.size == 1:
        return True
    scale = (numbers[-1] - numbers[0]) / (numbers.size - 1)
    given = numbers[0] + scale * np.arange(numbers.size)
    # as far as the rounding of values of this type goes
    rounding = np.finfo(values.dtype).eps if values.dtype.kind == "f" else 0.0
    slack = 4 * max(float(rounding), float(np.finfo(np.float64).eps)) * float(abs(numbers).max())
    return bool(scale != 0 and slack < abs(scale) and (abs(given - numbers) <= slack).all())


def _metadata(part: Part, kept: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(metadata, original metadata): the first as HyperSpy had it, the second everything else."""
    spec = part.spec
    metadata: dict[str, Any] = {}
    original: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for name, value in spec.attrs.items():
        if name.startswith(_OWN):
            _nest(metadata, name.removeprefix(_OWN).split("."), value)
        elif name.startswith(f"{_ORIGINAL}."):
            _nest(original, name.split(".")[1:], value)
        elif name == _ORIGINAL and isinstance(value, str):
            for key, each in _parsed(value).items():
                _nest(original, key.split("."), each)
        elif name != EMPTY_SIDES:
            others[name] = value
    if kept or others:
        original["usid"] = {"attributes": others, "coordinates": dict(kept)}
    return metadata, original


def _complete(metadata: dict[str, Any], title: str, spec: MainSpec) -> None:
    """Add what HyperSpy expects of every signal."""
    metadata.setdefault("General", {})["title"] = title
    signal = metadata.setdefault("Signal", {})
    signal.setdefault("signal_type", "")
    signal["quantity"] = f"{spec.quantity} ({spec.units})" if spec.units else spec.quantity


def _parsed(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {_ORIGINAL: text}


def _nest(into: dict[str, Any], path: list[str], value: Any) -> None:
    """Put a value at its place; where a number stands in the way, under the rest of its name."""
    node = into
    for number, each in enumerate(path[:-1]):
        below = node.setdefault(each, {})
        if not isinstance(below, dict):
            node[".".join(path[number:])] = value
            return
        node = below
    if isinstance(node.get(path[-1]), dict):
        node[path[-1]][""] = value
    else:
        node[path[-1]] = value


def stored_value(value: Any) -> Any:
    """A number, text or bytes that HDF5 has as an attribute; anything else as text.

    Examples
    --------
    >>> stored_value(2), stored_value(2**70), stored_value(np.datetime64("2020-01-01"))
    (2, '1180591620717411303424', '2020-01-01')
    """
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return str(value)
    if isinstance(value, np.generic) and value.dtype.kind not in "biufcSU":
        return str(value)
    plain = isinstance(value, (bool, int, float, complex, str, bytes, np.generic))
    return value if plain else str(value)
