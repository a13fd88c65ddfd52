"""Changes of an HDF5 file happen all at once or not at all, and nothing else in it changes."""

from __future__ import annotations

import hashlib
import logging
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import h5py
import numpy as np
import pytest

from tests.chaos.children import in_child
from tests.chaos.crash import do_without_linux
from tests.chaos.subject import CHANNEL, MAIN, make_scan, raw_values
from usidx.errors import (
    DamagedStoreError,
    NoSpaceError,
    NotUsidError,
    ReadOnlyStoreError,
    SourceChangedError,
    StoreLockedError,
    StoreNotFoundError,
)
from usidx.stores import disk
from usidx.stores.hdf5.transactions import log as logs
from usidx.stores.hdf5.transactions.overlay import Overlay
from usidx.stores.hdf5.transactions.superblock import read_superblock
from usidx.stores.hdf5.transactions.transaction import log_path, recover, transaction
from usidx.stores.lock import held, store_lock

FORMATS: dict[str, dict[str, Any]] = {
    "earliest": {"libver": "earliest"},
    "latest": {"libver": "latest"},
    "v110": {"libver": ("v110", "v110")},
    "user block": {"userblock_size": 2048},
    "latest with user block": {"libver": "latest", "userblock_size": 512},
    "tracked order": {"track_order": True},
    "persistent free space": {"fs_strategy": "fsm", "fs_persist": True},
    "pages": {"fs_strategy": "page", "fs_persist": True, "fs_page_size": 4096},
}


@pytest.fixture
def path(tmp_path: pathlib.Path) -> str:
    """A file to be changed."""
    return make_scan(str(tmp_path / "scan.h5"))


