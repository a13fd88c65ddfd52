"""What reading a file leaves behind and takes: open files, memory, bytes, another process."""

from __future__ import annotations

import functools
import os
import re
import sys
import threading
import tracemalloc
import warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from usidx.model.dimension import Array

_OPEN, _MAPPED = "/proc/self/fd", "/proc/self/maps"


def open_files() -> Counter[str]:
    """How often this process has each file open or mapped, as far as the system tells."""
    found: Counter[str] = Counter()
    for each in os.listdir(_OPEN) if os.path.isdir(_OPEN) else ():
        try:
            found[os.readlink(os.path.join(_OPEN, each))] += 1
        except FileNotFoundError:  # the one of listing them
            continue
    if os.path.isfile(_MAPPED):
        with open(_MAPPED, encoding="utf-8", errors="surrogateescape") as file:
            # a library of C may map a file and close it; one mapping has several lines
            mapped = {line.rstrip("\n")[73:] for line in file}
        found.update(mapped)
    return Counter(
        {
            path: count
            for path, count in found.items()
            if path.startswith("/")
            and not path.startswith(("/dev/", "/proc/", "/memfd:", "/SYSV"))
            and not re.search(r"\.(so(\.[\d.]+)?|pyc?|mo)$", path)
        }
    )


@contextmanager
def unclosed_files(folder: str) -> Iterator[list[str]]:
    """What Python says of files in a folder that nobody closed, while inside.

    Warnings of other kinds are as they are outside.
    """
    said: list[str] = []
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always", ResourceWarning)
        try:
            yield said
        finally:
            said += [str(each.message) for each in heard if _is_unclosed(each, folder)]
    for each in heard:
        if not issubclass(each.category, ResourceWarning):
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)


def _is_unclosed(warned: warnings.WarningMessage, folder: str) -> bool:
    return issubclass(warned.category, ResourceWarning) and folder in str(warned.message)


@dataclass
class Spent:
    """What was spent inside `spending`: bytes of memory at most, and bytes that were read."""

    memory: int = 0
    read: int = 0


@contextmanager
def spending() -> Iterator[Spent]:
    """Memory that Python and NumPy take at most, and bytes read by the system, while inside.

    Memory that libraries of C take for themselves is not seen, and neither are mapped pages that
    nobody copies. What other threads do is counted too.
    """
    spent = Spent()
    traced = tracemalloc.is_tracing()
    if not traced:
        tracemalloc.start()
    try:
        before, read = tracemalloc.get_traced_memory()[0], _bytes_read()
        tracemalloc.reset_peak()
        yield spent
        spent.memory = tracemalloc.get_traced_memory()[1] - before
        spent.read = _bytes_read() - read
    finally:
        if not traced:
            tracemalloc.stop()


def _bytes_read() -> int:
    try:
        with open("/proc/self/io", encoding="ascii") as file:
            return int(file.readline().partition(":")[2])
    except (OSError, ValueError):  # no such system
        return 0


_LOCK = threading.Lock()


def by_another_process(pickled: bytes) -> Array:
    """The values of a pickled DataArray, as another process reads them.

    Raises
    ------
    AssertionError : where the process died of it
    """
    with _LOCK:
        try:
            found: Array = _pool().submit(_computed, tuple(sys.path), pickled).result()
        except BrokenProcessPool as error:
            _pool.cache_clear()
            raise AssertionError("a process that reads it dies") from error
    return found


@functools.cache
def _pool() -> ProcessPoolExecutor:
    """One process for all that is checked: it takes seconds to start."""
    import multiprocessing

    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))


def _computed(places: tuple[str, ...], pickled: bytes) -> Any:
    import pickle

    sys.path += [each for each in places if each not in sys.path]
    return pickle.loads(pickled).values
