"""Decoded chunks are what HDF5 reads, for every filter, type, shape and selection; damage shows."""

from __future__ import annotations

import pathlib
import struct
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from usidx.errors import DamagedStoreError
from usidx.stores.hdf5.file import FileIdentity
from usidx.stores.hdf5.objects.place import find_place
from usidx.stores.hdf5.values import chunked
from usidx.stores.hdf5.values.bytes import HDF5Array
from usidx.stores.hdf5.values.chunked import chunks_of
from usidx.stores.hdf5.values.fletcher import agrees, fletcher32, in_numpy
from usidx.stores.hdf5.values.selection import Fold

DTYPES = ("u1", "<i2", ">i4", "<f4", ">f8", "<c8", "?", [("a", "<f4"), ("b", "<i2"), ("c", "u1")])
FILTERS: tuple[dict[str, Any], ...] = (
    {"compression": "gzip"},
    {"compression": "gzip", "compression_opts": 9, "shuffle": True},
    {"compression": "gzip", "shuffle": True, "fletcher32": True},
    {"shuffle": True},
    {"fletcher32": True},
    {"shuffle": True, "fletcher32": True},
)


def values_of(dtype: Any, shape: tuple[int, int], seed: int) -> np.ndarray:
    """Values with low and high bytes, some of which compress."""
    made = np.zeros(shape, dtype)
    size = made.dtype.itemsize
    raw = np.random.default_rng(seed).integers(0, 256, (made.size, size), np.uint8)
    raw[::3, : size // 2 + 1] = 0
    if made.dtype.kind == "b":
        raw &= 1
    made[...] = raw.reshape(-1).view(made.dtype).reshape(shape)
    return made


def array_of(path: pathlib.Path, folds: tuple[Fold, ...]) -> HDF5Array:
    with h5py.File(path) as file:
        place, identity = find_place(file["d"]), FileIdentity.of(file)
    return HDF5Array(str(path), "/d", folds, place, identity)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_values_are_those_that_hdf5_reads(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    dtype = np.dtype(data.draw(st.sampled_from(DTYPES)))
    rows, columns = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 30))
    chunks = (data.draw(st.integers(1, rows)), data.draw(st.integers(1, columns)))
    path = tmp_path_factory.mktemp("chunked") / "any.h5"
    values = values_of(dtype, (rows, columns), data.draw(st.integers(0, 9)))
    with h5py.File(path, "w") as file:
        file.create_dataset("d", data=values, chunks=chunks, **data.draw(st.sampled_from(FILTERS)))
    order = data.draw(st.none() | st.permutations(range(rows)).map(np.array))
    array = array_of(path, (Fold((rows,), order), Fold((columns,))))
    key = tuple(data.draw(st.integers(0, size - 1) | st.slices(size)) for size in (rows, columns))
    with h5py.File(path) as file:
        by_hdf5 = file["d"][()]
    expected = (by_hdf5 if order is None else by_hdf5[order])[key]
    found = array.read(key)
    assert found.dtype == expected.dtype
    assert found.tobytes() == np.asarray(expected).tobytes()


def written(path: pathlib.Path, **filters: Any) -> np.ndarray:
    values = values_of("<f4", (20, 24), 0)
    with h5py.File(path, "w") as file:
        file.create_dataset("d", data=values, chunks=(8, 10), **filters)
    return values


FOLDS = (Fold((4, 5)), Fold((6, 4)))


