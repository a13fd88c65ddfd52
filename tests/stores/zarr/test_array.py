"""Reading chunks of a Zarr store that may be damaged, replaced, or a trap."""

from __future__ import annotations

import os
import pathlib
import shutil
from typing import Any

import numpy as np
import pytest

from usidx.errors import DamagedStoreError, NotUsidError, SourceChangedError, UnsafeStoreError
from usidx.model.dimension import Dimension
from usidx.model.layout import Grid
from usidx.model.main import MainSpec
from usidx.stores.zarr import ZarrStore
from usidx.stores.zarr.draft import draft

MAIN = "/Measurement_000/Channel_000/Raw_Data"


@pytest.fixture
def path(tmp_path: pathlib.Path) -> str:
    return write(str(tmp_path / "scan.zarr"), 0.0)


def write(path: str, add: float, *, overwrite: bool = False) -> str:
    position = Grid("position", (Dimension("Y", "um", 4), Dimension("X", "um", 3)))
    spectroscopic = Grid("spectroscopic", (Dimension("t", "s", 5),))
    spec = MainSpec(MAIN, "Height", "m", np.dtype("f8"), position, spectroscopic)
    with draft(path, group=None, overwrite=overwrite) as new:
        (target,) = new.add_main(spec, (2, 3, 5))
        target[...] = np.arange(60.0).reshape(4, 3, 5) + add
    return path


def chunk(path: str, name: str = "0/0/0") -> pathlib.Path:
    return pathlib.Path(path + MAIN) / "Raw_Data" / "c" / name


def whole(array: Any) -> Any:
    return array[(slice(None),) * array.ndim]


def test_a_missing_chunk_is_an_error(path: str) -> None:
    array = ZarrStore(path).open_main(MAIN).array
    chunk(path, "1/0/0").unlink()
    np.testing.assert_array_equal(array[0, 0, :], np.arange(5.0))
    with pytest.raises(DamagedStoreError, match="c/1/0/0.* is missing"):
        whole(array)


def test_a_missing_coordinate_is_an_error(path: str) -> None:
    shutil.rmtree(pathlib.Path(path + MAIN) / "X" / "c")
    with pytest.raises(DamagedStoreError, match="missing"):
        ZarrStore(path).open_main(MAIN)


def test_a_flipped_bit_is_an_error(path: str) -> None:
    array = ZarrStore(path).open_main(MAIN).array
    file = chunk(path)
    for place in (5, file.stat().st_size // 2, file.stat().st_size - 1):
        good = file.read_bytes()
        bad = bytearray(good)
        bad[place] ^= 4
        file.write_bytes(bad)
        with pytest.raises(DamagedStoreError, match="cannot be read"):
            whole(array)
        file.write_bytes(good)
    np.testing.assert_array_equal(whole(array), np.arange(60.0).reshape(4, 3, 5))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"node_type": "group"}', b"\xff\xfe"])
def test_broken_metadata_is_an_error(path: str, content: bytes) -> None:
    (pathlib.Path(path + MAIN) / "Raw_Data" / "zarr.json").write_bytes(content)
    with pytest.raises(DamagedStoreError):
        ZarrStore(path).open_main(MAIN)


def test_another_version_of_the_format_is_told(path: str) -> None:
    file = pathlib.Path(path + MAIN) / "zarr.json"
    file.write_text(file.read_text().replace('"version": 1', '"version": 99'))
    with pytest.raises(NotUsidError, match="version 99.*later usidx"):
        ZarrStore(path).open_main(MAIN)


def test_a_replaced_store_is_noticed(path: str) -> None:
    array = ZarrStore(path).open_main(MAIN).array
    whole(array)
    write(path, 100.0, overwrite=True)
    with pytest.raises(SourceChangedError, match="open it again"):
        whole(array)
    again = ZarrStore(path).open_main(MAIN).array
    np.testing.assert_array_equal(whole(again), np.arange(60.0).reshape(4, 3, 5) + 100)


def test_a_removed_store_is_noticed(path: str) -> None:
    array = ZarrStore(path).open_main(MAIN).array
    shutil.rmtree(path)
    with pytest.raises(SourceChangedError, match="removed"):
        whole(array)


def test_edited_attributes_are_no_other_array(path: str) -> None:
    import zarr

    array = ZarrStore(path).open_main(MAIN).array
    zarr.open_array(path + MAIN + "/Raw_Data", mode="r+").attrs["note"] = "looked at"
    np.testing.assert_array_equal(whole(array), np.arange(60.0).reshape(4, 3, 5))
    assert ZarrStore(path).open_main(MAIN).spec.attrs["note"] == "looked at"


def test_a_link_out_of_the_store_is_refused(path: str, tmp_path: pathlib.Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    array = ZarrStore(path).open_main(MAIN).array
    shutil.move(chunk(path), outside / "chunk")
    os.symlink(outside / "chunk", chunk(path))
    with pytest.raises(UnsafeStoreError, match="allow_external"):
        whole(array)
    allowed = ZarrStore(path, (str(outside),)).open_main(MAIN).array
    np.testing.assert_array_equal(whole(allowed), np.arange(60.0).reshape(4, 3, 5))


def test_a_linked_group_is_refused(path: str, tmp_path: pathlib.Path) -> None:
    other = write(str(tmp_path / "other.zarr"), 1.0)
    os.symlink(other + "/Measurement_000", path + "/Measurement_001")
    with pytest.raises(UnsafeStoreError, match="Measurement_001"):
        ZarrStore(path).mains()
    assert len(ZarrStore(path, (other,)).mains()) == 2


def test_a_link_within_the_store_is_another_name(path: str) -> None:
    os.symlink(path + "/Measurement_000", path + "/Measurement_001")
    os.symlink(path, path + "/Measurement_000/round")
    assert len(ZarrStore(path).mains()) == 1


def test_selections_like_numpy(path: str) -> None:
    values = np.arange(60.0).reshape(4, 3, 5)
    array = ZarrStore(path).open_main(MAIN).array
    for key in [
        (slice(None, None, -1), slice(None), 0),
        (slice(3, 0, -2), -1, slice(1, None, 2)),
        (slice(2, 2), slice(None), slice(None)),
        (-1, -3, slice(-2, None)),
        (slice(0, 100), slice(-100, 2), 4),
    ]:
        np.testing.assert_array_equal(array[key], values[key])
    with pytest.raises(IndexError):
        array[4, 0, 0]
