"""Writing HyperSpy's .hspy files, by its published layout; HyperSpy itself is not needed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from usidx.exporting.moving.aside import aside
from usidx.exporting.moving.chunking import Chunks
from usidx.exporting.moving.parts import Exportable, parts_of
from usidx.exporting.moving.storing import Progress, blocked, store
from usidx.exporting.signals import Signal, SignalAxis, cut_signal, signal_of, stored_value
from usidx.stores.remote.url import path_on_disk

if TYPE_CHECKING:
    import dask.array

VERSION = "3.3"
_NONE = "_None_"


def to_hspy(
    obj: Exportable,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    compression: Literal["gzip", "lzf"] | None = None,
    chunks: Chunks = None,
    progress: Progress = False,
) -> str:
    """Write Mains to a new .hspy file that HyperSpy opens, and return its path.

    Positions are navigation axes, spectroscopic dimensions signal axes. An axis of equal steps is
    one of an offset and a scale; other values that rise or fall are kept as they are. HyperSpy has
    no place for values that go up and down, for text, and for coordinates along several axes: those
    are in `original_metadata.usid.coordinates`, and the axis counts from 0. Attributes
    "metadata.General.authors" are metadata again, others in `original_metadata.usid.attributes`.
    Values are computed and written block by block; what is at `path` stays whole until the new
    file is.

    Parameters
    ----------
    obj : a Main, a DataTree of Mains, or a list or dict of them; each is a signal
    path : of the file
    overwrite : replace the file that is there; the arrays may come from the very file
    compression : "gzip" is small, "lzf" fast, None stores the values as they are
    chunks : size of a stored chunk along the dimensions (those left out are whole); when None the
        chunks of a dask array are kept where they suit
    progress : True for a bar, or a function that is called with (blocks done, blocks in all)

    Raises
    ------
    StoreExistsError : where there is a file and `overwrite` is False
    StoreNotFoundError, ReadOnlyStoreError, NoSpaceError : where it cannot be written
    LayoutError : where a dimension has no role
    OptionError : for a compound Main

    Examples
    --------
    >>> import os, tempfile, usidx
    >>> from usidx.testing import make_main
    >>> path = to_hspy(make_main(), os.path.join(tempfile.mkdtemp(), "scan.hspy"))
    >>> usidx.open(path).usid.position_dims
    ('Y', 'X')
    """
    import h5py

    path = path_on_disk(path, "a .hspy file")
    parts = parts_of(obj).mains
    signals = [signal_of(part) for part in parts]
    with aside(path, overwrite) as new, h5py.File(new.name, "w") as file:
        file.attrs["file_format"] = "HyperSpy"
        file.attrs["file_format_version"] = VERSION
        sources: list[dask.array.Array] = []
        targets: list[Any] = []
        experiments = file.create_group("Experiments", track_order=True)
        for part, signal in zip(parts, signals, strict=True):
            group = experiments.create_group(_free(signal.title, experiments))
            blocks, chunk = cut_signal(part, signal, chunks)
            targets.append(_described(group, signal, chunk, compression))
            sources.append(blocked(signal.values, blocks))
        store(sources, targets, progress, here=True)
    return path


def _free(title: str, taken: Any) -> str:
    name = title.replace("/", "-") or "__unnamed__"
    number = 1
    found = name
    while found in taken:
        found, number = f"{name}_{number}", number + 1
    return found


def _described(group: Any, signal: Signal, chunk: tuple[int, ...], compression: str | None) -> Any:
    """The dataset of values, in a group with everything that is said of them."""
    group.attrs["package"] = "usidx"
    group.attrs["package_version"] = _version()
    attributes = group.create_group("attributes")
    attributes.attrs["_lazy"] = False
    attributes.attrs["ragged"] = False
    for number, axis in enumerate(signal.axes):
        _add_axis(group.create_group(f"axis-{number}"), axis)
    _add(group.create_group("metadata"), signal.metadata)
    _add(group.create_group("original_metadata"), signal.original_metadata)
    group.create_group("learning_results")
    return group.create_dataset(
        "data",
        shape=signal.values.shape,
        dtype=signal.values.dtype.newbyteorder("="),
        chunks=chunk or None,
        compression=compression if chunk else None,
    )


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("usidx")
    except PackageNotFoundError:  # run from its source, not installed
        return ""


def _add_axis(group: Any, axis: SignalAxis) -> None:
    told: dict[str, Any] = {
        "_type": "UniformDataAxis" if axis.values is None else "DataAxis",
        "name": axis.name,
        "units": axis.units or _NONE,
        "navigate": axis.is_navigation,
        "is_binned": False,
        "size": axis.size,
    }
    if axis.values is None:
        told |= {"offset": axis.offset, "scale": axis.scale}
    else:
        group.create_dataset("axis", data=axis.values)
        del told["size"]
    for name, value in told.items():
        group.attrs[name] = value


def _add(group: Any, values: Mapping[str, Any]) -> None:
    """Nested values, with the marks by which HyperSpy knows lists."""
    import h5py

    for key, value in values.items():
        # this mark is of groups that are signals
        name = str(key).replace("/", "-").removeprefix("_sig_") or "value"
        if isinstance(value, Mapping):
            _add(group.require_group(name), value)
            continue
        if value is None:
            group.attrs[name] = _NONE
        elif isinstance(value, (list, tuple, np.ndarray)):
            array = np.asarray(value)
            if not array.ndim:  # HyperSpy's lazy reading asks for chunks
                group.attrs[name] = stored_value(array.item())
                continue
            listed = array.ndim == 1 and not isinstance(value, np.ndarray)
            if array.dtype.kind not in "biufc":
                texts = np.array([str(each) for each in array.ravel()], dtype=object)
                array, listed = texts.reshape(array.shape), array.ndim == 1
            if not array.size:
                group.attrs[f"_list_empty_{name}"] = _NONE
                continue
            dtype = h5py.string_dtype() if array.dtype.kind == "O" else array.dtype
            label = f"_list_{name}" if listed else name
            group.create_dataset(label, data=array, dtype=dtype, chunks=True)
        else:
            group.attrs[name] = stored_value(value)
