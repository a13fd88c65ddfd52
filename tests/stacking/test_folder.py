"""A folder of frames as one lazy Main: every frame in its place, or an error that says which."""

from __future__ import annotations

import json
import os
import pickle
import shutil

import numpy as np
import pytest
import tifffile
import xarray as xr

import usidx
from tests.stacking.frames import expected, frame
from usidx.errors import (
    DamagedStoreError,
    LayoutError,
    MainNotFoundError,
    NotUsidError,
    OptionError,
    SourceChangedError,
    StepError,
    StoreNotFoundError,
)
from usidx.stacking import report_of

NAMES = r"(?P<Y>\d+)_(?P<X>\d+)"


class TestPattern:
    def test_numbers_are_positions_in_natural_order(self, grid):
        da = usidx.stack(grid, pattern=NAMES, units={"X": "um", "v": "nm"}, spacing={"X": 0.5})
        np.testing.assert_array_equal(da.values, expected(2, 12))
        assert da.dims == ("Y", "X", "v", "u")
        assert da.dtype == np.uint16
        np.testing.assert_array_equal(da.X, 0.5 * np.arange(12))
        np.testing.assert_array_equal(da.Y, [0, 1])
        assert (da.X.attrs["units"], da.v.attrs["units"]) == ("um", "nm")
        assert da.usid.position_dims == ("Y", "X")
        assert da.usid.spectroscopic_dims == ("v", "u")
        assert da.chunks is not None

    def test_glob_list_and_order_of_dims(self, grid):
        by_glob = usidx.stack(f"{grid}/*.tif", pattern=NAMES, dims=("X", "Y"))
        np.testing.assert_array_equal(by_glob.values, expected(2, 12).swapaxes(0, 1))
        by_list = usidx.stack(sorted(grid.iterdir()), pattern=NAMES)  # 0_0, 0_1, 0_10, ...
        np.testing.assert_array_equal(by_list.values, expected(2, 12))

    def test_folders_below(self, folder):
        for y in range(2):
            (folder / f"row{y}").mkdir()
            for x in range(3):
                np.save(folder / f"row{y}" / f"{x}.npy", frame(3 * y + x))
        da = usidx.stack(f"{folder}/row*/*.npy", pattern=r"row(?P<Y>\d+)/(?P<X>\d+)")
        np.testing.assert_array_equal(da.values, expected(2, 3))

    def test_text_and_negative_and_broken_numbers(self, folder):
        for number, (name, volt) in enumerate(
            (name, volt) for name in ("bright", "dark") for volt in ("-1.5", "0.0", "2")
        ):
            np.save(folder / f"{name}@{volt}V.npy", frame(number))
        da = usidx.stack(folder, pattern=r"(?P<light>\w+)@(?P<bias>[-\d.]+)V")
        np.testing.assert_array_equal(da.values, expected(2, 3))
        assert da.light.values.tolist() == ["bright", "dark"]
        np.testing.assert_array_equal(da.bias, [-1.5, 0.0, 2.0])
        assert int(da.sel(light="dark", bias=0).isel(v=0, u=0)) == 4000

    def test_a_single_number_counts_through_sizes(self, folder):
        for number in range(6):
            np.save(folder / f"run7_{number + 10}.npy", frame(number))
        da = usidx.stack(folder, pattern=r"run7_(?P<n>\d+)", sizes={"Y": 2, "X": 3})
        np.testing.assert_array_equal(da.values, expected(2, 3))

    def test_ambiguous(self, folder):
        np.save(folder / "scan12_0003_0004.npy", frame(0))
        with pytest.raises(LayoutError, match=r"fits 'scan12_0003_0004.npy' in 2 ways"):
            usidx.stack(folder, pattern=NAMES)
        da = usidx.stack(folder, pattern=NAMES + "$")
        assert (int(da.Y[0]), int(da.X[0])) == (3, 4)

    @pytest.mark.parametrize(
        ("pattern", "message"),
        [
            (r"(\d+)", "names no dimension"),
            (r"(?P<Y>\d+", "is no regular expression"),
            (r"frame(?P<Y>\d+)", "fits none of 24 names, such as 'scan_0_0.tif'"),
        ],
    )
    def test_wrong_patterns(self, grid, pattern, message):
        with pytest.raises(OptionError, match=message):
            usidx.stack(grid, pattern=pattern)


