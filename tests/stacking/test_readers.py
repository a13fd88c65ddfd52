"""Files as frames: what the formats hold, against the libraries that wrote them."""

from __future__ import annotations

import builtins
import gzip
import hashlib
import json

import numpy as np
import pytest
import tifffile
from PIL import Image

import usidx
from tests.stacking.frames import frame
from usidx.errors import (
    DamagedStoreError,
    LayoutError,
    MissingDependencyError,
    NotUsidError,
    OptionError,
)


class TestTiff:
    def test_pages_are_a_dimension(self, folder):
        for number in range(3):
            pages = np.stack([frame(4 * number + page) for page in range(4)])
            tifffile.imwrite(folder / f"t{number}.tif", pages, photometric="minisblack")
        wanted = np.stack([frame(n) for n in range(12)])
        da = usidx.stack(folder, pattern=r"t(?P<T>\d+)", pages="Z")
        assert da.dims == ("T", "Z", "v", "u")
        np.testing.assert_array_equal(da.values, wanted.reshape(3, 4, 6, 5))
        np.testing.assert_array_equal(da[1, 2].values, frame(6))
        # or they run on from file to file through the scan
        through = usidx.stack(folder, sizes={"Y": 2, "X": 6})
        np.testing.assert_array_equal(through.values, wanted.reshape(2, 6, 6, 5))
        snake = usidx.stack(folder, sizes={"Y": 2, "X": 6}, order="snake")
        np.testing.assert_array_equal(snake.values[1], wanted[6:][::-1])

    def test_another_number_of_pages(self, folder):
        tifffile.imwrite(folder / "0.tif", np.zeros((3, 6, 5), "u2"), photometric="minisblack")
        tifffile.imwrite(folder / "1.tif", np.zeros((2, 6, 5), "u2"), photometric="minisblack")
        with pytest.raises(LayoutError, match=r"1.tif' is not like the others: 2 frames of 6 x 5"):
            usidx.stack(folder)

    @pytest.mark.parametrize(
        "options",
        [
            {"byteorder": ">"},
            {"compression": "zlib", "tile": (16, 16)},
            {"bigtiff": True, "rowsperstrip": 2},
            {"compression": "zlib", "predictor": True},
            {"imagej": True},
        ],
    )
    @pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
    def test_ways_to_store(self, folder, options, dtype):
        if options.get("predictor") and dtype == "f4":
            options = {**options, "predictor": False}
        values = np.random.default_rng(0).uniform(0, 250, (20, 30)).astype(dtype)
        for number in range(2):
            tifffile.imwrite(folder / f"{number}.tif", values + dtype_one(dtype, number), **options)
        da = usidx.stack(folder)
        assert da.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(da.values[1], values + dtype_one(dtype, 1))

    def test_imagej_stack_with_one_page(self, folder):
        values = np.arange(5 * 6 * 7, dtype="f4").reshape(5, 6, 7)
        tifffile.imwrite(folder / "stack.tif", values, imagej=True)
        da = usidx.stack(folder)
        assert da.dims == ("page", "v", "u")
        np.testing.assert_array_equal(da.values, values)

    def test_colours(self, folder):
        values = np.random.default_rng(0).integers(0, 255, (4, 5, 3)).astype("u1")
        tifffile.imwrite(folder / "0.tif", values, photometric="rgb")
        da = usidx.stack(folder)
        assert da.dims == ("frame", "v", "u", "channel")
        np.testing.assert_array_equal(da.values[0], values)

    def test_a_compression_that_needs_more(self, folder, monkeypatch):
        tifffile.imwrite(folder / "0.tif", frame(0))
        da = usidx.stack(folder)

        def refuse(*_, **__):
            raise ValueError("<COMPRESSION.LZW: 5> requires the 'imagecodecs' package")

        monkeypatch.setattr(tifffile.TiffPage, "asarray", refuse)
        with pytest.raises(MissingDependencyError, match="pip install imagecodecs"):
            da.compute()

    def test_without_tifffile(self, folder, monkeypatch):
        tifffile.imwrite(folder / "0.tif", frame(0))
        real = builtins.__import__

        def refuse(name, *rest, **named):
            if name == "tifffile":
                raise ImportError("No module named 'tifffile'", name="tifffile")
            return real(name, *rest, **named)

        monkeypatch.setattr(builtins, "__import__", refuse)
        with pytest.raises(MissingDependencyError, match="is read with tifffile; install it"):
            usidx.stack(folder)


