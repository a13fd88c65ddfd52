"""NSID files: what usidx writes comes back, and pyNSID opens it where it is installed."""

from __future__ import annotations

import os
import pathlib
import subprocess
import tempfile

import h5py
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings

import usidx
from usidx.errors import OptionError, StoreExistsError
from usidx.testing import check_reader, mains, make_main

PYNSID = """
import sys, warnings
warnings.simplefilter("ignore")
import h5py, numpy as np
from pyNSID.io.hdf_utils import get_all_main, read_h5py_dataset
with h5py.File(sys.argv[1]) as file:
    (main,) = get_all_main(file)
    made = read_h5py_dataset(main)
    assert made.shape == (4, 5, 16) and np.array_equal(np.asarray(made), main[...])
    print(made.quantity, made.units, made.data_type.name, made.metadata["General"]["authors"])
    for axis in made._axes.values():
        print(axis.name, axis.units, axis.dimension_type.name, float(axis.values[-1]))
"""


def labelled() -> xr.DataArray:
    main = make_main((4, 5, 16)).assign_coords(
        temperature=(("Y", "X"), np.arange(20.0).reshape(4, 5)),
        label=("Frequency", [f"f{number}" for number in range(16)]),
    )
    main["Frequency"] = ("Frequency", np.sin(np.arange(16.0)), main["Frequency"].attrs)
    main.attrs |= {"names": ["a", "b"], "metadata.General.authors": "unknown", "gain": 2.5}
    return main


@given(mains())
@settings(max_examples=20, deadline=None)
def test_everything_comes_back(drawn: xr.DataArray) -> None:
    with tempfile.TemporaryDirectory() as folder:
        # rows may turn out to be a grid
        main = usidx.open(drawn.usid.to_h5usid(f"{folder}/main.h5")).compute()
        back = usidx.open(main.usid.to_nsid(f"{folder}/a.h5")).compute()
    assert (back.dims, back.name) == (main.dims, main.name)
    assert back.dtype == main.dtype.newbyteorder("=")
    np.testing.assert_array_equal(back, main)
    assert back.usid.position_dims == main.usid.position_dims
    assert (back.attrs["quantity"], back.attrs["units"]) == ("Current", "nA")
    for name, coordinate in main.coords.items():
        # counters and the order of rows are of h5USID
        if str(name).endswith("_index") or str(name).startswith("acquisition_order"):
            continue
        np.testing.assert_array_equal(back[name], coordinate)
        assert back[name].attrs.get("units", "") == coordinate.attrs.get("units", "")


def test_labels_text_and_attributes(tmp_path: pathlib.Path) -> None:
    main = labelled()
    path = main.usid.to_nsid(tmp_path / "a.h5", compression="gzip")
    back = usidx.open(path)
    xr.testing.assert_identical(back.drop_attrs(), main.drop_attrs())
    assert back.attrs == main.attrs
    assert back["X"].attrs == main["X"].attrs
    check_reader(path, main.values)
    again = usidx.open(back.usid.to_nsid(tmp_path / "b.h5"))
    xr.testing.assert_identical(again, back)
    with pytest.raises(StoreExistsError):
        main.usid.to_nsid(path)


def test_layout_of_the_file(samples: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """What is in the file, compared with what pyNSID wrote itself."""
    original = samples / "peers" / "pyusid" / "nsid.h5"
    path = usidx.open(original).usid.to_nsid(tmp_path / "a.h5")
    place = "Measurement_000/Channel_000/spec"
    with h5py.File(original) as theirs, h5py.File(path) as ours:
        for name in ("spec", "x", "y", "bias"):
            wanted, found = theirs[place][name], ours[place][name]
            np.testing.assert_array_equal(found[...], wanted[...])
            for key in ("quantity", "units", "main_data_name", "data_type", "modality", "source"):
                assert found.attrs.get(key) == wanted.attrs.get(key)
            assert found.attrs.get("dimension_type") == wanted.attrs.get("dimension_type")
        assert [dim.label for dim in ours[place]["spec"].dims] == ["x", "y", "bias"]
        assert [dim[0].name for dim in ours[place]["spec"].dims] == [
            f"/{place}/{name}" for name in ("x", "y", "bias")
        ]


def test_pynsid_opens_it(tmp_path: pathlib.Path) -> None:
    python = os.environ.get("USIDX_PEERS_PYTHON", "")
    if not python:
        pytest.skip("USIDX_PEERS_PYTHON names no Python with pyNSID")
    main = labelled()
    path = main.usid.to_nsid(tmp_path / "a.h5")
    told = subprocess.run([python, "-c", PYNSID, path], capture_output=True, text=True, check=False)
    assert told.stdout.splitlines() == [
        "Cantilever Vertical Deflection V SPECTRAL_IMAGE unknown",
        "Y um SPATIAL 1.5",
        "X um SPATIAL 2.0",
        f"Frequency Hz SPECTRAL {np.sin(15.0)}",
    ], told.stderr


def test_clouds_of_points(tmp_path: pathlib.Path) -> None:
    """Points are positions, and where they lie are coordinates, as pyNSID writes them."""
    values, places = np.arange(12.0).reshape(3, 4), np.array([[0.5, 1], [2, 3], [5, 4]])
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("Measurement_000/Channel_000/data")
        main = group.create_dataset("data", data=values)
        main.attrs.update(data_type="POINT_CLOUD", main_data_name="d", modality="m", units="V")
        for number, (name, kind) in enumerate((("point", "POINT_CLOUD"), ("E", "SPECTRAL"))):
            scale = group.create_dataset(name, data=np.arange(values.shape[number]))
            scale.attrs.update(name=name, units="eV", quantity=name, dimension_type=kind)
            scale.make_scale(name)
            main.dims[number].attach_scale(scale)
        group.create_group("point_cloud").attrs.update(coordinates=places, spacial_units="nm")
    opened = usidx.open(tmp_path / "a.h5")
    assert opened.usid.position_dims == ("point",)
    np.testing.assert_array_equal(opened, values)
    for number in (0, 1):
        found = opened[f"coordinate_{number}"]
        np.testing.assert_array_equal(found, places[:, number])
        assert (found.dims, found.attrs["units"]) == (("point",), "nm")


def test_text_along_an_axis_and_sides_of_one_cell(tmp_path: pathlib.Path) -> None:
    main = make_main((2, 3, 4))
    text = main.assign_coords(Frequency=("Frequency", list("abcd"), main["Frequency"].attrs))
    back = usidx.open(text.usid.to_nsid(tmp_path / "a.h5"))
    assert back["Frequency"].values.tolist() == list("abcd")
    assert back["Frequency"].attrs["units"] == "Hz"
    for number, part in enumerate((main.isel(X=1), main.isel(Frequency=0, drop=True))):
        back = usidx.open(part.usid.to_nsid(tmp_path / f"{number}.h5"))
        np.testing.assert_array_equal(back, part)
        assert back.usid.position_dims == part.usid.position_dims


def test_trees_and_what_is_refused(tmp_path: pathlib.Path) -> None:
    first, second = make_main((2, 3, 4)), make_main((2, 3, 4)) * 2
    second.attrs = first.attrs
    made = usidx.open_tree(usidx.exporting.to_h5usid([first, second], tmp_path / "a.h5"))
    path = made.usid.to_nsid(tmp_path / "b.h5")
    back = [usidx.open(path, row.path) for row in usidx.list_mains(path)]
    for found, expected in zip(back, (first, second), strict=True):
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(OptionError, match="compound"):
        xr.Dataset({"a": first, "b": second}).usid.to_nsid(tmp_path / "c.h5")
