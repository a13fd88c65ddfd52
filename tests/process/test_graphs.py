"""Very many blocks: described a handful at a time, with the values of all at once."""

from __future__ import annotations

import itertools
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import usidx
from tests.process.conftest import Checked, taking_little
from usidx.errors import PlanError
from usidx.model.blocks import blocks_of
from usidx.process.planning import bind as binding
from usidx.process.planning import graphs, plan
from usidx.process.planning.bind import bind
from usidx.process.planning.cutting import cut_at
from usidx.process.running import streaming
from usidx.process.running.work import batches, count_units, graph_of, units_of, works_of
from usidx.step import Step, step

MAIN = "Measurement_000/Channel_000/Raw_Data"


@step("Doubled", version="1")
def doubled(spectra: xr.DataArray) -> xr.DataArray:
    """Without a promise, so that dask computes it."""
    return 2 * spectra


@step("Summed", version="1")
def summed(spectra: xr.DataArray) -> xr.Dataset:
    """Two outputs of one cut."""
    return xr.Dataset({"Sum": spectra.sum("Frequency"), "Square": spectra**2})


@step("Centred", version="1")
def centred(spectra: xr.DataArray) -> xr.DataArray:
    """Every block needs all of the source."""
    return spectra - spectra.mean(["Y", "X"])


@step("Smoothed", version="1")
def smoothed(spectra: xr.DataArray) -> xr.DataArray:
    """Blocks overlap."""
    return spectra.rolling(Y=3, center=True, min_periods=1).mean()


@step("Flipped", version="1")
def flipped(spectra: xr.DataArray) -> xr.DataArray:
    """Blocks need positions that lie elsewhere."""
    return spectra.copy(data=spectra.data[::-1])


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three blocks are very many."""
    monkeypatch.setattr(plan, "MOST_BLOCKS", 3)
    monkeypatch.setattr(binding, "MOST_BLOCKS", 3)
    monkeypatch.setattr(graphs, "MOST_BLOCKS", 3)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    ("made", "memory"),
    [
        *((each, memory) for each in (doubled, centred, flipped) for memory in ("6 kB", "33 kB")),
        (smoothed, "33 kB"),
    ],
)
def test_values_are_the_same(
    source: xr.DataArray, truth: xr.DataArray, made: Step[Any, Any], memory: str
) -> None:
    process = source.usid.process(made)
    result = process.run(memory=memory, workers=1)
    np.testing.assert_allclose(result.open(), made(truth.chunk()), rtol=1e-4, atol=1e-6)


@pytest.mark.usefixtures("few")
def test_several_outputs_are_made_together(source: xr.DataArray, truth: xr.DataArray) -> None:
    result = source.usid.process(summed).run(memory="33 kB", workers=2)
    found = result.open()
    np.testing.assert_allclose(found["Sum"]["Sum"], truth.sum("Frequency"), rtol=1e-5)
    np.testing.assert_allclose(found["Square"]["Square"], truth**2, rtol=1e-5)


@pytest.mark.usefixtures("few")
def test_a_source_in_its_2d_form(path: str, truth: xr.DataArray) -> None:
    flat = usidx.open(path, MAIN, form="2d")
    found = flat.usid.process(doubled).run(memory="33 kB", workers=1).open()
    np.testing.assert_allclose(found.values.reshape(truth.shape), 2 * truth.values)


@pytest.mark.usefixtures("few")
def test_a_saved_result(source: xr.DataArray, truth: xr.DataArray) -> None:
    result = source.usid.save(source + 1, tool="More", memory="33 kB", workers=1)
    np.testing.assert_allclose(result.open(), truth + 1)


@pytest.mark.usefixtures("few")
def test_resumed_blocks_lie_anywhere(hdf5_path: str, truth: xr.DataArray) -> None:
    source = usidx.open(hdf5_path, MAIN)
    result = source.usid.process(doubled).run(memory="4 kB", workers=1)
    with h5py.File(hdf5_path, "r+") as file:
        group = file[result.path]
        group["completed_positions"][[0, 1, 57, 200, 319]] = 0
        group.attrs["usid_status"] = "partial"
        for row in (0, 1, 57, 200, 319):
            group["Doubled"][row] = -1
    done = result.resume(doubled, memory="4 kB", workers=1)
    assert done.status == "complete"
    np.testing.assert_allclose(done.open(), 2 * truth)


@given(st.data())
def test_a_cut_has_the_blocks_as_chunks(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.integers(1, 12), min_size=1, max_size=3)))
    block = tuple(data.draw(st.integers(1, size)) for size in shape)
    every = list(blocks_of(shape, block))
    chosen = data.draw(st.lists(st.sampled_from(every), min_size=1, max_size=5))
    places = [tuple(p.start // b for p, b in zip(each.key, block)) for each in chosen]
    cut = cut_at(shape, block, places)
    assert tuple(sum(each) for each in cut.sizes) == shape
    for each, place in zip(chosen, places):
        for axis, number in enumerate(cut.place(place)):
            start = sum(cut.sizes[axis][:number])
            assert slice(start, start + cut.sizes[axis][number]) == each.key[axis]


@pytest.mark.parametrize("promise", [True, False])
def test_a_million_blocks_begin_at_once_and_take_little(large: str, promise: bool) -> None:
    source = usidx.open(large)
    made = usidx.step("Twice", lambda da: 2 * da, version="1", per_position=promise)
    expected = 2 * source.values
    bind(made, source, {})  # what is imported and remembered once
    with taking_little(100_000):
        bound = bind(made, source, {}, memory=48, workers=1)
        assert count_units(bound) == 10**6
        (output,) = bound.outputs
        writer: Any = Checked(expected)
        units = units_of(bound, {output.name: writer})
        stream = streaming.stream_of(bound)
        assert (stream is not None) == promise
        if stream is not None:
            works = [stream.work(unit) for unit in itertools.islice(units, 20)]
        else:
            batch = next(batches(units))
            found = works_of(graph_of(bound, batch), batch)
            assert found is not None
            works = list(found)
        for work in works[:20]:
            work()
        assert writer.marked == 20


def test_a_million_blocks_that_need_each_other_are_refused(large: str) -> None:
    with pytest.raises(PlanError, match="1000000 blocks .* Give more memory"):
        bind(centred, usidx.open(large), {}, memory=48, workers=1)
