"""The floor: bare NumPy over pread and pwrite, without what makes results safe or labelled.

Each thread reads 512 KiB at a time into memory that it keeps, computes into memory that it keeps,
and writes from there: `np.fft` with `out=`, the fastest way to filter that NumPy alone has. Pieces
of 256 KiB to 1 MiB were equally fast, larger ones slower.
"""

import os
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
from job import BLOCK, RAW, Stored, gain

ROWS = 128


class Contestant:
    """Bare NumPy."""

    def __init__(self, threads, memory=0):
        self.threads = threads
        self.kept = threading.local()

    def look(self, path):
        with h5py.File(path, "r") as file:
            dataset = file[RAW]
            self.offset, (self.rows, self.columns) = dataset.id.get_offset(), dataset.shape
        self.path, self.width = path, 4 * self.columns
        self.source = os.open(path, os.O_RDONLY)
        if self.offset is not None:
            # warm: it is mapped once
            self.whole = np.memmap(path, "<f4", "r", self.offset, (self.rows, self.columns))
        return self.rows * self.columns

    def _streamed(self, function):
        def block(start):
            buffer = np.empty((ROWS, self.columns), "<f4")
            for begin in range(start, min(start + BLOCK, self.rows), ROWS):
                part = buffer[: min(ROWS, self.rows - begin)]
                os.preadv(self.source, [part], self.offset + begin * self.width)
                function(part, begin)

        with ThreadPoolExecutor(self.threads) as pool:
            list(pool.map(block, range(0, self.rows, BLOCK)))

    def _to_disk(self, function):
        name = self.path + ".floor"
        target = os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.posix_fallocate(target, 0, self.rows * self.width)
        self._streamed(lambda part, begin: os.pwrite(target, function(part), begin * self.width))
        os.close(target)
        shape = self.rows, self.columns
        return Stored((name,), lambda rows: np.memmap(name, "<f4", "r", 0, shape)[rows])

    def low_pass(self):
        response = gain(self.columns)

        def filtered(part):
            if getattr(self.kept, "columns", 0) != self.columns:
                self.kept.columns = self.columns
                self.kept.transform = np.empty((ROWS, len(response)), "c8")
                self.kept.values = np.empty((ROWS, self.columns), "f4")
            transform = self.kept.transform[: len(part)]
            np.fft.rfft(part, out=transform)
            transform *= response
            return np.fft.irfft(transform, self.columns, out=self.kept.values[: len(part)])

        return self._to_disk(filtered)

    limited = low_pass_cluster = limited_cluster = low_pass

    def kernel(self):
        def applied(part):
            np.sqrt(part, out=part)
            for _ in range(12):
                np.sin(part, out=part)
            return part

        return self._to_disk(applied)

    def lazy_mean(self):
        means = np.empty(self.rows, "f4")
        self._streamed(
            lambda part, begin: part.mean(1, out=means[begin : begin + len(part)]) is None
        )
        return means

    def stored_mean(self):
        name = self.path + ".mean"
        means = self.lazy_mean()
        means.tofile(name)
        return Stored((name,), lambda rows: np.fromfile(name, "f4")[rows])

    def compressed_lazy_mean(self):
        """Chunks found by HDF5, decoded by zlib in all threads."""
        means = np.empty(self.rows, "f4")
        with h5py.File(self.path, "r") as file:
            chunks = []
            shape = file[RAW].chunks
            file[RAW].id.chunk_iter(
                lambda each: chunks.append((each.chunk_offset, each.byte_offset, each.size))
            )

        def of_chunk(chunk):
            (begin, _), offset, size = chunk
            coded = zlib.decompress(os.pread(self.source, size, offset))
            shuffled = np.frombuffer(coded, "u1").reshape(4, -1)
            values = np.ascontiguousarray(shuffled.T).view("<f4").reshape(shape)
            stop = min(begin + shape[0], self.rows)
            means[begin:stop] = values[: stop - begin].mean(1)

        with ThreadPoolExecutor(self.threads) as pool:
            list(pool.map(of_chunk, chunks))
        return means

    def map(self, number):
        return np.array(self.whole[:, number])

    def spectrum(self, number):
        begin = self.offset + number * self.width
        return np.frombuffer(os.pread(self.source, self.width, begin), "<f4")


class ByHDF5(Contestant):
    """h5py alone, one thread: how compressed data are read by most."""

    def compressed_lazy_mean(self):
        with h5py.File(self.path, "r") as file:
            dataset = file[RAW]
            step = dataset.chunks[0]
            return np.concatenate(
                [dataset[n : n + step].mean(1) for n in range(0, self.rows, step)]
            )
