"""Text that csv, NumPy and pandas read back as the numbers that were written."""

from __future__ import annotations

import csv
import os
import pathlib
import resource
import warnings
from typing import Any

import dask
import dask.array
import numpy as np
import pytest
import xarray as xr

import usidx
from tests.chaos.children import in_child
from usidx.errors import (
    LayoutError,
    OptionError,
    StoreExistsError,
    StoreNotFoundError,
)
from usidx.exporting import to_csv
from usidx.model.dimension import Dimension
from usidx.model.layout import Coordinate, Grid, Points
from usidx.testing import make_main


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    """Where the text is to be."""
    return tmp_path / "scan.csv"


def table(path: pathlib.Path) -> tuple[list[str], Any]:
    """(names, numbers) as Python's csv reads them."""
    with open(path, newline="", encoding="utf-8") as file:
        names, *rows = csv.reader(file)
    return names, np.array(rows, dtype=float)


def grid(main: Any, *dims: str) -> Any:
    """Columns of coordinates for each value, by NumPy."""
    values = [np.asarray(main[dim].values, float) for dim in dims]
    return np.stack([each.ravel() for each in np.meshgrid(*values, indexing="ij")], axis=1)


class TestLong:
    @pytest.mark.parametrize("chunks", [None, {}, {"Y": 1, "Frequency": 7}])
    @pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "i2", "u8", ">f4", "?"])
    def test_a_line_for_each_value(self, path: pathlib.Path, dtype: str, chunks: Any) -> None:
        main = make_main(dtype=dtype, chunks=chunks)
        assert main.usid.to_csv(path) == str(path)
        names, rows = table(path)
        assert names == [
            "Y [um]",
            "X [um]",
            "Frequency [Hz]",
            "Cantilever Vertical Deflection [V]",
        ]
        np.testing.assert_array_equal(rows[:, :3], grid(main, "Y", "X", "Frequency"))
        assert rows[:, 3].astype(dtype).tobytes() == main.values.tobytes()
        np.testing.assert_array_equal(np.loadtxt(path, delimiter=",", skiprows=1), rows)
        assert os.listdir(path.parent) == ["scan.csv"]

    def test_numbers_are_exact_and_short(self, path: pathlib.Path) -> None:
        values = np.array([0.1, -0.0, np.nan, np.inf, 1e-45, 3.4e38, 1 / 3], "f4")
        main = usidx.from_array(
            values, "Height", "nm", position=Dimension("X", "um", [0.1 * n for n in range(7)])
        )
        main.usid.to_csv(path)
        lines = path.read_text().splitlines()
        assert lines[1] == "0.0,0.0,0.1"
        assert lines[4].split(",")[0] == "0.30000000000000004"
        back = np.array([line.split(",")[-1] for line in lines[1:]]).astype("f4")
        np.testing.assert_array_equal(back, values)
        np.testing.assert_array_equal(np.signbit(back), np.signbit(values))

    def test_complex_values_have_two_columns(self, path: pathlib.Path) -> None:
        main = make_main(dtype="complex64", chunks={"Y": 1})
        main.usid.to_csv(path)
        names, rows = table(path)
        assert names[3:] == [
            "Cantilever Vertical Deflection real [V]",
            "Cantilever Vertical Deflection imag [V]",
        ]
        back = rows[:, 3:].astype("f4").view("c8").reshape(main.shape)
        np.testing.assert_array_equal(back, main)

    def test_each_field_has_a_column(self, path: pathlib.Path) -> None:
        main = make_main(dtype="complex64", chunks={"Y": 1})
        fields = xr.Dataset(
            {
                "Amplitude [V]": abs(main).max("Frequency"),
                "n": abs(main).argmax("Frequency").drop_attrs(deep=False),
                "Response": main.mean("Frequency").assign_attrs(units="V"),
            }
        )
        fields.usid.to_csv(path)
        names, rows = table(path)
        assert names == [
            "Y [um]", "X [um]", "Amplitude [V]", "n", "Response real [V]", "Response imag [V]"
        ]  # fmt: skip
        np.testing.assert_array_equal(rows[:, 3], fields["n"].values.ravel())
        np.testing.assert_array_equal(rows[:, 5].astype("f4"), fields.Response.values.imag.ravel())

    def test_points(self, path: pathlib.Path) -> None:
        columns = tuple(
            Coordinate(name, "um", ("position",), np.array(values), np.arange(3))
            for name, values in (("Y", [0.0, 2.0, 5.0]), ("X", [1.0, 1.5, 7.5]))
        )
        main = usidx.from_array(
            np.arange(6.0).reshape(3, 2),
            "Height",
            "nm",
            position=Points("position", columns),
            spectroscopic=Dimension("t", "s", 2),
        )
        main.usid.to_csv(path)
        names, rows = table(path)
        assert names == ["Y [um]", "X [um]", "t [s]", "Height [nm]"]
        expected = [[0, 1, 0, 0], [0, 1, 1, 1], [2, 1.5, 0, 2], [2, 1.5, 1, 3]]
        np.testing.assert_array_equal(rows[:4], expected)

    def test_coordinates_over_several_dimensions(self, path: pathlib.Path) -> None:
        bias = Coordinate("Bias", "V", ("Cycle", "Bias_index"), np.arange(6.0).reshape(2, 3) ** 2)
        dimensions = (Dimension("Cycle", "", 2), Dimension("Bias_index", "", 3, label="Bias"))
        main = usidx.from_array(
            np.arange(24.0).reshape(4, 2, 3),
            "Current",
            "nA",
            position=Dimension("X", "um", 4),
            spectroscopic=Grid("spectroscopic", dimensions, (bias,)),
        ).assign_coords(mask=(("X", "Bias_index"), np.eye(4, 3, dtype=bool)))
        main.usid.to_csv(path)
        names, rows = table(path)
        assert names == ["X [um]", "Cycle", "Bias_index", "Bias [V]", "mask", "Current [nA]"]
        np.testing.assert_array_equal(rows[:6, 3], np.arange(6) ** 2)
        np.testing.assert_array_equal(rows[6:12, 4], [0, 1, 0, 0, 1, 0])
        np.testing.assert_array_equal(rows[:, 5], np.arange(24))

    def test_rows_in_the_order_of_acquisition(self, path: pathlib.Path) -> None:
        sides = Dimension("Y", "um", 2), Dimension("X", "um", 3)
        main = usidx.from_array(
            np.arange(6.0).reshape(2, 3),
            "Height",
            "nm",
            position=Grid("position", sides, order=np.array([0, 1, 2, 5, 4, 3])),
        )
        main.usid.to_csv(path)
        np.testing.assert_array_equal(table(path)[1][:, -1], np.arange(6))
        main.usid.to_2d().usid.to_csv(path, overwrite=True)
        names, rows = table(path)
        assert names[:2] == ["Y [um]", "X [um]"]
        np.testing.assert_array_equal(rows[:, -1], [0, 1, 2, 5, 4, 3])

    def test_text_is_quoted(self, path: pathlib.Path) -> None:
        array = xr.DataArray(
            [1.0, 2.0], dims="x", coords={"x": ['a "b", c', " d"]}, name="v, w"
        ).usid.assign_roles(["x"])
        array.usid.to_csv(path)
        with open(path, newline="") as file:
            assert list(csv.reader(file)) == [["x", "v, w"], ['a "b", c', "1.0"], [" d", "2.0"]]

    def test_a_spectrum_alone(self, path: pathlib.Path) -> None:
        spectrum = make_main(chunks={}).isel(Y=0, X=0)
        spectrum.usid.to_csv(path)
        names, rows = table(path)
        assert names[0] == "Frequency [Hz]"
        np.testing.assert_array_equal(rows[:, 1].astype("f4"), spectrum)


