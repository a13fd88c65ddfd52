"""What HyperSpy reads: `python hyperspy_reads.py FOLDER`, in an environment that has it.

Of every .hspy in FOLDER it writes <name>-seen.npy, the values, and <name>-seen.json, the axes and
metadata.
"""

import json
import pathlib
import sys

import hyperspy.api as hs
import numpy as np


def main(folder):
    """Read them all."""
    for path in sorted(folder.glob("*.hspy")):
        for lazy in (False, True):
            signal = hs.load(path, lazy=lazy)
            np.save(path.with_name(f"{path.stem}-seen.npy"), np.asarray(signal.data))
        signal.close_file()
        axes = [
            {
                "name": each.name,
                "units": str(each.units),
                "navigate": bool(each.navigate),
                "values": np.asarray(each.axis).tolist(),
            }
            for each in signal.axes_manager._axes
        ]
        seen = {
            "axes": axes,
            "kind": type(signal).__name__,
            "title": signal.metadata.General.title,
            "quantity": signal.metadata.get_item("Signal.quantity", ""),
        }
        path.with_name(f"{path.stem}-seen.json").write_text(json.dumps(seen))


main(pathlib.Path(sys.argv[1]))
