"""New h5USID files: right, whole, and never in place of an old one before they are."""

from __future__ import annotations

import contextlib
import os
import pathlib
import resource
import shutil
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import h5py
import numpy as np
import pytest

from tests.chaos.children import in_child
from tests.chaos.subject import MAIN, fit_request, make_scan
from usidx.errors import (
    LayoutError,
    NoSpaceError,
    OptionError,
    StoreExistsError,
    StoreLockedError,
    StoreNotFoundError,
    UsidError,
)
from usidx.model.blocks import blocks_of
from usidx.model.dimension import Dimension
from usidx.model.layout import Coordinate, Grid, Points
from usidx.model.main import MainSpec
from usidx.stores import disk
from usidx.stores.hdf5 import HDF5Store
from usidx.stores.hdf5.transactions.transaction import log_path
from usidx.stores.hdf5.write import claim
from usidx.stores.hdf5.writing import create, encoding
from usidx.stores.hdf5.writing.append import appending
from usidx.stores.hdf5.writing.create import create_file, draft

RAW = "/Measurement_000/Channel_000/Raw_Data"


@pytest.fixture
def path(tmp_path: pathlib.Path) -> str:
    """Where the new file is to be."""
    return str(tmp_path / "new.h5")


def litter(path: str) -> list[str]:
    return sorted(set(os.listdir(os.path.dirname(path))) - {os.path.basename(path)})


def spec_of(dtype: Any = "f4", path: str = RAW, **changes: Any) -> MainSpec:
    spec = MainSpec(
        path,
        "Strom",
        "nA",
        np.dtype(dtype),
        Grid("position", (Dimension("Y", "um", [0.0, 0.5, 1.5]), Dimension("X", "um", 4))),
        Grid("spectroscopic", (Dimension("Bias", "V", np.linspace(-1, 1, 5)),)),
        {"gain": 2.5, "user": "Zoë", "channels": ["a", "b"], "calibration": {"slope": 1}},
    )
    return replace(spec, **changes)


def values_of(spec: MainSpec) -> Any:
    raw = np.random.default_rng(0).integers(0, 2, (*spec.shape, spec.dtype.itemsize), np.uint8)
    return raw.reshape(-1).view(spec.dtype).reshape(spec.shape)


def blocks(spec: MainSpec, shape: tuple[int, ...], values: Any = None) -> Iterator[tuple[Any, Any]]:
    values = values_of(spec) if values is None else values
    for block in blocks_of(spec.shape, shape):
        yield block.key, values[block.key]


def write(path: str, spec: MainSpec, shape: tuple[int, ...] = (1, 4, 5), **options: Any) -> Any:
    create_file(path, [(spec, blocks(spec, shape))], **options)
    return values_of(spec)


