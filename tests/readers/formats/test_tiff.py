"""TIFF files, as other systems and tifffile wrote them."""

from __future__ import annotations

import hashlib
import json
import pathlib
from typing import Any

import numpy as np
import pytest
import tifffile

import usidx
from usidx.errors import DamagedStoreError, OptionError, SourceChangedError, UsidError
from usidx.readers.finding import readers
from usidx.readers.formats.tiff_pages import PagedArray
from usidx.testing import check_reader

FILES = [
    "tiff/stack_plain.tif",
    "tiff/ome.ome.tif",
    "tiff/tiled_zlib_big.tif",
    "tiff/pyramid.ome.tif",
    "tiff/rgb.tif",
    "nion/si.tif",
    "nion/stack.tif",
    "nion/image.tif",
    "pyme/saved.tif",
    "hyperspy/img.tif",
    "silx_fabio/img.tif",
]


def made(shape: tuple[int, ...], dtype: str = "u2") -> Any:
    rng = np.random.default_rng(sum(shape))
    return rng.integers(0, 200, shape).astype(dtype)


@pytest.mark.parametrize("name", FILES)
def test_samples(samples: pathlib.Path, name: str) -> None:
    rows = json.loads((samples / "peers" / "MANIFEST.json").read_text())
    facts = next(row for row in rows if row["path"] == name)
    opened = usidx.open(samples / "peers" / name)
    values = np.ascontiguousarray(opened.values)
    assert list(values.shape) == facts["shape"]
    assert values.dtype == np.dtype(facts["dtype"])
    assert hashlib.sha256(values.tobytes()).hexdigest() == facts["sha256"]
    for dim, axis in zip(opened.dims, facts.get("axes", ()), strict=False):
        expected = axis.get("offset", 0.0) + axis["scale"] * np.arange(opened.sizes[dim])
        np.testing.assert_allclose(opened[dim], expected)
        assert opened[dim].attrs["units"] == (axis["units"] or "")


@pytest.mark.parametrize("name", ["tiff/ome.ome.tif", "tiff/tiled_zlib_big.tif", "pyme/saved.tif"])
def test_promises_of_readers(samples: pathlib.Path, name: str) -> None:
    path = samples / "peers" / name
    check_reader(path, tifffile.imread(path))


def test_what_systems_say(samples: pathlib.Path) -> None:
    ome = usidx.open(samples / "peers" / "tiff" / "ome.ome.tif")
    assert ome.dims == ("T", "C", "Z", "Y", "X")
    assert ome.usid.position_dims == ("T", "C", "Z")
    assert ome.attrs["channel_names"] == ["DAPI", "GFP"]
    nion = usidx.open(samples / "peers" / "nion" / "si.tif")
    assert nion.usid.position_dims == ("Y", "X")
    assert nion.attrs["units"] == "counts"
    assert nion.attrs["metadata.signal_type"] == "EELS"
    pyme = usidx.open(samples / "peers" / "pyme" / "saved.tif")
    np.testing.assert_allclose(pyme["Z"], 0.2 * np.arange(9))
    assert pyme.attrs["Camera.EMGain"] == 150.0


def test_pickles_within_are_only_text(samples: pathlib.Path) -> None:
    folder = samples / "instruments" / "python-microscopy__python-microscopy"
    path = folder / "PYME__localization__Test__beads1.tif"
    opened = usidx.open(path)
    np.testing.assert_array_equal(opened, tifffile.imread(path))
    assert opened.attrs["cropping.xslice"] == "KEkwCkk2MQpJMQp0cDEKLg=="


