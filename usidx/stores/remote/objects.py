"""Objects behind URLs: what tells one from another, and their bytes, through fsspec."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import importlib
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from usidx.errors import (
    DamagedStoreError,
    MissingDependencyError,
    StoreAccessError,
    StoreNotFoundError,
    UsidError,
)
from usidx.stores.remote.failing import failed
from usidx.stores.remote.pace import learn, pace_of
from usidx.stores.remote.reaching import place_of
from usidx.stores.remote.url import Url, is_versioned

# What file systems call that by which a new version of an object is known.
_TAGS = ("ETag", "etag", "e_tag", "version_id", "generation", "md5", "Content-MD5", "Digest",
         "LastModified", "last_modified", "Last-Modified", "mtime", "updated", "created",
         "ino")  # fmt: skip
# One request asks for this much at most, unless one range alone is longer.
_LONGEST = 8 * 2**20


class Version(NamedTuple):
    """What tells whether an object is still the same: its size, and a digest of its tags."""

    size: int
    tag: int


def filesystem(url: Url) -> tuple[Any, str]:
    """(file system of fsspec, path within it).

    Raises
    ------
    MissingDependencyError : where fsspec, or what it needs for such a URL, is not installed
    """
    try:
        import fsspec

        if is_versioned(url):  # which fsspec does not know of by itself
            importlib.import_module("usidx.stores.remote.versioned")
        fs, path = fsspec.core.url_to_fs(str(url), **options_of(url))
    except ImportError as error:
        raise MissingDependencyError(
            f"{str(url)!r} cannot be reached: {error}; install it with "
            f"python -m pip install 'usidx[{'icechunk' if is_versioned(url) else 'remote'}]'"
        ) from error
    except Exception as error:
        raise failed(url, error) from error
    return fs, path


def options_of(url: Url) -> dict[str, Any]:
    """What the file system of a URL is made with."""
    import fsspec

    options = dict(url.options)
    if "::" in url:
        return options
    kind = fsspec.get_filesystem_class(str(url).partition("://")[0])
    # What it remembers of a folder may be older than what is there. obstore remembers nothing, and
    # takes no such option.
    if not kind.__module__.startswith("obstore."):
        options.setdefault("use_listings_cache", False)
    return options


@contextlib.contextmanager
def reached(url: str) -> Iterator[None]:
    """Raise what a file system raises in the `with` block as the UsidError that it means.

    Raises
    ------
    StoreNotFoundError : where there is nothing
    StoreAccessError : where it may not be read, or the network fails
    OptionError : for storage_options that the file system does not know
    """
    try:
        with _no_collection():
            yield
    except UsidError:
        raise
    except Exception as error:  # each kind of storage has errors of its own
        raise failed(url, error) from error


_collecting = threading.Lock()
_within = 0
_resume = False


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """No garbage is collected inside the `with` block.

    HDF5 asks for bytes while h5py holds its lock, and waits for the thread of fsspec. Were that to
    collect an object of h5py, it would wait for the lock: for ever.
    """
    global _within, _resume
    with _collecting:
        if not _within:
            _resume = gc.isenabled()
            gc.disable()
        _within += 1
    try:
        yield
    finally:
        with _collecting:
            _within -= 1
            if not _within and _resume:
                gc.enable()


def version_of(url: Url) -> Version:
    """The version of the object that is there now.

    Raises
    ------
    StoreNotFoundError, StoreAccessError, MissingDependencyError
    """
    fs, path = filesystem(url)
    with reached(url):
        info = fs.info(path)
    if info.get("type", "file") != "file":
        raise StoreNotFoundError(f"{str(url)!r} is a folder, and no object")
    size = info.get("size")
    if size is None:
        raise StoreAccessError(
            f"the server does not say how large {str(url)!r} is, so that it cannot be read in "
            "parts; download it and open the copy"
        )
    tags = repr([(name, str(info[name])) for name in _TAGS if info.get(name) is not None])
    return Version(int(size), int.from_bytes(hashlib.sha256(tags.encode()).digest()[:7], "big"))


def read(url: Url) -> bytes | None:
    """The whole of a small object; None where there is none.

    Raises
    ------
    StoreAccessError, MissingDependencyError
    """
    fs, path = filesystem(url)
    try:
        with reached(url):
            return bytes(fs.cat_file(path))
    except StoreNotFoundError:
        return None


def names_in(url: Url) -> list[str]:
    """Names of the folders right below a URL, in no order; none where it cannot be listed."""
    fs, path = filesystem(url)
    try:
        with reached(url):
            found = fs.ls(path, detail=True)
    except StoreNotFoundError:
        return []
    places = [each["name"].strip("/") for each in found if each["type"] == "directory"]
    return [each.rpartition("/")[2] for each in places if each != path.strip("/")]


def lists(url: Url) -> bool:
    """Whether its file system can say what is in a folder."""
    protocol = filesystem(url)[0].protocol
    names = {protocol} if isinstance(protocol, str) else set(protocol)
    return not names & {"http", "https"}


def read_ranges(url: Url, ranges: Sequence[tuple[int, int]]) -> list[memoryview]:
    """The bytes from start to stop of each range, in order; those that are near in one request.

    Parameters
    ----------
    ranges : (start, stop), in bytes, not empty

    Raises
    ------
    DamagedStoreError : where the object is shorter
    StoreNotFoundError, StoreAccessError, MissingDependencyError
    """
    requests, places = merged(ranges, near(url))
    fs, path = filesystem(url)
    starts, stops = [each[0] for each in requests], [each[1] for each in requests]
    began = time.perf_counter()
    with reached(url):
        found = fs.cat_ranges([path] * len(requests), starts, stops, on_error="raise")
    learn(place_of(url), len(found), sum(map(len, found)), time.perf_counter() - began)
    for (start, stop), data in zip(requests, found, strict=True):
        if len(data) > stop - start:
            raise StoreAccessError(
                f"the server of {str(url)!r} gives whole files where parts are asked for; "
                "download it and open the copy"
            )
        if len(data) < stop - start:
            raise DamagedStoreError(
                f"{str(url)!r} ends at byte {start + len(data)}, and is to be read to byte {stop}: "
                "it was cut short; get the original again"
            )
    views = [memoryview(each) for each in found]
    return [
        views[number][start - requests[number][0] : stop - requests[number][0]]
        for number, (start, stop) in zip(places, ranges, strict=True)
    ]


def near(url: Url) -> int:
    """How many bytes apart ranges are one request: those that come as soon as another would."""
    return pace_of(place_of(url)).near


def merged(ranges: Sequence[tuple[int, int]], near: int) -> tuple[list[tuple[int, int]], list[int]]:
    """(requests, for each range the number of the request that has it).

    Examples
    --------
    >>> merged([(0, 10), (200_000, 200_010), (20, 30)], 100)
    ([(0, 30), (200000, 200010)], [0, 1, 0])
    """
    requests: list[tuple[int, int]] = []
    places = [0] * len(ranges)
    for place in sorted(range(len(ranges)), key=lambda each: ranges[each]):
        start, stop = ranges[place]
        if requests:
            first, last = requests[-1]
            longer = max(stop, last)
            if start - last <= near and (longer - first <= _LONGEST or stop <= last):
                requests[-1] = first, longer
                places[place] = len(requests) - 1
                continue
        requests.append((start, stop))
        places[place] = len(requests) - 1
    return requests, places
