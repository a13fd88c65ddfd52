"""One writer at a time: a lock file beside the store, which says who holds it.

The kernel keeps the lock and drops it when its process dies, so a file that is left by a crash
locks nobody out. Where the file system keeps no locks, the file itself is the lock, and it is stale
when the process it names is gone.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import platform
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from usidx.errors import NoSpaceError, ReadOnlyStoreError, StoreLockedError, StoreNotFoundError
from usidx.stores import disk
from usidx.stores.alive import is_alive
from usidx.stores.remote.url import refuse_to_write

STORE_SUFFIX = ".usidx-lock"
RUN_SUFFIX = ".usidx-run"
_GUARD = "-taking"
# A lock file without a readable holder is being written just now, unless it is older than this.
_UNREADABLE_FOR = 10.0
_MOST_TEXT = 65536


@dataclass(frozen=True)
class Holder:
    """Who holds a lock.

    Parameters
    ----------
    pid, host : the process and its machine
    what : what it is doing
    since : when it began
    token : differs each time the lock is taken
    facts : what else it noted
    """

    pid: int
    host: str
    what: str
    since: str
    token: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        here = self.host == platform.node()
        who = "this process" if here and self.pid == os.getpid() else f"process {self.pid}"
        where = "" if here else f" on {self.host!r}"
        doing = f" ({self.what}, since {self.since})" if self.what else f" (since {self.since})"
        return f"{who}{where}{doing}"

    @property
    def is_gone(self) -> bool:
        """Whether its process is known to have ended; of other machines nothing is known."""
        return self.host == platform.node() and not is_alive(self.pid)


def store_lock(store: str, what: str = "") -> StoreLock:
    """The lock of a whole store, for changes of its metadata; `what` tells others what is done."""
    refuse_to_write(store)
    real = os.path.realpath(store)
    return StoreLock(real + STORE_SUFFIX, repr(store), what)


def run_lock(store: str, group: str, what: str = "") -> StoreLock:
    """The lock of one result group, for the whole time in which its blocks are written."""
    digest = hashlib.sha256(group.encode()).hexdigest()[:12]
    path = f"{os.path.realpath(store)}.{digest}{RUN_SUFFIX}"
    return StoreLock(path, f"{group!r} in {store!r}", what)


def sweep_runs(store: str) -> None:
    """Remove the lock files that crashed runs left beside `store`."""
    for path in _beside(store, _GUARD):
        with contextlib.suppress(OSError):
            _remove_old_guard(path)
    for path in _beside(store, RUN_SUFFIX):
        left = StoreLock(path, repr(store), "tidying up")
        with contextlib.suppress(OSError):  # held, or not ours to remove
            left.acquire(timeout=0)
            left.release()


def refuse_runs(store: str) -> None:
    """Refuse to replace a store into which results are being written.

    Raises
    ------
    StoreLockedError : naming who writes them
    """
    sweep_runs(store)
    for path in _beside(store, RUN_SUFFIX):
        holder = holder_of(path)
        by = "" if holder is None else f" by {holder}"
        raise StoreLockedError(
            f"results are being written into {store!r}{by}; wait until that has ended, or write "
            "to another path"
        )


def _remove_old_guard(path: str) -> None:
    """Remove the guard of somebody who died while taking a stale lock over."""
    with contextlib.suppress(FileNotFoundError):
        if time.time() - os.stat(path).st_mtime > _UNREADABLE_FOR:
            os.unlink(path)


def _beside(store: str, suffix: str) -> list[str]:
    folder, name = os.path.split(os.path.realpath(store))
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    found = [each for each in names if each.startswith(name + ".") and each.endswith(suffix)]
    return [os.path.join(folder, each) for each in found]


def holder_of(path: str) -> Holder | None:
    """Who the lock file at `path` names; None where there is no such file, or nothing in it.

    A file that a crash has left names a holder, too.
    """
    try:
        with disk.opened(path, os.O_RDONLY) as descriptor:
            return _parse(disk.read_at(descriptor, _MOST_TEXT, 0))
    except OSError:
        return None


class StoreLock:
    """A lock that one holder has at a time, among all processes and threads.

    Parameters
    ----------
    path : the lock file
    subject : what is locked, for messages
    what : what the holder is doing, for messages

    Use it as a context manager, or `acquire` and `release` it. The file is there while it is held.
    """

    def __init__(self, path: str, subject: str, what: str = "") -> None:
        self.path = path
        self.subject = subject
        self.what = what
        self.left: Holder | None = None
        """Who held it before and never let go: it crashed."""
        self.keeps = False
        """Whether to leave the file, as `left` had it, for the next one when this lets go."""
        self._descriptor = -1
        self._owner: Holder | None = None

    @property
    def token(self) -> str:
        """What tells this holding of the lock from every other; "" while it is not held."""
        return "" if self._owner is None else self._owner.token

    def acquire(self, timeout: float = 30.0) -> None:
        """Take the lock, waiting `timeout` seconds at most.

        Raises
        ------
        StoreLockedError : naming who holds it
        ReadOnlyStoreError : where no file can be made in the folder
        """
        if self._owner is not None:
            raise StoreLockedError(f"{self.subject} is locked by this very object already")
        deadline = time.monotonic() + timeout
        pause = 0.002
        while not self._try():
            if time.monotonic() >= deadline:
                raise StoreLockedError(self._told_of(holder_of(self.path)))
            time.sleep(min(pause, max(0.0, deadline - time.monotonic())))
            pause = min(0.1, pause * 1.5)

    def release(self) -> None:
        """Let go of the lock; nothing happens where it is not held."""
        owner, descriptor = self._owner, self._descriptor
        self._owner, self._descriptor = None, -1
        if owner is None:
            return
        # a forked child has a copy of this object, but the lock is its parent's
        mine = owner.pid == os.getpid()
        try:
            if mine and self.keeps and self.left is not None:
                self._write_to(descriptor, self.left)
                mine = False
            elif mine and os.name != "nt":
                self._remove()
        finally:
            os.close(descriptor)
        if mine and os.name == "nt":  # an open file cannot be removed there
            self._remove()

    def note(self, **facts: Any) -> None:
        """Write facts into the lock file; whoever comes after a crash finds them in `left`."""
        if self._owner is None:
            raise StoreLockedError(f"{self.subject} is not locked; take the lock first")
        self._write(Holder(**{**vars(self._owner), "facts": {**self._owner.facts, **facts}}))

    def __enter__(self) -> StoreLock:
        if self._owner is None:
            self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def _told_of(self, holder: Holder | None) -> str:
        by = "by another process" if holder is None else f"by {holder}"
        return (
            f"{self.subject} is being written {by}; wait until that has ended. "
            f"The lock is {self.path!r}"
        )

    def _try(self) -> bool:
        try:
            return self._try_once()
        except FileNotFoundError as error:
            if os.path.isdir(os.path.dirname(self.path)):
                return False  # its holder has just removed it
            raise StoreNotFoundError(
                f"there is no folder {os.path.dirname(self.path)!r} for {self.subject}"
            ) from error
        except OSError as error:
            if error.errno in disk.NO_ROOM:
                raise NoSpaceError(
                    f"there is no room for the lock of {self.subject} at {self.path!r} "
                    f"({error.strerror}): some kilobytes are needed; make room"
                ) from error
            if error.errno not in disk.READ_ONLY:
                raise
            raise ReadOnlyStoreError(
                f"{self.subject} cannot be written: no lock can be made at {self.path!r} "
                f"({error.strerror}); write to a copy in a folder of your own"
            ) from error

    def _try_once(self) -> bool:
        found = self._open()
        if found is None:
            return False
        descriptor, is_new = found
        try:
            if not disk.lock(descriptor) or not self._is_current(descriptor):
                os.close(descriptor)
                return False
            self.left = _parse(disk.read_at(descriptor, _MOST_TEXT, 0))
        except disk.NoKernelLocksError:
            if not is_new:
                os.close(descriptor)
                return self._take_over()
        except BaseException:
            os.close(descriptor)
            raise
        self._hold(descriptor)
        return True

    def _open(self) -> tuple[int, bool] | None:
        """The lock file, and whether it was made just now: by one process only, on any system."""
        try:
            descriptor = disk.open_file(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        except FileExistsError:
            pass
        else:
            with contextlib.suppress(OSError):  # whatever the umask: others must see who it is
                os.chmod(self.path, 0o644)
            return descriptor, True
        try:
            return disk.open_file(self.path, os.O_RDWR), False
        except PermissionError:
            self._clear_foreign()
            return None

    def _clear_foreign(self) -> None:
        """Remove a lock file of another user if nobody holds it: only its maker can write it."""
        try:
            with disk.opened(self.path, os.O_RDONLY) as descriptor:
                if disk.lock(descriptor) and self._is_current(descriptor):
                    self._remove()
        except disk.NoKernelLocksError:
            self._take_over()

    def _is_current(self, descriptor: int) -> bool:
        """Whether the path still leads to the open file; its holder removes it when done."""
        try:
            there = os.stat(self.path)
        except FileNotFoundError:
            return False
        return os.path.samestat(there, os.fstat(descriptor))

    def _take_over(self) -> bool:
        """Where there are no kernel locks: remove the lock file if it is stale.

        The answer is always False, for the lock is not got yet.
        """
        if not self._is_stale():
            return False
        guard = self.path + _GUARD
        _remove_old_guard(guard)
        try:
            os.close(disk.open_file(guard, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return False
        try:
            # Only now: what was stale a moment ago may be a new lock of somebody else.
            if self._is_stale():
                self.left = holder_of(self.path)
                self._remove()
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(guard)
        return False

    def _is_stale(self) -> bool:
        holder = holder_of(self.path)
        return self._age() > _UNREADABLE_FOR if holder is None else holder.is_gone

    def _age(self) -> float:
        try:
            return time.time() - os.stat(self.path).st_mtime
        except FileNotFoundError:
            return 0.0

    def _hold(self, descriptor: int) -> None:
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        self._descriptor = descriptor
        # what the one before noted stays known until something else is, whatever happens now
        facts = self.left.facts if self.left is not None else {}
        token = uuid.uuid4().hex
        self._owner = Holder(os.getpid(), platform.node(), self.what, since, token, facts)
        try:
            self._write(self._owner)
        except BaseException:
            self.release()
            raise

    def _write(self, holder: Holder) -> None:
        self._write_to(self._descriptor, holder)
        self._owner = holder

    @staticmethod
    def _write_to(descriptor: int, holder: Holder) -> None:
        try:
            disk.truncate(descriptor, 0)
            disk.write_at(descriptor, json.dumps(vars(holder)).encode(), 0)
        except OSError as error:
            # On a full disk the kernel's lock is as good without a name in it: an interrupted
            # write must be finished there, too.
            if not (disk.KERNEL_LOCKS and error.errno in disk.NO_ROOM):
                raise

    def _remove(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)


@contextlib.contextmanager
def held(lock: StoreLock, timeout: float) -> Iterator[StoreLock]:
    """`lock`, taken within `timeout` seconds and let go in the end."""
    lock.acquire(timeout)
    try:
        yield lock
    finally:
        lock.release()


@functools.lru_cache(maxsize=64)  # who writes asks again and again, and reads the same
def _parse(text: bytes) -> Holder | None:
    try:
        holder = Holder(**json.loads(text))
    except (ValueError, TypeError):
        return None
    return holder if isinstance(holder.pid, int) else None
