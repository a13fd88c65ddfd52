"""Time and memory of opening, labelling and selecting over 1e5 to 1e8 positions.

    python benchmarks/scale.py                       # 1e5, 1e6, 1e7, 1e8 positions; 4 GB of disk
    python benchmarks/scale.py --small               # stops at 1e6
    python benchmarks/scale.py --json scale.json --folder /scratch

Every size gets an h5USID file of a raster with its whole ancillaries, an index and a value for each
position and axis, and a process of its own. Memory is how far the peak of an operation goes beyond
what the process held before it. The last rows read the ancillaries the plain way, for comparison.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import pickle
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np

SIZES = (10**5, 10**6, 10**7, 10**8)
ROWS_AT_ONCE = 2**20
COLUMNS = 2


def make_file(path: pathlib.Path, positions: int) -> None:
    """Write an h5USID file of a raster of `positions`, with ancillaries in full and no values."""
    height = 10 ** ((len(str(positions)) - 1) // 2)
    width = positions // height
    with h5py.File(path, "w") as file:
        channel = file.create_group("Measurement_000/Channel_000")
        main = contiguous(channel, "Raw_Data", (positions, COLUMNS), "<f4")
        indices = contiguous(channel, "Position_Indices", (positions, 2), "<u4")
        values = contiguous(channel, "Position_Values", (positions, 2), "<f4")
        for start in range(0, positions, ROWS_AT_ONCE):
            rows = np.arange(start, min(start + ROWS_AT_ONCE, positions))
            counters = np.stack(np.divmod(rows, width), axis=1)
            indices[rows[0] : rows[-1] + 1] = counters
            values[rows[0] : rows[-1] + 1] = counters * np.array([0.5, 0.25])
        spectra = np.arange(COLUMNS)[None]
        sides = {
            "Position_Indices": (indices, ["Y", "X"], ["um", "um"]),
            "Position_Values": (values, ["Y", "X"], ["um", "um"]),
            "Spectroscopic_Indices": (spectra.astype("u4"), ["Bias"], ["V"]),
            "Spectroscopic_Values": (spectra.astype("f4"), ["Bias"], ["V"]),
        }
        for name, (ancillary, labels, units) in sides.items():
            if isinstance(ancillary, np.ndarray):
                ancillary = channel.create_dataset(name, data=ancillary)
            ancillary.attrs["labels"], ancillary.attrs["units"] = labels, units
            main.attrs[name] = ancillary.ref
        main.attrs["quantity"], main.attrs["units"] = "Height", "nm"


def contiguous(group: h5py.Group, name: str, shape: tuple[int, ...], dtype: str) -> h5py.Dataset:
    """A new contiguous dataset whose room is set aside; what is not written takes no disk."""
    storage = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    storage.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    storage.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    kind, space = h5py.h5t.py_create(np.dtype(dtype)), h5py.h5s.create_simple(shape)
    return h5py.Dataset(h5py.h5d.create(group.id, name.encode(), kind, space, storage))


def works(path: str, folder: str) -> dict[str, Callable[[dict[str, Any]], Any]]:
    """What is timed, in turn; each gets what those before it made, by their names."""
    import dask
    import xarray as xr

    import usidx

    def halves(flat: Any) -> tuple[Any, Any]:
        size = flat.sizes["position"]
        return flat.isel(position=slice(0, size // 2)), flat.isel(position=slice(size // 2, None))

    def to_zarr(done: dict[str, Any]) -> None:
        flat = done["open, 2-D"].chunk(position=ROWS_AT_ONCE)
        flat.to_dataset(name="height").to_zarr(f"{folder}/a.zarr", consolidated=False)
        shutil.rmtree(f"{folder}/a.zarr")

    def plain(done: dict[str, Any]) -> Any:
        with h5py.File(path) as file:
            channel = file["Measurement_000/Channel_000"]
            return channel["Position_Indices"][()], channel["Position_Values"][()]

    def multi_index(done: dict[str, Any]) -> Any:
        y, x = done["plain: read ancillaries"][1].T
        coords = {"Y": ("position", y), "X": ("position", x)}
        return xr.Dataset(coords=coords).set_index(position=["Y", "X"])

    flat = "open, 2-D"
    return {
        "list Mains": lambda _: usidx.list_mains(path),
        "open, N-D": lambda _: usidx.open(path),
        "open, 2-D": lambda _: usidx.open(path, form="2d"),
        "show it": lambda done: (repr(done[flat]), done[flat]._repr_html_(), repr(done[flat].usid)),
        "isel: every third": lambda done: done[flat].isel(position=slice(None, None, 3)),
        "isel: 1000 rows": lambda done: done[flat].isel(
            position=np.random.default_rng(0).integers(0, done[flat].sizes["position"], 1000)
        ),
        "sel: one line": lambda done: done[flat].sel(Y=20.0),
        "sel: one column": lambda done: done[flat].sel(X=20.0),
        "sel: nearest position": lambda done: done[flat].sel(Y=20.1, X=20.1, method="nearest"),
        "sel: a box": lambda done: done[flat].sel(Y=slice(5, 20), X=slice(5, 20)),
        "arithmetic": lambda done: halves(2 * done[flat])[0] + halves(done[flat])[0],
        "align two halves": lambda done: xr.align(*halves(done[flat]), join="inner"),
        "concat two halves": lambda done: xr.concat(halves(done[flat]), "position"),
        "pickle": lambda done: pickle.loads(pickle.dumps(done[flat])),
        "token": lambda done: dask.base.tokenize(done[flat]),
        "2-D to N-D": lambda done: done[flat].usid.to_nd(),
        "N-D to 2-D": lambda done: done["open, N-D"].usid.to_2d(),
        "mean of all, computed": lambda done: done[flat].mean().compute(),
        "mean of spectra, computed": lambda done: done[flat].mean("spectroscopic").compute(),
        "to_zarr, with all labels": to_zarr,
        "plain: read ancillaries": plain,
        "plain: MultiIndex": multi_index,
    }


def measure(path: str, folder: str) -> dict[str, dict[str, float]]:
    """Seconds and MiB of each piece of work on one file."""
    done: dict[str, Any] = {}
    found: dict[str, dict[str, float]] = {}
    for name, work in works(path, folder).items():
        before = forget_peak()
        started = time.perf_counter()
        done[name] = work(done)
        seconds = time.perf_counter() - started
        found[name] = {"seconds": seconds, "mib": max(0.0, peak() - before)}
        if name not in ("open, N-D", "open, 2-D", "plain: read ancillaries"):
            del done[name]
    return found


def forget_peak() -> float:
    """MiB that this process holds now; its peak starts from there."""
    with open("/proc/self/clear_refs", "w") as switch:
        switch.write("5")
    return status("VmRSS")


def peak() -> float:
    """The most MiB that this process held since its peak was forgotten."""
    return status("VmHWM")


def status(entry: str) -> float:
    """An entry of this process's status in Linux, in MiB."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(entry))


