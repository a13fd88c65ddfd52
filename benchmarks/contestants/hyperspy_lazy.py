"""HyperSpy 2.5, lazily: the file is opened by its own reader of USID."""

import hyperspy.api as hs  # isort: skip

import dask
import numpy as np
from job import RAW, Stored, kernel, low_pass

hs.preferences.General.show_progressbar = False


class Contestant:
    """HyperSpy into its own HDF5 files."""

    def __init__(self, threads, memory=0):
        dask.config.set(scheduler="threads", num_workers=threads)

    def look(self, path):
        self.path = path
        signal = hs.load(path, file_format="USID", dataset_path=RAW, lazy=True)
        self.signal = signal.transpose(signal_axes=["Frequency"])
        return self.signal.data.size

    def _stored(self, function):
        name = self.path + ".hspy"
        found = self.signal.map(function, inplace=False)
        found.save(name, overwrite=True, compression=None)

        def read(rows):
            values = hs.load(name, lazy=True).data
            flat = np.unravel_index(rows, values.shape[:-1])
            return values.vindex[flat].compute()

        return Stored((name,), read)

    def low_pass(self):
        return self._stored(low_pass)

    limited = low_pass

    def kernel(self):
        return self._stored(kernel)

    def lazy_mean(self):
        mean = self.signal.mean(axis="Frequency")
        mean.compute()
        return mean.data

    compressed_lazy_mean = lazy_mean

    def stored_mean(self):
        name = self.path + ".hspy"
        self.signal.mean(axis="Frequency").save(name, overwrite=True, compression=None)
        return Stored((name,), lambda rows: hs.load(name).data.ravel()[rows])

    def map(self, number):
        image = self.signal.isig[number]
        image.compute()
        return image.data

    def spectrum(self, number):
        y, x = divmod(number, self.signal.axes_manager["X"].size)
        spectrum = self.signal.inav[x, y]
        spectrum.compute()
        return spectrum.data
