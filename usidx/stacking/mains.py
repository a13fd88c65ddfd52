"""Several Mains of one grid as one, along a new dimension."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from usidx.arrays.columns import ORDER, ORDER_NAMES, free_name
from usidx.arrays.labels import origin_of
from usidx.arrays.roles import ROLE, dims_by_role, role_of
from usidx.errors import LayoutError, OptionError, StoreNotFoundError
from usidx.model.dimension import Array, Dimension, Role
from usidx.model.names import natural_key

Labelled = xr.DataArray | xr.Dataset
Path = str | os.PathLike[str]
_JOINS = ("exact", "override", "inner", "outer")
# Attributes that may differ: who measured when is another story for each Main.
_TELLING = ("quantity", "units")


def stack_mains(
    mains: Path | Iterable[Path | Labelled],
    dim: str | Dimension | None,
    *,
    role: Role = "position",
    join: str = "exact",
    main: str | None = None,
) -> Labelled:
    """Mains along a new dimension in front of the others of its role; see `usidx.stack`."""
    if dim is None:
        raise OptionError("a stack of Mains needs a name for the new dimension: dim='time'")
    if role not in ("position", "spectroscopic"):
        raise OptionError(f"role={role!r} is neither 'position' nor 'spectroscopic'")
    if join not in _JOINS:
        raise OptionError(f"join={join!r} is not known; use one of {', '.join(map(repr, _JOINS))}")
    arrays, names = _opened(mains, main)
    new = dim if isinstance(dim, Dimension) else Dimension(dim, "", np.arange(len(arrays)))
    if new.size != len(arrays):
        raise OptionError(f"Dimension {new.name!r} has {new.size} values for {len(arrays)} Mains")
    _check_alike(arrays, names, new.name)
    _check_points(arrays[0], role)
    if join == "exact":
        _check_grids(arrays, names)
    orders = {side: [_order(each, side) for each in arrays] for side in dims_of(arrays[0])}
    arrays = [_without_orders(each) for each in arrays]
    if join == "override":
        arrays = _with_grid_of_first(arrays, names)
    # Coordinates that differ along the new dimension get it; those of the grid are one for all.
    concat: Any = xr.concat
    found: Any = concat(
        arrays, new.name, join=join, coords="minimal", compat="override", combine_attrs="override"
    )
    found = _in_place(found, arrays[0], new, role)
    if join in ("exact", "override"):
        for side, known in orders.items():
            found = _with_order(found, side, known, new.name if side == role else None)
    return found  # type: ignore[no-any-return]


def dims_of(array: Labelled) -> dict[Role, tuple[str, ...]]:
    """Names of the dimensions of each role."""
    position, spectroscopic = dims_by_role(array)
    return {"position": position, "spectroscopic": spectroscopic}


def _opened(mains: Any, main: str | None) -> tuple[list[Any], list[str]]:
    """(the Mains, what to call each in messages)."""
    from usidx.opening import open as open_main

    if isinstance(mains, (str, os.PathLike)):
        pattern = os.path.expanduser(os.fspath(mains))
        mains = sorted(glob.glob(pattern), key=natural_key)
        if not mains:
            raise StoreNotFoundError(f"no file fits {pattern!r}; give the Mains as a list")
    arrays, names = [], []
    for number, each in enumerate(mains):
        if isinstance(each, (str, os.PathLike)):
            arrays.append(open_main(each, main))
            names.append(repr(os.fspath(each)))
        elif isinstance(each, (xr.DataArray, xr.Dataset)):
            arrays.append(each)
            origin = origin_of(each)
            names.append(f"number {number}" if origin is None else repr(origin.store))
        else:
            raise OptionError(
                f"number {number} to stack is a {type(each).__name__}, not a Main or a path"
            )
    if not arrays:
        raise OptionError("there are no Mains to stack")
    return arrays, names


def _check_alike(arrays: Sequence[Any], names: Sequence[str], dim: str) -> None:
    """Refuse what is not the same measurement: other kinds, dimensions, quantities or dtypes."""
    first = arrays[0]
    if dim in first.dims or dim in first.coords:
        raise OptionError(f"the Mains have {dim!r} already; give the new dimension another name")
    for each, name in zip(arrays[1:], names[1:]):
        for what, mine, other in _compared(first, each):
            if mine != other:
                raise LayoutError(
                    f"{name} is not like {names[0]}: {what} {other} where the first has {mine}; "
                    "stack Mains of one kind, or make them alike first"
                )


def _compared(first: Any, each: Any) -> Iterable[tuple[str, Any, Any]]:
    yield "it is a", type(first).__name__, type(each).__name__
    if isinstance(first, xr.Dataset) and isinstance(each, xr.Dataset):
        yield "its fields are", list(first.data_vars), list(each.data_vars)
        for name in first.data_vars:
            yield from (
                (f"its field {name!r}: {what}", mine, other)
                for what, mine, other in _compared(first[name], each[name])
            )
        return
    yield "it has the dimensions", dims_of(first), dims_of(each)
    yield "it has the dtype", first.dtype.newbyteorder("="), each.dtype.newbyteorder("=")
    for told in _TELLING:
        yield f"its {told} are", first.attrs.get(told, ""), each.attrs.get(told, "")


def _check_points(first: Labelled, role: Role) -> None:
    if role in dims_of(first)[role]:
        other = "spectroscopic" if role == "position" else "position"
        raise LayoutError(
            f"the {role} side of the Mains is a list of points, which has no room for another "
            f"dimension; fold it with .usid.to_nd(), or stack with role={other!r}"
        )


def _check_grids(arrays: Sequence[Labelled], names: Sequence[str]) -> None:
    """Refuse grids that differ, naming every coordinate and by how much."""
    first = arrays[0]
    wrong = []
    for each, name in zip(arrays[1:], names[1:]):
        for what in sorted({*map(str, first.coords), *map(str, each.coords)}):
            difference = _difference(first, each, what)
            if difference:
                wrong.append(f"{what!r} of {name} {difference}")
    if wrong:
        more = f"; and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise LayoutError(
            f"the grids differ from that of {names[0]}: {'; '.join(wrong[:5])}{more}. Interpolate "
            "first, or pass join='override' (the grid of the first), 'inner' or 'outer'"
        )


def _difference(first: Labelled, each: Labelled, name: str) -> str:
    """How a coordinate differs from that of the first, "" where it does not."""
    if name not in each.coords:
        return "is not there"
    if name not in first.coords:
        return "is not in the first"
    mine, other = first.coords[name], each.coords[name]
    if ORDER in mine.attrs and ORDER in other.attrs:
        return ""  # each is measured in its own order
    units = mine.attrs.get("units", ""), other.attrs.get("units", "")
    if units[0] != units[1]:
        return f"is in {units[1]!r}, not {units[0]!r}"
    if mine.dims != other.dims or mine.shape != other.shape:
        return f"has {_sized(other)}, not {_sized(mine)}"
    left, right = mine.values, other.values
    if left.dtype.kind not in "biufc" or right.dtype.kind not in "biufc":
        same = np.array_equal(left, right)
        return "" if same else f"is {right.ravel()[:3].tolist()}, not {left.ravel()[:3].tolist()}"
    if np.array_equal(left, right, equal_nan=True):
        return ""
    off = np.abs(np.asarray(right, complex) - np.asarray(left, complex))
    unit = f" {units[0]}" if units[0] else ""
    return f"differs by up to {np.nanmax(off):.4g}{unit} ({int((off > 0).sum())} of {off.size})"


def _sized(coordinate: xr.DataArray) -> str:
    return " x ".join(f"{dim}: {size}" for dim, size in coordinate.sizes.items()) or "no dimension"


def _with_grid_of_first(arrays: Sequence[Any], names: Sequence[str]) -> list[Any]:
    first = arrays[0]
    for each, name in zip(arrays[1:], names[1:]):
        if dict(each.sizes) != dict(first.sizes):
            raise LayoutError(
                f"{name} has the sizes {dict(each.sizes)}, the first {dict(first.sizes)}: it "
                "cannot have its grid; select what all have, or pass join='inner'"
            )
    bare = [each.drop_vars(list(each.coords)) for each in arrays[1:]]
    return [first, *(each.assign_coords(first.coords) for each in bare)]


def _in_place(found: Any, first: Labelled, new: Dimension, role: Role) -> Any:
    """The stack with the new dimension in front of its side, and coordinates that know it."""
    attrs = {"units": new.units, "long_name": new.quantity or new.name, ROLE: role}
    found = found.assign_coords({new.name: (new.name, new.values, attrs)})
    sides = dims_of(first)
    sides[role] = (new.name, *sides[role])
    found = found.transpose(*sides["position"], *sides["spectroscopic"])
    found.attrs.pop("usid_status", None)
    found.encoding = {}
    return found


def _order(array: Labelled, role: Role) -> Array | None:
    """When each cell of a side was acquired, in row-major order; None for row by row."""
    dims = dims_of(array)[role]
    for each in array.coords.values():
        if ORDER in each.attrs and role_of(each) == role and set(each.dims) == set(dims):
            return np.asarray(each.transpose(*dims).values).reshape(-1)
    return None


def _without_orders(array: Any) -> Any:
    return array.drop_vars([name for name, each in array.coords.items() if ORDER in each.attrs])


def _with_order(found: Any, role: Role, known: Sequence[Array | None], dim: str | None) -> Any:
    """The stack with the order in which it was acquired: one Main after the other."""
    if all(each is None for each in known):
        return found
    dims = dims_of(found)[role]
    shape = tuple(found.sizes[name] for name in dims)
    size = int(np.prod(shape)) // (len(known) if dim is not None else 1)
    orders = [np.arange(size) if each is None else each for each in known]
    if dim is not None:
        order = np.concatenate([n * size + each for n, each in enumerate(orders)])
    elif all(np.array_equal(each, orders[0]) for each in orders):
        order = orders[0]
    else:  # each has its own, and one coordinate cannot say so
        return found
    attrs = {ROLE: role, ORDER: 1, "long_name": f"order of acquisition, {role}", "units": ""}
    name = free_name(ORDER_NAMES[role], map(str, found.coords))
    return found.assign_coords({name: (dims, order.reshape(shape), attrs)})
