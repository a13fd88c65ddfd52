"""Values come out as NumPy indexing of the whole array gives them, from every kind of storage."""

from __future__ import annotations

import os
import pathlib
import pickle
import shutil
import threading
import time
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
import pytest

from usidx.errors import DamagedStoreError, SourceChangedError, StoreNotFoundError, UsidError
from usidx.stores.hdf5.file import FileIdentity
from usidx.stores.hdf5.objects.place import Place, find_place
from usidx.stores.hdf5.values import bytes as bytes_module
from usidx.stores.hdf5.values.bytes import HDF5Array
from usidx.stores.hdf5.values.copying import copy_by_offset
from usidx.stores.hdf5.values.selection import Fold

POSITIONS = (4, 5)
SPECTRA = (3, 2, 4)
SHAPE = POSITIONS + SPECTRA
ROWS, COLUMNS = 20, 24
PEAK = np.dtype([("Amplitude [V]", "f4"), ("Q", "f8"), ("ok", "?")])


def made_values(dtype: Any = "f4", seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    if dtype.names:
        whole = np.empty((ROWS, COLUMNS), dtype)
        for name in dtype.names:
            whole[name] = made_values(dtype[name], seed)
        return whole
    if dtype.kind == "b":
        return random.random((ROWS, COLUMNS)) > 0.5
    if dtype.kind == "c":
        values = random.normal(size=(ROWS, COLUMNS)) + 1j * random.normal(size=(ROWS, COLUMNS))
        return values.astype(dtype)
    return (100 * random.random((ROWS, COLUMNS))).astype(dtype)


def snake() -> np.ndarray:
    order = np.arange(ROWS).reshape(POSITIONS)
    order[1::2] = order[1::2, ::-1]
    return order.reshape(-1)


def opened(
    path: pathlib.Path,
    folds: tuple[Fold, ...] = (Fold(POSITIONS), Fold(SPECTRA)),
    dataset: str = "/g/Raw_Data",
) -> HDF5Array:
    with h5py.File(path) as file:
        place = find_place(file[dataset])
        return HDF5Array(str(path), dataset, folds, place, FileIdentity.of(file))


def write(path: pathlib.Path, values: np.ndarray, before: int = 0, **storage: Any) -> pathlib.Path:
    """A file with `values` as /g/Raw_Data and the ancillaries of a Main; `before` shifts them."""
    with h5py.File(path, "w", userblock_size=storage.pop("userblock_size", 0)) as file:
        if before:
            file["before"] = np.zeros(before)
        main = file.create_dataset("g/Raw_Data", data=values, **storage)
        steps = np.linspace(0, 1, 4, dtype="f4")
        for name in ("Position_Indices", "Position_Values"):
            file[f"g/{name}"] = np.stack([np.arange(ROWS) // 5, np.arange(ROWS) % 5], 1)
            main.attrs[name] = file[f"g/{name}"].ref
        for name in ("Spectroscopic_Indices", "Spectroscopic_Values"):
            file[f"g/{name}"] = np.tile(steps, 6)[None]
            main.attrs[name] = file[f"g/{name}"].ref
    return path


def random_keys(count: int, seed: int = 1) -> list[tuple[Any, ...]]:
    random = np.random.default_rng(seed)

    def part(size: int) -> Any:
        kind = random.integers(5)
        if kind == 0:
            return slice(None)
        if kind == 1:
            return int(random.integers(-size, size))
        first, last = sorted(random.integers(0, size + 1, 2).tolist())
        if kind == 2:
            return slice(first, last)
        if kind == 3:
            return slice(first, last, int(random.integers(1, 4)))
        return slice(last, None if first == 0 else first - 1, -int(random.integers(1, 3)))

    return [tuple(part(size) for size in SHAPE[: random.integers(1, 6)]) for _ in range(count)]


STORAGES: dict[str, dict[str, Any]] = {
    "contiguous": {},
    "user block": {"userblock_size": 1024},
    "chunked": {"chunks": (3, 5)},
    "rows as chunks": {"chunks": (1, COLUMNS)},
    "gzip": {"chunks": (7, 10), "compression": "gzip", "shuffle": True, "fletcher32": True},
    "lzf": {"chunks": (20, 3), "compression": "lzf"},
    "unlimited": {"chunks": (4, 8), "maxshape": (None, None)},
}
ORDERS: dict[str, tuple[Fold, Fold]] = {
    "raster": (Fold(POSITIONS), Fold(SPECTRA)),
    "snake": (Fold(POSITIONS, snake()), Fold(SPECTRA)),
    "random columns": (
        Fold(POSITIONS),
        Fold(SPECTRA, np.random.default_rng(5).permutation(COLUMNS)),
    ),
    "random both": (
        Fold(POSITIONS, np.random.default_rng(6).permutation(ROWS)),
        Fold(SPECTRA, np.random.default_rng(7).permutation(COLUMNS)),
    ),
}


def unfolded(values: np.ndarray, folds: tuple[Fold, ...]) -> np.ndarray:
    for axis, fold in enumerate(folds):
        if fold.order is not None:
            values = np.take(values, fold.order, axis)
    return values.reshape([size for fold in folds for size in fold.shape])


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("storage", STORAGES)
def test_any_key_gives_what_numpy_gives(tmp_path: pathlib.Path, storage: str, order: str) -> None:
    values = made_values()
    folds = ORDERS[order]
    array = opened(write(tmp_path / "a.h5", values, **STORAGES[storage]), folds)
    expected = unfolded(values, folds)
    assert (array.shape, array.ndim, array.dtype) == (expected.shape, 5, expected.dtype)
    assert (array.place.offset is None) == ("chunks" in STORAGES[storage])
    for key in [(), (...,), (slice(0, 0),), (..., 1), (2, ...), *random_keys(40)]:
        found = array[key]
        assert isinstance(found, np.ndarray)
        np.testing.assert_array_equal(found, expected[key], err_msg=str(key))


@pytest.mark.parametrize(
    "dtype", ["?", "u1", "i2", "<u8", "f2", "f4", ">f4", ">i2", "c8", ">c16", PEAK, "g"]
)
@pytest.mark.parametrize("storage", ["contiguous", "gzip"])
def test_every_dtype_comes_out_bit_by_bit(tmp_path: pathlib.Path, dtype: Any, storage: str) -> None:
    values = made_values(dtype)
    array = opened(write(tmp_path / "a.h5", values, **STORAGES[storage]))
    assert array.dtype == values.dtype
    np.testing.assert_array_equal(array[()], values.reshape(SHAPE))
    np.testing.assert_array_equal(array[1, 2, ::2], values.reshape(SHAPE)[1, 2, ::2])


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("storage", ["contiguous", "gzip"])
def test_one_field_of_a_compound(tmp_path: pathlib.Path, storage: str, order: str) -> None:
    values, folds = made_values(PEAK), ORDERS[order]
    array = opened(write(tmp_path / "a.h5", values, **STORAGES[storage]), folds)
    for name in PEAK.names or ():
        only = array.only(name)
        assert only.dtype == PEAK[name]
        expected = unfolded(values, folds)[name]
        for key in [(), *random_keys(15)]:
            np.testing.assert_array_equal(only[key], expected[key], err_msg=str(key))
    with pytest.raises(KeyError, match="Amplitude"):
        array.only("Phase")


def test_long_runs_are_the_same_as_short_ones(tmp_path: pathlib.Path) -> None:
    values = np.random.default_rng(0).random((60, 8192)).astype("f4")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["m"] = values
    array = opened(tmp_path / "a.h5", (Fold((6, 10)), Fold((2, 4096))), "/m")
    expected = values.reshape(array.shape)
    keys: list[Any] = [np.s_[1:4, 3:7], np.s_[::2, 1], np.s_[:, :, 1]]
    for key in [*keys, np.s_[5:2:-1, ::3, :, 2:4000]]:
        np.testing.assert_array_equal(array[key], expected[key])


def test_a_big_compound_field_is_read_piece_by_piece(tmp_path: pathlib.Path) -> None:
    values = np.zeros((300, 500), PEAK)
    values["Q"] = np.arange(150_000).reshape(300, 500)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["m"] = values
    array = opened(tmp_path / "a.h5", (Fold((300,)), Fold((500,))), "/m").only("Q")
    np.testing.assert_array_equal(array[()], values["Q"])
    np.testing.assert_array_equal(array[7:290:3], values["Q"][7:290:3])


def test_values_are_read_into_an_array_that_is_given(tmp_path: pathlib.Path) -> None:
    values = made_values()
    keys: list[Any] = [np.s_[1], np.s_[1, ::-1], np.s_[1:3, 2]]
    for storage in ("contiguous", "chunked"):
        array = opened(write(tmp_path / "a.h5", values, **STORAGES[storage]))
        expected = values.reshape(SHAPE)
        for key in keys:
            out = np.full(expected[key].shape, -1, "f4")
            assert array.read(key, out) is out
            np.testing.assert_array_equal(out, expected[key])
        wider = np.zeros(expected[1].shape)
        np.testing.assert_array_equal(array.read(1, wider), expected[1])


def test_types_that_only_hdf5_can_convert(tmp_path: pathlib.Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        bits = h5py.h5d.create(
            file.id, b"m", h5py.h5t.STD_B16BE.copy(), h5py.h5s.create_simple((4, 6))
        )
        bits.write(
            h5py.h5s.ALL,
            h5py.h5s.ALL,
            np.arange(24, dtype="u2").reshape(4, 6),
            mtype=h5py.h5t.STD_B16LE,
        )
    array = opened(tmp_path / "a.h5", (Fold((2, 2)), Fold((6,))), "/m")
    assert array.place.offset is None
    with h5py.File(tmp_path / "a.h5") as file:
        np.testing.assert_array_equal(array[()], file["m"][()].reshape(2, 2, 6))


def test_values_that_were_never_written_are_the_fill_value(tmp_path: pathlib.Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("m", (4, 6), "f4", fillvalue=np.nan)
        file.create_dataset("c", (4, 6), "i2", fillvalue=7, chunks=(2, 2))
    array = opened(tmp_path / "a.h5", (Fold((4,)), Fold((6,))), "/m")
    assert np.isnan(array[()]).all()
    assert (opened(tmp_path / "a.h5", (Fold((4,)), Fold((6,))), "/c")[1:3] == 7).all()


def test_enums_keep_their_numbers_and_can_be_pickled(tmp_path: pathlib.Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        kinds = h5py.enum_dtype({"A": 1, "B": 2}, basetype="i2")
        file.create_dataset("m", data=np.ones((4, 6), "i2"), dtype=kinds)
    array = opened(tmp_path / "a.h5", (Fold((4,)), Fold((6,))), "/m")
    assert array.dtype.metadata is None
    assert (pickle.loads(pickle.dumps(array))[()] == 1).all()


def test_keys_that_are_no_blocks_are_refused(tmp_path: pathlib.Path) -> None:
    array = opened(write(tmp_path / "a.h5", made_values()))
    for key in [([0, 1],), (np.arange(3),), (None,), (0,) * 6, (4,), (0, -6), (True,), (..., ...)]:
        with pytest.raises(IndexError):
            array[key]


def test_it_can_be_pickled_and_is_small(tmp_path: pathlib.Path) -> None:
    values = made_values()
    array = opened(write(tmp_path / "a.h5", values))
    pickled = pickle.dumps(array)
    assert len(pickled) < 2500
    again = pickle.loads(pickled)
    np.testing.assert_array_equal(again[2], values.reshape(SHAPE)[2])
    assert again.__dask_tokenize__() == array.__dask_tokenize__()
    assert again.only is not None


def test_tokens_tell_files_fields_and_orders_apart(tmp_path: pathlib.Path) -> None:
    one = write(tmp_path / "a.h5", made_values(PEAK))
    two = write(tmp_path / "b.h5", made_values(PEAK))
    arrays = [opened(one), opened(two), opened(one).only("Q"), opened(one, ORDERS["snake"])]
    assert len({repr(each.__dask_tokenize__()) for each in arrays}) == 4


@pytest.mark.parametrize("storage", ["contiguous", "gzip"])
def test_threads_read_at_once(tmp_path: pathlib.Path, storage: str) -> None:
    values = made_values()
    array = opened(write(tmp_path / "a.h5", values, **STORAGES[storage]))
    expected = values.reshape(SHAPE)
    wrong: list[Any] = []

    def read(seed: int) -> None:
        for key in random_keys(30, seed):
            try:
                np.testing.assert_array_equal(array[key], expected[key])
            except Exception as error:
                wrong.append((key, error))

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
@pytest.mark.parametrize("storage", ["contiguous", "gzip"])
def test_no_handle_stays_open(tmp_path: pathlib.Path, storage: str) -> None:
    array = opened(write(tmp_path / "a.h5", made_values(), **STORAGES[storage]))
    for key in random_keys(5):
        array[key]
    held = [os.path.realpath(f"/proc/self/fd/{each}") for each in os.listdir("/proc/self/fd")]
    mapped = pathlib.Path("/proc/self/maps").read_text()
    assert not [each for each in held if each.startswith(str(tmp_path))]
    assert str(tmp_path) not in mapped


# -- files that change behind our back ----------------------------------------------------------

both = pytest.mark.parametrize("storage", ["contiguous", "gzip"])


@both
def test_replaced_by_a_file_with_the_values_elsewhere(tmp_path: pathlib.Path, storage: str) -> None:
    values = made_values()
    array = opened(write(tmp_path / "a.h5", values, **STORAGES[storage]))
    array[0]
    write(tmp_path / "b.h5", values, before=999, **STORAGES[storage])
    os.replace(tmp_path / "b.h5", tmp_path / "a.h5")
    np.testing.assert_array_equal(array[()], values.reshape(SHAPE))
    if storage == "contiguous":
        assert array._current().offset != array.place.offset


@both
def test_copied_over_in_place(tmp_path: pathlib.Path, storage: str) -> None:
    values = made_values()
    array = opened(write(tmp_path / "a.h5", values, **STORAGES[storage]))
    write(tmp_path / "b.h5", values, before=999, **STORAGES[storage])
    shutil.copyfile(tmp_path / "b.h5", tmp_path / "a.h5")
    np.testing.assert_array_equal(array[()], values.reshape(SHAPE))


def test_replaced_by_one_with_other_storage(tmp_path: pathlib.Path) -> None:
    values = made_values()
    for before, after in [("contiguous", "gzip"), ("gzip", "contiguous")]:
        array = opened(write(tmp_path / "a.h5", values, **STORAGES[before]))
        write(tmp_path / "a.h5", values, **STORAGES[after])
        for key in random_keys(5):
            np.testing.assert_array_equal(array[key], values.reshape(SHAPE)[key])


def _other_shape(path: pathlib.Path, storage: dict[str, Any]) -> None:
    write(path, made_values()[:, :20], **storage)


def _other_dtype(path: pathlib.Path, storage: dict[str, Any]) -> None:
    write(path, made_values("i4"), **storage)


def _other_coordinates(path: pathlib.Path, storage: dict[str, Any]) -> None:
    write(path, made_values(), **storage)
    with h5py.File(path, "r+") as file:
        file["g/Position_Values"][3, 1] = 17


def _no_dataset(path: pathlib.Path, storage: dict[str, Any]) -> None:
    with h5py.File(path, "w") as file:
        file["other"] = np.zeros(4000)


@both
@pytest.mark.parametrize("other", [_other_shape, _other_dtype, _other_coordinates, _no_dataset])
def test_rewritten_in_place_as_something_else(
    tmp_path: pathlib.Path, storage: str, other: Callable[..., None]
) -> None:
    path = write(tmp_path / "a.h5", made_values(), **STORAGES[storage])
    array = opened(path)
    array[0]
    other(path, STORAGES[storage])
    with pytest.raises(SourceChangedError, match=r"a\.h5.*has changed.*Raw_Data"):
        array[0]


@both
def test_grown_by_an_append(tmp_path: pathlib.Path, storage: str) -> None:
    values = made_values()
    path = write(tmp_path / "a.h5", values, **STORAGES[storage])
    array = opened(path)
    for number in range(4):
        with h5py.File(path, "r+") as file:
            file.create_group(f"g/Raw_Data-Fit_{number:03d}")["Fit"] = made_values()
            file["g/Raw_Data"].attrs[f"note_{number}"] = "x" * 300
        np.testing.assert_array_equal(array[1:3], values.reshape(SHAPE)[1:3])


@both
def test_results_written_into_the_same_file_meanwhile(
    tmp_path: pathlib.Path, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each write changes the time of the file, but it is not looked through anew each time."""
    values = made_values()
    path = write(tmp_path / "a.h5", values, **STORAGES[storage])
    with h5py.File(path, "r+") as file:
        room = file.create_dataset("room", data=np.zeros(4096))
        offset = room.id.get_offset()
    array = opened(path)
    looked_up = []

    def counted(dataset: h5py.Dataset) -> Place:
        looked_up.append(dataset.name)
        return find_place(dataset)

    monkeypatch.setattr(bytes_module, "find_place", counted)
    expected = values.reshape(SHAPE)
    with open(path, "r+b", buffering=0) as writer:
        for number in range(50):
            writer.seek(offset + number)
            writer.write(b"\1")
            os.utime(path, ns=(time.time_ns(), time.time_ns() + number))
            np.testing.assert_array_equal(array[number % 4], expected[number % 4])
    assert 1 <= len(looked_up) <= 10


def test_a_trusted_place_is_looked_up_when_its_bytes_change(tmp_path: pathlib.Path) -> None:
    path = write(tmp_path / "a.h5", made_values())
    array = opened(path)
    os.utime(path)
    array[0]
    _other_coordinates(path, {})
    with pytest.raises(SourceChangedError):
        array[0]


@both
def test_cut_short(tmp_path: pathlib.Path, storage: str) -> None:
    path = write(tmp_path / "a.h5", made_values(), **STORAGES[storage])
    array = opened(path)
    os.truncate(path, 2500)
    for key in [(), np.s_[::2, 1]]:
        with pytest.raises(DamagedStoreError, match=r"a\.h5.*cut short"):
            array[key]


@both
def test_moved_or_deleted(tmp_path: pathlib.Path, storage: str) -> None:
    path = write(tmp_path / "a.h5", made_values(), **STORAGES[storage])
    array = opened(path)
    path.rename(tmp_path / "b.h5")
    with pytest.raises(StoreNotFoundError, match="moved, renamed or deleted"):
        array[0]
    (tmp_path / "b.h5").rename(path)
    assert array[0].shape == SHAPE[1:]


@both
def test_replaced_by_something_that_is_no_hdf5(tmp_path: pathlib.Path, storage: str) -> None:
    path = write(tmp_path / "a.h5", made_values(), **STORAGES[storage])
    array = opened(path)
    path.write_bytes(b"nonsense" * 1000)
    with pytest.raises(UsidError, match="not an HDF5 file"):
        array[0]


def test_rewritten_while_it_is_read(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the values moved during a read, it is done again."""
    values = made_values()
    path = write(tmp_path / "a.h5", values)
    array = opened(path)
    calls = []

    def interrupted(*args: Any) -> None:
        copy_by_offset(*args)
        calls.append(1)
        if len(calls) == 1:
            write(path, values, before=500)
            args[-1][...] = -1

    monkeypatch.setattr(bytes_module, "copy_by_offset", interrupted)
    np.testing.assert_array_equal(array[()], values.reshape(SHAPE))
    assert len(calls) == 2
