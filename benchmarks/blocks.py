"""What a block costs, how soon the first of a million is done, and what is sent to workers for it.

    python benchmarks/blocks.py
    python benchmarks/blocks.py --small --json blocks.json

Every row is measured in a process of its own. A block is one position and holds next to nothing, so
that what is left is the cost of having blocks: reading, writing, marking and reporting each. Memory
is how far the peak of the process goes beyond what it held before.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from typing import Any

from source import make_file

RAW = "Measurement_000/Channel_000/Raw_Data"
KINDS = {
    "threads": "local threads, into HDF5",
    "zarr": "local threads, into Zarr",
    "graph": "a step that dask makes the graph of",
    "overlap": "a filter that reaches the next position",
    "mean": "less a mean that was stored before",
    "cluster": "a LocalCluster, into HDF5",
}
WATCHED = 2000  # blocks of the million that are computed
COUNTED = 100_000  # blocks that bytes are given for
LIMITS = {"ms": 3.0, "first_s": 5.0, "sent_mb": 10.0}
TOLD = {
    "blocks": "blocks",
    "ms": "ms each",
    "cpu_ms": "CPU ms",
    "first_s": "s to first",
    "mib": "MiB",
    "sent_mb": "MB for 1e5",
}


def status(entry: str) -> float:
    """An entry of this process's status in Linux, in MiB."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(entry))


def cluster(threads: int) -> Any:
    """A client of workers that have usidx imported."""
    from distributed import Client, LocalCluster

    workers = LocalCluster(n_workers=threads, threads_per_worker=1, dashboard_address="127.0.0.1:0")
    client = Client(workers)
    client.run(__import__, "usidx.steps")
    return client


def counted(client: Any) -> list[int]:
    """How many bytes the client has sent to the scheduler from now on."""
    from distributed.protocol import dumps

    sent = [0]
    send = client._send_to_scheduler

    def counting(message: Any) -> None:
        sent[0] += sum(len(memoryview(frame).cast("B")) for frame in dumps(message))
        send(message)

    client._send_to_scheduler = counting
    return sent


def doubled(spectra: Any) -> Any:
    """Twice the values, by a step that does not say what it needs."""
    return (2 * spectra).assign_attrs(spectra.attrs)


def less(spectra: Any, *, mean: Any) -> Any:
    """What is left of the values where a spectrum is taken away from each."""
    return (spectra - mean).assign_attrs(spectra.attrs)


def process_of(path: str, kind: str) -> Any:
    """A process that makes next to nothing of a Main."""
    import usidx
    from usidx.steps import gaussian_filter, peak_response

    source = usidx.open(path, RAW)
    if kind == "graph":
        return source.usid.process(usidx.step("Doubled", doubled, version="1"))
    if kind == "overlap":
        sigma = {"X": float(source.X[1] - source.X[0])}
        return source.usid.process(gaussian_filter, sigma=sigma, truncate=1.0)
    if kind == "mean":
        mean = source.usid.save(source.mean(["Y", "X"]), tool="Mean").open()
        return source.usid.process(usidx.step("Less", less, version="1"), mean=mean)
    return source.usid.process(peak_response)


def smallest(process: Any, options: dict[str, Any]) -> int:
    """Bytes of memory with which each block is a position, or nearly."""
    from usidx.errors import PlanError

    memory = 64
    while True:
        with contextlib.suppress(PlanError):
            process.estimate(memory=memory, **options)
            return memory
        memory += memory // 2


class EnoughSeenError(Exception):
    """Nobody needs to wait for a million blocks."""


def measure(path: str, threads: int, kind: str, most: int) -> dict[str, float]:
    """The figures of one row."""
    client = cluster(threads) if kind == "cluster" else False
    options: dict[str, Any] = (
        {"client": client} if client else {"client": client, "workers": threads}
    )
    into = "zarr" if kind == "zarr" else "h5"
    # once on a small file, so that imports are not timed
    process_of(path + ".warm", kind).run(into=f"{path}.warm.{into}", progress=False, **options)
    process = process_of(path, kind)
    memory = smallest(process, options)
    sent = counted(client) if client else [0]
    first: list[float] = []
    last: list[float] = []

    def look(event: Any) -> None:
        last[:] = [time.perf_counter(), time.process_time()]
        first.append(last[0])
        if len(first) == most:
            raise EnoughSeenError

    pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
    before, began, busy = status("VmRSS"), time.perf_counter(), time.process_time()
    with contextlib.suppress(EnoughSeenError):
        process.run(into=f"{path}.{into}", memory=memory, on_block=look, progress=False, **options)
    count = len(first)
    found = {
        "blocks": process.estimate(memory=memory, **options).blocks,
        "ms": 1e3 * (last[0] - first[0]) / (count - 1),
        "cpu_ms": 1e3 * (last[1] - busy) / count,
        "first_s": first[0] - began,
        "mib": status("VmHWM") - before,
    }
    if client:
        found["sent_mb"] = sent[0] / count * COUNTED / 1e6
    return found


def table(rows: dict[str, dict[str, Any]]) -> str:
    """One line for each row, limits under it."""
    lines = [f"{'':52}" + "".join(f"{title:>13}" for title in TOLD.values())]
    for name, found in rows.items():
        if "failed" in found:
            lines.append(f"{name:52} {found['failed']}")
            continue
        cells = (f"{found[key]:.4g}" if key in found else "-" for key in TOLD)
        over = [TOLD[key] for key, most in LIMITS.items() if found.get(key, 0) > most]
        told = f"  OVER: {', '.join(over)}" if over else ""
        lines.append(f"{name:52}" + "".join(f"{cell:>13}" for cell in cells) + told)
    limits = (f"{LIMITS[key]:g}" if key in LIMITS else "" for key in TOLD)
    return "\n".join([*lines, f"{'limit':52}" + "".join(f"{cell:>13}" for cell in limits)])


def main() -> None:
    """Measure each row in a process of its own, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--small", action="store_true", help="fewer blocks")
    parser.add_argument("--patience", type=float, default=300, help="seconds for a row")
    parser.add_argument("--json", type=pathlib.Path, help="write the figures there")
    parser.add_argument("--folder", help="where the files go; the default is the temporary folder")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        path, kind, most = asked.measure
        print(json.dumps(measure(path, asked.threads, kind, int(most))), flush=True)
        os._exit(0)  # what workers still do is of no interest
    rows: dict[str, dict[str, Any]] = {}
    for mib, columns, most in ((1, 256, 0), (1 if asked.small else 64, 16, WATCHED)):
        for kind in asked.kinds:
            with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
                path = pathlib.Path(folder) / "source.h5"
                make_file(path, mib, columns)
                make_file(pathlib.Path(f"{path}.warm"), 1)
                command = [sys.executable, __file__, "--measure", str(path), kind, str(most)]
                command += ["--threads", str(asked.threads)]
                what = "the first of many" if most else "all"
                rows[f"{KINDS[kind]}, {what}"] = report(command, asked.patience)
    print(table(rows))
    if asked.json:
        asked.json.write_text(json.dumps(rows, indent=1))


def report(command: list[str], patience: float) -> dict[str, Any]:
    """What a measuring process reports, or why there is nothing: "failed"."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=patience
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"over {patience:.0f} s"}
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1][:200]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
