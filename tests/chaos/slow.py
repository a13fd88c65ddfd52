"""Steps that take their time and write down what they computed, for processes to be killed in."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np
import xarray as xr

import usidx
from usidx.step import step
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


def _applied(spectra: xr.DataArray) -> xr.DataArray:
    settings: dict[str, Any] = {
        "log": os.environ.get("CHAOS_LOG", ""),
        "seconds": float(os.environ.get("CHAOS_SECONDS", "0")),
    }
    return xr.apply_ufunc(
        kernel, spectra, dask="parallelized", output_dtypes=[spectra.dtype], kwargs=settings
    )


@step("Streamed", version="1", per_position=True)
def streamed(spectra: xr.DataArray) -> xr.DataArray:
    """Piece by piece."""
    return _applied(spectra)


@step("Whole", version="1")
def whole(spectra: xr.DataArray) -> xr.DataArray:
    """Block by block."""
    return _applied(spectra)


STEPS = {"streamed": streamed, "whole": whole}


def make_source(path: str) -> None:
    """The store that steps are run on."""
    main = make_main(SHAPE, dtype="float32")
    if path.endswith(".h5"):
        main.usid.to_h5usid(path, checksums=False)
    else:
        main.usid.to_zarr(path, chunks={"Y": 1})


def source_values() -> np.ndarray:
    """All values of the source."""
    return make_main(SHAPE, dtype="float32").values


def first_values() -> dict[float, int]:
    """The row of the map that begins with a value."""
    return {float(value): row for row, value in enumerate(source_values()[:, 0, 0])}


def opened(path: str) -> xr.DataArray:
    """The source in blocks of a few rows."""
    source = usidx.open(path, chunks={"Y": ROWS})
    assert isinstance(source, xr.DataArray)
    return source


def run(path: str, name: str, client: Any = False, **options: Any) -> str:
    """The path of the result group."""
    from usidx.process.running import streaming

    streaming.PIECE = SHAPE[1] * SHAPE[2] * 4  # of one row
    process = opened(path).usid.process(STEPS[name])
    # 16 blocks, whoever computes them
    limits = {"memory": "400 kB"} if client else {"memory": "800 kB", "workers": 2}
    return str(process.run(client=client, progress=False, **limits, **options).path)
