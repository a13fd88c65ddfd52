"""Time a folder of frames -> gaussian -> Zarr beside the usual recipes; print ratios and memory.

    python benchmarks/stacking.py                                # 20 frames of 512 x 512
    python benchmarks/stacking.py --frames 500 --size 2048       # 8 GiB in, 8 GiB out
    python benchmarks/stacking.py --frames 500 --size 2048 --dtype uint16      # 4 GiB in
    python benchmarks/stacking.py --rounds 3 --json stacking.json --folder /scratch

Every contestant runs in a process of its own, one after the other, round after round, so that what
else the machine does falls on all of them. The floor is bare NumPy and SciPy in two threads: read a
TIFF, filter it, write its bytes. What each one wrote is compared with SciPy's filter, and removed.
Of integers SciPy's filter gives integers, and usidx float32, which are twice the bytes of uint16;
with --dtype uint16 the recipes run once more with frames made float32 before they are filtered.

    usidx          usidx.stack(folder, preprocess=gaussian).usid.to_zarr(...)
    usidx, scipy   the same with SciPy's filter, which the others use
    recipe         dask.delayed(imread) of each file, da.stack, map_blocks(gaussian_filter), to_zarr
    dask-image     dask_image.imread.imread, map_blocks(gaussian_filter), to_zarr
    ..., float32   the same of float32
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import json
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

HERE = pathlib.Path(__file__).resolve()
CONTESTANTS = (
    "floor", "usidx", "usidx, scipy", "recipe", "recipe, float32", "dask-image",
    "dask-image, float32",
)  # fmt: skip
MAIN = "Measurement_000/Channel_000/Raw_Data/Raw_Data"


def make(folder: pathlib.Path, frames: int, size: int, dtype: str) -> None:
    """Write the frames: a smooth picture with noise, another in each."""
    import tifffile

    generator = np.random.default_rng(0)
    noise = generator.standard_normal((size, size), dtype=np.float32)
    for number in range(frames):
        values = np.roll(noise, 37 * number, axis=0) + np.float32(number)
        if dtype == "uint16":
            values = np.clip(1000 + 100 * values, 0, 65535).astype(dtype)
        tifffile.imwrite(folder / f"{number:04d}.tif", values)
    (folder / "settings.json").write_text("{}")


# -- contestants: each reads `folder`, filters with `sigma`, and writes `out` ----------------------


def floor(folder: str, out: str, sigma: float) -> None:
    """Bare threads; nothing is compressed, labelled or safe."""
    import tifffile
    from scipy.ndimage import gaussian_filter

    names = sorted(name for name in os.listdir(folder) if name.endswith(".tif"))

    def one(name: str) -> None:
        values = gaussian_filter(tifffile.imread(os.path.join(folder, name)), sigma)
        values.tofile(os.path.join(out, name))

    os.makedirs(out)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(one, names))


def usidx(folder: str, out: str, sigma: float, *, scipy: bool = False) -> None:
    """What this package has for it."""
    import usidx
    from usidx.stacking.filters import gaussian

    preprocess: Any = functools.partial(gaussian, sigma=sigma)
    if scipy:
        from scipy.ndimage import gaussian_filter

        preprocess = functools.partial(gaussian_filter, sigma=sigma)
    usidx.stack(folder, preprocess=preprocess).usid.to_zarr(out, overwrite=True)


def recipe(folder: str, out: str, sigma: float, dtype: str | None = None) -> None:
    """The usual lines from notebooks."""
    import dask
    import dask.array as da
    from scipy.ndimage import gaussian_filter
    from skimage.io import imread

    names = sorted(name for name in os.listdir(folder) if name[:4].isdigit())
    paths = [os.path.join(folder, name) for name in names]
    first = imread(paths[0])
    lazy = [da.from_delayed(dask.delayed(imread)(p), first.shape, first.dtype) for p in paths]
    images = da.stack(lazy).astype(dtype or first.dtype)
    images.map_blocks(gaussian_filter, sigma=(0, sigma, sigma)).to_zarr(out, overwrite=True)


def dask_image(folder: str, out: str, sigma: float, dtype: str | None = None) -> None:
    """The library for it."""
    from dask_image.imread import imread
    from scipy.ndimage import gaussian_filter

    images = imread(os.path.join(folder, "*.tif"))
    images = images.astype(dtype or images.dtype)
    images.map_blocks(gaussian_filter, sigma=(0, sigma, sigma)).to_zarr(out, overwrite=True)


def contest(name: str, folder: str, out: str, sigma: float) -> None:
    """Run one contestant in this process, and say how long it took and how much memory."""
    functions = {
        "floor": floor,
        "usidx": usidx,
        "usidx, scipy": functools.partial(usidx, scipy=True),
        "recipe": recipe,
        "recipe, float32": functools.partial(recipe, dtype="float32"),
        "dask-image": dask_image,
        "dask-image, float32": functools.partial(dask_image, dtype="float32"),
    }
    started, before = time.perf_counter(), time.process_time()
    functions[name](folder, out, sigma)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    found = {
        "wall": time.perf_counter() - started,
        "cpu": time.process_time() - before,
        "peak_MiB": usage.ru_maxrss / 1024,
    }
    print(json.dumps(found))


def why_not(name: str) -> str:
    """Why a contestant cannot run here, "" where it can."""
    missing = name.startswith("dask-image") and importlib.util.find_spec("dask_image") is None
    return "dask-image is not installed (pip install dask-image)" if missing else ""


def error_of(name: str, folder: pathlib.Path, out: pathlib.Path, sigma: float) -> float:
    """How far some frames are from SciPy's filter, at most, in parts of the largest value."""
    import tifffile
    import zarr
    from scipy.ndimage import gaussian_filter

    names = sorted(each for each in os.listdir(folder) if each.endswith(".tif"))
    worst = 0.0
    for number in {0, len(names) // 2, len(names) - 1}:
        values = tifffile.imread(folder / names[number])
        wanted = gaussian_filter(values.astype(np.float32), sigma)
        if name == "floor":
            found = np.fromfile(out / names[number], values.dtype).reshape(values.shape)
        else:
            store: Any = zarr.open(out, mode="r")
            found = (store[MAIN] if name.startswith("usidx") else store)[number]
        rounded = 2 if found.dtype.kind in "iu" else 0  # along each of two axes
        off = np.abs(found - wanted).max() - rounded
        worst = max(worst, float(off / np.abs(wanted).max()))
    return worst


def main() -> int:
    """Make the frames, run everybody, print the table; 1 where an answer is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--size", type=int, default=512, help="pixels along each axis")
    parser.add_argument("--dtype", choices=("float32", "uint16"), default="float32")
    parser.add_argument("--sigma", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--folder", help="where frames and stores go for the while")
    parser.add_argument("--only", action="append", choices=CONTESTANTS)
    parser.add_argument("--json", help="write all figures to this file")
    given = parser.parse_args()
    names = [name for name in CONTESTANTS if not given.only or name in given.only]
    if given.dtype == "float32":
        names = [name for name in names if not name.endswith("float32")]
    with tempfile.TemporaryDirectory(dir=given.folder) as home:
        folder = pathlib.Path(home, "frames")
        folder.mkdir()
        make(folder, given.frames, given.size, given.dtype)
        figures = race(names, folder, given.sigma, given.rounds)
    show(figures)
    if given.json:
        pathlib.Path(given.json).write_text(json.dumps(figures, indent=2))
    return int(any(each["error"] > 1e-5 for runs in figures.values() for each in runs))


def race(
    names: list[str], folder: pathlib.Path, sigma: float, rounds: int
) -> dict[str, list[dict[str, float]]]:
    """Everybody in turn, round after round."""
    figures: dict[str, list[dict[str, float]]] = {}
    for _ in range(rounds):
        for name in names:
            if reason := why_not(name):
                print(f"{name}: skipped, {reason}")
                continue
            out = folder.parent / "out"
            done = subprocess.run(
                [sys.executable, str(HERE), "--contest", name, str(folder), str(out), str(sigma)],
                capture_output=True, text=True,
            )  # fmt: skip
            if done.returncode:
                print(f"{name}: failed, {done.stderr.strip().splitlines()[-1]}")
                continue
            found = json.loads(done.stdout.splitlines()[-1])
            found["error"] = error_of(name, folder, out, sigma)
            figures.setdefault(name, []).append(found)
            shutil.rmtree(out)
    return figures


def show(figures: dict[str, list[dict[str, float]]]) -> None:
    """One line for each contestant, with the median of the ratios of each round."""
    print(f"{'':20}{'wall s':>9}{'x floor':>9}{'cpu s':>9}{'peak MiB':>10}{'error':>10}")
    bare = figures.get("floor", [])
    for name, runs in figures.items():
        ratio = [each["wall"] / one["wall"] for each, one in zip(runs, bare, strict=False)]
        print(
            f"{name:20}{statistics.median(each['wall'] for each in runs):9.2f}"
            f"{statistics.median(ratio) if ratio else float('nan'):9.2f}"
            f"{statistics.median(each['cpu'] for each in runs):9.2f}"
            f"{max(each['peak_MiB'] for each in runs):10.0f}"
            f"{max(each['error'] for each in runs):10.1e}"
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--contest"]:
        contest(sys.argv[2], sys.argv[3], sys.argv[4], float(sys.argv[5]))
    else:
        sys.exit(main())
