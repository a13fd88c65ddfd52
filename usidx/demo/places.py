"""Positions worth marking on a map, and where they lie on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from usidx.demo.pictures import ruler, scatter_axes

Array = npt.NDArray[Any]


def telling_places(values: xr.DataArray, count: int = 3) -> list[tuple[int, ...]]:
    """Indices of a few positions that differ: a strong, a middling and a weak one, far apart."""
    array = np.asarray(values.values, float)
    count = min(count, array.size)
    if array.ndim != 2:
        spread = np.linspace(0, array.size - 1, 2 * count + 1)[1::2].round().astype(int)
        return [tuple(map(int, np.unravel_index(flat, array.shape))) for flat in spread]
    chosen: list[tuple[int, int]] = []
    for percentile in (97, 55, 12)[:count]:
        level = np.nanpercentile(array, percentile) if np.isfinite(array).any() else 0.0
        misfit = np.where(np.isfinite(array), np.abs(array - level), np.inf)
        for place in chosen:
            misfit[place] = np.inf
        chosen.append(clear_of(misfit, chosen))
    return list(chosen)


def eroded(mask: Array, by: int) -> Array:
    """The cells of a mask that are at least `by` cells away from its edge."""
    for _ in range(by):
        padded = np.pad(mask, 1)
        mask = mask & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask


def clear_of(misfit: Array, others: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """A cell of small misfit, far from the border and from the others."""
    rows, columns = np.indices(misfit.shape)
    height, width = misfit.shape
    inside = np.minimum.reduce([rows + 1, height - rows, columns + 1, width - columns])
    room = np.minimum(inside / max(min(height, width), 1), 0.15) / 0.15
    for row, column in others:
        away = np.hypot((rows - row) / height, (columns - column) / width)
        room = np.minimum(room, np.minimum(away, 0.35) / 0.35)
    # where the scale bar is drawn
    room[: height // 6, : round(0.3 * width)] *= 0.1
    # the best fiftieth of the cells, and of these the one with the most room round it
    finite = np.isfinite(misfit)
    if not finite.any():
        return height // 2, width // 2
    good = misfit <= np.quantile(misfit[finite], 0.02)
    best = np.argmax(np.where(good, room, -1.0))
    place = np.unravel_index(best, misfit.shape)
    return int(place[0]), int(place[1])


def place_of(values: xr.DataArray, at: tuple[int, ...]) -> tuple[float, float]:
    """(x, y) of the position with these indices on a map, 2-D or over a list of points."""
    if values.ndim == 1:
        x, y = (float(values[name].values[at[0]]) for name in scatter_axes(values))
        return x, y
    row, column = (ruler(values[dim])[index] for dim, index in zip(values.dims, at))
    return float(column), float(row)
