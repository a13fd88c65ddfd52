"""Plain xarray and dask on h5py, in chunks aligned with the file, as a good user does it."""

import xarray as xr  # isort: skip

import importlib

import dask
import dask.array
import h5py
import numpy as np
from job import BLOCK, RAW, Stored, stored_in_hdf5
from job import kernel as kernel_of
from job import low_pass as low_pass_of
from run import limit_memory


class Source:
    """A dataset that is opened anew in each task, so that it can be sent to workers."""

    def __init__(self, path):
        with h5py.File(path, "r") as file:
            self.path, self.shape, self.dtype = path, file[RAW].shape, file[RAW].dtype
            self.chunks = file[RAW].chunks
        self.ndim = len(self.shape)

    def __getitem__(self, key):
        with h5py.File(self.path, "r") as file:
            return file[RAW][key]


def labels_of(main, side, turned):
    """The coordinates of one side of a grid that is stored in order."""
    indices, values = (main.file[main.attrs[f"{side}_{kind}"]] for kind in ("Indices", "Values"))
    rows, table = (each[()].T if turned else each[()] for each in (indices, values))
    shape = rows.max(0) + 1
    grid = np.indices(shape).reshape(len(shape), -1).T
    if not np.array_equal(rows, grid):
        raise ValueError(f"{side} is no grid in order")
    found = {}
    for number, (label, unit) in enumerate(
        zip(indices.attrs["labels"], indices.attrs["units"], strict=True)
    ):
        along = table[:: int(np.prod(shape[number + 1 :], dtype=int)), number][: shape[number]]
        if not np.array_equal(table[:, number], along[rows[:, number]]):
            raise ValueError(f"{label!r} varies with something else")
        found[str(label)] = xr.Variable(str(label), along, {"units": str(unit)})
    return found


class Contestant:
    """xarray and dask into HDF5."""

    def __init__(self, threads, memory=0):
        self.threads, self.memory = threads, memory
        # A block is read, transformed and written in each thread, and others wait to be written.
        at_most = memory // (16 * threads * 4096) if memory else BLOCK
        self.block = max(1, min(BLOCK, at_most))
        dask.config.set(scheduler="threads", num_workers=threads)

    def look(self, path):
        self.path = path
        source = Source(path)
        rows = source.chunks[0] * (self.block // source.chunks[0]) if source.chunks else self.block
        lazy = dask.array.from_array(source, chunks=(rows, -1))
        self.da = xr.DataArray(lazy, dims=("position", "Frequency"), name="values")
        return self.da.size

    def look_at_labels(self, path):
        """As a map of spectra: what stands in the file of them, made sure of."""
        coords, attrs = {}, {}
        with h5py.File(path, "r") as file:
            main = file[RAW]
            for side, turned in (("Position", False), ("Spectroscopic", True)):
                coords |= labels_of(main, side, turned)
            attrs = {name: main.attrs[name] for name in ("quantity", "units")}
        source = Source(path)
        lazy = dask.array.from_array(source, chunks=(self.block, -1))
        lazy = lazy.reshape([variable.size for variable in coords.values()])
        labelled = xr.DataArray(lazy, coords=coords, attrs=attrs, name="values", dims=list(coords))
        return labelled.size

    def start(self):
        from distributed import Client, LocalCluster

        cluster = LocalCluster(
            n_workers=self.threads, threads_per_worker=1, dashboard_address="127.0.0.1:0"
        )
        self.client = Client(cluster)
        self.client.run(importlib.import_module, __name__)

    def _lazily(self, function):
        return xr.apply_ufunc(
            function, self.da, dask="parallelized", output_dtypes=[self.da.dtype]
        ).rename("values")

    def _stored(self, lazy):
        name = self.path + ".xarray"
        with h5py.File(name, "w") as file:
            lazy.data.store(file.create_dataset("values", lazy.shape, "f4"), lock=True)
        return stored_in_hdf5(name, "values")

    def low_pass(self):
        return self._stored(self._lazily(low_pass_of))

    limited = low_pass

    def limited_joint(self):
        return self._stored(self.da - self.da.mean("position"))

    def kernel(self):
        return self._stored(self._lazily(kernel_of))

    def lazy_mean(self):
        return self.da.mean("Frequency").values

    compressed_lazy_mean = lazy_mean

    def stored_mean(self):
        name = self.path + ".xarray"
        mean = self.da.mean("Frequency")
        with h5py.File(name, "w") as file:
            mean.data.store(file.create_dataset("values", mean.shape, "f4"), lock=True)

        def read(rows):
            with h5py.File(name, "r") as file:
                return file["values"][()][rows]

        return Stored((name,), read)

    def map(self, number):
        return self.da[:, number].values

    def spectrum(self, number):
        return self.da[number].values


class ToZarr(Contestant):
    """xarray and dask into Zarr, uncompressed: several times faster than as it does by itself."""

    def _stored(self, lazy):
        name = self.path + ".zarr"
        encoding = {"values": {"compressors": None}}
        lazy.to_dataset().to_zarr(name, encoding=encoding, consolidated=False)
        return Stored(
            (name,),
            lambda rows: xr.open_zarr(name, consolidated=False)["values"][rows].values,
        )

    low_pass_cluster = limited_cluster = Contestant.low_pass

    def limit(self):
        self.client.run(limit_memory, self.memory)
