"""Time principal components: usidx, HyperSpy and dask.array.linalg beside bare NumPy.

    python benchmarks/decomposition.py --folder /dev/shm   # 256 MiB, three rounds
    python benchmarks/decomposition.py --small             # does it run at all, and right

Spectra of 1024 ("exact": the covariance is made) or 4096 values ("long": directions are found by
powers), float32 over a square map, contiguous: usidx reads them from h5USID, the others from a .npy
file with the same values. All give 16 components, their maps, and how much each explains. The floor
reads the data as often as that takes, twice and six times, converts some of it at a time, and
multiplies with BLAS, in as many threads. README.md beside this file says how to make the
environments of the peers.
"""

from __future__ import annotations

import pathlib
import tempfile
from concurrent.futures import ThreadPoolExecutor

import contests
import numpy as np

K = 16
WORKS = {"exact": 1024, "long": 4096}
AT_ONCE = 1024  # spectra that the floor takes at once


def spectra_of(path: pathlib.Path, work: str) -> np.ndarray:
    """The values of a file of this work, mapped, (rows, columns)."""
    values = np.load(path.with_name(f"{work}.npy"), mmap_mode="r")
    return values.reshape(-1, values.shape[-1])


def with_floor(work: str, path: pathlib.Path, threads: int) -> np.ndarray:
    """NumPy alone; the parts of the variance."""
    data = spectra_of(path, work)
    starts = range(0, len(data), AT_ONCE)

    with ThreadPoolExecutor(threads) as pool:

        def over(function):
            return sum(pool.map(lambda n: function(data[n : n + AT_ONCE].astype("f8")), starts))

        if work == "exact":
            whole = over(lambda part: np.vstack([part.T @ part, part.sum(0)]))
            mean = whole[-1] / len(data)
            scatter = whole[:-1] - len(data) * np.outer(mean, mean)
            total = scatter.trace()
            strengths, vectors = np.linalg.eigh(scatter)
            vectors = vectors[:, : -K - 1 : -1]
        else:
            mean = over(lambda part: part.sum(0)) / len(data)
            start = np.random.default_rng(0).standard_normal((data.shape[1], K + 10))
            basis = np.linalg.qr(start)[0]
            for _ in range(3):
                turned = over(lambda part, b=basis: (part - mean).T @ ((part - mean) @ b))
                basis = np.linalg.qr(turned)[0]
            total = over(lambda part: np.square(part - mean).sum())
            inside = over(lambda part: _square((part - mean) @ basis))
            strengths, small = np.linalg.eigh(inside)
            vectors = (basis @ small)[:, : -K - 1 : -1]
        maps = np.empty((len(data), K), "f4")

        def project(n):
            maps[n : n + AT_ONCE] = (data[n : n + AT_ONCE] - mean) @ vectors

        list(pool.map(project, starts))
    return strengths[: -K - 1 : -1] / total


def _square(values: np.ndarray) -> np.ndarray:
    return values.T @ values


def with_usidx(work: str, path: pathlib.Path, threads: int) -> np.ndarray:
    """usidx, lazily, from h5USID."""
    import dask

    import usidx
    from usidx import steps

    data = usidx.open(path.with_name(f"{work}.h5"), "Raw_Data")
    with dask.config.set(scheduler="threads", num_workers=threads):
        found = steps.pca(data, n_components=K).compute()
    return found["Scree"].values


def with_dask(work: str, path: pathlib.Path, threads: int) -> np.ndarray:
    """dask.array.linalg, by its compressed SVD."""
    import dask
    import dask.array as da

    lazy = da.from_array(spectra_of(path, work), chunks=(AT_ONCE * 4, -1))
    with dask.config.set(scheduler="threads", num_workers=threads):
        away = lazy - lazy.mean(0)
        u, s, v = da.linalg.svd_compressed(away, K, n_power_iter=3, seed=0)
        _, s, _, total = dask.compute(u * s, s, v, (away.astype("f8") ** 2).sum())
    return s.astype("f8") ** 2 / total


