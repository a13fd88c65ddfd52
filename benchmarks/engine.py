"""Time the engine against the floor of bare NumPy, side by side; print ratios of wall and CPU time.

    python benchmarks/engine.py                       # 1 GiB, three rounds
    python benchmarks/engine.py --rounds 5 --json engine.json --folder /dev/shm
    python benchmarks/engine.py --small               # does it run at all

Every contestant runs in a process of its own, one after the other, round after round, so that what
else the machine does falls on all of them. A ratio is that of one round to the floor of the same
round, and the median of the rounds counts. Where a machine is shared, CPU time tells more than wall
time: it leaves out the time in which others had the processor. Memory is the peak of the process,
libraries included. pyUSID is there where USIDX_PYUSID_PYTHON is set, as for main_job.py.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

HERE = pathlib.Path(__file__).resolve()
RAW = "Measurement_000/Channel_000/Raw_Data"
ROWS = 256  # positions in a hot buffer of the floor: 1 MiB of 1024 float32
BLOCK = 32 * ROWS
HIGH = 0.2  # of the low-pass, in cycles per sample
LIMITS = {"low-pass": 1.4, "limited": 2.0, "kernel": 1.1, "mean": 1.6, "lazy-mean": 1.6, "map": 4.0}
MILLISECONDS = {"spectrum": 2.0, "blocks": 3.0}


def kernel(block: Any) -> Any:
    """Values after arithmetic that takes far more than 10 ms for 32 MiB."""
    import numpy as np

    out = np.sqrt(block)
    for _ in range(12):
        np.sin(out, out=out)
    return out


# -- the floor -------------------------------------------------------------------------------------


class Floor:
    """Bare NumPy over pread and pwrite, without what makes results safe or labelled."""

    def __init__(self, path: str, threads: int) -> None:
        import h5py

        with h5py.File(path, "r") as file:
            self.offset, (self.rows, self.columns) = file[RAW].id.get_offset(), file[RAW].shape
        self.path, self.threads, self.width = path, threads, 4 * self.columns
        self.source = os.open(path, os.O_RDONLY)

    def _streamed(self, function: Callable[[Any, int], Any]) -> list[Any]:
        import numpy as np

        def block(start: int) -> list[Any]:
            buffer = np.empty((ROWS, self.columns), "<f4")
            found = []
            for begin in range(start, min(start + BLOCK, self.rows), ROWS):
                part = buffer[: min(ROWS, self.rows - begin)]
                os.preadv(self.source, [part], self.offset + begin * self.width)
                found.append(function(part, begin))
            return found

        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(block, range(0, self.rows, BLOCK)))

    def _to_disk(self, function: Callable[[Any], Any]) -> None:
        target = os.open(self.path + ".floor", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.posix_fallocate(target, 0, self.rows * self.width)
        self._streamed(lambda part, begin: os.pwrite(target, function(part), begin * self.width))
        os.close(target)
        os.remove(self.path + ".floor")

    def low_pass(self) -> None:
        import numpy as np

        from usidx.steps.filters import butterworth

        gain = butterworth(self.columns, 0.5, None, HIGH, 4)[: self.columns // 2 + 1].astype("f4")

        def filtered(part: Any) -> Any:
            transform = np.fft.rfft(part)
            transform *= gain
            return np.fft.irfft(transform, self.columns)

        self._to_disk(filtered)

    limited = low_pass

    def kernel(self) -> None:
        self._to_disk(kernel)

    def mean(self) -> None:
        self._streamed(lambda part, begin: part.mean(1))

    lazy_mean = mean

    def map(self) -> Any:
        import numpy as np

        # warm: it is mapped once
        whole = np.memmap(self.path, "<f4", "r", self.offset, (self.rows, self.columns))
        return lambda number: np.array(whole[:, number])

    def spectrum(self) -> Any:
        import numpy as np

        return lambda number: np.frombuffer(
            os.pread(self.source, self.width, self.offset + number * self.width), "<f4"
        )


# -- usidx -----------------------------------------------------------------------------------------


class Usidx:
    """usidx, as people use it."""

    def __init__(self, path: str, threads: int) -> None:
        import dask

        import usidx

        dask.config.set(scheduler="threads", num_workers=threads)
        self.path, self.threads, self.da = path, threads, usidx.open(path, RAW)

    def _run(self, step: Any, **parameters: Any) -> None:
        result = self.da.usid.process(step, **parameters)
        target = self.path + ".usidx.h5"
        result.run(into=target, workers=self.threads, progress=False)
        os.remove(target)

    def low_pass(self) -> None:
        from usidx.steps import fft_filter

        self._run(fft_filter, high=HIGH)

    def limited(self) -> None:
        """The low-pass in a quarter of the bytes of the Main, which the system does not exceed."""
        from usidx.steps import fft_filter

        memory = max(self.da.nbytes // 4, 2**26)
        process = self.da.usid.process(fft_filter, high=HIGH)
        need = process.estimate(memory=memory, workers=self.threads).memory
        taken = _in_status("VmData")
        resource.setrlimit(resource.RLIMIT_DATA, (taken + memory, taken + memory))
        before = _in_status("VmRSS")
        target = self.path + ".usidx.h5"
        process.run(into=target, memory=memory, workers=self.threads, progress=False)
        os.remove(target)
        grown = _in_status("VmHWM") - before
        if grown > 1.2 * need:
            raise SystemExit(f"{grown} bytes were taken, the estimate was {need}")

    def kernel(self) -> None:
        self._run(applied())

    def mean(self) -> None:
        from usidx.steps import mean

        self._run(mean)

    def lazy_mean(self) -> None:
        from usidx.steps import mean

        _ = mean(self.da).values

    def map(self) -> Any:
        return lambda number: self.da[..., number].values

    def spectrum(self) -> Any:
        return lambda number: self.da[number % self.da.shape[0], 1].values

    def blocks(self) -> float:
        """Seconds for each block of a Main with many small ones."""
        from main_job import make_file

        import usidx
        from usidx.steps import peak_response

        small = pathlib.Path(self.path + ".small.h5")
        make_file(small, 4)
        seen: list[Any] = []
        process = usidx.open(small, RAW).usid.process(peak_response)
        began = time.perf_counter()
        process.run(memory="40 kB", workers=1, progress=False, on_block=seen.append)
        took = time.perf_counter() - began
        small.unlink()
        return took / len(seen)


def _in_status(name: str) -> int:
    """Bytes that Linux gives for this process under a name."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return 1024 * int(line.split()[1])
    raise SystemExit(f"/proc/self/status has no {name}; this needs Linux")


