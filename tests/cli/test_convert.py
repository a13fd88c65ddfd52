"""`usidx convert` carries whole files, or one Main, from one format to the other."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest

import usidx


@pytest.mark.parametrize("back", ["back.h5", "back.hdf5"])
def test_there_and_back(call: Any, scan: pathlib.Path, back: str) -> None:
    assert call("run", scan, "Raw_Data", "peak_response").exit_code == 0
    assert call("convert", scan, "scan.zarr").exit_code == 0
    assert call("convert", "scan.zarr", back).exit_code == 0
    first, second, third = (usidx.list_mains(each) for each in (scan, "scan.zarr", back))
    assert first.paths == second.paths == third.paths
    for path in first.paths:
        expected = usidx.open(scan, path)
        for store in ("scan.zarr", back):
            found = usidx.open(store, path)
            assert found.dims == expected.dims
            np.testing.assert_array_equal(found.values, expected.values)
            for name in expected.coords:
                np.testing.assert_array_equal(found[name], expected[name])
                assert found[name].attrs.get("units") == expected[name].attrs.get("units")


def test_one_main(call: Any, two: pathlib.Path) -> None:
    result = call("convert", two, "one.zarr", "--main", "Channel_001/Raw_Data")
    assert result.exit_code == 0, result.output
    (entry,) = usidx.list_mains("one.zarr")
    assert entry.path == "/Measurement_000/Channel_001/Raw_Data"


def test_what_is_there_is_kept_unless_told(call: Any, scan: pathlib.Path) -> None:
    assert call("convert", scan, "scan.zarr").exit_code == 0
    refused = call("convert", scan, "scan.zarr")
    assert refused.exit_code == 1
    assert "'scan.zarr' is there already; --overwrite replaces it" in refused.stderr
    assert call("convert", scan, "scan.zarr", "--overwrite").exit_code == 0


def test_compression(call: Any, scan: pathlib.Path) -> None:
    assert call("convert", scan, "none.zarr", "--compression", "none").exit_code == 0
    assert call("convert", scan, "small.h5", "--compression", "gzip").exit_code == 0
    refused = call("convert", scan, "odd.zarr", "--compression", "zsdt")
    assert refused.exit_code == 1
    assert "zstd" in refused.stderr
    assert not pathlib.Path("odd.zarr").exists()


def test_a_target_of_no_known_kind_is_a_wrong_use(call: Any, scan: pathlib.Path) -> None:
    result = call("convert", scan, "scan.tiff")
    assert result.exit_code == 2
    assert ".zarr" in result.stderr
