"""What other processes get: once what all blocks have in common, then little for each of them."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import platform
import threading
import traceback
import uuid
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import cloudpickle

from usidx.arrays.lazy import Blocks
from usidx.errors import UsidError
from usidx.model.provenance import own_version
from usidx.process.map import Kernel
from usidx.process.running import failures
from usidx.process.running.heap import keep_memory
from usidx.process.running.search import Locate, Search, Tried
from usidx.process.running.streaming import Stream, StreamedWork
from usidx.process.running.work import Work, is_data
from usidx.stores.remote.url import is_there

AnyWork = Work | StreamedWork | Search | Locate | Tried
# An array that every block reads through is sent once, from this size on.
_HEAVY = 64 * 1024
# Objects that are known without a look into them.
_MOST_HELD = 256

# Parcels that are being worked on in this process, by the name of their run.
_under_way: dict[str, int] = {}
_guard = threading.Lock()


class WorkerError(UsidError, RuntimeError):
    """A process that was to compute blocks cannot: it lacks the file, or the code."""


@dataclass(frozen=True)
class Parcel:
    """Works packed for another process.

    Parameters
    ----------
    run : name of the run that they belong to
    content : the works, without what is shared
    shared : names of what they need besides
    """

    run: str
    content: bytes
    shared: tuple[str, ...]


@dataclass(frozen=True)
class Ended:
    """What became of the works of a parcel.

    Parameters
    ----------
    seconds : that each took, of those that were done, or what else it returned
    error : that the next one raised; None where all were done
    host : where that was
    """

    seconds: tuple[failures.Ended, ...]
    error: BaseException | None = None
    host: str = ""


@dataclass(eq=False)
class Packer:
    """Packs works; what they have in common is packed once, for itself.

    Parameters
    ----------
    paths : files and folders that a process must see
    """

    paths: tuple[str, ...] = ()
    run: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    shared: dict[str, bytes] = field(default_factory=dict, repr=False)
    # by id; the objects are held, so that no other one gets the same
    _known: OrderedDict[int, tuple[str, Any]] = field(default_factory=OrderedDict, repr=False)
    # by what is in them: graphs that are made batch by batch have equal objects, not the same ones
    _names: dict[bytes, str] = field(default_factory=dict, repr=False)

    def pack(self, works: Iterable[AnyWork]) -> Parcel:
        """The works as a parcel; `shared` has everything that it refers to.

        Raises
        ------
        Exception : whatever keeps a function or value of them from being pickled
        """
        works = tuple(works)
        for work in works:
            self._learn(work)
        used: dict[str, None] = {}
        content = self._dumped(works, used)
        return Parcel(self.run, zlib.compress(content, 1), tuple(used))

    def _learn(self, work: AnyWork) -> None:
        for commit in work.commits:
            self._share(commit.writer)
        if isinstance(work, StreamedWork):
            return
        for key, node in work.graph.items():
            # dask's name for an array of which blocks are read
            if str(key).startswith("original-") and is_data(node) and hasattr(node, "value"):
                if getattr(node.value, "nbytes", _HEAVY) >= _HEAVY:
                    self._share(node.value)

    def _share(self, value: Any) -> str:
        known = self._known.get(id(value))
        if known is not None:
            return known[0]
        content = cloudpickle.dumps((own_version(), self.paths, value))
        name = self._names.setdefault(
            hashlib.sha256(content).digest(), f"usidx-{self.run}-{len(self._names)}"
        )
        self.shared.setdefault(name, content)
        self._known[id(value)] = (name, value)
        if len(self._known) > _MOST_HELD:
            self._known.popitem(last=False)
        return name

    def _dumped(self, works: tuple[AnyWork, ...], used: dict[str, None]) -> bytes:
        packer = self

        class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
            """Leaves out what is shared."""

            def persistent_id(self, value: Any) -> str | None:
                known = packer._known.get(id(value))
                if known is not None:
                    name = known[0]
                elif isinstance(value, (Stream, Blocks, Kernel)):
                    name = packer._share(value)
                else:
                    return None
                used[name] = None
                return name

        file = io.BytesIO()
        Pickler(file, protocol=pickle.HIGHEST_PROTOCOL).dump(works)
        return file.getvalue()


def get_ready(paths: tuple[str, ...]) -> None:
    """Import what works on these files and folders need, before there are any."""
    keep_memory()
    for path in paths:
        if os.path.isdir(path):
            import usidx.stores.zarr.writer
        else:
            import usidx.stores.hdf5.writing.block_writer  # noqa: F401


def perform(parcel: Parcel, *shared: bytes) -> Ended:
    """Do the works of a parcel, one after the other; what one raises is told, not raised.

    Parameters
    ----------
    shared : what it refers to, in the order of `parcel.shared`
    """
    keep_memory()
    with _guard:
        _under_way[parcel.run] = _under_way.get(parcel.run, 0) + 1
    seconds: list[failures.Ended] = []
    try:
        known = {
            name: _opened(name, content)
            for name, content in zip(parcel.shared, shared, strict=True)
        }
        for work in _works(parcel.content, known):
            seconds.append(work(None))
    except Exception as error:
        return Ended(tuple(seconds), _sendable(error), platform.node())
    finally:
        with _guard:
            _under_way[parcel.run] -= 1
            if not _under_way[parcel.run]:
                del _under_way[parcel.run]
    return Ended(tuple(seconds))


def is_under_way(run: str) -> bool:
    """Whether this process still works on a parcel of the run."""
    return run in _under_way


@lru_cache(maxsize=16)
def _opened(name: str, content: bytes) -> Any:
    """What was shared under a name.

    Raises
    ------
    WorkerError : where this process has another version of usidx, does not see the files, or
        cannot import what the work needs
    """
    version, paths, value = _unpickled(content)
    own = own_version()
    if own != version and "unknown" not in (own, version):
        raise WorkerError(
            f"it has usidx {own}, and the run was begun with {version}; install the same there"
        )
    for path in paths:
        if not is_there(path):
            raise WorkerError(
                f"it does not see {path!r}; put the file on a disk that all machines have at the "
                "same path, or run on workers of this machine"
            )
    return value


def _works(content: bytes, known: Mapping[str, Any]) -> tuple[AnyWork, ...]:
    class Unpickler(pickle.Unpickler):
        """Puts in what is shared."""

        def persistent_load(self, name: str) -> Any:
            return known[name]

    try:
        works: tuple[AnyWork, ...] = Unpickler(io.BytesIO(zlib.decompress(content))).load()
    except ImportError as error:
        raise _cannot_import(error) from error
    return works


def _unpickled(content: bytes) -> Any:
    try:
        return pickle.loads(content)
    except ImportError as error:
        raise _cannot_import(error) from error


def _cannot_import(error: ImportError) -> WorkerError:
    return WorkerError(
        f"it cannot import what the step needs ({error}); install that there, or keep the step in "
        "one file that `usidx run FILE MAIN steps.py:step` sends along"
    )


def _sendable(error: Exception) -> BaseException:
    """The error with its traceback as a note; its text alone where it does not pickle."""
    error.add_note("".join(traceback.format_tb(error.__traceback__)).rstrip())
    try:
        pickle.loads(cloudpickle.dumps(error))
    except Exception:
        told = RuntimeError(f"{type(error).__name__}: {error}")
        told.add_note("\n".join(error.__notes__))
        return told
    return error
