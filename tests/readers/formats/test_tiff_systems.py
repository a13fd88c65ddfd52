"""TIFF files with what ImageJ, OME, tifffile and microscopes say in them."""

from __future__ import annotations

import json
import pathlib
import struct
from typing import Any

import numpy as np
import pytest
import tifffile

import usidx
from usidx.errors import DamagedStoreError, NotUsidError
from usidx.readers.frames import tiff_frames

GREY: Any = {"photometric": "minisblack"}
OME = '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'


def made(shape: tuple[int, ...], dtype: str = "u2") -> Any:
    return np.random.default_rng(sum(shape)).integers(0, 200, shape).astype(dtype)


def check_steps(opened: Any, expected: dict[str, tuple[float, str]]) -> None:
    for dim, (step, units) in expected.items():
        assert opened[dim].attrs["units"] == units
        np.testing.assert_allclose(opened[dim], step * np.arange(opened.sizes[dim]))


def test_what_imagej_keeps_of_how_images_are_shown(tmp_path: pathlib.Path) -> None:
    """Tables of colours, drawings and labels, which its composite images have."""
    values = made((3, 2, 10, 12))
    told = {
        "axes": "ZCYX",
        "unit": "micron",
        "spacing": -0.5,  # ImageJ takes it without its sign
        "LUTs": [np.zeros((3, 256), "u1")] * 2,
        "Ranges": (0.0, 100.0, 0.0, 200.0),
        "Labels": [f"plane {number}" for number in range(6)],
        "Overlays": [b"Iout" + bytes(60)],
        "ROI": b"Iout" + bytes(60),
        "Info": "Gain = 3",
    }
    tifffile.imwrite(tmp_path / "a.tif", values, imagej=True, resolution=(5, 2), metadata=told)
    opened = usidx.open(tmp_path / "a.tif")
    np.testing.assert_array_equal(opened, values)
    check_steps(opened, {"Z": (0.5, "um"), "C": (1, ""), "Y": (0.5, "um"), "X": (0.2, "um")})
    assert opened.attrs["imagej.Labels"] == told["Labels"]
    assert opened.attrs["imagej.Ranges"] == [0.0, 100.0, 0.0, 200.0]
    kept = usidx.open(opened.usid.to_h5usid(tmp_path / "a.h5"))
    assert kept.attrs["imagej.Info"] == "Gain = 3"


def test_images_of_imagej_that_one_page_describes(tmp_path: pathlib.Path) -> None:
    """As it writes more than 4 GiB; without the last of them nothing is read."""
    values = made((6, 10, 12)).astype(">u2")
    path = tmp_path / "a.tif"
    said = "ImageJ=1.54f\nimages=6\nslices=6\nunit=um\nspacing=0.25\n"
    tifffile.imwrite(path, values[0], byteorder=">", description=said, metadata=None, **GREY)
    with tifffile.TiffFile(path) as file:
        start = file.pages[0].dataoffsets[0]
    whole = path.read_bytes()[:start] + values.tobytes()
    path.write_bytes(whole)
    np.testing.assert_array_equal(usidx.open(path), values)
    path.write_bytes(whole[:-100])
    with pytest.raises(DamagedStoreError, match="describes 6 images of ImageJ"):
        usidx.open(path)
    with pytest.raises(DamagedStoreError, match="too short"), tiff_frames(str(path)):
        pass


