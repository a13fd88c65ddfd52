"""Mains as objects of other libraries; each is tried where it is installed."""

from __future__ import annotations

import importlib.util
import pathlib

import numpy as np
import pytest
import xarray as xr

import usidx
from usidx.errors import MissingDependencyError, OptionError
from usidx.testing import make_main


def stack() -> xr.DataArray:
    values = np.arange(2 * 3 * 4 * 5, dtype="f4").reshape(2, 3, 4, 5)
    made = xr.DataArray(values, dims=("Y", "X", "ky", "kx"), name="frames").chunk({"Y": 1})
    return made.usid.assign_roles(position=["Y", "X"], quantity="Intensity", units="counts")


def test_hyperspy() -> None:
    pytest.importorskip("hyperspy", reason="HyperSpy is not installed")
    main = make_main((4, 5, 16)).chunk()
    signal = main.usid.to_hyperspy()
    assert signal._lazy
    assert [axis.name for axis in signal.axes_manager._axes] == ["Y", "X", "Frequency"]
    assert [axis.navigate for axis in signal.axes_manager._axes] == [True, True, False]
    np.testing.assert_allclose(signal.axes_manager["Frequency"].axis, main["Frequency"])
    np.testing.assert_array_equal(np.asarray(signal.data), main)


def test_sidpy() -> None:
    pytest.importorskip("sidpy", reason="sidpy is not installed")
    made = make_main((4, 5, 16)).usid.to_sidpy()
    assert made.data_type.name == "SPECTRAL_IMAGE"
    assert (made.quantity, made.units) == ("Cantilever Vertical Deflection", "V")
    np.testing.assert_array_equal(np.asarray(made), make_main((4, 5, 16)))


def odd() -> xr.DataArray:
    """Labels and times along axes, and attributes of kinds that HDF5 does not have."""
    labels, times = ["a", "µ"], np.array(["2020", "2021", "2022"], "M8[ns]")
    main = make_main((2, 3, 4)).assign_coords(Y=labels, X=times)
    frequency = ("Frequency", 1j * np.arange(4), {"units": "Hz"})
    main = main.assign_coords(Frequency=frequency, height=2.5)
    main.attrs |= {"day": np.datetime64("2020-01-01"), "large": 2**70}
    return main.usid.assign_roles(position=["Y", "X"], spectroscopic=["Frequency"])


def test_hyperspy_saves_odd_ones(tmp_path: pathlib.Path) -> None:
    pytest.importorskip("hyperspy", reason="HyperSpy is not installed")
    signal = odd().usid.to_hyperspy()
    signal.compute(show_progressbar=False)
    signal.save(tmp_path / "a.hspy")
    back = usidx.open(tmp_path / "a.hspy")
    for name in ("Y", "X", "Frequency", "height"):
        np.testing.assert_array_equal(back[name], odd()[name])
    assert (back.attrs["day"], back.attrs["large"]) == ("2020-01-01", str(2**70))


def test_sidpy_counts_what_is_no_number() -> None:
    pytest.importorskip("sidpy", reason="sidpy is not installed")
    made = odd().usid.to_sidpy()
    for axis, size in enumerate((2, 3, 4)):
        np.testing.assert_array_equal(np.asarray(made._axes[axis]), np.arange(size))
    assert list(made.original_metadata["usid"]["coordinates"]["Y"]["values"]) == ["a", "µ"]


def test_libertem() -> None:
    api = pytest.importorskip("libertem.api", reason="LiberTEM is not installed")
    context = api.Context.make_with("inline")
    dataset = stack().usid.to_libertem(context)
    assert tuple(dataset.shape.nav) == (2, 3)
    found = context.run(context.create_sum_analysis(dataset)).intensity.raw_data
    np.testing.assert_array_equal(found, stack().values.sum((0, 1)))


@pytest.mark.parametrize("name", ["hyperspy", "sidpy", "libertem"])
def test_what_is_missing_is_said(name: str) -> None:
    if importlib.util.find_spec(name) is not None:
        pytest.skip(f"{name} is installed")
    with pytest.raises(MissingDependencyError, match=f"pip install {name}"):
        getattr(make_main().usid, f"to_{name}")()


def test_npy(tmp_path: pathlib.Path) -> None:
    path = stack().usid.to_npy(tmp_path / "a.npy")
    np.testing.assert_array_equal(np.load(path), stack())
    turned = stack().transpose("kx", "X", "Y", "ky")
    path = turned.usid.to_npy(tmp_path / "b.npy")
    np.testing.assert_array_equal(np.load(path), turned.transpose("X", "Y", "kx", "ky"))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.npy", "b.npy"]


def test_npy_refuses_compound_ones(tmp_path: pathlib.Path) -> None:
    with pytest.raises(OptionError, match="compound"):
        xr.Dataset({"a": make_main(), "b": make_main()}).usid.to_npy(tmp_path / "a.npy")


def test_dataframe() -> None:
    main = make_main((2, 3, 4)).assign_coords(T=(("Y", "X"), np.arange(6.0).reshape(2, 3)))
    frame = main.usid.to_dataframe()
    assert list(frame.columns) == ["Y", "X", "Frequency", "T", "Raw_Data"]
    assert frame.attrs["units"] == {"Y": "um", "X": "um", "Frequency": "Hz", "Raw_Data": "V"}
    for y in range(2):
        for x in range(3):
            for f in range(4):
                row = frame.iloc[(y * 3 + x) * 4 + f]
                assert row["Y"] == main["Y"][y]
                assert row["X"] == main["X"][x]
                assert row["Frequency"] == main["Frequency"][f]
                assert row["T"] == y * 3 + x
                assert row["Raw_Data"] == main.values[y, x, f]


def test_dataframe_of_any_order_of_dimensions() -> None:
    main = make_main((2, 3, 4))
    frame = main.transpose("Frequency", "X", "Y").usid.to_dataframe()
    np.testing.assert_array_equal(
        frame["Raw_Data"], main.transpose("X", "Y", "Frequency").values.ravel()
    )


def test_dataframe_of_fields_and_of_too_many_rows() -> None:
    main = make_main((2, 3, 4))
    frame = xr.Dataset({"a": main, "b": 2 * main}).usid.to_dataframe()
    np.testing.assert_array_equal(frame["b"], 2 * frame["a"])
    with pytest.raises(OptionError, match="24 rows"):
        main.usid.to_dataframe(largest=23)
    assert len(main.usid.to_dataframe(largest=None)) == 24
