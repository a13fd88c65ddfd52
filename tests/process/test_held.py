"""What all blocks share is counted, and refused where it does not fit."""

from __future__ import annotations

import pathlib
import re

import numpy as np
import pytest
import xarray as xr

import usidx
from usidx.errors import PlanError
from usidx.process.planning.bind import bind_result
from usidx.process.planning.budget import parse_memory
from usidx.process.planning.held import shared_by
from usidx.process.running.estimate import AROUND_ZARR
from usidx.step import Step, step


@step("Turned", version="1")
def turned(spectra: xr.DataArray) -> xr.DataArray:
    """Transformed maps: each is complex, and needed by every block of spectra."""
    maps = spectra.chunk({"Y": -1, "X": -1, "Frequency": 1})
    values = maps.data.map_blocks(np.fft.fft2, axes=(0, 1), dtype=complex)
    return maps.copy(data=values)


@step("Less", version="1")
def less(spectra: xr.DataArray) -> xr.DataArray:
    return spectra - spectra.mean(["Y", "X"])


def test_transformed_maps_are_held_together(source: xr.DataArray, truth: xr.DataArray) -> None:
    plan = source.usid.process(turned)._replan(memory=2 * 16 * truth.size, workers=1)
    assert shared_by(plan).nbytes == 16 * truth.size
    with pytest.raises(PlanError, match=r"array\.isel.*cluster"):
        source.usid.process(turned).run(memory=16 * truth.size - 1, workers=1)
    with pytest.raises(PlanError, match="stay in memory"):
        source.usid.process(turned).estimate(memory=16 * truth.size - 1, workers=1)
    assert source.usid.process(turned).estimate().memory > 16 * truth.size
    found = source.usid.process(turned).run(memory=2 * 16 * truth.size, workers=1).open()
    np.testing.assert_allclose(found, np.fft.fft2(truth, axes=(0, 1)), rtol=1e-4, atol=1e-3)


@step("Turned_Twice", version="1")
def turned_twice(spectra: xr.DataArray) -> xr.Dataset:
    """The same as two Mains, of which one has no spectra."""
    maps = turned(spectra)
    return xr.Dataset({"Turned": maps, "Sum": maps.real.sum("Frequency")})


def of_a_sample(spectra: xr.DataArray, *, samples: int = 1000) -> int:
    return 8 * samples


@step("Sampled", version="1", holds=of_a_sample)
def sampled(spectra: xr.DataArray, *, samples: int = 1000) -> xr.DataArray:
    return spectra + samples


@pytest.mark.parametrize("which", [turned, turned_twice])
@pytest.mark.parametrize("workers", [1, 3])
def test_blocks_get_what_is_left_beside_what_they_share(
    source: xr.DataArray,
    path: str,
    truth: xr.DataArray,
    which: Step[..., object],
    workers: int,
) -> None:
    process = source.usid.process(which)
    held = 16 * truth.size
    for memory in (held // 2, held + 1):
        with pytest.raises(PlanError, match="With the smallest blocks") as refused:
            process.run(memory=memory, workers=workers)
    found = re.search(r"give memory='([^']+)'", str(refused.value))
    assert found is not None
    for memory in (parse_memory(found[1]) or 0, 2 * held):
        estimate = process.estimate(memory=memory, workers=workers)
        # what zarr's threads take comes on top, as it does without anything that is shared
        of_zarr = estimate.in_flight * AROUND_ZARR if path.endswith(".zarr") else 0
        assert held < estimate.memory - of_zarr <= memory
    result = process.run(memory=found[1], workers=workers)
    (name,) = (each for each in result.mains if each.rpartition("/")[2] == "Turned")
    values = usidx.open(result.store, name)
    np.testing.assert_allclose(values, np.fft.fft2(truth, axes=(0, 1)), rtol=1e-4, atol=1e-3)


@step("Power", version="1")
def power(spectra: xr.DataArray) -> xr.DataArray:
    """Of maps by the dozen, which take four times their memory and more while they are made."""
    maps = spectra.chunk({"Y": -1, "X": -1, "Frequency": 16})
    values = maps.data.map_blocks(np.fft.fft2, axes=(0, 1), dtype=complex)
    return maps.copy(data=(abs(values) ** 2).astype("f4"))


def test_making_what_is_shared_is_counted_too(source: xr.DataArray, truth: xr.DataArray) -> None:
    process = source.usid.process(power)
    # two halves of the maps at once: as complex numbers, as real ones twice, and a copy
    making = 2 * truth.size // 2 * (16 + 8 + 8 + 4 + 16)
    assert 2 * shared_by(process._replan(memory=making // 5, workers=2)).making == making
    with pytest.raises(PlanError, match="stay in memory"):
        process.run(memory=making // 2, workers=2)
    found = process.run(memory=2 * making, workers=2).open()
    wanted = abs(np.fft.fft2(truth, axes=(0, 1))) ** 2
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3)


def test_what_a_step_says_it_holds_is_counted(source: xr.DataArray, path: str) -> None:
    alone = source.usid.process(sampled, samples=0).estimate(memory=30_000, workers=2)
    process = source.usid.process(sampled, samples=2000)
    beside = process.estimate(memory=30_000, workers=2)
    assert (alone.kept, beside.kept) == (0, 16_000)
    assert beside.block_memory < alone.block_memory
    of_zarr = 2 * AROUND_ZARR if path.endswith(".zarr") else 0
    assert beside.memory - of_zarr <= 30_000
    with pytest.raises(PlanError, match="'Sampled' holds 16 kB besides its blocks"):
        process.run(memory=16_100, workers=2)
    assert process.run(memory=30_000, workers=2).status == "complete"


def test_what_a_step_holds_is_a_number_of_bytes(source: xr.DataArray) -> None:
    wrong = step("Wrong", lambda spectra: spectra, version="1", holds=lambda spectra: "much")
    with pytest.raises(PlanError, match="holds of step 'Wrong' gave 'much'"):
        source.usid.process(wrong).estimate()


def test_a_mean_of_all_is_next_to_nothing(source: xr.DataArray, truth: xr.DataArray) -> None:
    plan = source.usid.process(less)._replan(memory=66_000, workers=2)
    assert 0 < shared_by(plan).nbytes < truth.nbytes / 4


def test_rows_from_all_over_the_map_keep_all_of_it(tmp_path: pathlib.Path) -> None:
    sides = [usidx.Dimension("Y", "um", 128), usidx.Dimension("X", "um", 4)]
    values = np.random.default_rng(0).random((128, 4, 8))
    made = usidx.from_array(
        values, "I", "A", position=sides, spectroscopic=[usidx.Dimension("E", "eV", 8)]
    )
    made.usid.to_h5usid(tmp_path / "scan.h5")
    rows = usidx.open(tmp_path / "scan.h5", chunks={"Y": 2})
    order = np.random.default_rng(1).permutation(128)
    order[-1] = order[0] + 1 - 2 * (order[0] % 2)  # the first and the last need the same chunk
    shuffled = rows.copy(data=rows.data[order].rechunk({0: 16}))
    plan = bind_result(shuffled, rows, "Shuffled", {}, memory=rows.nbytes)
    assert shared_by(plan).nbytes == rows.nbytes
    with pytest.raises(PlanError, match="stay in memory until the last block"):
        rows.usid.save(shuffled, "Shuffled", memory=rows.nbytes, workers=1)
    found = rows.usid.save(shuffled, "Shuffled", memory=3 * rows.nbytes, workers=1).open()
    np.testing.assert_array_equal(found, values[order])
