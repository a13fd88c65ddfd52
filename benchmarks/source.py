"""The files that are worked on."""

from __future__ import annotations

import pathlib

import h5py
import numpy as np

CHUNK = 256  # positions in a compressed chunk: 1 MiB of 1024 float32


def make_file(
    path: pathlib.Path, mib: int, columns: int = 1024, *, compressed: bool = False
) -> None:
    """Write an h5USID file with one Main of `mib` MiB float32 on a square grid.

    Contiguous unless `compressed`: then values have 12 bits, as those of instruments, and are in
    chunks of whole spectra, shuffled and deflated.
    """
    side = max(8, int((mib * 2**20 / 4 / columns) ** 0.5))
    rng = np.random.default_rng(0)
    layout = {"chunks": (CHUNK, columns), "compression": 4, "shuffle": True} if compressed else {}
    with h5py.File(path, "w") as file:
        channel = file.create_group("Measurement_000/Channel_000")
        shape = side * side, columns
        main = channel.create_dataset("Raw_Data", shape, "<f4", **layout)
        for start in range(0, side * side, 1024):
            rows = min(1024, side * side - start)
            values = rng.random((rows, columns), np.float32)
            if compressed:
                slow = np.sin(np.linspace(0, 6, columns, dtype="f4")) + 1
                values = np.round(2048 * slow + 16 * values) / 4096
            main[start : start + rows] = values
        y, x = np.divmod(np.arange(side * side), side)
        sides = {
            "Position": (["Y", "X"], ["um", "um"], np.stack([y, x], 1)),
            "Spectroscopic": (["Frequency"], ["Hz"], np.arange(columns)[None]),
        }
        for name, (labels, units, indices) in sides.items():
            for kind, values, dtype in (
                ("Indices", indices, "u4"),
                ("Values", indices * 0.5, "f4"),
            ):
                ancillary = channel.create_dataset(f"{name}_{kind}", data=values.astype(dtype))
                ancillary.attrs["labels"] = labels
                ancillary.attrs["units"] = units
                main.attrs[f"{name}_{kind}"] = ancillary.ref
        main.attrs["quantity"] = "Amplitude"
        main.attrs["units"] = "V"