def dtype_one(dtype: str, number: int) -> np.generic:
    return np.dtype(dtype).type(number)


class TestPictures:
    @pytest.mark.parametrize("dtype", ["u1", "u2", "?"])
    def test_grey_png(self, folder, dtype):
        values = (frame(0, (6, 5)) % 2 if dtype == "?" else frame(7, (6, 5))).astype(dtype)
        for number in range(2):
            Image.fromarray(values).save(folder / f"{number}.png")
        da = usidx.stack(folder)
        assert da.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(da.values[1], values)

    def test_colours_and_palettes(self, folder):
        values = np.zeros((4, 6, 3), "u1")
        values[:, :3] = (255, 0, 0)
        Image.fromarray(values).save(folder / "0.png")
        Image.fromarray(values).convert("P", palette=Image.Palette.ADAPTIVE).save(folder / "1.png")
        da = usidx.stack(folder)
        np.testing.assert_array_equal(da.values, [values, values])

    def test_sixteen_bits_in_colour_are_not_cut(self, folder):
        # Pillow writes none, so the header of a file of 8 bits is changed.
        Image.fromarray(np.zeros((4, 6, 3), "u1")).save(folder / "0.png")
        content = bytearray((folder / "0.png").read_bytes())
        content[24] = 16
        (folder / "0.png").write_bytes(content)
        with pytest.raises((NotUsidError, DamagedStoreError), match="16 bits|cannot be read"):
            usidx.stack(folder)

    def test_jpeg(self, folder):
        values = np.full((16, 16), 100, "u1")
        Image.fromarray(values).save(folder / "0.jpg", quality=95)
        Image.fromarray(values).save(folder / "1.jpeg", quality=95)
        da = usidx.stack(folder)
        assert da.sizes["frame"] == 2
        np.testing.assert_allclose(da.values, 100, atol=1)


class TestNumpy:
    def test_stacks_orders_and_bytes(self, folder):
        values = np.arange(24.0).reshape(2, 3, 4)
        np.save(folder / "0.npy", values.astype(">f8"))
        np.save(folder / "1.npy", values + 100)
        da = usidx.stack(folder)
        assert da.dims == ("frame", "page", "v", "u")
        np.testing.assert_array_equal(da.values, [values, values + 100])

    def test_fortran(self, folder):
        values = np.arange(12.0).reshape(3, 4)
        np.save(folder / "0.npy", np.asfortranarray(values))
        np.testing.assert_array_equal(usidx.stack(folder).values[0], values)
        np.save(folder / "0.npy", np.asfortranarray(np.zeros((2, 3, 4))))
        with pytest.raises(NotUsidError, match="2 images in Fortran order"):
            usidx.stack(folder)

    def test_spectra(self, folder):
        for number in range(3):
            np.save(folder / f"{number}.npy", np.arange(4.0) + number)
        da = usidx.stack(folder, frame_dims=("Energy",), spacing={"Energy": (5.0, 0.1)})
        assert da.dims == ("frame", "Energy")
        np.testing.assert_allclose(da.Energy, [5.0, 5.1, 5.2, 5.3])

    def test_objects_and_what_is_cut_short(self, folder):
        np.save(folder / "0.npy", np.array([{}]), allow_pickle=True)
        with pytest.raises(NotUsidError, match="values of object, which are no image"):
            usidx.stack(folder)
        np.save(folder / "0.npy", np.zeros((10, 10)))
        whole = (folder / "0.npy").read_bytes()
        (folder / "0.npy").write_bytes(whole[:500])
        with pytest.raises(DamagedStoreError, match=r"cut short: 500 bytes where .* needs 928"):
            usidx.stack(folder)


