"""Groups, attributes and arrays of HDF5 files and Zarr folders, alike for readers of both."""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from usidx.errors import DamagedStoreError
from usidx.model.dimension import Array
from usidx.readers.blosc import check_chunks
from usidx.readers.raw import FileIdentity
from usidx.stores.base import BlockArray

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
ZIP_SIGNATURE = b"PK\x03\x04"
# Larger attributes than this are left out of what is flattened.
_LONGEST = 10_000


def is_hdf5(path: str) -> bool:
    """Whether a file begins as one of HDF5."""
    with open(path, "rb") as file:
        return file.read(len(HDF5_SIGNATURE)) == HDF5_SIGNATURE


@contextmanager
def hdf5(path: str, allow_external: Sequence[str] = ()) -> Iterator[Any]:
    """The root of an HDF5 file, after a look at what it reaches.

    Parameters
    ----------
    allow_external : folders with the other files that it may reach into; nothing else
    """
    from usidx.stores.hdf5.read import opened

    with opened(path, allow_external) as session:
        yield session.file


def hdf5_array(
    path: str, name: str, allow_external: Sequence[str] = ()
) -> tuple[BlockArray, tuple[int, ...] | None]:
    """(values of the dataset `name` as a block array, shape of its chunks)."""
    from usidx.stores.hdf5.inventory import dataset

    found = dataset(path, name, allow_external)
    return found.array, found.chunks


def whole(item: Any) -> Array:
    """All values of a dataset of HDF5, or of an array of Zarr, such as those along an axis.

    Raises
    ------
    MissingDependencyError : naming the filter that they went through, where HDF5 lacks it
    """
    import h5py

    from usidx.stores.hdf5.objects.filters import require_filters

    if isinstance(item, h5py.Dataset):
        require_filters(item)
    return np.asarray(item[...])


def root_attrs(path: str) -> Mapping[str, Any]:
    """Attributes of the root of an HDF5 file as plain values, {} where it cannot be read."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return plain_attrs(file.attrs)
    except OSError:
        return {}


def folder_attrs(path: str) -> Mapping[str, Any]:
    """Attributes of the root of a Zarr folder of either format, or of a zip file that is one.

    {} where it has none.
    """
    for name, key in ((".zattrs", None), ("zarr.json", "attributes")):
        try:
            said = json.loads(_content(path, name))
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            continue
        said = said if key is None else said.get(key)
        return said if isinstance(said, dict) else {}
    return {}


def _content(path: str, name: str) -> bytes:
    """A small file in a folder or in a zip file."""
    if os.path.isdir(path):
        with open(os.path.join(path, name), "rb") as file:
            return file.read()
    with zipfile.ZipFile(path) as archive:
        return archive.read(name)


@contextmanager
def zarr_group(path: str) -> Iterator[Any]:
    """The root of a Zarr folder, of format 2 or 3, or of a zip file that is one."""
    import zarr

    with _zarr_store(path) as store:
        # consolidated metadata may be older than what they are of, and are read even of odd arrays
        yield zarr.open_group(store, mode="r", use_consolidated=False)


@contextmanager
def _zarr_store(path: str) -> Iterator[Any]:
    from zarr.storage import LocalStore, ZipStore

    if os.path.isdir(path):
        yield LocalStore(path, read_only=True)
        return
    store = ZipStore(path, mode="r", read_only=True)
    try:
        yield store
    finally:
        store.close()


def zarr_array(path: str, name: str) -> tuple[ZarrItem, tuple[int, ...]]:
    """(the array `name` as a block array, shape of its chunks)."""
    with zarr_group(path) as root:
        found = root[name]
        item = ZarrItem(path, name, tuple(found.shape), np.dtype(found.dtype).newbyteorder("="))
        return item, tuple(found.chunks)


@dataclass(frozen=True, eq=False)
class ZarrItem:
    """An array in a Zarr folder of format 2 or 3, or a zip file; picklable, nothing is left open.

    A chunk that is missing is what the format says it is: the fill value.
    """

    path: str
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    identity: FileIdentity = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "identity", FileIdentity.of(_metadata(self.path, self.name)))

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __dask_tokenize__(self) -> Any:
        return "usidx.ZarrItem", self.path, self.name, self.shape, self.identity

    def __getitem__(self, key: Any, /) -> Array:
        self.identity.check(_metadata(self.path, self.name))
        import zarr

        try:
            with _zarr_store(self.path) as store:
                array: Any = zarr.open_array(store, path=self.name, mode="r")
                if os.path.isdir(self.path):
                    check_chunks(array, self.path, key)
                return np.asarray(array[key]).astype(self.dtype, copy=False)
        except (ValueError, RuntimeError, OSError) as error:
            raise DamagedStoreError(
                f"{self.name!r} of {self.path!r} cannot be read ({error}); a chunk is damaged"
            ) from error


def _metadata(path: str, name: str) -> str:
    if not os.path.isdir(path):
        return path
    folder = os.path.join(path, name)
    files = [os.path.join(folder, each) for each in (".zarray", "zarr.json")]
    return next((each for each in files if os.path.exists(each)), files[0])


def plain_attrs(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes as numbers, text and lists; those that are none of these are left out."""
    found = {}
    for name, value in attrs.items():
        value = plain(value)
        if value is not None:
            found[str(name)] = value
    return found


def plain(value: Any) -> Any:
    """One attribute as a number, text, a list or an array; None where it is nothing of these."""
    if isinstance(value, bytes):
        return _letters(value)
    if isinstance(value, np.generic):
        return plain(value.item()) if value.dtype.kind in "biufcSU" else None
    if isinstance(value, np.ndarray):
        if value.dtype.kind in "SO":
            texts = [plain(each) for each in value.ravel()]
            return texts if all(isinstance(each, str) for each in texts) else None
        if value.dtype.kind not in "biufcU":
            return None
        return value.tolist() if value.size <= 64 else value
    if isinstance(value, (bool, int, float, complex, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return None


def _letters(text: bytes) -> str:
    """Text in UTF-8, or, in older files, in the letters of Western Europe."""
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode("latin-1")


def times_of(values: Array, dtype: str) -> Array:
    """Text or whole numbers as the times that they were: "<M8[ns]" and "<m8[s]"; else as they are.

    Examples
    --------
    >>> times_of(np.array(["2020-01-01"]), "<M8[D]")
    array(['2020-01-01'], dtype='datetime64[D]')
    """
    if not re.fullmatch(r"<[mM]8\[\d*[A-Za-z]+\]", dtype) or values.dtype.kind not in "iU":
        return values
    try:
        return values.astype(np.dtype(dtype))
    except (TypeError, ValueError):
        return values


def flattened(node: Any, prefix: str = "") -> dict[str, Any]:
    """All attributes and small datasets below a group, by names such as "General.title"."""
    found = {
        f"{prefix}{name}": value
        for name, value in plain_attrs(dict(node.attrs)).items()
        if not isinstance(value, str) or len(value) <= _LONGEST
    }
    for name in node:
        below = node[name]
        key = f"{prefix}{str(name).removeprefix('_tuple_').removeprefix('_list_')}"
        if hasattr(below, "shape"):
            size = int(np.prod(below.shape, dtype=np.int64))
            value = plain(below[()]) if size * below.dtype.itemsize <= _LONGEST else None
            if value is not None:
                found[key] = value
        else:
            found.update(flattened(below, f"{key}."))
    return found


def as_text(values: Mapping[str, Any]) -> str:
    """A mapping in one attribute, as JSON."""
    return json.dumps(values, default=repr, ensure_ascii=False)
