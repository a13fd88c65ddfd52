"""The same runs on the workers of a dask cluster."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from typing import Any

import cloudpickle
import dask
import numpy as np
import pytest
import xarray as xr

import usidx
from usidx import steps
from usidx.errors import OptionError, StepError
from usidx.process.planning.bind import bind
from usidx.process.results.target import request_of, target_of
from usidx.process.running.room import plan_for
from usidx.process.running.runner import Threads, find_executor
from usidx.process.running.work import count_units, graph_of, units_of, works_of
from usidx.step import step

SMALL = {"memory": "33 kB"}


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Two processes on this machine."""
    from distributed import Client, LocalCluster

    settings = {"distributed.scheduler.allowed-failures": 0}
    with (
        dask.config.set(settings),
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", memory_limit="2GB"
        ) as cluster,
        Client(cluster, set_as_default=False) as made,
    ):
        yield made


@step("Where", version="1")
def where(spectra: xr.DataArray) -> xr.DataArray:
    """The process that computed each position."""
    return spectra.isel(Frequency=0).map_blocks(_process)


def _process(block: xr.DataArray) -> xr.DataArray:
    return xr.full_like(block, os.getpid(), dtype="i8")


def test_workers_write_the_same(client: Any, source: xr.DataArray, truth: xr.DataArray) -> None:
    blocks: list[object] = []
    result = source.usid.process(steps.peak_response).run(
        client=client, **SMALL, on_block=blocks.append
    )
    np.testing.assert_array_equal(result.open().squeeze(), abs(truth).max("Frequency"))
    assert result.status == "complete"
    assert len(blocks) == 4
    pids = source.usid.process(where).run(client=client, **SMALL).open()
    assert set(np.unique(pids)) <= set(client.run(os.getpid).values())


def test_a_client_in_scope_is_found(client: Any) -> None:
    from usidx.process.running.cluster import Cluster

    assert isinstance(find_executor(), Threads)
    with client.as_current():
        found = find_executor()
        assert isinstance(found, Cluster)
        assert found.client is client
        assert found.workers == 1
        assert found.memory == 2_000_000_000
        assert isinstance(find_executor(False), Threads)
    with pytest.raises(OptionError, match=r"client='tcp://.*is no distributed\.Client"):
        find_executor("tcp://127.0.0.1:8786")


def test_what_is_shared_runs_on_workers_too(
    client: Any, source: xr.DataArray, truth: xr.DataArray
) -> None:
    @step("Centred", version="1")
    def centred(spectra: xr.DataArray) -> xr.DataArray:
        return spectra - spectra.mean(["Y", "X"])

    result = source.usid.process(centred).run(client=client, **SMALL)
    np.testing.assert_allclose(result.open(), truth - truth.mean(["Y", "X"]), rtol=1e-4, atol=1e-6)


def test_a_failure_on_a_worker_names_its_block(client: Any, source: xr.DataArray) -> None:
    threshold = float(source.isel(Y=slice(8)).max())

    def kernel(block: np.ndarray) -> np.ndarray:
        if block.size and (block.max() == np.float32(threshold)):
            raise ValueError("too bright")
        return block

    @step("Bright", version="1")
    def bright(spectra: xr.DataArray) -> xr.DataArray:
        return xr.apply_ufunc(kernel, spectra, dask="parallelized", output_dtypes=["f4"])

    with pytest.raises(StepError, match=r"failed at Y\[\d+:\d+\], X\[0:20\].*too bright") as caught:
        source.usid.process(bright).run(client=client, **SMALL)
    assert isinstance(caught.value.__cause__, ValueError)
    (partial,) = source.usid.results()
    assert partial.status == "partial"
    assert 0 < partial.done < 320


def test_a_worker_that_dies_is_told_in_words(client: Any, source: xr.DataArray) -> None:
    def kernel(block: np.ndarray) -> np.ndarray:
        if block.size > 0:
            os._exit(9)
        return block

    @step("Deadly", version="1")
    def deadly(spectra: xr.DataArray) -> xr.DataArray:
        return xr.apply_ufunc(kernel, spectra, dask="parallelized", output_dtypes=["f4"])

    with pytest.raises(
        StepError, match=r"over their memory limit of 2 GB: give run\(memory=\.\.\."
    ):
        source.usid.process(deadly).run(client=client)
    client.wait_for_workers(2, timeout=30)


def test_blocks_fit_into_the_workers(source: xr.DataArray) -> None:
    class Tight:
        """An executor of workers with little memory."""

        workers = 1
        memory = 55_000  # of which 60 % are for blocks

    process = source.usid.process(steps.fft_filter, high=1e-4)
    plan = plan_for(process.plan, process._replan, Tight(), None)
    assert count_units(process.plan) == 1
    assert count_units(plan) == 8


def test_nothing_large_is_pickled(hdf5_path: str) -> None:
    source = usidx.open(hdf5_path)
    plan = bind(steps.fft_filter, source, {"high": 1e-4}, memory=33_000)
    target = target_of(None, plan.source)
    with target.store.claim(request_of(plan, target)) as claim:
        units = list(units_of(plan, claim.writers))
        works = works_of(graph_of(plan, units), units)
        assert works is not None
        assert len(works) == 8
        assert max(len(cloudpickle.dumps(each)) for each in works) < 20_000
        for writer in claim.writers.values():
            assert len(pickle.dumps(writer)) < 5_000
