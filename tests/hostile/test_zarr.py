"""USID-Zarr stores with links that lead out of them: refused by every door."""

from __future__ import annotations

import pathlib
import shutil
from collections.abc import Callable

import pytest
import xarray as xr

import usidx
from usidx.errors import UnsafeStoreError
from usidx.exporting.zarr import to_zarr

LEAF = "Measurement_000/Channel_000/Raw_Data"


def moved_out(place: pathlib.Path, outside: pathlib.Path) -> None:
    """Put what is at `place` outside, and a link to it in its stead."""
    target = outside / place.name
    shutil.move(place, target)
    place.symlink_to(target)


def a_chunk_of(array: pathlib.Path) -> pathlib.Path:
    return next(each for each in sorted((array / "c").rglob("*")) if each.is_file())


def metadata(leaf: pathlib.Path) -> pathlib.Path:
    return leaf / "zarr.json"


def metadata_of_values(leaf: pathlib.Path) -> pathlib.Path:
    return leaf / "Raw_Data" / "zarr.json"


def leaf_itself(leaf: pathlib.Path) -> pathlib.Path:
    return leaf


def group_above(leaf: pathlib.Path) -> pathlib.Path:
    return leaf.parent


def array_of_values(leaf: pathlib.Path) -> pathlib.Path:
    return leaf / "Raw_Data"


def folder_of_chunks(leaf: pathlib.Path) -> pathlib.Path:
    return leaf / "Raw_Data" / "c"


def chunk_of_values(leaf: pathlib.Path) -> pathlib.Path:
    return a_chunk_of(leaf / "Raw_Data")


def coordinate(leaf: pathlib.Path) -> pathlib.Path:
    return leaf / "Frequency"


def chunk_of_a_coordinate(leaf: pathlib.Path) -> pathlib.Path:
    return a_chunk_of(leaf / "Frequency")


PLACES = [
    metadata,
    metadata_of_values,
    leaf_itself,
    group_above,
    array_of_values,
    folder_of_chunks,
    chunk_of_values,
    coordinate,
    chunk_of_a_coordinate,
]
DOORS: dict[str, Callable[[str], object]] = {
    "list_and_read": lambda path: [
        usidx.open(path, each.path).compute() for each in usidx.list_mains(path)
    ],
    "open": lambda path: usidx.open(path).compute(),
    "open_tree": lambda path: usidx.open_tree(path).load(),
    "open_dataset": lambda path: xr.open_dataset(path, engine="usid").load(),
}


@pytest.fixture
def outside(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "private").mkdir()
    return tmp_path / "private"


@pytest.mark.parametrize("place", PLACES, ids=lambda each: each.__name__)
def test_links_out_of_the_store(
    place: Callable[[pathlib.Path], pathlib.Path], tmp_path: pathlib.Path, outside: pathlib.Path
) -> None:
    path = to_zarr(usidx.testing.make_main(), tmp_path / "a.zarr")
    moved_out(place(pathlib.Path(path, LEAF)), outside)
    for door in DOORS.values():
        with pytest.raises(UnsafeStoreError, match="private"):
            door(path)
    (error,) = usidx.validate(path, limit=None).errors
    assert "private" in error.found


def test_marks_outside_the_store(tmp_path: pathlib.Path, outside: pathlib.Path) -> None:
    path = to_zarr(usidx.testing.make_main(), tmp_path / "a.zarr")
    result = usidx.open(path).usid.process(usidx.steps.mean).run()
    group = pathlib.Path(path, result.path.strip("/"))
    marks = next(
        each.parent
        for each in sorted(group.rglob("zarr.json"))
        if each.parent.name.startswith("completed_positions")
    )
    node = group / "zarr.json"
    node.write_text(node.read_text().replace('"complete"', '"partial"'))
    moved_out(a_chunk_of(marks), outside)
    with pytest.raises(UnsafeStoreError, match="private"):
        usidx.list_mains(path)
