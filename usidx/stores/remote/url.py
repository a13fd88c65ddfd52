"""A URL that remembers how the store behind it is reached."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from usidx.errors import OptionError, ReadOnlyStoreError
from usidx.stores.remote.reaching import told_for

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]+(://|::)")
_LOCAL = ("file://", "local://")
_PASSWORD = re.compile(r"://[^/@]*:[^/@]*@")


class Url(str):
    """The URL of a store, or of something in it; a string that takes its options along.

    What is joined to its end, as `os.path.join` does, is reached in the same way. The options may
    be secrets: they are in pickles for tasks, and in no message and no result.

    Parameters
    ----------
    text : the URL
    options : `storage_options` of fsspec
    """

    options: Mapping[str, Any]

    def __new__(cls, text: str, options: Mapping[str, Any] | None = None) -> Url:
        made = super().__new__(cls, text)
        made.options = dict(options or {})
        return made

    def __add__(self, more: str, /) -> Url:
        return Url(str(self) + more, self.options)

    def __str__(self) -> str:
        return str.__str__(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return Url, (str(self), dict(self.options))

    def joined(self, *parts: str) -> Url:
        """The URL of what is below this one."""
        return Url("/".join([self.rstrip("/"), *parts]), self.options)

    @property
    def parent(self) -> Url:
        """The URL of the folder that this is in."""
        return Url(self.rstrip("/").rpartition("/")[0], self.options)

    @property
    def name(self) -> str:
        """The last part."""
        return self.rstrip("/").rpartition("/")[2]


def is_url(path: object) -> bool:
    """Whether a path is a URL of fsspec.

    Examples
    --------
    >>> is_url("s3://bucket/scan.h5"), is_url("/data/scan.h5"), is_url("scan.h5")
    (True, False, False)
    """
    return isinstance(path, Url) or (isinstance(path, str) and bool(_SCHEME.match(path)))


def is_versioned(url: str) -> bool:
    """Whether a URL is of an Icechunk repository.

    Examples
    --------
    >>> is_versioned("icechunk:///data/scan.icechunk@main"), is_versioned("s3://lab/scan.zarr")
    (True, False)
    """
    return url.startswith(("icechunk://", "icechunk+s3://"))


def _instead(given: object) -> str:
    if hasattr(given, "to_xarray"):
        return (
            "a table of pandas becomes a Main by frame.set_index(places)[column].to_xarray()"
            ".usid.assign_roles(position=places)"
        )
    return (
        "of a store of obstore, fsspec or zarr give the URL, with what it was made with as "
        "storage_options"
    )


def located(
    path: str | os.PathLike[str], storage_options: Mapping[str, Any] | None = None
) -> str | os.PathLike[str]:
    """A path as it is, and what is a URL as a Url; one of this machine's files is a path.

    Raises
    ------
    OptionError : for `storage_options` of what is no URL, for a password in a URL, and for what is
        no path at all, such as the store of a library
    """
    if not isinstance(path, (str, os.PathLike)):
        raise OptionError(f"a path or URL is expected, got {type(path).__name__}; {_instead(path)}")
    if isinstance(path, str) and path.startswith(_LOCAL):
        path = path.partition("://")[2]
    if not is_url(path):
        if storage_options:
            raise OptionError(
                f"storage_options are for URLs, and {os.fspath(path)!r} is a path of this machine"
            )
        return path
    text = str(path)
    if _PASSWORD.search(text):
        raise OptionError(
            "a URL with a password in it would be written into results; give the password as "
            "storage_options"
        )
    known = path.options if isinstance(path, Url) else told_for(text)
    return Url(text.rstrip("/"), {**known, **(storage_options or {})})


def absolute(path: str | os.PathLike[str]) -> str:
    """The absolute path of a file of this machine; a URL as it is."""
    if isinstance(path, str) and is_url(path):
        return path
    return os.path.abspath(os.fspath(path))


def real(path: str) -> str:
    """The path that links lead to; a URL as it is."""
    return path if is_url(path) else os.path.realpath(path)


def path_on_disk(path: str | os.PathLike[str], what: str) -> str:
    """The path of a file of this machine, which `what` is to be written to.

    Raises
    ------
    ReadOnlyStoreError : for a URL, saying what can be written there
    """
    place = located(path)
    if isinstance(place, Url):
        raise ReadOnlyStoreError(
            f"{what} cannot be written to {str(place)!r}, only to disks of this machine: write it "
            "there, and copy it or put it there as a Zarr store with usid.to_zarr(url)"
        )
    return os.fspath(place)


def refuse_to_write(path: str) -> None:
    """Nothing, for a path of this machine.

    Raises
    ------
    ReadOnlyStoreError : for a URL
    """
    if is_url(path):
        raise ReadOnlyStoreError(
            f"{str(path)!r} is read through its URL and not written; say where results go with "
            "run(into='results.zarr'), or download the file and open the copy"
        )


def is_there(path: str) -> bool:
    """Whether a path exists; of a URL that is found out when it is read."""
    return is_url(path) or os.path.exists(path)
