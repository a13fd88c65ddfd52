"""Frames of scans: bare ones, and those of detectors, against the bytes that were written."""

from __future__ import annotations

import hashlib
import json
import pathlib
from typing import Any

import numpy as np
import pytest

import usidx
from usidx.errors import NotUsidError, OptionError
from usidx.testing import check_reader


def told(samples: pathlib.Path, name: str) -> Any:
    rows = json.loads((samples / "peers" / "MANIFEST.json").read_text())
    return next(row for row in rows if row["path"] == f"libertem/{name}")


def digest(values: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()


def test_bare_frames(samples: pathlib.Path) -> None:
    facts, path = told(samples, "frames.raw"), samples / "peers" / "libertem" / "frames.raw"
    options: Any = {"reader": "raw", "dtype": "<u2", "sig_shape": (16, 20)}
    opened = usidx.open(path, nav_shape=(4, 5), **options)
    assert opened.dims == ("Y", "X", "v", "u")
    assert digest(opened.values) == facts["sha256"]
    check_reader(path, opened.values, cut_short=False, nav_shape=(4, 5), **options)
    assert usidx.open(path, **options).shape == (20, 16, 20)


@pytest.fixture
def frames(tmp_path: pathlib.Path) -> tuple[pathlib.Path, Any]:
    """Ten frames of 2 x 3 that tell their number."""
    values = np.arange(60, dtype="<u2").reshape(10, 2, 3)
    values.tofile(tmp_path / "a.raw")
    return tmp_path / "a.raw", values


@pytest.mark.parametrize("offset", [-3, -1, 0, 1, 4])
def test_frames_in_step_with_the_scan(frames: tuple[pathlib.Path, Any], offset: int) -> None:
    path, values = frames
    opened = usidx.open(
        path, reader="raw", dtype="<u2", sig_shape=(2, 3), nav_shape=(3, 4), sync_offset=offset
    )
    expected = np.full((12, 2, 3), np.nan)
    for place in range(12):
        if 0 <= place + offset < 10:
            expected[place] = values[place + offset]
    expected = expected.reshape(3, 4, 2, 3)
    np.testing.assert_array_equal(opened, expected)
    there = ~np.isnan(expected[..., 0, 0])
    np.testing.assert_array_equal(opened.measured, there)
    for key in ((1, 2), (slice(0, 2), 3), (slice(None), slice(1, 3), 0)):
        np.testing.assert_array_equal(opened[key], expected[key])


def test_missing_frames_as_a_given_value(frames: tuple[pathlib.Path, Any]) -> None:
    path, values = frames
    options: Any = {"reader": "raw", "dtype": "<u2", "sig_shape": (2, 3), "nav_shape": (3, 4)}
    opened = usidx.open(path, fill_value=0, **options)
    assert opened.dtype == np.uint16
    np.testing.assert_array_equal(opened.values.reshape(12, 2, 3)[:10], values)
    assert (opened.values.reshape(12, 2, 3)[10:] == 0).all()
    assert opened.measured.values.sum() == 10
    with pytest.raises(OptionError, match="fill_value"):
        usidx.open(path, fill_value=-1.5, **options)
    with pytest.raises(OptionError, match="leaves 0 of 12 positions"):
        usidx.open(path, sync_offset=50, **options)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("dtype", "O"), ("dtype", "u1,u2"), ("dtype", "M8[s]"), ("dtype", "S4"),
        ("sig_shape", (2.5,)), ("sig_shape", "ab"), ("sig_shape", ()), ("sig_shape", 0),
        ("sync_offset", 1.5), ("sync_offset", "a"), ("sync_offset", 10), ("nav_shape", (3, 4.0)),
        ("fill_value", 70_000), ("fill_value", -1), ("fill_value", 1.5), ("fill_value", "x"),
        ("file_header", -6), ("frame_footer", -2), ("frame_header", -1), ("something", 1),
    ],
)  # fmt: skip
def test_options_that_cannot_be(frames: tuple[pathlib.Path, Any], option: str, value: Any) -> None:
    options: dict[str, Any] = {"dtype": "<u2", "sig_shape": (2, 3), "nav_shape": (3, 4)}
    with pytest.raises(OptionError, match=option):
        usidx.open(frames[0], reader="raw", **{**options, option: value})


