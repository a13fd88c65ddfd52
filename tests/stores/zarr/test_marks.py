"""Marks of completed positions, of which there are few files or very many."""

from __future__ import annotations

import os
import pathlib

import numpy as np
import pytest
import zarr
from zarr.codecs import Crc32cCodec

from usidx.errors import UnsafeStoreError
from usidx.stores.zarr import marks
from usidx.stores.zarr.create import open_to_write
from usidx.stores.zarr.marks import stored_marks
from usidx.stores.zarr.nodes import check_inside

SHAPE, CHUNKS = (40, 45), (3, 4)


@pytest.fixture
def handle(tmp_path: pathlib.Path) -> zarr.Array:
    """Marks of which few are there, those at the ends of the axes among them."""
    group = zarr.create_group(tmp_path / "store.zarr")
    group.create_array(
        "marks",
        shape=SHAPE,
        chunks=CHUNKS,
        dtype=np.uint8,
        fill_value=0,
        compressors=[Crc32cCodec()],
    )
    array = open_to_write(os.fspath(tmp_path / "store.zarr" / "marks"))
    array[6:9, 8:16] = 1
    array[39:40, 44:45] = 1
    array[0:3, 0:4] = np.eye(3, 4, dtype=np.uint8)
    return array


def expected() -> np.ndarray:
    """What `handle` marks."""
    found = np.zeros(SHAPE, bool)
    found[6:9, 8:16] = True
    found[39, 44] = True
    found[0:3, 0:4] = np.eye(3, 4, dtype=bool)
    return found


def test_listing_files_finds_what_zarr_reads(
    handle: zarr.Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.testing.assert_array_equal(stored_marks(handle), expected())
    part = (slice(5, 40, 2), slice(1, 44))
    np.testing.assert_array_equal(stored_marks(handle, part), expected()[part])
    monkeypatch.setattr(marks, "_FEW", 10**6)
    np.testing.assert_array_equal(stored_marks(handle), expected())


def test_many_marks_that_are_missing_are_not_looked_for(
    handle: zarr.Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zarr.Array, "__getitem__", None)
    np.testing.assert_array_equal(stored_marks(handle), expected())


@pytest.mark.parametrize("left", [b"", b"\x01" * 5, b"\x01" * 12 + b"\x00" * 4])
@pytest.mark.parametrize("few", [1, 10**6])
def test_damaged_files_mark_nothing(
    handle: zarr.Array, left: bytes, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks, "_FEW", few)
    path = pathlib.Path(handle.store.root) / "c" / "2" / "2"
    assert path.exists()
    path.write_bytes(left)
    there = expected()
    there[6:9, 8:12] = False
    np.testing.assert_array_equal(stored_marks(handle), there)


def test_files_with_other_names_mark_nothing(handle: zarr.Array) -> None:
    folder = pathlib.Path(handle.store.root) / "c"
    whole = (folder / "2" / "2").read_bytes()
    for name in ("2/9.partial", "2/09", "2/12", "99/0", "notes"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(whole)
    np.testing.assert_array_equal(stored_marks(handle), expected())


@pytest.mark.parametrize("place", ["2/2", "13", "."])
def test_links_are_looked_at(handle: zarr.Array, place: str, tmp_path: pathlib.Path) -> None:
    folder = pathlib.Path(handle.store.root) / "c"
    there = (folder / place).resolve()
    there.rename(tmp_path / "elsewhere")
    there.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnsafeStoreError, match="outside"):
        stored_marks(handle, None, lambda path: check_inside(str(tmp_path / "store.zarr"), path))
