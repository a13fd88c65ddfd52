"""NumPy's own files, .npy and .npz.

Values are read where they lie; compressed ones as a whole. Nothing in a file is ever unpickled.
"""

from __future__ import annotations

import functools
import io
import math
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from usidx.errors import NotUsidError, OptionError
from usidx.model.dimension import Array
from usidx.readers.base import Axis, Foreign, Reader, default_positions, position, spectroscopic
from usidx.readers.raw import FileIdentity, LoadedArray, RawArray
from usidx.readers.scans import scan

NPY = b"\x93NUMPY"
_ZIP = b"PK\x03\x04"
_LOCAL_HEADER = 30  # bytes of a member's header before its name


def _claims(path: str, head: bytes) -> bool:
    if head.startswith(NPY):
        return True
    if not head.startswith(_ZIP):
        return False
    called = path.lower().endswith(".npz")
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            # other systems keep arrays like this too, with a description among them
            known = called or (bool(names) and "meta_data.npy" not in names)
            return known and all(each.endswith(".npy") for each in names)
    except zipfile.BadZipFile:
        return called  # by its name; reading it says what is wrong


def read(
    path: str,
    *,
    dims: Sequence[str] | None = None,
    n_position: int | None = None,
    nav_shape: Sequence[int] | int | None = None,
    sig_shape: Sequence[int] | int | None = None,
    sync_offset: int = 0,
    fill_value: Any = None,
) -> Sequence[Foreign]:
    """The arrays of a file.

    A file says nothing of its axes: of up to three all but the last are positions, of more all but
    the last two.

    Parameters
    ----------
    dims : names of the axes
    n_position : how many of the axes, the first ones, are positions
    nav_shape, sig_shape : shapes of a scan and of a frame, other than those of the array
    sync_offset, fill_value : as for bare frames
    """
    with open(path, "rb") as file:
        if file.read(len(NPY)) == NPY:
            file.seek(0)
            found: Mapping[str, RawArray | LoadedArray] = {"Raw_Data": array_in(path, file, 0)}
        else:
            found = {name.removesuffix(".npy"): each for name, each in _members(path).items()}
    # labels may lie beside what they are of
    arrays = {name: each for name, each in found.items() if _is_numeric(each.dtype)}
    if found and not arrays:
        kinds = ", ".join(sorted({str(each.dtype) for each in found.values()}))
        raise NotUsidError(f"{path!r} has values of {kinds}, which are no numbers")
    if nav_shape is None and sig_shape is None and not sync_offset:
        return [_main(name, array, dims, n_position) for name, array in arrays.items()]
    if dims is not None:
        raise OptionError("dims= names the axes of the array, and nav_shape= gives it others")
    return [
        _scan(path, name, array, n_position, nav_shape, sig_shape, sync_offset, fill_value)
        for name, array in arrays.items()
    ]


