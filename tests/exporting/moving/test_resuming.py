"""Exports that were interrupted go on with what is written and whole."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

import usidx
from usidx.exporting import to_h5usid, to_zarr
from usidx.exporting.moving import chunking
from usidx.exporting.moving.resuming import _boxes
from usidx.stores.zarr.chunk_files import ChunkFiles
from usidx.testing import make_main

CHUNKS = {"Y": 2, "X": 16}
KILLED = """
import os, sys
from usidx.exporting import to_zarr
from usidx.exporting.moving import chunking
from usidx.stores.zarr.chunk_files import ChunkFiles
import usidx

chunking._TASK_BYTES = 2**12
write, left = ChunkFiles.write, int(sys.argv[3])

def counted(self, *what):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), 9)
    write(self, *what)

ChunkFiles.write = counted
tree = usidx.open_tree(sys.argv[1])
to_zarr(tree, sys.argv[2], chunks={"Y": 2, "X": 16}, resume=True)
"""


@pytest.fixture
def scan(tmp_path: pathlib.Path) -> str:
    return to_h5usid(make_main((16, 64, 32)), tmp_path / "scan.h5", checksums=False)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Indices of the chunks that are written from here on."""
    monkeypatch.setattr(chunking, "_TASK_BYTES", 2**12)
    write, found = ChunkFiles.write, []

    def seen(self: ChunkFiles, index: tuple[int, ...], values: object) -> None:
        found.append(index)
        write(self, index, values)  # type: ignore[arg-type]

    monkeypatch.setattr(ChunkFiles, "write", seen)
    return found


def killed(scan: str, target: pathlib.Path, after: int) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, scan, str(target), str(after)],
        env={**os.environ, "PYTHONPATH": os.getcwd()}, timeout=60,
    )  # fmt: skip
    assert ended.returncode == -9


def unfinished(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(folder.glob(".scan.zarr.usidx-unfinished-*"))


def test_what_was_killed_goes_on(scan: str, tmp_path: pathlib.Path, written: list[object]) -> None:
    target = tmp_path / "scan.zarr"
    killed(scan, target, 11)
    assert not target.exists()
    (left,) = unfinished(tmp_path)
    killed(scan, target, 6)
    assert unfinished(tmp_path) == [left]
    to_zarr(usidx.open_tree(scan), target, chunks=CHUNKS, resume=True)
    # each kill may have found a chunk of the other thread half written
    assert 32 - 17 <= len(written) <= 32 - 17 + 2
    np.testing.assert_array_equal(usidx.open(target), usidx.open(scan))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["scan.h5", "scan.zarr"]
    assert usidx.validate(target, values=True).ok


def test_a_damaged_chunk_is_written_again(
    scan: str, tmp_path: pathlib.Path, written: list[object]
) -> None:
    target = tmp_path / "scan.zarr"
    killed(scan, target, 20)
    (left,) = unfinished(tmp_path)
    first, second, third, *_ = sorted(
        each for each in (left / "new").rglob("Raw_Data/Raw_Data/c/*/*/*") if each.is_file()
    )
    first.write_bytes(first.read_bytes()[:-1] + b"?")
    second.write_bytes(b"")
    third.unlink()
    with open(left / "journal", "ab") as journal:
        journal.write(b"00000000 12 new/Raw")  # torn
    to_zarr(usidx.open_tree(scan), target, chunks=CHUNKS, resume=True)
    assert 12 + 3 <= len(written) <= 12 + 3 + 2
    np.testing.assert_array_equal(usidx.open(target), usidx.open(scan))


@pytest.mark.parametrize("other", ["options", "source", "key", "new", "plain"])
def test_anything_else_starts_anew(
    scan: str, tmp_path: pathlib.Path, written: list[object], other: str
) -> None:
    target = tmp_path / "scan.zarr"
    killed(scan, target, 20)
    (left,) = unfinished(tmp_path)
    compression = "zstd" if other == "options" else "lz4"
    if other == "source":
        to_h5usid(make_main((16, 64, 32), seed=1), scan, overwrite=True)
    if other == "new":  # the journal of something else, in a folder of this name
        (left / "journal").write_text("something\n")
    resume = {"key": "another file", "plain": False}.get(other, True)
    tree = usidx.open_tree(scan)
    to_zarr(tree, target, chunks=CHUNKS, compression=compression, resume=resume)  # type: ignore[arg-type]
    assert len(written) == 32
    np.testing.assert_array_equal(usidx.open(target), usidx.open(scan))
    assert unfinished(tmp_path) == []


def test_an_error_keeps_what_is_written(
    scan: str, tmp_path: pathlib.Path, written: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "scan.zarr"
    target.mkdir()

    def stop(done: int, total: int) -> None:
        if done >= 9:
            raise KeyboardInterrupt

    tree = usidx.open_tree(scan)
    with pytest.raises(KeyboardInterrupt):
        to_zarr(tree, target, chunks=CHUNKS, resume=True, progress=stop)
    before = len(written)
    assert len(unfinished(tmp_path)) == 1
    to_zarr(tree, target, chunks=CHUNKS, resume=True)
    assert 32 <= len(written) <= 34
    assert before >= 9
    assert unfinished(tmp_path) == []
    with pytest.raises(usidx.errors.StoreExistsError):
        to_zarr(tree, target, chunks=CHUNKS, resume=True)


def test_the_store_that_was_replaced_is_never_gone_on_with(
    scan: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash between the exchange of the stores and the end leaves the old one aside."""
    from usidx.stores.zarr import unfinished as module

    target = tmp_path / "scan.zarr"
    to_zarr(make_main((16, 64, 32), seed=5), target)
    monkeypatch.setattr(module, "remove_aside", lambda folder: None)
    tree = usidx.open_tree(scan)
    to_zarr(tree, target, chunks=CHUNKS, resume=True, overwrite=True)
    assert len(unfinished(tmp_path)) == 1
    monkeypatch.undo()
    to_zarr(tree, target, chunks=CHUNKS, resume=True, overwrite=True)
    np.testing.assert_array_equal(usidx.open(target), usidx.open(scan))


@pytest.mark.parametrize("seed", range(20))
def test_boxes_are_what_is_missing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    chunks = tuple(tuple(rng.integers(1, 4, rng.integers(1, 6))) for _ in range(3))
    missing = rng.random([len(each) for each in chunks]) < rng.random()
    expected = missing
    for axis, sizes in enumerate(chunks):
        expected = np.repeat(expected, sizes, axis)
    counts = np.zeros(expected.shape, int)
    for box in _boxes(missing, chunks):
        counts[box] += 1
    np.testing.assert_array_equal(counts, expected)
