"""What pyUSID 0.0.12 sees in a file: `python oracle.py FILE FOLDER`, in the pinned environment.

Writes FOLDER/seen.json, and of each Main that pyUSID finds the 2-D form as FOLDER/<number>-rows.npy
and, where pyUSID knows one, the N-D form as FOLDER/<number>.npy.
"""

import json
import pathlib
import sys

import h5py
import numpy as np
import pyUSID
from sidpy.hdf.hdf_utils import get_attr


def dimensions(labels, units_of, values_of):
    """Label, units and values of each dimension."""
    return [
        {"label": label, "units": units_of[label], "values": [float(v) for v in values_of(label)]}
        for label in labels
    ]


def units_by_label(ancillary):
    """Units of each label of an ancillary."""
    return dict(zip(get_attr(ancillary, "labels"), get_attr(ancillary, "units")))


def see_main(main, number, folder):
    """One Main: where it is, its dimensions, and its values in files."""
    np.save(folder / f"{number}-rows.npy", main[()])
    seen = {
        "path": main.name,
        "quantity": get_attr(main, "quantity"),
        "units": get_attr(main, "units"),
        "rows": f"{number}-rows.npy",
        "position_labels": list(main.pos_dim_labels),
        "position_values": main.h5_pos_vals[()].tolist(),
        "types": {
            "position": get_attr(main.h5_pos_inds, "type").tolist(),
            "spectroscopic": get_attr(main.h5_spec_inds, "type").tolist(),
        },
    }
    try:
        values = main.get_n_dim_form()
        sides = {
            "position": dimensions(
                main.pos_dim_labels, units_by_label(main.h5_pos_vals), main.get_pos_values
            ),
            "spectroscopic": dimensions(
                main.spec_dim_labels, units_by_label(main.h5_spec_vals), main.get_spec_values
            ),
        }
    except ValueError:  # no grid to pyUSID, or not one in raster order
        return seen
    np.save(folder / f"{number}.npy", values)
    return {**seen, **sides, "labels": list(main.n_dim_labels), "file": f"{number}.npy"}


def see_group(group):
    """One result group: its attributes that are plain, its source, and how far it is."""
    source = pyUSID.hdf_utils.get_source_dataset(group)
    status = group.get("completed_positions")
    return {
        "path": group.name,
        "source": source.name,
        "attrs": {
            name: value.item() if hasattr(value, "item") and value.ndim == 0 else str(value)
            for name, value in group.attrs.items()
            if not isinstance(value, h5py.Reference)
        },
        "completed": None if status is None else int(status[()].sum()),
        "positions": source.shape[0],
    }


def main():
    """Look at the file and write what is seen."""
    path, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    with h5py.File(path, "r") as file:
        mains = pyUSID.hdf_utils.get_all_main(file)
        groups = []
        for each in mains:
            tools = {
                name[len(each.name.rsplit("/", 1)[-1]) + 1 :].rsplit("_", 1)[0]
                for name in each.parent
                if name.startswith(each.name.rsplit("/", 1)[-1] + "-")
            }
            for tool in sorted(tools):
                groups += pyUSID.hdf_utils.find_results_groups(each, tool)
        seen = {
            "mains": [see_main(each, number, folder) for number, each in enumerate(mains)],
            "groups": [see_group(group) for group in groups],
        }
    (folder / "seen.json").write_text(json.dumps(seen, indent=1))


if __name__ == "__main__":
    main()
