"""Icechunk repositories as file systems of fsspec: a store of which every version stays.

What is written is seen by others once it is committed, all of it or nothing. A URL names the
repository, whose folder ends in .icechunk, and behind an "@" the branch, the tag or the snapshot
that is meant: "icechunk:///data/scan.icechunk@main", "icechunk+s3://lab/scan.icechunk".
"""

from __future__ import annotations

import contextlib
import re
import uuid
from collections.abc import Iterator
from typing import Any

import fsspec
import icechunk
from fsspec.asyn import AsyncFileSystem, sync
from zarr.abc.store import RangeByteRequest
from zarr.core.buffer import cpu, default_buffer_prototype

from usidx.errors import OptionError, StoreLockedError
from usidx.stores.remote.objects import filesystem, reached
from usidx.stores.remote.url import Url

_PLACE = re.compile(r"(?P<root>.*?\.icechunk)(?:@(?P<ref>[^/]+))?(?:/(?P<key>.*))?")
_BRANCH = "main"
# What is being written by this process, by what stands behind the "@" of its URL.
_writing: dict[str, icechunk.Session] = {}


class _Versions(AsyncFileSystem):  # type: ignore[misc]
    """What is common to repositories wherever they are.

    Parameters
    ----------
    options : `message` of what is committed, and those of the storage of Icechunk
    """

    cachable = True

    def __init__(self, **options: Any) -> None:
        self.message = str(options.pop("message", "written by usidx"))
        own = {name: options.pop(name) for name in _OF_FSSPEC if name in options}
        super().__init__(**own)
        self._options = options
        self._repositories: dict[str, icechunk.Repository] = {}
        self._sessions: dict[tuple[str, str], icechunk.Session] = {}

    def storage(self, root: str) -> icechunk.Storage:
        """Where a repository is."""
        raise NotImplementedError

    def repository(self, root: str, *, make: bool = False) -> icechunk.Repository:
        """The repository at a root."""
        known = self._repositories.get(root)
        if known is not None:
            return known
        storage = self.storage(root)
        if icechunk.Repository.exists(storage):
            known = icechunk.Repository.open(storage)
        elif make:
            known = icechunk.Repository.create(storage)
        else:
            raise FileNotFoundError(f"there is no Icechunk repository {root!r}")
        self._repositories[root] = known
        return known

    async def _store(self, path: str) -> tuple[Any, str, str]:
        """(store of the version that a path means, key in it, name of the version)."""
        root, ref, key = place_in(self._strip_protocol(path))
        session = _writing.get(ref or "")
        if session is None:
            repository = self.repository(root)
            snapshot = _snapshot_of(repository, ref)
            session = self._sessions.get((root, snapshot))
            if session is None:
                session = repository.readonly_session(snapshot_id=snapshot)
                self._sessions[root, snapshot] = session
        return session.store, key, str(session.snapshot_id)

    async def _cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **_: Any
    ) -> bytes:
        store, key, _version = await self._store(path)
        part = None if start is None or end is None else RangeByteRequest(start, end)
        with _missing(path):
            found = await store.get(key, default_buffer_prototype(), part)
        if found is None:
            raise FileNotFoundError(path)
        return bytes(found.to_bytes())

    async def _info(self, path: str, **_: Any) -> dict[str, Any]:
        store, key, version = await self._store(path)
        with contextlib.suppress(FileNotFoundError), _missing(path):
            size = await store.getsize(key)
            return {"name": path, "size": size, "type": "file", "version_id": version}
        async for _name in store.list_dir(key):
            return {"name": path, "size": 0, "type": "directory"}
        raise FileNotFoundError(path)

    async def _ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        store, key, _version = await self._store(path)
        names = [f"{path.rstrip('/')}/{name}" async for name in store.list_dir(key)]
        return [await self._info(name) for name in names] if detail else names

    async def _find(self, path: str, **_: Any) -> list[str]:
        store, key, _version = await self._store(path)
        home = path.removesuffix(key).rstrip("/")
        return [f"{home}/{name}" async for name in store.list_prefix(key)]

    async def _pipe_file(self, path: str, value: bytes, **_: Any) -> None:
        store, key, _version = await self._store(path)
        await store.set(key, cpu.Buffer.from_bytes(value))


