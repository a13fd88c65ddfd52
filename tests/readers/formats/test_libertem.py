"""Frames for LiberTEM, read by usidx and by LiberTEM itself."""

from __future__ import annotations

import json
import pathlib
import subprocess
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import usidx
from usidx.errors import DamagedStoreError, MissingDependencyError, OptionError, UsidError
from usidx.testing import check_reader

SCRIPT = pathlib.Path(__file__).with_name("libertem_reads.py")
FOLDS: list[dict[str, Any]] = [
    {},
    {"sync_offset": 2},
    {"sync_offset": -3},
    {"nav_shape": (2, 4)},
    {"nav_shape": (4, 5), "sync_offset": -2},
    {"nav_shape": (2, 2, 3), "sync_offset": 1},
]


def sparse(folder: pathlib.Path, order: str = "<") -> tuple[pathlib.Path, Any]:
    """Twelve frames of 6 x 5, of which one in four values is not 0."""
    generator = np.random.default_rng(5)
    frames = generator.integers(1, 900, (12, 6, 5)) * (generator.random((12, 6, 5)) < 0.25)
    frames[3] = 0
    flat = frames.reshape(12, 30)
    indptr = np.concatenate([[0], np.cumsum((flat != 0).sum(1))])
    indptr.astype(f"{order}i8").tofile(folder / "rows.dat")
    np.nonzero(flat)[1].astype(f"{order}u4").tofile(folder / "places.dat")
    flat[flat != 0].astype(f"{order}u2").tofile(folder / "values.dat")
    (folder / "sparse.toml").write_text(
        "[params]\nfiletype = 'raw_csr'\nnav_shape = [3, 4]\nsig_shape = [6, 5]\n"
        f"[raw_csr]\nindptr_file = 'rows.dat'\nindptr_dtype = '{order}i8'\n"
        f"indices_file = 'places.dat'\nindices_dtype = '{order}u4'\n"
        f"data_file = 'values.dat'\ndata_dtype = '{order}u2'\n"
    )
    return folder / "sparse.toml", frames.astype("u2").reshape(3, 4, 6, 5)


def empad(
    folder: pathlib.Path, scan: str = "", name: str = "scan_x4_y3.raw"
) -> tuple[pathlib.Path, Any]:
    """Twelve frames of an EMPAD, of 130 rows as its files have them."""
    frames = np.random.default_rng(6).random((12, 130, 128), dtype="f4")
    frames.tofile(folder / "scan_x4_y3.raw")
    scan = scan or (
        "<scan_parameters mode='search'><scan_resolution_x>64</scan_resolution_x>"
        "<scan_resolution_y>64</scan_resolution_y></scan_parameters>"
        "<scan_parameters mode='acquire'><scan_resolution_x>4</scan_resolution_x>"
        "<scan_resolution_y>3</scan_resolution_y></scan_parameters>"
    )
    (folder / "scan.xml").write_text(
        f"<?xml version='1.0'?>\n<root><raw_file filename='{name}'/>{scan}"
        "<high_voltage>200</high_voltage></root>"
    )
    return folder / "scan.xml", frames[:, :128].reshape(3, 4, 128, 128)


def tvips(folder: pathlib.Path, *, scanned: bool = False) -> tuple[pathlib.Path, Any]:
    """Twelve frames of 4 x 5 in two files; the scan may start with the third of them."""
    frames = np.random.default_rng(7).integers(0, 999, (12, 4, 5)).astype("<u2")
    series = np.zeros(64, "<i4")
    series[:13] = [256, 2, 5, 4, 16, 0, 0, 1, 1, 3, 200, 80, 128]
    heads = np.zeros((12, 32), "<f4")
    heads.view("<u4")[:, 6] = 2
    if scanned:
        heads[2:, 17], heads[2:, 18] = np.arange(10) % 5, np.arange(10) // 5
    said = [heads[number].tobytes() + frames[number].tobytes() for number in range(12)]
    (folder / "scan_000.tvips").write_bytes(series.tobytes() + b"".join(said[:8]))
    (folder / "scan_001.tvips").write_bytes(b"".join(said[8:]))
    return folder / "scan_000.tvips", frames


