"""Memory by arithmetic for each way in which blocks are computed, and time from one block."""

from __future__ import annotations

import os
import pathlib
from typing import Any

import numpy as np
import pytest
import xarray as xr

import usidx
from usidx.errors import PlanError, StepError
from usidx.model import pieces
from usidx.process.planning.budget import memory_of
from usidx.process.running import estimate, helping, measure
from usidx.step import step
from usidx.steps import fft_filter, mean
from usidx.testing import make_main

MAIN = "Measurement_000/Channel_000/Raw_Data"


@step("Doubled", version="1")
def doubled(spectra: xr.DataArray) -> xr.DataArray:
    """Without a promise."""
    return 2 * spectra


@step("Parts", version="1")
def parts(spectra: xr.DataArray) -> xr.Dataset:
    """A compound output of 4 and 8 bytes."""
    return xr.Dataset({"a": spectra.astype("f4"), "b": spectra.astype("f8")})


@pytest.fixture
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "PIECE", 1024)
    monkeypatch.setattr(helping, "GATHERED", 1024)
    monkeypatch.setattr(estimate, "GATHERED", 1024)
    monkeypatch.setattr(estimate, "AROUND", 100)
    monkeypatch.setattr(estimate, "AROUND_ZARR", 1000)


@pytest.mark.usefixtures("_small_pieces")
def test_streamed_blocks_take_as_much_as_pieces(hdf5_path: str) -> None:
    process = usidx.open(hdf5_path, MAIN).usid.process(fft_filter, high=0.2e-3)
    found = process.estimate(workers=1)
    assert found.streamed
    # a piece is 5 positions of 32 values, in and out: 1280 bytes
    assert found.block_memory == memory_of(2 * 5 * 32 * 4) + 100
    assert "streamed" in repr(found)
    # a Zarr store takes whole blocks, and makes chunks of them
    folder = process.estimate("other.zarr", workers=1)
    assert folder.block_memory == found.block_memory + 2 * 16 * 20 * 32 * 4 + 1000


def test_a_zarr_store_takes_memory_for_the_smallest_blocks(hdf5_path: str) -> None:
    source = usidx.open(hdf5_path, MAIN)
    for process in (source.usid.process(doubled), source.usid.process(fft_filter, high=0.2e-3)):
        inside = process.estimate(workers=2, memory="66 kB")
        outside = process.estimate("other.zarr", workers=2, memory="66 kB")
        assert outside.block_memory == inside.block_memory + estimate.AROUND_ZARR


def test_blocks_of_other_steps_are_whole(hdf5_path: str) -> None:
    source = usidx.open(hdf5_path, MAIN, chunks={"Y": 4})
    found = source.usid.process(doubled).estimate(workers=2)
    assert not found.streamed
    assert (found.blocks, found.in_flight) == (1, 1)
    small = source.usid.process(doubled).estimate(workers=2, memory="66 kB")
    assert small.memory <= 66_000
    assert small.in_flight == 2


def test_compound_outputs_count_all_fields(hdf5_path: str) -> None:
    source = usidx.open(hdf5_path, MAIN)
    found = source.usid.process(parts).estimate(workers=1)
    values = 16 * 20 * 32
    assert found.block_memory == memory_of(values * (4 + 4 + 8))
    assert found.disk == values * 12 + 16 * 20


def test_reductions_are_computed_by_all_threads(hdf5_path: str, truth: xr.DataArray) -> None:
    source = usidx.open(hdf5_path, MAIN, chunks={"Y": 1, "X": 10})
    process = source.usid.process(mean, over=["Y", "X"])
    found = process.estimate(workers=3)
    assert found.blocks == 1
    assert found.in_flight == 3
    result = process.run(workers=3).open()
    np.testing.assert_allclose(result.values.ravel(), truth.mean(["Y", "X"]), rtol=1e-5)


def test_a_position_that_does_not_fit_is_refused_before_it_starts(hdf5_path: str) -> None:
    process = usidx.open(hdf5_path, MAIN).usid.process(doubled)
    for call in (process.estimate, process.measure, process.run):
        with pytest.raises(PlanError, match=r"memory='\d+ kB'|memory='\d+ B'"):
            call(memory="200 B", workers=1)
    assert not process.existing()


@pytest.mark.parametrize("made", [doubled, fft_filter])
def test_measuring_computes_one_block_and_stores_nothing(
    path: str, made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = usidx.open(path, MAIN)
    ticks = iter(range(1000))
    monkeypatch.setattr("time.perf_counter", lambda: 3.0 * next(ticks))
    parameters = {} if made is doubled else {"high": 0.2e-3}
    before = sorted(os.listdir(os.path.dirname(path)))
    process = source.usid.process(made, **parameters)
    found = process.measure(memory="66 kB", workers=1)
    assert found.blocks > 1
    # one block takes a tick or more, as somebody else looks at the clock too
    assert found.seconds is not None
    assert found.seconds >= 3.0 * found.blocks
    assert "time" in repr(found)
    again = process.estimate(memory="66 kB", workers=1)
    assert again.seconds is None
    assert (found.outputs, found.memory, found.disk) == (again.outputs, again.memory, again.disk)
    assert sorted(os.listdir(os.path.dirname(path))) == before
    assert not process.existing()


def test_two_blocks_that_share_tasks_are_told_apart(
    hdf5_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    @step("Centred", version="1")
    def centred(spectra: xr.DataArray) -> xr.DataArray:
        return spectra - spectra.mean(["Y", "X"])

    seconds = iter([10.0, 11.0])
    monkeypatch.setattr(measure, "_best", lambda work: next(seconds))
    source = usidx.open(hdf5_path, MAIN, chunks={"Y": 2})
    found = source.usid.process(centred).measure(memory="66 kB", workers=2)
    assert found.blocks > 2
    assert found.seconds == pytest.approx(10 + (found.blocks - 1) / 2)


def test_what_the_step_raises_is_told(hdf5_path: str) -> None:
    def kernel(block: np.ndarray) -> np.ndarray:
        if block.size:
            raise ZeroDivisionError("no light")
        return block

    @step("Dark", version="1")
    def dark(spectra: xr.DataArray) -> xr.DataArray:
        dark: xr.DataArray = xr.apply_ufunc(
            kernel, spectra, dask="parallelized", output_dtypes=["f4"]
        )
        return dark

    with pytest.raises(StepError, match="'Dark'.*while its time was measured.*no light"):
        usidx.open(hdf5_path, MAIN).usid.process(dark).measure()


def test_arrays_in_memory_are_measured_too() -> None:
    assert (make_main(chunks={}).usid.process(doubled).measure().seconds or 0) > 0


def test_a_folder_that_cannot_be_written_is_no_obstacle(
    hdf5_path: str, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    def refused(*_: Any, **__: Any) -> Any:
        raise PermissionError("no")

    monkeypatch.setattr("tempfile.TemporaryFile", refused)
    process = usidx.open(hdf5_path, MAIN).usid.process(doubled)
    assert (process.measure(tmp_path / "new.h5").seconds or 0) > 0
