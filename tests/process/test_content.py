"""Sources that somebody edited in place, where the sample of their identity does not look."""

from __future__ import annotations

import pathlib

import h5py
import numpy as np
import pytest
import xarray as xr
import zarr

import usidx
from tests.process.conftest import MAIN
from usidx.arrays.origin import origin_of
from usidx.errors import PlanError, SourceChangedError
from usidx.process.results import content
from usidx.step import step

SMALL = {"memory": "33 kB", "workers": 1}


@step("Doubled", version="1")
def doubled(spectra: xr.DataArray) -> xr.DataArray:
    return (2 * spectra).assign_attrs(spectra.attrs)


def edit(path: str, by: float) -> None:
    """Add to one value in the middle of the source, behind usidx's back."""
    if path.endswith(".zarr"):
        values = zarr.open_array(f"{path}/{MAIN}/Raw_Data", mode="r+")
        values[7, 9, 13] += by
        return
    with h5py.File(path, "r+") as file:
        file[MAIN][7 * 20 + 9, 13] += by


def test_an_edited_source_gives_a_new_result(path: str) -> None:
    before = usidx.open(path)
    first = before.usid.process(doubled).run()
    value = before.values[7, 9, 13]
    edit(path, 1.0)
    after = usidx.open(path)
    if path.endswith(".h5"):  # or this would show nothing
        assert origin_of(after).identity == origin_of(before).identity
    other = after.usid.process(doubled).run()
    assert other != first
    np.testing.assert_array_equal(other.open(), 2 * after)
    assert after.usid.process(doubled).run() == other
    assert len(after.usid.process(doubled).existing()) == 1
    edit(path, value - after.values[7, 9, 13])
    assert usidx.open(path).usid.process(doubled).run() == first


def test_an_edited_source_is_not_gone_on_with(hdf5_path: str) -> None:
    def stop(event: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        usidx.open(hdf5_path, chunks={"Y": 2}).usid.process(doubled).run(on_block=stop, **SMALL)
    (partial,) = usidx.open(hdf5_path).usid.results()
    assert partial.status == "partial"
    edit(hdf5_path, 1.0)
    with pytest.raises(PlanError, match="the values of its source are no longer those"):
        partial.resume(step=doubled)
    assert usidx.open(hdf5_path).usid.process(doubled).run() != partial


def test_a_lazy_result_of_an_edited_source(hdf5_path: str) -> None:
    first = usidx.open(hdf5_path).usid.save(2 * usidx.open(hdf5_path), "Doubled")
    assert usidx.open(hdf5_path).usid.save(2 * usidx.open(hdf5_path), "Doubled") == first
    edit(hdf5_path, 1.0)
    assert usidx.open(hdf5_path).usid.save(2 * usidx.open(hdf5_path), "Doubled") != first


def test_derived_sources_are_looked_into(hdf5_path: str, tmp_path: pathlib.Path) -> None:
    def run():
        lazy = usidx.open(hdf5_path) + np.float32(1)
        return lazy.usid.process(doubled).run(into=tmp_path / "r.h5")

    first = run()
    assert run() == first
    edit(hdf5_path, 1.0)
    assert run() != first


def test_of_large_sources_pieces_are_read(
    path: str, truth: xr.DataArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content, "WHOLE", truth.nbytes // 2)
    monkeypatch.setattr(content, "PIECES", 16)
    monkeypatch.setattr(content, "_PIECES_OF_CHUNKS", 16)
    monkeypatch.setattr(content, "PIECE", 64)  # half a spectrum
    origin = origin_of(usidx.open(path))
    assert origin is not None
    digest = content.digest_of(origin)
    assert digest.startswith("some:")
    stored = usidx.stores.store_at(path).open_main(f"/{MAIN}")
    read = np.zeros(truth.shape, int)
    for key in content._keys(stored):
        read[key] += 1
    assert read.max() == 1
    assert read.sum() == 16 * 16
    # evenly spread: in every other row of the map something is read, at both ends of it too
    assert read[[0, -1]].any(axis=(1, 2)).all()
    assert set(np.flatnonzero(read.any(axis=(0, 1)))) == set(range(32))
    np.testing.assert_array_equal(np.diff(np.flatnonzero(read.any(axis=2))).round(-1), 20)


def test_what_was_opened_and_is_no_more(hdf5_path: str) -> None:
    opened = usidx.open(hdf5_path)
    with h5py.File(hdf5_path, "r+") as file:
        file[MAIN][0] += 1
    with pytest.raises(SourceChangedError):
        opened.usid.process(doubled).run()
