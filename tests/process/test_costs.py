"""What is refused for lack of memory says what helps, and that helps."""

from __future__ import annotations

import pathlib
import re
from typing import Any

import numpy as np
import pytest
import xarray as xr

import usidx
from usidx.errors import PlanError, StepError
from usidx.process.process import Process
from usidx.step import step
from usidx.steps import fft_filter, mean

MAIN = "Measurement_000/Channel_000/Raw_Data"


@step("Doubled", version="1")
def doubled(spectra: xr.DataArray) -> xr.DataArray:
    """Without a promise."""
    return 2 * spectra


@step("Both", version="1")
def both(spectra: xr.DataArray) -> xr.Dataset:
    """A map of spectra and what is left of all of them."""
    return xr.Dataset({"more": spectra + 1, "whole": spectra.sum(["Y", "X"])})


def times(factor: int, spectra: xr.DataArray) -> xr.DataArray:
    """By a function that may have looked at a chunk as a whole."""
    chunks = spectra.data.map_blocks(lambda block: factor * block, dtype=spectra.dtype)
    return spectra.copy(data=chunks)


def refusal(call: Any, **options: Any) -> str:
    """What a call that is refused says."""
    with pytest.raises(PlanError) as caught:
        call(**options)
    return str(caught.value)


def advised(told: str) -> str:
    """The memory that a refusal asks for."""
    found = re.search(r"give memory='([^']+)'", told)
    assert found is not None, told
    return found[1]


@pytest.mark.parametrize("workers", [1, 3])
def test_what_a_refusal_asks_for_is_enough(hdf5_path: str, workers: int) -> None:
    # (Y: 16, X: 20, Frequency: 32) float32: a spectrum in and one out are 256 bytes
    process = usidx.open(hdf5_path, MAIN).usid.process(doubled)
    told = refusal(process.run, memory=700, workers=workers)
    assert f"needs 1 kB to compute (1 position), {workers} at once" in told
    result = process.run(memory=advised(told), workers=workers).open()
    np.testing.assert_allclose(result.values, 2 * usidx.open(hdf5_path, MAIN).values)


def test_a_refusal_says_with_how_many_workers_which_blocks_fit(hdf5_path: str) -> None:
    process = usidx.open(hdf5_path, MAIN).usid.process(doubled)
    told = refusal(process.estimate, memory=2000, workers=4)
    found = re.search(r"or workers=(\d+), with which blocks of (\d+) position", told)
    assert found is not None, told
    fewer, most = map(int, found.groups())
    assert (fewer, most) == (2, 1)  # 2 blocks of a position are 1536 bytes, 3 of them 2304
    assert process.estimate(memory=2000, workers=fewer).memory <= 2000
    assert refusal(process.estimate, memory=2000, workers=fewer + 1)


@pytest.mark.parametrize("memory", [50_000, 90_000, 120_000])
def test_saving_needs_no_more_the_more_there_is(hdf5_path: str, memory: int) -> None:
    source = usidx.open(hdf5_path, MAIN, chunks={})
    told = refusal(source.usid.save, lazy=times(2, source), tool="Twice", memory=memory, workers=1)
    # a chunk, which is everything, and one spectrum of the result; three times for copies
    assert f"needs {-(-3 * (16 * 20 + 1) * 128 // 1000)} kB" in told
    saved = source.usid.save(times(2, source), "Twice", memory=advised(told), workers=1)
    np.testing.assert_allclose(saved.open().values, 2 * source.values)


