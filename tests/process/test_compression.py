"""Results that are compressed: the same values, in less room, as safe as any others."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import time
from dataclasses import replace
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr
import zarr

import usidx
from tests.chaos.children import in_child
from usidx.errors import NoSpaceError, OptionError, SourceChangedError, UsidError
from usidx.model.dimension import Dimension
from usidx.model.layout import Grid
from usidx.stores import store_at
from usidx.stores.base import OutputRequest, ResultRequest
from usidx.stores.hdf5 import write
from usidx.stores.hdf5.writing import compressed
from usidx.stores.hdf5.writing.compressed import CompressedWriter

CHANNEL = "/Measurement_000/Channel_000"
SHAPE = (24, 20, 64)


def plain(shape: tuple[int, ...] = SHAPE, order: Any = None) -> xr.DataArray:
    """A Main of numbers that compress well."""
    values = np.add.outer(np.arange(shape[0] * shape[1]), np.arange(shape[2])).astype("f4")
    dims = (Dimension("Y", "um", shape[0]), Dimension("X", "um", shape[1]))
    return usidx.from_array(
        values.reshape(shape),
        "Current",
        "nA",
        position=Grid("position", dims, order=order),
        spectroscopic=Dimension("Bias", "V", shape[2]),
    )


def snake() -> Any:
    """The order of a raster that was scanned to and fro."""
    order = np.arange(SHAPE[0] * SHAPE[1]).reshape(SHAPE[:2])
    order[1::2] = order[1::2, ::-1].copy()
    return order.ravel()


@pytest.fixture(params=[".h5", ".zarr"])
def path(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> str:
    """A store with a Main."""
    name = tmp_path / f"scan{request.param}"
    if request.param == ".h5":
        return plain().usid.to_h5usid(name, checksums=False)
    return plain().usid.to_zarr(name)


def request_of(path: str, compression: Any, block: tuple[int, ...] = (3, 20, 64)) -> ResultRequest:
    """A result of the shape of its source."""
    spec = store_at(path).open_main(f"{CHANNEL}/Raw_Data").spec
    output = OutputRequest(replace(spec, path="/Copy"), block)
    sources = (("", spec.path),)
    return ResultRequest(
        CHANNEL, "Raw_Data", "Copy", "1", {}, "", sources, (output,), compression=compression
    )


def key_of(start: int, stop: int) -> tuple[slice, ...]:
    """Some lines of the map."""
    return slice(start, min(stop, SHAPE[0])), slice(0, SHAPE[1]), slice(0, SHAPE[2])


def stored(path: str, group: str) -> int:
    """Bytes that the values of a result take."""
    name = group.rsplit("-", 1)[-1].rsplit("_", 1)[0]
    if path.endswith(".h5"):
        with h5py.File(path) as file:
            return int(file[f"{group}/{name}"].id.get_storage_size())
    folder = pathlib.Path(path, group.strip("/"), name)
    return sum(
        each.stat().st_size for each in folder.rglob("*") if f"{os.sep}c{os.sep}" in str(each)
    )


class TestRun:
    @pytest.mark.parametrize("compression", [True, False, None])
    def test_values_are_the_same_in_less_room(self, path: str, compression: Any) -> None:
        source = usidx.open(path, chunks={"Y": 5})
        result = source.usid.save(source * 3, "Triple", workers=2, compression=compression)
        assert result.status == "complete"
        np.testing.assert_array_equal(result.open(), plain() * 3)
        usual = path.endswith(".zarr")
        small = stored(path, result.path) < 0.6 * source.nbytes
        assert small == (compression is True or (compression is None and usual))
        assert source.usid.save(source * 3, "Triple", compression=compression) == result

    def test_where_a_step_fails(self, path: str) -> None:
        source = usidx.open(path)
        worst = float(plain()[3, 4, 0])

        def double(spectrum: Any) -> Any:
            if spectrum[0] == worst:
                raise ValueError("no luck")
            return spectrum * 2

        lazy = source.usid.map(double, "Bias", output="Bias", dtype="f4", vectorized=False)
        result = source.usid.save(
            lazy, "Double", on_error="mark", compression=True, workers=2, processes=False
        )
        expected = (plain() * 2).values
        expected[3, 4] = np.nan
        np.testing.assert_array_equal(result.open(), expected)
        assert len(result.failed) == 1
        if path.endswith(".h5"):
            with h5py.File(path) as file:
                assert file[f"{result.path}/Double"].compression == "gzip"

    def test_steps_that_stream(self, path: str) -> None:
        process = usidx.open(path).usid.process(usidx.steps.fft_filter, high=0.2)
        small = process.run(compression=True, workers=2, durable=True)
        plainly = process.run(compression=False, workers=2, fresh=True)
        np.testing.assert_array_equal(small.open(), plainly.open())
        assert stored(path, small.path) < stored(path, plainly.path)

    @pytest.mark.parametrize("codec", ["gzip", "lzf"])
    def test_other_programs_read_hdf5(self, tmp_path: pathlib.Path, codec: Any) -> None:
        path = plain(order=snake()).usid.to_h5usid(tmp_path / "scan.h5")
        source = usidx.open(path, chunks={"Y": 5})
        fields = xr.Dataset(
            {"high": source.max("Bias"), "where": source.argmax("Bias").astype("i2")}
        )
        source.usid.save(source * 3, "Triple", compression=codec)
        source.usid.save(fields, "Fields", compression=codec)
        with h5py.File(path) as file:
            group = file[f"{CHANNEL}/Raw_Data-Triple_000"]
            main = group["Triple"]
            assert (main.compression, main.fletcher32) == (codec, True)
            expected = (plain() * 3).values.reshape(main.shape)
            indices = main.file[main.attrs["Position_Indices"]][()]
            np.testing.assert_array_equal(main[()], expected[indices @ [20, 1]])
            assert group["completed_positions"][()].all()
            records = file[f"{CHANNEL}/Raw_Data-Fields_000/Fields"]
            assert records.compression == codec
            np.testing.assert_array_equal(
                np.sort(records["high"].ravel()), np.sort(fields.high.values.ravel())
            )

    @pytest.mark.parametrize(("ending", "codec"), [(".h5", "zstd"), (".zarr", "gzip")])
    def test_each_store_has_its_own(self, tmp_path: pathlib.Path, ending: str, codec: Any) -> None:
        main = plain().chunk({"Y": 4})
        with pytest.raises(OptionError, match=f"{codec!r} is none that"):
            main.usid.save(main * 2, "Double", into=tmp_path / f"new{ending}", compression=codec)
        with pytest.raises(OptionError, match="did you mean 'gzip'"):
            main.usid.save(main * 2, "Double", into=tmp_path / "new.h5", compression="gzp")  # type: ignore[arg-type]
        assert not (tmp_path / f"new{ending}").exists()

    def test_zarr_has_the_codec_that_was_asked_for(self, tmp_path: pathlib.Path) -> None:
        main = plain().chunk({"Y": 4})
        for codec in ("zstd", "lz4"):
            into = tmp_path / f"{codec}.zarr"
            result = main.usid.save(main * 2, "Double", into=into, compression=codec)  # type: ignore[arg-type]
            array = zarr.open_array(f"{into}{result.path}/Double/Double", mode="r")
            assert f"BloscCname.{codec}" in str(array.compressors)
            np.testing.assert_array_equal(result.open(), main * 2)


class TestWriter:
    @pytest.fixture
    def scan(self, tmp_path: pathlib.Path) -> str:
        """An h5USID file, its rows not in raster order."""
        return plain(order=snake()).usid.to_h5usid(tmp_path / "scan.h5", checksums=False)

    def test_what_is_marked_stays_when_blocks_are_cut_anew(self, scan: str) -> None:
        values = plain().values
        with write.claim(scan, request_of(scan, "gzip")) as claim:
            writer = claim.writers["Copy"]
            assert isinstance(writer, CompressedWriter)
            for start in (0, 6, 21):
                writer.write(key_of(start, start + 3), values[key_of(start, start + 3)])
                writer.mark(key_of(start, start + 3))
            writer.write(key_of(3, 6), values[key_of(3, 6)] + 1)  # never marked
        found = usidx.open(scan, "Copy").values
        np.testing.assert_array_equal(found[:3], values[:3])
        assert np.isnan(found[3:6]).all()
        with write.reopen(scan, claim.group) as claim:
            writer = claim.writers["Copy"]
            assert isinstance(writer, CompressedWriter)
            assert writer.done().sum() == 9 * 20
            for start in range(0, 24, 5):
                key = key_of(start, start + 5)
                # other values at what is marked: they must not get in
                writer.write(key, np.where(writer.done()[key[:2]][..., None], -1, values[key]))
                writer.mark(key)
            claim.complete()
        np.testing.assert_array_equal(usidx.open(scan, "Copy"), values)

    def test_only_some_positions(self, scan: str) -> None:
        values = plain().values
        with write.claim(scan, request_of(scan, "lzf")) as claim:
            writer = claim.writers["Copy"]
            for start in range(0, 24, 3):
                writer.write(key_of(start, start + 3), values[key_of(start, start + 3)])
            only = np.zeros((3, 20), bool)
            only[1, 5:9] = True
            writer.write(key_of(6, 9), values[key_of(6, 9)] * 0, only)
            writer.mark(key_of(0, 24))
            claim.complete()
        expected = values.copy()
        expected[7, 5:9] = 0
        np.testing.assert_array_equal(usidx.open(scan, "Copy"), expected)

    def test_a_crash_before_the_commit_leaves_the_block_out(
        self, scan: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        values = plain().values
        with write.claim(scan, request_of(scan, "gzip")) as claim:
            writer = claim.writers["Copy"]
            writer.write(key_of(0, 3), values[key_of(0, 3)])
            writer.mark(key_of(0, 3))
            size = os.path.getsize(scan)

            def work() -> None:
                monkeypatch.setattr(compressed, "encoding_of", die_after_chunks)
                writer.write(key_of(3, 6), values[key_of(3, 6)])

            def die_after_chunks(dataset: Any) -> Any:
                dataset.id.write_direct_chunk((60, 0), bytes(5000), 0)
                dataset.file.flush()
                os.kill(os.getpid(), signal.SIGKILL)

            assert in_child(work).killed
            assert os.path.getsize(scan) > size
            writer.write(key_of(3, 6), values[key_of(3, 6)])
            writer.mark(key_of(3, 6))
        found = usidx.open(scan, "Copy").values
        np.testing.assert_array_equal(found[:6], values[:6])
        assert np.isnan(found[6:]).all()

    def test_another_dataset_in_its_place_is_left_alone(self, scan: str) -> None:
        values = plain().values
        with write.claim(scan, request_of(scan, "gzip")) as claim:
            writer = claim.writers["Copy"]
            with h5py.File(scan, "r+") as file:
                group = file[claim.group]
                del group["Copy"]
                group.create_dataset("Copy", (480, 64), "f4", chunks=(60, 64))
            with pytest.raises(SourceChangedError, match="no longer"):
                writer.write(key_of(0, 3), values[key_of(0, 3)])

    def test_room_is_looked_for_first(self, scan: str, monkeypatch: pytest.MonkeyPatch) -> None:
        usage = write.shutil.disk_usage(scan)._replace(free=1000)
        monkeypatch.setattr(write.shutil, "disk_usage", lambda path: usage)
        with pytest.raises(NoSpaceError, match="take up to 120.0 KiB"):
            write.claim(scan, request_of(scan, "gzip"))
        assert store_at(scan).results(f"{CHANNEL}/Raw_Data") == ()


PROGRAM = """
import sys, time, usidx
source = usidx.open(sys.argv[1], chunks={"Y": 1})
def slow(block):
    time.sleep(0.02 * bool(block.size))
    return block * 3
