"""What the slides of the demo are made of: colours, maps, scale bars, numbered points."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from usidx.errors import MissingDependencyError
from usidx.explore.units import pretty, scaled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = npt.NDArray[Any]

SLIDE = (13.333, 7.5)  # inches: 16:9, the size of a slide


@dataclass(frozen=True)
class Theme:
    """Colours of a figure: paper, ink, quiet ink for what is secondary, one for each point."""

    paper: str
    ink: str
    quiet: str
    faint: str
    points: tuple[str, ...]


LIGHT = Theme("#ffffff", "#16181d", "#6b7280", "#d5d8de", ("#0072b2", "#d55e00", "#009e73"))
DARK = Theme("#101317", "#eceff4", "#97a0ae", "#323843", ("#56b4e9", "#f0a35e", "#3fcfa4"))


@dataclass(frozen=True, eq=False)
class Map:
    """One quantity over positions: 2-D values, or 1-D over points; `cyclic` is for angles."""

    values: xr.DataArray
    title: str
    units: str = ""
    colours: str = "viridis"
    cyclic: bool = False


def require_matplotlib() -> None:
    """Raise MissingDependencyError, with what to install, where matplotlib is missing."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            "pictures need matplotlib, which is not installed; pip install 'usidx[plot]'"
        ) from error


@contextmanager
def drawn_in(theme: Theme) -> Iterator[None]:
    """Draw with a theme's colours and quiet axes, whatever the user's own settings are."""
    import matplotlib as mpl

    settings: Any = {
        "font.family": "DejaVu Sans",
        "font.size": 10,
        "figure.facecolor": theme.paper,
        "savefig.facecolor": theme.paper,
        "axes.facecolor": theme.paper,
        "axes.edgecolor": theme.quiet,
        "axes.labelcolor": theme.quiet,
        "axes.linewidth": 0.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "text.color": theme.ink,
        "xtick.color": theme.quiet,
        "ytick.color": theme.quiet,
        "xtick.labelsize": 9,
        "ytick.labelsize": 9,
        "axes.titlesize": 11,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.titlepad": 8,
        "savefig.dpi": 160,
    }
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(settings)
        yield


def new_figure(
    title: str, subtitle: str, theme: Theme, size: tuple[float, float] = SLIDE
) -> Figure:
    """An empty slide with its title; no window and no global state behind it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size)
    FigureCanvasAgg(figure)
    left, top = 0.6 / size[0], 1 - 0.42 / size[1]
    figure.text(left, top, title, size=17, weight="bold", va="center")
    figure.text(left, top - 0.32 / size[1], subtitle, size=10.5, color=theme.quiet, va="center")
    return figure


def draw_map(axes: Axes, drawn: Map, theme: Theme) -> None:
    """Draw one map with its colour bar, and a scale bar where the positions are lengths."""
    values = np.asarray(drawn.values.values, float)
    limits = (-180.0, 180.0) if drawn.cyclic else _robust(values)
    factor, units = (1.0, drawn.units) if drawn.cyclic else scaled(np.asarray(limits), drawn.units)
    style: dict[str, Any] = {
        "cmap": drawn.colours,
        "vmin": limits[0] * factor,
        "vmax": limits[1] * factor,
    }
    if values.ndim == 2:
        extent, aspect = _extent(drawn.values)
        artist: Any = axes.imshow(
            values * factor, extent=extent, origin="lower", aspect=aspect,
            interpolation="nearest", **style,
        )  # fmt: skip
    else:
        x, y = (np.asarray(drawn.values[name].values, float) for name in scatter_axes(drawn.values))
        size = float(np.clip(12000 / max(values.size, 1), 2, 90))
        artist = axes.scatter(x, y, c=values * factor, s=size, marker="s", linewidths=0, **style)
        axes.set_aspect(
            "equal" if _same_units(drawn.values, scatter_axes(drawn.values)) else "auto"
        )
    axes.set_title(drawn.title)
    bar = axes.inset_axes((1.03, 0.0, 0.035, 1.0))
    figure = axes.get_figure(root=True)
    assert figure is not None  # axes that are drawn in have a figure
    colour_bar = figure.colorbar(artist, cax=bar)
    bar.spines["outline"].set_visible(False)
    bar.tick_params(length=0, pad=4, colors=theme.quiet)
    bar.set_title(units, fontsize=9, fontweight="normal", color=theme.quiet, pad=9, loc="left")
    if drawn.cyclic:
        colour_bar.set_ticks([-180, -90, 0, 90, 180])
    for spine in axes.spines.values():
        spine.set_visible(False)
    if not _scale_bar(axes, drawn.values):
        _label_axes(axes, drawn.values)


def mark_points(axes: Axes, places: Sequence[tuple[float, float]], theme: Theme) -> None:
    """Mark points on a map, each in its colour: a dot at the place, its number beside it."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    for number, (place, colour) in enumerate(zip(places, theme.points), start=1):
        axes.plot(*place, "o", ms=5.5, mfc=colour, mec="white", mew=1.1, zorder=5)
        side = 1 if abs(place[0] - left) < 0.85 * abs(right - left) else -1
        above = 1 if abs(place[1] - low) < 0.85 * abs(high - low) else -1
        badge(axes, number, place, colour, offset=(10 * side, 10 * above), edge="white")