def test_several_images_in_a_file(samples: pathlib.Path) -> None:
    path = samples / "instruments" / "hyperspy__rosettasciio" / "tiff" / "olympus_SIS.tif"
    assert [each.path.rsplit("/", 1)[1] for each in usidx.list_mains(path)] == [
        "Series_000",
        "Series_001",
    ]
    with tifffile.TiffFile(path) as file:
        expected = file.series[1].asarray()
    np.testing.assert_array_equal(usidx.open(path, "Series_001"), expected)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bigtiff": True, "byteorder": ">"},
        {"compression": "zlib", "predictor": True},
        {"compression": "zlib", "rowsperstrip": 7},
        {"tile": (16, 32)},
        {"tile": (16, 16), "compression": "zlib", "byteorder": ">", "predictor": True},
    ],
)
@pytest.mark.parametrize("shape", [(3, 50, 45), (50, 45, 3), (3, 2, 20, 20, 3), (33, 40)])
def test_every_way_to_store(
    tmp_path: pathlib.Path, shape: tuple[int, ...], options: dict[str, Any]
) -> None:
    values = made(shape)
    photometric = "rgb" if shape[-1] == 3 else "minisblack"
    tifffile.imwrite(tmp_path / "a.tif", values, photometric=photometric, **options)
    check_reader(tmp_path / "a.tif", values, cut_short=False)


def test_planes_of_colour(tmp_path: pathlib.Path) -> None:
    values = made((3, 40, 50), "u1")
    tifffile.imwrite(
        tmp_path / "a.tif", values, photometric="rgb", planarconfig="separate", tile=(16, 16)
    )
    opened = usidx.open(tmp_path / "a.tif")
    assert opened.dims == ("channel", "Y", "X")
    check_reader(tmp_path / "a.tif", values)


def test_hyperstacks_of_imagej(tmp_path: pathlib.Path) -> None:
    values = made((2, 3, 4, 10, 12))
    told = {"axes": "TZCYX", "unit": "um", "spacing": 0.3, "finterval": 2.5, "tunit": "sec"}
    tifffile.imwrite(tmp_path / "a.tif", values, imagej=True, resolution=(20, 10), metadata=told)
    check_reader(tmp_path / "a.tif", values)
    opened = usidx.open(tmp_path / "a.tif")
    assert opened.dims == ("T", "Z", "C", "Y", "X")
    units = {dim: opened[dim].attrs["units"] for dim in opened.dims}
    assert units == {"T": "s", "Z": "um", "C": "", "Y": "um", "X": "um"}
    steps = {str(dim): float(opened[dim][1]) for dim in opened.dims}
    assert steps == pytest.approx({"T": 2.5, "Z": 0.3, "C": 1, "Y": 0.1, "X": 0.05})


def test_levels_of_a_pyramid(samples: pathlib.Path) -> None:
    path = samples / "peers" / "tiff" / "pyramid.ome.tif"
    with tifffile.TiffFile(path) as file:
        expected = file.series[0].levels[1].asarray()
    opened = usidx.open(path, level=1)
    np.testing.assert_array_equal(opened, expected)
    # pixels twice as large, and centred where two of the full image are
    np.testing.assert_allclose(opened["X"][:2], [0.5, 2.5])
    with pytest.raises(OptionError, match="levels 0 to 1"):
        usidx.open(path, level=2)


def test_roles_that_are_asked_for(tmp_path: pathlib.Path) -> None:
    values = made((6, 10, 12))
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack")
    assert usidx.open(tmp_path / "a.tif").usid.position_dims == ("frame",)
    assert usidx.open(tmp_path / "a.tif", n_position=0).usid.position_dims == ()
    turned = usidx.open(tmp_path / "a.tif", position=["Y", "X"])
    assert turned.dims == ("Y", "X", "frame")
    np.testing.assert_array_equal(turned, values.transpose(1, 2, 0))
    for wrong in ({"position": ["W"]}, {"n_position": 4}, {"n_position": 1, "position": ["Y"]}):
        with pytest.raises(OptionError):
            usidx.open(tmp_path / "a.tif", **wrong)


def paged(path: pathlib.Path) -> PagedArray:
    array = readers()["tiff"].read(str(path))[0].array
    assert isinstance(array, PagedArray)
    return array


