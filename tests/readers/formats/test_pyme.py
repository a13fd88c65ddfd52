"""PYME's files, as PYME itself wrote them."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import pickle
import sys
import types
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from scipy.interpolate import SmoothBivariateSpline

import usidx
from usidx.errors import DamagedStoreError, NotUsidError
from usidx.readers.formats.pzf import HEADER
from usidx.readers.pickles import unpickled
from usidx.testing import check_reader


def told(samples: pathlib.Path, name: str) -> Any:
    rows = json.loads((samples / "peers" / "MANIFEST.json").read_text())
    return next(row for row in rows if row["path"] == f"pyme/{name}")


@pytest.mark.parametrize(
    "name",
    ["series_A.h5", "float32.h5", "saved.h5"]
    + [f"frame_{kind}.pzf" for kind in ("raw", "huff", "huff_quant", "F_order")],
)
def test_samples(samples: pathlib.Path, name: str) -> None:
    facts, path = told(samples, name), samples / "peers" / "pyme" / name
    opened = usidx.open(path)
    values = np.ascontiguousarray(opened.values)
    assert (list(values.shape), str(values.dtype)) == (facts["shape"], facts["dtype"])
    assert hashlib.sha256(values.tobytes()).hexdigest() == facts["sha256"]
    check_reader(path, values)


def test_metadata_events_and_pixels(samples: pathlib.Path) -> None:
    facts = told(samples, "series_A.h5")
    opened = usidx.open(samples / "peers" / "pyme" / "series_A.h5")
    for name, value in facts["meta"].items():
        assert opened.attrs[name] == value
    events = json.loads(opened.attrs["events"])
    assert len(events) == facts["events"]
    with h5py.File(samples / "peers" / "pyme" / "series_A.h5") as file:
        assert [each["time"] for each in events] == file["Events"]["Time"].tolist()
    np.testing.assert_allclose(opened.x, 0.07 * np.arange(32))
    assert opened.x.attrs["units"] == "um"
    assert opened.usid.position_dims == ("time",)


def test_fits_are_a_compound_main(samples: pathlib.Path) -> None:
    facts, path = told(samples, "results.h5r"), samples / "peers" / "pyme" / "results.h5r"
    opened = usidx.open(path)
    x0 = np.ascontiguousarray(opened["fitResults_x0"].values)
    assert hashlib.sha256(x0.tobytes()).hexdigest() == facts["sha256"]
    with h5py.File(path) as file:
        table = file["FitResults"][...]
    np.testing.assert_array_equal(opened["tIndex"], table["tIndex"])
    np.testing.assert_array_equal(opened["slicesUsed_y_stop"], table["slicesUsed"]["y"]["stop"])


def test_packed_frames_in_hdf5(samples: pathlib.Path, tmp_path: pathlib.Path) -> None:
    folder = samples / "peers" / "pyme"
    packed = [(folder / f"frame_{kind}.pzf").read_bytes() for kind in ("raw", "huff", "raw")]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_group("MetaData/voxelsize").attrs["x"] = 0.1
        data = file.create_dataset("PZFImageData", (3,), h5py.vlen_dtype(np.uint8))
        for number, each in enumerate(packed):
            data[number] = np.frombuffer(each, np.uint8)
    frame = usidx.open(folder / "frame_raw.pzf").values
    check_reader(tmp_path / "a.h5", np.stack([frame] * 3))


def test_point_spreads(samples: pathlib.Path) -> None:
    path = (
        samples / "instruments" / "python-microscopy__python-microscopy"
        / "PYME__localization__Test__astig_theory.psf"
    )  # fmt: skip
    opened = usidx.open(path)
    values = opened.values
    assert (values.dtype, values.ndim) == (np.float32, 3)
    assert np.isfinite(values).all()
    assert float(opened.x[1] - opened.x[0]) > 0
    raw = path.read_bytes()
    assert values.tobytes() in raw or values.tobytes(order="F") in raw


class Evil:
    """What a pickle that somebody sent might hold."""

    def __reduce__(self) -> Any:
        return os.system, ("touch /tmp/usidx-was-run",)


HOSTILE = [
    b"cos\nsystem\n(S'touch /tmp/usidx-was-run'\ntR.",
    b"(ios\nsystem\nS'touch /tmp/usidx-was-run'\n.",
    b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x01x\x85R.",
    # what looks like PYME's, with a way through its attributes
    b"\x80\x04\x8c\x04PYME\x8c\x08os.sep.x\x93.",
    b"\x80\x04\x8c\x0cnumpy.core.x\x8c\x06system\x93.",
    b"\x80\x04\x8c\x07_codecs\x8c\x06encode\x93\x8c\x01x\x8c\x03zip\x86R.",
]


ADDRESSES = b"C\x10" + 16 * b"A"
OBJECTS = b"cnumpy\ndtype\n(\x8c\x02O8\x89\x88tR"
HOSTILE += [
    # arrays of objects whose addresses are bytes of the file, which NumPy would follow
    b"\x80\x04cnumpy\nndarray\n(K\x02\x85" + OBJECTS + ADDRESSES + b"tR.",
    b"\x80\x04cnumpy.core.numeric\n_frombuffer\n(" + ADDRESSES + OBJECTS + b"K\x02\x85\x8c\x01CtR.",
    b"\x80\x04cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01btR"
    b"(K\x01K\x02\x85" + OBJECTS + b"(K\x03\x8c\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    b"\x89" + ADDRESSES + b"tb.",
    # dtypes of parts, and what a class or function of usidx would become
    b"\x80\x04cnumpy\ndtype\n(\x8c\x03V16\x89\x88tR.",
    b"\x80\x04cPYME.x\nModel\nN}\x8c\x08__init__cbuiltins\nlist\ns\x86b.",
    b"\x80\x04c_codecs\nencode\nN}\x8c\x0c__defaults__)s\x86b.",
    b"\x80\x04cPYME.x\nModel\n.",
    b"\x80\x04cnumpy\nmatrix\n.",
]


@pytest.mark.parametrize("ending", ["psf", "sf"])
def test_nothing_in_a_pickle_is_run(tmp_path: pathlib.Path, ending: str) -> None:
    made = [pickle.dumps(each) for each in (Evil(), (np.eye(3), Evil()), eval)]
    for content in (*made, *HOSTILE):
        (tmp_path / f"a.{ending}").write_bytes(content)
        with pytest.raises(NotUsidError):
            usidx.open(tmp_path / f"a.{ending}")
    assert not os.path.exists("/tmp/usidx-was-run")
    (tmp_path / "b.psf").write_bytes(pickle.dumps((np.eye(3), None))[:-20])
    with pytest.raises(DamagedStoreError):
        usidx.open(tmp_path / "b.psf")


def test_pickles_that_take_time_and_memory(tmp_path: pathlib.Path) -> None:
    for content in (
        b"\x80\x04N" + 60 * b"2\x86" + b".",  # 2 ** 60 values, each of which is in two others
        b"\x80\x04Nr\xff\xff\xff\x7f.",
        b"\x80\x04)" + 50_000 * b"\x85" + b".",
        b"\x80\x04]2a.",
    ):
        (tmp_path / "a.sf").write_bytes(content)
        with pytest.raises((NotUsidError, DamagedStoreError)):
            usidx.open(tmp_path / "a.sf")


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("dtype", [">f8", "<f4", "i2", "u1", "?", "c16"])
def test_arrays_of_any_kind(tmp_path: pathlib.Path, protocol: int, dtype: str) -> None:
    values = np.random.default_rng(0).integers(0, 99, (3, 4, 5)).astype(dtype)
    for each in (values, np.asfortranarray(values), values[:, ::2]):
        (tmp_path / "a.psf").write_bytes(pickle.dumps((each, {}), protocol))
        np.testing.assert_array_equal(unpickled(str(tmp_path / "a.psf"), ())[0], each)
        assert usidx.open(tmp_path / "a.psf").dtype == each.dtype.newbyteorder("=")


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_point_spreads_of_any_protocol(tmp_path: pathlib.Path, protocol: int) -> None:
    values = np.random.default_rng(0).random((3, 4, 5)).astype("f4")
    (tmp_path / "a.psf").write_bytes(pickle.dumps((values, (0.07, 0.07, 0.2)), protocol))
    opened = usidx.open(tmp_path / "a.psf")
    np.testing.assert_array_equal(opened, values)
    np.testing.assert_allclose(opened.z, 0.2 * np.arange(5))


def shift_field(tmp_path: pathlib.Path, models: dict[str, dict[str, Any]], protocol: int) -> Any:
    """A .sf file of objects of classes that are called as PYME's are, and are not here."""
    name = "PYME.Analysis.points.twoColour"
    module = types.ModuleType(name)
    objects = []
    for kind, state in models.items():
        made = type(kind, (), {"__module__": name})
        setattr(module, kind, made)
        each = made()
        each.__dict__.update(state)
        objects.append(each)
    with pytest.MonkeyPatch.context() as patch:
        parts = name.split(".")
        for number in range(1, len(parts)):
            above = ".".join(parts[:number])
            patch.setitem(sys.modules, above, types.ModuleType(above))
        patch.setitem(sys.modules, name, module)
        (tmp_path / "a.sf").write_bytes(pickle.dumps(tuple(objects), protocol))
    return tmp_path / "a.sf"


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_fields_of_shifts(tmp_path: pathlib.Path, protocol: int) -> None:
    state = {"mx": np.float64(3.0), "my": 4.0, "mx2y": 0.5, "my3": 0, "x0": 7.0}
    path = shift_field(
        tmp_path, {"lin3Model": state, "linModel": {"m": 2.0, "x0": 1.0, "axis": "y"}}, protocol
    )
    told = usidx.open(path)
    assert told.mx.values.tolist() == [3.0, 0.0]
    assert told.x0.values.tolist() == [7.0, 1.0]
    x, y = np.linspace(0, 9e3, 4), np.linspace(0, 18e3, 3)
    first = usidx.open(path, "Shift_x", x=x, y=y)
    u, v = x[:, None] / 18e3, y[None] / 18e3
    np.testing.assert_allclose(first, 3 * u + 4 * v + 0.5 * u**2 * v + 7)
    assert first.usid.position_dims == ("x", "y")
    second = usidx.open(path, "Shift_y", x=x, y=y)
    np.testing.assert_allclose(second, 2 * (y[None] - 1) + 0 * x[:, None])


