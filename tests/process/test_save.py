"""Lazy results that people made themselves, kept beside their source."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
import xarray as xr

import usidx
from usidx.errors import PlanError, StepError
from usidx.process.planning.bind import bind_result
from usidx.process.running.streaming import stream_of


def test_a_lazy_result_is_saved_beside_its_source(
    source: xr.DataArray, truth: xr.DataArray
) -> None:
    lazy = source.mean("Frequency")
    result = source.usid.save(lazy, tool="Mean", parameters={"over": "Frequency"})
    assert result.name == "Raw_Data-Mean_000"
    assert (result.status, dict(result.parameters)) == ("complete", {"over": "Frequency"})
    assert result.source is not None
    np.testing.assert_allclose(result.open().squeeze(), truth.mean("Frequency"), rtol=1e-5)


def test_the_same_lazy_result_is_saved_once(path: str) -> None:
    def saved(factor: float, **options: object):
        source = usidx.open(path)
        return source.usid.save(factor * source, tool="Scaled", **options)

    first = saved(2.0)
    assert saved(2.0) == first
    others = [saved(3.0), saved(2.0, version="2"), saved(2.0, parameters={"a": 1})]
    assert saved(2.0, fresh=True) not in others
    assert len({first, *others}) == 4


def test_a_saved_result_is_resumed(source: xr.DataArray, truth: xr.DataArray) -> None:
    broken = [True]

    def kernel(block: np.ndarray) -> np.ndarray:
        if block.size and broken[0] and block.max() == float(truth[4:6].max()):
            raise ValueError("not yet")
        return block + 1

    lazy = xr.apply_ufunc(kernel, source, dask="parallelized", output_dtypes=[source.dtype])
    small = {"memory": "33 kB", "workers": 1}
    with pytest.raises(StepError, match=r"Y\[4:6\]"):
        source.usid.save(lazy, "Plus", **small)
    (partial,) = source.usid.results("Plus")
    assert partial.done == 80
    with pytest.raises(PlanError, match="does not say which step made it"):
        partial.resume()
    broken[0] = False
    assert source.usid.save(lazy, "Plus", **small) == partial
    np.testing.assert_array_equal(partial.open(), truth + 1)


def test_a_dataset_becomes_several_mains(source: xr.DataArray, truth: xr.DataArray) -> None:
    both = xr.Dataset({"Image": source.max("Frequency"), "Mean": source.mean(["Y", "X"])})
    result = source.usid.save(both, "Two")
    tree = result.open()
    np.testing.assert_array_equal(tree["Image/Image"].squeeze(), truth.max("Frequency"))
    np.testing.assert_allclose(tree["Mean/Mean"].squeeze(), truth.mean(["Y", "X"]), rtol=1e-5)


def test_what_is_in_memory_is_saved_too(source: xr.DataArray, tmp_path: pathlib.Path) -> None:
    result = source.usid.save(source.mean("Frequency").compute(), "Mean", into=tmp_path / "r.zarr")
    np.testing.assert_array_equal(result.open().squeeze(), source.mean("Frequency"))


def made_of_single_values(source: xr.DataArray) -> dict[str, xr.DataArray]:
    """Lazy results each position of which is known to be made of that position alone."""
    window = xr.DataArray(np.hanning(source.sizes["Frequency"]), dims="Frequency")
    return {
        "abs": abs(source),
        "arithmetic": (2 * source - 1) ** 2,
        "functions": np.sqrt(abs(source)).clip(0, 1).astype("float64"),
        "windowed": source.where(source > 0, 0) * window,
        "mapped": source.usid.map(np.sort, over="Frequency", output="Frequency"),
        "reduced": source.usid.map(lambda block: block.max(-1), over="Frequency"),
    }


@pytest.mark.parametrize(
    "name", ["abs", "arithmetic", "functions", "windowed", "mapped", "reduced"]
)
@pytest.mark.parametrize("rows", [3, -1])
def test_such_results_need_less_than_a_chunk_of_the_source(path: str, name: str, rows: int) -> None:
    source = usidx.open(path, chunks={"Y": rows})
    lazy = made_of_single_values(source)[name]
    memory = source.nbytes // 2
    plan = bind_result(lazy, source, "Single", {}, memory=memory, workers=1)
    assert stream_of(plan) is not None
    assert plan.outputs[0].count > 1
    result = source.usid.save(lazy, "Single", memory=memory, workers=1, progress=False)
    np.testing.assert_array_equal(result.open(), lazy)


def chunk_by_chunk(source: xr.DataArray) -> dict[str, xr.DataArray]:
    """Lazy results of functions that may see more than a position."""
    weights = np.arange(source[..., 0].size, dtype="float32").reshape(*source.shape[:2], 1)
    return {
        "of chunks": source.copy(data=source.data.map_blocks(lambda block: block - block.mean())),
        "along a position": source.cumsum("X"),
        "with the map": source - source.mean(["Y", "X"]),
        "of all positions": source * weights,
    }


@pytest.mark.parametrize(
    "name", ["of chunks", "along a position", "with the map", "of all positions"]
)
@pytest.mark.parametrize("rows", [3, -1])
def test_other_results_are_computed_in_chunks_of_the_source(
    path: str, name: str, rows: int
) -> None:
    source = usidx.open(path, chunks={"Y": rows})
    lazy = chunk_by_chunk(source)[name]
    assert stream_of(bind_result(lazy, source, "Chunks", {})) is None
    result = source.usid.save(lazy, "Chunks", progress=False)
    np.testing.assert_array_equal(result.open(), lazy)
