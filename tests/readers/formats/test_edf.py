"""EDF files: against the manifests of real ones, and against FabIO."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import json
import pathlib
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import usidx
from usidx.cli import main
from usidx.errors import DamagedStoreError, NotUsidError, SourceChangedError
from usidx.readers.formats.edf_headers import number_of
from usidx.testing import check_reader


def rows(samples: pathlib.Path) -> list[tuple[pathlib.Path, Any]]:
    """(path, what the manifest says) of every EDF file."""
    found = []
    for folder in ("peers", "instruments"):
        for row in json.loads((samples / folder / "MANIFEST.json").read_text()):
            if ".edf" in row["path"] and ".." not in row["path"]:
                found.append((samples / folder / row["path"], row))
    return found


def test_every_sample(samples: pathlib.Path) -> None:
    found = rows(samples)
    assert len(found) == 14
    for path, row in found:
        opened = usidx.open(path)
        assert list(opened.shape) == row["shape"], path
        assert opened.dtype == np.dtype(row["dtype"]).newbyteorder("="), path
        digest = hashlib.sha256(np.ascontiguousarray(opened.values).tobytes()).hexdigest()
        assert digest == row.get("sha256_array", row.get("sha256")), path
        assert opened.usid.spectroscopic_dims == ("v", "u")


@pytest.mark.parametrize(
    "name", ["single.edf", "multiframe.edf", "single.edf.gz", "single.edf.bz2"]
)
def test_the_contract(samples: pathlib.Path, name: str) -> None:
    path = samples / "peers" / "silx_fabio" / name
    check_reader(path, usidx.open(path).values)


def test_motors_and_counters(samples: pathlib.Path) -> None:
    folder = samples / "peers" / "silx_fabio"
    opened = usidx.open(folder / "multiframe.edf")
    assert opened.usid.position_dims == ("frame",)
    np.testing.assert_array_equal(opened.srot, np.arange(7) * 1.5)
    np.testing.assert_array_equal(opened.mon, np.arange(7) + 1000)
    one = usidx.open(folder / "single.edf")
    assert one.attrs["motors.sx"] == -3.25
    assert one.attrs["counters.mon"] == 1234.5
    assert one.attrs["pixel_size"] == 0.2
    assert one.attrs["dir"] == "/data/id16b"


def test_a_real_scan(samples: pathlib.Path) -> None:
    path = samples / "instruments" / "silx-training" / "ID16B_diatomee.edf"
    opened = usidx.open(path)
    np.testing.assert_array_equal(opened.acq_frame_nb, [0, 100, 200, 299, 400, 0])
    assert opened.time_of_day[0] == 1465802989.9281
    assert (opened.attrs["motors.energy"], opened.attrs["energy"]) == (17.86, 29.6)
    assert opened.attrs["time"][1] == "Mon Jun 13 09:30:40 2016"
    assert opened.attrs["credit"] == "ESRF - ID16B - Julie Villanova"


@pytest.mark.parametrize("name", ["multiframe.edf", "series_0000.edf", "single.edf.gz"])
def test_convert(samples: pathlib.Path, tmp_path: pathlib.Path, name: str) -> None:
    path = samples / "peers" / "silx_fabio" / name
    target = tmp_path / "x.h5"
    said = CliRunner().invoke(main, ["convert", str(path), str(target)])
    assert said.exit_code == 0, said.output
    again, opened = usidx.open(target), usidx.open(path)
    np.testing.assert_array_equal(again.values.squeeze(), opened.values)
    if name == "multiframe.edf":
        np.testing.assert_array_equal(again.srot, opened.srot)


def test_every_sample_is_converted(samples: pathlib.Path, tmp_path: pathlib.Path) -> None:
    for number, (path, _) in enumerate(rows(samples)):
        target = usidx.open(path).usid.to_h5usid(tmp_path / f"{number}.h5")
        again = usidx.open(target)
        np.testing.assert_array_equal(again.values.squeeze(), usidx.open(path).values)


def test_a_series_is_stacked(samples: pathlib.Path) -> None:
    folder = samples / "instruments" / "silx-training"
    stack = usidx.stack(str(folder / "ID19_D2H2T2_*.edf"))
    assert stack.shape == (6, 270, 320)
    for number in range(6):
        wanted = usidx.open(folder / f"ID19_D2H2T2_{number:04d}.edf")
        np.testing.assert_array_equal(stack[number], wanted)
    moved = str(samples / "peers" / "silx_fabio" / "series_*.edf")
    by_motor = usidx.stack(moved, metadata={"sx": "sx"})
    np.testing.assert_allclose(by_motor.sx, np.arange(6) * 0.1)
    assert by_motor.usid.position_dims == ("sx",)


@pytest.mark.parametrize(("ending", "pack"), [("gz", gzip.compress), ("bz2", bz2.compress)])
def test_a_series_that_is_compressed(
    samples: pathlib.Path, tmp_path: pathlib.Path, ending: str, pack: Any
) -> None:
    series = sorted((samples / "peers" / "silx_fabio").glob("series_*.edf"))
    for path in series:
        (tmp_path / f"{path.name}.{ending}").write_bytes(pack(path.read_bytes()))
    stack = usidx.stack(tmp_path, metadata={"sx": "sx"})
    np.testing.assert_allclose(stack.sx, np.arange(6) * 0.1)
    for number, path in enumerate(series):
        np.testing.assert_array_equal(stack[number], usidx.open(path))


def test_a_series_that_fabio_wrote(tmp_path: pathlib.Path) -> None:
    image = pytest.importorskip("fabio.edfimage").EdfImage
    values = np.arange(5 * 6 * 4, dtype="i4").reshape(5, 6, 4)
    written = image(data=values[0], header={"motor_mne": "a b", "motor_pos": "0 2"})
    for number in range(1, 5):
        # a header that takes a block more, so that frames are not equally far apart
        note = "x" * 600 if number == 2 else "y"
        header = {"motor_mne": "a b", "motor_pos": f"{number} 2", "note": note}
        written.append_frame(data=values[number], header=header)
    path = tmp_path / "many.edf"
    written.write(str(path))
    opened = usidx.open(path)
    np.testing.assert_array_equal(opened.values, values)
    np.testing.assert_array_equal(opened.a, np.arange(5))
    assert opened.attrs["motors.b"] == 2
    assert opened.attrs["note"][2] == "x" * 600
    check_reader(path, values)
    (tmp_path / "many.edf.gz").write_bytes(gzip.compress(path.read_bytes()))
    packed = usidx.open(tmp_path / "many.edf.gz")
    assert packed.chunks == ((5,), (6,), (4,))
    check_reader(tmp_path / "many.edf.gz", values)


def edf(path: pathlib.Path, images: list[Any], **header: Any) -> pathlib.Path:
    """Images of bytes as an EDF file, `header` as it is."""
    with path.open("wb") as file:
        for number, values in enumerate(images):
            told = {"Image": number, "ByteOrder": "LowByteFirst", "Size": len(values), **header}
            text = "{\n" + "".join(f"{name} = {value} ;\n" for name, value in told.items())
            file.write((text.ljust(510) + "}\n").encode() + values)
    return path


@pytest.mark.parametrize(
    ("name", "pack"), [("GzipCompression", gzip.compress), ("Z", zlib.compress)]
)
def test_images_that_are_compressed(tmp_path: pathlib.Path, name: str, pack: Any) -> None:
    values = np.arange(3 * 8 * 9, dtype="<u2").reshape(3, 8, 9)
    told = {"DataType": "UnsignedShort", "Dim_1": 9, "Dim_2": 8, "Compression": name}
    parts = [pack(each.tobytes()) for each in values]
    with (tmp_path / "a.edf").open("wb") as file:
        for part in parts:
            file.write(edf(tmp_path / "one.edf", [part], **told).read_bytes())
    check_reader(tmp_path / "a.edf", values)


def test_sizes_of_pixels(tmp_path: pathlib.Path) -> None:
    told = {"DataType": "UnsignedByte", "Dim_1": 3, "Dim_2": 2}
    sized = edf(tmp_path / "a.edf", [bytes(6)], **told, PSize_1="5e-05", PSize_2="1.0e-04_m")
    opened = usidx.open(sized)
    np.testing.assert_allclose(opened.u, [0, 5e-5, 1e-4])
    np.testing.assert_allclose(opened.v, [0, 1e-4])
    assert opened.u.attrs["units"] == opened.v.attrs["units"] == "m"


def test_images_of_two_sizes(tmp_path: pathlib.Path) -> None:
    small = edf(tmp_path / "a.edf", [b"abcd"], DataType="UnsignedByte", Dim_1=2, Dim_2=2)
    large = edf(tmp_path / "b.edf", [b"abcdef"], DataType="UnsignedByte", Dim_1=3, Dim_2=2)
    both = tmp_path / "both.edf"
    both.write_bytes(small.read_bytes() + large.read_bytes() + small.read_bytes())
    mains = usidx.list_mains(both)
    assert [each.shape for each in mains] == [(2, 2, 2), (2, 3)]
    first = usidx.open(both, "Raw_Data")
    np.testing.assert_array_equal(first.frame, [0, 2])
    np.testing.assert_array_equal(first.values[1], [[97, 98], [99, 100]])


def test_names_and_values_that_do_not_match(tmp_path: pathlib.Path) -> None:
    told = {"DataType": "UnsignedByte", "Dim_1": 2, "Dim_2": 2}
    path = edf(tmp_path / "a.edf", [b"abcd"], **told, motor_mne="two theta x", motor_pos="1 2")
    opened = usidx.open(path)
    assert not [name for name in opened.attrs if name.startswith("motors.")]
    assert opened.attrs["motor_mne"] == "two theta x"
    assert opened.attrs["motor_pos"] == "1 2"


def test_compressed_files_that_are_cut_short(samples: pathlib.Path, tmp_path: pathlib.Path) -> None:
    for name in ("single.edf.gz", "single.edf.bz2"):
        whole = (samples / "peers" / "silx_fabio" / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(DamagedStoreError):
            usidx.open(tmp_path / name)


def test_what_is_refused(tmp_path: pathlib.Path) -> None:
    told = {"Dim_1": 2, "Dim_2": 2}
    with pytest.raises(NotUsidError, match="'Complex'.* reader='fabio'"):
        usidx.open(edf(tmp_path / "a.edf", [bytes(4)], **told, DataType="Complex"))
    with pytest.raises(DamagedStoreError, match="cut short: 515 bytes where its header needs 516"):
        usidx.open(edf(tmp_path / "b.edf", [bytes(3)], **told, DataType="UnsignedByte"))
    path = edf(tmp_path / "c.edf", [bytes(4)], **told, DataType="UnsignedByte")
    opened = usidx.open(path)
    edf(path, [bytes(4), bytes(4)], **told, DataType="UnsignedByte")
    with pytest.raises(SourceChangedError):
        opened.compute()


def test_numbers() -> None:
    assert [number_of(each) for each in ("-3", "0.5", ".5", "1e5", "007", "-", "e", "", "1 2")] == [
        -3, 0.5, 0.5, 1e5, "007", "-", "e", "", "1 2",
    ]  # fmt: skip


def test_headers_that_lie(tmp_path: pathlib.Path) -> None:
    told = {"Dim_1": 2, "Dim_2": 2, "DataType": "UnsignedByte"}
    negative = edf(tmp_path / "a.edf", [b"abcd"], **told, EDF_BinarySize=-516)
    np.testing.assert_array_equal(usidx.open(negative), [[97, 98], [99, 100]])
    for number, wrong in enumerate(({"Dim_1": 2**62}, {"Dim_1": -2}, {"Dim_2": "x"})):
        with pytest.raises(DamagedStoreError):
            usidx.open(edf(tmp_path / f"{number}.edf", [bytes(4)], **{**told, **wrong}))
    (tmp_path / "b.edf").write_bytes(b"{ EDF_DataFormatVersion = 2 ;\n EDF_BinarySize = -9 ;\n}\n")
    with pytest.raises(DamagedStoreError, match="has no image"):
        usidx.open(tmp_path / "b.edf")
    (tmp_path / "c.json").write_text('{"edf_path": "a = b"}')
    with pytest.raises(NotUsidError):
        usidx.open(tmp_path / "c.json")


def test_a_large_file_is_read_by_frames(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "large.edf"
    told = {"Dim_1": 4096, "Dim_2": 4096, "DataType": "UnsignedByte"}
    text = "{\n" + "".join(f"{name} = {value} ;\n" for name, value in told.items())
    with path.open("wb") as file:  # a sparse file: 40 frames of 16 MiB
        for number in range(40):
            file.write((text.ljust(510) + "}\n").encode())
            file.seek(4096 * 4096 - 1, 1)
            file.write(bytes([number]))
    opened = usidx.open(path)
    assert opened.shape == (40, 4096, 4096)
    assert opened.data.chunksize[0] <= 2
    tracemalloc.start()
    assert int(opened[17, -1, -1]) == 17
    assert int(opened[39].max()) == 39
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 * 2**20


def test_values_in_a_file_beside_the_header(tmp_path: pathlib.Path) -> None:
    values = np.arange(24, dtype="<u2").reshape(2, 3, 4)
    (tmp_path / "x.bin").write_bytes(b"head" + values.tobytes())
    told = {"DataType": "UnsignedShort", "Dim_1": 4, "Dim_2": 3}
    parts = []
    for number in (0, 1):
        place = {"EDF_BinaryFilePosition": 4 + 24 * number, "EDF_BinaryFileSize": 24}
        # the name has a folder of another computer
        named = {"EDF_BinaryFileName": r"D:\data\x.bin", **place, "motor_mne": "a"}
        parts.append(edf(tmp_path / "a", [b""], **told, **named, motor_pos=number).read_bytes())
    path = tmp_path / "a.ehf"
    path.write_bytes(b"".join(parts))
    opened = usidx.open(path)
    np.testing.assert_array_equal(opened, values)
    np.testing.assert_array_equal(opened.a, [0, 1])
    check_reader(path, values, beside=[tmp_path / "x.bin"], cut_short=False)
    whole = (tmp_path / "x.bin").read_bytes()
    (tmp_path / "x.bin").write_bytes(whole[:-1])
    with pytest.raises(SourceChangedError):
        opened.compute()
    with pytest.raises(DamagedStoreError, match="has 23 bytes of the image .* 24 are needed"):
        usidx.open(path)
    (tmp_path / "x.bin").unlink()
    with pytest.raises(DamagedStoreError, match="'x.bin', which is not beside it"):
        usidx.open(path)


@pytest.mark.parametrize("length", [510, 511, 512, 513, 514])
@pytest.mark.parametrize("end", [b"}\n", b"}\r\n"])
def test_headers_of_any_length(tmp_path: pathlib.Path, length: int, end: bytes) -> None:
    """The end of a header may lie on both sides of the places where it is read."""
    text = b"{\nByteOrder = LowByteFirst ;\nDataType = UnsignedByte ;\n"
    text += b"Dim_1 = 2 ;\nDim_2 = 2 ;\nsaid = {a} ;\n"
    one = text.ljust(length - len(end)) + end + b"abcd"
    (tmp_path / "a.edf").write_bytes(one + one)
    np.testing.assert_array_equal(usidx.open(tmp_path / "a.edf"), [[[97, 98], [99, 100]]] * 2)
    fabio = pytest.importorskip("fabio").open(tmp_path / "a.edf")
    np.testing.assert_array_equal(usidx.open(tmp_path / "a.edf")[0], fabio.data)


def test_a_block_for_all_images(tmp_path: pathlib.Path) -> None:
    told = {"DataType": "UnsignedByte", "Dim_1": 2, "Dim_2": 2, "Compression": "NoSpecificValue"}
    general = (
        "{\nEDF_DataFormatVersion = 2.40 ;\nEDF_BinarySize = 0 ;\nEDF_HeaderSize = 512 ;\n"
        "Size = 0 ;\nsample = gold\0 ;\n"
    )
    images = edf(tmp_path / "a", [b"abcd", b"efgh"], **told).read_bytes()
    (tmp_path / "a.edf").write_bytes((general.ljust(510) + "}\n").encode() + images)
    opened = usidx.open(tmp_path / "a.edf")
    assert opened.shape == (2, 2, 2)
    assert opened.attrs["sample"] == "gold"
    assert "Size" not in opened.attrs