def edf(path, images, **header):
    """Images as an EDF file, in the plainest way."""
    with open(path, "wb") as file:
        for number, values in enumerate(images):
            kind = {"u2": "UnsignedShort", "f4": "FloatValue"}[values.dtype.str[1:]]
            order = "LowByteFirst" if values.dtype.str[0] == "<" else "HighByteFirst"
            rows = {
                "Image": number, "ByteOrder": order, "DataType": kind, "Dim_1": values.shape[1],
                "Dim_2": values.shape[0], "Size": values.nbytes, **header,
            }  # fmt: skip
            text = "{\n" + "".join(f"{name} = {value} ;\n" for name, value in rows.items())
            file.write((text.ljust(1022) + "}\n").encode())
            file.write(values.tobytes())


class TestEdf:
    def test_images_and_motors(self, folder):
        for number in range(4):
            moved = {"motor_mne": "sx sy", "motor_pos": f"{number % 2 * 0.5} {number // 2}"}
            edf(folder / f"{number}.edf", [frame(number).astype("<u2")], **moved)
        da = usidx.stack(folder, metadata={"Y": "sy", "X": "sx"})
        assert da.shape == (2, 2, 6, 5)
        np.testing.assert_array_equal(da.X, [0, 0.5])
        np.testing.assert_array_equal(da.values[1, 1], frame(3))

    @pytest.mark.parametrize("dtype", ["<u2", ">f4"])
    def test_several_images(self, folder, dtype):
        images = [frame(number, dtype=dtype) for number in range(3)]
        edf(folder / "0.edf", images)
        da = usidx.stack(folder)
        assert da.dims == ("page", "v", "u")
        np.testing.assert_array_equal(da.values, images)

    def test_cut_short(self, folder):
        edf(folder / "0.edf", [frame(0)])
        whole = (folder / "0.edf").read_bytes()
        (folder / "0.edf").write_bytes(whole[:-1])
        with pytest.raises(DamagedStoreError, match=f"{len(whole) - 1} bytes where"):
            usidx.stack(folder)
        (folder / "0.edf").write_bytes(whole[:600])
        with pytest.raises(DamagedStoreError, match="has no end"):
            usidx.stack(folder)


def test_a_folder_of_what_a_reader_reads(folder):
    for number in range(3):
        sides = [usidx.Dimension("Y", "um", range(6)), usidx.Dimension("X", "um", range(5))]
        image = usidx.from_array(frame(number), "Height", "nm", position=sides)
        image.usid.to_hspy(folder / f"{number}.hspy")
    (folder / "notes.txt").write_text("windy")
    (folder / "log.xml").write_text("<a/>")

    da = usidx.stack(folder, sizes={"T": 3})

    np.testing.assert_array_equal(da.values, [frame(n) for n in range(3)])
    assert any("notes.txt" in each for each in da.attrs["stack_left_out"])


def test_what_a_name_says_is_not_believed(folder):
    (folder / "0.tif").write_bytes(gzip.compress(b"x"))
    with pytest.raises(NotUsidError, match=r"0.tif' is no image that usidx stacks"):
        usidx.stack(folder)


def test_files_of_other_kinds_in_a_list(folder):
    """Pillow would read a TIFF, too, but not as the reader of TIFF does."""
    image = np.arange(12, dtype="u1").reshape(3, 4)
    tifffile.imwrite(folder / "a.tif", image)
    Image.fromarray(image).save(folder / "b.png")
    np.save(folder / "c.npy", image)
    (folder / "d.json").write_text("{}  of no interest")
    given = {name: str(folder / name) for name in ("a.tif", "b.png", "c.npy", "d.json")}
    for first, second, message in [
        ("a.tif", "b.png", r"b.png' is PNG or JPEG, where the frames before it are TIFF; stack"),
        ("b.png", "a.tif", r"a.tif' is TIFF, where the frames before it are PNG or JPEG"),
        ("a.tif", "c.npy", r"c.npy' is NumPy's .npy, where"),
        ("c.npy", "d.json", r"d.json' starts with b'{}  of n', where"),
    ]:
        with pytest.raises(NotUsidError, match=message):
            usidx.stack([given[first], given[second]])


