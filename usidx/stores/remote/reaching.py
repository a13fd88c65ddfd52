"""Options of storage that were said once, for what is at and below some URLs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

Told = Mapping[str, Mapping[str, Any]]

_told: ContextVar[Told | None] = ContextVar("usidx_storage_options", default=None)


@contextmanager
def reaching(told: Told) -> Iterator[None]:
    """URLs are reached with these options inside the `with` block, and nothing else is.

    A file may name any URL as its source: one that nobody named gets nobody's keys.

    Parameters
    ----------
    told : `storage_options` of fsspec by the URL at and below which they hold
    """
    token = _told.set(told)
    try:
        yield
    finally:
        _told.reset(token)


def told_for(url: str) -> Mapping[str, Any]:
    """The options that hold for a URL: those of the longest URL that it is at or below.

    Examples
    --------
    >>> with reaching({"s3://lab": {"anon": True}}):
    ...     told_for("s3://lab/scan.h5"), told_for("s3://laboratory/scan.h5")
    ({'anon': True}, {})
    """
    told = _told.get() or {}
    above = [each for each in told if f"{url}/".startswith(f"{each.rstrip('/')}/")]
    return told[max(above, key=len)] if above else {}


def place_of(url: str) -> str:
    """The host or bucket that a URL is of, to which keys belong; a chain of URLs as it is.

    Examples
    --------
    >>> place_of("s3://lab/2026/scan.h5"), place_of("zip::s3://lab/a.zip")
    ('s3://lab', 'zip::s3://lab/a.zip')
    """
    scheme, _, rest = url.partition("://")
    return url if "::" in url else f"{scheme}://{rest.partition('/')[0]}"
