"""Blocks that several threads compute together: the same values, and one end for all of them."""

from __future__ import annotations

import pathlib
import threading
from typing import Any

import numpy as np
import pytest
import xarray as xr

import usidx
from usidx.errors import StepError
from usidx.model import pieces
from usidx.process.running import estimate
from usidx.process.running.helping import Doing
from usidx.process.running.streaming import stream_of
from usidx.stores.hdf5.values.bytes import Reading
from usidx.testing import make_main


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "PIECE", 1024)


@pytest.fixture(params=["contiguous", "chunks"])
def source(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> xr.DataArray:
    """12 x 16 spectra of 32 values: one block, of which a piece is half a row."""
    options: Any = {"compression": "gzip"} if request.param == "chunks" else {"checksums": False}
    usidx.to_h5usid(make_main((12, 16, 32)), tmp_path / "scan.h5", **options)
    return usidx.open(tmp_path / "scan.h5", "Raw_Data")


# What functions of steps see: of this module, so that dask can tell that they are the same.
_seen: set[int] = set()
_together = threading.Barrier(3)
_failed = threading.Event()


def doubled(values: Any) -> Any:
    """No thread goes on before there are three."""
    if values.size and threading.get_ident() not in _seen:
        _seen.add(threading.get_ident())
        _together.wait(30)
    return 2 * values


def fails_elsewhere(values: Any) -> Any:
    """In any thread but the first one, which waits for that."""
    if values.size and not _seen:
        _seen.add(threading.get_ident())
        _failed.wait(30)
    elif values.size and threading.get_ident() not in _seen:
        _failed.set()
        raise ValueError("a thread that helps")
    return values


def halved(values: Any) -> Any:
    return values / 2


def _process(source: xr.DataArray, function: Any) -> Any:
    def step(da: xr.DataArray) -> xr.DataArray:
        return xr.apply_ufunc(
            function, da, dask="parallelized", output_dtypes=[da.dtype], keep_attrs=True
        )

    process = source.usid.process(usidx.step("Tried", step, version="1", per_position=True))
    assert stream_of(process.plan) is not None
    _seen.clear()
    _failed.clear()
    return process


@pytest.mark.parametrize("ending", ["h5", "zarr"])
@pytest.mark.parametrize("on_error", ["raise", "mark"])
def test_threads_without_a_block_take_part_in_one(
    source: xr.DataArray, tmp_path: pathlib.Path, ending: str, on_error: Any
) -> None:
    process = _process(source, doubled)
    assert process.estimate().blocks == 1
    result = process.run(into=tmp_path / f"found.{ending}", workers=3, on_error=on_error)
    assert len(_seen) == 3
    np.testing.assert_array_equal(result.open().values, 2 * source.values)


def test_what_one_of_them_raises_ends_the_run(source: xr.DataArray, tmp_path: pathlib.Path) -> None:
    with pytest.raises(StepError, match="a thread that helps"):
        _process(source, fails_elsewhere).run(into=tmp_path / "found.h5", workers=2)
    assert _failed.is_set()
    assert usidx.open(tmp_path / "found.h5").isnull().all()


def test_a_file_that_changed_meanwhile_is_read_again(
    source: xr.DataArray, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    holds = Reading.holds

    def changed(self: Reading) -> bool:
        asked.append(self)
        return holds(self) and len(asked) < 3

    monkeypatch.setattr(Reading, "holds", changed)
    result = _process(source, halved).run(into=tmp_path / "found.h5", workers=3)
    np.testing.assert_array_equal(result.open().values, source.values / 2)


def test_helpers_do_not_wait_for_a_block_that_never_begins(source: xr.DataArray) -> None:
    class Stream:
        piece = (1, 1)

    class Commit:
        key = (slice(0, 1), slice(0, 1), slice(0, 32))

    doing = Doing(Stream(), (Commit(),))  # type: ignore[arg-type]
    helper = threading.Thread(target=doing.help)
    helper.start()
    doing.call_off()
    helper.join(30)
    assert not helper.is_alive()


def test_the_memory_of_helpers_is_estimated(
    source: xr.DataArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "AROUND", 0)
    process = _process(source, halved)
    alone, three, many = (process.estimate(workers=workers) for workers in (1, 3, 500))
    assert alone.in_flight == many.in_flight == 1
    piece = 3 * 2 * 1024  # what is read and written, three times
    assert three.memory == alone.memory + 2 * piece
    assert many.memory == alone.memory + 23 * piece  # there are no more pieces
