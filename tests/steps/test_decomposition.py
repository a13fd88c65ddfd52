"""Components against the singular value decomposition of NumPy, and scikit-learn where it is."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import usidx
from usidx import steps
from usidx.errors import PlanError, UsidError
from usidx.steps import decomposition
from usidx.testing import make_main


def by_numpy(data: xr.DataArray, d: int, k: int, centre: bool = True):
    flat = data.values.reshape(-1, d).astype(np.result_type(data.dtype, "f8"))
    mean = flat.mean(0) if centre else np.zeros(d)
    u, s, v = np.linalg.svd(flat - mean, full_matrices=False)
    parts = s**2 / (s**2).sum()
    return (u * s)[:, :k], v[:k], parts[:k], mean, (u[:, :k] * s[:k]) @ v[:k] + mean


def check(found: xr.Dataset, data: xr.DataArray, d: int, k: int, centre: bool, tol: float) -> None:
    scores, vectors, parts, mean, _ = by_numpy(data, d, k, centre)
    got = found["Components"].values.reshape(k, d)
    same = np.einsum("kd,kd->k", got, vectors.conj())
    np.testing.assert_allclose(abs(same), 1, atol=tol)
    loadings = found["Loadings"].values.reshape(-1, k)
    np.testing.assert_allclose(loadings * same, scores, atol=tol * abs(scores).max())
    np.testing.assert_allclose(found["Scree"], parts, atol=tol)
    np.testing.assert_allclose(found["Mean"].values.ravel(), mean, rtol=1e-6)
    largest = np.take_along_axis(got, abs(got).argmax(1)[:, None], 1)
    np.testing.assert_allclose(largest, abs(largest), atol=1e-9)


@pytest.mark.parametrize("randomized", [False, True])
@pytest.mark.parametrize("centre", [True, False])
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_it_is_the_svd(monkeypatch, randomized: bool, centre: bool, dtype: str) -> None:
    if randomized:
        monkeypatch.setattr(decomposition, "MOST_EXACT", 10)
    data = make_main((12, 13, 24), dtype=dtype) + 5
    for each in (data, data.chunk(Y=5, X=4, Frequency=7), data.transpose("Frequency", "X", "Y")):
        found = steps.pca(each, n_components=2, centre=centre)
        found = found.transpose("Y", "X", "Component", "Frequency")
        check(found, data, 24, 2, centre, 1e-3 if randomized else 1e-8)
        clean = steps.denoise(each, n_components=2, centre=centre)
        assert clean.dims == each.dims
        expected = by_numpy(data, 24, 2, centre)[-1].reshape(data.shape)
        np.testing.assert_allclose(
            clean.transpose(*data.dims), expected, atol=1e-3 if randomized else 1e-10
        )


def test_a_large_mean_takes_no_digits() -> None:
    data = make_main((9, 10, 16), dtype="float64")
    far = steps.pca((data + 1e6).chunk(Y=2), n_components=2)
    near = steps.pca(data, n_components=2)
    np.testing.assert_allclose(far["Components"], near["Components"], atol=1e-6)


@pytest.mark.parametrize("ending", ["h5", "zarr"])
def test_a_run_in_small_blocks_gives_mains(tmp_path, ending: str) -> None:
    data = make_main((16, 20, 32))
    path = str(tmp_path / f"scan.{ending}")
    (usidx.to_zarr if ending == "zarr" else usidx.to_h5usid)(data, path)
    process = usidx.open(path).usid.process(steps.pca, n_components=3)
    result = process.run(memory="200 kB", workers=2)
    assert {each.rsplit("/", 1)[-1] for each in result.mains} == {
        "Loadings",
        "Components",
        "Scree",
        "Mean",
    }
    tree = result.open()
    found = xr.Dataset({name: tree[f"{name}/{name}"].squeeze() for name in ("Loadings", "Mean")})
    found["Components"] = tree["Components/Components"]
    found["Scree"] = tree["Scree/Scree"].squeeze()
    check(found, data, 32, 3, True, 1e-4)
    assert found["Loadings"].attrs["units"] == "V"
    assert process.run() == result


def test_frames_at_scattered_positions(any_frames: xr.DataArray, frames: xr.DataArray) -> None:
    found = steps.pca(any_frames, n_components=3)
    assert found["Components"].dims == ("Component", "ky", "kx")
    check(found, frames, 192, 3, True, 1e-4)


def test_it_is_that_of_scikit_learn() -> None:
    model = pytest.importorskip("sklearn.decomposition").PCA(3)
    data = make_main((9, 10, 16), dtype="float64")
    scores = model.fit_transform(data.values.reshape(-1, 16))
    found = steps.pca(data, n_components=3)
    np.testing.assert_allclose(found["Scree"], model.explained_variance_ratio_)
    np.testing.assert_allclose(abs(found["Loadings"].values.reshape(-1, 3)), abs(scores), atol=1e-9)


def test_the_same_seed_is_the_same_result(monkeypatch) -> None:
    monkeypatch.setattr(decomposition, "MOST_EXACT", 10)
    data = make_main((9, 10, 24)).chunk(Y=2)
    one, other = (steps.pca(data, n_components=2, seed=3).compute() for _ in range(2))
    xr.testing.assert_identical(one, other)


def test_what_does_not_fit_is_said() -> None:
    data = make_main()
    with pytest.raises(PlanError, match="from 1 to the 16 that 20 positions"):
        steps.pca(data, n_components=17)
    data[1, 1, 1] = np.nan
    with pytest.raises(UsidError, match="values that are not finite"):
        steps.pca(data, n_components=2).compute()
