"""Values that NumPy has no type for, as text and lists."""

from __future__ import annotations

import pathlib
import pickle
from typing import Any

import h5py
import numpy as np
import pytest

from usidx.errors import SourceChangedError, StoreNotFoundError
from usidx.stores.hdf5 import HDF5Store
from usidx.stores.hdf5.values.plain import is_numeric, plain_equivalent


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "a.h5"


def read(path: pathlib.Path, key: Any = (), name: str = "data") -> Any:
    return HDF5Store(str(path)).dataset(name).array[key]


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (np.array([b"a", b"\xc2\xb5m", b"\xb5m"]), ["a", "µm", "µm"]),
        (["a", "µm", ""], ["a", "µm", ""]),
        ("one text", "one text"),
        (np.array([np.void(b"\x01\xff")] * 2), ["01ff", "01ff"]),
        (h5py.Empty("f4"), None),
    ],
)
def test_text_and_opaque_values(path: pathlib.Path, stored: Any, expected: Any) -> None:
    with h5py.File(path, "w") as file:
        file["data"] = stored
    if expected is None:
        (group,) = HDF5Store(str(path)).contents().groups
        assert group.datasets == ()
        assert group.unread == {"data": "an empty dataset of float32"}
        return
    found = read(path)
    assert found.dtype == object
    assert found.tolist() == expected


def test_references_are_paths_and_what_they_select(path: pathlib.Path) -> None:
    with h5py.File(path, "w") as file:
        file["a/values"] = np.zeros((3, 4))
        gone = file.create_dataset("gone", data=[1])
        file["data"] = np.array([file["a/values"].ref, file["a"].ref, None], h5py.ref_dtype)
        regions = file.create_dataset("regions", (2,), h5py.regionref_dtype)
        regions[0] = file["a/values"].regionref[1:3]
        file["ragged"] = np.array([gone.ref], h5py.ref_dtype)
        del file["gone"], gone
    assert read(path).tolist() == ["/a/values", "/a", "(null reference)"]
    assert read(path, name="regions").tolist() == ["/a/values[1:3, :]", "(null reference)"]
    assert read(path, name="ragged").tolist() == ["(dangling reference)"]


def test_ragged_lists(path: pathlib.Path) -> None:
    with h5py.File(path, "w") as file:
        ragged = file.create_dataset("data", (3,), h5py.vlen_dtype("i4"))
        ragged[0], ragged[1] = [1, 2], [3]
    assert [each.tolist() for each in read(path)] == [[1, 2], [3], []]


def test_compounds_keep_their_fields(path: pathlib.Path) -> None:
    kind = [("a", "f4"), ("text", h5py.string_dtype()), ("v", "i2", (3,)), ("fixed", "S3")]
    with h5py.File(path, "w") as file:
        file.create_dataset("data", (2, 3), np.dtype(kind))
        file["data"][1, 2] = (0.5, "µ", [1, 2, 3], b"ab")
        file["numbers"] = np.zeros((2, 3), [("a", "f4"), ("b", "c8")])
    found = read(path, (slice(1, 2), 2))
    assert found.shape == (1,)
    assert found["a"].tolist() == [0.5]
    assert found["text"].tolist() == ["µ"]
    assert found["v"].tolist() == [[1, 2, 3]]
    assert found["fixed"].tolist() == ["ab"]
    assert read(path, name="numbers").dtype.names == ("a", "b")


def test_values_that_are_arrays_add_axes(path: pathlib.Path) -> None:
    values = np.arange(24, dtype="f4").reshape(4, 2, 3)
    with h5py.File(path, "w") as file:
        file.create_dataset("data", (4,), np.dtype(("f4", (2, 3))))[...] = values
    np.testing.assert_array_equal(read(path), values)
    np.testing.assert_array_equal(read(path, (slice(3, 0, -2), 1)), values[3:0:-2, 1])


@pytest.mark.parametrize(
    "key", [(), (1,), (slice(None), 2), (slice(2, None, -1), slice(0, 4, 2)), (-1, -1)]
)
def test_indexing_is_that_of_numpy(path: pathlib.Path, key: Any) -> None:
    texts = np.array([[f"{row}{column}" for column in range(4)] for row in range(3)], object)
    with h5py.File(path, "w") as file:
        file["data"] = texts.astype("S")
    found = read(path, key)
    expected = texts[key]
    assert found.shape == np.shape(expected)
    assert found.tolist() == (expected.tolist() if np.shape(expected) else expected)


def test_files_may_move_or_change_meanwhile(path: pathlib.Path) -> None:
    with h5py.File(path, "w") as file:
        file["data"] = ["a", "b"]
    array = pickle.loads(pickle.dumps(HDF5Store(str(path)).dataset("data").array))
    assert array[()].tolist() == ["a", "b"]
    with h5py.File(path, "r+") as file:
        del file["data"]
        file["data"] = ["a", "b", "c"]
    with pytest.raises(SourceChangedError, match="no longer that"):
        array[()]
    path.unlink()
    with pytest.raises(StoreNotFoundError):
        array[()]


def test_what_numpy_reads_as_it_is() -> None:
    assert is_numeric(np.dtype("c16"))
    assert is_numeric(np.dtype([("a", "f4", (2,)), ("b", ">i2")]))
    assert not is_numeric(np.dtype([("a", "f4"), ("b", "S2")]))
    assert plain_equivalent(np.dtype("S3")).kind == "O"
    with pytest.raises(TypeError, match="arrays of"):
        plain_equivalent(np.dtype(("S3", (2,))))
