"""What goes wrong with a URL, as the error that says what to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from usidx.errors import OptionError, StoreAccessError, StoreNotFoundError, UsidError
from usidx.stores.remote.url import Url

_WHO = (
    "storage_options (--storage-option in a terminal) say who you are: key and secret, profile, "
    "or anon=true where everybody may read"
)
# Errors of libraries that need not be installed, by their names.
_UNKNOWN_USER = ("Credential", "ProfileNotFound", "TokenRetrieval", "SSOToken", "Unauthorized")
_CUT = ("ClientPayloadError", "ServerDisconnected", "ClientOSError", "IncompleteRead",
        "ResponseStreaming", "ConnectionReset", "ConnectionClosed")  # fmt: skip
_SILENT = ("Connect", "Timeout", "DNS", "EndpointURL", "gaierror", "InvalidURL")


def failed(url: str, error: BaseException) -> UsidError:
    """What an error of a file system means.

    Parameters
    ----------
    url : that was to be reached
    error : of the file system, or of what it is made of
    """
    chain = list(_chain(error))
    # fsspec calls whatever goes wrong with HTTP a file that is not there
    told = chain[-1] if isinstance(error, FileNotFoundError) else error
    said = f"{str(url)!r} cannot be reached ({_said(url, told)})"
    names = " ".join(type(each).__name__ for each in chain)
    codes = {code for each in chain for code in _codes(each)}
    if "NoSuchBucket" in codes:
        bucket = str(url).partition("://")[2].partition("/")[0]
        return StoreNotFoundError(
            f"there is no bucket {bucket!r} for {str(url)!r}; check its name and the endpoint, or "
            "make it first"
        )
    if isinstance(error, TypeError):
        return OptionError(f"{said}; check the names in storage_options")
    if codes & {"401", "403"} or isinstance(error, PermissionError) or _any(_UNKNOWN_USER, names):
        return StoreAccessError(f"{said}: it is not yours, or nobody knows that it is; {_WHO}")
    if _any(_CUT, names):
        return StoreAccessError(f"{said}: the connection was cut; try again")
    if _any(_SILENT, names):
        return StoreAccessError(
            f"{said}: no server answers there; check the name of the host (of S3, endpoint_url in "
            "storage_options) and the network"
        )
    if isinstance(error, (FileNotFoundError, NotADirectoryError, IsADirectoryError)):
        return StoreNotFoundError(f"there is nothing at {str(url)!r}")
    return StoreAccessError(f"{said}; check the URL and the network; {_WHO}")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and those that led to it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _codes(error: BaseException) -> Iterator[str]:
    """By which HTTP and S3 say what is wrong."""
    status = getattr(error, "status", None)
    if isinstance(status, int):
        yield str(status)
    response = getattr(error, "response", None)
    if isinstance(response, Mapping):
        yield str(response.get("Error", {}).get("Code", ""))


def _any(parts: tuple[str, ...], names: str) -> bool:
    return any(part in names for part in parts)


def _said(url: str, error: BaseException) -> str:
    """What an error says, without what is secret."""
    text = " ".join(str(error).split())
    for secret in _texts(url.options) if isinstance(url, Url) else ():
        text = text.replace(secret, "***")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _texts(options: Any) -> Iterator[str]:
    """Texts among options that may be secret: all but addresses and single words of few letters."""
    if isinstance(options, Mapping):
        for value in options.values():
            yield from _texts(value)
    elif isinstance(options, str) and len(options) > 3 and "://" not in options:
        yield options
