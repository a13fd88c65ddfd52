"""Which reader a file is for."""

from __future__ import annotations

import functools
import importlib
import logging
import os
from collections.abc import Mapping
from typing import Any

from usidx.errors import OptionError, did_you_mean
from usidx.readers.base import Reader
from usidx.readers.store import ForeignStore
from usidx.stores import READERS

ENTRY_POINTS = "usidx.readers"
# Modules of this room with a READER each; where several claim a file, the first of them.
BUILT_IN = ("numpy_files",)
_HEAD = 8192

log = logging.getLogger("usidx")


@functools.cache
def readers() -> Mapping[str, Reader]:
    """Every reader by its name: those of usidx, and those of plug-ins (entry points)."""
    from importlib.metadata import entry_points

    found: dict[str, Reader] = {}
    for name in BUILT_IN:
        reader: Reader = importlib.import_module(f"usidx.readers.{name}").READER
        found[reader.name] = reader
    for point in entry_points(group=ENTRY_POINTS):
        try:
            plugged = point.load()
        except Exception:  # somebody else's code; what it would read is read without it
            log.warning("the reader %s of %s cannot be loaded", point.name, point.value)
            continue
        if isinstance(plugged, Reader):
            found.setdefault(plugged.name, plugged)
    return found


def foreign_store(
    path: str, name: str | None = None, options: Mapping[str, Any] | None = None
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
    return None if reader is None else ForeignStore(path, reader, dict(options or {}))


def _claimant(path: str) -> Reader | None:
    """The reader that claims a file by its content; extensions decide between several."""
    head = _head(path)
    claims = [each for each in readers().values() if each.claims(path, head)]
    lower = path.lower().rstrip("/")
    called = [each for each in claims if lower.endswith(each.extensions)]
    return next(iter(called or claims), None)


def _head(path: str) -> bytes:
    if os.path.isdir(path):
        return b""
    with open(path, "rb") as file:
        return file.read(_HEAD)
