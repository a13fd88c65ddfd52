"""What it takes to find one's way in a file with many Mains.

python benchmarks/navigation.py --mains 150
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py

import usidx

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.h5usid import CHANNEL, REFERENCES, write_main, write_result

SHAPE = (32, 32, 64)
ROUNDS = 3


def beside(file: h5py.File, count: int) -> str:
    """Measurements, each with ancillaries beside it; the path of one."""
    for number in range(count):
        write_main(file.create_group(f"Measurement_{number:03d}/Channel_000"), shape=SHAPE)
    return f"Measurement_{count // 2:03d}/Channel_000/Raw_Data"


def elsewhere(file: h5py.File, count: int) -> str:
    """The same with ancillaries where their names do not lead, and a region reference on each."""
    one = beside(file, count)
    for number in range(count):
        raw = file[f"Measurement_{number:03d}/Channel_000/Raw_Data"]
        raw.attrs["line"] = raw.regionref[0 : SHAPE[1]]
        for name in REFERENCES:
            file.move(f"{raw.parent.name}/{name}", f"Ancillaries/{number:03d}_{name.lower()}")
    return one


def results(file: h5py.File, count: int) -> str:
    """One measurement and its results, all with the same ancillaries; the path of the first."""
    raw = write_main(file.create_group(CHANNEL), shape=SHAPE)
    for number in range(count - 1):
        write_result(raw, file.create_group(f"{CHANNEL}/Raw_Data-Fit_{number:03d}"))
    return f"{CHANNEL}/Raw_Data"


def seconds(work: Callable[[], Any]) -> float:
    """The shortest of a few times that `work` takes."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    """Print the time of each look into each kind of file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mains", type=int, default=150)
    count = parser.parse_args().mains
    with tempfile.TemporaryDirectory() as folder:
        for layout in (beside, elsewhere, results):
            path = str(Path(folder) / f"{layout.__name__}.h5")
            with h5py.File(path, "w") as file:
                one = layout(file, count)
            opened = usidx.open(path, one)
            looks: dict[str, Callable[[], Any]] = {
                "list_mains": lambda path=path: usidx.list_mains(path),
                "open one": lambda path=path, one=one: usidx.open(path, one),
                "open_tree": lambda path=path: usidx.open_tree(path),
                "results": lambda da=opened: [each.status for each in da.usid.results()],
                "history": lambda da=opened: da.usid.history,
                "regions": lambda da=opened: da.usid.regions,
            }
            times = "  ".join(
                f"{name} {seconds(work) * 1e3:.0f} ms" for name, work in looks.items()
            )
            print(f"{count} Mains, {layout.__name__:<9}  {times}")


if __name__ == "__main__":
    main()
