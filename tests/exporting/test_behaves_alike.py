"""A store with results behaves the same, whatever kind it is and however its chunks lie."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr

import usidx
from usidx.exporting import to_h5usid, to_zarr
from usidx.testing import make_main

KINDS: dict[str, Callable[[Any, pathlib.Path], str]] = {
    "h5": to_h5usid,
    "gzip": lambda obj, path: to_h5usid(obj, path, compression="gzip"),
    "zarr": to_zarr,
    "shards": lambda obj, path: to_zarr(obj, path, chunks={"Y": 2}, shards={"Y": 4}),
    "both": lambda obj, path: to_zarr(obj, path, access="both"),
    "maps": lambda obj, path: to_zarr(obj, path, access="maps"),
    "v2": lambda obj, path: to_zarr(obj, path, zarr_format=2),
}


@usidx.step("Twice", version="3")
def twice(spectra: xr.DataArray, *, stop: float = np.inf) -> xr.DataArray:
    """The values times two; some are refused."""
    if float(spectra.Y.max()) > stop:
        raise ValueError("enough")
    return spectra * 2


@pytest.fixture(params=list(KINDS))
def store(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> str:
    """A store of each kind with a raw Main in four blocks and a complete result of it."""
    first = to_h5usid(make_main((8, 5, 16), seed=3), tmp_path / "first.h5")
    usidx.open(first).usid.process(twice).run()
    path = tmp_path / "store"
    return KINDS[request.param](usidx.open_tree(first), path)


def test_a_converted_result_is_a_result(store: str) -> None:
    raw = usidx.open(store, "Raw_Data")
    (found,) = raw.usid.results("Twice")
    assert (found.status, found.parameters["stop"]) == ("complete", np.inf)
    result = usidx.open(store, "Twice")
    np.testing.assert_array_equal(result, raw * 2)
    assert result.usid.source is not None
    np.testing.assert_array_equal(result.usid.source, raw)
    assert "Twice" in str(result.usid.history)
    assert usidx.validate(store, values=True).ok


def test_a_step_runs_and_is_found_again(store: str) -> None:
    raw = usidx.open(store, "Raw_Data")
    process = raw.usid.process(twice, stop=1e9)
    group = process.run()
    assert [each.path for each in process.existing()] == [group.path]
    assert process.run().path == group.path
    assert len(usidx.open(store, "Raw_Data").usid.results("Twice")) == 2
    np.testing.assert_array_equal(usidx.open(store, f"{group.path}/Twice"), raw * 2)
    assert usidx.validate(store, values=True).ok