def table(results: dict[int, dict[str, dict[str, float]]]) -> str:
    """Milliseconds and MiB of each piece of work, a pair of columns for each size."""
    sizes = list(results)
    lines = [f"{'':28}" + "".join(f"{f'{size:.0e} positions':>22}" for size in sizes)]
    lines.append(f"{'':28}" + f"{'ms':>13}{'MiB':>9}" * len(sizes))
    for work in next(iter(results.values())):
        cells = [results[size][work] for size in sizes]
        lines.append(
            f"{work:28}"
            + "".join(f"{each['seconds'] * 1e3:>13.1f}{each['mib']:>9.1f}" for each in cells)
        )
    return "\n".join(lines)


def main() -> None:
    """Make the files, one at a time, measure each in a process of its own, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="stop at 1e6 positions")
    parser.add_argument("--json", type=pathlib.Path, help="write the figures there")
    parser.add_argument("--folder", help="where the files go; the default is the temporary folder")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        print(json.dumps(measure(asked.measure, asked.folder)))
        return
    results: dict[int, dict[str, dict[str, float]]] = {}
    for size in SIZES[:2] if asked.small else SIZES:
        with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
            path = pathlib.Path(folder) / "raster.h5"
            make_file(path, size)
            command = [sys.executable, __file__, "--measure", str(path), "--folder", folder]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"{size} positions failed:\n{done.stderr[-3000:]}")
            results[size] = json.loads(done.stdout.splitlines()[-1])
    print(table(results))
    print()
    print(json.dumps(results))
    if asked.json:
        asked.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
