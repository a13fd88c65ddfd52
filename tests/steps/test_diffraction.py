"""Centers and profiles of frames against NumPy and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

import usidx
from usidx import steps
from usidx.errors import PlanError


def test_centers_are_those_of_scipy(any_frames: xr.DataArray, frames: xr.DataArray) -> None:
    found = steps.center_of_mass(any_frames, over=["ky", "kx"])
    flat = frames.values.reshape(-1, 12, 16)
    pixels = np.array([ndimage.center_of_mass(each.astype(float)) for each in flat])
    for n, dim in enumerate(["ky", "kx"]):
        values = frames[dim].values
        expected = values[0] + pixels[:, n] * (values[1] - values[0])
        np.testing.assert_allclose(found[f"Center of {dim}"].values.ravel(), expected, rtol=1e-5)
        assert found[f"Center of {dim}"].attrs["units"] == "1/nm"


def test_pixels_beyond_the_radius_do_not_count(frames: xr.DataArray) -> None:
    ky, kx = frames.ky.values[:, None], frames.kx.values
    inside = (ky - 0.2) ** 2 + (kx - 14) ** 2 <= 1.5**2
    found = steps.center_of_mass(frames, radius=1.5, center=[0.2, 14])
    weights = np.where(inside, frames.values, 0).astype(float)
    expected = (weights * kx).sum((-2, -1)) / weights.sum((-2, -1))
    np.testing.assert_allclose(found["Center of kx"], expected, rtol=1e-5)


def test_an_empty_frame_has_no_center(frames: xr.DataArray) -> None:
    frames = frames.copy()
    frames[1, 2] = 0
    found = steps.center_of_mass(frames)["Center of kx"]
    assert np.isnan(found[1, 2])
    assert np.isfinite(found).sum() == found.size - 1


def test_a_run_has_a_compound_result(tmp_path, frames: xr.DataArray) -> None:
    path = str(tmp_path / "scan.h5")
    frames.usid.to_h5usid(path)
    result = usidx.open(path).usid.process(steps.center_of_mass).run(memory="2 MB", workers=1)
    opened = result.open()
    assert list(opened) == ["Center of ky", "Center of kx"]
    xr.testing.assert_allclose(
        opened["Center of ky"].drop_vars(opened.coords),
        steps.center_of_mass(frames)["Center of ky"].drop_vars(["Y", "X"]),
    )
    both = opened.usid.process(steps.curl_divergence).run().open()
    slow, fast = (opened[name].values for name in opened)
    y, x = opened.Y.values, opened.X.values
    np.testing.assert_allclose(
        both["Divergence"], np.gradient(slow, y, axis=0) + np.gradient(fast, x, axis=1), rtol=1e-4
    )
    np.testing.assert_allclose(
        both["Curl"], np.gradient(slow, x, axis=1) - np.gradient(fast, y, axis=0), rtol=1e-4
    )


def test_profiles_are_means_over_rings(any_frames: xr.DataArray, frames: xr.DataArray) -> None:
    found = steps.radial_profile(any_frames, center=[0.1, 14], width=0.7, over=["ky", "kx"])
    distance = np.hypot(frames.ky.values[:, None] - 0.1, frames.kx.values - 14)
    flat = frames.values.reshape(-1, 12, 16)
    for j, radius in enumerate(found.Radius.values):
        ring = (distance >= 0.7 * j) & (distance < 0.7 * (j + 1))
        assert radius == pytest.approx(0.7 * (j + 0.5))
        got = found.values.reshape(-1, found.sizes["Radius"])[:, j]
        if ring.any():
            np.testing.assert_allclose(got, flat[:, ring].mean(-1), rtol=1e-6)
        else:
            assert np.isnan(got).all()
    assert found.Radius.attrs["units"] == "1/nm"
    assert found.sizes["Radius"] == int(distance.max() / 0.7) + 1


def test_a_profile_runs_into_a_store(tmp_path, frames: xr.DataArray) -> None:
    path = str(tmp_path / "scan.zarr")
    usidx.to_zarr(frames, path)
    found = usidx.open(path).usid.process(steps.radial_profile).run().open()
    np.testing.assert_allclose(found, steps.radial_profile(frames), rtol=1e-6)
    assert found.dims == ("Y", "X", "Radius")


def test_pick_takes_the_nearest(any_frames: xr.DataArray, frames: xr.DataArray) -> None:
    found = steps.pick(any_frames, at={"Y": 1.1, "X": 3.2})
    flat = any_frames.values.reshape(-1, 12, 16)
    if "position" in any_frames.dims:
        nearest = np.hypot(any_frames.Y.values - 1.1, any_frames.X.values - 3.2).argmin()
        np.testing.assert_array_equal(found, flat[nearest])
    else:
        np.testing.assert_array_equal(found, frames.values[2, 3])


def test_what_does_not_fit_is_said(frames: xr.DataArray) -> None:
    with pytest.raises(PlanError, match="complex values have no center of mass"):
        steps.center_of_mass(frames + 1j)
    with pytest.raises(PlanError, match=r"width=0 of the rings"):
        steps.radial_profile(frames, width=0)
    with pytest.raises(PlanError, match="must name coordinates"):
        steps.pick(frames, at={"Z": 1})
    with pytest.raises(PlanError, match="a Dataset of two components"):
        steps.curl_divergence(frames)


def test_places_that_nobody_knows_are_not_the_nearest() -> None:
    data = xr.DataArray([1, 2, 3], dims="X", coords={"X": [np.nan, 0.0, 1.0]})
    assert int(steps.pick(data, at={"X": 0.9})) == 3
    with pytest.raises(PlanError, match="must be numbers"):
        steps.pick(data, at={"X": np.nan})
