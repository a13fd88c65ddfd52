"""Nion Swift's files, as Nion Swift itself wrote them."""

from __future__ import annotations

import hashlib
import json
import pathlib
import shutil
import zipfile

import h5py
import numpy as np
import pytest

import usidx
from usidx.errors import DamagedStoreError, NotUsidError
from usidx.testing import check_reader

FILES = [
    f"{name}.{ending}" for name in ("si", "stack", "image") for ending in ("ndata", "h5", "nhdf")
] + [f"{name}_export.{ending}" for name in ("si", "stack", "image") for ending in ("ndata1", "npy")]


@pytest.mark.parametrize("name", FILES)
def test_samples(samples: pathlib.Path, name: str) -> None:
    rows = json.loads((samples / "peers" / "MANIFEST.json").read_text())
    facts = next(row for row in rows if row["path"] == f"nion/{name}")
    opened = usidx.open(samples / "peers" / "nion" / name)
    values = np.ascontiguousarray(opened.values)
    assert list(values.shape) == facts["shape"]
    assert values.dtype.str == facts["dtype"]
    assert hashlib.sha256(values.tobytes()).hexdigest() == facts["sha256"]
    told = facts["descriptor"]
    assert len(opened.usid.position_dims) == told["is_sequence"] + told["collection"]
    assert len(opened.usid.spectroscopic_dims) == told["datum"]
    for dim, axis in zip(opened.dims, facts["axes"], strict=True):
        expected = axis["offset"] + axis["scale"] * np.arange(opened.sizes[dim])
        np.testing.assert_allclose(opened[dim], expected)
        assert opened[dim].attrs["units"] == axis["units"]


@pytest.mark.parametrize("name", ["si.ndata", "si.nhdf"])
def test_promises_of_readers(samples: pathlib.Path, name: str) -> None:
    path = samples / "peers" / "nion" / name
    check_reader(path, usidx.open(path).values)


def test_metadata_and_units(samples: pathlib.Path) -> None:
    opened = usidx.open(samples / "peers" / "nion" / "si.ndata")
    assert opened.attrs["units"] == "counts"
    assert opened.attrs["metadata.instrument.high_tension"] == 60000.0
    assert opened.name == "si"


def test_an_array_alone_is_numpys(samples: pathlib.Path, tmp_path: pathlib.Path) -> None:
    path = shutil.copy(samples / "peers" / "nion" / "si_export.npy", tmp_path / "a.npy")
    assert usidx.open(path).dims == ("dim_0", "dim_1", "dim_2")


