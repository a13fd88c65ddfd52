"""Components against the singular value decomposition of NumPy, and scikit-learn where it is."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import xarray as xr

import usidx
from usidx import steps
from usidx.errors import PlanError, UsidError
from usidx.model.dimension import Dimension
from usidx.steps.decomposition import subspace
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
        monkeypatch.setattr(subspace, "MOST_EXACT", 10)
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


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_the_same_seed_is_the_same_result(monkeypatch, dtype: str) -> None:
    monkeypatch.setattr(subspace, "MOST_EXACT", 10)
    data = make_main((9, 10, 24), dtype=dtype).chunk(Y=2)
    one, other = (steps.pca(data, n_components=2, seed=3).compute() for _ in range(2))
    xr.testing.assert_identical(one, other)


@pytest.mark.parametrize("randomized", [False, True])
def test_counts_are_weighed_by_their_noise(monkeypatch, randomized: bool) -> None:
    if randomized:
        monkeypatch.setattr(subspace, "MOST_EXACT", 10)
    data, _, _ = mixture("uint16")
    data[0, 1], data[:, :, 3] = 0, 0  # where nothing was counted, nothing is said
    flat = data.values.reshape(-1, 40).astype(float)
    roots = np.sqrt(flat.sum(1))[:, None] * np.sqrt(flat.sum(0))
    u, s, v = np.linalg.svd(np.divide(flat, roots, where=roots > 0, out=flat * 0))
    found = steps.pca(data.chunk(Y=5, E=7), n_components=3, poisson=True)
    near = {"rtol": 1e-3 if randomized else 1e-6, "atol": 1e-2 if randomized else 1e-4}
    np.testing.assert_allclose(found["Scree"], s[:3] ** 2 / (s**2).sum(), rtol=1e-5)
    expected = np.sqrt(flat.sum(1))[:, None] * (u[:, :3] * s[:3] @ v[:3]) * np.sqrt(flat.sum(0))
    again = steps.reconstruct(found["Loadings"], components=found["Components"])
    np.testing.assert_allclose(again.values.reshape(-1, 40), expected, **near)
    clean = steps.denoise(data.chunk(X=4), n_components=3, poisson=True)
    np.testing.assert_allclose(clean.values.reshape(-1, 40), expected, **near)
    with pytest.raises(PlanError, match="leave centre out"):
        steps.pca(data, centre=True, poisson=True)
    with pytest.raises(UsidError, match="poisson=True is for counts"):
        steps.pca(data.astype("i4") - 5, n_components=2, poisson=True).compute()


def mixture(dtype: str = "float64", noise: float = 0.0):
    """Counts over a map of three spectra, (spectra, maps, data)."""
    rng = np.random.default_rng(0)
    spectra = rng.dirichlet(np.full(40, 0.2), 3) * 900
    maps = rng.dirichlet(np.full(3, 0.2), (12, 15))
    values = maps @ spectra
    values = rng.poisson(values) if dtype.startswith("u") else values + noise
    data = usidx.from_array(
        values.astype(dtype),
        "Intensity",
        "counts",
        position=[Dimension("Y", "nm", 12), Dimension("X", "nm", 15)],
        spectroscopic=[Dimension("E", "eV", 40)],
    )
    return data, spectra, maps


def test_svd_is_that_of_numpy_in_the_layout_of_pycroscopy(tmp_path) -> None:
    data = make_main((12, 13, 24), dtype="complex64") + 5
    path = str(tmp_path / "scan.h5")
    data.usid.to_h5usid(path)
    result = usidx.open(path).usid.process(steps.svd, n_components=3).run(memory="200 kB")
    assert result.path.endswith("/Raw_Data-SVD_000")
    tree = result.open()
    u, s, v = (tree[f"{name}/{name}"].squeeze().values for name in "USV")
    u = u.reshape(-1, 3)
    flat = data.values.reshape(-1, 24).astype("c16")
    np.testing.assert_allclose(s, np.linalg.svd(flat, compute_uv=False)[:3], rtol=1e-5)
    np.testing.assert_allclose(u.conj().T @ u, np.eye(3), atol=1e-4)
    np.testing.assert_allclose((u * s) @ v, by_numpy(data, 24, 3, False)[-1], atol=1e-3)
    with h5py.File(path) as file:
        group = file[result.path]
        assert group["U"].shape == (156, 3)
        assert group["V"].shape == (3, 24)


@pytest.mark.parametrize("of", ["spectra", "maps"])
def test_independent_components_are_what_was_mixed(of: str) -> None:
    pytest.importorskip("sklearn")
    rng = np.random.default_rng(2)
    maps, spectra = rng.exponential(size=(20, 30, 3)), rng.laplace(size=(3, 300)) * [[1], [2], [3]]
    data = usidx.from_array(
        maps @ spectra,
        "Intensity",
        "counts",
        position=[Dimension("Y", "nm", 20), Dimension("X", "nm", 30)],
        spectroscopic=[Dimension("E", "eV", 300)],
    )
    found = steps.ica(data.chunk(Y=5), n_components=3, of=of).compute()
    truth = spectra if of == "spectra" else maps.reshape(-1, 3).T
    name = "Components" if of == "spectra" else "Loadings"
    got = found[name].transpose("Component", ...).values.reshape(3, -1)
    alike = np.abs(np.corrcoef(got, truth))[:3, 3:]
    assert (np.sort(alike, 1)[:, -1] > 0.97).all(), alike
    assert sorted(alike.argmax(1)) == [0, 1, 2]
    again = steps.reconstruct(found["Loadings"], components=found["Components"], mean=found["Mean"])
    np.testing.assert_allclose(again, data, atol=1e-8)
    sizes = (found["Loadings"].values.reshape(-1, 3) ** 2).sum(0)
    around = data.values.reshape(-1, 300) - found["Mean"].values
    np.testing.assert_allclose(found["Scree"], sizes / (around**2).sum())


def test_nothing_is_taken_away_from_mixtures() -> None:
    sklearn = pytest.importorskip("sklearn.decomposition")
    data, _, _ = mixture("uint16")
    found = steps.nmf(data.chunk(Y=5), n_components=3).compute()
    assert min(found["Loadings"].min(), found["Components"].min()) >= 0
    left = data.values.reshape(-1, 40) - (
        found["Loadings"].values.reshape(-1, 3) @ found["Components"].values
    )
    model = sklearn.NMF(3, init="nndsvda", max_iter=3000, tol=1e-8)
    model.fit(data.values.reshape(-1, 40).astype(float))
    assert np.linalg.norm(left) < 1.003 * model.reconstruction_err_
    other = steps.nmf(data.chunk(X=4, E=9), n_components=3).compute()
    xr.testing.assert_allclose(found, other, rtol=1e-4, atol=1e-3)
    with pytest.raises(UsidError, match="nmf needs values that are 0 or above"):
        steps.nmf(data.astype("i4") - 5, n_components=2).compute()


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_clusters_are_those_of_scikit_learn(dtype: str) -> None:
    sklearn = pytest.importorskip("sklearn.cluster")
    data, _, maps = mixture("float32")
    data = data + 200j * np.roll(data, 3, -1) if dtype == "complex64" else data
    data = data.astype(dtype)
    found = steps.kmeans(data.chunk(Y=5), n_clusters=3).compute()
    flat = data.values.reshape(-1, 40)
    parts = np.concatenate([flat.real, flat.imag], 1)
    model = sklearn.KMeans(3, n_init=10, random_state=0).fit(parts)
    assert float(found["Inertia"].sum()) < 1.001 * model.inertia_
    labels = found["Labels"].values.ravel()
    for n in range(3):
        mean = flat[labels == n].mean(0)
        np.testing.assert_allclose(found["Mean_Response"][n], mean, rtol=2e-2, atol=2)
        assert found["Sizes"][n] == (labels == n).sum()
    assert list(found["Sizes"]) == sorted(found["Sizes"], reverse=True)


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint16"])
def test_clusters_far_from_zero_are_those_of_exact_arithmetic(dtype: str) -> None:
    pytest.importorskip("sklearn")
    rng = np.random.default_rng(1)
    group = rng.integers(0, 3, (20, 30))
    values = 6e4 + 20 * rng.normal(size=(3, 40))[group] + 5 * rng.normal(size=(20, 30, 40))
    data = usidx.from_array(
        np.round(values).astype(dtype),
        "Intensity",
        "counts",
        position=[Dimension("Y", "nm", 20), Dimension("X", "nm", 30)],
        spectroscopic=[Dimension("E", "eV", 40)],
    )
    found = steps.kmeans(data.chunk(Y=7), n_clusters=3).compute()
    flat, labels = data.values.reshape(-1, 40).astype(float), found["Labels"].values.ravel()
    means = np.stack([flat[labels == n].mean(0) for n in range(3)])
    within = [((flat[labels == n] - means[n]) ** 2).sum() for n in range(3)]
    np.testing.assert_allclose(found["Mean_Response"], means, rtol=2e-7)
    np.testing.assert_allclose(found["Inertia"], within, rtol=1e-5)
    assert {tuple(np.unique(group.ravel()[labels == n])) for n in range(3)} == {(0,), (1,), (2,)}


@pytest.mark.parametrize("name", ["nmf", "ica", "kmeans"])
def test_runs_in_small_blocks_are_those_in_memory(tmp_path, name: str) -> None:
    pytest.importorskip("sklearn")
    data, _, _ = mixture("uint16")
    path = str(tmp_path / "scan.h5")
    data.usid.to_h5usid(path)
    made = getattr(steps, name)
    options = {"n_clusters" if name == "kmeans" else "n_components": 2}
    result = usidx.open(path).usid.process(made, **options).run(memory="100 kB", workers=2)
    tree, expected = result.open(), made(data, **options)
    assert {each.rsplit("/", 1)[-1] for each in result.mains} == set(expected)
    for each, values in expected.items():
        stored = tree[f"{each}/{each}"].squeeze()
        np.testing.assert_allclose(stored, values, rtol=1e-3, atol=1e-2, err_msg=each)


@pytest.mark.parametrize(
    ("name", "least", "most"), [("nmf", 30e6, 60e6), ("kmeans", 15e6, 60e6), ("pca", 10e6, 25e6)]
)
def test_what_is_held_besides_blocks_is_counted(tmp_path, name: str, least, most) -> None:
    pytest.importorskip("sklearn")
    data = usidx.from_array(
        np.ones((64, 64, 500), np.uint16),
        "Intensity",
        "counts",
        position=[Dimension("Y", "nm", 64), Dimension("X", "nm", 64)],
        spectroscopic=[Dimension("E", "eV", 500)],
    )
    process = usidx.open(data.usid.to_h5usid(tmp_path / "scan.h5")).usid.process
    made = process(getattr(steps, name))
    estimate = made.estimate(memory="100 MB", workers=2)
    assert least < estimate.kept < most
    assert estimate.kept < estimate.memory <= 100e6
    with pytest.raises(PlanError, match="besides its blocks"):
        made.run(memory="10 MB")
    assert data[:4, :, :90].usid.process(getattr(steps, name)).estimate().kept == 0


def test_a_stored_decomposition_is_put_together_again(tmp_path) -> None:
    data = make_main((9, 10, 16), dtype="float64")
    path = str(tmp_path / "scan.h5")
    data.usid.to_h5usid(path)
    result = usidx.open(path).usid.process(steps.pca, n_components=4).run()
    parts = {name: usidx.open(path, f"{result.path}/{name}") for name in result.open().children}
    process = parts["Loadings"].usid.process(
        steps.reconstruct, components=parts["Components"], mean=parts["Mean"], keep=[0, 2]
    )
    found = process.run().open()
    scores, vectors, _, mean, _ = by_numpy(data, 16, 4)
    expected = scores[:, [0, 2]] @ vectors[[0, 2]] + mean
    assert found.dims == ("Y", "X", "Frequency")
    np.testing.assert_array_equal(found.Frequency, data.Frequency)
    np.testing.assert_allclose(found.values.reshape(-1, 16), expected, atol=1e-9)
    with pytest.raises(PlanError, match="must name some of the 4 components"):
        steps.reconstruct(parts["Loadings"], components=parts["Components"], keep=5)


def test_what_does_not_fit_is_said() -> None:
    data = make_main()
    with pytest.raises(PlanError, match="from 1 to the 16 that 20 positions"):
        steps.pca(data, n_components=17)
    data[1, 1, 1] = np.nan
    with pytest.raises(UsidError, match="values that are not finite"):
        steps.pca(data, n_components=2).compute()
