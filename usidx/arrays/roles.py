"""Which dimensions of an xarray object are positions and which spectroscopic.

A role is an attribute of coordinates, `usid_role`, because attributes of coordinates survive what
attributes of arrays do not: arithmetic, selection, reduction and concatenation.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
import xarray as xr

from usidx.errors import LayoutError, did_you_mean
from usidx.model.dimension import Role

ROLE = "usid_role"
ROLES: tuple[Role, Role] = ("position", "spectroscopic")

Labelled = TypeVar("Labelled", xr.DataArray, xr.Dataset)


def role_of(coordinate: xr.DataArray) -> Role | None:
    """The role that a coordinate has by its attributes."""
    role = coordinate.attrs.get(ROLE)
    return role if role in ROLES else None


def known_roles(obj: xr.DataArray | xr.Dataset) -> dict[str, Role | None]:
    """The role of every dimension by what its coordinates say, None where they say nothing.

    A coordinate of the dimension's own name speaks first, then any other along it alone, then
    one that runs along it and others; a dimension called "position" or "spectroscopic" needs none.
    """
    roles: dict[str, Role | None] = {}
    for dim in obj.dims:
        along = [each for each in obj.coords.values() if dim in each.dims]
        along.sort(key=lambda each: (each.name != dim, each.ndim))
        role = next((found for each in along if (found := role_of(each))), None)
        if role is None and dim in ROLES:
            role = "position" if dim == "position" else "spectroscopic"
        roles[str(dim)] = role
    return roles


def dims_by_role(obj: xr.DataArray | xr.Dataset) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(position dims, spectroscopic dims), each in the order of the array.

    A dimension without a role is spectroscopic where some position dimension is known: what a
    step adds to a map (a component, a parameter) belongs to the side of the spectra.

    Raises
    ------
    LayoutError : where that does not settle it; the message lists the dimensions
    """
    roles = known_roles(obj)
    position = tuple(dim for dim, role in roles.items() if role == "position")
    lost = [dim for dim, role in roles.items() if role is None]
    if lost and not position:
        what = f"the array {obj.name!r}" if isinstance(obj, xr.DataArray) else "the Dataset"
        raise LayoutError(
            f"{what} has dimensions without a role: {', '.join(lost)} (of {', '.join(roles)}), and "
            "none that is known to be a position; say which are with "
            f".usid.assign_roles(position=[...], spectroscopic=[{lost[0]!r}, ...])"
        )
    return position, tuple(dim for dim in roles if dim not in position)


def assign_roles(
    obj: Labelled,
    position: Sequence[str] = (),
    spectroscopic: Sequence[str] | None = None,
    *,
    quantity: str | None = None,
    units: str | None = None,
) -> Labelled:
    """A copy of `obj` (its values are shared) whose dimensions have roles, positions first.

    Parameters
    ----------
    obj : any DataArray or Dataset
    position : names of the position dimensions, slowest first
    spectroscopic : names of the others, slowest first; all that are left when None
    quantity, units : of the values; kept as they are when None

    Raises
    ------
    LayoutError : for a name that is no dimension, or one given twice or left out

    Examples
    --------
    >>> image = xr.DataArray(np.zeros((3, 4)), dims=("row", "column"))
    >>> assign_roles(image, ["row", "column"], quantity="Height", units="nm").row.attrs
    {'usid_role': 'position'}
    """
    first = (position,) if isinstance(position, str) else tuple(position)
    if spectroscopic is None:
        second = tuple(str(dim) for dim in obj.dims if dim not in first)
    else:
        second = (spectroscopic,) if isinstance(spectroscopic, str) else tuple(spectroscopic)
    given = first + second
    _check_names(given, obj.dims)
    roles: dict[str, Role] = {dim: "position" for dim in first}
    roles.update({dim: "spectroscopic" for dim in second})
    bare = {dim: np.arange(obj.sizes[dim]) for dim in given if not _speaks_for(obj, dim)}
    labelled = obj.assign_coords(bare).transpose(*given)
    for coordinate in labelled.coords.values():
        sides = {roles[str(dim)] for dim in coordinate.dims}
        if len(sides) == 1:
            coordinate.attrs[ROLE] = sides.pop()
    for name, value in (("quantity", quantity), ("units", units), ("long_name", quantity)):
        if value is not None:
            _set_attribute(labelled, name, value)
    return labelled


def _check_names(given: Sequence[str], dims: Iterable[Hashable]) -> None:
    known = [str(dim) for dim in dims]
    for name in given:
        if name not in known:
            raise LayoutError(
                f"{name!r} is no dimension of the array{did_you_mean(name, known)}; "
                f"it has {', '.join(known) or 'none'}"
            )
    twice = [name for name in given if given.count(name) > 1]
    if twice:
        raise LayoutError(f"dimension {twice[0]!r} is given a role more than once")
    left = [name for name in known if name not in given]
    if left:
        raise LayoutError(
            f"{', '.join(left)} are left without a role; name every dimension or none"
        )


def _speaks_for(obj: xr.DataArray | xr.Dataset, dim: str) -> bool:
    return any(each.dims == (dim,) for each in obj.coords.values())


def _set_attribute(obj: xr.DataArray | xr.Dataset, name: str, value: Any) -> None:
    obj.attrs[name] = value
    if isinstance(obj, xr.Dataset):
        for variable in obj.data_vars.values():
            variable.attrs.setdefault(name, value)
