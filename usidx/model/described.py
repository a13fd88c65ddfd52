"""Digest of everything about a Main but its values and where it is."""

from __future__ import annotations

import hashlib
import json

import numpy as np

from usidx.model.dimension import Array, Dimension
from usidx.model.layout import Coordinate, Grid
from usidx.model.main import MainSpec


def described(spec: MainSpec) -> str:
    """A sha256 in hex that two Mains share whose quantity, units, type and coordinates are equal.

    What holds the coordinates makes no difference: equal numbers are equal.

    Examples
    --------
    >>> from usidx.testing import make_main
    >>> spec = make_main((4, 3, 5)).usid.spec
    >>> described(spec) == described(make_main((4, 3, 5), seed=1).usid.spec)
    True
    """
    digest = hashlib.sha256()
    names = spec.dtype.names
    kinds = [spec.dtype[name].str[1:] for name in names] if names else [spec.dtype.str[1:]]
    told = [spec.quantity, spec.units, list(names or ()), kinds, spec.dims, spec.shape]
    digest.update(json.dumps(told).encode())
    for side in (spec.position, spec.spectroscopic):
        parts: tuple[Dimension | Coordinate, ...] = (
            (*side.dimensions, *side.dependent) if isinstance(side, Grid) else side.columns
        )
        for part in parts:
            digest.update(json.dumps([part.name, part.units]).encode() + _bytes(part.values))
        digest.update(b"in order" if side.order is None else _bytes(side.order))
    return digest.hexdigest()


def _bytes(values: Array) -> bytes:
    if values.dtype.kind in "biuf":
        return np.ascontiguousarray(values, dtype=np.float64).tobytes()
    return json.dumps(values.astype(str).tolist()).encode()