def test_metadata_that_tifffile_writes(tmp_path: pathlib.Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for number in range(2):
            told = {"axes": "ZYX", "gain": number, "units": "K", "stage": {"x": 1.5}}
            file.write(made((2, 10, 12)), metadata=told, contiguous=False, **GREY)
    for number in range(2):
        opened = usidx.open(tmp_path / "a.tif", f"Series_{number:03d}")
        assert opened.dims == ("Z", "Y", "X")
        assert opened.attrs["gain"] == number
        assert opened.attrs["stage.x"] == 1.5
        assert (opened.attrs["metadata.units"], opened.usid.units) == ("K", "")


def test_each_image_has_its_own_tags(tmp_path: pathlib.Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(made((10, 12)), resolution=(100, 200), resolutionunit=3, metadata=None)
        file.write(made((5, 9)), resolution=(1, 1), resolutionunit=1, software="B", metadata=None)
    first, second = (usidx.open(tmp_path / "a.tif", f"Series_00{n}") for n in range(2))
    check_steps(first, {"Y": (50.0, "um"), "X": (100.0, "um")})
    check_steps(second, {"Y": (1.0, ""), "X": (1.0, "")})
    assert second.attrs["Software"] == "B"


def test_indices_into_a_palette(tmp_path: pathlib.Path) -> None:
    values, colours = made((10, 12), "u1"), made((3, 256))
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="palette", colormap=colours)
    opened = usidx.open(tmp_path / "a.tif")
    np.testing.assert_array_equal(opened, values)
    np.testing.assert_array_equal(opened.attrs["ColorMap"], colours)


def ome_image(number: int, name: str, shape: tuple[int, int], pixel: float, data: str) -> str:
    return (
        f'<Image ID="Image:{number}" Name="{name}"><Pixels ID="Pixels:{number}" '
        f'DimensionOrder="XYZCT" Type="uint16" SizeX="{shape[1]}" SizeY="{shape[0]}" SizeZ="1" '
        f'SizeC="1" SizeT="1" PhysicalSizeX="{pixel}" PhysicalSizeY="{pixel}">'
        f'<Channel ID="Channel:{number}:0"/>{data}</Pixels></Image>'
    )


@pytest.mark.parametrize(("name", "pixel"), [("real", 0.5), ("without", 1.0)])
def test_images_of_ome_without_pages(tmp_path: pathlib.Path, name: str, pixel: float) -> None:
    """The library leaves them out; of two of one name nothing tells which is there."""
    images = ome_image(0, "without", (10, 12), 0.1, "")
    images += ome_image(1, name, (10, 12), 0.5, '<TiffData IFD="0" PlaneCount="1"/>')
    tifffile.imwrite(
        tmp_path / "a.ome.tif", made((10, 12)), description=f"{OME}{images}</OME>", metadata=None
    )
    opened = usidx.open(tmp_path / "a.ome.tif")
    check_steps(opened, {"X": (pixel, "um" if pixel < 1 else "")})


def test_files_that_another_one_describes(tmp_path: pathlib.Path) -> None:
    said = f'{OME}<BinaryOnly MetadataFile="main.ome.tif" UUID="urn:uuid:1"/></OME>'
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, made((2, 10, 12)), description=said, metadata=None, **GREY)
    assert usidx.open(path).shape == (2, 10, 12)
    (tmp_path / "main.ome.tif").write_bytes(b"")
    with pytest.raises(NotUsidError, match="main.ome.tif' describes; open that"):
        usidx.open(path)


def lsm(shape: tuple[int, int]) -> bytes:
    said = np.zeros(1, tifffile.TIFF.CZ_LSMINFO)
    said["MagicNumber"], said["StructureSize"] = 67127628, said.dtype.itemsize
    said["DimensionX"], said["DimensionY"] = shape[::-1]
    said["DimensionZ"] = said["DimensionTime"] = said["DimensionChannels"] = 1
    said["VoxelSizeX"], said["VoxelSizeY"] = 2e-7, 1e-7
    return bytes(said.tobytes())


def fluoview(shape: tuple[int, int]) -> bytes:
    said = np.zeros(1, tifffile.TIFF.MM_HEADER)
    said["Dimensions"]["Size"] = 1
    for number, (name, size) in enumerate(zip((b"X", b"Y"), shape[::-1], strict=True)):
        said["Dimensions"][0, number] = (name, size, 0, 0.1 * (number + 1), b"um")
    return bytes(said.tobytes())