class TestSizes:
    def fill(self, folder, numbers):
        for number in numbers:
            tifffile.imwrite(folder / f"{number:04d}.tif", frame(number))

    def test_raster(self, folder):
        self.fill(folder, range(12))
        da = usidx.stack(folder, sizes={"Y": 3, "X": 4}, spacing={"Y": (5, 2.0), "X": [1, 3, 4, 7]})
        np.testing.assert_array_equal(da.values, expected(3, 4))
        np.testing.assert_array_equal(da.Y, [5, 7, 9])
        np.testing.assert_array_equal(da.X, [1, 3, 4, 7])
        same = usidx.stack(folder, sizes=(3, 4), dims=("Y", "X"))
        np.testing.assert_array_equal(same.values, da.values)

    def test_snake_keeps_when_it_was_measured(self, folder, tmp_path):
        self.fill(folder, range(12))
        da = usidx.stack(folder, sizes={"Y": 3, "X": 4}, order="snake")
        wanted = expected(3, 4)
        wanted[1] = wanted[1, ::-1]
        np.testing.assert_array_equal(da.values, wanted)
        order = [[0, 1, 2, 3], [7, 6, 5, 4], [8, 9, 10, 11]]
        np.testing.assert_array_equal(da.acquisition_order, order)
        path = da.usid.to_h5usid(tmp_path / "snake.h5")
        found = usidx.open(path)
        np.testing.assert_array_equal(found.values, wanted)
        in_file = usidx.open(path, form="2d").values
        np.testing.assert_array_equal(in_file, expected(1, 12).reshape(12, -1))

    def test_no_sizes_is_a_row(self, folder):
        self.fill(folder, range(3, 9))
        da = usidx.stack(folder)
        assert da.dims == ("frame", "v", "u")
        np.testing.assert_array_equal(da.frame, range(3, 9))
        np.testing.assert_array_equal(da.values[:, 0, 0], 1000 * np.arange(3, 9))

    def test_gaps_in_the_numbers_are_missing_frames(self, folder):
        self.fill(folder, [0, 1, 2, 4, 5])
        with pytest.raises(
            LayoutError, match=r"1 of 6 frames are missing \(Y: 2 x X: 3\): Y=1, X=0"
        ):
            usidx.stack(folder, sizes={"Y": 2, "X": 3})
        with pytest.raises(LayoutError, match="1 of 6 frames are missing"):
            usidx.stack(folder)
        given = [folder / f"{n:04d}.tif" for n in (0, 1, 2, 4, 5)]
        assert usidx.stack(given).sizes["frame"] == 5  # a list counts as it is

    def test_whether_the_first_is_missing_is_not_guessed(self, folder):
        self.fill(folder, range(1, 6))
        with pytest.raises(LayoutError, match="pass first=1, or the number"):
            usidx.stack(folder, sizes={"Y": 2, "X": 3}, missing="nan")
        late = usidx.stack(folder, sizes={"Y": 2, "X": 3}, missing="nan", first=0)
        assert np.isnan(late.values[0, 0]).all()
        assert late.values[0, 1, 0, 0] == 1000
        early = usidx.stack(folder, sizes={"Y": 2, "X": 3}, missing="nan", first=1)
        assert np.isnan(early.values[1, 2]).all()
        assert early.values[0, 0, 0, 0] == 1000

    def test_whether_those_between_are_missing_is_not_guessed(self, folder):
        self.fill(folder, [0, 2, 4])
        with pytest.raises(LayoutError, match="count in steps of 2"):
            usidx.stack(folder, sizes={"Y": 2, "X": 3}, missing="nan")
        with pytest.raises(LayoutError, match=r"X has 3 values \(0 to 4\), not the 6"):
            usidx.stack(folder, pattern=r"(?P<X>\d+)", sizes={"X": 6}, missing="nan")
        da = usidx.stack(folder, pattern=r"(?P<X>\d+)", sizes={"X": range(6)}, missing="nan")
        np.testing.assert_array_equal(da.measured, [True, False] * 3)

    def test_too_many(self, folder):
        self.fill(folder, range(7))
        with pytest.raises(LayoutError, match="counted to 7 .* has 6 positions"):
            usidx.stack(folder, sizes={"Y": 2, "X": 3})


