"""HDF5 files of no system that is known, by the paths in them; NSID and NeXus have their own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from usidx.errors import NotUsidError, OptionError
from usidx.readers.base import Axis, Foreign, Reader, default_positions, position, spectroscopic
from usidx.readers.formats import nexus, nsid
from usidx.readers.formats.hdf5_objects import dataset_main, holds, leads_elsewhere, objects
from usidx.readers.hierarchies import hdf5, plain, plain_attrs, whole


def _holds_datasets(path: str, head: bytes) -> bool:
    """Whether a file has datasets, or links into other files, and no trace of USID.

    What is left of a broken Main is not shown as if it were whole.
    """
    return holds(path, head, _is_dataset) and not holds(path, head, _is_of_usid)


def _is_dataset(each: Any) -> bool:
    return hasattr(each, "shape") or leads_elsewhere(each)


def _is_of_usid(each: Any) -> bool:
    names = {str(each.name).rpartition("/")[2], *each.attrs}
    return any(name.endswith(("Position_Indices", "Spectroscopic_Indices")) for name in names)


def read(
    path: str,
    *,
    dataset: str | None = None,
    n_position: int | None = None,
    dims: Sequence[str] | None = None,
    allow_external: Sequence[str] = (),
) -> Sequence[Foreign]:
    """The numeric datasets of a file, by their paths; tables of numbers are compound Mains.

    Scales that are tied to a dataset are the values of its axes. Nothing says which axes are
    positions: of up to three axes all but the last, of more all but the last two.

    Parameters
    ----------
    dataset : path of the one that is wanted
    n_position : how many of the axes, the first ones, are positions
    dims : names of the axes
    allow_external : folders with the other files that links and virtual datasets may lead to
    """
    import h5py

    described: list[Any] = []
    others: list[str] = []
    with hdf5(path, allow_external) as root:
        for where, each in _asked_for(root, dataset, allow_external):
            if not isinstance(each, h5py.Dataset):
                continue
            why = _why_not(each)
            if why:
                others.append(f"{where} ({why})")
            elif dataset is not None or not h5py.h5ds.is_scale(each.id):
                axes = _any_axes(path, each, where, n_position, dims)
                described.append((where, axes, plain_attrs(dict(each.attrs))))
    if described:
        return [
            dataset_main(path, where, axes, told, where, allow_external=allow_external)
            for where, axes, told in described
        ]
    listed = ", ".join(others[:8]) + (f" and {len(others) - 8} more" if len(others) > 8 else "")
    if dataset is not None:
        found = f": {listed}" if others else ""
        raise OptionError(f"{path!r} has no dataset {dataset!r} of numbers{found}")
    raise NotUsidError(
        f"{path!r} is an HDF5 file without a dataset of numbers that has an axis; it has "
        f"{listed or 'only groups, and scales of axes'}. Read it with h5py, and make a Main of an "
        "array by usidx.from_array"
    )


def _asked_for(
    root: Any, dataset: str | None, allow_external: Sequence[str]
) -> Iterable[tuple[str, Any]]:
    """(path, object) of every object, or of the one asked for, whatever links lead there."""
    from usidx.stores.hdf5.objects.walk import find

    if dataset is None:
        return objects(root, allow_external)
    where = "/" + dataset.strip("/")
    found = find(root, where)
    return [] if found is None else [(where, found)]


def _why_not(each: Any) -> str:
    """Why a dataset is no Main; "" where it is one."""
    try:
        dtype = each.dtype
    except TypeError:
        return "values that NumPy has no type for"
    kind = _text_attr(each, "MATLAB_class")
    if each.shape is None or 0 in each.shape or _text_attr(each, "MATLAB_empty") not in ("", "0"):
        return "empty"
    if kind == "char":
        return "text of MATLAB"
    if not each.shape:
        return "a single value"
    if dtype.names is not None:
        fields = [dtype.fields[name][0] for name in dtype.names]
        wrong = [n for n, one in zip(dtype.names, fields) if one.kind not in "biuf" or one.subdtype]
        return f"a table with {wrong[0]!r}, which is no column of numbers" if wrong else ""
    if dtype.kind in "biufc":
        return ""
    return {"S": "text", "O": "text, references or lists", "V": "opaque values"}.get(
        dtype.kind, str(dtype)
    )


def _text_attr(each: Any, name: str) -> str:
    value = plain(each.attrs.get(name))
    return "" if value is None else str(value)


def _any_axes(
    path: str, each: Any, where: str, n_position: int | None, dims: Sequence[str] | None
) -> list[Axis]:
    if dims is not None and len(dims) != each.ndim:
        raise OptionError(
            f"dims={list(dims)!r} names {len(dims)} axes, {where!r} of {path!r} has {each.ndim}"
        )
    # rows of a table are places, each with values of its own
    usual = each.ndim if each.dtype.names is not None else default_positions(each.ndim)
    count = usual if n_position is None else n_position
    if not 0 <= count <= each.ndim:
        raise OptionError(
            f"n_position={n_position} is not between 0 and {each.ndim}, the axes of {where!r}"
        )
    axes: list[Axis] = []
    for axis, (dim, size) in enumerate(zip(each.dims, each.shape)):
        scale = dim[0] if len(dim) else None
        name = dim.label or ("" if scale is None else str(scale.name).rpartition("/")[2])
        name = dims[axis] if dims is not None else name or _usual_name(each, axis)
        fits = scale is not None and scale.shape == (size,) and scale.dtype.kind in "iuf"
        units = str(plain(scale.attrs.get("units")) or "") if scale is not None and fits else ""
        make = position if axis < count else spectroscopic
        values = whole(scale) if scale is not None and fits else None
        axes.append(make(name, units, values, size=size))
    return axes


def _usual_name(each: Any, axis: int) -> str:
    return "row" if each.dtype.names is not None and each.ndim == 1 else f"dim_{axis}"


READERS = (
    nsid.READER,
    nexus.READER,
    Reader(
        name="hdf5",
        title="any HDF5 file, dataset by dataset",
        extensions=(".h5", ".hdf5", ".hdf", ".mat"),
        claims=_holds_datasets,
        read=read,
        is_general=True,
        reaches_out=True,
    ),
)
