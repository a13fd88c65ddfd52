"""A step bound to a source: previewed, estimated, run, found again, resumed."""

from __future__ import annotations

import pathlib
import threading

import numpy as np
import pytest
import xarray as xr

import usidx
from usidx import steps
from usidx.errors import (
    LayoutError,
    OptionError,
    PlanError,
    StepError,
    StoreLockedError,
)
from usidx.process import BlockDone
from usidx.process.process import Process as SameProcess
from usidx.process.running.estimate import AROUND_ZARR
from usidx.step import step

# Source and result of one row of the map are some 5 kB: blocks of 2 rows for one worker.
SMALL = {"memory": "33 kB", "workers": 1}


@step("Shifted", version="1", per_position=True)
def shifted(spectra: xr.DataArray, *, by: float = 1.0) -> xr.DataArray:
    """Spectra moved up."""
    return (spectra + np.float32(by)).assign_attrs(spectra.attrs)


def counting(counts: list[int], fail_after: int | None = None, name: str = "Counted"):
    """A step that counts its blocks, and raises after some of them."""
    lock = threading.Lock()

    def kernel(block: np.ndarray) -> np.ndarray:
        if block.size == 0:
            return block
        with lock:
            if fail_after is not None and len(counts) >= fail_after:
                raise ValueError("the laser is off")
            counts.append(block.size)
        return 2 * block

    @step(name, version="1")
    def counted(spectra: xr.DataArray) -> xr.DataArray:
        return xr.apply_ufunc(
            kernel, spectra, dask="parallelized", output_dtypes=[spectra.dtype]
        ).assign_attrs(spectra.attrs)

    return counted


def test_a_run_gives_what_the_step_gives(source: xr.DataArray, truth: xr.DataArray) -> None:
    process = source.usid.process(shifted, by=3)
    assert isinstance(process, SameProcess)
    result = process.run(**SMALL)
    assert result.name == "Raw_Data-Shifted_000"
    assert result.path == "/Measurement_000/Channel_000/Raw_Data-Shifted_000"
    assert (result.status, result.done, result.total) == ("complete", 320, 320)
    assert (result.tool, result.version, dict(result.parameters)) == ("Shifted", "1", {"by": 3})
    assert result.source is not None
    assert result.source.main == "/Measurement_000/Channel_000/Raw_Data"
    opened = result.open()
    np.testing.assert_array_equal(opened, truth + np.float32(3))
    assert opened.dims == truth.dims
    assert opened.name == "Shifted"
    assert (opened.attrs["quantity"], opened.attrs["units"]) == (
        truth.attrs["quantity"],
        truth.attrs["units"],
    )
    for dim in truth.dims:
        np.testing.assert_allclose(opened[dim], truth[dim])
        assert opened[dim].attrs["units"] == truth[dim].attrs["units"]


def test_the_same_again_is_what_is_there(path: str) -> None:
    counts: list[int] = []
    counted = counting(counts)
    first = usidx.open(path).usid.process(counted).run()
    assert len(counts) == 1
    again = usidx.open(path).usid.process(counted)
    assert again.existing() == (first,)
    assert again.run() == first
    assert len(counts) == 1
    fresh = again.run(fresh=True)
    assert fresh.name == "Raw_Data-Counted_001"
    assert len(counts) == 2


def test_other_parameters_versions_and_names_are_other_results(source: xr.DataArray) -> None:
    first = source.usid.process(shifted, by=1).run()
    assert source.usid.process(shifted).run() == first  # the default, said or not
    assert source.usid.process(shifted, by=1.0).run() == first
    assert source.usid.process(shifted, by=2).run() != first
    newer = step("Shifted", shifted.function, version="2")
    assert source.usid.process(newer, by=1).run() != first
    assert {each.name for each in source.usid.results("Shifted")} == {
        f"Raw_Data-Shifted_00{n}" for n in range(3)
    }


