"""Reductions against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from usidx import steps
from usidx.errors import OptionError, PlanError
from usidx.testing import make_main


def test_peak_response_is_the_largest_magnitude() -> None:
    main = make_main(dtype="complex64")
    found = steps.peak_response(main)
    np.testing.assert_allclose(found, np.abs(main.values).max(-1))
    assert found.dims == ("Y", "X")
    assert found.attrs["units"] == "V"


def test_mean_is_over_spectra_unless_told_otherwise() -> None:
    main = make_main(chunks={"Y": 1})
    np.testing.assert_allclose(steps.mean(main), main.values.mean(-1), rtol=1e-6)
    np.testing.assert_allclose(
        steps.mean(main, over=["Y", "X"]), main.values.mean((0, 1)), rtol=1e-6
    )
    np.testing.assert_allclose(steps.mean(main, over="X"), main.values.mean(1), rtol=1e-6)


def test_statistics_are_those_of_numpy() -> None:
    main = make_main(chunks={"Y": 2})
    found = steps.statistics(main)
    for name, function in {
        "Mean": np.mean,
        "Standard Deviation": np.std,
        "Minimum": np.min,
        "Maximum": np.max,
    }.items():
        np.testing.assert_allclose(found[name], function(main.values, axis=-1), rtol=1e-4)
        assert found[name].attrs["units"] == "V"
    assert len({each.dtype for each in found.values()}) == 1


# of nothing but NaN, NumPy and dask say so
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("over", [["Frequency"], ["Y", "X"], ["X", "Frequency"]])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", ">f8"])
def test_statistics_leave_out_what_is_missing(over: list[str], dtype: str) -> None:
    main = 1e3 * make_main((6, 7, 16), dtype="float64")
    if np.dtype(dtype).kind == "f":
        main[1, 2, 3], main[4], main[:, 1, 4] = np.nan, np.nan, np.nan
    main = main.astype(dtype)
    axes = tuple(main.get_axis_num(dim) for dim in over)
    exact = main.values.astype(float)
    functions = (np.nanmean, np.nanstd, np.nanmin, np.nanmax)
    expected = [function(exact, axis=axes) for function in functions]
    for each in (main, main.chunk(Y=2), main.chunk(Y=2, X=3, Frequency=5)):
        found = steps.statistics(each, over=over).compute()
        for name, values in zip(found, expected, strict=True):
            np.testing.assert_allclose(found[name], values, rtol=1e-5, atol=1e-3)


def test_statistics_of_ints_are_floats() -> None:
    found = steps.statistics(make_main(dtype="int16"))
    assert {each.dtype.kind for each in found.values()} == {"f"}


def test_complex_values_have_no_minimum() -> None:
    with pytest.raises(PlanError, match=r"take statistics of abs\(data\)"):
        steps.statistics(make_main(dtype="complex64"))


def test_an_unknown_dimension_is_named() -> None:
    with pytest.raises(PlanError, match="no dimension 'Freq'.*, 'Z'"):
        steps.mean(make_main(), over=["Freq", "Z"])
    with pytest.raises(PlanError, match="no spectroscopic dimension left"):
        steps.mean(steps.mean(make_main()))


def test_a_lazy_mean_leaves_out_nan_as_in_memory() -> None:
    values = np.random.default_rng(0).random((5, 4, 6), np.float32)
    values[0, 0, 2] = values[1] = np.nan
    values[2, 0, 1] = np.inf
    data = xr.DataArray(values, dims=("X", "A", "B"))
    expected = np.full(5, np.nan, np.float64)
    for row, each in enumerate(values):
        there = each[~np.isnan(each)]
        expected[row] = there.astype(float).mean() if there.size else np.nan
    found = steps.mean(data.chunk({"X": 2}), over=["A", "B"])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.values, expected, rtol=1e-6)


@pytest.mark.parametrize("how", ["mean", "sum", "std", "var", "min", "max", "median"])
def test_reductions_by_name_are_those_of_numpy(any_frames: xr.DataArray, how: str) -> None:
    for over in (["ky", "kx"], list(any_frames.dims[:-2]), None):
        found = steps.reduce(any_frames, how=how, over=over)
        axes = tuple(any_frames.get_axis_num(dim) for dim in over or ["ky", "kx"])
        expected = getattr(np, how)(any_frames.values.astype(float), axis=axes)
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        assert found.attrs["units"] == ("(counts)^2" if how == "var" else "counts")
    if how in ("sum", "std"):
        step = {"sum": steps.sum, "std": steps.stddev}[how]
        xr.testing.assert_identical(step(any_frames), steps.reduce(any_frames, how=how))


def test_reductions_that_are_none() -> None:
    with pytest.raises(OptionError, match=r"how='meann' is none of .*did you mean 'mean'"):
        steps.reduce(make_main(), how="meann")
    with pytest.raises(PlanError, match="complex values have no median"):
        steps.reduce(make_main(dtype="complex64"), how="median")


@pytest.mark.parametrize("chunks", [None, {"Y": 2}, {"Y": 2, "Frequency": 5}])
@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_what_was_not_measured_sums_up_to_nothing_known(chunks, dtype: str) -> None:
    main = make_main(dtype=dtype)
    main[1, 2], main[0, 0, 3] = np.nan, np.nan
    main = main if chunks is None else main.chunk(chunks)
    expected = np.nansum(main.values, -1)
    expected[1, 2] = np.nan
    for found in (steps.sum(main), steps.reduce(main, how="sum")):
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_the_lowest_of_ints_has_a_magnitude() -> None:
    main = make_main(dtype="int16")
    main[1, 1, 1] = -32768
    found = steps.peak_response(main)
    np.testing.assert_array_equal(found, abs(main.values.astype(int)).max(-1))


def test_sums_of_16_bits_reach_further() -> None:
    main = make_main(dtype="float16") + np.float16(6000)
    np.testing.assert_allclose(steps.sum(main), main.values.astype(float).sum(-1), rtol=1e-3)