def _is_numeric(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in "biufc" or dtype.names is not None


def _scan(
    path: str,
    name: str,
    array: RawArray | LoadedArray,
    n_position: int | None,
    nav_shape: Sequence[int] | int | None,
    sig_shape: Sequence[int] | int | None,
    sync_offset: int,
    fill_value: Any,
) -> Foreign:
    """An array as frames of a scan, in the order in which they lie in the file."""
    if not isinstance(array, RawArray) or not array.is_in_order:
        raise OptionError(
            f"{name!r} in {path!r} is compressed or in Fortran order: its frames do not lie one "
            "after the other, as nav_shape=, sig_shape= and sync_offset= need them"
        )
    count = default_positions(array.ndim) if n_position is None else n_position
    given = (sig_shape,) if isinstance(sig_shape, int) else sig_shape
    frame = tuple(array.shape[count:] if given is None else given)
    values, pixels = math.prod(array.shape), math.prod(frame)
    if not frame or min(frame) < 1 or values % pixels:
        raise OptionError(f"sig_shape={frame}: {name!r} has {values} values, no whole frames")
    frames = RawArray(path, (values // pixels, *frame), array.stored, array.offset)
    names = {1: ("channel",), 2: ("v", "u")}.get(len(frame)) or [
        f"sig_{number}" for number in range(len(frame))
    ]
    if nav_shape is None and given is None:
        nav_shape = array.shape[:count]
    return scan(
        name,
        frames,
        [spectroscopic(dim, size=size) for dim, size in zip(names, frame)],
        nav_shape=nav_shape,
        sync_offset=sync_offset,
        fill_value=fill_value,
    )


def array_in(path: str, file: Any, base: int) -> RawArray:
    """The array whose header is next in `file`, which lies at `base` in the file at `path`."""
    shape, fortran, dtype = _header(path, file)
    strides = None
    if fortran:
        sizes = np.cumprod((1, *shape[:-1]), dtype=np.int64)
        strides = tuple(int(each) * dtype.itemsize for each in sizes)[: len(shape)]
    return RawArray(path, shape, dtype, base + file.tell(), strides)


def _header(path: str, file: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """(shape, whether it is in Fortran order, dtype) of the array that is next in `file`."""
    version = np.lib.format.read_magic(file)
    known = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in known:
        raise OptionError(f"{path!r} is in version {version} of NumPy's format, known are 1 and 2")
    shape, fortran, dtype = known[version](file)
    if dtype.hasobject:
        raise OptionError(
            f"{path!r} holds Python objects, which only code in the file itself could restore; "
            "save numbers instead"
        )
    return tuple(shape), fortran, dtype


def _loaded(path: str, member: str) -> Array:
    with zipfile.ZipFile(path) as archive, archive.open(member) as file:
        values: Array = np.lib.format.read_array(file, allow_pickle=False)
        return values


def _members(path: str) -> Mapping[str, RawArray | LoadedArray]:
    found: dict[str, RawArray | LoadedArray] = {}
    with zipfile.ZipFile(path) as archive, open(path, "rb") as file:
        for each in archive.infolist():
            if each.compress_type != zipfile.ZIP_STORED:
                with archive.open(each) as member:
                    shape, _, dtype = _header(path, member)
                token = (path, FileIdentity.of(path), each.filename)
                load = functools.partial(_loaded, path, each.filename)
                found[each.filename] = LoadedArray(load, shape, dtype.newbyteorder("="), token)
                continue
            found[each.filename] = array_of_member(path, file, each)
    return found


def array_of_member(path: str, file: Any, member: zipfile.ZipInfo) -> RawArray:
    """The array that a member of a zip file is, where it lies in it as it is.

    Parameters
    ----------
    path, file : of the zip file, and it opened for reading
    member : one that is stored, not compressed
    """
    file.seek(member.header_offset)
    header = file.read(_LOCAL_HEADER)
    name, extra = (int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
    base = member.header_offset + _LOCAL_HEADER + name + extra
    file.seek(base)
    return array_in(path, io.BytesIO(file.read(min(member.file_size, 2**16))), base)


def _main(
    name: str,
    array: RawArray | LoadedArray,
    dims: Sequence[str] | None,
    n_position: int | None,
) -> Foreign:
    names = [f"dim_{axis}" for axis in range(array.ndim)] if dims is None else list(dims)
    if len(names) != array.ndim:
        raise OptionError(f"dims={names!r} names {len(names)} axes, {name!r} has {array.ndim}")
    count = default_positions(array.ndim) if n_position is None else n_position
    if not 0 <= count <= array.ndim:
        raise OptionError(f"n_position={count} is not between 0 and {array.ndim}, the axes")
    axes: list[Axis] = []
    for axis, (each, size) in enumerate(zip(names, array.shape)):
        make = position if axis < count else spectroscopic
        axes.append(make(each, size=size))
    chunks = array.shape if isinstance(array, LoadedArray) else None
    return Foreign(name, array, tuple(axes), chunks=chunks)


READERS = (
    Reader(
        name="numpy",
        title="NumPy (.npy, .npz)",
        extensions=(".npy", ".npz"),
        claims=_claims,
        read=read,
    ),
)
