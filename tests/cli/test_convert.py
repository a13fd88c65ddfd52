"""`usidx convert` carries whole files, or one Main, from one format to the other."""

from __future__ import annotations

import os
import pathlib
import signal
from typing import Any

import numpy as np
import pytest

import usidx


@pytest.mark.parametrize("back", ["back.h5", "back.hdf5"])
def test_there_and_back(call: Any, scan: pathlib.Path, back: str) -> None:
    assert call("run", scan, "Raw_Data", "peak_response").exit_code == 0
    assert call("convert", scan, "scan.zarr").exit_code == 0
    assert call("convert", "scan.zarr", back).exit_code == 0
    first, second, third = (usidx.list_mains(each) for each in (scan, "scan.zarr", back))
    assert first.paths == second.paths == third.paths
    for path in first.paths:
        expected = usidx.open(scan, path)
        for store in ("scan.zarr", back):
            found = usidx.open(store, path)
            assert found.dims == expected.dims
            np.testing.assert_array_equal(found.values, expected.values)
            for name in expected.coords:
                np.testing.assert_array_equal(found[name], expected[name])
                assert found[name].attrs.get("units") == expected[name].attrs.get("units")


def test_one_main(call: Any, two: pathlib.Path) -> None:
    result = call("convert", two, "one.zarr", "--main", "Channel_001/Raw_Data")
    assert result.exit_code == 0, result.output
    (entry,) = usidx.list_mains("one.zarr")
    assert entry.path == "/Measurement_000/Channel_001/Raw_Data"


def test_what_is_there_is_kept_unless_told(call: Any, scan: pathlib.Path) -> None:
    assert call("convert", scan, "scan.zarr").exit_code == 0
    refused = call("convert", scan, "scan.zarr")
    assert refused.exit_code == 1
    assert "'scan.zarr' is there already; --overwrite replaces it" in refused.stderr
    assert call("convert", scan, "scan.zarr", "--overwrite").exit_code == 0


def test_compression(call: Any, scan: pathlib.Path) -> None:
    assert call("convert", scan, "none.zarr", "--compression", "none").exit_code == 0
    assert call("convert", scan, "small.h5", "--compression", "gzip").exit_code == 0
    refused = call("convert", scan, "odd.zarr", "--compression", "zsdt")
    assert refused.exit_code == 1
    assert "zstd" in refused.stderr
    assert not pathlib.Path("odd.zarr").exists()


def test_a_target_of_no_known_kind_is_a_wrong_use(call: Any, scan: pathlib.Path) -> None:
    result = call("convert", scan, "scan.tiff")
    assert result.exit_code == 2
    assert ".zarr" in result.stderr


def test_several_mains(call: Any, two: pathlib.Path) -> None:
    result = call(
        "convert", two, "both.zarr", "--main", "Channel_001/Raw_Data", "--main",
        "Channel_000/Raw_Data",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert len(usidx.list_mains("both.zarr")) == 2


@pytest.mark.parametrize("target", ["part.zarr", "part.h5", "part.nc"])
def test_a_selection(call: Any, scan: pathlib.Path, target: str) -> None:
    assert call("run", scan, "Raw_Data", "peak_response").exit_code == 0
    raw, result = usidx.open(scan, "Raw_Data"), usidx.open(scan, "Peak_Response")
    low, high = (float(raw.Frequency[n]) for n in (4, 9))
    called = call(
        "convert", scan, target, "--select", f"Frequency={low}:{high}", "--iselect", "X=2:5",
    )  # fmt: skip
    assert called.exit_code == 0, called.output
    part = usidx.open(target, "Raw_Data")
    expected = raw.isel(Frequency=slice(4, 10), X=slice(2, 5))
    np.testing.assert_array_equal(part, expected)
    np.testing.assert_array_equal(part.Frequency, expected.Frequency)
    assert part.Frequency.attrs["units"] == "Hz"
    of_part = usidx.open(target, "Peak_Response")
    np.testing.assert_array_equal(of_part, result.isel(X=slice(2, 5)))
    (found,) = part.usid.results("Peak_Response")
    assert found.status == "complete"
    assert target.endswith(".nc") or usidx.validate(target).ok


def test_a_selection_of_one_main(call: Any, scan: pathlib.Path) -> None:
    near = float(usidx.open(scan).X[2]) * 1.001
    called = call(
        "convert", scan, "a.zarr", "--main", "Raw_Data", "--select", f"X={near}", "--iselect",
        "Y=-1",
    )  # fmt: skip
    assert called.exit_code == 0, called.output
    np.testing.assert_array_equal(
        usidx.open("a.zarr"), usidx.open(scan).isel(X=slice(2, 3), Y=slice(-1, None))
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--select", "Frequence=1:2"], "did you mean 'Frequency'"),
        (["--select", "X=100:200"], "nothing of"),
        (["--iselect", "X=a:b"], "whole numbers"),
        (["--select", "X"], "DIM=FROM:TO"),
        (["--select", "X=0:1", "--iselect", "X=0:1"], "twice"),
        (["--access", "sideways"], "sideways"),
    ],
)
def test_what_cannot_be_selected(
    call: Any, scan: pathlib.Path, options: list[str], said: str
) -> None:
    result = call("convert", scan, "a.zarr", *options)
    assert result.exit_code in (1, 2)
    assert said in result.stderr
    assert sorted(each.name for each in pathlib.Path().iterdir()) == ["scan.h5"]


