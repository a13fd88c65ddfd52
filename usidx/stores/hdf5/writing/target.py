"""A Main of a file that is being made, to store blocks of values into."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from usidx.model.dimension import Array
from usidx.model.main import MainSpec
from usidx.stores.hdf5.writing.encoding import Encoding
from usidx.stores.hdf5.writing.rows import Key

if TYPE_CHECKING:
    from usidx.stores.hdf5.writing.create import Draft


class Target:
    """A Main of a draft, to store blocks into: `target[key] = values`, from any thread.

    Parameters
    ----------
    draft : it belongs to
    spec : of the Main
    dataset : that holds it
    encoding : of its chunks
    checked : whether it has chunks; else it lies in one piece
    """

    def __init__(
        self,
        draft: Draft,
        spec: MainSpec,
        dataset: h5py.Dataset,
        encoding: Encoding,
        checked: bool = True,
    ) -> None:
        self._draft = draft
        self.spec = spec
        self.dataset = dataset
        self.encoding = encoding
        self.checked = checked
        self.written = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the N-D axes."""
        return self.spec.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of one value."""
        return self.spec.dtype

    def __setitem__(self, key: Key, values: Array) -> None:
        self._draft.write(self, key, values)

    def write_chunk(self, place: tuple[int, int], values: Array) -> None:
        """Write a whole stored chunk, from any thread; the values are encoded in it.

        Parameters
        ----------
        place : first row and column
        values : array, 2-D, in the order of the file, all of a chunk, also of one at the edge
        """
        self._draft.write_chunk(self, place, values)
