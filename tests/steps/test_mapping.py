"""Functions over spectra, maps and frames, by name and by hand, against NumPy alone."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy.stats import skew

import usidx
from usidx import steps
from usidx.errors import OptionError, PlanError
from usidx.steps.mapping import NAMED, numpy_function
from usidx.testing import make_main


def contrast(spectra: np.ndarray, scale: float = 1.0) -> np.ndarray:
    half = spectra.shape[-1] // 2
    return scale * (spectra[..., :half] - spectra[..., half:])


@pytest.mark.parametrize(
    ("name", "options", "over", "output"),
    [
        ("median", {}, "Frequency", None),
        ("numpy.ptp", {}, ["Y", "X"], None),
        ("percentile", {"q": 30}, ["X", "Frequency"], None),
        ("log10", {}, "Frequency", "Frequency"),
        ("cumsum", {}, "X", ["X"]),
        ("diff", {"n": 2}, "Frequency", {"Frequency": 22}),
        ("fft.rfft", {}, "Frequency", {"Order": 13}),
    ],
)
def test_functions_of_numpy_by_name(name, options, over, output) -> None:
    main = abs(make_main((6, 7, 24), dtype="float64")) + 0.1
    function, axes = numpy_function(name), [over] if isinstance(over, str) else over
    found = steps.map(
        main.chunk(Y=2, X=3), function=name, over=over, output=output, options=options
    )
    last = main.transpose(..., *axes).values
    along = {} if name == "log10" else {"axis": tuple(range(-len(axes), 0))}
    if along and len(axes) == 1:
        along = {"axis": -1}
    np.testing.assert_allclose(found, function(last, **along, **options), rtol=1e-12)
    assert found.chunks is not None
    assert (found.quantity, found.units) == (function.__name__, "")


def test_a_function_of_ones_own_is_found_again_and_another_is_not(tmp_path) -> None:
    main = make_main((6, 7, 24), dtype="float64")
    path = usidx.to_h5usid(main, tmp_path / "scan.h5")
    process = usidx.open(path).usid.process
    given = {"function": contrast, "output": {"Half": 12}, "quantity": "Contrast", "units": "V"}
    result = process(steps.map, **given).run(memory="100 kB")
    found = result.open()
    assert (found.quantity, found.units) == ("Contrast", "V")
    np.testing.assert_array_equal(found.values, contrast(main.values))
    assert process(steps.map, **given).run() == result
    twice = process(steps.map, **given, options={"scale": 2.0}).run()
    assert twice != result
    np.testing.assert_array_equal(twice.open().values, 2 * contrast(main.values))
    with pytest.raises(PlanError, match="which no store keeps"):
        process(steps.map, **result.record.parameters)


def test_functions_of_one_frame_and_scattered_positions(any_frames: xr.DataArray, frames) -> None:
    def spread(frame: np.ndarray) -> float:
        return float(skew(frame.ravel()))

    found = steps.map(any_frames, function=spread, vectorized=False, dtype="float64")
    expected = skew(frames.values.reshape(-1, 192).astype(float), axis=1)
    np.testing.assert_allclose(found.values.ravel(), expected, rtol=1e-9)


def test_names_that_do_more_than_compute_are_refused() -> None:
    main = make_main()
    for name in ("load", "save", "fromfile", "savetxt", "lib.npyio.load", "os", "add", "__class__"):
        with pytest.raises(OptionError, match="none of NumPy's that may be named"):
            steps.map(main, function=name)
    with pytest.raises(OptionError, match="did you mean 'median'"):
        steps.map(main, function="medain")
    with pytest.raises(PlanError, match="no dimension 'Bias'"):
        steps.map(main, function="median", over="Bias")
    with pytest.raises(PlanError, match="made .* of a block"):
        steps.map(main, function="sort")


def test_every_name_is_a_function_of_numpy() -> None:
    assert all(callable(numpy_function(name)) for name in NAMED)
