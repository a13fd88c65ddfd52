"""Filters of maps and frames against SciPy, over the edges of blocks too."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

import usidx
from usidx import steps
from usidx.errors import PlanError
from usidx.testing import make_main

CHUNKS = [None, {"Y": 2, "X": 5, "Frequency": 3}, {"Y": 1}, {"X": 7}]


@pytest.fixture
def main() -> xr.DataArray:
    return make_main((13, 17, 6), dtype="float64")


def cut(main: xr.DataArray, chunks: dict[str, int] | None) -> xr.DataArray:
    return main if chunks is None else main.chunk(chunks)


@pytest.mark.parametrize("chunks", CHUNKS)
def test_gaussian_is_that_of_scipy(main: xr.DataArray, chunks: dict[str, int] | None) -> None:
    y, x = (float(main[dim][1] - main[dim][0]) for dim in ("Y", "X"))
    found = steps.gaussian_filter(cut(main, chunks), sigma=0.2)
    expected = ndimage.gaussian_filter(main.values, (0.2 / y, 0.2 / x), axes=(0, 1))
    np.testing.assert_allclose(found, expected)
    xr.testing.assert_identical(found.coords.to_dataset(), main.coords.to_dataset())
    only = steps.gaussian_filter(cut(main, chunks), sigma={"X": 0.3})
    np.testing.assert_allclose(only, ndimage.gaussian_filter1d(main.values, 0.3 / x, axis=1))


@pytest.mark.parametrize("chunks", CHUNKS)
def test_median_is_that_of_scipy(main: xr.DataArray, chunks: dict[str, int] | None) -> None:
    for size in (3, 5):
        found = steps.median_filter(cut(main, chunks), size=size)
        np.testing.assert_array_equal(found, ndimage.median_filter(main.values, (size, size, 1)))
    found = steps.median_filter(cut(main, chunks), size={"Frequency": 3})
    np.testing.assert_array_equal(found, ndimage.median_filter(main.values, (1, 1, 3)))


@pytest.mark.parametrize("ending", ["h5", "zarr"])
def test_runs_in_small_blocks(tmp_path, ending: str) -> None:
    main = make_main((40, 20, 16))
    path = str(tmp_path / f"scan.{ending}")
    (usidx.to_zarr if ending == "zarr" else usidx.to_h5usid)(main, path)
    source = usidx.open(path)
    for step, options in (
        (steps.gaussian_filter, {"sigma": 0.1}),
        (steps.median_filter, {"size": 5}),
        (steps.destripe, {"along": "X"}),
        (steps.bin, {"by": {"X": 2, "Frequency": 4}}),
        (steps.crop, {"to": {"X": (0.5, 1), "Frequency": (310e3, 330e3)}}),
    ):
        found = source.usid.process(step, **options).run(memory="300 kB", workers=1).open()
        expected = step(main, **options)
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-6)
        assert found.dims == expected.dims
        for dim in found.dims:
            np.testing.assert_allclose(found[dim], expected[dim])
        assert found.attrs["units"] == "V"


def test_frames_are_filtered_each_by_itself(any_frames: xr.DataArray, frames) -> None:
    found = steps.median_filter(any_frames, size=3, over=["ky", "kx"])
    expected = ndimage.median_filter(frames.values, (1, 1, 3, 3))
    np.testing.assert_array_equal(found.values.reshape(expected.shape), expected)
    assert found.dtype == "uint16"
    smooth = steps.gaussian_filter(any_frames, sigma=0.6, over=["ky", "kx"])
    assert smooth.dtype == "float32"


def test_crop_and_bin_are_those_of_numpy(any_frames: xr.DataArray, frames) -> None:
    found = steps.bin(any_frames, by={"ky": 5, "kx": 4}, how="sum")
    expected = frames.values[:, :, :10].reshape(42, 2, 5, 4, 4).sum((2, 4))
    np.testing.assert_array_equal(found.values.reshape(expected.shape), expected)
    np.testing.assert_allclose(found.kx, frames.kx.values.reshape(4, 4).mean(1))
    assert found.kx.attrs == frames.kx.attrs
    part = steps.crop(any_frames, to={"kx": (11, 15), "Y": (1, 2.2)})
    inside = (any_frames.Y.values >= 1) & (any_frames.Y.values <= 2.2)
    u = (frames.kx.values >= 11) & (frames.kx.values <= 15)
    np.testing.assert_array_equal(part, any_frames.values[inside][..., u])


def test_lists_have_no_neighbours(main: xr.DataArray) -> None:
    flat = main.usid.to_2d()
    with pytest.raises(PlanError, match="a list without neighbours"):
        steps.gaussian_filter(flat, sigma=1)
    with pytest.raises(PlanError, match="must be odd"):
        steps.median_filter(main, size=4)
    with pytest.raises(PlanError, match="nothing is left of 'X'"):
        steps.crop(main, to={"X": (90, 91)})
    with pytest.raises(PlanError, match="from 1 to 13"):
        steps.bin(main, by={"Y": 14})


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_gap_has_no_place_in_the_order_of_values(dtype: str) -> None:
    data = make_main((9, 10, 3), dtype=dtype)
    data[4, 5, 1], data[0, 0, 2] = np.nan, np.nan
    expected = ndimage.generic_filter(data.values.astype(float), np.median, size=(3, 5, 1))
    for each in (data, data.chunk(Y=4, X=5, Frequency=2)):
        found = steps.median_filter(each, size={"Y": 3, "X": 5})
        assert found.dtype == dtype
        np.testing.assert_allclose(found, expected)
