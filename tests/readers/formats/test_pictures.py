"""PNG and JPEG files."""

from __future__ import annotations

import pathlib
import zlib
from typing import Any

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


@pytest.mark.parametrize(("dtype", "ending"), [("u1", "jp2"), ("u2", "j2k"), ("u1", "tif")])
def test_jpeg_2000(tmp_path: pathlib.Path, dtype: str, ending: str) -> None:
    values = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (20, 30)).astype(dtype)
    path = tmp_path / f"a.{ending}"
    PIL.Image.fromarray(values).save(path, "JPEG2000", irreversible=False)
    check_reader(path, values)
    raw = path.read_bytes()
    path.write_bytes(raw[:-1])
    with pytest.raises(DamagedStoreError):
        usidx.open(path).compute()
    if ending == "j2k":
        # as the file says, 12 bits, which Pillow stretches to 16; and signed, which it moves
        path.write_bytes(raw[:42] + b"\x0b" + raw[43:])
        assert usidx.open(path).max() < 2**12
        path.write_bytes(raw[:42] + b"\x8f" + raw[43:])
        with pytest.raises(NotUsidError, match="signed"):
            usidx.open(path)


def test_frames_of_a_moving_picture(tmp_path: pathlib.Path) -> None:
    values = np.random.default_rng(0).integers(0, 255, (4, 20, 30)).astype("u1")
    frames = [PIL.Image.fromarray(each) for each in values]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    check_reader(tmp_path / "a.png", values)
    assert usidx.open(tmp_path / "a.png").usid.position_dims == ("frame",)


@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("GIF", "RGB", {}),
        ("GIF", "L", {}),
        ("BMP", "RGB", {}),
        ("BMP", "L", {}),
        ("BMP", "1", {}),
        ("WEBP", "RGB", {"lossless": True}),
        ("WEBP", "RGB", {}),
    ],
)
def test_other_pictures(
    tmp_path: pathlib.Path, kind: str, mode: str, options: dict[str, Any]
) -> None:
    values = np.random.default_rng(0).integers(0, 255, (16, 12, 3)).astype("u1")
    path = tmp_path / "picture"
    PIL.Image.fromarray(values).convert(mode).save(path, kind, **options)
    with PIL.Image.open(path) as image:
        expected = np.asarray(image.convert("RGB") if image.mode == "P" else image)
    check_reader(path, expected)


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_frames_of_other_moving_pictures(tmp_path: pathlib.Path, kind: str) -> None:
    """Each frame of a GIF has colours of its own, even where the first is grey."""
    values = 60 * np.random.default_rng(0).integers(0, 4, (4, 16, 12, 3)).astype("u1")
    values[0] = values[0, ..., :1]
    frames = [PIL.Image.fromarray(each) for each in values]
    options = {"lossless": True} if kind == "WEBP" else {}
    frames[0].save(tmp_path / "a", kind, save_all=True, append_images=frames[1:], **options)
    opened = usidx.open(tmp_path / "a")
    assert opened.dims == ("frame", "Y", "X", "channel")
    np.testing.assert_array_equal(opened[..., :3], values)
    np.testing.assert_array_equal(opened[2:0:-1, 3:5, :, :3], values[2:0:-1, 3:5])


def test_what_a_camera_says(tmp_path: pathlib.Path) -> None:
    """Rows and columns stay those of the file, whichever way it was held."""
    said = PIL.Image.Exif()
    said[0x0112], said[0x010F], said[0x829A] = 6, "Maker", 0.25
    image = PIL.Image.new("RGB", (20, 30))
    image.save(tmp_path / "a.jpg", exif=said)
    image.save(tmp_path / "b.jpg", "MPO", save_all=True, append_images=[image.resize((5, 5))])
    opened = usidx.open(tmp_path / "a.jpg")
    assert opened.shape == usidx.open(tmp_path / "b.jpg").shape == (30, 20, 3)
    assert opened.attrs["Exif.Orientation"] == 6
    assert opened.attrs["Exif.Make"] == "Maker"
    assert opened.attrs["Exif.ExposureTime"] == 0.25


def test_more_pixels_than_are_harmless(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    PIL.Image.new("L", (40, 30)).save(tmp_path / "a.png")
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 500)
    with pytest.raises(NotUsidError, match="MAX_IMAGE_PIXELS = None"):
        usidx.open(tmp_path / "a.png")


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


@pytest.mark.parametrize("bits", [2, 4])
def test_grey_of_few_bits(tmp_path: pathlib.Path, bits: int) -> None:
    """Pillow stretches them to 255."""
    values = np.arange(24, dtype="u1").reshape(4, 6) % 2**bits
    lines = np.zeros((4, 1 + 6 * bits // 8 + (6 * bits % 8 > 0)), "u1")
    for row, line in zip(values, lines, strict=True):
        text = "".join(f"{each:0{bits}b}" for each in row).ljust(8 * (len(line) - 1), "0")
        line[1:] = [int(text[at : at + 8], 2) for at in range(0, len(text), 8)]
    head = (6).to_bytes(4) + (4).to_bytes(4) + bytes([bits, 0, 0, 0, 0])
    raw = b"\x89PNG\r\n\x1a\n"
    for name, body in ((b"IHDR", head), (b"IDAT", zlib.compress(lines.tobytes())), (b"IEND", b"")):
        raw += len(body).to_bytes(4) + name + body + zlib.crc32(name + body).to_bytes(4)
    (tmp_path / "a.png").write_bytes(raw)
    np.testing.assert_array_equal(usidx.open(tmp_path / "a.png"), values)
