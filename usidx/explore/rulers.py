"""Where the values along a dimension are drawn, and how the axis is labelled."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from usidx.explore.units import scaled

Array = npt.NDArray[Any]

_MOST_WORDS = 14  # labels that are text and are written out along an axis


@dataclass(frozen=True, eq=False)
class Ruler:
    """Where the values along a dimension are drawn.

    Parameters
    ----------
    dim : name of the dimension
    at : shape (size,): where each is drawn; its label in the units of the axis, or its number
    name : of the axis
    units : typeset, of what is drawn
    base, factor : units of the labels, and what they are multiplied by
    words : labels that are text; () for numbers
    """

    dim: str
    at: Array
    name: str
    units: str = ""
    base: str = ""
    factor: float = 1.0
    words: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """What is written along the axis, with units."""
        return f"{self.name} ({self.units})" if self.units else self.name

    def nearest(self, where: float) -> int:
        """The number of what is drawn nearest to a place."""
        return int(np.argmin(np.abs(self.at - where)))

    @property
    def is_even(self) -> bool:
        """Whether all steps are the same, by a twentieth."""
        steps = np.diff(self.at)
        return bool(np.allclose(steps, steps.mean(), rtol=0.05, atol=0))

    def edges(self, step: int) -> Array:
        """The borders of the cells, where every `step`-th value is drawn."""
        at = self.at[::step]
        if at.size < 2:
            return np.array([at[0] - 0.5, at[0] + 0.5])
        between = (at[1:] + at[:-1]) / 2
        found: Array = np.r_[2 * at[0] - between[0], between, 2 * at[-1] - between[-1]]
        return found

    def annotate(self, axis: Any) -> None:
        """Write the label and, where labels are text, the words along an axis of matplotlib."""
        axis.set_label_text(self.label, parse_math=is_formula(self.label))
        if 0 < len(self.words) <= _MOST_WORDS:
            axis.set_ticks(self.at, [each[:24] for each in self.words])


def ruler_of(array: xr.DataArray, dim: str) -> Ruler:
    """Where the values along a dimension are drawn: at their labels, else counted."""
    size = array.sizes[dim]
    names = [dim] if dim in array.coords else []
    names += [str(name) for name, each in array.coords.items() if each.dims == (dim,)]
    for name in names:
        values = np.asarray(array[name].values)
        if values.dtype.kind not in "iuf" or (name == dim == "position" and len(names) > 2):
            continue
        steps = np.diff(values.astype(float))
        if (steps > 0).all() or (steps < 0).all():
            return along(array, dim, name)
    words: tuple[str, ...] = ()
    if names and array[names[0]].dtype.kind in "OUSTMm" and size <= _MOST_WORDS:
        words = tuple(str(each) for each in array[names[0]].values)
    counted = f"{dim} (counted)" if names and not words else dim
    return Ruler(dim, np.arange(size, dtype=float), counted, words=words)


def along(array: xr.DataArray, dim: str, name: str) -> Ruler:
    """Where the values along a dimension are drawn by one of their coordinates."""
    values, base = np.asarray(array[name].values, float), str(array[name].attrs.get("units", ""))
    factor, units = scaled(values, base)
    shown = str(array[name].attrs.get("usid_label") or name)
    return Ruler(dim, values * factor, shown, units, base, factor)


def in_the_same_units(first: Ruler, second: Ruler) -> tuple[Ruler, Ruler]:
    """Two rulers whose labels have the same units, drawn in the same: both in µm, not one in nm."""
    if first.base != second.base or first.units == second.units:
        return first, second
    like = max(first, second, key=lambda each: float(np.nanmax(np.abs(each.at))) / each.factor)
    changed = [
        replace(each, at=each.at / each.factor * like.factor, units=like.units, factor=like.factor)
        for each in (first, second)
    ]
    return changed[0], changed[1]


def is_formula(words: str) -> bool:
    """Whether matplotlib can typeset what stands between dollars; text is written as it is."""
    if words.count("$") < 2:
        return False
    from matplotlib.mathtext import MathTextParser

    try:
        MathTextParser("path").parse(words)
    except ValueError:
        return False
    return True
