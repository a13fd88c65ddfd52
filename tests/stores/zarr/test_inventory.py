"""Groups, Mains and other arrays of a Zarr store."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
import zarr

import usidx
from usidx.errors import MainNotFoundError
from usidx.stores.zarr import ZarrStore
from usidx.testing import make_main

CHANNEL = "/Measurement_000/Channel_000"
RAW = f"{CHANNEL}/Raw_Data"


@pytest.fixture
def store(tmp_path: pathlib.Path) -> ZarrStore:
    path = tmp_path / "a.zarr"
    make_main((3, 4, 16)).usid.to_zarr(path)
    usidx.open(path).usid.process(usidx.steps.peak_response, along="Frequency").run()
    group = zarr.open_group(path, mode="r+")
    group[CHANNEL].attrs["gain"] = 3.5
    array = group[CHANNEL].create_array(
        "UDVS", shape=(4, 7), dtype="f4", dimension_names=("s", "u")
    )
    array[...] = np.arange(28).reshape(4, 7)
    array.attrs["note"] = "steps"
    return ZarrStore(str(path))


def test_groups_mains_and_other_arrays(store: ZarrStore) -> None:
    contents = store.contents()
    groups = {each.path: each for each in contents.groups}
    (result,) = (each for each in groups if "-" in each)
    assert set(groups) == {"/", "/Measurement_000", CHANNEL, result}
    assert groups[CHANNEL].attrs["gain"] == 3.5
    (udvs,) = groups[CHANNEL].datasets
    assert udvs.labels == ("s", "u")
    assert udvs.attrs == {"note": "steps"}
    assert udvs.array[1:3, 2].tolist() == [9, 16]
    assert {each.spec.path for each in contents.mains} == {each.path for each in store.mains()}
    assert contents.refused == {}
    tree = usidx.open_tree(store.path)
    assert tree[f"{CHANNEL}/UDVS"].dims == ("UDVS_s", "UDVS_u")
    assert tree[CHANNEL].attrs["gain"] == 3.5
    assert set(tree.usid.mains.paths) == {each.spec.path for each in contents.mains}


def test_one_by_one(store: ZarrStore) -> None:
    raw, result = store.candidates()
    assert (raw.path, raw.kind) == (RAW, "raw")
    assert result.kind == "result"
    assert store.candidates("Raw_Data") == (raw,)
    assert store.candidates("aw_Data") == ()
    assert store.dataset(f"{CHANNEL}/UDVS").array.shape == (4, 7)
    assert store.dataset(RAW).array.shape == (3, 4, 16)
    assert store.attrs(CHANNEL)["gain"] == 3.5
    assert store.result_of(RAW) is None
    found = store.result_of(result.path)
    assert found is not None
    assert found.sources == (("", RAW),)
    assert store.regions() == ()
    for ask in (store.dataset, store.attrs, store.result_of):
        with pytest.raises(MainNotFoundError):
            ask("/nothing")
    with pytest.raises(MainNotFoundError):
        store.dataset(CHANNEL)
