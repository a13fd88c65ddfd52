"""The same job in pyUSID 0.0.12, as its documentation does it, in its pinned environment."""

import contextlib
import os
import time

began = time.perf_counter()

# Diagnostics that it prints would end up in the report.
with contextlib.redirect_stdout(open(os.devnull, "w")):
    import h5py
    import numpy as np
    import pyUSID as usid  # noqa: N813

    imported = time.perf_counter() - began
    from clock import KEEP, RAW, Clock, arguments, report


def smooth(spectrum):
    spectra = np.fft.rfft(spectrum)
    spectra[int(KEEP * len(spectra)) :] = 0
    return np.fft.irfft(spectra, len(spectrum)).astype(np.float32)


class LowPass(usid.Process):
    """A low-pass over each spectrum, with results beside the source, that can be resumed."""

    def __init__(self, h5_main, **options):
        super().__init__(h5_main, "Low_Pass", parms_dict={"keep": KEEP}, **options)

    @staticmethod
    def _map_function(spectrum):
        return smooth(spectrum)

    def _create_results_datasets(self):
        self.h5_results_grp = usid.hdf_utils.create_results_group(self.h5_main, self.process_name)
        usid.hdf_utils.write_simple_attrs(self.h5_results_grp, self.parms_dict)
        self.h5_filtered = usid.hdf_utils.create_empty_dataset(
            self.h5_main, np.float32, "Filtered_Data", h5_group=self.h5_results_grp
        )

    def _get_existing_datasets(self):
        self.h5_filtered = self.h5_results_grp["Filtered_Data"]

    def _write_results_chunk(self):
        pixels = self._get_pixels_in_current_batch()
        self.h5_filtered[pixels[0] : pixels[-1] + 1, :] = np.array(self._results)


asked = arguments()
clock = Clock()
clock.times["import"] = imported


def look():
    with h5py.File(asked.file, "r") as file:
        return usid.USIDataset(file[RAW]).shape


with contextlib.redirect_stdout(open(os.devnull, "w")):
    with clock("first open"):
        look()
    clock.best("open", look)
    file = h5py.File(asked.file, "r+")
    main = usid.USIDataset(file[RAW])
    height, width = (main.get_pos_values(name).size for name in ("Y", "X"))
    rows, columns = main.shape
    spot = {"Y": height // 2, "X": width // 3}
    spectrum, _ = clock.best("one spectrum", lambda: main.slice(spot))
    image, _ = clock.best("one map", lambda: main.slice({"Frequency": columns // 4}))
    with clock("mean of spectra"):
        mean, _ = main.reduce("Frequency")
        mean = np.asarray(mean)
    with clock("low-pass to disk"):
        group = LowPass(main, cores=asked.threads).compute()
        file.flush()
    with clock("run again"):
        again = LowPass(main, cores=asked.threads).compute()
    assert again == group
row = (height // 2) * width + width // 3
report(
    clock,
    spectrum=np.ravel(spectrum)[:8],
    map=np.ravel(np.squeeze(image))[:8],
    mean=np.ravel(mean)[:8],
    low_pass=group["Filtered_Data"][row, :8],
)
