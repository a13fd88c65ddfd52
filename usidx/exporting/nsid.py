"""Writing NSID files, which sidpy and pyNSID open, by their published layout; neither is needed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from usidx.exporting.moving.aside import aside
from usidx.exporting.moving.chunking import Chunks
from usidx.exporting.moving.parts import Exportable, Part, parts_of
from usidx.exporting.moving.storing import Progress, blocked, store
from usidx.exporting.signals import Signal, SignalAxis, cut_signal, signal_of, stored_value
from usidx.stores.remote.url import path_on_disk

if TYPE_CHECKING:
    import dask.array

# The release of pyNSID whose layout this is; its readers ask for the attribute.
LAYOUT = "0.0.7.2"
_GENERIC = "generic"
# Names in the group of a Main that are no axes.
_TAKEN = ("metadata", "original_metadata", "provenance")
_DATA_TYPES = {
    (0, 1): "spectrum",
    (0, 2): "image",
    (1, 0): "line_plot",
    (1, 1): "line_plot",
    (1, 2): "image_stack",
    (2, 0): "image",
    (2, 1): "spectral_image",
    (2, 2): "image_4d",
}
_MOST_SIGNAL_AXES = 2


def to_nsid(
    obj: Exportable,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    compression: Literal["gzip", "lzf"] | None = None,
    chunks: Chunks = None,
    progress: Progress = False,
) -> str:
    """Write Mains to a new NSID file that pyNSID opens as sidpy Datasets, and return its path.

    Positions are spatial dimensions (temporal, where a stack of frames has one axis of them), the
    rest spectral or reciprocal. NSID has no place for text along an axis and for coordinates along
    several axes: those are in `original_metadata.usid.coordinates`, and the axis counts from 0.
    Attributes "metadata.General.authors" are metadata again, others in
    `original_metadata.usid.attributes`. `usidx.open` gives all of it back. Values are computed and
    written block by block; what is at `path` stays whole until the new file is.

    Parameters
    ----------
    obj : a Main, a DataTree of Mains, or a list or dict of them; each has a group of its own
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
    >>> path = to_nsid(make_main(), os.path.join(tempfile.mkdtemp(), "scan.h5"))
    >>> usidx.open(path).usid.position_dims
    ('Y', 'X')
    """
    import h5py

    path = path_on_disk(path, "an NSID file")
    parts = parts_of(obj).mains
    signals = [signal_of(part, as_they_are=True) for part in parts]
    # of this version or later attributes may be large
    with aside(path, overwrite) as new, h5py.File(new.name, "w", libver=("v108", "v108")) as file:
        sources: list[dask.array.Array] = []
        targets: list[Any] = []
        for part, signal in zip(parts, signals, strict=True):
            blocks, chunk = cut_signal(part, signal, chunks)
            targets.append(_described(file, part, signal, chunk, compression))
            sources.append(blocked(signal.values, blocks))
        store(sources, targets, progress, here=True)
    return path


def _described(
    file: Any, part: Part, signal: Signal, chunk: tuple[int, ...], compression: str | None
) -> Any:
    """The dataset of values, in a group of its own with its axes and metadata."""
    spec = part.spec
    # of a file of NSID the Main has such a group already
    own = spec.parent if spec.parent.endswith(f"/{spec.name}") else spec.path
    group = file.require_group(own)
    group.attrs["pyNSID_version"] = LAYOUT
    main = group.create_dataset(
        spec.name,
        shape=signal.values.shape,
        dtype=signal.values.dtype.newbyteorder("="),
        chunks=chunk or None,
        compression=compression if chunk else None,
    )
    n_navigation, n_signal = signal.n_navigation, len(signal.axes) - signal.n_navigation
    main.attrs.update(
        quantity=spec.quantity or _GENERIC,
        units=spec.units or _GENERIC,
        main_data_name=str(spec.attrs.get("main_data_name") or signal.title),
        data_type=data_type(n_navigation, n_signal).upper(),
        modality=str(spec.attrs.get("modality") or _GENERIC),
        source=str(spec.attrs.get("source") or _GENERIC),
        pyNSID_version=LAYOUT,
        usid_quantity=spec.quantity,
        usid_units=spec.units,
    )
    taken = {*_TAKEN, spec.name}
    for number, axis in enumerate(signal.axes):
        kind = dimension_type(axis.is_navigation, n_navigation, n_signal)
        scale = _add_axis(group, axis, kind, taken)
        main.dims[number].label = scale.attrs["name"]
        main.dims[number].attach_scale(scale)
    _add(group.create_group("metadata"), signal.metadata)
    _add(group.create_group("original_metadata"), signal.original_metadata)
    return main


def data_type(n_navigation: int, n_signal: int) -> str:
    """What sidpy calls data of so many navigation and signal axes."""
    return _DATA_TYPES.get((n_navigation, n_signal), "unknown")


def dimension_type(is_navigation: bool, n_navigation: int, n_signal: int) -> str:
    """What sidpy calls an axis: frames of a stack are in time, those of a scan reciprocal."""
    if is_navigation:
        return "temporal" if (n_navigation, n_signal) == (1, 2) else "spatial"
    if n_signal == _MOST_SIGNAL_AXES:
        return "reciprocal" if n_navigation > 1 else "spatial"
    return "spectral"


def _add_axis(group: Any, axis: SignalAxis, kind: str, taken: set[str]) -> Any:
    """The scale of an axis; it has the axis' name, where that is free."""
    name = axis.name.replace("/", "_")
    while name in taken:
        name = f"{name}_axis"
    taken.add(name)
    scale = group.create_dataset(
        name, data=np.arange(axis.size) if axis.values is None else axis.values
    )
    scale.attrs.update(
        name=name,
        units=axis.units or _GENERIC,
        quantity=axis.quantity or axis.name,
        dimension_type=kind.upper(),
        usid_name=axis.name,
        usid_units=axis.units,
        usid_quantity=axis.quantity,
        usid_role="position" if axis.is_navigation else "spectroscopic",
    )
    scale.make_scale(name)
    return scale


def _add(group: Any, values: Mapping[str, Any]) -> None:
    """Nested values as attributes of nested groups, which is where sidpy looks for them."""
    import h5py

    for key, value in values.items():
        name = str(key)
        if isinstance(value, Mapping):
            _add(group.require_group(name.replace("/", "-") or "value"), value)
        elif isinstance(value, (list, tuple, np.ndarray)):
            array = np.asarray(value)
            if array.dtype.kind not in "biufc":
                array = np.array([str(each) for each in array.ravel()], dtype=object).reshape(
                    array.shape
                )
            dtype = h5py.string_dtype() if array.dtype.kind == "O" else array.dtype
            group.attrs.create(name, array, dtype=dtype)
        elif value is not None:
            group.attrs[name] = stored_value(value)
