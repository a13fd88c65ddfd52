"""The made-up measurement is what its description says, however it is cut."""

from __future__ import annotations

import numpy as np
import pytest

from usidx.demo.data import FULL, SMALL, Recipe, measured, measurement, sample

TINY = Recipe(lines=40, pixels=48, frequencies=128)


def test_default_is_a_few_hundred_megabytes_and_small_a_few() -> None:
    assert 2e8 < FULL.nbytes < 5e8
    assert SMALL.nbytes < 2e7


def test_the_sample_is_physically_sensible() -> None:
    truth = sample(FULL)
    assert truth.quality.min() >= 50
    assert truth.quality.max() <= 200
    assert truth.resonance.min() > 318e3
    assert truth.resonance.max() < 352e3
    # The band holds every resonance with room for its flanks.
    assert FULL.band[0] < truth.resonance.min() - 20e3
    assert FULL.band[1] > truth.resonance.max() + 20e3


def test_two_domains_of_opposite_phase_share_the_film() -> None:
    truth = sample(FULL)
    strong = np.abs(truth.response) > 1.0
    turned = np.angle(truth.response[strong] / np.exp(0.55j))
    up = np.abs(turned) < np.pi / 4
    down = np.abs(turned) > 3 * np.pi / 4
    assert np.all(up | down)
    assert 0.3 < up.mean() < 0.7


def test_amplitude_vanishes_at_domain_walls() -> None:
    truth = sample(FULL)
    flips = np.abs(np.angle(truth.response[:, 1:] / truth.response[:, :-1])) > np.pi / 2
    strength = np.abs(truth.response)
    at_walls = np.minimum(strength[:, 1:], strength[:, :-1])[flips]
    assert np.median(at_walls) < 0.25 * np.median(strength)


def test_resonances_differ_between_grains_and_drift_over_the_lines() -> None:
    truth = sample(FULL)
    assert 2e3 < truth.resonance.std() < 8e3
    lines = np.median(truth.resonance, axis=1)
    assert lines[-40:].mean() > lines[:40].mean()


def test_blocks_of_any_size_give_the_same_data() -> None:
    truth = sample(TINY)
    whole = measured(TINY, truth, slice(None))
    parts = [measured(TINY, truth, slice(start, start + 7)) for start in range(0, 40, 7)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    lazy = measurement(TINY, block=3 * TINY.nbytes // TINY.lines)
    assert lazy.chunks is not None
    assert len(lazy.chunks[0]) > 10
    np.testing.assert_array_equal(lazy.values, whole)


def test_without_noise_the_spectra_are_those_of_the_oscillator() -> None:
    quiet = Recipe(lines=3, pixels=4, frequencies=64, detector=0.0, thermal=0.0)
    truth = sample(quiet)
    data = measured(quiet, truth, slice(None))
    f = quiet.frequency
    f0, q = truth.resonance[2, 1], truth.quality[2, 1]
    expected = truth.response[2, 1] * f0**2 / (f**2 - 1j * f * f0 / q - f0**2)
    np.testing.assert_allclose(data[2, 1], expected, rtol=1e-5)


def test_noise_has_the_stated_strength() -> None:
    silent = sample(TINY)
    nothing = type(silent)(0 * silent.response, silent.resonance, silent.quality)
    data = measured(TINY, nothing, slice(None))
    far = data[..., TINY.frequency < 300e3]
    assert far.real.std() == pytest.approx(TINY.detector, rel=0.03)
    assert far.imag.std() == pytest.approx(TINY.detector, rel=0.03)
    nearest = np.abs(TINY.frequency - silent.resonance[..., None]).argmin(-1)
    peak = np.take_along_axis(data, nearest[..., None], -1)
    both = np.hypot(TINY.detector, TINY.thermal)
    assert peak.real.std() == pytest.approx(both, rel=0.08)


def test_the_measurement_is_lazy_and_labelled() -> None:
    lazy = measurement(FULL)
    assert lazy.dims == ("Y", "X", "Frequency")
    assert lazy.dtype == np.complex64
    assert lazy.attrs["units"] == "pm"
    assert lazy["Frequency"].attrs["units"] == "Hz"
    assert lazy["X"].attrs["usid_role"] == "position"
    assert max(np.prod(shape) * 8 for shape in zip(*(c[:1] for c in lazy.chunks))) <= 32 << 20
