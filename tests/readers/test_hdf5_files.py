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