def badge(
    axes: Axes, number: int, place: tuple[float, float], colour: str,
    *, offset: tuple[float, float] = (0, 11), edge: str = "none",
) -> None:  # fmt: skip
    """A number in a coloured disc, `offset` points away from a place."""
    from matplotlib.colors import to_rgb
    from matplotlib.offsetbox import AnnotationBbox, DrawingArea
    from matplotlib.patches import Circle
    from matplotlib.text import Text

    ink = "white" if float(np.dot(to_rgb(colour), (0.299, 0.587, 0.114))) < 0.55 else "black"
    area = DrawingArea(14, 14, 0, 0)
    area.add_artist(Circle((7, 7), 7, fc=colour, ec=edge, lw=1.0))
    area.add_artist(
        Text(7, 6.7, str(number), color=ink, size=8, weight="bold", ha="center", va="center")
    )
    axes.add_artist(
        AnnotationBbox(area, place, xybox=offset, boxcoords="offset points", frameon=False, pad=0)
    )


def placed(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes at a place given in inches from the lower left corner of the figure."""
    across, up = figure.get_size_inches()
    axes = figure.add_axes((left / across, bottom / up, width / across, height / up))
    axes.set_anchor("SW")
    return axes


def scatter_axes(values: xr.DataArray) -> tuple[str, str]:
    """Names of the coordinates along a list of points that make x and y of a map."""
    along = [str(name) for name, each in values.coords.items() if each.dims == values.dims]
    along = [name for name in along if name != values.dims[0]]
    near = [name for name in along if np.issubdtype(values[name].dtype, np.number)]
    if len(near) < 2:
        return str(values.dims[0]), near[0] if near else str(values.dims[0])
    preferred = [name for name in ("X", "Y") if name in near]
    x, y = preferred if len(preferred) == 2 else (near[-1], near[-2])
    return x, y


def _robust(values: Array) -> tuple[float, float]:
    """Limits of the colours that a few outliers do not spoil."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    low, high = (float(each) for each in np.percentile(finite, (1, 99)))
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def ruler(axis: xr.DataArray) -> Array:
    """Where values of an axis are drawn: at themselves if evenly spaced, else counted."""
    values = np.asarray(axis.values)
    if np.issubdtype(values.dtype, np.number) and values.size > 1:
        steps = np.diff(values.astype(float))
        if np.allclose(steps, steps.mean(), rtol=0.05, atol=0) and steps.mean() != 0:
            return values.astype(float)
    return np.arange(values.size, dtype=float)


def _edges(axis: xr.DataArray) -> tuple[float, float]:
    """Outer edges of the first and last pixel along an axis."""
    drawn = ruler(axis)
    half = (drawn[1] - drawn[0]) / 2 if drawn.size > 1 else 0.5
    return float(drawn[0] - half), float(drawn[-1] + half)


def _extent(values: xr.DataArray) -> tuple[tuple[float, float, float, float], Any]:
    y, x = (values[dim] for dim in values.dims)
    extent = (*_edges(x), *_edges(y))
    if _same_units(values, values.dims):
        return extent, "equal"
    span = abs((extent[1] - extent[0]) / (extent[3] - extent[2]))
    return extent, span * float(np.clip(values.shape[0] / values.shape[1], 0.6, 1.6))


def _same_units(values: xr.DataArray, names: Sequence[Any]) -> bool:
    units = [values[name].attrs.get("units", "") for name in names]
    return bool(units[0] == units[1])


def _scale_bar(axes: Axes, values: xr.DataArray) -> bool:
    """Draw a round length over a map whose axes are lengths; False where they are not."""
    from matplotlib.patches import Rectangle

    names = tuple(reversed(values.dims))
    units = values[names[0]].attrs.get("units", "")
    if (
        values.ndim != 2
        or units not in ("m", "mm", "um", "µm", "nm", "pm")
        or not _same_units(values, names)
    ):
        return False
    axes.set_xticks([])
    axes.set_yticks([])
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    width, height = right - left, high - low
    rough = abs(width) / 4
    round_one = max(n for n in (1, 2, 5) if n * 10 ** np.floor(np.log10(rough)) <= rough)
    length = float(round_one * 10 ** np.floor(np.log10(rough)))
    factor, shown = scaled(np.asarray([length]), units.replace("µ", "u"))
    corner = (left + 0.045 * width, low + 0.05 * height)
    box: dict[str, Any] = dict(transform=axes.transData, zorder=4, linewidth=0)
    pad = 0.022
    axes.add_patch(
        Rectangle(
            (corner[0] - pad * width, corner[1] - pad * height),
            length * np.sign(width) + 2 * pad * width,
            (0.075 + 2 * pad) * height,
            facecolor="black", alpha=0.42, **box,
        )
    )  # fmt: skip
    axes.add_patch(
        Rectangle(corner, length * np.sign(width), 0.012 * height, facecolor="white", **box)
    )
    axes.text(
        corner[0] + length * np.sign(width) / 2, corner[1] + 0.027 * height,
        f"{length * factor:g} {shown}", color="white", size=9, weight="bold",
        ha="center", va="bottom", zorder=5,
    )  # fmt: skip
    return True


def _label_axes(axes: Axes, values: xr.DataArray) -> None:
    names = (values.dims[1], values.dims[0]) if values.ndim == 2 else scatter_axes(values)
    labels = []
    for name in names:
        counted = values.ndim == 2 and not np.array_equal(ruler(values[name]), values[name].values)
        labels.append(f"{name} (counted)" if counted else axis_label(values[name]))
    axes.set_xlabel(labels[0])
    axes.set_ylabel(labels[1])


def axis_label(axis: xr.DataArray, units: str | None = None) -> str:
    """ "Frequency (kHz)", or the bare name where there are no units."""
    units = pretty(str(axis.attrs.get("units", ""))) if units is None else units
    return f"{axis.name} ({units})" if units else str(axis.name)
