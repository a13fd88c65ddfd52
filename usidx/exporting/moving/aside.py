"""Files that take their name when they are whole."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import IO, Any

from usidx.errors import (
    NoSpaceError,
    ReadOnlyStoreError,
    StoreExistsError,
    StoreNotFoundError,
    UsidError,
)
from usidx.stores import disk

_PART_SUFFIX = ".usidx-part"


@contextlib.contextmanager
def aside(path: str, overwrite: bool, *, text: bool = False) -> Iterator[IO[Any]]:
    """A file that takes its name when the `with` block ends, and is gone where it fails.

    Parameters
    ----------
    path : that it gets
    overwrite : whether a file that is there is replaced
    text : whether text is written, as UTF-8; bytes otherwise

    Raises
    ------
    StoreExistsError : where there is a file and `overwrite` is False
    StoreNotFoundError, ReadOnlyStoreError, NoSpaceError : where it cannot be written
    """
    real = os.path.realpath(path)
    folder = os.path.dirname(real)
    if not os.path.isdir(folder):
        raise StoreNotFoundError(f"there is no folder {folder!r} to write {path!r} into; make it")
    if os.path.lexists(real) and not (overwrite and os.path.isfile(real)):
        what = "is a folder" if os.path.isdir(real) else "is there already"
        raise StoreExistsError(f"{path!r} {what}; pass overwrite=True to replace a file")
    part = f"{real}.{os.getpid()}{_PART_SUFFIX}"
    try:
        how: Any = {"mode": "w", "encoding": "utf-8", "newline": ""} if text else {"mode": "wb"}
        with open(part, **how) as file:
            yield file
            file.flush()
            disk.sync(file.fileno())
        disk.replace(part, real)
    except UsidError:
        raise
    except OSError as error:
        understood = _understandable(path, error)
        if understood is None:
            raise
        raise understood from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            disk.remove(part)
    disk.sync_folder(folder)


def _understandable(path: str, error: OSError) -> UsidError | None:
    if error.errno in disk.NO_ROOM:
        return NoSpaceError(f"there is no room to write {path!r} ({disk.room(path)} free)")
    if error.errno in disk.READ_ONLY:
        return ReadOnlyStoreError(f"{path!r} cannot be written ({error.strerror})")
    return None
