"""Result groups in HDF5: claimed whole, written block by block from anywhere, completed once."""

from __future__ import annotations

import os
import pathlib
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import h5py
import numpy as np
import pytest

from tests.chaos import subject
from tests.chaos.children import in_child
from tests.chaos.subject import CHANNEL, GROUP, MAIN, fill, fit_request, fit_values, keys, make_scan
from usidx.errors import (
    LayoutError,
    MainNotFoundError,
    NoSpaceError,
    PlanError,
    SourceChangedError,
    StoreLockedError,
)
from usidx.model.dimension import Dimension
from usidx.model.layout import Coordinate, Grid, Points
from usidx.model.main import MainSpec
from usidx.stores import disk
from usidx.stores.base import OutputRequest, ResultRequest
from usidx.stores.hdf5.transactions.transaction import transaction
from usidx.stores.hdf5.write import HDF5Claim, claim, reopen
from usidx.stores.hdf5.writing import block_writer

ALL = (slice(None),) * 3


@pytest.fixture
def path(tmp_path: pathlib.Path) -> str:
    """A file with one Main of 16 x 8 positions."""
    return make_scan(str(tmp_path / "scan.h5"))


def litter(path: str) -> list[str]:
    return sorted(set(os.listdir(os.path.dirname(path))) - {os.path.basename(path)})


def request_for(spec: MainSpec, **changes: Any) -> ResultRequest:
    """A request for one output that shares nothing."""
    output = OutputRequest(spec, spec.shape)
    return replace(fit_request(), outputs=(output,), **changes)


def spec_of(dtype: Any, shape: tuple[int, int, int] = (4, 5, 6), **changes: Any) -> MainSpec:
    y, x, z = (Dimension(name, "um", size) for name, size in zip("YXZ", shape))
    spec = MainSpec(
        "/Fit",
        "Height",
        "nm",
        np.dtype(dtype),
        Grid("position", (y, x)),
        Grid("spectroscopic", (z,)),
    )
    return replace(spec, **changes)


