"""Files of Merlin detectors: those of an instrument, and the chip's own words made up here."""

from __future__ import annotations

import pathlib
import shutil
import zipfile
from typing import Any

import numpy as np
import pytest

import usidx
from usidx.errors import NotUsidError, StoreNotFoundError, UsidError
from usidx.testing import check_reader

ARCHIVE = "instruments/hyperspy__rosettasciio/quantumdetector/Merlin_Single_Quad.zip"


@pytest.fixture(scope="module")
def merlin(samples: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Folder of files of an instrument: one chip and four, counters of several depths."""
    folder = tmp_path_factory.mktemp("merlin")
    with zipfile.ZipFile(samples / ARCHIVE) as archive:
        archive.extractall(folder)
    return folder


@pytest.mark.parametrize("depth", [1, 6, 12, 24])
def test_frames_of_an_instrument(merlin: pathlib.Path, depth: int) -> None:
    """RosettaSciIO turns rows upside down."""
    reference = pytest.importorskip("rsciio.quantumdetector", reason="RosettaSciIO is an extra")
    for chips in ("Single", "Quad"):
        path = merlin / f"{chips}_9_Frame_CounterDepth_{depth}_Rows_256.mib"
        (signal,) = reference.file_reader(str(path))
        opened = usidx.open(path, nav_shape=9, flip_rows=True)
        # whose scans are squares where they can be
        np.testing.assert_array_equal(opened, signal["data"].reshape(opened.shape))
        assert opened.dtype == signal["data"].dtype.newbyteorder("=")
        assert opened.attrs["Software Version"] == "0.77"


@pytest.mark.parametrize("chips", ["Single", "Quad"])
def test_words_of_the_chip(merlin: pathlib.Path, chips: str) -> None:
    """Bits that Merlin did not unpack lie where those lie that it did, taken just before."""
    name = f"{chips}_9_Frame_CounterDepth_1_Rows_256"
    packed = usidx.open(merlin / f"{name}RAW.mib", nav_shape=9)
    plain = usidx.open(merlin / f"{name}.mib", nav_shape=9)
    assert packed.dtype == np.uint8
    assert packed.shape == plain.shape

    def alike(values: Any) -> float:
        return float(np.corrcoef(values.mean(0).ravel(), plain.values.mean(0).ravel())[0, 1])

    assert alike(packed.values) > 0.999
    assert max(alike(packed.values[:, ::-1]), alike(packed.values[:, :, ::-1])) < 0.6
    check_reader(merlin / f"{name}RAW.mib", packed.values, nav_shape=9)


@pytest.mark.parametrize("depth", [1, 6, 12])
@pytest.mark.parametrize("chips", [1, 4])
def test_words_that_were_made(tmp_path: pathlib.Path, depth: int, chips: int) -> None:
    """64 bits hold the last of their values first; of four chips those below come first."""
    side = 64 if chips == 1 else 128
    values = np.random.default_rng(depth).integers(0, 2**depth, (3, side, side)).astype("u2")
    rows = values
    if chips == 4:
        above, below = values[:, :64], values[:, 64:, :][:, ::-1, ::-1]
        # turned by half, the left one of those below is the right one
        parts = [below[..., :64], below[..., 64:], above[..., 64:], above[..., :64]]
        rows = np.concatenate(parts, axis=2)
    each = {1: 64, 6: 8, 12: 4}[depth]
    words = rows.reshape(3, 64, -1, each)[..., ::-1]
    if depth == 1:
        packed = np.packbits(words.astype("u1"), axis=-1)
    else:
        packed = words.astype(">u2" if depth == 12 else "u1")
    layout = "   1x1" if chips == 1 else "   2x2"
    head = f"MQ1,000001,00384,{chips:02d},{64 * chips:04d},0064,R64,{layout},0F,x,{depth}\n"
    with open(tmp_path / "a.mib", "wb") as file:
        for frame in packed:
            file.write(head.encode().ljust(384, b"\0") + frame.tobytes())
    opened = usidx.open(tmp_path / "a.mib")
    np.testing.assert_array_equal(opened, values)
    turned = usidx.open(tmp_path / "a.mib", flip_rows=True)
    np.testing.assert_array_equal(turned, values[:, ::-1])
    raw = (tmp_path / "a.mib").read_bytes()
    (tmp_path / "b.mib").write_bytes(raw.replace(f",{depth}\n".encode(), b",24\n"))
    with pytest.raises(NotUsidError, match="24 bits"):
        usidx.open(tmp_path / "b.mib")


def test_headers_lead_to_frames(samples: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """One .mib of the same name, else all whose names begin with it, in the order of frames."""
    folder = samples / "peers" / "libertem"
    whole = usidx.open(folder / "scan.mib")
    np.testing.assert_array_equal(usidx.open(folder / "scan.hdr"), whole)
    shutil.copy(folder / "scan.hdr", tmp_path / "scan.hdr")
    with pytest.raises(StoreNotFoundError, match="has none"):
        usidx.open(tmp_path / "scan.hdr")
    content = (folder / "scan.mib").read_bytes()
    frame = len(content) // 6
    first = content[: 2 * frame].replace(b"MQ1,000003", b"MQ1,000001")
    for name, part in (("scan_b", first), ("scan_a", content[2 * frame :])):
        (tmp_path / f"{name}.mib").write_bytes(part)
    opened = usidx.open(tmp_path / "scan.hdr")
    np.testing.assert_array_equal(opened, whole)
    np.testing.assert_array_equal(opened[1, 0:2, 5], whole[1, 0:2, 5])


def test_scans_that_were_stopped(samples: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The shape that the header says, and nothing where no frame is."""
    folder = samples / "peers" / "libertem"
    shutil.copy(folder / "scan.hdr", tmp_path / "scan.hdr")
    content = (folder / "scan.mib").read_bytes()
    (tmp_path / "scan.mib").write_bytes(content[: len(content) // 6 * 4])
    opened, whole = usidx.open(tmp_path / "scan.mib"), usidx.open(folder / "scan.mib")
    np.testing.assert_array_equal(opened.measured, [[1, 1, 1], [1, 0, 0]])
    np.testing.assert_array_equal(opened[0], whole[0])
    assert np.isnan(opened.values[1, 1:]).all()


def test_headers_that_are_none(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.mib").write_bytes(b"MQ1,nonsense")
    with pytest.raises(UsidError):
        usidx.open(tmp_path / "a.mib")
