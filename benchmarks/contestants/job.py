"""The job that all contestants do, and how their answers are checked.

It runs in the environments of all of them: the standard library, NumPy and h5py alone.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import pathlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

RAW = "Measurement_000/Channel_000/Raw_Data"
DISTANCE = 0.5  # of two samples of a spectrum
HIGH, ORDER = 0.2, 4  # of the low-pass: its edge, and how steep it is
SIGMA, REACH = 0.15, 1  # of the Gaussian over the map: its width, and how many samples it reaches
BLOCK = 8192  # positions that are computed at once: 32 MiB of 1024 float32
CHECKED = 512  # rows of a stored result that are compared


def gain(columns: int) -> Any:
    """What the low-pass multiplies the transform of a real spectrum with, float32."""
    frequency = np.fft.rfftfreq(columns, DISTANCE)
    return (1 / np.sqrt(1 + (frequency / HIGH) ** (2 * ORDER))).astype("f4")


def low_pass(block: Any) -> Any:
    """Spectra along the last axis, filtered."""
    transform = np.fft.rfft(block)
    transform *= gain(block.shape[-1])
    return np.fft.irfft(transform, block.shape[-1]).astype("f4", copy=False)


def kernel(block: Any) -> Any:
    """Values after arithmetic that takes far more than 10 ms for 32 MiB."""
    out = np.sqrt(block)
    for _ in range(12):
        np.sin(out, out=out)
    return out


@dataclass(frozen=True)
class Stored:
    """A result on disk.

    Parameters
    ----------
    paths : files and folders that are gone when it is removed
    read : gives the rows of the result that it is asked for
    """

    paths: tuple[str, ...]
    read: Callable[[Any], Any]

    def remove(self) -> None:
        """Take it off the disk."""
        for path in self.paths:
            if os.path.isdir(path):
                shutil.rmtree(path)
            else:
                with contextlib.suppress(FileNotFoundError):
                    os.remove(path)


def stored_in_hdf5(path: str, name: str) -> Stored:
    """A result in an HDF5 dataset, its positions on one axis or several."""

    def read(rows: Any) -> Any:
        with h5py.File(path, "r") as file:
            dataset = file[name]
            places = np.unravel_index(rows, dataset.shape[:-1])
            return np.stack([dataset[place] for place in zip(*places, strict=True)])

    return Stored((path,), read)


class Truth:
    """What NumPy finds in the file, in float64, to compare answers with."""

    def __init__(self, path: str) -> None:
        self.path = path
        with h5py.File(path, "r") as file:
            self.rows, self.columns = file[RAW].shape

    @functools.cached_property
    def data(self) -> Any:
        """All values, not looked at before they are needed: memory is watched until then."""
        with h5py.File(self.path, "r") as file:
            dataset = file[RAW]
            if dataset.chunks:
                return dataset[()]
            offset = dataset.id.get_offset()
        return np.memmap(self.path, "<f4", "r", offset, (self.rows, self.columns))

    def look(self, found: Any) -> str:
        """What is wrong with the size of what was opened; nothing where it is right."""
        size = self.rows * self.columns
        return "" if found == size else f"{found} values, not {size}"

    def map(self, found: Any, number: int) -> str:
        """What is wrong with a map."""
        return _compared(found, self.data[:, number])

    def spectrum(self, found: Any, number: int) -> str:
        """What is wrong with a spectrum."""
        return _compared(found, self.data[number])

    def mean(self, found: Any) -> str:
        """What is wrong with the means of all spectra."""
        parts = range(0, self.rows, BLOCK)
        return _compared(
            found, np.concatenate([self.data[n : n + BLOCK].mean(1, "f8") for n in parts])
        )

    def stored(self, found: Stored, function: Callable[[Any], Any]) -> str:
        """What is wrong with some rows of a result on disk, its last ones among them."""
        rows = _checked_rows(self.rows)
        return _compared(found.read(rows), function(np.array(self.data[rows])))

    def over_map(self) -> Any:
        """The mean of all spectra at each frequency, float64."""
        parts = range(0, self.rows, BLOCK)
        return sum(self.data[n : n + BLOCK].sum(0, "f8") for n in parts) / self.rows

    def smoothed(self, rows: Any) -> Any:
        """Some spectra of the map after a Gaussian along both axes, its edges mirrored, float64."""
        side = math.isqrt(self.rows)
        away = np.arange(-REACH, REACH + 1)
        weight = np.exp(-0.5 * (away * DISTANCE / SIGMA) ** 2)
        weight /= weight.sum()
        y, x = np.divmod(rows, side)
        total = np.zeros((len(rows), self.columns))
        for far_y, by_y in zip(away, weight, strict=True):
            for far_x, by_x in zip(away, weight, strict=True):
                places = _mirrored(y + far_y, side) * side + _mirrored(x + far_x, side)
                total += by_y * by_x * self.data[places]
        return total

    def of(self, work: str, found: Any) -> str:
        """What is wrong with the answer of a piece of work; nothing where it is right."""
        if work.endswith("lazy-mean"):
            return self.mean(found)
        if work == "stored-mean":
            rows = np.arange(self.rows)
            return self.mean(found.read(rows))
        if work.startswith("limited-overlap"):
            rows = _checked_rows(self.rows)
            return _compared(found.read(rows), self.smoothed(rows))
        if work == "limited-joint":
            mean = self.over_map()
            return self.stored(found, lambda values: values - mean)
        return self.stored(found, kernel if work.startswith("kernel") else low_pass)


def _checked_rows(count: int) -> Any:
    return np.linspace(0, count - 1, min(count, CHECKED)).astype(int)


def _mirrored(places: Any, size: int) -> Any:
    """Places along an axis that is mirrored at its ends, the last value included."""
    places = np.where(places < 0, -1 - places, places)
    return np.where(places >= size, 2 * size - 1 - places, places)


def _compared(found: Any, expected: Any) -> str:
    found = np.asarray(found)
    if found.size != expected.size:
        return f"shape {found.shape}, not {expected.shape}"
    difference = np.abs(found.reshape(expected.shape).astype("f8") - expected)
    return "" if difference.max() < 1e-5 else f"differs by up to {difference.max():.2g}"


def touch(folder: pathlib.Path, count: int) -> None:
    """Have the system find `count` bytes of memory, and give them back.

    Fresh memory costs several times more than memory that was in use a moment ago where the
    machine is a guest of another. The first to write a file would pay for all after it.
    """
    path = folder / "touched"
    piece = bytes(2**22)
    with path.open("wb") as file:
        for _ in range(count // len(piece)):
            file.write(piece)
    path.unlink()
