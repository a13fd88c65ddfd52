"""Time h5USID -> Zarr and back beside the floor and the usual ways; print ratios and memory.

    python benchmarks/convert.py                                  # 1 GiB
    python benchmarks/convert.py --small                          # 16 MiB, whether it runs at all
    python benchmarks/convert.py --mib 256 --rounds 3 --json convert.json --folder /dev/shm

Every contestant runs in a process of its own, one after the other, round after round, each time
another one first, so that what else the machine does falls on all of them. Each has done the same
with a small file before its time begins. What usidx wrote is compared with the source.

Two ratios are told: "best" is the shortest time of all rounds to the floor's shortest, and "median"
that of the ratios to the floor of the same round. Pages that a (virtual) machine has not used for a
while take it several times as long to hand out, whoever happens to ask for them: so each contestant
writes and removes a file of the same size right before its time begins.

    floor      threads that read the same bytes with preadv, check them, encode them with the same
               codec and the same checksum, and write one file for each chunk; back: read, check,
               decode, write in place, with a Fletcher-32 checksum for each MiB as HDF5 has them
    bare       the same without the checksums of HDF5: it reads past them, and writes none
    usidx      usidx.open(...).usid.to_zarr(...), and to_h5usid(...), with its checksums
    xarray     dask.array.from_array(h5py dataset), reshaped, xarray's to_zarr with Blosc lz4; back:
               open_zarr, dask.array.store into an h5py dataset, which has no checksums
    xarray-sum the same back into a dataset that has them, in chunks of 1 MiB: what usidx writes
    hyperspy   its lazy reader of USID and its .zspy writer, where USIDX_PEERS_PYTHON names an
               environment with HyperSpy; it has no way back
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

HERE = pathlib.Path(__file__).resolve()
MAIN = "Measurement_000/Channel_000/Raw_Data"
JOBS = ("to_zarr", "to_h5usid")
CHUNK = 4 * 2**20
BLOCK = 32 * 2**20
SMALL = (64, 64, 1024)


def make(folder: pathlib.Path, shape: tuple[int, int, int]) -> None:
    """Write the source: a resonance with noise at each position, as h5USID and as Zarr."""
    import dask.array as da

    import usidx

    def block(block_info: Any = None) -> np.ndarray[Any, Any]:
        (rows, columns, _) = block_info[None]["array-location"]
        size = (rows[1] - rows[0], columns[1] - columns[0], shape[2])
        noise = np.random.default_rng(rows[0]).standard_normal(size, dtype=np.float32)
        return np.round(noise * 64 + 500 * np.hanning(shape[2])).astype(np.float32)

    height = max(1, BLOCK // (4 * shape[1] * shape[2]))
    heights = [min(height, shape[0] - at) for at in range(0, shape[0], height)]
    values = da.map_blocks(block, chunks=(tuple(heights), shape[1], shape[2]), dtype="f4")
    y, x, frequency = (
        usidx.Dimension(name, units, np.arange(size))
        for name, units, size in zip(("Y", "X", "Frequency"), ("um", "um", "Hz"), shape)
    )
    main = usidx.from_array(values, "Deflection", "V", position=[y, x], spectroscopic=[frequency])
    written = usidx.open(main.usid.to_h5usid(folder / "scan.h5", overwrite=True))
    written.usid.to_zarr(folder / "scan.zarr", overwrite=True)


# -- contestants -----------------------------------------------------------------------------------


def each(work: Callable[[Any], Any], items: Iterable[Any]) -> None:
    """Do the work in as many threads as there are processors."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(work, items))


def floor(job: str, source: str, target: str) -> None:
    """The same bytes with the same codec and checksums; nothing is labelled or safe."""
    from usidx.stores.hdf5.values.fletcher import fletcher32  # that of HDF5, where it can be had

    bare(job, source, target, fletcher32)


