"""Nothing that is in a file is out of reach."""

from __future__ import annotations

import pathlib

import h5py
import numpy as np
import pytest

from tests.h5usid import CHANNEL, RAW, channel, write_main, write_result
from usidx.errors import InvalidMainError, MainNotFoundError
from usidx.stores.hdf5 import HDF5Store


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "a.h5"


def test_groups_with_what_is_no_main(path: pathlib.Path) -> None:
    with h5py.File(path, "w") as file:
        file.attrs["project"] = "films"
        group = channel(file)
        group.attrs["gain"] = 3.5
        raw = write_main(group)
        group["UDVS"] = np.arange(14, dtype="f4").reshape(2, 7)
        group["UDVS"].attrs["units"] = "V"
        group["volume"] = np.arange(24).reshape(2, 3, 4)
        group["scalar"] = 7
        result = write_result(raw, group.create_group("Raw_Data-Fit_000"))
        result.parent["completed_positions"] = np.ones(12, "u1")
        file["Raw_Measurement/log"] = "started"
    store = HDF5Store(str(path))
    contents = store.contents()
    groups = {each.path: each for each in contents.groups}
    assert list(groups) == [
        "/",
        "/Measurement_000",
        f"/{CHANNEL}",
        f"/{CHANNEL}/Raw_Data-Fit_000",
        "/Raw_Measurement",
    ]
    assert groups["/"].attrs == {"project": "films"}
    assert groups[f"/{CHANNEL}"].attrs == {"gain": 3.5}
    found = {each.name: each for each in groups[f"/{CHANNEL}"].datasets}
    assert set(found) == {"UDVS", "volume", "scalar"}
    assert found["UDVS"].attrs == {"units": "V"}
    assert found["volume"].array[1, :, ::2].tolist() == [[12, 14], [16, 18], [20, 22]]
    assert found["scalar"].array[()] == 7
    (marks,) = groups[f"/{CHANNEL}/Raw_Data-Fit_000"].datasets
    assert marks.name == "completed_positions"
    assert [each.spec.path for each in contents.mains] == [RAW, f"{RAW}-Fit_000/Fit"]
    first, second = contents.mains
    assert first.spec.position is second.spec.position
    assert second.result is not None
    assert second.result.tool == "Fit"
    assert store.attrs(f"/{CHANNEL}") == {"gain": 3.5}
    with pytest.raises(MainNotFoundError, match="nothing"):
        store.attrs("/nothing")
    with pytest.raises(MainNotFoundError, match=r"no dataset.*did you mean.*UDVS"):
        store.dataset(f"/{CHANNEL}/UDV")


def test_ancillaries_are_shown_where_asked_for_or_where_no_main_has_them(
    path: pathlib.Path,
) -> None:
    with h5py.File(path, "w") as file:
        write_main(channel(file))
        broken = write_main(file.create_group("Measurement_001/Channel_000"))
        del broken.attrs["quantity"]
    store = HDF5Store(str(path))
    shown = [each.path for group in store.contents().groups for each in group.datasets]
    assert len(shown) == 5
    assert all(each.startswith("/Measurement_001/") for each in shown)
    assert isinstance(store.contents().refused["/Measurement_001/Channel_000/Raw_Data"], Exception)
    everything = [each.path for group in store.contents(True).groups for each in group.datasets]
    assert len(everything) == 9
    with pytest.raises(InvalidMainError, match="quantity"):
        raise store.contents().refused["/Measurement_001/Channel_000/Raw_Data"]


def test_links_and_what_no_array_can_hold_are_told(path: pathlib.Path) -> None:
    with h5py.File(path, "w") as file:
        write_main(channel(file))
        file["soft"] = h5py.SoftLink(RAW)
        file["broken"] = h5py.SoftLink("/nowhere")
        file["zz_again"] = file[CHANNEL]
        file["type"] = np.dtype("f4")
        file["nothing"] = h5py.Empty("S3")
        time = h5py.h5s.create_simple((2,))
        h5py.h5d.create(file.id, b"time", h5py.h5t.UNIX_D32LE, time)
    root = HDF5Store(str(path)).contents().groups[0]
    assert root.links == {
        "soft": RAW,
        "broken": "/nowhere (nothing is there)",
        "zz_again": f"/{CHANNEL}",
    }
    assert root.unread["type"] == "a named datatype, float32"
    assert root.unread["nothing"].startswith("an empty dataset of")
    assert "NumPy has no type" in root.unread["time"]


