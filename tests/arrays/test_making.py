"""Mains from plain arrays: folded where need be, lazy where they are, refused where they misfit."""

from __future__ import annotations

from typing import Any

import dask
import dask.array
import numpy as np
import pytest
import xarray as xr

import usidx
from usidx.arrays.making import from_array
from usidx.errors import LayoutError, OptionError
from usidx.model.dimension import Dimension
from usidx.model.layout import Coordinate, Grid, Points

Y, X = Dimension("Y", "um", [0.0, 0.5]), Dimension("X", "um", 3)
BIAS, CYCLE = Dimension("Bias", "V", np.linspace(-1, 1, 4)), Dimension("Cycle", "", 2)
SIDES: dict[str, Any] = {"position": [Y, X], "spectroscopic": [CYCLE, BIAS]}
VALUES = np.arange(48.0).reshape(2, 3, 2, 4)


def make(values: Any, **changes: Any) -> xr.DataArray:
    return from_array(values, "Current", "nA", **{**SIDES, **changes})


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("shape", [(2, 3, 2, 4), (6, 8), (2, 3, 8), (6, 2, 4)])
def test_sides_are_folded(shape: tuple[int, ...], lazy: bool) -> None:
    values = VALUES.reshape(shape)
    main = make(dask.array.from_array(values, chunks=2) if lazy else values)
    assert main.dims == ("Y", "X", "Cycle", "Bias")
    assert (main.chunks is not None) == lazy
    np.testing.assert_array_equal(main, VALUES)
    assert (main.name, main.attrs["quantity"], main.attrs["units"]) == ("Raw_Data", "Current", "nA")
    assert main.usid.position_dims == ("Y", "X")
    assert main.Bias.attrs["units"] == "V"


def test_a_lazy_array_is_folded_block_by_block() -> None:
    lazy = dask.array.ones((600, 8), chunks=(30, 8))
    sides = [Dimension("Y", "um", 20), Dimension("X", "um", 30)]
    with dask.config.set(scheduler=lambda *_, **__: pytest.fail("it was computed")):
        main = make(lazy, position=sides)
    assert main.chunks is not None
    assert [len(each) for each in main.chunks] == [20, 1, 1, 1]
    assert len(dict(main.data.dask)) == 2 * len(dict(lazy.dask))


def test_values_are_not_copied() -> None:
    values = VALUES.copy()
    assert np.shares_memory(make(values).values, values)
    assert np.shares_memory(make(values.reshape(6, 8)).values, values)


class TestOneCell:
    """A side of which there is one value needs no axis."""

    @pytest.mark.parametrize("shape", [(2, 3), (6,), (2, 3, 1), (6, 1)])
    def test_an_image(self, shape: tuple[int, ...]) -> None:
        image = np.arange(6.0)
        main = make(image.reshape(shape), spectroscopic=())
        assert main.dims == ("Y", "X", "arb")
        np.testing.assert_array_equal(main.squeeze(), image.reshape(2, 3))

    @pytest.mark.parametrize("shape", [(2, 4), (8,), (1, 8), (1, 2, 4)])
    def test_a_spectrum(self, shape: tuple[int, ...], tmp_path: Any) -> None:
        main = make(np.arange(8.0).reshape(shape), position=())
        assert main.dims == ("arb_position", "Cycle", "Bias")
        back = usidx.open(main.usid.to_h5usid(tmp_path / "a.h5"))
        np.testing.assert_array_equal(back.squeeze(), np.arange(8.0).reshape(2, 4))

    def test_a_number(self) -> None:
        assert make(5.0, position=(), spectroscopic=()).shape == (1, 1)

    def test_a_dimension_of_one_value(self) -> None:
        main = make(np.zeros((2, 3)), spectroscopic=Dimension("Time", "s", [7.0]))
        assert main.sizes == {"Y": 2, "X": 3, "Time": 1}


class TestOrder:
    """Rows as they were acquired come to their places."""

    order = np.array([0, 1, 2, 5, 4, 3])

    @pytest.mark.parametrize("lazy", [False, True])
    @pytest.mark.parametrize("shape", [(6, 8), (6, 2, 4)])
    def test_rows_of_a_snake(self, shape: tuple[int, ...], lazy: bool) -> None:
        rows = VALUES.reshape(6, 8)[np.argsort(self.order)].reshape(shape)
        snake = Grid("position", (Y, X), order=self.order)
        main = make(dask.array.from_array(rows, chunks=3) if lazy else rows, position=snake)
        np.testing.assert_array_equal(main, VALUES)
        np.testing.assert_array_equal(main.usid.to_2d(), rows.reshape(6, 8))

    def test_an_image_of_a_snake(self) -> None:
        snake = Grid("position", (Y, X), order=self.order)
        main = make(np.arange(6.0), position=snake, spectroscopic=())
        np.testing.assert_array_equal(main.squeeze(), [[0, 1, 2], [5, 4, 3]])

    def test_an_array_with_all_its_axes_is_in_order_already(self) -> None:
        main = make(VALUES, position=Grid("position", (Y, X), order=self.order))
        np.testing.assert_array_equal(main, VALUES)

    def test_points(self) -> None:
        columns = tuple(
            Coordinate(name, "um", ("position",), np.arange(6.0), np.arange(6)) for name in "YX"
        )
        main = make(VALUES.reshape(6, 8), position=Points("position", columns))
        assert main.dims == ("position", "Cycle", "Bias")
        np.testing.assert_array_equal(main, VALUES.reshape(6, 2, 4))


class TestRefusing:
    @pytest.mark.parametrize(
        ("shape", "said"),
        [
            ((2, 3, 2, 5), "Bias has 4 values for an axis of 5"),
            ((2, 4, 2, 5), "X has 3 values for an axis of 4, Bias has 4 values for an axis of 5"),
            ((3, 2, 2, 4), "the same in another order: .* or transpose"),
            ((8, 6), "the same in another order"),
            ((2, 3), r"\(Y: 2, X: 3, Cycle: 2, Bias: 4\) need \(2, 3, 2, 4\), or \(6, 8\)"),
            ((7, 8), "give every axis a Dimension"),
            ((), "give every axis a Dimension"),
        ],
    )
    def test_sizes_that_do_not_fit(self, shape: tuple[int, ...], said: str) -> None:
        with pytest.raises(LayoutError, match=said):
            make(np.zeros(shape))

    @pytest.mark.parametrize(
        "values", [[[1, 2], [3]], [["a", "b"]], np.array([1], "M8[s]"), np.zeros(3, "f4,U2")]
    )
    def test_values_that_are_no_numbers(self, values: Any) -> None:
        values = np.array(values, dtype=object) if isinstance(values, list) else values
        with pytest.raises(OptionError, match="a Main has numbers"):
            make(values)

    def test_records_of_numbers_are(self) -> None:
        assert make(np.zeros((6, 8), "f4,c8")).dtype.names == ("f0", "f1")

    def test_the_same_name_on_both_sides(self) -> None:
        with pytest.raises(LayoutError, match="'X' names a position and a spectroscopic"):
            make(np.zeros((2, 3, 3)), spectroscopic=X)

    def test_what_is_no_dimension(self) -> None:
        with pytest.raises(LayoutError, match=r"write usidx.Dimension"):
            make(VALUES, position=["Y", "X"])
        with pytest.raises(LayoutError, match="spectroscopic layout was given for the position"):
            make(VALUES, position=Grid("spectroscopic", (Y, X)))