def bare(job: str, source: str, target: str, checksum: Callable[[Any], int] | None = None) -> None:
    """The same without the checksums of HDF5."""
    import google_crc32c
    import h5py
    from numcodecs.blosc import Blosc

    blosc = Blosc(cname="lz4", clevel=5, shuffle=Blosc.BITSHUFFLE)
    if job == "to_h5usid":
        decode(source, target, blosc, checksum)
        return
    os.makedirs(target)
    with h5py.File(source) as file:
        dataset = file[MAIN + "/Raw_Data" if MAIN + "/Raw_Data" in file else MAIN]
        stored = dataset.id
        places = [stored.get_chunk_info(n) for n in range(stored.get_num_chunks())]
        itemsize = dataset.dtype.itemsize
    descriptor = os.open(source, os.O_RDONLY)
    step = max(1, CHUNK // places[0].size)

    def encode(number: int) -> None:
        few = places[number : number + step]
        memory = np.empty(sum(place.size for place in few), np.uint8)
        start = 0
        for place in few:
            part = memory[start : start + place.size]
            os.preadv(descriptor, [part.data], place.byte_offset)
            said = int.from_bytes(part[-4:].tobytes(), "little")
            if checksum is not None and checksum(part[:-4]) != said:
                raise ValueError(f"the chunk at {place.chunk_offset} is damaged")
            start += place.size
        data = blosc.encode(memory[: start // itemsize * itemsize].view(f"V{itemsize}"))
        with open(os.path.join(target, f"{number}"), "wb") as file:
            file.write(data)
            file.write(int(google_crc32c.value(data)).to_bytes(4, "little"))

    each(encode, range(0, len(places), step))
    os.close(descriptor)


def decode(source: str, target: str, blosc: Any, checksum: Callable[[Any], int] | None) -> None:
    """Every chunk file of a store, decoded, into one file."""
    import google_crc32c

    folder = pathlib.Path(source, MAIN, "Raw_Data", "c")
    files = sorted(each for each in folder.rglob("*") if each.is_file())
    size = len(blosc.decode(files[0].read_bytes()[:-4]))
    descriptor = os.open(target, os.O_RDWR | os.O_CREAT)

    def one(item: tuple[int, pathlib.Path]) -> None:
        data = item[1].read_bytes()
        if google_crc32c.value(data[:-4]) != int.from_bytes(data[-4:], "little"):
            raise ValueError(f"{item[1]} is damaged")
        values = memoryview(blosc.decode(data[:-4]))
        if checksum is None:
            os.pwrite(descriptor, values, item[0] * size)
            return
        buffers: list[memoryview] = []
        for start in range(0, size, 2**20):
            part = values[start : start + 2**20]
            buffers += [part, memoryview(checksum(part).to_bytes(4, "little"))]
        os.pwritev(descriptor, buffers, item[0] * sum(each.nbytes for each in buffers))

    each(one, enumerate(files))
    os.close(descriptor)


def ours(job: str, source: str, target: str) -> None:
    """What this package has for it."""
    import usidx

    main = usidx.open(source)
    (main.usid.to_zarr if job == "to_zarr" else main.usid.to_h5usid)(target)


def plain(job: str, source: str, target: str, **options: Any) -> None:
    """xarray, dask and h5py; `options` of the dataset that is written."""
    import dask.array as da
    import h5py
    import xarray as xr
    from zarr.codecs import BloscCodec

    if job == "to_zarr":
        with h5py.File(source) as file:
            dataset = file[f"{MAIN}"]
            shape = shape_of(file)
            rows = max(1, BLOCK // (4 * shape[1] * shape[2])) * shape[1]
            values = da.from_array(dataset, chunks=(rows, shape[2])).reshape(shape)
            array = xr.DataArray(values, dims=("Y", "X", "Frequency"), name="Raw_Data")
            codec = BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle")
            array.to_dataset().to_zarr(
                target, encoding={"Raw_Data": {"compressors": [codec]}}, zarr_format=3
            )
        return
    array = xr.open_zarr(source, group=MAIN)["Raw_Data"]
    flat = array.data.reshape(-1, array.shape[-1])
    with h5py.File(target, "w") as file:
        if "fletcher32" in options:
            options["chunks"] = (2**20 // (flat.shape[1] * flat.dtype.itemsize), flat.shape[1])
        made = file.create_dataset("Raw_Data", flat.shape, flat.dtype, **options)
        da.store(flat, made, lock=True)


def plain_checked(job: str, source: str, target: str) -> None:
    """The same, with the checksums of HDF5."""
    plain(job, source, target, fletcher32=True)


def shape_of(file: Any) -> tuple[int, int, int]:
    """The N-D shape, from the ancillaries."""
    main = file[MAIN]
    y, x = file[main.attrs["Position_Indices"]][-1][::-1] + 1
    return int(y), int(x), int(main.shape[1])


def hyperspy(job: str, source: str, target: str) -> None:
    """HyperSpy's lazy reader and its own Zarr files."""
    import hyperspy.api as hs

    signal = hs.load(source, lazy=True, reader="USID")
    (signal[0] if isinstance(signal, list) else signal).save(f"{target}.zspy")


CONTESTANTS = {
    "floor": floor,
    "bare": bare,
    "usidx": ours,
    "xarray": plain,
    "xarray-sum": plain_checked,
    "hyperspy": hyperspy,
}


def contest(name: str, job: str, folder: str, out: str) -> None:
    """Run one contestant in this process, and say how long it took and how much memory."""
    source = "scan.h5" if job == "to_zarr" else "scan.zarr"
    small = os.path.join(folder, "small", source)
    run = CONTESTANTS[name]
    run(job, small, os.path.join(out, "small"))
    touch(os.path.join(out, "warm"), os.path.getsize(os.path.join(folder, "full", "scan.h5")))
    started, before = time.perf_counter(), time.process_time()
    run(job, os.path.join(folder, "full", source), os.path.join(out, "full"))
    told = {
        "seconds": time.perf_counter() - started,
        "cpu": time.process_time() - before,
        "mib": peak(),
    }
    sys.stdout.write(json.dumps(told) + "\n")


def touch(path: str, size: int) -> None:
    """Write a file and remove it, so that the machine has as many pages at hand."""
    with open(path, "wb", buffering=0) as file:
        piece = bytes(2**24)
        for _ in range(0, size + size // 4, len(piece)):
            file.write(piece)
    os.remove(path)


def peak() -> float:
    """MiB of this process at most; what getrusage says is that of the parent, if it had more."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return float("nan")


def check(name: str, job: str, folder: pathlib.Path, out: pathlib.Path) -> None:
    """Refuse what has other values than the source: every 64th row of it."""
    import usidx

    if name != "usidx":
        return
    left, right = usidx.open(folder / "full/scan.h5"), usidx.open(out / "full")
    np.testing.assert_array_equal(left[::64].values, right[::64].values)
    if job == "to_zarr":
        assert left.attrs["units"] == right.attrs["units"]


def measured(name: str, job: str, folder: pathlib.Path) -> dict[str, float] | None:
    """One contestant in a process of its own; None where it is not there, or cannot."""
    python = sys.executable
    if name == "hyperspy":
        python = os.environ.get("USIDX_PEERS_PYTHON", "")
        if not python or job == "to_h5usid":
            return None
    if name == "xarray-sum" and job == "to_zarr":
        return None  # h5py checks them when it reads, whoever wrote them
    out = pathlib.Path(tempfile.mkdtemp(prefix="out-", dir=folder))
    try:
        ended = subprocess.run(
            [python, HERE, "--contest", name, job, folder, out],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if ended.returncode:
            sys.stderr.write(f"{name} cannot do {job}: {ended.stderr.strip().splitlines()[-1]}\n")
            return None
        check(name, job, folder, out)
        found: dict[str, float] = json.loads(ended.stdout.splitlines()[-1])
        return found
    finally:
        shutil.rmtree(out)


def table(rounds: list[dict[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    """The shortest times and the ratios to the floor, over all rounds."""
    rows = []
    for job in JOBS:
        for name in CONTESTANTS:
            found = [(one[job][name], one[job]["floor"]) for one in rounds if one[job].get(name)]
            if not found:
                continue
            rows.append(
                {
                    "job": job,
                    "contestant": name,
                    "seconds": min(mine["seconds"] for mine, _ in found),
                    "cpu": min(mine["cpu"] for mine, _ in found),
                    **{
                        f"best_{what}": min(mine[what] for mine, _ in found)
                        / min(floor[what] for _, floor in found)
                        for what in ("seconds", "cpu")
                    },
                    **{
                        f"median_{what}": statistics.median(a[what] / b[what] for a, b in found)
                        for what in ("seconds", "cpu")
                    },
                    "mib": max(mine["mib"] for mine, _ in found),
                }
            )
    return rows


def main() -> None:
    """Make the files, let everyone run, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--contest", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--small", action="store_true", help="16 MiB, once")
    parser.add_argument("--mib", type=int, default=1024, help="of the source")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", help="where files are made, 4 GiB of them")
    parser.add_argument("--json", help="a file for the figures")
    options = parser.parse_args()
    if options.contest:
        contest(*options.contest)
        return
    folder = pathlib.Path(tempfile.mkdtemp(prefix="usidx-convert-", dir=options.folder))
    try:
        full = SMALL if options.small else (options.mib // 2, 512, 1024)
        for name, shape in (("small", SMALL), ("full", full)):
            (folder / name).mkdir()
            make(folder / name, shape)
        names = list(CONTESTANTS)
        rounds = []
        for number in range(1 if options.small else options.rounds):
            first = number % len(names)
            order = names[first:] + names[:first]
            rounds.append({job: {n: measured(n, job, folder) for n in order} for job in JOBS})
    finally:
        shutil.rmtree(folder)
    rows = table(rounds)
    sys.stdout.write(
        "                           s    best  median  CPU s    best  median     MiB\n"
    )
    for row in rows:
        sys.stdout.write(
            f"{row['job']:<10} {row['contestant']:<10} {row['seconds']:6.2f} "
            f"{row['best_seconds']:7.2f} {row['median_seconds']:7.2f} {row['cpu']:6.2f} "
            f"{row['best_cpu']:7.2f} {row['median_cpu']:7.2f} {row['mib']:7.0f}\n"
        )
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
