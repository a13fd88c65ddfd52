"""A step that raises at positions that a file names; as a program it runs it on a store."""

from __future__ import annotations

import json
import os
import pathlib
import sys
import time

import numpy as np
import xarray as xr

import usidx
from usidx.step import step


def kernel(block: np.ndarray, *, notes: str) -> np.ndarray:
    """Spectra squared, but for those whose first value is among those in the notes."""
    if block.size == 0:
        return block
    time.sleep(float(os.environ.get("FAILING_SECONDS", "0")))
    bad = json.loads(pathlib.Path(notes).read_text())
    with open(f"{notes}.log", "a") as log:
        log.write(f"{block[..., 0].size}\n")
    for value, error in bad.items():
        if np.any(np.isclose(block[..., 0], float(value), rtol=1e-6, atol=0)):
            raise {"V": ValueError, "Z": ZeroDivisionError}[error[0]](error)
    return block**2


@step("Failing", version="1", per_position=True)
def failing(spectra: xr.DataArray, *, notes: str) -> xr.DataArray:
    """Spectra squared."""
    return xr.apply_ufunc(
        kernel,
        spectra,
        dask="parallelized",
        output_dtypes=[spectra.dtype],
        kwargs={"notes": notes},
    )


if __name__ == "__main__":
    path, notes = sys.argv[1:]
    process = usidx.open(path).usid.process(failing, notes=notes)
    process.run(memory="33 kB", workers=2, on_error="mark")
