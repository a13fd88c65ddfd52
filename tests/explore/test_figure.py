"""What an explorer draws, and what clicks, drags and keys do to it."""

from __future__ import annotations

import pathlib
import sys
from typing import Any

import dask.array
import h5py
import numpy as np
import pytest
import xarray as xr

import usidx
from usidx.errors import (
    LayoutError,
    MissingDependencyError,
    OptionError,
    SourceChangedError,
    StoreExistsError,
)
from usidx.explore import linked
from usidx.explore.figure import Explorer, explore
from usidx.testing import make_main
from usidx.testing.measuring import spending

mpl = pytest.importorskip("matplotlib")

RNG = np.random.default_rng(5)


@pytest.fixture(autouse=True)
def on_paper() -> Any:
    """No window, whatever the machine has."""
    with mpl.rc_context():
        mpl.use("agg")
        yield


def send(
    shown: Explorer, event: str, axes: Any, x: float, y: float | None, button: int | None = 1
) -> None:
    """What a window does with the mouse at a place in the units of the axes; y may be left open."""
    from matplotlib.backend_bases import MouseEvent

    canvas = shown.figure.canvas
    axes.apply_aspect()
    at = axes.transData.transform((x, np.mean(axes.get_ylim()) if y is None else y))
    canvas.callbacks.process(event, MouseEvent(event, canvas, *at, button=button))


def click(shown: Explorer, panel: int, x: float, y: float | None = None) -> None:
    """A click in the first or second panel."""
    axes = shown.figure.axes[panel]
    send(shown, "button_press_event", axes, x, y)
    send(shown, "button_release_event", axes, x, y)


def press(shown: Explorer, key: str) -> None:
    """A key."""
    from matplotlib.backend_bases import KeyEvent

    canvas = shown.figure.canvas
    canvas.callbacks.process("key_press_event", KeyEvent("key_press_event", canvas, key))


def line(shown: Explorer, panel: int) -> Any:
    return shown.figure.axes[panel].lines[0].get_ydata()


def image(shown: Explorer, panel: int) -> Any:
    return shown.figure.axes[panel].images[0].get_array()


class Counting:
    """An array that notes how many values are asked of it."""

    def __init__(self, values: Any) -> None:
        self.values, self.shape, self.dtype, self.ndim = values, values.shape, values.dtype, 3
        self.asked: list[int] = []

    def __getitem__(self, key: Any) -> Any:
        found = self.values[key]
        self.asked.append(found.size)
        return found


def test_a_click_in_the_map_shows_the_spectrum_there() -> None:
    da = make_main((6, 8, 32))
    shown = da.usid.explore()
    # in mV, as labels say; the mean over Frequency to begin with
    np.testing.assert_allclose(image(shown, 0), da.mean("Frequency").values * 1e3, rtol=1e-5)
    click(shown, 0, 1.4, 0.33)
    y, x = (int(np.argmin(np.abs(da[d].values - at))) for d, at in (("Y", 0.33), ("X", 1.4)))
    np.testing.assert_allclose(line(shown, 1), da.values[y, x] * 1e3, rtol=1e-6)
    assert shown.selection["Y"] == da.Y.values[y]
    assert shown.spectrum is not None
    np.testing.assert_array_equal(shown.spectrum.values, da.values[y, x])
    assert shown.spectrum.units == da.units
    spectrum = shown.figure.axes[1]
    assert spectrum.get_title(loc="left") == "At Y 0.3 µm, X 1.429 µm"
    assert spectrum.get_xlabel() == "Frequency (kHz)"
    assert spectrum.get_ylabel() == "Cantilever Vertical Deflection (mV)"
    assert shown.figure.axes[0].get_xlabel() == "X (µm)"
    assert shown.figure.axes[0].get_ylabel() == "Y (µm)"
    assert shown.figure.axes[0].get_aspect() == 1.0
    assert shown.figure.get_suptitle() == "Raw_Data: Cantilever Vertical Deflection"


