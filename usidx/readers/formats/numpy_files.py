"""NumPy's own files, .npy and .npz.

Values are read where they lie; compressed ones as a whole, and so are small ones of archives, which
have checksums. Nothing in a file is ever unpickled.
"""

from __future__ import annotations

import ast
import functools
import io
import lzma
import math
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from usidx.errors import DamagedStoreError, NotUsidError, OptionError, StoreNotFoundError
from usidx.model.dimension import Array
from usidx.readers.base import Axis, Foreign, Reader, default_positions, position, spectroscopic
from usidx.readers.flat import FlatTable, is_flat
from usidx.readers.hierarchies import plain
from usidx.readers.raw import FileIdentity, LoadedArray, RawArray
from usidx.readers.scans import scan

NPY = b"\x93NUMPY"
_ZIP = b"PK\x03\x04"
_LOCAL_HEADER = 30  # bytes of a member's header before its name
_LONGEST_HEADER = 10_000
# Members of archives up to so many bytes are read as a whole, and their checksums compared.
_CHECKED = 32 * 2**20
# Attribute with the names of what an archive holds besides numbers.
_LEFT_OUT = "left_out"
_OWN = ("units", "quantity", "long_name")
_SPARSE = {"format", "shape", "data"}

_Stored = RawArray | LoadedArray


def _claims(path: str, head: bytes) -> bool:
    if head.startswith(NPY):
        return True
    if not head.startswith(_ZIP):
        return False
    called = path.lower().endswith(".npz")
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            are_arrays = [each.endswith(".npy") for each in names]
            # other systems keep arrays like this too, with a description among them
            known = all(are_arrays) and "meta_data.npy" not in names
            return any(are_arrays) and (called or known)
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
            found: Mapping[str, _Stored] = {"Raw_Data": array_in(path, file, 0)}
            attrs: Mapping[str, Any] = {}
        else:
            as_scan = nav_shape is not None or sig_shape is not None or bool(sync_offset)
            found, attrs = _members(path, in_place=as_scan)
    arrays = {name: each for name, each in found.items() if _is_numeric(each.dtype)}
    if found and not arrays:
        kinds = ", ".join(sorted({str(each.dtype) for each in found.values()}))
        raise NotUsidError(f"{path!r} has values of {kinds}, which are no numbers")
    empty = [name for name, each in arrays.items() if 0 in each.shape]
    if len(empty) == len(arrays):
        shapes = ", ".join(str(each.shape) for each in arrays.values())
        raise NotUsidError(f"{path!r} has arrays of the shapes {shapes}, which hold no values")
    left_out = sorted({*empty, *(found.keys() - arrays.keys()), *attrs.get(_LEFT_OUT, ())})
    attrs = {**attrs, _LEFT_OUT: left_out} if left_out else attrs
    mains = _mains(
        path,
        {name: each for name, each in arrays.items() if name not in empty},
        dims,
        n_position,
        nav_shape,
        sig_shape,
        sync_offset,
        fill_value,
    )
    # what usidx says itself of values has other names
    attrs = {f"metadata.{k}" if k in _OWN else k: each for k, each in attrs.items()}
    return [replace(each, attrs={**each.attrs, **attrs}) for each in mains]


def _mains(
    path: str,
    arrays: Mapping[str, _Stored],
    dims: Sequence[str] | None,
    n_position: int | None,
    nav_shape: Sequence[int] | int | None,
    sig_shape: Sequence[int] | int | None,
    sync_offset: int,
    fill_value: Any,
) -> list[Foreign]:
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
    array: _Stored,
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
    known: Mapping[tuple[int, int], Callable[..., Any]] = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
        (3, 0): _header_of_any_letters,
    }
    if version not in known:
        raise OptionError(f"{path!r} is in version {version} of NumPy's format, known are 1 to 3")
    shape, fortran, dtype = known[version](file)
    if dtype.hasobject:
        raise OptionError(
            f"{path!r} holds Python objects, which only code in the file itself could restore; "
            "save numbers instead"
        )
    sizes = tuple(int(each) for each in shape)
    if any(each < 0 for each in sizes):
        raise DamagedStoreError(f"the header of {path!r} says that its shape is {shape}")
    return sizes, fortran, dtype


