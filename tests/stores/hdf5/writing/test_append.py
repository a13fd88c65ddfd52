"""Mains added to a file: all or nothing, while others read it, and never over what others wrote."""

from __future__ import annotations

import os
import pathlib
import resource
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import h5py
import numpy as np
import pytest

from tests.chaos.children import in_child
from tests.chaos.subject import (
    CHANNEL,
    MAIN,
    NEW,
    fit_request,
    fit_values,
    keys,
    make_scan,
    raw_values,
)
from usidx.errors import NoSpaceError, SourceChangedError, StoreExistsError, StoreLockedError
from usidx.model.dimension import Dimension
from usidx.model.layout import Grid
from usidx.model.main import MainSpec
from usidx.stores import disk
from usidx.stores.hdf5 import HDF5Store
from usidx.stores.hdf5.transactions.transaction import recover, transaction
from usidx.stores.hdf5.write import claim
from usidx.stores.hdf5.writing.append import appending
from usidx.stores.hdf5.writing.create import Draft


@pytest.fixture
def path(tmp_path: pathlib.Path) -> str:
    """An h5USID file that plain h5py made."""
    return make_scan(str(tmp_path / "scan.h5"))


def spec_of(path: str = NEW) -> MainSpec:
    return replace(fit_request().outputs[0].spec, path=path)


def add(new: Draft, spec: MainSpec | None = None, **options: Any) -> None:
    target = new.add_main(spec or spec_of(), block=(1, 8, 3), **options)
    for key in keys():
        target[key] = fit_values(key[0].start)


def add_and(path: str, then: Callable[[Draft], object], *, patience: float = 30.0) -> None:
    """Add a Main, and do something before that is committed."""
    with appending(path, patience=patience) as new:
        add(new)
        then(new)


def content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def check(path: str, main: str = NEW) -> None:
    expected = np.concatenate([fit_values(row) for row in range(16)]).reshape(-1, 3)
    with h5py.File(path, "r") as file:
        np.testing.assert_array_equal(file[main][()], expected)
        np.testing.assert_array_equal(file[MAIN][()], raw_values())


@pytest.mark.parametrize("options", [{}, {"checked": False}, {"compression": "gzip"}])
def test_a_main_is_there_with_everything(path: str, options: dict[str, Any]) -> None:
    with appending(path) as new:
        add(new, **options)
    check(path)
    with h5py.File(path, "r") as file:
        main = file[NEW]
        assert main.fletcher32 == options.get("checked", True)
        assert main.compression == options.get("compression")
        assert (main.chunks is None) == (not options.get("checked", True))
        for name in ("Position_Indices", "Spectroscopic_Values"):
            assert isinstance(file[main.attrs[name]], h5py.Dataset)
    assert HDF5Store(path).open_main(NEW).spec.position == spec_of().position
    assert os.listdir(os.path.dirname(path)) == ["scan.h5"]


def test_what_was_there_keeps_its_bytes_until_the_end(path: str) -> None:
    before = content(path)
    with appending(path) as new:
        add(new)
        assert content(path)[: len(before)] == before
        with h5py.File(path, "r") as file:  # whoever reads it now sees what was there
            assert NEW not in file
            np.testing.assert_array_equal(file[MAIN][()], raw_values())
        np.testing.assert_array_equal(
            HDF5Store(path).open_main(MAIN).array[0], raw_values()[:8].reshape(8, 24)
        )
    check(path)


