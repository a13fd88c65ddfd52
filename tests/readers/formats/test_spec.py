"""Spec files: against the manifest, the numbers in the text, and silx."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest

import usidx
from usidx.errors import DamagedStoreError
from usidx.testing import check_reader


@pytest.fixture
def oleg(samples: pathlib.Path) -> pathlib.Path:
    return samples / "instruments" / "silx-training" / "oleg.dat"


def test_a_scan_of_a_motor(samples: pathlib.Path) -> None:
    path = samples / "peers" / "silx_fabio" / "scan.dat"
    assert usidx.list_mains(path).paths == ("/1.1/measurement", "/2.1/measurement")
    scan = usidx.open(path, "1.1/measurement")
    assert list(scan) == ["det1"]
    srot = np.arange(51) * 0.2
    np.testing.assert_allclose(scan.srot, srot, atol=1e-9)
    np.testing.assert_allclose(scan.det1, 1000 * np.exp(-((srot - 5) ** 2)), rtol=1e-5)
    np.testing.assert_allclose(usidx.open(path, "2.1/measurement").det2, np.cos(srot), atol=1e-6)


def test_counters_and_motors(oleg: pathlib.Path, tmp_path: pathlib.Path) -> None:
    scan = usidx.open(oleg, "94.1/measurement")
    assert scan.sizes["delta"] == 21
    assert len(scan) == 26
    np.testing.assert_allclose(scan.delta, np.linspace(-0.5, 0.5, 21), atol=1e-9)
    assert float(scan.bpmi[0]) == 6.2475021e-07
    assert scan.attrs["command"] == "ascan  del -0.5 0.5  20 1"
    assert scan.attrs["date"] == "Thu Feb 10 22:43:43 2011"
    assert scan.attrs["motors.gamma"] == 40
    assert scan.attrs["motors.att0"] == 11
    again = usidx.open(scan.usid.to_h5usid(tmp_path / "scan.h5"))
    np.testing.assert_array_equal(again.bpmi.values.squeeze(), scan.bpmi.values.squeeze())


def test_as_silx_has_them(oleg: pathlib.Path) -> None:
    silx = pytest.importorskip("silx.io")
    with silx.open(str(oleg)) as file:
        assert set(usidx.list_mains(oleg).paths) == {
            f"/{name}/{what}" for name in file for what in ("measurement", "mca_0")
        }
        for name in file:
            scan = usidx.open(oleg, f"{name}/measurement")
            for label, values in file[name]["measurement"].items():
                if label != "mca_0":
                    np.testing.assert_allclose(scan[label].values.ravel(), values[()], rtol=1e-6)
            spectra = file[name]["measurement/mca_0/data"][()]
            check_reader(oleg, spectra.astype("i8"), f"{name}/mca_0", cut_short=False)


def text(tmp_path: pathlib.Path, lines: str) -> pathlib.Path:
    path = tmp_path / "scan.spec"
    path.write_text(f"#F scan.spec\n#E 1\n#O0 two theta  x\n\n{lines}")
    return path


def test_a_mesh_is_a_grid(tmp_path: pathlib.Path) -> None:
    rows = "".join(f"{x} {y} {10 * y + x}\n" for y in (0, 2) for x in (0, 1, 2))
    path = text(tmp_path, f"#S 1 mesh x 0 2 2 y 0 2 1 0.1\n#P0 1.5 2\n#N 3\n#L x  y  det\n{rows}")
    scan = usidx.open(path)
    assert scan.usid.position_dims == ("y", "x")
    np.testing.assert_array_equal(scan.det.values.squeeze(), [[0, 1, 2], [20, 21, 22]])
    np.testing.assert_array_equal(scan.y, [0, 2])
    assert scan.attrs["motors.two theta"] == 1.5
    begun = text(tmp_path, f"#S 1 mesh x 0 2 2 y 0 2 1 0.1\n#N 3\n#L x  y  det\n{rows[:-8]}")
    assert usidx.open(begun).usid.position_dims == ("point",)


def test_scans_of_one_number_and_without_values(tmp_path: pathlib.Path) -> None:
    scan = "#S 3 ct\n#N 2\n#L t  d\n"
    path = text(tmp_path, f"{scan}1 2\n2 3\n\n{scan}\n{scan}4 5\n")
    assert usidx.list_mains(path).paths == ("/3.1/measurement", "/3.3/measurement")


def test_calibrated_spectra(tmp_path: pathlib.Path) -> None:
    lines = "#S 1 ascan x 0 1 1 1\n#@MCA %3C\n#@CHANN 3 0 2 1\n#@CALIB 1 0.5 0\n#N 2\n#L x  d\n"
    spectra = "0 7\n@A 1 2\\\n 3\n@A 4 5 6\n1 8\n@A 7 8 9\n@A 10 11 12.5\n"
    path = text(tmp_path, lines + spectra)
    for number, wanted in enumerate(([[1, 2, 3], [7, 8, 9]], [[4, 5, 6], [10, 11, 12.5]])):
        mca: Any = usidx.open(path, f"1.1/mca_{number}")
        np.testing.assert_array_equal(mca, wanted)
        np.testing.assert_array_equal(mca.calibrated, [1, 1.5, 2])
        np.testing.assert_array_equal(mca.x, [0, 1])


@pytest.mark.parametrize(
    "cut", ["0 1 2\n1 2\n", "0 1 2\n@A 1 2 3\n1 2 3\n@A 1 2\n", "0 1 2\nx y z\n"]
)
def test_what_is_cut_short(tmp_path: pathlib.Path, cut: str) -> None:
    with pytest.raises(DamagedStoreError, match="scan 1.1"):
        usidx.list_mains(text(tmp_path, f"#S 1 ascan\n#N 3\n#L a  b  c\n{cut}"))


def test_a_header_that_counts_wrong(tmp_path: pathlib.Path) -> None:
    path = text(tmp_path, "#S 1 ascan\n#N 5\n#L a  b c  d\r\n0 1 2\r\n1 2 3\r\n")
    scan = usidx.open(path)
    assert list(scan) == ["b c", "d"]
    np.testing.assert_array_equal(scan.d.values.ravel(), [2, 3])


def test_labels_that_are_twice_or_too_few(tmp_path: pathlib.Path) -> None:
    twice = text(tmp_path, "#S 1 ascan\n#N 3\n#L a  I/I0  I/I0\n0 1 2\n1 2 3\n")
    assert list(usidx.open(twice)) == ["I_I0", "I_I0 (2)"]
    few = text(tmp_path, "#S 1 ascan\n#N 3\n#L a  b\n0 1 2\n1 2 3\n")
    assert list(usidx.open(few)) == ["column_2", "column_3"]


def test_no_table_and_no_notes_are_taken_for_spec(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.txt").write_text("# Some notes\n1 2\n3 4\n")
    assert "measurement" not in str(usidx.list_mains(tmp_path / "a.txt"))


@pytest.mark.parametrize(
    ("command", "slow_first"),
    [("amesh x 0 2 2 y 0 2 1 0.1", False), ("amesh(y, 0, 2, 1, x, 0, 2, 2, 0.1)", True)],
)
def test_meshes_of_other_programs(tmp_path: pathlib.Path, command: str, slow_first: bool) -> None:
    points = [(x, y, 10 * y + x) for y in (0, 2) for x in (0, 1, 2)]
    rows = "".join(f"{y if slow_first else x} {x if slow_first else y} {v}\n" for x, y, v in points)
    labels = "y  x" if slow_first else "x  y"
    words = command.replace("(", " ").replace(")", "").replace(",", "")
    scan = usidx.open(text(tmp_path, f"#S 1 {words}\n#N 3\n#L {labels}  det\n{rows}"))
    assert scan.usid.position_dims == ("y", "x")
    np.testing.assert_array_equal(scan.det.values.squeeze(), [[0, 1, 2], [20, 21, 22]])
    np.testing.assert_array_equal(scan.x, [0, 1, 2])


def test_columns_that_are_no_motors_of_a_mesh(tmp_path: pathlib.Path) -> None:
    rows = "".join(f"1 0 {x} {y} {10 * y + x}\n" for y in (0, 2) for x in (0, 1, 2))
    path = text(tmp_path, f"#S 1 mesh x 0 2 2 y 0 2 1 0.1\n#N 5\n#L H  K  x  y  det\n{rows}")
    scan = usidx.open(path)
    assert scan.usid.position_dims == ("slow", "fast")
    np.testing.assert_array_equal(scan.x.values.squeeze(), [[0, 1, 2]] * 2)


def test_analysers_with_channels_of_their_own(tmp_path: pathlib.Path) -> None:
    lines = "#S 1 ascan x 0 1 1 1\n#@CTIME 1 2 3\n#N 2\n#L x  d\n"
    path = text(tmp_path, f"{lines}0 7\n@A 1 2 3\n@B 4 5\n1 8\n@A 7 8 9\n@B 10 11\n")
    np.testing.assert_array_equal(usidx.open(path, "1.1/mca_0"), [[1, 2, 3], [7, 8, 9]])
    np.testing.assert_array_equal(usidx.open(path, "1.1/mca_1"), [[4, 5], [10, 11]])
    assert usidx.open(path, "1.1/mca_1").attrs["@CTIME"] == "1 2 3"
    cut = text(tmp_path, f"{lines}0 7\n@A 1 2 3\n@B 4 5\n1 8\n@A 7 8 9\n@B 10\n")
    with pytest.raises(DamagedStoreError, match=r"1 channels, the first of its analyser has 2"):
        usidx.list_mains(cut)


def test_letters_of_western_europe_and_notes(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.spec"
    lines = "#F a\n#O0 µ\n\n#S 1 ascan\n#P0 2\n#MD a = 1\n#MD b = 2\n#N 2\n#L x (µm)  d\n0 1\n1 2\n"
    for encoding in ("latin-1", "utf-8"):
        path.write_bytes(lines.encode(encoding))
        scan = usidx.open(path)
        assert "x (µm)" in scan.coords
        assert scan.attrs["motors.µ"] == 2
        assert scan.attrs["MD"] == "a = 1\nb = 2"
