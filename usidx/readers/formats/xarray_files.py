"""Files that xarray itself opens: netCDF 3 and 4, and Zarr of both formats, in a folder or zipped.

Each variable with at least one dimension is a Main. Which dimensions are positions is what their
coordinates say (`usid_role`, or `axis` of the CF conventions), else their names (X, Y, Z, ...), or
what is asked for with `position=`.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from usidx.errors import (
    DamagedStoreError,
    LayoutError,
    NotUsidError,
    OptionError,
    did_you_mean,
)
from usidx.model.names import natural_key
from usidx.readers.base import Axis, Foreign, Reader
from usidx.readers.formats.xarray_labels import coordinates_of, dimension_of, single_value
from usidx.readers.formats.xarray_values import VariableArray, opened
from usidx.readers.formats.zarr_arrays import group_mains, main_of, zarr_root
from usidx.readers.hierarchies import HDF5_SIGNATURE, plain_attrs

_NETCDF_5 = b"CDF\x05"
_NETCDF_3 = (b"CDF\x01", b"CDF\x02", _NETCDF_5)
# Attributes of variables of netCDF 4, and how many variables are looked at for them.
_NETCDF_4 = frozenset(("_Netcdf4Dimid", "_Netcdf4Coordinates"))
_FIRST = 32
# What xarray says of Zarr that has no names of dimensions (in a zip file by a mistake of its own),
# or arrays of which each has its own.
_NO_DIMENSIONS = ("determine variable dimensions", "conflicting sizes for dimension", "'prototype'")
_ZARR = (".zgroup", ".zarray", "zarr.json")
_NAMELESS = "__xarray_dataarray_variable__"
_LONGEST = 4096
_SPATIAL = ("x", "y", "z", "row", "column", "lat", "lon", "latitude", "longitude", "position")
_OWN = ("units", "long_name", "quantity")


def _claims(path: str, head: bytes) -> bool:
    return _engine(path, head) is not None


def _engine(path: str, head: bytes) -> str | None:
    """The engine of xarray for a file, None where it is not one of its own formats."""
    if head.startswith(_NETCDF_3):
        # the library of netCDF shows zeros for what is cut off
        return "scipy"
    if head.startswith(HDF5_SIGNATURE):
        return "h5netcdf" if _is_netcdf(path) else None
    if os.path.isdir(path):
        return "zarr" if any(os.path.isfile(os.path.join(path, each)) for each in _ZARR) else None
    if head.startswith(b"PK\x03\x04"):
        try:
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
        except zipfile.BadZipFile:
            return "zarr" if path.lower().endswith(".zarr.zip") else None
        return "zarr" if set(_ZARR) & set(names) or _folder_in(names) else None
    return None


def _folder_in(names: Iterable[str]) -> str | None:
    """The folder of a zip file in which a Zarr store lies, as `zip -r` puts it; None for others."""
    tops = {each.partition("/")[0] for each in names}
    top = tops.pop() if len(tops) == 1 else None
    return top if top and {f"{top}/{each}" for each in _ZARR} & set(names) else None


def _refuse_folder(path: str) -> None:
    """Say of a zip file that it holds the folder of a store, where it ought to hold what is in it.

    Raises
    ------
    NotUsidError : where it does
    """
    with contextlib.suppress(zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
        if folder := _folder_in(archive.namelist()):
            raise NotUsidError(
                f"{path!r} holds the folder {folder!r}, and the Zarr store in that; zipped Zarr "
                f"has its zarr.json (or .zgroup) at the top. Unpack it and open {folder!r}, or zip "
                f"what is in the folder: cd {folder} && zip -0 -r ../other.zarr.zip ."
            )


def _is_netcdf(path: str) -> bool:
    """Whether an HDF5 file was written as netCDF, which its root says, or its first variables."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            if "_NCProperties" in file.attrs:
                return True
            # of old libraries, or with types that netCDF does not have
            for name in itertools.islice(file, _FIRST):
                is_here = isinstance(file.get(name, getlink=True), h5py.HardLink)
                if is_here and _NETCDF_4.intersection(file[name].attrs):
                    return True
            return False
    except (OSError, RuntimeError, KeyError):
        return False


