"""The folder that a demo leaves behind: its own files, each whole or not there."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator
from contextlib import contextmanager

from usidx.errors import NoSpaceError, ReadOnlyStoreError, StoreExistsError, UsidError
from usidx.stores.disk import NO_ROOM, READ_ONLY


def made_folder(out: str) -> pathlib.Path:
    """The folder, made where it was not there.

    Raises
    ------
    ReadOnlyStoreError, NoSpaceError, StoreExistsError : where it cannot be
    """
    folder = pathlib.Path(out)
    if folder.exists() and not folder.is_dir():
        raise StoreExistsError(f"{out!r} is a file, the demo needs a folder; name one with --out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except NotADirectoryError as error:
        raise StoreExistsError(f"{out!r} lies below a file; name another folder") from error
    except OSError as error:
        raise _refused(folder, error) from error
    return folder


@contextmanager
def written_aside(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A path beside `path` to write to, which becomes `path` once it is whole."""
    aside = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield aside
        os.replace(aside, path)
    except OSError as error:
        if isinstance(error, UsidError):
            raise
        raise _refused(path, error) from error
    finally:
        aside.unlink(missing_ok=True)


def size_on_disk(path: str) -> int:
    """Bytes of a file, or of all files in a folder."""
    if os.path.isfile(path):
        return os.path.getsize(path)
    return sum(
        os.path.getsize(os.path.join(folder, name))
        for folder, _, names in os.walk(path)
        for name in names
    )


def _refused(path: pathlib.Path, error: OSError) -> UsidError:
    why = error.strerror or str(error)
    if error.errno in NO_ROOM:
        return NoSpaceError(f"there is no room to write '{path}': {why}; name a folder with --out")
    if error.errno in READ_ONLY:
        return ReadOnlyStoreError(f"'{path}' cannot be written: {why}; name a folder with --out")
    return ReadOnlyStoreError(f"'{path}' cannot be written: {type(error).__name__}: {why}")
