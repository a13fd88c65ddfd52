"""An object behind a URL as a file that HDF5 reads its metadata from, block by block."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from typing import Any

from usidx.errors import DamagedStoreError
from usidx.stores.remote.objects import Version, read_ranges
from usidx.stores.remote.url import Url

BLOCK = 64 * 2**10
_MOST_BYTES = 64 * 2**20


class _Blocks:
    """The blocks that this process read last, of whatever object."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, Version, int], memoryview] = OrderedDict()
        self._nbytes = 0
        self._lock = threading.Lock()

    def get(self, key: tuple[str, Version, int]) -> memoryview | None:
        with self._lock:
            found = self._known.get(key)
            if found is not None:
                self._known.move_to_end(key)
            return found

    def put(self, key: tuple[str, Version, int], data: memoryview) -> None:
        with self._lock:
            if key in self._known:
                return
            self._known[key] = data
            self._nbytes += len(data)
            while self._nbytes > _MOST_BYTES:
                self._nbytes -= len(self._known.popitem(last=False)[1])


_blocks = _Blocks()


class RangedFile(io.RawIOBase):
    """One version of an object as a file that can be read and nothing else.

    What goes wrong is in `error`, too, as it does not come through HDF5 as it was.

    Parameters
    ----------
    url : of the object
    version : of it; blocks that are remembered of others are left alone
    """

    def __init__(self, url: Url, version: Version) -> None:
        self.url = url
        self.version = version
        self.error: Exception | None = None
        self._place = 0

    def __repr__(self) -> str:
        return str(self.url)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self.version.size}[whence]
        self._place = start + offset
        return self._place

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        stop = min(self._place + len(view), self.version.size)
        count = max(0, stop - self._place)
        try:
            view[:count] = self.at(self._place, stop) if count else b""
        except Exception as error:
            self.error = error
            raise
        self._place += count
        return count

    def at(self, start: int, stop: int) -> bytes:
        """The bytes from `start` to `stop`, of blocks that are remembered for the next reader."""
        numbers = range(start // BLOCK, -(-stop // BLOCK))
        found = {number: _blocks.get((self.url, self.version, number)) for number in numbers}
        missing = [number for number, data in found.items() if data is None]
        size = self.version.size
        wanted = [(number * BLOCK, min((number + 1) * BLOCK, size)) for number in missing]
        for number, data in zip(missing, read_ranges(self.url, wanted) if wanted else ()):
            own = memoryview(bytes(data))  # else it keeps what was read with it
            found[number] = own
            _blocks.put((self.url, self.version, number), own)
        whole = b"".join(data for data in found.values() if data is not None)
        first = numbers.start * BLOCK
        part = whole[start - first : stop - first]
        if len(part) != stop - start:
            raise DamagedStoreError(f"{str(self.url)!r} was cut short; get the original again")
        return part
