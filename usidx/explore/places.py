"""Labels of a place and numbers along dimensions, each from the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from usidx.errors import OptionError, did_you_mean
from usidx.explore.units import scaled


def numbers_at(array: xr.DataArray, labels: Mapping[str, Any]) -> dict[str, int]:
    """Numbers along dimensions of what lies nearest to some labels.

    Parameters
    ----------
    labels : by dimension, or by coordinate along a dimension that has several, such as X and Y of
        positions that lie anywhere

    Raises
    ------
    OptionError : for a name or a label that is not there

    Examples
    --------
    >>> from usidx.testing import make_main
    >>> numbers_at(make_main(), {"Frequency": 312e3, "Y": 0.4})
    {'Frequency': 4, 'Y': 1}
    """
    known = [*map(str, array.dims)]
    known += [str(name) for name, each in array.coords.items() if each.ndim == 1]
    known = list(dict.fromkeys(known))
    by_dim: dict[str, dict[str, Any]] = {}
    for name, label in labels.items():
        if name not in known:
            raise OptionError(
                f"{array.name!r} has nothing called {name!r} to select along"
                f"{did_you_mean(name, known)}; there are {', '.join(known)}"
            )
        dim = name if name in array.dims else str(array[name].dims[0])
        by_dim.setdefault(dim, {})[name] = label
    return {dim: _nearest(array, dim, asked) for dim, asked in by_dim.items()}


def _nearest(array: xr.DataArray, dim: str, asked: Mapping[str, Any]) -> int:
    distance = np.zeros(array.sizes[dim])
    for name, label in asked.items():
        values = np.asarray(array[name].values)
        if values.dtype.kind not in "biuf":
            distance += _differs(name, values, label)
            continue
        try:
            wanted = float(label)
        except (TypeError, ValueError) as error:
            raise OptionError(f"{name}={label!r}: the labels along {name!r} are numbers") from error
        if not np.isfinite(wanted):
            raise OptionError(f"{name}={label!r} is no place along {name!r}; give a number")
        apart = np.abs(values.astype(float) - wanted)
        span = float(np.ptp(values[np.isfinite(values)])) if len(asked) > 1 else 1.0
        distance += (np.where(np.isnan(apart), np.inf, apart) / (span or 1.0)) ** 2
    return int(np.argmin(distance))


def _differs(name: str, values: Any, label: Any) -> Any:
    texts = [str(each) for each in values.tolist()]
    if values.dtype.kind in "mM":
        texts = [str(each) for each in values]
    if str(label) not in texts:
        near = did_you_mean(str(label), texts) or f"; there are {', '.join(texts[:8])}"
        raise OptionError(f"{name}={label!r} is no label along {name!r}{near}")
    return np.array([0.0 if each == str(label) else np.inf for each in texts])


def labels_at(array: xr.DataArray, place: Mapping[str, int]) -> dict[str, Any]:
    """The labels of a place: those of its dimensions, and where these have none, along them."""
    found: dict[str, Any] = {}
    for dim, number in place.items():
        names = _names_along(array, dim)
        for name in names:
            found[name] = (
                array[name].values[[number]].tolist()[0] if name in array.coords else number
            )
    return found


def _names_along(array: xr.DataArray, dim: str) -> Sequence[str]:
    if dim in array.coords and dim != "position":
        return [dim]
    return [
        dim,
        *(str(name) for name, each in array.coords.items() if each.dims == (dim,) and name != dim),
    ]


def in_words(array: xr.DataArray, place: Mapping[str, int], dims: Sequence[str]) -> str:
    """A place for people: "Y 0.5 µm, X 1.2 µm"; dimensions of one value are left out."""
    words = []
    for dim in dims:
        if array.sizes[dim] < 2:
            continue
        names = _names_along(array, dim)
        for name in names[1:4] or names:
            words.append(f"{name} {label_in_words(array, name, place[dim])}")
    return ", ".join(words)


def label_in_words(array: xr.DataArray, name: str, number: int) -> str:
    """One label with its units: "330 kHz"; the number where there are no labels."""
    if name not in array.coords:
        return str(number)
    values = np.asarray(array[name].values)
    if values.dtype.kind not in "biuf":
        return str(values[number])
    factor, units = scaled(values.astype(float), str(array[name].attrs.get("units", "")))
    value = float(values[number]) * factor
    # Steps that were added up miss zero by a rounding error.
    value = 0.0 if abs(value) < 1e-9 * float(np.nanmax(np.abs(values))) * factor else value
    return f"{value:.4g} {units}".rstrip()
