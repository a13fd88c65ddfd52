"""Mains as objects of other libraries, lazily, where these are installed; usidx needs none."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from usidx.errors import MissingDependencyError, OptionError
from usidx.exporting.moving.parts import parts_of
from usidx.exporting.nsid import data_type, dimension_type
from usidx.exporting.signals import Signal, signal_of, stored_value

if TYPE_CHECKING:
    import dask.array

_INSTALLS = {
    "hyperspy": ("hyperspy", "to_hspy(path) writes a file that it opens, without it"),
    "sidpy": ("sidpy", "to_nsid(path) writes a file that it opens, without it"),
    "libertem": ("libertem", "to_npy(path) writes a file that it opens, without it"),
}


def to_hyperspy(obj: xr.DataArray) -> Any:
    """A HyperSpy signal of a Main, lazily; positions are navigation axes.

    Axes and metadata are those of `to_hspy`.

    Parameters
    ----------
    obj : a Main

    Raises
    ------
    MissingDependencyError : where HyperSpy is not installed
    LayoutError : where a dimension has no role
    OptionError : for a compound Main
    """
    signals = _imported("hyperspy", "hyperspy.api").signals
    signal = _signal(obj)
    kinds = {1: "Signal1D", 2: "Signal2D"}
    kind = kinds.get(len(signal.axes) - signal.n_navigation, "BaseSignal")
    if signal.values.dtype.kind == "c":
        kind = "ComplexSignal" if kind == "BaseSignal" else f"Complex{kind}"
    made = getattr(signals, kind)(
        _lazy(signal.values),
        axes=[_axis(each) for each in signal.axes],
        metadata=_told(signal.metadata),
        original_metadata=_told(signal.original_metadata),
    )
    return made.as_lazy()


def _told(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata that HyperSpy can write: text in lists, and numbers that are no arrays."""
    found: dict[str, Any] = {}
    for name, value in metadata.items():
        if isinstance(value, Mapping):
            found[name] = _told(value)
        elif isinstance(value, np.ndarray):
            is_number = value.dtype.kind in "biufc" and value.ndim
            found[name] = value if is_number else value.tolist()
        elif isinstance(value, (list, tuple)) or value is None:
            found[name] = value
        else:
            found[name] = stored_value(value)
    return found


def _axis(axis: Any) -> dict[str, Any]:
    told = {
        "name": axis.name,
        "units": axis.units or None,
        "navigate": axis.is_navigation,
        "size": axis.size,
    }
    if axis.values is not None:
        del told["size"]
        return {**told, "_type": "DataAxis", "axis": axis.values}
    return {**told, "_type": "UniformDataAxis", "offset": axis.offset, "scale": axis.scale}


def to_sidpy(obj: xr.DataArray) -> Any:
    """A sidpy Dataset of a Main, lazily, with its dimensions and metadata.

    An axis of text, times or complex numbers counts from 0; what they are is in
    `original_metadata["usid"]["coordinates"]`.

    Parameters
    ----------
    obj : a Main

    Raises
    ------
    MissingDependencyError : where sidpy is not installed
    LayoutError : where a dimension has no role
    OptionError : for a compound Main
    """
    sidpy = _imported("sidpy", "sidpy")
    signal = _signal(obj)
    made = sidpy.Dataset.from_array(_lazy(signal.values), title=signal.title)
    made.quantity = str(obj.attrs.get("quantity") or "generic")
    made.units = str(obj.attrs.get("units") or "generic")
    n_signal = len(signal.axes) - signal.n_navigation
    made.data_type = data_type(signal.n_navigation, n_signal)
    for number, axis in enumerate(signal.axes):
        dim = signal.values.dims[number]
        values = signal.values[dim].values if dim in signal.values.coords else None
        if values is None or values.dtype.kind not in "biuf":  # which sidpy would make numbers
            values = np.arange(axis.size)
        dimension = sidpy.Dimension(
            values,
            name=axis.name.replace(" ", "_"),
            quantity=axis.name,
            units=axis.units or "generic",
            dimension_type=dimension_type(axis.is_navigation, signal.n_navigation, n_signal),
        )
        made.set_dimension(number, dimension)
    made.metadata = dict(signal.metadata)
    made.original_metadata = dict(signal.original_metadata)
    return made


def to_libertem(obj: xr.DataArray, context: Any = None) -> Any:
    """A LiberTEM data set of a Main, for its UDFs: positions are navigation, the rest is signal.

    Parameters
    ----------
    obj : a Main
    context : the `libertem.api.Context` that is to compute with it; when None one that computes in
        this thread. Values are read by dask in the processes of the context

    Raises
    ------
    MissingDependencyError : where LiberTEM is not installed
    LayoutError : where a dimension has no role
    OptionError : for a compound Main, and one without positions or without spectra
    """
    api = _imported("libertem", "libertem.api")
    signal = _signal(obj)
    n_signal = len(signal.axes) - signal.n_navigation
    if not n_signal or not signal.n_navigation:
        raise OptionError(
            f"{signal.title!r} has no {'positions' if n_signal else 'spectra'}, and LiberTEM works "
            "on a signal at each position; give it an axis with .expand_dims and assign_roles"
        )
    values = _lazy(signal.values)
    # frames are whole there
    whole = dict.fromkeys(range(signal.n_navigation, values.ndim), -1)
    context = api.Context.make_with("inline") if context is None else context
    return context.load("dask", values.rechunk(whole), sig_dims=n_signal)


def _signal(obj: xr.DataArray) -> Signal:
    if not isinstance(obj, xr.DataArray):
        raise OptionError(
            f"a {type(obj).__name__} is no Main with one value for each place; give one of its "
            "fields: dataset['field']"
        )
    (part,) = parts_of(obj).mains
    return signal_of(part)


def _lazy(values: xr.DataArray) -> dask.array.Array:
    lazy = values if values.chunks is not None else values.chunk()
    found: dask.array.Array = lazy.data
    return found


def _imported(package: str, module: str) -> Any:
    install, other = _INSTALLS[package]
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependencyError(
            f"this needs {package}, which is not installed ({error}); pip install {install}. "
            f".usid.{other}"
        ) from error