def test_a_click_in_the_spectrum_shows_the_map_there_and_marks_it() -> None:
    da = make_main((6, 8, 32))
    shown = explore(da)
    marker = shown.figure.axes[1].lines[1]
    assert not marker.get_visible()
    click(shown, 1, 330.0)
    number = int(np.argmin(np.abs(da.Frequency.values - 330e3)))
    factor = image(shown, 0) / da.values[:, :, number]
    np.testing.assert_allclose(factor, factor[0, 0], rtol=1e-5)
    assert shown.map is not None
    np.testing.assert_array_equal(shown.map.values, da.values[:, :, number])
    assert marker.get_visible()
    assert marker.get_xdata()[0] == pytest.approx(da.Frequency.values[number] / 1e3)
    assert shown.figure.axes[0].get_title(loc="left") == "At Frequency 330.5 kHz"


def test_dragging_follows_and_moving_without_a_button_does_not() -> None:
    da = make_main((6, 8, 32))
    shown = explore(da)
    axes = shown.figure.axes[1]
    send(shown, "motion_notify_event", axes, 340.0, None, button=None)
    assert shown.selection["Frequency"] == da.Frequency.values[16]
    send(shown, "button_press_event", axes, 310.0, None)
    send(shown, "motion_notify_event", axes, 340.0, None, button=None)
    assert shown.selection["Frequency"] == float(
        da.Frequency.sel(Frequency=340e3, method="nearest")
    )
    send(shown, "button_release_event", axes, 340.0, None)
    send(shown, "motion_notify_event", axes, 305.0, None, button=None)
    send(shown, "button_press_event", axes, 305.0, None, button=3)
    assert shown.selection["Frequency"] == float(
        da.Frequency.sel(Frequency=340e3, method="nearest")
    )


def test_frames_and_maps_answer_each_other() -> None:
    axes = [
        [usidx.Dimension(name, "nm", np.arange(count) * 1.0) for name, count in side]
        for side in ((("Y", 4), ("X", 6)), (("ky", 8), ("kx", 10)))
    ]
    values = RNG.random((4, 6, 8, 10))
    da = usidx.from_array(values, "I", "counts", position=axes[0], spectroscopic=axes[1])
    shown = explore(da)
    np.testing.assert_allclose(image(shown, 0), values.mean((2, 3)))
    click(shown, 0, 5.2, 1.1)
    np.testing.assert_allclose(image(shown, 1), values[1, 5])
    click(shown, 1, 2.4, 7.3)
    np.testing.assert_allclose(image(shown, 0), values[:, :, 7, 2])
    assert shown.selection == {"Y": 1.0, "X": 5.0, "ky": 7.0, "kx": 2.0}


def test_what_is_drawn_nowhere_has_a_slider() -> None:
    axes = [
        [usidx.Dimension(name, "V", np.arange(count) * 0.5) for name, count in side]
        for side in ((("Z", 3), ("Y", 4), ("X", 6)), (("Cycle", 2), ("Bias", 8), ("F", 10)))
    ]
    values = RNG.random((3, 4, 6, 2, 8, 10))
    da = usidx.from_array(values, "I", "counts", position=axes[0], spectroscopic=axes[1])
    shown = explore(da, at={"Y": 1, "X": 1})
    sliders = shown.sliders
    assert list(sliders) == ["Z", "Cycle"]
    np.testing.assert_allclose(image(shown, 0), values[1, :, :, 1].mean((2, 3)))
    sliders["Z"].set_val(2)
    sliders["Cycle"].set_val(0)
    np.testing.assert_allclose(image(shown, 0), values[2, :, :, 0].mean((2, 3)))
    np.testing.assert_allclose(image(shown, 1), values[2, 2, 2, 0])
    assert sliders["Z"].valtext.get_text() == "1 V"
    shown.select(Z=0.0)
    assert sliders["Z"].val == 0
    np.testing.assert_allclose(image(shown, 1), values[0, 2, 2, 0])


