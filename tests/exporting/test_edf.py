"""EDF files that were written: read back by usidx, and by FabIO."""

from __future__ import annotations

import logging
import pathlib

import numpy as np
import pytest
import xarray as xr

import usidx
from usidx.errors import LayoutError, OptionError, StoreExistsError
from usidx.testing import make_main

fabio = pytest.importorskip("fabio")


@pytest.fixture
def scan(samples: pathlib.Path) -> xr.DataArray:
    found = usidx.open(samples / "instruments" / "silx-training" / "ID16B_diatomee.edf")
    assert isinstance(found, xr.DataArray)
    return found


def test_a_file_comes_back(scan: xr.DataArray, tmp_path: pathlib.Path) -> None:
    path = scan.usid.to_edf(tmp_path / "again.edf")
    again = usidx.open(path)
    np.testing.assert_array_equal(again, scan)
    assert set(again.coords) == set(scan.coords)
    for name in scan.coords:
        np.testing.assert_array_equal(again[name], scan[name])
    for name, value in scan.attrs.items():
        assert again.attrs[name] == value, name


def test_fabio_reads_it(scan: xr.DataArray, tmp_path: pathlib.Path) -> None:
    path = scan.usid.to_edf(tmp_path / "again.edf")
    with fabio.open(path) as image:
        assert image.nframes == 6
        for number in range(6):
            frame = image.getframe(number)
            np.testing.assert_array_equal(frame.data, scan[number])
            names = frame.header["motor_mne"].split()
            values = dict(zip(names, frame.header["motor_pos"].split(), strict=True))
            assert float(values["srot"]) == float(scan.srot[number])
            assert float(values["tablez"]) == 22.7093
            assert frame.header["credit"] == "ESRF - ID16B - Julie Villanova"
            assert int(frame.header["EDF_HeaderSize"]) % 512 == 0


@pytest.mark.parametrize(
    "dtype", ["i1", "u1", "i2", ">u2", "i4", "u4", "i8", "u8", "f4", ">f8", "f2", "?"]
)
def test_types(tmp_path: pathlib.Path, dtype: str) -> None:
    values = (np.arange(2 * 3 * 4) % 2 * 100).reshape(2, 3, 4).astype(dtype)
    made = xr.DataArray(values, dims=("n", "v", "u")).usid.assign_roles(["n"])
    path = made.usid.to_edf(tmp_path / "a.edf")
    again = usidx.open(path)
    np.testing.assert_array_equal(again, values)
    with fabio.open(path) as image:
        np.testing.assert_array_equal(image.getframe(1).data, values[1])
        assert image.getframe(1).data.dtype == again.dtype


def test_spectra_of_a_map(tmp_path: pathlib.Path) -> None:
    made = make_main((3, 4, 16), chunks={"Y": 2, "X": 3})
    path = made.usid.to_edf(tmp_path / "a.edf")
    again = usidx.open(path)
    np.testing.assert_array_equal(again.values.reshape(3, 4, 16), made)
    np.testing.assert_array_equal(again.Y.values.reshape(3, 4)[:, 0], made.Y)
    np.testing.assert_array_equal(again.X.values.reshape(3, 4)[0], made.X)
    assert (again.attrs["quantity"], again.attrs["units"]) == (made.usid.quantity, "V")


def test_a_map_is_an_image(tmp_path: pathlib.Path) -> None:
    made = make_main((3, 4, 16)).max("Frequency", keep_attrs=True)
    again = usidx.open(made.usid.to_edf(tmp_path / "a.edf"))
    np.testing.assert_array_equal(again, made)
    np.testing.assert_allclose(again.u, made.X * 1e-6)
    assert again.u.attrs["units"] == "m"


def test_what_a_header_cannot_hold(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = make_main((2, 2, 4)).assign_attrs(note="a;b", table={"a": 1}, Dim_1=7, ok="Å")
    with caplog.at_level(logging.WARNING, "usidx"):
        again = usidx.open(made.usid.to_edf(tmp_path / "a.edf"))
    assert "left out: note, table" in caplog.text
    assert again.shape == (4, 4)
    assert again.attrs["ok"] == "Å"


def test_what_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(OptionError, match="no type for values of complex64"):
        make_main(dtype="c8").usid.to_edf(tmp_path / "a.edf")
    four = xr.DataArray(np.zeros((2, 2, 2, 2)), dims=tuple("abcd")).usid.assign_roles(
        [], list("abcd")
    )
    with pytest.raises(LayoutError, match="one to three axes"):
        four.usid.to_edf(tmp_path / "a.edf")
    assert not list(tmp_path.iterdir())
    made = make_main()
    made.usid.to_edf(tmp_path / "a.edf")
    with pytest.raises(StoreExistsError):
        made.usid.to_edf(tmp_path / "a.edf")
    made.usid.to_edf(tmp_path / "a.edf", overwrite=True)
