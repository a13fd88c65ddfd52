"""Detectors against sums by NumPy, in memory, lazily, and run into a store."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse
import xarray as xr

import usidx
from usidx import steps
from usidx.errors import PlanError
from usidx.steps.masks import masked_sums

OVER = ["ky", "kx"]


def in_grid(found: xr.DataArray) -> np.ndarray:
    """Values over (Y, X, ...), whatever form the result has."""
    return np.asarray(found.values).reshape(
        6, 7, *found.shape[1 if "position" in found.dims else 2 :]
    )


def test_masks_weigh_the_pixels(any_frames: xr.DataArray, frames: xr.DataArray) -> None:
    masks = np.random.default_rng(0).normal(size=(5, 12, 16))
    found = steps.apply_masks(any_frames, masks=masks, over=OVER)
    expected = np.einsum("yxvu,mvu->yxm", frames.values.astype(float), masks)
    assert found.dims[-1] == "Mask"
    assert found.attrs["units"] == "counts"
    np.testing.assert_allclose(in_grid(found), expected, rtol=1e-4, atol=1e-2)


def sparse_forms(masks: np.ndarray):
    """The same masks in every sparse form."""
    coo = scipy.sparse.coo_array(masks.reshape(len(masks), -1))
    number, places = coo.coords[0], np.unravel_index(coo.coords[1], masks.shape[1:])
    parts = {"coords": np.stack([number, *places]), "data": coo.data, "shape": masks.shape}
    return {"scipy": coo, "csc": coo.tocsc(), "mapping": parts, "COO": SimpleNamespace(**parts)}


@pytest.mark.parametrize("form", ["scipy", "csc", "mapping", "COO"])
def test_sparse_masks_weigh_as_dense_ones(any_frames: xr.DataArray, frames, form: str) -> None:
    rng = np.random.default_rng(0)
    masks = rng.normal(size=(5, 12, 16)) * (rng.random((5, 12, 16)) > 0.9)
    masks[3] = 0
    found = steps.apply_masks(any_frames, masks=sparse_forms(masks)[form], over=OVER)
    expected = np.einsum("yxvu,mvu->yxm", frames.values.astype(float), masks)
    np.testing.assert_allclose(in_grid(found), expected, rtol=1e-6, atol=1e-4)
    single = steps.apply_masks(any_frames, masks=scipy.sparse.csr_array(masks[0]), over=OVER)
    np.testing.assert_allclose(in_grid(single)[..., 0], expected[..., 0], rtol=1e-6, atol=1e-4)
    with pytest.raises(PlanError, match=r"sparse masks of shape \(5, 191\) do not fit"):
        steps.apply_masks(frames, masks=scipy.sparse.csr_array((5, 191)), over=OVER)


def test_a_run_takes_sparse_masks_as_a_mapping(tmp_path, frames: xr.DataArray) -> None:
    path = str(tmp_path / "scan.h5")
    frames.usid.to_h5usid(path)
    masks = np.random.default_rng(0).random((3, 12, 16)) > 0.9
    given = sparse_forms(masks)["mapping"]
    process = usidx.open(path).usid.process(steps.apply_masks, masks=given)
    result = process.run(memory="2 MB", workers=1)
    np.testing.assert_allclose(result.open(), steps.apply_masks(frames, masks=masks.astype("f4")))
    assert process.run() == result


def test_labelled_masks_are_turned_as_the_frames_are(frames: xr.DataArray) -> None:
    mask = xr.DataArray(np.random.default_rng(0).normal(size=(16, 12)), dims=("kx", "ky"))
    found = steps.apply_masks(frames, masks=mask)
    expected = (frames.values * mask.values.T).sum((-2, -1))
    assert found.dims == ("Y", "X")
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    stack = mask.expand_dims(Order=[0.0, 2.0]) * xr.DataArray([1, 1j], dims="Order")
    several = steps.apply_masks(frames.transpose("kx", "Y", "ky", "X"), masks=stack, over=OVER)
    assert several.dims == ("Y", "X", "Order")
    np.testing.assert_allclose(several[..., 1], 1j * expected, rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(several.Order, [0, 2])


def test_detectors_take_physical_units(any_frames: xr.DataArray, frames: xr.DataArray) -> None:
    ky, kx = frames.ky.values, frames.kx.values
    distance = np.sqrt((ky[:, None] - 0.3) ** 2 + (kx - 13.5) ** 2)
    disk = steps.disk_detector(any_frames, radius=2, center=[0.3, 13.5], over=OVER)
    expected = frames.values[..., distance <= 2].sum(-1)
    np.testing.assert_allclose(in_grid(disk), expected, rtol=1e-6)
    ring = steps.ring_detector(any_frames, inner=2, outer=3, center=[0.3, 13.5], over=OVER)
    expected = frames.values[..., (distance >= 2) & (distance <= 3)].sum(-1)
    np.testing.assert_allclose(in_grid(ring), expected, rtol=1e-6)
    point = steps.point_detector(any_frames, at=[0.31, 14.1], over=OVER)
    at = np.abs(ky - 0.31).argmin(), np.abs(kx - 14.1).argmin()
    np.testing.assert_array_equal(in_grid(point), frames.values[(..., *at)])
    assert point.dtype == frames.dtype


def test_a_run_streams_and_equals_numpy(tmp_path, frames: xr.DataArray) -> None:
    path = str(tmp_path / "scan.h5")
    frames.usid.to_h5usid(path)
    masks = np.random.default_rng(0).normal(size=(3, 12, 16)).astype("f4")
    process = usidx.open(path).usid.process(steps.apply_masks, masks=masks)
    assert process.estimate(memory="2 MB", workers=1).blocks >= 1
    result = process.run(memory="2 MB", workers=1)
    expected = np.einsum("yxvu,mvu->yxm", frames.values.astype(float), masks)
    np.testing.assert_allclose(result.open(), expected, rtol=1e-4, atol=1e-2)
    assert result.open().attrs["units"] == "counts"
    assert process.run() == result
    here = usidx.open(path).usid.process(steps.disk_detector, radius=2).run().open()
    assert here.dims == ("Y", "X")


def test_many_pixels_and_frames_are_summed_in_pieces() -> None:
    rng = np.random.default_rng(1)
    block = rng.integers(0, 4000, (300, 40, 50)).astype("u2")
    masks = rng.normal(size=(7, 2000))
    found = masked_sums(block, masks=masks)
    np.testing.assert_allclose(found, block.reshape(300, -1) @ masks.T, rtol=1e-9, atol=1e-6)
    assert masked_sums(block[:0], masks=masks).shape == (0, 7)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: steps.apply_masks(d, masks=np.ones((3, 3))), r"do not fit frames of ky x kx"),
        (lambda d: steps.disk_detector(d, radius=0.001), "no pixel of ky x kx is between 0.0 and"),
        (lambda d: steps.disk_detector(d, radius=1, center=3), "center=3 must be two numbers"),
        (lambda d: steps.point_detector(d, at=[0, 99]), "99.0 is outside of 'kx'"),
        (lambda d: steps.disk_detector(d.isel(ky=0), radius=1), "1 spectroscopic dimensions"),
        (lambda d: steps.disk_detector(d, radius=1, over=["ky", "kz"]), "no dimension 'kz'"),
    ],
)
def test_what_does_not_fit_is_said(frames: xr.DataArray, call, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        call(frames)