def test_chunks_that_a_refusal_asks_for_are_small_enough(hdf5_path: str) -> None:
    source = usidx.open(hdf5_path, MAIN, chunks={})
    told = refusal(source.usid.save, lazy=times(2, source), tool="Twice", memory=30_000, workers=1)
    found = re.search(r"open it in chunks of at most (\d+) positions", told)
    assert found is not None, told
    finer = usidx.open(hdf5_path, MAIN, chunks={"Y": 1, "X": min(20, int(found[1]))})
    saved = finer.usid.save(times(2, finer), "Twice", memory=30_000, workers=1)
    np.testing.assert_allclose(saved.open().values, 2 * source.values)
    told = refusal(source.usid.save, lazy=times(3, source), tool="Thrice", memory=600, workers=1)
    assert "not even a position (1 kB) would fit" in told


@pytest.mark.parametrize("chunks", [{}, {"Y": 8}])
def test_a_source_that_is_reduced_is_read_in_chunks_that_fit(
    hdf5_path: str, chunks: dict[str, int], tmp_path: pathlib.Path
) -> None:
    source = usidx.open(hdf5_path, MAIN, chunks=chunks)
    process = source.usid.process(mean, over=["Y", "X"])
    with pytest.raises(PlanError, match="memory="):
        process.estimate(memory=600, workers=1)
    assert process.estimate(memory=30_000, workers=2).memory <= 30_000
    result = process.run(tmp_path / "out.h5", memory=30_000, workers=2)
    expected = source.values.reshape(-1, 32).mean(axis=0)
    np.testing.assert_allclose(result.open().values.ravel(), expected, rtol=1e-5)
    # it is known again by those who have more memory
    assert process.run(tmp_path / "out.h5").name == result.name


def test_maps_and_what_is_left_of_them_fit_together(hdf5_path: str) -> None:
    source = usidx.open(hdf5_path, MAIN, chunks={})
    found = source.usid.process(both).run(memory=40_000, workers=1)
    np.testing.assert_allclose(usidx.open(found.store, found.mains[0]).values, source.values + 1)
    np.testing.assert_allclose(
        usidx.open(found.store, found.mains[1]).values.ravel(), source.values.sum((0, 1)), rtol=1e-5
    )


def test_sources_cut_into_maps_stay_so(hdf5_path: str) -> None:
    source = usidx.open(hdf5_path, MAIN, chunks={"Frequency": 16})
    told = refusal(source.usid.process(mean, over=["Y", "X"]).run, memory=30_000, workers=1)
    assert "The source comes in chunks of" in told
    found = source.usid.process(mean, over=["Y", "X"]).run(memory=advised(told), workers=1)
    np.testing.assert_allclose(found.open().values.ravel(), source.values.mean((0, 1)), rtol=1e-5)


def test_streamed_steps_follow_the_same_advice(hdf5_path: str) -> None:
    process: Process = usidx.open(hdf5_path, MAIN).usid.process(fft_filter, high=0.2e-3)
    told = refusal(process.run, memory=100, workers=2)
    assert process.run(memory=advised(told), workers=2).status == "complete"


def test_blocks_that_a_group_was_begun_in_have_to_fit(
    hdf5_path: str, tmp_path: pathlib.Path
) -> None:
    ends = [True]

    @step("Ending", version="1")
    def ending(spectra: xr.DataArray) -> xr.DataArray:
        def kernel(block: np.ndarray) -> np.ndarray:
            if ends[0] and (block == last).any():
                raise ValueError("it ends here")
            return 2 * block

        return xr.apply_ufunc(kernel, spectra, dask="parallelized", output_dtypes=[spectra.dtype])

    source = usidx.open(hdf5_path, MAIN)
    last = float(source[-1].max())
    process, into = source.usid.process(ending), tmp_path / "results.zarr"
    with pytest.raises(StepError, match="it ends here"):
        process.run(into, memory="64 kB", workers=1)
    ends[0] = False
    told = refusal(process.run, into=into, memory="32 kB", workers=1)
    assert "was begun in larger blocks" in told
    assert "run(fresh=True)" in told
    result = process.run(into, memory=advised(told), workers=1)
    assert result.name == "Raw_Data-Ending_000"
    np.testing.assert_allclose(result.open().values, 2 * source.values)