def seq(folder: pathlib.Path) -> tuple[pathlib.Path, Any]:
    """Twelve frames of 4 x 6 of StreamPix."""
    import struct

    frames = np.random.default_rng(8).integers(0, 999, (12, 4, 6)).astype("<u2")
    said = struct.pack(
        "<L24sll512s",
        0xFEED,
        "Norpix seq\n".encode("utf-16-le"),
        5,
        1024,
        "made".encode("utf-16-le"),
    )
    said += struct.pack("<9L", 6, 4, 16, 16, 48, 100, 12, 0, 56)
    said += struct.pack("<dlLLLlllLlHH", 30.0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    with open(folder / "movie.seq", "wb") as file:
        file.write(said.ljust(8192, b"\0"))
        for frame in frames:
            file.write(frame.tobytes() + bytes(8))
    return folder / "movie.seq", frames


MADE: dict[str, Callable[[pathlib.Path], tuple[pathlib.Path, Any]]] = {
    "raw_csr": sparse,
    "empad": empad,
    "tvips": tvips,
}

BESIDE = {
    "raw_csr": ("rows.dat", "places.dat", "values.dat"),
    "empad": ("scan_x4_y3.raw",),
    "tvips": (),  # nothing says how many files a series has
}


@pytest.mark.parametrize("kind", MADE)
def test_frames_that_were_written(tmp_path: pathlib.Path, kind: str) -> None:
    path, frames = MADE[kind](tmp_path)
    opened = usidx.open(path)
    np.testing.assert_array_equal(opened, frames)
    assert opened.dtype == frames.dtype
    beside = [tmp_path / each for each in BESIDE[kind]]
    check_reader(path, frames, beside=beside)
    flat = frames.reshape(-1, *frames.shape[-2:])
    for options in FOLDS[1:]:
        found = usidx.open(path, **{"nav_shape": (3, 4), **options})
        shape = options.get("nav_shape", (3, 4))
        wanted = np.full((int(np.prod(shape)), *flat.shape[1:]), np.nan)
        for place in range(len(wanted)):
            number = place + options.get("sync_offset", 0)
            if 0 <= number < 12:
                wanted[place] = flat[number]
        np.testing.assert_array_equal(found, wanted.reshape(*shape, *flat.shape[1:]))


def test_libertem_reads_the_same(
    samples: pathlib.Path, tmp_path: pathlib.Path, peers_python: str
) -> None:
    """Frames that LiberTEM has are the same; where it has none, usidx says so."""
    theirs = samples / "peers" / "libertem"
    files = {kind: str(make(tmp_path)[0]) for kind, make in MADE.items() if kind != "tvips"}
    np.save(tmp_path / "a.npy", np.random.default_rng(0).random((3, 4, 2, 5)).astype("<f4"))
    np.arange(720, dtype=">i2").tofile(tmp_path / "a.raw")
    raw = {"dtype": ">i2", "sig_shape": (6, 10)}
    jobs: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = []
    for fold in FOLDS[::2]:
        plain = {"nav_shape": (3, 4), **fold}
        jobs += [(kind, path, plain, {}) for kind, path in files.items()]
        jobs.append(("raw", str(tmp_path / "a.raw"), {**plain, **raw}, {"reader": "raw"}))
    for fold in ({}, {"sync_offset": 1}, {"nav_shape": (3, 3), "sync_offset": -1}):
        jobs.append(("mib", str(theirs / "scan.mib"), {"nav_shape": (2, 3), **fold}, {}))
    jobs += [
        ("tvips", str(tvips(tmp_path, scanned=True)[0]), {}, {}),
        ("blo", str(theirs / "scan.blo"), {}, {}),
        ("tvips", str(theirs / "scan_000.tvips"), {"nav_shape": (2, 3)}, {}),
        ("hdf5", str(theirs / "scan4d.h5"), {"ds_path": "/entry/data/data"}, {}),
        ("npy", str(tmp_path / "a.npy"), {}, {}),
        ("npy", str(theirs / "export.npy"), {}, {}),
        ("npy", str(theirs / "export.npy"), {"sync_offset": 3}, {}),
        ("npy", str(theirs / "export.npy"), {"nav_shape": (2, 8), "sync_offset": -1}, {}),
        ("npy", str(tmp_path / "a.npy"), {"nav_shape": (5, 3), "sig_shape": (5, 2)}, {}),
        ("blo", str(theirs / "scan.blo"), {"sync_offset": 2}, {}),
        ("blo", str(theirs / "scan.blo"), {"nav_shape": (6, 4), "sync_offset": -3}, {}),
        ("raw_csr", files["raw_csr"], {"sig_shape": (5, 6)}, {}),
    ]
    (tmp_path / "jobs.json").write_text(json.dumps([job[:3] for job in jobs]))
    subprocess.run([peers_python, SCRIPT, tmp_path], check=True, capture_output=True)
    seen = json.loads((tmp_path / "seen.json").read_text())
    for number, (kind, path, options, ours) in enumerate(jobs):
        said = f"{kind} {options}: {seen[number]}"
        assert ":" not in seen[number], said
        options = {key: each for key, each in options.items() if key != "ds_path"}
        opened = usidx.open(path, **options, **ours)
        frames = np.load(tmp_path / f"{number}.npy")
        missing = (frames == -1).all((-2, -1))
        if "measured" in opened.coords:
            np.testing.assert_array_equal(opened.measured.values == 0, missing, err_msg=said)
            assert np.isnan(opened.values[missing]).all(), said
        else:
            assert not missing.any(), said
            assert opened.dtype == np.dtype(seen[number]).newbyteorder("="), said
        np.testing.assert_array_equal(opened.values[~missing], frames[~missing].real, err_msg=said)


def test_scans_that_frames_tell(tmp_path: pathlib.Path) -> None:
    path, frames = tvips(tmp_path, scanned=True)
    np.testing.assert_array_equal(usidx.open(path), frames[2:].reshape(2, 5, 4, 5))
    assert usidx.open(path)["u"].attrs["units"] == "1/nm"
    assert usidx.open(path, nav_shape=12, sync_offset=0).shape == (12, 4, 5)
    (tmp_path / "scan_001.tvips").write_bytes(b"short")
    with pytest.raises(DamagedStoreError, match="cut short"):
        usidx.open(path)


def test_empads_as_their_files_say(tmp_path: pathlib.Path) -> None:
    path, frames = empad(tmp_path, name="C:\\data\\scan_x4_y3.raw")
    opened = usidx.open(path)
    np.testing.assert_array_equal(opened, frames)
    assert opened.attrs["empad.high_voltage"] == 200.0
    raw = usidx.open(tmp_path / "scan_x4_y3.raw", reader="empad", nav_shape=(4, 3))
    np.testing.assert_array_equal(raw, frames.reshape(4, 3, 128, 128))
    series, _ = empad(tmp_path, "<type>series</type><count>12</count>")
    assert usidx.open(series).shape == (12, 128, 128)
    short, _ = empad(tmp_path, "<type>series</type><count>13</count>")
    with pytest.raises(DamagedStoreError, match="12 frames"):
        usidx.open(short)
    (tmp_path / "scan_x4_y3.raw").unlink()
    with pytest.raises(UsidError, match="not beside it"):
        usidx.open(path)


MEASURED = (
    "<timestamp isoformat='2020-01-02T03:04:05'/><iom_measurements>"
    "<full_scan_field_of_view><scale_factor>0.72</scale_factor><x>1.44e-06</x><y>1.44e-06</y>"
    "</full_scan_field_of_view></iom_measurements>"
)
OLD = (
    "<pix_x>4</pix_x><pix_y>3</pix_y><iom_measurements>"
    "<optics.get_full_scan_field_of_view>(3e-07, 8e-07)</optics.get_full_scan_field_of_view>"
    "<calibrated_pixelsize>2e-10</calibrated_pixelsize></iom_measurements>"
)


def test_empads_are_calibrated(tmp_path: pathlib.Path) -> None:
    """By what either release of the software says, as RosettaSciIO understands it."""
    path, frames = empad(tmp_path, MEASURED + "<camserver_parameters/>")
    opened = usidx.open(path)  # whose scan only the name of the frames says
    np.testing.assert_array_equal(opened, frames)
    np.testing.assert_allclose(opened["Y"], 500 * np.arange(3), rtol=1e-12)
    np.testing.assert_allclose(opened["X"], 500 * np.arange(4), rtol=1e-12)
    assert (opened["X"].attrs["units"], opened["u"].attrs["units"]) == ("nm", "")
    assert opened.attrs["empad.timestamp"] == "2020-01-02T03:04:05"
    opened = usidx.open(empad(tmp_path, OLD)[0])
    np.testing.assert_allclose(opened["Y"], 100 * np.arange(3), rtol=1e-12)
    np.testing.assert_allclose(opened["X"], 200 * np.arange(4), rtol=1e-12)
    np.testing.assert_allclose(opened["v"], 0.2 * (np.arange(128) - 64), rtol=1e-12)
    assert opened["v"].attrs["units"] == "1/nm"
    assert "nm" not in usidx.open(tmp_path / "scan.xml", nav_shape=12)["frame"].attrs["units"]
    counted = "<scan_parameters><series_count>12</series_count></scan_parameters>"
    assert usidx.open(empad(tmp_path, counted)[0]).shape == (12, 128, 128)


@pytest.mark.parametrize("said", [MEASURED, OLD])
def test_rosettasciio_reads_the_same_empads(tmp_path: pathlib.Path, said: str) -> None:
    reference = pytest.importorskip("rsciio.empad", reason="pip install usidx[rosettasciio]")
    path, _ = empad(tmp_path, f"{said}<camserver_parameters/>")
    theirs = reference.file_reader(str(path))[0]
    opened = usidx.open(path)
    np.testing.assert_array_equal(opened, theirs["data"])
    for dim, axis in zip(opened.dims, theirs["axes"], strict=True):
        factor = {"µm": 1000, "μm": 1000}.get(axis["units"], 1)
        steps = factor * axis["scale"]
        np.testing.assert_allclose(np.diff(opened[dim]), steps, rtol=1e-9)


def test_sparse_frames_that_do_not_go_together(tmp_path: pathlib.Path) -> None:
    path, frames = sparse(tmp_path, ">")
    np.testing.assert_array_equal(usidx.open(path), frames)
    assert usidx.open(path, sig_shape=30).shape == (3, 4, 30)
    with pytest.raises(OptionError, match="30 pixels"):
        usidx.open(path, sig_shape=(6, 6))
    places = np.fromfile(tmp_path / "places.dat", ">u4")
    places[0] = 30
    places.tofile(tmp_path / "places.dat")
    with pytest.raises(DamagedStoreError, match="pixel 30"):
        usidx.open(path).compute()
    np.fromfile(tmp_path / "values.dat", ">u2")[:-1].tofile(tmp_path / "values.dat")
    with pytest.raises(DamagedStoreError, match="cut short"):
        usidx.open(path)
    path.write_text(path.read_text().replace("values.dat", "../values.dat"))
    with pytest.raises(UsidError, match="not beside it"):
        usidx.open(path)


def frms6(folder: pathlib.Path) -> tuple[pathlib.Path, Any]:
    """Six frames of a pnCCD: its halves side by side, and two dark frames in a file before."""
    frames = np.random.default_rng(9).integers(0, 999, (6, 8, 24)).astype("<u2")
    head = np.zeros(1024, "u1")
    head[:4], head[7] = (0, 4, 64, 0), 6
    head[88:92].view("<u2")[:] = 24, 8
    for name, part in (("a_000", np.zeros_like(frames[:2])), ("a_001", frames)):
        head[1020:].view("<u4")[:] = len(part)
        said = b"".join(bytes(64) + frame.tobytes() for frame in part)
        (folder / f"{name}.frms6").write_bytes(head.tobytes() + said)
    (folder / "a.hdr").write_text(
        "[measurementInfo]\ndarkframes = 2\ndwelltimemicroseconds = 1\ngain = 1\n"
        'signalframes = 6\nstemimagesize = 2x3\nreadoutmode = "bin: 1, windowing: 24 x 16"\n'
    )
    left, right = frames[..., :12], frames[..., 12:]
    return folder / "a.hdr", np.concatenate([left, right[:, ::-1, ::-1]], axis=1).astype("f4")


def test_through_libertem(tmp_path: pathlib.Path) -> None:
    path, frames = seq(tmp_path)
    try:
        import libertem  # noqa: F401
    except ImportError:
        with pytest.raises(MissingDependencyError, match=r"usidx\[libertem\]"):
            usidx.open(path)
        return
    np.testing.assert_array_equal(usidx.open(path), frames)
    check_reader(path, frames.reshape(3, 4, 4, 6), nav_shape=(3, 4))
    folded = usidx.open(path, nav_shape=(3, 4), sync_offset=-2, fill_value=0)
    np.testing.assert_array_equal(folded.values.reshape(12, 4, 6)[2:], frames[:10])
    path, frames = frms6(tmp_path)
    for each in (path, tmp_path / "a_001.frms6"):
        np.testing.assert_array_equal(usidx.open(each), frames)


def test_arrays_of_numpy_as_scans(tmp_path: pathlib.Path) -> None:
    values = np.arange(240.0).reshape(3, 4, 4, 5)
    np.save(tmp_path / "a.npy", values)
    np.save(tmp_path / "f.npy", np.asfortranarray(values))
    opened = usidx.open(tmp_path / "a.npy", nav_shape=(2, 6), sync_offset=1)
    flat = values.reshape(12, 4, 5)
    np.testing.assert_array_equal(opened.values.reshape(12, 4, 5)[:11], flat[1:])
    assert opened.measured.values.sum() == 11
    assert usidx.open(tmp_path / "a.npy", sig_shape=(2, 10)).shape == (12, 2, 10)
    np.testing.assert_array_equal(usidx.open(tmp_path / "a.npy", sync_offset=-1)[0, 1:], flat[:3])
    with pytest.raises(OptionError, match="Fortran"):
        usidx.open(tmp_path / "f.npy", nav_shape=12)
    with pytest.raises(OptionError, match="whole frames"):
        usidx.open(tmp_path / "a.npy", sig_shape=7)
    with pytest.raises(OptionError, match="of 100000000 positions"):
        usidx.open(tmp_path / "a.npy", nav_shape=(10_000, 10_000))
