"""What HDF5 takes for the file behaves as a file, while the real one keeps its bytes."""

from __future__ import annotations

import os
import pathlib
import tempfile
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usidx.stores import disk
from usidx.stores.hdf5.transactions.overlay import PAGE, Overlay

END = 3 * PAGE - 100
places = st.integers(0, 6 * PAGE) | st.sampled_from([0, PAGE, END - 1, END, END + 1])
sizes = st.integers(0, 300) | st.sampled_from([PAGE, 2 * PAGE + 1, 40_000])
operations = st.lists(
    st.tuples(st.sampled_from(["write", "read", "truncate"]), places, sizes, st.binary(max_size=1)),
    max_size=25,
)


def start() -> bytes:
    return bytes(number % 251 for number in range(END))


def resized(data: bytearray, size: int) -> None:
    del data[size:]
    data.extend(bytes(size - len(data)))


@given(operations, st.booleans())
@settings(max_examples=150, deadline=None)
def test_it_reads_and_writes_like_a_file(steps: list[Any], full: bool) -> None:
    """Beside a plain bytearray; with `full`, on a disk that takes no byte more."""
    expected = bytearray(start())
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = pathlib.Path(folder) / "file"
        path.write_bytes(start())
        with disk.opened(str(path), os.O_RDWR) as descriptor:
            overlay = Overlay(descriptor)
            if full:

                def no_room(*_: object) -> None:
                    raise OSError(28, "No space left on device")

                patch.setattr(disk, "write_at", no_room)
            for kind, place, size, fill in steps:
                do(overlay, expected, kind, place, size, fill or b"\x7f", full)
            assert path.read_bytes()[:END] == start()
            check_changes(overlay, expected)
            if not full:
                check_committed(overlay, expected, descriptor)


@given(operations)
@settings(max_examples=150, deadline=None)
def test_gaps_are_filled(steps: list[Any]) -> None:
    """What is read is what was written, and what was read before stays until the commit."""
    expected = bytearray(start())
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("usidx.stores.hdf5.transactions.overlay._LONGEST_REMEMBERED", 250)
        path = pathlib.Path(folder) / "file"
        path.write_bytes(start())
        known: list[tuple[int, int]] = []
        with disk.opened(str(path), os.O_RDWR) as descriptor:
            overlay = Overlay(descriptor, fills_gaps=True)
            for kind, place, size, fill in steps:
                first_time = bytes(expected[place : place + size]) == start()[place : place + size]
                do(overlay, expected, kind, place, size, fill or b"\x7f", False)
                if kind == "read" and first_time:
                    known.append((place, min(place + size, END)))
                stored = path.read_bytes()
                for begin, stop in known:
                    assert stored[begin:stop] == start()[begin:stop]
            data = bytearray(path.read_bytes()[:END])
            for change in overlay.changes():
                assert data[change.offset : change.stop] == change.before
                data[change.offset : change.stop] = change.after
            assert data == expected[:END]
            check_committed(overlay, expected, descriptor)


def do(
    overlay: Overlay,
    expected: bytearray,
    kind: str,
    place: int,
    size: int,
    fill: bytes,
    full: bool,
) -> None:
    if kind == "truncate":
        # HDF5 cuts the file to what it has allocated, never below what is committed
        if place >= END:
            overlay.truncate(place)
            if place >= len(expected):
                resized(expected, place)
        return
    overlay.seek(place)
    if kind == "write":
        if full and size > 30_000:
            return  # values are not kept in memory on a full disk
        assert overlay.write(fill * size) == size
        if place + size > len(expected):
            resized(expected, place + size)
        expected[place : place + size] = fill * size
    else:
        buffer = bytearray(size)
        assert overlay.readinto(buffer) == size
        known = bytes(expected[place : place + size])
        assert bytes(buffer[: len(known)]) == known
    assert overlay.tell() == place + size


def check_changes(overlay: Overlay, expected: bytearray) -> None:
    """The changes, made to what was there, give what is expected; and no byte is listed in vain."""
    data = bytearray(start())
    for change in overlay.changes():
        assert data[change.offset : change.stop] == change.before
        assert all(old != new for old, new in zip(change.before, change.after, strict=True))
        data[change.offset : change.stop] = change.after
    assert data == expected[:END]


def check_committed(overlay: Overlay, expected: bytearray, descriptor: int) -> None:
    size = overlay.settle()
    assert size == max(END, overlay.size) == os.fstat(descriptor).st_size
    stored = disk.read_at(descriptor, size, 0)
    assert stored[END:] == bytes(expected[END:size]).ljust(size - END, b"\0")


