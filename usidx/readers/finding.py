"""Whose file is at a path: a store of USID, or of another system that there is a reader for."""

from __future__ import annotations

import contextlib
import functools
import importlib
import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from usidx.errors import NotUsidError, OptionError, did_you_mean
from usidx.readers.base import Reader
from usidx.readers.store import ForeignStore
from usidx.stores import READERS, store_at
from usidx.stores.base import Store
from usidx.stores.remote.url import is_url

ENTRY_POINTS = "usidx.readers"
# Modules of this room with READERS; where several claim a file, the first of them.
BUILT_IN = (
    "hyperspy",
    "nion",
    "tiff",
    "pictures",
    "numpy_files",
    "merlin",
    "detectors",
    "mrc",
    "tvips",
    "empad",
    "csr",
    "arina",
    "libertem",
    "edf",
    "spec",
    "fabio",
    "bare",
    "igor",
    "nanonis",
    "pyme",
    "rosettasciio",
    "ome_zarr",
    "xarray_files",
    "hdf5_files",
    "tables",
)
_HEAD = 8192

Path = str | os.PathLike[str]


class Opened(Protocol):
    """What is known of a Main that was opened."""

    @property
    def store(self) -> str: ...
    @property
    def allow_external(self) -> tuple[str, ...]: ...
    @property
    def opened_with(self) -> tuple[tuple[str, Any], ...]: ...


log = logging.getLogger("usidx")


@functools.cache
def readers() -> Mapping[str, Reader]:
    """Every reader by its name: those of usidx, and those of plug-ins (entry points)."""
    from importlib.metadata import entry_points

    found: dict[str, Reader] = {}
    for name in BUILT_IN:
        made: tuple[Reader, ...] = importlib.import_module(f"usidx.readers.formats.{name}").READERS
        found.update({each.name: each for each in made})
    for point in entry_points(group=ENTRY_POINTS):
        try:
            plugged = point.load()
        except Exception:  # somebody else's code; what it would read is read without it
            log.warning("the reader %s of %s cannot be loaded", point.name, point.value)
            continue
        if isinstance(plugged, Reader):
            found.setdefault(plugged.name, plugged)
    return found


def store_of(
    path: Path,
    allow_external: Sequence[Path] = (),
    reader: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Store:
    """What is at `path` as a store: one of USID, or the file of another system.

    Parameters
    ----------
    path : of a file or folder
    allow_external : folders with other files that it may reach
    reader : which reads it; by the content when None
    options : of the reader

    Raises
    ------
    OptionError : for a reader that does not exist, or options that it does not take
    StoreNotFoundError, NotUsidError, DamagedStoreError, StoreAccessError
    """
    if is_url(path):
        if reader is not None and reader in readers():
            raise OptionError(
                f"reader={reader!r} reads files of this machine; download {str(path)!r} first"
            )
        return _plain(store_at(path, allow_external, reader), options)
    if reader is None or reader in READERS:
        try:
            store = store_at(path, allow_external, reader)
        except NotUsidError as error:
            foreign = None if reader else _foreign(path, None, options, allow_external)
            if foreign is None:
                raise _unknown(path, error) from error
            return foreign
        holds_main = _guarded(store)
        foreign = None
        if not reader and not holds_main:
            foreign = _foreign(path, None, options, allow_external)
        # to look for Mains in a large store takes longer than to look whose it is
        return _plain(store, options) if foreign is None or store.candidates() else foreign
    with contextlib.suppress(NotUsidError):
        # says what is near where nothing is there
        _guarded(store_at(path, allow_external))
    foreign = _foreign(path, reader, options, allow_external)
    assert foreign is not None
    return foreign


def store_behind(opened: Opened) -> Store:
    """The store that a Main was opened from, opened in the same way.

    Parameters
    ----------
    opened : `usidx.arrays.origin.Origin` of an array
    """
    options = dict(opened.opened_with)
    reader = options.pop("reader", None)
    return store_of(opened.store, opened.allow_external, reader, options)


def _guarded(store: Store) -> bool:
    """Whether it is an HDF5 file that looks as if it had a Main.

    One that reaches outside itself, or leads nowhere, is refused before readers see it.
    """
    from usidx.stores.hdf5 import HDF5Store
    from usidx.stores.hdf5.read import opened

    if isinstance(store, HDF5Store):
        with opened(store.path, store.allow_external) as session:
            return session.catalog.holds_main
    return False


def _foreign(
    path: Path,
    reader: str | None,
    options: Mapping[str, Any] | None,
    allow_external: Sequence[Path],
) -> Store | None:
    return foreign_store(_absolute(path), reader, options, tuple(map(_absolute, allow_external)))


def _absolute(path: Path) -> str:
    return os.path.abspath(os.path.expanduser(os.fspath(path)))


def _plain(store: Store, options: Mapping[str, Any] | None) -> Store:
    if options:
        raise OptionError(
            f"{', '.join(options)}: {store.path!r} is a store of USID, which takes no options of "
            "readers"
        )
    return store


def _unknown(path: Path, error: NotUsidError) -> NotUsidError:
    if os.path.isdir(path):
        return NotUsidError(
            f"{error}, or of another kind that `usidx readers` lists. Where it is a folder of "
            "images, or of other files that belong together, usidx.stack makes one Main of them"
        )
    return NotUsidError(
        f"{error}, or one of the {len(readers())} other kinds of files that `usidx readers` lists. "
        "Where it is one of them, say which with reader='...'; bare values take reader='raw' with "
        "dtype= and sig_shape="
    )


def foreign_store(
    path: str,
    name: str | None = None,
    options: Mapping[str, Any] | None = None,
    allow_external: tuple[str, ...] = (),
) -> ForeignStore | None:
    """The file at `path` as a store, by the reader of that name or the one that it is for.

    None where no reader claims it.

    Raises
    ------
    OptionError : for a name that no reader has
    """
    known = (*READERS, *readers())
    if name is not None and name not in readers():
        raise OptionError(
            f"reader={name!r} does not exist{did_you_mean(name, known)}; there are "
            f"{', '.join(known)}"
        )
    reader = readers()[name] if name is not None else _claimant(path)
    if reader is None:
        return None
    return ForeignStore(path, reader, dict(options or {}), allow_external)


def _claimant(path: str) -> Reader | None:
    """The reader that claims a file by its content.

    Those of one kind of file come before those of many. Extensions decide only between several of
    one kind.
    """
    head = _head(path)
    claims = [each for each in readers().values() if _takes(each, path, head)]
    sure = [each for each in claims if not each.is_general]
    lower = path.lower().rstrip("/")
    called = [each for each in sure if lower.endswith(each.extensions)]
    return next(iter(called or sure or claims), None)


def _takes(reader: Reader, path: str, head: bytes) -> bool:
    """Whether a reader claims a file; one that stumbles over a file of another kind does not."""
    try:
        return reader.claims(path, head)
    except Exception as error:  # of plug-ins, or by what nobody has thought of in a file
        log.info("the reader %s cannot tell whose file %s is: %r", reader.name, path, error)
        return False


def _head(path: str) -> bytes:
    if os.path.isdir(path):
        return b""
    with open(path, "rb") as file:
        return file.read(_HEAD)
