"""Steps that take their time and write down what they computed, for processes to be killed in."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np
import xarray as xr

import usidx
from usidx.step import step
from usidx.steps import gaussian_filter
from usidx.testing import make_main

SHAPE = (64, 64, 64)
ROWS = 4
"""Rows of the map in a block, of which there are 16."""
MAIN = "Measurement_000/Channel_000/Raw_Data"


def kernel(block: np.ndarray, *, log: str, seconds: float) -> np.ndarray:
    """Spectra squared, and where they are from in the log: the first value tells."""
    if block.size == 0:
        return block
    time.sleep(seconds * block.shape[0] / ROWS)
    result = block**2
    if log:
        with open(log, "ab", buffering=0) as file:
            file.write(f"{float(block.ravel()[0])!r} {block.shape[0]}\n".encode())
    return result


def _settings() -> dict[str, Any]:
    return {
        "log": os.environ.get("CHAOS_LOG", ""),
        "seconds": float(os.environ.get("CHAOS_SECONDS", "0")),
    }


def _applied(spectra: xr.DataArray) -> xr.DataArray:
    return xr.apply_ufunc(
        kernel, spectra, dask="parallelized", output_dtypes=[spectra.dtype], kwargs=_settings()
    )


@step("Streamed", version="1", per_position=True)
def streamed(spectra: xr.DataArray) -> xr.DataArray:
    """Piece by piece."""
    return _applied(spectra)


@step("Whole", version="1")
def whole(spectra: xr.DataArray) -> xr.DataArray:
    """Block by block."""
    return _applied(spectra)


def logged(block: np.ndarray, rows: np.ndarray, *, log: str, seconds: float) -> np.ndarray:
    """The block as it is, and which rows of the map it has in the log."""
    if block.size == 0:
        return block
    time.sleep(seconds * block.shape[0] / ROWS)
    if log:
        with open(log, "ab", buffering=0) as file:
            file.write(f"row {int(rows.ravel()[0])} {block.shape[0]}\n".encode())
    return block


@step("Overlapping", version="1")
def overlapping(spectra: xr.DataArray) -> xr.DataArray:
    """Block by block, each with rows of its neighbours."""
    import dask.array

    rows = dask.array.arange(spectra.sizes["Y"], chunks=(spectra.chunksizes["Y"],))
    return xr.apply_ufunc(
        logged,
        gaussian_filter(spectra, sigma=0.01, over=("Y", "X")),
        xr.DataArray(rows, dims="Y"),
        dask="parallelized",
        output_dtypes=[spectra.dtype],
        kwargs=_settings(),
    )


STEPS = {"streamed": streamed, "whole": whole, "overlapping": overlapping}
SOURCES: dict[str, dict[str, Any]] = {
    "plain.h5": {"checksums": False},
    "plain.zarr": {"chunks": {"Y": 1}},
    "sharded.zarr": {"chunks": {"Y": 1, "X": 16}, "shards": {"Y": 8}},
    "tiled.zarr": {"chunks": {"Y": 16, "X": 16, "Frequency": 32}},
}
"""How each is stored."""


def make_source(path: str) -> None:
    """The store that steps are run on; its name says how it is stored, or else it is plain."""
    main = make_main(SHAPE, dtype="float32")
    name = os.path.basename(path)
    stored = SOURCES.get(name, SOURCES["plain" + os.path.splitext(name)[1]])
    if path.endswith(".h5"):
        main.usid.to_h5usid(path, **stored)
    else:
        main.usid.to_zarr(path, **stored)


def source_values() -> np.ndarray:
    """All values of the source."""
    return make_main(SHAPE, dtype="float32").values


def first_values() -> dict[float, int]:
    """The row of the map that begins with a value."""
    return {float(value): row for row, value in enumerate(source_values()[:, 0, 0])}


def opened(path: str) -> xr.DataArray:
    """The source in blocks of a few rows."""
    source = usidx.open(path, chunks={"Y": ROWS, "X": -1, "Frequency": -1})
    assert isinstance(source, xr.DataArray)
    return source


def run(path: str, name: str, client: Any = False, **options: Any) -> str:
    """The path of the result group."""
    from usidx.process.running import streaming

    streaming.PIECE = SHAPE[1] * SHAPE[2] * 4  # of one row
    process = opened(path).usid.process(STEPS[name])
    # 16 blocks, whoever computes them; as much again is read of neighbours
    kilobytes = 800 if name == "overlapping" else 400
    limits = {"memory": f"{kilobytes} kB"}
    if not client:
        limits = {"memory": f"{2 * kilobytes} kB", "workers": 2}
    return str(process.run(client=client, progress=False, **limits, **options).path)
