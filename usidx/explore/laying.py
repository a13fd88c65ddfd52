"""The figure of an explorer before anything is drawn: its axes, panels and sliders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import xarray as xr

from usidx.explore.drawing import QUIET, STYLE, Curve, Picture
from usidx.explore.linked import Panels, thinning
from usidx.explore.places import label_in_words
from usidx.explore.rulers import along, in_the_same_units, ruler_of

# Backends of matplotlib that only write files.
_ON_PAPER = ("agg", "cairo", "pdf", "pgf", "ps", "svg", "template")


def lay_out(panels: Panels) -> tuple[Any, list[Any], list[Any]]:
    """A figure, the axes of its map and spectrum, and those of its sliders.

    Where matplotlib shows figures it is one of pyplot's; else one without any global state. Sizes
    are inches, so that labels have the same room whatever is drawn.
    """
    import matplotlib as mpl

    shown = [dims for dims in (panels.map, panels.spectrum) if dims]
    base = 0.85 + 0.36 * len(panels.slid) + (0.2 if panels.slid else 0.0)
    wide, tall = 0.3 + 5.75 * len(shown), base + 3.9 + 0.85
    with mpl.rc_context(STYLE):
        figure = _new_figure(wide, tall)
        axes = []
        for number, dims in enumerate(shown):
            is_curve = len(dims) == 1 and not (dims is panels.map and panels.points)
            box = (0.95 + 5.75 * number, base, 4.7 if is_curve else 3.9, 3.9)
            axes.append(_placed(figure, box))
            axes[-1].set_anchor("NW")
        below = [
            _placed(figure, (1.6, 0.12 + 0.36 * number, wide - 3.4, 0.24))
            for number in reversed(range(len(panels.slid)))
        ]
    return figure, axes, below


def _placed(figure: Any, box: tuple[float, float, float, float]) -> Any:
    across, up = figure.get_size_inches()
    return figure.add_axes((box[0] / across, box[1] / up, box[2] / across, box[3] / up))


def _new_figure(wide: float, tall: float) -> Any:
    import matplotlib as mpl

    if mpl.get_backend().lower() not in _ON_PAPER:
        import matplotlib.pyplot as plt

        return plt.figure(figsize=(wide, tall))
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    class Still(FigureCanvasAgg):
        """A canvas that is drawn when it is saved, not at every change."""

        def draw_idle(self, *_: Any, **__: Any) -> None:
            """Nobody looks."""

    figure = Figure(figsize=(wide, tall))
    Still(figure)
    return figure


def panels_in(
    array: xr.DataArray, panels: Panels, axes: list[Any], upper: bool
) -> tuple[Picture | Curve | None, Picture | Curve | None]:
    """The empty panels of the map and of the spectrum, None for what there is not."""
    import matplotlib as mpl

    left = list(axes)
    found: list[Picture | Curve | None] = []
    with mpl.rc_context(STYLE):
        for dims in (panels.map, panels.spectrum):
            points = panels.points if dims is panels.map else None
            found.append(_panel(array, dims, points, left.pop(0), upper) if dims else None)
    return found[0], found[1]


def _panel(
    array: xr.DataArray, dims: tuple[str, ...], points: Any, axes: Any, upper: bool
) -> Picture | Curve:
    steps = thinning(array, dims)
    if points is not None:
        up, across = (along(array, dims[0], name) for name in reversed(points))
        return Picture(axes, in_the_same_units(up, across), (steps[dims[0]], steps[dims[0]]), upper)
    if len(dims) == 1:
        return Curve(axes, ruler_of(array, dims[0]), steps[dims[0]])
    y, x = dims
    rulers = in_the_same_units(ruler_of(array, y), ruler_of(array, x))
    return Picture(axes, rulers, (steps[y], steps[x]), upper)


def sliders_in(
    array: xr.DataArray,
    panels: Panels,
    axes: list[Any],
    place: Mapping[str, int],
    answer: Callable[[str, int], None],
) -> dict[str, Any]:
    """A slider for each dimension that is drawn nowhere, by its name."""
    from matplotlib.widgets import Slider

    found: dict[str, Any] = {}
    for dim, each in zip(panels.slid, axes):
        slider = Slider(
            each, dim, 0, array.sizes[dim] - 1, valinit=place[dim], valstep=1, initcolor="none",
            color="#0072b2", handle_style={"size": 9},
        )  # fmt: skip
        slider.label.set(color=QUIET, parse_math=False)
        slider.valtext.set_parse_math(False)

        def moved(value: float, dim: str = dim, slider: Any = slider) -> None:
            slider.valtext.set_text(label_in_words(array, dim, int(value)))
            answer(dim, int(value))

        slider.valtext.set_text(label_in_words(array, dim, place[dim]))
        slider.on_changed(moved)
        found[dim] = slider
    return found