class TestMissing:
    @pytest.fixture
    def holes(self, grid):
        for name in ("scan_0_3.tif", "scan_1_11.tif"):
            (grid / name).unlink()
        return grid

    def test_error_names_them(self, holes):
        with pytest.raises(
            LayoutError, match="2 of 24 frames are missing .*: Y=0, X=3; Y=1, X=11. "
        ):
            usidx.stack(holes, pattern=NAMES)

    def test_nan(self, holes, tmp_path):
        da = usidx.stack(holes, pattern=NAMES, missing="nan")
        wanted = expected(2, 12).astype("f4")
        wanted[0, 3] = wanted[1, 11] = np.nan
        np.testing.assert_array_equal(da.values, wanted)
        assert da.dtype == np.float32
        assert da.measured.dims == ("Y", "X")
        assert int((~da.measured).sum()) == 2
        assert da.attrs["stack_missing"] == 2
        store = da.usid.to_zarr(tmp_path / "map.zarr")
        np.testing.assert_array_equal(usidx.open(store).values, wanted)

    def test_drop_gives_points(self, holes, tmp_path):
        da = usidx.stack(holes, pattern=NAMES, missing="drop", spacing={"X": 0.25})
        assert da.dims == ("position", "v", "u")
        assert da.sizes["position"] == 22
        assert da.dtype == np.uint16
        keep = np.ones((2, 12), bool)
        keep[0, 3] = keep[1, 11] = False
        np.testing.assert_array_equal(da.values, expected(2, 12)[keep])
        np.testing.assert_array_equal(da.X, 0.25 * np.argwhere(keep)[:, 1])
        found = usidx.open(da.usid.to_h5usid(tmp_path / "points.h5"))
        np.testing.assert_array_equal(found.values, da.values)
        folded = found.usid.to_nd(fill_value=0)
        assert folded.sizes["X"] == 12

    def test_drop_of_a_full_grid_is_a_grid(self, grid):
        assert usidx.stack(grid, pattern=NAMES, missing="drop").dims == ("Y", "X", "v", "u")

    def test_cut_ends_the_scan_before_what_is_not_whole(self, folder):
        for number in range(14):
            np.save(folder / f"{number // 4}_{number % 4}.npy", frame(number))
        da = usidx.stack(folder, pattern=NAMES, missing="cut")
        np.testing.assert_array_equal(da.values, expected(3, 4))
        assert da.attrs["stack_files"] == 12
        (folder / "1_2.npy").unlink()
        with pytest.warns(UserWarning, match="missing at Y=1, where the scan is cut: 6 frames"):
            da = usidx.stack(folder, pattern=NAMES, missing="cut")
        np.testing.assert_array_equal(da.values, expected(1, 4))
        (folder / "0_1.npy").unlink()
        with pytest.raises(LayoutError, match="the first entry along Y has 3 of 4 frames"):
            usidx.stack(folder, pattern=NAMES, missing="cut")

    def test_a_whole_row_that_is_missing(self, grid):
        for name in os.listdir(grid):
            if name.endswith("_5.tif"):
                (grid / name).unlink()
        with pytest.raises(LayoutError, match="2 of 24 frames are missing .*Y=0, X=5; Y=1, X=5"):
            usidx.stack(grid, pattern=NAMES)

    def test_sizes_say_what_there_should_be(self, grid):
        with pytest.raises(LayoutError, match="12 of 36 frames are missing .*Y=2, X=0"):
            usidx.stack(grid, pattern=NAMES, sizes={"Y": 3})
        with pytest.raises(LayoutError, match=r"Y has 2 values \(0 to 1\), not the 1"):
            usidx.stack(grid, pattern=NAMES, sizes={"Y": 1})
        with pytest.raises(LayoutError, match="12 frames have a Y that is not among the 2 values"):
            usidx.stack(grid, pattern=NAMES, sizes={"Y": [1, 2]})

    def test_two_files_at_one_place(self, grid):
        shutil.copy(grid / "scan_1_1.tif", grid / "scan_01_1.tif")
        with pytest.raises(
            LayoutError, match=r"'scan_0?1_1.tif' and 'scan_0?1_1.tif' are both at Y=1"
        ):
            usidx.stack(grid, pattern=NAMES)

    def test_no_grid_at_all(self, folder):
        for number in range(300):
            np.save(folder / f"{number}_{number * number}.npy", np.zeros((1, 1)))
        with pytest.raises(LayoutError, match="the positions are no grid"):
            usidx.stack(folder, pattern=NAMES)
        assert usidx.stack(folder, pattern=NAMES, missing="drop").sizes["position"] == 300


