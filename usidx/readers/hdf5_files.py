"""HDF5 files that are not USID: NSID (sidpy), NeXus, and any other by the paths in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from usidx.errors import NotUsidError, OptionError
from usidx.readers.base import Axis, Foreign, Reader, default_positions, position, spectroscopic
from usidx.readers.hierarchies import HDF5_SIGNATURE, hdf5, hdf5_array, plain, plain_attrs

_POSITIONS_OF_NSID = ("SPATIAL", "TEMPORAL")
_INTERPRETATIONS = {"scalar": 0, "spectrum": 1, "image": 2, "rgb-image": 3, "rgba-image": 3}
_OWN = ("units", "quantity", "long_name", "DIMENSION_LABELS", "DIMENSION_LIST")


def _holds(path: str, head: bytes, is_one: Callable[[Any], bool]) -> bool:
    """Whether any object of an HDF5 file is one that `is_one` knows."""
    import h5py

    if not head.startswith(HDF5_SIGNATURE):
        return False

    def look(_: str, each: Any) -> bool | None:
        return True if is_one(each) else None

    try:
        with h5py.File(path, "r") as file:
            return bool(file.visititems(look))
    except (OSError, RuntimeError):
        return False


def _holds_numbers(path: str, head: bytes) -> bool:
    """Whether a file has datasets of numbers, and no trace of USID.

    What is left of a broken Main is not shown as if it were whole.
    """
    return _holds(path, head, _is_numeric) and not _holds(path, head, _is_of_usid)


def _is_numeric(each: Any) -> bool:
    return hasattr(each, "shape") and bool(each.ndim) and each.dtype.kind in "biufc"


def _is_of_usid(each: Any) -> bool:
    names = {str(each.name).rpartition("/")[2], *each.attrs}
    return any(name.endswith(("Position_Indices", "Spectroscopic_Indices")) for name in names)


def _is_nsid(each: Any) -> bool:
    known = {"data_type", "main_data_name", "modality"}
    return hasattr(each, "shape") and known <= set(each.attrs) and "DIMENSION_LIST" in each.attrs


def _is_nxdata(each: Any) -> bool:
    said = plain(each.attrs.get("NX_class"))
    return not hasattr(each, "shape") and said == "NXdata" and _signal_name(each) is not None


def _signal_name(group: Any) -> str | None:
    """Name of the signal of an NXdata group, in the convention of today or the one before."""
    import h5py

    name = plain(group.attrs.get("signal"))
    if not isinstance(name, str):
        marked = [
            key
            for key in group
            if isinstance(group.get(key), h5py.Dataset) and "signal" in group[key].attrs
        ]
        name = marked[0] if marked else None
    found = None if name is None else group.get(name)
    usable = isinstance(found, h5py.Dataset) and found.ndim > 0 and found.dtype.kind in "biufc"
    return name if usable else None


def _walk(root: Any) -> Iterator[Any]:
    """Every object of a file once, parents first; links that lead nowhere are passed over."""
    found: list[Any] = []
    root.visititems(lambda _, each: found.append(each))
    yield from found


def read_nsid(path: str) -> Sequence[Foreign]:
    """The datasets of sidpy in a file; spatial and temporal dimensions are positions."""
    described = []
    with hdf5(path) as root:
        for each in filter(_is_nsid, _walk(root)):
            axes: list[Axis] = []
            for dim in each.dims:
                scale = dim[0]
                told = plain_attrs(dict(scale.attrs))
                kind = str(told.get("dimension_type", "")).upper()
                make = position if kind in _POSITIONS_OF_NSID else spectroscopic
                name = str(told.get("name") or dim.label or f"dim_{len(axes)}")
                axes.append(
                    make(
                        name,
                        str(told.get("units", "")),
                        scale[...],
                        quantity=str(told.get("quantity", "")),
                    )
                )
            described.append((str(each.name), axes, plain_attrs(dict(each.attrs))))
    return [_main(path, name, axes, told, f"{name}") for name, axes, told in described]


def read_nexus(path: str, *, n_position: int | None = None) -> Sequence[Foreign]:
    """The NXdata groups of a file: their signals, with their axes.

    Parameters
    ----------
    n_position : how many of the axes, the first ones, are positions; else what `interpretation`
        leaves over
    """
    described = []
    with hdf5(path) as root:
        for group in filter(_is_nxdata, _walk(root)):
            name = _signal_name(group)
            assert name is not None
            signal = group[name]
            inner = _INTERPRETATIONS.get(str(plain(signal.attrs.get("interpretation")) or ""))
            count = default_positions(signal.ndim) if inner is None else signal.ndim - inner
            count = count if n_position is None else n_position
            axes = _nexus_axes(group, signal, max(0, count))
            told = plain_attrs(dict(signal.attrs))
            title = plain(group.attrs.get("title")) or told.get("long_name") or name
            # a dataset of several names is read by the one that HDF5 knows
            described.append((str(group.name), str(signal.name), axes, {**told, "quantity": title}))
    return [_main(path, where, axes, told, main) for main, where, axes, told in described]


def _nexus_axes(group: Any, signal: Any, count: int) -> list[Axis]:
    said = plain(group.attrs.get("axes"))
    if said is None:
        said = plain(signal.attrs.get("axes"))
        said = str(said).split(":") if isinstance(said, str) else said
    names = [said] if isinstance(said, str) else list(said or [])
    names += ["."] * (signal.ndim - len(names))
    axes: list[Axis] = []
    for axis, size in enumerate(signal.shape):
        make = position if axis < count else spectroscopic
        name = str(names[axis])
        values = group.get(name) if name != "." else None
        label = name if name != "." else f"dim_{axis}"
        if values is None or getattr(values, "shape", None) != (size,):
            axes.append(make(label, size=size))
            continue
        units = str(plain(values.attrs.get("units")) or "")
        axes.append(
            make(label, units, values[...] if values.dtype.kind in "iuf" else None, size=size)
        )
    return axes


def read_any(
    path: str,
    *,
    dataset: str | None = None,
    n_position: int | None = None,
    dims: Sequence[str] | None = None,
) -> Sequence[Foreign]:
    """The numeric datasets of a file, by their paths.

    Scales that are tied to a dataset are the values of its axes. Nothing says which axes are
    positions: of up to three axes all but the last, of more all but the last two.

    Parameters
    ----------
    dataset : path of the one that is wanted
    n_position : how many of the axes, the first ones, are positions
    dims : names of the axes
    """
    import h5py

    described = []
    with hdf5(path) as root:
        for each in _walk(root):
            if not _is_numeric(each) or each.name is None or h5py.h5ds.is_scale(each.id):
                continue
            if dataset is None or str(each.name).strip("/") == dataset.strip("/"):
                axes = _any_axes(path, each, n_position, dims)
                described.append((str(each.name), axes, plain_attrs(dict(each.attrs))))
    if dataset is not None and not described:
        raise OptionError(f"{path!r} has no dataset {dataset!r} of numbers")
    if not described:
        raise NotUsidError(f"{path!r} is an HDF5 file without a dataset of numbers")
    return [_main(path, name, axes, told, name) for name, axes, told in described]


def _any_axes(
    path: str, each: Any, n_position: int | None, dims: Sequence[str] | None
) -> list[Axis]:
    if dims is not None and len(dims) != each.ndim:
        raise OptionError(
            f"dims={list(dims)!r} names {len(dims)} axes, {each.name!r} of {path!r} has {each.ndim}"
        )
    count = default_positions(each.ndim) if n_position is None else n_position
    if not 0 <= count <= each.ndim:
        raise OptionError(
            f"n_position={n_position} is not between 0 and {each.ndim}, the axes of {each.name!r}"
        )
    axes: list[Axis] = []
    for axis, (dim, size) in enumerate(zip(each.dims, each.shape)):
        scale = dim[0] if len(dim) else None
        name = dim.label or ("" if scale is None else str(scale.name).rpartition("/")[2])
        name = dims[axis] if dims is not None else name or f"dim_{axis}"
        fits = scale is not None and scale.shape == (size,) and scale.dtype.kind in "iuf"
        units = str(plain(scale.attrs.get("units")) or "") if scale is not None and fits else ""
        make = position if axis < count else spectroscopic
        values = scale[...] if scale is not None and fits else None
        axes.append(make(name, units, values, size=size))
    return axes


def _main(path: str, where: str, axes: list[Axis], told: dict[str, Any], name: str) -> Foreign:
    array, _ = hdf5_array(path, where)
    names = [each.dimension.name for each in axes]
    if len(set(names)) < len(names):
        axes = [
            Axis(_renamed(each, f"{each.dimension.name}_{number}"), each.role)
            for number, each in enumerate(axes)
        ]
    last = name.rpartition("/")[2]
    return Foreign(
        name=name,
        array=array,
        axes=tuple(axes),
        quantity=str(told.get("quantity") or told.get("long_name") or last),
        units=str(told.get("units", "")),
        attrs={key: value for key, value in told.items() if key not in _OWN},
    )


def _renamed(axis: Axis, name: str) -> Any:
    old = axis.dimension
    return type(old)(name, old.units, np.asarray(old.values), quantity=old.quantity)


READERS = (
    Reader(
        name="nsid",
        title="NSID, sidpy and pyNSID (.h5, .hf5)",
        extensions=(".h5", ".hf5"),
        claims=lambda path, head: _holds(path, head, _is_nsid),
        read=read_nsid,
    ),
    Reader(
        name="nexus",
        title="NeXus with NXdata (.nxs, .h5)",
        extensions=(".nxs", ".nx", ".h5", ".hdf5"),
        claims=lambda path, head: _holds(path, head, _is_nxdata),
        read=read_nexus,
    ),
    Reader(
        name="hdf5",
        title="any HDF5 file, dataset by dataset",
        extensions=(".h5", ".hdf5", ".hdf"),
        claims=_holds_numbers,
        read=read_any,
    ),
)