class TestContent:
    def test_the_file_is_as_pyusid_writes_it(self, path: str) -> None:
        values = write(path, spec_of())
        with h5py.File(path, "r") as file:
            main = file[RAW]
            np.testing.assert_array_equal(main[()], values.reshape(12, 5))
            assert main.fletcher32
            assert (main.attrs["quantity"], main.attrs["units"]) == ("Strom", "nA")
            assert (main.attrs["gain"], main.attrs["user"]) == (2.5, "Zoë")
            assert list(main.attrs["channels"]) == [b"a", b"b"]
            assert main.attrs["calibration"] == '{"slope": 1}'
            position = file[main.attrs["Position_Indices"]]
            assert position.name == "/Measurement_000/Channel_000/Position_Indices"
            assert position.dtype == np.uint32
            np.testing.assert_array_equal(position[()].T, np.divmod(np.arange(12), 4))
            assert list(position.attrs["labels"]) == [b"Y", b"X"]
            assert list(position.attrs["units"]) == [b"um", b"um"]
            assert list(position.attrs["type"]) == [0, 0]
            stored = file[main.attrs["Position_Values"]]
            assert stored.dtype == np.float32
            np.testing.assert_array_equal(stored[:, 0], np.repeat([0.0, 0.5, 1.5], 4))
            bias = file[main.attrs["Spectroscopic_Values"]]
            np.testing.assert_array_equal(bias[()], np.linspace(-1, 1, 5)[None].astype("f4"))
            for name in ("Measurement_000", "Measurement_000/Channel_000"):
                assert {"machine_id", "timestamp", "platform"} <= set(file[name].attrs)
        assert litter(path) == []

    def test_precision_is_not_lost(self, path: str) -> None:
        spec = spec_of()
        fine = Grid("spectroscopic", (Dimension("Bias", "µV", [0.1, 0.2, 0.3, 0.4, 0.1 + 0.2]),))
        write(path, replace(spec, spectroscopic=fine))
        with h5py.File(path, "r") as file:
            bias = file[file[RAW].attrs["Spectroscopic_Values"]]
            assert bias[0, 4] == 0.1 + 0.2
            assert list(bias.attrs["units"]) == ["µV"]

    @pytest.mark.parametrize("compression", [None, "gzip", "lzf"])
    @pytest.mark.parametrize("dtype", ["f4", ">i2", "c16", "?", "f4,c8", "f2"])
    def test_values_of_every_type(self, path: str, dtype: str, compression: Any) -> None:
        spec = spec_of(dtype)
        values = write(path, spec, compression=compression)
        with h5py.File(path, "r") as file:
            assert file[RAW].compression == compression
            assert file[RAW].dtype == spec.dtype
            assert file[RAW][()].tobytes() == values.tobytes()

    @pytest.mark.parametrize("shape", [(3, 4, 5), (1, 2, 5), (2, 4, 2), (1, 1, 1), (3, 1, 5)])
    @pytest.mark.parametrize("seed", [None, 1, 2])
    def test_blocks_of_any_shape_in_any_order_of_the_file(
        self, path: str, shape: tuple[int, ...], seed: int | None
    ) -> None:
        spec = spec_of()
        rows, columns = np.arange(12), np.arange(5)
        if seed is not None:
            chance = np.random.default_rng(seed)
            rows, columns = chance.permutation(12), chance.permutation(5)
            assert isinstance(spec.position, Grid)
            assert isinstance(spec.spectroscopic, Grid)
            position = Grid("position", spec.position.dimensions, order=rows)
            bias = Grid("spectroscopic", spec.spectroscopic.dimensions, order=columns)
            spec = replace(spec, position=position, spectroscopic=bias)
        values = write(path, spec, shape)
        with h5py.File(path, "r") as file:
            np.testing.assert_array_equal(file[RAW][()][rows][:, columns], values.reshape(12, 5))
        array = HDF5Store(path).open_main(RAW).array
        np.testing.assert_array_equal(array[:, :, :], values)

    def test_mains_of_a_group_share_what_is_equal(self, path: str) -> None:
        folder = "/Measurement_000/Channel_000"
        first, second = spec_of(path=f"{folder}/A"), spec_of("c8", path=f"{folder}/B")
        other = replace(
            spec_of(path=f"{folder}/C"),
            spectroscopic=Grid("spectroscopic", (Dimension("Time", "s", 2),)),
        )
        elsewhere = spec_of(path="/Measurement_001/Channel_000/A")
        specs = (first, second, other, elsewhere)
        create_file(path, [(spec, blocks(spec, spec.shape)) for spec in specs])
        with h5py.File(path, "r") as file:
            sides = [
                tuple(file[file[spec.path].attrs[name]].name for name in names)
                for spec in specs
                for names in (("Position_Indices", "Spectroscopic_Values"),)
            ]
        assert sides == [
            (f"{folder}/Position_Indices", f"{folder}/Spectroscopic_Values"),
            (f"{folder}/Position_Indices", f"{folder}/Spectroscopic_Values"),
            (f"{folder}/Position_Indices", f"{folder}/C_Spectroscopic_Values"),
            tuple(
                f"/Measurement_001/Channel_000/{name}"
                for name in ("Position_Indices", "Spectroscopic_Values")
            ),
        ]
        store = HDF5Store(path)
        assert [entry.path for entry in store.mains()] == [spec.path for spec in specs]
        for spec in specs:
            np.testing.assert_array_equal(
                store.open_main(spec.path).array[:, :, :], values_of(spec)
            )

    def test_positions_that_are_no_grid(self, path: str) -> None:
        x = np.array([0.5, 0.25, 7.0])
        columns = (Coordinate("X", "um", ("position",), x, np.array([1, 0, 2])),)
        spec = replace(spec_of(), position=Points("position", columns))
        values = write(path, spec, (2, 5))
        with h5py.File(path, "r") as file:
            np.testing.assert_array_equal(file[RAW][()], values)
            position = file[file[RAW].attrs["Position_Indices"]]
            np.testing.assert_array_equal(position[:, 0], [1, 0, 2])
            assert list(position.attrs["type"]) == [1]

    def test_groups_and_results(self, path: str) -> None:
        group = f"{RAW}-Fit_000"
        raw, fit = spec_of(), spec_of("f8", path=f"{group}/Fit")
        groups = {
            "/Measurement_000": {"sample": "Graphen auf SiO₂", "timestamp": "2020_01_01-00_00_00"},
            group: {"tool": "Fit", "source_000": RAW, "usid_status": "complete"},
            "/": {"project": 7},
        }
        mains = [(spec, blocks(spec, (1, 4, 5))) for spec in (raw, fit)]
        create_file(path, mains, groups=groups)
        with h5py.File(path, "r") as file:
            assert file.attrs["project"] == 7
            assert file["Measurement_000"].attrs["sample"] == "Graphen auf SiO₂"
            assert file["Measurement_000"].attrs["timestamp"] == "2020_01_01-00_00_00"
            assert file[file[group].attrs["source_000"]].name == RAW
        (record,) = HDF5Store(path).results(RAW)
        assert (record.status, record.tool, record.sources) == ("complete", "Fit", (("", RAW),))

    def test_a_source_that_did_not_come_along_is_still_named(self, path: str) -> None:
        spec = spec_of(path=f"{RAW}-Fit_000/Fit")
        groups = {f"{RAW}-Fit_000": {"source_000": RAW}}
        create_file(path, [(spec, blocks(spec, spec.shape))], groups=groups)
        with h5py.File(path, "r") as file:
            assert file[f"{RAW}-Fit_000"].attrs["source_dataset_path"] == RAW

    def test_a_partial_result_stays_one(self, path: str) -> None:
        spec = spec_of(path=f"{RAW}-Fit_000/Fit")
        done = np.arange(12).reshape(3, 4) % 3 == 0
        with draft(path) as new:
            new.set_attrs(spec.parent, {"tool": "Fit", "usid_status": "partial"})
            new.add_main(spec, completed=done)[:, :, :] = values_of(spec)
        stored = HDF5Store(path).open_main(spec.path)
        assert stored.completed is not None
        np.testing.assert_array_equal(stored.completed[:, :], done)

    def test_tools_of_hdf5_1_10_read_the_file(self, path: str) -> None:
        tool = shutil.which("h5dump")
        if tool is None:
            pytest.skip("there is no h5dump")
        write(path, spec_of("f4"), compression="gzip")
        assert subprocess.run([tool, path], capture_output=True).returncode == 0

    def test_flipped_bits_are_noticed(self, path: str) -> None:
        values = write(path, spec_of("f8"))
        data = bytearray(pathlib.Path(path).read_bytes())
        place = bytes(data).find(values[1, 2].tobytes())
        data[place + 3] ^= 4
        pathlib.Path(path).write_bytes(data)
        with h5py.File(path, "r") as file, pytest.raises(OSError, match="read data"):
            file[RAW][()]

    def test_threads_store_blocks_at_once(self, path: str) -> None:
        spec = spec_of()
        values = values_of(spec)
        with draft(path) as new:
            target = new.add_main(spec, block=(1, 1, 5), compression="gzip")
            assert (target.shape, target.dtype) == (spec.shape, spec.dtype)

            def work(parts: list[Any]) -> None:
                for key, part in parts:
                    target[key] = part

            every = list(blocks(spec, (1, 1, 5), values))
            threads = [threading.Thread(target=work, args=(every[n::4],)) for n in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        with h5py.File(path, "r") as file:
            np.testing.assert_array_equal(file[RAW][()], values.reshape(12, 5))

    @pytest.mark.parametrize("how", ["plain", "gzip", "in turn", "beside"])
    def test_threads_write_large_chunks_past_hdf5(
        self, path: str, how: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """HDF5 itself reads them all, checksums too; also where it has to write them itself."""
        spec = spec_of(spectroscopic=Grid("spectroscopic", (Dimension("Bias", "V", 40_000),)))
        rng = np.random.default_rng(5)
        values = rng.standard_normal(spec.shape, dtype=np.float32)
        if how == "in turn":
            monkeypatch.setattr(disk, "POSITIONED_IO", False)
        with contextlib.ExitStack() as stack:
            if how == "beside":
                write(path, spec_of(path="/Measurement_000/Channel_000/First"))
                new = stack.enter_context(appending(path))
            else:
                new = stack.enter_context(draft(path))
            target = new.add_main(
                spec, block=(1, 1, 40_000), compression="gzip" if how == "gzip" else None
            )
            with ThreadPoolExecutor(4) as pool:
                for done in [
                    pool.submit(target.__setitem__, *each)
                    for each in blocks(spec, (1, 1, 40_000), values)
                ]:
                    done.result()
        with h5py.File(path, "r") as file:
            assert file[RAW].fletcher32
            np.testing.assert_array_equal(file[RAW][()], values.reshape(12, -1))
        if how == "beside":
            with h5py.File(path, "r") as file:
                first = values_of(spec_of()).reshape(12, 5)
                np.testing.assert_array_equal(file["Measurement_000/Channel_000/First"], first)


class TestChunks:
    @pytest.mark.parametrize(
        ("shape", "block", "chunk"),
        [
            ((512, 512, 1024), (16, 512, 1024), (256, 1024)),
            ((100, 90, 1000), (30, 90, 1000), (225, 1000)),
            ((64, 64, 16), (64, 64, 16), (4096, 16)),
            ((1000, 1000, 4), (100, 1000, 4), (50_000, 4)),
            ((3, 7, 10**6), (1, 1, 10**6), (1, 250_000)),
            ((131, 1, 5000), (131, 1, 5000), (52, 5000)),
        ],
    )
    def test_blocks_are_made_of_whole_chunks(
        self,
        path: str,
        shape: tuple[int, int, int],
        block: tuple[int, ...],
        chunk: tuple[int, int],
    ) -> None:
        y, x, z = (Dimension(name, "", size) for name, size in zip("YXZ", shape))
        spec = spec_of(position=Grid("position", (y, x)), spectroscopic=Grid("spectroscopic", (z,)))
        assert encoding.chunk_shape(spec, block) == chunk
        assert chunk[0] * chunk[1] * 4 <= 2**20

    def test_memory_holds_a_block_not_the_file(self, path: str) -> None:
        y, x, z = (Dimension(name, "", size) for name, size in zip("YXZ", (64, 64, 8192)))
        spec = spec_of(position=Grid("position", (y, x)), spectroscopic=Grid("spectroscopic", (z,)))

        def work() -> int:
            block = np.ones((1, 64, 8192), "f4")
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            parts = ((each.key, block) for each in blocks_of(spec.shape, block.shape))
            create_file(path, [(spec, parts)])
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

        ended = in_child(work)
        assert ended.trouble == ""
        assert ended.result < 48_000  # KiB, of 128 MiB
        assert os.path.getsize(path) > spec.nbytes


class TestSafety:
    def test_what_is_there_is_not_overwritten_unasked(self, path: str) -> None:
        make_scan(path)
        before = pathlib.Path(path).read_bytes()
        with pytest.raises(StoreExistsError, match="overwrite=True"):
            write(path, spec_of())
        assert pathlib.Path(path).read_bytes() == before
        values = write(path, spec_of(), overwrite=True)
        with h5py.File(path, "r") as file:
            np.testing.assert_array_equal(file[RAW][()], values.reshape(12, 5))

    def test_what_is_no_hdf5_file_is_never_overwritten(
        self, path: str, tmp_path: pathlib.Path
    ) -> None:
        pathlib.Path(path).write_text("my notes")
        with pytest.raises(StoreExistsError, match="is no HDF5 file"):
            write(path, spec_of(), overwrite=True)
        assert pathlib.Path(path).read_text() == "my notes"
        with pytest.raises(StoreExistsError, match="is no HDF5 file"):
            write(str(tmp_path), spec_of(), overwrite=True)

    def test_the_old_file_is_whole_until_the_new_one_is(self, path: str) -> None:
        make_scan(path)
        before = pathlib.Path(path).read_bytes()
        spec = spec_of()

        def parts() -> Iterator[tuple[Any, Any]]:
            for key, values in blocks(spec, (1, 4, 5)):
                assert pathlib.Path(path).read_bytes() == before
                yield key, values

        create_file(path, [(spec, parts())], overwrite=True)
        assert pathlib.Path(path).read_bytes() != before

    def test_a_failure_in_the_middle_leaves_nothing(self, path: str) -> None:
        spec = spec_of()

        def parts() -> Iterator[tuple[Any, Any]]:
            yield from list(blocks(spec, (1, 4, 5)))[:2]
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            create_file(path, [(spec, parts())])
        assert not os.path.exists(path)
        assert litter(path) == []

    def test_a_killed_writer_leaves_the_old_file(self, path: str) -> None:
        make_scan(path)
        before = pathlib.Path(path).read_bytes()
        spec = spec_of()

        def parts() -> Iterator[tuple[Any, Any]]:
            yield next(blocks(spec, (1, 4, 5)))
            os.kill(os.getpid(), 9)

        assert in_child(lambda: create_file(path, [(spec, parts())], overwrite=True)).killed
        assert pathlib.Path(path).read_bytes() == before
        write(path, spec, overwrite=True)  # the part that was left is in nobody's way
        assert litter(path) == []

    def test_a_file_that_appears_meanwhile_is_not_overwritten(self, path: str) -> None:
        spec = spec_of()

        def parts() -> Iterator[tuple[Any, Any]]:
            yield from blocks(spec, (1, 4, 5))
            make_scan(path)

        with pytest.raises(StoreExistsError):
            create_file(path, [(spec, parts())])
        with h5py.File(path, "r") as file:
            assert file[MAIN].shape == (128, 24)

    def test_a_file_that_results_are_written_into_is_not_replaced(self, path: str) -> None:
        make_scan(path)
        with (
            claim(path, fit_request()),
            pytest.raises(StoreLockedError, match="results are being written"),
        ):
            write(path, spec_of(), overwrite=True)

    def test_a_log_of_the_old_file_does_not_meet_the_new_one(self, path: str) -> None:
        make_scan(path)
        pathlib.Path(log_path(path)).write_text("broken")
        write(path, spec_of(), overwrite=True)
        assert litter(path) == [os.path.basename(log_path(path)) + ".of-another-file"]

    @pytest.mark.parametrize("portable", [False, True])
    def test_a_full_disk(self, path: str, portable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        if portable:
            for name in ("POSITIONED_IO", "ALLOCATION", "KERNEL_LOCKS", "FOLDER_SYNC"):
                monkeypatch.setattr(disk, name, False)
        spec = spec_of(spectroscopic=Grid("spectroscopic", (Dimension("Bias", "V", 10_000),)))
        written: list[int] = []
        monkeypatch.setattr(create, "_CACHE_BYTES", 1)  # or HDF5 would write at the end only

        def parts() -> Iterator[tuple[Any, Any]]:
            for number, block in enumerate(blocks(spec, (1, 1, 10_000))):
                written.append(number)
                yield block

        def limited() -> list[int]:
            resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))
            with pytest.raises(NoSpaceError, match="no room to write"):
                create_file(path, [(spec, parts())])
            return written

        ended = in_child(limited)
        assert ended.trouble == ""
        assert len(ended.result) < 12, "it went on though nothing could be written"
        assert os.listdir(os.path.dirname(path)) == []

    def test_the_mode_of_the_old_file_is_kept(self, path: str) -> None:
        make_scan(path)
        os.chmod(path, 0o640)
        write(path, spec_of(), overwrite=True)
        assert os.stat(path).st_mode & 0o777 == 0o640


class TestRefusing:
    @pytest.mark.parametrize(
        ("parts", "said"),
        [
            ([0, 1], "40 values were written"),
            ([0, 1, 2, 2], "80 values were written"),
            ([], "no blocks"),
        ],
    )
    def test_blocks_that_do_not_cover_the_main(
        self, path: str, parts: list[int], said: str
    ) -> None:
        spec = spec_of()
        every = list(blocks(spec, (1, 4, 5)))
        with pytest.raises(LayoutError, match=said):
            create_file(path, [(spec, [every[part] for part in parts])])
        assert os.listdir(os.path.dirname(path)) == []

    @pytest.mark.parametrize(
        ("change", "options", "said"),
        [
            ({}, {"compression": "zip"}, "'zip' is none of"),
            ({"dtype": np.dtype("O")}, {}, "object"),
            ({"dtype": np.dtype("U5")}, {}, "<U5"),
            ({"attrs": {"function": print}}, {}, "'function'.*builtin_function"),
        ],
    )
    def test_what_hdf5_cannot_hold(
        self, path: str, change: dict[str, Any], options: dict[str, Any], said: str
    ) -> None:
        spec = replace(spec_of(), **change)
        values = np.zeros(spec.shape, spec.dtype)
        with pytest.raises(OptionError, match=said):
            create_file(path, [(spec, [((slice(None),) * 3, values)])], **options)
        assert os.listdir(os.path.dirname(path)) == []

    def test_values_of_another_kind(self, path: str) -> None:
        spec = spec_of()
        with pytest.raises(LayoutError, match="has values of complex64, expected float32"):
            create_file(path, [(spec, [((slice(None),) * 3, values_of(spec) * 1j)])])

    def test_the_same_path_twice(self, path: str) -> None:
        spec = spec_of()
        mains = [(spec, blocks(spec, spec.shape)) for _ in range(2)]
        with pytest.raises(StoreExistsError, match="given twice"):
            create_file(path, mains)
        mains = [(each, blocks(each, spec.shape)) for each in (spec, spec_of(path=f"{RAW}/Inside"))]
        with pytest.raises(StoreExistsError, match="cannot hold"):
            create_file(path, mains)

    def test_a_folder_that_is_not_there(self, tmp_path: pathlib.Path) -> None:
        with pytest.raises(StoreNotFoundError, match="there is no folder"):
            write(str(tmp_path / "nowhere" / "new.h5"), spec_of())

    def test_every_refusal_is_one_of_ours(self, path: str) -> None:
        with pytest.raises(UsidError):
            write(path, spec_of(path="/"))
