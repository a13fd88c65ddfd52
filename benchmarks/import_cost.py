"""What `import usidx` costs beside the libraries it stands on, and what it loads.

python benchmarks/import_cost.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys

ROUNDS = 9
IMPORTS = {
    "nothing": "pass",
    "import xarray": "import xarray",
    "import xarray, dask.array, h5py, zarr": "import xarray, dask.array, h5py, zarr",
    "import usidx": "import usidx",
}
HEAVY = (
    "dask",
    "distributed",
    "h5py",
    "zarr",
    "netCDF4",
    "skimage",
    "scipy",
    "matplotlib",
    "panel",
)
TIMED = "import time; t = time.perf_counter(); {}; print(time.perf_counter() - t)"


def run(code: str) -> str:
    """What a fresh Python prints for `code`."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout


def main() -> None:
    """Print the median time of each import, interleaved, and which heavy libraries usidx loads."""
    times: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for _ in range(ROUNDS):
        for name, code in IMPORTS.items():
            times[name].append(float(run(TIMED.format(code))))
    for name, each in times.items():
        print(f"{statistics.median(each) * 1e3:8.1f} ms  {name}")
    loaded = run(f"import usidx, sys; print(*[m for m in {HEAVY!r} if m in sys.modules])").split()
    print("usidx loads:", ", ".join(loaded) or "none of", "" if loaded else ", ".join(HEAVY))


if __name__ == "__main__":
    main()
