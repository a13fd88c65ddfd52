"""Files as zarr writes them, each whole or not at all, and on disk where that is asked for."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from zarr.storage import LocalStore

from usidx.stores import disk

# Folders whose own names are on disk, as far as this process has waited for them: (path, inode).
_settled: set[tuple[str, int]] = set()
_MOST_SETTLED = 2**16


class Files(LocalStore):
    """A folder that zarr writes to, through `usidx.stores.disk`.

    Parameters
    ----------
    root : the folder
    wait : whether each file is on disk before zarr goes on
    """

    def __init__(self, root: str | os.PathLike[str], *, wait: bool = False) -> None:
        super().__init__(os.fspath(root))
        self.wait = wait

    async def set(self, key: str, value: Any) -> None:
        """Give the file `key` new content."""
        if not self._is_open:
            await self._open()
        await asyncio.to_thread(self._put, key, value)

    def set_sync(self, key: str, value: Any) -> None:
        """The same, from a thread that waits for it."""
        self._put(key, value)

    async def set_if_not_exists(self, key: str, value: Any) -> None:
        """Make the file `key`, unless it is there; nobody else writes here."""
        if not (self.root / key).exists():
            await self.set(key, value)

    def _put(self, key: str, value: Any) -> None:
        put(os.fspath(self.root), key, value.as_buffer_like(), wait=self.wait)


def put(root: str, key: str, *pieces: bytes | bytearray | memoryview, wait: bool) -> None:
    """Give the file `key` of a folder new content, in one step.

    Parameters
    ----------
    root : the folder
    pieces : all of the content, one after the other
    wait : whether the content, and the names of the file and its folders, are on disk then
    """
    path = os.path.join(root, key)
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    disk.put(path, *pieces, wait=wait)
    if wait:
        settle_folders(folder, root)


def settle_folders(folder: str, root: str) -> None:
    """Wait until the names of a folder, and of those above it up to `root`, are on disk.

    Once in each process: whoever made a folder may have died before it waited.
    """
    while len(folder) > len(root):
        known = folder, os.stat(folder).st_ino
        if known in _settled:
            return
        parent = os.path.dirname(folder)
        disk.sync_folder(parent)
        if len(_settled) > _MOST_SETTLED:
            _settled.clear()
        _settled.add(known)
        folder = parent
