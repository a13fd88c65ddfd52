"""What HDF5 takes for the file while a transaction lasts: what it changes stays in memory."""

from __future__ import annotations

import errno
import functools
import io
import os
import threading
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, cast

import numpy as np

from usidx.model.dimension import Array
from usidx.stores import disk
from usidx.stores.hdf5.transactions.log import Change
from usidx.stores.hdf5.transactions.ranges import Ranges

Method = TypeVar("Method", bound=Callable[..., Any])

PAGE = 4096
# Longer reads are values, which HDF5 does not write back: no need to remember what they were.
_LONGEST_REMEMBERED = 32 * 1024


def _noted(method: Method) -> Method:
    """`method`, which keeps what it raises: HDF5 swallows errors when it closes a file."""

    @functools.wraps(method)
    def noted(self: Overlay, *arguments: Any) -> Any:
        try:
            return method(self, *arguments)
        except BaseException as error:
            self.failure = error
            raise

    return cast(Method, noted)


class Overlay(io.RawIOBase):
    """A file that HDF5 may write to without one committed byte of it being changed.

    Bytes below `end`, the size at the beginning, are changed in memory only. Bytes from there on go
    to the file at once, however many they are, for nothing refers to them before the commit.

    Parameters
    ----------
    descriptor : of the file, open for reading and writing; it stays open
    fills_gaps : whether values go to the file at once where HDF5 finds free space for them below
        `end`, too. Only for transactions that write no values of datasets that were there before:
        then a long write to bytes that HDF5 has not read is one to bytes that nothing refers to

    HDF5 must not see a write fail: it cannot close a file then, and crashes when Python ends. So
    the first failure is kept in `error`, and writing goes on as if nothing had happened. What is
    raised in the middle nevertheless, such as an interrupt, is kept in `failure`.
    """

    def __init__(self, descriptor: int, *, fills_gaps: bool = False) -> None:
        super().__init__()
        self.end = os.fstat(descriptor).st_size
        self.size = self.end
        self.wanted = 0
        """The most bytes behind `end` that room was asked for."""
        self.error: OSError | None = None
        self.failure: BaseException | None = None
        self._descriptor = descriptor
        self._physical = self.end
        self._place = 0
        # page number -> the page as it was when HDF5 first saw it, and as HDF5 has it now
        self._seen: dict[int, bytes] = {}
        self._changed: dict[int, bytearray] = {}
        # below `end`: what HDF5 has read, and gaps that were filled
        self._fills_gaps = fills_gaps
        self._read = Ranges()
        self._filled = Ranges()
        # what could not be written after all, for HDF5 to find again: (place, bytes)
        self._unwritten: list[tuple[int, bytes]] = []
        # what only gets a place: its address and size, and the place
        self._placeless: tuple[int, int] | None = None
        self._found: int | None = None
        # how many threads are filling places
        self._filling = 0
        self._filled_one = threading.Condition()

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    @_noted
    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self.size}[whence]
        self._place = start + offset
        return self._place

    def tell(self) -> int:
        return self._place

    @_noted
    def flush(self) -> None:
        """Nothing is on its way."""

    @_noted
    def truncate(self, size: int | None = None) -> int:
        self.size = self._place if size is None else size
        return self.size

    @_noted
    def readinto(self, buffer: Any) -> int:
        into = memoryview(buffer).cast("B")
        start, stop = self._place, self._place + into.nbytes
        if into.nbytes <= _LONGEST_REMEMBERED:
            self._read_pages(into, start, min(stop, self.end))
        else:
            self._read_long(into, start, min(stop, self.end))
        if self._fills_gaps:
            self._read_filled(into, start, min(stop, self.end))
        self._read_new(into, max(start, self.end), start)
        self._place = stop
        return into.nbytes

    @_noted
    def write(self, data: Any) -> int:
        source = memoryview(data).cast("B")
        start, stop = self._place, self._place + source.nbytes
        inside = max(0, min(stop, self.end) - start)
        if self._placeless is not None and not inside and self._placeless == _where(source):
            self._give_place(start, stop)
        else:
            if inside:
                self._write_old(source[:inside], start)
            if inside < source.nbytes:
                self._write_new(source[inside:], start + inside)
        self.size = max(self.size, stop)
        self._place = stop
        return source.nbytes

    def changes(self) -> list[Change]:
        """What differs from the file as it was, byte for byte.

        Only bytes that HDF5 has made different: in the rest of a page there may be values that
        another process has written in the meantime.
        """
        runs: list[tuple[int, list[bytes], list[bytes]]] = []
        end = -1
        for number in sorted(self._changed):
            old, new = self._seen[number], bytes(self._changed[number])
            for start, stop in _differing(old, new):
                place = number * PAGE + start
                if place != end:  # else it goes on across the pages
                    runs.append((place, [], []))
                runs[-1][1].append(old[start:stop])
                runs[-1][2].append(new[start:stop])
                end = number * PAGE + stop
        return [Change(place, b"".join(old), b"".join(new)) for place, old, new in runs]

    def reserve(self, count: int) -> None:
        """Set aside `count` bytes on disk behind what there is; what is not used is given back.

        Where there is no room, `error` says so.
        """
        stop = max(self.size, self._physical) + count
        self.wanted = max(self.wanted, stop - self.end)
        try:
            disk.reserve(self._descriptor, self._physical, stop)
        except OSError as error:
            self.error = error
        else:
            self._physical = stop

    def place_for(self, stand_in: Array, write: Callable[[], None]) -> int | None:
        """Where HDF5 puts some bytes, with room on disk for them; they are not written.

        `fill` writes them, from any thread, while others have HDF5 go on. Without it nothing may
        read them, HDF5 included.

        Parameters
        ----------
        stand_in : array of uint8, as many as the bytes are; its own are of no matter
        write : has HDF5 write all of `stand_in` at once

        Returns
        -------
        place : None where HDF5 went about it in another way; then `stand_in` itself was written
        """
        self._found = None
        self._placeless = _where(stand_in.data) if disk.POSITIONED_IO else None
        try:
            write()
        finally:
            self._placeless = None
        return self._found

    def fill(self, place: int, pieces: Iterable[memoryview]) -> None:
        """Write some bytes, one after the other, at a place that `place_for` found."""
        with self._filled_one:
            if self._descriptor < 0 or self.error is not None:
                return
            self._filling += 1
        try:
            for piece in pieces:
                disk.write_at(self._descriptor, piece, place)
                place += piece.nbytes
        except OSError as error:
            self.error = error
        finally:
            with self._filled_one:
                self._filling -= 1
                self._filled_one.notify_all()

    def settle(self) -> int:
        """Bring the file to the size that HDF5 has given it, with room for every byte; that size.

        Raises
        ------
        OSError : where there is no room, now or at an earlier write
        BaseException : whatever was raised while HDF5 was at work
        """
        self._wait()
        if self.failure is not None:
            raise self.failure
        if self.error is not None:
            raise self.error
        size = max(self.end, self.size)
        self.wanted = max(self.wanted, size - self.end)
        disk.reserve(self._descriptor, self._physical, size)
        self._physical = max(self._physical, size)
        if self._physical > size:
            disk.truncate(self._descriptor, size)
            self._physical = size
        return size

    def withdraw(self) -> None:
        """Cut the file back to what it was."""
        if os.fstat(self._descriptor).st_size > self.end:
            disk.truncate(self._descriptor, self.end)
        self._physical = self.end

    def detach(self) -> None:
        """Never touch the file again, whatever HDF5 still does."""
        self._wait()
        self._descriptor = -1

    def _wait(self) -> None:
        """Until no thread fills a place."""
        with self._filled_one:
            self._filled_one.wait_for(lambda: not self._filling)

    def _give_place(self, start: int, stop: int) -> None:
        """Take note of a place behind `end`, and make sure that there is room."""
        self._found = start
        if self.error is None and self._descriptor >= 0:
            try:
                self._check_alone()
                disk.reserve(self._descriptor, self._physical, stop)
            except OSError as error:
                self.error = error
            else:
                self._physical = max(self._physical, stop)

    def _page(self, number: int) -> bytes | bytearray:
        """A page below `end` as HDF5 has it."""
        changed = self._changed.get(number)
        if changed is not None:
            return changed
        page = self._seen.get(number)
        if page is None:
            page = self._seen[number] = self._stored(
                min(PAGE, self.end - number * PAGE), number * PAGE
            )
        return page

    def _stored(self, size: int, place: int) -> bytes:
        if self._descriptor < 0:
            return bytes(size)
        return disk.read_at(self._descriptor, size, place).ljust(size, b"\0")

    def _read_pages(self, into: memoryview, start: int, stop: int) -> None:
        place = start
        while place < stop:
            number, within = divmod(place, PAGE)
            count = min(PAGE - within, stop - place)
            into[place - start : place - start + count] = self._page(number)[
                within : within + count
            ]
            place += count

    def _read_long(self, into: memoryview, start: int, stop: int) -> None:
        if stop <= start:
            return
        into[: stop - start] = self._stored(stop - start, start)
        for number, page in self._changed.items():
            first = max(start, number * PAGE)
            last = min(stop, number * PAGE + len(page))
            if first < last:
                part = page[first - number * PAGE : last - number * PAGE]
                into[first - start : last - start] = part

    def _read_new(self, into: memoryview, place: int, start: int) -> None:
        count = start + into.nbytes - place
        if count <= 0:
            return
        into[place - start :] = self._stored(count, place)
        for offset, data in self._unwritten:
            first, last = max(place, offset), min(place + count, offset + len(data))
            if first < last:
                into[first - start : last - start] = data[first - offset : last - offset]

    def _read_filled(self, into: memoryview, start: int, stop: int) -> None:
        """Put what gaps were filled with over what their pages had before."""
        for first, last, filled in self._filled.parts(start, stop):
            if filled:
                into[first - start : last - start] = self._stored(last - first, first)
            else:
                self._read.add(first, last)

    def _write_old(self, source: memoryview, start: int) -> None:
        """Write below `end`: into gaps at once, anywhere else in memory."""
        stop = start + source.nbytes
        long = self._fills_gaps and source.nbytes > _LONGEST_REMEMBERED
        if long and not self._read.touches(start, stop) and self.error is None:
            self._filled.add(start, stop)
        for first, last, filled in self._filled.parts(start, stop):
            part = source[first - start : last - start]
            if filled:
                self._write_filled(part, first)
            else:
                self._write_pages(part, first)

    def _write_filled(self, source: memoryview, place: int) -> None:
        if self.error is None and self._descriptor >= 0:
            try:
                self._check_alone()
                disk.write_at(self._descriptor, source, place)
            except OSError as error:
                self.error = error

    def _write_pages(self, source: memoryview, start: int) -> None:
        place, stop = start, start + source.nbytes
        while place < stop:
            number, within = divmod(place, PAGE)
            count = min(PAGE - within, stop - place)
            page = self._changed.get(number)
            if page is None:
                page = self._changed[number] = bytearray(self._page(number))
            page[within : within + count] = source[place - start : place - start + count]
            place += count
        if self._fills_gaps:
            # what follows must stay with these bytes, which are not in the file before the commit
            self._read.add(start, stop)

    def _write_new(self, source: memoryview, place: int) -> None:
        if self.error is None and self._descriptor >= 0:
            try:
                self._check_alone()
                # no holes: a full disk has to show before the commit
                disk.reserve(self._descriptor, self._physical, place)
                disk.write_at(self._descriptor, source, place)
            except OSError as error:
                self.error = error
            else:
                self._physical = max(self._physical, place + source.nbytes)
                return
        if source.nbytes <= _LONGEST_REMEMBERED:
            self._unwritten.append((place, bytes(source)))

    def _check_alone(self) -> None:
        """Stop before what another program has written, which took no lock, is written over."""
        if os.fstat(self._descriptor).st_size != self._physical:
            raise OSError(errno.ESTALE, "another program has written it meanwhile")


def _where(data: memoryview) -> tuple[int, int]:
    """Address of some bytes in memory, and how many they are."""
    return int(np.frombuffer(data, np.uint8).ctypes.data), data.nbytes


def _differing(old: bytes, new: bytes) -> list[tuple[int, int]]:
    """The ranges in which two strings of bytes of the same length differ."""
    if old == new:
        return []
    differs = np.frombuffer(old, np.uint8) != np.frombuffer(new, np.uint8)
    edges = np.flatnonzero(np.diff(differs, prepend=False, append=False))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]