class TestStrangers:
    def test_left_out_and_said(self, grid):
        (grid / "thumbs.db").write_text("x")
        (grid / "settings.json").write_text("{}")
        (grid / ".hidden.tif").write_text("x")
        (grid / "folder.tif").mkdir()
        (grid / "preview.png").write_bytes(b"\x89PNG")
        (grid / "scan_1_12.tif").touch()
        (grid / "scan_1_13.tif.part").write_text("x")
        tifffile.imwrite(grid / "overview.tif", frame(99, (50, 50)))
        with pytest.warns(UserWarning, match=r"1 empty .*scan_1_12.tif.*overview.tif"):
            da = usidx.stack(grid, pattern=NAMES)
        np.testing.assert_array_equal(da.values, expected(2, 12))
        left = {name for names in report_of(da).left_out.values() for name in names}
        assert left == {
            "thumbs.db", "settings.json", ".hidden.tif", "preview.png", "scan_1_12.tif",
            "scan_1_13.tif.part", "overview.tif",
        }  # fmt: skip
        assert len(da.attrs["stack_left_out"]) == 5

    def test_kinds_that_compete_are_not_chosen_from(self, grid):
        for number in range(24):
            np.save(grid / f"{number}.npy", frame(number))
        with pytest.raises(OptionError, match=r"several kinds \(24 '.tif', 24 '.npy'\)"):
            usidx.stack(grid, pattern=NAMES)

    def test_nothing_there(self, folder):
        (folder / "notes.txt").write_text("x")
        with pytest.raises(StoreNotFoundError, match=r"no file of .* is an image .*notes.txt"):
            usidx.stack(folder)
        with pytest.raises(StoreNotFoundError, match="there is no folder"):
            usidx.stack(folder / "nowhere")
        with pytest.raises(StoreNotFoundError, match="is an image to stack"):
            usidx.stack(f"{folder}/*.tif")
        with pytest.raises(NotUsidError, match="is no image that usidx stacks"):
            usidx.stack(folder / "notes.txt")


class TestDiffering:
    @pytest.fixture
    def odd(self, grid):
        tifffile.imwrite(grid / "scan_0_2.tif", frame(2, (6, 4)))
        tifffile.imwrite(grid / "scan_1_4.tif", frame(16, dtype="f4"))
        return grid

    def test_all_are_named_up_front(self, odd):
        message = "2 of 24 files .* not like the first, which has 6 x 5 uint16: 'scan_0_2.tif' "
        with pytest.raises(LayoutError, match=message + r"\(6 x 4 uint16\), 'scan_1_4.tif'"):
            usidx.stack(odd, pattern=NAMES, check="all")

    def test_what_cannot_be_read_is_among_them(self, odd):
        (odd / "scan_1_0.tif").write_bytes(b"II*\0 and then nothing more")
        with pytest.raises(LayoutError, match=r"3 of 24 .*scan_0_2.*scan_1_0.tif' \(not read: "):
            usidx.stack(odd, pattern=NAMES, check="all")
        for name in ("scan_0_2.tif", "scan_1_4.tif"):
            (odd / name).write_bytes((odd / "scan_0_0.tif").read_bytes())
        with pytest.raises(DamagedStoreError, match=r"scan_1_0.tif' is a TIFF without"):
            usidx.stack(odd, pattern=NAMES, check="all")

    def test_one_is_named_when_it_is_read(self, odd):
        da = usidx.stack(odd, pattern=NAMES, check="first", chunks={"Y": 1, "X": 1})
        assert int(da[0, 1, 0, 0]) == 1000
        with pytest.raises(
            LayoutError, match=r"scan_0_2.tif' is not like the others: 6 x 4 uint16"
        ):
            da[0, 2].compute()

    def test_cut_short(self, grid):
        whole = (grid / "scan_0_2.tif").read_bytes()
        da = usidx.stack(grid, pattern=NAMES)
        (grid / "scan_0_2.tif").write_bytes(whole[:-40])
        with pytest.raises(SourceChangedError, match=r"scan_0_2.tif' has changed"):
            da.compute()
        again = usidx.stack(grid, pattern=NAMES, check="first")
        with pytest.raises(DamagedStoreError, match=r"scan_0_2.tif' cannot be read"):
            again.compute()
        (grid / "scan_0_2.tif").unlink()
        with pytest.raises(StoreNotFoundError, match=r"scan_0_2.tif' is not there any more"):
            again.compute()