@pytest.mark.parametrize("wrong", [np.zeros((3, 3)), None, 7])
def test_what_is_no_path(folder, wrong):
    np.save(folder / "a.npy", np.zeros((3, 3)))
    message = rf"number 1 to stack is a {type(wrong).__name__}, not a path; .* dim='time'"
    with pytest.raises(OptionError, match=message):
        usidx.stack([folder / "a.npy", wrong])


def test_files_of_instruments(samples, folder):
    source = samples / "peers" / "libertem" / "stack.mrc"
    for number in range(2):
        (folder / f"run_{number}.mrc").write_bytes(source.read_bytes())
    da = usidx.stack(folder, pattern=r"run_(?P<run>\d+)", pages="tilt")
    assert da.dims == ("run", "tilt", "v", "u")
    wanted = usidx.open(source).values.reshape(da.shape[1:])
    np.testing.assert_array_equal(da.values[1], wanted)


@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("tiff/map_2022_12_21_15_47", {"sizes": {"Y": 3, "X": 4}}),
        ("tiff/stack_plain.tif", {}),
        ("tiff/ome.ome.tif", {"sizes": {"T": 3, "C": 2, "Z": 4}}),
        ("tiff/tiled_zlib_big.tif", {}),
        ("tiff/pyramid.ome.tif", {}),
        ("tiff/rgb.tif", {}),
        ("tiff/img.png", {}),
        ("numpy/c.npy", {}),
        ("numpy/be.npy", {}),
        ("silx_fabio/single.edf", {}),
        ("silx_fabio/multiframe.edf", {}),
        ("libertem/scan.mib", {}),
        ("libertem/scan.blo", {"sizes": {"Y": 5, "X": 4}}),
        ("libertem/stack.mrc", {}),
        ("nion/stack.ndata", {}),
        ("nion/image.ndata", {}),
        ("silx_fabio/series_*.edf", {"metadata": {"sx": "sx"}}),
    ],
)
def test_real_files(samples, path, options):
    manifest = json.loads((samples / "peers" / "MANIFEST.json").read_text())
    entry = next(each for each in manifest if each["path"].startswith(path.split("*")[0]))
    da = usidx.stack(f"{samples / 'peers' / path}", **options)
    values = np.ascontiguousarray(da.values.astype(entry["dtype"]))
    assert hashlib.sha256(values.tobytes()).hexdigest() == entry["sha256"]
    if "metadata" in options:
        np.testing.assert_allclose(da.sx, entry["positioners"]["sx"])


def test_colours_that_lie_apart_are_channels(tmp_path):
    """Planar TIFF has all red pixels first; its frames are as those of any other."""
    values = np.random.default_rng(0).integers(0, 255, (4, 20, 30, 3)).astype("u1")
    for number, each in enumerate(values):
        planes = np.moveaxis(each, -1, 0)
        path = tmp_path / f"frame_{number}.tif"
        tifffile.imwrite(path, planes, photometric="rgb", planarconfig="separate")
    found = usidx.stack(tmp_path, sizes={"Y": 2, "X": 2})
    assert dict(found.sizes) == {"Y": 2, "X": 2, "v": 20, "u": 30, "channel": 3}
    np.testing.assert_array_equal(found.values.reshape(values.shape), values)
    one = found.isel(Y=1, X=0, v=slice(3, 5), channel=2)
    np.testing.assert_array_equal(one, values[2, 3:5, :, 2])