result = source.copy(data=source.data.map_blocks(slow, dtype="f4"))
source.usid.save(result, "Triple", {"by": 3}, memory="70 kB", workers=2, compression=True)
"""


def test_killed_and_gone_on_with(path: str, tmp_path: pathlib.Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    environment = {**os.environ, "PYTHONPATH": str(pathlib.Path(__file__).parents[2])}
    child = subprocess.Popen([sys.executable, str(program), path], env=environment)
    deadline = time.monotonic() + 60
    try:
        while done_in(path) < 60:
            assert child.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    (partial,) = usidx.open(path).usid.results()
    found = partial.open().values
    computed = ~np.isnan(found)
    assert 60 <= partial.done < 480
    assert computed.sum() == partial.done * SHAPE[2]
    np.testing.assert_array_equal(found[computed], (plain() * 3).values[computed])
    said = subprocess.run([sys.executable, str(program), path], env=environment, check=True)
    assert said.returncode == 0
    (result,) = usidx.open(path).usid.results()
    assert (result.path, result.status) == (partial.path, "complete")
    np.testing.assert_array_equal(result.open(), plain() * 3)
    np.testing.assert_array_equal(usidx.open(path), plain())
    if path.endswith(".h5"):  # what was written twice is there once
        assert stored(path, result.path) < 0.6 * plain().nbytes


def done_in(path: str) -> int:
    """Positions that are marked."""
    try:
        groups = usidx.open(path).usid.results("Triple")
        return groups[0].done if groups else 0
    except UsidError:  # being written at this very moment
        return 0
