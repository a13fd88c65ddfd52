"""Stores in Icechunk repositories: whatever is written is a version, and all of them stay."""

from __future__ import annotations

import numpy as np
import pytest

import usidx
from tests.stores.remote.made import VALUES, write_scan
from usidx.errors import (
    OptionError,
    ReadOnlyStoreError,
    SourceChangedError,
    StoreExistsError,
    StoreLockedError,
    StoreNotFoundError,
)

icechunk = pytest.importorskip("icechunk", reason="versions are kept by Icechunk")


@pytest.fixture
def array(tmp_path):
    return usidx.open(write_scan(tmp_path / "scan.h5"))


@pytest.fixture
def url(tmp_path):
    return f"icechunk://{tmp_path}/scan.icechunk"


def versions(tmp_path):
    """Messages and snapshots, newest first, as Icechunk itself tells them."""
    place = icechunk.local_filesystem_storage(str(tmp_path / "scan.icechunk"))
    told = icechunk.Repository.open(place).ancestry(branch="main")
    return [(each.message, each.id) for each in told]


def test_a_result_is_a_commit_and_what_was_before_stays(array, url, tmp_path):
    array.usid.to_zarr(url, chunks={"Bias": 8}, storage_options={"message": "measured"})
    first = usidx.open(url)
    assert np.array_equal(first.isel(Bias=3), VALUES[..., 3])
    result = array.usid.process(usidx.steps.gaussian_filter, sigma={"X": 1.0}).run()
    held = usidx.open_tree(tmp_path / "scan.h5")
    held.usid.to_zarr(url, overwrite=True, storage_options={"message": "filtered"})

    assert [message for message, _ in versions(tmp_path)[:2]] == ["filtered", "measured"]
    now = usidx.open(url, "Raw_Data")
    assert [each.record.status for each in now.usid.results()] == ["complete"]
    assert np.array_equal(usidx.open(url, "Gaussian_Filter"), result.open())
    before = f"{url}@{versions(tmp_path)[1][1]}"
    assert len(usidx.list_mains(before)) == 1
    assert np.array_equal(usidx.open(before), VALUES)
    with pytest.raises(SourceChangedError, match="open it again"):
        first.compute()


def test_a_version_is_made_of_the_one_before_it(array, url, tmp_path):
    array.usid.to_zarr(url)
    with pytest.raises(StoreExistsError, match="another one, which leaves that as it is"):
        array.usid.to_zarr(url)
    (usidx.open(url) + 1).rename("Raw_Data").usid.to_zarr(url, overwrite=True)

    assert np.array_equal(usidx.open(f"{url}@main"), VALUES + 1)


def test_what_fails_is_no_version(array, url, tmp_path, monkeypatch):
    from usidx.stores.zarr import uploading

    array.usid.to_zarr(url)
    before = versions(tmp_path)

    def broken(*_, **__):
        raise RuntimeError("the disk is gone")

    monkeypatch.setattr(uploading.FarTarget, "__setitem__", broken)
    with pytest.raises(RuntimeError, match="gone"):
        (array + 1).rename("Raw_Data").usid.to_zarr(url, overwrite=True)

    assert versions(tmp_path) == before
    assert np.array_equal(usidx.open(url), VALUES)


def test_of_two_at_once_the_second_is_refused(array, url, tmp_path):
    array.usid.to_zarr(url)

    def another(done, total):
        if done == 1:
            (array + 2).rename("Raw_Data").usid.to_zarr(url, overwrite=True)

    with pytest.raises(StoreLockedError, match="write it again"):
        (array + 1).rename("Raw_Data").usid.to_zarr(url, overwrite=True, progress=another)

    assert np.array_equal(usidx.open(url), VALUES + 2)
    assert len(versions(tmp_path)) == 3


def test_what_is_no_version(array, url, tmp_path):
    array.usid.to_zarr(url)

    with pytest.raises(StoreNotFoundError, match="nothing at"):
        usidx.open(f"icechunk://{tmp_path}/none.icechunk")
    with pytest.raises(StoreNotFoundError, match="nothing at"):
        usidx.open(f"{url}@nobody")
    with pytest.raises(OptionError, match=r"ends in \.icechunk"):
        usidx.open(f"icechunk://{tmp_path}/scan.zarr")
    with pytest.raises(ReadOnlyStoreError, match="into="):
        usidx.open(url).usid.process(usidx.steps.gaussian_filter, sigma={"X": 1.0}).run()
