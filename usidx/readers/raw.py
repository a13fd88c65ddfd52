"""Values that lie in a file as they are, at places that follow from their indices."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from usidx.errors import DamagedStoreError, SourceChangedError, StoreNotFoundError
from usidx.model.dimension import Array


class FileIdentity(NamedTuple):
    """What tells whether a file is still the one that was opened, untouched."""

    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: str) -> FileIdentity:
        """That of the file at `path`.

        Raises
        ------
        StoreNotFoundError : where there is none
        """
        try:
            now = os.stat(path)
        except FileNotFoundError as error:
            raise StoreNotFoundError(f"there is no file {path!r} any more") from error
        return cls(now.st_size, now.st_mtime_ns)

    def check(self, path: str) -> None:
        """Nothing, where the file is untouched.

        Raises
        ------
        SourceChangedError : where it is not
        """
        if FileIdentity.of(path) != self:
            raise SourceChangedError(f"{path!r} has changed since it was opened; open it again")


def check_token(token: Any) -> None:
    """Nothing, where the file that a token starts with, (path, `FileIdentity`, ...), is untouched.

    Raises
    ------
    SourceChangedError, StoreNotFoundError : where it is not
    """
    if isinstance(token, tuple) and len(token) > 1 and isinstance(token[1], FileIdentity):
        token[1].check(token[0])


@dataclass(frozen=True, eq=False)
class RawArray:
    """An array in a file at an offset, read when it is indexed; picklable, nothing is left open.

    Parameters
    ----------
    path : of the file
    shape : of the array
    stored : dtype of the values in the file, of any byte order
    offset : bytes before the first value
    strides : bytes from one index to the next along each axis, where they are not those of C
        order: headers between frames, Fortran order, rows from the bottom up
    identity : of the file; as it is now when None

    Raises
    ------
    DamagedStoreError : where the file is too short
    """

    path: str
    shape: tuple[int, ...]
    stored: np.dtype[Any]
    offset: int = 0
    strides: tuple[int, ...] | None = None
    identity: FileIdentity | None = None
    _stop: int = field(default=0, repr=False)

    def __post_init__(self) -> None:
        steps = self.strides
        if steps is None:
            sizes = np.cumprod((1, *self.shape[:0:-1]), dtype=np.int64)[::-1]
            steps = tuple(int(each) * self.stored.itemsize for each in sizes)
            object.__setattr__(self, "strides", steps[: len(self.shape)])
        if self.identity is None:
            object.__setattr__(self, "identity", FileIdentity.of(self.path))
        ends = [(n - 1) * step for n, step in zip(self.shape, steps)]
        stop = self.offset + sum(max(0, end) for end in ends) + self.stored.itemsize
        object.__setattr__(self, "_stop", stop if 0 not in self.shape else self.offset)
        assert self.identity is not None
        if self.identity.size < self._stop or self.offset + sum(min(0, end) for end in ends) < 0:
            raise DamagedStoreError(
                f"{self.path!r} has {self.identity.size} bytes, and values of shape {self.shape} "
                f"and dtype {self.stored} need {self._stop}; it was cut short, or its header or "
                "the given shape is wrong"
            )

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def is_in_order(self) -> bool:
        """Whether values lie one after the other, in C order."""
        sizes = np.cumprod((1, *self.shape[:0:-1]), dtype=np.int64)[::-1]
        plain = tuple(int(each) * self.stored.itemsize for each in sizes)
        return self.strides == plain[: len(self.shape)]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of what is read: in the machine's byte order."""
        return self.stored.newbyteorder("=")

    def __dask_tokenize__(self) -> Any:
        known = (self.path, self.shape, self.stored.str, self.offset, self.strides, self.identity)
        return ("usidx.RawArray", *known)

    def __getitem__(self, key: Any, /) -> Array:
        """The values that ints and slices select, in the machine's byte order.

        Raises
        ------
        SourceChangedError, StoreNotFoundError : where the file is not what it was
        """
        assert self.identity is not None
        self.identity.check(self.path)
        if 0 in self.shape:
            empty: Array = np.empty(self.shape, self.dtype)[key]
            return empty
        # mapped anew each time: a mapping that stays would be pickled, and counts as memory
        with (
            open(self.path, "rb") as file,
            mmap.mmap(file.fileno(), self._stop, access=mmap.ACCESS_READ) as mapped,
        ):
            values: Any = np.ndarray(self.shape, self.stored, mapped, self.offset, self.strides)
            found = np.array(values[key], dtype=self.dtype)
            del values
        return found


@dataclass(frozen=True, eq=False)
class LoadedArray:
    """An array that can only be read as a whole, which is done whenever it is indexed.

    One block should take all of it: `Foreign(..., chunks=array.shape)`.

    Parameters
    ----------
    load : gives all values; picklable, such as a `functools.partial` of a function and a path
    shape, dtype : of the values
    token : what tells them from any others; where it starts with a path and its `FileIdentity`, the
        file is read only while it is untouched
    """

    load: Callable[[], Array]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    token: Any

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __dask_tokenize__(self) -> Any:
        return "usidx.LoadedArray", self.token, self.shape, self.dtype.str

    def __getitem__(self, key: Any, /) -> Array:
        """The values that ints and slices select.

        Raises
        ------
        SourceChangedError, StoreNotFoundError : where the file is not what it was
        """
        check_token(self.token)
        values = np.asarray(self.load())
        if values.shape != self.shape or values.dtype.newbyteorder("=") != self.dtype:
            raise SourceChangedError(
                f"{self.token!r} has values of shape {values.shape} and dtype {values.dtype} now, "
                f"and had {self.shape} and {self.dtype} when it was opened; open it again"
            )
        return np.array(values[key], dtype=self.dtype)