class TestMatrix:
    @pytest.mark.parametrize("chunks", [None, {"Y": 1, "Frequency": 7}])
    def test_a_line_for_each_position(self, path: pathlib.Path, chunks: Any) -> None:
        main = make_main(chunks=chunks)
        main.usid.to_csv(path, form="matrix")
        names, rows = table(path)
        assert names[:3] == [
            "Y [um]",
            "X [um]",
            "Cantilever Vertical Deflection [V] at Frequency = 300000.0 Hz",
        ]
        np.testing.assert_array_equal(rows[:, :2], grid(main, "Y", "X"))
        np.testing.assert_array_equal(rows[:, 2:].astype("f4"), main.values.reshape(20, 16))

    def test_several_spectroscopic_dimensions_and_parts(self, path: pathlib.Path) -> None:
        main = usidx.from_array(
            np.arange(24).reshape(2, 3, 4) * (1 + 2j),
            "Current",
            "nA",
            position=Dimension("X", "um", 2),
            spectroscopic=[Dimension("Bias", "V", 3), Dimension("Cycle", "", 4)],
        )
        main.usid.to_csv(path, form="matrix")
        names, rows = table(path)
        assert names[1] == "Current real [nA] at Bias = 0 V and Cycle = 0"
        assert names[-1] == "Current imag [nA] at Bias = 2 V and Cycle = 3"
        back = np.ascontiguousarray(rows[:, 1:]).view("c16").reshape(main.shape)
        np.testing.assert_array_equal(back, main)

    def test_pandas_reads_it(self, path: pathlib.Path) -> None:
        pandas = pytest.importorskip("pandas")
        make_main().usid.to_csv(path, form="matrix")
        assert pandas.read_csv(path).shape == (20, 18)