class TestClaim:
    def test_everything_but_the_values_is_there(self, path: str) -> None:
        with claim(path, fit_request()) as held, h5py.File(path, "r") as file:
            assert held.group == GROUP
            group = file[GROUP]
            assert sorted(group) == [
                "Fit",
                "Spectroscopic_Indices",
                "Spectroscopic_Values",
                "completed_positions",
            ]
            main, marks = group["Fit"], group["completed_positions"]
            assert (main.shape, main.dtype, main.chunks) == ((128, 3), np.dtype("f4"), None)
            assert (marks.shape, marks.dtype) == ((128,), np.uint8)
            assert not marks[()].any()
            assert file[main.attrs["Position_Values"]].name == f"{CHANNEL}/Position_Values"
            values = file[main.attrs["Spectroscopic_Values"]]
            assert values.name == f"{GROUP}/Spectroscopic_Values"
            assert values.dtype == np.float32
            np.testing.assert_array_equal(values[()], [[0, 1, 2]])
            indices = file[main.attrs["Spectroscopic_Indices"]]
            assert indices.dtype == np.uint32
            assert indices.attrs["labels"].dtype == np.dtype("S9")
            assert list(indices.attrs["labels"]) == [b"Parameter"]
            assert (main.attrs["quantity"], main.attrs["units"]) == ("Parameter", "a. u.")

    def test_the_group_says_where_it_comes_from_as_pyusid_does(self, path: str) -> None:
        with claim(path, fit_request()), h5py.File(path, "r") as file:
            attrs = file[GROUP].attrs
            assert file[attrs["source_000"]].name == MAIN
            assert attrs["num_source_dsets"] == 1
            assert attrs["tool"] == "Fit"
            assert (attrs["start"], attrs["method"]) == (1.5, "slow")
            assert {"machine_id", "timestamp", "platform", "usidx_version"} <= set(attrs)
            assert (attrs["usid_status"], attrs["usid_version"]) == ("partial", "1")
            assert attrs["usid_fingerprint"] == "f" * 64
            assert "last_pixel" not in attrs
            said = attrs.get_id("tool")
            assert h5py.check_string_dtype(said.dtype) == ("utf-8", None)

    def test_the_room_is_set_aside(self, path: str) -> None:
        """The file has all its bytes, on disk, before the first is computed."""
        big = spec_of("f8", (200, 200, 125))
        with claim(path, request_for(big)):
            there = os.stat(path)
            assert there.st_size > big.nbytes
            assert there.st_blocks * 512 > big.nbytes

    def test_no_room_is_said_before_the_work(self, path: str) -> None:
        before = pathlib.Path(path).read_bytes()
        with pytest.raises(NoSpaceError, match=r"15\.3 TiB are needed"):
            claim(path, request_for(spec_of("f8", (2**10, 2**10, 2 * 10**6))))
        assert pathlib.Path(path).read_bytes() == before
        assert litter(path) == []

    def test_groups_are_numbered_on(self, path: str) -> None:
        with transaction(path) as file:
            file[CHANNEL].create_group("Raw_Data-Fit_007")
            file[CHANNEL].create_group("Raw_Data-Fit_old")
            file[CHANNEL].create_group("Raw_Data-Fitting_011")
        with claim(path, fit_request()) as held:
            assert held.group == f"{MAIN}-Fit_008"

    def test_two_processes_never_make_the_same_group(self, path: str) -> None:
        program = f"""
from tests.chaos.subject import fill, fit_request
from usidx.stores.hdf5.write import claim
for _ in range(4):
    with claim({path!r}, fit_request(), timeout=60) as held:
        fill(held)
        held.complete()
"""
        processes = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(3)]
        assert [process.wait() for process in processes] == [0] * 3
        with h5py.File(path, "r") as file:
            groups = [name for name in file[CHANNEL] if name.startswith("Raw_Data-")]
            assert groups == [f"Raw_Data-Fit_{number:03d}" for number in range(12)]
            expected = np.concatenate([fit_values(row) for row in range(16)]).reshape(128, 3)
            for name in groups:
                np.testing.assert_array_equal(file[CHANNEL][name]["Fit"][()], expected)
                assert file[CHANNEL][name].attrs["usid_status"] == "complete"
            np.testing.assert_array_equal(file[MAIN][()], subject.raw_values())
        assert litter(path) == []

    def test_a_source_in_another_file_is_named(self, path: str) -> None:
        request = replace(fit_request(share=False), sources=(("/data/raw.h5", "/A/Raw_Data"),))
        with claim(path, request), h5py.File(path, "r") as file:
            attrs = file[GROUP].attrs
            assert attrs["source_file_path"] == "/data/raw.h5"
            assert attrs["source_dataset_path"] == "/A/Raw_Data"
            assert "source_000" not in attrs

    def test_a_parent_that_is_not_there_is_made(self, path: str) -> None:
        with claim(path, replace(fit_request(), parent="/Measurement_007/Channel_001")) as held:
            assert held.group == "/Measurement_007/Channel_001/Raw_Data-Fit_000"
        with h5py.File(path, "r") as file:
            assert "timestamp" in file["Measurement_007"].attrs
            assert held.group in file

    def test_parameters_of_any_kind(self, path: str) -> None:
        parameters = {
            "count": 3,
            "on": True,
            "nothing": None,
            "weights": np.array([[1.0, np.nan]]),
            "names": ["a", "größer"],
            "plain": ["a", "b"],
            "phase": 1j,
            "nested": {"a": [1, "x"]},
            "mask": np.zeros(10**6, bool),
            "tool": "not the name of the tool",
            "": "a name that HDF5 does not take",
        }
        request = replace(fit_request(), parameters=parameters)
        with claim(path, request), h5py.File(path, "r") as file:
            attrs = file[GROUP].attrs
            assert (attrs["count"], attrs["on"], attrs["phase"]) == (3, True, 1j)
            assert attrs["on"].dtype == bool
            np.testing.assert_array_equal(attrs["weights"], [[1.0, np.nan]])
            assert list(attrs["names"]) == ["a", "größer"]
            assert list(attrs["plain"]) == [b"a", b"b"]
            assert attrs["tool"] == "Fit"
            assert not {"nothing", "mask", ""} & set(attrs)
            assert len(attrs["usid_parameters"]) > 10**6

    def test_several_outputs_share_what_is_equal(self, path: str) -> None:
        first = spec_of("f4", path="/Amplitude")
        second = spec_of("c8", path="/Phase")
        third = spec_of("f4", (4, 5, 2), path="/Spread")
        outputs = tuple(OutputRequest(spec, spec.shape) for spec in (first, second, third))
        with (
            claim(path, replace(fit_request(), outputs=outputs)) as held,
            h5py.File(path, "r") as file,
        ):
            group = file[GROUP]
            names = [file[group[n].attrs["Spectroscopic_Values"]].name for n in held.writers]
            assert names[0] == names[1] == f"{GROUP}/Spectroscopic_Values"
            assert names[2] == f"{GROUP}/Spread_Spectroscopic_Values"
            positions = {file[group[n].attrs["Position_Indices"]].name for n in held.writers}
            assert positions == {f"{GROUP}/Position_Indices"}
            marks = {f"completed_{name}_positions" for name in held.writers}
            assert marks <= set(group)

    @pytest.mark.parametrize(
        ("change", "error", "said"),
        [
            ({"parent": MAIN}, MainNotFoundError, "no group"),
            ({"outputs": ()}, PlanError, "at least one output"),
            ({"outputs": 2 * fit_request().outputs}, PlanError, "'Fit' is taken"),
        ],
    )
    def test_requests_that_do_not_fit(
        self, path: str, change: dict[str, Any], error: type[Exception], said: str
    ) -> None:
        before = pathlib.Path(path).read_bytes()
        with pytest.raises(error, match=said):
            claim(path, replace(fit_request(), **change))
        assert pathlib.Path(path).read_bytes() == before
        assert litter(path) == []

    def test_ancillaries_of_another_size_are_not_shared(self, path: str) -> None:
        output = OutputRequest(spec_of("f4"), (4, 5, 6), share_position=MAIN)
        with pytest.raises(PlanError, match="has 20 position rows; do not share"):
            claim(path, replace(fit_request(), outputs=(output,)))
        output = OutputRequest(spec_of("f4"), (4, 5, 6), share_position=f"{CHANNEL}/Other")
        with pytest.raises(MainNotFoundError, match="Other"):
            claim(path, replace(fit_request(), outputs=(output,)))

    def test_a_group_behind_an_external_link_is_not_changed(
        self, path: str, tmp_path: pathlib.Path
    ) -> None:
        other = make_scan(str(tmp_path / "other.h5"))
        with h5py.File(path, "r+") as file:
            file["elsewhere"] = h5py.ExternalLink(other, CHANNEL)
        before = pathlib.Path(other).read_bytes()
        with pytest.raises(MainNotFoundError, match="elsewhere"):
            claim(path, replace(fit_request(), parent="/elsewhere"))
        assert pathlib.Path(other).read_bytes() == before

    def test_room_that_hdf5_uses_again_has_no_marks(self, tmp_path: pathlib.Path) -> None:
        path = make_scan(str(tmp_path / "scan.h5"), fs_strategy="fsm", fs_persist=True)
        with h5py.File(path, "r+") as file:
            file["ones"] = np.ones(10**6, np.uint8)
        with h5py.File(path, "r+") as file:
            del file["ones"]
        with claim(path, fit_request()) as held:
            assert not held.writers["Fit"].done().any()
            fill(held)
            held.complete()
        assert subject.faults(path) == []


