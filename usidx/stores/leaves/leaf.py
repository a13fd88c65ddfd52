"""A Main as a leaf group of USID-Zarr: MainSpec <-> arrays, their attributes and the "usid" entry.

The group at the Main's path holds the array of values under the Main's name (a compound Main: one
array for each field) and one array for each coordinate, with `dimension_names`, `units` and
`long_name` as xarray wants them. What xarray has no place for is in the group's attribute "usid".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from usidx.errors import DamagedStoreError, InvalidMainError, NotUsidError
from usidx.model.dimension import Array, Dimension, Role
from usidx.model.layout import Coordinate, Grid, Layout, Points
from usidx.model.main import MainSpec
from usidx.stores.leaves.attributes import pack, unpack
from usidx.stores.leaves.coding import decode, encode
from usidx.stores.leaves.further import FURTHER, ExtraCoordinate, entry_of_further, kept_as_text

VERSION = 1
Entry = dict[str, Any]


@dataclass(frozen=True)
class Column:
    """A coordinate array of the leaf: its name there, dimension names, values and attributes."""

    key: str
    dims: tuple[str, ...]
    values: Array
    attrs: Mapping[str, Any]


@dataclass(frozen=True)
class Leaf:
    """A Main in the words of Zarr.

    Parameters
    ----------
    fields : (array name, dtype) of the values, one for each field of a compound Main
    dims : dimension names of the values
    columns : the coordinate arrays
    attrs : of each array of values
    marks : name of the array of marks, for a Main of a result
    entry : the "usid" attribute of the group
    """

    fields: tuple[tuple[str, np.dtype[Any]], ...]
    dims: tuple[str, ...]
    columns: tuple[Column, ...]
    attrs: Mapping[str, Any]
    marks: str
    entry: Entry


def describe(spec: MainSpec, extras: Sequence[ExtraCoordinate] = ()) -> Leaf:
    """`spec` as the arrays and attributes of a leaf group.

    Raises
    ------
    InvalidMainError : for a dtype that Zarr v3 cannot hold
    OptionError : for attributes that cannot be kept
    """
    keys = _Keys()
    compound = spec.dtype.names is not None
    fields = tuple(
        (keys.new(name), _storable(dtype, spec.path))
        for name, dtype in fields_of(spec.dtype, spec.name)
    )
    marks = keys.new("completed_positions")
    columns: list[Column] = []
    sides = {
        side.role: _describe_side(side, keys, columns)
        for side in (spec.position, spec.spectroscopic)
    }
    dims = sides["position"][1] + sides["spectroscopic"][1]
    shown = [_extra_column(each, dict(zip(spec.dims, dims)), keys) for each in extras]
    columns += shown
    kept = kept_as_text(spec.attrs)
    told = [
        entry_of_further(each, column.key)
        for each, column in zip(extras, shown, strict=True)
        if each.name not in kept
    ]
    plain, exact = pack(spec.attrs, spec.path)
    on_their_own = {dim for _, names in sides.values() for dim in names}
    along = " ".join(each.key for each in columns if each.key not in on_their_own)
    entry: Entry = {
        "version": VERSION,
        "kind": "main",
        "name": spec.name,
        "quantity": spec.quantity,
        "units": spec.units,
        "compound": compound,
        "fields": [
            {"name": name, "key": key, "dtype": dtype.str}
            for (name, dtype), (key, _) in zip(
                fields_of(spec.dtype, spec.name), fields, strict=True
            )
        ],
        **{role: described for role, (described, _) in sides.items()},
        "attrs": exact,
    }
    if told:
        entry[FURTHER] = told
    attrs = {
        **plain,
        "quantity": spec.quantity,
        "long_name": spec.quantity,
        **_unit_attrs(spec.units),
    }
    if along:
        attrs["coordinates"] = along
    return Leaf(fields, dims, tuple(columns), attrs, marks, entry)


def spec_from(
    path: str, entry: Mapping[str, Any], plain: Mapping[str, Any], read: Callable[[str], Array]
) -> MainSpec:
    """The MainSpec of a leaf.

    Parameters
    ----------
    path : of the leaf group
    entry : its "usid" attribute
    plain : attributes of its (first) array of values
    read : gives the values of the coordinate array of a name

    Raises
    ------
    DamagedStoreError : for an entry that does not describe a Main
    """
    try:
        return MainSpec(
            path=path,
            quantity=str(entry["quantity"]),
            units=str(entry["units"]),
            dtype=dtype_from(entry),
            position=_side_from("position", entry["position"], read),
            spectroscopic=_side_from("spectroscopic", entry["spectroscopic"], read),
            attrs=unpack(plain, entry["attrs"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedStoreError(
            f"the 'usid' attribute of {path!r} does not describe a Main ({error!r}); "
            "restore the store from a copy or write it again"
        ) from error


def dims_and_shape(entry: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """(names, sizes) of the N-D axes, from the entry alone."""
    dims: list[str] = []
    shape: list[int] = []
    for role in ("position", "spectroscopic"):
        side = entry[role]
        if side["kind"] == "points":
            dims.append(role)
            shape.append(int(side["size"]))
        else:
            dims += [str(each["name"]) for each in side["dimensions"]]
            shape += [int(each["size"]) for each in side["dimensions"]]
    return tuple(dims), tuple(shape)


def dtype_from(entry: Mapping[str, Any]) -> np.dtype[Any]:
    """The dtype of the Main, structured for a compound one."""
    fields = [(str(each["name"]), np.dtype(str(each["dtype"]))) for each in entry["fields"]]
    return np.dtype(fields) if entry["compound"] else fields[0][1]


def fields_of(dtype: np.dtype[Any], name: str) -> list[tuple[str, np.dtype[Any]]]:
    """(name, dtype) of each field, or of the one array called `name` where there are none."""
    if dtype.names is None:
        return [(name, dtype)]
    return [(field, dtype[field]) for field in dtype.names]


def _storable(dtype: np.dtype[Any], path: str) -> np.dtype[Any]:
    if dtype.kind not in "biufc" or dtype.char in "gG":
        raise InvalidMainError(
            f"{path!r} has values of {dtype}, which Zarr v3 cannot hold; "
            "convert them to bool, an integer, float or complex type of at most 64 bits a part"
        )
    # by its name: NumPy has two of 64 bits that are equal, of which Zarr knows one
    return np.dtype(dtype.newbyteorder("=").str)


class _Keys:
    """Names of arrays within one leaf: no two alike, also where letter case does not count."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def new(self, name: str, *, one_word: bool = False) -> str:
        """A name near `name` that a Zarr node (and, as one word, a list of names) can have."""
        plain = re.sub(r"[/\\\0]|\s$" + (r"|\s" if one_word else ""), "_", name)
        if re.match("[ -/:-@[-^`{-~]", plain):  # no name of netCDF begins so
            plain = f"dim_{plain}"
        if not plain.strip(".") or plain.startswith("__") or plain.casefold() == "zarr.json":
            plain = f"dim_{plain.strip('.').lstrip('_')}"
        key, count = plain, 1
        while key.casefold() in self._taken:
            key, count = f"{plain}_{count}", count + 1
        self._taken.add(key.casefold())
        return key