def test_memory_holds_some_blocks_not_the_array(path: pathlib.Path) -> None:
    values = dask.array.ones((400, 100, 100), chunks=(4, 100, 100), dtype="f4")
    main = usidx.from_array(
        values,
        "Height",
        "nm",
        position=[Dimension("Y", "um", 400), Dimension("X", "um", 100)],
        spectroscopic=Dimension("t", "s", 100),
    )

    def work() -> int:
        with dask.config.set(scheduler="sync"):  # a forked child has no threads
            main[:4].usid.to_csv(path, form="matrix")  # what it needs in any case
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            main.usid.to_csv(path, form="matrix", overwrite=True)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

    ended = in_child(work)
    assert ended.trouble == ""
    assert path.stat().st_size > 16_000_000
    assert ended.result < 130_000  # KiB; all texts at once are some 400 MB


class TestWriting:
    def test_what_is_there_is_not_overwritten_unasked(self, path: pathlib.Path) -> None:
        path.write_text("precious")
        with pytest.raises(StoreExistsError, match="overwrite=True"):
            make_main().usid.to_csv(path)
        assert path.read_text() == "precious"
        make_main().usid.to_csv(path, overwrite=True)
        assert path.read_text().startswith("Y [um]")
        with pytest.raises(StoreExistsError, match="is a folder"):
            make_main().usid.to_csv(path.parent, overwrite=True)

    def test_it_stays_whole_where_a_block_fails(self, path: pathlib.Path) -> None:
        def fail(block: Any) -> Any:
            if block.size:
                raise ZeroDivisionError("in the middle")
            return block

        path.write_text("precious")
        main = make_main(chunks={"Y": 1})
        broken = main.copy(data=main.data.map_blocks(fail, dtype="f4"))
        with pytest.raises(ZeroDivisionError):
            broken.usid.to_csv(path, overwrite=True)
        assert path.read_text() == "precious"
        assert os.listdir(path.parent) == ["scan.csv"]

    def test_progress_is_told(self, path: pathlib.Path) -> None:
        seen: list[tuple[int, int]] = []
        make_main().usid.to_csv(path, progress=lambda *each: seen.append(each))
        assert seen[-1] == (len(seen), len(seen))

    def test_what_cannot_be_written(self, path: pathlib.Path) -> None:
        with pytest.raises(OptionError, match="'wide' is not known"):
            to_csv(make_main(), path, form="wide")  # type: ignore[arg-type]
        with pytest.raises(StoreNotFoundError, match="nowhere"):
            to_csv(make_main(), path.parent / "nowhere" / "a.csv")
        with pytest.raises(LayoutError, match="assign_roles"):
            to_csv(xr.DataArray(np.zeros((2, 3)), dims=("a", "b")), path)
        main = make_main()
        with pytest.raises(LayoutError, match="same dimensions"):
            to_csv(xr.Dataset({"a": main, "b": main.mean("X")}), path)
        with pytest.raises(OptionError, match="no numbers"):
            to_csv(xr.DataArray(["a"], dims="position"), path)
        with pytest.raises(LayoutError, match="no variables"):
            to_csv(xr.Dataset(), path)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            to_csv(main.isel(Frequency=3), path)
        assert os.listdir(path.parent) == ["scan.csv"]