@pytest.mark.parametrize("dtype", ["<i8", "<u8"])
def test_whole_numbers_beside_missing_frames_are_never_rounded(
    tmp_path: pathlib.Path, dtype: str
) -> None:
    values = np.arange(18, dtype=dtype).reshape(3, 2, 3)
    values[1] += 2**53
    values.tofile(tmp_path / "frames.raw")
    options: Any = {"reader": "raw", "dtype": dtype, "sig_shape": (2, 3), "nav_shape": 4}
    lossy = usidx.open(tmp_path / "frames.raw", **options)
    np.testing.assert_array_equal(lossy[0].values, values[0])
    with pytest.raises(OptionError, match="fill_value="):
        lossy.compute()
    exact = usidx.open(tmp_path / "frames.raw", fill_value=0, **options)
    np.testing.assert_array_equal(exact[:3].values, values)
    assert exact.dtype == np.dtype(dtype)
    assert not exact[3].any()


def test_headers_between_frames(tmp_path: pathlib.Path) -> None:
    values = np.random.default_rng(0).integers(0, 999, (5, 4, 3)).astype(">i4")
    with open(tmp_path / "a.bin", "wb") as file:
        file.write(b"head")
        for frame in values:
            file.write(b"frame start" + frame.tobytes() + b"end")
    opened = usidx.open(
        tmp_path / "a.bin", reader="raw", dtype=">i4", sig_shape=(4, 3),
        file_header=4, frame_header=11, frame_footer=3,
    )  # fmt: skip
    np.testing.assert_array_equal(opened, values)
    assert opened.dtype == np.int32


def test_bare_frames_need_to_be_told(frames: tuple[pathlib.Path, Any]) -> None:
    path, _ = frames
    with pytest.raises(NotUsidError, match="reader='raw'"):
        usidx.open(path)
    with pytest.raises(OptionError, match="say what they are"):
        usidx.open(path, reader="raw")
    for wrong in ({"dtype": "nonsense"}, {"sig_shape": 0}, {"nav_shape": (0, 3)}):
        with pytest.raises(OptionError):
            usidx.open(path, **{"reader": "raw", "dtype": "u2", "sig_shape": 6, **wrong})


@pytest.mark.parametrize("name", ["scan.mib", "scan.blo", "stack.mrc"])
def test_detectors(samples: pathlib.Path, name: str) -> None:
    facts, path = told(samples, name), samples / "peers" / "libertem" / name
    opened = usidx.open(path)
    assert opened.dtype == np.dtype(facts["dtype"])
    assert digest(opened.values) == facts["sha256"]
    for dim, axis in zip(opened.dims, facts.get("axes", ())):
        expected = axis["offset"] + axis["scale"] * np.arange(axis["size"])
        np.testing.assert_allclose(opened[dim], expected)
        assert opened[dim].attrs["units"] == axis["units"]
    check_reader(path, opened.values)


def test_rows_of_merlin_as_asked(samples: pathlib.Path) -> None:
    path = samples / "peers" / "libertem" / "scan.mib"
    plain, turned = usidx.open(path), usidx.open(path, flip_rows=True)
    np.testing.assert_array_equal(turned, plain[..., ::-1, :])
    assert usidx.open(path, nav_shape=(3, 2)).shape == (3, 2, 256, 256)


@pytest.mark.parametrize("dtype", ["<i2", ">f4", "<c8", "<u2", "i1"])
def test_volumes(tmp_path: pathlib.Path, dtype: str) -> None:
    mode = {"i1": 0, "i2": 1, "f4": 2, "c8": 4, "u2": 6}[dtype.lstrip("<>")]
    order = ">" if dtype.startswith(">") else "<"
    values = (100 * np.random.default_rng(1).random((3, 4, 5))).astype(dtype)
    head = bytearray(1024)
    head[:16] = np.array([5, 4, 3, mode], order + "i4").tobytes()
    head[28:40] = np.array([5, 4, 3], order + "i4").tobytes()
    head[40:52] = np.array([10.0, 12.0, 9.0], order + "f4").tobytes()
    head[92:96] = np.array([64], order + "i4").tobytes()
    head[208:212] = b"MAP "
    head[212:214] = b"\x11\x11" if order == ">" else b"\x44\x44"
    (tmp_path / "a.mrc").write_bytes(bytes(head) + bytes(64) + values.tobytes())
    opened = usidx.open(tmp_path / "a.mrc")
    np.testing.assert_array_equal(opened, values)
    np.testing.assert_allclose(opened.y, 3.0 * np.arange(4))
    np.testing.assert_allclose(opened.x, 2.0 * np.arange(5))
    assert opened.x.attrs["units"] == "Å"
    assert usidx.open(tmp_path / "a.mrc", nav_shape=3).shape == (3, 4, 5)
