"""A new netCDF-4 file of Mains, made aside and put in place when it is whole."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import netCDF4
import numpy as np

from usidx.errors import OptionError, StoreExistsError, StoreNotFoundError
from usidx.model.dimension import Array
from usidx.model.main import MainSpec
from usidx.stores import disk
from usidx.stores.failures import FailedAt
from usidx.stores.leaves.attributes import pack
from usidx.stores.leaves.further import ExtraCoordinate
from usidx.stores.leaves.leaf import Column, Leaf, describe, fields_of
from usidx.stores.leaves.values import (
    Indexed,
    as_text,
    check_values,
    chunk_of,
    plain_values,
    row_blocks,
)
from usidx.stores.lock import held, refuse_runs, store_lock
from usidx.stores.netcdf.read import FAILURES, KEY, VERSION, is_netcdf

Compression = Literal["zlib", "zstd"] | None
COMPRESSIONS: tuple[Compression, ...] = ("zlib", "zstd", None)
PART_SUFFIX = ".usidx-part"
_LOCK_TIMEOUT = 30.0
_LEVEL = 4


class Target:
    """A variable that blocks are written into, in this process only and one after the other.

    The library is not made for several threads.
    """

    def __init__(self, variable: Any, lock: threading.Lock) -> None:
        self._variable = variable
        self._lock = lock
        self.shape: tuple[int, ...] = tuple(variable.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        dtype: np.dtype[Any] = np.dtype(self._variable.dtype)
        return dtype

    def __setitem__(self, key: tuple[slice, ...], values: Array) -> None:
        stored = np.asarray(values).astype(self.dtype, copy=False)
        with self._lock:
            self._variable[key] = stored


class Draft:
    """A file that is being made aside; nobody sees it before it is put in place."""

    def __init__(self, file: netCDF4.Dataset) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._mains: list[str] = []
        self._others: list[str] = []

    def add_main(
        self,
        spec: MainSpec,
        chunks: tuple[int, ...],
        *,
        extras: Sequence[ExtraCoordinate] = (),
        completed: Array | None = None,
        failures: FailedAt | None = None,
        compression: Compression = None,
        checked: bool = True,
    ) -> tuple[Target, ...]:
        """Make a Main without values, and say where they go: one target for each field.

        Parameters
        ----------
        spec : of the Main; its path is that of its group in the file
        chunks : sizes of one chunk along the N-D axes
        extras : coordinates that the model has no place for, written for plain xarray alone
        completed : position-shaped array of bool, for a Main of a partial result: which positions
            have been computed
        failures : where the step failed, for a Main of a result
        compression : "zlib", "zstd" or None
        checked : whether values have checksums, for which they are chunked

        Raises
        ------
        StoreExistsError : where the path is that of another Main, or lies in one
        """
        if any(f"{spec.path}/".startswith(f"{each}/") for each in self._mains):
            raise StoreExistsError(
                f"{spec.path!r} is given twice, or lies in another Main; give each Main a path of "
                "its own"
            )
        leaf = describe(spec, extras)
        group = self._file.createGroup(spec.path)
        for name, size in zip(leaf.dims, spec.shape, strict=True):
            group.createDimension(name, size)
        options = {**_compressed(compression), "fletcher32": checked}
        if compression is None and not checked:
            chunked: dict[str, Any] = {"contiguous": True}
        else:
            chunked = {"chunksizes": chunks}
        targets = tuple(
            self._add_values(group, leaf, key, dtype, {**options, **chunked})
            for key, dtype in leaf.fields
        )
        for column in leaf.columns:
            _add_column(group, column)
        if completed is not None:
            dims = leaf.dims[: completed.ndim]
            marks = group.createVariable(leaf.marks, np.uint8, dims, fletcher32=True)
            marks.setncatts({"long_name": "1 where computed", "usid_role": "position"})
            marks[...] = completed.astype(np.uint8)
        marked = leaf.marks if completed is not None else None
        entry = {**leaf.entry, "id": uuid.uuid4().hex, "marks": marked}
        if failures is not None:
            name = "failed_positions"
            while name in group.variables:
                name += "_"
            dims = leaf.dims[: failures.numbers.ndim]
            numbers = group.createVariable(name, np.uint8, dims, fletcher32=True)
            numbers.setncatts(
                {"long_name": "0, or the number of a reason", "usid_role": "position"}
            )
            numbers[...] = failures.numbers
            entry[FAILURES] = {"numbers": name, "reasons": list(failures.reasons)}
        # Text is the one thing that netCDF keeps exactly: what JSON says of attributes counts.
        plain, exact = pack(spec.attrs, spec.path)
        entry["attrs"] = {**plain, **exact}
        group.setncattr(KEY, json.dumps(entry))
        self._mains.append(spec.path)
        return targets

    def _add_values(
        self,
        group: netCDF4.Group,
        leaf: Leaf,
        key: str,
        dtype: np.dtype[Any],
        options: Mapping[str, Any],
    ) -> Target:
        variable = group.createVariable(key, _stored(dtype), leaf.dims, **options)
        variable.set_auto_maskandscale(False)
        _set_attrs(variable, {**leaf.attrs, **_dtype_attr(dtype)})
        return Target(variable, self._lock)

    def set_attrs(self, path: str, attrs: Mapping[str, Any]) -> None:
        """Give the group at `path`, which is made where there is none, its attributes."""
        plain, exact = pack(attrs, path)
        group = self._file if path.strip("/") == "" else self._file.createGroup(path)
        _set_attrs(group, plain)
        entry = {"version": VERSION, "kind": "group", "attrs": {**plain, **exact}}
        group.setncattr(KEY, json.dumps(entry))

    def add_dataset(
        self, path: str, values: Indexed, dims: Sequence[str], attrs: Mapping[str, Any]
    ) -> None:
        """Write a dataset that is no Main; records become a group of one variable for each field.

        Parameters
        ----------
        path : where it will be in the file
        values : of any shape, read a few rows at a time
        dims : names of its axes
        attrs : of the dataset

        Raises
        ------
        OptionError : for values, or attributes, that netCDF has no type for
        """
        parent, _, name = path.rpartition("/")
        check_values(values.dtype, name)
        plain, exact = pack(attrs, path)
        if isinstance(attrs.get("units"), str):
            plain["units"] = attrs["units"]
        dtype = values.dtype
        fields = [(name, dtype)] if dtype.names is None else fields_of(dtype, name)
        keys = [name] if dtype.names is None else [f"field_{n}" for n in range(len(fields))]
        group = self._file if not parent else self._file.createGroup(parent)
        group = group if dtype.names is None else group.createGroup(name)
        try:
            variables = [
                _plain_variable(group, key, each, values.shape, dims)
                for key, (_, each) in zip(keys, fields, strict=True)
            ]
        except RuntimeError as error:
            raise OptionError(f"{path!r} is no name that netCDF can have ({error})") from error
        for key in row_blocks(values.shape, dtype.itemsize):
            block = plain_values(values[key])
            for variable, (field, _) in zip(variables, fields, strict=True):
                part = block if dtype.names is None else block[field]
                text = part.dtype.kind in "OSUT"
                variable[key if key else ...] = as_text(part) if text else part
        described = [
            {"name": field, "key": key, "dtype": "text" if each.kind in "OSUT" else each.str}
            for key, (field, each) in zip(keys, fields, strict=True)
        ]
        entry = {"version": VERSION, "kind": "dataset", "attrs": {**plain, **exact}}
        entry |= {"fields": described, "compound": dtype.names is not None}
        entry["dims"] = list(dims)
        target = group if dtype.names is not None else variables[0]
        _set_attrs(target, plain)
        target.setncattr(KEY, json.dumps(entry))
        self._others.append(path)

    def close(self) -> None:
        """Write down which Mains there are; the file is whole then."""
        try:
            root = json.loads(self._file.getncattr(KEY))
        except AttributeError:
            root = {"version": VERSION, "attrs": {}}
        root |= {"kind": "root", "mains": self._mains, "datasets": self._others}
        self._file.setncattr(KEY, json.dumps(root))
        self._file.setncattr("Conventions", "CF-1.11")


@contextlib.contextmanager
def draft(path: str, *, overwrite: bool) -> Iterator[Draft]:
    """A file to be filled inside the `with` block; it is put at `path` at the end of it.

    Until then, and for good where the block fails, what is at `path` stays as it is.

    Raises
    ------
    StoreExistsError : where there is a file and `overwrite` is False, or it is no netCDF file of
        Mains
    StoreNotFoundError, ReadOnlyStoreError, NoSpaceError : where nothing can be written
    StoreLockedError : while another process writes it
    """
    from usidx.stores.hdf5.transactions.aside import unwritable

    real = os.path.realpath(path)
    folder, part = os.path.dirname(real), real + PART_SUFFIX
    if not os.path.isdir(folder):
        raise StoreNotFoundError(f"there is no folder {folder!r} to write {path!r} into; make it")
    with held(store_lock(path, "writing a new file"), _LOCK_TIMEOUT):
        _check_target(path, real, overwrite)
        try:
            with netCDF4.Dataset(part, "w", format="NETCDF4", auto_complex=True) as file:
                made = Draft(file)
                yield made
                made.close()
            with disk.opened(part, os.O_RDWR) as descriptor:
                disk.sync(descriptor)
            _check_target(path, real, overwrite)
            disk.replace(part, real)
        except OSError as error:
            raise unwritable(path, error) from error
        finally:
            with contextlib.suppress(FileNotFoundError):
                disk.remove(part)
        disk.sync_folder(folder)


def _check_target(path: str, real: str, overwrite: bool) -> None:
    if not os.path.lexists(real):
        return
    if not overwrite:
        raise StoreExistsError(f"{path!r} is there already; pass overwrite=True to replace it")
    if not os.path.isfile(real) or (os.path.getsize(real) and not is_netcdf(real)):
        raise StoreExistsError(
            f"{path!r} is no netCDF file that usidx wrote, and is not replaced, not even with "
            "overwrite=True; choose another name or remove it yourself"
        )
    refuse_runs(path)


def _stored(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type that netCDF has for values of `dtype`, which holds every one of them."""
    if dtype.kind == "b":
        return np.dtype(np.int8)
    return np.dtype(np.float32) if dtype == np.float16 else dtype


