"""A figure with a map and a spectrum that follow each other: click in one, the other is read."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import xarray as xr

from usidx.errors import MissingDependencyError, OptionError, StoreExistsError, UsidError
from usidx.explore.drawing import STYLE, quantity_of
from usidx.explore.laying import lay_out, panels_in, sliders_in
from usidx.explore.linked import (
    COMPONENTS,
    Component,
    Panels,
    is_small,
    mean_at,
    middle_of,
    one_field,
    panels_of,
    read_at,
)
from usidx.explore.places import in_words, labels_at, numbers_at
from usidx.explore.rulers import is_formula
from usidx.explore.titles import map_title, over_all, spectrum_title, value_at

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from usidx.explore.drawing import Curve, Picture

_STEPS = {
    "shift+left": (-1, -1), "shift+right": (-1, 1), "shift+down": (-2, -1), "shift+up": (-2, 1),
}  # fmt: skip


def explore(
    obj: xr.DataArray | xr.Dataset,
    *,
    at: Mapping[str, Any] | None = None,
    field: str | None = None,
    component: Component | None = None,
    log: bool = False,
    map: Sequence[str] | None = None,
    spectrum: Sequence[str] | None = None,
    upper: bool = False,
) -> Explorer:
    """A figure with a linked map and spectrum of a Main; a click in one reads the other.

    Parameters
    ----------
    at : labels to begin at, such as {"Y": 3, "Frequency": 330e3}; the middle, and a map that is a
        mean where the values are few (64 MiB), for what is left out
    field : of a compound Main; the first with numbers when left out
    component : "amplitude" (the default), "phase" (in degrees), "real" or "imag" of complex values
    log : draw values by decades
    map, spectrum : names of the dimensions that each shows, where it is to be others
    upper : whether rows are drawn downwards from the top, as in pictures of cameras

    Raises
    ------
    MissingDependencyError : where matplotlib is not installed
    LayoutError : where it is not known which dimensions are positions
    OptionError : for what cannot be drawn, and names and labels that are not there

    Examples
    --------
    >>> from usidx.testing import make_main
    >>> shown = explore(make_main(), at={"Y": 0.5, "X": 1.0})
    >>> shown.select(Frequency=330e3).selection
    {'Y': 0.5, 'X': 1.0, 'Frequency': 330000.0}
    """
    require_matplotlib()
    array = one_field(obj, field)
    if array.dtype.kind == "c":
        component = component or "amplitude"
    if component is not None and component not in COMPONENTS:
        raise OptionError(f"component={component!r} is none of {', '.join(COMPONENTS)}")
    if component is not None and array.dtype.kind != "c":
        raise OptionError(f"{array.name!r} is {array.dtype}, not complex; leave component out")
    panels = panels_of(array, map, spectrum)
    return Explorer(array, panels, numbers_at(array, at or {}), component, log, upper)


class Explorer:
    """A map and a spectrum that follow each other.

    Click or drag in either. Shift with an arrow key steps in the map, `,` and `.` along the
    spectrum, `m` goes on to the next component of complex values, `d` to decades and back.
    """

    def __init__(
        self,
        array: xr.DataArray,
        panels: Panels,
        place: Mapping[str, int],
        component: Component | None,
        log: bool,
        upper: bool = False,
    ) -> None:
        # Few values are read once, so that every click is answered at once.
        self._array = array.compute() if is_small(array) else array
        self._panels, self._component, self._log = panels, component, log
        self._place = middle_of(array) | dict(place)
        over = set(panels.spectrum) - set(panels.map)
        self._is_mean = is_small(array) and bool(over) and not over & set(place)
        self._map: xr.DataArray | None = None
        self._spectrum: xr.DataArray | None = None
        self._figure, axes, below = lay_out(panels)
        self._left, self._right = panels_in(array, panels, axes, upper)
        self._sliders = sliders_in(array, panels, below, self._place, self._slid)
        self._error: Any = None
        for panel in (self._left, self._right):
            if panel is not None:
                panel.axes.format_coord = self._below_cursor(panel)  # type: ignore[assignment, method-assign]
        # Callbacks are held weakly: the figure keeps what answers them.
        self._figure.usidx_explorer = self
        for event, answer in (
            ("button_press_event", self._clicked),
            ("motion_notify_event", self._clicked),
            ("key_press_event", self._typed),
        ):
            self._figure.canvas.mpl_connect(event, answer)
        self._read(self._panels.map + self._panels.spectrum + self._panels.slid)

    @property
    def figure(self) -> Figure:
        """The figure of matplotlib."""
        figure: Figure = self._figure
        return figure

    @property
    def selection(self) -> dict[str, Any]:
        """The labels of the place that is shown, by dimension; numbers where there are none."""
        return labels_at(self._array, self._place)

    @property
    def map(self) -> xr.DataArray | None:
        """The map that is shown, in memory; None where there is one position only."""
        return self._map

    @property
    def spectrum(self) -> xr.DataArray | None:
        """The spectrum or frame that is shown, in memory; None where a position has one value."""
        return self._spectrum

    @property
    def sliders(self) -> Mapping[str, Any]:
        """The sliders of matplotlib along what is drawn nowhere, by dimension."""
        return MappingProxyType(self._sliders)

    def __repr__(self) -> str:
        shown = " and ".join(
            f"a {what} over {', '.join(dims)}"
            for what, dims in (("map", self._panels.map), ("spectrum", self._panels.spectrum))
            if dims
        )
        place = in_words(self._array, self._place, [str(dim) for dim in self._array.dims])
        return f"<Explorer of {self._array.name!r}: {shown}; at {place}>"

    def select(self, places: Mapping[str, Any] | None = None, /, **more: Any) -> Explorer:
        """Show what lies nearest to some labels; the same explorer, for the next call.

        Parameters
        ----------
        places, more : labels by dimension, such as X=2e-6 or Frequency=330e3

        Raises
        ------
        OptionError : for a name or a label that is not there
        """
        self._go(numbers_at(self._array, {**(places or {}), **more}))
        return self

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> str:
        """Write the picture as it stands; the path.

        Parameters
        ----------
        path : its ending says how: .png, .svg, .pdf and what else matplotlib writes

        Raises
        ------
        OptionError : for an ending that matplotlib does not write
        StoreExistsError : for a file that is there, without overwrite=True
        """
        target = os.fspath(path)
        known = sorted(self._figure.canvas.get_supported_filetypes())
        ending = os.path.splitext(target)[1].lstrip(".").lower()
        if ending not in known:
            raise OptionError(
                f"{target!r} is no name of a picture; end it in .png, .svg, .pdf or another of "
                f"{', '.join(known)}"
            )
        if os.path.exists(target) and not overwrite:
            raise StoreExistsError(
                f"{target!r} is there already; pass overwrite=True to replace it"
            )
        self._figure.savefig(target, dpi=160)
        return target

    def show(self) -> None:
        """Open the window and wait until it is closed; for scripts, which end otherwise.

        Raises
        ------
        MissingDependencyError : where matplotlib has no window to open here
        """
        import matplotlib.pyplot as plt

        if not has_window():
            raise MissingDependencyError(
                f"matplotlib opens no window here (its backend is {plt.get_backend()}); write the "
                "picture with .save('picture.png'), or use %matplotlib widget in a notebook"
            )
        plt.show()

    def _go(self, place: Mapping[str, int]) -> None:
        """Go to other numbers along some dimensions, and read what changes with them."""
        changed = [dim for dim, number in place.items() if number != self._place[dim]]
        inside = set(place) & set(self._panels.spectrum) - set(self._panels.map)
        if inside and self._is_mean:
            self._is_mean = False
            changed += [dim for dim in inside if dim not in changed]
        if changed:
            before, self._place = self._place, self._place | dict(place)
            try:
                self._read(changed)
            except UsidError:
                self._place = before
                raise
            finally:
                for dim, slider in self._sliders.items():
                    if slider.val != self._place[dim]:
                        slider.set_val(self._place[dim])

    def _read(self, changed: Sequence[str]) -> None:
        """Read the map and the spectrum where they depend on what changed, and draw."""
        panels, place, component = self._panels, self._place, self._component
        over = [dim for dim in panels.spectrum if dim not in panels.map]
        first = self._map is None and self._spectrum is None
        if panels.map and (first or set(changed) - set(panels.map)):
            if self._is_mean:
                self._map = mean_at(self._array, panels.map, over, place, component)
            else:
                self._map = read_at(self._array, panels.map, place, component)
        if panels.spectrum and (first or set(changed) - set(panels.spectrum)):
            self._spectrum = read_at(self._array, panels.spectrum, place, component)
        self._draw()

    def _draw(self) -> None:
        import matplotlib as mpl

        array, panels, place = self._array, self._panels, self._place
        with mpl.rc_context(STYLE):
            label = quantity_of(array, self._component)
            cyclic = self._component == "phase"
            if self._left is not None and self._map is not None:
                title = map_title(array, panels, place, self._map, self._is_mean)
                self._left.show(self._map, title, label, log=self._log, cyclic=cyclic)
                self._left.mark(place)
            if self._right is not None and self._spectrum is not None:
                title = spectrum_title(array, panels, place, self._spectrum)
                self._right.show(self._spectrum, title, label, log=self._log, cyclic=cyclic)
                self._right.mark(None if self._is_mean else place)
            above = over_all(array, label)
            self._figure.suptitle(
                above, x=0.02, ha="left", size=12.5, weight="bold", parse_math=is_formula(above)
            )
        self._say("")
        self._figure.canvas.draw_idle()

    def _below_cursor(self, panel: Picture | Curve) -> Callable[[float, float], str]:
        """What the window says of the place below the cursor: labels and value."""

        def words(x: float, y: float) -> str:
            values = self._map if panel is self._left else self._spectrum
            if values is None:
                return ""
            return value_at(self._array, panel.numbers_at(x, y), values, panel.scale)

        return words

    def _clicked(self, event: Any) -> None:
        """Answer a click, or a drag with the button held."""
        toolbar = self._figure.canvas.toolbar
        if event.button != 1 or (toolbar is not None and toolbar.mode):
            return
        for panel in (self._left, self._right):
            if panel is not None and event.inaxes is panel.axes:
                self._try(panel.numbers_at(event.xdata, event.ydata))

    def _typed(self, event: Any) -> None:
        """Answer a key."""
        key = event.key
        if key == "m" and self._component is not None:
            following = (COMPONENTS.index(self._component) + 1) % len(COMPONENTS)
            self._component = COMPONENTS[following]
            self._again()
        elif key == "d":
            self._log = not self._log
            self._draw()
        elif key in _STEPS and self._panels.map:
            back, by = _STEPS[key]
            if -back <= len(self._panels.map):
                self._step(self._panels.map[back], by)
        elif key in (",", ".") and self._panels.spectrum:
            self._step(self._panels.spectrum[-1], 1 if key == "." else -1)

    def _step(self, dim: str, by: int) -> None:
        number = self._place[dim] + by
        self._try({dim: min(max(number, 0), self._array.sizes[dim] - 1)})

    def _again(self) -> None:
        """Read both again, as another component."""
        self._map = self._spectrum = None
        self._read(())

    def _slid(self, dim: str, number: int) -> None:
        self._try({dim: number})

    def _try(self, place: Mapping[str, int]) -> None:
        """Go there; what goes wrong is told in the figure, where it would be lost otherwise."""
        try:
            self._go(place)
        except UsidError as error:
            self._say(f"{type(error).__name__}: {error}")
            self._figure.canvas.draw_idle()

    def _say(self, words: str) -> None:
        if self._error is None:
            self._error = self._figure.text(0.012, 0.008, "", color="#b91c1c", size=9, va="bottom")
            self._error.set_parse_math(False)
        self._error.set_text(words[:160])


def require_matplotlib() -> None:
    """Raise MissingDependencyError, with what to install, where matplotlib is missing."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            "explore() draws with matplotlib, which is not installed; pip install 'usidx[plot]'"
        ) from error


def has_window() -> bool:
    """Whether matplotlib opens windows here."""
    import matplotlib as mpl
    from matplotlib.backends.registry import BackendFilter, backend_registry

    return mpl.get_backend().lower() in backend_registry.list_builtin(BackendFilter.INTERACTIVE)
