"""The same job in usidx."""

import time

began = time.perf_counter()
import usidx  # noqa: E402

imported = time.perf_counter() - began

import numpy as np  # noqa: E402
import xarray as xr  # noqa: E402
from clock import KEEP, RAW, Clock, arguments, report  # noqa: E402


def smooth(block, keep):
    spectra = np.fft.rfft(block)
    spectra[..., int(keep * spectra.shape[-1]) :] = 0
    return np.fft.irfft(spectra, block.shape[-1]).astype(block.dtype)


@usidx.step("Low_Pass", version="1", per_position=True)
def low_pass(spectra, *, keep):
    """Spectra without their fastest wiggles."""
    return xr.apply_ufunc(
        smooth,
        spectra,
        kwargs={"keep": keep},
        input_core_dims=[["Frequency"]],
        output_core_dims=[["Frequency"]],
        dask="parallelized",
        output_dtypes=[spectra.dtype],
        keep_attrs=True,
    )


if __name__ == "__main__":
    from concurrent.futures import ThreadPoolExecutor

    import dask

    asked = arguments()
    clock = Clock()
    clock.times["import"] = imported
    pool = ThreadPoolExecutor(asked.threads)
    dask.config.set(scheduler="threads", pool=pool)
    with clock("first open"):
        usidx.open(asked.file, RAW)
    da = clock.best("open", lambda: usidx.open(asked.file, RAW))
    height, width, columns = da.shape
    spot = height // 2, width // 3
    spectrum = clock.best("one spectrum", lambda: da[spot].values)
    image = clock.best("one map", lambda: da[..., columns // 4].values)
    with clock("mean of spectra"):
        mean = da.mean("Frequency").values
    with clock("low-pass to disk"):
        result = da.usid.process(low_pass, keep=KEEP).run()
    with clock("run again"):
        again = da.usid.process(low_pass, keep=KEEP).run()
    assert again.name == result.name
    with clock("open the result"):
        filtered = result.open()
    report(
        clock,
        spectrum=spectrum[:8],
        map=image.ravel()[:8],
        mean=mean.ravel()[:8],
        low_pass=filtered[spot].values[:8],
    )
