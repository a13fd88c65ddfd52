"""Many parts read in a row from a file that is opened once: the right values, or none."""

from __future__ import annotations

import os
import pathlib
import shutil
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr

import usidx
from usidx.arrays.lazy import stored_of
from usidx.steps import fft_filter
from usidx.stores import disk
from usidx.stores.hdf5.values import bytes as reading
from usidx.stores.hdf5.values.bytes import HDF5Array, Reading
from usidx.testing import make_main

MAIN = "Measurement_000/Channel_000/Raw_Data"


@pytest.fixture
def path(tmp_path: pathlib.Path) -> str:
    """A file with a contiguous Main over 12 x 10 positions and 64 frequencies."""
    path = usidx.to_h5usid(make_main((12, 10, 64), dtype="float32"), tmp_path / "scan.h5")
    with h5py.File(path, "r+") as file:
        group = file["Measurement_000/Channel_000"]
        values, attrs = group["Raw_Data"][()], dict(group["Raw_Data"].attrs)
        del group["Raw_Data"]
        group.create_dataset("Raw_Data", data=values).attrs.update(attrs)
    return str(path)


def _array(path: str) -> HDF5Array:
    opened = usidx.open(path, "Raw_Data")
    assert isinstance(opened, xr.DataArray)
    array = stored_of(opened.data)
    assert isinstance(array, HDF5Array)
    return array


def _key(generator: np.random.Generator) -> tuple[slice, ...]:
    ends = [np.sort(generator.integers(0, size + 1, 2)) for size in (12, 10, 64)]
    return tuple(slice(int(a), int(b)) for a, b in ends)


@pytest.mark.parametrize("positioned", [True, False])
def test_parts_are_those_of_the_array(
    path: str, positioned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "POSITIONED_IO", positioned and disk.POSITIONED_IO)
    array, whole = _array(path), usidx.open(path, "Raw_Data").values
    generator = np.random.default_rng(0)
    with Reading(array) as parts:
        for _ in range(50):
            key = _key(generator)
            out = np.full(whole[key].shape, -1, "f4")
            np.testing.assert_array_equal(parts.read(key, out), whole[key])
        assert parts.holds()


@pytest.mark.parametrize("positioned", [True, False])
def test_no_more_is_read_than_there_is(
    tmp_path: pathlib.Path, positioned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "POSITIONED_IO", positioned and disk.POSITIONED_IO)
    (tmp_path / "short").write_bytes(bytes(range(10)))
    with open(tmp_path / "short", "rb", buffering=0) as file:
        room = bytearray(8)
        assert disk.read_into(file.fileno(), memoryview(room), 4) == 6
        assert room == bytes([4, 5, 6, 7, 8, 9, 0, 0])
        assert disk.read_into(file.fileno(), memoryview(room), 1) == 8
        assert room == bytes(range(1, 9))


def test_arrays_behind_filters_have_none(tmp_path: pathlib.Path) -> None:
    path = usidx.to_h5usid(make_main((4, 5, 6)), tmp_path / "filtered.h5")
    assert _array(str(path)).reading() is None


def test_a_file_in_its_place_is_noticed(path: str, tmp_path: pathlib.Path) -> None:
    array = _array(path)
    everything = tuple(slice(0, size) for size in array.shape)
    with Reading(array) as parts:
        parts.read(everything, np.empty(array.shape, "f4"))
        assert parts.holds()
        other = shutil.copy(path, tmp_path / "other.h5")
        with h5py.File(other, "r+") as file:
            file[MAIN][:] = 7
        os.replace(other, path)
        assert not parts.holds()


def test_values_that_moved_are_noticed(path: str) -> None:
    array = _array(path)
    everything = tuple(slice(0, size) for size in array.shape)
    with Reading(array) as parts:
        expected = parts.read(everything, np.empty(array.shape, "f4")).copy()
        with h5py.File(path, "r+") as file:
            group = file["Measurement_000/Channel_000"]
            group.copy("Raw_Data", "Moved")
            attrs = dict(group["Raw_Data"].attrs)
            del group["Raw_Data"]
            group.move("Moved", "Raw_Data")
            group["Raw_Data"].attrs.update(attrs)
            assert group["Raw_Data"].id.get_offset() != array.place.offset
        assert not parts.holds()
        # and what is read from then on is right
        out = np.empty(array.shape, "f4")
        np.testing.assert_array_equal(parts.read(everything, out), expected)


@pytest.mark.parametrize("answers", [[True, False], [False, False], [True, True]])
def test_blocks_are_computed_again_where_it_does_not_hold(
    path: str, answers: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = usidx.open(path, "Raw_Data")
    assert isinstance(source, xr.DataArray)
    expected = fft_filter(source.compute(), high=0.2e-3, order=2)
    asked: list[int] = []
    original = Reading.holds

    def holds(self: Any) -> bool:
        asked.append(1)
        original(self)
        return answers[min(len(asked), 2) - 1]

    def read(self: Any, key: Any, out: Any) -> Any:
        found = array_read(self, key, out)
        if not answers[1]:
            found[...] = -1  # what lies there by now
        return found

    array_read = Reading.read
    monkeypatch.setattr(Reading, "holds", holds)
    monkeypatch.setattr(Reading, "read", read)
    monkeypatch.setattr(reading, "_LOOK_EVERY", 1e9)
    result = source.usid.process(fft_filter, high=0.2e-3, order=2).run(workers=1)
    np.testing.assert_allclose(result.open().values, expected.values, rtol=1e-5, atol=1e-7)
    assert asked


def test_what_is_raised_on_other_values_is_not_the_steps_fault(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = usidx.open(path, "Raw_Data")

    def picky(block: np.ndarray) -> np.ndarray:
        if np.any(block == -1):
            raise ValueError("garbage")
        return 2 * block

    step = usidx.step(
        "Picky",
        lambda da: da.copy(data=da.data.map_blocks(picky, dtype=da.dtype)),
        version="1",
        per_position=True,
    )

    def read(self: Any, key: Any, out: Any) -> Any:
        out[...] = -1
        return out

    monkeypatch.setattr(Reading, "read", read)
    monkeypatch.setattr(Reading, "holds", lambda self: False)
    result = source.usid.process(step).run(workers=1)
    np.testing.assert_array_equal(result.open().values, 2 * source.values)