class TestTables:
    ROWS = {f"scan_{y}_{x}.tif": (0.5 * y, 2.0 * x) for y in range(2) for x in range(12)}

    def test_csv(self, grid, tmp_path):
        table = tmp_path / "stage.csv"
        lines = ["file,Y [mm],X [um]", *(f"{name},{y},{x}" for name, (y, x) in self.ROWS.items())]
        table.write_text("\n".join(lines[:1] + lines[:0:-1]))
        da = usidx.stack(grid, positions=table)
        np.testing.assert_array_equal(da.values, expected(2, 12))
        np.testing.assert_array_equal(da.X, 2.0 * np.arange(12))
        assert (da.Y.attrs["units"], da.X.attrs["units"]) == ("mm", "um")

    @pytest.mark.parametrize("as_list", [False, True])
    def test_json(self, grid, tmp_path, as_list):
        rows = {name: {"Y": y, "X": x} for name, (y, x) in self.ROWS.items()}
        content = [{"file": name, **row} for name, row in rows.items()] if as_list else rows
        (tmp_path / "stage.json").write_text(json.dumps(content))
        da = usidx.stack(grid, positions=tmp_path / "stage.json")
        np.testing.assert_array_equal(da.values, expected(2, 12))
        np.testing.assert_array_equal(usidx.stack(grid, positions=rows).values, da.values)

    def test_what_the_table_names_should_be_there(self, grid):
        rows = {name: {"Y": y, "X": x} for name, (y, x) in self.ROWS.items()}
        (grid / "scan_1_3.tif").unlink()
        with pytest.raises(LayoutError, match="1 of 24 frames are missing .*Y=0.5, X=6.0"):
            usidx.stack(grid, positions=rows)
        rows.pop("scan_0_0.tif")
        with pytest.warns(UserWarning, match=r"not in the table of positions: scan_0_0.tif"):
            da = usidx.stack(grid, positions=rows, missing="nan")
        assert int(da.measured.sum()) == 22
        with pytest.raises(OptionError, match="names none of the 23 files"):
            usidx.stack(grid, positions={"a.tif": {"X": 1}})

    def test_headers(self, folder):
        for number in range(6):
            off = 0.01 * (-1) ** number  # as stages are
            told = {"stage": {"x": 10 + 0.5 * (number % 3) + off, "y": number // 3}}
            tifffile.imwrite(
                folder / f"{number:x}.tif",
                frame(number),
                description=json.dumps(told),
                metadata=None,
            )
        da = usidx.stack(folder, metadata={"Y": "stage/y", "X": "stage/x"}, spacing={"X": 0.5})
        np.testing.assert_array_equal(da.values, expected(2, 3))
        np.testing.assert_allclose(da.X, [10, 10.5, 11], atol=0.011)
        with pytest.raises(LayoutError, match=r"X = 10.\d+ is 0.\d+ of the spacing 0.35 away"):
            usidx.stack(folder, metadata={"Y": "stage/y", "X": "stage/x"}, spacing={"X": 0.35})
        with pytest.raises(
            MainNotFoundError, match=r"has no 'stage/z' \(did you mean 'stage/[xy]'"
        ):
            usidx.stack(folder, metadata={"Z": "stage/z"})


class TestPreprocess:
    def test_is_applied_when_a_frame_is_read(self, grid):
        calls = []

        def half(values):
            calls.append(1)
            return values[::2].astype("f4") / 2

        da = usidx.stack(grid, pattern=NAMES, preprocess=half)
        assert len(calls) == 1  # the first, to learn what comes out
        assert da.shape == (2, 12, 3, 5)
        assert da.dtype == np.float32
        np.testing.assert_array_equal(da.values, expected(2, 12)[:, :, ::2].astype("f4") / 2)
        assert len(calls) == 1 + 24
        assert "half" in da.attrs["stack_preprocess"]

    def test_travels(self, grid):
        da = usidx.stack(grid, pattern=NAMES, preprocess=lambda values: values + 1)
        far = pickle.loads(pickle.dumps(da.data))
        np.testing.assert_array_equal(far.compute(), expected(2, 12) + 1)

    def test_failures_name_the_frame(self, grid):
        with pytest.raises(StepError, match=r"scan_0_0.tif': TypeError"):
            usidx.stack(grid, pattern=NAMES, preprocess=lambda: 1)
        da = usidx.stack(grid, pattern=NAMES, preprocess=lambda v: v[v[:, 0] < 13000])
        with pytest.raises(StepError, match=r"scan_1_1.tif' became \(0, 5\)"):
            da.compute()

    def test_another_function_is_another_array(self, grid):
        first = usidx.stack(grid, pattern=NAMES, preprocess=np.sqrt)
        second = usidx.stack(grid, pattern=NAMES, preprocess=np.square)
        assert first.data.name != second.data.name
        assert first.data.name == usidx.stack(grid, pattern=NAMES, preprocess=np.sqrt).data.name


class TestUse:
    def test_parts_read_only_their_frames(self, grid):
        da = usidx.stack(grid, pattern=NAMES, chunks={"Y": 1, "X": 4})
        for name in os.listdir(grid):
            if not name.startswith("scan_1_"):
                (grid / name).unlink()
        np.testing.assert_array_equal(
            da[1, 2:9:3, 1:4, 2].values, expected(2, 12)[1, 2:9:3, 1:4, 2]
        )
        np.testing.assert_array_equal(da[1, :, ::-2, -1].values, expected(2, 12)[1, :, ::-2, -1])
        np.testing.assert_array_equal(da[1, [5, 0, 7]].values, expected(2, 12)[1, [5, 0, 7]])

    def test_process(self, grid, tmp_path):
        da = usidx.stack(grid, pattern=NAMES, chunks={"X": 5})

        @usidx.step("Mean_Frame", version="1")
        def mean_frame(frames):
            return frames.mean(("v", "u"))

        result = da.usid.process(mean_frame).run(into=tmp_path / "out.zarr")
        np.testing.assert_allclose(result.open().values, expected(2, 12).mean((2, 3)))
        assert [each.path for each in da.usid.process(mean_frame).existing(tmp_path / "out.zarr")]

    def test_export_in_chunks_of_many_frames_and_tiles(self, grid, tmp_path):
        import zarr

        calls = []
        da = usidx.stack(
            grid, pattern=NAMES, chunks={"X": 3}, preprocess=lambda v: (calls.append(1), v)[1]
        )
        path = da.usid.to_zarr(tmp_path / "a.zarr")
        assert zarr.open(path)["Measurement_000/Channel_000/Raw_Data/Raw_Data"].chunks[1] == 3
        calls.clear()
        path = da.usid.to_zarr(tmp_path / "b.zarr", chunks={"Y": 1, "X": 6, "v": 2, "u": 2})
        assert len(calls) == 24  # each frame is read once
        np.testing.assert_array_equal(usidx.open(path).values, expected(2, 12))
        plain = xr.open_zarr(path, group="Measurement_000/Channel_000/Raw_Data")
        np.testing.assert_array_equal(plain.Raw_Data.values, expected(2, 12))

    def test_assigning_other_roles(self, grid):
        da = usidx.stack(grid, pattern=NAMES)
        pixels = da.usid.assign_roles(position=["v", "u"])
        assert pixels.usid.spectroscopic_dims == ("Y", "X")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"missing": "nann"}, r"missing='nann' is not known \(did you mean 'nan'"),
            ({"units": {"x": "um"}}, "units names 'x', which is no dimension"),
            ({"frame_dims": ("a",)}, "must name the 2 axes of a frame"),
            ({"dims": ("Y", "Z")}, "must name Y, X, each once"),
            ({"positions": {}, "metadata": {"X": "x"}}, "pattern and metadata both say"),
            ({"preprocess": 3}, "preprocess=3 is no function"),
            ({"spacing": {"X": [1, 2]}}, r"spacing\['X'\] has 2 values, X has 12"),
        ],
    )
    def test_options_that_do_not_fit(self, grid, options, message):
        with pytest.raises(OptionError, match=message):
            usidx.stack(grid, pattern=NAMES, **options)


def test_very_many_names(folder):
    content = pickle_free_npy()
    for number in range(20_000):
        (folder / f"f{number // 100}_{number % 100}.npy").write_bytes(content)
    da = usidx.stack(folder, pattern=r"f(?P<Y>\d+)_(?P<X>\d+)")
    assert da.shape == (200, 100, 1, 1)
    assert len(pickle.dumps(da.data)) < 2e6


def pickle_free_npy() -> bytes:
    import io

    buffer = io.BytesIO()
    np.save(buffer, np.zeros((1, 1)))
    return buffer.getvalue()
