"""Results that pyUSID made or began are known again, and gone on with."""

from __future__ import annotations

import pathlib
import shutil
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr

import usidx
from usidx.errors import PlanError, StepError
from usidx.process.process import Process
from usidx.process.results.adopt import same_parameters
from usidx.process.results.result import ResultGroup

CHANNEL = "/Measurement_000/Channel_000"
VECTOR = (1, 2, 3)


@usidx.step("Mean_Gain", version="7")
def mean_gain(
    spectra: xr.DataArray, *, gain: float = 2.0, mode: str = "mean", vec: Any = VECTOR
) -> xr.DataArray:
    """What the Process that made the samples computes."""
    return gain * spectra.mean(["Bias", "Frequency"])


@usidx.step("SHO_Fit", version="1")
def sho_fit(spectra: xr.DataArray, *, SHO_guess_method: str) -> xr.Dataset:
    """Five fields, for each bias."""
    assert SHO_guess_method == "complex_gaussian"
    names = ("Amplitude [V]", "Frequency [Hz]", "Quality Factor", "Phase [rad]", "R2 Criterion")
    size = abs(spectra).max("Frequency").astype("f4")
    return xr.Dataset({name: size * (number + 1) for number, name in enumerate(names)})


@pytest.fixture
def copied(tmp_path: pathlib.Path, samples: pathlib.Path) -> Any:
    """A function that gives the path of a copy of a sample."""

    def copy(name: str, as_name: str | None = None) -> str:
        target = tmp_path / (as_name or name)
        shutil.copyfile(samples / "h5usid" / "pyusid" / name, target)
        return str(target)

    return copy


def truth(path: str, gain: float) -> Any:
    main = usidx.open(path, "Channel_000/Raw_Data")
    return gain * main.mean(["Bias", "Frequency"])


def group(path: str, number: int) -> ResultGroup:
    return ResultGroup(path, f"{CHANNEL}/Raw_Data-Mean_Gain_{number:03d}")


def process(path: str, **parameters: Any) -> Process:
    made: Process = usidx.open(path, "Channel_000/Raw_Data").usid.process(mean_gain, **parameters)
    return made


class TestKnown:
    @pytest.mark.parametrize(("gain", "number"), [(2, 0), (5.0, 3)])
    def test_what_is_complete_is_what_there_is(self, copied: Any, gain: float, number: int) -> None:
        path = copied("20_process_results.h5")
        before = pathlib.Path(path).read_bytes()
        result = process(path, gain=gain, vec=np.array(VECTOR, "f8")).run(progress=False)
        assert result == group(path, number)
        np.testing.assert_allclose(result.open().squeeze(), truth(path, gain), rtol=1e-5)
        assert pathlib.Path(path).read_bytes() == before

    @pytest.mark.parametrize("parameters", [{"gain": 2.0000001}, {"vec": (1, 2)}, {"mode": "Mean"}])
    def test_other_parameters_are_another_result(self, copied: Any, parameters: Any) -> None:
        assert process(copied("20_process_results.h5"), **parameters).existing() == ()

    def test_another_tool_with_the_same_parameters_is_another(self, copied: Any) -> None:
        path = copied("20_process_results.h5")
        tool = usidx.step("Gain", mean_gain.function, version="1")
        assert usidx.open(path, "Channel_000/Raw_Data").usid.process(tool).existing() == ()

    def test_a_result_of_another_shape_is_another(self, copied: Any) -> None:
        def per_bias(
            spectra: xr.DataArray, *, gain: float = 2.0, mode: str = "mean", vec: Any = VECTOR
        ) -> xr.DataArray:
            return spectra.mean("Frequency")

        path = copied("20_process_results.h5")
        tool = usidx.step("Mean_Gain", per_bias, version="1")
        made = usidx.open(path, "Channel_000/Raw_Data").usid.process(tool)
        assert made.existing() == ()
        with pytest.raises(PlanError, match=r"has the Mains Mean, .* it makes Mean_Gain \(3, 5, 4"):
            group(path, 1).resume(usidx.step("Mean_Gain", per_bias, version="1"))

    def test_fresh_makes_a_new_one(self, copied: Any) -> None:
        path = copied("20_process_results.h5")
        assert process(path).run(fresh=True, progress=False) == group(path, 4)
        # and from then on that is the one, for it says more of itself
        assert process(path).existing() == (group(path, 4), group(path, 0))

    def test_in_another_file(self, copied: Any) -> None:
        source = copied("02_4d_slow_to_fast.h5")
        into = copied("21_results_in_other_file.h5")
        assert process(source).existing(into=into) == (
            ResultGroup(into, "/Raw_Data-Mean_Gain_000"),
        )
        assert process(source).existing() == ()
        other = copied("02_4d_slow_to_fast.h5", "other.h5")
        assert process(other).existing(into=into) == ()