def test_scales_and_labels_of_axes(path: pathlib.Path) -> None:
    with h5py.File(path, "w") as file:
        file["wavelength"] = np.linspace(400, 700, 5)
        file["wavelength"].make_scale("wavelength")
        file["short"] = np.zeros(2)
        file["short"].make_scale()
        file["phony"] = np.zeros(4)
        file["phony"].make_scale("This is a netCDF dimension but not a netCDF variable.         4")
        file["spectra"] = np.zeros((3, 4, 5))
        dims = file["spectra"].dims
        dims[0].label = "time"
        dims[0].attach_scale(file["short"])
        dims[1].attach_scale(file["phony"])
        dims[2].attach_scale(file["wavelength"])
    (group,) = HDF5Store(str(path)).contents().groups
    found = {each.name: each for each in group.datasets}
    assert found["spectra"].labels == ("time", "", "")
    assert found["spectra"].scales == ("", "", "/wavelength")
    assert found["wavelength"].scales == ("/wavelength",)
    assert "DIMENSION_LIST" not in found["spectra"].attrs


def test_enums_keep_their_names(path: pathlib.Path) -> None:
    with h5py.File(path, "w") as file:
        kind = h5py.enum_dtype({"OFF": 0, "ON": 5}, "u1")
        file.create_dataset("state", data=np.array([0, 5], "u1"), dtype=kind)
        file["flags"] = np.array([True, False])
    (group,) = HDF5Store(str(path)).contents().groups
    found = {each.name: each for each in group.datasets}
    assert found["state"].array[()].tolist() == [0, 5]
    assert found["state"].attrs["flag_meanings"] == "OFF ON"
    assert found["state"].attrs["flag_values"].tolist() == [0, 5]
    assert found["flags"].attrs == {}
    assert found["flags"].array.dtype == bool


def test_each_main_is_as_if_it_was_opened_alone(samples: pathlib.Path) -> None:
    for name in ("real/Signal_SI__df40204b.h5", "pyusid/29_bglib_fitter_status_names.h5"):
        store = HDF5Store(str(samples / "h5usid" / name))
        for together in store.contents().mains:
            alone = store.open_main(together.spec.path)
            assert (alone.identity, alone.chunks) == (together.identity, together.chunks)
            assert alone.spec.position == together.spec.position
            assert alone.spec.spectroscopic == together.spec.spectroscopic
            assert (alone.result is None) == (together.result is None)
            assert (alone.completed is None) == (together.completed is None)
            assert dict(alone.spec.attrs).keys() == dict(together.spec.attrs).keys()


def test_values_of_every_storage(path: pathlib.Path) -> None:
    values = np.random.default_rng(0).standard_normal((6, 5, 4))
    with h5py.File(path, "w") as file:
        file.create_dataset("contiguous", data=values)
        file.create_dataset("big", data=values.astype(">f4"))
        file.create_dataset("packed", data=values, chunks=(2, 5, 3), compression="gzip")
        file.create_dataset("checked", data=values, chunks=(4, 2, 2), fletcher32=True)
        file.create_dataset("growing", data=values, maxshape=(None, 5, None))
        file.create_dataset("unwritten", (6, 5, 4), "f8")
    (group,) = HDF5Store(str(path)).contents().groups
    for each in group.datasets:
        with h5py.File(path) as file:
            expected = file[each.path][()]
        for key in ((), (slice(1, 5), 3), (slice(None, None, -2), slice(1, 4), slice(0, 4, 3))):
            np.testing.assert_array_equal(each.array[key], expected[key])
