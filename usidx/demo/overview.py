"""A slide of any Main: a map over its positions, and what was measured at three of them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from usidx.demo.pictures import (
    Map,
    Theme,
    axis_label,
    badge,
    draw_map,
    drawn_in,
    mark_points,
    new_figure,
    placed,
)
from usidx.demo.places import place_of, telling_places
from usidx.explore.units import pretty, scaled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = npt.NDArray[Any]
IMAGE = 16  # a second spectroscopic axis of at least this size makes images rather than curves


def overview_slide(
    raw: xr.DataArray,
    summary: xr.DataArray,
    *,
    map_title: str,
    title: str,
    subtitle: str,
    theme: Theme,
) -> Figure:
    """A map of `summary` with three marked positions, beside the spectra of `raw` at these.

    Parameters
    ----------
    raw : array, positions first, lazy; only three positions are read
    summary : real array over the position dimensions of `raw` (or some of them): one value each
    """
    positions = tuple(dim for dim in raw.dims if dim in summary.dims)
    shown, fixed = flattened(summary, positions)
    places = telling_places(shown)
    with drawn_in(theme):
        figure = new_figure(title, subtitle, theme)
        read = [raw.isel(fixed | dict(zip(shown.dims, at))).load() for at in places]
        several = read[0].size > 1
        if shown.size > 1:
            axes = placed(figure, 0.85, 0.75, 5.6 if several else 11.6, 5.5)
            axes.set_anchor("SW" if several else "S")
            drawn = Map(shown, map_title, str(summary.attrs.get("units", "")), "inferno")
            _draw_positions(axes, drawn, places if several else [], theme)
        if several:
            left = 7.75 if shown.size > 1 else 0.85
            _draw_spectra(figure, (left, 0.75, 12.85 - left, 5.5), read, theme)
    return figure


def flattened(
    values: xr.DataArray, positions: Sequence[Hashable]
) -> tuple[xr.DataArray, dict[Hashable, int]]:
    """The part of a map that a sheet of paper can show: at most the two fastest axes longer than 1.

    Returns it, and the indices at which the other axes are held.
    """
    long = [dim for dim in positions if values.sizes[dim] > 1] or list(positions[-1:])
    fixed: dict[Hashable, int] = {dim: 0 for dim in positions if dim not in long[-2:]}
    return values.isel(fixed), fixed


def _draw_positions(axes: Axes, drawn: Map, places: list[tuple[int, ...]], theme: Theme) -> None:
    values = drawn.values
    if values.ndim == 2 or values.dims[0] == "position":
        draw_map(axes, drawn, theme)
        mark_points(axes, [place_of(values, at) for at in places], theme)
        return
    along = values[values.dims[0]]
    heights = np.asarray(values.values, float)
    factor, units = scaled(heights, drawn.units)
    axes.plot(along.values, heights * factor, color=theme.quiet, lw=1.2)
    for number, (at, colour) in enumerate(zip(places, theme.points), start=1):
        place = (along.values[at[0]], heights[at] * factor)
        axes.plot(*place, "o", ms=6, mfc=colour, mec=theme.paper, mew=1.1, zorder=5)
        badge(axes, number, place, colour, offset=(0, 13))
    axes.set_title(f"{drawn.title} ({units})" if units else drawn.title)
    axes.set_xlabel(axis_label(along))
    axes.margins(y=0.15)


def _draw_spectra(
    figure: Figure, box: tuple[float, float, float, float], read: list[xr.DataArray], theme: Theme
) -> None:
    """Curves (with phase, where complex) or images of what was read at the marked places."""
    left, bottom, width, height = box
    sizes = sorted(((read[0].sizes[dim], dim) for dim in read[0].dims), key=lambda each: -each[0])
    if len(sizes) > 1 and sizes[1][0] >= IMAGE:
        _draw_images(
            figure, box, [_held(each, [dim for _, dim in sizes[:2]]) for each in read], theme
        )
        return
    curves = [_held(each, [sizes[0][1]]) for each in read]
    note = _held_at(read[0], [sizes[0][1]])
    if not np.iscomplexobj(curves[0].values):
        _draw_curves(placed(figure, *box), curves, theme, "", note)
        return
    upper = placed(figure, left, bottom + 2.35, width, height - 2.35)
    _draw_curves(upper, [abs(each) for each in curves], theme, "Magnitude of ", "")
    upper.set_xlabel("")
    upper.tick_params(labelbottom=False)
    lower = placed(figure, left, bottom, width, 1.8)
    phases = [each.copy(data=np.degrees(np.angle(each.values))) for each in curves]
    _draw_curves(lower, phases, theme, "Phase", note)
    lower.set_yticks([-180, -90, 0, 90, 180])
    lower.set_ylim(-190, 190)


def _draw_images(
    figure: Figure, box: tuple[float, float, float, float], images: list[xr.DataArray], theme: Theme
) -> None:
    """One image for each marked place, one above the other."""
    left, bottom, _, height = box
    room = (height - 0.55 * (len(images) - 1)) / len(images)
    for number, image in enumerate(images):
        up = bottom + (room + 0.55) * (len(images) - 1 - number)
        axes = placed(figure, left + 0.5, up, room * 1.2, room)
        real = abs(image) if np.iscomplexobj(image.values) else image
        units = str(image.attrs.get("units", ""))
        draw_map(axes, Map(real, f"{number + 1}", units, "viridis"), theme)
        if number + 1 < len(images):
            axes.set_xlabel("")
            axes.tick_params(labelbottom=False)
        axes.set_title(f"{number + 1}", color=theme.points[number])


def _draw_curves(
    axes: Axes, curves: list[xr.DataArray], theme: Theme, what: str, note: str
) -> None:
    along = curves[0][curves[0].dims[0]]
    across, along_units = scaled(_numbers(along), str(along.attrs.get("units", "")))
    values = np.stack([np.asarray(each.values, float) for each in curves])
    phase = what == "Phase"
    factor, units = (1.0, "deg") if phase else scaled(values, str(curves[0].attrs.get("units", "")))
    few = along.size <= 64
    for number, (curve, colour) in enumerate(zip(values, theme.points), start=1):
        # Phases wrap round, so lines between them would say what was not measured.
        axes.plot(
            _numbers(along) * across, curve * factor, color=colour, lw=1.3, alpha=0.9,
            ls="none" if phase else "-", marker="." if few or phase else "none",
            ms=6 if few else 3, mew=0, label=f"{number}",
        )  # fmt: skip
    quantity = str(curves[0].attrs.get("quantity", "")) or str(curves[0].name or "value")
    quantity = what + quantity.lower() if what else quantity[:1].upper() + quantity[1:]
    name = what if phase else quantity
    axes.set_title(f"{name} ({pretty(units)})" if units else name)
    axes.set_xlabel(axis_label(along, along_units) + note)
    axes.grid(axis="y", color=theme.faint, lw=0.6)
    axes.margins(x=0.01)
    if not phase:
        axes.legend(frameon=False, labelcolor="linecolor", loc="upper right", handlelength=1.2)


def _held_at(values: xr.DataArray, kept: Sequence[Hashable]) -> str:
    """At which values the other axes are held: "at Cycle 1, DC_Offset 0.5 V"."""
    notes = []
    for dim in values.dims:
        if dim not in kept and values.sizes[dim] > 1:
            middle = values[dim].values[values.sizes[dim] // 2]
            number = np.issubdtype(values[dim].dtype, np.number)
            units = pretty(str(values[dim].attrs.get("units", "")))
            notes.append(f"{dim} {f'{middle:.3g}' if number else middle} {units}".strip())
    return "   at " + ", ".join(notes) if notes else ""


def _held(values: xr.DataArray, kept: Sequence[Hashable]) -> xr.DataArray:
    """The values along some axes, every other one held at its middle."""
    middle = {dim: values.sizes[dim] // 2 for dim in values.dims if dim not in kept}
    return values.isel(middle).transpose(*[dim for dim in values.dims if dim in kept])


def _numbers(axis: xr.DataArray) -> Array:
    """Values of an axis as numbers; counts where they are none."""
    if np.issubdtype(axis.dtype, np.number):
        return np.asarray(axis.values, float)
    return np.arange(axis.size, dtype=float)
