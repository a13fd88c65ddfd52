"""Files that xarray itself opens: netCDF 3 and 4, and Zarr of both formats, in a folder or zipped.

Each variable with at least one dimension is a Main. Which dimensions are positions is what their
coordinates say (`usid_role`, or `axis` of the CF conventions), else their names (X, Y, Z, ...), or
what is asked for with `position=`.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from usidx.errors import DamagedStoreError, LayoutError, OptionError, did_you_mean
from usidx.model.dimension import Array, Dimension
from usidx.model.layout import Coordinate
from usidx.model.names import natural_key
from usidx.readers.base import Axis, Foreign, Reader
from usidx.readers.hierarchies import HDF5_SIGNATURE, ZarrItem, plain_attrs
from usidx.readers.raw import FileIdentity

_NETCDF_3 = (b"CDF\x01", b"CDF\x02", b"CDF\x05")
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
        known = (".zgroup", ".zarray", "zarr.json")
        return "zarr" if any(os.path.isfile(os.path.join(path, each)) for each in known) else None
    if head.startswith(b"PK\x03\x04"):
        try:
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
        except zipfile.BadZipFile:
            return "zarr" if path.lower().endswith(".zarr.zip") else None
        return "zarr" if {".zgroup", ".zarray", "zarr.json"} & set(names) else None
    return None


def _is_netcdf(path: str) -> bool:
    """Whether an HDF5 file was written as netCDF, which its root says."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return "_NCProperties" in file.attrs
    except OSError:
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
    if engine == "zarr" and group is None and (bare := _bare(path)) is not None:
        return [_bare_main(path, bare, position)]
    groups = [group.strip("/")] if group is not None else _groups(path, engine)
    found = []
    for each in groups:
        with _opened(path, engine, each) as dataset:
            # a Zarr folder has them in no order
            arrays = {
                str(name): array
                for name, array in sorted(dataset.data_vars.items(), key=_natural)
                if array.ndim and array.dtype.kind in "biufc"
            }
            positions = _positions(path, arrays, position)
            said = plain_attrs(dict(dataset.attrs))
            found += [
                _main(path, engine, each, name, array, positions[name], said)
                for name, array in arrays.items()
            ]
    _check_asked(path, found, position)
    return found


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
    import zarr

    store = _store(path)
    try:
        return ["", *_below(zarr.open_group(store, mode="r"), "")]
    finally:
        store.close()


def _bare(path: str) -> Any:
    """The array that a Zarr store is, None where it is a group."""
    import zarr

    store = _store(path)
    try:
        opened = zarr.open(store, mode="r")
        return opened if isinstance(opened, zarr.Array) else None
    finally:
        store.close()


def _bare_main(path: str, array: Any, position: Sequence[str] | str | None) -> Foreign:
    """A Main of an array without a group: all axes but the last are positions, or as asked."""
    if not os.path.isdir(path):
        raise OptionError(f"{path!r} is a zipped array without a group; unpack it first")
    names = getattr(array.metadata, "dimension_names", None) or ()
    dims = [str(name or f"dim_{axis}") for axis, name in enumerate(names)]
    dims = dims or [f"dim_{axis}" for axis in range(array.ndim)]
    asked = [position] if isinstance(position, str) else position
    wanted = dims[:-1] if asked is None else list(asked)
    axes = tuple(
        Axis(Dimension(dim, "", np.arange(size)), "position" if dim in wanted else "spectroscopic")
        for dim, size in zip(dims, array.shape)
    )
    dtype = np.dtype(array.dtype).newbyteorder("=")
    item = ZarrItem(path, "", tuple(array.shape), dtype)
    chunks = _blocks(tuple(array.shape), tuple(array.chunks), dtype.itemsize)
    return Foreign("Raw_Data", item, axes, attrs=plain_attrs(dict(array.attrs)), chunks=chunks)


def _below(group: Any, path: str) -> Iterator[str]:
    for name in group:
        below = group[name]
        if not hasattr(below, "shape"):
            here = f"{path}/{name}".strip("/")
            yield here
            yield from _below(below, here)


