"""What is written over a map and a spectrum: where they are."""

from __future__ import annotations

import xarray as xr

from usidx.explore.drawing import scale_of, value_in_words
from usidx.explore.linked import Panels, Place
from usidx.explore.places import in_words


def over_all(array: xr.DataArray, label: str) -> str:
    """The name of the Main and what its values are."""
    name = str(array.name or "")
    return f"{name}: {label}" if name and label not in name else name or label


def map_title(
    array: xr.DataArray, panels: Panels, place: Place, values: xr.DataArray, is_mean: bool
) -> str:
    """At which spectroscopic place a map is; without one, the value at the position."""
    elsewhere = [str(dim) for dim in array.dims if dim not in panels.map and dim not in panels.slid]
    if is_mean:
        return f"Mean over {' and '.join(panels.spectrum)}"
    words = in_words(array, place, elsewhere)
    if words:
        return f"At {words}"
    if panels.spectrum:
        return f"{panels.map[0]} by {panels.map[-1]}"
    return value_at(array, {dim: place[dim] for dim in panels.map}, values)


def spectrum_title(array: xr.DataArray, panels: Panels, place: Place, values: xr.DataArray) -> str:
    """At which position a spectrum is; without a map, the value at the mark."""
    elsewhere = [
        str(dim) for dim in array.dims if dim not in panels.spectrum and dim not in panels.slid
    ]
    words = in_words(array, place, elsewhere)
    return (
        f"At {words}"
        if words
        else value_at(array, {dim: place[dim] for dim in panels.spectrum}, values)
    )


def value_at(
    array: xr.DataArray, place: Place, values: xr.DataArray, scale: tuple[float, str] | None = None
) -> str:
    """A place within a map or spectrum that was read, and the value there.

    Parameters
    ----------
    place : numbers along the dimensions of `values`, as in the whole array
    values : what was read; of a large array every n-th only
    scale : factor and units that values are drawn with, where they are known already
    """
    steps = {dim: -(-array.sizes[dim] // values.sizes[dim]) for dim in place}
    number = {dim: min(at // steps[dim], values.sizes[dim] - 1) for dim, at in place.items()}
    value = float(values.isel(number).values)
    return (
        f"{in_words(array, place, list(place))}: {value_in_words(value, scale or scale_of(values))}"
    )
