"""Values of one variable of a file that xarray opens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from usidx.errors import DamagedStoreError
from usidx.model.dimension import Array
from usidx.readers.blosc import check_chunks_in
from usidx.readers.formats.zarr_arrays import reading, zarr_store
from usidx.readers.raw import FileIdentity


@contextmanager
def opened(path: str, engine: str, group: str, times: bool = True) -> Iterator[xr.Dataset]:
    """One group of a file as a Dataset, with nothing read of its values.

    Parameters
    ----------
    engine : of xarray
    times : whether numbers with units such as "days since 2000-01-01" become times
    """
    options: dict[str, Any] = {"group": group or None, "decode_timedelta": False}
    options |= {"engine": engine, "chunks": None, "decode_times": times}
    if engine != "zarr":
        with xr.open_dataset(path, **options) as dataset:
            yield dataset
        return
    store = zarr_store(path)
    try:
        with _naming_codecs(path), xr.open_dataset(store, consolidated=False, **options) as dataset:
            yield dataset
    finally:
        store.close()


@contextmanager
def _naming_codecs(path: str) -> Iterator[None]:
    """What is raised for a codec that is missing, as an error that says what to install."""
    try:
        yield
    except Exception as error:
        if "codec" in str(error):
            with reading(path):
                raise
        raise


@dataclass(frozen=True, eq=False)
class VariableArray:
    """A variable of a file, read by xarray for each block; picklable, nothing is left open.

    Parameters
    ----------
    path, engine, group, times : as for `opened`
    name : of the variable
    shape, dtype : of the values, decoded
    """

    path: str
    engine: str
    group: str
    times: bool = True
    name: str = ""
    shape: tuple[int, ...] = ()
    dtype: np.dtype[Any] = field(default_factory=lambda: np.dtype("f8"))
    identity: FileIdentity = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "identity", FileIdentity.of(self.path))

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __dask_tokenize__(self) -> Any:
        return "usidx.VariableArray", self.path, self.group, self.name, self.shape, self.identity

    def __getitem__(self, key: Any, /) -> Array:
        """The values that ints and slices select.

        Raises
        ------
        DamagedStoreError : where a block cannot be read
        SourceChangedError, StoreNotFoundError : where the file is not what it was
        """
        self.identity.check(self.path)
        parts = key if isinstance(key, tuple) else (key,)
        try:
            if self.engine == "zarr":
                check_chunks_in(self.path, f"{self.group}/{self.name}", key)
            with opened(self.path, self.engine, self.group, self.times) as dataset:
                array = dataset[self.name]
                block = array.isel(dict(zip(array.dims, parts))).values
        except DamagedStoreError:
            raise
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise DamagedStoreError(
                f"a block of {self.name!r} of {self.path!r} cannot be read "
                f"({type(error).__name__}: {error})"
            ) from error
        return np.asarray(block).astype(self.dtype, copy=False)