def test_a_line_of_spectra_is_an_image_of_position_by_spectrum() -> None:
    da = make_main((1, 12, 20))
    shown = explore(da)
    np.testing.assert_allclose(image(shown, 0), da.values[0] * 1e3, rtol=1e-5)
    click(shown, 0, 330.0, 1.6)
    assert shown.selection["X"] == float(da.X.sel(X=1.6, method="nearest"))
    np.testing.assert_allclose(
        line(shown, 1), da.sel(X=1.6, method="nearest").values[0] * 1e3, rtol=1e-5
    )


def test_a_line_that_is_large_is_a_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linked, "SMALL", 100)
    da = make_main((1, 12, 20))
    shown = explore(da, at={"Frequency": 330e3})
    expected = da.sel(Frequency=330e3, method="nearest").values[0]
    ratio = line(shown, 0) / expected
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-5)
    click(shown, 0, 1.6)
    assert shown.selection["X"] == float(da.X.sel(X=1.6, method="nearest"))


def test_an_image_and_a_single_spectrum_have_one_panel() -> None:
    image_only = explore(make_main((6, 8, 1)))
    assert image_only.spectrum is None
    click(image_only, 0, 1.4, 0.33)
    words = image_only.figure.axes[0].get_title(loc="left")
    value = make_main((6, 8, 1)).values[1, 5, 0]
    assert words.startswith("Y 0.3 µm, X 1.429 µm: ")
    assert float(words.split()[-2]) == pytest.approx(value * 1e3, rel=1e-3)
    assert image_only.figure.axes[0].format_coord(1.4, 0.33) == words
    spectrum_only = explore(make_main((1, 1, 20)))
    assert spectrum_only.map is None
    np.testing.assert_allclose(line(spectrum_only, 0), make_main((1, 1, 20)).values[0, 0] * 1e3)
    click(spectrum_only, 0, 330.0)
    assert spectrum_only.figure.axes[0].get_title(loc="left").startswith("Frequency 330.8 kHz: ")


def test_positions_that_lie_anywhere_are_points() -> None:
    places = RNG.random((2, 40))
    da = xr.DataArray(
        RNG.random((40, 9)),
        dims=("position", "F"),
        coords={"X": ("position", places[0]), "Y": ("position", places[1])},
        attrs={"units": "counts"},
    ).usid.assign_roles(["position"], ["F"])
    shown = explore(da)
    points = shown.figure.axes[0].collections[0]
    np.testing.assert_allclose(points.get_offsets(), places.T)
    np.testing.assert_allclose(points.get_array(), da.mean("F"))
    click(shown, 0, *places[:, 17])
    np.testing.assert_allclose(line(shown, 1), da.values[17])
    shown.select(X=places[0, 3], Y=places[1, 3])
    np.testing.assert_allclose(line(shown, 1), da.values[3])
    assert shown.selection["X"] == places[0, 3]


def test_what_is_missing_of_a_raster_is_grey(samples: pathlib.Path) -> None:
    da = usidx.open(samples / "h5usid/pyusid/12_incomplete_raster_h5py.h5")
    shown = explore(da)
    drawn = image(shown, 0)
    assert drawn.shape == (3, 5)
    assert int(np.ma.getmaskarray(drawn).sum()) == 2
    mean = da.mean(("Bias", "Frequency")).values
    factor = float(drawn.compressed()[0] / mean[0])
    np.testing.assert_allclose(np.sort(drawn.compressed()), np.sort(mean) * factor, rtol=1e-5)
    # each in its place, by the coordinates of the points
    for number in range(da.sizes["position"]):
        row = np.unique(da.Y.values).tolist().index(da.Y.values[number])
        column = np.unique(da.X.values).tolist().index(da.X.values[number])
        assert drawn[row, column] == pytest.approx(mean[number] * factor, rel=1e-5)
    colour = shown.figure.axes[0].images[0].get_cmap().get_bad()
    assert colour[0] == pytest.approx(colour[2], abs=0.06)
    click(shown, 0, float(da.X.values[4]), float(da.Y.values[4]))
    np.testing.assert_array_equal(shown.spectrum, da.values[4])