def read(
    path: str, *, position: Sequence[str] | str | None = None, group: str | None = None
) -> Sequence[Foreign]:
    """The variables of a file.

    Parameters
    ----------
    position : names of the dimensions along which the probe moves
    group : of the file, to look at this one alone
    """
    head = b""
    if os.path.isfile(path):
        with open(path, "rb") as file:
            head = file.read(512)
    engine = _engine(path, head)
    if engine is None:
        raise DamagedStoreError(f"{path!r} is neither netCDF nor Zarr")
    if head.startswith(_NETCDF_5):
        raise NotUsidError(
            f"{path!r} is netCDF of 64-bit data (CDF-5), which scipy does not read; convert it: "
            "nccopy -k nc4 old.nc new.nc"
        )
    if engine == "zarr":
        if os.path.isfile(path):
            _refuse_folder(path)
        with zarr_root(path) as root:
            if not hasattr(root, "arrays"):
                found = [main_of(path, "", root, position)]
                _check_asked(path, found, position)
                return found
    groups = [group.strip("/")] if group is not None else _groups(path, engine)
    known: dict[str, Mapping[str, Any]] = {}
    found = [main for each in groups for main in _mains(path, engine, each, position, known)]
    _check_asked(path, found, position)
    return found


def _mains(
    path: str,
    engine: str,
    group: str,
    position: Sequence[str] | str | None,
    known: dict[str, Mapping[str, Any]],
) -> list[Foreign]:
    """The variables of one group; of Zarr that says nothing of dimensions, its arrays.

    Parameters
    ----------
    known : values along dimensions by groups; filled
    """
    try:
        times = _has_usual_times(path, engine, group)
        with opened(path, engine, group, times) as dataset:
            if any(None in each.dims for each in dataset.variables.values()):
                raise KeyError(_NO_DIMENSIONS[0])
            known[group] = _values_along(dataset)
            above = _values_above(path, engine, group, dataset, known)
            whole = VariableArray(path, engine, group, times)
            return _variables(whole, dataset.assign_coords(above), position)
    except (KeyError, ValueError, TypeError) as error:
        if engine != "zarr" or not any(each in str(error) for each in _NO_DIMENSIONS):
            raise
    known[group] = {}
    with zarr_root(path) as root:
        return group_mains(path, root[group] if group else root, group, position)


def _values_along(dataset: xr.Dataset) -> dict[str, Any]:
    """Values along the dimensions of a group that has them, as xarray takes them."""
    return {
        str(name): (name, each.values, each.attrs)
        for name, each in dataset.coords.items()
        if each.dims == (name,)
    }