def test_an_edit_without_another_version_is_warned_of(source: xr.DataArray) -> None:
    first = source.usid.process(step("Edited", lambda spectra: 2 * spectra, version="1")).run()
    edited = step("Edited", lambda spectra: 3 * spectra, version="1")
    with pytest.warns(UserWarning, match="the code of step 'Edited' is not what it was"):
        assert source.usid.process(edited).run() == first
    assert source.usid.process(edited).run(fresh=True) != first


def test_a_step_that_raises_leaves_what_is_done(source: xr.DataArray, truth: xr.DataArray) -> None:
    counts: list[int] = []
    with pytest.raises(StepError) as caught:
        source.usid.process(counting(counts, fail_after=3)).run(**SMALL)
    message = str(caught.value)
    assert "step 'Counted' (version '1') failed at Y[6:8], X[0:20] of 'Raw_Data'" in message
    assert "ValueError: the laser is off" in message
    assert "37 % is done and kept in" in message
    assert isinstance(caught.value.__cause__, ValueError)
    (partial,) = source.usid.results("Counted")
    assert (partial.status, partial.done) == ("partial", 120)
    assert "37 % done, .resume() goes on" in repr(partial)
    opened = partial.open()
    np.testing.assert_array_equal(opened[:6], 2 * truth[:6])
    assert np.isnan(opened[6:]).all()

    mended = source.usid.process(counting(counts))
    assert mended.existing() == (partial,)
    assert mended.run(**SMALL) == partial
    np.testing.assert_array_equal(partial.open(), 2 * truth)
    # 3 blocks before, 5 after: nothing twice
    assert counts == [2 * 20 * 32] * 8


def test_blocks_of_another_size_resume_too(source: xr.DataArray, truth: xr.DataArray) -> None:
    counts: list[int] = []
    with pytest.raises(StepError):
        source.usid.process(counting(counts, fail_after=2)).run(**SMALL)
    (partial,) = source.usid.results("Counted")
    source.usid.process(counting(counts)).run(memory="75 kB", workers=1)
    np.testing.assert_array_equal(partial.open(), 2 * truth)
    assert partial.status == "complete"


def test_a_group_resumes_itself_with_its_step(source: xr.DataArray, truth: xr.DataArray) -> None:
    with pytest.raises(StepError):
        source.usid.process(counting([], fail_after=3)).run(**SMALL)
    (partial,) = source.usid.results("Counted")
    with pytest.raises(PlanError, match=r"begun by step 'Counted', version '1', defined in .*coun"):
        partial.resume()
    with pytest.raises(PlanError, match="'Other', version '1', is another one"):
        partial.resume(counting([], name="Other"))
    assert partial.resume(counting([]), **SMALL) == partial
    np.testing.assert_array_equal(partial.open(), 2 * truth)
    assert partial.resume() == partial  # complete: nothing is needed


def test_registered_steps_are_found_for_resuming(
    source: xr.DataArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise OSError("the cable is out")

    with monkeypatch.context() as patched:
        patched.setattr("usidx.process.running.work.Commit.checked", broken)
        with pytest.raises(StepError, match="the cable is out"):
            source.usid.process(steps.peak_response).run()
    (partial,) = source.usid.results("Peak_Response")
    assert partial.resume().status == "complete"


def test_a_group_of_a_changed_source_is_not_resumed(hdf5_path: str, truth: xr.DataArray) -> None:
    import h5py

    with pytest.raises(StepError):
        usidx.open(hdf5_path).usid.process(counting([], fail_after=3)).run(**SMALL)
    (partial,) = usidx.open(hdf5_path).usid.results()
    with h5py.File(hdf5_path, "r+") as file:
        file["Measurement_000/Channel_000/Raw_Data"][...] = 2 * truth.values.reshape(320, 32)
    with pytest.raises(PlanError, match="its source, parameters or step are no longer those"):
        partial.resume(counting([]))
    assert usidx.open(hdf5_path).usid.process(counting([])).existing() == ()


def test_two_runs_of_one_group_do_not_mix(source: xr.DataArray) -> None:
    with pytest.raises(StepError):
        source.usid.process(counting([], fail_after=2)).run(**SMALL)

    def second(event: BlockDone) -> None:
        if event.number != 5:
            return
        with pytest.raises(StoreLockedError):
            source.usid.process(counting([])).run()

    done = source.usid.process(counting([])).run(**SMALL, on_block=second)
    assert done.status == "complete"


def test_every_block_is_told(source: xr.DataArray) -> None:
    events: list[BlockDone] = []
    source.usid.process(shifted).run(**SMALL, on_block=events.append)
    assert [each.number for each in events] == list(range(8))
    assert [each.done for each in events] == list(range(40, 321, 40))
    assert {each.total for each in events} == {320}
    assert events[1].where == {"Y": slice(2, 4), "X": slice(0, 20)}
    assert all(each.seconds > 0 for each in events)


def test_ctrl_c_leaves_a_group_to_go_on_with(source: xr.DataArray, truth: xr.DataArray) -> None:
    def stop(event: BlockDone) -> None:
        if event.number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=r"37 % is done and kept in .*run it again"):
        source.usid.process(shifted).run(**SMALL, on_block=stop)
    (partial,) = source.usid.results()
    assert (partial.status, partial.done) == ("partial", 120)
    assert source.usid.process(shifted).run() == partial
    np.testing.assert_array_equal(partial.open(), truth + np.float32(1))


