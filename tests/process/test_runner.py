"""Blocks in threads: what is independent runs apart, what is shared runs once."""

from __future__ import annotations

import threading
import time

import dask
import numpy as np
import pytest
import xarray as xr

from usidx.errors import OptionError, StepError
from usidx.process.planning.bind import bind
from usidx.process.running.runner import Threads, find_executor
from usidx.process.running.work import count_units
from usidx.step import step
from usidx.stores.hdf5.values.bytes import HDF5Array
from usidx.stores.zarr.array import ZarrArray

SMALL = {"memory": "33 kB", "workers": 1}


@step("Centred", version="1")
def centred(spectra: xr.DataArray) -> xr.DataArray:
    """Spectra less the mean spectrum of the map: every block needs all of the source."""
    return spectra - spectra.mean(["Y", "X"])


@step("Smoothed", version="1")
def smoothed(spectra: xr.DataArray) -> xr.DataArray:
    """Means of neighbouring rows: blocks overlap."""
    return spectra.rolling(Y=3, center=True, min_periods=1).mean()


@step("Flipped", version="1")
def flipped(spectra: xr.DataArray) -> xr.DataArray:
    """Rows in the other order, by maps: the source is cut anew."""
    maps = spectra.chunk({"Y": -1, "X": -1, "Frequency": 8})
    return maps.copy(data=maps.data[::-1])


@pytest.mark.parametrize("workers", [1, 2])
def test_blocks_may_need_each_other(
    source: xr.DataArray, truth: xr.DataArray, workers: int
) -> None:
    for made, expected in (
        (centred, truth - truth.mean(["Y", "X"])),
        (smoothed, truth.rolling(Y=3, center=True, min_periods=1).mean()),
        (flipped, truth.copy(data=truth.values[::-1])),
    ):
        result = source.usid.process(made).run(memory="99 kB", workers=workers, fresh=True)
        assert result.status == "complete"
        np.testing.assert_allclose(result.open(), expected, rtol=1e-4, atol=1e-6)


def test_what_is_shared_is_computed_once(
    source: xr.DataArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[object] = []
    for array in (ZarrArray, HDF5Array):
        original = array.__getitem__

        def read(self, key, original=original):
            reads.append(key)
            return original(self, key)

        monkeypatch.setattr(array, "__getitem__", read)
    source.usid.process(centred).run(**SMALL)
    values = [key for key in reads if len(key) == 3]
    # once for the mean, once for the difference, and once to know the source again
    assert len(values) <= 2 * 8 + 1


def test_blocks_run_at_the_same_time(source: xr.DataArray) -> None:
    inside: list[int] = []
    most: list[int] = []
    lock = threading.Lock()

    def slow(block: np.ndarray) -> np.ndarray:
        if block.size == 0:
            return block
        with lock:
            inside.append(1)
            most.append(len(inside))
        time.sleep(0.05)
        with lock:
            inside.pop()
        return block

    @step("Slow", version="1")
    def made(spectra: xr.DataArray) -> xr.DataArray:
        return xr.apply_ufunc(slow, spectra, dask="parallelized", output_dtypes=[spectra.dtype])

    source.usid.process(made).run(memory="99 kB", workers=3)
    assert max(most) == 3


def test_a_failure_in_what_is_shared_is_told(source: xr.DataArray) -> None:
    def kernel(block: np.ndarray) -> np.ndarray:
        if block.size:
            raise ZeroDivisionError("no light")
        return block

    @step("Dark", version="1")
    def dark(spectra: xr.DataArray) -> xr.DataArray:
        broken = xr.apply_ufunc(kernel, spectra, dask="parallelized", output_dtypes=["f4"])
        return spectra - broken.mean(["Y", "X"])

    with pytest.raises(
        StepError, match="in a part that several blocks share of 'Raw_Data'.*no lig"
    ):
        source.usid.process(dark).run(**SMALL)
    (partial,) = source.usid.results()
    assert (partial.status, partial.done) == ("partial", 0)


def test_what_is_under_way_ends_before_the_claim_is_let_go(source: xr.DataArray) -> None:
    ended: list[float] = []

    def kernel(block: np.ndarray, first: np.ndarray) -> np.ndarray:
        if block.size == 0:
            return block
        if first.min() == 0:
            time.sleep(0.1)
            raise ValueError("first row")
        time.sleep(0.3)
        ended.append(time.monotonic())
        return block

    @step("Uneven", version="1")
    def uneven(spectra: xr.DataArray) -> xr.DataArray:
        rows = xr.DataArray(np.arange(16), dims="Y").chunk({"Y": 2})
        return xr.apply_ufunc(kernel, spectra, rows, dask="parallelized", output_dtypes=["f4"])

    with pytest.raises(StepError, match="first row"):
        source.usid.process(uneven).run(memory="66 kB", workers=2)
    let_go = time.monotonic()
    assert ended
    assert max(ended) <= let_go
    (partial,) = source.usid.results()
    assert partial.done == 40 * len(ended)


def test_dasks_settings_are_kept_to() -> None:
    with dask.config.set(scheduler="synchronous"):
        assert find_executor(False) == Threads(1)
    with dask.config.set(num_workers=7):
        assert find_executor(False) == Threads(7)
    assert find_executor(False, 3) == Threads(3)
    with pytest.raises(OptionError, match="workers=0 must be 1 or more"):
        find_executor(False, 0)


def test_chunks_of_a_sensible_size_are_kept(truth: xr.DataArray) -> None:
    @step("Same", version="1")
    def same(spectra: xr.DataArray) -> xr.DataArray:
        return spectra

    big = truth.isel(Y=np.arange(1600) % 16, X=np.arange(400) % 20).chunk({"Y": 100})
    plan = bind(same, big, {})
    assert plan.outputs[0].block == (100, 400, 32)
    assert count_units(plan) == 16
    # maps, which are no runs of positions, are cut anew
    maps = bind(same, big.chunk({"Y": -1, "X": -1, "Frequency": 4}), {})
    assert maps.outputs[0].block[1:] == (400, 32)
