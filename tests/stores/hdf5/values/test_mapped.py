"""Mappings that are kept: the same values as fresh ones, whatever becomes of the file."""

from __future__ import annotations

import os
import pathlib
import sys
from collections.abc import Iterator

import h5py
import numpy as np
import pytest
import xarray as xr

import usidx
from usidx.errors import DamagedStoreError, StoreNotFoundError, UsidError
from usidx.stores.hdf5.values import mapped
from usidx.testing import make_main

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="nothing is kept there")


@pytest.fixture(autouse=True)
def _small_ones_too(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    mapped.forget()
    monkeypatch.setattr(mapped, "_WORTH_BYTES", 0)
    yield
    mapped.forget()


def _file(path: pathlib.Path, seed: int = 0) -> tuple[str, np.ndarray]:
    """A file with one contiguous Main, and its values."""
    main = make_main((12, 10, 64), dtype="float32")
    values = np.random.default_rng(seed).random((12, 10, 64), np.float32)
    usidx.to_h5usid(main.copy(data=values), path)
    with h5py.File(path, "r+") as file:  # not compressed, so that it is read by its offset
        group = file["Measurement_000/Channel_000"]
        old = group["Raw_Data"]
        attrs = dict(old.attrs)
        del group["Raw_Data"]
        new = group.create_dataset("Raw_Data", data=values.reshape(120, 64))
        new.attrs.update(attrs)
    return str(path), values


def _maps(path: str) -> xr.DataArray:
    opened = usidx.open(path, "Raw_Data", chunks=None)
    assert isinstance(opened, xr.DataArray)
    return opened


def test_a_map_is_read_through_a_kept_mapping(tmp_path: pathlib.Path) -> None:
    path, values = _file(tmp_path / "one.h5")
    source = _maps(path)
    for number in (3, 40, 3):
        np.testing.assert_array_equal(source[..., number].values, values[..., number])
    assert len(mapped._kept) == 1


def test_only_a_few_are_kept(tmp_path: pathlib.Path) -> None:
    for number in range(7):
        path, values = _file(tmp_path / f"{number}.h5", number)
        np.testing.assert_array_equal(_maps(path)[..., 5].values, values[..., 5])
    assert len(mapped._kept) == 4


def test_changed_values_are_seen(tmp_path: pathlib.Path) -> None:
    path, values = _file(tmp_path / "changed.h5")
    source = _maps(path)
    source[..., 0].values  # noqa: B018
    with h5py.File(path, "r+") as file:
        file["Measurement_000/Channel_000/Raw_Data"][7, 2] = 42
    values.reshape(120, 64)[7, 2] = 42
    np.testing.assert_array_equal(_maps(path)[..., 2].values, values[..., 2])


def test_a_file_in_its_place_is_read_anew(tmp_path: pathlib.Path) -> None:
    path, _ = _file(tmp_path / "old.h5")
    source = _maps(path)
    source[..., 0].values  # noqa: B018
    other, values = _file(tmp_path / "new.h5", 1)
    os.replace(other, path)
    # either it is refused, or it is the new one: never the old one
    try:
        found = source[..., 2].values
    except UsidError:
        found = _maps(path)[..., 2].values
    np.testing.assert_array_equal(found, values[..., 2])


def test_a_file_that_was_cut_short_is_an_error_and_no_crash(tmp_path: pathlib.Path) -> None:
    path, _ = _file(tmp_path / "cut.h5")
    source = _maps(path)
    source[..., 0].values  # noqa: B018
    with h5py.File(path, "r") as file:
        offset = file["Measurement_000/Channel_000/Raw_Data"].id.get_offset()
    os.truncate(path, offset + 100)
    with pytest.raises(DamagedStoreError):
        source[..., 2].values  # noqa: B018


def test_a_file_that_is_gone_is_let_go_of(tmp_path: pathlib.Path) -> None:
    path, _ = _file(tmp_path / "gone.h5")
    source = _maps(path)
    source[..., 0].values  # noqa: B018
    os.unlink(path)
    with pytest.raises(StoreNotFoundError):
        source[..., 0].values  # noqa: B018
    assert mapped._kept
    mapped._tidy()
    assert not mapped._kept


def test_what_nobody_uses_is_let_go_of(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = _file(tmp_path / "idle.h5")
    _maps(path)[..., 0].values  # noqa: B018
    mapped._tidy()
    assert mapped._kept
    monkeypatch.setattr(mapped, "_IDLE_SECONDS", -1.0)
    mapped._tidy()
    assert not mapped._kept


def test_what_is_mapped_in_no_time_is_not_kept(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapped, "_WORTH_BYTES", 10**6)
    path, _ = _file(tmp_path / "small.h5")
    _maps(path)[..., 0].values  # noqa: B018
    assert not mapped._kept


def test_what_is_large_for_the_machine_is_not_kept(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapped, "_room", lambda: 1000.0)
    path, values = _file(tmp_path / "large.h5")
    np.testing.assert_array_equal(_maps(path)[..., 9].values, values[..., 9])
    assert not mapped._kept