def test_fields_of_shifts_as_splines(tmp_path: pathlib.Path) -> None:
    x, y = (each.ravel() for each in np.mgrid[:6, :5] * 1000.0)
    spline = SmoothBivariateSpline(x, y, x + 2 * y)
    (tmp_path / "a.sf").write_bytes(pickle.dumps((spline, spline), 2))
    places = {"x": [3000.0, 0.0, 500.0], "y": [0.0, 1500.0]}
    opened = usidx.open(tmp_path / "a.sf", "Shift_x", **places)
    expected = np.array(places["x"])[:, None] + 2 * np.array(places["y"])[None]
    np.testing.assert_allclose(opened, expected, atol=1e-6)
    with pytest.raises(NotUsidError, match="x= and y="):
        usidx.open(tmp_path / "a.sf")
    (tmp_path / "b.sf").write_bytes(pickle.dumps(np.array([spline, spline]), 2))
    opened = usidx.open(tmp_path / "b.sf", "Shift_x", **places)
    np.testing.assert_allclose(opened, expected, atol=1e-6)
    # SciPy would read what lies behind the factors
    spline.tck = (*spline.tck[:2], spline.tck[2][:3])
    (tmp_path / "c.sf").write_bytes(pickle.dumps((spline, spline), 2))
    with pytest.raises(DamagedStoreError, match="3 factors"):
        usidx.open(tmp_path / "c.sf", "Shift_x", **places)


