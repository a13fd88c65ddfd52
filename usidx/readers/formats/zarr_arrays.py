"""Arrays of Zarr stores without what xarray writes: alone, in groups, and as OME-Zarr images."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from usidx.errors import DamagedStoreError, MissingDependencyError, NotUsidError, UsidError
from usidx.model.blocks import whole_chunks
from usidx.model.dimension import Array, Dimension
from usidx.readers.base import Axis, Foreign, default_positions
from usidx.readers.blosc import check_chunks
from usidx.readers.hierarchies import plain_attrs
from usidx.readers.raw import FileIdentity

_METADATA = ("zarr.json", ".zarray", ".zgroup")
_OWN = ("units", "long_name", "quantity", "_ARRAY_DIMENSIONS")


@contextlib.contextmanager
def zarr_root(path: str) -> Iterator[Any]:
    """The group or array that a folder, or a zip file, is; of either format of Zarr.

    Raises
    ------
    MissingDependencyError, DamagedStoreError : as by `reading`
    """
    import zarr

    store = zarr_store(path)
    try:
        with reading(path):
            if isinstance(store, zarr.storage.ZipStore):
                yield zarr.open(store, mode="r")
            else:
                # consolidated metadata may be older than what they are of
                yield _opened(store)
    finally:
        store.close()


def _opened(store: Any) -> Any:
    import zarr

    try:
        return zarr.open_group(store, mode="r", use_consolidated=False)
    except (ValueError, TypeError, FileNotFoundError):  # an array; which, differs by version
        return zarr.open_array(store, mode="r")


def zarr_store(path: str) -> Any:
    """A store of Zarr that reads a folder or a zip file; to be closed."""
    from zarr.storage import LocalStore, ZipStore

    return LocalStore(path, read_only=True) if os.path.isdir(path) else ZipStore(path, mode="r")


@contextlib.contextmanager
def reading(path: str) -> Iterator[None]:
    """What zarr raises for a store, as an error of usidx that names it.

    Raises
    ------
    MissingDependencyError : where a codec is missing
    DamagedStoreError : where a chunk cannot be read
    """
    try:
        yield
    except UsidError:
        raise
    except Exception as error:
        if type(error).__name__ == "UnknownCodecError":
            codec = str(error).rpartition(":")[2].strip(" '\"")
            raise MissingDependencyError(
                f"{path!r} was compressed by the codec {codec!r}, which neither Zarr nor numcodecs "
                "has; install the package that brings it, such as imagecodecs (pip install "
                "imagecodecs) or what the people use who wrote it"
            ) from error
        if isinstance(error, (ValueError, RuntimeError, OSError)):
            raise DamagedStoreError(
                f"{path!r} cannot be read ({type(error).__name__}: {error}); a chunk or its "
                "metadata are damaged"
            ) from error
        raise


@dataclass(frozen=True, eq=False)
class StoredZarr:
    """An array of a Zarr store, in a folder or a zip file; picklable, nothing is left open.

    A chunk that is missing is what the format says it is: the fill value.

    Parameters
    ----------
    path : of the store
    name : of the array in it
    shape, dtype : of the values
    identity : of the file with its metadata, or of the zip file
    """

    path: str
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    identity: FileIdentity

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __dask_tokenize__(self) -> Any:
        return "usidx.StoredZarr", self.path, self.name, self.shape, self.identity

    def __getitem__(self, key: Any, /) -> Array:
        """The values that ints and slices select.

        Raises
        ------
        DamagedStoreError : where a chunk cannot be read
        SourceChangedError, StoreNotFoundError : where the store is not what it was
        """
        import zarr

        self.identity.check(_metadata(self.path, self.name))
        store = zarr_store(self.path)
        try:
            with reading(self.path):
                array: Any = zarr.open_array(store, path=self.name, mode="r")
                if os.path.isdir(self.path):
                    check_chunks(array, self.path, key)
                return np.asarray(array[key]).astype(self.dtype, copy=False)
        finally:
            store.close()


def _metadata(path: str, name: str) -> str:
    if not os.path.isdir(path):
        return path
    files = [os.path.join(path, name, each) for each in _METADATA]
    return next((each for each in files if os.path.exists(each)), files[0])


def array_of(path: str, name: str, array: Any) -> StoredZarr:
    """An array of a store as a block array.

    Raises
    ------
    NotUsidError : where its values are no numbers
    """
    dtype = array.dtype
    if not isinstance(dtype, np.dtype) or dtype.kind not in "biufcV":
        raise NotUsidError(f"{name or path!r} has values of {dtype}, which are no numbers")
    shape = tuple(int(n) for n in array.shape)
    if 0 in shape:
        raise NotUsidError(f"{name or path!r} has the shape {shape}, and so no values")
    identity = FileIdentity.of(_metadata(path, name))
    return StoredZarr(path, name, shape, dtype.newbyteorder("="), identity)


def chunks_of(array: Any) -> tuple[int, ...]:
    """Shape of blocks of whole chunks that are quick to read."""
    chunks = tuple(map(min, getattr(array, "shards", None) or array.chunks, array.shape))
    return whole_chunks(tuple(array.shape), chunks, array.dtype.itemsize)


def arrays_in(group: Any) -> Mapping[str, Any]:
    """The arrays of a group, by their names."""
    return {str(name): array for name, array in sorted(group.arrays())}


def main_of(path: str, name: str, array: Any, position: Sequence[str] | str | None) -> Foreign:
    """A Main of an array: of up to three axes all but the last are positions, or as asked."""
    values = array_of(path, name, array)
    attrs = dict(array.attrs)
    named = getattr(array.metadata, "dimension_names", None) or attrs.get("_ARRAY_DIMENSIONS") or ()
    dims = [str(each or f"dim_{axis}") for axis, each in enumerate(named)]
    if len(dims) != values.ndim or len(set(dims)) != len(dims):
        dims = [f"dim_{axis}" for axis in range(values.ndim)]
    asked = [position] if isinstance(position, str) else position
    wanted = dims[: default_positions(len(dims))] if asked is None else list(asked)
    axes = tuple(
        Axis(Dimension(dim, "", np.arange(size)), "position" if dim in wanted else "spectroscopic")
        for dim, size in zip(dims, values.shape)
    )
    return Foreign(
        f"/{name}" if "/" in name else name or "Raw_Data",
        values,
        axes,
        quantity=str(attrs.get("quantity") or attrs.get("long_name") or "Unknown"),
        units=str(attrs.get("units") or ""),
        attrs=plain_attrs({key: each for key, each in attrs.items() if key not in _OWN}),
        chunks=chunks_of(array),
    )


def group_mains(
    path: str, group: Any, where: str, position: Sequence[str] | str | None
) -> list[Foreign]:
    """A Main of each array of numbers in a group.

    Parameters
    ----------
    path : of the store
    group, where : a group of it, and its path there
    position : names of the axes that are positions; as `main_of` has them when None
    """
    found = []
    for name, array in arrays_in(group).items():
        with contextlib.suppress(NotUsidError):
            found.append(main_of(path, f"{where}/{name}".strip("/"), array, position))
    said = plain_attrs({key: each for key, each in dict(group.attrs).items() if key not in _OWN})
    return [replace(each, attrs={**said, **each.attrs}) for each in found]