def test_steps_that_are_not_even_are_drawn_where_they_are() -> None:
    x = np.array([0.0, 1.0, 3.0, 9.0])
    axes = [usidx.Dimension("Y", "nm", np.arange(3.0)), usidx.Dimension("X", "nm", x)]
    values = RNG.random((3, 4, 5))
    spectral = [usidx.Dimension("F", "Hz", np.arange(5.0))]
    da = usidx.from_array(values, "I", "counts", position=axes, spectroscopic=spectral)
    shown = explore(da)
    mesh = shown.figure.axes[0].collections[0]
    np.testing.assert_allclose(mesh.get_coordinates()[0, :, 0], [-0.5, 0.5, 2.0, 6.0, 12.0])
    np.testing.assert_allclose(np.ravel(mesh.get_array()), values.mean(2).ravel())
    click(shown, 0, 5.0, 2.0)
    assert shown.selection["X"] == 3.0
    click(shown, 0, 6.5, 2.0)
    np.testing.assert_allclose(line(shown, 1), values[2, 3])


def test_axes_of_the_same_units_are_drawn_in_the_same() -> None:
    axes = [
        usidx.Dimension("Y", "m", np.arange(3) * 1e-6),
        usidx.Dimension("X", "m", np.arange(9) * 1e-7),
    ]
    spectral = [usidx.Dimension("F", "Hz", np.arange(5.0))]
    da = usidx.from_array(
        RNG.random((3, 9, 5)), "I", "counts", position=axes, spectroscopic=spectral
    )
    drawn = explore(da).figure.axes[0]
    assert (drawn.get_xlabel(), drawn.get_ylabel()) == ("X (µm)", "Y (µm)")
    assert drawn.get_aspect() == 1.0
    np.testing.assert_allclose(drawn.images[0].get_extent(), (-0.05, 0.85, -0.5, 2.5))


def test_descending_labels_and_rows_from_the_top() -> None:
    da = make_main((6, 8, 32)).isel(Y=slice(None, None, -1))
    shown = explore(da)
    click(shown, 0, 1.4, 1.2)
    assert shown.selection["Y"] == 1.2
    np.testing.assert_allclose(line(shown, 1), da.sel(Y=1.2).values[5] * 1e3, rtol=1e-5)
    low, high = explore(make_main((6, 8, 32)), upper=True).figure.axes[0].get_ylim()
    assert low > high


def test_complex_values_by_key_and_by_name() -> None:
    da = make_main((6, 8, 32), dtype="complex64")
    shown = explore(da, at={"Y": 0.6, "X": 0.0, "Frequency": 320e3})
    spectrum = da.values[2, 0]
    np.testing.assert_allclose(shown.spectrum, np.abs(spectrum), rtol=1e-6)
    press(shown, "m")
    np.testing.assert_allclose(line(shown, 1), np.degrees(np.angle(spectrum)), rtol=1e-4)
    assert shown.figure.axes[1].get_ylabel().endswith(", phase (°)")
    assert shown.figure.axes[0].images[0].get_clim() == (-180, 180)
    press(shown, "m")
    np.testing.assert_allclose(shown.spectrum, spectrum.real)
    press(shown, "m")
    np.testing.assert_allclose(shown.spectrum, spectrum.imag)
    number = int(np.argmin(np.abs(da.Frequency.values - 320e3)))
    np.testing.assert_allclose(shown.map, da.values[:, :, number].imag)
    again = explore(da, component="phase", at={"Frequency": 320e3})
    np.testing.assert_allclose(again.map, np.degrees(np.angle(da.values[:, :, number])), rtol=1e-4)