_OF_FSSPEC = ("asynchronous", "loop", "batch_size", "use_listings_cache", "skip_instance_cache")


class LocalVersions(_Versions):
    """Repositories on disks of this machine."""

    protocol = "icechunk"
    root_marker = "/"

    def storage(self, root: str) -> icechunk.Storage:
        return icechunk.local_filesystem_storage(root)


class S3Versions(_Versions):
    """Repositories in S3; the options are those of `icechunk.s3_storage`."""

    protocol = "icechunk+s3"

    def storage(self, root: str) -> icechunk.Storage:
        bucket, _, prefix = root.partition("/")
        return icechunk.s3_storage(bucket=bucket, prefix=prefix, **self._options)


def place_in(path: str) -> tuple[str, str | None, str]:
    """(root of the repository, branch or tag or snapshot, key within it) of a path.

    Raises
    ------
    OptionError : for a path in no folder that ends in .icechunk

    Examples
    --------
    >>> place_in("/data/scan.icechunk@v1/Raw/zarr.json")
    ('/data/scan.icechunk', 'v1', 'Raw/zarr.json')
    """
    found = _PLACE.fullmatch(path)
    if found is None:
        raise OptionError(
            f"{path!r} names no Icechunk repository; the name of its folder ends in .icechunk"
        )
    return found["root"], found["ref"], found["key"] or ""


@contextlib.contextmanager
def committed(url: Url) -> Iterator[tuple[Url, bool]]:
    """(where to write a new version of a repository, whether there is one); it begins empty.

    What is written there inside the `with` block is one commit at the end of it, or nothing. The
    repository is made where there is none.

    Raises
    ------
    OptionError : for a URL that is not that of a repository, or of a branch
    StoreAccessError : where it cannot be written
    StoreLockedError : where somebody else wrote a version meanwhile
    """
    files, path = filesystem(url)
    root, ref, key = place_in(path)
    if key:
        raise OptionError(f"{str(url)!r} is within a repository, which is written whole")
    token = f"new-{uuid.uuid4().hex[:12]}"
    place = Url(str(url).partition(".icechunk")[0] + f".icechunk@{token}", url.options)
    with reached(url):
        session = files.repository(root, make=True).writable_session(ref or _BRANCH)
        there = bool(files.find(path))
        sync(files.loop, session.store.clear)
    _writing[token] = session
    try:
        yield place, there
        with reached(url):
            _commit(session, files.message, url)
    finally:
        del _writing[token]


def _commit(session: icechunk.Session, message: str, url: str) -> None:
    try:
        session.commit(message)
    except icechunk.ConflictError as error:
        raise StoreLockedError(
            f"somebody else wrote a version of {str(url)!r} meanwhile, and this one was not "
            "written; write it again"
        ) from error


def _snapshot_of(repository: icechunk.Repository, ref: str | None) -> str:
    name = ref or _BRANCH
    if name in repository.list_branches():
        return str(repository.lookup_branch(name))
    if name in repository.list_tags():
        return str(repository.lookup_tag(name))
    try:
        return str(repository.readonly_session(snapshot_id=name).snapshot_id)
    except icechunk.IcechunkError as error:
        raise FileNotFoundError(f"there is no branch, tag or snapshot {name!r}") from error


@contextlib.contextmanager
def _missing(path: str) -> Iterator[None]:
    """Take for missing what Zarr has no name for, and what is not there."""
    try:
        yield
    except KeyError as error:
        raise FileNotFoundError(path) from error
    except icechunk.IcechunkError as error:
        if "invalid zarr key" in str(error) or "not found" in str(error):
            raise FileNotFoundError(path) from error
        raise


for _kind in (LocalVersions, S3Versions):
    fsspec.register_implementation(_kind.protocol, _kind, clobber=True)