class TestGoneOnWith:
    @pytest.mark.parametrize(
        ("name", "gain", "number", "done"),
        [
            ("20_process_results.h5", 3, 1, 8),
            ("20_process_results.h5", 4, 2, 6),  # by last_pixel alone
            ("20b_process_results_touched_by_check.h5", 3, 1, 8),  # whose last_pixel is wrong
            ("20b_process_results_touched_by_check.h5", 4, 2, 6),
        ],
    )
    @pytest.mark.parametrize("how", ["run", "resume"])
    def test_the_rest_is_computed(
        self, copied: Any, name: str, gain: float, number: int, done: int, how: str
    ) -> None:
        path = copied(name)
        begun = group(path, number)
        assert (begun.status, begun.done, begun.total) == ("partial", done, 15)
        with h5py.File(path, "r+") as file:  # so that it shows what was computed again
            file[f"{begun.path}/Mean"][:done] = -1.0
        if how == "run":
            result = process(path, gain=gain).run(progress=False)
        else:
            result = begun.resume(mean_gain, progress=False)
        assert result == begun
        assert (result.status, result.done) == ("complete", 15)
        with h5py.File(path, "r") as file:
            rows = file[f"{begun.path}/Mean"][()]
            marks = file[f"{begun.path}/completed_positions"]
            assert marks.dtype == np.uint8
            assert marks[()].all()
            assert file[begun.path].attrs["last_pixel"] == 15
            raw = file[f"{CHANNEL}/Raw_Data"][()]
        np.testing.assert_array_equal(rows[:done], -1.0)
        np.testing.assert_allclose(rows[done:, 0], gain * raw[done:].mean(1), rtol=1e-5)
        assert process(path, gain=gain).existing() == (begun,)

    def test_one_of_two_mains_is_complete_already(self, copied: Any) -> None:
        path = copied("29_bglib_fitter_status_names.h5")
        begun = ResultGroup(path, f"{CHANNEL}/Raw_Data-SHO_Fit_000")
        assert (begun.done, begun.total) == (23, 30)
        with h5py.File(path, "r") as file:
            guess, fit = (file[begun.path][name][()] for name in ("Guess", "Fit"))
        main = usidx.open(path, "Channel_000/Raw_Data")
        made = main.usid.process(sho_fit, SHO_guess_method="complex_gaussian")
        assert made.run(progress=False) == begun
        assert begun.status == "complete"
        size = abs(main).max("Frequency").values.reshape(15, -1)
        with h5py.File(path, "r") as file:
            np.testing.assert_array_equal(file[begun.path]["Guess"][()], guess)
            now = file[begun.path]["Fit"][()]
            assert file[begun.path]["completed_fit_positions"][()].all()
        np.testing.assert_array_equal(now[:8], fit[:8])
        for number, field in enumerate(now.dtype.names):
            np.testing.assert_allclose(now[field][8:], size[8:] * (number + 1), rtol=1e-6)

    def test_a_group_that_says_nothing_is_left_alone(self, copied: Any) -> None:
        path = copied("23_guess_fit_create_empty_dataset.h5")
        begun = ResultGroup(path, f"{CHANNEL}/Raw_Data-SHO_Fit_000")
        assert begun.status == "unknown"
        step = usidx.step(
            "SHO_Fit",
            lambda spectra: sho_fit.function(spectra, SHO_guess_method="complex_gaussian"),
            version="1",
        )
        assert usidx.open(path, "Channel_000/Raw_Data").usid.process(step).existing() == ()
        before = pathlib.Path(path).read_bytes()
        with pytest.raises(PlanError):
            begun.resume(step)
        assert pathlib.Path(path).read_bytes() == before

    def test_a_step_that_raises_leaves_whole_blocks(self, copied: Any) -> None:
        path = copied("20_process_results.h5")
        calls = []

        def kernel(block: Any) -> Any:
            if block.size and len(calls) == 1:
                raise ZeroDivisionError
            calls.extend([1] * bool(block.size))
            return block.mean((-2, -1))

        def broken(
            spectra: xr.DataArray, *, gain: float = 2.0, mode: str = "mean", vec: Any = VECTOR
        ) -> xr.DataArray:
            means = xr.apply_ufunc(
                kernel,
                spectra,
                input_core_dims=[["Bias", "Frequency"]],
                dask="parallelized",
                output_dtypes=["f4"],
            )
            return gain * means

        main = usidx.open(path, "Channel_000/Raw_Data")
        made = main.usid.process(usidx.step("Mean_Gain", broken, version="1"), gain=3)
        with pytest.raises(StepError, match="ZeroDivisionError"):
            made.run(memory="2 kB", workers=1, progress=False)
        assert 8 < group(path, 1).done < 15
        result = process(path, gain=3).run(progress=False)
        np.testing.assert_allclose(result.open().squeeze(), truth(path, 3), rtol=1e-5)

    def test_without_a_step_or_with_another(self, copied: Any) -> None:
        begun = group(copied("20_process_results.h5"), 1)
        with pytest.raises(
            PlanError, match=r"resume\(step=...\) takes one that is named 'Mean_Gain'"
        ):
            begun.resume()
        with pytest.raises(PlanError, match="Mean_Gain"):
            begun.resume(sho_fit)
        lesser = usidx.step("Mean_Gain", lambda spectra, *, gain: spectra * gain, version="1")
        with pytest.raises(PlanError, match="no parameter 'mode'"):
            begun.resume(lesser)
        more = usidx.step(
            "Mean_Gain",
            lambda spectra, *, gain, mode, vec, extra=1: spectra * gain,
            version="1",
        )
        with pytest.raises(PlanError, match="extra=1"):
            begun.resume(more)


