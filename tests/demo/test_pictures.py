"""Pictures: units and limits are right, and every kind of Main can be drawn."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import xarray as xr

from usidx.demo import pictures
from usidx.demo.overview import overview_slide
from usidx.demo.pictures import DARK, LIGHT, require_matplotlib, ruler
from usidx.demo.places import eroded, place_of, telling_places
from usidx.errors import MissingDependencyError

RNG = np.random.default_rng(0)


def test_ruler_counts_where_values_are_not_even() -> None:
    even = xr.DataArray([2.0, 1.5, 1.0], dims="x")
    np.testing.assert_array_equal(ruler(even), [2.0, 1.5, 1.0])
    for uneven in ([0.0, 1.0, 5.0], [1.0, 1.0, 1.0], ["a", "b", "c"]):
        np.testing.assert_array_equal(ruler(xr.DataArray(uneven, dims="x")), [0, 1, 2])


def test_telling_places_are_inside_distinct_and_ordered_by_strength() -> None:
    y, x = np.mgrid[0:40, 0:60]
    hill = xr.DataArray(np.exp(-((y - 12) ** 2 + (x - 40) ** 2) / 300), dims=("Y", "X"))
    places = telling_places(hill)
    assert len(set(places)) == 3
    values = [float(hill[place]) for place in places]
    assert values[0] > values[1] > values[2]


def test_telling_places_of_very_little() -> None:
    assert telling_places(xr.DataArray([[1.0]], dims=("Y", "X"))) == [(0, 0)]
    assert len(set(telling_places(xr.DataArray([1.0, 2.0], dims="X")))) == 2
    nan = xr.DataArray(np.full((4, 4), np.nan), dims=("Y", "X"))
    assert len(telling_places(nan)) == 3


def test_eroded_keeps_away_from_the_edge_of_the_mask() -> None:
    mask = np.ones((7, 9), bool)
    inner = np.zeros_like(mask)
    inner[2:-2, 2:-2] = True
    np.testing.assert_array_equal(eroded(mask, by=2), inner)


def test_place_of_is_in_the_units_of_the_axes() -> None:
    grid = xr.DataArray(np.zeros((2, 3)), dims=("Y", "X"), coords={"X": [0.0, 0.5, 1.0]})
    assert place_of(grid, (1, 2)) == (1.0, 1.0)
    x, y = ("position", [3.0, 4.0]), ("position", [7.0, 9.0])
    points = xr.DataArray([1.0, 2.0], dims="position", coords={"Y": y, "X": x})
    assert place_of(points, (1,)) == (4.0, 9.0)


def axis(name: str, values: Any, units: str) -> dict[str, Any]:
    return {name: (name, np.asarray(values), {"units": units})}


def scan(shape: tuple[int, ...], dims: tuple[str, ...], dtype: str = "f4") -> xr.DataArray:
    values = RNG.normal(size=shape) + (1j * RNG.normal(size=shape) if dtype[0] == "c" else 0)
    units = {"X": "um", "Y": "um", "Z": "um", "Bias": "V", "Frequency": "Hz"}
    coords: dict[str, Any] = {}
    for name, size in zip(dims, shape):
        coords |= axis(name, 0.5 * np.arange(size), units.get(name, "1/nm"))
    attrs = {"units": "nA", "quantity": "Current"}
    return xr.DataArray(values.astype(dtype), dims=dims, coords=coords, attrs=attrs)


def points(count: int) -> xr.DataArray:
    bias = scan((count, 12), ("position", "Bias"))
    where = {"X": ("position", RNG.random(count)), "Y": ("position", RNG.random(count))}
    return bias.drop_vars("position").assign_coords(where)


@pytest.mark.parametrize(
    ("data", "over"),
    [
        (scan((9, 11, 30), ("Y", "X", "Frequency"), "c8"), ["Frequency"]),
        (scan((9, 11, 30), ("Y", "X", "Bias")), ["Bias"]),
        (scan((9, 30), ("X", "Bias")), ["Bias"]),
        (scan((1, 1, 30), ("Y", "X", "Bias")), ["Bias"]),
        (scan((9, 11, 1), ("Y", "X", "Bias")), ["Bias"]),
        (scan((1, 1, 1), ("Y", "X", "Bias")), ["Bias"]),
        (scan((3, 9, 11, 5), ("Z", "Y", "X", "Bias")), ["Bias"]),
        (scan((6, 7, 18, 20), ("Y", "X", "Qy", "Qx"), "u2"), ["Qy", "Qx"]),
        (scan((6, 7, 3, 20), ("Y", "X", "Cycle", "Bias")), ["Cycle", "Bias"]),
        (points(25), ["Bias"]),
        (points(2), ["Bias"]),
        (scan((9, 11, 30), ("Y", "X", "Bias")) * np.nan, ["Bias"]),
    ],
    ids=["complex", "map", "line", "single", "image", "scalar", "volume", "4d", "cycles",
         "points", "two", "nan"],
)  # fmt: skip
@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_any_main_can_be_drawn(data: xr.DataArray, over: list[str], theme: Any) -> None:
    summary = abs(data.astype(complex)).mean(over).assign_attrs(data.attrs)
    figure = overview_slide(
        data.chunk(), summary, map_title="Mean", title="Current", subtitle="scan.h5", theme=theme
    )
    figure.canvas.draw()
    assert figure.get_facecolor()[:3] == pytest.approx(
        tuple(int(theme.paper[i : i + 2], 16) / 255 for i in (1, 3, 5))
    )


def test_what_the_user_set_in_matplotlib_stays() -> None:
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    data = scan((5, 6, 30), ("Y", "X", "Bias"))
    overview_slide(data, data.mean("Bias"), map_title="", title="", subtitle="", theme=LIGHT)
    assert dict(mpl.rcParams) == before


def test_without_matplotlib_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'usidx\[plot\]'"):
        require_matplotlib()


def test_a_scale_bar_is_a_round_length_within_the_map() -> None:
    data = scan((40, 50, 1), ("Y", "X", "Bias"))
    figure = overview_slide(
        data, data.mean("Bias"), map_title="Mean", title="", subtitle="", theme=LIGHT
    )
    texts = [each.get_text() for each in figure.axes[0].texts]
    assert "5 µm" in texts


def test_outliers_do_not_spoil_the_colours() -> None:
    values = np.ones((50, 50))
    values[:, :25] = 0
    values[0, 0] = 1e9
    assert pictures._robust(values) == (0.0, 1.0)