def test_keys_step_and_turn_to_decades() -> None:
    da = make_main((6, 8, 32))
    shown = explore(da, at={"Y": 0.0, "X": 0.0, "Frequency": da.Frequency.values[3]})
    for key in ("shift+up", "shift+right", "shift+right", "shift+left", ".", ".", ","):
        press(shown, key)
    assert shown.selection == {dim: da[dim].values[n] for dim, n in zip(da.dims, (1, 1, 4))}
    for _ in range(3):
        press(shown, "shift+down")
    assert shown.selection["Y"] == 0.0
    press(shown, "d")
    assert shown.figure.axes[1].get_yscale() == "log"
    from matplotlib.colors import LogNorm

    assert isinstance(shown.figure.axes[0].images[0].norm, LogNorm)
    press(shown, "d")
    assert shown.figure.axes[1].get_yscale() == "linear"
    press(shown, "m")  # nothing to go on to: the values are real
    np.testing.assert_array_equal(shown.spectrum, da.values[0, 1])


def test_decades_of_what_is_nowhere_above_zero_are_drawn_as_ever() -> None:
    da = -make_main((6, 8, 32)) - 1
    shown = explore(da, log=True, at={"Y": 0.0, "X": 0.0})
    assert shown.figure.axes[1].get_yscale() == "linear"
    shown.figure.canvas.draw()


def test_the_form_of_the_file_is_folded_where_it_is_drawn(tmp_path: pathlib.Path) -> None:
    da = make_main((6, 8, 32))
    da.usid.to_h5usid(str(tmp_path / "scan.h5"))
    shown = usidx.open(tmp_path / "scan.h5", form="2d").usid.explore()
    np.testing.assert_allclose(image(shown, 0), da.mean("Frequency").values * 1e3, rtol=1e-5)
    shown.select(X=da.X.values[2], Y=da.Y.values[4], Frequency=330e3)
    np.testing.assert_allclose(line(shown, 1), da.values[4, 2] * 1e3, rtol=1e-6)
    assert shown.figure.axes[0].get_title(loc="left") == "At Frequency 330.5 kHz"


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, -1.0])
@pytest.mark.parametrize("log", [False, True])
def test_values_that_say_nothing_are_drawn(value: float, log: bool) -> None:
    da = make_main((4, 5, 8)).copy(data=np.full((4, 5, 8), value, "f4"))
    shown = explore(da, log=log)
    shown.select(Frequency=310e3)
    shown.figure.canvas.draw()
    assert (
        shown.figure.axes[0].images[0].get_clim()[1] > shown.figure.axes[0].images[0].get_clim()[0]
    )


def test_a_compound_main_and_its_fields(samples: pathlib.Path) -> None:
    ds = usidx.open(samples / "h5usid/pyusid/07_compound_sho_V20.h5")
    first = str(next(iter(ds.data_vars)))
    shown = ds.usid.explore(at={"Bias": 0.0})
    assert shown.figure.get_suptitle() == first
    np.testing.assert_array_equal(shown.map, ds[first].isel(Bias=0))
    other = str(list(ds.data_vars)[1])
    assert ds.usid.explore(field=other).map.name == other


def test_nothing_but_a_spectrum_or_a_map_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linked, "SMALL", 1000)
    counting = Counting(make_main((12, 16, 64)).values)
    lazy = dask.array.from_array(counting, chunks=(6, 8, 64), asarray=True, meta=np.empty((0,) * 3))
    counting.asked.clear()
    shown = explore(make_main((12, 16, 64)).copy(data=lazy))
    assert sum(counting.asked) == 12 * 16 + 64
    np.testing.assert_array_equal(shown.map, counting.values[:, :, 32])
    for places, most in (({"X": 0.0}, 64), ({"Frequency": 310e3}, 12 * 16), ({"X": 0.0}, 0)):
        counting.asked.clear()
        shown.select(places)
        assert sum(counting.asked) == most
    counting.asked.clear()
    click(shown, 0, 1.0, 1.0)
    assert sum(counting.asked) == 64


