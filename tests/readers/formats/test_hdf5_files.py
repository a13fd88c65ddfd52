"""HDF5 files of sidpy, NeXus and others, against h5py and the hashes of their values."""

from __future__ import annotations

import hashlib
import json
import pathlib
import pickle

import h5py
import numpy as np
import pytest

import usidx
from usidx.errors import (
    AmbiguousMainError,
    NotUsidError,
    OptionError,
    StoreNotFoundError,
    UnsafeStoreError,
)
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
    with pytest.raises(
        NotUsidError, match=r"without a dataset of numbers .*/text \(a single value\)"
    ):
        usidx.open(tmp_path / "a.h5")


def test_nexus_axes_that_are_fewer_or_doubled(tmp_path: pathlib.Path) -> None:
    """Fewer names than axes go to the last ones, or where their fields say."""
    values = np.arange(12.0).reshape(3, 4)
    path = tmp_path / "a.nxs"
    for said in ({}, {"x_indices": 1}):
        with h5py.File(path, "w") as file:
            nxdata(file, ["x"], signal=values, x=np.arange(4) * 0.5).attrs.update(said)
        opened = usidx.open(path)
        assert opened.dims == ("dim_0", "x")
        np.testing.assert_array_equal(opened.x, np.arange(4) * 0.5)
    with h5py.File(path, "w") as file:
        nxdata(file, ["y"], signal=values, y=[1.0, 2, 3])
    np.testing.assert_array_equal(usidx.open(path).y, [1, 2, 3])
    with h5py.File(path, "w") as file:
        group = nxdata(file, None, b=values + 1, a=values, near=[7, 8, 9], om=[1, 2, 3])
        del group.attrs["signal"]
        group["b"].attrs["signal"], group["a"].attrs["signal"] = "2", "1"
        group["near"].attrs.update({"axis": "1", "primary": 2})
        group["om"].attrs["axis"] = "1"
    opened = usidx.open(path, "a")
    np.testing.assert_array_equal(opened, values)
    assert opened.dims == ("om", "dim_1")
    np.testing.assert_array_equal(opened.near, [7, 8, 9])
    np.testing.assert_array_equal(usidx.open(path, "b"), values + 1)


def test_nexus_errors_texts_and_maps(tmp_path: pathlib.Path) -> None:
    values = np.arange(12.0).reshape(3, 4)
    path = tmp_path / "a.nxs"
    texts = np.array(["a", "µ", "c"], object)
    with h5py.File(path, "w") as file:
        group = nxdata(file, ["n", "x"], signal=values, x=np.arange(4), x_errors=np.ones(4))
        group["n"] = texts
        group["signal_errors"] = values / 10
        group["signal"].attrs["units"] = "cps"
        file["entry/title"] = np.bytes_("µ".encode("latin-1"))
    opened = usidx.open(path)  # the errors are a result, and so no second raw Main
    assert (opened.dims, opened.attrs["title"]) == (("n", "x"), "µ")
    assert opened.n_labels.values.tolist() == texts.tolist()
    np.testing.assert_array_equal(opened.x_errors, np.ones(4))
    errors = usidx.open(path, "data_errors")
    assert (errors.attrs["units"], errors.dims) == ("cps", ("n", "x"))
    np.testing.assert_array_equal(errors, values / 10)
    assert usidx.open(opened.usid.to_h5usid(tmp_path / "o.h5")).n_labels.values.tolist() == [
        "a", "µ", "c",
    ]  # fmt: skip
    with h5py.File(path, "w") as file:
        nxdata(file, ["x", "y"], signal=values, x=values + 1, y=values + 2)
    opened = usidx.open(path)
    assert opened.usid.position_dims == ("dim_0", "dim_1")
    np.testing.assert_array_equal(opened.y, values + 2)


def test_files_that_reach_into_others(tmp_path: pathlib.Path) -> None:
    """Values of other files are read where their folder is named, and never by a name of theirs."""
    values = np.arange(24, dtype="i4").reshape(2, 3, 4)
    (tmp_path / "raw").mkdir()
    for number in (0, 1):
        with h5py.File(tmp_path / "raw" / f"{number}.h5", "w") as file:
            file["entry/data/signal"] = values + 100 * number
    with h5py.File(tmp_path / "link.h5", "w") as file:
        group = nxdata(file, None)
        group["signal"] = h5py.ExternalLink("raw/1.h5", "/entry/data/signal")
    with h5py.File(tmp_path / "any.h5", "w") as file:
        file["frames/data_1"] = h5py.ExternalLink("raw/1.h5", "/entry/data/signal")
        file["frames/data_2"] = h5py.SoftLink("/frames/data_1")
    whole = h5py.VirtualLayout((2, 2, 3, 4), "i4")
    for number in (0, 1):
        name = f"raw/{number}.h5"
        whole[number] = h5py.VirtualSource(name, "entry/data/signal", values.shape)
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        file.create_virtual_dataset("all", whole)
    both = np.stack([values, values + 100])
    wanted = {"link.h5": values + 100, "any.h5": values + 100, "virtual.h5": both}
    for name, expected in wanted.items():
        with pytest.raises(UnsafeStoreError, match="allow_external"):
            usidx.open(tmp_path / name)
        opened = usidx.open(tmp_path / name, allow_external=[tmp_path / "raw"])
        np.testing.assert_array_equal(opened, expected)
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(opened)), expected)
        mapped = opened.usid.map(np.sort, over=opened.dims[-1], output=opened.dims[-1])
        into = tmp_path / f"{name}.zarr"
        kept = opened.usid.save(mapped, "Sort", into=into, progress=False)
        np.testing.assert_array_equal(kept.open(), expected)
    (tmp_path / "raw" / "0.h5").unlink()  # HDF5 would show zeros
    with pytest.raises(StoreNotFoundError, match=r"values in .*0\.h5'"):
        usidx.open(tmp_path / "virtual.h5", allow_external=[tmp_path / "raw"])


