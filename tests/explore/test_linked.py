"""Which dimensions make the map and which the spectrum, and what is read for each."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import xarray as xr

import usidx
from usidx.errors import LayoutError, OptionError
from usidx.explore import linked
from usidx.explore.linked import mean_at, one_field, panels_of, read_at, thinning
from usidx.explore.places import in_words, labels_at, numbers_at
from usidx.testing import make_main

RNG = np.random.default_rng(5)


def main_of(position: dict[str, Any], spectroscopic: dict[str, Any], **more: Any) -> xr.DataArray:
    """A Main with these labels, of random values."""
    axes = [
        [usidx.Dimension(name, "um", np.asarray(values)) for name, values in side.items()]
        for side in (position, spectroscopic)
    ]
    shape = [each.values.size for side in axes for each in side]
    return usidx.from_array(
        more.pop("values", RNG.random(shape)), quantity="Current", units="nA", name="Raw_Data",
        position=axes[0], spectroscopic=axes[1],
    )  # fmt: skip


def scattered(count: int = 30) -> xr.DataArray:
    """A list of spectra whose places lie on no raster, with coordinates X and Y."""
    places = RNG.random((2, count))
    found = xr.DataArray(
        RNG.random((count, 9)),
        dims=("position", "Frequency"),
        coords={
            "X": ("position", places[0], {"units": "um"}),
            "Y": ("position", places[1], {"units": "um"}),
            "Frequency": ("Frequency", np.linspace(1.0, 3.0, 9), {"units": "Hz"}),
        },
        name="Raw_Data",
    )
    return found.usid.assign_roles(["position"], ["Frequency"])


@pytest.mark.parametrize(
    ("position", "spectroscopic", "shown"),
    [
        ({"Y": 3, "X": 4}, {"F": 5}, (("Y", "X"), ("F",), ())),
        ({"Z": 2, "Y": 3, "X": 4}, {"F": 5}, (("Y", "X"), ("F",), ("Z",))),
        ({"Y": 3, "X": 4}, {"B": 6, "F": 5}, (("Y", "X"), ("B", "F"), ())),
        ({"Y": 3, "X": 4}, {"C": 7, "B": 6, "E": 2, "F": 5}, (("Y", "X"), ("B", "F"), ("C", "E"))),
        ({"Y": 3, "X": 4}, {"F": 5, "Part": 2}, (("Y", "X"), ("F",), ("Part",))),
        ({"Y": 3, "X": 4}, {"Part": 2}, (("Y", "X"), ("Part",), ())),
        ({"Y": 3, "X": 4}, {"F": 1}, (("Y", "X"), (), ())),
        ({"Y": 1, "X": 1}, {"F": 5}, ((), ("F",), ())),
        ({"Y": 1, "X": 4}, {"F": 5}, (("X", "F"), ("F",), ())),
        ({"Y": 1, "X": 4}, {"B": 6, "F": 5}, (("X",), ("B", "F"), ())),
        ({"x": 3, "y": 4}, {"F": 5}, (("y", "x"), ("F",), ())),
    ],
)
def test_dimensions_go_where_they_are_looked_for(
    position: dict[str, int], spectroscopic: dict[str, int], shown: Any
) -> None:
    sides = [{name: np.arange(n) for name, n in side.items()} for side in (position, spectroscopic)]
    found = panels_of(main_of(*sides))
    assert (found.map, found.spectrum, found.slid) == shown
    assert found.points is None


def test_a_long_line_of_spectra_is_a_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linked, "SMALL", 100)
    da = make_main((1, 40, 16))
    assert panels_of(da).map == ("X",)
    assert panels_of(da).spectrum == ("Frequency",)


def test_positions_that_lie_anywhere_are_points() -> None:
    found = panels_of(scattered())
    assert found.map == ("position",)
    assert found.points == ("X", "Y")


def test_other_dimensions_on_request() -> None:
    da = make_main((4, 5, 16))
    found = panels_of(da, map=("Y", "Frequency"), spectrum=("X",))
    assert (found.map, found.spectrum, found.slid) == (("Y", "Frequency"), ("X",), ())
    for wrong, words in [
        ({"map": ["Yy"]}, "no dimension 'Yy'.*did you mean 'Y'"),
        ({"map": ["Y", "Y"]}, "two that differ"),
        ({"spectrum": ["Y", "X", "Frequency"]}, "two that differ"),
        ({"map": ["Y", "X"], "spectrum": ["X"]}, "share a dimension"),
    ]:
        with pytest.raises(LayoutError, match=words):
            panels_of(da, **wrong)


def test_the_field_of_a_compound_main() -> None:
    ds = xr.Dataset({"name": ("X", ["a", "b"]), "A": ("X", [1.0, 2.0]), "Q": ("X", [3.0, 4.0])})
    assert one_field(ds).name == "A"
    assert one_field(ds, "Q").name == "Q"
    with pytest.raises(OptionError, match="no field 'q'.*there are name, A, Q"):
        one_field(ds, "q")
    with pytest.raises(OptionError, match="no numbers"):
        one_field(ds, "name")
    with pytest.raises(OptionError, match="has no fields"):
        one_field(make_main(), "A")
    with pytest.raises(OptionError, match="two or more"):
        one_field(make_main((1, 1, 1)))


def test_a_map_and_a_spectrum_are_what_isel_gives() -> None:
    da = make_main((4, 5, 16), dtype="complex64", chunks={"Frequency": 4})
    place = {"Y": 1, "X": 2, "Frequency": 7}
    values = da.values
    parts = {
        "amplitude": np.abs, "phase": lambda z: np.degrees(np.angle(z)), "real": np.real,
        "imag": np.imag,
    }  # fmt: skip
    for component, part in parts.items():
        found = read_at(da, ("Y", "X"), place, component)  # type: ignore[arg-type]
        np.testing.assert_allclose(found.values, part(values[:, :, 7]), rtol=1e-5)
        spectrum = read_at(da, ("Frequency",), place, component)  # type: ignore[arg-type]
        np.testing.assert_allclose(spectrum.values, part(values[1, 2]), rtol=1e-5)
        assert spectrum.attrs["units"] == ("deg" if component == "phase" else da.units)
    assert read_at(da, ("X", "Y"), place, "real").dims == ("X", "Y")


def test_the_mean_leaves_nan_out_and_amplitudes_do_not_cancel() -> None:
    values = RNG.random((3, 4, 6))
    values[1, 2, :3] = np.nan
    values[0, 0] = np.nan
    axes: Any = ({"Y": range(3), "X": range(4)}, {"F": range(6)})
    da = main_of(*axes, values=values)
    place = dict.fromkeys("YXF", 0)
    found = mean_at(da, ("Y", "X"), ("F",), place, None)
    assert found.values[1, 2] == pytest.approx(values[1, 2, 3:].mean())
    assert np.isnan(found.values[0, 0])
    assert found.values[2, 3] == pytest.approx(values[2, 3].mean())
    turning = np.exp(2j * np.pi * np.arange(6) / 6) * np.ones((3, 4, 1))
    da = main_of(*axes, values=turning)
    np.testing.assert_allclose(mean_at(da, ("Y", "X"), ("F",), place, "amplitude"), 1.0)
    np.testing.assert_allclose(mean_at(da, ("Y", "X"), ("F",), place, "real"), 0.0, atol=1e-12)


def test_the_mean_of_small_integers_does_not_wrap() -> None:
    axes: Any = ({"Y": range(2), "X": range(2)}, {"F": range(6)})
    da = main_of(*axes, values=np.full((2, 2, 6), 250, "u1"))
    place = dict.fromkeys("YXF", 0)
    np.testing.assert_allclose(mean_at(da, ("Y", "X"), ("F",), place, None), 250.0)


def test_maps_that_are_large_are_thinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linked, "MOST_DRAWN", 100)
    da = make_main((30, 40, 3))
    steps = thinning(da, ("Y", "X"))
    assert steps == {"Y": 4, "X": 4}
    found = read_at(da, ("Y", "X"), {"Y": 0, "X": 0, "Frequency": 1}, None)
    np.testing.assert_array_equal(found.values, da.values[::4, ::4, 1])
    assert math.prod(found.shape) <= 100


def test_places_are_the_nearest() -> None:
    da = make_main((4, 5, 16))
    for label in (0.0, 0.6, 1.4, 99.0, -3.0):
        number = numbers_at(da, {"Y": label})["Y"]
        assert da.Y.values[number] == float(da.Y.sel(Y=label, method="nearest"))
    assert labels_at(da, {"Y": 3, "X": 0}) == {"Y": 1.5, "X": 0.0}
    assert in_words(da, {"Y": 3, "Frequency": 2}, ["Y", "Frequency"]) == (
        "Y 1.5 µm, Frequency 306 kHz"
    )
    points = scattered()
    number = numbers_at(points, {"X": 0.4, "Y": 0.7})["position"]
    apart = np.hypot(points.X.values - 0.4, points.Y.values - 0.7)
    assert apart[number] == pytest.approx(apart.min(), rel=0.1)
    assert numbers_at(points, {"position": 7}) == {"position": 7} or "position" in points.coords


def test_labels_that_are_text() -> None:
    da = make_main((4, 5, 2)).drop_vars("Frequency")
    da = da.assign_coords(Frequency=["up", "down"])
    assert numbers_at(da, {"Frequency": "down"}) == {"Frequency": 1}
    with pytest.raises(OptionError, match=r"no label along 'Frequency' \(did you mean 'down'"):
        numbers_at(da, {"Frequency": "dwn"})


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ({"Freq": 1}, "nothing called 'Freq'.*did you mean 'Frequency'"),
        ({"Y": "left"}, "labels along 'Y' are numbers"),
        ({"Y": float("nan")}, "is no place along 'Y'"),
    ],
)
def test_places_that_are_not_there(labels: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        numbers_at(make_main(), labels)
