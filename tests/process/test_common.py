"""What all blocks need is computed once, before them; then each is computed on its own."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest
import xarray as xr

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


@pytest.mark.parametrize("limit", ["_MOST_KEYS", "_MOST_BYTES"])
def test_what_is_large_is_computed_together_with_the_blocks(
    source: xr.DataArray, truth: xr.DataArray, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(common, limit, 1)
    found = source.usid.process(centred).run(**SMALL)
    np.testing.assert_allclose(found.open(), centred(truth.chunk()), rtol=1e-4, atol=1e-5)
    found = source.usid.process(turned).run(**SMALL)
    np.testing.assert_allclose(found.open(), truth.values[::-1])
