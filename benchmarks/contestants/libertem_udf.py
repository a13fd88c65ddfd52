"""LiberTEM 0.16: user-defined functions over partitions, in threads."""

import libertem.api as lt  # isort: skip

import numpy as np
from job import RAW, Stored
from job import kernel as kernel_of
from job import low_pass as low_pass_of
from libertem.udf.base import UDF
from libertem.udf.raw import PickUDF


class InPieces(UDF):
    """A function of whole spectra, a MiB of them at a time."""

    def get_tiling_preferences(self):
        columns = int(np.prod(self.meta.dataset_shape.sig))
        return {"depth": max(1, 2**18 // columns), "total_size": 2**20}


class Applied(InPieces):
    """A function of each spectrum."""

    def __init__(self, function):
        super().__init__(function=function)

    def get_result_buffers(self):
        columns = int(np.prod(self.meta.dataset_shape.sig))
        return {"found": self.buffer(kind="nav", dtype="f4", extra_shape=(columns,))}

    def process_tile(self, tile):
        self.results.found[:] = self.params.function(np.asarray(tile))


class Mean(InPieces):
    """The mean of each spectrum."""

    def get_result_buffers(self):
        return {"found": self.buffer(kind="nav", dtype="f4")}

    def process_tile(self, tile):
        self.results.found[:] = np.mean(tile, axis=1)


class One(InPieces):
    """One value of each spectrum."""

    def __init__(self, number):
        super().__init__(number=number)

    def get_result_buffers(self):
        return {"found": self.buffer(kind="nav", dtype="f4")}

    def process_tile(self, tile):
        self.results.found[:] = tile[:, self.params.number]


class Contestant:
    """LiberTEM; results are in memory and saved from there."""

    def __init__(self, threads, memory=0):
        self.context = lt.Context.make_with("threads", cpus=threads)

    def look(self, path):
        self.path = path
        self.data = self.context.load("hdf5", path=path, ds_path=RAW, sig_dims=1)
        self.shape = tuple(self.data.shape)
        return int(np.prod(self.shape))

    def _run(self, function, **options):
        return self.context.run_udf(dataset=self.data, udf=function, **options)

    def _saved(self, values):
        name = self.path + ".npy"
        np.save(name, values)
        return Stored((name,), lambda rows: np.load(name, mmap_mode="r")[rows])

    def low_pass(self):
        return self._saved(self._run(Applied(low_pass_of))["found"].raw_data)

    limited = low_pass

    def kernel(self):
        return self._saved(self._run(Applied(kernel_of))["found"].raw_data)

    def lazy_mean(self):
        return self._run(Mean())["found"].raw_data

    compressed_lazy_mean = lazy_mean

    def stored_mean(self):
        return self._saved(self.lazy_mean())

    def map(self, number):
        return self._run(One(number))["found"].raw_data

    def spectrum(self, number):
        roi = np.zeros(self.shape[:-1], bool)
        roi[number] = True
        return self._run(PickUDF(), roi=roi)["intensity"].raw_data
