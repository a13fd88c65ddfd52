"""Time going over from spectra to maps out of core, by usidx and by dask, one after the other.

    python benchmarks/rechunk.py                      # 1 GiB, three rounds
    python benchmarks/rechunk.py --mib 2048 --rounds 1 --folder /dev/shm
    python benchmarks/rechunk.py --small              # does it run at all

A contiguous h5USID file becomes a Zarr store whose chunks are maps, with the bytes as they are
("raw") and with the codec of usidx ("lz4"). Every contestant runs in a process of its own, round
after round. Memory is the peak of what a process took beyond its libraries.
"""

from __future__ import annotations

import argparse
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
from collections.abc import Callable
from typing import Any

from source import make_file

HERE = pathlib.Path(__file__).resolve()
RAW = "Measurement_000/Channel_000/Raw_Data"


def by_usidx(path: str, into: str, codec: str, threads: int) -> None:
    """The streaming transposer, in the memory that it takes by itself."""
    import usidx

    compression: Any = False if codec == "raw" else codec
    main = usidx.open(path, RAW)
    main.usid.rechunk_for("maps", into, compression=compression, workers=threads)


def by_tasks(path: str, into: str, codec: str, threads: int) -> None:
    """dask.array.rechunk by tasks, and to_zarr."""
    import dask
    import dask.array
    import h5py
    import zarr

    with h5py.File(path, "r") as file:
        rows, columns = file[RAW].shape
        side = int(rows**0.5)
        lazy = dask.array.from_array(file[RAW], chunks=(16 * side, columns))
        maps = lazy.rechunk((rows, max(1, 2**25 // (4 * rows))), method="tasks")
        codecs: Any = None
        if codec == "lz4":
            codecs = [zarr.codecs.BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle")]
        target = zarr.create_array(
            into, shape=maps.shape, chunks=(rows, 1), dtype="f4", compressors=codecs
        )
        with dask.config.set(scheduler="threads", num_workers=threads):
            dask.array.store(maps, target, lock=False)


def by_p2p(path: str, into: str, codec: str, threads: int) -> None:
    """The same by dask's shuffle on a cluster of this machine."""
    import dask
    import dask.array
    import h5py
    import zarr
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=1,
            threads_per_worker=threads,
            processes=False,
            dashboard_address="127.0.0.1:0",
        ) as cluster,
        Client(cluster),
        dask.config.set({"array.rechunk.method": "p2p"}),
    ):
        file = h5py.File(path, "r")
        rows, columns = file[RAW].shape
        lazy = dask.array.from_array(file[RAW], chunks=(16 * int(rows**0.5), columns), lock=True)
        maps = lazy.rechunk((rows, max(1, 2**25 // (4 * rows))), method="p2p")
        codecs: Any = None
        if codec == "lz4":
            codecs = [zarr.codecs.BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle")]
        target = zarr.create_array(
            into, shape=maps.shape, chunks=(rows, 1), dtype="f4", compressors=codecs
        )
        dask.array.store(maps, target, lock=False)


CONTESTANTS: dict[str, Callable[[str, str, str, int], None]] = {
    "usidx": by_usidx,
    "dask tasks": by_tasks,
    "dask p2p": by_p2p,
}


def peak() -> int:
    """Most bytes of memory that this process had at a time."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def one(name: str, codec: str, path: str, threads: int) -> dict[str, float]:
    """Wall and CPU seconds of one contestant, and the memory that it took."""
    into = f"{path}.{os.getpid()}.zarr"
    # Once on a small file, so that imports are not timed.
    CONTESTANTS[name](path + ".warm", into, codec, threads)
    shutil.rmtree(into)
    before = peak()
    began, busy = time.perf_counter(), time.process_time()
    CONTESTANTS[name](path, into, codec, threads)
    seconds, cpu = time.perf_counter() - began, time.process_time() - busy
    shutil.rmtree(into)
    return {"seconds": seconds, "cpu": cpu, "mib": (peak() - before) / 2**20}


def race(name: str, codec: str, path: pathlib.Path, threads: int) -> dict[str, float]:
    """What `one` gives in a fresh process."""
    command = [sys.executable, str(HERE), "--one", name, codec, str(path)]
    done = subprocess.run(
        [*command, "--threads", str(threads)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-3000:]}")
    report: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return report


def table(runs: dict[tuple[str, str], list[dict[str, float]]]) -> str:
    """One line for each contestant and codec: the medians of its rounds."""
    lines = [f"{'codec':8}{'':12}{'s':>8}{'CPU s':>8}{'MiB':>8}{'x usidx':>9}"]
    for (codec, name), rounds in runs.items():
        seconds, cpu, mib = (
            statistics.median(each[what] for each in rounds) for what in ("seconds", "cpu", "mib")
        )
        ours = runs.get((codec, "usidx"))
        times = "-"
        if ours:
            pairs = zip(rounds, ours, strict=True)
            times = f"{statistics.median(a['seconds'] / b['seconds'] for a, b in pairs):.2f}"
        lines.append(f"{codec:8}{name:12}{seconds:8.2f}{cpu:8.2f}{mib:8.0f}{times:>9}")
    return "\n".join(lines)


def main() -> None:
    """Run the rounds, print the table, write the JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mib", type=int, default=1024, help="size of the Main")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--codecs", nargs="+", choices=("raw", "lz4"), default=("raw", "lz4"))
    parser.add_argument("--who", nargs="+", choices=tuple(CONTESTANTS), default=tuple(CONTESTANTS))
    parser.add_argument("--small", action="store_true", help="16 MiB, one round")
    parser.add_argument("--json", type=pathlib.Path, help="write everything there")
    parser.add_argument("--folder", help="where the files go; the default is the temporary folder")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(one(*asked.one, asked.threads)))
        return
    runs: dict[tuple[str, str], list[dict[str, float]]] = {
        (codec, name): [] for codec in asked.codecs for name in asked.who
    }
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        path = pathlib.Path(folder) / "source.h5"
        make_file(path, 16 if asked.small else asked.mib)
        make_file(pathlib.Path(f"{path}.warm"), 1)
        for _ in range(1 if asked.small else asked.rounds):
            for (codec, name), rounds in runs.items():
                rounds.append(race(name, codec, path, asked.threads))
    print(table(runs))
    if asked.json:
        found = [
            {"codec": codec, "name": name, "rounds": each} for (codec, name), each in runs.items()
        ]
        asked.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
