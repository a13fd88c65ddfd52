"""PNG and JPEG files."""

from __future__ import annotations

import pathlib
import zlib

import numpy as np
import PIL.Image
import pytest

import usidx
from usidx.errors import DamagedStoreError, NotUsidError, UsidError
from usidx.testing import check_reader


def test_sample(samples: pathlib.Path) -> None:
    path = samples / "peers" / "tiff" / "img.png"
    with PIL.Image.open(path) as image:
        check_reader(path, np.asarray(image))
    assert usidx.open(path).dims == ("Y", "X", "channel")


@pytest.mark.parametrize("dtype", ["u1", "u2", "?"])
def test_grey(tmp_path: pathlib.Path, dtype: str) -> None:
    values = np.random.default_rng(0).integers(0, 2, (20, 30)).astype(dtype)
    values[3, 4] = 1 if dtype == "?" else np.iinfo(dtype).max
    PIL.Image.fromarray(values).save(tmp_path / "a.png")
    check_reader(tmp_path / "a.png", values)
    assert usidx.open(tmp_path / "a.png").usid.spectroscopic_dims == ("Y", "X")


def test_jpeg(tmp_path: pathlib.Path) -> None:
    values = np.random.default_rng(0).integers(0, 255, (32, 30, 3)).astype("u1")
    PIL.Image.fromarray(values).save(tmp_path / "a.jpg")
    with PIL.Image.open(tmp_path / "a.jpg") as image:
        check_reader(tmp_path / "a.jpg", np.asarray(image))


def test_frames_of_a_moving_picture(tmp_path: pathlib.Path) -> None:
    values = np.random.default_rng(0).integers(0, 255, (4, 20, 30)).astype("u1")
    frames = [PIL.Image.fromarray(each) for each in values]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    check_reader(tmp_path / "a.png", values)
    assert usidx.open(tmp_path / "a.png").usid.position_dims == ("frame",)


def test_what_is_refused(tmp_path: pathlib.Path) -> None:
    PIL.Image.new("RGB", (20, 30)).save(tmp_path / "a.png")
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[24] = 16
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    (tmp_path / "deep.png").write_bytes(data)
    with pytest.raises(NotUsidError, match="16 bits"):
        usidx.open(tmp_path / "deep.png")
    (tmp_path / "b.png").write_bytes(data[:8])
    with pytest.raises(UsidError):
        usidx.open(tmp_path / "b.png")


def netpbm() -> dict[str, tuple[bytes, np.ndarray]]:
    grey = 7 * np.arange(24).reshape(4, 6)
    bits = grey % 2
    colours = np.arange(72).reshape(4, 6, 3)
    rows = b"\n".join(b" ".join(b"%d" % each for each in row) for row in grey) + b"\n"
    packed = np.packbits(bits, axis=1).astype("u1").tobytes()
    return {
        "a.pgm": (b"P5\n# made up\n6 4\n200\n" + grey.astype("u1").tobytes(), grey.astype("u1")),
        # Pillow would stretch these to 65535
        "b.pgm": (b"P5 6 4 4095\n" + grey.astype(">u2").tobytes(), grey.astype("u2")),
        "c.pgm": (b"P2\n6 4\n4095\n" + rows, grey.astype("u2")),
        "d.ppm": (b"P6\n6 4\n255\n" + colours.astype("u1").tobytes(), colours.astype("u1")),
        "e.pbm": (b"P4\n6 4\n" + packed, bits.astype("u1")),
        "f.pbm": (
            b"P1\n6 4\n" + b"\n".join(bytes(48 + each for each in row) for row in bits.tolist()),
            bits.astype("u1"),
        ),
    }


@pytest.mark.parametrize("name", list(netpbm()))
def test_netpbm(tmp_path: pathlib.Path, name: str) -> None:
    raw, expected = netpbm()[name]
    path = tmp_path / name
    path.write_bytes(raw)
    check_reader(path, expected)
    path.write_bytes(raw[:-1])
    with pytest.raises(DamagedStoreError):
        usidx.open(path).compute()