def _values_above(
    path: str,
    engine: str,
    group: str,
    dataset: xr.Dataset,
    known: dict[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """Values along dimensions of a group that only the groups above it have."""
    found: dict[str, Any] = {}
    names = group.split("/") if group else []
    for each in ("/".join(names[:count]) for count in range(len(names))):
        if each not in known:
            _mains(path, engine, each, [], known)
        found |= known[each]
    return {
        name: each
        for name, each in found.items()
        if dataset.sizes.get(name) == each[1].size and name not in dataset.coords
    }


def _variables(
    whole: VariableArray, dataset: xr.Dataset, position: Sequence[str] | str | None
) -> list[Foreign]:
    said = plain_attrs(dict(dataset.attrs))
    edges = {
        str(holder.get("bounds"))
        for each in dataset.variables.values()
        for holder in (each.attrs, each.encoding)
        if holder.get("bounds")
    }
    # a Zarr folder has them in no order
    numeric = {
        str(name): array
        for name, array in sorted(dataset.data_vars.items(), key=_natural)
        if array.ndim and array.dtype.kind in "biufc"
    }
    arrays = {name: each for name, each in numeric.items() if each.size and name not in edges}
    if numeric and not any(each.size for each in numeric.values()):
        raise NotUsidError(f"{whole.path!r} has no values: {', '.join(numeric)} have no extent")
    for name in edges & numeric.keys():
        if numeric[name].size <= _LONGEST:
            said[name] = numeric[name].values
    positions = _positions(whole.path, arrays, position)
    return [_main(whole, name, each, positions[name], said) for name, each in arrays.items()]


def _check_asked(path: str, found: Sequence[Foreign], asked: Sequence[str] | str | None) -> None:
    """Nothing, where each dimension that was asked for is one of some variable."""
    dims = list(dict.fromkeys(axis.dimension.name for main in found for axis in main.axes))
    for each in [asked] if isinstance(asked, str) else asked or ():
        if str(each) not in dims:
            raise OptionError(
                f"position={asked!r}: no variable of {path!r} has a dimension {each!r}"
                f"{did_you_mean(str(each), dims)}; there are {', '.join(dims)}"
            )


def _natural(item: tuple[Any, xr.DataArray]) -> Any:
    return natural_key(str(item[0]))


def _groups(path: str, engine: str) -> list[str]:
    """Every group of a file, the root as ""."""
    if engine == "scipy":
        return [""]
    if engine == "h5netcdf":
        from usidx.readers.hierarchies import hdf5

        with hdf5(path) as root:
            return ["", *_below(root, "")]
    with zarr_root(path) as root:
        return ["", *_below(root, "")]


def _below(group: Any, path: str) -> Iterator[str]:
    for name in group:
        below = group[name]
        if hasattr(below, "keys"):
            here = f"{path}/{name}".strip("/")
            yield here
            yield from _below(below, here)


def _has_usual_times(path: str, engine: str, group: str) -> bool:
    """Whether all times are of the calendar that NumPy has.

    Where they are not, those of a group stay numbers, whose units say from when they count.
    """
    try:
        with opened(path, engine, group) as dataset:
            return not any(
                each.dtype == object and "calendar" in each.encoding
                for each in dataset.variables.values()
            )
    except ValueError as error:
        if "decode time" not in str(error):
            raise
        return False


def _main(
    whole: VariableArray,
    name: str,
    array: xr.DataArray,
    positions: Sequence[str],
    said: Mapping[str, Any],
) -> Foreign:
    dims = [str(dim) for dim in array.dims]
    axes = tuple(
        Axis(dimension_of(array, dim), "position" if dim in positions else "spectroscopic")
        for dim in dims
    )
    attrs = array.attrs
    # what is said of all variables, and quantities that stayed as they were
    alone = {str(key): single_value(each) for key, each in array.coords.items() if not each.ndim}
    kept = {**said, **plain_attrs(alone), **plain_attrs(attrs)}
    stored = array.encoding.get("preferred_chunks") or {}
    dtype = np.dtype(array.dtype).newbyteorder("=")
    chunks = tuple(int(stored.get(dim, 1)) for dim in dims)
    called = "Raw_Data" if name == _NAMELESS else name
    return Foreign(
        name=f"/{whole.group}/{called}" if whole.group else called,
        array=replace(whole, name=name, shape=tuple(array.shape), dtype=dtype),
        axes=axes,
        quantity=str(attrs.get("quantity") or attrs.get("long_name") or _quantity(name)),
        units=str(attrs.get("units", "")),
        attrs={key: each for key, each in kept.items() if key not in _OWN},
        chunks=_blocks(tuple(array.shape), chunks, dtype.itemsize) if stored else None,
        coordinates=coordinates_of(array),
    )


def _quantity(name: str) -> str:
    return "Unknown" if name == _NAMELESS else name


def _blocks(shape: tuple[int, ...], chunks: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    from usidx.model.blocks import whole_chunks

    return whole_chunks(shape, tuple(map(min, chunks, shape)), itemsize)


def _positions(
    path: str, arrays: Mapping[str, xr.DataArray], asked: Sequence[str] | str | None
) -> Mapping[str, list[str]]:
    """The dimensions along which the probe moves, for each variable of a group.

    Where some variables tell, those that tell nothing have none: a spectrum beside a map.

    Raises
    ------
    LayoutError : where nothing tells
    """
    if asked is not None:
        wanted = [asked] if isinstance(asked, str) else [str(each) for each in asked]
        return {name: [dim for dim in map(str, each.dims) if dim in wanted]
                for name, each in arrays.items()}  # fmt: skip
    found = {name: _guessed(each) for name, each in arrays.items()}
    if arrays and all(dims is None for dims in found.values()):
        name, array = next(iter(arrays.items()))
        raise LayoutError(
            f"nothing in {path!r} says along which dimensions of {name!r} "
            f"({', '.join(map(str, array.dims))}) the probe moves; say it with position=['...'], "
            "or position=[] where it does not"
        )
    return {name: dims or [] for name, dims in found.items()}


def _guessed(array: xr.DataArray) -> list[str] | None:
    """What the coordinates of a variable say, else their names; None where they say nothing.

    An empty list stands for coordinates that are said to be no positions.
    """
    dims = [str(dim) for dim in array.dims]
    attrs = {dim: array.coords[dim].attrs for dim in dims if dim in array.coords}
    said = {dim: each.get("usid_role") for dim, each in attrs.items()}
    if any(said.values()):
        return [dim for dim in dims if said.get(dim) == "position"]
    found = [dim for dim in dims if attrs.get(dim, {}).get("axis") in ("X", "Y", "Z")]
    return found or [dim for dim in dims if dim.lower() in _SPATIAL] or None


READERS = (
    Reader(
        name="xarray",
        title="xarray's own netCDF and Zarr (.nc, .zarr, .zarr.zip)",
        extensions=(".nc", ".nc4", ".cdf", ".zarr", ".zarr.zip"),
        claims=_claims,
        read=read,
        is_general=True,
    ),
)
