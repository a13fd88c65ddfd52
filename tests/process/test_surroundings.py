"""Very many blocks that overlap: only they and what is around them are described."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import dask.array as da
import h5py
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import usidx
from tests.process.conftest import Checked, taking_little, write_h5usid
from usidx.errors import PlanError
from usidx.model.blocks import blocks_of
from usidx.process.planning import bind as binding
from usidx.process.planning import graphs, plan
from usidx.process.planning.bind import bind
from usidx.process.planning.cutting import cut_at
from usidx.process.running.runner import Threads
from usidx.process.running.work import batches, count_units, units_of, works_in
from usidx.step import step
from usidx.steps import gaussian_filter, median_filter
from usidx.testing import make_main

Function = Callable[[xr.DataArray], xr.DataArray]


def second_difference(dim: str, boundary: Any, depth: int = 1) -> Function:
    """Of a kernel whose values do not depend on where it is cut."""

    def kernel(block: np.ndarray, axis: int) -> np.ndarray:
        lines = np.moveaxis(block, axis, 0)
        more = np.concatenate([lines[:1]] * depth + [lines] + [lines[-1:]] * depth)
        return np.moveaxis(more[: -2 * depth] - 2 * lines + more[2 * depth :], 0, axis)

    def function(spectra: xr.DataArray) -> xr.DataArray:
        axis = spectra.get_axis_num(dim)
        reached = da.map_overlap(
            kernel,
            spectra.astype("f8").data,
            depth={axis: depth},
            boundary={axis: boundary},
            dtype="f8",
            axis=axis,
        )
        return spectra.copy(data=reached)

    return function


def sharpened(spectra: xr.DataArray) -> xr.DataArray:
    """What blocks overlap by is computed, not only read."""
    kernel = xr.apply_ufunc(
        lambda block: np.sort(block, axis=-1), spectra, dask="parallelized", output_dtypes=["f4"]
    )
    return kernel - gaussian_filter(kernel, sigma={"X": 0.1}, truncate=2.0)


# steps, and bytes of memory with which their blocks are few positions
ALONG_X: dict[str, tuple[Function, int]] = {
    "reflected": (second_difference("X", "reflect"), 390),
    "periodic": (second_difference("X", "periodic"), 390),
    "periodic_far": (second_difference("X", "periodic", 3), 1400),
    "nearest": (second_difference("X", "nearest", 2), 760),
    "constant": (second_difference("X", 7.0), 390),
    "unbounded": (second_difference("X", "none"), 390),
    "rolled": (lambda spectra: spectra.rolling(X=4, min_periods=1).mean(), 950),
    "centred": (lambda spectra: spectra.rolling(X=5, center=True, min_periods=1).max(), 950),
    "shifted": (lambda spectra: (spectra - spectra.shift(X=2)).fillna(0), 200),
    "turned": (lambda spectra: spectra.roll(X=3) + spectra, 200),
    "sharpened": (sharpened, 610),
}
OVER_A_MAP: dict[str, tuple[Function, int]] = {
    "gaussian": (
        lambda spectra: gaussian_filter(spectra, sigma={"Y": 1.0, "X": 0.1}, truncate=1.0),
        760,
    ),
    "median": (lambda spectra: median_filter(spectra, over=["Y", "X"]), 760),
    "periodic": (second_difference("Y", "periodic"), 390),
    "reflected": (second_difference("Y", "reflect", 2), 1200),
    "rolled": (lambda spectra: spectra.rolling(Y=3, center=True, min_periods=1).sum(), 1500),
}


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight blocks are very many, and none can be planned with all others."""
    for module in (plan, binding, graphs):
        monkeypatch.setattr(module, "MOST_BLOCKS", 8)
    monkeypatch.setattr(graphs, "_MOST_JOINED", 8)


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No two blocks are computed together."""

    def run_joined(*_: Any) -> None:
        raise AssertionError("blocks were computed together")

    monkeypatch.setattr(Threads, "run_joined", run_joined)


def stored(truth: xr.DataArray, folder: pathlib.Path, kind: str) -> xr.DataArray:
    path = folder / f"scan.{kind}"
    if kind == "h5":
        write_h5usid(path, truth)
    else:
        truth.usid.to_zarr(path)
    opened = usidx.open(path)
    assert isinstance(opened, xr.DataArray)
    return opened


def spaced(truth: xr.DataArray) -> xr.DataArray:
    """Positions that are 1 apart along Y, and 0.1 along X."""
    places = {"Y": np.arange(truth.sizes["Y"]), "X": np.arange(truth.sizes["X"]) / 10}
    return truth.assign_coords(
        {dim: (dim, values.astype(float), truth[dim].attrs) for dim, values in places.items()}
    )


LINE = spaced(make_main((1, 48, 3), dtype="float32"))
LONG = spaced(make_main((1, 2000, 3), dtype="float32"))
MAP = spaced(make_main((11, 9, 3), dtype="float32"))
CASES = {f"line_{name}": (LINE, *each) for name, each in ALONG_X.items()}
CASES |= {f"rows_{name}": (MAP, *ALONG_X[name]) for name in ("periodic", "shifted", "sharpened")}
CASES |= {f"map_{name}": (MAP, *each) for name, each in OVER_A_MAP.items()}


@pytest.mark.usefixtures("few", "alone")
@pytest.mark.parametrize("name", CASES)
def test_values_are_those_of_all_blocks_together(name: str, tmp_path: pathlib.Path) -> None:
    truth, function, memory = CASES[name]
    # half of them from each kind of store
    kind = ("h5", "zarr")[list(CASES).index(name) % 2]
    source = stored(truth, tmp_path, kind)
    made = step(name.title(), function, version="1")
    bound = bind(made, source, {}, memory=memory, workers=1)
    assert bound.apart
    assert bound.remaking is not None
    assert bound.remaking.around > 0
    found = source.usid.process(made).run(tmp_path / f"out.{kind}", memory=memory, workers=1)
    expected = function(truth.chunk()).values
    opened = found.open().transpose(*truth.dims)
    np.testing.assert_allclose(opened.values, expected, rtol=1e-5, atol=1e-5)


def difference(spectra: xr.DataArray) -> xr.DataArray:
    return (spectra - spectra.shift(X=2)).fillna(0)


@pytest.mark.usefixtures("few", "alone")
def test_resumed_blocks_lie_anywhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setattr(graphs, "_MOST_CHUNKS", 200)
    made, path = step("Difference", difference, version="1"), tmp_path / "scan.h5"
    source = stored(MAP, tmp_path, "h5")
    result = source.usid.process(made).run(memory=200, workers=1)
    with h5py.File(path, "r+") as file:
        group = file[result.path]
        for row in (0, 1, 13, 40, 41, 56, 62):
            group["completed_positions"][row] = 0
            group["Difference"][row] = -1
        group.attrs["usid_status"] = "partial"
    done = result.resume(made, memory=200, workers=1)
    assert done.status == "complete"
    np.testing.assert_allclose(done.open(), difference(MAP.chunk()), rtol=1e-6)


def mean_subtracted(spectra: xr.DataArray) -> xr.DataArray:
    return spectra - spectra.mean(["Y", "X"])


def turned_round(spectra: xr.DataArray) -> xr.DataArray:
    return spectra.copy(data=spectra.isel(X=slice(None, None, -1)).data)


def fitted_to_the_first(spectra: xr.DataArray) -> xr.DataArray:
    """Little of the source, of which something is made that all blocks need."""
    first = xr.apply_ufunc(
        lambda block: np.sort(block, axis=-1),
        spectra.isel(X=slice(0, 1), Y=slice(0, 1)),
        dask="parallelized",
        output_dtypes=["f4"],
    )
    return spectra - first.isel(X=0, Y=0) + spectra.shift(X=1, fill_value=0)


def summed_up(spectra: xr.DataArray) -> xr.DataArray:
    return spectra.cumsum("X")


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("made", [mean_subtracted, turned_round, fitted_to_the_first, summed_up])
def test_what_reaches_further_is_refused(made: Function, tmp_path: pathlib.Path) -> None:
    source = stored(LONG, tmp_path, "h5")
    with pytest.raises(PlanError, match="blocks of 'Raw_Data', which need more"):
        bind(step("Far", made, version="1"), source, {}, memory=390, workers=1)


def further_on(spectra: xr.DataArray) -> xr.DataArray:
    """Some positions, which are not looked at, need all of the map."""
    near, far = difference(spectra), mean_subtracted(spectra)
    parts = [near.isel(X=slice(0, 300)), far.isel(X=slice(300, 310)), near.isel(X=slice(310, None))]
    return xr.concat(parts, "X")


@pytest.mark.usefixtures("few")
def test_a_block_that_reaches_further_than_those_looked_at_ends_the_run(
    tmp_path: pathlib.Path,
) -> None:
    source = stored(LONG, tmp_path, "h5")
    process = source.usid.process(step("Further", further_on, version="1"))
    with pytest.raises(PlanError, match="need far more of it than those that were looked"):
        process.run(memory=200, workers=1)


@given(st.data())
def test_a_cut_with_surroundings_has_the_blocks_as_chunks(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.integers(1, 40), min_size=1, max_size=2)))
    block = tuple(data.draw(st.integers(1, min(size, 4))) for size in shape)
    around = data.draw(st.integers(1, 6))
    every = list(blocks_of(shape, block))
    chosen = data.draw(st.lists(st.sampled_from(every), min_size=1, max_size=5))
    places = [tuple(p.start // b for p, b in zip(each.key, block)) for each in chosen]
    cut = cut_at(shape, block, places, around)
    assert tuple(sum(each) for each in cut.sizes) == shape
    assert all(size > 0 for sizes in cut.sizes for size in sizes)
    for each, place in zip(chosen, places):
        for axis, number in enumerate(cut.place(place)):
            sizes = cut.sizes[axis]
            start = sum(sizes[:number])
            assert slice(start, start + sizes[number]) == each.key[axis]
            # what is near, also across the ends, lies in chunks that are not much larger
            edges = np.cumsum([0, *sizes])
            near = np.arange(start - around, start + sizes[number] + around) % shape[axis]
            found = np.searchsorted(edges, near, side="right") - 1
            assert max(sizes[one] for one in found) <= max(block[axis], 2 * around)


def test_a_million_blocks_begin_at_once_and_take_little(large: str) -> None:
    source = usidx.open(large)
    made = step("Difference", difference, version="1")
    bind(made, source, {})  # what is imported and remembered once
    expected = difference(source.compute()).values
    with taking_little(200_000):
        bound = bind(made, source, {}, memory=150, workers=1)
        assert count_units(bound) == 10**6
        writer: Any = Checked(expected)
        units = units_of(bound, {bound.outputs[0].name: writer})
        works = works_in(bound, next(batches(units, 64)))
        assert works is not None
        for work in works[:20]:
            work()
        assert writer.marked == 20


def less(spectra: xr.DataArray, *, mean: xr.DataArray) -> xr.DataArray:
    return spectra - mean


def test_a_million_blocks_less_a_mean_that_is_stored_before(
    large: str, tmp_path: pathlib.Path
) -> None:
    source = usidx.open(large)
    with pytest.raises(PlanError, match=r"1000000 blocks .* store that first"):
        bind(step("Less", mean_subtracted, version="1"), source, {}, memory=48, workers=1)
    # as that says
    stored_mean = source.usid.save(source.mean(["Y", "X"]), tool="Mean", into=tmp_path / "mean.h5")
    mean = stored_mean.open()
    bound = bind(step("Less", less, version="1"), source, {"mean": mean}, memory=100, workers=1)
    assert count_units(bound) == 10**6
    values = source.values.astype("f8")
    writer: Any = Checked((values - values.mean((0, 1))).astype("f4"), 1e-5)
    units = next(batches(units_of(bound, {bound.outputs[0].name: writer}), 64))
    works = works_in(bound, units)
    assert works is not None
    for work in works[:20]:
        work()
    assert writer.marked == 20