def test_tables_and_what_is_no_array(tmp_path: pathlib.Path) -> None:
    table = np.array([(1, 2.5), (3, 4.5)], [("n", "i4"), ("v", "f8")])
    named = np.array([(1, b"a")], [("n", "i4"), ("who", "S1")])
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["in/table"], file["named"] = table, named
        file["scale"], file["none"] = 3.5, np.zeros((0, 4))
        file["empty"] = h5py.Empty("f8")
        file["words"] = ["a", "b"]
        file["names"] = np.array([file["named"].ref], h5py.ref_dtype)
    opened = usidx.open(tmp_path / "a.h5")
    assert list(opened) == ["n", "v"]
    assert opened.v.values.ravel().tolist() == [2.5, 4.5]
    again = usidx.open(opened.usid.to_h5usid(tmp_path / "o.h5"))
    assert again.n.values.ravel().tolist() == [1, 3]
    with h5py.File(tmp_path / "a.h5", "a") as file:
        del file["in/table"]
    with pytest.raises(NotUsidError, match="without a dataset of numbers") as refused:
        usidx.open(tmp_path / "a.h5")
    for said in (
        "/named (a table with 'who', which is no column of numbers)",
        "/scale (a single value)",
        "/none (empty)",
        "/empty (empty)",
        "/words (text, references or lists)",
    ):
        assert said in str(refused.value)
    with pytest.raises(OptionError, match=r"no dataset 'words' .*text, references"):
        usidx.open(tmp_path / "a.h5", dataset="words")


def test_names_in_letters_of_western_europe(tmp_path: pathlib.Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("a b\xb5".encode("latin-1"), data=np.arange(3.0))
        file["ü"] = np.arange(4)
    assert usidx.list_mains(tmp_path / "a.h5").paths == ("/a bµ", "/ü")
    np.testing.assert_array_equal(usidx.open(tmp_path / "a.h5", "/a bµ"), np.arange(3))


def test_files_of_matlab(tmp_path: pathlib.Path) -> None:
    """Something comes before what is HDF5; text, and arrays of no size, are no numbers."""
    path = tmp_path / "a.mat"
    values = np.arange(12.0).reshape(4, 3)
    with h5py.File(path, "w", userblock_size=512) as file:
        file["a"] = values
        file["a"].attrs["MATLAB_class"] = np.bytes_("double")
        file["text"] = np.array([[77], [78]], "u2")
        file["text"].attrs["MATLAB_class"] = np.bytes_("char")
        file["nothing"] = np.array([0, 0], "u8")
        file["nothing"].attrs.update({"MATLAB_class": np.bytes_("double"), "MATLAB_empty": 1})
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512))
    assert usidx.list_mains(path).paths == ("/a",)
    check_reader(path, values)


def test_any_dataset_of_a_nexus_file(tmp_path: pathlib.Path) -> None:
    frames = np.arange(24).reshape(2, 3, 4)
    with h5py.File(tmp_path / "a.nxs", "w") as file:
        nxdata(file, ["x"], signal=np.arange(4.0), x=np.arange(4))
        file["entry/instrument/detector/data"] = frames
        file["entry/measurement/detector"] = h5py.SoftLink("/entry/instrument/detector/data")
    assert usidx.list_mains(tmp_path / "a.nxs").paths == ("/entry/data",)
    for name in ("entry/instrument/detector/data", "/entry/measurement/detector"):
        opened = usidx.open(tmp_path / "a.nxs", dataset=name)
        np.testing.assert_array_equal(opened, frames)
    with pytest.raises(OptionError, match="no dataset 'entry/data'"):
        usidx.open(tmp_path / "a.nxs", dataset="entry/data")
    assert (
        "/entry/instrument/detector/data"
        in usidx.list_mains(tmp_path / "a.nxs", reader="hdf5").paths
    )


def test_entries_behind_links(tmp_path: pathlib.Path) -> None:
    """A file of scans, each of which is in a file of its own."""
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        nxdata(file, ["x"], signal=np.arange(4.0), x=np.arange(4) * 2)
    with h5py.File(tmp_path / "all.h5", "w") as file:
        file["1.1"] = h5py.ExternalLink("scan.h5", "/entry")
    opened = usidx.open(tmp_path / "all.h5", reader="nexus", allow_external=[tmp_path])
    np.testing.assert_array_equal(opened, np.arange(4))
    np.testing.assert_array_equal(opened.x, np.arange(4) * 2)
    assert opened.attrs["sample.name"] == "gold"
    with pytest.raises(UnsafeStoreError):
        usidx.open(tmp_path / "all.h5", reader="nexus")
