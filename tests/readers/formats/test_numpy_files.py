"""NumPy's files against NumPy."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

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