def with_hyperspy(work: str, path: pathlib.Path, threads: int) -> np.ndarray:
    """HyperSpy in memory, by the randomized solver of scikit-learn."""
    import hyperspy.api as hs

    hs.preferences.General.show_progressbar = False
    values = np.load(path.with_name(f"{work}.npy"))
    signal = hs.signals.Signal1D(values)
    signal.decomposition(
        algorithm="sklearn_pca", output_dimension=K, svd_solver="randomized", print_info=False
    )
    found = np.asarray(signal.learning_results.explained_variance[:K], "f8")
    flat = values.reshape(-1, values.shape[-1])
    return found / flat.var(0, dtype="f8").sum()


def with_hyperspy_lazily(work: str, path: pathlib.Path, threads: int) -> np.ndarray:
    """HyperSpy out of core, by the incremental PCA of scikit-learn."""
    import dask
    import dask.array as da
    import hyperspy.api as hs

    hs.preferences.General.show_progressbar = False
    values = np.load(path.with_name(f"{work}.npy"), mmap_mode="r")
    with dask.config.set(scheduler="threads", num_workers=threads):
        lazy = da.from_array(values, chunks=(32, 32, -1))
        signal = hs.signals.Signal1D(lazy).as_lazy()
        signal.decomposition(algorithm="PCA", output_dimension=K, print_info=False)
        found = np.asarray(signal.learning_results.explained_variance[:K], "f8")
    flat = values.reshape(-1, values.shape[-1])
    return found / flat.var(0, dtype="f8").sum()


CONTESTANTS = {
    "floor": with_floor,
    "usidx": with_usidx,
    "dask": with_dask,
    "HyperSpy": with_hyperspy,
    "HyperSpy, lazily": with_hyperspy_lazily,
}


def make(folder: pathlib.Path, mib: int, works: list[str]) -> pathlib.Path:
    """A pair of files for each work, in a folder."""
    import usidx

    for work in works:
        d = WORKS[work]
        side = max(32, int((mib * 2**20 / 4 / d) ** 0.5))
        rng = np.random.default_rng(0)
        spectra = rng.normal(size=(K, d)) * np.geomspace(3, 0.5, K)[:, np.newaxis]
        values = np.lib.format.open_memmap(folder / f"{work}.npy", "w+", "f4", (side, side, d))
        for row in values:
            row[:] = rng.normal(size=(side, K)) @ spectra + rng.normal(size=(side, d)) + 5
        usidx.from_array(
            values,
            "Intensity",
            "counts",
            position=[usidx.Dimension("Y", "nm", side), usidx.Dimension("X", "nm", side)],
            spectroscopic=[usidx.Dimension("Energy", "eV", d)],
        ).usid.to_h5usid(folder / f"{work}.h5", checksums=False)
    return folder / "data"


def check(work: str, path: pathlib.Path, found: np.ndarray) -> str:
    """What is wrong with the parts of the variance; nothing where they are right."""
    values = spectra_of(path, work)
    rows = values[:: max(1, len(values) // 2048)].astype("f8")
    strengths = np.linalg.svd(rows - rows.mean(0), compute_uv=False) ** 2
    # of some of the spectra they are nearly the same
    away = np.abs(np.sort(found)[::-1] / (strengths[:K] / strengths.sum()) - 1).max()
    return "" if away < 0.2 else f"wrong by {away:.2g}"


def main() -> None:
    """Print the table."""
    asked = contests.arguments(__doc__ or "", list(WORKS), list(CONTESTANTS), 256)
    if asked.one:
        contests.contest(CONTESTANTS, *asked.one, asked.threads)
        return
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        path = make(pathlib.Path(folder), asked.mib, asked.works)
        contests.compete(__file__, asked, path, check, "floor")


if __name__ == "__main__":
    main()
