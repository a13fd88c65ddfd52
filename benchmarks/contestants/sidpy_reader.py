"""sidpy 0.12 with SciFiReaders and pyNSID: datasets are dask arrays, results are NSID files."""

import SciFiReaders  # isort: skip
import dask
import h5py
import numpy as np
import pyNSID
import sidpy
from job import Stored, kernel, low_pass, stored_in_hdf5


class Contestant:
    """sidpy into NSID files."""

    reads_at_once = True  # all of the file when it is opened, which is a part of its work then

    def __init__(self, threads, memory=0):
        dask.config.set(scheduler="threads", num_workers=threads)

    def look(self, path):
        self.path = path
        self.data = SciFiReaders.Usid_reader(path).read()
        return self.data.size

    def _stored(self, values):
        name = self.path + ".nsid"
        data = sidpy.Dataset.from_array(values, title="values")
        with h5py.File(name, "w") as file:
            pyNSID.hdf_io.write_nsid_dataset(data, file.create_group("found"), "values")
        return stored_in_hdf5(name, "found/values/values")

    def _whole_spectra(self):
        return dask.array.asarray(self.data).rechunk({-1: -1})

    def low_pass(self):
        return self._stored(dask.array.map_blocks(low_pass, self._whole_spectra(), dtype="f4"))

    limited = low_pass

    def kernel(self):
        return self._stored(dask.array.map_blocks(kernel, self.data, dtype="f4"))

    def lazy_mean(self):
        return np.asarray(self.data.mean(axis=2).compute())

    compressed_lazy_mean = lazy_mean

    def stored_mean(self):
        stored = self._stored(self.data.mean(axis=2))
        return Stored(stored.paths, lambda rows: _all(stored.paths[0])[rows])

    def map(self, number):
        return np.asarray(self.data[:, :, number])

    def spectrum(self, number):
        return np.asarray(self.data[np.unravel_index(number, self.data.shape[:-1])])


def _all(name):
    with h5py.File(name, "r") as file:
        return file["found/values/values"][()].ravel()
