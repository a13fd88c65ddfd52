"""What lies in an HDF5 file, each object once."""

from __future__ import annotations

import pathlib

import h5py
import numpy as np
import pytest

from tests.h5usid import write_main
from usidx.stores.hdf5.objects.walk import (
    Catalog,
    address_of,
    candidates,
    find,
    has_attribute,
    walk,
)


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "a.h5"


def test_every_object_once_in_the_order_of_the_file(path: pathlib.Path) -> None:
    with h5py.File(path, "w", track_order=True) as file:
        for name in ("z", "b"):
            group = file.create_group(name, track_order=name == "z")
            group["2"], group["1"] = 1, 2
        file["type"] = np.dtype("f4")
        file["b/again"] = file["z/1"]
        file["b/soft"] = h5py.SoftLink("/z")
    with h5py.File(path) as file:
        found = [(each.path, each.kind) for each in walk(file)]
        assert found == [
            ("/z", "group"),
            ("/z/2", "dataset"),
            ("/z/1", "dataset"),
            ("/b", "group"),
            ("/b/1", "dataset"),
            ("/b/2", "dataset"),
            ("/type", "datatype"),
        ]
        assert [each.path for each in walk(file["b"])] == ["/b/1", "/b/2", "/b/again"]
        assert [each.path for each in walk(file["b"], path="/other")][0] == "/other/1"


def test_paths_of_what_references_lead_to(path: pathlib.Path) -> None:
    with h5py.File(path, "w") as file:
        file["a/data"] = [1]
        file["b/data"] = [2]
        gone = file.create_dataset("gone", data=[3])
        reference = file["b/data"].ref
        del file["gone"]
        catalog = Catalog(file)
        assert catalog.path_of(file[reference]) == "/b/data"
        assert catalog.path_of(file) == "/"
        assert catalog.path_of(gone) is None
        # beside /b/other, above it, and neither
        assert Catalog(file).near(file[reference], "/b/other", "data") == "/b/data"
        assert Catalog(file).near(file[reference], "/b/c/other", "data") == "/b/data"
        assert Catalog(file).near(file[reference], "/a/other", "data") == "/b/data"
        assert address_of(file["a"]) != address_of(file["b"])


def test_candidates_are_known_by_their_endings(path: pathlib.Path) -> None:
    with h5py.File(path, "w") as file:
        for number in range(3):
            write_main(file.create_group(f"Measurement_{number:03d}/Channel_000"))
        write_main(file.create_group("Measurement_000/Channel_001"), "Old_Raw_Data")
        file["plain"] = np.zeros((2, 2))
        file["vector"] = np.zeros(2)
        file["vector"].attrs["Position_Indices"] = file["plain"].ref
        catalog = Catalog(file)
        assert len(catalog.candidates) == 4
        assert len(catalog.candidates_called("Raw_Data")) == 3
        (only,) = catalog.candidates_called("Measurement_001/Channel_000/Raw_Data")
        assert only == "/Measurement_001/Channel_000/Raw_Data"
        assert catalog.candidates_called("") == catalog.candidates
        assert catalog.groups[0] == "/"
        assert dict(candidates(file["Measurement_001"])).keys() == {only}
        assert has_attribute(file, only, [b"nothing", b"units"])
        assert not has_attribute(file, only, [b"nothing"])


def test_names_in_latin_1_are_read_and_found(path: pathlib.Path) -> None:
    with h5py.File(path, "w") as file:
        file["größe".encode("latin-1")] = [7]
        file["µ"] = [8]
    with h5py.File(path) as file:
        names = [each.path for each in walk(file)]
        assert sorted(names) == ["/größe", "/µ"]
        assert [find(file, each)[0] for each in ("/größe", "/µ")] == [7, 8]
        assert find(file, "/nothing") is None
        assert find(file, "/größer") is None


def test_external_links_are_followed_where_that_is_allowed(tmp_path: pathlib.Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["group/data"] = [1]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["far"] = h5py.ExternalLink("other.h5", "/group")
        file["gone"] = h5py.ExternalLink("nothing.h5", "/group")
        file["near"] = [2]
        assert [each.path for each in walk(file)] == ["/near"]
        assert [each.path for each in walk(file, True)] == ["/far", "/far/data", "/near"]
