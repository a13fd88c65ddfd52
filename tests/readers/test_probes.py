"""Files of scanning probes, made here as their formats are described, and read by igor2 as well."""

from __future__ import annotations

import pathlib
import struct
from typing import Any

import numpy as np
import pytest

import usidx
from usidx.errors import DamagedStoreError, NotUsidError
from usidx.testing import check_reader


def wave(
    values: Any,
    *,
    order: str = "<",
    labels: list[str] | None = None,
    along: int = 2,
    note: bytes = b"ScanSize: 2e-06\rChannel: Height\r",
) -> bytes:
    """A binary wave of version 5; `values` has its dimensions as Igor counts them."""
    kinds = {"f4": 2, "f8": 4, "i1": 8, "i2": 16, "u2": 80, "c8": 3, "i4": 32, "c16": 5}
    raw_labels = b"".join(each.encode().ljust(32, b"\0") for each in labels or [])
    dims = [*values.shape, *[0] * (4 - values.ndim)]
    size = 320 + values.nbytes
    sizes = [len(raw_labels) if number == along else 0 for number in range(4)]
    file = struct.pack(
        f"{order}hhiiii4i4iiii", 5, 0, size, 0, len(note), 0, 0, 0, 0, 0, *sizes, 0, 0, 0
    )
    head = struct.pack(
        f"{order}IIIihh6sh32siI4i4d4d4s16shhdd",
        0, 0, 0, values.size, kinds[values.dtype.str[1:]], 0, b"", 1, b"Height", 0, 0, *dims,
        0.5, 0.25, 1, 1, -1.0, 2.0, 0, 0, b"V", b"m\0\0\0m\0\0\0".ljust(16, b"\0"), 0, 0, 0, 0,
    )  # fmt: skip
    raw = bytearray(file + head.ljust(320, b"\0"))
    total = int(np.frombuffer(bytes(raw), f"{order}i2").sum(dtype=np.int64))
    raw[2:4] = struct.pack(f"{order}H", -total % 65536)
    data = values.astype(values.dtype.newbyteorder(order)).tobytes(order="F")
    return bytes(raw) + data + note + raw_labels


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", ["f4", "f8", "i1", "i2", "u2", "i4", "c8", "c16"])
@pytest.mark.parametrize("shape", [(7,), (4, 5), (4, 5, 3), (4, 5, 3, 2)])
def test_igor(tmp_path: pathlib.Path, shape: tuple[int, ...], dtype: str, order: str) -> None:
    values = (100 * np.random.default_rng(0).random(shape)).astype(dtype)
    path = tmp_path / "a.ibw"
    path.write_bytes(wave(values, order=order))
    # positions Y and X, then the others, the fastest of them last
    axes = {1: (0,), 2: (1, 0), 3: (1, 0, 2), 4: (1, 0, 3, 2)}[len(shape)]
    check_reader(path, values.transpose(axes))
    igor2 = pytest.importorskip("igor2.binarywave", reason="igor2 is not installed")
    np.testing.assert_array_equal(igor2.load(str(path))["wave"]["wData"], values)
    opened = usidx.open(path)
    assert opened.attrs["units"] == "V"
    assert opened.attrs["ScanSize"] == 2e-6
    if len(shape) > 1:
        assert opened.usid.position_dims == ("Y", "X")
        np.testing.assert_allclose(opened.X, -1 + 0.5 * np.arange(4))
        np.testing.assert_allclose(opened.Y, 2 + 0.25 * np.arange(5))
        assert opened.X.attrs["units"] == "m"


