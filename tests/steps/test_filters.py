"""Filters against sums of sines, whose filtered form is known."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from usidx import steps
from usidx.errors import PlanError
from usidx.steps.filters import notches
from usidx.testing import make_main

TIME = np.arange(400) / 200  # 2 s at 200 Hz


def sines(dtype: str = "float64") -> tuple[xr.DataArray, dict[int, np.ndarray]]:
    parts = {hertz: np.sin(2 * np.pi * hertz * TIME + hertz) for hertz in (2, 20, 80)}
    total = sum(parts.values()).astype(dtype)
    spectra = xr.DataArray(
        np.stack([total, 2 * total]),
        dims=("X", "Time"),
        coords={
            "X": ("X", [0.0, 1.0], {"usid_role": "position"}),
            "Time": ("Time", TIME, {"usid_role": "spectroscopic", "units": "s"}),
        },
        attrs={"units": "V", "quantity": "Deflection"},
        name="Raw_Data",
    )
    return spectra, parts


@pytest.mark.parametrize(
    ("edges", "left"),
    [({"high": 6.5}, [2]), ({"low": 40}, [80]), ({"low": 6.5, "high": 40}, [20])],
)
def test_the_band_passes_and_the_rest_does_not(edges: dict[str, float], left: list[int]) -> None:
    spectra, parts = sines()
    filtered = steps.fft_filter(spectra, order=8, **edges)
    expected = sum(parts[hertz] for hertz in left)
    np.testing.assert_allclose(filtered[0], expected, atol=1e-2)
    np.testing.assert_allclose(filtered[1], 2 * filtered[0])


def test_the_edge_is_where_half_of_the_power_is_left() -> None:
    spectra, _ = sines()
    tone = spectra.copy(data=np.stack([np.cos(2 * np.pi * 20 * TIME)] * 2))
    np.testing.assert_allclose(steps.fft_filter(tone, high=20)[0], tone[0] / np.sqrt(2), atol=1e-12)


def test_notches_take_a_comb_out() -> None:
    spectra, parts = sines()
    rest = steps.fft_filter(spectra, notch=20, harmonics=4, width=0.5)
    # 20 Hz and its fourth multiple, 80 Hz, are gone; 2 Hz is there to the width of the notches
    np.testing.assert_allclose(rest[0], parts[2], atol=5e-3)
    several = steps.fft_filter(spectra, notch=[2, 80])
    np.testing.assert_allclose(several[0], parts[20], atol=0.05)
    both = steps.fft_filter(spectra, notch=2, width=0.5, high=45, order=8)
    np.testing.assert_allclose(both[0], parts[20], atol=0.02)


def test_a_notch_is_that_of_scipy() -> None:
    from scipy import signal

    found = notches(400, 1 / 200, 30, 2.0, 1)
    frequency = np.abs(np.fft.fftfreq(400, 1 / 200))
    # the analog notch (s^2 + w0^2) / (s^2 + w s + w0^2), in Hz
    _, response = signal.freqs([1, 0, 30.0**2], [1, 2.0, 30.0**2], worN=frequency)
    np.testing.assert_allclose(found, np.abs(response), atol=1e-12)


def test_labels_and_attributes_stay() -> None:
    spectra, _ = sines()
    filtered = steps.fft_filter(spectra.transpose("Time", "X"), high=10)
    assert filtered.dims == ("Time", "X")
    assert filtered.attrs == spectra.attrs
    xr.testing.assert_identical(filtered.Time, spectra.Time)


def test_complex_spectra_are_filtered_in_both_parts() -> None:
    spectra, _ = sines()
    filtered = steps.fft_filter(spectra + 1j * spectra, high=10)
    real = steps.fft_filter(spectra, high=10)
    np.testing.assert_allclose(filtered, real + 1j * real)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("float32", "float32"), ("int16", "float32"), ("complex64", "complex64")],
)
def test_32_bits_stay_32_bits_lazily(dtype: str, expected: str) -> None:
    spectra, _ = sines("float64")
    lazy = steps.fft_filter((100 * spectra).astype(dtype).chunk(X=1, Time=100), high=10)
    assert lazy.dtype == expected
    assert lazy.compute().dtype == expected


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "low and high are both left out"),
        ({"high": 200}, r"high=200 is not within 0 and the Nyquist frequency 100"),
        ({"low": 30, "high": 20}, "low=30 is not below high=20"),
        ({"notch": 300}, "notch=300.0 is not within 0 and the Nyquist frequency 100"),
        ({"high": 20, "along": "Tme"}, r"no dimension 'Tme' \(did you mean 'Time'\?\)"),
        ({"high": 20, "along": "X"}, "'X' is a position dimension"),
    ],
)
def test_what_cannot_be_filtered_is_said(parameters: dict[str, object], message: str) -> None:
    spectra, _ = sines()
    with pytest.raises(PlanError, match=message):
        steps.fft_filter(spectra, **parameters)


def test_uneven_spacing_is_refused() -> None:
    spectra, _ = sines()
    with pytest.raises(PlanError, match="not evenly spaced"):
        steps.fft_filter(spectra.assign_coords(Time=("Time", TIME**2)), along="Time", high=1)


def test_the_dimension_must_be_named_where_there_are_several() -> None:
    cube = make_main().expand_dims(Bias=[0.0, 1.0])
    with pytest.raises(PlanError, match="2 spectroscopic dimensions"):
        steps.fft_filter(cube, high=1e-5)


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_only_what_stands_out_of_noise_is_left(dtype: str) -> None:
    spectra, parts = sines()
    clean = sum(parts.values()) * (1 + 1j if dtype == "complex128" else 1)
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(2, 400)) * 0.3
    noisy = spectra.astype(dtype).copy(data=clean + noise + 5)
    found = steps.fft_filter(noisy, noise=1e-4).values
    assert np.sqrt((abs(found - clean - 5) ** 2).mean()) < 0.2 * 0.3
    white = spectra.copy(data=rng.normal(size=(2, 400)))
    transform = np.fft.rfft(steps.fft_filter(white, noise=0.1).values)[:, 1:-1]
    assert 0.05 < (abs(transform) > 1e-9).mean() < 0.17
    both = steps.fft_filter(noisy, noise=1e-4, notch=20, width=1).values
    assert abs(np.fft.fft(both)[0, 40]) < 1e-9 < abs(np.fft.fft(both)[0, 4])
    with pytest.raises(PlanError, match="noise=2 must be a part"):
        steps.fft_filter(noisy, noise=2)
