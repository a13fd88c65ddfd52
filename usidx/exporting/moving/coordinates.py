"""Coordinates that are too large for an attribute of HDF5, as datasets beside their Main."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

from usidx.errors import InvalidMainError, OptionError
from usidx.exporting.moving.parts import Part
from usidx.model.dimension import Array
from usidx.stores.leaves.coding import encode
from usidx.stores.leaves.further import FURTHER_ATTR, entry_of_further, kept_as_text


class New(Protocol):
    """An h5USID file that is being made."""

    def names(self, path: str) -> list[str]:
        """What is in the group at `path`."""
        ...

    def add_dataset(
        self, path: str, values: Array, attrs: Mapping[str, Any], *, checked: bool = True
    ) -> None:
        """Write a dataset that is no Main."""
        ...


def put_beside(part: Part, new: New, path: str, *, checked: bool = True) -> Part:
    """Write the large coordinates of a Main; `part`, which says where they are.

    A warning names those that HDF5 has no type for.

    Parameters
    ----------
    new : the file
    path : of the file
    checked : whether they get checksums
    """
    kept, taken = kept_as_text(part.spec.attrs), set(new.names(part.spec.parent))
    told: list[dict[str, Any]] = []
    lost: list[str] = []
    for extra in part.extras:
        if extra.name in kept:
            continue
        key = f"{part.spec.name}_Coordinate_{extra.name.replace('/', '_')}"
        while key in taken:
            key += "_"
        try:
            values, coded = encode(extra.values, extra.name)
            entry = entry_of_further(extra, key)
        except (InvalidMainError, OptionError):
            lost.append(extra.name)
            continue
        shown = {name: extra.attrs[name] for name in ("units", "long_name") if name in extra.attrs}
        place = f"{part.spec.parent.rstrip('/')}/{key}"
        new.add_dataset(place, values, {**shown, **coded}, checked=checked)
        taken.add(key)
        told.append(entry)
    if lost:
        warnings.warn(
            f"{path!r} is written without the coordinates {', '.join(lost)} of {part.spec.path}, "
            "whose values or attributes HDF5 has no type for; make them numbers or text",
            stacklevel=3,
        )
    if not told:
        return part
    attrs = {**part.spec.attrs, FURTHER_ATTR: json.dumps(told, ensure_ascii=False)}
    return replace(part, spec=replace(part.spec, attrs=attrs))
