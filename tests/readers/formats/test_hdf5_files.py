"""HDF5 files of sidpy, NeXus and others, against h5py and the hashes of their values."""

from __future__ import annotations

import hashlib
import json
import pathlib

import h5py
import numpy as np
import pytest

import usidx
from usidx.errors import AmbiguousMainError, NotUsidError, OptionError
from usidx.testing import check_reader


def test_nsid(samples: pathlib.Path) -> None:
    path = samples / "peers" / "pyusid" / "nsid.h5"
    opened = usidx.open(path)
    with h5py.File(path) as file:
        expected = file["Measurement_000/Channel_000/spec/spec"][...]
        bias = file["Measurement_000/Channel_000/spec/bias"][...]
    check_reader(path, expected)
    assert (opened.usid.position_dims, opened.usid.spectroscopic_dims) == (("x", "y"), ("bias",))
    assert (opened.attrs["quantity"], opened.attrs["units"]) == ("Current", "nA")
    np.testing.assert_array_equal(opened.bias, bias)
    assert opened.bias.attrs["units"] == "V"


def test_nexus(samples: pathlib.Path) -> None:
    path = samples / "peers" / "silx_fabio" / "nxdata.h5"
    rows = json.loads((samples / "peers" / "MANIFEST.json").read_text())
    facts = next(row for row in rows if row["path"] == "silx_fabio/nxdata.h5")
    opened = usidx.open(path)
    values = np.ascontiguousarray(opened.values)
    assert hashlib.sha256(values.tobytes()).hexdigest() == facts["sha256"]
    for dim, axis in zip(opened.dims, facts["axes"], strict=True):
        assert dim == axis["name"]
        np.testing.assert_allclose(opened[dim], axis["scale"] * np.arange(opened.sizes[dim]))
    check_reader(path, values)
    assert usidx.open(path, n_position=1).usid.position_dims == ("srot",)


def test_nexus_with_interpretations(samples: pathlib.Path) -> None:
    pytest.importorskip("hdf5plugin", reason="its values need the filters of hdf5plugin")
    path = samples / "peers" / "silx_fabio" / "lima.h5"
    with pytest.raises(AmbiguousMainError):
        usidx.open(path)
    opened = usidx.open(path, "entry_0001/instrument/detector/plot")
    with h5py.File(path) as file:
        np.testing.assert_array_equal(opened, file["entry_0001/instrument/detector/data"])
    assert len(opened.usid.spectroscopic_dims) == 2


@pytest.mark.parametrize(
    ("name", "dataset"),
    [("libertem/scan4d.h5", "/entry/data/data"), ("silx_fabio/flatfield_course.h5", "/dark/0000")],
)
def test_any_dataset(samples: pathlib.Path, name: str, dataset: str) -> None:
    path = samples / "peers" / name
    with h5py.File(path) as file:
        expected = file[dataset][...]
    check_reader(path, expected, dataset)
    np.testing.assert_array_equal(usidx.open(path, dataset=dataset), expected)
    with pytest.raises(OptionError, match="no dataset"):
        usidx.open(path, dataset="nothing")


def test_scales_are_axes(tmp_path: pathlib.Path) -> None:
    values = np.random.default_rng(0).random((3, 4))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("in/data", data=values, chunks=(2, 2), compression="gzip")
        data.attrs["units"] = "nA"
        scale = file.create_dataset("in/bias", data=[1.0, 2.0, 4.0, 8.0])
        scale.attrs["units"] = "V"
        scale.make_scale("bias")
        data.dims[1].attach_scale(scale)
        file["text"] = "no numbers"
    opened = usidx.open(tmp_path / "a.h5")
    np.testing.assert_array_equal(opened, values)
    np.testing.assert_array_equal(opened.bias, [1.0, 2.0, 4.0, 8.0])
    assert (opened.attrs["units"], opened.bias.attrs["units"]) == ("nA", "V")
    with pytest.raises(OptionError, match="names 1 axes"):
        usidx.open(tmp_path / "a.h5", dims=["a"])


