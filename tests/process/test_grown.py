"""Results of a scan that goes on: what was computed of the old rows is not computed again."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import usidx
from usidx.process.running.grown import ATTRIBUTE, _needs_no_more

ROWS = np.random.default_rng(5).integers(0, 1000, (7, 3, 8, 6)).astype("f4")
PATTERN = r"(?P<Y>\d+)_(?P<X>\d+)"
seen: list[int] = []


@usidx.step("Rooted", version="1", per_position=True)
def rooted(frames: xr.DataArray) -> xr.DataArray:
    def root(block):
        if block.size:
            seen.append(block.shape[0] * block.shape[1])
        return np.sqrt(block)

    return frames.copy(data=frames.data.map_blocks(root, dtype="f4", meta=np.empty((0,) * 4, "f4")))


@pytest.fixture
def grow(tmp_path):
    """Put rows into the folder, and into the store: called with how many there are."""
    (tmp_path / "map").mkdir()
    there = 0

    def to(count: int) -> xr.DataArray:
        nonlocal there
        for y in range(there, count):
            for x in range(3):
                np.save(tmp_path / "map" / f"{y}_{x}.npy", ROWS[y, x])
        there = count
        stacked = usidx.stack(tmp_path / "map", pattern=PATTERN, chunks={"Y": 2, "X": 3})
        return usidx.open(stacked.usid.to_zarr(tmp_path / "scan.zarr", extend=True))

    return to


@pytest.mark.parametrize(
    ("sigma", "alone"),
    [({"v": 1.0}, True), ({"X": 1.0, "u": 1.0}, True), ({"Y": 1.0}, False)],
)
def test_rows_that_need_others_are_told(grow, sigma, alone):
    process = grow(6).usid.process(usidx.steps.gaussian_filter, sigma=sigma)

    assert _needs_no_more(process.plan, 4) is alone


@pytest.mark.parametrize("into", [None, "results.h5"])
def test_only_new_rows_are_computed(grow, tmp_path, into):
    into = None if into is None else tmp_path / into
    small = {"into": into, "memory": "10 kB", "workers": 1}
    first = grow(5).usid.process(rooted).run(**small)
    seen.clear()
    result = grow(7).usid.process(rooted).run(**small)

    assert result.path != first.path
    assert result.record.attrs[ATTRIBUTE] == first.path
    assert np.array_equal(result.open(), np.sqrt(ROWS))
    # two rows are new, and one may share a block with them
    assert 6 <= sum(seen) <= 9
    assert np.array_equal(first.open(), np.sqrt(ROWS[:5]))
    seen.clear()
    again = usidx.open(tmp_path / "scan.zarr").usid.process(rooted).run(into=into)
    assert (again.path, seen) == (result.path, [])


def test_a_filter_of_frames_does_so_by_itself(grow):
    """What dask would do shows that gaussian_filter over a frame needs no other frame."""
    options = {"sigma": {"v": 1.0, "u": 1.0}}
    first = grow(4).usid.process(usidx.steps.gaussian_filter, **options).run()
    result = grow(6).usid.process(usidx.steps.gaussian_filter, **options).run(memory="10 kB")

    assert result.record.attrs[ATTRIBUTE] == first.path
    whole = usidx.open(result.store).usid.process(usidx.steps.gaussian_filter, **options)
    fresh = whole.run(fresh=True)
    assert ATTRIBUTE not in fresh.record.attrs
    assert np.array_equal(result.open(), fresh.open())


def test_what_mixes_rows_is_computed_anew(grow):
    options = {"sigma": {"Y": 1.0}}
    grow(4).usid.process(usidx.steps.gaussian_filter, **options).run()
    result = grow(6).usid.process(usidx.steps.gaussian_filter, **options).run(memory="30 kB")

    assert ATTRIBUTE not in result.record.attrs


def test_other_parameters_or_other_rows_are_computed_anew(grow, tmp_path):
    array = grow(4)
    options = {"sigma": {"v": 1.0, "u": 1.0}}
    array.usid.process(usidx.steps.gaussian_filter, **options).run()
    more = grow(6)
    other = more.usid.process(usidx.steps.gaussian_filter, sigma={"v": 2.0, "u": 1.0})
    assert ATTRIBUTE not in other.run(memory="10 kB").record.attrs

    # the same labels, and other values in the old rows
    results = tmp_path / "results.zarr"
    array = usidx.open((more.isel(Y=slice(0, 4)) + 1).rename("Raw_Data").usid.to_zarr(
        tmp_path / "other.zarr"))  # fmt: skip
    array.usid.process(usidx.steps.gaussian_filter, **options).run(into=results)
    process = more.usid.process(usidx.steps.gaussian_filter, **options)
    result = process.run(into=results, memory="10 kB")
    assert ATTRIBUTE not in result.record.attrs


def test_a_result_that_was_interrupted_is_gone_on_from(grow):
    def stop(_: object) -> None:
        raise KeyboardInterrupt

    process = grow(6).usid.process(rooted)
    with pytest.raises(KeyboardInterrupt):
        process.run(on_block=stop, workers=1, memory="10 kB")
    done = int(np.sum(~np.isnan(usidx.open(process.plan.source.origin.store, "Rooted")))) // 48
    assert 0 < done < 18
    seen.clear()
    result = grow(7).usid.process(rooted).run(workers=1, memory="10 kB")

    assert np.array_equal(result.open(), np.sqrt(ROWS))
    assert sum(seen) == 21 - done
