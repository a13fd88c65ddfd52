"""Files of detectors through FabIO: against the manifest of real ones, and what FabIO writes."""

from __future__ import annotations

import gzip
import hashlib
import json
import pathlib
import struct

import numpy as np
import pytest

import usidx
from usidx.errors import DamagedStoreError, MissingDependencyError, UsidError
from usidx.readers import readers
from usidx.testing import check_reader

fabio = pytest.importorskip("fabio")


@pytest.mark.parametrize("name", ["img.cbf", "img.esperanto", "mask.msk"])
def test_samples(samples: pathlib.Path, name: str) -> None:
    rows = json.loads((samples / "peers" / "MANIFEST.json").read_text())
    row = next(row for row in rows if row["path"] == f"silx_fabio/{name}")
    path = samples / "peers" / "silx_fabio" / name
    opened = usidx.open(path)
    assert opened.usid.spectroscopic_dims == ("v", "u")
    assert list(opened.shape) == row["shape"]
    digest = hashlib.sha256(np.ascontiguousarray(opened.values).tobytes()).hexdigest()
    assert digest == row["sha256"]
    check_reader(path, opened.values)


def test_headers_of_pilatus(tmp_path: pathlib.Path) -> None:
    text = "\r\n# Detector: PILATUS\r\n# Pixel_size 172e-6 m x 86e-6 m\r\n# Exposure_time 0.5 s\r\n"
    header = {"_array_data.header_convention": "PILATUS_1.2", "_array_data.header_contents": text}
    values = np.arange(30, dtype="i4").reshape(5, 6)
    path = tmp_path / "a.cbf"
    fabio.cbfimage.CbfImage(data=values, header=header).write(str(path))
    opened = usidx.open(path)
    np.testing.assert_array_equal(opened, values)
    np.testing.assert_allclose(opened.u, np.arange(6) * 172e-6)
    np.testing.assert_allclose(opened.v, np.arange(5) * 86e-6)
    assert opened.attrs["Exposure_time"] == "0.5 s"
    (tmp_path / "b.cbf.gz").write_bytes(gzip.compress(path.read_bytes()))
    np.testing.assert_array_equal(usidx.open(tmp_path / "b.cbf.gz"), values)
    values = bytearray(path.read_bytes())
    values[values.find(b"\x0c\x1a\x04\xd5") + 8] ^= 1
    path.write_bytes(values)
    with pytest.raises(DamagedStoreError, match="checksum"):
        usidx.open(path).compute()


def test_edf_when_asked(samples: pathlib.Path) -> None:
    path = samples / "peers" / "silx_fabio" / "multiframe.edf"
    check_reader(path, usidx.open(path).values, reader="fabio", cut_short=False)


