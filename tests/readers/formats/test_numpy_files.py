"""NumPy's files against NumPy."""

from __future__ import annotations

import pathlib
import zipfile
from typing import Any

import numpy as np
import pytest
import scipy.sparse

import usidx
from usidx.errors import DamagedStoreError, NotUsidError, OptionError, ReadOnlyStoreError, UsidError
from usidx.testing import check_reader


@pytest.mark.parametrize("name", ["c.npy", "f.npy", "be.npy"])
def test_samples(samples: pathlib.Path, name: str) -> None:
    path = samples / "peers" / "numpy" / name
    check_reader(path, np.load(path))


def test_archives(samples: pathlib.Path) -> None:
    path = samples / "peers" / "numpy" / "multi.npz"
    expected = np.load(path)
    assert len(usidx.list_mains(path)) == len(expected.files)
    for name in expected.files:
        check_reader(path, expected[name], name)


def test_archives_that_are_not_compressed(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.npz"
    arrays = {"a": np.arange(24.0).reshape(2, 3, 4), "b": np.asfortranarray(np.eye(3, 5))}
    np.savez(path, **arrays)
    for name, values in arrays.items():
        check_reader(path, values, name)


def test_structured_values_are_compound(samples: pathlib.Path) -> None:
    path = samples / "peers" / "numpy" / "struct.npy"
    values = np.load(path)
    opened = usidx.open(path)
    assert list(opened.data_vars) == list(values.dtype.names)
    for name in values.dtype.names:
        np.testing.assert_array_equal(opened[name], values[name])


def test_axes_as_asked(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((2, 3, 4)))
    opened = usidx.open(path, dims=["Y", "X", "Bias"], n_position=1)
    assert opened.dims == ("Y", "X", "Bias")
    assert opened.usid.position_dims == ("Y",)
    for wrong in ({"dims": ["a"]}, {"n_position": 4}, {"nonsense": 1}):
        with pytest.raises(OptionError):
            usidx.open(path, **wrong)


def test_a_store_of_usid_takes_no_options(tmp_path: pathlib.Path) -> None:
    path = usidx.testing.make_main().usid.to_zarr(tmp_path / "a.zarr")
    with pytest.raises(OptionError, match="takes no options"):
        usidx.open(path, dims=["a"])


def test_objects_are_never_unpickled(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(OptionError, match="Python objects"):
        usidx.open(path)


def test_the_content_decides(tmp_path: pathlib.Path) -> None:
    np.save(tmp_path / "a.npy", np.eye(3))
    (tmp_path / "a.npy").rename(tmp_path / "a.dat")
    np.testing.assert_array_equal(usidx.open(tmp_path / "a.dat"), np.eye(3))
    (tmp_path / "b.npy").write_text("no array")
    with pytest.raises(NotUsidError, match="usidx readers"):
        usidx.open(tmp_path / "b.npy")


def test_results_go_elsewhere(tmp_path: pathlib.Path) -> None:
    values = np.random.default_rng(0).random((4, 5, 6))
    np.save(tmp_path / "a.npy", values)
    opened = usidx.open(tmp_path / "a.npy", n_position=2)
    process = opened.usid.process(usidx.steps.mean, over="dim_2")
    with pytest.raises(ReadOnlyStoreError, match="into="):
        process.run()
    group = process.run(into=tmp_path / "r.zarr")
    np.testing.assert_allclose(group.open(), values.mean(-1))
    assert process.run(into=tmp_path / "r.zarr").path == group.path
    np.save(tmp_path / "a.npy", values + 1)
    again = usidx.open(tmp_path / "a.npy", n_position=2)
    assert again.usid.process(usidx.steps.mean, over="dim_2").existing(tmp_path / "r.zarr") == ()


def test_cut_short(tmp_path: pathlib.Path) -> None:
    np.save(tmp_path / "a.npy", np.eye(300))
    whole = (tmp_path / "a.npy").read_bytes()
    for size in (3, 20, 100, 5000):
        (tmp_path / "b.npy").write_bytes(whole[:size])
        with pytest.raises(UsidError) as raised:
            usidx.open(tmp_path / "b.npy").compute()
        assert size < 128 or isinstance(raised.value, DamagedStoreError)


def test_fields_within_fields_and_fields_that_are_arrays(tmp_path: pathlib.Path) -> None:
    dtype = np.dtype(
        [("å", ">f4"), ("shifts", "i4", (2,)), ("fit", [("x", "f8"), ("m", "u1", (2, 2))])]
    )
    values = np.zeros((5, 4), dtype)
    for name in ("å", "shifts"):
        values[name] = np.random.default_rng(0).integers(0, 99, values[name].shape)
    values["fit"]["m"] = np.arange(80).reshape(5, 4, 2, 2)
    with open(tmp_path / "a.npy", "wb") as file:  # such names need version 3 outside Latin-1
        np.lib.format.write_array(file, values, version=(3, 0))
    opened = usidx.open(tmp_path / "a.npy", n_position=2)
    names = ["å", "shifts_0", "shifts_1", "fit_x"] + [f"fit_m_{i}_{j}" for i in "01" for j in "01"]
    assert list(opened.data_vars) == names
    np.testing.assert_array_equal(opened["å"], values["å"])
    np.testing.assert_array_equal(opened["shifts_1"], values["shifts"][..., 1])
    np.testing.assert_array_equal(opened["fit_m_1_0"], values["fit"]["m"][..., 1, 0])
    again = usidx.open(opened.usid.to_h5usid(tmp_path / "a.h5"))
    np.testing.assert_array_equal(again["fit_m_1_0"], values["fit"]["m"][..., 1, 0])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_lies_beside_arrays(tmp_path: pathlib.Path, save: Any) -> None:
    """Single values are attributes; what is no number is left out, and named."""
    values = np.arange(6.0).reshape(2, 3)
    told = {"operator": np.array({"name": "A"}), "labels": np.array(["a", "b"])}
    single = {"step": 0.5, "title": "T", "units": "nm"}
    save(tmp_path / "a.npz", data=values, none=np.zeros((0, 3)), **single, **told)
    opened = usidx.open(tmp_path / "a.npz")
    np.testing.assert_array_equal(opened, values)
    assert (opened.attrs["step"], opened.attrs["title"]) == (0.5, "T")
    assert opened.attrs["metadata.units"] == "nm"
    assert opened.attrs["left_out"] == ["labels", "none", "operator"]
    save(tmp_path / "b.npz", step=0.5)
    assert float(usidx.open(tmp_path / "b.npz")) == 0.5


def test_archives_with_other_files(tmp_path: pathlib.Path) -> None:
    np.savez(tmp_path / "a.npz", a=np.eye(3))
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
        archive.writestr("readme.txt", "what it is")
    opened = usidx.open(tmp_path / "a.npz")
    np.testing.assert_array_equal(opened, np.eye(3))
    assert opened.attrs["left_out"] == ["readme.txt"]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_flipped_bit_in_an_archive(tmp_path: pathlib.Path, save: Any) -> None:
    values = np.random.default_rng(0).standard_normal((20, 50))
    save(tmp_path / "a.npz", a=values)
    raw = bytearray((tmp_path / "a.npz").read_bytes())
    raw[len(raw) // 2] ^= 1
    (tmp_path / "a.npz").write_bytes(raw)
    with pytest.raises(DamagedStoreError, match="cannot be unpacked"):
        usidx.open(tmp_path / "a.npz").compute()


def test_large_members_are_read_where_they_lie(tmp_path: pathlib.Path, monkeypatch: Any) -> None:
    values = np.arange(600.0).reshape(20, 30)
    np.savez(tmp_path / "a.npz", a=values)
    monkeypatch.setattr("usidx.readers.formats.numpy_files._CHECKED", 1000)
    np.testing.assert_array_equal(usidx.open(tmp_path / "a.npz"), values)
    scan = usidx.open(tmp_path / "a.npz", nav_shape=(4, 5))
    np.testing.assert_array_equal(scan, values.reshape(4, 5, 30))


def test_archives_that_are_refused(tmp_path: pathlib.Path) -> None:
    scipy.sparse.save_npz(tmp_path / "sparse.npz", scipy.sparse.eye(5).tocsr())
    with pytest.raises(NotUsidError, match=r"sparse matrix of SciPy.*toarray"):
        usidx.open(tmp_path / "sparse.npz")
    np.savez_compressed(tmp_path / "a.npz", a=np.arange(1000.0))
    raw = bytearray((tmp_path / "a.npz").read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    (tmp_path / "a.npz").write_bytes(raw)
    with pytest.raises(DamagedStoreError, match="cannot be unpacked"):
        usidx.open(tmp_path / "a.npz").compute()
    np.save(tmp_path / "a.npy", np.zeros((0, 3)))
    with pytest.raises(NotUsidError, match="hold no values"):
        usidx.open(tmp_path / "a.npy")