def _describe_side(
    side: Layout, keys: _Keys, columns: list[Column]
) -> tuple[Entry, tuple[str, ...]]:
    """(entry, dimension names) of one side; its coordinate arrays are added to `columns`."""
    if isinstance(side, Points):
        dim = keys.new(side.role)
        each = [
            _describe_coordinate(column, {side.role: dim}, side.role, keys, columns, axis)
            for axis, column in enumerate(side.columns)
        ]
        entry: Entry = {"kind": "points", "size": side.size, "reason": side.reason, "columns": each}
        return entry, (dim,)
    names: dict[str, str] = {}
    dimensions: list[Entry] = []
    for dimension in side.dimensions:
        key = names[dimension.name] = keys.new(dimension.name)
        described = _add_column(key, (key,), dimension, side.role, columns)
        described["quantity"] = dimension.quantity
        described["indices"] = _add_indices(
            key, (key,), dimension.indices, side.role, keys, columns
        )
        dimensions.append(described)
    dependent = [
        _describe_coordinate(each, names, side.role, keys, columns) for each in side.dependent
    ]
    dims = tuple(names.values())
    order = _add_order(side, dims, keys, columns)
    return {"kind": "grid", "dimensions": dimensions, "dependent": dependent, "order": order}, dims


def _describe_coordinate(
    coordinate: Coordinate,
    names: Mapping[str, str],
    role: Role,
    keys: _Keys,
    columns: list[Column],
    axis: int | None = None,
) -> Entry:
    key = keys.new(coordinate.name, one_word=True)
    dims = tuple(names[each] for each in coordinate.dims)
    described = _add_column(key, dims, coordinate, role, columns, axis)
    described["dims"] = list(coordinate.dims)
    described["indices"] = _add_indices(key, dims, coordinate.indices, role, keys, columns)
    return described