def test_detached_it_touches_nothing(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(start())
    with disk.opened(str(path), os.O_RDWR) as descriptor:
        overlay = Overlay(descriptor)
        overlay.detach()
        overlay.seek(END)
        assert overlay.write(b"late") == 4
        overlay.seek(END)
        buffer = bytearray(4)
        overlay.readinto(buffer)
        assert buffer == b"late"
    assert path.read_bytes() == start()


def test_withdrawn_the_file_is_as_it_was(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(start())
    with disk.opened(str(path), os.O_RDWR) as descriptor:
        overlay = Overlay(descriptor)
        overlay.seek(10)
        overlay.write(bytes(10 * PAGE))
        assert path.stat().st_size > END
        overlay.withdraw()
    assert path.read_bytes() == start()


class TestPlaces:
    """Bytes that HDF5 only finds a place for."""

    def test_they_are_written_later_by_whoever(self, tmp_path: pathlib.Path) -> None:
        path = tmp_path / "file"
        path.write_bytes(start())
        values, zeros = b"wert" * PAGE, np.zeros(4 * PAGE, np.uint8)
        with disk.opened(str(path), os.O_RDWR) as descriptor:
            overlay = Overlay(descriptor)
            overlay.seek(END + 100)
            found = overlay.place_for(zeros, lambda: overlay.write(zeros.data))
            assert found == END + 100
            assert overlay.tell() == found + len(values)
            assert os.fstat(descriptor).st_size == found + len(values), "there is room for them"
            overlay.write(b"next")
            overlay.fill(found, [memoryview(values[:PAGE]), memoryview(values[PAGE:])])
            assert overlay.settle() == found + len(values) + 4
        assert path.read_bytes() == start() + bytes(100) + values + b"next"

    def test_others_are_written_as_ever(self, tmp_path: pathlib.Path) -> None:
        """What else HDF5 writes meanwhile, and what goes where something was."""
        path = tmp_path / "file"
        path.write_bytes(start())
        zeros = np.zeros(PAGE, np.uint8)
        with disk.opened(str(path), os.O_RDWR) as descriptor:
            overlay = Overlay(descriptor)
            overlay.seek(END)
            as_long = b"m" * PAGE
            assert overlay.place_for(zeros, lambda: overlay.write(as_long)) is None
            overlay.seek(PAGE)
            assert overlay.place_for(zeros, lambda: overlay.write(zeros.data)) is None
            overlay.seek(PAGE)
            found = bytearray(PAGE)
            overlay.readinto(found)
            assert found == bytes(PAGE)
            overlay.settle()
        assert path.read_bytes() == start() + as_long

    def test_a_disk_that_fails_is_told_at_the_end(
        self, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "file"
        path.write_bytes(start())
        zeros = np.zeros(PAGE, np.uint8)

        def broken(*_: object) -> None:
            raise OSError(5, "Input/output error")

        with disk.opened(str(path), os.O_RDWR) as descriptor:
            overlay = Overlay(descriptor)
            overlay.seek(END)
            found = overlay.place_for(zeros, lambda: overlay.write(zeros.data))
            assert found is not None
            monkeypatch.setattr(disk, "write_at", broken)
            overlay.fill(found, [memoryview(b"x")])
            with pytest.raises(OSError, match="Input/output"):
                overlay.settle()

    def test_who_ends_waits_for_those_who_write(
        self, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "file"
        path.write_bytes(start())
        zeros = np.zeros(PAGE, np.uint8)
        begun, go_on = threading.Event(), threading.Event()
        plain = disk.write_at

        def slow(*given: Any) -> None:
            begun.set()
            assert go_on.wait(30)
            plain(*given)

        with disk.opened(str(path), os.O_RDWR) as descriptor:
            overlay = Overlay(descriptor)
            overlay.seek(END)
            found = overlay.place_for(zeros, lambda: overlay.write(zeros.data))
            assert found is not None
            monkeypatch.setattr(disk, "write_at", slow)
            writer = threading.Thread(target=overlay.fill, args=(found, [memoryview(b"late")]))
            writer.start()
            assert begun.wait(30)
            ender = threading.Thread(target=overlay.detach)
            ender.start()
            ender.join(0.05)
            assert ender.is_alive(), "it does not let go of the file under the writer's feet"
            go_on.set()
            writer.join(30)
            ender.join(30)
            assert not ender.is_alive()
        assert path.read_bytes() == start() + b"late" + bytes(PAGE - 4)
