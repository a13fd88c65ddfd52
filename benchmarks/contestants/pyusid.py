"""pyUSID 0.0.12, as its documentation does it, in its pinned environment."""

import contextlib
import os

# Diagnostics that it prints would end up in the report.
with contextlib.redirect_stdout(open(os.devnull, "w")):
    import pyUSID as usid  # noqa: N813

import h5py
import numpy as np
from job import RAW, Stored, kernel, low_pass, stored_in_hdf5


class Applied(usid.Process):
    """A function of each spectrum, with results in a file of their own."""

    def __init__(self, h5_main, **options):
        super().__init__(h5_main, type(self).__name__, parms_dict={"order": 4}, **options)

    def _create_results_datasets(self):
        self.h5_results_grp = usid.hdf_utils.create_results_group(
            self.h5_main, self.process_name, h5_parent_group=self._h5_target_group
        )
        usid.hdf_utils.write_simple_attrs(self.h5_results_grp, self.parms_dict)
        shape = self.h5_main.shape if self.same_shape else self.h5_main.shape[:1]
        self.h5_found = self.h5_results_grp.create_dataset("values", shape, np.float32)

    def _get_existing_datasets(self):
        self.h5_found = self.h5_results_grp["values"]

    def _write_results_chunk(self):
        pixels = self._get_pixels_in_current_batch()
        self.h5_found[pixels[0] : pixels[-1] + 1] = np.array(self._results)


class LowPass(Applied):
    """The low-pass of each spectrum."""

    same_shape = True
    _map_function = staticmethod(low_pass)


class Kernel(Applied):
    """The heavy kernel on each spectrum."""

    same_shape = True
    _map_function = staticmethod(kernel)


class Mean(Applied):
    """The mean of each spectrum."""

    same_shape = False
    _map_function = staticmethod(np.mean)


class Contestant:
    """pyUSID into HDF5."""

    def __init__(self, threads, memory=0):
        self.threads, self.memory, self.file = threads, memory, None

    def look(self, path):
        if self.file is not None:
            self.file.close()
        self.path, self.file = path, h5py.File(path, "r")
        self.main = usid.USIDataset(self.file[RAW])
        return self.main.size

    def _stored(self, process):
        name = self.path + ".pyusid"
        options = {"max_mem_mb": self.memory // 2**20} if self.memory else {}
        with h5py.File(name, "w") as file:
            options["h5_target_group"] = file.create_group("found")
            group = process(self.main, cores=self.threads, **options).compute()
            found = group["values"].name
        if process is Mean:
            return Stored((name,), lambda rows: _all(name, found)[rows])
        return stored_in_hdf5(name, found)

    def low_pass(self):
        return self._stored(LowPass)

    limited = low_pass

    def kernel(self):
        return self._stored(Kernel)

    def stored_mean(self):
        return self._stored(Mean)

    def lazy_mean(self):
        mean, _ = self.main.reduce("Frequency")
        return np.asarray(mean)

    compressed_lazy_mean = lazy_mean

    def map(self, number):
        image, _ = self.main.slice({"Frequency": number})
        return np.squeeze(image)

    def spectrum(self, number):
        y, x = divmod(number, self.main.get_pos_values("X").size)
        spectrum, _ = self.main.slice({"Y": y, "X": x})
        return np.ravel(spectrum)


def _all(name, found):
    with h5py.File(name, "r") as file:
        return file[found][()]
