"""Time the main job in usidx, in pyUSID 0.0.12 and on the floor of bare NumPy; print the ratios.

    python benchmarks/main_job.py                    # 256 MiB, three rounds
    python benchmarks/main_job.py --mib 1024 --rounds 5 --json times.json
    python benchmarks/main_job.py --small            # does it run at all

Every contestant runs in a process of its own on a file of its own, one after the other, round after
round, so that what else the machine does falls on all of them; the fastest of the rounds counts.
Work of milliseconds is done five times in each. Files are in the page cache.

pyUSID is left out where its environment is not there: make it with
`python3 tests/golden/make_environment.py FOLDER` and set USIDX_PYUSID_PYTHON=FOLDER/bin/python.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from typing import Any

import h5py
import numpy as np

HERE = pathlib.Path(__file__).resolve().parent / "contestants"
WORKS = (
    "import",
    "first open",
    "open",
    "one spectrum",
    "one map",
    "mean of spectra",
    "low-pass to disk",
    "run again",
)


def make_file(path: pathlib.Path, mib: int, columns: int = 1024) -> None:
    """Write an h5USID file with one contiguous Main of `mib` MiB float32 on a square grid."""
    side = max(8, int((mib * 2**20 / 4 / columns) ** 0.5))
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        channel = file.create_group("Measurement_000/Channel_000")
        main = channel.create_dataset("Raw_Data", (side * side, columns), "<f4")
        for start in range(0, side * side, 1024):
            rows = min(1024, side * side - start)
            main[start : start + rows] = rng.random((rows, columns), np.float32)
        y, x = np.divmod(np.arange(side * side), side)
        sides = {
            "Position": (["Y", "X"], ["um", "um"], np.stack([y, x], 1)),
            "Spectroscopic": (["Frequency"], ["Hz"], np.arange(columns)[None]),
        }
        for name, (labels, units, indices) in sides.items():
            for kind, values, dtype in (
                ("Indices", indices, "u4"),
                ("Values", indices * 0.5, "f4"),
            ):
                ancillary = channel.create_dataset(f"{name}_{kind}", data=values.astype(dtype))
                ancillary.attrs["labels"] = labels
                ancillary.attrs["units"] = units
                main.attrs[f"{name}_{kind}"] = ancillary.ref
        main.attrs["quantity"] = "Amplitude"
        main.attrs["units"] = "V"


def contestants() -> dict[str, list[str]]:
    """How each contestant is started, by its name; pyUSID only where its environment is known."""
    found = {
        "floor": [sys.executable, str(HERE / "floor.py")],
        "usidx": [sys.executable, str(HERE / "ours.py")],
    }
    python = os.environ.get("USIDX_PYUSID_PYTHON")
    if python:
        found["pyUSID"] = [python, str(HERE / "pyusid.py")]
    return found


def race(command: list[str], source: pathlib.Path, threads: int) -> dict[str, Any]:
    """What one contestant reports of one run on a copy of `source`."""
    copy = source.with_name("copy.h5")
    shutil.copyfile(source, copy)
    done = subprocess.run(
        [*command, str(copy), "--threads", str(threads)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    copy.unlink()
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


def best(rounds: list[dict[str, Any]]) -> dict[str, float]:
    """The fastest time of each piece of work, and the highest peak of memory."""
    times = {work: min(each["times"][work] for each in rounds) for work in rounds[0]["times"]}
    return times | {"peak MiB": max(each["peak_mib"] for each in rounds)}


def check(reports: dict[str, dict[str, Any]]) -> None:
    """Refuse to compare contestants that did not compute the same."""
    for name, report in reports.items():
        for answer, values in reports["floor"]["answers"].items():
            if not np.allclose(report["answers"][answer], values, atol=1e-5):
                raise SystemExit(f"{name} has another {answer} than the floor; nothing to compare")


def table(fastest: dict[str, dict[str, float]]) -> str:
    """Times in ms, and what multiple of the floor and share of pyUSID's time usidx takes."""
    names = list(fastest)
    lines = [
        f"{'':18}" + "".join(f"{name:>12}" for name in names) + f"{'x floor':>10}{'pyUSID/us':>11}"
    ]
    for work in (*WORKS, "peak MiB"):
        scale = 1 if work == "peak MiB" else 1e3
        cells = [fastest[name].get(work) for name in names]
        ours, floor = fastest["usidx"].get(work), fastest["floor"].get(work)
        theirs = fastest.get("pyUSID", {}).get(work)
        lines.append(
            f"{work:18}"
            + "".join(f"{'-' if cell is None else f'{cell * scale:.2f}':>12}" for cell in cells)
            + f"{f'{ours / floor:.1f}' if ours and floor else '-':>10}"
            + f"{f'{theirs / ours:.1f}' if ours and theirs else '-':>11}"
        )
    return "\n".join(lines)


def main() -> None:
    """Run the rounds, print the table, write the JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mib", type=int, default=256, help="size of the Main")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--small", action="store_true", help="4 MiB: does it run at all")
    parser.add_argument("--json", type=pathlib.Path, help="write all times there")
    parser.add_argument("--folder", help="where the files go; the default is the temporary folder")
    asked = parser.parse_args()
    mib = 4 if asked.small else asked.mib
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in contestants()}
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        source = pathlib.Path(folder) / "source.h5"
        make_file(source, mib)
        for _ in range(asked.rounds):
            for name, command in contestants().items():
                runs[name].append(race(command, source, asked.threads))
            check({name: each[-1] for name, each in runs.items()})
    fastest = {name: best(each) for name, each in runs.items()}
    print(f"{mib} MiB float32, {asked.threads} threads, best of {asked.rounds}; times in ms\n")
    print(table(fastest))
    if "pyUSID" not in fastest:
        print("\npyUSID was left out: USIDX_PYUSID_PYTHON is not set")
    if asked.json:
        facts = {"mib": mib, "threads": asked.threads, "rounds": runs, "fastest": fastest}
        asked.json.write_text(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
