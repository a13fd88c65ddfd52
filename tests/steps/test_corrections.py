"""Flat fields and lines against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import usidx
from usidx import steps
from usidx.errors import PlanError


def test_flat_field_in_every_form(any_frames: xr.DataArray, frames: xr.DataArray) -> None:
    rng = np.random.default_rng(0)
    flats = frames.isel(Y=slice(2)).copy(data=rng.uniform(400, 500, (2, 7, 12, 16)))
    dark = frames.isel(Y=0, X=0, drop=True).astype(float) * 0 + rng.uniform(1, 2, (12, 16))
    found = steps.flat_field(any_frames, flat=flats, dark=dark)
    expected = (frames.values - dark.values) / (flats.values.mean((0, 1)) - dark.values)
    np.testing.assert_allclose(found.values.reshape(expected.shape), expected, rtol=1e-4, atol=1e-6)
    assert found.dims == any_frames.dims
    assert found.dtype == "float32"


def test_flats_are_interpolated_in_time(any_frames: xr.DataArray, frames: xr.DataArray) -> None:
    rng = np.random.default_rng(0)
    dim = str(any_frames.dims[0])
    now = rng.uniform(-2, 12, any_frames.sizes[dim])
    timed = any_frames.assign_coords(Time=(dim, now))
    when = np.array([4.0, 0, 10])
    flats = xr.DataArray(
        rng.uniform(400, 500, (12, 3, 16)), dims=("ky", "N", "kx"), coords={"Time": ("N", when)}
    )
    dark = frames.isel(Y=0, X=0, drop=True).astype(float) * 0 + rng.uniform(1, 2, (12, 16))
    found = steps.flat_field(timed, flat=flats.chunk(N=1), dark=dark, time="Time")
    order = np.argsort(when)
    pixels = flats.values.transpose(1, 0, 2)[order].reshape(3, -1)
    white = np.stack([np.interp(now, when[order], each) for each in pixels.T], -1)
    white = white.reshape(len(now), *[1] * (any_frames.ndim - 3), 12, 16)
    expected = (any_frames.values - dark.values) / (white - dark.values)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    assert found.dims == any_frames.dims
    with pytest.raises(PlanError, match="time='When' must be a coordinate"):
        steps.flat_field(timed, flat=flats, time="When")


def test_flats_of_the_same_positions_belong_to_them(frames: xr.DataArray) -> None:
    flat = frames.copy(data=frames.values + 3)
    flat[1, 1, 4, 4] = 0
    found = steps.flat_field(frames, flat=flat.chunk(Y=2))
    with np.errstate(divide="ignore"):
        expected = frames.values / flat.values.astype(float)
    expected[1, 1, 4, 4] = np.nan
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_run_has_three_sources(tmp_path, frames: xr.DataArray) -> None:
    path = str(tmp_path / "scan.h5")
    flat, dark = frames.isel(Y=[0], X=[0]) + 300, frames.isel(Y=[1], X=[1]) // 50
    mains = {"Raw_Data": frames, "Flat": flat, "Dark": dark}
    usidx.to_h5usid(
        {
            f"/Measurement_000/Channel_00{n}/{name}": each.assign_attrs(frames.attrs).rename(name)
            for n, (name, each) in enumerate(mains.items())
        },
        path,
    )
    opened = {name: usidx.open(path, name) for name in mains}
    result = (
        opened["Raw_Data"]
        .usid.process(steps.flat_field, flat=opened["Flat"], dark=opened["Dark"])
        .run(memory="1 MB", workers=1)
    )
    white, black = flat.values[0, 0].astype(float), dark.values[0, 0].astype(float)
    expected = (frames.values - black) / (white - black)
    np.testing.assert_allclose(result.open(), expected, rtol=1e-5, atol=1e-6)
    assert len(result.sources) == 3


def test_a_flat_of_other_frames_is_refused(frames: xr.DataArray) -> None:
    with pytest.raises(PlanError, match="flat has kx 15, which does not fit raw"):
        steps.flat_field(frames, flat=frames.isel(kx=slice(15)))


@pytest.mark.parametrize("chunks", [None, {"Y": 2, "X": 3}])
@pytest.mark.parametrize("method", ["median", "mean"])
def test_offsets_of_lines_go(frames: xr.DataArray, chunks, method: str) -> None:
    maps = frames.isel(ky=5, kx=[6, 7]).astype(float)
    offsets = np.random.default_rng(1).normal(0, 100, (6, 1, 2))
    level = getattr(np, method)
    expected = maps.values - level(maps.values, axis=1, keepdims=True)
    striped = maps + xr.DataArray(offsets, dims=("Y", "one", "kx")).isel(one=0)
    striped = striped.transpose("Y", "X", "kx")
    found = steps.destripe(
        striped if chunks is None else striped.chunk(chunks), along="X", method=method
    )
    np.testing.assert_allclose(found - found.mean(("Y", "X")), expected - expected.mean((0, 1)))
    np.testing.assert_allclose(level(found.values, axis=1).std(0), 0, atol=1e-10)
    with pytest.raises(PlanError, match="lines along 'kx' need a map"):
        steps.destripe(maps, along="kx")


@pytest.mark.parametrize("order", [0, 1])
def test_level_takes_the_plane_away(any_frames: xr.DataArray, order: int) -> None:
    maps = any_frames.isel(ky=[3, 4], kx=[5]).astype("f8").compute()
    maps[..., 0, 0][(1,) * (maps.ndim - 2)] = np.nan
    y, x = xr.broadcast(maps.Y, maps.X)
    design = np.stack([np.ones(y.size), y.values.ravel(), x.values.ravel()], 1)[:, : 1 + 2 * order]
    tilted = maps + 3 * y - 0.7 * x
    chunks = {str(tilted.dims[0]): 2}
    found = steps.level(tilted.transpose(*maps.dims).chunk(chunks), order=order)
    values = tilted.transpose(*maps.dims).values.reshape(len(design), -1)
    for column, got in zip(values.T, found.values.reshape(len(design), -1).T):
        there = np.isfinite(column)
        fitted = np.linalg.lstsq(design[there], column[there])[0]
        np.testing.assert_allclose(got[there], (column - design @ fitted)[there], atol=1e-9)
        assert np.isnan(got[~there]).all()


def test_descan_is_taken_from_centers(tmp_path, frames: xr.DataArray) -> None:
    path = str(tmp_path / "scan.h5")
    frames.usid.to_h5usid(path)
    centers = usidx.open(path).usid.process(steps.center_of_mass).run().open()
    found = centers.usid.process(steps.level).run().open()
    assert list(found) == ["Center of ky", "Center of kx"]
    for name in found:
        expected = steps.level(steps.center_of_mass(frames)[name])
        np.testing.assert_allclose(found[name], expected, atol=1e-5)
        assert found[name].attrs["units"] == "1/nm"
        assert abs(float(found[name].mean())) < 1e-5
