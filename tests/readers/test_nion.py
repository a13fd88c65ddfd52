"""Nion Swift's files, as Nion Swift itself wrote them."""

from __future__ import annotations

import hashlib
import json
import pathlib
import shutil
import zipfile

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
