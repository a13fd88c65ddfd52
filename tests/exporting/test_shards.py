"""Several chunks in one file, and chunks for the access that is wanted."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

import usidx
from usidx.errors import OptionError
from usidx.exporting import to_h5usid, to_zarr
from usidx.stores.zarr.chunk_files import ChunkFiles
from usidx.testing import make_main

VALUES = "Measurement_000/Channel_000/Raw_Data/Raw_Data"


@pytest.mark.parametrize("compression", ["lz4", "zstd", None])
@pytest.mark.parametrize("dtype", ["f4", "c16", "?"])
def test_everyone_reads_shards(tmp_path: pathlib.Path, compression: Any, dtype: str) -> None:
    main = make_main((7, 9, 20), dtype="f8").astype(dtype)
    path = to_zarr(
        main, tmp_path / "a.zarr", chunks={"Y": 2, "X": 3, "Frequency": 10},
        shards={"Y": 4, "X": 6}, compression=compression,
    )  # fmt: skip
    array = zarr.open_array(f"{path}/{VALUES}", mode="r")
    assert (array.chunks, array.shards) == ((2, 3, 10), (4, 6, 20))
    np.testing.assert_array_equal(array[...], main)
    files = [each for each in pathlib.Path(path, VALUES, "c").rglob("*") if each.is_file()]
    assert len(files) == 2 * 2
    with xr.open_zarr(path, group=VALUES.rpartition("/")[0]) as plain:
        np.testing.assert_array_equal(plain["Raw_Data"], main)
    np.testing.assert_array_equal(usidx.open(path), main)
    np.testing.assert_array_equal(usidx.open(path)[3:6, 4, 7:], main[3:6, 4, 7:])
    assert usidx.validate(path, values=True).ok
    assert array[6, 8, 0] == main.values[6, 8, 0]
    back = to_h5usid(usidx.open(path), tmp_path / "back.h5")
    np.testing.assert_array_equal(usidx.open(back), main)


def test_a_flipped_bit_is_found(tmp_path: pathlib.Path) -> None:
    path = to_zarr(make_main((4, 4, 8)), tmp_path / "a.zarr", chunks={"Y": 2}, shards={"Y": 4})
    (file,) = (each for each in pathlib.Path(path, VALUES, "c").rglob("*") if each.is_file())
    data = bytearray(file.read_bytes())
    data[20] ^= 4
    file.write_bytes(bytes(data))
    with pytest.raises(usidx.errors.DamagedStoreError):
        usidx.open(path).load()


def test_one_task_writes_whole_shards(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file is written once, and never by zarr, which would read and write it again."""
    write, written = ChunkFiles.write, []

    def seen(self: ChunkFiles, index: tuple[int, ...], values: Any) -> None:
        written.append(index)
        assert values.shape == self.target.chunks == (4, 4, 16)
        write(self, index, values)

    monkeypatch.setattr(ChunkFiles, "write", seen)
    main = make_main((10, 8, 16), chunks={"Y": 3, "X": 8, "Frequency": 16})
    path = to_zarr(main, tmp_path / "a.zarr", chunks={"Y": 1, "X": 4}, shards={"Y": 4, "X": 4})
    assert sorted(written) == [(y, x, 0) for y in range(3) for x in range(2)]
    np.testing.assert_array_equal(usidx.open(path), main)


@pytest.mark.parametrize("access", ["spectra", "maps", "both"])
def test_access(tmp_path: pathlib.Path, access: Any) -> None:
    main = make_main((32, 32, 1024), dtype="f8")
    tree = usidx.open_tree(to_h5usid(main, tmp_path / "a.h5"))
    path = to_zarr(tree, tmp_path / "a", access=access)
    np.testing.assert_array_equal(usidx.open(path), main)
    chunks = zarr.open_array(f"{path}/{VALUES}", mode="r").chunks
    assert (chunks[2] == 1024) == (access == "spectra")
    assert (chunks[:2] == (32, 32)) == (access == "maps")


@pytest.mark.parametrize("access", ["spectra", "maps", "both", None])
@pytest.mark.parametrize("shape", [(32, 32, 1024), (7, 30, 1000), (3, 5, 100)])
def test_shards_for_an_access(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, access: Any, shape: tuple[int, ...]
) -> None:
    """Files of many of the chunks that are right for it, each written once by one task."""
    monkeypatch.setattr("usidx.exporting.moving.sharding._SHARD_BYTES", 3 * 2**20)
    write, written = ChunkFiles.write, []

    def seen(self: ChunkFiles, index: tuple[int, ...], values: Any) -> None:
        written.append(index)
        write(self, index, values)

    monkeypatch.setattr(ChunkFiles, "write", seen)
    main = make_main(shape, dtype="f8")
    tree = usidx.open_tree(to_h5usid(main, tmp_path / "a.h5"))
    path = to_zarr(tree, tmp_path / "a", access=access, shards=True)
    array = zarr.open_array(f"{path}/{VALUES}", mode="r")
    plain = to_zarr(tree, tmp_path / "b", access=access)
    assert array.chunks == zarr.open_array(f"{plain}/{VALUES}", mode="r").chunks
    assert array.shards is not None
    if main.nbytes > 6 * 2**20 and access is not None:
        assert 2**20 <= np.prod(array.shards) * 8 <= 3 * 2**20
    counts = [-(-size // shard) for size, shard in zip(shape, array.shards, strict=True)]
    files = [each for each in pathlib.Path(path, VALUES, "c").rglob("*") if each.is_file()]
    assert len(files) == len(set(written[: len(files)])) == np.prod(counts)
    np.testing.assert_array_equal(array[...], main)
    np.testing.assert_array_equal(usidx.open(path), main)
    assert usidx.validate(path, values=True, limit=None).ok


def test_compound_mains_and_partial_results_in_shards(
    samples: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    for name in ("07_compound_sho_V20.h5", "29_bglib_fitter_status_names.h5"):
        file = samples / "h5usid" / "pyusid" / name
        path = to_zarr(usidx.open_tree(file), tmp_path / name, access="maps", shards=True)
        for each in usidx.list_mains(file):
            found, wanted = usidx.open(path, each.path), usidx.open(file, each.path)
            xr.testing.assert_identical(found.compute(), wanted.compute())


def test_what_excludes_one_another(tmp_path: pathlib.Path) -> None:
    for options in (
        {"access": "maps", "chunks": {"Y": 1}},
        {"access": "sideways"},
        {"access": "maps", "shards": {"Y": 1}},
        {"access": "maps", "shards": True, "zarr_format": 2},
        {"shards": {"Q": 1}},
    ):
        with pytest.raises(OptionError):
            to_zarr(make_main(), tmp_path / "a.zarr", **options)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