def test_a_click_reads_one_spectrum_of_a_file(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linked, "SMALL", 1000)
    path = tmp_path / "scan.h5"
    make_main((32, 32, 2048)).usid.to_h5usid(str(path))
    shown = explore(usidx.open(path))
    with spending() as spent:
        click(shown, 0, 0.3, 0.3)
    with h5py.File(path) as file:
        chunk = np.prod(file["Measurement_000/Channel_000/Raw_Data"].chunks) * 4
    assert chunk < path.stat().st_size / 7
    assert spent.read < chunk + 3e5
    np.testing.assert_array_equal(
        shown.spectrum, usidx.open(path).sel(X=0.3, Y=0.3, method="nearest")
    )


def test_a_file_that_changed_is_told_in_the_figure(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linked, "SMALL", 1000)
    path = tmp_path / "scan.h5"
    make_main((6, 8, 32)).usid.to_h5usid(str(path))
    shown = explore(usidx.open(path))
    before = shown.selection
    make_main((6, 8, 33), seed=3).usid.to_h5usid(str(path), overwrite=True)
    click(shown, 0, 0.3, 0.3)
    assert any("SourceChangedError" in each.get_text() for each in shown.figure.texts)
    assert shown.selection == before
    with pytest.raises(SourceChangedError):
        shown.select(X=0.0)


def test_the_picture_is_written_once(tmp_path: pathlib.Path) -> None:
    shown = explore(make_main())
    path = tmp_path / "look.png"
    assert shown.save(path) == str(path)
    assert path.read_bytes()[1:4] == b"PNG"
    with pytest.raises(StoreExistsError, match="overwrite=True"):
        shown.save(path)
    shown.save(path, overwrite=True)
    with pytest.raises(OptionError, match=r"no name of a picture; end it in \.png"):
        shown.save(tmp_path / "look.h5")
    with pytest.raises(MissingDependencyError, match=r"opens no window.*\.save\('picture.png'\)"):
        shown.show()
    assert repr(shown) == (
        "<Explorer of 'Raw_Data': a map over Y, X and a spectrum over Frequency; "
        "at Y 1 µm, X 1 µm, Frequency 324 kHz>"
    )


def test_nobody_need_keep_the_explorer() -> None:
    import gc

    figure = explore(make_main()).figure
    gc.collect()
    click(figure.usidx_explorer, 0, 0.0, 0.0)
    assert figure.axes[1].get_title(loc="left") == "At Y 0 µm, X 0 µm"


def test_a_figure_of_a_window_is_one_of_pyplot() -> None:
    import matplotlib.pyplot as plt

    assert not plt.get_fignums()
    explore(make_main())
    assert not plt.get_fignums()
    pytest.importorskip("tornado")
    mpl.use("webagg")
    try:
        shown = explore(make_main())
        assert plt.get_fignums() == [shown.figure.number]
        click(shown, 0, 0.0, 0.0)
        assert shown.selection["X"] == 0.0
    finally:
        plt.close("all")
        mpl.use("agg")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"component": "phase"}, "not complex; leave component out"),
        ({"component": "abs"}, "none of amplitude, phase, real, imag"),
        ({"at": {"Freq": 3}}, "did you mean 'Frequency'"),
        ({"field": "A"}, "has no fields"),
    ],
)
def test_what_cannot_be_shown_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        explore(make_main(), **options)


def test_plain_arrays_are_told_how() -> None:
    with pytest.raises(LayoutError, match=r"assign_roles"):
        explore(xr.DataArray(np.zeros((3, 4)), dims=("a", "b")))
    with pytest.raises(OptionError, match="no numbers"):
        explore(xr.DataArray(["a", "b"], dims="position"))


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'usidx\[plot\]'"):
        make_main().usid.explore()


def test_texts_with_dollars_are_drawn() -> None:
    da = make_main((4, 5, 16)).rename(Frequency="$\\sqrt E$")
    explore(da).figure.canvas.draw()
    explore(make_main().assign_attrs(units="$A/m^2$", quantity="50 $")).figure.canvas.draw()