@pytest.fixture
def portable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what only Linux has."""
    for name in ("POSITIONED_IO", "ALLOCATION", "KERNEL_LOCKS", "FOLDER_SYNC"):
        monkeypatch.setattr(disk, name, False)


def content(path: str) -> bytes:
    return pathlib.Path(path).read_bytes()


def litter(path: str) -> list[str]:
    """What lies beside the file."""
    return sorted(set(os.listdir(os.path.dirname(path))) - {os.path.basename(path)})


def add_group(file: h5py.File, name: str = "New") -> None:
    group = file[CHANNEL].create_group(name)
    group.attrs["note"] = "größer"
    group.create_dataset("values", data=np.arange(50_000))
    group["values"].attrs["source"] = file[MAIN].ref


def change(path: str, work: Callable[[h5py.File], None]) -> None:
    """Do `work` in a transaction."""
    with transaction(path) as file:
        work(file)


def check_group(path: str, name: str = "New") -> None:
    with h5py.File(path, "r") as file:
        group = file[CHANNEL][name]
        assert group.attrs["note"] == "größer"
        np.testing.assert_array_equal(group["values"][()], np.arange(50_000))
        assert file[group["values"].attrs["source"]].name == MAIN
        np.testing.assert_array_equal(file[MAIN][()], raw_values())


class TestChanging:
    @pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
    def test_what_the_body_does_is_in_the_file(
        self, tmp_path: pathlib.Path, options: dict[str, Any]
    ) -> None:
        path = make_scan(str(tmp_path / "scan.h5"), **options)
        for name in ("New", "Newer", "Newest"):
            with transaction(path) as file:
                add_group(file, name)
            check_group(path, name)
        assert litter(path) == []

    @pytest.mark.usefixtures("portable")
    @pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
    def test_it_works_without_the_calls_of_linux(
        self, tmp_path: pathlib.Path, options: dict[str, Any]
    ) -> None:
        path = make_scan(str(tmp_path / "scan.h5"), **options)
        with transaction(path) as file:
            add_group(file)
        check_group(path)
        assert litter(path) == []

    def test_stock_hdf5_can_go_on_with_the_file(self, path: str) -> None:
        with transaction(path) as file:
            add_group(file)
        with h5py.File(path, "r+") as file:
            add_group(file, "Stock")
        with transaction(path) as file:
            add_group(file, "Last")
            del file[CHANNEL]["Stock"]
        check_group(path)
        check_group(path, "Last")

    def test_tools_of_hdf5_1_10_read_the_file(self, path: str) -> None:
        tool = shutil.which("h5dump")
        if tool is None:
            pytest.skip("there is no h5dump")
        with transaction(path) as file:
            add_group(file)
        said = subprocess.run([tool, "-d", f"{CHANNEL}/New/values", path], capture_output=True)
        assert said.returncode == 0
        assert b"49999" in said.stdout

    def test_no_committed_byte_changes_in_the_body(self, path: str) -> None:
        before = content(path)
        with transaction(path) as file:
            add_group(file)
            file[MAIN].attrs["units"] = "pA"
            file.flush()
            assert content(path)[: len(before)] == before
            assert not os.path.exists(log_path(path))
        assert content(path)[: len(before)] != before

    def test_what_the_body_changed_it_reads_back(self, path: str) -> None:
        with transaction(path) as file:
            add_group(file)
            file.flush()
            np.testing.assert_array_equal(file[f"{CHANNEL}/New/values"][()], np.arange(50_000))
            np.testing.assert_array_equal(file[MAIN][()], raw_values())
            file[MAIN].attrs["units"] = "pA"
            assert file[MAIN].attrs["units"] == "pA"

    def test_bytes_that_others_write_meanwhile_stay(self, path: str) -> None:
        """Blocks of a running result lie on the same pages as the metadata that change."""
        with h5py.File(path, "r") as file:
            offset, nbytes = file[MAIN].id.get_offset(), file[MAIN].nbytes
        with transaction(path) as file:
            file[CHANNEL].attrs["first"] = 1
            file.flush()
            _ = file[MAIN][0], file[MAIN][-1]
            with disk.opened(path, os.O_RDWR) as other:
                disk.write_at(other, b"\x11" * nbytes, offset)
            add_group(file)
        assert content(path)[offset : offset + nbytes] == b"\x11" * nbytes

    def test_a_link_leads_to_the_file(self, path: str, tmp_path: pathlib.Path) -> None:
        (tmp_path / "elsewhere").mkdir()
        link = str(tmp_path / "elsewhere" / "link.h5")
        os.symlink(path, link)
        with transaction(link) as file:
            add_group(file)
            assert litter(path) == ["elsewhere", "scan.h5.usidx-lock"]
        check_group(path)
        assert os.path.islink(link)

    def test_values_of_any_size_pass_without_memory(self, path: str) -> None:
        """100 MB of new values are not held, for nothing refers to them before the commit."""

        def work() -> int:
            block = np.ones(2**20)
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            with transaction(path) as file:
                values = file.create_dataset("large", (100 * 2**17,), "f8")
                for start in range(0, values.size, 2**20):
                    values[start : start + 2**20] = block[: values.size - start]
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

        assert in_child(work).result < 40_000  # KiB
        with h5py.File(path, "r") as file:
            assert file["large"][()].all()


class TestFailing:
    def test_an_exception_leaves_every_byte(self, path: str) -> None:
        before = content(path)

        def work(file: h5py.File) -> None:
            add_group(file)
            del file[CHANNEL]["Position_Indices"]
            file.create_dataset("large", data=np.ones(10**6))
            file.flush()
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            change(path, work)
        assert content(path) == before
        assert litter(path) == []

    @pytest.mark.parametrize("inside", ["write", "readinto", "seek", "truncate"])
    @pytest.mark.parametrize("call", [1, 2, 7])
    def test_an_interrupt_in_the_middle_of_hdf5_changes_nothing(
        self, path: str, inside: str, call: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = getattr(Overlay, inside)
        left = call

        def interrupted(*arguments: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                raise KeyboardInterrupt
            return real(*arguments)

        before = content(path)
        with monkeypatch.context() as patch:
            patch.setattr(Overlay, inside, interrupted)
            try:
                change(path, add_group)
            except KeyboardInterrupt:
                assert content(path) == before
            else:
                check_group(path)
        assert litter(path) == []
        with transaction(path) as file:
            add_group(file, "Next")
        check_group(path, "Next")

    def test_nothing_done_is_nothing_changed(self, path: str) -> None:
        before, times = content(path), os.stat(path).st_mtime_ns
        with transaction(path) as file:
            assert MAIN in file
        assert content(path) == before
        assert os.stat(path).st_mtime_ns == times

    def test_objects_that_outlive_the_body_do_no_harm(self, path: str) -> None:
        with transaction(path) as file:
            group = file.create_group("kept")
        assert not group
        before = content(path)
        with pytest.raises((ValueError, TypeError, RuntimeError)):
            group.attrs["late"] = 1
        assert content(path) == before

    @pytest.mark.parametrize("there", ["nothing", "a folder", "text", "an empty file"])
    def test_what_is_no_hdf5_file_is_refused(self, tmp_path: pathlib.Path, there: str) -> None:
        target = tmp_path / "scan.h5"
        expected = {"nothing": StoreNotFoundError}.get(there, NotUsidError)
        if there == "a folder":
            target.mkdir()
        elif there != "nothing":
            target.write_text("x" * 10_000 if there == "text" else "")
        with pytest.raises(expected, match="scan.h5"), transaction(str(target)):
            pass
        assert litter(str(target)) == []

    def test_a_truncated_file_is_refused(self, path: str) -> None:
        os.truncate(path, 4000)
        before = content(path)
        with pytest.raises(DamagedStoreError, match="truncated"), transaction(path):
            pass
        assert content(path) == before

    def test_a_file_that_a_crash_left_open_is_refused(self, path: str) -> None:
        def crash() -> None:
            file = h5py.File(path, "r+", libver="latest")
            file.create_group("x")
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)

        make_scan(path, libver="latest")
        assert in_child(crash).killed
        with pytest.raises(DamagedStoreError, match="h5clear -s"), transaction(path):
            pass

    def test_a_file_replaced_meanwhile_is_not_touched(
        self, path: str, tmp_path: pathlib.Path
    ) -> None:
        other = make_scan(str(tmp_path / "other.h5"))
        after = content(other)

        def work(file: h5py.File) -> None:
            add_group(file)
            os.replace(other, path)

        with pytest.raises(SourceChangedError, match="was replaced"):
            change(path, work)
        assert content(path) == after
        assert litter(path) == []

    def test_a_log_that_cannot_be_written_changes_nothing(
        self, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = content(path)

        def full(source: str, target: str) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(disk, "replace", full)
        with pytest.raises(NoSpaceError, match="nothing was changed"), transaction(path) as file:
            add_group(file)
        assert content(path) == before
        assert litter(path) == []

    def test_a_change_that_cannot_be_applied_is_completed_later(
        self, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(log: logs.Log, descriptor: int) -> None:
            disk.write_at(descriptor, log.changes[0].after, log.changes[0].offset)
            raise OSError(5, "Input/output error")

        with monkeypatch.context() as patch:
            patch.setattr(logs, "apply", broken)
            with (
                pytest.raises(DamagedStoreError, match="whoever opens the file next"),
                transaction(path) as file,
            ):
                add_group(file)
        assert recover(path) == "completed"
        check_group(path)


class TestLocks:
    def test_a_reader_in_another_program_is_waited_for(self, path: str) -> None:
        reader = h5py.File(path, "r")
        threading.Timer(0.2, reader.close).start()
        with transaction(path, timeout=20) as file:
            add_group(file)
        check_group(path)

    def test_a_file_that_stays_open_is_refused(self, path: str) -> None:
        before = content(path)
        with (
            h5py.File(path, "r"),
            pytest.raises(StoreLockedError, match="open in HDF5 by this process.*close it"),
            transaction(path, timeout=0.1),
        ):
            pass
        assert content(path) == before
        assert litter(path) == []

    def test_who_has_it_open_is_named(self, path: str) -> None:
        program = f"import h5py, time; f = h5py.File({path!r}, 'r+'); print(1, flush=True); " + (
            "time.sleep(60)"
        )
        process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
        try:
            assert process.stdout is not None
            process.stdout.readline()
            with (
                pytest.raises(StoreLockedError, match=f"by process {process.pid}"),
                transaction(path, timeout=0.1),
            ):
                pass
        finally:
            process.kill()
            process.communicate()

    def test_nobody_opens_it_in_hdf5_meanwhile(self, path: str) -> None:
        with transaction(path), pytest.raises(BlockingIOError):
            h5py.File(path, "r")

    def test_a_transaction_in_a_transaction_is_refused(self, path: str) -> None:
        with (
            transaction(path, what="fitting"),
            pytest.raises(StoreLockedError, match=r"this process \(fitting"),
            transaction(path, timeout=0.1),
        ):
            pass

    def test_many_at_once_all_get_their_turn(self, path: str) -> None:
        program = f"""
