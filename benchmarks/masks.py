"""Time detectors of diffraction patterns: usidx, LiberTEM and HyperSpy beside bare NumPy.

    python benchmarks/masks.py --folder /dev/shm       # 512 MiB, three rounds
    python benchmarks/masks.py --small                 # does it run at all, and right

Frames of 256 x 256 pixels of 16 bits over a square map, contiguous: usidx reads them from h5USID,
the others from a .npy file with the same values, which is what they read fastest. Ratios are to the
floor: NumPy that converts some frames at a time and multiplies them with the masks, in as many
threads. README.md beside this file says how to make the environments of the peers.
"""

from __future__ import annotations

import pathlib
import tempfile
from concurrent.futures import ThreadPoolExecutor

import contests
import numpy as np

SIDE = 256
WORKS = ("ring", "masks", "sparse", "com", "sum")
AT_ONCE = 16  # frames that the floor takes at once


def masks_of(work: str) -> np.ndarray:
    """The masks of a piece of work, shape (n, SIDE, SIDE), float32."""
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    radius = np.hypot(y, x)
    if work == "ring":
        return ((radius >= 40) & (radius <= 80))[np.newaxis].astype("f4")
    if work == "masks":
        return np.random.default_rng(1).random((8, SIDE, SIDE), "f4")
    if work == "sparse":  # spots of a lattice
        turns = np.linspace(0, 2 * np.pi, 64, endpoint=False)
        return np.stack(
            [np.hypot(y - 90 * np.sin(t), x - 90 * np.cos(t)) <= 8 for t in turns]
        ).astype("f4")
    if work == "sum":
        return np.ones((1, SIDE, SIDE), "f4")
    return np.stack([np.ones_like(y), y, x]).astype("f4")


def finished(work: str, sums: np.ndarray) -> np.ndarray:
    """What is compared, of the sums that masks weigh."""
    sums = np.asarray(sums, "f8").reshape(len(sums), -1)
    return sums[:, 1:] / sums[:, :1] if work == "com" else sums


def with_floor(work: str, path: pathlib.Path, threads: int) -> np.ndarray:
    """NumPy alone."""
    frames = np.load(path, mmap_mode="r").reshape(-1, SIDE * SIDE)
    masks = masks_of(work).reshape(-1, SIDE * SIDE).T.copy()
    found = np.empty((len(frames), masks.shape[1]), "f4")

    def some(start: int) -> None:
        part = slice(start, start + AT_ONCE)
        found[part] = frames[part].astype("f4") @ masks

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(some, range(0, len(frames), AT_ONCE)))
    return finished(work, found)


def with_usidx(work: str, path: pathlib.Path, threads: int) -> np.ndarray:
    """usidx, lazily, from h5USID."""
    import dask
    import scipy.sparse

    import usidx
    from usidx import steps

    data = usidx.open(path.with_suffix(".h5"), "Raw_Data")
    with dask.config.set(scheduler="threads", num_workers=threads):
        if work == "ring":
            return steps.ring_detector(data, inner=40, outer=80).values.reshape(-1, 1)
        if work == "com":
            both = dask.compute(*(each.data for each in steps.center_of_mass(data).values()))
            return np.stack([each.ravel() for each in both], 1)
        if work == "sum":
            return steps.reduce(data, how="sum").values.reshape(-1, 1)
        masks = masks_of(work)
        if work == "sparse":
            masks = scipy.sparse.csr_array(masks.reshape(len(masks), -1))
        found = steps.apply_masks(data, masks=masks).values
    return found.reshape(-1, found.shape[-1])


def with_libertem(work: str, path: pathlib.Path, threads: int) -> np.ndarray:
    """LiberTEM, by the functions that come with it."""
    import libertem.api as lt
    import sparse
    from libertem.udf.com import CoMUDF
    from libertem.udf.masks import ApplyMasksUDF
    from libertem.udf.sumsigudf import SumSigUDF

    context = _libertem(lt, threads)
    data = context.load("npy", path=str(path), sig_shape=(SIDE, SIDE))
    if work == "com":
        found = context.run_udf(dataset=data, udf=CoMUDF.with_params())["raw_com"].data
        return np.asarray(found).reshape(-1, 2) - (SIDE - 1) / 2
    if work == "sum":
        found = context.run_udf(dataset=data, udf=SumSigUDF())["intensity"].data
        return np.asarray(found).reshape(-1, 1)
    masks = masks_of(work)
    given = sparse.COO.from_numpy(masks) if work == "sparse" else masks
    udf = ApplyMasksUDF(mask_factories=lambda: given, mask_dtype="f4", mask_count=len(masks))
    found = np.asarray(context.run_udf(dataset=data, udf=udf)["intensity"].data)
    return found.reshape(-1, len(masks))


