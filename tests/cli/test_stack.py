"""`usidx stack` makes one Main of a folder of images."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import numpy as np
import pytest
import tifffile
from scipy import ndimage

import usidx


@pytest.fixture
def frames(tmp_path: pathlib.Path) -> np.ndarray:
    """Six images in the folder `map`, named by their places."""
    values = np.random.default_rng(0).standard_normal((2, 3, 20, 30)).astype("f4")
    (tmp_path / "map").mkdir()
    for y in range(2):
        for x in range(3):
            tifffile.imwrite(tmp_path / "map" / f"{y}_{x}.tif", values[y, x])
    (tmp_path / "map" / "settings.json").write_text("{}")
    return values


def test_filtered_in_one_line(call: Any, frames: np.ndarray) -> None:
    done = call(
        "stack", "map", "out.zarr", "--pattern", r"(?P<Y>\d+)_(?P<X>\d+)", "--units", "X=um",
        "--spacing", "X=0.5", "--filter", "gaussian:sigma=10",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "Y 2 × X 3 × v 20 × u 30" in done.output
    assert "settings.json" in done.output
    found = usidx.open("out.zarr")
    wanted = [[ndimage.gaussian_filter(each, 10) for each in row] for row in frames]
    np.testing.assert_allclose(found.values, wanted, atol=1e-6)
    np.testing.assert_array_equal(found.X, [0, 0.5, 1])
    assert found.attrs["stack_preprocess"] == "gaussian(sigma=10)"


def test_sizes_snake_and_json(call: Any, frames: np.ndarray) -> None:
    options = ["--size", "Y=2", "--size", "X=3", "--order", "snake", "--json"]
    given = ["--pattern", r"(?P<Y>\d+)_(?P<X>\d+)", "--frame-dims", "row,column"]
    done = call("stack", "map/*.tif", "out.h5", *given, *options)
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["dims"] == ["Y", "X", "row", "column"]
    assert (said["files"], said["missing"], said["shape"]) == (6, 0, [2, 3, 20, 30])
    np.testing.assert_array_equal(usidx.open("out.h5").values[1], frames[1, ::-1])


def test_missing_and_overwrite(call: Any, frames: np.ndarray, tmp_path: pathlib.Path) -> None:
    (tmp_path / "map" / "1_1.tif").unlink()
    arguments = ["stack", "map", "out.zarr", "--pattern", r"(?P<Y>\d+)_(?P<X>\d+)"]
    done = call(*arguments)
    assert done.exit_code == 1
    assert "1 of 6 frames are missing (Y: 2 x X: 3): Y=1, X=1" in done.stderr
    done = call(*arguments, "--missing", "nan")
    assert done.exit_code == 0, done.output
    assert "missing: 1 frames" in done.output
    assert np.isnan(usidx.open("out.zarr").values[1, 1]).all()
    done = call(*arguments, "--missing", "drop")
    assert done.exit_code == 1
    assert "--overwrite replaces it" in done.stderr
    assert call(*arguments, "--missing", "drop", "--overwrite").exit_code == 0
    assert usidx.open("out.zarr").sizes["position"] == 5


def test_extend(call: Any, frames: np.ndarray, tmp_path: pathlib.Path) -> None:
    arguments = ["stack", "map", "out.zarr", "--pattern", r"(?P<Y>\d+)_(?P<X>\d+)"]
    late = (tmp_path / "map" / "1_2.tif").rename(tmp_path / "1_2.tif")
    for rows in (1, 2):
        done = call(*arguments, "--missing", "cut", "--extend")
        assert done.exit_code == 0, done.output
        np.testing.assert_array_equal(usidx.open("out.zarr").values, frames[:rows])
        if rows == 1:
            late.rename(tmp_path / "map" / "1_2.tif")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["map", "out.h5", "--extend"], 2, "--extend is for OUT that ends in .zarr"),
        (["map", "out.txt"], 2, "OUT must end in .zarr"),
        (["map", "out.zarr", "--size", "X"], 2, "invalid literal"),
        (["map", "out.zarr", "--filter", "blur:3"], 1, "there is no filter 'blur'"),
        (["nowhere", "out.zarr"], 1, "there is no folder 'nowhere'"),
    ],
)
def test_used_wrong(
    call: Any, frames: np.ndarray, arguments: list[str], status: int, message: str
) -> None:
    done = call("stack", *arguments)
    assert done.exit_code == status
    assert message in done.stderr
