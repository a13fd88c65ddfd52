"""MainSpec: everything about a Main but its values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from usidx.model.layout import Layout


@dataclass(frozen=True)
class MainSpec:
    """A Main dataset without its values: what was measured, in which units, on which layout.

    Parameters
    ----------
    path : absolute path within the store, such as "/Measurement_000/Channel_000/Raw_Data"
    quantity, units : of the measured values
    dtype : of one value; a structured dtype for a compound Main
    position, spectroscopic : how rows and columns fold
    attrs : every other attribute of the dataset
    """

    path: str
    quantity: str
    units: str
    dtype: np.dtype[Any]
    position: Layout
    spectroscopic: Layout
    attrs: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rsplit("/", 1)[-1]

    @property
    def parent(self) -> str:
        """Path of the group that holds the Main."""
        return self.path.rsplit("/", 1)[0] or "/"

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of the N-D axes: positions slowest to fastest, then spectroscopic."""
        return self.position.dims + self.spectroscopic.dims

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the N-D axes."""
        return self.position.shape + self.spectroscopic.shape

    @property
    def shape_2d(self) -> tuple[int, int]:
        """(positions, spectroscopic values): the shape in an h5USID file."""
        return self.position.size, self.spectroscopic.size

    @property
    def nbytes(self) -> int:
        """Size of the values, uncompressed."""
        return self.position.size * self.spectroscopic.size * self.dtype.itemsize
