"""Coordinates of a leaf that are no part of its layout: what `isel` leaves over, masks, and so on.

Small ones are text in an attribute of the Main, in any store. The others are only in the leaf,
where its entry names them under "further". In HDF5 they are datasets beside the Main, of which an
attribute says the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from usidx.errors import DamagedStoreError
from usidx.model.dimension import Array
from usidx.stores.base import BlockArray, FurtherCoordinate
from usidx.stores.leaves.attributes import pack, unpack
from usidx.stores.leaves.coding import decode

FURTHER = "further"
# The attribute of a Main in HDF5 with the same, where they are datasets beside it.
FURTHER_ATTR = "usid_further_coordinates"
# The attribute of a Main with those that are small.
_KEPT = "usid_coordinates"
_TEXT = "text"


class ExtraCoordinate(Protocol):
    """A coordinate that plain xarray shows and that the model has no place for."""

    @property
    def name(self) -> str: ...
    @property
    def dims(self) -> tuple[str, ...]: ...
    @property
    def values(self) -> Array: ...
    @property
    def attrs(self) -> Mapping[str, Any]: ...


def kept_as_text(attrs: Mapping[str, Any]) -> frozenset[str]:
    """Names of the coordinates that the attributes of a Main keep."""
    try:
        return frozenset(map(str, json.loads(str(attrs.get(_KEPT, "{}")))))
    except (ValueError, TypeError):
        return frozenset()


def entry_of_further(extra: ExtraCoordinate, key: str) -> dict[str, Any]:
    """What the entry of a leaf says of one coordinate, whose array in the leaf is called `key`."""
    dtype, attrs = extra.values.dtype, extra.attrs
    plain, exact = pack(attrs, extra.name)
    told = dtype.str if dtype.kind in "biufcmMU" else _TEXT
    own = {"units": attrs["units"]} if isinstance(attrs.get("units"), str) else {}
    return {
        "name": extra.name,
        "key": key,
        "dims": list(extra.dims),
        "dtype": told,
        "attrs": {**plain, **own, **exact},
    }


def further_from(
    entry: Mapping[str, Any], path: str, read: Callable[[str], BlockArray]
) -> tuple[FurtherCoordinate, ...]:
    """The coordinates that the entry of a leaf names; nothing is read of their values.

    Parameters
    ----------
    entry : of the leaf
    path : of the Main
    read : the array of a name in the leaf

    Raises
    ------
    DamagedStoreError : for an entry that does not describe them
    """
    try:
        return tuple(
            FurtherCoordinate(
                str(each["name"]),
                tuple(map(str, each["dims"])),
                DecodedArray(read(str(each["key"])), _dtype(str(each["dtype"]))),
                unpack({}, each["attrs"]),
            )
            for each in entry.get(FURTHER, ())
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DamagedStoreError(
            f"the 'usid' attribute of {path!r} does not describe its coordinates ({error!r}); "
            "restore the store from a copy or write it again"
        ) from error


def entry_in(attrs: Mapping[str, Any], path: str) -> dict[str, Any]:
    """What the attributes of a Main in HDF5 say, as `further_from` takes it.

    Raises
    ------
    DamagedStoreError : where that is no JSON of a list of dicts
    """
    try:
        said = json.loads(str(attrs.get(FURTHER_ATTR, "[]")))
        return {FURTHER: [dict(each) for each in said]}
    except (ValueError, TypeError) as error:
        raise DamagedStoreError(
            f"the attribute {FURTHER_ATTR!r} of {path!r} cannot be read ({error}); remove it, or "
            "restore the file from a copy"
        ) from error


@dataclass(frozen=True, eq=False)
class DecodedArray:
    """A coordinate in the type that it had when it was written.

    Parameters
    ----------
    stored : its array in the leaf
    dtype : of its values
    """

    stored: BlockArray
    dtype: np.dtype[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.stored.shape

    @property
    def ndim(self) -> int:
        return self.stored.ndim

    def __getitem__(self, key: Any, /) -> Array:
        return decode(np.asarray(self.stored[key]), self.dtype)

    def __dask_tokenize__(self) -> Any:
        return type(self).__name__, self.stored.__dask_tokenize__(), self.dtype.str


def _dtype(told: str) -> np.dtype[Any]:
    return np.dtype(object) if told == _TEXT else np.dtype(told)