ZEISS = "\r\n".join(("0", "0", "0", "2e-9", "0", "AP_IMAGE_PIXEL_SIZE", "Image Pixel Size = {} nm"))
APERIO = "Aperio Image Library v1.0|AppMag = 20|MPP = 0.499"


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_zeiss_lsm(tmp_path: pathlib.Path, compression: str | None) -> None:
    """Sizes of strips that are packed are those before they were; small pictures are beside."""
    values, tag = made((40, 48), "u1"), lsm((40, 48))
    path = tmp_path / "a.lsm"
    with tifffile.TiffWriter(path) as file:
        file.write(
            values,
            compression=compression,
            extratags=[(34412, 1, len(tag), tag, True)],
            metadata=None,
        )
        file.write(made((8, 8), "u1"), subfiletype=1, metadata=None)
    if compression:
        with tifffile.TiffFile(path, mode="r+") as file:
            file.pages[0].tags["StripByteCounts"].overwrite(100)
    opened, small = (usidx.open(path, f"Series_00{number}") for number in range(2))
    np.testing.assert_array_equal(opened, values)
    check_steps(opened, {"Y": (1e-7, "m"), "X": (2e-7, "m")})
    check_steps(small, {"Y": (1.0, ""), "X": (1.0, "")})


@pytest.mark.parametrize(
    ("tags", "description", "expected"),
    [
        ([(34361, fluoview((40, 48))), (34362, bytes(64))], None, (0.2, 0.1, "um")),
        ([(34118, ZEISS.format(42.7).encode())], None, (2e-9 * 1024 / 48,) * 2 + ("m",)),
        ([(34118, ZEISS.format(5).encode())], None, (5.0, 5.0, "nm")),
        ([], APERIO, (0.499, 0.499, "um")),
    ],
)
def test_microscopes(
    tmp_path: pathlib.Path,
    tags: list[tuple[int, bytes]],
    description: str | None,
    expected: tuple[float, float, str],
) -> None:
    values = made((40, 48), "u1")
    tifffile.imwrite(
        tmp_path / "a.tif",
        values,
        description=description,
        tile=(16, 16) if description else None,
        metadata=None,
        extratags=[(code, 1, len(said), said, True) for code, said in tags],
    )
    opened = usidx.open(tmp_path / "a.tif")
    np.testing.assert_array_equal(opened, values)
    rows, columns, units = expected
    check_steps(opened, {"Y": (rows, units), "X": (columns, units)})


def micro_manager(planes: Any, summary: bytes) -> bytes:
    """A file with its own index and summary between the header and the pages."""
    count, rows, columns = planes.shape
    start = 40 + len(summary) + len(summary) % 2
    tags = [(256, columns), (257, rows), (258, 16), (259, 1), (262, 1), (273, 0), (277, 1)]
    tags += [(278, rows), (279, planes[0].nbytes), (51123, 0)]
    size = 2 + 12 * len(tags) + 4
    pages, index = b"", []
    for number, plane in enumerate(planes):
        place = start + number * (size + plane.nbytes)
        index.append((0, number % 3, number // 3, 0, place))
        pages += struct.pack("<H", len(tags))
        for code, value in tags:
            if code == 51123:
                pages += struct.pack("<HHII", code, 2, len(summary), 40)
            else:
                pages += struct.pack("<HHII", code, 4, 1, place + size if code == 273 else value)
        after = 0 if number == count - 1 else place + size + plane.nbytes
        pages += struct.pack("<I", after) + plane.tobytes()
    end = start + len(pages)
    head = (54773648, end, 0, 0, 0, 0, 2355492, len(summary))
    front = b"II*\0" + struct.pack("<I", start) + struct.pack("<8I", *head) + summary
    rest = struct.pack("<2I", 3453623, count) + np.array(index, "<u4").tobytes()
    return front.ljust(start, b" ") + pages + rest


def test_pages_of_micro_manager(tmp_path: pathlib.Path) -> None:
    values = made((6, 10, 12))
    said: Any = {"PixelSize_um": 0.16, "z-step_um": 0.5, "Interval_ms": 250, "Frames": 2}
    path = tmp_path / "a.tif"
    said["MicroManagerVersion"] = "2.0"
    path.write_bytes(micro_manager(values, json.dumps(said).encode()))
    opened = usidx.open(path)
    np.testing.assert_array_equal(opened, values.reshape(2, 3, 10, 12))
    scale = {"T": (250, "ms"), "Z": (0.5, "um"), "Y": (0.16, "um"), "X": (0.16, "um")}
    check_steps(opened, scale)
    assert opened.dims == tuple(scale)
