"""Readers of one made-up format, each of which breaks one promise; and one that keeps all.

A file is "MADE", the number of its rows and that of its columns, and values of 32 bits.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from usidx.errors import DamagedStoreError
from usidx.readers import FileIdentity, Foreign, RawArray, position, spectroscopic

HEAD = struct.Struct("<4sii")
KEPT: list[Any] = []


def shape_of(path: str) -> tuple[int, int]:
    """What the header says."""
    with open(path, "rb") as file:
        raw = file.read(HEAD.size)
    if len(raw) < HEAD.size or not raw.startswith(b"MADE"):
        raise DamagedStoreError(f"{path!r} has no whole header")
    _, rows, columns = HEAD.unpack(raw)
    return rows, columns


def main(array: Any, chunks: Any = None) -> list[Foreign]:
    """One Main of an array of rows and columns."""
    axes = position("row", size=array.shape[0]), spectroscopic("column", size=array.shape[1])
    return [Foreign("Raw_Data", array, axes, chunks=chunks)]


def good(path: str) -> list[Foreign]:
    return main(RawArray(path, shape_of(path), np.dtype("<f4"), HEAD.size))


@dataclass(frozen=True, eq=False)
class Plain:
    """Values by `RawArray`, as those below have them."""

    path: str
    inner: RawArray
    dtype: Any = field(default=np.dtype("f4"))

    @property
    def shape(self) -> tuple[int, ...]:
        return self.inner.shape

    @property
    def ndim(self) -> int:
        return 2

    def __dask_tokenize__(self) -> Any:
        return type(self).__name__, self.inner.__dask_tokenize__()

    def __getitem__(self, key: Any) -> Any:
        return self.inner[key]


def of(kind: type[Plain]) -> Any:
    """A reader that gives arrays of a kind."""

    def read(path: str) -> list[Foreign]:
        return main(kind(path, RawArray(path, shape_of(path), np.dtype("<f4"), HEAD.size)))

    return read


@dataclass(frozen=True, eq=False)
class Loads:
    """Values in memory."""

    values: Any

    shape = property(lambda self: self.values.shape)
    dtype = property(lambda self: self.values.dtype)
    ndim = property(lambda self: self.values.ndim)

    def __dask_tokenize__(self) -> Any:
        return "Loads", self.values.tobytes()

    def __getitem__(self, key: Any) -> Any:
        return self.values[key]


def loads_when_opened(path: str) -> list[Foreign]:
    shape = shape_of(path)
    values = np.fromfile(path, "<f4", offset=HEAD.size)
    if values.size < np.prod(shape):
        raise DamagedStoreError(f"{path!r} is cut short")
    return main(Loads(values.reshape(shape)))


class ReadsAll(Plain):
    """Reads all for each block."""

    def __getitem__(self, key: Any) -> Any:
        return self.inner[:][key]


class ReadsAllInto(Plain):
    """Reads the bytes of all for each block, a few at a time."""

    def __getitem__(self, key: Any) -> Any:
        with open(self.path, "rb", buffering=0) as file:
            while file.read(2**16):
                pass
        return self.inner[key]


class KeepsOpen(Plain):
    """Keeps the file open."""

    def __getitem__(self, key: Any) -> Any:
        KEPT.append(open(self.path, "rb"))  # noqa: SIM115
        return self.inner[key]


class KeepsMapped(Plain):
    """Keeps the file mapped."""

    def __getitem__(self, key: Any) -> Any:
        KEPT.append(np.memmap(self.path, "u1", "r"))
        return self.inner[key]


class LeavesOpen(Plain):
    """Leaves it to Python to close the file."""

    def __getitem__(self, key: Any) -> Any:
        file = open(self.path, "rb")  # noqa: SIM115
        file.read(1)
        del file
        return self.inner[key]


class NoPickle(Plain):
    """Does not pickle."""

    def __reduce__(self) -> Any:
        raise TypeError("cannot pickle it")


class OnlyHere(Plain):
    """Knows the process that it was opened in, and reads in no other."""

    def __getitem__(self, key: Any) -> Any:
        if not OPENED & {os.getpid()}:
            raise RuntimeError("it was opened in another process")
        return self.inner[key]


OPENED: set[int] = set()


def only_here(path: str) -> list[Foreign]:
    OPENED.add(os.getpid())
    return list(of(OnlyHere)(path))


class OtherDtype(Plain):
    """Gives values of another dtype than it says."""

    def __getitem__(self, key: Any) -> Any:
        return self.inner[key].astype("f8")


def says_other_dtype(path: str) -> list[Foreign]:
    return main(Loads(RawArray(path, shape_of(path), np.dtype("<f4"), HEAD.size)[:].astype("f8")))


class NoSteps(Plain):
    """Forgets where a slice begins."""

    def __getitem__(self, key: Any) -> Any:
        rows, columns = key
        if isinstance(rows, slice) and rows.start:
            rows = slice(0, rows.stop - rows.start, rows.step)
        return self.inner[rows, columns]


@dataclass(frozen=True, eq=False)
class Unpacks(Plain):
    """Fails in its own way on what is not there."""

    inner: Any = None
    shape: Any = ()

    def __dask_tokenize__(self) -> Any:
        return "Unpacks", self.path

    def __getitem__(self, key: Any) -> Any:
        with open(self.path, "rb") as file:
            file.seek(HEAD.size)
            count = self.shape[0] * self.shape[1]
            raw = struct.unpack(f"<{count}f", file.read(4 * count))
        return np.array(raw, "f4").reshape(self.shape)[key]


def struct_error(path: str) -> list[Foreign]:
    return main(Unpacks(path, shape=shape_of(path)), shape_of(path))


class Fills(Unpacks):
    """Zeros where a file ends too early."""

    def __getitem__(self, key: Any) -> Any:
        with open(self.path, "rb") as file:
            file.seek(HEAD.size)
            raw = file.read().ljust(4 * self.shape[0] * self.shape[1], b"\0")
        count = self.shape[0] * self.shape[1]
        return np.frombuffer(raw, "f4", count).reshape(self.shape)[key]


def fills_up(path: str) -> list[Foreign]:
    return main(Fills(path, shape=shape_of(path)), shape_of(path))


class Unaware(Fills):
    """Does not look whether the file is what it was, once it is open."""


def unaware(path: str) -> list[Foreign]:
    shape = shape_of(path)
    if os.path.getsize(path) < HEAD.size + 4 * shape[0] * shape[1]:
        raise DamagedStoreError(f"{path!r} is cut short")
    return main(Unaware(path, shape=shape), shape)


def takes_anything(path: str) -> list[Foreign]:
    size = os.path.getsize(path)
    if not size or size < 64 or size % 4:
        raise DamagedStoreError(f"{path!r} is nothing")
    shape = (8, 4)
    return main(RawArray(path, shape, np.dtype("<f4"), HEAD.size, identity=FileIdentity.of(path)))


def leaves_open_when_refused(path: str) -> list[Foreign]:
    KEPT.append(open(path, "rb"))  # noqa: SIM115
    found = good(path)
    KEPT.pop().close()
    return found


BAD: dict[str, tuple[Any, str]] = {
    "loads when opened": (loads_when_opened, "not lazy"),
    "reads all": (of(ReadsAll), "not lazy: one block"),
    "reads all bytes": (of(ReadsAllInto), "not lazy: one block .* bytes of the file"),
    "keeps open": (of(KeepsOpen), "stay open after reading"),
    "keeps mapped": (of(KeepsMapped), "stay open after reading"),
    "leaves open": (of(LeavesOpen), "nobody closed after reading"),
    "leaves open when refused": (leaves_open_when_refused, "stay open after a file"),
    "no pickle": (of(NoPickle), "does not pickle"),
    "only here": (only_here, "another process cannot read it"),
    "other dtype": (of(OtherDtype), "gives dtype float64 and says"),
    "says other dtype": (says_other_dtype, "dtype float64, expected float32"),
    "no steps": (of(NoSteps), "of the block"),
    "struct.error": (struct_error, "error.*which is no UsidError"),
    "fills up": (fills_up, "which are no error"),
    "unaware": (unaware, "when it is open, which are no error"),
    "takes anything": (takes_anything, "in its place, .* are no error"),
}
