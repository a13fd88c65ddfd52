"""Values that NumPy has no type for (text, references, opaque bytes, ragged lists), block by block.

Text comes as str, references as the path they lead to, opaque bytes as hexadecimal digits, ragged
lists as NumPy arrays, each in an array of objects. Compounds with such fields keep their fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from usidx.errors import SourceChangedError
from usidx.model.dimension import Array
from usidx.stores import guard
from usidx.stores.hdf5.file import open_file
from usidx.stores.hdf5.objects import attributes
from usidx.stores.hdf5.objects.filters import require_filters
from usidx.stores.hdf5.objects.walk import Catalog, find
from usidx.stores.hdf5.values.selection import select

_OBJECT = np.dtype(object)


@dataclass(frozen=True, eq=False)
class PlainArray:
    """A dataset as plain Python values, read when it is indexed; picklable, nothing is left open.

    Parameters
    ----------
    path : absolute path of the file
    dataset : path of the dataset in it
    shape : of the dataset, and of each value behind it where those are arrays
    stored : what is stored, in words
    dtype : of what is read
    allow_external : folders with other files that this one may reach
    """

    path: str
    dataset: str
    shape: tuple[int, ...]
    stored: str
    dtype: np.dtype[Any]
    allow_external: tuple[str, ...] = ()

    @property
    def ndim(self) -> int:
        """How many axes there are."""
        return len(self.shape)

    def __dask_tokenize__(self) -> Any:
        return "usidx.PlainArray", self.path, self.dataset, self.shape, self.stored

    def __getitem__(self, key: Any, /) -> Array:
        """The values that ints and slices select.

        Raises
        ------
        SourceChangedError : where the file no longer holds what was opened
        StoreNotFoundError : where it has been moved or deleted
        """
        selection = select(key, self.shape)
        values = np.empty(selection.counts, self.dtype)
        if values.size:
            with open_file(self.path) as file:
                guard.check(file, self.allow_external)
                dataset = find(file, self.dataset)
                self._check(dataset)
                require_filters(dataset)
                wanted = tuple(slice(r.start, r.stop, r.step) for r in selection.ranges)
                _fill(values, _read(dataset, wanted), dataset, Catalog(file))
        # an index that leaves no axis would give the value itself
        finished: Array = values[(*selection.finish, ...)]
        return finished

    def _check(self, dataset: Any) -> None:
        if isinstance(dataset, h5py.Dataset) and in_words(dataset) == self.stored:
            return
        raise SourceChangedError(
            f"{self.path!r} has changed since it was opened: {self.dataset!r} was {self.stored}, "
            "and is no longer that; open the file again"
        )


def in_words(dataset: h5py.Dataset) -> str:
    """Shape and dtype of a dataset, by which it is known to be the same."""
    return f"{dataset.shape} {dataset.dtype}"


def _read(dataset: h5py.Dataset, wanted: tuple[slice, ...]) -> Array:
    """The values in some slices, also where each value is an array itself."""
    if not dataset.ndim:
        alone = np.empty(1, dataset.dtype)
        alone[0] = dataset[()]
        return alone.reshape(())
    read = np.asarray(dataset[wanted[: dataset.ndim]])
    part: Array = read[(slice(None),) * dataset.ndim + wanted[dataset.ndim :]]
    return part


def _fill(out: Array, values: Array, dataset: h5py.Dataset, catalog: Catalog) -> None:
    """Put plain values for `values`, found in `dataset`, into `out` of the same shape."""
    if out.dtype.names is not None:
        for name in out.dtype.names:
            _fill(out[name], values[name], dataset, catalog)
    elif out.dtype != _OBJECT:
        out[...] = values
    else:
        flat = out.reshape(-1)
        for place, each in enumerate(values.reshape(-1)):
            flat[place] = attributes.plain(dataset, each, catalog.path_of)
        out[...] = flat.reshape(out.shape)


def plain_equivalent(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype that values of `dtype` have once they are plain: objects where NumPy has none.

    Raises
    ------
    TypeError : for arrays of text and the like within each value
    """
    if dtype.names is not None and dtype.fields is not None:
        return np.dtype([(name, plain_equivalent(dtype.fields[name][0])) for name in dtype.names])
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        if plain_equivalent(base) == _OBJECT:
            raise TypeError(f"arrays of {base} of shape {shape} within each value")
        return np.dtype((plain_equivalent(base), shape))
    if dtype.kind in "biufc":
        return np.dtype(dtype.str)
    return _OBJECT


def is_numeric(dtype: np.dtype[Any]) -> bool:
    """Whether NumPy reads such values as they are: numbers, and compounds of numbers."""
    if dtype.names is not None and dtype.fields is not None:
        return all(is_numeric(dtype.fields[name][0]) for name in dtype.names)
    if dtype.subdtype is not None:
        return is_numeric(dtype.subdtype[0])
    return dtype.kind in "biufc"