def test_results_of_results(source: xr.DataArray, truth: xr.DataArray) -> None:
    first = source.usid.process(shifted, by=1).run()
    second = first.open().usid.process(steps.peak_response).run()
    assert second.path == f"{first.path}/Shifted-Peak_Response_000"
    np.testing.assert_allclose(second.open().squeeze(), abs(truth + 1).max("Frequency"))
    assert second.source is not None
    assert second.source.main == f"{first.path}/Shifted"


def test_a_partial_result_is_no_source(
    source: xr.DataArray, truth: xr.DataArray, tmp_path: pathlib.Path
) -> None:
    with pytest.raises(StepError):
        source.usid.process(counting([], fail_after=2)).run(**SMALL)
    (partial,) = source.usid.results()
    with pytest.raises(PlanError, match="a result that is not complete.*take a part"):
        partial.open().usid.process(shifted)
    there = partial.open().isel(Y=slice(4))
    result = there.usid.process(shifted).run(tmp_path / "part.zarr")
    np.testing.assert_array_equal(result.open(), 2 * truth[:4] + 1)


@pytest.mark.parametrize("options", [{"chunks": None}, {"form": "2d"}, {"chunks": {"Y": 16}}])
def test_however_it_was_opened(path: str, truth: xr.DataArray, options: dict[str, object]) -> None:
    opened = usidx.open(path, **options)
    process = opened.usid.process(steps.peak_response)
    result = process.run(**SMALL)
    np.testing.assert_array_equal(
        result.open().squeeze().values.reshape(16, 20), abs(truth).max("Frequency")
    )
    assert usidx.open(path, **options).usid.process(steps.peak_response).run() == result
    assert result.source is not None
    assert result.source.main.endswith("/Raw_Data")


def test_a_process_of_the_2d_form_resumes(path: str, truth: xr.DataArray) -> None:
    opened = usidx.open(path, form="2d")
    with pytest.raises(StepError):
        opened.usid.process(counting([], fail_after=2)).run(**SMALL)
    (partial,) = usidx.open(path).usid.results()
    assert partial.open().dims[:2] == ("Y", "X")
    assert partial.resume(counting([])).status == "complete"
    np.testing.assert_array_equal(partial.open().values.ravel(), 2 * truth.values.ravel())


@pytest.mark.parametrize("ending", ["zarr", "h5"])
def test_results_go_into_another_store(
    source: xr.DataArray, truth: xr.DataArray, tmp_path: pathlib.Path, ending: str
) -> None:
    into = tmp_path / f"results.{ending}"
    process = source.usid.process(shifted)
    assert process.existing(into) == ()
    result = process.run(into)
    assert result.store == str(into)
    np.testing.assert_array_equal(result.open(), truth + np.float32(1))
    assert process.run(into) == result
    assert process.existing() == ()
    assert process.existing(into) == (result,)
    assert result.source is not None
    xr.testing.assert_equal(result.source.open().compute(), source.compute())