def test_events_as_a_table(samples: pathlib.Path) -> None:
    path = samples / "peers" / "pyme" / "series_A.h5"
    events = usidx.open(path, "Events", events=True)
    with h5py.File(path) as file:
        np.testing.assert_array_equal(events, file["Events"]["Time"])
        names = [each.decode() for each in file["Events"]["EventName"]]
    assert events["name"].values.tolist() == names


@pytest.mark.parametrize("name", ["meta.json", "meta.md", "meta.xml"])
def test_metadata_go_with_the_image_beside(
    samples: pathlib.Path, tmp_path: pathlib.Path, name: str
) -> None:
    source = samples / "peers" / "pyme" / name
    with pytest.raises(NotUsidError, match="there is none"):
        usidx.open(source)
    ending = name.partition(".")[2]
    values = np.arange(20, dtype="u2").reshape(4, 5)
    for image in ("b.tif", "c.pzf"):
        (tmp_path / f"{image[0]}.{ending}").write_bytes(source.read_bytes())
    tifffile.imwrite(tmp_path / "b.tif", values)
    raw = (samples / "peers" / "pyme" / "frame_raw.pzf").read_bytes()
    (tmp_path / "c.pzf").write_bytes(raw)
    with pytest.raises(NotUsidError, match=r"open .*b\.tif"):
        usidx.open(tmp_path / f"b.{ending}")
    for image, dim in (("b.tif", "X"), ("c.pzf", "x")):
        opened = usidx.open(tmp_path / image)
        for key, value in told(samples, name)["expect"].items():
            assert opened.attrs[key] == value
        assert float(opened[dim][1] - opened[dim][0]) == pytest.approx(0.07)
        assert opened[dim].attrs["units"] == "um"


def test_fits_as_a_lazy_table(samples: pathlib.Path) -> None:
    pytest.importorskip("dask.dataframe", reason="pyarrow is an extra")
    path = samples / "peers" / "pyme" / "results.h5r"
    table = usidx.open(path).usid.to_dataframe(lazily=True)
    with h5py.File(path) as file:
        x0 = file["FitResults"]["fitResults"]["x0"]
    np.testing.assert_array_equal(table["fitResults_x0"].compute(), x0)
    assert table.npartitions == 1


