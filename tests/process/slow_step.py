"""A slow step that writes down what it computed; as a program it runs it on a store."""

from __future__ import annotations

import os
import sys
import time

import numpy as np
import xarray as xr

import usidx
from usidx.step import step


def kernel(block: np.ndarray, *, log: str, seconds: float) -> np.ndarray:
    """Spectra squared, after a while; the log gets the first value of the block."""
    if block.size == 0:
        return block
    time.sleep(seconds)
    with open(log, "a") as file:
        file.write(f"{os.getpid()} {block.ravel()[0]!r}\n")
    return block**2


@step("Slow_Square", version="1", per_position=True)
def slow_square(spectra: xr.DataArray, *, log: str) -> xr.DataArray:
    """Spectra squared, slowly."""
    seconds = float(os.environ.get("SLOW_SECONDS", "0"))
    return xr.apply_ufunc(
        kernel,
        spectra,
        dask="parallelized",
        output_dtypes=[spectra.dtype],
        kwargs={"log": log, "seconds": seconds},
    )


if __name__ == "__main__":
    path, log = sys.argv[1:]
    usidx.open(path).usid.process(slow_square, log=log).run(memory="33 kB", workers=2)
