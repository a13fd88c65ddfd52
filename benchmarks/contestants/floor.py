"""The floor: bare NumPy over pread and pwrite, without what makes results safe or labelled."""

import os
import time

began = time.perf_counter()
from concurrent.futures import ThreadPoolExecutor  # noqa: E402

import h5py  # noqa: E402
import numpy as np  # noqa: E402

imported = time.perf_counter() - began
from clock import KEEP, RAW, Clock, arguments, report  # noqa: E402

ROWS = 256  # positions in a hot buffer: 1 MiB of 1024 float32

asked = arguments()
clock = Clock()
clock.times["import"] = imported


def look():
    with h5py.File(asked.file, "r") as file:
        dataset = file[RAW]
        last = int(file["Measurement_000/Channel_000/Position_Indices"][:, 0].max())
        return dataset.id.get_offset(), dataset.shape, last + 1


with clock("first open"):
    look()
offset, (rows, columns), side = clock.best("open", look)
width = 4 * columns
source = os.open(asked.file, os.O_RDONLY)
row = (rows // side // 2) * side + side // 3


def one_spectrum():
    return np.frombuffer(os.pread(source, width, offset + row * width), "<f4")


def one_map():
    whole = np.memmap(asked.file, "<f4", "r", offset, (rows, columns))
    return np.array(whole[:, columns // 4])


spectrum = clock.best("one spectrum", one_spectrum)
image = clock.best("one map", one_map)


def mean_of(start):
    buffer = np.empty((ROWS, columns), "<f4")
    total = []
    for begin in range(start, min(start + 32 * ROWS, rows), ROWS):
        part = buffer[: min(ROWS, rows - begin)]
        os.preadv(source, [part], offset + begin * width)
        total.append(part.mean(1))
    return np.concatenate(total)


with clock("mean of spectra"), ThreadPoolExecutor(asked.threads) as pool:
    mean = np.concatenate(list(pool.map(mean_of, range(0, rows, 32 * ROWS))))


def low_pass(start):
    buffer = np.empty((ROWS, columns), "<f4")
    for begin in range(start, min(start + 32 * ROWS, rows), ROWS):
        part = buffer[: min(ROWS, rows - begin)]
        os.preadv(source, [part], offset + begin * width)
        spectra = np.fft.rfft(part)
        spectra[:, int(KEEP * spectra.shape[1]) :] = 0
        part[...] = np.fft.irfft(spectra, columns)
        os.pwrite(target, part, begin * width)


with clock("low-pass to disk"), ThreadPoolExecutor(asked.threads) as pool:
    target = os.open(asked.file + ".floor", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    list(pool.map(low_pass, range(0, rows, 32 * ROWS)))

result = np.memmap(asked.file + ".floor", "<f4", "r", 0, (rows, columns))
report(clock, spectrum=spectrum[:8], map=image[:8], mean=mean[:8], low_pass=result[row, :8])
os.remove(asked.file + ".floor")