import sys
from usidx.stores.hdf5.transactions.transaction import transaction
for number in range(6):
    with transaction({path!r}) as file:
        file.create_group(f"{{sys.argv[1]}}-{{number}}").attrs["by"] = sys.argv[1]
"""
        processes = [
            subprocess.Popen([sys.executable, "-c", program, name]) for name in ("a", "b", "c")
        ]
        assert [process.wait() for process in processes] == [0, 0, 0]
        with h5py.File(path, "r") as file:
            expected = {f"{name}-{number}" for name in "abc" for number in range(6)}
            assert expected <= set(file)
            np.testing.assert_array_equal(file[MAIN][()], raw_values())
        assert litter(path) == []


class TestRoom:
    """A full disk: nothing changes, and the message says how much is missing."""

    def refused(self, path: str, work: Callable[[h5py.File], None]) -> str:
        """What is said in a child whose files may not grow by more than 64 KiB."""
        most = os.path.getsize(path) + 65_536

        def limited() -> str:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
            with pytest.raises(NoSpaceError) as refused, transaction(path) as file:
                work(file)
            return str(refused.value)

        before = content(path)
        ended = in_child(limited)
        assert ended.trouble == ""
        assert content(path) == before
        assert litter(path) == []
        return str(ended.result)

    def test_values_written_in_the_body(self, path: str) -> None:
        said = self.refused(path, lambda file: add_group(file))
        assert "room" in said
        assert "KiB are needed" in said
        assert "free" in said

    def test_room_set_aside(self, path: str) -> None:
        def reserve(file: h5py.File) -> None:
            layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
            layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
            space = h5py.h5s.create_simple((10**9,))
            h5py.h5d.create(file.id, b"huge", h5py.h5t.NATIVE_DOUBLE, space, layout)

        assert "7.5 GiB are needed" in self.refused(path, reserve)

    def test_hdf5_keeps_working_in_the_body_of_one_that_fails(self, path: str) -> None:
        def work(file: h5py.File) -> None:
            for number in range(20):
                add_group(file, f"New_{number}")
                file.flush()
            for number in range(20):
                assert file[f"{CHANNEL}/New_{number}"].attrs["note"] == "größer"

        self.refused(path, work)

    @pytest.mark.usefixtures("portable")
    def test_without_allocation_by_the_system(self, path: str) -> None:
        self.refused(path, lambda file: add_group(file))

    def test_a_disk_that_is_really_full(self, path: str) -> None:
        with tiny_disk(2 * 2**20) as folder:
            full = shutil.copy(path, os.path.join(folder, "scan.h5"))
            before = content(full)
            with (
                pytest.raises(NoSpaceError, match=r"3\.8 MiB are needed"),
                transaction(full) as file,
            ):
                file.create_dataset("large", data=np.ones(500_000))
            assert content(full) == before
            with open(os.path.join(folder, "filler"), "wb") as filler:
                filler.write(bytes(2**20))
                free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
                filler.write(bytes(free))
            with pytest.raises(NoSpaceError), transaction(full) as file:
                add_group(file)
            assert content(full) == before
            os.unlink(os.path.join(folder, "filler"))
            with transaction(full) as file:
                add_group(file)
            check_group(full)

    def test_recovery_needs_no_room(self, path: str) -> None:
        begun = Interrupted(path)
        begun.leave("begun")
        with tiny_disk(2 * 2**20) as folder:
            full = os.path.join(folder, "scan.h5")
            shutil.copy(path, full)
            shutil.copy(log_path(path), log_path(full))
            with open(os.path.join(folder, "filler"), "wb", buffering=0) as filler:
                free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
                filler.write(bytes(free))
            assert recover(full) == "completed"
            assert content(full) == begun.after


class tiny_disk:  # noqa: N801 - used like a function
    """A folder on a disk of `size` bytes of its own."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __enter__(self) -> str:
        self.folder = tempfile.mkdtemp()
        command = ["mount", "-t", "tmpfs", "-o", f"size={self.size}", "tmpfs", self.folder]
        if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
            os.rmdir(self.folder)
            pytest.skip("a disk cannot be mounted here")
        return self.folder

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "-l", self.folder], check=True, capture_output=True)
        os.rmdir(self.folder)


