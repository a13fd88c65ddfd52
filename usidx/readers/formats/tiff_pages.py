"""Pages of TIFF files as an array: of each only the tiles or strips are read that are asked for."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from usidx.errors import DamagedStoreError, MissingDependencyError, StoreNotFoundError, UsidError
from usidx.model.dimension import Array
from usidx.readers.raw import FileIdentity

_DESCRIPTION = 270
_JPEG = frozenset({6, 7, 34892, 33007})
# (start, stop) along one axis of a page
Bounds = tuple[int, int]


@contextlib.contextmanager
def reading(path: str) -> Iterator[None]:
    """What tifffile raises for a file, as an error of usidx that names it.

    Raises
    ------
    DamagedStoreError : where it cannot be read as what it says it is
    MissingDependencyError : where a library is missing that its compression needs
    """
    try:
        yield
    except UsidError:
        raise
    except FileNotFoundError as error:
        raise StoreNotFoundError(f"there is no file {path!r} any more") from error
    # what the library raises for damaged files is anything at all
    except Exception as error:
        # of what later versions of Python unpack by themselves, too
        if "imagecodecs" in str(error) or isinstance(error, ModuleNotFoundError):
            raise MissingDependencyError(
                f"{path!r} is compressed in a way that needs imagecodecs ({error}); install it "
                'with: pip install "usidx[tiff]"'
            ) from error
        raise DamagedStoreError(
            f"{path!r} cannot be read ({type(error).__name__}: {error}); it may be written only in "
            "part"
        ) from error


def check_directories(path: str) -> None:
    """Nothing, where each page of a TIFF file leads to the next, and the last one to none.

    Libraries take what is there of a file that was cut short, and say nothing of the rest.

    Raises
    ------
    DamagedStoreError : where a page is not in the file, or leads back to one before
    """
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        head = file.read(16)
        order: Any = "little" if head[:2] == b"II" else "big"
        big = int.from_bytes(head[2:4], order) == 43
        count_bytes, entry, pointer = (8, 20, 8) if big else (2, 12, 4)
        place = int.from_bytes(head[8:16] if big else head[4:8], order)
        seen: set[int] = set()
        while place:
            if place in seen or place + count_bytes > size:
                raise _cut_short(path, len(seen), size)
            seen.add(place)
            file.seek(place)
            tags = int.from_bytes(file.read(count_bytes), order)
            after = place + count_bytes + tags * entry
            if after + pointer > size:
                raise _cut_short(path, len(seen) - 1, size)
            whole = file.read(tags * entry + pointer)
            _check_description(path, whole, entry, order, size)
            place = int.from_bytes(whole[-pointer:], order)


def _check_description(path: str, tags: bytes, entry: int, order: Any, size: int) -> None:
    """Nothing, where what a page says of itself, which may lie behind all pages, is in the file.

    Without, libraries read the pages as if nothing was said of their axes.
    """
    half = (entry - 4) // 2  # bytes of a count, and of a place
    for start in range(0, len(tags) - entry + 1, entry):
        if int.from_bytes(tags[start : start + 2], order) != _DESCRIPTION:
            continue
        count = int.from_bytes(tags[start + 4 : start + 4 + half], order)
        place = int.from_bytes(tags[start + 4 + half : start + entry], order)
        if count > half and place + count > size:
            raise DamagedStoreError(
                f"{path!r} has {size} bytes, and the description of its images goes to byte "
                f"{place + count}; it was cut short, or written only in part"
            )


def _cut_short(path: str, pages: int, size: int) -> DamagedStoreError:
    return DamagedStoreError(
        f"{path!r} has {size} bytes, and its page {pages} lies behind them, or leads back to an "
        "earlier one; it was cut short, or written only in part"
    )


@dataclass(frozen=True, eq=False)
class PagedArray:
    """Pages of TIFF files, of one shape; picklable, nothing is left open.

    Parameters
    ----------
    files : paths
    identities : of the files
    numbers : shape of the array without the axes of a page; of each page its file's number
    offsets : of the same shape; where in the file the page's directory is
    inner : shape of a page
    dtype : of the values
    """

    files: tuple[str, ...]
    identities: tuple[FileIdentity, ...]
    numbers: Array
    offsets: Array
    inner: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self.offsets.shape, *self.inner)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __dask_tokenize__(self) -> Any:
        places = (self.numbers.tobytes(), self.offsets.tobytes())
        return "usidx.PagedArray", self.files, self.identities, places, self.shape, self.dtype.str

    def __getitem__(self, key: Any, /) -> Array:
        """The values that ints and slices select.

        Raises
        ------
        DamagedStoreError : where a tile or strip is cut short, or cannot be unpacked
        SourceChangedError, StoreNotFoundError : where a file is not what it was
        """
        parts = list(key) if isinstance(key, tuple) else [key]
        parts += [slice(None)] * (self.ndim - len(parts))
        outer, inner = tuple(parts[: self.offsets.ndim]), parts[self.offsets.ndim :]
        offsets, numbers = np.asarray(self.offsets[outer]), np.asarray(self.numbers[outer])
        pairs = [_bounds(part, size) for part, size in zip(inner, self.inner, strict=True)]
        bounds, within = [pair[0] for pair in pairs], tuple(pair[1] for pair in pairs)
        sample = np.empty(self.inner, bool)[tuple(inner)].shape
        out = np.empty((offsets.size, *sample), self.dtype)
        if not out.size:
            return out.reshape(offsets.shape + sample)
        flat = numbers.reshape(-1)
        for number in np.unique(flat):
            there = np.flatnonzero(flat == number)
            places = [int(each) for each in offsets.reshape(-1)[there]]
            pages = self._pages(int(number), places, bounds)
            for index, values in zip(there, pages, strict=True):
                out[index] = values[within]
        return out.reshape(offsets.shape + sample)

    def _pages(self, number: int, places: list[int], bounds: list[Bounds]) -> Iterator[Array]:
        import tifffile

        path = self.files[number]
        self.identities[number].check(path)
        with reading(path), tifffile.TiffFile(path, _multifile=False) as file:
            for place in places:
                file.filehandle.seek(place)
                page: Any = tifffile.TiffPage(file, 0)
                if tuple(page.shape) != self.inner:
                    raise DamagedStoreError(
                        f"a page of {path!r} has the shape {tuple(page.shape)}, and the first one "
                        f"{self.inner}"
                    )
                yield page_window(page, bounds)


def _bounds(part: Any, size: int) -> tuple[Bounds, Any]:
    """(what is to be read along an axis, what of it is wanted)."""
    if isinstance(part, slice):
        wanted = range(*part.indices(size))
        if not wanted:
            return (0, 0), slice(0, 0)
        low, high = min(wanted[0], wanted[-1]), max(wanted[0], wanted[-1])
        return (low, high + 1), slice(None, None, wanted.step)
    index = int(part) + (size if part < 0 else 0)
    if not 0 <= index < size:
        raise IndexError(f"index {part} is out of bounds for an axis of {size}")
    return (index, index + 1), 0


def page_window(page: Any, bounds: Sequence[Bounds]) -> Array:
    """The values of a page between bounds along each axis; of the file no more than their tiles.

    Parameters
    ----------
    page : a `tifffile.TiffPage`
    bounds : (start, stop) along each axis of the page
    """
    planes, depth, rows, columns, samples = page.shaped
    layouts = {(rows, columns): 0, (rows, columns, samples): 1, (planes, rows, columns): 2}
    layout = layouts.get(tuple(page.shape))
    if layout is None or depth != 1 or (layout == 0 and planes * samples != 1):
        return _whole(page, bounds)
    window = _Window(
        bounds[0] if layout == 2 else (0, 1),
        bounds[-2] if layout != 1 else bounds[0],
        bounds[-1] if layout != 1 else bounds[1],
    )
    values = window.contiguous(page) if page.is_final else window.segmented(page)
    if values is None:
        return _whole(page, bounds)
    if layout == 1:
        colours: Array = values[0][..., slice(*bounds[2])]
        return colours
    return values[..., 0] if layout == 2 else values[0, ..., 0]


def _whole(page: Any, bounds: Sequence[Bounds]) -> Array:
    described = math.prod(page.chunked)
    if not page.is_contiguous and described != len(page.dataoffsets):
        raise DamagedStoreError(
            f"a page of {page.parent.filehandle.path!r} describes {described} tiles or strips and "
            f"has {len(page.dataoffsets)}; it is damaged, or was written only in part"
        )
    values: Array = page.asarray(maxworkers=1)
    return values[tuple(slice(*each) for each in bounds)]


@dataclass(frozen=True)
class _Window:
    """A part of a page, of all samples: (start, stop) of planes, rows and columns."""

    planes: Bounds
    rows: Bounds
    columns: Bounds

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(stop - start for start, stop in (self.planes, self.rows, self.columns))

    def contiguous(self, page: Any) -> Array:
        """From a page whose values lie one after the other, as they are."""
        _, _, rows, columns, samples = page.shaped
        stored = np.dtype(page.dtype).newbyteorder(page.parent.byteorder)
        line = columns * samples * stored.itemsize
        low, high = self.rows
        found = []
        for plane in range(*self.planes):
            place = page.dataoffsets[0] + (plane * rows + low) * line
            data = _read(page, place, (high - low) * line)
            values = np.frombuffer(data, stored).reshape(high - low, columns, samples)
            found.append(values[:, slice(*self.columns)])
        return np.stack(found).astype(page.dtype)

    def segmented(self, page: Any) -> Array | None:
        """From tiles or strips; None where the file has others than its tags say."""
        planes, _, rows, columns, samples = page.shaped
        tall, wide = page.rowsperstrip, columns
        if page.is_tiled:
            tall, wide = page.tilelength, page.tilewidth
        tall = min(tall, rows) if not page.is_tiled else tall
        down, across = math.ceil(rows / tall), math.ceil(columns / wide)
        if len(page.dataoffsets) != planes * down * across:
            return None
        out = np.full((*self.shape, samples), page.nodata, page.dtype)
        (top, bottom), (left, right) = self.rows, self.columns
        for plane in range(*self.planes):
            for i in range(top // tall, math.ceil(bottom / tall)):
                for j in range(left // wide, math.ceil(right / wide)):
                    values = _segment(page, (plane * down + i) * across + j)
                    if values is None:
                        continue
                    first, second = _overlap(i * tall, values.shape[0], self.rows)
                    third, fourth = _overlap(j * wide, values.shape[1], self.columns)
                    out[plane - self.planes[0], first, third] = values[second, fourth]
        return out


def _overlap(start: int, size: int, wanted: Bounds) -> tuple[slice, slice]:
    """(in what is wanted, in the segment) of the indices that both have."""
    low, high = max(start, wanted[0]), min(start + size, wanted[1])
    return slice(low - wanted[0], high - wanted[0]), slice(low - start, high - start)


def _segment(page: Any, index: int) -> Array | None:
    """The values of a tile or strip, (rows, columns, samples); None where the file has none."""
    place, nbytes = page.dataoffsets[index], page.databytecounts[index]
    if not nbytes:
        return None
    options: dict[str, Any] = {"_fullsize": False}
    if page.compression in _JPEG:
        options |= {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader}
    values, _, _ = page.decode(_read(page, place, nbytes), index, **options)
    return None if values is None else np.asarray(values[0])


def _read(page: Any, place: int, nbytes: int) -> bytes:
    handle = page.parent.filehandle
    handle.seek(place)
    data: bytes = handle.read(nbytes)
    if len(data) < nbytes:
        raise DamagedStoreError(
            f"{handle.path!r} ends within the values of a page; it was cut short"
        )
    return data
