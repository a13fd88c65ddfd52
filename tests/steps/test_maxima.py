"""Peaks that were put in come out, and widths are those of SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy import signal

import usidx
from usidx import steps
from usidx.errors import PlanError
from usidx.testing import make_main


def gaussians(centers: list[float], heights: list[float], sigma: float = 3e3) -> xr.DataArray:
    main = make_main((3, 4, 91), dtype="float64")
    f = main.Frequency.values
    lines = sum(h * np.exp(-((f - c) ** 2) / 2 / sigma**2) for c, h in zip(centers, heights))
    return main.copy(data=np.broadcast_to(lines, main.shape).copy())


def test_peaks_that_were_put_in_come_out() -> None:
    spectra = gaussians([310.2e3, 330.1e3], [2.0, 1.0])
    for each in (spectra, spectra[..., ::-1], spectra.chunk(Y=1, Frequency=13)):
        found = steps.peaks(each, most=3)
        np.testing.assert_allclose(found["Position"][2, 1, :2], [310.2e3, 330.1e3], atol=20)
        np.testing.assert_allclose(found["Height"][2, 1, :2], [2, 1], rtol=0.01)
        fwhm = 2 * np.sqrt(2 * np.log(2)) * 3e3
        np.testing.assert_allclose(found["Width"][2, 1, :2], fwhm, rtol=0.02)
        assert np.isnan(found["Position"][..., 2]).all()
    assert found["Width"].attrs["units"] == "Hz"
    assert found["Prominence"].attrs["units"] == "V"


def test_the_most_prominent_is_kept() -> None:
    spectra = gaussians([310e3, 330e3], [1.0, 2.0])
    found = steps.peaks(spectra)
    assert found["Position"].dims == ("Y", "X")
    np.testing.assert_allclose(found["Position"], 330e3, atol=20)
    none = steps.peaks(spectra, height=5)
    assert np.isnan(none["Height"]).all()


def test_figures_are_those_of_scipy() -> None:
    main = make_main((4, 5, 64), dtype="float64")
    found = steps.peaks(main, most=30, prominence=0.005, distance=2e3)
    step = float(main.Frequency[1] - main.Frequency[0])
    for y, x in np.ndindex(4, 5):
        tops, told = signal.find_peaks(main.values[y, x], prominence=0.005, distance=2e3 / step)
        widths = signal.peak_widths(main.values[y, x], tops)[0] * step
        here = found.isel(Y=y, X=x, Peak=slice(tops.size))
        np.testing.assert_allclose(here["Height"], main.values[y, x, tops])
        np.testing.assert_allclose(here["Prominence"], told["prominences"])
        np.testing.assert_allclose(here["Width"], widths)
        np.testing.assert_allclose(here["Position"], main.Frequency.values[tops], atol=step / 2)
        assert np.isnan(found["Height"][y, x, tops.size :]).all()


@pytest.mark.parametrize("most", [1, 3])
def test_a_run_has_a_compound_result(tmp_path, most: int) -> None:
    main = make_main((4, 5, 64))
    main[0, 0, 5] = np.nan
    path = str(tmp_path / "scan.h5")
    main.usid.to_h5usid(path)
    found = usidx.open(path).usid.process(steps.peaks, most=most).run().open()
    expected = steps.peaks(main, most=most)
    assert list(found) == ["Position", "Height", "Width", "Prominence"]
    for name in found:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-6)
    assert np.isnan(found["Position"][0, 0]).all()


def test_magnitudes_of_complex_spectra() -> None:
    main = make_main((2, 2, 64), dtype="complex128")
    np.testing.assert_array_equal(steps.peaks(main)["Height"], steps.peaks(abs(main))["Height"])


def test_what_does_not_fit_is_said() -> None:
    main = make_main()
    with pytest.raises(PlanError, match="most=0 must be 1 or more"):
        steps.peaks(main, most=0)
    with pytest.raises(PlanError, match="3 values or more"):
        steps.peaks(main[..., :2])
