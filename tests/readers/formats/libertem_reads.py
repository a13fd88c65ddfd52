"""What LiberTEM reads: `python libertem_reads.py FOLDER`, in an environment that has it.

FOLDER/jobs.json lists (kind, path, options); of each FOLDER/<number>.npy are the frames of all
positions, and FOLDER/seen.json says their dtypes, or the error.
"""

import json
import pathlib
import sys

import numpy as np
from libertem.api import Context
from libertem.io.corrections import CorrectionSet
from libertem.udf import UDF


class Frames(UDF):
    """Each frame where it belongs; -1 where there is none."""

    def get_result_buffers(self):
        shape = tuple(self.meta.dataset_shape.sig)
        return {"frames": self.buffer(kind="nav", extra_shape=shape, dtype=np.complex128)}

    def preprocess(self):
        self.results.frames[:] = -1

    def process_frame(self, frame):
        self.results.frames[:] = np.asarray(frame).reshape(self.results.frames.shape)


def main(folder):
    """Read what is asked for."""
    context = Context.make_with("inline")
    seen = []
    for number, (kind, path, options) in enumerate(json.loads((folder / "jobs.json").read_text())):
        try:
            dataset = context.load(kind, path=path, **options)
            found = context.run_udf(dataset, Frames(), corrections=CorrectionSet())
            np.save(folder / f"{number}.npy", found["frames"].data)
            seen.append(str(np.dtype(dataset.dtype)))
        except Exception as error:
            seen.append(f"{type(error).__name__}: {error}")
    (folder / "seen.json").write_text(json.dumps(seen))


main(pathlib.Path(sys.argv[1]))
