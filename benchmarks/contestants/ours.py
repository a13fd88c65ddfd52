"""usidx, as people use it."""

import usidx  # isort: skip

import importlib

import dask
import numpy as np
import xarray as xr
from job import HIGH, RAW, SIGMA, Stored
from job import kernel as kernel_of
from run import limit_memory

from usidx.steps import fft_filter, gaussian_filter, mean


@usidx.step("Kernel", version="1", per_position=True)
def kernel_step(spectra):
    """Values after the arithmetic of the kernel."""
    return xr.apply_ufunc(
        kernel_of, spectra, dask="parallelized", output_dtypes=[spectra.dtype], keep_attrs=True
    )


@usidx.step("Background", version="1")
def background_step(spectra):
    """Spectra less their mean over the map: every block needs all others."""
    return (spectra - spectra.mean(("Y", "X"))).assign_attrs(spectra.attrs)


class Contestant:
    """usidx into HDF5."""

    ending = ".h5"
    options = {}

    def __init__(self, threads, memory=0):
        self.threads, self.memory, self.client = threads, memory, False
        dask.config.set(scheduler="threads", num_workers=threads)

    def look(self, path):
        self.path, self.da = path, usidx.open(path, RAW)
        return self.da.size

    def start(self):
        from distributed import Client, LocalCluster

        cluster = LocalCluster(
            n_workers=self.threads,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",
            silence_logs=False,
        )
        self.client = Client(cluster)
        self.client.run(importlib.import_module, __name__)

    def limit(self):
        self.client.run(limit_memory, self.memory)

    def _stored(self, step, **parameters):
        target = f"{self.path}.ours{self.ending}"
        process = self.da.usid.process(step, **parameters)
        options = {"client": self.client, "workers": self.threads}
        if self.client:
            del options["workers"]
        if self.memory:
            options["memory"] = self.memory
            self.estimate = process.estimate(into=target, **options).memory
        result = process.run(into=target, progress=False, **options, **self.options)

        def read(rows):
            flat = result.open().values if step is mean else None
            if flat is not None:
                return flat.ravel()[rows]
            values = result.open()
            places = np.unravel_index(rows, values.shape[:-1])
            picked = zip(values.dims[:-1], places, strict=True)
            return values.isel({dim: ("row", place) for dim, place in picked}).values.reshape(
                len(rows), -1
            )

        return Stored((target,), read)

    def low_pass(self):
        return self._stored(fft_filter, high=HIGH)

    limited = low_pass_cluster = limited_cluster = low_pass

    def kernel(self):
        return self._stored(kernel_step)

    def limited_joint(self):
        return self._stored(background_step)

    def limited_overlap(self):
        return self._stored(gaussian_filter, sigma=SIGMA)

    limited_overlap_cluster = limited_overlap

    def stored_mean(self):
        return self._stored(mean)

    def lazy_mean(self):
        return mean(self.da).values

    compressed_lazy_mean = lazy_mean

    def map(self, number):
        return self.da[..., number].values

    def spectrum(self, number):
        return self.da[np.unravel_index(number, self.da.shape[:-1])].values


class ToZarr(Contestant):
    """usidx into Zarr, uncompressed as the others are."""

    ending = ".zarr"
    options = {"compression": False}


class ToZarrPacked(ToZarr):
    """usidx into Zarr, compressed as it does unless told otherwise."""

    options = {}
