"""h5USID files by h5py alone, the way pyUSID and its predecessors lay them out."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np

CHANNEL = "Measurement_000/Channel_000"
RAW = f"/{CHANNEL}/Raw_Data"
REFERENCES = (
    "Position_Indices",
    "Position_Values",
    "Spectroscopic_Indices",
    "Spectroscopic_Values",
)


def write_ancillaries(group: h5py.Group, shape: tuple[int, int, int]) -> dict[str, h5py.Dataset]:
    """The four ancillaries of a Y x X x Bias grid, slowest dimension first."""
    rows, columns, points = shape
    y, x = np.divmod(np.arange(rows * columns), columns)
    position, bias = np.stack([y, x], axis=1), np.arange(points)[None]
    made = {}
    for name, indices, labels, units, step in (
        ("Position", position, [b"Y", b"X"], [b"um", b"um"], 0.5),
        ("Spectroscopic", bias, [b"Bias"], [b"V"], 0.25),
    ):
        made[f"{name}_Indices"] = group.create_dataset(f"{name}_Indices", data=indices.astype("u4"))
        values = (indices * step).astype("f4")
        made[f"{name}_Values"] = group.create_dataset(f"{name}_Values", data=values)
        for each in (f"{name}_Indices", f"{name}_Values"):
            made[each].attrs["labels"] = np.array(labels, "S")
            made[each].attrs["units"] = np.array(units, "S")
    return made


def write_main(
    group: h5py.Group,
    name: str = "Raw_Data",
    shape: tuple[int, int, int] = (3, 4, 5),
    like: h5py.Dataset | None = None,
    **options: Any,
) -> h5py.Dataset:
    """A Main over Y x X and Bias whose values are 0, 1, 2, ...; its ancillaries those of `like`."""
    rows, columns, points = shape
    values = np.arange(rows * columns * points, dtype="f4").reshape(rows * columns, points)
    main = group.create_dataset(name, data=values, **options)
    main.attrs.update({"quantity": "Current", "units": "nA"})
    if like is None:
        main.attrs.update({n: a.ref for n, a in write_ancillaries(group, shape).items()})
    else:
        main.attrs.update({each: like.attrs[each] for each in REFERENCES})
    return main


def write_result(
    source: h5py.Dataset,
    group: h5py.Group,
    tool: str | None = "Fit",
    refer: bool = True,
    name: str = "Fit",
    **attrs: Any,
) -> h5py.Dataset:
    """A Main in a result group, which says what it was made by and of unless told not to."""
    if tool is not None:
        group.attrs.update({"tool": tool, "num_source_dsets": 1})
    if refer:
        group.attrs["source_000"] = source.ref
    group.attrs.update({"timestamp": "2024_05_06-07_08_09", **attrs})
    main = group.create_dataset(name, data=np.asarray(source) * 2)
    main.attrs.update({"quantity": "Current", "units": "nA"})
    main.attrs.update({each: source.attrs[each] for each in REFERENCES})
    return main


def channel(file: h5py.File) -> h5py.Group:
    """The first channel of the first measurement, made where it is not there."""
    return file.require_group(CHANNEL)