def _store(path: str) -> Any:
    from zarr.storage import LocalStore, ZipStore

    return LocalStore(path, read_only=True) if os.path.isdir(path) else ZipStore(path, mode="r")


@contextmanager
def _opened(path: str, engine: str, group: str) -> Iterator[xr.Dataset]:
    options: dict[str, Any] = {"group": group or None, "decode_timedelta": False}
    store = _store(path) if engine == "zarr" else None
    if store is not None:
        options["consolidated"] = False
    try:
        with xr.open_dataset(store or path, engine=engine, chunks=None, **options) as dataset:
            yield dataset
    finally:
        if store is not None:
            store.close()


@dataclass(frozen=True, eq=False)
class VariableArray:
    """A variable of a file, read by xarray for each block; picklable, nothing is left open.

    Parameters
    ----------
    path, engine, group, name : where it is
    shape, dtype : of the values, decoded
    """

    path: str
    engine: str
    group: str
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    identity: FileIdentity = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "identity", FileIdentity.of(self.path))

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __dask_tokenize__(self) -> Any:
        return "usidx.VariableArray", self.path, self.group, self.name, self.shape, self.identity

    def __getitem__(self, key: Any, /) -> Array:
        self.identity.check(self.path)
        parts = key if isinstance(key, tuple) else (key,)
        try:
            with _opened(self.path, self.engine, self.group) as dataset:
                array = dataset[self.name]
                block = array.isel(dict(zip(array.dims, parts))).values
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise DamagedStoreError(
                f"a block of {self.name!r} of {self.path!r} cannot be read "
                f"({type(error).__name__}: {error})"
            ) from error
        return np.asarray(block).astype(self.dtype, copy=False)


def _main(
    path: str,
    engine: str,
    group: str,
    name: str,
    array: xr.DataArray,
    positions: Sequence[str],
    said: Mapping[str, Any],
) -> Foreign:
    dims = [str(dim) for dim in array.dims]
    axes = tuple(
        Axis(_dimension(array, dim), "position" if dim in positions else "spectroscopic")
        for dim in dims
    )
    sides = [set(positions), set(dims) - set(positions)]
    coordinates = tuple(
        Coordinate(
            str(key), str(each.attrs.get("units", "")), tuple(map(str, each.dims)), each.values
        )
        for key, each in array.coords.items()
        if each.ndim
        and key not in dims
        and each.dtype.kind in "biuf"
        and any(set(map(str, each.dims)) <= side for side in sides)
    )
    attrs = array.attrs
    # what is said of all variables, and quantities that stayed as they were
    alone = {str(key): each.values[()] for key, each in array.coords.items() if not each.ndim}
    kept = {**said, **plain_attrs(alone), **plain_attrs(attrs)}
    stored = array.encoding.get("preferred_chunks") or {}
    dtype = np.dtype(array.dtype).newbyteorder("=")
    chunks = tuple(int(stored.get(dim, 1)) for dim in dims)
    return Foreign(
        name=f"/{group}/{name}" if group else name,
        array=VariableArray(path, engine, group, name, tuple(array.shape), dtype),
        axes=axes,
        quantity=str(attrs.get("quantity") or attrs.get("long_name") or name),
        units=str(attrs.get("units", "")),
        attrs={key: each for key, each in kept.items() if key not in _OWN},
        chunks=_blocks(tuple(array.shape), chunks, dtype.itemsize) if stored else None,
        coordinates=coordinates,
    )


def _blocks(shape: tuple[int, ...], chunks: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    from usidx.model.blocks import whole_chunks

    return whole_chunks(shape, tuple(map(min, chunks, shape)), itemsize)


def _dimension(array: xr.DataArray, dim: str) -> Dimension:
    if dim not in array.coords:
        return Dimension(dim, "", np.arange(array.sizes[dim]))
    coordinate = array.coords[dim]
    units = str(coordinate.attrs.get("units", ""))
    return Dimension(
        dim, units, coordinate.values, quantity=str(coordinate.attrs.get("long_name", ""))
    )


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