def applied() -> Any:
    """The kernel as a step."""
    import xarray as xr

    import usidx

    def apply(spectra: Any) -> Any:
        return xr.apply_ufunc(
            kernel, spectra, dask="parallelized", output_dtypes=[spectra.dtype], keep_attrs=True
        )

    return usidx.step("Kernel", apply, version="1", per_position=True)


# -- plain xarray and dask -------------------------------------------------------------------------


class Xarray:
    """xarray and dask on h5py, without usidx."""

    def __init__(self, path: str, threads: int) -> None:
        import dask
        import dask.array
        import h5py
        import xarray as xr

        dask.config.set(scheduler="threads", num_workers=threads)
        self.path = path
        dataset = h5py.File(path, "r")[RAW]
        lazy = dask.array.from_array(dataset, chunks=(BLOCK, -1))
        self.da = xr.DataArray(lazy, dims=("position", "Frequency"))

    def _to_disk(self, function: Callable[[Any], Any]) -> None:
        import h5py
        import xarray as xr

        lazy = xr.apply_ufunc(function, self.da, dask="parallelized", output_dtypes=[self.da.dtype])
        with h5py.File(self.path + ".xarray", "w") as file:
            lazy.data.store(file.create_dataset("d", self.da.shape, "f4"), lock=True)
        os.remove(self.path + ".xarray")

    def low_pass(self) -> None:
        import numpy as np

        from usidx.steps.filters import butterworth

        gain = butterworth(self.da.shape[1], 0.5, None, HIGH, 4)
        half = gain[: self.da.shape[1] // 2 + 1].astype("f4")
        self._to_disk(lambda block: np.fft.irfft(np.fft.rfft(block) * half, block.shape[-1]))

    def kernel(self) -> None:
        self._to_disk(kernel)

    def lazy_mean(self) -> None:
        _ = self.da.mean("Frequency").values

    def map(self) -> Any:
        return lambda number: self.da[:, number].values

    def spectrum(self) -> Any:
        return lambda number: self.da[number].values


CONTESTANTS = {"floor": Floor, "usidx": Usidx, "xarray": Xarray}
WORKS = ("low-pass", "limited", "kernel", "mean", "lazy-mean", "map", "spectrum", "blocks")


def one(name: str, work: str, path: str, threads: int) -> dict[str, float]:
    """Wall and CPU seconds, and peak memory, of one piece of work by one contestant."""
    # Once on a small file, so that imports are not timed.
    warm = "low_pass" if work == "limited" else work.replace("-", "_")
    getattr(CONTESTANTS[name](path + ".warm", threads), warm)()
    contestant = CONTESTANTS[name](path, threads)
    doing = getattr(contestant, work.replace("-", "_"))
    began, busy = time.perf_counter(), time.process_time()
    found = doing()
    if callable(found):  # work of milliseconds, on other places each time
        times = []
        for number in range(9):
            began, busy = time.perf_counter(), time.process_time()
            found(100 + number)
            times.append((time.perf_counter() - began, time.process_time() - busy))
        seconds, cpu = min(times)
    else:
        seconds, cpu = time.perf_counter() - began, time.process_time() - busy
    if isinstance(found, float):
        seconds = found
    peaks = [
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    ]
    return {"seconds": seconds, "cpu": cpu, "peak_mib": max(peaks) / 1024}


def race(name: str, work: str, path: pathlib.Path, threads: int) -> dict[str, float]:
    """What `one` gives in a fresh process."""
    command = [sys.executable, str(HERE), "--one", name, work, str(path), "--threads", str(threads)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    if done.returncode:
        raise SystemExit(f"{name} failed at {work}:\n{done.stderr[-3000:]}")
    report: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return report


def of_pyusid(path: pathlib.Path, threads: int) -> dict[str, dict[str, float]]:
    """Times of pyUSID in its own environment, by work; nothing where that is not known."""
    python = os.environ.get("USIDX_PYUSID_PYTHON")
    if not python:
        return {}
    import main_job

    report = main_job.race([python, str(HERE.parent / "contestants" / "pyusid.py")], path, threads)
    names = {"low-pass": "low-pass to disk", "mean": "mean of spectra", "map": "one map"}
    names["spectrum"] = "one spectrum"
    peak = report["peak_mib"]
    return {
        work: {"seconds": report["times"][name], "cpu": 0.0, "peak_mib": peak}
        for work, name in names.items()
        if name in report["times"]
    }


def ratio(rounds: dict[str, list[dict[str, float]]], name: str, what: str) -> float | None:
    """The median over the rounds of what `name` took, in multiples of the floor."""
    floor = rounds.get("floor")
    if not floor or name not in rounds or not all(each[what] for each in rounds[name]):
        return None
    pairs = zip(rounds[name], floor, strict=True)
    return statistics.median(own[what] / base[what] for own, base in pairs)


def table(runs: dict[str, dict[str, list[dict[str, float]]]]) -> str:
    """One line for each contestant at each piece of work."""
    lines = [f"{'work':10}{'':8}{'ms':>10}{'x floor':>9}{'CPU x':>8}{'peak MiB':>10}  limit"]
    for work, rounds in runs.items():
        for name, each in rounds.items():
            limit = ""
            if name == "usidx":
                limit = f"{LIMITS[work]}x" if work in LIMITS else f"{MILLISECONDS[work]} ms"
            ratios = (ratio(rounds, name, "seconds"), ratio(rounds, name, "cpu"))
            cells = "".join(
                f"{'-' if value is None else f'{value:.2f}':>{width}}"
                for value, width in zip(ratios, (9, 8), strict=True)
            )
            fastest = 1e3 * min(one["seconds"] for one in each)
            peak = max(one["peak_mib"] for one in each)
            lines.append(f"{work:10}{name:8}{fastest:10.2f}{cells}{peak:10.0f}  {limit}")
    return "\n".join(lines)


def main() -> None:
    """Run the rounds, print the table, write the JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mib", type=int, default=1024, help="size of the Main")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--works", nargs="+", choices=WORKS, default=WORKS)
    parser.add_argument("--small", action="store_true", help="4 MiB, one round")
    parser.add_argument("--json", type=pathlib.Path, help="write everything there")
    parser.add_argument("--folder", help="where the files go; the default is the temporary folder")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(one(*asked.one, asked.threads)))
        return
    from main_job import make_file

    runs: dict[str, dict[str, list[dict[str, float]]]] = {work: {} for work in asked.works}
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        path = pathlib.Path(folder) / "source.h5"
        make_file(path, 4 if asked.small else asked.mib)
        make_file(pathlib.Path(f"{path}.warm"), 1)
        for _ in range(1 if asked.small else asked.rounds):
            for work, rounds in runs.items():
                for name, kind in CONTESTANTS.items():
                    if hasattr(kind, work.replace("-", "_")):
                        rounds.setdefault(name, []).append(race(name, work, path, asked.threads))
            for work, report in of_pyusid(path, asked.threads).items():
                if work in runs:
                    runs[work].setdefault("pyUSID", []).append(report)
    print(table(runs))
    if asked.json:
        asked.json.write_text(json.dumps({"threads": asked.threads, "runs": runs}, indent=1))


if __name__ == "__main__":
    main()
