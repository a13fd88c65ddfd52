"""Synthetic oscillators come back with the parameters they were made of."""

from __future__ import annotations

import dataclasses
import pathlib

import h5py
import numpy as np
import pytest
import xarray as xr

import usidx
from usidx import steps
from usidx.errors import PlanError
from usidx.steps.sho import FIELDS, sho_response
from usidx.testing import make_main

STORED = ("Amplitude [V]", "Frequency [Hz]", "Quality Factor", "Phase [rad]", "R2 Criterion")


def band(
    shape: tuple[int, ...], noise: float, seed: int = 0
) -> tuple[xr.DataArray, dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    truth = {
        "Amplitude": rng.uniform(1e-4, 5e-4, shape),
        "Frequency": rng.uniform(320e3, 340e3, shape),
        "Quality Factor": rng.uniform(80, 300, shape),
        "Phase": rng.uniform(-3, 3, shape),
    }
    frequency = np.linspace(300e3, 360e3, 160)
    values = sho_response(frequency, *truth.values())
    scale = np.abs(values).max(-1, keepdims=True)
    values = values + noise * scale * (
        rng.normal(size=values.shape) + 1j * rng.normal(size=values.shape)
    )
    spectra = xr.DataArray(
        values,
        dims=("Y", "X", "Frequency"),
        coords={"Frequency": ("Frequency", frequency, {"units": "Hz"})},
        attrs={"units": "V"},
    )
    return spectra, truth


def test_clean_spectra_give_their_parameters() -> None:
    spectra, truth = band((4, 5), noise=0)
    guess = steps.sho_guess(spectra, along="Frequency")
    for name, expected in truth.items():
        np.testing.assert_allclose(guess[name], expected, rtol=1e-6)
    np.testing.assert_allclose(guess["R2 Criterion"], 1)
    assert guess["Amplitude"].attrs["units"] == "V"
    assert guess["Frequency"].attrs["units"] == "Hz"


def test_the_response_peaks_at_amplitude_times_quality_factor() -> None:
    # independent of the fit: at f = f0 the denominator is -i f0**2 / Q
    at_resonance = sho_response(330e3, 2.0, 330e3, 150.0, 0.3)
    np.testing.assert_allclose(at_resonance, [2.0 * 150 * 1j * np.exp(0.3j)])


def test_noise_moves_the_guess_little_and_without_bias() -> None:
    spectra, truth = band((30, 30), noise=0.05)
    guess = steps.sho_guess(spectra, along="Frequency")
    frequency = (guess["Frequency"].values - truth["Frequency"]) / truth["Frequency"]
    quality = guess["Quality Factor"].values / truth["Quality Factor"]
    amplitude = guess["Amplitude"].values / truth["Amplitude"]
    phase = np.angle(np.exp(1j * (guess["Phase"].values - truth["Phase"])))
    assert np.abs(frequency).max() < 5e-4
    assert np.median(quality) == pytest.approx(1, abs=0.03)
    assert np.median(amplitude) == pytest.approx(1, abs=0.03)
    assert np.abs(phase).max() < 0.2
    assert float(guess["R2 Criterion"].min()) > 0.8


def test_weights_of_later_iterations_reduce_the_bias_of_the_first() -> None:
    spectra, truth = band((30, 30), noise=0.1)
    error = {
        n: abs(
            np.median(steps.sho_guess(spectra, along="Frequency", iterations=n)["Quality Factor"])
            / np.median(truth["Quality Factor"])
            - 1
        )
        for n in (0, 3)
    }
    assert error[3] < error[0] / 3


def test_lazy_equals_at_once_and_keeps_single_precision() -> None:
    spectra, _ = band((4, 6), noise=0.02)
    single = spectra.astype("complex64")
    lazy = steps.sho_guess(single.chunk(Y=1, Frequency=40), along="Frequency")
    assert lazy["Phase"].chunks is not None
    assert lazy["Phase"].dtype == np.float32
    xr.testing.assert_allclose(lazy.compute(), steps.sho_guess(single, along="Frequency"))


def test_spectra_without_a_resonance_do_no_harm() -> None:
    spectra, truth = band((1, 4), noise=0)
    spectra[0, 1] = 0
    spectra[0, 2, 7] = np.nan
    spectra[0, 3] = 1 + 1j
    guess = steps.sho_guess(spectra, along="Frequency")
    for each in guess.values():
        assert np.isnan(each.values[0, 1:]).all()
    fit = steps.sho_fit(spectra, along="Frequency")
    assert np.isnan(fit["Frequency"].values[0]).tolist() == [False, True, False, True]
    why = steps.curve_fit(spectra, "sho", along="Frequency")["status"]
    # converged, singular, converged without the value that is missing, singular
    assert why.values[0].tolist() == [0, 3, 0, 3]
    np.testing.assert_allclose(guess["Frequency"].values[0, 0], truth["Frequency"][0, 0])


def test_a_run_stores_the_guess_as_bglib_does_and_fits_begin_there(tmp_path: pathlib.Path) -> None:
    main = make_main((3, 4, 48), dtype="complex64")
    stored = usidx.open(usidx.to_h5usid(main, tmp_path / "band.h5"), "Raw_Data")
    group = stored.usid.process(steps.sho_guess).run().path
    assert group == "/Measurement_000/Channel_000/Raw_Data-SHO_Fit_000"
    with h5py.File(tmp_path / "band.h5") as file:
        dtype = [(name, "<f4") for name in STORED]
        assert file[f"{group}/Guess"].dtype == np.dtype(dtype)
        assert file[f"{group}/Guess"].attrs["quantity"] == "SHO"
        assert file[f"{group}/Guess"].attrs["units"] == "compound"
    guess = usidx.open(tmp_path / "band.h5", f"{group}/Guess")
    for name, field in zip(STORED, FIELDS, strict=True):
        np.testing.assert_allclose(guess[name], steps.sho_guess(main)[field], rtol=1e-4)
    fit = stored.usid.process(steps.sho_fit, guess=guess).run()
    assert {each.main.rsplit("/", 1)[1] for each in fit.sources} == {"Raw_Data", "Guess"}
    tree = fit.open()
    xr.testing.assert_equal(tree["Guess"].to_dataset().drop_attrs(), guess.drop_attrs())
    fitted = steps.sho_fit(main)
    np.testing.assert_allclose(tree["Fit/Frequency [Hz]"], fitted["Frequency"], rtol=1e-4)


@pytest.mark.parametrize("ending", ["h5", "zarr"])
def test_guess_and_fit_are_told_apart_in_groups_of_one_name(
    tmp_path: pathlib.Path, ending: str
) -> None:
    main, path = make_main((3, 4, 48), dtype="complex64"), tmp_path / f"band.{ending}"
    (usidx.to_zarr if ending == "zarr" else usidx.to_h5usid)(main, path)
    stored = usidx.open(path, "Raw_Data")
    guess, fit = (stored.usid.process(each).run() for each in (steps.sho_guess, steps.sho_fit))
    assert [each.name for each in (guess, fit)] == ["Raw_Data-SHO_Fit_000", "Raw_Data-SHO_Fit_001"]
    assert [each.tool for each in (guess, fit)] == ["SHO_Guess", "SHO_Fit"]
    assert [each.path for each in stored.usid.results("SHO_Guess")] == [guess.path]
    for each in (steps.sho_guess, steps.sho_fit):
        assert stored.usid.process(each).run() in (guess, fit)
    assert guess.resume() == guess  # by the name of the step, not of the group
    assert "step: SHO_Guess" in usidx.open(path, f"{guess.path}/Guess").usid.history.to_recipe()
    assert not usidx.validate(path).violations


def test_a_guess_in_a_group_of_its_own_name_is_found(tmp_path: pathlib.Path) -> None:
    path = usidx.to_h5usid(make_main((3, 4, 48), dtype="complex64"), tmp_path / "band.h5")
    process = usidx.open(path).usid.process
    before = process(dataclasses.replace(steps.sho_guess, group="")).run()
    assert before.name == "Raw_Data-SHO_Guess_000"
    assert process(steps.sho_guess).run() == before


def test_what_is_no_oscillator_is_refused() -> None:
    spectra, _ = band((1, 2), noise=0)
    with pytest.raises(PlanError, match="response is complex, but these values are float64"):
        steps.sho_guess(abs(spectra), along="Frequency")
    with pytest.raises(PlanError, match="at least 4 frequencies"):
        steps.sho_guess(spectra.isel(Frequency=slice(3)), along="Frequency")
    with pytest.raises(PlanError, match="at least 4 frequencies"):
        steps.sho_guess(spectra.drop_vars("Frequency"), along="Frequency")