def _header_of_any_letters(file: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """As of version 3, whose names of fields have letters that Latin-1 has not."""
    size = int.from_bytes(file.read(4), "little")
    said = ast.literal_eval(file.read(min(size, _LONGEST_HEADER)).decode("utf-8"))
    dtype = np.lib.format.descr_to_dtype(said["descr"])
    return tuple(said["shape"]), bool(said["fortran_order"]), dtype


def _loaded(path: str, member: str) -> Array:
    try:
        with zipfile.ZipFile(path) as archive, archive.open(member) as file:
            values: Array = np.lib.format.read_array(file, allow_pickle=False)
            return values
    except FileNotFoundError as error:
        raise StoreNotFoundError(f"there is no file {path!r} any more") from error
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError) as error:
        raise DamagedStoreError(f"{member!r} in {path!r} cannot be unpacked ({error})") from error


def _members(
    path: str, *, in_place: bool = False
) -> tuple[Mapping[str, _Stored], Mapping[str, Any]]:
    """(the arrays of an archive by their names, single values in it as attributes).

    Parameters
    ----------
    in_place : whether values are read where they lie, whatever that leaves unchecked

    Raises
    ------
    NotUsidError : where it is a sparse matrix
    OptionError : where it holds nothing but Python objects
    """
    found: dict[str, _Stored] = {}
    attrs: dict[str, Any] = {}
    left_out: list[str] = []
    objects = None
    with zipfile.ZipFile(path) as archive, open(path, "rb") as file:
        members = {each.filename.removesuffix(".npy"): each for each in archive.infolist()}
        if members.keys() >= _SPARSE:
            raise NotUsidError(
                f"{path!r} is a sparse matrix of SciPy; save what scipy.sparse.load_npz(...)."
                "toarray() gives of it, or its rows as LiberTEM's CSR"
            )
        for name, each in members.items():
            if not each.filename.endswith(".npy"):
                left_out.append(name)
                continue
            try:
                array = _member(path, archive, file, each, in_place)
            except OptionError as error:
                objects, left_out = error, [*left_out, name]
                continue
            if array.shape:
                found[name] = array
            elif (value := plain(_loaded(path, each.filename)[()])) is not None:
                attrs[name] = value
            else:
                left_out.append(name)
        if not found and attrs:  # nothing that they could be attributes of
            singles = [
                name for name in members if isinstance(attrs.get(name), (int, float, complex))
            ]
            found = {
                name: _member(path, archive, file, members[name], in_place) for name in singles
            }
    if objects is not None and not found:
        raise objects
    if left_out:
        attrs[_LEFT_OUT] = left_out
    return found, attrs


def _member(
    path: str, archive: zipfile.ZipFile, file: Any, member: zipfile.ZipInfo, in_place: bool
) -> _Stored:
    """The array that a member is: mapped where it is stored as it is, and large or `in_place`."""
    as_it_is = member.compress_type == zipfile.ZIP_STORED
    if as_it_is and (in_place or member.file_size > _CHECKED):
        return array_of_member(path, file, member)
    with archive.open(member) as packed:
        shape, _, dtype = _header(path, packed)
    token = (path, FileIdentity.of(path), member.filename)
    load = functools.partial(_loaded, path, member.filename)
    return LoadedArray(load, shape, dtype.newbyteorder("="), token)


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
    array: _Stored,
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
    values = array if is_flat(array.dtype) else FlatTable(array)
    return Foreign(name, values, tuple(axes), chunks=chunks)


READERS = (
    Reader(
        name="numpy",
        title="NumPy (.npy, .npz)",
        extensions=(".npy", ".npz"),
        claims=_claims,
        read=read,
    ),
)
