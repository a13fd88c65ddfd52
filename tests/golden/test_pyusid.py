"""Our files in the eyes of pyUSID 0.0.12: what it opens is what we wrote."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr

import usidx
from usidx.testing import make_main

pytestmark = pytest.mark.pyusid
See = Callable[[pathlib.Path], dict[str, Any]]
ORACLE = pathlib.Path(__file__).with_name("oracle.py")


@pytest.fixture
def see(tmp_path: pathlib.Path) -> See:
    """What pyUSID sees in a file, with the N-D form of each Main as `array`."""
    python = os.environ.get("USIDX_PYUSID_PYTHON")
    if not python:
        pytest.skip("USIDX_PYUSID_PYTHON is not set; see tests/golden/make_environment.py")

    def look(path: pathlib.Path) -> dict[str, Any]:
        folder = tmp_path / f"seen-{path.name}"
        folder.mkdir()
        done = subprocess.run(
            [python, str(ORACLE), str(path), str(folder)], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        seen: dict[str, Any] = json.loads((folder / "seen.json").read_text())
        for main in seen["mains"]:
            main["array"] = np.load(folder / main["file"])
        return seen

    return look


def assert_same(seen: dict[str, Any], ours: xr.DataArray) -> None:
    """Values, labels, units and coordinates as pyUSID has them are those of our array."""
    if "arb" in seen["labels"] and "arb" not in ours.dims:
        # A map has no spectroscopic dimension, and a column of its own in the file.
        ours = ours.expand_dims(arb=[0.0])
        ours["arb"].attrs["units"] = "a. u."
    assert sorted(seen["labels"]) == sorted(ours.dims)
    values = ours.transpose(*seen["labels"]).values
    assert seen["array"].dtype == values.dtype
    np.testing.assert_array_equal(seen["array"], values)
    assert (seen["quantity"], seen["units"]) == (ours.attrs["quantity"], ours.attrs["units"])
    for role in ("position", "spectroscopic"):
        for dimension in seen[role]:
            coordinate = ours[dimension["label"]]
            assert dimension["units"] == coordinate.attrs["units"]
            np.testing.assert_allclose(dimension["values"], coordinate.values, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "complex64", "complex128"])
def test_an_export_is_the_same_array_in_pyusid(
    tmp_path: pathlib.Path, see: See, dtype: str
) -> None:
    main = make_main((3, 4, 5), dtype=dtype)
    path = tmp_path / "out.h5"
    main.usid.to_h5usid(path)
    (seen,) = see(path)["mains"]
    assert_same(seen, main)


def test_six_dimensions_in_any_order(tmp_path: pathlib.Path, see: See) -> None:
    sizes = {"Y": 3, "X": 2, "Cycle": 2, "Field": 3, "Bias": 4, "Frequency": 5}
    rng = np.random.default_rng(1)
    dimensions = [usidx.Dimension(name, "V", 0.5 * np.arange(n)) for name, n in sizes.items()]
    main = usidx.from_array(
        rng.random(tuple(sizes.values())),
        quantity="Current",
        units="nA",
        position=dimensions[:2],
        spectroscopic=dimensions[2:],
    )
    path = tmp_path / "out.h5"
    main.usid.to_h5usid(path)
    (seen,) = see(path)["mains"]
    assert_same(seen, main)


def test_real_files_survive_a_round_trip(
    tmp_path: pathlib.Path, see: See, samples: pathlib.Path
) -> None:
    source = samples / "h5usid" / "pyusid" / "28_beps_small_like_h5py.h5"
    main = usidx.open(source)
    path = tmp_path / "out.h5"
    main.usid.to_h5usid(path)
    (seen,) = see(path)["mains"]
    assert_same(seen, main)


def test_result_groups_are_found_by_pyusid(tmp_path: pathlib.Path, see: See) -> None:
    path = tmp_path / "out.h5"
    make_main((3, 4, 16)).usid.to_h5usid(path)
    main = usidx.open(path)
    result = main.usid.process(usidx.steps.peak_response, along="Frequency").run()
    seen = see(path)
    (group,) = seen["groups"]
    assert group["path"].rsplit("/", 1)[-1] == result.name == "Raw_Data-Peak_Response_000"
    assert group["source"] == "/Measurement_000/Channel_000/Raw_Data"
    assert group["attrs"]["tool"] == "Peak_Response"
    assert group["attrs"]["along"] == "Frequency"
    assert group["completed"] == group["positions"] == 12
    (computed,) = [each for each in seen["mains"] if each["path"].startswith(group["path"])]
    assert_same(computed, result.open())
    np.testing.assert_allclose(
        np.squeeze(computed["array"]), np.abs(main.values).max(-1), rtol=1e-6
    )