@pytest.mark.parametrize(
    ("target", "access"), [("a.zarr", "maps"), ("a.zarr", "both"), ("a.h5", "maps")]
)
def test_access(call: Any, scan: pathlib.Path, target: str, access: str) -> None:
    result = call("convert", scan, target, "--access", access)
    assert result.exit_code == 0, result.output
    np.testing.assert_array_equal(usidx.open(target), usidx.open(scan))


def test_shards(call: Any, scan: pathlib.Path) -> None:
    for options in (("--access", "maps"), ()):
        result = call("convert", scan, "a.zarr", "--shards", "--overwrite", *options)
        assert result.exit_code == 0, result.output
        np.testing.assert_array_equal(usidx.open("a.zarr"), usidx.open(scan))
        (array,) = (each for each in pathlib.Path("a.zarr").rglob("Raw_Data/Raw_Data/zarr.json"))
        assert "sharding_indexed" in array.read_text()
    assert call("convert", scan, "a.nc", "--shards").exit_code == 2


def test_what_was_interrupted_goes_on(
    call: Any, scan: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from usidx.stores.zarr.chunk_files import ChunkFiles

    again = ("convert", scan, "a.zarr", "--compression", "zstd", "--option", 'chunks={"Y":1,"X":2}')
    write, written = ChunkFiles.write, []

    def stopping(self: ChunkFiles, index: tuple[int, ...], values: Any) -> None:
        if len(written) == 10:
            raise KeyboardInterrupt
        write(self, index, values)
        written.append(index)

    monkeypatch.setattr(ChunkFiles, "write", stopping)
    stopped = call(*again)
    assert stopped.exit_code == 130
    assert "the same command goes on" in stopped.stderr
    assert not pathlib.Path("a.zarr").exists()
    first = set(written)
    monkeypatch.setattr(
        ChunkFiles, "write", lambda self, i, v: (written.append(i), write(self, i, v))[1]
    )
    assert call(*again).exit_code == 0
    assert len(first) == 10
    assert set(written[10:]) & first == set()
    np.testing.assert_array_equal(usidx.open("a.zarr"), usidx.open(scan))
    assert sorted(each.name for each in pathlib.Path().iterdir()) == ["a.zarr", "scan.h5"]


@pytest.mark.parametrize("name", ["scan.hspy", "scan.nsid.h5", "scan.NSID.hf5"])
def test_files_of_others(call: Any, scan: pathlib.Path, name: str) -> None:
    result = call("convert", scan, name, "--main", "Raw_Data", "--compression", "gzip")
    assert result.exit_code == 0, result.output
    expected, found = usidx.open(scan, "Raw_Data"), usidx.open(name)
    assert found.dims == expected.dims
    np.testing.assert_array_equal(found, expected)
    assert call("convert", scan, name).exit_code == 1
    assert call("convert", scan, f"b{name}", "--access", "maps").exit_code == 2


def test_what_is_ended_leaves_nothing_behind(
    call: Any, scan: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch system asks before it kills."""
    from usidx.stores.zarr.chunk_files import ChunkFiles

    def ends(self: ChunkFiles, index: Any, values: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(ChunkFiles, "write", ends)
    before = signal.getsignal(signal.SIGTERM)
    there = sorted(os.listdir())
    result = call("convert", scan, "a.zarr", "--access", "maps")
    assert result.exit_code == 130, result.output
    assert "usidx: interrupted" in result.output
    assert sorted(os.listdir()) == there
    assert signal.getsignal(signal.SIGTERM) == before
