"""A slide of resonances: maps of what the fit of an oscillator found, over three fitted spectra."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from usidx.demo.pictures import (
    Map,
    Theme,
    badge,
    draw_map,
    drawn_in,
    mark_points,
    new_figure,
    placed,
)
from usidx.demo.places import clear_of, eroded, place_of
from usidx.explore.units import scaled
from usidx.steps.sho import sho_response

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Oscillator:
    """What was found at one position: amplitude at rest, f0 in Hz, Q, and phase in rad."""

    amplitude: float
    resonance: float
    quality: float
    phase: float

    def response(self, frequency: Array) -> Array:
        """Complex response at frequencies in Hz."""
        return sho_response(frequency, self.amplitude, self.resonance, self.quality, self.phase)


def resonance_slide(
    raw: xr.DataArray, amplitude: xr.DataArray, resonance: xr.DataArray,
    quality: xr.DataArray, phase: xr.DataArray, *, title: str, subtitle: str, theme: Theme,
) -> Figure:  # fmt: skip
    """Maps of amplitude, phase and resonance over the fitted spectra of three marked positions.

    Parameters
    ----------
    raw : complex array (Y, X, Frequency), lazy; only three spectra are read
    amplitude, resonance, quality, phase : arrays (Y, X), what the fit of an SHO found: units of
        `raw`, Hz, none, rad
    """
    units = str(raw.attrs.get("units", ""))
    degrees = np.degrees(np.angle(np.exp(1j * phase)))
    places = _three_resonances(amplitude * quality, degrees, resonance)
    maps = (
        Map(amplitude * quality, "Amplitude at resonance", units, "inferno"),
        Map(phase.copy(data=degrees), "Phase", "deg", "twilight", cyclic=True),
        Map(resonance, "Resonance frequency", "Hz", "viridis"),
    )
    with drawn_in(theme):
        figure = new_figure(title, subtitle, theme)
        for column, drawn in enumerate(maps):
            axes = placed(figure, 0.6 + 4.24 * column, 2.78, 3.5, 3.5)
            draw_map(axes, drawn, theme)
            mark_points(axes, [place_of(drawn.values, at) for at in places], theme)
        below = [placed(figure, 0.6, 0.62, 6.0, 1.52), placed(figure, 7.32, 0.62, 5.42, 1.52)]
        fits = [
            Oscillator(*(float(each[at]) for each in (amplitude, resonance, quality, phase)))
            for at in places
        ]
        _draw_resonances(below, raw, places, fits, theme)
    return figure


def _three_resonances(
    peak: xr.DataArray, degrees: Array, resonance: xr.DataArray
) -> list[tuple[int, int]]:
    """Three strong positions, far apart: low, middle and high resonance, in both domains."""
    strength, f0 = np.asarray(peak.values), np.asarray(resonance.values)
    # The axis between the two domains: the mean of doubled angles does not see a flip by pi.
    axis = np.angle(np.nanmean(np.exp(2j * np.radians(degrees)))) / 2
    up = np.cos(np.radians(degrees) - axis) > 0
    strong = strength > np.nanpercentile(strength, 25)
    chosen: list[tuple[int, int]] = []
    for side, percentile in ((up, 12), (~up, 50), (up, 90)):
        inside = eroded(strong & side, by=max(1, min(f0.shape) // 48))
        wanted = np.where(inside, np.abs(f0 - np.nanpercentile(f0, percentile)), np.inf)
        chosen.append(clear_of(wanted, chosen))
    return chosen


def _draw_resonances(
    axes: Sequence[Axes], raw: xr.DataArray, places: Sequence[tuple[int, int]],
    fits: Sequence[Oscillator], theme: Theme,
) -> None:  # fmt: skip
    loud, turned = axes
    frequency = np.asarray(raw[raw.dims[-1]].values, float)
    fine = np.linspace(frequency[0], frequency[-1], 4 * frequency.size)
    factor, units = scaled(
        np.asarray([fit.amplitude * fit.quality for fit in fits]),
        str(raw.attrs.get("units", "")),
    )
    for number, (at, fit, colour) in enumerate(zip(places, fits, theme.points), start=1):
        spectrum = np.asarray(raw[at].values)
        curve, fitted = fit.response(fine), fit.response(frequency)
        dots: dict[str, Any] = {"ms": 5, "mew": 0, "color": colour, "alpha": 0.5}
        loud.plot(frequency / 1e3, abs(spectrum) * factor, ".", **dots)
        loud.plot(fine / 1e3, abs(curve) * factor, color=colour, lw=1.6)
        # An oscillator turns by pi through its resonance, so unwrap along the curve from below;
        # each measured phase is drawn in the turn nearest to it.
        line = np.degrees(np.unwrap(np.angle(curve)))
        line -= 360 * np.round((line[0] - 60) / 360)
        noise = np.degrees(np.angle(spectrum / fitted))
        turned.plot(frequency / 1e3, np.interp(frequency, fine, line) + noise, ".", **dots)
        turned.plot(fine / 1e3, line, color=colour, lw=1.6)
        peak = fit.amplitude * fit.quality * factor
        badge(loud, number, (fit.resonance / 1e3, peak), colour)
        loud.text(
            1.0, 1.06 - 0.16 * number,
            f"$f_0$ = {fit.resonance / 1e3:.1f} kHz,  $Q$ = {fit.quality:.0f}",
            transform=loud.transAxes, color=colour, size=9.5, weight="bold", ha="right",
        )  # fmt: skip
    centres = [fit.resonance / 1e3 for fit in fits]
    spread = max(max(centres) - min(centres), 6.0)
    tallest = max(fit.amplitude * fit.quality for fit in fits) * factor
    for each in axes:
        each.set_xlim(min(centres) - 0.7 * spread, max(centres) + 1.0 * spread)
        each.set_xlabel("Frequency (kHz)")
        each.grid(axis="y", color=theme.faint, lw=0.6)
        each.set_axisbelow(True)
    loud.set_ylim(0, 1.3 * tallest)
    loud.set_title(f"Response ({units})")
    turned.set_title("Phase (deg)")
    turned.set_yticks(np.arange(-180, 181, 90))
    turned.set_ylim(-225, 250)