def test_a_new_store_needs_a_known_ending(source: xr.DataArray, tmp_path: pathlib.Path) -> None:
    with pytest.raises(OptionError, match=r"end it with \.zarr or \.h5"):
        source.usid.process(shifted).run(tmp_path / "results.dat")
    assert list(tmp_path.glob("results*")) == []


def test_what_no_store_holds_needs_a_place(truth: xr.DataArray, tmp_path: pathlib.Path) -> None:
    process = truth.usid.process(shifted)
    assert process.existing() == ()
    with pytest.raises(PlanError, match=r"say where it goes with run\(into='results.zarr'\)"):
        process.run()
    result = process.run(tmp_path / "results.zarr")
    np.testing.assert_array_equal(result.open(), truth + np.float32(1))
    assert result.source is None
    assert truth.copy().usid.process(shifted).run(tmp_path / "results.zarr") == result


def test_a_changed_array_does_not_pass_for_its_source(
    source: xr.DataArray, truth: xr.DataArray, tmp_path: pathlib.Path
) -> None:
    whole = source.usid.process(shifted).run()
    for derived, expected in (
        (source * 2, truth * 2 + 1),
        (source.isel(X=slice(5)), truth.isel(X=slice(5)) + 1),
        (source.assign_coords(X=source.X * 2), truth + 1),
    ):
        process = derived.usid.process(shifted)
        assert process.existing() == ()
        with pytest.raises(PlanError, match="not a whole, untouched Main"):
            process.run()
        result = process.run(tmp_path / "derived.zarr")
        assert result != whole
        assert result.source is None
        assert "usid_derived" in result.record.attrs
        np.testing.assert_allclose(result.open(), expected)
    assert len({each.name for each in source.usid.results()}) == 1


def test_a_derived_result_resumes_by_making_it_again(
    source: xr.DataArray, truth: xr.DataArray, tmp_path: pathlib.Path
) -> None:
    into = tmp_path / "derived.zarr"
    with pytest.raises(StepError):
        (source * 2).usid.process(counting([], fail_after=3)).run(into, **SMALL)
    process = (source * 2).usid.process(counting([]))
    (partial,) = process.existing(into)
    with pytest.raises(PlanError, match="an array that no store holds; make that array again"):
        partial.resume(counting([]))
    assert process.run(into) == partial
    np.testing.assert_array_equal(partial.open(), 4 * truth)


def test_a_preview_is_one_position_of_the_result(source: xr.DataArray, truth: xr.DataArray) -> None:
    expected = truth + np.float32(1)
    process = source.usid.process(shifted)
    at = process.preview(X=float(truth.X[3]) + 1e-3, Y=float(truth.Y[5]))
    np.testing.assert_array_equal(at, expected[5, 3])
    assert at.name == "Shifted"
    np.testing.assert_array_equal(process.preview(isel={"X": 3, "Y": -1}), expected[-1, 3])
    np.testing.assert_array_equal(process.preview(), expected[8, 10])
    compound = source.usid.process(steps.statistics).preview(isel={"X": 0, "Y": 0})
    np.testing.assert_allclose(compound["Maximum"], truth[0, 0].max())


def test_a_preview_computes_no_more_than_it_needs(source: xr.DataArray) -> None:
    counts: list[int] = []
    counted = step("Counted", counting(counts).function, version="1", per_position=True)
    source.usid.process(counted).preview(isel={"X": 3})
    assert counts == [32]


def test_a_preview_of_nothing_by_position_is_refused(source: xr.DataArray) -> None:
    process = source.usid.process(steps.mean, over=["Y", "X"])
    with pytest.raises(PlanError, match="belongs to a single position"):
        process.preview()
    with pytest.raises(PlanError, match=r"'Z' is no position coordinate.*there are Y, X"):
        source.usid.process(shifted).preview(Z=1)
    with pytest.raises(PlanError, match="out of bounds: 'X' has size 20"):
        source.usid.process(shifted).preview(isel={"X": 20})


