"""What other programs hold for a moment: stores are written all the same, and nothing is left."""

from __future__ import annotations

import collections
import errno
import os

import numpy as np
import pytest

import usidx
from tests.stacking.frames import expected
from usidx.errors import ReadOnlyStoreError
from usidx.stores import disk

NAMES = r"(?P<Y>\d+)_(?P<X>\d+)"


@pytest.fixture
def held(monkeypatch):
    """Renames fail the first times for each name, as they do under Windows."""
    tries = collections.Counter()
    real = os.replace

    def replace(source, target):
        tries[target] += 1
        if tries[target] <= held_for[0]:
            raise PermissionError(errno.EACCES, "used by another process", source)
        real(source, target)

    held_for = [2]
    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(disk, "_PAUSES", (0.001,) * 3)
    return held_for, tries


@pytest.mark.parametrize("exchange", [True, False])
def test_a_store_is_replaced_all_the_same(grid, tmp_path, held, monkeypatch, exchange):
    monkeypatch.setattr(disk, "EXCHANGE", exchange and disk.EXCHANGE)
    path = tmp_path / "map.zarr"
    da = usidx.stack(grid, pattern=NAMES, chunks={"X": 4})
    da.usid.to_zarr(path)
    (da + 1).usid.to_zarr(path, overwrite=True)
    assert held[1]
    np.testing.assert_array_equal(usidx.open(path).values, expected(2, 12) + 1)
    assert sorted(os.listdir(tmp_path)) == ["map", "map.zarr"]
    names = [name for _, _, files in os.walk(path) for name in files]
    assert not [name for name in names if name.endswith(".partial")]


def test_what_is_held_for_good(grid, tmp_path, held):
    path = tmp_path / "map.zarr"
    da = usidx.stack(grid, pattern=NAMES, chunks={"X": 4})
    da.usid.to_zarr(path)
    held[0][0] = 99
    with pytest.raises(ReadOnlyStoreError, match="cannot be written"):
        (da + 1).usid.to_zarr(path, overwrite=True)
    np.testing.assert_array_equal(usidx.open(path).values, expected(2, 12))
    assert sorted(os.listdir(tmp_path)) == ["map", "map.zarr"]


def test_a_frame_that_fails_leaves_the_old_store(grid, tmp_path):
    path = tmp_path / "map.zarr"
    da = usidx.stack(grid, pattern=NAMES, chunks={"X": 4})
    da.usid.to_zarr(path)
    (grid / "scan_1_7.tif").write_bytes(b"II*\x00 and nothing else")
    with pytest.raises(OSError, match=r"scan_1_7.tif"):
        da.usid.to_zarr(path, overwrite=True)
    np.testing.assert_array_equal(usidx.open(path).values, expected(2, 12))
    assert sorted(os.listdir(tmp_path)) == ["map", "map.zarr"]
