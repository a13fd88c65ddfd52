"""Images of OME-Zarr, made as its versions say."""

from __future__ import annotations

import pathlib
import zipfile
from typing import Any

import numpy as np
import pytest
import zarr

import usidx
from usidx.errors import DamagedStoreError, OptionError
from usidx.testing import check_reader

AXES = [
    {"name": "c", "type": "channel"},
    {"name": "z", "type": "space", "unit": "micrometer"},
    {"name": "y", "type": "space", "unit": "micrometer"},
    {"name": "x", "type": "space", "unit": "nanometer"},
]


def values(seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 999, (2, 3, 16, 20)).astype("u2")


def image(group: Any, version: str, array: Any, **said: Any) -> None:
    """An image of two levels, of which the second is half as large, and shifted by half a pixel."""
    levels = []
    for level in range(2):
        part = array[..., :: 2**level, :: 2**level]
        names = {"dimension_names": ["c", "z", "y", "x"]} if version == "0.5" else {}
        group.create_array(str(level), data=part, chunks=(1, 1, 8, 8), **names)
        scale = {"type": "scale", "scale": [1.0, 0.5, 0.1 * 2**level, 100.0 * 2**level]}
        shift = {"type": "translation", "translation": [0.0, 0.0, 0.05 * level, 50.0 * level]}
        levels.append({"path": str(level), "coordinateTransformations": [scale, shift]})
    multiscales = {"version": version, "name": "cells", "axes": AXES, "datasets": levels, **said}
    told = {
        "multiscales": [multiscales],
        "omero": {"channels": [{"label": "DAPI"}, {"label": "GFP"}]},
    }
    group.attrs.update({"ome": {"version": "0.5", **told}} if version == "0.5" else told)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_images_with_levels(tmp_path: pathlib.Path, version: str) -> None:
    path = tmp_path / "a.ome.zarr"
    root = zarr.create_group(path, zarr_format=3 if version == "0.5" else 2)
    image(root, version, values())
    check_reader(path, values(), cut_short=False)
    opened = usidx.open(path)
    assert opened.usid.position_dims == ("c", "z")
    assert opened.attrs["channel_names"] == ["DAPI", "GFP"]
    assert opened.attrs["image_name"] == "cells"
    scale = {"c": (1, 0, ""), "z": (0.5, 0, "um"), "y": (0.1, 0, "um"), "x": (100, 0, "nm")}
    for name, (step, start, units) in scale.items():
        np.testing.assert_allclose(opened[name], start + step * np.arange(opened.sizes[name]))
        assert opened[name].attrs["units"] == units
    coarse = usidx.open(path, level=1)
    np.testing.assert_array_equal(coarse, values()[..., ::2, ::2])
    np.testing.assert_allclose(coarse.x, 50 + 200 * np.arange(10))
    assert usidx.open(path, position=["y", "x"]).dims == ("y", "x", "c", "z")
    for wrong in ({"level": 2}, {"position": "w"}):
        with pytest.raises(OptionError):
            usidx.open(path, **wrong)


def test_what_is_said_of_all_levels(tmp_path: pathlib.Path) -> None:
    """Comes after what is said of one."""
    root = zarr.create_group(tmp_path / "a", zarr_format=2)
    whole = [{"type": "scale", "scale": [1.0, 1.0, 10.0, 10.0]}]
    image(root, "0.4", values(), coordinateTransformations=whole)
    np.testing.assert_allclose(usidx.open(tmp_path / "a", level=1).x, 500 + 2000 * np.arange(10))


def test_plates_labels_and_old_versions(tmp_path: pathlib.Path) -> None:
    root = zarr.create_group(tmp_path / "a", zarr_format=2)
    root.attrs["plate"] = {"wells": [{"path": "A/1"}, {"path": "B/2"}]}
    for number, well in enumerate(("A/1", "B/2")):
        image(root.create_group(f"{well}/0"), "0.4", values(number))
    image(root.create_group("A/1/0/labels/nuclei"), "0.4", values(7))
    raw = [each.path for each in usidx.list_mains(tmp_path / "a") if each.kind == "raw"]
    assert raw == ["/A/1/0", "/B/2/0"]
    np.testing.assert_array_equal(usidx.open(tmp_path / "a", "B/2/0"), values(1))
    np.testing.assert_array_equal(usidx.open(tmp_path / "a", "A/1/0/labels/nuclei"), values(7))

    old = zarr.create_group(tmp_path / "old", zarr_format=2)
    old.create_array("0", data=values())
    old.attrs["multiscales"] = [{"version": "0.2", "datasets": [{"path": "0"}]}]
    opened = usidx.open(tmp_path / "old")
    assert opened.dims == ("c", "z", "y", "x")
    np.testing.assert_array_equal(opened, values())
    with zipfile.ZipFile(tmp_path / "b", "w") as archive:
        for each in (tmp_path / "old").rglob("*"):
            if each.is_file():
                archive.write(each, str(each.relative_to(tmp_path / "old")))
    np.testing.assert_array_equal(usidx.open(tmp_path / "b"), values())


@pytest.mark.parametrize(
    "wrong",
    [
        {"coordinateTransformations": [{"type": "affine", "affine": [[1.0]]}]},
        {"coordinateTransformations": [{"type": "scale", "scale": [1.0]}]},
        {"axes": AXES[:2]},
        {"datasets": [{"path": "9"}]},
    ],
)
def test_what_is_not_understood(tmp_path: pathlib.Path, wrong: dict[str, Any]) -> None:
    root = zarr.create_group(tmp_path / "a", zarr_format=2)
    image(root, "0.4", values(), **wrong)
    with pytest.raises(DamagedStoreError):
        usidx.open(tmp_path / "a")
