"""A store grows with a scan that goes on: only what is new is computed, and nothing is mixed up."""

from __future__ import annotations

import os
import pathlib

import numpy as np
import pytest

import usidx
from usidx.errors import LayoutError, OptionError, UsidError
from usidx.exporting import extending

NAMES = r"(?P<Y>\d+)_(?P<X>\d+)"


def frame(number: int) -> np.ndarray:
    return (number * 1000 + np.arange(30).reshape(6, 5)).astype("u2")


def measure(folder: pathlib.Path, count: int, columns: int = 4) -> None:
    """Write the frames of a scan up to `count`."""
    folder.mkdir(exist_ok=True)
    for number in range(count):
        path = folder / f"{number // columns}_{number % columns}.npy"
        if not path.exists():
            np.save(path, frame(number))


def expected(rows: int) -> np.ndarray:
    return np.stack([frame(n) for n in range(rows * 4)]).reshape(rows, 4, 6, 5)


@pytest.fixture
def calls() -> list[int]:
    return []


@pytest.fixture
def stacked(tmp_path, calls):
    def of(count: int, **options):
        measure(tmp_path / "map", count)

        def noted(values):
            calls.append(int(values[0, 0]) // 1000)
            return values

        options = {"missing": "cut", "preprocess": noted, "chunks": {"Y": 1}, **options}
        return usidx.stack(tmp_path / "map", pattern=NAMES, **options)

    return of


def test_only_what_is_new_is_computed(stacked, calls, tmp_path):
    path = tmp_path / "map.zarr"
    first = stacked(10)  # two whole rows of four
    assert first.sizes["Y"] == 2
    first.usid.to_zarr(path, extend=True)
    np.testing.assert_array_equal(usidx.open(path).values, expected(2))
    old = os.stat(next((path / "Measurement_000").rglob("c/0/*/*/*"))).st_ino
    later = stacked(22)
    calls.clear()
    later.usid.to_zarr(path, extend=True)
    assert sorted(set(calls)) == [0, 7, *range(8, 20)]  # the first and the last stored are compared
    found = usidx.open(path)
    np.testing.assert_array_equal(found.values, expected(5))
    np.testing.assert_array_equal(found.Y, range(5))
    assert os.stat(next((path / "Measurement_000").rglob("c/0/*/*/*"))).st_ino == old
    assert sorted(os.listdir(tmp_path)) == ["map", "map.zarr"]
    calls.clear()
    stacked(22).usid.to_zarr(path, extend=True)  # nothing new
    assert sorted(set(calls)) == [0, 7 + 12]
    assert usidx.validate(path, values=True).ok


def test_chunks_that_are_not_full_are_written_again(stacked, tmp_path):
    path = tmp_path / "map.zarr"
    stacked(12, chunks={"Y": 2}).usid.to_zarr(path, compression="zstd", chunks={"Y": 2})
    stacked(28, chunks={"Y": 3}).usid.to_zarr(path, extend=True)
    np.testing.assert_array_equal(usidx.open(path).values, expected(7))


def test_results_beside_it_stay(stacked, tmp_path):
    path = tmp_path / "map.zarr"

    @usidx.step("Mean_Frame", version="1")
    def mean_frame(frames):
        return frames.mean(("v", "u"))

    stacked(8).usid.to_zarr(path)
    usidx.open(path, "Raw_Data").usid.process(mean_frame).run()
    stacked(12).usid.to_zarr(path, extend=True)
    result = usidx.open(path, "Raw_Data").usid.process(mean_frame).run()
    assert result.path.endswith("_001")  # the old one is of another source
    np.testing.assert_allclose(result.open().values, expected(3).mean((2, 3)))


def test_a_failure_leaves_what_was_there(stacked, tmp_path, monkeypatch):
    path = tmp_path / "map.zarr"
    stacked(8).usid.to_zarr(path)
    later = stacked(16)
    (tmp_path / "map" / "3_3.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(OSError, match="3_3.npy"):
        later.usid.to_zarr(path, extend=True)
    np.testing.assert_array_equal(usidx.open(path).values, expected(2))
    assert sorted(os.listdir(tmp_path)) == ["map", "map.zarr"]


def test_where_files_have_one_name_each(stacked, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("no links here")

    monkeypatch.setattr(extending.os, "link", refuse)
    path = tmp_path / "map.zarr"
    stacked(8).usid.to_zarr(path)
    stacked(16).usid.to_zarr(path, extend=True)
    np.testing.assert_array_equal(usidx.open(path).values, expected(4))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda da: da.isel(Y=slice(1)), "it has 2 entries along 'Y', the array 1"),
        (lambda da: da.assign_coords(Y=da.Y + 1), "its values along 'Y' are others"),
        (lambda da: da.isel(X=slice(3)), r"its 'X' has \d values, that of the array 3"),
        (lambda da: da.astype("f4"), "its dtype are uint16, not float32"),
        (lambda da: da + np.uint16(1), "its values at {'Y': 0, 'X': 0} are others"),
        (lambda da: da.assign_attrs(stack_preprocess="other"), "its stack_preprocess is"),
        (lambda da: da.isel(v=slice(None, None, -1)), "its spectroscopic side is another"),
    ],
)
def test_what_is_no_continuation(stacked, tmp_path, change, message):
    path = tmp_path / "map.zarr"
    stacked(8).usid.to_zarr(path)
    with pytest.raises(LayoutError, match=message):
        change(stacked(16)).usid.to_zarr(path, extend=True)
    np.testing.assert_array_equal(usidx.open(path).values, expected(2))


