"""What all blocks need is computed once, before them; then each is computed on its own."""

from __future__ import annotations

import pathlib
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr

import usidx
from usidx.errors import StepError
from usidx.process.running import common
from usidx.process.running.runner import Threads
from usidx.step import step

SMALL: dict[str, Any] = {"memory": "66 kB", "workers": 2}


@step("Centred", version="1")
def centred(spectra: xr.DataArray) -> xr.DataArray:
    """Spectra less their mean, in units of their deviation: two summaries of the source."""
    return (spectra - spectra.mean(["Y", "X"])) / spectra.std(["Y", "X"])


@step("Turned", version="1")
def turned(spectra: xr.DataArray) -> xr.DataArray:
    """Maps in the other order: what blocks have in common is as large as the source."""
    maps = spectra.chunk({"Y": -1, "X": -1, "Frequency": 1})
    return maps.copy(data=maps.data.map_blocks(np.flip, axis=0, dtype=maps.dtype))


@pytest.mark.parametrize("kind", ["h5", "zarr"])
def test_blocks_are_computed_apart_and_resumed(
    source: xr.DataArray,
    truth: xr.DataArray,
    kind: str,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run_joined(*_: Any) -> None:
        raise AssertionError("blocks were computed together")

    monkeypatch.setattr(Threads, "run_joined", run_joined)
    process, into = source.usid.process(centred), tmp_path / f"out.{kind}"
    done: list[int] = []

    def stop(event: Any) -> None:
        done.append(event.done)
        if len(done) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        process.run(into, on_block=stop, **SMALL)
    (begun,) = process.existing(into)
    assert begun.status == "partial"
    found = process.resume(begun, **SMALL)
    assert found.status == "complete"
    np.testing.assert_allclose(found.open(), centred(truth.chunk()), rtol=1e-4, atol=1e-5)


def test_what_several_mains_are_made_of_is_computed_once(
    source: xr.DataArray, truth: xr.DataArray
) -> None:
    calls: list[int] = []

    def both(mean: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        calls.append(1)
        return mean, 2 * mean

    @step("Parted", version="1")
    def parted(spectra: xr.DataArray) -> xr.Dataset:
        mean = spectra.mean(["Y", "X"])
        parts = dask.delayed(both, nout=2, pure=True)(mean.data.rechunk(-1).to_delayed().ravel()[0])
        one, other = (da.from_delayed(each, mean.shape, mean.dtype) for each in parts)
        number = xr.DataArray([0.0], dims="Number").assign_attrs(usid_role="position", units="")
        twice = mean.copy(data=other).expand_dims("Number").assign_coords(Number=number)
        return xr.Dataset({"Less": spectra - mean.copy(data=one), "Twice": twice})

    found = source.usid.process(parted).run(**SMALL).open()
    assert len(calls) == 1
    expected = truth.mean(["Y", "X"])
    np.testing.assert_allclose(found["Less/Less"], truth - expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["Twice/Twice"].squeeze(), 2 * expected, rtol=1e-4, atol=1e-5)


def test_what_is_wrong_here_is_not_taken_for_what_a_step_raises(
    source: xr.DataArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_anew(graph: object) -> None:
        raise NameError("no such name")

    monkeypatch.setattr(common, "read_anew", read_anew)
    with pytest.raises(NameError, match="no such name"):
        source.usid.process(centred).run(**SMALL)


def test_a_summary_that_raises_names_the_step(source: xr.DataArray) -> None:
    def failing(block: object) -> None:
        raise ZeroDivisionError("by nothing")

    @step("Failing", version="1")
    def summed(spectra: xr.DataArray) -> xr.DataArray:
        mean = spectra.mean(["Y", "X"])
        return spectra - mean.copy(data=mean.data.map_blocks(failing, dtype=mean.dtype))

    with pytest.raises(StepError, match="by nothing"):
        source.usid.process(summed).run(**SMALL)


@pytest.mark.parametrize("limit", ["_MOST_KEYS", "_MOST_BYTES"])
def test_what_is_large_is_computed_together_with_the_blocks(
    source: xr.DataArray, truth: xr.DataArray, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(common, limit, 1)
    found = source.usid.process(centred).run(**SMALL)
    np.testing.assert_allclose(found.open(), centred(truth.chunk()), rtol=1e-4, atol=1e-5)
    found = source.usid.process(turned).run(**SMALL)
    np.testing.assert_allclose(found.open(), truth.values[::-1])


def test_sums_along_the_map_are_not_begun_anew_for_each_block(
    path: str, truth: xr.DataArray
) -> None:
    calls: list[int] = []

    def counted(block: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        calls.append(1)
        return block

    rows = usidx.open(path, chunks={"Y": 1})
    seen = rows.copy(data=rows.data.map_blocks(counted, dtype=rows.dtype, meta=rows.data._meta))
    found = rows.usid.save(seen.cumsum("Y"), "Summed", memory="200 kB", workers=2)
    # each block needs those before it: 136 calls, if all of these were computed for each
    assert 16 <= len(calls) < 2 * 16
    np.testing.assert_allclose(found.open(), truth.cumsum("Y"), rtol=1e-4, atol=1e-5)