def old_wave(values: Any, order: str, version: int, note: bytes = b"") -> bytes:
    """A binary wave of version 1, 2 or 3: one dimension."""
    kind = {"f4": 2, "f8": 4, "i2": 16, "c8": 3}[values.dtype.str[1:]]
    size = 110 + values.nbytes + 16
    sizes = {1: [size], 2: [size, len(note), 0], 3: [size, len(note), 0, 0]}[version]
    head = struct.pack(f"{order}h{len(sizes)}ih", version, *sizes, 0)
    head += struct.pack(
        f"{order}hI20shhI4s4sihddhhhddbbIiI2sII",
        kind, 0, b"trace", 0, 0, 0, b"nA", b"s", values.size, 0, 0.5, -1.0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, b"", 0, 0,
    )  # fmt: skip
    raw = bytearray(head)
    total = int(np.frombuffer(head, f"{order}i2").sum(dtype=np.int64))
    place = 2 + 4 * len(sizes)
    raw[place : place + 2] = struct.pack(f"{order}H", -total % 65536)
    data = values.astype(values.dtype.newbyteorder(order)).tobytes()
    return bytes(raw) + data + bytes(16) + note


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", ["f4", "f8", "i2", "c8"])
@pytest.mark.parametrize("version", [1, 2, 3])
def test_old_versions_of_igor(tmp_path: pathlib.Path, version: int, dtype: str, order: str) -> None:
    values = (100 * np.random.default_rng(0).random(30)).astype(dtype)
    path = tmp_path / "a.ibw"
    note = b"Gain: 2\r" if version > 1 else b""
    path.write_bytes(old_wave(values, order, version, note))
    check_reader(path, values)
    opened = usidx.open(path)
    np.testing.assert_allclose(opened.point, -1 + 0.5 * np.arange(30))
    assert (opened.attrs["units"], opened.point.attrs["units"]) == ("nA", "s")
    assert opened.attrs.get("Gain") == (2.0 if version > 1 else None)
    igor2 = pytest.importorskip("igor2.binarywave", reason="igor2 is not installed")
    np.testing.assert_array_equal(igor2.load(str(path))["wave"]["wData"], values)