def test_only_the_tiles_that_are_asked_for_are_read(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from usidx.readers.formats import tiff_pages

    values = made((2, 128, 128))
    tifffile.imwrite(tmp_path / "a.tif", values, tile=(32, 32), compression="zlib")
    array, seen = paged(tmp_path / "a.tif"), []
    real = tiff_pages._segment
    monkeypatch.setattr(
        tiff_pages, "_segment", lambda page, index: seen.append(index) or real(page, index)
    )
    np.testing.assert_array_equal(array[1, 40:60, 90:100], values[1, 40:60, 90:100])
    assert seen == [6, 7]  # of 16
    np.testing.assert_array_equal(array[:, 100:10:-7, 5], values[:, 100:10:-7, 5])


def test_blocks_of_a_large_page(tmp_path: pathlib.Path) -> None:
    values = np.zeros((3000, 4000), "u2")
    values[::100, ::100] = 7
    tifffile.imwrite(tmp_path / "a.tif", values, tile=(256, 256), compression="zlib")
    opened = usidx.open(tmp_path / "a.tif")
    assert opened.data.chunksize[0] % 256 == 0
    assert opened.data.chunksize[0] * opened.data.chunksize[1] * 2 <= 8 * 2**20
    np.testing.assert_array_equal(opened, values)


def test_a_file_that_changes(tmp_path: pathlib.Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", made((20, 20)), compression="zlib")
    opened = usidx.open(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "a.tif", made((30, 20)), compression="zlib")
    with pytest.raises(SourceChangedError):
        opened.compute()


def test_files_that_were_cut_short(tmp_path: pathlib.Path) -> None:
    for number, options in enumerate(({}, {"compression": "zlib"}, {"imagej": True})):
        path = tmp_path / f"{number}.tif"
        tifffile.imwrite(path, made((9, 30, 30)), photometric="minisblack", **options)
        whole = path.read_bytes()
        for part in (3, 9, 200, len(whole) // 2, len(whole) * 9 // 10):
            path.write_bytes(whole[:part])
            with pytest.raises(UsidError):
                usidx.open(path).compute()


def test_pages_that_lead_in_a_circle(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, made((20, 20)), metadata=None)
    data = bytearray(path.read_bytes())
    first = int.from_bytes(data[4:8], "little")
    after = first + 2 + 12 * int.from_bytes(data[first : first + 2], "little")
    data[after : after + 4] = data[4:8]
    path.write_bytes(data)
    with pytest.raises(DamagedStoreError, match="leads back"):
        usidx.open(path)


def test_a_page_that_describes_what_it_has_not(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, made((40, 40)), compression="zlib", rowsperstrip=10)
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags["ImageLength"].overwrite(4_000_000)
    with pytest.raises(DamagedStoreError, match="describes 400000 tiles or strips and has 4"):
        usidx.open(path)[:5].compute()


def test_sets_of_files(tmp_path: pathlib.Path) -> None:
    """OME-TIFF of one file for each channel: each describes all of them."""
    values = made((2, 3, 20, 24))
    names = [f"c{number}.ome.tif" for number in range(2)]
    data = "".join(
        f'<TiffData FirstC="{c}" FirstZ="{z}" FirstT="0" IFD="{z}" PlaneCount="1">'
        f'<UUID FileName="{name}">urn:uuid:{c:08d}-0000-0000-0000-000000000000</UUID></TiffData>'
        for c, name in enumerate(names)
        for z in range(3)
    )
    for c, name in enumerate(names):
        text = (
            '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="urn:uuid:{c:08d}-0000-0000-0000-000000000000"><Image ID="Image:0">'
            '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="24" SizeY="20" '
            'SizeZ="3" SizeC="2" SizeT="1" PhysicalSizeZ="0.5"><Channel ID="Channel:0:0"/>'
            f'<Channel ID="Channel:0:1"/>{data}</Pixels></Image></OME>'
        )
        with tifffile.TiffWriter(tmp_path / name) as file:
            for z in range(3):
                file.write(
                    values[c, z],
                    photometric="minisblack",
                    contiguous=False,
                    metadata=None,
                    description=text if z == 0 else None,
                )
    opened = usidx.open(tmp_path / names[0])
    assert opened.dims == ("C", "Z", "Y", "X")
    np.testing.assert_array_equal(opened, values)
    np.testing.assert_allclose(opened["Z"], [0, 0.5, 1.0])
    (tmp_path / names[1]).unlink()
    with pytest.raises(UsidError):
        opened.compute()
    with pytest.raises(DamagedStoreError, match="3 of the 6 planes"):
        usidx.open(tmp_path / names[0])
