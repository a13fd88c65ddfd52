"""Coordinates that are no part of a Main's layout: what `isel` leaves over, what people assign.

USID has no place for them. They are kept as text in an attribute of the Main, in any store, and
are coordinates again when it is opened. Those that are too large for that are arrays of their own
where the store has a place for those.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Hashable, Iterable, Mapping
from typing import Any, Protocol, TypeVar

import numpy as np
import xarray as xr

from usidx.arrays.columns import COORDINATES, INDEX_OF, ORDER, plain_attrs
from usidx.arrays.lazy import to_lazy
from usidx.arrays.views import Readable
from usidx.model.dimension import Array
from usidx.model.layout import Layout

Labelled = TypeVar("Labelled", xr.DataArray, xr.Dataset)

# An attribute of HDF5 has room for 64 KiB; text takes a third more than the values.
_MOST = 24 * 2**10


def further_coordinates(
    obj: xr.DataArray | xr.Dataset, layouts: tuple[Layout, Layout]
) -> dict[str, xr.DataArray]:
    """The coordinates of `obj` that its layouts say nothing of, by name."""
    known = {name for layout in layouts for name in (*layout.dims, *layout.names)}
    return {
        str(name): each
        for name, each in obj.coords.items()
        if name not in known and not {ORDER, INDEX_OF} & set(each.attrs)
    }


def dump_coordinates(coordinates: Mapping[str, xr.DataArray]) -> str:
    """Coordinates as text that `load_coordinates` reads; those that are too large are left out.

    Examples
    --------
    >>> dump_coordinates({"Bias": xr.DataArray(1.5, attrs={"units": "V"})})
    '{"Bias": {"dims": [], "values": 1.5, "attrs": {"units": "V"}}}'
    """
    found: dict[str, Any] = {}
    left = _MOST
    for name, each in coordinates.items():
        if each.nbytes > left:
            continue
        # lazy ones are small, too, and mostly values in memory that were cut into blocks
        values = _as_json(np.asarray(each.compute(scheduler="sync").values))
        if values is None:
            continue
        left -= each.nbytes
        attrs = {key: value for key, value in plain_attrs(each.attrs).items() if _is_json(value)}
        found[name] = {"dims": [str(dim) for dim in each.dims], "values": values, "attrs": attrs}
    return json.dumps(found, ensure_ascii=False)


def load_coordinates(
    attrs: Mapping[str, Any], sizes: Mapping[Hashable, int]
) -> dict[str, xr.Variable]:
    """The coordinates that the attributes of a Main keep, of those dimensions that there are.

    What somebody edited such that it cannot be read says nothing.
    """
    try:
        told = json.loads(str(attrs.get(COORDINATES, "{}")))
        found = {
            str(name): xr.Variable(tuple(each["dims"]), _values(each["values"]), each["attrs"])
            for name, each in told.items()
        }
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}
    return {
        name: each
        for name, each in found.items()
        if all(sizes.get(dim) == size for dim, size in each.sizes.items())
    }


class FurtherCoordinate(Protocol):
    """A coordinate of a stored Main, see `usidx.stores.base.FurtherCoordinate`."""

    @property
    def name(self) -> str: ...
    @property
    def dims(self) -> tuple[str, ...]: ...
    @property
    def array(self) -> Readable: ...
    @property
    def attrs(self) -> Mapping[str, Any]: ...


def with_further(obj: Labelled, coordinates: Iterable[FurtherCoordinate]) -> Labelled:
    """`obj` with those of the coordinates that fit it; they are read when they are asked for."""
    found = {
        each.name: xr.Variable(each.dims, to_lazy(each.array), dict(each.attrs))
        for each in coordinates
        if each.name not in obj.coords
        and tuple(obj.sizes.get(dim) for dim in each.dims) == each.array.shape
    }
    return obj.assign_coords(found) if found else obj


def is_kept(attrs: Mapping[str, Any], name: str) -> bool:
    """Whether a coordinate is among those that the attributes of a Main keep."""
    return name in json.loads(str(attrs.get(COORDINATES, "{}")))


def _as_json(values: Array) -> Any:
    """Values as JSON has them; None for those of a kind that it cannot hold."""
    if values.dtype.kind in "biufcmM":
        if values.ndim == 0 and values.dtype in (np.float64, np.int64) and np.isfinite(values):
            return values.item()
        little = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<")))
        text = base64.b64encode(little.tobytes()).decode("ascii")
        return {"dtype": little.dtype.str, "shape": list(values.shape), "base64": text}
    told = values.tolist()
    flat = values.ravel().tolist()
    return told if all(isinstance(each, str) for each in flat) else None


def _values(told: Any) -> Array:
    if not isinstance(told, dict):
        return np.asarray(told)
    dtype = np.dtype(str(told["dtype"]))
    if dtype.kind not in "biufcmM":
        raise ValueError(f"coordinates never have the dtype {dtype}")
    flat = np.frombuffer(base64.b64decode(told["base64"], validate=True), dtype)
    return flat.reshape(told["shape"]).astype(dtype.newbyteorder("="))


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True