def test_a_failure_leaves_every_byte(path: str) -> None:
    before = content(path)
    with pytest.raises(ZeroDivisionError):
        add_and(path, lambda new: 1 // 0)
    assert content(path) == before


def test_a_killed_writer_leaves_a_tail_that_the_next_one_cuts(path: str) -> None:
    before = content(path)

    def work() -> None:
        with appending(path) as new:
            add(new, checked=False)
            new.reserve(10**6)
            os.kill(os.getpid(), 9)

    assert in_child(work).killed
    assert content(path)[: len(before)] == before
    assert os.path.getsize(path) > len(before) + 10**6
    with h5py.File(path, "r") as file:
        np.testing.assert_array_equal(file[MAIN][()], raw_values())
    with transaction(path):
        pass
    assert content(path) == before


def test_values_are_in_the_file_at_once_not_in_memory(path: str) -> None:
    big = replace(
        spec_of(),
        dtype=np.dtype("f8"),
        spectroscopic=Grid("spectroscopic", (Dimension("Time", "s", 65_536),)),
    )

    def work() -> float:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with appending(path) as new:
            target = new.add_main(big, block=(1, 8, 65_536))
            for row in range(16):
                target[(slice(row, row + 1),)] = np.full((1, 8, 65_536), row, "f8")
            assert os.path.getsize(path) > 40 * 2**20
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

    ended = in_child(work)
    assert ended.trouble == ""
    assert ended.result < 45_000  # KiB
    with h5py.File(path, "r") as file:
        assert file[NEW][-1, -1] == 15


class TestFreeSpace:
    """Files that keep track of their gaps get values into them, not into memory."""

    size = 16 * 2**20

    @pytest.fixture
    def path(self, tmp_path: pathlib.Path) -> str:
        """A file with a gap."""
        path = make_scan(str(tmp_path / "gap.h5"), fs_strategy="fsm", fs_persist=True)
        with h5py.File(path, "r+") as file:
            file["large"] = np.zeros(self.size, "u1")
            file["after"] = np.arange(10**4)
        with h5py.File(path, "r+") as file:
            del file["large"]
        return path

    def spec(self) -> MainSpec:
        side = Grid("spectroscopic", (Dimension("Time", "s", 8192),))
        return replace(spec_of(), dtype=np.dtype("f8"), spectroscopic=side)

    def add(self, path: str, **options: Any) -> None:
        with appending(path) as new:
            target = new.add_main(self.spec(), block=(1, 8, 8192), **options)
            for row in range(16):
                target[(slice(row, row + 1),)] = np.full((1, 8, 8192), row + 1, "f8")

    def check(self, path: str) -> None:
        with h5py.File(path, "r") as file:
            np.testing.assert_array_equal(file[MAIN][()], raw_values())
            np.testing.assert_array_equal(file["after"][()], np.arange(10**4))
            if NEW in file:
                expected = np.repeat(np.arange(1.0, 17.0), 8)[:, None]
                np.testing.assert_array_equal(file[NEW][()], np.broadcast_to(expected, (128, 8192)))

    @pytest.mark.parametrize("options", [{}, {"checked": False}, {"compression": "lzf"}], ids=str)
    def test_values_fill_gaps(self, path: str, options: dict[str, Any]) -> None:
        size = os.path.getsize(path)

        def work() -> int:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            self.add(path, **options)
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

        ended = in_child(work)
        assert ended.trouble == ""
        assert ended.result < 36_000  # KiB, of which HDF5 takes 16 MiB for chunks
        assert os.path.getsize(path) < size + self.size // 4
        self.check(path)
        with appending(path) as new:  # and the file is one that can be written
            add(new, spec_of(f"{CHANNEL}/Another"))
        self.check(path)
        check(path, f"{CHANNEL}/Another")

    def test_a_crash_at_any_write(self, path: str) -> None:
        before = pathlib.Path(path).read_bytes()

        def write(count: int) -> Callable[[], int]:
            def work() -> int:
                real, done = disk.write_at, 0

                def counted(descriptor: int, data: Any, offset: int) -> None:
                    nonlocal done
                    done += 1
                    if done == count:
                        real(descriptor, bytes(data)[: len(bytes(data)) // 2], offset)
                        os.kill(os.getpid(), 9)
                    real(descriptor, data, offset)

                disk.write_at = counted
                self.add(path)
                return done

            return work

        total = in_child(write(-1)).result
        assert total > 30
        for count in [*range(1, total, 12), *range(total - 8, total + 1)]:
            for left in pathlib.Path(path).parent.iterdir():
                left.unlink()
            pathlib.Path(path).write_bytes(before)
            assert in_child(write(count)).killed
            recover(path)
            self.check(path)
        with h5py.File(path, "r") as file:
            assert NEW in file


class TestSharing:
    def test_channels_of_a_measurement_share_what_is_equal(self, path: str) -> None:
        spec = HDF5Store(path).open_main(MAIN).spec
        with appending(path) as new:
            twins = [replace(spec, path=f"/Measurement_000/Channel_00{n}/Raw_Data") for n in (1, 2)]
            new.share(twins, "/Measurement_000", ())
            for twin in twins:
                new.add_main(twin)[()] = raw_values().reshape(spec.shape)
        with h5py.File(path, "r") as file:
            for twin in twins:
                for name in ("Position_Indices", "Spectroscopic_Values"):
                    assert file[file[twin.path].attrs[name]].name == f"{CHANNEL}/{name}"

    def test_what_differs_is_written(self, path: str) -> None:
        with appending(path) as new:
            new.share([spec_of()], "/Measurement_000", [MAIN, "/nowhere"])
            add(new)
        with h5py.File(path, "r") as file:
            assert file[file[NEW].attrs["Position_Values"]].name == f"{CHANNEL}/Position_Values"
            name = file[file[NEW].attrs["Spectroscopic_Values"]].name
            assert name == f"{CHANNEL}/New_Spectroscopic_Values"

    def test_measurements_have_their_own(self, path: str) -> None:
        other = "/Measurement_001/Channel_000/New"
        with appending(path) as new:
            add(new)
            add(new, spec_of(other))
        with h5py.File(path, "r") as file:
            name = file[file[other].attrs["Position_Values"]].name
            assert name == "/Measurement_001/Channel_000/Position_Values"


class TestOthers:
    def test_a_forgotten_handle_is_told_before_the_work(self, path: str) -> None:
        with (
            h5py.File(path, "r"),
            pytest.raises(StoreLockedError, match="this process"),
            appending(path, timeout=0.1),
        ):
            pytest.fail("it was begun")

    def test_hdf5_cannot_write_meanwhile(self, path: str) -> None:
        with appending(path) as new:
            with pytest.raises(BlockingIOError):
                h5py.File(path, "r+")
            add(new)
        check(path)

    def test_it_waits_for_readers_at_the_end(self, path: str) -> None:
        reader: list[h5py.File] = []

        def close() -> None:
            time.sleep(0.3)
            reader.pop().close()

        started = time.monotonic()
        with appending(path) as new:
            add(new)
            reader.append(h5py.File(path, "r"))
            threading.Thread(target=close).start()
        assert time.monotonic() - started > 0.3
        check(path)

    def test_a_reader_that_never_closes(self, path: str) -> None:
        before = content(path)
        handles: list[h5py.File] = []
        with pytest.raises(StoreLockedError, match="open in HDF5"):
            add_and(path, lambda new: handles.append(h5py.File(path, "r")), patience=0.2)
        handles.pop().close()
        assert content(path) == before

    def test_a_writer_that_takes_no_locks_is_noticed(self, path: str) -> None:
        def write(new: Draft) -> None:
            with h5py.File(path, "r+", locking=False) as file:
                file.create_dataset("theirs", data=np.arange(10**5))

        with pytest.raises(SourceChangedError, match="another program"):
            add_and(path, write)
        with h5py.File(path, "r") as file:  # nothing of theirs was cut off
            np.testing.assert_array_equal(file["theirs"][()], np.arange(10**5))
            np.testing.assert_array_equal(file[MAIN][()], raw_values())
            assert NEW not in file

    def test_results_are_written_meanwhile(self, path: str) -> None:
        with claim(path, fit_request()) as held:
            writer = held.writers["Fit"]
            with appending(path) as new:
                for key in keys():
                    writer.write(key, fit_values(key[0].start))
                    writer.mark(key)
                add(new)
            held.complete()
        check(path)
        check(path, f"{MAIN}-Fit_000/Fit")

    def test_a_file_that_was_replaced(self, path: str) -> None:
        def replace_it(new: Draft) -> None:
            shutil.copyfile(path, path + ".new")
            os.replace(path + ".new", path)

        with pytest.raises(SourceChangedError, match="replaced"):
            add_and(path, replace_it)
        assert content(path)[:8] == b"\x89HDF\r\n\x1a\n"


class TestRefusing:
    def test_a_name_that_is_taken(self, path: str) -> None:
        with pytest.raises(StoreExistsError, match="already in .*rename"), appending(path) as new:
            new.add_main(spec_of(MAIN))

    def test_a_main_is_no_group(self, path: str) -> None:
        with pytest.raises(StoreExistsError, match="cannot hold"), appending(path) as new:
            new.add_main(spec_of(f"{MAIN}/Inside"))

    def test_links_are_not_followed(self, path: str, tmp_path: pathlib.Path) -> None:
        other = make_scan(str(tmp_path / "other.h5"))
        with h5py.File(path, "r+") as file:
            file["Elsewhere"] = h5py.ExternalLink(other, CHANNEL)
        before = content(other)
        with pytest.raises(StoreExistsError, match="a link"), appending(path) as new:
            new.add_main(spec_of("/Elsewhere/New"))
        assert content(other) == before

    def test_no_room_is_said_before_the_work(
        self, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = content(path)
        monkeypatch.setattr(disk, "_free", lambda descriptor: 10**6)
        with pytest.raises(NoSpaceError, match="no room"), appending(path) as new:
            new.reserve(10**7)
        assert content(path) == before

    def test_attributes_of_groups_that_are_there_stay(self, path: str) -> None:
        with appending(path) as new:
            new.set_attrs(CHANNEL, {"note": "new"})
            new.set_attrs("/Measurement_001", {"note": "new"})
            add(new)
        with h5py.File(path, "r") as file:
            assert "note" not in file[CHANNEL].attrs
            assert file["Measurement_001"].attrs["note"] == "new"
