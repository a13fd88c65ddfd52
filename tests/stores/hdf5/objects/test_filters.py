"""Values that were compressed by a filter that HDF5 has not: said by its name, by every door."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import h5py
import numpy as np
import pytest

import usidx
from usidx.errors import MissingDependencyError
from usidx.testing import make_main

BITSHUFFLE, UNKNOWN = 32008, 32767


def put(group: h5py.Group, name: str, shape: tuple[int, ...], number: int) -> h5py.Dataset:
    """A dataset whose chunks claim to be compressed by a filter, and are not."""
    created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    created.set_chunk(shape)
    created.set_filter(number, h5py.h5z.FLAG_OPTIONAL, ())
    space = h5py.h5s.create_simple(shape)
    made = h5py.h5d.create(group.id, name.encode(), h5py.h5t.NATIVE_FLOAT, space, created)
    made.write_direct_chunk((0,) * len(shape), bytes(16))
    return h5py.Dataset(made)


@pytest.fixture
def no_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hdf5plugin", None)
    available = h5py.h5z.filter_avail
    monkeypatch.setattr(
        h5py.h5z, "filter_avail", lambda number: number < 32000 and available(number)
    )


@pytest.mark.usefixtures("no_plugins")
@pytest.mark.parametrize(("number", "name"), [(BITSHUFFLE, "Bitshuffle"), (UNKNOWN, "32767")])
def test_every_door_names_the_filter(tmp_path: pathlib.Path, number: int, name: str) -> None:
    with h5py.File(tmp_path / "plain.h5", "w") as file:
        put(file, "data", (3, 4), number)
    with h5py.File(tmp_path / "nexus.h5", "w") as file:
        group = file.create_group("entry")
        group.attrs.update({"NX_class": "NXdata", "signal": "data"})
        put(group, "data", (3, 4), number)
    main = make_main()
    main.usid.to_hspy(tmp_path / "a.hspy")
    with h5py.File(tmp_path / "a.hspy", "r+") as file:
        group = next(iter(file["Experiments"].values()))
        shape = group["data"].shape
        del group["data"]
        put(group, "data", shape, number)
    main.usid.to_h5usid(tmp_path / "usid.h5")
    with h5py.File(tmp_path / "usid.h5", "r+") as file:
        group = file["Measurement_000/Channel_000"]
        old = group["Raw_Data"]
        new = put(group, "new", old.shape, number)
        new.attrs.update(dict(old.attrs))
        del group["Raw_Data"]
        group.move("new", "Raw_Data")
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(MissingDependencyError, match=f"{name}.*pip install hdf5plugin"):
            usidx.open(path).load()


@pytest.mark.usefixtures("no_plugins")
def test_axes_name_the_filter(tmp_path: pathlib.Path) -> None:
    """What is along axes is read when a file is opened, before any of its values."""
    with h5py.File(tmp_path / "plain.h5", "w") as file:
        file["data"] = np.zeros((3, 4))
        scale = put(file, "x", (4,), BITSHUFFLE)
        scale.make_scale("x")
        file["data"].dims[1].attach_scale(scale)
    with h5py.File(tmp_path / "nexus.h5", "w") as file:
        group = file.create_group("entry")
        group.attrs.update({"NX_class": "NXdata", "signal": "data", "axes": ["x"]})
        group["data"] = np.zeros(4)
        put(group, "x", (4,), BITSHUFFLE)
    make_main().usid.to_h5usid(tmp_path / "usid.h5")
    with h5py.File(tmp_path / "usid.h5", "r+") as file:
        group = file["Measurement_000/Channel_000"]
        old = file[group["Raw_Data"].attrs["Position_Values"]]
        new = put(group, "new", old.shape, BITSHUFFLE)
        new.attrs.update(dict(old.attrs))
        group["Raw_Data"].attrs["Position_Values"] = new.ref
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(MissingDependencyError, match="Bitshuffle.*pip install hdf5plugin"):
            usidx.open(path)


def test_plugins_that_are_installed_are_found(tmp_path: pathlib.Path) -> None:
    """In a new process, which has not imported them."""
    plugin = pytest.importorskip("hdf5plugin")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        values = np.arange(6.0).reshape(2, 3)
        file.create_dataset("data", data=values, chunks=(1, 3), **plugin.Bitshuffle())
    code = f"import usidx; print(float(usidx.open({str(tmp_path / 'a.h5')!r}).sum()))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert told.stdout.strip() == "15.0", told.stderr
