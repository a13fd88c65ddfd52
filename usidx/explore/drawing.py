"""Panels of a figure: each shows one map, frame or spectrum, and knows what lies where in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from usidx.explore.rulers import Ruler, is_formula
from usidx.explore.units import scaled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = npt.NDArray[Any]

PAPER, INK, QUIET, MISSING, MARK = "#ffffff", "#16181d", "#6b7280", "#c3c7ce", "#d55e00"
LINE = "#0072b2"
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": QUIET,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "text.color": INK,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
}


def quantity_of(values: xr.DataArray, component: str | None = None) -> str:
    """What is drawn: the quantity, and which part of complex values."""
    quantity = str(values.attrs.get("quantity") or values.attrs.get("long_name") or "")
    quantity = quantity or str(values.name or "values")
    return f"{quantity}, {component}" if component else quantity


def limits_of(values: Array) -> tuple[float, float]:
    """Limits of the colours that a few outliers do not spoil."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    low, high = (float(each) for each in np.percentile(finite, (1, 99)))
    if not high > low:
        low, high = float(finite.min()), float(finite.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def scale_of(values: xr.DataArray) -> tuple[float, str]:
    """Factor and typeset units for the values of a map or spectrum."""
    units = str(values.attrs.get("units", ""))
    if units == "deg":
        return 1.0, "°"
    found = np.asarray(values.values, float)
    return scaled(np.asarray(limits_of(found)), units)


class Picture:
    """A map or frame over two dimensions, or over points, with its colour bar.

    Parameters
    ----------
    rulers : of y and x
    steps : every how many-th value along y and x is drawn
    points : whether both rulers are along the same dimension, of positions that lie anywhere
    """

    def __init__(
        self, axes: Axes, rulers: tuple[Ruler, Ruler], steps: tuple[int, int], upper: bool = False
    ) -> None:
        self.axes, self.rulers, self.steps = axes, rulers, steps
        self.points = rulers[0].dim == rulers[1].dim
        self.artist: Any = None
        self.scale = (1.0, "")
        self.bar: Any = None
        self._cells: Cells | None = None
        if self.points:
            self._cells = _raster(rulers[1].at[:: steps[1]], rulers[0].at[:: steps[0]])
        self._begin(upper)
        self.marker = axes.plot(
            [], [], "o", ms=8, mfc="none", mec=MARK, mew=2.2, zorder=6, clip_on=False
        )[0]  # fmt: skip
        self.halo = axes.plot([], [], "o", ms=8, mfc="none", mec="white", mew=4, zorder=5)[0]
        self.halo.set_clip_on(False)

    def _begin(self, upper: bool) -> None:
        y, x = self.rulers
        axes = self.axes
        if self.points and self._cells is None:
            across, up = x.at[:: self.steps[1]], y.at[:: self.steps[0]]
            size = float(np.clip(14000 / max(across.size, 1), 3, 110))
            self.artist = axes.scatter(across, up, c=np.zeros(across.size), s=size, linewidths=0)
            axes.margins(0.06)
            spans = (np.ptp(across), np.ptp(up))
        else:
            if self._cells is not None:
                rows, columns = (
                    Ruler("", each, "") for each in (self._cells.rows, self._cells.columns)
                )
                edges, even = (rows.edges(1), columns.edges(1)), rows.is_even and columns.is_even
            else:
                edges = (y.edges(self.steps[0]), x.edges(self.steps[1]))
                even = y.is_even and x.is_even
            blank = np.full((edges[0].size - 1, edges[1].size - 1), np.nan)
            if even:
                extent = (edges[1][0], edges[1][-1], edges[0][0], edges[0][-1])
                self.artist = axes.imshow(
                    blank, extent=extent, origin="lower", interpolation="nearest", aspect="auto"
                )
            else:
                self.artist = axes.pcolormesh(edges[1], edges[0], blank, shading="flat")
                axes.set_xlim(edges[1][0], edges[1][-1])
                axes.set_ylim(edges[0][0], edges[0][-1])
            spans = (abs(edges[1][-1] - edges[1][0]), abs(edges[0][-1] - edges[0][0]))
        alike = x.units == y.units and not x.words and not y.words
        square = alike and 0.2 < spans[0] / (spans[1] or 1) < 5
        axes.set_aspect("equal" if square else "auto")
        if upper:
            axes.yaxis.set_inverted(not axes.yaxis.get_inverted())
        x.annotate(axes.xaxis)
        y.annotate(axes.yaxis)

    def show(
        self,
        values: xr.DataArray,
        title: str,
        label: str,
        *,
        log: bool = False,
        cyclic: bool = False,
    ) -> None:
        """Draw other values, at the same places.

        Parameters
        ----------
        values : along the dimensions of the rulers, thinned by `steps`
        label : what the values are, for an axis; their units are set behind it
        log : colours by decades, where some values are above zero
        cyclic : whether values are angles, in degrees
        """
        from matplotlib import colormaps
        from matplotlib.colors import LogNorm, Normalize

        self.scale = factor, units = scale_of(values)
        drawn = np.asarray(values.values, float) * factor
        low, high = (-180.0, 180.0) if cyclic else limits_of(drawn)
        above = drawn[np.isfinite(drawn) & (drawn > 0)]
        decades = log and not cyclic and above.size > 0 and float(above.max()) > float(above.min())
        if decades:
            low, high = (float(each) for each in np.percentile(above, (1, 99.9)))
            decades = high > low
        if self._cells is not None:
            grid = np.full((self._cells.rows.size, self._cells.columns.size), np.nan)
            grid[self._cells.at] = drawn
            drawn = grid
        colours = colormaps["twilight" if cyclic else "viridis"].with_extremes(bad=MISSING)
        self.artist.set_cmap(colours)
        self.artist.set_norm(LogNorm(low, high) if decades else Normalize(low, high))
        drawn = np.ma.masked_invalid(drawn)
        if self.points and self._cells is None:
            self.artist.set_array(drawn)
        else:
            (getattr(self.artist, "set_data", None) or self.artist.set_array)(drawn)
        self._write(title, "" if cyclic else units, cyclic)
        if decades and high < 30 * low:
            self.bar.ax.yaxis.set_minor_formatter("{x:.4g}")

    def _write(self, title: str, units: str, cyclic: bool) -> None:
        if self.bar is None:
            beside = self.axes.inset_axes((1.03, 0.0, 0.035, 1.0))
            self.bar = self.axes.figure.colorbar(self.artist, cax=beside)
            beside.spines["outline"].set_visible(False)
        else:
            self.bar.update_normal(self.artist)
        self.bar.ax.tick_params(length=0, pad=4, colors=QUIET)
        self.bar.ax.set_title(
            units, fontsize=9, fontweight="normal", color=QUIET, pad=7, loc="left",
            parse_math=is_formula(units),
        )  # fmt: skip
        if cyclic:
            turns = [-180, -90, 0, 90, 180]
            self.bar.set_ticks(turns, labels=[f"{each}°" for each in turns])
        self.axes.set_title(title, parse_math=is_formula(title))

    def numbers_at(self, x: float, y: float) -> dict[str, int]:
        """Numbers along the dimensions of what is drawn nearest to a place."""
        up, across = self.rulers
        if not self.points:
            return {up.dim: up.nearest(y), across.dim: across.nearest(x)}
        spans = [float(np.ptp(each.at)) or 1.0 for each in (across, up)]
        if across.units == up.units:
            spans = [1.0, 1.0]
        apart = ((across.at - x) / spans[0]) ** 2 + ((up.at - y) / spans[1]) ** 2
        return {up.dim: int(np.nanargmin(apart))}

    def mark(self, place: dict[str, int] | None) -> None:
        """Set the mark at a place; None takes it away."""
        where: tuple[list[float], list[float]] = ([], [])
        if place is not None:
            up, across = self.rulers
            where = ([across.at[place[across.dim]]], [up.at[place[up.dim]]])
        self.marker.set_data(*where)
        self.halo.set_data(*where)


@dataclass(frozen=True, eq=False)
class Cells:
    """A raster that points lie on: values of rows and columns, and the cell `at` of each point."""

    rows: Array
    columns: Array
    at: tuple[Array, Array]


def _raster(x: Array, y: Array) -> Cells | None:
    """The raster that points lie on, where most of its cells have one; None elsewhere."""
    columns, rows = (_levels(each) for each in (x, y))
    if columns.size < 2 or rows.size < 2 or columns.size * rows.size > 2 * x.size + 2:
        return None
    row = np.searchsorted(rows, y - 1e-6 * np.ptp(rows) / rows.size)
    column = np.searchsorted(columns, x - 1e-6 * np.ptp(columns) / columns.size)
    if not np.isfinite(x + y).all() or np.unique(row * columns.size + column).size < x.size:
        return None
    return Cells(rows, columns, (row, column))


def _levels(values: Array) -> Array:
    found = np.unique(values[np.isfinite(values)])
    if found.size < 2:
        return found
    return found[np.r_[True, np.diff(found) > 1e-6 * np.ptp(found) / found.size]]


class Curve:
    """A spectrum or profile along one dimension, with a line where the place is."""

    def __init__(self, axes: Axes, ruler: Ruler, step: int) -> None:
        self.axes, self.ruler, self.step = axes, ruler, step
        self.scale = (1.0, "")
        at = ruler.at[::step]
        few = "o-" if at.size <= 40 else "-"
        self.line = axes.plot(at, np.full(at.size, np.nan), few, color=LINE, lw=1.3, ms=3.5)[0]
        self.marker = axes.axvline(at[0], color=MARK, lw=1.2, zorder=1, visible=False)
        ruler.annotate(axes.xaxis)
        axes.set_xlim(*_padded(at))

    def show(
        self,
        values: xr.DataArray,
        title: str,
        label: str,
        *,
        log: bool = False,
        cyclic: bool = False,
    ) -> None:
        """Draw other values at the same places; see `Picture.show`."""
        self.scale = factor, units = scale_of(values)
        drawn = np.asarray(values.values, float) * factor
        self.line.set_ydata(drawn)
        finite = drawn[np.isfinite(drawn)]
        decades = log and not cyclic and bool((finite > 0).any())
        self.axes.set_yscale("log" if decades else "linear")
        if cyclic:
            self.axes.set_ylim(-189, 189)
            self.axes.set_yticks([-180, -90, 0, 90, 180])
        elif finite.size:
            self.axes.set_ylim(*_room(finite, decades))
        label = f"{label} ({units})" if units else label
        self.axes.set_ylabel(label, parse_math=is_formula(label))
        self.axes.set_title(title, parse_math=is_formula(title))

    def numbers_at(self, x: float, y: float) -> dict[str, int]:
        """The number along the dimension of what is drawn nearest to a place."""
        return {self.ruler.dim: self.ruler.nearest(x)}

    def mark(self, place: dict[str, int] | None) -> None:
        """Set the line at a place; None takes it away."""
        self.marker.set_visible(place is not None)
        if place is not None:
            where = self.ruler.at[place[self.ruler.dim]]
            self.marker.set_xdata([where, where])


def _padded(at: Array) -> tuple[float, float]:
    room = 0.02 * float(at[-1] - at[0]) or 0.5
    return float(at[0]) - room, float(at[-1]) + room


def _room(values: Array, decades: bool) -> tuple[float, float]:
    if decades:
        above = values[values > 0]
        return float(above.min()) / 1.3, float(above.max()) * 1.3
    low, high = float(values.min()), float(values.max())
    room = 0.06 * (high - low) or 0.05 * abs(high) or 0.5
    return low - room, high + room


def value_in_words(value: float, scale: tuple[float, str]) -> str:
    """One value with its units, as it is drawn: with the factor and units of `scale_of`."""
    factor, units = scale
    return f"{value * factor:.4g} {units}".rstrip().replace(" °", "°")
