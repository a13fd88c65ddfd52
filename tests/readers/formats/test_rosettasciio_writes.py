"""What RosettaSciIO writes, read by usidx and by itself: values, types, axes, units and roles."""

from __future__ import annotations

import importlib
import pathlib
from typing import Any

import h5py
import numpy as np
import pytest

import usidx

pytest.importorskip("rsciio", reason="pip install usidx[rosettasciio]")

# Module, ending of a name, shape, how many axes are of the signal, dtypes.
WRITTEN: list[tuple[str, str, tuple[int, ...], int, str]] = [
    ("digitalsurf", ".sur", (5, 6), 2, "i2 i4 f4"),
    ("digitalsurf", ".pro", (7,), 1, "i2 f8"),
    ("digitalsurf", ".sur", (4, 5, 6), 1, "u1 f4"),
    ("msa", ".msa", (7,), 1, "f4"),
    ("emd", ".emd", (4, 5, 6), 1, "u2 f4 c8"),
    ("emd", ".emd", (3, 4, 5, 6), 2, "u1"),
    ("semper", ".unf", (5, 6), 2, "i2 f4"),
    ("semper", ".unf", (4, 5, 6), 1, "f4"),
    ("nexus", ".nxs", (3, 4, 5, 6), 2, "u2 f4"),
    ("nexus", ".nxs", (4, 5, 6), 1, "f8"),
    ("ripple", ".rpl", (4, 5, 6), 1, "u1 >u2 i4 f4 f8"),
    ("ripple", ".rpl", (3, 5, 6), 2, "u2"),
    ("ripple", ".rpl", (5, 6), 2, "f4"),
    ("tvips", "_000.tvips", (3, 4, 5, 6), 2, "u1 u2"),
    ("blockfile", ".blo", (3, 4, 6, 6), 2, "u1"),
]
CASES = [(*row[:4], dtype) for row in WRITTEN for dtype in row[4].split()]
# What usidx knows of files that RosettaSciIO has no word for, or has others.
UNMARKED = ("emd", "tvips", "blockfile")


def signal(shape: tuple[int, ...], n_signal: int, dtype: str) -> dict[str, Any]:
    values = np.random.default_rng(1).integers(0, 99, shape)
    n_navigation = len(shape) - n_signal
    names = ["z", "y", "x"][3 - n_navigation :] + ["ky", "kx"][2 - n_signal :]
    axes = [
        {
            "_type": "UniformDataAxis", "name": name, "size": size, "index_in_array": number,
            "navigate": number < n_navigation, "units": "nm" if number < n_navigation else "cm",
            "scale": 0.5, "offset": -2.0, "is_binned": False,
        }
        for number, (name, size) in enumerate(zip(names, shape, strict=True))
    ]  # fmt: skip
    metadata = {"General": {"title": "Made"}, "Signal": {"signal_type": "", "quantity": "I (nA)"}}
    return {
        "data": (values * (1 + 1j) if dtype.startswith("c") else values).astype(dtype),
        "axes": axes, "metadata": metadata, "original_metadata": {}, "learning_results": {},
        "models": {}, "attributes": {"_lazy": False, "ragged": False},
        "package": "made", "package_version": "1",
    }  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("module", "ending", "shape", "n_signal", "dtype"), CASES)
def test_what_it_writes(
    tmp_path: pathlib.Path,
    module: str,
    ending: str,
    shape: tuple[int, ...],
    n_signal: int,
    dtype: str,
) -> None:
    plugin = importlib.import_module(f"rsciio.{module}")
    path = tmp_path / f"made{ending}"
    options = {"show_progressbar": False} if module in ("tvips", "blockfile") else {}
    made = signal(shape, n_signal, dtype)
    if module == "tvips":  # whose pixels are whole numbers of nm
        for axis in made["axes"][-2:]:
            axis.update(units="nm", scale=2.0, offset=3.0)
    plugin.file_writer(str(path), made, **options)
    theirs = plugin.file_reader(str(path))[0]
    values = np.asarray(theirs["data"])

    opened = usidx.open(path)
    np.testing.assert_array_equal(opened, values.reshape(opened.shape))
    assert opened.dtype == values.dtype.newbyteorder("=")
    if module in UNMARKED:
        return
    for dim, axis in zip(opened.dims, theirs["axes"], strict=True):
        assert dim == axis["name"]
        expected = axis["offset"] + axis["scale"] * np.arange(axis["size"])
        np.testing.assert_allclose(opened[dim], expected, rtol=1e-6)
        assert opened[dim].attrs["units"] == axis["units"]
        assert (dim in opened.usid.position_dims) == axis["navigate"]


def test_how_blocks_were_taken(tmp_path: pathlib.Path) -> None:
    plugin = importlib.import_module("rsciio.blockfile")
    made = signal((2, 3, 4, 4), 2, "u1")
    header = importlib.import_module("rsciio.blockfile._api").get_default_header()
    said = {name: header[name][0] for name in header.dtype.names}
    said |= {"Beam_energy": 200_000, "Camera_length": 1500, "Note": "a note"}
    made["original_metadata"] = {"blockfile_header": said}
    plugin.file_writer(str(tmp_path / "a.blo"), made, show_progressbar=False)
    attrs = usidx.open(tmp_path / "a.blo").attrs
    assert attrs["blo.beam_energy_V"] == 200_000
    assert attrs["blo.camera_length_mm"] == 150.0
    assert attrs["blo.note"] == "a note"


@pytest.mark.parametrize("names", [("Rx", "Ry", "Qx", "Qy"), ("R_x", "R_y", "Q_x", "Q_y")])
def test_real_and_reciprocal_space(tmp_path: pathlib.Path, names: tuple[str, ...]) -> None:
    """What py4DSTEM's releases from 0.14 on write: axes by two values, roles by names."""
    values = np.random.default_rng(2).integers(0, 9, (2, 3, 4, 5)).astype("u2")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs.update(emd_group_type="file", version_major=1, version_minor=0)
        root = file.create_group("datacube_root")
        root.attrs["emd_group_type"] = "root"
        cube = root.create_group("datacube")
        cube.attrs["emd_group_type"] = "array"
        cube["data"] = values
        cube["data"].attrs.update(name="datacube", units="counts")
        for number, name in enumerate(names):
            cube[f"dim{number}"] = [0, 0.25]
            units = "A" if name.startswith("R") else "A^-1"
            cube[f"dim{number}"].attrs.update(name=name, units=units)
    opened = usidx.open(tmp_path / "a.h5")
    np.testing.assert_array_equal(opened, values)
    assert opened.usid.position_dims == names[:2]
    np.testing.assert_array_equal(opened[names[3]], 0.25 * np.arange(5))
