"""Files of odd shapes, types and names, by the libraries that people write them with."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import tifffile
import xarray as xr

import usidx
from usidx.errors import LayoutError, NotUsidError

RNG = np.random.default_rng(0)
GRID = pd.DataFrame({"Y": np.repeat([0, 1, 2], 4), "X": np.tile([0.0, 0.5, 1, 1.5], 3)})
GRID["I [µA]"] = np.arange(12.0)
ON_GRID = np.arange(12.0).reshape(3, 4).T


def values(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    found = RNG.integers(0, 100, shape)
    return (
        (found + 1j * found).astype(dtype) if np.dtype(dtype).kind == "c" else found.astype(dtype)
    )


def tif(array: np.ndarray, **how: Any) -> tuple[str, Callable[[Any], Any], np.ndarray]:
    return "a.tif", lambda path: tifffile.imwrite(path, array, **how), array


def npy(array: np.ndarray) -> tuple[str, Callable[[Any], Any], np.ndarray]:
    return "a.npy", lambda path: np.save(path, array), array


def hdf5(array: np.ndarray, **how: Any) -> tuple[str, Callable[[Any], Any], np.ndarray]:
    def write(path: Any) -> None:
        with h5py.File(path, "w") as file:
            file.create_dataset("a b/ü", data=array, **how)

    return "a.hdf", write, array


def netcdf(array: np.ndarray, **how: Any) -> tuple[str, Callable[[Any], Any], np.ndarray]:
    main = xr.Dataset({"T": (("y", "x", "E"), array)}, {"E": RNG.normal(size=array.shape[-1])})
    return "a.nc", lambda path: main.to_netcdf(path, **how), array


def csv(**how: Any) -> tuple[str, Callable[[Any], Any], np.ndarray]:
    return "a.csv", lambda path: GRID.to_csv(path, **how), ON_GRID


FILES = [
    tif(values((5, 7), "i8")),  # tifffile's has another name than NumPy's
    tif(values((2, 3, 7), "u8"), compression="zlib"),
    tif(values((5, 7), "f2")),
    tif(values((5, 17), "?")),
    tif(values((5, 7), "c8")),
    tif(values((20, 17, 35), "u2"), tile=(16, 16, 16)),
    tif(values((3, 20, 21), "u2"), photometric="rgb", planarconfig="separate"),
    tif(values((2, 33, 17), "u4"), compression="zlib", predictor=True),
    tif(values((9, 8), "u1"), photometric="miniswhite"),
    tif(values((2, 3, 4, 5, 6), "u2"), imagej=True),
    tif(values((1, 1), "u2"), byteorder=">"),
    npy(values((3, 4), ">i4")),
    npy(np.asfortranarray(values((3, 4, 5), "f8"))),
    npy(values((3, 4), "?")),
    npy(values((2, 3, 4), ">c16")),
    npy(values((2, 3), "longlong")),
    hdf5(values((4, 5, 6), ">f4"), chunks=(2, 2, 2), compression="gzip", shuffle=True),
    hdf5(values((4, 5), "?")),
    hdf5(values((4, 5), ">u8"), fletcher32=True),
    hdf5(np.full((3, 4), np.nan, "f2")),
    netcdf(values((2, 3, 4), "f4")),
    netcdf(values((2, 3, 4), "i2"), engine="scipy"),
    netcdf(values((2, 3, 4), "u8"), unlimited_dims=["y"]),
    csv(index=False),
    csv(),  # with the index of pandas
    csv(index=False, sep=";", decimal=","),
    csv(index=False, encoding="cp1252"),
    csv(index=False, sep="\t", lineterminator="\r\n"),
]


@pytest.mark.parametrize("number", range(len(FILES)))
def test_files_of_others(tmp_path: pathlib.Path, number: int) -> None:
    """They open whatever they are called, and what is converted of them is the same."""
    name, write, expected = FILES[number]
    own = tmp_path / name
    write(own)
    path = own if name.endswith(".csv") else own.rename(tmp_path / "µ 文 file")

    opened = usidx.open(path)
    assert opened.dtype == expected.dtype.newbyteorder("=")
    np.testing.assert_array_equal(opened, expected)

    for store in (opened.usid.to_h5usid(tmp_path / "o.h5"), opened.usid.to_zarr(tmp_path / "o")):
        again = usidx.open(store)
        assert (again.dims, again.dtype) == (opened.dims, opened.dtype)
        np.testing.assert_array_equal(again, expected)
        for name in opened.dims:
            np.testing.assert_array_equal(again[name], opened[name])


@pytest.mark.parametrize("number", [1, 12, 20])
def test_steps_on_files_of_others(tmp_path: pathlib.Path, number: int) -> None:
    name, write, expected = FILES[number]
    write(tmp_path / name)
    opened = usidx.open(tmp_path / name)
    mapped = opened.usid.map(np.sort, over=opened.dims[-1], output=opened.dims[-1])
    kept = opened.usid.save(mapped, "Sort", into=tmp_path / "o.zarr", progress=False)
    np.testing.assert_array_equal(kept.open(), np.sort(expected, axis=-1))


def test_times_along_an_axis(tmp_path: pathlib.Path) -> None:
    """Zarr keeps them; USID in HDF5 has numbers alone, and says how to make them."""
    times = pd.date_range("2020-01-01", periods=4, freq="h")
    main = xr.Dataset(
        {"T": (("y", "time"), values((3, 4), "f4"))}, {"y": [3.0, 1, 2], "time": times}
    )
    main.to_netcdf(tmp_path / "a.nc")
    da = usidx.open(tmp_path / "a.nc")
    kept = usidx.open(da.usid.to_zarr(tmp_path / "a.zarr"))
    np.testing.assert_array_equal(kept["time"], times)
    with pytest.raises(LayoutError, match="convert it by ") as refused:
        da.usid.to_h5usid(tmp_path / "a.h5")
    advice = str(refused.value).partition("convert it by ")[2].partition(", or drop")[0]
    seconds = eval(advice, {"da": da, "np": np})
    now = usidx.open(da.assign_coords(time=seconds).usid.to_h5usid(tmp_path / "a.h5"))
    np.testing.assert_array_equal(now["time"], 3600.0 * np.arange(4))
    np.testing.assert_array_equal(now, main["T"])


def test_units_in_the_letters_of_windows(tmp_path: pathlib.Path) -> None:
    GRID.to_csv(tmp_path / "a.csv", index=False, encoding="cp1252")
    assert usidx.open(tmp_path / "a.csv").usid.units == "µA"


def test_volumes_of_one_mrc_file(tmp_path: pathlib.Path) -> None:
    volumes = values((2, 3, 5, 7), "i2")
    head = np.zeros(256, "<i4")
    head[:4], head[7:10], head[22] = (7, 5, 6, 1), (7, 5, 3), 401
    head[52:54] = np.frombuffer(b"MAP \x44\x44\0\0", "<i4")
    (tmp_path / "a.mrc").write_bytes(head.tobytes() + volumes.tobytes())
    opened = usidx.open(tmp_path / "a.mrc")
    assert opened.dims == ("volume", "z", "y", "x")
    np.testing.assert_array_equal(opened, volumes)


def test_what_is_no_number(tmp_path: pathlib.Path) -> None:
    np.save(tmp_path / "text.npy", np.array(["a", "b"]))
    with pytest.raises(NotUsidError, match="<U1, which are no numbers"):
        usidx.open(tmp_path / "text.npy")
    np.savez(tmp_path / "a.npz", counts=np.arange(6.0), labels=np.array(["a", "b"]))
    assert usidx.open(tmp_path / "a.npz").shape == (6,)
