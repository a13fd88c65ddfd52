"""A whole new store behind a URL: its chunks first, and what makes it a store last.

There is no renaming there. What describes the store is made in a folder of this machine, chunks go
where they will be, and the metadata of the root, without which nobody finds the rest, come last: in
Zarr v2 `.zmetadata`, from which old programs take everything, and then `.zgroup`. A store that is
replaced stays until the new one is whole, at a URL beside it.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from zarr.core.metadata import ArrayV2Metadata, ArrayV3Metadata
from zarr.storage import StorePath

from usidx.errors import OptionError, StoreAccessError, StoreExistsError, UsidError
from usidx.model.dimension import Array
from usidx.model.main import MainSpec
from usidx.stores.failures import FailedAt
from usidx.stores.leaves.further import ExtraCoordinate
from usidx.stores.leaves.values import Indexed
from usidx.stores.remote.objects import filesystem, lists, reached
from usidx.stores.remote.url import Url, is_versioned
from usidx.stores.zarr import version2
from usidx.stores.zarr.afar import objects_at
from usidx.stores.zarr.create import Compression
from usidx.stores.zarr.draft import Draft
from usidx.stores.zarr.nodes import FILE, ZarrFormat, consolidate, read_node

# There while a store is written, so that what an export left is known.
UNFINISHED = "usidx-unfinished"
# What makes a group the root of a store, in the order in which it is put there.
_ROOT = (version2.ATTRS, version2.COPIES, version2.GROUP, FILE)
_IS_STORE = {FILE, version2.GROUP}


@dataclass(frozen=True)
class FarTarget:
    """An array behind a URL that dask stores blocks into; it pickles and holds nothing open.

    Parameters
    ----------
    url : of the Zarr array
    metadata : of it, as JSON, in the words of Zarr v3 or v2; they are not there yet
    shape, dtype, chunks : of the array
    """

    url: Url
    metadata: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...]

    def __setitem__(self, key: tuple[slice, ...], values: Array) -> None:
        block = np.asarray(values).astype(self.dtype, copy=False)
        place = StorePath(objects_at(self.url, read_only=False))
        said = json.loads(self.metadata)
        kind: Any = ArrayV2Metadata if said["zarr_format"] == 2 else ArrayV3Metadata
        metadata = kind.from_dict(said)
        with reached(self.url):
            array: zarr.Array[Any] = zarr.Array(zarr.AsyncArray(metadata, place))
            array.with_config({"write_empty_chunks": True})[key] = block


class FarDraft:
    """A store that is being made behind a URL; nobody sees it before its root is put there.

    Parameters
    ----------
    draft : of everything but the values of Mains, in a folder of this machine
    folder : that folder
    home : the URL that the values go to
    """

    def __init__(self, draft: Draft, folder: str, home: Url) -> None:
        self._draft = draft
        self._folder = folder
        self._home = home

    def add_main(
        self,
        spec: MainSpec,
        chunks: tuple[int, ...],
        *,
        extras: Sequence[ExtraCoordinate] = (),
        completed: Array | None = None,
        failures: FailedAt | None = None,
        compression: Compression = "lz4",
    ) -> tuple[FarTarget, ...]:
        """Make a Main without values, and say where they go; parameters as of `Draft.add_main`."""
        targets = self._draft.add_main(
            spec,
            chunks,
            extras=extras,
            completed=completed,
            failures=failures,
            compression=compression,
        )
        made = tuple(
            FarTarget(
                self._home.joined(*os.path.relpath(each.folder, self._folder).split(os.sep)),
                _described(each.folder),
                each.shape,
                each.dtype,
                each.chunks,
            )
            for each in targets
        )
        if is_versioned(self._home):  # which takes chunks of arrays that it knows
            for each in made:
                _put(each.url, {FILE: each.metadata.encode()})
        return made

    def set_attrs(self, path: str, attrs: Mapping[str, Any]) -> None:
        """Give the group at `path`, which is made where there is none, its attributes."""
        self._draft.set_attrs(path, attrs)

    def add_dataset(
        self, path: str, values: Indexed, dims: Sequence[str], attrs: Mapping[str, Any]
    ) -> None:
        """Write a dataset that is no Main; parameters as of `Draft.add_dataset`."""
        self._draft.add_dataset(path, values, dims, attrs)


def _described(folder: str) -> str:
    """The metadata of an array as its own format has them."""
    node = read_node(folder)
    assert node is not None
    return json.dumps(version2.files_of(node)[version2.ARRAY] if node["zarr_format"] == 2 else node)


@contextlib.contextmanager
def draft_afar(
    url: Url, *, group: str | None, overwrite: bool, zarr_format: ZarrFormat = 3
) -> Iterator[FarDraft]:
    """A store to be filled inside the `with` block, which is at the URL at the end of it.

    Parameters
    ----------
    url : of the store
    group : None, as stores behind URLs are written whole
    overwrite : whether a store that is there may be replaced
    zarr_format : of the store

    Raises
    ------
    OptionError : for a group, for URLs that nothing can be written to, and for versions in Zarr v2
    StoreExistsError : where there is something and `overwrite` is False, or it is no Zarr store
    StoreAccessError, StoreNotFoundError : where it cannot be written
    """
    if group is not None:
        raise OptionError(f"group={group!r}: a store behind a URL is written whole")
    if not lists(url):
        raise OptionError(f"nothing can be written to {str(url)!r}; use s3:// or another storage")
    if is_versioned(url):
        if zarr_format == 2:
            raise OptionError(f"{str(url)!r}: Icechunk keeps Zarr v3; take zarr_format=2 away")
        with _new_version(url, overwrite) as draft:
            yield draft
        return
    replaced = _check(url, overwrite)
    home = Url(f"{url}.usidx-{uuid.uuid4().hex[:12]}", url.options) if replaced else url
    with tempfile.TemporaryDirectory(prefix="usidx-") as folder:
        made = Draft(folder, str(url), None, zarr_format=zarr_format)
        made.set_attrs("/", {})
        _put(home, {UNFINISHED: b""})
        try:
            yield FarDraft(made, folder, home)
            consolidate(folder)
            _upload(folder, home)
            fs, path = filesystem(home.joined(UNFINISHED))
            with reached(home):
                fs.rm(path)
        except BaseException:
            with contextlib.suppress(UsidError):
                _remove(home)
            raise
    if replaced:
        _replace(home, url)


@contextlib.contextmanager
def _new_version(url: Url, overwrite: bool) -> Iterator[FarDraft]:
    """The same as one commit of an Icechunk repository, of which what was there stays a version."""
    from usidx.stores.remote.versioned import committed

    with (
        tempfile.TemporaryDirectory(prefix="usidx-") as folder,
        committed(url) as (home, there),
    ):
        if there and not overwrite:
            raise StoreExistsError(
                f"{str(url)!r} has a version already; pass overwrite=True for another one, which "
                "leaves that as it is"
            )
        made = Draft(folder, str(url), None)
        made.set_attrs("/", {})
        yield FarDraft(made, folder, home)
        consolidate(folder)
        _upload(folder, home)


def _check(url: Url, overwrite: bool) -> bool:
    """Whether there is something at the URL, which may be replaced."""
    there = _objects(url)
    if not there:
        return False
    if not there & {UNFINISHED, *_IS_STORE}:
        raise StoreExistsError(
            f"there is something at {str(url)!r} that is no Zarr store, so it is not replaced by "
            "one, not even with overwrite=True; choose another URL"
        )
    if not overwrite:
        what = "" if there & _IS_STORE else ", left by an export that was interrupted"
        raise StoreExistsError(
            f"{str(url)!r} is there already{what}; pass overwrite=True to replace it"
        )
    return True


def _objects(url: Url) -> set[str]:
    """Keys of everything below a URL; the empty one for an object at the URL itself."""
    fs, path = filesystem(url)
    with reached(url):
        fs.invalidate_cache()
        try:
            found = fs.find(path)
        except FileNotFoundError:
            return set()
    home = path.strip("/")
    return {each.strip("/").removeprefix(home).strip("/") for each in found}


def _put(url: Url, contents: Mapping[str, bytes]) -> None:
    fs, _ = filesystem(url)
    with reached(url):
        fs.pipe({filesystem(url.joined(key))[1]: data for key, data in contents.items()})


def _remove(url: Url) -> None:
    fs, path = filesystem(url)
    with reached(url), contextlib.suppress(FileNotFoundError):
        fs.rm(path, recursive=True)


def _upload(folder: str, home: Url) -> None:
    """Put everything that is in a folder below a URL, the metadata of the root last."""
    for place, _, files in os.walk(folder):
        for name in files:
            file = os.path.join(place, name)
            key = "/".join(os.path.relpath(file, folder).split(os.sep))
            if key not in _ROOT:
                with open(file, "rb") as stream:
                    _put(home, {key: stream.read()})
    for key in _ROOT:
        if os.path.exists(file := os.path.join(folder, key)):
            with open(file, "rb") as stream:
                _put(home, {key: stream.read()})


def _replace(new: Url, old: Url) -> None:
    """Put the store at `new`, which is whole, where the one at `old` is."""
    try:
        fs, _ = filesystem(old)
        before, now = _objects(old), _objects(new)
        _put(old, {UNFINISHED: b""})
        with reached(old):
            for key in (each for each in reversed(_ROOT) if each in before):
                fs.rm(filesystem(old.joined(key))[1])
            for key in sorted(now - set(_ROOT)):
                fs.copy(filesystem(new.joined(key))[1], filesystem(old.joined(key))[1])
            for key in sorted(before - now - {UNFINISHED, *_ROOT}):
                fs.rm(filesystem(old.joined(key))[1])
            for key in (each for each in _ROOT if each in now):
                fs.copy(filesystem(new.joined(key))[1], filesystem(old.joined(key))[1])
            fs.rm(filesystem(old.joined(UNFINISHED))[1])
    except UsidError as error:
        raise StoreAccessError(
            f"{str(old)!r} could not be replaced: {error}. The new store is whole, at {str(new)!r}"
        ) from error
    _remove(new)