def _dtype_attr(dtype: np.dtype[Any]) -> dict[str, str]:
    """By which xarray knows booleans again."""
    return {"dtype": "bool"} if dtype.kind == "b" else {}


def _compressed(compression: Compression) -> dict[str, Any]:
    if compression not in COMPRESSIONS:
        raise OptionError(f"compression {compression!r} is none of 'zlib', 'zstd' and None")
    if compression is None:
        return {}
    if compression == "zstd":
        return {"compression": "zstd", "complevel": _LEVEL, "shuffle": True}
    return {"compression": "zlib", "complevel": _LEVEL, "shuffle": True}


def _add_column(group: netCDF4.Group, column: Column) -> None:
    values = column.values
    text = values.dtype.kind == "T"
    kind: Any = str if text else _stored(values.dtype)
    variable = group.createVariable(column.key, kind, column.dims)
    _set_attrs(variable, {**column.attrs, **_dtype_attr(values.dtype)})
    if not text:
        variable.set_auto_maskandscale(False)
    variable[...] = values.astype(object if text else kind)


def _plain_variable(
    group: Any, name: str, dtype: np.dtype[Any], shape: tuple[int, ...], dims: Sequence[str]
) -> Any:
    """A variable of any shape, with dimensions of its group that are made where they lack."""
    called: list[str] = []
    for dim, size in zip(dims, shape, strict=True):
        there = group.dimensions.get(dim)
        if there is not None and len(there) != size:
            dim = f"{name}_{len(called)}_"
        if dim not in group.dimensions:
            group.createDimension(dim, size)
        called.append(dim)
    text = dtype.kind in "OSUT"
    kind: Any = str if text else _stored(dtype.newbyteorder("="))
    checked = not text and bool(shape) and 0 not in shape
    options = {"fletcher32": True, "chunksizes": chunk_of(shape, dtype.itemsize)} if checked else {}
    variable = group.createVariable(name, kind, tuple(called), **options)
    if not text:
        variable.set_auto_maskandscale(False)
    _set_attrs(variable, _dtype_attr(dtype))
    return variable


def _set_attrs(target: Any, attrs: Mapping[str, Any]) -> None:
    """Attributes for people and other programs, as far as netCDF has a type for them."""
    for name, value in attrs.items():
        known = _known_to_netcdf(value)
        if known is None or "/" in name or name.startswith("_") or not name:
            continue
        # names that netCDF keeps for itself (CLASS, NAME, ...) or does not take; usidx has all of
        # them in the attribute "usid"
        with contextlib.suppress(AttributeError):
            target.setncattr(name, known)


def _known_to_netcdf(value: Any) -> Any:
    if isinstance(value, bool):
        return np.int8(value)
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else None
    if isinstance(value, float):
        return value
    if isinstance(value, list) and value:
        if all(isinstance(each, str) for each in value):
            return value
        numbers = all(isinstance(each, (int, float)) for each in value)
        if numbers and all(not isinstance(each, int) or abs(each) < 2**63 for each in value):
            return value
    return None
