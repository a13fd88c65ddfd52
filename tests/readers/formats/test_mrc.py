"""MRC files: made of their published header, and read by mrcfile beside."""

from __future__ import annotations

import pathlib
import struct
from typing import Any

import numpy as np
import pytest

import usidx
from usidx.errors import NotUsidError
from usidx.testing import check_reader

VALUES = np.random.default_rng(4).integers(-100, 100, (3, 4, 5))


def written(path: pathlib.Path, order: str = "<", extra: bytes = b"", **said: Any) -> pathlib.Path:
    """A file of VALUES as bytes of mode 0, with other words of the header by their numbers."""
    head = bytearray(1024)
    known = {"0": 5, "1": 4, "2": 3, "7": 5, "8": 4, "9": 3, "23": len(extra)}
    known |= {str(number): each for number, each in zip(range(10, 13), (7.5, 10.0, 10.5))}
    known |= {"16": 1, "17": 2, "18": 3}
    for word, value in (
        known | {key.removeprefix("w"): each for key, each in said.items()}
    ).items():
        kind = "f" if isinstance(value, float) else "i"
        struct.pack_into(f"{order}{kind}", head, 4 * int(word), value)
    head[208:216] = b"MAP " + (b"\x11\x11\0\0" if order == ">" else b"DD\0\0")
    path.write_bytes(bytes(head) + extra + VALUES.astype("i1").tobytes())
    return path


def steps(opened: Any) -> dict[str, tuple[float, str]]:
    return {
        str(dim): (float(opened[dim][1] - opened[dim][0]), opened[dim].attrs["units"])
        for dim in opened.dims
    }


def test_axes_lie_as_the_header_says(tmp_path: pathlib.Path) -> None:
    """Columns, rows and sections along any of x, y and z, each with its own step."""
    plain = usidx.open(written(tmp_path / "a.map"))
    assert steps(plain) == {"z": (3.5, "Å"), "y": (2.5, "Å"), "x": (1.5, "Å")}
    np.testing.assert_array_equal(plain, VALUES)
    path = written(tmp_path / "b.map", w16=3, w17=1, w18=2)
    turned = usidx.open(path)
    assert steps(turned) == {"y": (2.5, "Å"), "x": (1.5, "Å"), "z": (3.5, "Å")}
    assert turned.usid.position_dims == ("y",)
    check_reader(path, VALUES.astype("i1"))
    odd = usidx.open(written(tmp_path / "c.map", w16=0, w17=0, w18=0))
    assert odd.dims == ("z", "y", "x")


def test_bytes_with_and_without_sign(tmp_path: pathlib.Path) -> None:
    """Signed, as MRC2014 says; IMOD's own word counts, and people's most."""
    plain = written(tmp_path / "a.mrc")
    assert usidx.open(plain).dtype == np.int8
    unsigned = VALUES.astype("i1").view("u1")
    np.testing.assert_array_equal(usidx.open(plain, unsigned_bytes=True), unsigned)
    imod = written(tmp_path / "b.mrc", w38=1146047817, w39=0)
    np.testing.assert_array_equal(usidx.open(imod), unsigned)
    np.testing.assert_array_equal(usidx.open(imod, unsigned_bytes=False), VALUES)
    signed = written(tmp_path / "c.mrc", w38=1146047817, w39=1)
    np.testing.assert_array_equal(usidx.open(signed), VALUES)


def test_order_of_bytes(tmp_path: pathlib.Path) -> None:
    path = written(tmp_path / "a.mrc", ">")
    np.testing.assert_array_equal(usidx.open(path), VALUES)
    content = bytearray(path.read_bytes())
    content[212:216] = bytes(4)  # without a stamp the sizes tell
    path.write_bytes(content)
    assert steps(usidx.open(path))["x"] == (1.5, "Å")
    with pytest.raises(NotUsidError, match="mode 16"):
        usidx.open(written(tmp_path / "b.mrc", w3=16))


@pytest.mark.parametrize("order", ["<", ">"])
def test_files_of_before_the_mark(tmp_path: pathlib.Path, order: str) -> None:
    """Their name and their length tell; a longer file is of nobody."""
    path = written(tmp_path / "a.st", order)
    content = bytearray(path.read_bytes())
    content[208:216] = bytes(8)
    path.write_bytes(content)
    np.testing.assert_array_equal(usidx.open(path), VALUES)
    path.write_bytes(content + b"more")
    with pytest.raises(NotUsidError):
        usidx.open(path)


def test_headers_of_fei(tmp_path: pathlib.Path) -> None:
    """Pixels in meters and tilts in degrees, for each of 1024 frames."""
    numbers = np.zeros((1024, 32), "<f4")
    numbers[:3, 0], numbers[:, 11] = (-60, 0, 60), 2.5e-10
    opened = usidx.open(written(tmp_path / "a.mrc", extra=numbers.tobytes()))
    np.testing.assert_array_equal(opened, VALUES)
    np.testing.assert_allclose(opened["x"], 2.5 * np.arange(5), rtol=1e-6)
    assert opened.attrs["mrc.alpha_tilt"] == [-60.0, 0.0, 60.0]


@pytest.mark.parametrize("dtype", ["i1", "i2", "u2", "f4", "c8", "f2"])
def test_mrcfile_reads_the_same(tmp_path: pathlib.Path, dtype: str) -> None:
    mrcfile = pytest.importorskip("mrcfile", reason="mrcfile is not installed")
    values = VALUES.astype(dtype) * (1 + 1j if dtype == "c8" else 1)
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(values.astype(dtype))
        file.set_volume()
        file.voxel_size = (1.5, 2.5, 3.5)
        file.header.nxstart, file.header.origin.x = 7, 3.5
    opened = usidx.open(tmp_path / "a.mrc")
    np.testing.assert_array_equal(opened, values)
    assert opened.dtype == dtype
    assert steps(opened) == {"z": (3.5, "Å"), "y": (2.5, "Å"), "x": (1.5, "Å")}
    assert opened.attrs["mrc.start"] == [7, 0, 0]
    assert opened.attrs["mrc.origin"][0] == 3.5