@pytest.mark.parametrize("filters", FILTERS)
def test_hdf5_is_not_asked_for_values(
    filters: dict[str, Any], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = written(tmp_path / "a.h5", **filters)
    monkeypatch.setattr(h5py.Dataset, "__getitem__", None)
    found = array_of(tmp_path / "a.h5", FOLDS)[1:3, ::2, 2, 1:]
    np.testing.assert_array_equal(found, values.reshape(4, 5, 6, 4)[1:3, ::2, 2, 1:])


@pytest.mark.parametrize(
    "kept",
    [
        {"compression": "lzf"},
        pytest.param(
            {"scaleoffset": 3},
            marks=pytest.mark.skipif(
                h5py.version.hdf5_version_tuple < (2, 0, 0),
                reason="HDF5 1.14 cannot read what it scaled of such floats",
            ),
        ),
        {},
    ],
)
def test_other_filters_are_left_to_hdf5(kept: dict[str, Any], tmp_path: pathlib.Path) -> None:
    written(tmp_path / "a.h5", **kept)
    with h5py.File(tmp_path / "a.h5") as file:
        expected = file["d"][()].reshape(4, 5, 6, 4)
        assert chunks_of(file["d"]) is None
    np.testing.assert_array_equal(array_of(tmp_path / "a.h5", FOLDS)[:], expected)


def test_what_was_never_written_has_the_fill_value(tmp_path: pathlib.Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        made = file.create_dataset(
            "d", (20, 24), "f4", chunks=(8, 10), compression="gzip", fillvalue=7
        )
        made[:8] = 1
    found = array_of(tmp_path / "a.h5", FOLDS)[:].reshape(20, 24)
    assert (found[:8] == 1).all()
    assert (found[8:] == 7).all()


def test_a_file_with_a_user_block_is_read(tmp_path: pathlib.Path) -> None:
    values = values_of("<f4", (20, 24), 0)
    with h5py.File(tmp_path / "a.h5", "w", userblock_size=512) as file:
        file.create_dataset("d", data=values, chunks=(8, 10), compression="gzip")
    np.testing.assert_array_equal(array_of(tmp_path / "a.h5", FOLDS)[:].reshape(20, 24), values)


def test_chunks_that_went_without_a_filter_are_read(tmp_path: pathlib.Path) -> None:
    values = values_of("<f4", (8, 10), 0)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        made = file.create_dataset("d", (8, 10), "<f4", chunks=(8, 10), compression="gzip")
        made.id.write_direct_chunk((0, 0), values.tobytes(), filter_mask=1)
    np.testing.assert_array_equal(array_of(tmp_path / "a.h5", (Fold((8,)), Fold((10,))))[:], values)


@pytest.mark.parametrize(
    "filters", [each for each in FILTERS if len(each) > 1 or "shuffle" not in each]
)
@pytest.mark.parametrize("library", ["zlib", "isal.isal_zlib"])
def test_damage_is_never_read_as_values(
    filters: dict[str, Any], library: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = pytest.importorskip(library)
    monkeypatch.setattr(chunked, "_library", lambda: module)
    path = tmp_path / "a.h5"
    values = written(path, **filters)
    with h5py.File(path) as file:
        info = file["d"].id.get_chunk_info_by_coord((8, 10))
    array = array_of(path, FOLDS)
    for place in range(0, info.size, 37):
        content = bytearray(path.read_bytes())
        content[info.byte_offset + place] ^= 0x10
        path.write_bytes(content)
        changed = array_of(path, FOLDS)
        with pytest.raises(DamagedStoreError, match=r"chunk at \(8, 10\) of '/d'.*is damaged"):
            changed[:]
        content[info.byte_offset + place] ^= 0x10
        path.write_bytes(content)
    np.testing.assert_array_equal(array[:].reshape(20, 24), values)


@pytest.mark.parametrize("library", ["zlib", "isal.isal_zlib"])
def test_a_chunk_that_swells_is_refused(
    library: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import zlib

    module = pytest.importorskip(library)
    monkeypatch.setattr(chunked, "_library", lambda: module)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        made = file.create_dataset("d", (8, 10), "<f4", chunks=(8, 10), compression="gzip")
        made.id.write_direct_chunk((0, 0), zlib.compress(bytes(10**8)))
    with pytest.raises(DamagedStoreError, match="does not decompress to 320 bytes"):
        array_of(tmp_path / "a.h5", (Fold((8,)), Fold((10,))))[:]


@pytest.mark.parametrize("size", [1, 2, 3, 719, 720, 8192, 8193, 300_001])
@pytest.mark.parametrize("kind", ["random", "zeros", "ones", "last"])
def test_the_checksum_is_that_of_hdf5(size: int, kind: str, tmp_path: pathlib.Path) -> None:
    values = np.zeros(size, np.uint8)
    if kind == "random":
        values = np.random.default_rng(size).integers(0, 256, size, np.uint8)
    values[-1] = 1 if kind == "last" else values[-1]
    values[:] = 255 if kind == "ones" else values
    with h5py.File(tmp_path / "a.h5", "w") as file:
        made = file.create_dataset("d", data=values, chunks=(size,), fletcher32=True)
        _, raw = made.id.read_direct_chunk((0,))
    (stored,) = struct.unpack("<I", raw[-4:])
    assert fletcher32(raw[:-4]) == stored
    assert in_numpy(np.frombuffer(raw[:-4], np.uint8)) == stored
    assert agrees(raw[:-4], stored)
    assert not agrees(raw[:-4], stored ^ 1)