def test_gaps_may_be_filled_by_now(stacked, tmp_path):
    path = tmp_path / "map.zarr"
    stacked(7, missing="nan", chunks={"Y": 1}).usid.to_zarr(path)
    with pytest.raises(LayoutError, match="1 of its frames were missing, which may be there now"):
        stacked(12, missing="nan").usid.to_zarr(path, extend=True)


def test_options(stacked, tmp_path):
    with pytest.raises(OptionError, match="not both"):
        stacked(8).usid.to_zarr(tmp_path / "map.zarr", extend=True, overwrite=True)


def test_a_loop_from_the_first_frame_on(tmp_path):
    """Frames come in any order, half written and renamed; each round leaves a whole store."""
    folder, path = tmp_path / "map", tmp_path / "live.zarr"
    folder.mkdir()

    def round_() -> int:
        scan = usidx.stack(folder, pattern=NAMES, sizes={"X": 4}, missing="cut")
        scan.usid.to_zarr(path, extend=True)
        return usidx.open(path).sizes["Y"]

    def put(number: int) -> None:
        np.save(folder / "coming.part", frame(number))
        os.rename(folder / "coming.part.npy", folder / f"{number // 4}_{number % 4}.npy")

    put(0)
    with pytest.raises(LayoutError, match="nothing is whole yet"):
        round_()
    for number in (3, 1):
        put(number)
    whole = (folder / "0_3.npy").read_bytes()
    (folder / "0_2.npy").write_bytes(whole[:-7])
    with pytest.raises(UsidError, match=r"0_2\.npy"):
        round_()
    assert sorted(os.listdir(tmp_path)) == ["map"]
    put(2)
    assert round_() == 1
    for number in (7, 5, 4):
        put(number)
    assert round_() == 1
    (folder / "1_2.npy").write_bytes(whole[:-7])
    with pytest.raises(UsidError, match=r"1_2\.npy"):
        round_()
    np.testing.assert_array_equal(usidx.open(path).values, expected(1))
    for number in (6, 11, 10, 9, 8):
        put(number)
    assert round_() == 3
    np.testing.assert_array_equal(usidx.open(path).values, expected(3))


def test_a_row_that_was_taken_for_whole_is_told(tmp_path):
    measure(tmp_path / "map", 1)
    usidx.stack(tmp_path / "map", pattern=NAMES, missing="cut").usid.to_zarr(
        tmp_path / "live.zarr", extend=True
    )
    measure(tmp_path / "map", 8)
    scan = usidx.stack(tmp_path / "map", pattern=NAMES, missing="cut")
    with pytest.raises(LayoutError, match=r"'X' has 1 values, that of the array 4 .*sizes="):
        scan.usid.to_zarr(tmp_path / "live.zarr", extend=True)