def test_where_it_is_not_installed(samples: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = readers()["fabio"]
    monkeypatch.setattr(type(reader), "missing", ("fabio",))
    with pytest.raises(MissingDependencyError, match=r'pip install "usidx\[fabio\]"'):
        usidx.open(samples / "peers" / "silx_fabio" / "img.cbf")


def test_a_series_of_cbf(tmp_path: pathlib.Path) -> None:
    values = np.arange(3 * 5 * 6, dtype="i4").reshape(3, 5, 6)
    for number in range(3):
        fabio.cbfimage.CbfImage(data=values[number]).write(str(tmp_path / f"a_{number}.cbf"))
    stack = usidx.stack(tmp_path)
    np.testing.assert_array_equal(stack, values)


V = np.arange(48, dtype="<u2").reshape(6, 8) + 300


def spe() -> bytes:
    head = bytearray(4100)
    head[20:30], head[172:178] = b"01Jan2020\0", b"101112"
    for place, kind, value in ((42, "<h", 8), (108, "<H", 3), (656, "<h", 6), (1446, "<i", 2)):
        struct.pack_into(kind, head, place, value)
    return bytes(head) + V.tobytes() + (V + 1).tobytes()


def ge() -> bytes:
    head = bytearray(8192)
    struct.pack_into("<10sHLHLHHHH", head, 0, b"ADEPT", 1, 8192, 0, 0, 2, 6, 8, 16)
    return bytes(head) + V.tobytes() + (V + 1).tobytes()


def raxis() -> bytes:
    head = bytearray(1600)
    head[:6] = b"R-AXIS"
    struct.pack_into(">ll", head, 768, 8, 6)
    struct.pack_into(">l", head, 784, 1600)
    return bytes(head) + V.astype(">u2").tobytes()


def kcd() -> bytes:
    head = "No 12\nMode = Normal\nX dimension = 8\nY dimension = 6\nData type = u16\n"
    return head.encode() + b"Number of readouts = 2\n" + V.tobytes() + V.tobytes()


PIXI = np.arange(2 * 512 * 476, dtype="<u2").reshape(2, 512, 476)
MADE_UP = {
    "a.spe": (spe(), np.stack([V, V + 1])),
    "a.ge2": (ge(), np.stack([V, V + 1])),
    "a.osc": (raxis(), V),
    "a.kcd": (kcd(), 2 * V.astype("i4")),
    "a.i0": (b"".join(b"\n\xb8\x03\0" + bytes(20) + x.tobytes() for x in PIXI), PIXI),
    "hip.img": (b"IM" + struct.pack("<6H", 0, 8, 6, 0, 0, 0) + bytes(50) + V.tobytes(), V),
    "a.mpa": (
        b"mpafmt=asc\n[ADC1]\nrange=6\n[ADC2]\nrange=8\n[DATA0,0 ]\n1\n[CDAT0,48 ]\n"
        + b"".join(b"%d\n" % each for each in V.ravel()),
        V.astype("f8"),
    ),
    "a.spr": (
        b"       8       6\n" + b"".join(b" ".join(b"%E" % x for x in row) + b"\n" for row in V),
        V.astype("f4"),
    ),
}


@pytest.mark.parametrize("name", list(MADE_UP))
def test_formats_by_their_layout(tmp_path: pathlib.Path, name: str) -> None:
    """Files made up after what is known of each format; whole, and without their last bytes."""
    raw, expected = MADE_UP[name]
    path = tmp_path / name
    path.write_bytes(raw)
    check_reader(path, expected)
    for missing in (1, 2, 10):
        path.write_bytes(raw[:-missing])
        with pytest.raises(UsidError):
            usidx.open(path).compute()


@pytest.mark.parametrize("module", ["dtrek", "bruker100", "oxd", "cbf", "edf", "tif", "numpy"])
@pytest.mark.parametrize("dtype", ["u1", "u2", "i4"])
def test_what_fabio_writes(tmp_path: pathlib.Path, module: str, dtype: str) -> None:
    made = fabio.fabioformats.get_class_by_name(f"{module}image")
    path = tmp_path / f"a.{made.DEFAULT_EXTENSIONS[0]}"
    made(data=(100 * np.random.default_rng(0).random((7, 9))).astype(dtype), header={}).write(
        str(path)
    )
    with fabio.open(str(path)) as image:
        expected = np.asarray(image.data)
    opened = usidx.open(path)
    assert opened.dtype == expected.dtype
    np.testing.assert_array_equal(opened, expected)


@pytest.mark.parametrize("kind", ["u1", "u2"])
def test_netpbm_of_fabio(tmp_path: pathlib.Path, kind: str) -> None:
    """It writes two blanks before the values, where the format has one."""
    image = pytest.importorskip("fabio.pnmimage").PnmImage
    values = np.arange(12, dtype=kind).reshape(3, 4) * (1 if kind == "u1" else 300)
    image(data=values).write(str(tmp_path / "a.pnm"))
    np.testing.assert_array_equal(usidx.open(tmp_path / "a.pnm"), values)
    # values that begin as that blank does
    (tmp_path / "b.pgm").write_bytes(b"P5 4 1 255 \nabc")
    np.testing.assert_array_equal(usidx.open(tmp_path / "b.pgm"), [[10, 97, 98, 99]])