def nxdata(file: h5py.File, axes: list[str] | None, **fields: object) -> h5py.Group:
    """An NXdata group in an entry with an instrument."""
    entry = file.create_group("entry")
    entry.attrs["NX_class"] = "NXentry"
    entry["instrument/detector/distance"] = 0.25
    entry["instrument/detector/distance"].attrs["units"] = "m"
    entry["sample/name"] = "gold"
    group = entry.create_group("data")
    group.attrs.update({"NX_class": "NXdata", "signal": "signal"})
    if axes is not None:
        group.attrs["axes"] = axes
    for name, values in fields.items():
        group[name] = values
    return group


def test_nexus_fields_of_every_kind(tmp_path: pathlib.Path) -> None:
    values = np.arange(24.0).reshape(4, 6)
    with h5py.File(tmp_path / "a.nxs", "w") as file:
        edges = np.linspace(0, 6, 7)
        group = nxdata(file, ["y", "e"], signal=values, y=np.arange(4), e=edges, place=values)
        group["other"] = values + 1
        group.attrs["place_indices"] = [0, 1]
        group.attrs["auxiliary_signals"] = ["other"]
    opened = usidx.open(tmp_path / "a.nxs", "signal")
    np.testing.assert_array_equal(opened, values)
    np.testing.assert_array_equal(opened.e, np.arange(6) + 0.5)
    np.testing.assert_array_equal(opened.attrs["place"], values)  # along both sides
    opened_2d = usidx.open(tmp_path / "a.nxs", "signal", n_position=2)
    assert opened_2d.place.dims == ("y", "e")
    assert (opened.attrs["instrument.detector.distance"], opened.attrs["sample.name"]) == (
        0.25,
        "gold",
    )
    assert opened.attrs["instrument.detector.distance.units"] == "m"
    np.testing.assert_array_equal(usidx.open(tmp_path / "a.nxs", "other"), values + 1)
    with pytest.raises(OptionError, match="between 0 and 2"):
        usidx.open(tmp_path / "a.nxs", n_position=3)


def test_nexus_of_scattered_points_and_of_old(tmp_path: pathlib.Path) -> None:
    with h5py.File(tmp_path / "a.nxs", "w") as file:
        nxdata(file, ["x", "y"], signal=np.arange(5.0), x=np.arange(5) ** 2, y=np.ones(5))
    opened = usidx.open(tmp_path / "a.nxs")
    assert opened.usid.position_dims == ("point",)
    np.testing.assert_array_equal(opened.x, np.arange(5) ** 2)
    with h5py.File(tmp_path / "b.nxs", "w") as file:
        group = nxdata(file, None, counts=np.ones((3, 4)), tth=np.arange(4), om=np.arange(3) * 2)
        del group.attrs["signal"]
        group["counts"].attrs["signal"] = 1
        group["tth"].attrs["axis"], group["om"].attrs["axis"] = 2, 1
    opened = usidx.open(tmp_path / "b.nxs")
    assert opened.dims == ("om", "tth")
    np.testing.assert_array_equal(opened.om, [0, 2, 4])


@pytest.mark.parametrize("dtype", [">u2", ">f4", ">c16", "?"])
def test_any_byte_order(tmp_path: pathlib.Path, dtype: str) -> None:
    values = np.arange(12).reshape(3, 4).astype(dtype)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = values
    opened = usidx.open(tmp_path / "a.h5")
    assert opened.values.dtype == opened.dtype == values.dtype.newbyteorder("=")
    np.testing.assert_array_equal(opened, values)


def test_nothing_to_read(tmp_path: pathlib.Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["text"] = "no numbers"
    with pytest.raises(NotUsidError, match="without any Main"):
        usidx.open(tmp_path / "a.h5")