def test_compressed_and_broken_ones(samples: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with zipfile.ZipFile(samples / "peers" / "nion" / "si.ndata") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "a.ndata", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    with pytest.raises(NotUsidError, match="compressed"):
        usidx.open(tmp_path / "a.ndata")
    parts["metadata.json"] = parts["metadata.json"].replace(
        b'"datum_dimension_count": 1', b'"datum_dimension_count": 3'
    )
    with zipfile.ZipFile(tmp_path / "b.ndata", "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    with pytest.raises(DamagedStoreError, match="3 of a datum"):
        usidx.open(tmp_path / "b.ndata")


# Sizes of a sequence, and how many axes are of a collection and of a datum; as Swift writes them.
PICTURES = [(0, 0, 1), (0, 1, 1), (0, 2, 1), (0, 1, 2), (0, 2, 2), (0, 0, 2), (1, 0, 1), (1, 0, 2)]


@pytest.mark.parametrize(("sequence", "collection", "datum"), PICTURES)
def test_axes_of_exported_pictures(
    tmp_path: pathlib.Path, sequence: int, collection: int, datum: int
) -> None:
    """Swift puts the axes of a datum before those of a collection; a sequence has no collection."""
    tifffile = pytest.importorskip("tifffile")
    sizes = [2][:sequence] + [3, 4][-collection:] * bool(collection) + [5, 6][-datum:]
    values = np.random.default_rng(1).random(sizes, dtype="f4")
    calibrations = [
        {"offset": 1.5 * n, "scale": 0.5 + n, "units": unit}
        for n, unit in zip(range(len(sizes)), ("s", "nm", "um", "eV", "mrad"))
    ]
    said = {
        "spatial_calibrations": calibrations,
        "intensity_calibration": {"offset": 2.0, "scale": 4.0, "units": "counts"},
        "is_sequence": bool(sequence),
        "collection_dimension_count": collection,
        "datum_dimension_count": datum,
        "properties": {"exposure": 0.1},
    }
    shape = np.ones(6, int)  # T, Z, C, Y, X, S
    shape[0] = 2 if sequence else 1
    if collection:
        shape[4 - collection + 1 : 5] = sizes[:collection]
        shape[3 - datum : 3] = sizes[collection:]
    else:
        shape[5 - datum : 5] = sizes[-datum:]
    order = [*range(collection, collection + datum), *range(collection)] if collection else None
    laid = (values.transpose(order) if order else values).reshape(shape)
    path = tmp_path / "exported.tif"
    tifffile.imwrite(path, laid, imagej=True, metadata={"nion.1": json.dumps(said), "unit": "nm"})
    opened = usidx.open(path)
    if collection == 1 or (collection, datum) == (0, 1):
        opened = opened.isel(Y=0)  # the one row of a picture without rows
    np.testing.assert_array_equal(opened, values)
    assert len(opened.usid.position_dims) == sequence + collection
    for dim, each in zip(opened.dims, calibrations):
        expected = each["offset"] + each["scale"] * np.arange(opened.sizes[dim])
        np.testing.assert_allclose(opened[dim], expected)
        assert opened[dim].attrs["units"] == each["units"]
    assert (opened.attrs["intensity_scale"], opened.attrs["intensity_offset"]) == (4.0, 2.0)
    assert opened.attrs["intensity_units"] == "counts"
    assert opened.attrs["metadata.exposure"] == 0.1


# dtype, shape, and (sequence, collection, datum) of data items of other kinds than the samples.
ITEMS = [
    ("f4", (2, 3, 4, 5), (False, 2, 2)),
    (">i2", (2, 3, 4, 5), (True, 1, 2)),
    ("c8", (6, 5), (False, 0, 2)),
    ("?", (7,), (False, 0, 1)),
    ("u1", (4, 5, 3), (False, 0, 2)),
    ("u1", (2, 4, 5, 4), (True, 0, 2)),
]


@pytest.mark.parametrize(("dtype", "shape", "counts"), ITEMS)
def test_other_data_items(
    tmp_path: pathlib.Path, dtype: str, shape: tuple[int, ...], counts: tuple[bool, int, int]
) -> None:
    values = (9 * np.random.default_rng(2).random(shape)).astype(dtype)
    sequence, collection, datum = counts
    named = sequence + collection + datum
    said = {
        "dimensional_calibrations": [
            {"offset": -1.0, "scale": 0.5 * (n + 1), "units": "nm"} for n in range(named)
        ],
        "intensity_calibration": {"offset": 1.0, "scale": 0.1, "units": "e"},
        "is_sequence": sequence,
        "collection_dimension_count": collection,
        "datum_dimension_count": datum,
        "metadata": {"instrument": {"defocus": 1e-9}},
    }
    np.save(tmp_path / "data.npy", values)
    with zipfile.ZipFile(tmp_path / "a.ndata", "w") as archive:
        archive.write(tmp_path / "data.npy", "data.npy")
        archive.writestr("metadata.json", json.dumps(said))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("data", data=values).attrs["properties"] = json.dumps(said)
    for path in (tmp_path / "a.ndata", tmp_path / "a.h5"):
        opened = usidx.open(path)
        np.testing.assert_array_equal(opened, values)
        assert opened.dtype == values.dtype.newbyteorder("=")
        assert len(opened.usid.position_dims) == sequence + collection
        for number, dim in enumerate(opened.dims[:named]):
            expected = -1.0 + 0.5 * (number + 1) * np.arange(shape[number])
            np.testing.assert_allclose(opened[dim], expected)
        assert opened.attrs["intensity_units"] == "e"
        assert opened.attrs["metadata.instrument.defocus"] == 1e-9
        if len(shape) > named:
            assert opened.dims[-1] == "channel"
            assert opened.attrs["channel_names"][:3] == ["blue", "green", "red"]


def test_exported_sequences_of_colours_and_of_small_images(tmp_path: pathlib.Path) -> None:
    """Exports may leave out that they are sequences; colours have no calibration."""
    for name, shape, calibrated, dims in (
        ("colours", (2, 4, 5, 4), 3, ("frame", "v", "u", "channel")),
        ("narrow", (2, 4, 3), 3, ("frame", "v", "u")),
        ("picture", (4, 5, 3), 2, ("v", "u", "channel")),
    ):
        values = np.random.default_rng(3).integers(0, 255, shape).astype("u1")
        np.save(tmp_path / f"{name}.npy", values)
        calibrations = [{"offset": 0.0, "scale": 1.0, "units": ""}] * calibrated
        said = {"spatial_calibrations": calibrations, "datum_dimension_count": 2}
        (tmp_path / f"{name}.json").write_text(json.dumps(said))
        opened = usidx.open(tmp_path / f"{name}.npy")
        assert opened.dims == dims
        assert opened.usid.position_dims == dims[: "frame" in dims]
        np.testing.assert_array_equal(opened, values)