def test_what_igor_has_besides_waves_of_numbers(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.pxp").write_bytes(b"\0\0\x24\x01" + bytes(100))
    with pytest.raises(NotUsidError, match="packed experiment.*as .ibw"):
        usidx.open(tmp_path / "a.pxp")
    raw = bytearray(wave(np.zeros(4, "i2")))
    raw[80:82] = b"\0\0"  # the type of a wave of text
    raw[2:4] = b"\0\0"
    raw[2:4] = struct.pack("<H", -int(np.frombuffer(raw[:384], "<i2").sum()) % 65536)
    (tmp_path / "b.ibw").write_bytes(raw)
    with pytest.raises(NotUsidError, match="text"):
        usidx.open(tmp_path / "b.ibw")


def test_channels_of_igor(tmp_path: pathlib.Path) -> None:
    values = np.random.default_rng(0).random((4, 5, 2))
    (tmp_path / "a.ibw").write_bytes(wave(values, labels=["", "Height", "Phase"]))
    assert [each.path.rpartition("/")[2] for each in usidx.list_mains(tmp_path / "a.ibw")] == [
        "Height",
        "Phase",
    ]
    np.testing.assert_array_equal(usidx.open(tmp_path / "a.ibw", "Phase"), values[..., 1].T)


def test_force_curves_of_igor(tmp_path: pathlib.Path) -> None:
    """The columns of a wave have names there; they are no axis of a map."""
    values = np.random.default_rng(0).random((7, 4))
    labels = ["", "Raw", "Defl", "Phase", "UserIn1"]
    note = "ScanSize: 2e-06\rmade up\rOffset: 5 µm".encode("mac-roman")
    (tmp_path / "a.ibw").write_bytes(wave(values, order=">", labels=labels, along=1, note=note))
    names = [each.path.rpartition("/")[2] for each in usidx.list_mains(tmp_path / "a.ibw")]
    assert names == labels[1:]
    for number, (name, units) in enumerate(zip(names, ("V", "V", "deg", ""), strict=True)):
        opened = usidx.open(tmp_path / "a.ibw", name)
        np.testing.assert_array_equal(opened, values[:, number])
        np.testing.assert_allclose(opened.point, -1 + 0.5 * np.arange(7))
        assert (opened.usid.position_dims, opened.usid.units) == ((), units)
    assert opened.attrs["data_units"] == "V"
    assert (opened.attrs["note"], opened.attrs["Offset"]) == ("made up", "5 µm")


def test_waves_without_points_and_of_complex_integers(tmp_path: pathlib.Path) -> None:
    for place, said, message in ((132, b"\0\0\0\0", "without points"), (80, b"\x11\0", "Redim")):
        raw = bytearray(wave(np.zeros(4, "i2")))
        raw[place : place + len(said)] = said
        raw[2:4] = b"\0\0"
        raw[2:4] = struct.pack("<H", -int(np.frombuffer(raw[:384], "<i2").sum()) % 65536)
        (tmp_path / "a.ibw").write_bytes(raw)
        with pytest.raises(NotUsidError, match=message):
            usidx.open(tmp_path / "a.ibw")


@pytest.mark.parametrize("way", ["up", "down"])
def test_images_of_nanonis(tmp_path: pathlib.Path, way: str) -> None:
    images = np.random.default_rng(0).random((3, 4, 6)).astype(">f4")
    head = (
        ":NANONIS_VERSION:\n2\n:SCANIT_TYPE:\n              FLOAT            MSBFIRST\n"
        ":SCAN_PIXELS:\n       6       4\n:SCAN_RANGE:\n 2.0E-8 1.0E-8\n"
        f":SCAN_OFFSET:\n 1.0E-8 0.0\n:SCAN_DIR:\n{way}\n:BIAS:\n 1.5E-1\n"
        ":DATA_INFO:\n\tChannel\tName\tUnit\tDirection\tCalibration\tOffset\n"
        "\t14\tZ\tm\tboth\t1E-9\t0\n\t0\tCurrent\tA\tforward\t1E-9\t0\n\n:SCANIT_END:\n\n\n"
    )
    path = tmp_path / "a.sxm"
    path.write_bytes(head.encode() + b"\x1a\x04" + images.tobytes())
    names = ["Z_forward", "Z_backward", "Current"]
    assert [each.path.rpartition("/")[2] for each in usidx.list_mains(path)] == names
    for name, image in zip(names, images, strict=True):
        check_reader(path, image, name)
    forward, backward = usidx.open(path, "Z_forward"), usidx.open(path, "Z_backward")
    np.testing.assert_allclose(forward.X, 1e-8 + np.linspace(-1e-8, 1e-8, 6))
    np.testing.assert_allclose(backward.X, forward.X[::-1])
    first, last = float(forward.Y[0]), float(forward.Y[-1])
    assert (first > last) == (way == "down")
    assert forward.attrs["units"] == "m"


def test_images_of_the_other_byte_order(tmp_path: pathlib.Path) -> None:
    image = np.random.default_rng(0).random((4, 6)).astype("<f4")
    head = (
        ":NANONIS_VERSION:\n2\n:SCANIT_TYPE:\n FLOAT LSBFIRST\n:SCAN_PIXELS:\n 6 4\n"
        ":SCAN_RANGE:\n 2E-8 1E-8\n:DATA_INFO:\n\tChannel\tName\tUnit\tDirection\n"
        "\t0\tCurrent\tA\tforward\n\n:SCANIT_END:\n\n\n"
    )
    (tmp_path / "a.sxm").write_bytes(head.encode() + b"\x1a\x04" + image.tobytes())
    np.testing.assert_array_equal(usidx.open(tmp_path / "a.sxm"), image)


def grid(spectra: Any, count: int) -> bytes:
    """A grid of which the first `count` positions were measured."""
    ny, nx, channels, points = spectra.shape
    names = ";".join(["Current (A)", "LIX 1 omega (A)"][:channels])
    head = (
        f'Grid dim="{nx} x {ny}"\r\nGrid settings=1E-9;0;2E-9;3E-9;0\r\n'
        'Sweep Signal="Bias (V)"\r\nFixed parameters="Sweep Start;Sweep End"\r\n'
        'Experiment parameters="X (m);Y (m);Z (m)"\r\n# Parameters (4 byte)=5\r\n'
        f"Experiment size (bytes)={channels * points * 4}\r\nPoints={points}\r\n"
        f'Channels="{names}"\r\n:HEADER_END:\r\n'
    )
    body = b""
    for number in range(count):
        body += np.array([-1, 1, 0, 0, 10 + number], ">f4").tobytes()
        body += spectra.reshape(-1, channels, points)[number].astype(">f4").tobytes()
    return head.encode() + body


def test_grids_of_nanonis(tmp_path: pathlib.Path) -> None:
    spectra = np.random.default_rng(0).random((3, 4, 2, 8)).astype("f4")
    path = tmp_path / "a.3ds"
    path.write_bytes(grid(spectra, 12))
    check_reader(path, spectra[:, :, 1], "LIX 1 omega", cut_short=False)
    opened = usidx.open(path, "Current")
    np.testing.assert_array_equal(opened, spectra[:, :, 0])
    np.testing.assert_allclose(opened.Bias, np.linspace(-1, 1, 8))
    np.testing.assert_allclose(opened.X, np.linspace(0, 2e-9, 4), atol=1e-20)
    np.testing.assert_array_equal(opened["Z at start"], 10.0 + np.arange(12).reshape(3, 4))
    path.write_bytes(grid(spectra, 7))
    partial = usidx.open(path, "Current").values.reshape(12, 8)
    np.testing.assert_array_equal(partial[:7], spectra[:, :, 0].reshape(12, 8)[:7])
    assert np.isnan(partial[7:]).all()
    path.write_bytes(grid(spectra, 0))
    with pytest.raises(DamagedStoreError, match="before its first spectrum"):
        usidx.open(path, "Current")


def test_names_and_letters_of_nanonis(tmp_path: pathlib.Path) -> None:
    """Names of channels with blanks, units that are missing, and the letters of Windows."""
    head = (
        ":NANONIS_VERSION:\n2\n:SCAN_PIXELS:\n 6 4\n:SCAN_RANGE:\n 2E-8 1E-8\n:COMMENT:\n5 µm\n"
        ":DATA_INFO:\n\tChannel\tName\tUnit\tDirection\tCalibration\tOffset\n"
        "\t0\tMy signal\t\tboth\t1E-9\t0\n\n:SCANIT_END:\n\n\n"
    )
    images = np.random.default_rng(0).random((2, 4, 6)).astype(">f4")
    path = tmp_path / "a.sxm"
    path.write_bytes(head.encode("cp1252") + b"\x1a\x04" + images.tobytes())
    opened = usidx.open(path, "My signal_backward")
    np.testing.assert_array_equal(opened, images[1])
    assert (opened.attrs["COMMENT"], opened.usid.units) == ("5 µm", "")
    text = "Experiment\tA\t\nNote\t5 µm\t\n\n[DATA]\nBias (V)\tI (A)\tI (A)\n0\t1\t2\n1\t3\tNaN\n"
    (tmp_path / "a.dat").write_bytes(text.encode("cp1252"))
    np.testing.assert_array_equal(usidx.open(tmp_path / "a.dat", "I"), [1, 3])
    second = usidx.open(tmp_path / "a.dat", "I 2")
    np.testing.assert_array_equal(second, [2, np.nan])
    assert (second.attrs["Note"], second.usid.units) == ("5 µm", "A")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Sweep Start;Sweep End", b"Gain;Setpoint"),
        (b"Points=", b'Segment Start (V), Segment End (V)="-1,1"\r\nPoints='),
        (b"", b""),
    ],
)
def test_sweeps_that_are_no_line(tmp_path: pathlib.Path, old: bytes, new: bytes) -> None:
    """Where nothing says where points lie, they are counted; start and end are kept."""
    spectra = np.random.default_rng(0).random((3, 4, 1, 8)).astype("f4")
    raw = grid(spectra, 5)
    if not old:  # the second position was swept further than the first
        at = raw.index(b":HEADER_END:\r\n") + len(b":HEADER_END:\r\n") + (5 + 8) * 4
        raw = raw[: at + 4] + np.array([2], ">f4").tobytes() + raw[at + 8 :]
    (tmp_path / "a.3ds").write_bytes(raw.replace(old, new) if old else raw)
    opened = usidx.open(tmp_path / "a.3ds")
    assert opened.dims == ("Y", "X", "point")
    np.testing.assert_array_equal(opened.point, np.arange(8))
    np.testing.assert_array_equal(opened.measured, (np.arange(12) < 5).reshape(3, 4))
    first = "Gain at start" if b"Gain" in new else "Sweep Start at start"
    np.testing.assert_array_equal(opened[first].values.reshape(-1)[:5], -1)


def test_grids_that_are_turned(tmp_path: pathlib.Path) -> None:
    spectra = np.random.default_rng(0).random((3, 4, 1, 8)).astype("f4")
    path = tmp_path / "a.3ds"
    path.write_bytes(grid(spectra, 12).replace(b"3E-9;0\r\n", b"3E-9;30\r\n"))
    opened = usidx.open(path)
    assert opened.attrs["angle"] == "30.0"
    assert opened["X at start"].dims == ("Y", "X")


def test_spectra_of_nanonis(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.dat"
    path.write_text(
        "Experiment\tbias spectroscopy\t\nX (m)\t1E-9\t\n\n[DATA]\n"
        "Bias calc (V)\tCurrent (A)\tLIX (A)\n-1\t2E-9\t3\n0\t4E-9\t5\n1\t6E-9\t7\n"
    )
    check_reader(path, np.array([2e-9, 4e-9, 6e-9]), "Current")
    opened = usidx.open(path, "LIX")
    np.testing.assert_array_equal(opened["Bias calc"], [-1, 0, 1])
    assert opened["Bias calc"].attrs["units"] == "V"
    assert opened.attrs["X (m)"] == "1E-9"
