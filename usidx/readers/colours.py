"""Colours that a file keeps as fields of each pixel: red, green, blue, and how opaque it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from usidx.model.dimension import Array
from usidx.readers.base import Axis, spectroscopic
from usidx.stores.base import BlockArray

_FIELDS = (("R", "G", "B"), ("R", "G", "B", "A"))


def is_colour(dtype: np.dtype[Any]) -> bool:
    """Whether a dtype has the fields of a colour, all of one kind of number.

    Examples
    --------
    >>> is_colour(np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
    True
    """
    kinds = {each[0] for each in (dtype.fields or {}).values()}
    return dtype.names in _FIELDS and len(kinds) == 1


def colours(dtype: np.dtype[Any]) -> Axis:
    """The axis along which the fields of a colour lie in a `ColourArray`."""
    return spectroscopic("channel", size=len(dtype.names or ()))


@dataclass(frozen=True, eq=False)
class ColourArray:
    """The fields of each colour along an axis behind the others; picklable if `array` is.

    Parameters
    ----------
    array : of which the dtype is that of a colour
    """

    array: BlockArray

    @property
    def shape(self) -> tuple[int, ...]:
        return *self.array.shape, len(self.array.dtype.names or ())

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.array.dtype[0]).newbyteorder("=")

    def __dask_tokenize__(self) -> Any:
        return "usidx.ColourArray", self.array.__dask_tokenize__()

    def __getitem__(self, key: Any, /) -> Array:
        parts = list(key) if isinstance(key, tuple) else [key]
        parts += [slice(None)] * (self.ndim - len(parts))
        pixels = np.asarray(self.array[tuple(parts[:-1])])
        fields = [pixels[name].astype(self.dtype) for name in pixels.dtype.names or ()]
        found: Array = np.stack(fields, axis=-1)[..., parts[-1]]
        return found