def _add_column(
    key: str,
    dims: tuple[str, ...],
    source: Dimension | Coordinate,
    role: Role,
    columns: list[Column],
    axis: int | None = None,
) -> Entry:
    values, extra = encode(source.values, key)
    quantity = source.quantity if isinstance(source, Dimension) else ""
    attrs: dict[str, Any] = {
        "long_name": quantity or source.file_label or source.name,
        "usid_role": role,
        **_unit_attrs(source.units),
        **extra,
    }
    if source.file_label != source.name:
        attrs["usid_label"] = source.file_label
    if axis is not None:
        attrs["usid_axis"] = axis
    columns.append(Column(key, dims, values, attrs))
    return {
        "name": source.name,
        "key": key,
        "size": int(source.values.shape[0]),
        "label": source.label,
        "units": source.units,
        "dtype": source.values.dtype.str,
    }


def _add_indices(
    of: str,
    dims: tuple[str, ...],
    indices: Array | None,
    role: Role,
    keys: _Keys,
    columns: list[Column],
) -> Entry | None:
    if indices is None:
        return None
    key = keys.new(f"{of}_index", one_word=True)
    values, extra = encode(indices, key)
    attrs = {"long_name": f"{of} index", "usid_role": role, "usid_index_of": of, **extra}
    columns.append(Column(key, dims, values, attrs))
    return {"key": key, "dtype": indices.dtype.str}


def _add_order(side: Grid, dims: tuple[str, ...], keys: _Keys, columns: list[Column]) -> str | None:
    if side.order is None:
        return None
    suffix = "" if side.role == "position" else "_spectroscopic"
    key = keys.new("acquisition_order" + suffix)
    order = np.ascontiguousarray(side.order, dtype=np.int64).reshape(side.shape)
    attrs = {
        "long_name": f"order of acquisition, {side.role}",
        "usid_role": side.role,
        "usid_order": 1,
    }
    columns.append(Column(key, dims, order, attrs))
    return key


def _extra_column(extra: ExtraCoordinate, names: Mapping[str, str], keys: _Keys) -> Column:
    values, coded = encode(extra.values, extra.name)
    key = keys.new(extra.name, one_word=True)
    plain, _ = pack(extra.attrs, extra.name)
    shown = {name: extra.attrs[name] for name in ("units", "long_name") if name in extra.attrs}
    dims = tuple(names[dim] for dim in extra.dims)
    return Column(key, dims, values, {**plain, **shown, **coded})


def _side_from(role: Role, side: Mapping[str, Any], read: Callable[[str], Array]) -> Layout:
    if side["kind"] == "points":
        columns = [_coordinate_from(each, read) for each in side["columns"]]
        return Points(role, tuple(columns), str(side["reason"]))
    dimensions = [
        Dimension(
            name=str(each["name"]),
            units=str(each["units"]),
            values=_values(each, read),
            indices=_indices(each, read),
            label=each["label"],
            quantity=str(each["quantity"]),
        )
        for each in side["dimensions"]
    ]
    dependent = [_coordinate_from(each, read) for each in side["dependent"]]
    order = side["order"]
    return Grid(
        role,
        tuple(dimensions),
        tuple(dependent),
        None if order is None else read(order).reshape(-1).astype(np.int64),
    )


def _coordinate_from(described: Mapping[str, Any], read: Callable[[str], Array]) -> Coordinate:
    return Coordinate(
        name=str(described["name"]),
        units=str(described["units"]),
        dims=tuple(str(each) for each in described["dims"]),
        values=_values(described, read),
        indices=_indices(described, read),
        label=described["label"],
    )


def _values(described: Mapping[str, Any], read: Callable[[str], Array]) -> Array:
    return decode(read(str(described["key"])), np.dtype(str(described["dtype"])))


def _indices(described: Mapping[str, Any], read: Callable[[str], Array]) -> Array | None:
    return None if described["indices"] is None else _values(described["indices"], read)


def _unit_attrs(units: str) -> dict[str, str]:
    # xarray takes "... since ..." for a date to decode, and fails where it is none
    return {"units": units} if "since" not in units else {"usid_units": units}


def check_version(entry: Mapping[str, Any], path: str) -> None:
    """Refuse an entry of another version of the format than this usidx knows.

    Raises
    ------
    NotUsidError : naming both versions
    """
    if entry.get("version") != VERSION:
        raise NotUsidError(
            f"{path!r} is written in version {entry.get('version')!r} of USID-Zarr, this usidx "
            f"reads version {VERSION}; open it with a later usidx"
        )
