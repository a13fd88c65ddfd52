"""Deleting result groups: gone whole, refused while it would do harm."""

from __future__ import annotations

import os
import pathlib

import numpy as np
import pytest
import xarray as xr

import usidx
from tests.process.conftest import write_h5usid
from usidx.errors import MainNotFoundError, PlanError, StoreLockedError
from usidx.exporting import to_zarr
from usidx.steps import mean
from usidx.stores import store_at
from usidx.stores.lock import run_lock
from usidx.testing import make_main


@pytest.fixture(params=["hdf5", "zarr"])
def source(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> xr.DataArray:
    main = make_main((4, 5, 8), dtype="float32")
    if request.param == "hdf5":
        path = write_h5usid(tmp_path / "scan.h5", main)
    else:
        path = to_zarr(main, tmp_path / "scan.zarr")
    return usidx.open(path)


def run(source: xr.DataArray, over: str = "Frequency") -> usidx.process.ResultGroup:
    return source.usid.process(mean, over=[over]).run(progress=False)


def test_a_deleted_group_is_gone_and_can_be_made_again(source: xr.DataArray) -> None:
    before = source.values
    group = run(source)
    path, size = group.store, os.path.getsize(group.store)
    group.delete()
    assert len(source.usid.results()) == 0
    with pytest.raises(MainNotFoundError):
        group.delete()
    np.testing.assert_array_equal(usidx.open(path).values, before)
    if os.path.isfile(path):
        assert os.path.getsize(path) <= size
    assert os.listdir(os.path.dirname(path)) == [os.path.basename(path)]
    again = run(source)
    assert again.path == group.path
    np.testing.assert_allclose(again.open().squeeze(), before.mean(axis=2), rtol=1e-6)


def test_others_keep_their_values(source: xr.DataArray) -> None:
    first, second = run(source), source.usid.process(mean, over=["Frequency"]).run(fresh=True)
    expected = second.open().values
    first.delete()
    np.testing.assert_array_equal(second.open().values, expected)
    if os.path.isdir(second.store):
        plain = xr.open_datatree(second.store, engine="zarr")
        assert second.path in plain.groups
        assert first.path not in plain.groups


def test_it_is_refused_while_somebody_writes_the_group(source: xr.DataArray) -> None:
    group = run(source)
    with (
        run_lock(group.store, group.path, "writing"),
        pytest.raises(StoreLockedError, match="this"),
    ):
        group.delete()
    assert group.status == "complete"


def test_it_is_refused_for_a_source_of_others(source: xr.DataArray) -> None:
    group = run(source)
    made = run(group.open(), "X")
    with pytest.raises(PlanError, match=f"source of '{made.path}'"):
        group.delete()
    if made.path.startswith(group.path):
        group.delete(force=True)
        assert len(source.usid.results()) == 0
    made_store = store_at(group.store)
    assert [each.kind for each in made_store.mains() if each.kind == "raw"] == ["raw"]