@pytest.mark.parametrize(
    ("ours", "theirs", "same"),
    [
        ({}, {}, True),
        ({"a": None}, {}, True),
        ({"a": 1}, {}, False),
        ({}, {"a": 1}, False),
        ({"a": [1, 2]}, {"a": np.array([1.0, 2.0])}, True),
        ({"a": [1, 2]}, {"a": np.array([1.0, 2.0 + 1e-9])}, False),
        ({"a": float("nan")}, {"a": np.float64("nan")}, True),
        ({"a": True}, {"a": np.bool_(True)}, True),
        ({"a": True}, {"a": 1}, False),
        ({"a": ["x", "y"]}, {"a": ["x", "y"]}, True),
        ({"a": "1"}, {"a": 1}, False),
        ({"a": 1}, {"a": 1, "b": object()}, False),
    ],
)
def test_the_same_parameters(ours: Any, theirs: Any, same: bool) -> None:
    assert same_parameters(ours, theirs) is same


def test_failures_of_what_was_begun_elsewhere(copied: Any) -> None:
    path = copied("20_process_results.h5")
    partial = group(path, 1)
    source = usidx.open(path, "Channel_000/Raw_Data")
    raw = source.values
    expected = 3.0 * raw.mean((2, 3))
    dark = raw[2, 4, 0, 0]
    assert np.isnan(partial.open().values.squeeze()[2, 4])

    def kernel(block: np.ndarray) -> np.ndarray:
        if np.any(block[:, :, 0, 0] == dark):
            raise ValueError("no light")
        return block.mean((2, 3))

    def failing(
        spectra: xr.DataArray, *, gain: float = 2.0, mode: str = "mean", vec: Any = VECTOR
    ) -> xr.DataArray:
        return gain * spectra.usid.map(kernel, spectra.usid.spectroscopic_dims, dtype=raw.dtype)

    tool = usidx.step("Mean_Gain", failing, version="1", per_position=True)
    with h5py.File(path, "r+") as file:  # where a block has no place of its own to be written to
        inside = file[partial.path]
        marks = inside["completed_positions"][()]
        del inside["completed_positions"]
        inside.create_dataset("completed_positions", data=marks, chunks=(4,))
    result = source.usid.process(tool, gain=3.0).run(on_error="mark", progress=False)
    assert result == partial
    assert [each.where for each in result.failed] == [{"Y": 2, "X": 4}]
    expected[2, 4] = np.nan
    np.testing.assert_allclose(result.open().values.squeeze(), expected, rtol=1e-5)
    dark = np.nan
    again = result.resume(tool, retry_failed=True)
    expected[2, 4] = 3.0 * raw[2, 4].mean()
    np.testing.assert_allclose(again.open().values.squeeze(), expected, rtol=1e-5)
    assert (again.status, again.record.failed) == ("complete", 0)