def test_an_estimate_is_arithmetic(source: xr.DataArray, path: str) -> None:
    estimate = source.usid.process(steps.peak_response).estimate(**SMALL)
    (output,) = estimate.outputs
    assert (output.name, output.dims[:2], output.shape[:2]) == (
        "Peak_Response",
        ("Y", "X"),
        (16, 20),
    )
    assert (output.dtype, output.nbytes) == (np.dtype("f4"), 320 * 4)
    # a row is 20 spectra of 32 values and 20 results; three times for copies
    row = 3 * 20 * 33 * 4
    # zarr's threads have a need of their own
    around = AROUND_ZARR if path.endswith(".zarr") else 0
    assert estimate.block_memory == 4 * row + around
    assert (estimate.blocks, estimate.in_flight, estimate.memory) == (4, 1, 4 * row + around)
    assert estimate.disk >= 320 * 4
    assert estimate.disk_free is not None
    assert "Peak_Response (Y: 16, X: 20" in repr(estimate)
    assert "1.28 kB" in estimate._repr_html_()


def test_memory_that_holds_no_position_is_refused(source: xr.DataArray) -> None:
    with pytest.raises(
        PlanError, match=r"the smallest block of 'Raw_Data' needs 1 kB.*give memory='1 kB'"
    ):
        source.usid.process(shifted).run(memory=100, workers=1)
    with pytest.raises(OptionError, match="memory='lots' is no amount of memory"):
        source.usid.process(shifted).run(memory="lots")
    assert source.usid.results() == []


def test_a_process_shows_what_it_is(source: xr.DataArray) -> None:
    process = source.usid.process(shifted, by=2)
    for text in ("'Shifted', version '1'", "by = 2", "Y: 16, X: 20, Frequency: 32", "41 kB"):
        assert text in repr(process)
    assert "<table>" in process._repr_html_()
    assert process.parameters == {"by": 2}


def test_wrong_uses_are_told_before_anything_runs(source: xr.DataArray) -> None:
    with pytest.raises(PlanError, match=r"no parameter 'bye' \(did you mean 'by'\?\)"):
        source.usid.process(shifted, bye=1)
    with pytest.raises(PlanError, match=r"Write @usidx\.step\('Plain', version='1'\) above"):
        source.usid.process(plain)
    with pytest.raises(PlanError, match="these parameters cannot be kept"):
        source.usid.process(shifted, by=object())
    with pytest.raises(PlanError, match=r"step 'Broken' raised KeyError when it was called on"):
        source.usid.process(step("Broken", lambda spectra: spectra["nothing"], version="1"))
    with pytest.raises(PlanError, match="returned a NoneType; a step returns a DataArray"):
        source.usid.process(step("Nothing", lambda spectra: None, version="1"))
    with pytest.raises(PlanError, match="a Dataset without variables"):
        source.usid.process(step("Empty", lambda spectra: xr.Dataset(), version="1"))
    with pytest.raises(PlanError, match="values of dtype <U1"):
        source.usid.process(step("Text", lambda spectra: spectra.astype("U1"), version="1"))
    bare = xr.DataArray(np.zeros((2, 3)), dims=("a", "b"))
    with pytest.raises(LayoutError, match="without a role"):
        bare.usid.process(step("Same", lambda spectra: spectra, version="1"))
    assert source.usid.results() == []


def plain(spectra: xr.DataArray) -> xr.DataArray:
    return spectra


def test_values_that_are_not_as_announced_stop_the_run(source: xr.DataArray) -> None:
    def lying(spectra: xr.DataArray) -> xr.DataArray:
        lazy = spectra.data.map_blocks(
            lambda block: block * 1j, dtype="f4", meta=np.empty((0,) * 3, "f4")
        )
        return spectra.copy(data=lazy)

    with pytest.raises(
        StepError, match="values of dtype complex64 where its lazy result has float32"
    ):
        source.usid.process(step("Lying", lying, version="1")).run()