def _libertem(lt, threads, kept={}):  # noqa: B006
    """One context, which is made before the time begins."""
    if not kept:
        kept["context"] = lt.Context.make_with("threads", cpus=threads)
    return kept["context"]


def with_hyperspy(work: str, path: pathlib.Path, threads: int) -> np.ndarray:
    """HyperSpy, lazily, by a function of each frame."""
    import dask
    import dask.array as da
    import hyperspy.api as hs

    hs.preferences.General.show_progressbar = False
    frames = np.load(path, mmap_mode="r")
    masks = masks_of(work).reshape(-1, SIDE * SIDE)
    with dask.config.set(scheduler="threads", num_workers=threads):
        signal = hs.signals.Signal2D(da.from_array(frames, chunks=(8, 8, SIDE, SIDE))).as_lazy()
        if work == "sum":
            total = signal.sum(axis=(2, 3))
            total.compute()
            return total.data.reshape(-1, 1)
        weights, size = (masks, (len(masks),)) if len(masks) > 1 else (masks[0], ())
        found = signal.map(
            lambda frame: weights @ frame.ravel().astype("f4"),
            inplace=False,
            output_signal_size=size,
            output_dtype="f4",
        )
        found.compute()
    return finished(work, np.asarray(found.data).reshape(-1, len(masks)))


CONTESTANTS = {
    "floor": with_floor,
    "usidx": with_usidx,
    "LiberTEM": with_libertem,
    "HyperSpy": with_hyperspy,
}


def make(folder: pathlib.Path, mib: int) -> pathlib.Path:
    """Both files; the path of the .npy file."""
    import usidx

    side = max(4, int((mib * 2**20 / 2 / SIDE**2) ** 0.5))
    rng = np.random.default_rng(0)
    one = rng.poisson(20, (64, SIDE, SIDE)).astype("u2")
    path = folder / "frames.npy"
    frames = np.lib.format.open_memmap(path, "w+", "u2", (side, side, SIDE, SIDE))
    for n in range(side * side):
        frames[n // side, n % side] = one[n % 64]
        frames[n // side, n % side, n % SIDE] += n % 50
    centred = np.arange(SIDE) - (SIDE - 1) / 2
    usidx.from_array(
        frames,
        "Intensity",
        "counts",
        position=[usidx.Dimension("Y", "nm", side), usidx.Dimension("X", "nm", side)],
        spectroscopic=[usidx.Dimension(each, "1/nm", centred) for each in ("ky", "kx")],
    ).usid.to_h5usid(path.with_suffix(".h5"), checksums=False)
    return path


def check(work: str, path: pathlib.Path, found: np.ndarray) -> str:
    """What is wrong with sums, of some frames; nothing where they are right."""
    frames = np.load(path, mmap_mode="r").reshape(-1, SIDE * SIDE)
    rows = np.linspace(0, len(frames) - 1, 64).astype(int)
    masks = masks_of(work).reshape(-1, SIDE * SIDE).astype("f8")
    expected = finished(work, frames[rows].astype("f8") @ masks.T)
    away = np.abs(found[rows] - expected).max() / np.abs(expected).max()
    return "" if away < 1e-3 else f"wrong by {away:.2g}"


def main() -> None:
    """Print the table."""
    asked = contests.arguments(__doc__ or "", WORKS, list(CONTESTANTS), 512)
    if asked.one:
        contests.contest(CONTESTANTS, *asked.one, asked.threads)
        return
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        path = make(pathlib.Path(folder), asked.mib)
        contests.compete(__file__, asked, path, check, "floor")


if __name__ == "__main__":
    main()
