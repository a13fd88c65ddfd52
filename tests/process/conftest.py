"""Sources to run steps on: an h5USID file made by plain h5py, and a USID-Zarr store."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import pathlib
import tracemalloc
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr

import usidx
from usidx.exporting import to_zarr
from usidx.testing import make_main

MAIN = "Measurement_000/Channel_000/Raw_Data"


def write_h5usid(path: pathlib.Path, main: xr.DataArray) -> str:
    """An h5USID file with one contiguous Main over Y, X and Frequency, as pyUSID lays it out."""
    y, x, frequency = (main[dim].values for dim in ("Y", "X", "Frequency"))
    with h5py.File(path, "w") as file:
        channel = file.create_group("Measurement_000/Channel_000")
        rows = np.indices((y.size, x.size)).reshape(2, -1)
        # columns fastest first, the way pyUSID writes them
        _side(channel, "Position", ["X", "Y"], ["um", "um"], rows[::-1].T, [x, y])
        columns = np.arange(frequency.size)[np.newaxis]
        _side(channel, "Spectroscopic", ["Frequency"], ["Hz"], columns, [frequency])
        data = channel.create_dataset(
            "Raw_Data", data=main.values.reshape(y.size * x.size, frequency.size)
        )
        data.attrs.update(quantity=main.attrs["quantity"], units=main.attrs["units"])
        for role in ("Position", "Spectroscopic"):
            for kind in ("Indices", "Values"):
                data.attrs[f"{role}_{kind}"] = channel[f"{role}_{kind}"].ref
    return str(path)


def _side(
    channel: h5py.Group, role: str, labels: list[str], units: list[str], indices: Any, values: Any
) -> None:
    """The two ancillaries of one side; indices (rows, n) for positions, (n, columns) else."""
    places = indices.T if role == "Position" else indices
    stacked = np.stack([value[place] for value, place in zip(values, places)])
    both = {"Indices": indices.astype("u4"), "Values": stacked.T if role == "Position" else stacked}
    for kind, matrix in both.items():
        made = channel.create_dataset(f"{role}_{kind}", data=matrix)
        made.attrs["labels"] = np.array(labels, dtype=h5py.string_dtype())
        made.attrs["units"] = np.array(units, dtype=h5py.string_dtype())


def digest(path: str) -> str:
    """Of the values of the source Main, read by plain h5py."""
    with h5py.File(path, "r") as file:
        return hashlib.sha256(file[MAIN][()].tobytes()).hexdigest()


@pytest.fixture
def truth() -> xr.DataArray:
    """The source in memory: 16 x 20 positions, 32 frequencies."""
    return make_main((16, 20, 32), dtype="float32")


@pytest.fixture(params=["hdf5", "zarr"])
def path(request: pytest.FixtureRequest, tmp_path: pathlib.Path, truth: xr.DataArray) -> str:
    """A store of each kind with the source in it."""
    if request.param == "hdf5":
        return write_h5usid(tmp_path / "scan.h5", truth)
    return to_zarr(truth, tmp_path / "scan.zarr")


@pytest.fixture
def hdf5_path(tmp_path: pathlib.Path, truth: xr.DataArray) -> str:
    """An h5USID file with the source in it."""
    return write_h5usid(tmp_path / "scan.h5", truth)


@pytest.fixture
def source(path: str) -> xr.DataArray:
    """The source as usidx opens it, in blocks of 2 rows."""
    opened = usidx.open(path, chunks={"Y": 2})
    assert isinstance(opened, xr.DataArray)
    return opened


class Checked:
    """Takes what is written, and compares it."""

    dtype = np.dtype("f4")

    def __init__(self, expected: np.ndarray, within: float = 0) -> None:
        self.expected, self.within = expected, within
        self.marked = 0

    def done(self) -> np.ndarray:
        return np.zeros(self.expected.shape[:2], bool)

    def write(self, key: Any, values: Any) -> None:
        np.testing.assert_allclose(values, self.expected[key], rtol=0, atol=self.within)

    def mark(self, key: Any) -> None:
        self.marked += 1


@contextlib.contextmanager
def taking_little(objects: int) -> Iterator[None]:
    """What is done in the block makes fewer `objects`, and takes little memory."""
    gc.collect()
    before = len(gc.get_objects())
    tracemalloc.start()
    try:
        yield
        held, most = tracemalloc.get_traced_memory()
        # the marks of all positions are a million bytes
        assert most < 40e6
        assert held < 20e6
        assert len(gc.get_objects()) - before < objects
    finally:
        tracemalloc.stop()


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with a million positions of two values, which tests only read."""
    main = make_main((1000, 1000, 2), dtype="float32")
    return str(main.usid.to_h5usid(tmp_path_factory.mktemp("large") / "large.h5"))
