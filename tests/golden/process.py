"""pyUSID's own Process at work: `python process.py FILE TOLD`, in the pinned environment.

TOLD is a JSON file: `main`, the path of the source; `gain`, a parameter; `stop`, the number of
batches of 4 positions after which it is interrupted (null: never); `storage`, options of the
dataset. What happened is written into it: paths of complete and partial groups before, path of the
group that was computed or found, and which positions were computed.
"""

import json
import sys

import h5py
import numpy as np
import pyUSID
from pyUSID.io import hdf_utils
from sidpy.hdf.hdf_utils import write_simple_attrs


class MeanGain(pyUSID.Process):
    """The mean of each spectrum times a gain, as in the docs of pyUSID."""

    def __init__(self, h5_main, gain, stop, storage):
        self.gain, self.stop, self.storage = gain, stop, storage
        self.computed = []
        parameters = {"gain": gain, "mode": "mean", "vec": [1, 2, 3]}
        super().__init__(h5_main, "Mean_Gain", parms_dict=parameters, cores=1)
        self._max_pos_per_read = 4

    def _create_results_datasets(self):
        self.h5_results_grp = hdf_utils.create_results_group(self.h5_main, self.process_name)
        write_simple_attrs(self.h5_results_grp, self.parms_dict)
        self.h5_mean = hdf_utils.write_main_dataset(
            self.h5_results_grp,
            (self.h5_main.shape[0], 1),
            "Mean",
            "Current",
            "nA",
            None,
            pyUSID.Dimension("arb", "a.u.", 1),
            h5_pos_inds=self.h5_main.h5_pos_inds,
            h5_pos_vals=self.h5_main.h5_pos_vals,
            dtype=np.float32,
            # JSON has no tuples, and pyUSID takes nothing else
            **{key: tuple(v) if isinstance(v, list) else v for key, v in self.storage.items()},
        )

    def _get_existing_datasets(self):
        # usidx calls a result as its tool
        names = [name for name in ("Mean", self.process_name) if name in self.h5_results_grp]
        self.h5_mean = self.h5_results_grp[names[0]]

    def _unit_computation(self, *args, **kwargs):
        if self.stop is not None and len(self.computed) >= 4 * self.stop:
            raise KeyboardInterrupt
        self._results = self.gain * self.data.mean(axis=1)

    def _write_results_chunk(self):
        batch = self._get_pixels_in_current_batch()
        self.h5_mean[batch, 0] = self._results
        self.computed += batch.tolist()


def main():
    """Compute what is told, and tell what was done."""
    path, told_path = sys.argv[1:]
    with open(told_path) as file:
        told = json.load(file)
    with h5py.File(path, "r+") as file:
        process = MeanGain(
            file[told["main"]], told["gain"], told["stop"], told.get("storage") or {}
        )
        told["complete"] = [group.name for group in process.duplicate_h5_groups]
        told["partial"] = [group.name for group in process.partial_h5_groups]
        try:
            told["group"] = process.compute().name
        except KeyboardInterrupt:
            told["group"] = process.h5_results_grp.name
        told["computed"] = process.computed
    with open(told_path, "w") as file:
        json.dump(told, file)


if __name__ == "__main__":
    main()