class Interrupted:
    """A transaction that stopped between its log and the end, in any state."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.before = content(path)
        saved: list[logs.Log] = []
        real = logs.apply
        try:
            logs.apply = lambda log, descriptor: (saved.append(log), real(log, descriptor))[1]  # type: ignore[assignment]
            with transaction(path) as file:
                add_group(file)
        finally:
            logs.apply = real
        self.log = saved[0]
        self.after = content(path)
        self.reserved = self.before + self.after[len(self.before) :]

    def leave(self, state: str, *, torn: int = 2) -> None:
        """Put the file in a state, with the log beside it."""
        data = bytearray(self.after if state == "finished" else self.reserved)
        if state == "begun":
            changes = self.log.changes
            assert len(changes) > 3
            for change in changes[: len(changes) // 2]:
                data[change.offset : change.stop] = change.after
            last = max(changes[len(changes) // 2 :], key=lambda change: len(change.after))
            data[last.offset : last.offset + torn] = last.after[:torn]
            assert len(last.after) > torn
        pathlib.Path(self.path).write_bytes(data)
        logs.save(self.log, self.path)


class TestRecovery:
    def test_there_is_mostly_nothing_to_do(self, path: str) -> None:
        assert recover(path) == "nothing"
        assert recover(path + "-that-is-not-there") == "nothing"
        start = time.perf_counter()
        for _ in range(100):
            recover(path)
        assert time.perf_counter() - start < 0.5

    @pytest.mark.parametrize(
        ("state", "answer"),
        [("untouched", "dropped"), ("begun", "completed"), ("finished", "completed")],
    )
    def test_a_left_log_is_settled(self, path: str, state: str, answer: str) -> None:
        interrupted = Interrupted(path)
        interrupted.leave(state)
        assert recover(path) == answer
        expected = interrupted.before if state == "untouched" else interrupted.after
        assert content(path) == expected
        assert litter(path) == []
        assert recover(path) == "nothing"

    @pytest.mark.parametrize("state", ["untouched", "begun", "finished"])
    def test_the_next_transaction_settles_it_too(self, path: str, state: str) -> None:
        interrupted = Interrupted(path)
        interrupted.leave(state)
        with transaction(path) as file:
            add_group(file, "Next")
        check_group(path, "Next")
        if state != "untouched":
            check_group(path)
        assert litter(path) == []

    def test_settling_can_be_interrupted_at_any_change(
        self, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        interrupted = Interrupted(path)
        real = disk.write_at
        for stop in range(len(interrupted.log.changes) + 1):
            interrupted.leave("begun")
            left = stop

            def failing(descriptor: int, data: Any, offset: int) -> None:
                nonlocal left
                if "usidx" not in os.readlink(f"/proc/self/fd/{descriptor}"):
                    left -= 1
                    if left < 0:
                        raise KeyboardInterrupt
                real(descriptor, data, offset)

            with monkeypatch.context() as patch:
                patch.setattr(disk, "write_at", failing)
                if stop < len(interrupted.log.changes):
                    with pytest.raises(KeyboardInterrupt):
                        recover(path)
                else:
                    assert recover(path) == "completed"
            assert recover(path) in ("completed", "nothing")
            assert content(path) == interrupted.after

    def test_a_log_of_another_file_is_set_aside(
        self, path: str, tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        Interrupted(path).leave("begun")
        other = make_scan(str(tmp_path / "other.h5"), rows=5)
        with h5py.File(other, "r+") as file:
            add_group(file, "Different")
        os.replace(other, path)
        after = content(path)
        with caplog.at_level(logging.WARNING):
            assert recover(path) == "set aside"
        assert content(path) == after
        assert litter(path) == ["scan.h5.usidx-log.of-another-file"]
        assert "does not belong to it" in caplog.text
        assert recover(path) == "nothing"

    def test_a_log_is_not_used_on_an_equal_file_that_was_restored(
        self, path: str, tmp_path: pathlib.Path
    ) -> None:
        """A backup from before the write is whole; its owner never heard that more was done."""
        backup = shutil.copy(path, tmp_path / "backup.h5")
        interrupted = Interrupted(path)
        interrupted.leave("begun")
        os.replace(backup, path)
        assert recover(path) == "dropped"
        assert content(path) == interrupted.before

    def test_a_copy_of_file_and_log_is_completed(self, path: str, tmp_path: pathlib.Path) -> None:
        interrupted = Interrupted(path)
        interrupted.leave("begun")
        copy = str(tmp_path / "copy.h5")
        shutil.copy(path, copy)
        shutil.copy(log_path(path), log_path(copy))
        assert recover(copy) == "completed"
        assert content(copy) == interrupted.after

    def test_a_file_that_lost_its_end_is_not_mixed_up(self, path: str) -> None:
        interrupted = Interrupted(path)
        interrupted.leave("begun")
        os.truncate(path, len(interrupted.before) + 100)
        assert recover(path) == "set aside"
        assert recover(path) == "nothing"

    @pytest.mark.parametrize("damage", ["cut", "flipped", "from the future"])
    def test_a_damaged_log_is_set_aside(self, path: str, damage: str) -> None:
        interrupted = Interrupted(path)
        interrupted.leave("untouched")
        log = pathlib.Path(log_path(path))
        data = bytearray(log.read_bytes())
        if damage == "cut":
            data = data[: len(data) // 2]
        elif damage == "flipped":
            data[len(data) // 2] ^= 1
        else:
            payload = bytes(data[40:]).replace(b'"version": 1', b'"version": 9')
            data = bytearray(data[:8] + hashlib.sha256(payload).digest() + payload)
        log.write_bytes(data)
        before = content(path)
        assert recover(path) == "set aside"
        assert content(path) == before

    def test_an_emptied_log_is_removed(self, path: str) -> None:
        pathlib.Path(log_path(path)).touch()
        assert recover(path) == "nothing"
        assert litter(path) == []

    def test_a_second_log_set_aside_keeps_the_first(self, path: str) -> None:
        for _ in range(2):
            pathlib.Path(log_path(path)).write_text("no log")
            assert recover(path) == "set aside"
        assert len(litter(path)) == 2

    def test_the_log_of_a_live_writer_is_waited_for(self, path: str) -> None:
        interrupted = Interrupted(path)
        interrupted.leave("begun")
        lock = store_lock(path, "fitting")
        with (
            held(lock, 0),
            pytest.raises(StoreLockedError, match=r"this process \(fitting"),
        ):
            recover(path, timeout=0.1)
        assert recover(path) == "completed"

    def test_a_half_changed_file_open_elsewhere_is_not_changed_under_it(self, path: str) -> None:
        interrupted = Interrupted(path)
        interrupted.leave("begun")
        before = content(path)
        with disk.opened(path, os.O_RDONLY) as descriptor:
            assert disk.lock(descriptor, exclusive=False)
            with pytest.raises(StoreLockedError, match="open in HDF5"):
                recover(path, timeout=0.1)
        assert content(path) == before

    def test_what_a_crash_before_the_log_left_is_cut_off(self, path: str) -> None:
        before = content(path)

        def crash() -> None:
            with transaction(path) as file:
                add_group(file)
                file.flush()
                os.kill(os.getpid(), signal.SIGKILL)

        assert in_child(crash).killed
        assert len(content(path)) > len(before)
        assert litter(path) == ["scan.h5.usidx-lock"]
        with transaction(path):
            pass
        assert content(path) == before
        assert litter(path) == []

    def test_what_others_added_after_a_crash_is_not_cut_off(self, path: str) -> None:
        def crash() -> None:
            with transaction(path):
                os.kill(os.getpid(), signal.SIGKILL)

        assert in_child(crash).killed
        with h5py.File(path, "r+") as file:
            add_group(file)
        before = content(path)
        with transaction(path):
            pass
        assert content(path) == before


class TestReadOnly:
    @pytest.fixture
    def folder(self) -> Iterator[pathlib.Path]:
        """A folder that another user can reach but not write."""
        if os.name == "nt" or os.getuid() != 0:
            pytest.skip("needs to become another user")
        with tempfile.TemporaryDirectory() as folder:
            found = pathlib.Path(folder)
            if any(not each.stat().st_mode & 0o001 for each in found.parents):
                pytest.skip(f"other users cannot reach {folder}")
            found.chmod(0o755)
            make_scan(str(found / "scan.h5"))
            yield found

    def as_another(self, work: Callable[[], Any]) -> Any:
        def other() -> Any:
            os.setuid(65534)
            return work()

        ended = in_child(other)
        assert ended.trouble == ""
        return ended.result

    def refused(self, path: str) -> Callable[[], str]:
        def work() -> str:
            with pytest.raises(ReadOnlyStoreError) as refused, transaction(path):
                pass
            return str(refused.value)

        return work

    def test_a_file_that_cannot_be_written(self, folder: pathlib.Path) -> None:
        folder.chmod(0o777)
        said = self.as_another(self.refused(str(folder / "scan.h5")))
        assert "the file is read-only" in said
        assert litter(str(folder / "scan.h5")) == []

    def test_a_folder_that_cannot_be_written(self, folder: pathlib.Path) -> None:
        (folder / "scan.h5").chmod(0o666)
        said = self.as_another(self.refused(str(folder / "scan.h5")))
        assert "its folder is read-only" in said

    @pytest.mark.parametrize(
        ("state", "answer"), [("untouched", "nothing"), ("finished", "nothing"), ("begun", None)]
    )
    def test_what_cannot_be_settled_is_said_only_if_it_matters(
        self, folder: pathlib.Path, state: str, answer: str | None
    ) -> None:
        path = str(folder / "scan.h5")
        Interrupted(path).leave(state)

        def work() -> str | None:
            if answer is not None:
                return recover(path, timeout=0.1)
            with pytest.raises(ReadOnlyStoreError, match="interrupted"):
                recover(path, timeout=0.1)
            return None

        assert self.as_another(work) == answer


@pytest.mark.usefixtures("portable")
def test_a_killed_writer_is_recovered_from_without_the_calls_of_linux(path: str) -> None:
    def crash() -> None:
        do_without_linux()
        logs.apply = lambda log, descriptor: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment]
        with transaction(path) as file:
            add_group(file)

    before = content(path)
    assert in_child(crash).killed
    assert litter(path) == ["scan.h5.usidx-lock", "scan.h5.usidx-log"]
    assert recover(path) == "dropped"
    assert content(path) == before


def test_the_log_reads_back_what_was_written() -> None:
    changes = (logs.Change(5, b"abc", b"xyz"), logs.Change(2**40, b"\0", b"\xff"))
    log = logs.Log(changes, 10, 2**41, 7, 2**60, "größer")
    assert logs.decode(logs.encode(log)) == log
    data = logs.encode(log)
    for place in range(len(data)):
        for broken in (data[:place], data[:place] + bytes([data[place] ^ 16]) + data[place + 1 :]):
            with pytest.raises(logs.BrokenLogError):
                logs.decode(broken)


def test_the_superblock_of_any_version_is_read(tmp_path: pathlib.Path) -> None:
    versions = {"earliest": 0, "latest": 3, "v110": 3, "user block": 0}
    for name, options in FORMATS.items():
        path = make_scan(str(tmp_path / f"{name}.h5"), **options)
        with disk.opened(path, os.O_RDONLY) as descriptor:
            found = read_superblock(descriptor)
        assert found is not None
        assert found.end == os.path.getsize(path)
        assert found.start == options.get("userblock_size", 0)
        assert found.version == versions.get(name, found.version)
        assert not found.is_open
    with disk.opened(__file__, os.O_RDONLY) as descriptor:
        assert read_superblock(descriptor) is None
