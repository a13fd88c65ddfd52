"""HDF5 files of no system that is known, by the paths in them; NSID and NeXus have their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from usidx.errors import NotUsidError, OptionError
from usidx.readers.base import Axis, Foreign, Reader, default_positions, position, spectroscopic
from usidx.readers.formats import nexus, nsid
from usidx.readers.formats.hdf5_objects import dataset_main, holds, is_numeric, objects
from usidx.readers.hierarchies import hdf5, plain, plain_attrs, whole


def _holds_numbers(path: str, head: bytes) -> bool:
    """Whether a file has datasets of numbers, and no trace of USID.

    What is left of a broken Main is not shown as if it were whole.
    """
    return holds(path, head, is_numeric) and not holds(path, head, _is_of_usid)


def _is_of_usid(each: Any) -> bool:
    names = {str(each.name).rpartition("/")[2], *each.attrs}
    return any(name.endswith(("Position_Indices", "Spectroscopic_Indices")) for name in names)


def read(
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
        for each in objects(root):
            if not is_numeric(each) or each.name is None or h5py.h5ds.is_scale(each.id):
                continue
            if dataset is None or str(each.name).strip("/") == dataset.strip("/"):
                axes = _any_axes(path, each, n_position, dims)
                described.append((str(each.name), axes, plain_attrs(dict(each.attrs))))
    if dataset is not None and not described:
        raise OptionError(f"{path!r} has no dataset {dataset!r} of numbers")
    if not described:
        raise NotUsidError(f"{path!r} is an HDF5 file without a dataset of numbers")
    return [dataset_main(path, name, axes, told, name) for name, axes, told in described]


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
        values = whole(scale) if scale is not None and fits else None
        axes.append(make(name, units, values, size=size))
    return axes


READERS = (
    nsid.READER,
    nexus.READER,
    Reader(
        name="hdf5",
        title="any HDF5 file, dataset by dataset",
        extensions=(".h5", ".hdf5", ".hdf"),
        claims=_holds_numbers,
        read=read,
        is_general=True,
    ),
)
