"""Stores of Zarr v2: plain zarr and xarray read them, and usidx does with them what it does."""

from __future__ import annotations

import json
import os
import pathlib
import warnings
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

import usidx
from usidx.errors import DamagedStoreError, OptionError, UnsafeStoreError
from usidx.exporting import to_zarr
from usidx.testing import make_main

MAIN = "Measurement_000/Channel_000/Raw_Data"


@pytest.mark.parametrize("compression", ["lz4", "zstd", None])
@pytest.mark.parametrize("dtype", ["?", "i2", "u1", "f2", "f4", "f8", "c8", "c16"])
def test_plain_tools_read_it(tmp_path: pathlib.Path, dtype: str, compression: Any) -> None:
    main = (make_main((4, 3, 5)) > 0.5).astype(dtype)  # zeros are values, not gaps
    path = to_zarr(main, tmp_path / "a.zarr", zarr_format=2, compression=compression)
    files = {each.name for each in pathlib.Path(path).rglob("*") if each.is_file()}
    assert {".zgroup", ".zattrs", ".zarray", ".zmetadata"} <= files
    assert "zarr.json" not in files
    values: Any = zarr.open_array(f"{path}/{MAIN}/Raw_Data", mode="r")
    assert (values.metadata.zarr_format, values.dtype) == (2, np.dtype(dtype))
    np.testing.assert_array_equal(values[...], main)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # of metadata that are not consolidated
        plain = xr.open_zarr(path, group=MAIN)["Raw_Data"]
    xr.testing.assert_equal(plain.load(), main)
    assert plain.dtype == np.dtype(dtype)
    assert (plain.attrs["units"], plain.Frequency.attrs["units"]) == ("V", "Hz")
    xr.testing.assert_identical(usidx.open(path).compute().drop_attrs(), main.drop_attrs())


def test_compound_mains_and_text(tmp_path: pathlib.Path) -> None:
    both = xr.Dataset({"a": make_main((4, 3, 5)), "n": make_main((4, 3, 5)).astype("i4")})
    both.attrs.update(usid_main="Fit", quantity="Fit", units="")
    both = both.assign_coords(name=("Y", np.array(["", "one", "µ", "four"], dtype=object)))
    path = to_zarr({"/A/B/Fit": both}, tmp_path / "a.zarr", zarr_format=2)
    plain = xr.open_zarr(path, group="A/B/Fit").load()
    np.testing.assert_array_equal(plain["n"], both["n"])
    assert plain["name"].values.tolist() == ["", "one", "µ", "four"]
    np.testing.assert_array_equal(usidx.open(path)["a"], both["a"])


def test_results_stay_in_the_format(tmp_path: pathlib.Path) -> None:
    path = to_zarr(make_main((8, 5, 16), chunks={}), tmp_path / "a.zarr", zarr_format=2)
    result = usidx.open(path).usid.process(_doubled).run()
    assert not list(pathlib.Path(path).rglob("zarr.json"))
    group = f"{result.path.strip('/')}/Doubled"
    plain = xr.open_zarr(path, group=group)["Doubled"]
    np.testing.assert_array_equal(plain, 2 * make_main((8, 5, 16)))
    copies = json.loads((tmp_path / "a.zarr/.zmetadata").read_text())["metadata"]
    assert copies[f"{result.path.strip('/')}/.zattrs"]["usid_status"] == "complete"
    added = to_zarr(make_main((4, 3, 5)), path, group="Other/Raw")
    assert not list(pathlib.Path(added).rglob("zarr.json"))
    assert usidx.validate(path, values=True).ok
    with pytest.raises(OptionError, match="Zarr v2 store"):
        to_zarr(make_main((4, 3, 5)), path, group="Third/Raw", zarr_format=3)


@usidx.step("Doubled", version="1")
def _doubled(spectra: xr.DataArray) -> xr.DataArray:
    """Twice the values."""
    return spectra * 2


def test_a_store_is_extended(tmp_path: pathlib.Path) -> None:
    main = make_main((8, 5, 16), chunks={"Y": 2})
    path = to_zarr(main[:4], tmp_path / "a.zarr", zarr_format=2)
    to_zarr(main, path, extend=True)
    np.testing.assert_array_equal(usidx.open(path), main)
    assert not list(pathlib.Path(path).rglob("zarr.json"))


@pytest.mark.parametrize("options", [{"shards": {"Y": 4}}, {"zarr_format": 4}])
def test_what_it_has_not_is_refused(tmp_path: pathlib.Path, options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="shards|neither 2 nor 3"):
        to_zarr(make_main((4, 3, 5)), tmp_path / "a.zarr", **{"zarr_format": 2, **options})
    assert not (tmp_path / "a.zarr").exists()


@pytest.mark.parametrize("compression", ["lz4", None])
def test_a_flipped_bit_is_an_error(tmp_path: pathlib.Path, compression: Any) -> None:
    path = to_zarr(
        make_main((4, 3, 5)), tmp_path / "a.zarr", zarr_format=2, compression=compression
    )
    chunk = pathlib.Path(path, MAIN, "Raw_Data", "0", "0", "0")
    whole = chunk.read_bytes()
    for place in range(0, len(whole), 37):
        flipped = bytes([whole[place] ^ 4])
        chunk.write_bytes(whole[:place] + flipped + whole[place + 1 :])
        with pytest.raises(DamagedStoreError):
            usidx.open(path).load()
    chunk.unlink()
    with pytest.raises(DamagedStoreError, match="missing"):
        usidx.open(path).load()


def test_links_out_of_the_store_are_refused(tmp_path: pathlib.Path) -> None:
    path = to_zarr(make_main((4, 3, 5)), tmp_path / "a.zarr", zarr_format=2)
    for name in (".zattrs", ".zgroup"):
        file = pathlib.Path(path, MAIN, name)
        elsewhere = tmp_path / f"elsewhere{name}"
        file.rename(elsewhere)
        os.symlink(elsewhere, file)
        with pytest.raises(UnsafeStoreError):
            usidx.open(path)
        file.unlink()
        elsewhere.rename(file)
    usidx.open(path)
