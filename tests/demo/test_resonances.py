"""The slide of resonances marks three positions and draws their oscillators."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from usidx.demo.data import Recipe, measurement, sample
from usidx.demo.pictures import LIGHT
from usidx.demo.resonances import Oscillator, resonance_slide


def test_an_oscillator_responds_with_a_q_at_resonance() -> None:
    oscillator = Oscillator(amplitude=2.0, resonance=330e3, quality=100.0, phase=0.3)
    peak = oscillator.response(np.array([330e3]))[0]
    assert abs(peak) == pytest.approx(200.0)
    # a quarter turn behind the drive, in the sign convention of the formula
    assert np.angle(peak / np.exp(0.3j)) == pytest.approx(np.pi / 2)


def test_three_positions_of_different_resonance_are_drawn() -> None:
    recipe = Recipe(lines=48, pixels=48, frequencies=96)
    truth = sample(recipe)
    raw = measurement(recipe)

    def over_positions(values: np.ndarray) -> xr.DataArray:
        return raw.isel(Frequency=0, drop=True).copy(data=values)

    figure = resonance_slide(
        raw,
        over_positions(np.abs(truth.response)),
        over_positions(truth.resonance),
        over_positions(truth.quality),
        over_positions(np.angle(truth.response)),
        title="Film",
        subtitle="",
        theme=LIGHT,
    )
    figure.canvas.draw()
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[:3] == ["Amplitude at resonance", "Phase", "Resonance frequency"]
    spectra = next(each for each in figure.axes if "Response" in each.get_title(loc="left"))
    curves = [line for line in spectra.lines if line.get_linestyle() == "-"]
    peaks = [line.get_xdata()[np.argmax(line.get_ydata())] for line in curves]
    assert len(peaks) == 3
    assert peaks[0] < peaks[1] < peaks[2]