def test_broken_codes(samples: pathlib.Path, tmp_path: pathlib.Path) -> None:
    whole = (samples / "peers" / "pyme" / "frame_huff.pzf").read_bytes()
    for broken in (whole[:300], whole[:-1], whole[:64] + bytes(900), whole[:64]):
        (tmp_path / "a.pzf").write_bytes(broken)
        with pytest.raises(DamagedStoreError):
            usidx.open(tmp_path / "a.pzf").compute()
    # one value alone is a tree of nine bits, of which the last byte has one
    (tmp_path / "a.pzf").write_bytes(whole[:64] + np.packbits([1, *[0] * 7, 1]).tobytes()[:1])
    with pytest.raises(DamagedStoreError, match="ends too early"):
        usidx.open(tmp_path / "a.pzf").compute()


def pzf(version: int, compression: int, body: bytes, shape: tuple[int, int], **told: Any) -> bytes:
    head = np.zeros(1, HEADER)
    head["id"], head["version"], head["compression"] = b"BD", version, compression
    head["format"], head["width"], head["height"], head["depth"] = 1, *shape, 1
    head["start"] = 64
    for name, value in told.items():
        head[name] = value
    return bytes(head.tobytes()[: 64 if version > 2 else 48]) + body


def coded(data: bytes) -> bytes:
    """By a code in which each byte stands for itself: a tree of which all leaves are as deep."""

    def tree(first: int, depth: int) -> list[int]:
        if depth == 8:
            return [1, *(int(bit) for bit in f"{first:08b}")]
        return [0, *tree(first, depth + 1), *tree(first + (1 << (7 - depth)), depth + 1)]

    bits = np.concatenate([tree(0, 0), np.unpackbits(np.frombuffer(data, np.uint8))])
    return bytes(np.packbits(bits.astype(np.uint8)).tobytes())


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("compression", ["plain", "huffman", "chunks of bytes", "chunks of rows"])
def test_frames_of_every_version(tmp_path: pathlib.Path, version: int, compression: str) -> None:
    values = np.random.default_rng(0).integers(0, 60_000, (6, 5)).astype("<u2")
    raw, halves = values.tobytes(), (values[:3].tobytes(), values[3:].tobytes())
    lengths = (3, 3) if "rows" in compression else tuple(map(len, halves))
    chunks = (2).to_bytes(2, "little")
    for half, length in zip(halves, lengths, strict=True):
        packed = coded(half)
        chunks += len(packed).to_bytes(4, "little") + length.to_bytes(4, "little") + packed
    bodies = {"plain": (0, raw), "huffman": (1, coded(raw))}
    kind, body = bodies.get(compression, (2, chunks))
    path = tmp_path / "a.pzf"
    path.write_bytes(pzf(version, kind, body, (6, 5), timestamp=7))
    opened = usidx.open(path)
    np.testing.assert_array_equal(opened, values)
    assert opened.attrs["FrameTimestamp"] == 7
    path.write_bytes(pzf(version, kind, body[:-1], (6, 5)))
    with pytest.raises(DamagedStoreError):
        usidx.open(path).compute()


def test_frames_that_say_that_they_are_quantised_and_are_not(tmp_path: pathlib.Path) -> None:
    """As PYME writes them where it does not compress."""
    raw = np.arange(30, dtype="<u2").tobytes()
    (tmp_path / "a.pzf").write_bytes(pzf(3, 0, raw, (6, 5), quantization=1, scale=1))
    with pytest.raises(DamagedStoreError, match="without quantising"):
        usidx.open(tmp_path / "a.pzf").compute()
    (tmp_path / "a.pzf").write_bytes(pzf(3, 2, raw, (6, 5), quantization=1, scale=1))
    with pytest.raises(NotUsidError, match="does not know"):
        usidx.open(tmp_path / "a.pzf").compute()


def test_a_spooled_series(samples: pathlib.Path, tmp_path: pathlib.Path) -> None:
    whole = bytearray((samples / "peers" / "pyme" / "frame_raw.pzf").read_bytes())
    frames = []
    for number in range(12):
        whole[-1] = whole[16] = number  # the last value, and the number of the frame
        (tmp_path / f"frame{number}.pzf").write_bytes(whole)
        frames.append(usidx.open(tmp_path / f"frame{number}.pzf").values)
    (tmp_path / "metadata.json").write_text('{"Camera.Name": "made up"}')
    np.testing.assert_array_equal(usidx.stack(tmp_path), frames)
    counted = usidx.stack(tmp_path, metadata={"t": "FrameNum"})
    np.testing.assert_array_equal(counted.t, range(12))
    np.testing.assert_array_equal(counted, frames)
    with pytest.raises(NotUsidError, match="usidx.stack makes one Main"):
        usidx.open(tmp_path)