class TestWriting:
    def test_blocks_lie_where_they_belong(self, path: str) -> None:
        with claim(path, fit_request()) as held:
            writer = held.writers["Fit"]
            writer.write((slice(2, 4), slice(0, 8), slice(0, 3)), np.ones((2, 8, 3), "f4"))
            writer.write((slice(7, 8), slice(3, 5), slice(0, 3)), np.full((1, 2, 3), 2.0))
            with h5py.File(path, "r") as file:
                grid = file[GROUP]["Fit"][()].reshape(16, 8, 3)
        expected = np.zeros((16, 8, 3))
        expected[2:4], expected[7, 3:5] = 1, 2
        np.testing.assert_array_equal(grid, expected)

    def test_marks_say_what_is_done(self, path: str) -> None:
        with claim(path, fit_request()) as held:
            writer = held.writers["Fit"]
            writer.mark((slice(2, 4), slice(0, 8), slice(0, 3)))
            writer.mark((slice(7, 8), slice(3, 5), slice(0, 3)))
            expected = np.zeros((16, 8), bool)
            expected[2:4] = expected[7, 3:5] = True
            np.testing.assert_array_equal(writer.done(), expected)
            with h5py.File(path, "r") as file:
                marks = file[GROUP]["completed_positions"][()]
            np.testing.assert_array_equal(marks.reshape(16, 8), expected)

    @pytest.mark.parametrize(
        "dtype", ["f2", "f4", ">f8", "i1", "u8", ">i4", "?", "c8", "c16", "f4,f4", "i2,f8,c16"]
    )
    def test_values_of_every_type_come_back(self, path: str, dtype: str) -> None:
        spec = spec_of(dtype)
        raw = np.random.default_rng(0).integers(0, 2, (120, spec.dtype.itemsize), np.uint8)
        values = np.frombuffer(raw.tobytes(), spec.dtype).reshape(4, 5, 6)
        with claim(path, request_for(spec)) as held:
            held.writers["Fit"].write(ALL, values)
            held.writers["Fit"].mark(ALL)
            held.complete()
        with h5py.File(path, "r") as file:
            stored = file[GROUP]["Fit"]
            assert stored.dtype == spec.dtype
            assert stored[()].tobytes() == values.tobytes()

    @pytest.mark.parametrize("seed", range(3))
    def test_rows_and_columns_in_the_order_of_the_file(self, path: str, seed: int) -> None:
        chance = np.random.default_rng(seed)
        rows, columns = chance.permutation(20), chance.permutation(6)
        plain = spec_of("f4")
        assert isinstance(plain.position, Grid)
        assert isinstance(plain.spectroscopic, Grid)
        spec = replace(
            plain,
            position=Grid("position", plain.position.dimensions, order=rows),
            spectroscopic=Grid("spectroscopic", plain.spectroscopic.dimensions, order=columns),
        )
        values = chance.random((4, 5, 6)).astype("f4")
        with claim(path, request_for(spec)) as held:
            writer = pickle.loads(pickle.dumps(held.writers["Fit"]))
            for row in (0, 1, 3):
                writer.write((slice(row, row + 1),), values[row : row + 1])
                writer.mark((slice(row, row + 1),))
            np.testing.assert_array_equal(writer.done().all(axis=1), [True, True, False, True])
            writer.write((slice(2, 3),), values[2:3])
            writer.mark((slice(2, 3), slice(None), slice(None)))
            held.complete()
        with h5py.File(path, "r") as file:
            stored = file[GROUP]["Fit"][()]
            for cell, row in enumerate(rows):
                for place, column in enumerate(columns):
                    assert stored[row, column] == values.reshape(20, 6)[cell, place]
            indices = file[file[GROUP]["Fit"].attrs["Position_Indices"]][()]
            np.testing.assert_array_equal(indices[rows], np.stack(np.divmod(range(20), 5), axis=1))

    def test_a_snake_scan_needs_one_write_for_each_line(
        self, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        order = np.arange(20).reshape(4, 5)
        order[1::2] = order[1::2, ::-1]
        plain = spec_of("f4")
        assert isinstance(plain.position, Grid)
        snake = Grid("position", plain.position.dimensions, order=order.reshape(-1))
        with claim(path, request_for(replace(plain, position=snake))) as held:
            writes: list[int] = []
            real = disk.write_at
            monkeypatch.setattr(
                disk, "write_at", lambda d, data, at: (writes.append(at), real(d, data, at))[1]
            )
            values = np.arange(120, dtype="f4").reshape(4, 5, 6)
            held.writers["Fit"].write(ALL, values)
            assert len(writes) == 1
        with h5py.File(path, "r") as file:
            lines = file[GROUP]["Fit"][()].reshape(4, 5, 6)
        np.testing.assert_array_equal(lines[0], values[0])
        np.testing.assert_array_equal(lines[1], values[1, ::-1])

    def test_positions_that_are_no_grid(self, path: str) -> None:
        x = np.array([0.5, 0.25, 7.0])
        points = Points("position", (Coordinate("X", "um", ("position",), x, np.arange(3)),))
        spec = replace(spec_of("f8"), position=points)
        values = np.random.default_rng(0).random((3, 6))
        with claim(path, request_for(spec)) as held:
            held.writers["Fit"].write((slice(1, 3), slice(0, 6)), values[1:])
            held.writers["Fit"].write((slice(0, 1), slice(0, 6)), values[:1])
            with h5py.File(path, "r") as file:
                main = file[GROUP]["Fit"]
                np.testing.assert_array_equal(main[()], values)
                stored = file[main.attrs["Position_Values"]]
                np.testing.assert_array_equal(stored[:, 0], x)
                assert list(stored.attrs["type"]) == [1]

    def test_threads_and_processes_write_at_once(self, path: str) -> None:
        with claim(path, fit_request()) as held:
            writer = held.writers["Fit"]
            threads = [
                threading.Thread(target=write_and_mark, args=(writer, row)) for row in range(8)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            for row in range(8, 16):
                assert in_child(lambda row=row: write_and_mark(writer, row)).trouble == ""
            held.complete()
        assert subject.faults(path) == []

    @pytest.mark.parametrize(
        ("key", "values", "said"),
        [
            ((slice(0, 1), slice(0, 8), slice(0, 2)), np.ones((1, 8, 2)), "all spectroscopic"),
            ((slice(0, 2), slice(0, 4), slice(0, 3)), np.ones((2, 4, 3)), "no single run"),
            ((slice(0, 1), slice(0, 8), slice(0, 3)), np.ones((8, 1, 3)), "has the shape"),
            ((slice(0, 1), slice(0, 8), slice(0, 3)), np.ones((1, 8, 3)) * 1j, "complex128"),
            ((slice(0, 1), slice(0, 8), slice(0, 3)), np.ones((1, 8, 3), "f4,f4"), "expected"),
        ],
    )
    def test_blocks_that_do_not_fit(
        self, path: str, key: tuple[slice, ...], values: Any, said: str
    ) -> None:
        with claim(path, fit_request()) as held, pytest.raises(LayoutError, match=said):
            held.writers["Fit"].write(key, values)

    def test_values_reach_the_disk_before_their_marks_when_asked(
        self, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls: list[str] = []
        real = disk.write_at
        with claim(path, fit_request(), durable=True) as held:
            marks = held.writers["Fit"].marks.span.offset
            monkeypatch.setattr(disk, "sync_data", lambda _: calls.append("sync"))
            monkeypatch.setattr(
                disk,
                "write_at",
                lambda d, data, at: (
                    calls.append("mark" if at >= marks else "values"),
                    real(d, data, at),
                )[1],
            )
            write_and_mark(held.writers["Fit"], 0)
        assert calls == ["values", "sync", "mark", "sync"]

    def test_a_full_disk_in_the_middle_keeps_what_is_marked(
        self, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with claim(path, fit_request()) as held:
            writer = held.writers["Fit"]
            write_and_mark(writer, 0)

            def full(*_: object) -> None:
                raise OSError(28, "No space left on device")

            with monkeypatch.context() as patch:
                patch.setattr(disk, "write_at", full)
                with pytest.raises(NoSpaceError, match="then resume"):
                    write_and_mark(writer, 1)
            assert writer.done().sum() == 8

    def test_a_write_in_pieces_is_carried_on(
        self, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = os.pwrite
        with claim(path, fit_request()) as held:
            monkeypatch.setattr(os, "pwrite", lambda d, data, at: real(d, data[:7], at))
            fill(held)
            monkeypatch.undo()
            held.complete()
        assert subject.faults(path) == []


def write_and_mark(writer: block_writer.HDF5BlockWriter, row: int) -> None:
    key = (slice(row, row + 1), slice(0, 8), slice(0, 3))
    writer.write(key, fit_values(row))
    writer.mark(key)


class TestAnotherFile:
    """Bytes never go into a file that is not the one that was claimed."""

    def replaced(self, path: str) -> None:
        other = make_scan(path + "-new", rows=64)
        os.replace(other, path)

    def rewritten_in_place(self, path: str) -> None:
        make_scan(path, rows=64)

    def removed(self, path: str) -> None:
        os.unlink(path)

    def moved_within(self, path: str) -> None:
        """The dataset is elsewhere in the same file, as after a repack in place."""
        with h5py.File(path, "r+") as file:
            values = file[GROUP]["Fit"][()]
            del file[GROUP]["Fit"]
            file["in its place"] = np.zeros_like(values)
            file["at the end"] = np.full(10**5, 255, np.uint8)
            file[GROUP]["Fit"] = values

    @pytest.mark.parametrize("how", ["replaced", "rewritten_in_place", "removed", "moved_within"])
    def test_nothing_is_written(self, path: str, how: str) -> None:
        with claim(path, fit_request()) as held:
            write_and_mark(held.writers["Fit"], 0)
            change: Callable[[str], None] = getattr(self, how)
            change(path)
            before = pathlib.Path(path).read_bytes() if how != "removed" else b""
            with pytest.raises(SourceChangedError, match=r"scan\.h5"):
                held.writers["Fit"].write(next(keys()), fit_values(0))
            with pytest.raises(SourceChangedError, match=r"scan\.h5"):
                held.writers["Fit"].mark(next(keys()))
            if how != "removed":
                assert pathlib.Path(path).read_bytes() == before

    def test_a_result_that_was_deleted_is_noticed_in_time(
        self, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Even where no byte shows it: its room may be given to other data at any time."""
        with claim(path, fit_request()) as held:
            write_and_mark(held.writers["Fit"], 0)
            with h5py.File(path, "r+") as file:
                del file[GROUP]
            monkeypatch.setattr(block_writer, "_LOOK_EVERY", 0.0)
            with pytest.raises(SourceChangedError, match="was replaced or rewritten"):
                write_and_mark(held.writers["Fit"], 1)

    def test_a_program_that_has_the_file_open_does_not_stop_the_work(self, path: str) -> None:
        with claim(path, fit_request()) as held:
            with h5py.File(path, "r+") as file:
                fill(held)
                file[CHANNEL].attrs["note"] = 1
            held.complete()
        assert subject.faults(path) == []

    def test_attributes_added_by_others_do_not_stop_the_work(self, path: str) -> None:
        with claim(path, fit_request()) as held:
            write_and_mark(held.writers["Fit"], 0)
            with h5py.File(path, "r+") as file:
                for number in range(40):
                    file[GROUP]["Fit"].attrs[f"remark {number}"] = "x" * 100
                file[CHANNEL].create_group("Notes")
            fill(held)
            held.complete()
        assert subject.faults(path) == []

    def test_other_results_do_not_stop_the_work(self, path: str) -> None:
        with claim(path, fit_request()) as held:
            write_and_mark(held.writers["Fit"], 0)
            with claim(path, fit_request(tool="Other")) as other:
                fill(other)
                fill(held)
                other.complete()
            held.complete()
        assert subject.faults(path) == []

    def test_of_another_machine_only_the_inode_is_compared(self, path: str) -> None:
        with claim(path, fit_request()) as held:
            writer = held.writers["Fit"]
            far = replace(writer, file=replace(writer.file, host="far-away", device=1))
            write_and_mark(far, 0)
            with pytest.raises(SourceChangedError):
                write_and_mark(replace(writer, file=replace(writer.file, device=1)), 1)


class TestCompleting:
    def test_it_is_refused_while_something_is_missing(self, path: str) -> None:
        with claim(path, fit_request()) as held:
            write_and_mark(held.writers["Fit"], 0)
            with pytest.raises(PlanError, match="120 of 128 positions"):
                held.complete()
            with h5py.File(path, "r") as file:
                assert file[GROUP].attrs["usid_status"] == "partial"

    def test_a_complete_group_says_so(self, path: str) -> None:
        with claim(path, fit_request()) as held:
            fill(held)
            held.complete()
        with h5py.File(path, "r") as file:
            assert file[GROUP].attrs["usid_status"] == "complete"
            assert file[GROUP].attrs["last_pixel"] == 128
        assert litter(path) == []
        assert subject.faults(path) == []

    def test_a_group_that_somebody_deleted(self, path: str) -> None:
        with claim(path, fit_request()) as held:
            fill(held)
            with h5py.File(path, "r+") as file:
                file[GROUP].id.unlink(b"completed_positions")
                file[CHANNEL].move("Raw_Data-Fit_000", "renamed")
            with pytest.raises((MainNotFoundError, SourceChangedError)):
                held.complete()


class TestHolding:
    def test_a_second_process_is_refused_by_name(self, path: str) -> None:
        with claim(path, fit_request()) as held:
            program = f"""
import sys
from usidx.errors import StoreLockedError
from usidx.stores.hdf5.write import reopen
try:
    reopen({path!r}, {held.group!r})
except StoreLockedError as error:
    sys.stdout.write(str(error))
"""
            said = subprocess.run(
                [sys.executable, "-c", program], capture_output=True, text=True, check=True
            )
            assert f"process {os.getpid()} (writing '{GROUP}'" in said.stdout

    def test_tasks_of_an_ended_claim_write_no_more(self, path: str) -> None:
        """A worker that outlives its client must not write beside whoever resumed."""
        with claim(path, fit_request()) as held:
            late = held.writers["Fit"]
            write_and_mark(late, 0)
        with pytest.raises(StoreLockedError, match="nobody holds it now"):
            write_and_mark(late, 1)
        with reopen(path, GROUP) as again:
            with pytest.raises(StoreLockedError, match="held by this process"):
                late.mark(next(keys()))
            fill(again)
            again.complete()
        with pytest.raises(StoreLockedError, match="has ended"):
            again.complete()
        assert subject.faults(path) == []

    def test_a_killed_client_is_taken_over_from(self, path: str) -> None:
        def die() -> None:
            held = claim(path, fit_request())
            write_and_mark(held.writers["Fit"], 3)
            os.kill(os.getpid(), 9)

        assert in_child(die).killed
        assert len(litter(path)) == 1
        with reopen(path, GROUP) as held:
            done = held.writers["Fit"].done()
            assert done[3].all()
            assert done.sum() == 8
            fill(held)
            held.complete()
        assert litter(path) == []
        assert subject.faults(path) == []

    def test_the_next_claim_tidies_up_after_a_killed_one(self, path: str) -> None:
        assert in_child(lambda: (claim(path, fit_request()), os.kill(os.getpid(), 9))[1]).killed
        assert len(litter(path)) == 1
        with claim(path, fit_request()) as held:
            assert held.group.endswith("_001")
            assert len(litter(path)) == 1
        assert litter(path) == []


class TestReopening:
    def test_all_marked_but_not_declared_complete(self, path: str) -> None:
        with claim(path, fit_request()) as held:
            fill(held)
        with reopen(path, GROUP) as again:
            again.complete()
        assert subject.faults(path) == []

    def test_what_is_complete_is_not_resumed(self, path: str) -> None:
        subject.run(path)
        with pytest.raises(PlanError, match="complete; there is nothing to resume"):
            reopen(path, GROUP)
        assert litter(path) == []

    def test_what_is_not_there(self, path: str) -> None:
        with pytest.raises(MainNotFoundError, match="Fit_000"):
            reopen(path, GROUP)
        assert litter(path) == []

    def test_several_outputs(self, path: str) -> None:
        outputs = tuple(
            OutputRequest(spec, spec.shape)
            for spec in (spec_of("f4", path="/A"), spec_of("c8", (3, 2, 4), path="/B"))
        )
        with claim(path, replace(fit_request(), outputs=outputs)) as held:
            held.writers["A"].write(ALL, np.ones((4, 5, 6)))
            held.writers["A"].mark(ALL)
            with pytest.raises(PlanError, match="6 of 6 positions of .*/B"):
                held.complete()
        with reopen(path, GROUP) as again:
            assert again.writers["A"].done().all()
            assert not again.writers["B"].done().any()
            assert again.writers["B"].dtype == np.complex64
            again.writers["B"].write(ALL, np.full((3, 2, 4), 1j))
            again.writers["B"].mark(ALL)
            again.complete()
        with h5py.File(path, "r") as file:
            assert (file[GROUP]["A"][()] == 1).all()
            assert (file[GROUP]["B"][()] == 1j).all()

    def by_pyusid(self, path: str, status: Any = "u1", **storage: Any) -> None:
        """A partial group as pyUSID's Process leaves it."""
        with h5py.File(path, "r+") as file:
            group = file[CHANNEL].create_group("Raw_Data-Fit_000")
            group.attrs["tool"] = "Fit"
            group.attrs["source_000"] = file[MAIN].ref
            main = group.create_dataset("Fit", data=np.zeros((128, 3), "f4"), **storage)
            main.attrs["quantity"], main.attrs["units"] = "Parameter", "a. u."
            for name in ("Position_Indices", "Position_Values"):
                main.attrs[name] = file[MAIN].attrs[name]
            for name in ("Indices", "Values"):
                values = np.arange(3, dtype="u4" if name == "Indices" else "f4")[None]
                ancillary = group.create_dataset(f"Spectroscopic_{name}", data=values)
                ancillary.attrs["labels"] = np.array(["Parameter"], "S")
                ancillary.attrs["units"] = np.array([""], "S")
                main.attrs[f"Spectroscopic_{name}"] = ancillary.ref
            if status is not None:
                marks = np.zeros(128, status)
                marks[:8] = 1
                group.create_dataset("completed_positions", data=marks)
                main[:8] = fit_values(0)[0]

    def test_a_group_of_pyusid_in_one_piece(self, path: str) -> None:
        self.by_pyusid(path)
        with reopen(path, GROUP) as held:
            assert held.writers["Fit"].done().sum() == 8
            fill(held)
            held.complete()
        assert subject.faults(path) == []

    def test_marks_of_another_kind_are_refused(self, path: str) -> None:
        self.by_pyusid(path, status="i8")
        before = pathlib.Path(path).read_bytes()
        with pytest.raises(PlanError, match="expected uint8"):
            reopen(path, GROUP)
        assert pathlib.Path(path).read_bytes() == before
        assert litter(path) == []


def test_a_claim_costs_milliseconds(path: str) -> None:
    big = spec_of("f4", (100, 100, 1000))
    times = []
    for _ in range(5):
        start = time.perf_counter()
        held: HDF5Claim = claim(path, request_for(big))
        times.append(time.perf_counter() - start)
        held.__exit__(None, None, None)
    assert min(times) < 0.25
