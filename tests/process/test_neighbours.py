"""Blocks that overlap are computed each on its own, in memory that counts what they overlap."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
import pytest
import xarray as xr

import usidx
from tests.process.conftest import write_h5usid
from usidx.errors import PlanError
from usidx.process.planning.bind import bind
from usidx.process.planning.budget import memory_of
from usidx.process.planning.neighbours import own_graphs
from usidx.process.running.runner import Threads
from usidx.step import step
from usidx.steps import gaussian_filter, median_filter
from usidx.testing import make_main

# (Y: 60, X: 7, Frequency: 16) float32: a row in and one out are 896 bytes
ROW = 7 * 16 * 4 * 2


def blurred(spectra: xr.DataArray) -> xr.DataArray:
    """By a Gaussian that reaches two rows."""
    return gaussian_filter(spectra, sigma={"Y": float(spectra.Y[1] - spectra.Y[0])}, truncate=2.0)


def overlapped(spectra: xr.DataArray) -> xr.DataArray:
    reached = da.map_overlap(
        lambda block: block - 2 * np.roll(block, 1, 0) + np.roll(block, -1, 0),
        spectra.astype("f8").data,
        depth={0: 1},
        boundary="nearest",
        dtype="f8",
    )
    return spectra.copy(data=reached)


STEPS: dict[str, Callable[[xr.DataArray], xr.DataArray]] = {
    "blurred": blurred,
    "median": lambda spectra: median_filter(spectra, over=["Y", "X"]),
    "overlapped": overlapped,
    "rolled": lambda spectra: spectra.rolling(Y=3, center=True, min_periods=1).mean(),
    "shifted": lambda spectra: (spectra - spectra.shift(Y=2)).fillna(0),
    "differences": lambda spectra: spectra.diff("Y"),
}


def kernel(block: np.ndarray) -> np.ndarray:
    return np.sort(block, axis=-1)


def sorted_then_blurred(spectra: xr.DataArray) -> xr.DataArray:
    """What is shared is computed, not only read."""
    return blurred(xr.apply_ufunc(kernel, spectra, dask="parallelized", output_dtypes=["f4"]))


STEPS["sorted"] = sorted_then_blurred


@pytest.fixture(scope="module")
def truth() -> xr.DataArray:
    return make_main((60, 7, 16), dtype="float32")


@pytest.fixture
def source(truth: xr.DataArray, tmp_path: pathlib.Path) -> xr.DataArray:
    opened = usidx.open(write_h5usid(tmp_path / "scan.h5", truth))
    assert isinstance(opened, xr.DataArray)
    return opened


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No two blocks are computed together."""

    def run_joined(*_: Any) -> None:
        raise AssertionError("blocks were computed together")

    monkeypatch.setattr(Threads, "run_joined", run_joined)


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("kind", ["h5", "zarr"])
@pytest.mark.parametrize("name", STEPS)
def test_blocks_overlap_in_bounded_memory_and_are_resumed(
    source: xr.DataArray, truth: xr.DataArray, name: str, kind: str, tmp_path: pathlib.Path
) -> None:
    mine = step(name.title(), STEPS[name], version="1")
    process, into = source.usid.process(mine), tmp_path / f"out.{kind}"
    memory = 2 * memory_of(15 * ROW)
    done: list[int] = []

    def stop(event: Any) -> None:
        done.append(event.done)
        if len(done) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        process.run(into, on_block=stop, memory=memory, workers=2)
    (begun,) = process.existing(into)
    assert begun.status == "partial"
    found = process.resume(begun, memory=memory, workers=2)
    assert found.status == "complete"
    expected = STEPS[name](truth.chunk()).values
    np.testing.assert_allclose(found.open(), expected, rtol=1e-5, atol=1e-5)


def test_what_a_block_holds_is_counted(source: xr.DataArray) -> None:
    for rows in (8, 15, 30):
        memory = memory_of(rows * ROW)
        plan = bind(step("Blurred", blurred, version="1"), source, {}, memory=memory)
        (output,) = plan.outputs
        assert plan.apart
        assert memory_of(plan.cost) <= memory
        middle = (output.prefix, output.spec.shape[0] // output.block[0] // 2, 0, 0)
        (graph,) = own_graphs(plan, [[middle]])
        read = sum(_read(node) for node in graph.values())
        # as many bytes are read as are written of as many positions
        assert read <= plan.cost // 2
        assert read > output.block[0] * ROW // 2


def _read(node: Any) -> int:
    """Bytes of the source that a task reads, those inside it included."""
    total = 0
    waiting = [node]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            waiting += each.values()
            continue
        args = getattr(each, "args", ())
        if getattr(getattr(each, "func", None), "__name__", "").startswith("getter"):
            index = getattr(args[1], "value", args[1])
            total += 4 * int(np.prod([part.stop - part.start for part in index]))
            continue
        waiting += [arg for arg in args if isinstance(arg, dict) or hasattr(arg, "args")]
    return total


def test_what_a_refusal_asks_for_is_enough(truth: xr.DataArray, tmp_path: pathlib.Path) -> None:
    small = truth.isel(Y=slice(0, 24), X=slice(0, 4))
    source = usidx.open(write_h5usid(tmp_path / "small.h5", small))
    process = source.usid.process(step("Blurred", blurred, version="1"))
    with pytest.raises(PlanError, match=r"position.? and \d+ of its neighbours") as caught:
        process.run(memory=memory_of(5 * ROW // 7), workers=1)
    found = re.search(r"give memory='([^']+)'", str(caught.value))
    assert found is not None
    result = process.run(memory=found[1], workers=1).open()
    np.testing.assert_allclose(result, blurred(small.chunk()), rtol=1e-5, atol=1e-5)


def test_blocks_are_no_less_than_what_they_overlap(truth: xr.DataArray) -> None:
    many = truth.isel(Y=np.arange(6000) % 60, X=np.arange(700) % 7).drop_vars("Y").chunk({"Y": 40})
    many = many.assign_coords(Y=("Y", np.arange(6000.0), truth.Y.attrs))
    plan = bind(gaussian_filter, many, {"sigma": {"Y": 15.0}})
    assert plan.apart
    assert plan.outputs[0].block[0] >= 60


def test_what_far_blocks_share_is_computed_once(source: xr.DataArray) -> None:
    centred = step("Centred", lambda spectra: spectra - spectra.mean(["Y", "X"]), version="1")
    assert not bind(centred, source, {}, memory=memory_of(15 * ROW)).apart
    doubled = step("Doubled", lambda spectra: 2 * spectra, version="1")
    assert not bind(doubled, source, {}, memory=memory_of(15 * ROW)).apart
